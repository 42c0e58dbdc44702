// Reads one HistogramSample of a block (proto/sample_block.proto) in place: one reader for all, no object per sample.
// Times are numbers; they are exact to 2^53 ms, which is 285,000 years.

import { strict as assert } from 'node:assert';

export class HistogramSampleReader {
  low = 0;
  high = 0;
  timestampMs = 0;
  /** 0 when it is not known. */
  startMs = 0;
  /** The Histogram message as it was sent. */
  histogram: Uint8Array = new Uint8Array();
  #bytes: Uint8Array = new Uint8Array();
  #view: DataView = new DataView(this.#bytes.buffer);
  #at = 0;

  read(bytes: Uint8Array, { from, to }: { from: number; to: number }): void {
    if (this.#bytes !== bytes) {
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
    this.#at = from;
    this.low = 0;
    this.high = 0;
    this.timestampMs = 0;
    this.startMs = 0;
    this.histogram = bytes.subarray(to, to);
    while (this.#at < to) this.#readField();
    assert(this.#at === to, 'A HistogramSample ends where its block says');
  }

  #readField(): void {
    const tag = this.#varint();
    const kind = tag & 7;
    assert(kind === 0 || kind === 1 || kind === 2 || kind === 5, 'A field is of a known wire type');
    if (kind === 0) this.#varint();
    if (kind === 5) this.#at += 4;
    if (kind === 1) {
      const at = this.#at;
      this.#at += 8;
      const [low, high] = [this.#view.getUint32(at, true), this.#view.getUint32(at + 4, true)];
      if (tag === 0x09) {
        this.low = low;
        this.high = high;
      } else if (tag === 0x11) this.timestampMs = (high | 0) * 4294967296 + low;
      else if (tag === 0x19) this.startMs = (high | 0) * 4294967296 + low;
    }
    if (kind === 2) {
      const size = this.#varint();
      const histogramAt = this.#at;
      this.#at += size;
      if (tag === 0x22) this.histogram = this.#bytes.subarray(histogramAt, this.#at);
    }
  }

  #varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 10; i++) {
      const byte = this.#view.getUint8(this.#at++);
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      scale *= 128;
    }
    throw new RangeError('A varint has at most 10 bytes');
  }
}
