// Five times more than the program can take, over real HTTP: what is still taken of it, what memory
// does meanwhile, and what a refusal costs. Half of the senders ignore Retry-After and come back after
// 30 ms. The capacity is measured in the same run, by a few senders of the same kind. `node
// dist/bench/overload.bench.js [--seconds 60] [--cold] [--smoke]`; the figures of the README are of 300 s.
// With --cold the senders connect all at once under load, not before it, as after a restart.

import { execFileSync, fork } from 'node:child_process';
import { connect, type Socket } from 'node:net';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { BODY_BYTES_MAX } from '../src/limits.js';
import { removeDirectory, temporaryDirectory } from '../test/programs.js';
import { openSender, WRITE_HEADERS } from '../test/remote-write-sender.js';
import {
  identityFaults,
  partitionsAtRest,
  readingOf,
  startTreeline,
} from '../test/treeline-process.js';
import type { CrowdOrder, CrowdReport } from './crowd-sender.js';
import { cpuSecondsOf, type Memory, memoryOf } from './process-readings.js';

const { values: flags } = parseArgs({
  options: {
    seconds: { type: 'string' },
    cold: { type: 'boolean', default: false },
    smoke: { type: 'boolean', default: false },
  },
});
const isSmoke = flags.smoke;
const SECONDS = Number(flags.seconds ?? (isSmoke ? 5 : 60));
const CAPACITY_SECONDS = isSmoke ? 3 : 15;
const REFUSAL_SECONDS = isSmoke ? 1 : 5;
const KNOWN_SECONDS = 8;
/** Bodies of each sender, as they do not come in step. */
const KNOWN_ROUNDS = 1.5;
const KNOWN_SECONDS_MAX = 60;
const OVERLOAD = 5;
/**
 * 100,000 series; 40 steps in a body, as after an outage. All bodies together, 115 KB each, are more
 * than may be in flight.
 */
const CROWD = { senders: 2_000, seriesPerSender: 50, stepsPerBody: 40 };
const SAMPLES_PER_BODY = CROWD.seriesPerSender * CROWD.stepsPerBody;
/** As many as share each flush at best; more of them take no more. */
const CAPACITY_CONNECTIONS = 64;
const CATCH_UP_MS_MAX = 10 * 60_000;
const FIRST_MS = Date.UTC(2026, 0, 5);
const STEP_MS = 15_000;
const GOODPUT_TARGET = 0.8;
/** Of the memory of the process, from the end of the first quarter to the end. */
const GROWTH_TARGET = 0.15;
const REFUSAL_CPU_MS_TARGET = 0.5;
/** Share of its core that the program uses while it is overloaded; with less it waited for the senders. */
const CPU_SHARE_MIN = 0.9;

const directory = temporaryDirectory('overload');
const treeline = await startTreeline({
  dataDir: join(directory, 'data'),
  args: ['--logging-level', 'error'],
});
const { pid } = treeline.program;
const crowd = fork(fileURLToPath(new URL('crowd-sender.js', import.meta.url)));

// To offer five times what is taken costs the senders as much as taking it costs the program: each has
// a core of its own, so that neither slows the other down.
const isPinned = availableParallelism() >= 2;
if (isPinned) {
  pin(pid, 0);
  pin(crowd.pid as number, 1);
}
await makeKnown();
const cpuAtFirst = cpuSecondsOf(pid);
const capacity = await send(capacityOrder());
const capacityCpuSeconds = cpuSecondsOf(pid) - cpuAtFirst;
const perSecond = capacity.takenSamples / capacity.seconds;
const memory: Memory[] = [];
const watch = setInterval(() => memory.push(memoryOf(pid)), 1_000);
const cpuBefore = cpuSecondsOf(pid);
const overload = await send({
  ...capacityOrder(),
  connections: CROWD.senders,
  isCold: flags.cold,
  seconds: SECONDS,
  isHalfImpatient: true,
  pauseMs: (CROWD.senders * SAMPLES_PER_BODY * 1000) / (OVERLOAD * perSecond),
});
const overloadCpuSeconds = cpuSecondsOf(pid) - cpuBefore;
const cpuShare = overloadCpuSeconds / overload.seconds;
clearInterval(watch);
const refusal = await refusalCost();
const catchUpSeconds = await catchUp();
await partitionsAtRest(treeline);
const readings = await treeline.metrics();
const faults = identityFaults(readings);
crowd.disconnect();
await treeline.stop();
removeDirectory(directory);

const goodput = overload.takenSamples / overload.seconds / perSecond;
// The same per CPU-second of the program: on a machine that others use as well, this is the one to read.
const goodputPerCpu =
  overload.takenSamples / overloadCpuSeconds / (capacity.takenSamples / capacityCpuSeconds);
const attempts = overload.takenBodies + overload.refused + overload.cut;
// What the process itself holds: the kernel maps ever more pages of the log's file besides.
const own = memory.map(({ ownMegabytes }) => ownMegabytes);
const ownGrowth = (own.at(-1) ?? Number.NaN) / (own[Math.floor(own.length / 4)] ?? Number.NaN) - 1;
const attempted = (attempts * SAMPLES_PER_BODY) / overload.seconds / perSecond;
const results = {
  seconds: round(overload.seconds),
  capacitySamplesPerSecond: Math.round(perSecond),
  offered: `${OVERLOAD} x, ${CROWD.senders} senders`,
  isCold: flags.cold,
  attemptedOverCapacity: round(attempted),
  goodput: round(goodput),
  goodputPerCpu: round(goodputPerCpu),
  refusedPerSecond: Math.round((overload.refused + overload.cut) / overload.seconds),
  cutBeforeTheAnswer: overload.cut,
  otherStatuses: overload.otherStatuses,
  takenAnswerMs: {
    p50: round(overload.p50),
    p99: round(overload.p99),
    slowest: round(overload.slowest),
  },
  cpuShare: round(cpuShare),
  isPinned,
  rssMegabytes: spread(memory.map(({ rssMegabytes }) => rssMegabytes)),
  ownMegabytes: spread(own),
  ownGrowth: round(ownGrowth),
  refusal,
  catchUpSeconds: round(catchUpSeconds),
  faults,
};
console.log(JSON.stringify(results, null, 2));
const lost =
  (readingOf(readings, 'treeline_samples_logged_total') ?? 0) <
  overload.takenSamples + capacity.takenSamples;
