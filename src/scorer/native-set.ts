// One native histogram: what it counted last, and its learnt shape. Its scale may change from sample to sample; an
// interval is measured on the coarser of its two ends, exactly. The shape is learnt on a scale of two buckets an octave
// at most: finer ones would hold too few observations each to be compared.

import { crc32 } from 'node:zlib';
import { HISTOGRAM_BUCKETS_MAX, HISTOGRAM_INTERVAL_MS_MAX } from '../limits.js';
import { distanceOf, type Interval, overlapOf, weightOf } from './interval.js';
import { IntervalLength } from './interval-length.js';
import type { NativeReader } from './native-histogram.js';
import { boundOf, CUSTOM, coarserKey, indexOf, SparseCounts } from './sparse-counts.js';
import type { StateReader, StateWriter } from './state-bytes.js';

const NEVER = Number.NEGATIVE_INFINITY;
const SHAPE_SCHEMA = 1;
/** A learnt share below this is forgotten: a bucket hit once in a million observations says nothing of the shape. */
const SHARE_MIN = 1e-6;
const ROUNDING = 1e-9;

/** What became of a sample that the reader found sound. */
export type NativeOutcome = 'applied' | 'duplicate' | 'conflict' | 'late';

export class NativeSet {
  /** Entry of the series; only what moves a histogram elsewhere changes it. */
  entry: number;
  lastMs = NEVER;
  #lastCrc = 0;
  /** Begin of the interval; NEVER without `previous`. */
  #previousMs = NEVER;
  #zeroThreshold = 0;
  #bounds: number[] = [];
  #previous = new SparseCounts();
  #reference = new SparseCounts();
  #learnt = 0;
  #length = new IntervalLength();

  constructor(entry: number) {
    this.entry = entry;
  }

  /** The guard: what comes first at a timestamp counts, and time does not go back. */
  admit(timestampMs: number, bytes: Uint8Array): NativeOutcome {
    if (timestampMs < this.lastMs) return 'late';
    const crc = crc32(bytes);
    if (timestampMs === this.lastMs) return crc === this.#lastCrc ? 'duplicate' : 'conflict';
    this.lastMs = timestampMs;
    this.#lastCrc = crc;
    return 'applied';
  }

  /** The series ended; when it comes back it counts from zero. */
  markStale(): void {
    this.#previousMs = NEVER;
  }

  /** After `admit`, what `reader` read into `counts`: true when `interval` is to be scored at `lastMs`. */
  measure(
    reader: NativeReader,
    { counts, startMs, interval }: { counts: SparseCounts; startMs: number; interval: Interval },
  ): boolean {
    this.#adoptScale(reader, counts);
    if (reader.isGauge) {
      this.#previousMs = NEVER;
      this.#fill(counts, true, interval);
      this.#length.begin();
      return this.#length.isEnough(interval.total, Number.POSITIVE_INFINITY);
    }
    if (this.#previousMs === NEVER) {
      this.#keepAsPrevious(counts);
      return false;
    }
    const isReset = reader.isReset || startMs > this.#previousMs;
    if (isReset || !this.#fill(counts, false, interval)) {
      this.#previous.clear(counts.schema);
      this.#fill(counts, true, interval);
    }
    const elapsedMs = this.lastMs - this.#previousMs;
    const isEnough = this.#length.isEnough(interval.total, elapsedMs);
    if (isEnough || elapsedMs > HISTOGRAM_INTERVAL_MS_MAX) this.#keepAsPrevious(counts);
    return isEnough;
  }

