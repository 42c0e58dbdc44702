// Which series this partition knows, and where their state lies: fingerprint → entry → slot of the record in the
// forest's memory. An open-addressing table of typed arrays, because one look-up is made for every sample. An entry
// without a slot belongs to a series that is known and not scored. Freed entries and slots are taken again lowest
// first, so that a replay assigns the same ones.
//
//   table     u32 fingerprint low | u32 fingerprint high | u32 entry + 1 (0: empty), probed linearly
//   entries   u32 low, u32 high, u32 slot, f64 seen (stream time, ms), u32 offset and u32 length of its SeriesInfo
//   arena     the serialised SeriesInfo messages, one after another

import { strict as assert } from 'node:assert';

export const NO_ENTRY = 0xffffffff;
export const NO_SLOT = 0xffffffff;

const GROWTH = 2;
const FILL_MAX = 0.5;

export interface SlotLimits {
  /** Scored series. */
  slotsMax: number;
  /** Series known in all, scored or not. */
  entriesMax: number;
}

export class Slots {
  readonly limits: SlotLimits;
  #table = new Uint32Array(3 * 1024);
  #mask = 1023;
  #low = new Uint32Array(256);
  #high = new Uint32Array(256);
  #slot = new Uint32Array(256).fill(NO_SLOT);
  #seen = new Float64Array(256);
  #place = new Float64Array(2 * 256);
  #arena = new Uint8Array(32 * 1024);
  #arenaEnd = 0;
  #arenaFree = 0;
  /** Entries ever used, and which of them are free now. */
  #entryEnd = 0;
  readonly #freeEntries = new FreeNumbers();
  #slotEnd = 0;
  readonly #freeSlots = new FreeNumbers();
  #count = 0;
  #scored = 0;

  constructor(limits: SlotLimits) {
    this.limits = limits;
  }

  /** Series known now. */
  get count(): number {
    return this.#count;
  }

  /** Of these, series with a record. */
  get scored(): number {
    return this.#scored;
  }

