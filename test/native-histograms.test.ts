// Native histograms as the scorer sees them: the same values as classic ones of the same observations, whatever the
// scale, and one outcome for each sample.

import { expect, test } from 'vitest';
import { Histogram_ResetHint } from '../src/gen/remote_write_v2_pb.js';
import { OUTCOMES } from '../src/scorer/partition.js';
import { Builds, NOW_MS } from './decode-builds.js';
import {
  BEGIN,
  BOUNDS,
  count,
  derivedOf,
  durationOf,
  type Native,
  native,
  nativeLabels,
  observe,
  partitionOf,
  record,
  rowsOf,
  STEP,
  scrape,
} from './histogram-scrapes.js';
import { randomOf } from './random.js';
import { literalBlock } from './wire-bytes.js';
import { writeRequestV2 } from './write-request-v2.js';

test('a native histogram and a classic one of the same observations agree within a bucket', async () => {
  const ok = async (schema: number, isFloat: boolean, tolerance: number) => {
    const random = randomOf(schema + 20);
    const bounds = Array.from({ length: 60 }, (_, i) => 0.001 * 1.2 ** i);
    const classic = partitionOf();
    const sparse = partitionOf();
    const totals = new Array<number>(bounds.length + 1).fill(0);
    const buckets = new Map<number, number>();
    let newest: number[] = [];
    for (let i = 0; i < 8; i++) {
      newest = Array.from({ length: 500 }, () => durationOf(random, { median: 0.05, tail: 0.05 }));
      for (const value of newest) totals[bounds.findIndex((bound) => value <= bound)]! += 1;
      count(buckets, newest, schema);
      const at = BEGIN + i * STEP;
      classic.apply(record(scrape(at, totals, { bounds })));
      sparse.apply(record([native(at, { schema, buckets, isFloat })]));
    }
    const sorted = newest.toSorted((a, b) => a - b);
    const [median, p99] = await derivedOf(sparse);
    const [classicMedian, classicP99] = await derivedOf(classic);
    const near = (got: number | undefined, want: number | undefined, factor: number) => {
      expect(got).toBeGreaterThan((want as number) / factor);
      expect(got).toBeLessThan((want as number) * factor);
    };
    near(median, sorted[249], tolerance);
    near(p99, sorted[494], tolerance);
    near(classicMedian, median, 1.2 * tolerance);
    near(classicP99, p99, 1.2 * tolerance);
    expect(sparse.counts).toMatchObject({ applied: 8, refused: 0, unscored: 0 });
  };
  await ok(3, false, 2 ** (1 / 8));
  await ok(8, true, 1.01);
  await ok(0, false, 2);
  await ok(-1, true, 4);
});

test('custom buckets give the very values that classic ones give', async () => {
  const random = randomOf(4);
  const classic = partitionOf();
  const custom = partitionOf();
  const totals = new Array<number>(12).fill(0);
  for (let i = 0; i < 30; i++) {
    observe(totals, random, { median: 0.05, count: 300, tail: 0.1 });
    const at = BEGIN + i * STEP;
    classic.apply(record(scrape(at, totals)));
    const filled = totals.flatMap((n, index): [number, number][] => (n > 0 ? [[index, n]] : []));
    const value = { schema: -53, bounds: BOUNDS, buckets: new Map(filled), zeroThreshold: 0 };
    custom.apply(record([native(at, value)]));
  }
  const want = await derivedOf(classic);
  const got = await derivedOf(custom);
  for (const i of [0, 1, 2]) expect(got[i]).toBeCloseTo(want[i] as number, 6);
});

