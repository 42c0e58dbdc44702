// How many slots there are, and where the record of each lies: one behind the other, without a gap.
// A slot that is not there is a programmer's error of the host, and stops the forest.

import { RECORDS } from './memory-map';
import { RECORD_BYTES } from './record';

let slotsMax: u32 = 0;

/** Once, before any other function of this module. */
export function laySlots(count: u32): void {
  assert(slotsMax === 0 && count > 0);
  slotsMax = count;
}

export function checkSlot(slot: u32): void {
  assert(slot < slotsMax);
}

export function recordOf(slot: u32): usize {
  checkSlot(slot);
  return RECORDS + slot * RECORD_BYTES;
}
