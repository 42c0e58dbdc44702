// What the kernel of entities makes of vectors: which feature it blames, that calm ones drown nothing, what it does with
// missing, constant and absurd values, and that the same vectors lead to the same bytes.

import { expect, test } from 'vitest';
import { EntityKernel, viewOf } from '../src/scorer/entity-kernel.js';
import { loadWasm } from '../src/wasm-files.js';
import { randomOf } from './random.js';

const { module } = loadWasm('entity');
const KNOWN = { trees: 48, remember: 4096, share: 0 };

/** Features that follow one load, each with a factor and noise of its own. */
function vectorsOf(features: number, seed: number): () => number[] {
  const random = randomOf(seed);
  const noise = () => random() + random() + random() + random() - 2;
  let walk = 0;
  return () => {
    walk = 0.95 * walk + 0.3 * noise();
    return Array.from({ length: features }, (_, i) => (i + 1) * (10 + walk + 0.05 * noise()));
  };
}

class Entity {
  readonly kernel = new EntityKernel(module, 1);
  readonly settings: typeof KNOWN & { features: number };
  readonly bytes: Uint8Array;

  constructor(features: number, more: Partial<typeof KNOWN> = {}) {
    this.settings = { ...KNOWN, ...more, features };
    this.bytes = new Uint8Array(this.kernel.recordBytes(this.settings));
  }

  observe(values: readonly (number | null)[]): number {
    let mask = 0;
    for (const [i, value] of values.entries()) {
      this.kernel.values[i] = value ?? Number.NaN;
      if (value !== null) mask |= 1 << i;
    }
    return this.kernel.observe(this.bytes, mask, this.settings);
  }

  /** Of the vector that was observed last. */
  get shares() {
    return [...this.kernel.shares.subarray(0, this.settings.features)];
  }

  get view() {
    return viewOf(this.bytes, this.settings.features);
  }
}

test('no distance while it settles, then one below 1 nearly always', () => {
  const entity = new Entity(3);
  const next = vectorsOf(3, 1);
  const told = Array.from({ length: 2000 }, () => entity.observe(next()));
  expect(told.findIndex((distance) => !Number.isNaN(distance))).toBe(20);
  expect(told.filter((distance) => distance >= 2.5)).toEqual([]);
  const calm = told.slice(20);
  expect(calm.every((distance) => distance >= 0 && distance <= 1)).toBe(true);
});

test('the feature that leaves the proportion is the one that is blamed, though each is where it has been', () => {
  for (let blamed = 0; blamed < 4; blamed++) {
    const entity = new Entity(4);
    const next = vectorsOf(4, 10 + blamed);
    for (let i = 0; i < 2000; i++) entity.observe(next());
    const vector = next();
    vector[blamed]! += 0.8 * (blamed + 1);
    expect(entity.observe(vector)).toBeGreaterThan(2.5);
    const { surprises } = entity.view;
    expect([blamed, surprises.indexOf(Math.max(...surprises))]).toEqual([blamed, blamed]);
  }
});

test('the one that left has nearly all of the shares, though of two that always go together both are surprising', () => {
  for (let blamed = 0; blamed < 2; blamed++) {
    const entity = new Entity(2);
    const next = vectorsOf(2, 20 + blamed);
    for (let i = 0; i < 2000; i++) entity.observe(next());
    expect(entity.shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 9);
    const vector = next();
    vector[blamed]! += 1.5 * (blamed + 1);
    entity.observe(vector);
    const { surprises } = entity.view;
    expect(Math.min(...surprises)).toBeGreaterThan(1);
    expect([blamed, entity.shares[blamed]! > 0.8]).toEqual([blamed, true]);
  }
  const young = new Entity(2);
  young.observe([1, 2]);
  expect(young.shares).toEqual([0, 0]);
});

test('fifteen calm features do not drown one', () => {
  const random = randomOf(3);
  const noise = () => random() + random() + random() + random() - 2;
  const entity = new Entity(16);
  const calm = () => Array.from({ length: 16 }, (_, i) => 100 * i + noise());
  for (let i = 0; i < 1500; i++) entity.observe(calm());
  const vector = calm();
  vector[7]! += 12;
  expect(entity.observe(vector)).toBeGreaterThan(2.5);
  const { surprises } = entity.view;
  expect(surprises.indexOf(Math.max(...surprises))).toBe(7);
});

