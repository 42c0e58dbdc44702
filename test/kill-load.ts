// The load under which the program is killed, and the ledger of it. The sender does what Prometheus
// does: one body of a series at a time, and the same bytes again until they are answered; so every
// sample that was sent is acknowledged in the end, and each series is in order. Values follow from
// series and step, so that whatever the log holds can be told from what was never sent.

import { setTimeout as sleep } from 'node:timers/promises';
import type { SampleBlock } from '../src/gen/sample_block_pb.js';
import { openSender, type Sender, type Series, writeBody } from './remote-write-sender.js';

export interface LoadShape {
  connections: number;
  seriesPerConnection: number;
  /** Series in one body, one sample of each. */
  batch: number;
  /** Bounds the load and its ledger: there is one byte per sample. */
  stepsMax: number;
  /** Waited after each answer. */
  paceMs: number;
}

export interface Load {
  /** By step, then series: 1 for what was answered 204. */
  readonly acknowledged: Uint8Array;
  /** Bodies answered 204. */
  answers(): number;
  /** Tries that were not: killed, not listening yet, or 503. */
  unanswered(): number;
  /** Resolves when every body that was begun is answered; rejects when the load had ended by itself. */
  stop(): Promise<void>;
}

const STEP_MS = 15_000;
const RETRY_MS = 30;
const FIRST_MS = Math.floor((Date.now() - 30 * 864e5) / STEP_MS) * STEP_MS;

export function seriesCountOf(shape: LoadShape): number {
  return shape.connections * shape.seriesPerConnection;
}

export function startLoad(url: string, shape: LoadShape): Load {
  const { connections, stepsMax } = shape;
  const acknowledged = new Uint8Array(stepsMax * seriesCountOf(shape));
  const counts = { answers: 0, unanswered: 0 };
  const stopping = new AbortController();
  const sender = openSender(url, connections);
  const lanes = Array.from({ length: connections }, (_, connection) =>
    sendLane({ sender, shape, connection, acknowledged, counts, signal: stopping.signal }),
  );
  const all = Promise.all(lanes);
  all.catch(() => {}); // whoever stops the load hears of it
  return {
    acknowledged,
    answers: () => counts.answers,
    unanswered: () => counts.unanswered,
    async stop() {
      stopping.abort();
      await all;
      sender.close();
    },
  };
}

interface Lane {
  sender: Sender;
  shape: LoadShape;
  connection: number;
  acknowledged: Uint8Array;
  counts: { answers: number; unanswered: number };
  signal: AbortSignal;
}

/** One connection: each of its series one sample a step, body after body. */
async function sendLane(lane: Lane): Promise<void> {
  const { shape, connection, acknowledged, counts, signal } = lane;
  const { seriesPerConnection, batch, stepsMax, paceMs } = shape;
  const all = seriesCountOf(shape);
  const first = connection * seriesPerConnection;
  for (let step = 0; step < stepsMax; step++) {
    for (let from = first; from < first + seriesPerConnection; from += batch) {
      if (signal.aborted) return;
      await sendUntilAnswered(lane, writeBody(seriesOf({ from, count: batch, step })));
      acknowledged.fill(1, step * all + from, step * all + from + batch);
      counts.answers++;
      await sleep(paceMs);
    }
  }
  throw new Error(`The load ran out after ${stepsMax} steps; the last kills met an idle program`);
}

async function sendUntilAnswered({ sender, counts }: Lane, body: Uint8Array): Promise<void> {
  for (;;) {
    const answer = await sender.send(body).catch(() => undefined); // killed, or not listening yet
    if (answer?.status === 204) return;
    if (answer !== undefined && answer.status !== 503) {
      throw new Error(`A good body is answered ${answer.status}: ${answer.text}`);
    }
    counts.unanswered++;
    await sleep(RETRY_MS);
  }
}

function seriesOf(range: { from: number; count: number; step: number }): Series[] {
  const { from, count, step } = range;
  return Array.from({ length: count }, (_, offset) => {
    const series = from + offset;
    const isCounter = series % 4 === 0;
    return {
      labels: {
        __name__: isCounter ? 'load_requests_total' : 'load_queue_length',
        environment: 'test',
        instance: `10.0.0.${series % 100}:9100`,
        job: 'load',
        series: String(series),
      },
      points: [[FIRST_MS + step * STEP_MS, sampleValue(series, step)]],
    };
  });
}

/** Any fixed function will do that tells series and steps apart; counters grow, gauges swing. */
function sampleValue(series: number, step: number): number {
  const noise = (Math.imul(series + 1, 2654435761) ^ Math.imul(step + 1, 40503)) & 1023;
  return series % 4 === 0
    ? 100 * step + noise / 16
    : 50 * Math.sin(step / 40 + series) + noise / 64;
}

/** What the log was seen to hold. Records of a partition must be added in their order. */
export class SeenSamples {
  readonly #seriesByFingerprint = new Map<bigint, number>();
  readonly #seen: Uint8Array;
  readonly #series: number;
  readonly #value = new Float64Array(1);
  readonly #bits = new BigUint64Array(this.#value.buffer);
  #foreign = 0;

  constructor(shape: LoadShape) {
    this.#series = seriesCountOf(shape);
    this.#seen = new Uint8Array(shape.stepsMax * this.#series);
  }

  add(block: SampleBlock): void {
    for (const { fingerprint, label } of block.series) {
      const series = label.find(({ name }) => name === 'series')?.value;
      this.#seriesByFingerprint.set(fingerprint, Number(series));
    }
    for (let i = 0; i < block.fingerprint.length; i++) {
      const series = this.#seriesByFingerprint.get(block.fingerprint[i] as bigint) ?? Number.NaN;
      const step = (Number(block.timestampMs[i]) - FIRST_MS) / STEP_MS;
      this.#value[0] = sampleValue(series, step);
      if (this.#bits[0] === block.valueBits[i]) this.#seen[step * this.#series + series] = 1;
      else this.#foreign++;
    }
  }

  /** Acknowledged samples that were not seen, and seen ones that were never sent so. */
  compare(acknowledged: Uint8Array): { missing: number; foreign: number } {
    let missing = 0;
    for (let at = 0; at < acknowledged.length; at++) {
      if (acknowledged[at] === 1 && this.#seen[at] === 0) missing++;
    }
    return { missing, foreign: this.#foreign };
  }
}

/** Marsaglia's xorshift32, for numbers in [0, 1) that a seed repeats. */
export function momentsFrom(seed: number): () => number {
  let x = seed | 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
}
