// What the tests of histograms are made of: scrapes of classic and native ones as records of the samples log, targets
// whose request durations are drawn from a seeded distribution, and what a partition says of its derived series.

import { create, toBinary } from '@bufbuild/protobuf';
import { Histogram_ResetHint, HistogramSchema } from '../src/gen/remote_write_v2_pb.js';
import { MetricType, SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import { stateHash, takeSnapshot } from '../src/scorer/checkpoint.js';
import { Partition } from '../src/scorer/partition.js';
import { pageOfSeries, type SeriesRow } from '../src/scorer/series-view.js';
import { WasmForest } from '../src/scorer/wasm-forest.js';
import { loadWasm } from '../src/wasm-files.js';
import { randomOf } from './random.js';

export const BEGIN = 1_760_000_000_000;
export const STEP = 15_000;
export const STALE = 0x7ff0000000000002n;
export const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
export const INF = Number.POSITIVE_INFINITY;
const { module } = loadWasm('forest');
export const lineage = {
  logId: 'l',
  partition: 0,
  partitions: 1,
  engineId: Buffer.alloc(32),
  seed: 1,
};

export interface Sample {
  labels: Record<string, string>;
  at: number;
  /** A number, the bits of one, or a native histogram. */
  value: number | bigint | Native;
  startMs?: number;
  type?: MetricType;
}

export interface Native {
  schema: number;
  /** Index and count of each bucket, ascending; cumulative over time. */
  buckets: Map<number, number>;
  negative?: Map<number, number>;
  zeroCount?: number;
  zeroThreshold?: number;
  bounds?: number[];
  hint?: Histogram_ResetHint;
  isFloat?: boolean;
  sum?: number;
}

export function partitionOf(seriesMax = 100): Partition {
  return new Partition(new WasmForest(module, { seriesMax, seed: 1 }), seriesMax);
}

function fingerprintOf(labels: Record<string, string>): bigint {
  const text = JSON.stringify(Object.entries(labels).sort());
  const sum = [...Buffer.from(text)].reduce((all, byte) => all * 257n + BigInt(byte), 7n);
  return BigInt.asUintN(64, sum * 0x9e3779b97f4a7c15n);
}

function bitsOf(value: number | bigint): bigint {
  if (typeof value === 'bigint') return value;
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, value);
  return bits.getBigUint64(0);
}

export function record(
  samples: readonly Sample[],
  announced: readonly Sample[] = samples,
): Uint8Array {
  const floats = samples.filter(({ value }) => typeof value !== 'object');
  const natives = samples.filter(({ value }) => typeof value === 'object');
  const series = new Map(announced.map((one) => [JSON.stringify(one.labels), one]));
  return toBinary(
    SampleBlockSchema,
    create(SampleBlockSchema, {
      fingerprint: floats.map(({ labels }) => fingerprintOf(labels)),
      timestampMs: floats.map(({ at }) => BigInt(at)),
      valueBits: floats.map(({ value }) => bitsOf(value as number | bigint)),
      startTimestampMs: floats.some(({ startMs }) => startMs !== undefined)
        ? floats.map(({ startMs }) => BigInt(startMs ?? 0))
        : [],
      series: [...series.values()].map(({ labels, type }) => ({
        fingerprint: fingerprintOf(labels),
        label: Object.entries(labels).map(([name, value]) => ({ name, value })),
        type: type ?? MetricType.UNSPECIFIED,
      })),
      histogram: natives.map(({ labels, at, value, startMs }) => ({
        fingerprint: fingerprintOf(labels),
        timestampMs: BigInt(at),
        startTimestampMs: BigInt(startMs ?? 0),
        histogram: nativeBytes(value as Native),
      })),
    }),
  );
}

function sideOf(buckets: ReadonlyMap<number, number>) {
  const spans: { offset: number; length: number }[] = [];
  const counts: number[] = [];
  let next: number | undefined;
  for (const [index, count] of [...buckets].sort(([a], [b]) => a - b)) {
    const last = spans.at(-1);
    if (last !== undefined && index === next) last.length++;
    else spans.push({ offset: index - (next ?? 0), length: 1 });
    counts.push(count);
    next = index + 1;
  }
  const deltas = counts.map((count, i) => BigInt(count - (counts[i - 1] ?? 0)));
  return { spans, counts, deltas };
}

export function nativeBytes(native: Native): Uint8Array {
  const positive = sideOf(native.buckets);
  const negative = sideOf(native.negative ?? new Map());
  const zeros = native.zeroCount ?? 0;
  const total = [...positive.counts, ...negative.counts, zeros].reduce((a, b) => a + b, 0);
  const counts = native.isFloat
    ? {
        count: { case: 'countFloat' as const, value: total },
        zeroCount: { case: 'zeroCountFloat' as const, value: zeros },
        positiveCounts: positive.counts,
        negativeCounts: negative.counts,
      }
    : {
        count: { case: 'countInt' as const, value: BigInt(total) },
        zeroCount: { case: 'zeroCountInt' as const, value: BigInt(zeros) },
        positiveDeltas: positive.deltas,
        negativeDeltas: negative.deltas,
      };
  const message = create(HistogramSchema, {
    ...counts,
    sum: native.sum ?? 1,
    schema: native.schema,
    zeroThreshold: native.zeroThreshold ?? 1e-9,
    positiveSpans: positive.spans,
    negativeSpans: negative.spans,
    customValues: native.bounds ?? [],
    resetHint: native.hint ?? Histogram_ResetHint.UNSPECIFIED,
  });
  return toBinary(HistogramSchema, message);
}

