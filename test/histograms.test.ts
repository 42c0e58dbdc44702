// Classic histograms as the scorer sees them: what their quantiles and shapes come to, through restarts, changed
// bounds and ends.

import { expect, test } from 'vitest';
import { MetricType } from '../src/gen/sample_block_pb.js';
import { gaugeLabelsOf } from '../src/scorer/gauge-profile.js';
import { Interval } from '../src/scorer/interval.js';
import { pageOfSeries } from '../src/scorer/series-view.js';
import {
  BEGIN,
  derivedOf,
  INF,
  partitionOf,
  record,
  rowsOf,
  STALE,
  STEP,
  scrape,
} from './histogram-scrapes.js';

test('quantiles are those of histogram_quantile', () => {
  const ok = (q: number, buckets: [lower: number, upper: number, mass: number][], want: number) => {
    const interval = new Interval(16);
    for (const bucket of buckets) interval.push(...bucket);
    expect(interval.quantile(q)).toBeCloseTo(want, 12);
  };
  const usual: [number, number, number][] = [
    [0, 1, 10],
    [1, 2, 20],
    [2, 4, 10],
    [4, INF, 0],
  ];
  ok(0.5, usual, 1.5); // rank 20: half of the second bucket
  ok(0.25, usual, 1); // rank 10: the end of the first
  ok(0.99, usual, 2 + 2 * 0.96); // rank 39.6
  ok(1, usual, 4);
  ok(
    0.5,
    [
      [0, 1, 1],
      [1, INF, 9],
    ],
    1,
  ); // above the highest finite bound: that bound
  ok(
    0.5,
    [
      [-INF, -1, 9],
      [-1, 1, 1],
      [1, INF, 0],
    ],
    -1,
  ); // below the lowest bound: that bound
  ok(
    0.99,
    [
      [0, 1, 0],
      [1, 2, 5],
      [2, INF, 0],
    ],
    1.99,
  );
});

test('the shape of the same proportions is the same, and disjoint shapes are one apart', () => {
  const far = partitionOf();
  const totals = new Array<number>(12).fill(0);
  const shapes: (number | undefined)[] = [];
  const play = async (bucket: number, count: number, at: number) => {
    totals[bucket]! += count;
    far.apply(record(scrape(at, totals)));
    shapes.push((await derivedOf(far))[2]);
  };
  return (async () => {
    for (let i = 0; i < 6; i++) await play(3, 1000, BEGIN + i * STEP);
    expect(shapes.at(-1)).toBe(0);
    await play(8, 1_000_000_000, BEGIN + 6 * STEP);
    expect(shapes.at(-1)).toBeGreaterThan(0.98);
    expect(shapes.at(-1)).toBeLessThanOrEqual(1);
  })();
});

test('an interval is what was observed since the scrape before', async () => {
  const partition = partitionOf();
  const totals = [0, 0, 0, 0, 1e6, 0, 0, 0, 0, 0, 0, 0];
  for (let i = 0; i < 3; i++) partition.apply(record(scrape(BEGIN + i * STEP, totals)));
  expect(await derivedOf(partition)).toEqual([undefined, undefined, undefined]);
  totals[6]! += 100;
  partition.apply(record(scrape(BEGIN + 3 * STEP, totals)));
  const [median, p99] = await derivedOf(partition);
  expect(median).toBeCloseTo(0.25 + 0.25 * 0.5, 12);
  expect(p99).toBeCloseTo(0.25 + 0.25 * 0.99, 12);
  expect(partition.counts).toMatchObject({ applied: 0, unscored: 4 * 12 });
});

test('an interval of too few observations goes on until there are enough', async () => {
  const partition = partitionOf();
  const totals = new Array<number>(12).fill(0);
  const seen: (number | undefined)[] = [];
  for (let i = 0; i < 6; i++) {
    totals[i]! += 20;
    partition.apply(record(scrape(BEGIN + i * STEP, totals)));
    seen.push((await derivedOf(partition))[0]);
  }
  // After the first three there are 20 in each of three buckets; 20 and 20 more are too few again.
  expect(seen).toEqual([undefined, undefined, undefined, 0.0175, 0.0175, 0.0175]);
});

test('a restart of the target is not a burst: what it counted since is the interval', async () => {
  const totals = new Array<number>(12).fill(0);
  const partition = partitionOf();
  for (let i = 0; i < 4; i++) {
    totals[4]! += 1000;
    partition.apply(record(scrape(BEGIN + i * STEP, totals)));
  }
  // It has counted 900 observations in another bucket since it came back.
  partition.apply(record(scrape(BEGIN + 4 * STEP, [0, 0, 0, 0, 0, 0, 900, 0, 0, 0, 0, 0])));
  expect((await derivedOf(partition))[0]).toBeCloseTo(0.375, 12);
});

test('a start timestamp tells of a restart that the counts do not show', async () => {
  const play = async (startMs?: number) => {
    const partition = partitionOf();
    for (let i = 0; i < 4; i++) {
      partition.apply(record(scrape(BEGIN + i * STEP, [100 + i * 100])));
    }
    const options = startMs === undefined ? {} : { startMs };
    const counts = [400, 0, 0, 0, 500, 0, 0, 0, 0, 0, 0, 0];
    partition.apply(record(scrape(BEGIN + 4 * STEP, counts, options)));
    return (await derivedOf(partition))[0];
  };
  // Without it the 400 are taken for the old ones, and all that is new lies in the fifth bucket.
  expect(await play()).toBeCloseTo(0.05 + 0.05 * 0.5, 12);
  expect(await play(BEGIN)).toBeCloseTo(0.05 + 0.05 * 0.5, 12);
  expect(await play(BEGIN + 3.5 * STEP)).toBeCloseTo(0.05 + 0.05 * 0.1, 12);
});

