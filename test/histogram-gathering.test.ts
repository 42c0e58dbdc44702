// The buckets of a scrape come one by one, in any order and cut anywhere; what they lead to does not depend on it. Here
// is also what is forgotten, and that a checkpoint has all of it.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { HISTOGRAM_BUCKETS_MAX, HISTOGRAM_MISSES_MAX } from '../src/limits.js';
import { restoreCheckpoint, takeSnapshot, writeCheckpoint } from '../src/scorer/checkpoint.js';
import {
  BEGIN,
  BOUNDS,
  dayOf,
  derivedOf,
  hashOf,
  lineage,
  native,
  observe,
  partitionOf,
  record,
  rowsOf,
  type Sample,
  STEP,
  scrape,
} from './histogram-scrapes.js';
import { MemoryStore, type Versioned } from './memory-store.js';
import { randomOf } from './random.js';

test('the buckets of a scrape may come in any order, beside those of the next one and of others', async () => {
  const random = randomOf(7);
  const [a, b] = [new Array<number>(12).fill(0), new Array<number>(12).fill(0)];
  const inOrder: Sample[] = [];
  const perSeries = new Map<string, Sample[]>();
  for (let i = 0; i < 40; i++) {
    observe(a, random, { median: 0.04, count: 200 });
    observe(b, random, { median: 0.4, count: 300 });
    const both = [...scrape(BEGIN + i * STEP, a), ...scrape(BEGIN + i * STEP, b, { target: 'b' })];
    inOrder.push(...both);
    for (const one of both) {
      const key = JSON.stringify(one.labels);
      perSeries.set(key, [...(perSeries.get(key) ?? []), one]);
    }
  }
  const straight = partitionOf();
  straight.apply(record(inOrder));
  // Each series keeps its order, and no series is more than one scrape ahead of another.
  const shuffled: Sample[] = [];
  const series = [...perSeries.values()];
  const sent = series.map(() => 0);
  while (shuffled.length < inOrder.length) {
    const slowest = Math.min(...sent);
    const ready = series.flatMap((_, i) => (sent[i]! <= slowest && sent[i]! < 40 ? [i] : []));
    const early = series.flatMap((_, i) => (sent[i]! === slowest + 1 && sent[i]! < 40 ? [i] : []));
    const from = random() < 0.3 && early.length > 0 ? early : ready;
    const next = from[Math.floor(random() * from.length)]!;
    shuffled.push(series[next]![sent[next]!++]!);
  }
  const mixed = partitionOf();
  mixed.apply(record(shuffled));
  for (const target of ['a', 'b']) {
    const want = await derivedOf(straight, target);
    const got = await derivedOf(mixed, target);
    expect(got.slice(0, 2)).toEqual(want.slice(0, 2));
    expect(want.every((value) => value !== undefined)).toBe(true);
  }
  expect((await derivedOf(mixed, 'b'))[0]).not.toEqual((await derivedOf(mixed, 'a'))[0]);
});

test('however the samples are cut into records, the state is the same to the bit', () => {
  const random = randomOf(11);
  const totals = new Array<number>(12).fill(0);
  const samples: Sample[] = [];
  for (let i = 0; i < 60; i++) {
    observe(totals, random, { median: 0.04, count: 200 });
    samples.push(...scrape(BEGIN + i * STEP, totals));
    samples.push(...scrape(BEGIN + i * STEP, totals, { target: 'b', bounds: BOUNDS.slice(3) }));
    if (i % 7 === 3) samples.splice(samples.length - 5, 1 + (i % 3));
  }
  const whole = partitionOf();
  whole.apply(record(samples));
  const want = hashOf(whole);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }), (sizes) => {
      const parts = partitionOf();
      parts.apply(record([], samples));
      for (let from = 0, turn = 0; from < samples.length; turn++) {
        const size = sizes[turn % sizes.length]!;
        parts.apply(record(samples.slice(from, from + size), []));
        from += size;
      }
      expect(hashOf(parts)).toBe(want);
    }),
    { numRuns: 25 },
  );
});

