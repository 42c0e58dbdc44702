// Reads a native histogram as it was sent (proto/remote_write_v2.proto, Histogram; version 1.0 has the same fields) into
// sparse counts. One reader is used for all samples of a partition and makes no object. The receiver has judged the
// message; what it would have refused is refused here too, because a log may have other writers.

import { HISTOGRAM_BUCKETS_MAX } from '../limits.js';
import {
  CUSTOM,
  isIndex,
  keyOf,
  SCHEMA_MAX,
  SCHEMA_MIN,
  type SparseCounts,
} from './sparse-counts.js';

const [VARINT, FIXED64, BYTES, FIXED32] = [0, 1, 2, 5];
/** Legal on the wire; finer than any clock. */
const SCHEMA_SENT_MAX = 52;
const RESET = 1;
const GAUGE = 3;

/** One side of the histogram: where its buckets lie, and what they hold. */
class Side {
  readonly offsets: number[] = [];
  readonly lengths: number[] = [];
  readonly counts: number[] = [];

  clear(): void {
    this.offsets.length = 0;
    this.lengths.length = 0;
    this.counts.length = 0;
  }
}

export class NativeReader {
  schema = 0;
  zeroThreshold = 0;
  /** A start was announced with this sample. */
  isReset = false;
  /** Counts are of now, not since a start. */
  isGauge = false;
  /** The series ended. */
  isStale = false;
  /** Upper bounds of custom buckets. */
  readonly bounds: number[] = [];
  readonly #positive = new Side();
  readonly #negative = new Side();
  #zeroCount = 0;
  #bytes: Uint8Array = new Uint8Array();
  #view: DataView = new DataView(this.#bytes.buffer);
  #at = 0;
  #isSound = true;

  /** False when the message is no histogram that could be scored. */
  read(bytes: Uint8Array, counts: SparseCounts): boolean {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = 0;
    this.#isSound = true;
    this.schema = 0;
    this.zeroThreshold = 0;
    this.isReset = false;
    this.isGauge = false;
    this.isStale = false;
    this.bounds.length = 0;
    this.#positive.clear();
    this.#negative.clear();
    this.#zeroCount = 0;
    while (this.#isSound && this.#at < bytes.length) this.#readField();
    if (!this.#isSound || this.#at !== bytes.length) return false;
    if (this.isStale) return true;
    return this.#place(counts);
  }

  #readField(): void {
    const tag = this.#varint();
    const field = Math.floor(tag / 8);
    const kind = tag % 8;
    if (kind === BYTES) {
      const size = this.#varint();
      const end = this.#at + size;
      if (end > this.#bytes.length) this.#isSound = false;
      else this.#readBytes(field, end);
    } else if (kind === FIXED64) this.#readNumber(field, this.#double());
    else if (kind === VARINT) this.#readInteger(field, this.#varint());
    else if (kind === FIXED32) this.#at += 4;
    else this.#isSound = false;
  }

  #readInteger(field: number, value: number): void {
    if (field === 4) this.schema = unzigzag(value);
    else if (field === 6) this.#zeroCount = value;
    else if (field === 9) this.#pushDelta(this.#negative, value);
    else if (field === 12) this.#pushDelta(this.#positive, value);
    else if (field === 14) {
      this.isReset = value === RESET;
      this.isGauge = value === GAUGE;
    }
  }

  #readNumber(field: number, value: number): void {
    if (field === 3) this.isStale = this.#isStaleMarker(this.#at - 8);
    else if (field === 5) this.zeroThreshold = value;
    else if (field === 7) this.#zeroCount = value;
    else if (field === 10) this.#negative.counts.push(value);
    else if (field === 13) this.#positive.counts.push(value);
    else if (field === 16) this.bounds.push(value);
  }

  /** Where the sum would be. Its bits are looked at: arithmetic makes one NaN of all. */
  #isStaleMarker(at: number): boolean {
    if (!this.#isSound) return false;
    return (
      this.#view.getUint32(at, true) === 2 && this.#view.getUint32(at + 4, true) === 0x7ff00000
    );
  }