test('a feature that is missing is left out and loses nothing', () => {
  const [whole, holed] = [new Entity(3), new Entity(3)];
  const next = vectorsOf(3, 4);
  for (let i = 0; i < 1500; i++) {
    const vector = next();
    whole.observe(vector);
    holed.observe(i % 10 === 3 ? [vector[0]!, null, vector[2]!] : vector);
  }
  const vector = next();
  vector[1]! += 3;
  expect(whole.observe(vector)).toBeGreaterThan(2.5);
  expect(holed.observe(vector)).toBeGreaterThan(2.5);
  holed.observe([vector[0]!, null, vector[2]!]);
  expect(holed.view.surprises[1]).toBe(0);
});

test('constants, zeros and absurd values leave every number finite', () => {
  const entity = new Entity(4);
  const absurd = [0, -0, 1e300, -1e300, Number.MAX_VALUE, 5e-324, 1, -1];
  const random = randomOf(5);
  for (let i = 0; i < 3000; i++) {
    const pick = () => absurd[Math.floor(random() * absurd.length)]!;
    const distance = entity.observe([7, 0, i % 50 === 0 ? pick() : 3, pick()]);
    expect(Number.isNaN(distance)).toBe(i < 20);
    if (i >= 20) expect(distance >= 0 && distance <= 64).toBe(true);
  }
  const view = new DataView(entity.bytes.buffer);
  const { features, trees } = entity.settings;
  for (let at = 8; at < entity.bytes.length - 16 * trees; at += 4) {
    // Means are 64-bit numbers; the halves of one are no numbers.
    const isMean = at >= 48 && at < 48 + 56 * features && (at - 48) % 56 < 16;
    if (!isMean) expect([at, Number.isFinite(view.getFloat32(at, true))]).toEqual([at, true]);
    else if ((at - 48) % 8 === 0) {
      expect([at, Number.isFinite(view.getFloat64(at, true))]).toEqual([at, true]);
    }
  }
});

test('the same vectors lead to the same bytes, whoever else was judged between them', () => {
  const alone = new Entity(3);
  const shared = new Entity(3);
  const other = { bytes: new Uint8Array(shared.bytes.length), next: vectorsOf(3, 8) };
  const [first, second] = [vectorsOf(3, 6), vectorsOf(3, 6)];
  for (let i = 0; i < 500; i++) {
    alone.observe(first());
    shared.kernel.values.set(other.next());
    shared.kernel.observe(other.bytes, 7, shared.settings);
    shared.observe(second());
  }
  expect(Buffer.from(shared.bytes).equals(Buffer.from(alone.bytes))).toBe(true);
});

test('handed over, proportions stay and levels begin anew', () => {
  const entity = new Entity(3);
  const next = vectorsOf(3, 7);
  for (let i = 0; i < 1500; i++) entity.observe(next());
  const heir = Uint8Array.from(entity.bytes);
  entity.kernel.handOver(heir, 3);
  entity.bytes.set(heir);
  // Twice as much of everything: another level, the same proportions.
  const told = Array.from({ length: 120 }, () => entity.observe(next().map((value) => 20 + value)));
  expect(told.slice(0, 20).every(Number.isNaN)).toBe(true);
  expect(told.slice(20).filter((distance) => distance >= 2.5)).toEqual([]);
  const vector = next().map((value) => 20 + value);
  vector[0]! += 2;
  expect(entity.observe(vector)).toBeGreaterThan(2.5);
});

test('what is borrowed counts for so many vectors, and its scales give way sooner', () => {
  const entity = new Entity(3);
  const next = vectorsOf(3, 8);
  for (let i = 0; i < 1500; i++) entity.observe(next());
  const seenOf = (bytes: Uint8Array) =>
    new DataView(bytes.buffer, bytes.byteOffset).getUint32(96, true);
  const [whole, loan] = [Uint8Array.from(entity.bytes), Uint8Array.from(entity.bytes)];
  entity.kernel.handOver(whole, 3);
  entity.kernel.handOver(loan, 3, 480);
  expect([whole, loan].map((bytes) => [viewOf(bytes, 3).learnt, seenOf(bytes)])).toEqual([
    [1500, 1500],
    [480, 480],
  ]);
  expect([whole, loan].map((bytes) => viewOf(bytes, 3).since)).toEqual([0, 0]);
});

test('the size of a record is what the documents say', () => {
  const kernel = new EntityKernel(module, 1);
  expect(kernel.recordBytes({ features: 3, trees: 48 })).toBe(1032);
  expect(kernel.recordBytes({ features: 16, trees: 64 })).toBeLessThanOrEqual(3584);
});
