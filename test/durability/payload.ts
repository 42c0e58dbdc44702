// Values that the appending process makes and the test makes again: everything follows from the
// number.

import { randomOf } from '../random.js';

export const PARTITIONS = 2;
const BYTES_MAX = 24_000;

export function payloadOf(number: number): Uint8Array {
  const random = randomOf(number);
  const size = Math.floor(random() ** 2 * BYTES_MAX);
  const bytes = new Uint8Array(size);
  // Half noise and half runs: part of it compresses, as in the columns of a SampleBlock.
  for (let at = 0; at < size; at++) bytes[at] = at % 16 < 8 ? Math.floor(random() * 256) : number;
  return bytes;
}

export function partitionOf(number: number): number {
  return number % PARTITIONS;
}

/** One line per acknowledged append: an array of these four. */
export interface Acknowledged {
  number: number;
  offset: number;
  /** Flushes that had begun when append was called, and that had ended when it resolved. */
  begunAtCall: number;
  endedAtAck: number;
}