  /** Distance of the interval's shape from the learnt one, NaN before there is one; then learns it. */
  compareAndLearn(interval: Interval, schema: number, scratch: SparseCounts): number {
    const reference = this.#reference;
    let scale = schema === CUSTOM ? CUSTOM : Math.min(schema, SHAPE_SCHEMA);
    if (this.#learnt === 0) reference.clear(scale);
    scale = Math.min(scale, reference.schema);
    reference.coarsen(scale);
    const steps = schema - scale;
    const weight = weightOf(this.#learnt);
    scratch.clear(scale);
    let overlap = 0;
    let at = 0;
    for (let i = 0; i < interval.count || at < reference.count; ) {
      const observed = i < interval.count ? coarserKey(interval.keys[i]!, steps) : NO_KEY;
      const known = at < reference.count ? reference.keys[at]! : NO_KEY;
      const key = Math.min(observed, known);
      let mass = 0;
      while (i < interval.count && coarserKey(interval.keys[i]!, steps) === key) {
        mass += interval.mass[i++]!;
      }
      const expected = known === key ? reference.values[at++]! : 0;
      overlap += overlapOf(mass, interval.total, expected);
      const share = expected + weight * (mass / interval.total - expected);
      if (share >= SHARE_MIN) scratch.push(key, share);
    }
    while (scratch.count > HISTOGRAM_BUCKETS_MAX) scratch.coarsen(scratch.schema - 1);
    reference.copyFrom(scratch);
    const distance = this.#learnt === 0 ? Number.NaN : distanceOf(overlap);
    this.#learnt++;
    return distance;
  }

  encode(to: StateWriter): void {
    to.u32(this.entry);
    to.u32(this.#lastCrc);
    to.u32(this.#learnt);
    to.f64(this.lastMs);
    to.f64(this.#previousMs);
    to.f64(this.#zeroThreshold);
    this.#length.encode(to);
    to.u32(this.#bounds.length);
    for (const bound of this.#bounds) to.f64(bound);
    this.#previous.encode(to);
    this.#reference.encode(to);
  }

  static decode(from: StateReader): NativeSet {
    const set = new NativeSet(from.u32());
    set.#lastCrc = from.u32();
    set.#learnt = from.u32();
    set.lastMs = from.f64();
    set.#previousMs = from.f64();
    set.#zeroThreshold = from.f64();
    set.#length = IntervalLength.decode(from);
    set.#bounds = Array.from({ length: from.u32() }, () => from.f64());
    set.#previous = SparseCounts.decode(from);
    set.#reference = SparseCounts.decode(from);
    return set;
  }

  /** Counts are only compared with counts of the same buckets. */
  #adoptScale({ bounds, zeroThreshold }: NativeReader, counts: SparseCounts): void {
    const wasCustom = this.#previous.schema === CUSTOM;
    const isSame =
      wasCustom === (counts.schema === CUSTOM) &&
      bounds.length === this.#bounds.length &&
      bounds.every((bound, i) => bound === this.#bounds[i]);
    if (!isSame) {
      this.#bounds = [...bounds];
      this.#learnt = 0;
      this.#previous.clear(counts.schema);
      this.#reference.clear(counts.schema);
    }
    // A wider zero bucket takes in others, of which nobody knows how much was counted when.
    if (!isSame || zeroThreshold !== this.#zeroThreshold) this.#previousMs = NEVER;
    this.#zeroThreshold = zeroThreshold;
  }

  /** The growth of each bucket since `previous`, or all of it; false when one fell: the client has started again. */
  #fill(counts: SparseCounts, isWhole: boolean, interval: Interval): boolean {
    const previous = this.#previous;
    const scale = isWhole ? counts.schema : Math.min(counts.schema, previous.schema);
    const [steps, previousSteps] = [counts.schema - scale, previous.schema - scale];
    const previousCount = isWhole ? 0 : previous.count;
    interval.clear();
    let at = 0;
    for (let i = 0; i < counts.count || at < previousCount; ) {
      const current = i < counts.count ? coarserKey(counts.keys[i]!, steps) : NO_KEY;
      const before = at < previousCount ? coarserKey(previous.keys[at]!, previousSteps) : NO_KEY;
      const key = Math.min(current, before);
      let now = 0;
      let then = 0;
      while (i < counts.count && coarserKey(counts.keys[i]!, steps) === key) {
        now += counts.values[i++]!;
      }
      while (at < previousCount && coarserKey(previous.keys[at]!, previousSteps) === key) {
        then += previous.values[at++]!;
      }
      // Sums of fractional counts may differ in their last bits.
      if (now < then * (1 - ROUNDING)) return false;
      if (now <= then) continue;
      interval.keys[interval.count] = key;
      interval.push(0, 0, now - then);
    }
    interval.schema = scale;
    this.#setBounds(interval);
    return true;
  }

  #setBounds(interval: Interval): void {
    const { keys, lower, upper, count, schema } = interval;
    const bounds = this.#bounds;
    for (let i = 0; i < count; i++) {
      const key = keys[i]!;
      const index = indexOf(key);
      if (key === 0) {
        // Where all other observations lie on one side, so do those near zero.
        lower[i] = i === 0 ? 0 : -this.#zeroThreshold;
        upper[i] = i === count - 1 && i > 0 ? 0 : this.#zeroThreshold;
      } else if (schema === CUSTOM) {
        const lowest = bounds.length > 0 && bounds[0]! > 0 ? 0 : Number.NEGATIVE_INFINITY;
        lower[i] = index === 0 ? lowest : bounds[index - 1]!;
        upper[i] = index < bounds.length ? bounds[index]! : Number.POSITIVE_INFINITY;
      } else {
        const near = boundOf(index - 1, schema);
        const far = boundOf(index, schema);
        lower[i] = key > 0 ? near : -far;
        upper[i] = key > 0 ? far : -near;
      }
    }
  }

  #keepAsPrevious(counts: SparseCounts): void {
    this.#previous.copyFrom(counts);
    this.#previousMs = this.lastMs;
    this.#length.begin();
  }
}

/** Above every key. */
const NO_KEY = 2 ** 31;