test('a scrape of which a bucket is missing is passed over, and the next one holds its observations', async () => {
  const partition = partitionOf();
  const totals = new Array<number>(12).fill(0);
  for (let i = 0; i < 6; i++) {
    totals[4]! += 100;
    partition.apply(record(scrape(BEGIN + i * STEP, totals)));
  }
  totals[6]! += 100;
  partition.apply(record(scrape(BEGIN + 6 * STEP, totals).toSpliced(3, 1)));
  expect((await derivedOf(partition))[0]).toBeCloseTo(0.075, 12);
  totals[4]! += 100;
  partition.apply(record(scrape(BEGIN + 7 * STEP, totals)));
  // Half of 200 in the bucket up to 0.1, half in that up to 0.5.
  expect((await derivedOf(partition))[0]).toBeCloseTo(0.1, 12);
});

test('a bucket that stays away is waited for a while, then the others are the histogram', async () => {
  const partition = partitionOf();
  const totals = new Array<number>(12).fill(0);
  const medians: (number | undefined)[] = [];
  for (let i = 0; i < 6 + HISTOGRAM_MISSES_MAX + 5; i++) {
    totals[i < 6 ? 4 : 6]! += 100;
    const all = scrape(BEGIN + i * STEP, totals);
    partition.apply(record(i < 6 ? all : all.toSpliced(6, 1)));
    medians.push((await derivedOf(partition))[0]);
  }
  expect(medians[6 + HISTOGRAM_MISSES_MAX - 1]).toBeCloseTo(0.075, 12);
  // Between 0.25 and 1 now, because 0.5 is gone.
  expect(medians.at(-1)).toBeCloseTo(0.25 + 0.75 / 2, 12);
});

test('samples that come again, or too late, change nothing', () => {
  const totals = [1, 2, 3, 4, 100, 200, 50, 10, 5, 3, 2, 1];
  const scrapes = [0, 1, 2, 3, 4, 5].map((i) =>
    scrape(
      BEGIN + i * STEP,
      totals.map((count) => count * (i + 1)),
    ),
  );
  const once = partitionOf();
  const again = partitionOf();
  for (const [i, samples] of scrapes.entries()) {
    once.apply(record(samples));
    again.apply(record(samples));
    again.apply(record(samples.map((one) => ({ ...one, value: 7 }))));
    if (i > 2) again.apply(record(scrapes[i - 2]!));
  }
  expect(again.histograms.encode()).toEqual(once.histograms.encode());
  expect(again.counts['unscored']).toBe(12 * (6 + 6 + 3));
});

test('two series of one bound: one is taken, the other when the first is gone', async () => {
  const partition = partitionOf();
  const scrapeOf = (i: number, isNew: boolean) =>
    scrape(BEGIN + i * STEP, [100 * i], { bounds: [0.5, 1] }).map((one) => {
      const le = isNew && one.labels['le'] === '1' ? '1.0' : one.labels['le']!;
      return { ...one, labels: { ...one.labels, le } };
    });
  for (let i = 0; i < 6; i++) partition.apply(record(scrapeOf(i, false)));
  // A newer sender writes 1.0. Announced again every 10 minutes, which is 40 scrapes.
  const last = 6 + 2 * HISTOGRAM_MISSES_MAX + 10;
  for (let i = 6; i < last; i++) {
    partition.apply(record(scrapeOf(i, true), i % 40 === 6 ? scrapeOf(i, true) : []));
  }
  const row = (await rowsOf(partition)).find(({ labels }) => labels['quantile'] === '0.5');
  expect(row?.lastTimestamp).toBe(new Date(BEGIN + (last - 1) * STEP).toISOString());
});

