// The forest against its reference, bit for bit and byte for byte, on streams of everything that a
// sender may send; and the promises that the partition builds on: batches may be cut anywhere, a
// restored forest continues as if it had never stopped, and no input puts a NaN or an infinity into
// a record or a score. On both builds.

import { expect, test } from 'vitest';
import {
  type Dismissal,
  type SeriesKind,
  type ShownRule,
  WasmForest,
} from '../src/scorer/wasm-forest.js';
import { BUILDS, bitsOf, loadModule, observeAll, type Sample } from './forest-runs.js';
import { normalFrom, randomFrom } from './realistic-series.js';
import { ReferenceSeries, type Row } from './reference-forest.js';
import { recordOf } from './reference-record.js';
import { ReferenceShown } from './reference-rules.js';
import { plantTrees } from './reference-trees.js';

const STALE = 0x7ff0000000000002n;
const START = 1_700_000_000_000n;
const KINDS: readonly SeriesKind[] = ['gauge', 'counter', 'guessed-counter'];
const SEED = 1;
const MODULES = BUILDS.map((build) => ({ build, module: loadModule(build) }));

function createForest(module: WebAssembly.Module, kinds: readonly SeriesKind[]): WasmForest {
  const forest = new WasmForest(module, { seriesMax: kinds.length, seed: SEED });
  for (const [slot, kind] of kinds.entries()) forest.open(slot, kind);
  return forest;
}

/** Where a record's floats are; all but the raw bits of the last sample must be numbers. */
const FLOATS_AT = [
  ...Array.from({ length: 38 }, (_, i) => 44 + 4 * i),
  ...Array.from({ length: 6 }, (_, i) => 408 + 4 * i),
];

/** Offset of the first float that is none, or -1. */
function firstNotFinite(record: Uint8Array): number {
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  if (!Number.isFinite(view.getFloat64(16, true))) return 16;
  return FLOATS_AT.find((at) => !Number.isFinite(view.getFloat32(at, true))) ?? -1;
}

const HOSTILE = [
  NaN,
  Infinity,
  -Infinity,
  1e308,
  -1e308,
  Number.MAX_VALUE,
  -Number.MAX_VALUE,
  Number.MIN_VALUE,
  1e-310,
  -1e-310,
  1e-300,
  0,
  -0,
  1e30,
  -1e31,
  3.4e38,
  1e-45,
  1e15 + 0.3,
]
  .map(bitsOf)
  .concat([STALE, 0xfff8000000000001n, 0x7ff0000000000001n]);

/** Values as a series of this shape might have them; `i` counts its samples. */
const SHAPES: ((random: () => number, normal: () => number) => (i: number) => bigint)[] = [
  (_, normal) => () => bitsOf(100 + 5 * normal()),
  (_, normal) => (i) => bitsOf(8e9 + 10 * normal() + (i % 97 === 0 ? 500 : 0)),
  (_, normal) => (i) => bitsOf(i < 400 ? 7 : 7 + normal()),
  (random) => (i) => bitsOf(Math.floor(i / 40) * 40 + Math.floor(3 * random())),
  (random) => (i) => bitsOf(i % 250 < 5 ? 3 * (i % 250) : 50 * i * (0.9 + 0.1 * random())),
  (random, normal) => () =>
    random() < 0.1 ? HOSTILE[Math.floor(random() * HOSTILE.length)]! : bitsOf(20 + normal()),
  (random) => () => HOSTILE[Math.floor(random() * HOSTILE.length)]!,
  (random) => (i) => bitsOf(i % 900 < 600 ? Math.floor(4 * random()) : 2),
  (random, normal) => () => bitsOf(Math.exp(200 * normal()) * (random() < 0.5 ? -1 : 1)),
];

/**
 * Series of every kind and shape, with gaps, duplicates, conflicts, late samples and stale
 * markers.
 */
function hostileStream(seed: number, count: number): { kinds: SeriesKind[]; samples: Sample[] } {
  const random = randomFrom(seed);
  const normal = normalFrom(random);
  const kinds = SHAPES.flatMap(() => KINDS);
  const series = kinds.map((_, slot) => ({
    next: SHAPES[Math.floor(slot / KINDS.length)]!(random, normal),
    timestamp: START + BigInt(slot),
    bits: 0n,
    count: 0,
    interval: [1000n, 15_000n, 60_000n, 1_800_000n][slot % 4]!,
  }));
  const samples: Sample[] = [];
  while (samples.length < count) {
    const slot = Math.floor(random() * series.length);
    const one = series[slot]!;
    const luck = random();
    if (luck < 0.01) one.timestamp += 0n;
    else if (luck < 0.02) one.bits = bitsOf(random());
    else if (luck < 0.03) {
      samples.push({ slot, timestamp: one.timestamp - 1n, bits: bitsOf(1) });
      continue;
    } else {
      one.timestamp += luck < 0.04 ? one.interval * 50n : one.interval + BigInt(slot % 3);
      one.bits = luck > 0.998 ? STALE : one.next(one.count++);
    }
    samples.push({ slot, timestamp: one.timestamp, bits: one.bits });
  }
  return { kinds, samples };
}

