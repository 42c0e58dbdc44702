// One classic histogram: the bucket series that differ only in `le`, and what they counted. A sender spreads the series
// of a target over connections, so the buckets of one scrape may arrive in several records, beside those of the next
// scrape: two timestamps are gathered at a time. One that is complete ends an interval; one that never gets complete is
// passed over, and because counts are cumulative the next interval then holds its observations. A bucket belongs to the
// set from its first sample on.
//
//   cells, f64   row 0 … row n-1, ascending by bound; `capacity` cells a column
//     bound      upper bound, the value of `le`
//     previous   cumulative count at the end of the last interval
//     reference  learnt share of the observations
//     pending    two columns: cumulative counts of the timestamps that are gathered, MISSING or STALE

import { strict as assert } from 'node:assert';
import {
  HISTOGRAM_BUCKETS_MAX,
  HISTOGRAM_INTERVAL_MS_MAX,
  HISTOGRAM_MISSES_MAX,
} from '../limits.js';
import { distanceOf, type Interval, overlapOf, weightOf } from './interval.js';
import { IntervalLength } from './interval-length.js';
import type { StateReader, StateWriter } from './state-bytes.js';

const MISSING = -1;
/** In place of a count: the bucket's series ended. */
export const STALE = -2;
const NEVER = Number.NEGATIVE_INFINITY;

const [BOUND, PREVIOUS, REFERENCE, PENDING, COLUMNS] = [0, 1, 2, 3, 5];

/** What a sample led to: nothing yet, an interval to be scored, or the end of all buckets. */
export type Closing = 'open' | 'interval' | 'stale';

export class BucketSet {
  /** Buckets. */
  count = 0;
  /** Counts are of now, not since a start: OpenMetrics' gauge histogram. */
  isGauge = false;
  /** Timestamp of the last complete scrape. */
  closedMs = NEVER;
  /** Entry of each row's series, and how often it was missed in a row. */
  entries = new Uint32Array(4);
  #missed = new Uint8Array(4);
  #cells = new Float64Array(COLUMNS * 4);
  #capacity = 4;
  /** Begin of the interval; NEVER without `previous`. */
  #previousMs = NEVER;
  /** Intervals in the reference. */
  #learnt = 0;
  #length = new IntervalLength();
  /** Some timestamp was passed over or completed: until then a set cannot know whether all of it has come. */
  #isSettled = false;
  /** Some row is to be removed; never between two samples. */
  hasEnded = false;
  /** Of the two pending columns: timestamp, latest start timestamp, cells filled. */
  #times: [number, number] = [NEVER, NEVER];
  #starts: [number, number] = [0, 0];
  #arrived: [number, number] = [0, 0];
  /** Which of them is the older one. */
  #older: 0 | 1 = 0;

