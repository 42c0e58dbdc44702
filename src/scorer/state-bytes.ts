// Numbers to bytes and back for the parts of a checkpoint that are not fixed-stride: little-endian, no tags. What is
// read was checksummed before it comes here, so a short read is a programmer error.

import { strict as assert } from 'node:assert';

export class StateWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #end = 0;

  /** `size`: how much is expected; it grows by itself. */
  constructor(size = 1024) {
    this.#bytes = new Uint8Array(size);
    this.#view = new DataView(this.#bytes.buffer);
  }

  u32(value: number): void {
    const at = this.#take(4);
    this.#view.setUint32(at, value, true);
  }

  f64(value: number): void {
    const at = this.#take(8);
    this.#view.setFloat64(at, value, true);
  }

  bytes(bytes: Uint8Array): void {
    const at = this.#take(bytes.length);
    this.#bytes.set(bytes, at);
  }

  get length(): number {
    return this.#end;
  }

  /** Nothing may be written any more. */
  written(): Uint8Array {
    const isFull = this.#end === this.#bytes.length;
    return isFull ? this.#bytes : this.#bytes.slice(0, this.#end);
  }

  #take(size: number): number {
    const at = this.#end;
    this.#end += size;
    if (this.#end > this.#bytes.length) {
      const wider = new Uint8Array(2 * this.#end);
      wider.set(this.#bytes.subarray(0, at));
      this.#bytes = wider;
      this.#view = new DataView(wider.buffer);
    }
    return at;
  }
}

export class StateReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Call behind the last number. */
  end(): void {
    assert.equal(this.#at, this.#bytes.length, 'Bytes are left over');
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  f64(): number {
    return this.#view.getFloat64(this.#take(8), true);
  }

  bytes(size: number): Uint8Array {
    const at = this.#take(size);
    // `slice` of a Buffer would hold all of it.
    return new Uint8Array(this.#bytes.subarray(at, at + size));
  }

  #take(size: number): number {
    const at = this.#at;
    this.#at += size;
    assert(this.#at <= this.#bytes.length, 'The state ends where its manifest says');
    return at;
  }
}