function referenceRows(kinds: readonly SeriesKind[], samples: readonly Sample[]) {
  const trees = plantTrees(SEED);
  const series = kinds.map((kind) => new ReferenceSeries(trees, kind));
  const rows = samples.map(({ slot, timestamp, bits }) => series[slot]!.observe(timestamp, bits));
  return { rows, records: series.map(recordOf) };
}

test('a forest imports the memory and abort, nothing else', () => {
  for (const { module } of MODULES) {
    const imports = WebAssembly.Module.imports(module).map(({ module: from, name }) => [
      from,
      name,
    ]);
    expect(imports.sort()).toEqual([
      ['env', 'abort'],
      ['env', 'memory'],
    ]);
  }
});

test('a record has 832 bytes in format 2, begins as zeros and is zeros again when cleared', () => {
  for (const { module } of MODULES) {
    const forest = createForest(module, ['gauge', 'counter']);
    expect([forest.recordBytes, forest.recordFormat]).toEqual([832, 2]);
    expect(forest.records(2).length).toBe(2 * 832);
    expect(forest.records(2).some((byte) => byte !== 0)).toBe(true);
    forest.clear(0);
    forest.clear(1);
    expect(forest.records(2).every((byte) => byte === 0)).toBe(true);
  }
});

test.each(MODULES)(
  '$build agrees with the reference in every bit of rows and records',
  ({ module }) => {
    for (const seed of [1, 2, 3]) {
      const { kinds, samples } = hostileStream(seed, 60_000);
      const forest = createForest(module, kinds);
      const rows = observeAll(forest, samples);
      const reference = referenceRows(kinds, samples);
      const wrong = rows.findIndex((row, i) => !isSame(row, reference.rows[i]!));
      const sides = wrong < 0 ? [] : [samples[wrong], rows[wrong], reference.rows[wrong]];
      expect(sides, `seed ${seed}, sample ${wrong}`).toEqual([]);
      for (const [slot, record] of reference.records.entries()) {
        const own = forest.records(slot + 1).subarray(832 * slot);
        expect(own, `seed ${seed}, record ${slot}`).toEqual(record);
      }
      const seen = new Set(rows.map(({ outcome }) => outcome));
      expect([...seen].sort()).toEqual(['applied', 'conflict', 'duplicate', 'late']);
      const phases = new Set(rows.map(({ event }) => event?.phase));
      expect([...phases].sort()).toEqual(['end', 'onset', 'peak', undefined]);
    }
  },
);

const RULES: readonly ShownRule[] = [
  {},
  { side: 'above' as const },
  { side: 'below' as const, minDeviation: 3 },
  { needed: 2, among: 3 },
  { needed: 3, among: 32, minRelativeDeviation: 0.1 },
  { threshold: 1.3, needed: 1, among: 5 },
  { isIgnored: true },
].map((fields) => ({
  ...{ side: 'both' as const, minDeviation: 0, minRelativeDeviation: 0 },
  ...{ needed: 1, among: 1, threshold: 1, isIgnored: false, ...fields },
}));
const DISMISSALS: readonly Dismissal[] = [
  { above: 0, below: 0, bandsAbove: 0, bandsBelow: 0, isQuietFalse: false },
  { above: 12.5, below: 0, bandsAbove: 0, bandsBelow: 2.7, isQuietFalse: true },
  { above: 0, below: Infinity, bandsAbove: 1.5, bandsBelow: 0, isQuietFalse: false },
];

test.each(MODULES)(
  '$build shows by rules what the reference shows, and its records are those without rules',
  ({ module }) => {
    const phases: (string | undefined)[] = [];
    for (const seed of [21, 22, 23, 24]) {
      const { kinds, samples } = hostileStream(seed, 40_000);
      const forest = createForest(module, kinds);
      const trees = plantTrees(SEED);
      const series = kinds.map((kind, slot) => {
        const rule = RULES[(slot + seed) % RULES.length]!;
        const dismissal = DISMISSALS[slot % DISMISSALS.length]!;
        forest.writeRule(slot + 1, rule);
        forest.assignRule(slot, slot + 1);
        forest.dismiss(slot, dismissal);
        const reference = new ReferenceSeries(trees, kind);
        return { reference, shown: new ReferenceShown(rule, dismissal) };
      });
      const rows = observeAll(forest, samples);
      const wanted = samples.map(({ slot, timestamp, bits }) => {
        const { reference, shown } = series[slot]!;
        return shown.show(reference.observe(timestamp, bits), reference, timestamp);
      });
      const wrong = rows.findIndex((row, i) => !isSame(row, wanted[i]!));
      const sides = wrong < 0 ? [] : [samples[wrong], rows[wrong], wanted[wrong]];
      expect(sides, `seed ${seed}, sample ${wrong}`).toEqual([]);
      const records = Buffer.concat(series.map(({ reference }) => recordOf(reference)));
      expect(Buffer.compare(forest.records(kinds.length), records), `seed ${seed}`).toBe(0);
      phases.push(...rows.map(({ event }) => event?.phase));
    }
    const count = (phase: string) => phases.filter((found) => found === phase).length;
    expect([count('onset') > 40, count('peak') > 0, count('end') > 40]).toEqual([true, true, true]);
  },
);