  /** The row of this bound; -1 when there is none. */
  find(bound: number): number {
    for (let row = 0; row < this.count; row++) if (this.#cells[row] === bound) return row;
    return -1;
  }

  /** The new row of a bound that has none; -1 when there are too many. Rows above it move up by one. */
  insert(bound: number, entry: number): number {
    // The one bucket without which nothing can be said always finds room.
    const isLast = bound === Number.POSITIVE_INFINITY;
    if (this.count >= HISTOGRAM_BUCKETS_MAX - (isLast ? 0 : 1)) return -1;
    if (this.count === this.#capacity) this.#grow();
    let row = 0;
    while (row < this.count && this.#cells[row]! < bound) row++;
    this.#move(row, row + 1);
    this.count++;
    this.entries[row] = entry;
    this.#missed[row] = 0;
    for (let column = 0; column < COLUMNS; column++) {
      this.#cells[column * this.#capacity + row] = column >= PENDING ? MISSING : 0;
    }
    this.#cells[row] = bound;
    this.#startAnew();
    return row;
  }

  /** Rows above it move down by one. */
  remove(row: number): void {
    assert(row < this.count);
    for (const pending of [0, 1] as const) {
      if (this.#cells[this.#at(pending) + row] !== MISSING) this.#arrived[pending]--;
    }
    this.#move(row + 1, row);
    this.count--;
    this.#startAnew();
  }

  /** One bucket's cumulative count, or STALE; `startMs` is 0 where it is not known. */
  observe(row: number, timestampMs: number, cell: number, startMs: number): void {
    if (timestampMs <= this.closedMs) return;
    const pending = this.#pendingOf(timestampMs);
    if (pending === undefined) return;
    const at = this.#at(pending) + row;
    if (this.#cells[at] !== MISSING) return;
    this.#cells[at] = cell;
    this.#arrived[pending]++;
    if (startMs > this.#starts[pending]) this.#starts[pending] = startMs;
  }

  /** After `observe`: closes a timestamp that is complete. What is to be scored, at `closedMs`, is in `interval`. */
  close(interval: Interval): Closing {
    if (!this.#isSettled) return 'open';
    const newer = this.#older === 0 ? 1 : 0;
    if (this.#isComplete(this.#older)) return this.#closeAt(this.#older, interval);
    if (!this.#isComplete(newer)) return 'open';
    // What is still missing of the older one is contained in the newer one's counts.
    this.#forget(this.#older);
    this.#older = newer;
    return this.#closeAt(newer, interval);
  }

  /** Rows whose series ended while others went on, or that were missed too often; descending. To be removed. */
  takeEnded(): number[] {
    const rows: number[] = [];
    this.hasEnded = false;
    for (let row = this.count - 1; row >= 0; row--) {
      if (this.#missed[row]! >= HISTOGRAM_MISSES_MAX) rows.push(row);
    }
    return rows;
  }

  /** Distance of the interval's shape from the learnt one, NaN before there is one; then learns it. */
  compareAndLearn(interval: Interval): number {
    assert(interval.count === this.count);
    const reference = REFERENCE * this.#capacity;
    const weight = weightOf(this.#learnt);
    let overlap = 0;
    for (let row = 0; row < this.count; row++) {
      const expected = this.#cells[reference + row]!;
      const mass = interval.mass[row]!;
      overlap += overlapOf(mass, interval.total, expected);
      this.#cells[reference + row] = expected + weight * (mass / interval.total - expected);
    }
    const distance = this.#learnt === 0 ? Number.NaN : distanceOf(overlap);
    this.#learnt++;
    return distance;
  }

  encode(to: StateWriter): void {
    const { count } = this;
    const newer = this.#older === 0 ? 1 : 0;
    to.u32(count);
    to.u32((this.isGauge ? 1 : 0) | (this.#isSettled ? 2 : 0));
    to.u32(this.#learnt);
    to.f64(this.closedMs);
    to.f64(this.#previousMs);
    this.#length.encode(to);
    for (const pending of [this.#older, newer] as const) {
      to.f64(this.#times[pending]);
      to.f64(this.#starts[pending]);
      to.u32(this.#arrived[pending]);
    }
    const columns = [BOUND, PREVIOUS, REFERENCE, PENDING + this.#older, PENDING + newer];
    for (let row = 0; row < count; row++) {
      to.u32(this.entries[row]!);
      to.u32(this.#missed[row]!);
      for (const column of columns) to.f64(this.#cells[column * this.#capacity + row]!);
    }
  }

  static decode(from: StateReader): BucketSet {
    const set = new BucketSet();
    const count = from.u32();
    const bits = from.u32();
    set.isGauge = (bits & 1) !== 0;
    set.#isSettled = (bits & 2) !== 0;
    set.#learnt = from.u32();
    set.closedMs = from.f64();
    set.#previousMs = from.f64();
    set.#length = IntervalLength.decode(from);
    for (const pending of [0, 1] as const) {
      set.#times[pending] = from.f64();
      set.#starts[pending] = from.f64();
      set.#arrived[pending] = from.u32();
    }
    while (set.#capacity < count) set.#grow();
    set.count = count;
    for (let row = 0; row < count; row++) {
      set.entries[row] = from.u32();
      set.#missed[row] = from.u32();
      for (let column = 0; column < COLUMNS; column++) {
        set.#cells[column * set.#capacity + row] = from.f64();
      }
    }
    return set;
  }

  #at(pending: 0 | 1): number {
    return (PENDING + pending) * this.#capacity;
  }

  #isComplete(pending: 0 | 1): boolean {
    return this.#times[pending] !== NEVER && this.#arrived[pending] === this.count;
  }

  /** The column that gathers this timestamp; undefined when it comes too late for one. */
  #pendingOf(timestampMs: number): 0 | 1 | undefined {
    const older = this.#older;
    const newer = older === 0 ? 1 : 0;
    const olderMs = this.#times[older];
    const newerMs = this.#times[newer];
    if (timestampMs === olderMs) return older;
    if (timestampMs === newerMs) return newer;
    if (olderMs === NEVER) return this.#begin(older, timestampMs);
    if (newerMs === NEVER) {
      if (timestampMs < olderMs) this.#older = newer;
      return this.#begin(newer, timestampMs);
    }
    if (timestampMs < newerMs) return undefined;
    this.#passOver(older);
    this.#older = newer;
    return this.#begin(older, timestampMs);
  }

  #begin(pending: 0 | 1, timestampMs: number): 0 | 1 {
    this.#times[pending] = timestampMs;
    return pending;
  }

  /** A third timestamp begins, and the first is not complete, or nobody could know that it is. */
  #passOver(pending: 0 | 1): void {
    const at = this.#at(pending);
    if (!this.#isSettled && this.#isComplete(pending)) {
      if (this.#cells.subarray(at, at + this.count).every((cell) => cell >= 0)) {
        this.#keepAsPrevious(pending);
      }
    } else {
      for (let row = 0; row < this.count; row++) {
        const isMissing = this.#cells[at + row] === MISSING;
        this.#missed[row] = isMissing ? this.#missed[row]! + 1 : 0;
        if (this.#missed[row] === HISTOGRAM_MISSES_MAX) this.hasEnded = true;
      }
    }
    this.#isSettled = true;
    this.closedMs = this.#times[pending];
    this.#forget(pending);
  }

  #closeAt(pending: 0 | 1, interval: Interval): Closing {
    this.closedMs = this.#times[pending];
    const at = this.#at(pending);
    let stale = 0;
    for (let row = 0; row < this.count; row++) {
      const isStale = this.#cells[at + row] === STALE;
      if (isStale) stale++;
      this.#missed[row] = isStale ? HISTOGRAM_MISSES_MAX : 0;
    }
    let closing: Closing = 'open';
    if (stale === this.count) {
      // The target is gone. When it comes back it has the same buckets and counts from zero.
      this.#missed.fill(0);
      this.#previousMs = NEVER;
      closing = 'stale';
    } else if (stale > 0) this.hasEnded = true;
    else closing = this.#measure(pending, interval);
    this.#forget(pending);
    this.#older = pending === 0 ? 1 : 0;
    return closing;
  }

  /** Fills the interval from its begin to this column, which becomes the begin of the next one. */
  #measure(pending: 0 | 1, interval: Interval): Closing {
    const isFirst = this.#previousMs === NEVER && !this.isGauge;
    const isWhole = this.#cells[this.count - 1] === Number.POSITIVE_INFINITY && this.count > 1;
    if (isFirst || !isWhole) {
      this.#keepAsPrevious(pending);
      return 'open';
    }
    if (!this.isGauge && this.#isReset(pending)) {
      const previous = PREVIOUS * this.#capacity;
      this.#cells.fill(0, previous, previous + this.count);
    }
    this.#fill(pending, interval);
    // Each scrape of a gauge histogram stands for itself.
    const beginMs = this.isGauge ? NEVER : this.#previousMs;
    const elapsedMs = this.closedMs - beginMs;
    const isEnough = this.#length.isEnough(interval.total, elapsedMs);
    if (isEnough || elapsedMs > HISTOGRAM_INTERVAL_MS_MAX) this.#keepAsPrevious(pending);
    return isEnough ? 'interval' : 'open';
  }

  /** One bucket that falls tells of a restart; so does a start after the interval's begin. */
  #isReset(pending: 0 | 1): boolean {
    if (this.#starts[pending] > this.#previousMs) return true;
    const at = this.#at(pending);
    const previous = PREVIOUS * this.#capacity;
    for (let row = 0; row < this.count; row++) {
      if (this.#cells[at + row]! < this.#cells[previous + row]!) return true;
    }
    return false;
  }

  #fill(pending: 0 | 1, interval: Interval): void {
    const at = this.#at(pending);
    const previous = PREVIOUS * this.#capacity;
    interval.clear();
    let lower = this.#cells[0]! > 0 ? 0 : Number.NEGATIVE_INFINITY;
    let below = 0;
    for (let row = 0; row < this.count; row++) {
      const grown = this.#cells[at + row]! - (this.isGauge ? 0 : this.#cells[previous + row]!);
      // A client that counts while it is scraped may show less in a wider bucket: as PromQL, take the highest so far.
      const upTo = Math.max(below, grown);
      interval.push(lower, this.#cells[row]!, upTo - below);
      below = upTo;
      lower = this.#cells[row]!;
    }
  }

  #keepAsPrevious(pending: 0 | 1): void {
    const at = this.#at(pending);
    this.#cells.copyWithin(PREVIOUS * this.#capacity, at, at + this.count);
    this.#previousMs = this.#times[pending];
    this.#length.begin();
  }

  /** The buckets are others now: neither counts nor shape can be compared with what was. */
  #startAnew(): void {
    this.#previousMs = NEVER;
    this.#learnt = 0;
    const reference = REFERENCE * this.#capacity;
    this.#cells.fill(0, reference, reference + this.#capacity);
  }

  #forget(pending: 0 | 1): void {
    const at = this.#at(pending);
    this.#cells.fill(MISSING, at, at + this.#capacity);
    this.#times[pending] = NEVER;
    this.#starts[pending] = 0;
    this.#arrived[pending] = 0;
  }

  /** All columns of the rows from `row` on. */
  #move(row: number, target: number): void {
    for (let column = 0; column < COLUMNS; column++) {
      const at = column * this.#capacity;
      this.#cells.copyWithin(at + target, at + row, at + this.count);
    }
    this.entries.copyWithin(target, row, this.count);
    this.#missed.copyWithin(target, row, this.count);
  }

  #grow(): void {
    const capacity = 2 * this.#capacity;
    const cells = new Float64Array(COLUMNS * capacity);
    for (let column = 0; column < COLUMNS; column++) {
      const at = column * this.#capacity;
      cells.set(this.#cells.subarray(at, at + this.#capacity), column * capacity);
    }
    cells.fill(MISSING, PENDING * capacity + this.#capacity, (PENDING + 1) * capacity);
    cells.fill(MISSING, (PENDING + 1) * capacity + this.#capacity);
    const entries = new Uint32Array(capacity);
    entries.set(this.entries);
    const missed = new Uint8Array(capacity);
    missed.set(this.#missed);
    this.#cells = cells;
    this.entries = entries;
    this.#missed = missed;
    this.#capacity = capacity;
  }
}
