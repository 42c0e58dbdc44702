// The series dictionary as bytes, which checkpoints hold and state files are made from and into:
//
//   entry u32 | fingerprint low u32 | high u32 | slot u32 | seen f64 | length u32 | SeriesInfo
//
// for each entry in use, ascending. What is read was checksummed before it comes here.

import { strict as assert } from 'node:assert';
import type { Slots } from './slots.js';
import { StateWriter } from './state-bytes.js';

const ENTRY_BYTES = 28;

export interface DictionaryRow {
  entry: number;
  low: number;
  high: number;
  /** NO_SLOT: known and not scored. */
  slot: number;
  /** Stream time of the last sample. */
  seen: number;
  announcement: Uint8Array;
}

export function dictionaryRowBytes(announcement: Uint8Array): number {
  return ENTRY_BYTES + announcement.length;
}

export function encodeDictionaryRow(to: StateWriter, row: DictionaryRow): void {
  to.u32(row.entry);
  to.u32(row.low);
  to.u32(row.high);
  to.u32(row.slot);
  to.f64(row.seen);
  to.u32(row.announcement.length);
  to.bytes(row.announcement);
}

export function encodeDictionary(slots: Slots): Uint8Array {
  let size = 0;
  for (let entry = 0; entry < slots.entryEnd; entry++) {
    if (slots.isUsed(entry)) size += dictionaryRowBytes(slots.announcement(entry));
  }
  const to = new StateWriter(size);
  for (let entry = 0; entry < slots.entryEnd; entry++) {
    if (!slots.isUsed(entry)) continue;
    encodeDictionaryRow(to, {
      entry,
      low: slots.lowOf(entry),
      high: slots.highOf(entry),
      slot: slots.slotOf(entry),
      seen: slots.seenAt(entry),
      announcement: slots.announcement(entry),
    });
  }
  assert.equal(to.length, size);
  return to.written();
}

/** Announcements are views of `bytes`. */
export function* readDictionary(bytes: Uint8Array): Generator<DictionaryRow> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < bytes.length; ) {
    const from = at + ENTRY_BYTES;
    const to = from + view.getUint32(at + 24, true);
    yield {
      entry: view.getUint32(at, true),
      low: view.getUint32(at + 4, true),
      high: view.getUint32(at + 8, true),
      slot: view.getUint32(at + 12, true),
      seen: view.getFloat64(at + 16, true),
      announcement: bytes.subarray(from, to),
    };
    at = to;
  }
}