/**
 * A long quiet life, so that counters are halved and the seasons are known: a month at a sample a
 * minute.
 */
test('the release agrees with the reference over 45,000 samples of one series', () => {
  const random = randomFrom(9);
  const normal = normalFrom(random);
  const samples = Array.from({ length: 45_000 }, (_, i) => ({
    slot: 0,
    timestamp: START + 60_000n * BigInt(i),
    bits: bitsOf(50 + 20 * Math.sin(i / 229) + normal()),
  }));
  const forest = createForest(MODULES[0]!.module, ['gauge']);
  const rows = observeAll(forest, samples);
  const reference = referenceRows(['gauge'], samples);
  expect(rows.findIndex((row, i) => !isSame(row, reference.rows[i]!))).toBe(-1);
  expect(forest.records(1)).toEqual(reference.records[0]);
});

function isSame(a: Row, b: Row): boolean {
  const keys = [
    'outcome',
    'score',
    'alarm',
    'flag',
    'value',
    'expected',
    'lower',
    'upper',
  ] as const;
  if (keys.some((key) => !Object.is(a[key], b[key]))) return false;
  const [left, right] = [a.event, b.event];
  if (left === undefined || right === undefined) return left === right;
  const words = (event: typeof left): string =>
    [event.phase, event.cause, event.onset, event.timestamp].join();
  return words(left) === words(right);
}

test.each(MODULES)('$build gives the same wherever its batches are cut', ({ module }) => {
  const seed = 4;
  const { kinds, samples } = hostileStream(seed, 20_000);
  const [whole, cut] = [createForest(module, kinds), createForest(module, kinds)];
  const random = randomFrom(seed);
  const rows = observeAll(whole, samples);
  const others = observeAll(cut, samples, () => 1 + Math.floor(random() * 40));
  expect(
    rows.findIndex((row, i) => !isSame(row, others[i]!)),
    `seed ${seed}`,
  ).toBe(-1);
  expect(cut.records(kinds.length), `seed ${seed}`).toEqual(whole.records(kinds.length));
});

test.each(MODULES)(
  '$build restored from its records continues as if it had never stopped',
  ({ module }) => {
    const seed = 5;
    const { kinds, samples } = hostileStream(seed, 30_000);
    const first = createForest(module, kinds);
    const rows = observeAll(first, samples.slice(0, 17_000));
    const kept = first.records(kinds.length).slice();
    const second = new WasmForest(module, { seriesMax: kinds.length + 5, seed: SEED });
    second.open(kinds.length + 2, 'gauge');
    second.restore(kept);
    rows.push(...observeAll(second, samples.slice(17_000)));
    const never = createForest(module, kinds);
    const others = observeAll(never, samples);
    expect(
      rows.findIndex((row, i) => !isSame(row, others[i]!)),
      `seed ${seed}`,
    ).toBe(-1);
    expect(second.records(kinds.length)).toEqual(never.records(kinds.length));
    const behind = second.records(kinds.length + 5).subarray(832 * kinds.length);
    expect(behind.every((byte) => byte === 0)).toBe(true);
  },
);

test('no input puts a NaN or an infinity into a record, and every score is a number', () => {
  for (const seed of [11, 12, 13, 14]) {
    const { kinds, samples } = hostileStream(seed, 40_000);
    const forest = createForest(MODULES[0]!.module, kinds);
    for (let from = 0; from < samples.length; from += 1000) {
      const rows = observeAll(forest, samples.slice(from, from + 1000));
      const isSound = ({ score, expected, lower, upper, value, alarm }: Row): boolean =>
        Number.isNaN(score)
          ? alarm === 0
          : score >= 0 && [score, expected, lower, upper, value, alarm].every(Number.isFinite);
      expect(
        rows.find((row) => !isSound(row)),
        `seed ${seed}`,
      ).toBeUndefined();
      for (let slot = 0; slot < kinds.length; slot++) {
        const at = firstNotFinite(forest.records(slot + 1).subarray(832 * slot));
        expect(at, `seed ${seed}, slot ${slot}, before sample ${from + 1000}`).toBe(-1);
      }
    }
  }
});

test('a slot that nobody opened, or that is not there, stops the forest', () => {
  const forest = createForest(MODULES[0]!.module, ['gauge']);
  const sample = { slot: 0, timestamp: START, bits: bitsOf(1) };
  expect(() => observeAll(forest, [{ ...sample, slot: 1 }])).toThrow(/stopped itself/);
  forest.clear(0);
  expect(() => observeAll(forest, [sample])).toThrow(/stopped itself/);
});