test('negative values and those near zero have their place', async () => {
  const partition = partitionOf();
  const play = async (i: number, value: Omit<Native, 'schema'>) => {
    partition.apply(record([native(BEGIN + i * STEP, { schema: 0, ...value })]));
    return derivedOf(partition);
  };
  await play(0, { buckets: new Map() });
  // 100 in [-2, -1), 100 around zero, 100 in (1, 2].
  const three = {
    negative: new Map([[1, 100]]),
    zeroCount: 100,
    zeroThreshold: 0.5,
    buckets: new Map([[1, 100]]),
  };
  // The width of the zero bucket is another now, so this only begins an interval.
  await play(1, { ...three, buckets: new Map() });
  const more = { ...three, negative: new Map([[1, 200]]), zeroCount: 300 };
  const [median, p99] = await play(2, more);
  // -2 … -1: 100, -0.5 … 0.5: 200, 1 … 2: 100.
  expect(median).toBeCloseTo(0, 12);
  expect(p99).toBeCloseTo(1.96, 12);
  // Only around zero and above: what is near zero is not below it.
  const above = { ...more, zeroCount: 700, buckets: new Map([[1, 200]]) };
  expect((await play(3, above))[0]).toBeCloseTo(0.3125, 12);
});

test('the scale of a native histogram may change between samples, both ways', async () => {
  const random = randomOf(9);
  const partition = partitionOf();
  const values: number[] = [];
  let newest: number[] = [];
  const scales = [5, 5, 3, 3, 5, 1, 8, 8];
  for (const [i, schema] of scales.entries()) {
    newest = Array.from({ length: 400 }, () => durationOf(random, { median: 0.05 }));
    values.push(...newest);
    const buckets = new Map<number, number>();
    count(buckets, values, schema);
    partition.apply(record([native(BEGIN + i * STEP, { schema, buckets })]));
    if (i === 0) continue;
    // A reset would show all that was ever counted: the interval has only the newest.
    const scale = Math.min(schema, scales[i - 1]!);
    const growth = 2 ** (2 ** -scale);
    const want = newest.toSorted((a, b) => a - b)[199]!;
    const [median] = await derivedOf(partition);
    expect(median).toBeGreaterThan(want / growth);
    expect(median).toBeLessThan(want * growth);
  }
});

test('a native histogram that falls, or says so, has started again', async () => {
  const play = async (hint: Histogram_ResetHint, last: [number, number][]) => {
    const partition = partitionOf();
    for (let i = 0; i < 3; i++) {
      const buckets = new Map([[3, 1000 * (i + 1)]]);
      partition.apply(record([native(BEGIN + i * STEP, { schema: 0, buckets })]));
    }
    const value = { schema: 0, buckets: new Map(last), hint };
    partition.apply(record([native(BEGIN + 3 * STEP, value)]));
    return (await derivedOf(partition))[0];
  };
  const { UNSPECIFIED, YES, GAUGE } = Histogram_ResetHint;
  expect(
    await play(UNSPECIFIED, [
      [3, 2000],
      [5, 2000],
    ]),
  ).toBeCloseTo(8, 12);
  expect(
    await play(UNSPECIFIED, [
      [3, 3000],
      [5, 1000],
    ]),
  ).toBeCloseTo(24, 12);
  expect(
    await play(YES, [
      [3, 3000],
      [5, 1000],
    ]),
  ).toBeCloseTo(4 + (4 * 2) / 3, 12);
  expect(
    await play(GAUGE, [
      [3, 3000],
      [5, 1000],
    ]),
  ).toBeCloseTo(4 + (4 * 2) / 3, 12);
});

test('each native histogram has one outcome', () => {
  const partition = partitionOf(4);
  const buckets = new Map([[3, 1000]]);
  const one = native(BEGIN, { schema: 0, buckets });
  partition.apply(record([one], []));
  expect(partition.counts).toMatchObject({ refused: 1 });
  partition.apply(record([one]));
  partition.apply(record([one]));
  partition.apply(record([native(BEGIN, { schema: 0, buckets, sum: 2 })]));
  partition.apply(record([native(BEGIN - 1, { schema: 0, buckets })]));
  partition.apply(record([native(BEGIN + 1, { schema: 0, buckets, sum: Number.NaN })]));
  expect(partition.counts).toMatchObject({ applied: 2, duplicate: 1, conflict: 1, late: 1 });
  // No room for the derived series of a second one.
  partition.apply(record([native(BEGIN, { schema: 0, buckets }, 'b')]));
  // A scale that does not exist.
  partition.apply(record([native(BEGIN + 2, { schema: 60, buckets })]));
  expect(partition.counts).toMatchObject({ applied: 2, refused: 3, unscored: 0 });
  const sum = OUTCOMES.reduce((all, outcome) => all + partition.counts[outcome], 0);
  expect(sum).toBe(8);
});

