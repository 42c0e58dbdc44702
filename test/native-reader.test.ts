// Reading native histograms: what is put in comes out, broken bytes end in a refusal, and keys and bounds fit together
// on all scales.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { HISTOGRAM_BUCKETS_MAX } from '../src/limits.js';
import { NativeReader } from '../src/scorer/native-histogram.js';
import {
  boundOf,
  coarserKey,
  indexOf,
  keyOf,
  SCHEMA_MAX,
  SCHEMA_MIN,
  SparseCounts,
} from '../src/scorer/sparse-counts.js';
import { nativeBytes } from './histogram-scrapes.js';

const side = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 0, max: 1e6 })), {
    maxLength: 40,
  })
  .chain((steps) => fc.integer({ min: -3000, max: 3000 }).map((first) => ({ first, steps })))
  .map(({ first, steps }) => {
    let index = first;
    const buckets = new Map<number, number>();
    for (const [step, n] of steps) {
      index += step;
      buckets.set(index, n);
    }
    return buckets;
  });
const anyNative = fc.record({
  schema: fc.integer({ min: -4, max: 8 }),
  buckets: side,
  negative: side,
  zeroCount: fc.integer({ min: 0, max: 1000 }),
  isFloat: fc.boolean(),
});

test('the reader finds in a message what was put in', () => {
  const reader = new NativeReader();
  const counts = new SparseCounts();
  fc.assert(
    fc.property(anyNative, (value) => {
      expect(reader.read(nativeBytes(value), counts)).toBe(true);
      const want = new Map<number, number>();
      for (const [index, n] of value.negative) want.set(keyOf(index, true), n);
      want.set(0, value.zeroCount);
      for (const [index, n] of value.buckets) want.set(keyOf(index, false), n);
      const filled = [...want].filter(([, n]) => n > 0).sort(([a], [b]) => a - b);
      const got = Array.from(counts.keys.subarray(0, counts.count), (key, i) => [
        key,
        counts.values[i],
      ]);
      expect(got).toEqual(filled);
    }),
  );
});

test('scales finer than ours are brought to the finest of ours', () => {
  const reader = new NativeReader();
  const ok = (schema: number, index: number, want: number) => {
    const counts = new SparseCounts();
    const buckets = new Map([[index, 3]]);
    const negative = new Map([[index, 5]]);
    expect(reader.read(nativeBytes({ schema, buckets, negative }), counts)).toBe(true);
    expect(counts.schema).toBe(8);
    expect([...counts.keys.subarray(0, 2)]).toEqual([keyOf(want, true), keyOf(want, false)]);
    expect([...counts.values.subarray(0, 2)]).toEqual([5, 3]);
  };
  ok(8, 7, 7);
  ok(9, 7, 4);
  ok(9, 8, 4);
  ok(10, -7, -1);
  ok(10, -8, -2);
  ok(52, 2 ** 31 - 1, 1);
  ok(52, -(2 ** 31), 0);
  const counts = new SparseCounts();
  const buckets = new Map([[1, 3]]);
  expect(reader.read(nativeBytes({ schema: 53, buckets }), counts)).toBe(false);
  expect(reader.read(nativeBytes({ schema: -5, buckets }), counts)).toBe(false);
});

test('whatever the bytes are, the reader ends, and what it accepts is sound', () => {
  const reader = new NativeReader();
  const counts = new SparseCounts();
  const mutation = fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { minLength: 1, maxLength: 4 });
  let accepted = 0;
  fc.assert(
    fc.property(anyNative, mutation, fc.nat(300), (value, changes, cut) => {
      const bytes = nativeBytes(value);
      for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte;
      const mutated = cut < bytes.length ? bytes.subarray(0, cut) : bytes;
      if (!reader.read(mutated, counts) || reader.isStale) return;
      accepted++;
      const keys = [...counts.keys.subarray(0, counts.count)];
      expect(keys).toEqual(keys.toSorted((a, b) => a - b));
      const values = [...counts.values.subarray(0, counts.count)];
      expect(values.every((n) => n > 0 && Number.isFinite(n))).toBe(true);
      expect(counts.count).toBeLessThanOrEqual(HISTOGRAM_BUCKETS_MAX);
    }),
    { numRuns: 3000 },
  );
  expect(accepted).toBeGreaterThan(100);
});

test('bounds of exponential buckets are powers of two, and finer ones lie between', () => {
  for (let schema = SCHEMA_MIN; schema <= SCHEMA_MAX; schema++) {
    for (let index = -40; index <= 40; index++) {
      const want = 2 ** (index * 2 ** -schema);
      expect(boundOf(index, schema) / want).toBeCloseTo(1, 13);
    }
  }
  expect(boundOf(1, 0)).toBe(2);
  expect(boundOf(1, 1)).toBe(Math.SQRT2);
  expect(boundOf(2000, 0)).toBe(Number.MAX_VALUE);
  expect(boundOf(-2000, 0)).toBe(0);
});

test('a bucket lies within the coarser one that its key leads to', () => {
  const index = fc.integer({ min: -5000, max: 5000 });
  fc.assert(
    fc.property(index, fc.integer({ min: -3, max: 8 }), fc.boolean(), (i, schema, isNegative) => {
      const key = coarserKey(keyOf(i, isNegative), 1);
      expect(key < 0).toBe(isNegative);
      const coarse = indexOf(key);
      expect([2 * coarse - 1, 2 * coarse]).toContain(i);
      expect(boundOf(coarse, schema - 1)).toBeGreaterThanOrEqual(boundOf(i, schema) * (1 - 1e-12));
      expect(boundOf(coarse - 1, schema - 1)).toBeLessThanOrEqual(
        boundOf(i - 1, schema) * (1 + 1e-12),
      );
    }),
  );
});