test('changed bounds are another shape, learnt anew; stale markers tell at once', async () => {
  const partition = partitionOf();
  const totals = new Array<number>(12).fill(0);
  for (let i = 0; i < 6; i++) {
    totals[4]! += 100;
    partition.apply(record(scrape(BEGIN + i * STEP, totals)));
  }
  const other = [0.1, 1];
  const at = BEGIN + 6 * STEP;
  const ended = scrape(at, totals)
    .filter(({ labels }) => ![...other.map(String), '+Inf'].includes(labels['le']!))
    .map((one) => ({ ...one, value: STALE }));
  const counts = [totals.reduce((a, b) => a + b), 0, 0];
  partition.apply(record([...ended, ...scrape(at, counts, { bounds: other })]));
  for (let i = 7; i < 10; i++) {
    counts[1]! += 100;
    partition.apply(record(scrape(BEGIN + i * STEP, counts, { bounds: other })));
  }
  const [median, , shape] = await derivedOf(partition);
  expect(median).toBeCloseTo(0.1 + 0.9 / 2, 12);
  expect(shape).toBe(0);
});

test('a target that ends ends its derived series, and counts from zero when it comes back', async () => {
  const partition = partitionOf();
  const totals = new Array<number>(12).fill(0);
  for (let i = 0; i < 6; i++) {
    totals[4]! += 100;
    partition.apply(record(scrape(BEGIN + i * STEP, totals)));
  }
  const gone = scrape(BEGIN + 6 * STEP, totals).map((one) => ({ ...one, value: STALE }));
  partition.apply(record(gone));
  const states = (await rowsOf(partition)).map(({ state }) => state);
  expect(states.filter((state) => state === 'stale')).toHaveLength(3);
  // More than before in every bucket: nothing falls, and yet it is another count.
  const more = totals.map((count) => count + 1000);
  partition.apply(record(scrape(BEGIN + 7 * STEP, more)));
  more[2]! += 100;
  partition.apply(record(scrape(BEGIN + 8 * STEP, more)));
  expect((await derivedOf(partition))[0]).toBeCloseTo(0.0175, 12);
});

test('without the bucket of all observations nothing is said', async () => {
  const partition = partitionOf();
  for (let i = 0; i < 8; i++) {
    partition.apply(record(scrape(BEGIN + i * STEP, [i * 100]).slice(0, -1)));
  }
  expect(await rowsOf(partition)).toHaveLength(11);
});

test('derived series have the labels of the set, without le and with their own', async () => {
  const partition = partitionOf();
  const samples = (i: number) =>
    scrape(BEGIN + i * STEP, [i * 100]).map((one) => ({
      ...one,
      labels: { ...one.labels, shape: 'square' },
    }));
  for (let i = 0; i < 8; i++) partition.apply(record(samples(i)));
  const rows = (await rowsOf(partition)).filter(({ state }) => state !== 'unscored');
  expect(rows.map(({ series }) => series)).toEqual([
    'http_seconds{instance="a", job="web", quantile="0.5", shape="square"}',
    'http_seconds{instance="a", job="web", quantile="0.99", shape="square"}',
    'http_seconds{exported_shape="square", instance="a", job="web", shape="distance"}',
  ]);
  const shown = gaugeLabelsOf(partition.labels(partition.slots.entryEnd - 1));
  expect(shown).toContainEqual({ name: 'source_metric', value: 'http_seconds' });
});

test('buckets of tenants are apart', async () => {
  const partition = partitionOf();
  for (let i = 0; i < 8; i++) {
    const block = record(scrape(BEGIN + i * STEP, [i * 100]));
    partition.apply(block);
    const other = scrape(BEGIN + i * STEP, [0, 0, 0, i * 100]).map((one) => ({
      ...one,
      labels: { ...one.labels, instance: 'a', other: 'x' },
    }));
    const tenant = Buffer.from([0x0a, 4, ...Buffer.from('acme')]);
    partition.apply(Buffer.concat([tenant, record(other)]));
  }
  expect(partition.histograms.count).toBe(2);
  const query = { tenant: 'acme', matches: () => true, limit: 100 };
  const { rows } = await pageOfSeries([[0, partition]], query);
  expect(rows.filter(({ state }) => state !== 'unscored')).toHaveLength(3);
});

test('the buckets of a gauge histogram are of now', async () => {
  const partition = partitionOf();
  const play = async (i: number, counts: readonly number[]) => {
    const samples = scrape(BEGIN + i * STEP, counts);
    const typed = samples.map((one) => ({ ...one, type: MetricType.GAUGE_HISTOGRAM }));
    partition.apply(record(typed));
    return (await derivedOf(partition))[0];
  };
  for (let i = 0; i < 4; i++) await play(i, [0, 0, 0, 0, 100]);
  expect(await play(4, [0, 0, 0, 0, 100])).toBeCloseTo(0.075, 12);
  expect(await play(5, [0, 0, 0, 0, 0, 0, 60])).toBeCloseTo(0.375, 12);
});

test('without room for derived series the buckets are known and nothing is scored', async () => {
  const partition = partitionOf(5);
  for (let i = 0; i < 6; i++) {
    partition.apply(record(scrape(BEGIN + i * STEP, [100 * i], { bounds: [1, 2] })));
    partition.apply(record(scrape(BEGIN + i * STEP, [100 * i], { bounds: [1, 2], target: 'b' })));
  }
  expect((await derivedOf(partition, 'a'))[0]).toBeCloseTo(0.5, 12);
  expect((await derivedOf(partition, 'b'))[2]).toBeUndefined();
  // None of its three was opened: two places are left.
  expect(partition.slots.room).toBe(2);
  expect(partition.counts).toMatchObject({ unscored: 36, refused: 0 });
});
