// Lines of the Prometheus text format, written as bytes: a scrape of 100,000 series is half a million lines, and as strings
// most of its time went to joining them and to the digits of numbers. Text is copied, numbers are written digit by digit.

import { strict as assert } from 'node:assert';
import { numberText } from './gauge-text.js';

/** A slice is handed out once it is longer than this. */
const SLICE_BYTES = 64 * 1024;
/** Digits of a number, all of which 64 bits can tell apart. */
const DIGITS = 15;
const POWERS = Array.from({ length: DIGITS + 1 }, (_, exponent) => 10 ** exponent);
/** Whole parts beyond it, and what lies nearer to zero, are rare and written by the language. */
const WHOLE_MAX = 2 ** 31;
const LEAST = 1e-3;
const NUMBER_BYTES_MAX = 32;
const [ZERO, POINT, MINUS, SPACE, NEWLINE] = [48, 46, 45, 32, 10];

export class LineWriter {
  #bytes = Buffer.allocUnsafe(2 * SLICE_BYTES);
  #at = 0;

  get isFull(): boolean {
    return this.#at > SLICE_BYTES;
  }

  /** What has been written since the last time; it is not touched again. */
  take(): Buffer {
    const taken = this.#bytes.subarray(0, this.#at);
    this.#bytes = Buffer.allocUnsafe(2 * SLICE_BYTES);
    this.#at = 0;
    return taken;
  }

  text(text: string): void {
    this.#room(3 * text.length);
    this.#at += this.#bytes.write(text, this.#at, 'utf8');
  }

  /** `NAME{LABELS} VALUE`; `isAscii` is what is known of the labels. */
  sample(name: string, labels: string, isAscii: boolean, value: number): void {
    this.#room(name.length + 3 * labels.length + NUMBER_BYTES_MAX);
    const bytes = this.#bytes;
    this.#at += bytes.write(name, this.#at, 'latin1');
    this.#at += bytes.write(labels, this.#at, isAscii ? 'latin1' : 'utf8');
    bytes[this.#at++] = SPACE;
    this.#at = writeNumber(bytes, this.#at, value);
    bytes[this.#at++] = NEWLINE;
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(2 * (this.#at + bytes));
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
  }
}

/** Writes at most NUMBER_BYTES_MAX bytes, 15 digits. Returns where they end. */
export function writeNumber(bytes: Buffer, from: number, value: number): number {
  const size = Math.abs(value);
  if (!(size < WHOLE_MAX) || (size < LEAST && size !== 0)) {
    const text = numberText(value);
    assert(text.length <= NUMBER_BYTES_MAX);
    return from + bytes.write(text, from, 'latin1');
  }
  let at = from;
  if (value < 0) bytes[at++] = MINUS;
  let whole = Math.floor(size);
  const decimals = DIGITS - digitsOf(whole);
  const power = POWERS[decimals]!;
  let rest = Math.round((size - whole) * power);
  if (rest === power) {
    whole++;
    rest = 0;
  }
  at = writeWhole(bytes, at, whole, digitsOf(whole));
  if (rest === 0) return at;
  bytes[at++] = POINT;
  const high = Math.floor(rest / 1e7);
  at = writeWhole(bytes, at, high, Math.max(decimals - 7, 0));
  at = writeWhole(bytes, at, rest - 1e7 * high, Math.min(decimals, 7));
  while (bytes[at - 1] === ZERO) at--;
  return at;
}

/** Of a whole number below 2^31 or 10^9; of 0 one. */
function digitsOf(whole: number): number {
  let digits = 1;
  while (digits < 10 && whole >= POWERS[digits]!) digits++;
  return digits;
}

/** So many digits, with zeros in front. */
function writeWhole(bytes: Buffer, from: number, whole: number, digits: number): number {
  let rest = whole | 0;
  for (let at = from + digits - 1; at >= from; at--) {
    const tenth = (rest / 10) | 0;
    bytes[at] = ZERO + rest - 10 * tenth;
    rest = tenth;
  }
  return from + digits;
}
