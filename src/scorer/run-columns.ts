// The columns of a record's run, a batch at a time, copied to where they are aligned: a record lies anywhere in the bytes
// that were read. 64-bit numbers are pairs of 32-bit words, which spares a BigInt per sample and keeps every NaN.

import type { Run } from '../sample-block.js';

export class RunColumns {
  readonly fingerprints: Uint32Array;
  readonly timestamps: Uint32Array;
  readonly values: Uint32Array;
  readonly #bytes: readonly Uint8Array[];
  readonly #numbers: Float64Array;
  readonly #starts: Uint32Array;

  constructor(batchMax: number) {
    const words = [0, 1, 2, 3].map(() => new Uint32Array(2 * batchMax));
    [this.fingerprints, this.timestamps, this.values, this.#starts] = words as [
      Uint32Array,
      Uint32Array,
      Uint32Array,
      Uint32Array,
    ];
    this.#bytes = words.map(({ buffer }) => new Uint8Array(buffer));
    this.#numbers = new Float64Array(this.values.buffer);
  }

  /** `count` rows from `from` on. */
  take(bytes: Uint8Array, run: Run, { from, count }: { from: number; count: number }): void {
    const places = [run.fingerprintAt, run.timestampAt, run.valueAt, run.startAt];
    for (const [column, place] of places.entries()) {
      const to = this.#bytes[column]!;
      if (place === undefined) to.fill(0, 0, 8 * count);
      else to.set(bytes.subarray(place + 8 * from, place + 8 * (from + count)));
    }
  }

  number(row: number): number {
    return this.#numbers[row]!;
  }

  startMs(row: number): number {
    return (this.#starts[2 * row + 1]! | 0) * 4294967296 + this.#starts[2 * row]!;
  }

  /** Prometheus' marker of a series that ended: one of the NaNs. */
  isStaleMarker(row: number): boolean {
    return this.values[2 * row] === 2 && this.values[2 * row + 1] === 0x7ff00000;
  }
}