if (lost) console.error('More samples were answered 204 than were logged');
const isCalm = !isSmoke && cpuShare < CPU_SHARE_MIN;
if (isCalm)
  console.error('The program was not overloaded, it waited for the senders: nothing is shown');
const isWrong = lost || faults.length > 0 || Object.keys(overload.otherStatuses).length > 0;
// A short run on a busy machine says nothing about speed.
const isSlow =
  !isSmoke &&
  (goodput < GOODPUT_TARGET ||
    ownGrowth > GROWTH_TARGET ||
    refusal.cpuMilliseconds > REFUSAL_CPU_MS_TARGET);
if (isWrong || isSlow || isCalm) process.exitCode = 1;

/**
 * Until every series is known, a body costs more than afterwards, and memory grows. Each connection
 * serves its senders in turn, and from the first one again with each order.
 */
async function makeKnown(): Promise<void> {
  const first = await send({ ...capacityOrder(), seconds: isSmoke ? 2 : KNOWN_SECONDS });
  const missing = KNOWN_ROUNDS * CROWD.senders - first.takenBodies;
  if (isSmoke || missing <= 0) return;
  const perSecond = first.takenBodies / first.seconds;
  const seconds = Math.min((KNOWN_ROUNDS * CROWD.senders) / perSecond, KNOWN_SECONDS_MAX);
  await send({ ...capacityOrder(), seconds });
}

function capacityOrder(): CrowdOrder {
  return {
    ...CROWD,
    url: treeline.url,
    connections: CAPACITY_CONNECTIONS,
    seconds: CAPACITY_SECONDS,
    isHalfImpatient: false,
    isCold: false,
    firstMs: FIRST_MS,
    stepMs: STEP_MS,
    pauseMs: 0,
    churnPerMinute: 0,
  };
}

function send(order: CrowdOrder): Promise<CrowdReport> {
  return new Promise((resolve, reject) => {
    crowd.once('message', (message) => resolve(message as CrowdReport));
    crowd.once('exit', (code) => reject(new Error(`The senders ended with ${code}`)));
    crowd.send(order);
  });
}

/**
 * With the bytes that may be in flight used up by bodies that never come, every request is refused:
 * what one refusal costs, connection included.
 */
async function refusalCost(): Promise<{
  perSecond: number;
  cpuMilliseconds: number;
  statuses: string;
}> {
  const stalled = await Promise.all(Array.from({ length: 8 }, stall));
  await sleep(200);
  const sender = openSender(treeline.url, 4);
  const body = new Uint8Array(100_000);
  const statuses: Record<string, number> = {};
  const cpu = cpuSecondsOf(pid);
  const begun = performance.now();
  let count = 0;
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      while (performance.now() - begun < REFUSAL_SECONDS * 1000) {
        const answer = await sender.send(body).catch(() => undefined);
        const status = String(answer?.status ?? 'cut');
        statuses[status] = (statuses[status] ?? 0) + 1;
        count++;
      }
    }),
  );
  const seconds = (performance.now() - begun) / 1000;
  const spent = cpuSecondsOf(pid) - cpu;
  sender.close();
  for (const socket of stalled) socket.destroy();
  return {
    perSecond: Math.round(count / seconds),
    cpuMilliseconds: round((spent * 1000) / count),
    statuses: JSON.stringify(statuses),
  };
}

/** All threads of a process to one core, by util-linux' taskset. */
function pin(process: number, core: number): void {
  execFileSync('taskset', ['-a', '-p', '-c', String(core), String(process)]);
}

/** What is durable and not scored yet waits in the log: how long until it is worked off. */
async function catchUp(): Promise<number> {
  const begun = performance.now();
  for (;;) {
    const { partitions } = await treeline.json<{ partitions: { lag: number }[] }>(
      '/anomaly/v1/status',
    );
    if (partitions.every(({ lag }) => lag === 0)) return (performance.now() - begun) / 1000;
    if (performance.now() - begun > CATCH_UP_MS_MAX)
      throw new Error('The scorer does not catch up');
    await sleep(100);
  }
}

/** A request that declares the largest body, and sends none of it. */
function stall(): Promise<Socket> {
  const { hostname, port } = new URL(treeline.url);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port) }, () => {
      const head = Object.entries({ ...WRITE_HEADERS, 'Content-Length': String(BODY_BYTES_MAX) })
        .map(([name, value]) => `${name}: ${value}\r\n`)
        .join('');
      socket.write(`POST /api/v1/write HTTP/1.1\r\nHost: ${hostname}\r\n${head}\r\n`, () =>
        resolve(socket),
      );
    });
    socket.on('error', reject);
  });
}

function spread(values: readonly number[]): Record<string, number> {
  const at = (part: number) =>
    Math.round(values[Math.floor(part * (values.length - 1))] ?? Number.NaN);
  return {
    start: at(0),
    quarter: at(0.25),
    half: at(0.5),
    end: at(1),
    most: Math.round(Math.max(...values)),
  };
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