test('a native series announced without a type gives its record back', async () => {
  const partition = partitionOf(5);
  const buckets = new Map([[3, 1000]]);
  const { type: _, ...untyped } = native(BEGIN, { schema: 0, buckets });
  partition.apply(record([untyped]));
  expect(partition.counts).toMatchObject({ applied: 1, refused: 0 });
  expect([partition.slots.count, partition.slots.scored]).toEqual([4, 3]);
  // A single value of such a series is not scored.
  partition.apply(record([{ labels: nativeLabels(), at: BEGIN + 1, value: 5 }]));
  expect(partition.counts).toMatchObject({ applied: 1, unscored: 1 });
});

test('where both forms are sent, the native one is scored', async () => {
  const partition = partitionOf();
  const totals = new Array<number>(12).fill(0);
  for (let i = 0; i < 8; i++) {
    totals[4]! += 100;
    const at = BEGIN + i * STEP;
    const buckets = new Map([[3, 100 * (i + 1)]]);
    partition.apply(record([...scrape(at, totals), native(at, { schema: 0, buckets })]));
  }
  expect((await derivedOf(partition))[0]).toBeCloseTo(6, 12);
  expect(partition.histograms.count).toBe(1);
  // Half an hour after the last one the buckets speak again.
  for (let i = 128; i < 132; i++) {
    totals[4]! += 100;
    partition.apply(record(scrape(BEGIN + i * STEP, totals)));
  }
  expect((await derivedOf(partition))[0]).toBeCloseTo(0.075, 12);
});

test('what the receiver makes of a 2.0 request is scored, and each sample has one outcome', async () => {
  const builds = new Builds({ partitions: 1 });
  const partition = partitionOf();
  let logged = 0;
  for (let i = 0; i < 8; i++) {
    const timestampMs = NOW_MS + i * STEP;
    const growth = 100 * (i + 1);
    const buckets = ['1', '2', '+Inf'].map((le) => ({
      labels: { __name__: 'job_seconds_bucket', instance: 'a', le },
      samples: [{ timestampMs, value: le === '1' ? 0 : growth, startMs: NOW_MS - 1 }],
      metadata: { type: 'histogram' as const },
    }));
    const one = {
      labels: { __name__: 'http_seconds', instance: 'a' },
      metadata: { type: 'histogram' as const, unit: 'seconds' },
      histograms: [
        {
          timestampMs,
          schema: 0,
          count: 2 * growth,
          positive: { spans: [[3, 2] as const], deltas: [growth, 0] },
        },
      ],
    };
    const body = literalBlock(writeRequestV2([one, ...buckets]));
    const decoded = builds.body(body, { version: 2, nowMs: timestampMs });
    for (const { bytes, samples } of decoded.blocks) {
      partition.apply(bytes);
      logged += samples;
    }
  }
  expect((await derivedOf(partition))[0]).toBeCloseTo(8, 12);
  const rows = await rowsOf(partition);
  const other = rows.find(
    ({ labels }) => labels['__name__'] === 'job_seconds' && labels['quantile'] === '0.5',
  );
  expect(other?.lastValue).toBeCloseTo(1.5, 12);
  expect(logged).toBe(8 * 4);
  expect(partition.counts).toMatchObject({ applied: 8, unscored: 24 });
  expect(OUTCOMES.reduce((all, outcome) => all + partition.counts[outcome], 0)).toBe(logged);
});
