// The sending side of the overload and soak benches: a process of its own, so that its CPU is not
// counted as the program's. A crowd of senders, each with a connection and series of its own, makes
// remote-write 1.0 bodies of up to 2,000 samples and repeats each body until it is taken, as
// Prometheus does. Half of a crowd may be impatient: they ignore Retry-After and come back after
// 30 ms, as Prometheus 2.42 does. Told by messages of its parent what to send and for how long.

import { setTimeout as sleep } from 'node:timers/promises';
import { compressSync } from 'snappy';
import { LeanConnection } from './lean-connection.js';
import { blockOf, type Template, templateOf, writeStep } from './load-bodies.js';

export interface CrowdOrder {
  url: string;
  senders: number;
  seriesPerSender: number;
  /** Steps of every series in one body: a sender that has fallen behind sends several at once. */
  stepsPerBody: number;
  /** Requests in flight at one time at most. */
  connections: number;
  seconds: number;
  /** Of two senders, one ignores Retry-After. */
  isHalfImpatient: boolean;
  /** Connections are made by the load itself, not before it. */
  isCold: boolean;
  firstMs: number;
  stepMs: number;
  /** Each sender begins a body this often; 0 is as soon as the one before is taken. */
  pauseMs: number;
  /** Part of the senders whose series end and are followed by new ones, per minute. */
  churnPerMinute: number;
}

export interface CrowdReport {
  seconds: number;
  takenSamples: number;
  takenBodies: number;
  /** Answered 503, or the connection was cut before the answer could be read. */
  refused: number;
  cut: number;
  otherStatuses: Record<string, number>;
  seriesBegun: number;
  /** From the first byte of the try that was taken to its answer, milliseconds. */
  p50: number;
  p99: number;
  slowest: number;
  /** Bodies that began later than they were due, by more than one pause. */
  late: number;
}

const IMPATIENT_MS = 30;
const STALE_BITS = 0x7ff0000000000002n;
/** Series numbers of one generation; what follows churned series begins above it. */
const GENERATION = 10_000_000;
const WAITS_MAX = 1_000_000;

interface Lane {
  number: number;
  generation: number;
  /** One for each step of a body. */
  templates: Template[];
  step: number;
}

/** Kept between orders: time goes on where it was. */
const lanes: Lane[] = [];

async function runCrowd(order: CrowdOrder): Promise<CrowdReport> {
  const report: CrowdReport = {
    seconds: 0,
    takenSamples: 0,
    takenBodies: 0,
    refused: 0,
    cut: 0,
    otherStatuses: {},
    seriesBegun: 0,
    p50: Number.NaN,
    p99: Number.NaN,
    slowest: Number.NaN,
    late: 0,
  };
  const waits: number[] = [];
  while (lanes.length < order.senders) {
    lanes.push(newLane(lanes.length, 0, order));
    report.seriesBegun += order.seriesPerSender;
  }
  const sockets = await openConnections(order);
  const begun = performance.now();
  const until = begun + order.seconds * 1000;
  // With fewer connections than senders, each connection serves its senders in turn.
  const perConnection = Math.ceil(order.senders / order.connections);
  await Promise.all(
    Array.from({ length: order.connections }, async (_, connection) => {
      const socket = sockets[connection] as LeanConnection;
      const from = connection * perConnection;
      const own = lanes.slice(from, Math.min(from + perConnection, order.senders));
      for (let round = 0; performance.now() < until && own.length > 0; round++) {
        // Spread over the pause, as scrapes are.
        const due = begun + (round + connection / order.connections) * order.pauseMs;
        const early = due - performance.now();
        if (order.pauseMs > 0 && early > 0) await sleep(early);
        if (order.pauseMs > 0 && -early > order.pauseMs) report.late++;
        for (const lane of own) {
          if (performance.now() >= until) break;
          await sendBody(lane, { order, socket, report, waits, until });
        }
      }
      socket.close();
    }),
  );
  report.seconds = (performance.now() - begun) / 1000;
  waits.sort((a, b) => a - b);
  const quantile = (q: number) => waits[Math.floor(q * (waits.length - 1))] ?? Number.NaN;
  return { ...report, p50: quantile(0.5), p99: quantile(0.99), slowest: quantile(1) };
}

