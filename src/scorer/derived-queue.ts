// Values that histograms led to while a batch was gathered, as the forest takes them: timestamps and values as pairs of
// 32-bit words. They wait because the forest's input columns are being filled with the batch itself.

import { strict as assert } from 'node:assert';

export class DerivedQueue {
  count = 0;
  readonly entries: Uint32Array;
  readonly timestamps: Uint32Array;
  readonly values: Uint32Array;
  readonly #numbers: Float64Array;

  constructor(countMax: number) {
    this.entries = new Uint32Array(countMax);
    this.timestamps = new Uint32Array(2 * countMax);
    this.#numbers = new Float64Array(countMax);
    this.values = new Uint32Array(this.#numbers.buffer);
  }

  /** Is there no room for `more`? */
  isFull(more: number): boolean {
    return this.count + more > this.entries.length;
  }

  push(entry: number, timestampMs: number, value: number): void {
    this.#numbers[this.#add(entry, timestampMs)] = value;
  }

  /** Prometheus' marker of a series that ended. */
  pushStale(entry: number, timestampMs: number): void {
    const at = this.#add(entry, timestampMs);
    this.values[2 * at] = 2;
    this.values[2 * at + 1] = 0x7ff00000;
  }

  timestampMs(at: number): number {
    return (this.timestamps[2 * at + 1]! | 0) * 4294967296 + this.timestamps[2 * at]!;
  }

  clear(): void {
    this.count = 0;
  }

  #add(entry: number, timestampMs: number): number {
    assert(!this.isFull(1));
    const at = this.count++;
    const high = Math.floor(timestampMs / 4294967296);
    this.entries[at] = entry;
    this.timestamps[2 * at] = timestampMs - high * 4294967296;
    this.timestamps[2 * at + 1] = high;
    return at;
  }
}

/** A column of 64-bit numbers as pairs of words. */
export function wordsOf(bytes: Uint8Array): Uint32Array {
  assert(bytes.byteOffset % 4 === 0);
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}
