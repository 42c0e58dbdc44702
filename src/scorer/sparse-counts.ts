// The buckets of one native histogram that are not empty, in ascending order of their values. A bucket is named by a
// key, from which its bounds follow; the scale of exponential buckets (`schema`) may differ from one sample to the next,
// and a finer one is brought to a coarser one exactly, by joining neighbours.
// https://prometheus.io/docs/specs/native_histograms/
//
//   key of bucket i of the positive side    +(i + MIDDLE)
//   key of the zero bucket                   0
//   key of bucket i of the negative side    -(i + MIDDLE)

import { strict as assert } from 'node:assert';
import type { StateReader, StateWriter } from './state-bytes.js';

/** More than any index of a finite bucket: 1,100 octaves of 256 buckets. */
const MIDDLE = 2 ** 20;
/** Buckets whose bounds the sender chose. */
export const CUSTOM = -53;
export const SCHEMA_MIN = -4;
export const SCHEMA_MAX = 8;

export class SparseCounts {
  schema = 0;
  count = 0;
  keys = new Int32Array(16);
  values = new Float64Array(16);

  clear(schema: number): void {
    this.schema = schema;
    this.count = 0;
  }

  /** Keys come in ascending order. */
  push(key: number, value: number): void {
    assert(this.count === 0 || this.keys[this.count - 1]! < key);
    if (this.count === this.keys.length) this.#grow(2 * this.count);
    this.keys[this.count] = key;
    this.values[this.count] = value;
    this.count++;
  }

  copyFrom(other: SparseCounts): void {
    if (other.count > this.keys.length) this.#grow(other.count);
    this.schema = other.schema;
    this.count = other.count;
    this.keys.set(other.keys.subarray(0, other.count));
    this.values.set(other.values.subarray(0, other.count));
  }

  /** Joins neighbours until the scale is `schema`. */
  coarsen(schema: number): void {
    const steps = this.schema - schema;
    if (steps <= 0) return;
    let end = 0;
    for (let i = 0; i < this.count; i++) {
      const key = coarserKey(this.keys[i]!, steps);
      if (end > 0 && this.keys[end - 1] === key) {
        this.values[end - 1]! += this.values[i]!;
        continue;
      }
      this.keys[end] = key;
      this.values[end] = this.values[i]!;
      end++;
    }
    this.count = end;
    this.schema = schema;
  }

  encode(to: StateWriter): void {
    to.u32(this.schema >>> 0);
    to.u32(this.count);
    for (let i = 0; i < this.count; i++) {
      to.u32(this.keys[i]! >>> 0);
      to.f64(this.values[i]!);
    }
  }

  static decode(from: StateReader): SparseCounts {
    const counts = new SparseCounts();
    counts.clear(from.u32() | 0);
    const count = from.u32();
    for (let i = 0; i < count; i++) counts.push(from.u32() | 0, from.f64());
    return counts;
  }

  #grow(size: number): void {
    const keys = new Int32Array(size);
    keys.set(this.keys);
    const values = new Float64Array(size);
    values.set(this.values);
    this.keys = keys;
    this.values = values;
  }
}

export function keyOf(index: number, isNegative: boolean): number {
  return isNegative ? -(index + MIDDLE) : index + MIDDLE;
}

/** Is this the index of a bucket that a key can name? */
export function isIndex(index: number): boolean {
  return Math.abs(index) < MIDDLE / 2;
}

/** The key of the bucket that contains this one when the scale is `steps` coarser. */
export function coarserKey(key: number, steps: number): number {
  if (key === 0 || steps === 0) return key;
  // Bucket i ends at growth^i, so i is joined with what ends at the next multiple of 2^steps.
  const index = Math.abs(key) - MIDDLE;
  return keyOf(((index - 1) >> steps) + 1, key < 0);
}

/** The larger of a bucket's bounds by distance from zero, and the smaller one is that of index - 1. */
export function boundOf(index: number, schema: number): number {
  if (schema <= 0) return powerOfTwo(index * 2 ** -schema);
  const fraction = index & ((1 << schema) - 1);
  return Math.min(Number.MAX_VALUE, powerOfTwo(index >> schema) * FRACTIONS[schema]![fraction]!);
}

export function indexOf(key: number): number {
  return Math.abs(key) - MIDDLE;
}

/** 2^(j / 2^schema) by square roots, which every machine rounds alike; Math.pow need not. */
const FRACTIONS: readonly Float64Array[] = fractions();

function fractions(): Float64Array[] {
  const tables = [Float64Array.of(1)];
  let root = 2;
  for (let schema = 1; schema <= SCHEMA_MAX; schema++) {
    root = Math.sqrt(root);
    const coarser = tables[schema - 1]!;
    const table = new Float64Array(2 * coarser.length);
    for (const [i, value] of coarser.entries()) {
      table[2 * i] = value;
      table[2 * i + 1] = value * root;
    }
    tables.push(table);
  }
  return tables;
}

/** Exact; the largest number in place of what is larger, 0 in place of what is smaller than 2^-1022. */
function powerOfTwo(exponent: number): number {
  if (exponent > 1023) return Number.MAX_VALUE;
  if (exponent < -1022) return 0;
  bits.setUint32(0, (exponent + 1023) << 20);
  return bits.getFloat64(0);
}

const bits = new DataView(new ArrayBuffer(8));