/** As they stand between senders and program while all is calm: one after the other, each used once. */
async function openConnections(order: CrowdOrder): Promise<LeanConnection[]> {
  const sockets: LeanConnection[] = [];
  for (let i = 0; i < order.connections; i++) {
    const socket = new LeanConnection(order.url);
    sockets.push(socket);
    if (order.isCold) continue;
    // A message without anything, which every receiver takes.
    const answer = await socket.send(compressSync(new Uint8Array(0)));
    if (answer?.status !== 204) throw new Error(`An empty message is answered ${answer?.status}`);
  }
  return sockets;
}

interface Round {
  order: CrowdOrder;
  socket: LeanConnection;
  report: CrowdReport;
  waits: number[];
  until: number;
}

/** One body, until it is taken or time is up. */
async function sendBody(lane: Lane, round: Round): Promise<void> {
  const { order, socket, report, waits, until } = round;
  const isLast = isReplacedNow(lane, order);
  const body = bodyOf(lane, { order, isLast });
  const isImpatient = order.isHalfImpatient && lane.number % 2 === 1;
  for (;;) {
    const sent = performance.now();
    // A refusal comes before the body is read: the connection may be gone before we have read it.
    const answer = await socket.send(body);
    if (answer?.status === 204) {
      if (waits.length < WAITS_MAX) waits.push(performance.now() - sent);
      report.takenBodies++;
      report.takenSamples += order.seriesPerSender * order.stepsPerBody;
      break;
    }
    if (answer === undefined) report.cut++;
    else if (answer.status === 503) report.refused++;
    else {
      report.otherStatuses[answer.status] = (report.otherStatuses[answer.status] ?? 0) + 1;
      break;
    }
    const asked = (answer?.retryAfterSeconds ?? 0) * 1000;
    const pause = isImpatient || !(asked > 0) ? IMPATIENT_MS : asked;
    if (performance.now() + pause >= until) {
      await sleep(Math.max(0, until - performance.now()));
      break;
    }
    await sleep(pause);
  }
  if (!isLast) return;
  Object.assign(lane, newLane(lane.number, lane.generation + 1, order), { step: lane.step });
  report.seriesBegun += order.seriesPerSender;
}

/** Each sender has its own turn to be replaced, so that the churn is even and a run repeats it. */
function isReplacedNow(lane: Lane, order: CrowdOrder): boolean {
  if (order.churnPerMinute === 0 || order.pauseMs === 0) return false;
  const bodiesPerLife = Math.round(60_000 / (order.churnPerMinute * order.pauseMs));
  const turn = Math.floor((lane.number * bodiesPerLife) / order.senders);
  return (lane.step / order.stepsPerBody) % bodiesPerLife === turn;
}

/** The next steps of the sender's series, as they go over the wire. Valid until the next call. */
function bodyOf(lane: Lane, { order, isLast }: { order: CrowdOrder; isLast: boolean }): Uint8Array {
  const first = firstOf(lane.number, lane.generation, order);
  for (const template of lane.templates) {
    const at = lane.step++;
    writeStep(template, { first, at, ms: order.firstMs + at * order.stepMs });
  }
  const last = lane.templates.at(-1) as Template;
  if (isLast) markStale(last);
  return order.stepsPerBody === 1 ? compressSync(last.message) : last.message;
}

function newLane(number: number, generation: number, order: CrowdOrder): Lane {
  const { seriesPerSender, stepsPerBody } = order;
  const first = firstOf(number, generation, order);
  const templates =
    stepsPerBody === 1
      ? [templateOf(first, seriesPerSender)]
      : blockOf(first, seriesPerSender, stepsPerBody);
  return { number, generation, templates, step: 0 };
}

function firstOf(number: number, generation: number, order: CrowdOrder): number {
  return generation * GENERATION + number * order.seriesPerSender;
}

function markStale({ message, samples }: Template): void {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  for (const at of samples) view.setBigUint64(at + 1, STALE_BITS, true);
}

process.on('message', (order: CrowdOrder) => {
  runCrowd(order).then(
    (report) => process.send?.(report),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
// The bench has ended, one way or another.
process.on('disconnect', () => process.exit());