test('beyond the limit of buckets the others make the histogram, and +Inf is always among them', async () => {
  const partition = partitionOf(1000);
  const bounds = Array.from({ length: HISTOGRAM_BUCKETS_MAX + 50 }, (_, i) => i + 1);
  for (let i = 0; i < 5; i++) {
    const counts = bounds.map((bound) => (bound === 7 ? 100 * i : 0));
    partition.apply(record(scrape(BEGIN + i * STEP, counts, { bounds })));
  }
  expect((await derivedOf(partition))[0]).toBeCloseTo(6.5, 12);
  expect(partition.counts).toMatchObject({ unscored: 5 * (bounds.length + 1) });
});

test('a histogram is forgotten with its series, and scored again when it comes back', async () => {
  const partition = partitionOf();
  const day = 86_400_000;
  const play = (from: number) => {
    for (let i = 0; i < 5; i++) {
      const buckets = new Map([[3, 100 * (i + 1)]]);
      const at = from + i * STEP;
      const own = native(at, { schema: 0, buckets }, 'n');
      partition.apply(record([...scrape(at, [100 * i]), own]));
    }
  };
  play(BEGIN);
  expect([partition.histograms.count, partition.slots.scored]).toEqual([2, 6]);
  const other = (at: number) => ({ labels: { __name__: 'up', instance: 'x' }, at, value: 1 });
  for (let i = 1; i < 8; i++) partition.apply(record([other(BEGIN + i * day)]));
  expect([partition.histograms.count, partition.slots.scored]).toEqual([0, 1]);
  expect(partition.histograms.encode().length).toBe(8);
  play(BEGIN + 8 * day);
  expect([partition.histograms.count, partition.slots.scored]).toEqual([2, 7]);
  expect((await derivedOf(partition))[0]).toBeCloseTo(0.0025, 12);
});

test('restored from a checkpoint it goes on exactly as the original', async () => {
  const original = partitionOf();
  const days = [...dayOf({ seed: 8, faultAt: 90, steps: 200 })];
  const random = randomOf(2);
  // Some buckets are missing, and a scrape is half read when the checkpoint is written.
  const records = days.flatMap((samples) => {
    const kept = samples.filter(() => random() > 0.01);
    const half = Math.floor(kept.length / 2);
    return [record(kept.slice(0, half)), record(kept.slice(half))];
  });
  for (const bytes of records.slice(0, 151)) original.apply(bytes);
  const entries = new Map<string, Versioned>();
  await writeCheckpoint(new MemoryStore(entries), takeSnapshot(original, lineage, 151));
  const copy = partitionOf();
  const logger = { debug() {}, info() {}, warn() {}, error() {} };
  const options = { lineage, high: 1000, logger };
  expect(await restoreCheckpoint(new MemoryStore(entries), copy, options)).toBeDefined();
  expect(hashOf(copy)).toBe(hashOf(original));
  for (const bytes of records.slice(151)) {
    original.apply(bytes);
    copy.apply(bytes);
    expect(hashOf(copy)).toBe(hashOf(original));
  }
  expect(copy.counts).toEqual(original.counts);
});

test('a checkpoint from before histograms were scored is taken over', async () => {
  const original = partitionOf();
  const up = (i: number) => ({
    labels: { __name__: 'up', instance: 'x' },
    at: BEGIN + i * STEP,
    value: i % 3,
  });
  for (let i = 0; i < 200; i++) original.apply(record([up(i)]));
  const snapshot = takeSnapshot(original, lineage, 200);
  snapshot.manifest.version = 1;
  snapshot.manifest.histogramBytes = 0;
  const entries = new Map<string, Versioned>();
  await writeCheckpoint(new MemoryStore(entries), { ...snapshot, histograms: new Uint8Array() });
  const copy = partitionOf();
  const logger = { debug() {}, info() {}, warn() {}, error() {} };
  const options = { lineage, high: 1000, logger };
  expect(await restoreCheckpoint(new MemoryStore(entries), copy, options)).toBeDefined();
  for (const partition of [original, copy]) {
    for (let i = 200; i < 210; i++) {
      partition.apply(record([up(i), ...scrape(BEGIN + i * STEP, [100 * i])]));
    }
  }
  expect(hashOf(copy)).toBe(hashOf(original));
});