/** The bucket samples of one scrape; `counts` are those of single buckets, added up here. */
export function scrape(
  at: number,
  counts: readonly number[],
  options: { target?: string; bounds?: readonly number[]; startMs?: number } = {},
): Sample[] {
  const { target = 'a', bounds = BOUNDS } = options;
  let sum = 0;
  return [...bounds, INF].map((bound, i) => {
    sum += counts[i] ?? 0;
    const le = bound === INF ? '+Inf' : String(bound);
    return {
      labels: { __name__: 'http_seconds_bucket', instance: target, job: 'web', le },
      at,
      value: sum,
      ...(options.startMs === undefined ? {} : { startMs: options.startMs }),
    };
  });
}

export async function rowsOf(partition: Partition): Promise<SeriesRow[]> {
  const query = { tenant: '', matches: () => true, limit: 10_000 };
  return (await pageOfSeries([[0, partition]], query)).rows;
}

/** Last value of the derived series of a target: [0.5-quantile, 0.99-quantile, shape]. */
export async function derivedOf(
  partition: Partition,
  target = 'a',
): Promise<(number | undefined)[]> {
  const rows = await rowsOf(partition);
  return ['0.5', '0.99', undefined].map((quantile) => {
    const row = rows.find(
      ({ labels }) =>
        labels['__name__'] === 'http_seconds' &&
        labels['instance'] === target &&
        (quantile === undefined ? labels['shape'] === 'distance' : labels['quantile'] === quantile),
    );
    return row?.lastTimestamp === undefined ? undefined : (row.lastValue ?? undefined);
  });
}

export function hashOf(partition: Partition): string {
  return Buffer.from(stateHash(takeSnapshot(partition, lineage, 0))).toString('hex');
}

/** Durations around `median` as buckets' own counts, added to `totals`. */
export function observe(
  totals: number[],
  random: () => number,
  options: {
    median: number;
    count: number;
    tail?: number;
  },
): void {
  for (let i = 0; i < options.count; i++) {
    const value = durationOf(random, options);
    const bucket = BOUNDS.findIndex((bound) => value <= bound);
    totals[bucket < 0 ? BOUNDS.length : bucket]! += 1;
  }
}

/** A share of `tail` takes 20 times as long. */
export function durationOf(
  random: () => number,
  { median, tail = 0 }: { median: number; tail?: number },
) {
  const normal = random() + random() + random() + random() - 2;
  return median * 2 ** normal * (random() < tail ? 20 : 1);
}

export const nativeLabels = (target = 'a') => ({
  __name__: 'http_seconds',
  instance: target,
  job: 'web',
});

export function native(at: number, value: Native, target = 'a'): Sample {
  return { labels: nativeLabels(target), at, value, type: MetricType.HISTOGRAM };
}

/** Buckets of these values on a scale of 2^schema buckets an octave, added to `buckets`. */
export function count(
  buckets: Map<number, number>,
  values: readonly number[],
  schema: number,
): void {
  for (const value of values) {
    const index = Math.ceil(Math.log2(value) * 2 ** schema);
    buckets.set(index, (buckets.get(index) ?? 0) + 1);
  }
}

/** A day of two targets; from `faultAt` on one in twenty requests of target a takes 20 times as long. */
export function* dayOf(options: {
  seed: number;
  faultAt: number;
  steps: number;
}): Generator<Sample[]> {
  const random = randomOf(options.seed);
  const targets = ['a', 'b'].map((target) => ({
    target,
    totals: new Array<number>(12).fill(0),
    buckets: new Map<number, number>(),
  }));
  for (let i = 0; i < options.steps; i++) {
    const at = BEGIN + i * STEP;
    const load = 1 + 0.8 * Math.sin((2 * Math.PI * i) / 5760);
    const samples: Sample[] = [];
    for (const { target, totals, buckets } of targets) {
      const isFaulty = target === 'a' && i >= options.faultAt;
      // The mean stays: what the slow ones add, the others are faster.
      const shape = isFaulty ? { median: 0.021, tail: 0.05 } : { median: 0.04 };
      const requests = Math.round(200 * load + 20 * random());
      const values = Array.from({ length: requests }, () => durationOf(random, shape));
      for (const value of values) {
        const bucket = BOUNDS.findIndex((bound) => value <= bound);
        totals[bucket < 0 ? BOUNDS.length : bucket]! += 1;
      }
      count(buckets, values, 3);
      samples.push(...scrape(at, totals, { target }));
      samples.push(native(at, { schema: 3, buckets }, `native-${target}`));
    }
    yield samples;
  }
}
