// What was observed between two scrapes of one histogram, as buckets in ascending order, and what is asked of it: a
// quantile, and how far its shape is from the one learnt. One interval is filled, asked and cleared again for every
// histogram of a partition. Arithmetic is + - * / and the square root, which IEEE 754 defines to the bit, so that a
// replay arrives at the same state.

import { strict as assert } from 'node:assert';
import { HISTOGRAM_PRIOR_OBSERVATIONS, HISTOGRAM_REFERENCE_INTERVALS } from '../limits.js';

export class Interval {
  /** Buckets filled. */
  count = 0;
  /** Observations in them. */
  total = 0;
  /** Scale of `keys`, of a native histogram. */
  schema = 0;
  /** Which bucket it is, where there are gaps between them; set by the caller. */
  readonly keys: Int32Array;
  readonly lower: Float64Array;
  readonly upper: Float64Array;
  readonly mass: Float64Array;

  constructor(bucketsMax: number) {
    this.keys = new Int32Array(bucketsMax);
    this.lower = new Float64Array(bucketsMax);
    this.upper = new Float64Array(bucketsMax);
    this.mass = new Float64Array(bucketsMax);
  }

  clear(): void {
    this.count = 0;
    this.total = 0;
  }

  /** `mass` observations above `lower` and not above `upper`; buckets come in ascending order. */
  push(lower: number, upper: number, mass: number): void {
    assert(this.count < this.mass.length && mass >= 0);
    this.lower[this.count] = lower;
    this.upper[this.count] = upper;
    this.mass[this.count] = mass;
    this.total += mass;
    this.count++;
  }

  /**
   * As PromQL's histogram_quantile finds it in classic buckets: linear within a bucket, the highest finite bound for
   * what lies above it, the lowest bound for what lies below it. NaN without observations.
   */
  quantile(q: number): number {
    const rank = q * this.total;
    let below = 0;
    let last = -1;
    for (let i = 0; i < this.count; i++) {
      const mass = this.mass[i]!;
      if (mass === 0) continue;
      last = i;
      if (below + mass >= rank) return this.#within(i, (rank - below) / mass);
      below += mass;
    }
    // The sum of parts may end below the whole by a rounding error.
    return last < 0 ? Number.NaN : this.#within(last, 1);
  }

  #within(bucket: number, share: number): number {
    const lower = this.lower[bucket]!;
    const upper = this.upper[bucket]!;
    if (upper === Number.POSITIVE_INFINITY) return lower;
    if (lower === Number.NEGATIVE_INFINITY) return upper;
    return lower + (upper - lower) * share;
  }
}

/**
 * The part of one bucket in the overlap (Bhattacharyya coefficient) of an interval with its reference. The interval is
 * first mixed with HISTOGRAM_PRIOR_OBSERVATIONS observations as the reference expects them: few observations scatter
 * widely, and would look like another shape whenever traffic is low.
 */
export function overlapOf(mass: number, total: number, expected: number): number {
  const mixed =
    (mass + HISTOGRAM_PRIOR_OBSERVATIONS * expected) / (total + HISTOGRAM_PRIOR_OBSERVATIONS);
  return Math.sqrt(mixed * expected);
}

/** Hellinger distance: 0 for the same shape, 1 for shapes that share no bucket. */
export function distanceOf(overlap: number): number {
  return overlap >= 1 ? 0 : Math.sqrt(1 - overlap);
}

/** Weight of the next interval in a reference that has learnt `learnt`: their mean at first, then moving. */
export function weightOf(learnt: number): number {
  return 1 / (Math.min(learnt, HISTOGRAM_REFERENCE_INTERVALS - 1) + 1);
}