  #readBytes(field: number, end: number): void {
    if (field === 8) this.#readSpan(this.#negative, end);
    else if (field === 11) this.#readSpan(this.#positive, end);
    else if (field === 9 || field === 12) {
      while (this.#at < end) this.#readInteger(field, this.#varint());
    } else if (field === 10 || field === 13 || field === 16) {
      while (this.#at < end && this.#isSound) this.#readNumber(field, this.#double());
    } else this.#at = end;
    if (this.#at !== end) this.#isSound = false;
  }

  #readSpan(side: Side, end: number): void {
    let offset = 0;
    let length = 0;
    while (this.#at < end && this.#isSound) {
      const tag = this.#varint();
      const value = this.#varint();
      if (tag === 8) offset = unzigzag(value);
      else if (tag === 16) length = value;
      else this.#isSound = false;
    }
    side.offsets.push(offset);
    side.lengths.push(length);
  }

  #pushDelta(side: Side, value: number): void {
    const before = side.counts.at(-1) ?? 0;
    side.counts.push(before + unzigzag(value));
  }

  /** Everything has been read: the buckets in ascending order, the negative side from its far end. */
  #place(counts: SparseCounts): boolean {
    const { schema } = this;
    const isCustom = schema === CUSTOM;
    if (!isCustom && (schema < SCHEMA_MIN || schema > SCHEMA_SENT_MAX)) return false;
    if (isCustom && !this.#areBoundsSound()) return false;
    if (!(this.#zeroCount >= 0 && this.#zeroCount < Number.POSITIVE_INFINITY)) return false;
    if (!(this.zeroThreshold >= 0 && this.zeroThreshold < Number.POSITIVE_INFINITY)) return false;
    // Scales beyond ours are legal; a Prometheus that receives them joins their buckets too.
    const steps = Math.max(0, schema - SCHEMA_MAX);
    counts.clear(schema - steps);
    if (!placeSide(this.#negative, steps, counts)) return false;
    // The first bucket of the negative side is the nearest to zero.
    for (let i = 0; i < counts.count; i++) counts.keys[i] = -counts.keys[i]!;
    counts.keys.subarray(0, counts.count).reverse();
    counts.values.subarray(0, counts.count).reverse();
    if (this.#zeroCount > 0) counts.push(0, this.#zeroCount);
    if (!placeSide(this.#positive, steps, counts)) return false;
    if (isCustom) return counts.count === 0 || this.#areCustom(counts);
    while (counts.count > HISTOGRAM_BUCKETS_MAX) counts.coarsen(counts.schema - 1);
    return true;
  }

  /** The last custom bucket, above all bounds, is the one behind them. */
  #areCustom({ keys, count }: SparseCounts): boolean {
    return keys[0]! >= keyOf(0, false) && keys[count - 1]! <= keyOf(this.bounds.length, false);
  }

  #areBoundsSound(): boolean {
    const { bounds } = this;
    return (
      bounds.length < HISTOGRAM_BUCKETS_MAX &&
      this.#negative.counts.length === 0 &&
      bounds.every((bound, i) => Number.isFinite(bound) && (i === 0 || bounds[i - 1]! < bound))
    );
  }

  /** A value above 2^53 loses its last bits, the same ones each time. */
  #varint(): number {
    let value = 0;
    let scale = 1;
    for (let byte = 0; byte < 10; byte++) {
      const read = this.#bytes[this.#at++];
      if (read === undefined) break;
      value += (read & 127) * scale;
      if (read < 128) return value;
      scale *= 128;
    }
    this.#isSound = false;
    return 0;
  }

  #double(): number {
    const at = this.#at;
    this.#at += 8;
    if (this.#at <= this.#bytes.length) return this.#view.getFloat64(at, true);
    this.#isSound = false;
    return 0;
  }
}

/** Pushes the buckets of one side from zero outwards, `steps` scales coarser, as if it were the positive one. */
function placeSide(side: Side, steps: number, counts: SparseCounts): boolean {
  const from = counts.count;
  const joined = 2 ** steps;
  let index = 0;
  let next = 0;
  for (let span = 0; span < side.offsets.length; span++) {
    if (span > 0 && side.offsets[span]! < 0) return false;
    index += side.offsets[span]!;
    if (side.lengths[span]! > side.counts.length - next) return false;
    for (let i = 0; i < side.lengths[span]!; i++, index++, next++) {
      const count = side.counts[next]!;
      const coarse = Math.ceil(index / joined);
      if (!(count >= 0 && count < Number.POSITIVE_INFINITY) || !isIndex(coarse)) return false;
      if (count === 0) continue;
      const key = keyOf(coarse, false);
      const last = counts.count - 1;
      if (last >= from && counts.keys[last] === key) counts.values[last]! += count;
      else counts.push(key, count);
    }
  }
  return next === side.counts.length;
}

function unzigzag(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}