  /** How many scored series can still be added. */
  get room(): number {
    const { slotsMax, entriesMax } = this.limits;
    return Math.min(slotsMax - this.#scored, entriesMax - this.#count);
  }

  /** One more than the highest slot ever used: how far the forest's memory matters. */
  get slotEnd(): number {
    return this.#slotEnd;
  }

  /** One more than the highest entry ever used. */
  get entryEnd(): number {
    return this.#entryEnd;
  }

  /** Bytes held for labels, free ones included. */
  get bytes(): number {
    return this.#arena.length + this.#table.byteLength + this.#low.length * 36;
  }

  find(low: number, high: number): number {
    const table = this.#table;
    for (let at = (low ^ high) & this.#mask; ; at = (at + 1) & this.#mask) {
      const entry = table[3 * at + 2]!;
      if (entry === 0) return NO_ENTRY;
      if (table[3 * at] === low && table[3 * at + 1] === high) return entry - 1;
    }
  }

  slotOf(entry: number): number {
    return this.#slot[entry]!;
  }

  seenAt(entry: number): number {
    return this.#seen[entry]!;
  }

  touch(entry: number, streamTimeMs: number): void {
    this.#seen[entry] = streamTimeMs;
  }

  isUsed(entry: number): boolean {
    return entry < this.#entryEnd && this.#place[2 * entry + 1] !== 0;
  }

  lowOf(entry: number): number {
    return this.#low[entry]!;
  }

  highOf(entry: number): number {
    return this.#high[entry]!;
  }

  /** The serialised SeriesInfo with which the series was announced last; valid until the next change. */
  announcement(entry: number): Uint8Array {
    const from = this.#place[2 * entry]!;
    return this.#arena.subarray(from, from + this.#place[2 * entry + 1]!);
  }

  /** A new entry, with a slot when `isScored`; NO_ENTRY when a limit is reached. */
  add(
    fingerprint: { low: number; high: number },
    announcement: Uint8Array,
    options: { isScored: boolean; streamTimeMs: number },
  ): number {
    const { slotsMax, entriesMax } = this.limits;
    if (this.#count >= entriesMax || (options.isScored && this.#scored >= slotsMax))
      return NO_ENTRY;
    const entry = this.#freeEntries.take() ?? this.#entryEnd++;
    if (entry >= this.#low.length) this.#growEntries();
    this.#low[entry] = fingerprint.low;
    this.#high[entry] = fingerprint.high;
    this.#slot[entry] = options.isScored ? (this.#freeSlots.take() ?? this.#slotEnd++) : NO_SLOT;
    this.#seen[entry] = options.streamTimeMs;
    this.#keep(entry, announcement);
    this.#count++;
    if (options.isScored) this.#scored++;
    if (this.#count > FILL_MAX * (this.#mask + 1)) this.#rebuild((this.#mask + 1) * GROWTH);
    else this.#insert(entry);
    return entry;
  }

  /** Announced again with other labels' order, type or unit. */
  replaceAnnouncement(entry: number, announcement: Uint8Array): void {
    const length = this.#place[2 * entry + 1]!;
    if (length === announcement.length) {
      this.#arena.set(announcement, this.#place[2 * entry]!);
      return;
    }
    this.#arenaFree += length;
    this.#keep(entry, announcement);
    this.#compactWhenHalfFree();
  }

  /** The series is known from now on without being scored. The caller clears its record. */
  releaseSlot(entry: number): void {
    assert(this.isUsed(entry) && this.#slot[entry] !== NO_SLOT);
    this.#freeSlots.give(this.#slot[entry]!);
    this.#slot[entry] = NO_SLOT;
    this.#scored--;
  }

  /** Forgets these entries. The caller clears their records. */
  remove(entries: readonly number[]): void {
    if (entries.length === 0) return;
    for (const entry of entries) {
      assert(this.isUsed(entry));
      const slot = this.#slot[entry]!;
      if (slot !== NO_SLOT) {
        this.#freeSlots.give(slot);
        this.#scored--;
      }
      this.#freeEntries.give(entry);
      this.#arenaFree += this.#place[2 * entry + 1]!;
      this.#place[2 * entry + 1] = 0;
      this.#low[entry] = 0;
      this.#high[entry] = 0;
      this.#slot[entry] = NO_SLOT;
      this.#seen[entry] = 0;
      this.#count--;
    }
    this.#rebuild(this.#mask + 1);
    this.#compactWhenHalfFree();
  }

  /** Puts an entry back where a checkpoint says it was. Entries come in ascending order. */
  restore(
    entry: number,
    row: { low: number; high: number; slot: number; seen: number },
    bytes: Uint8Array,
  ): void {
    assert(entry >= this.#entryEnd);
    while (this.#entryEnd < entry) this.#freeEntries.give(this.#entryEnd++);
    this.#entryEnd = entry + 1;
    while (entry >= this.#low.length) this.#growEntries();
    this.#low[entry] = row.low;
    this.#high[entry] = row.high;
    this.#slot[entry] = row.slot;
    this.#seen[entry] = row.seen;
    this.#keep(entry, bytes);
    this.#count++;
    if (row.slot !== NO_SLOT) this.#scored++;
  }

  /** After the last `restore`: the free slots below `slotEnd`, and the table. */
  finishRestore(entryEnd: number, slotEnd: number): void {
    while (this.#entryEnd < entryEnd) this.#freeEntries.give(this.#entryEnd++);
    // The last ones may all be free, and then no `restore` has made room for them.
    while (this.#entryEnd > this.#low.length) this.#growEntries();
    const used = new Uint8Array(slotEnd);
    for (let entry = 0; entry < entryEnd; entry++) {
      const slot = this.#slot[entry]!;
      if (slot !== NO_SLOT) used[slot] = 1;
    }
    this.#slotEnd = slotEnd;
    for (let slot = 0; slot < slotEnd; slot++) if (used[slot] === 0) this.#freeSlots.give(slot);
    let size = 1024;
    while (this.#count > FILL_MAX * size) size *= GROWTH;
    this.#rebuild(size);
  }

  #insert(entry: number): void {
    let at = (this.#low[entry]! ^ this.#high[entry]!) & this.#mask;
    while (this.#table[3 * at + 2] !== 0) at = (at + 1) & this.#mask;
    this.#table[3 * at] = this.#low[entry]!;
    this.#table[3 * at + 1] = this.#high[entry]!;
    this.#table[3 * at + 2] = entry + 1;
  }

  #rebuild(size: number): void {
    this.#table = new Uint32Array(3 * size);
    this.#mask = size - 1;
    for (let entry = 0; entry < this.#entryEnd; entry++)
      if (this.isUsed(entry)) this.#insert(entry);
  }

  #keep(entry: number, bytes: Uint8Array): void {
    assert(bytes.length > 0);
    if (this.#arenaEnd + bytes.length > this.#arena.length) {
      const wider = new Uint8Array(
        Math.max(this.#arena.length * 1.5, this.#arenaEnd + bytes.length),
      );
      wider.set(this.#arena.subarray(0, this.#arenaEnd));
      this.#arena = wider;
    }
    this.#arena.set(bytes, this.#arenaEnd);
    this.#place[2 * entry] = this.#arenaEnd;
    this.#place[2 * entry + 1] = bytes.length;
    this.#arenaEnd += bytes.length;
  }

  #compactWhenHalfFree(): void {
    if (this.#arenaFree <= this.#arenaEnd / 2) return;
    const old = this.#arena;
    const places = this.#place.slice();
    this.#arena = new Uint8Array(Math.max(32 * 1024, (this.#arenaEnd - this.#arenaFree) * 1.25));
    this.#arenaEnd = 0;
    this.#arenaFree = 0;
    for (let entry = 0; entry < this.#entryEnd; entry++) {
      if (!this.isUsed(entry)) continue;
      const from = places[2 * entry]!;
      this.#keep(entry, old.subarray(from, from + places[2 * entry + 1]!));
    }
  }

  #growEntries(): void {
    const size = this.#low.length * GROWTH;
    const widen = <T extends Uint32Array | Float64Array>(array: T, wider: T): T => {
      wider.set(array);
      return wider;
    };
    this.#low = widen(this.#low, new Uint32Array(size));
    this.#high = widen(this.#high, new Uint32Array(size));
    this.#slot = widen(this.#slot, new Uint32Array(size).fill(NO_SLOT));
    this.#seen = widen(this.#seen, new Float64Array(size));
    this.#place = widen(this.#place, new Float64Array(2 * size));
  }
}

/** Free numbers, lowest first: a binary heap. */
class FreeNumbers {
  readonly #heap: number[] = [];

  give(number: number): void {
    const heap = this.#heap;
    heap.push(number);
    let at = heap.length - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent]! <= number) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = number;
  }

  take(): number | undefined {
    const heap = this.#heap;
    const lowest = heap[0];
    const last = heap.pop();
    if (lowest === undefined || last === undefined || heap.length === 0) return lowest;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]! < heap[child]!) child++;
      if (heap[child]! >= last) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return lowest;
  }
}
