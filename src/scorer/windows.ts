// The newest values of every scored series of one partition, as they were scored, in equal steps of time: what the deep
// check looks at when a flag goes up, and what people are shown. They decide no score and are no part of the state hash. Each
// is a ring of WINDOW_STEPS values of 32 bits, counted from an origin of 64 bits in the midst of them, so that small moves at
// a great height (bytes of a disk, 1e12) are kept: the error is 2^-24 of a value's own distance from the origin.
//
//   page     1,024 slots: heads, then cells; made when the first of its slots is
//   head     f64 x 8: origin, newest timestamp, step it began with, usual step, written, count, next look, 1 when
//            the newest was off time
//   cells    f32, 16 slots side by side: cell c of slot s at ((s / 16) x 512 + c) x 16 + s % 16, so that series which
//            arrive together, as they do in a scrape, share a cache line
//
// What is written depends on the samples in their order and on nothing else, and a sample that is not newer than the newest
// is passed over. So a copy may be taken at another time than the state it is used with (saved-windows.ts).

import { strict as assert } from 'node:assert';
import { WINDOW_STEPS } from '../limits.js';

/** Of the forest: the columns of one batch, in and out. */
export interface BatchColumns {
  slots: Uint32Array;
  timestampBytes: Uint8Array;
  /** 0: applied. */
  outcomes: Uint8Array;
  /** NaN where nothing was scored. */
  values: Float64Array;
}

export interface RecentValues {
  stepMs: number;
  endMs: number;
  /** Oldest first, the last one of `endMs`; NaN where nothing arrived. Empty when nothing is kept. */
  values: Float64Array;
}

/** Names the layout of what `block` gives. */
export const WINDOW_FORMAT = 1;
/** Slots of one block, the piece in which windows are saved: 270 KB. */
export const BLOCK_SLOTS = 128;

const PAGE_SLOTS = 1024;
const LANES = 16;
const HEAD = 8;
const [ORIGIN, NEWEST, STEP, USUAL, WRITTEN, COUNT, LOOK, OFF_TIME] = [0, 1, 2, 3, 4, 5, 6, 7];

/** The usual step is the mean of the first so many, and then moves by this share; none counts as half as long again. */
const USUAL_STEPS = 32;
const USUAL_CLIP = 0.5;
const ON_TIME = 0.25;
/** The usual step is settled after so many; when it differs by this factor from then on, another window begins. */
const SETTLED_STEPS = 16;
const STEP_RATIO = 1.7;
/** Values that are looked at to find the midst of a window. */
const LOOKED_AT = 15;
const FIRST_LOOK = 16;
/** The origin moves when it lies so many of their usual distances away from the midst: 4 bits of 24 are lost by then. */
const ORIGIN_RATIO = 16;
const F32_MAX = 3.4028234663852886e38;

interface Page {
  heads: Float64Array;
  cells: Float32Array;
}

export class Windows {
  readonly #columns: BatchColumns;
  readonly #timestamps: Uint32Array;
  readonly #pages: (Page | undefined)[] = [];
  readonly #looked = new Float64Array(LOOKED_AT);
  #pageCount = 0;
  /** Blocks in which a series began or left since they were saved. */
  readonly disturbed = new Set<number>();
  /** Rows of this batch that have been written. */
  #done = 0;

  constructor(columns: BatchColumns) {
    const { buffer, byteOffset, length } = columns.timestampBytes;
    this.#columns = columns;
    this.#timestamps = new Uint32Array(buffer, byteOffset, length / 4);
  }

  /** The rows of the batch below `end` that have not been written: an event sees the window as it was at its sample. */
  observeTo(end: number): void {
    const { slots, outcomes, values } = this.#columns;
    const timestamps = this.#timestamps;
    for (let i = this.#done; i < end; i++) {
      const value = values[i]!;
      if (outcomes[i] !== 0 || Number.isNaN(value)) continue;
      const timestampMs = (timestamps[2 * i + 1]! | 0) * 4294967296 + timestamps[2 * i]!;
      this.#put(slots[i]!, timestampMs, value);
    }
    this.#done = Math.max(this.#done, end);
  }

  /** All rows of the batch; the next one begins. */
  finish(count: number): void {
    this.observeTo(count);
    this.#done = 0;
  }

  /** A series begins in this slot, or left it. */
  clear(slot: number): void {
    const page = this.#pages[slot >> 10];
    if (page === undefined) return;
    const head = HEAD * (slot & (PAGE_SLOTS - 1));
    if (page.heads[head + COUNT] === 0) return;
    page.heads.fill(0, head, head + HEAD);
    this.disturbed.add(Math.floor(slot / BLOCK_SLOTS));
  }

  /** As it was at `untilMs`, or is now. */
  recent(slot: number, untilMs = Number.POSITIVE_INFINITY): RecentValues {
    const page = this.#pages[slot >> 10];
    const at = slot & (PAGE_SLOTS - 1);
    const head = HEAD * at;
    const count = page?.heads[head + COUNT] ?? 0;
    if (page === undefined || count === 0) {
      return { stepMs: Number.NaN, endMs: Number.NaN, values: new Float64Array(0) };
    }
    const { heads, cells } = page;
    const [newestMs, step] = [heads[head + NEWEST]!, heads[head + USUAL]!];
    // A copy may be ahead of a log that is replayed.
    const skipped =
      newestMs > untilMs && step > 0 ? Math.min(Math.round((newestMs - untilMs) / step), count) : 0;
    const values = new Float64Array(count - skipped);
    const origin = heads[head + ORIGIN]!;
    const first = heads[head + WRITTEN]! - count;
    for (let i = 0; i < values.length; i++) values[i] = origin + cells[cellOf(at, first + i)]!;
    return { stepMs: step, endMs: newestMs - skipped * step, values };
  }

  /** All blocks of the slots below `slotEnd`. */
  *blocks(slotEnd: number): Generator<number> {
    if (this.#pageCount === 0) return;
    for (let index = 0; index * BLOCK_SLOTS < slotEnd; index++) yield index;
  }

  /** A copy of one block: heads, then cells. */
  block(index: number): Uint8Array {
    const { heads, cells } = this.#blockOf(index);
    const bytes = new Uint8Array(heads.byteLength + cells.byteLength);
    bytes.set(bytesOf(heads));
    bytes.set(bytesOf(cells), heads.byteLength);
    return bytes;
  }

  restoreBlock(index: number, bytes: Uint8Array): void {
    const { heads, cells } = this.#blockOf(index);
    assert.equal(bytes.length, heads.byteLength + cells.byteLength);
    bytesOf(heads).set(bytes.subarray(0, heads.byteLength));
    bytesOf(cells).set(bytes.subarray(heads.byteLength));
  }

  #blockOf(index: number): Page {
    const slot = index * BLOCK_SLOTS;
    const { heads, cells } = this.#pageOf(slot >> 10);
    const at = slot & (PAGE_SLOTS - 1);
    return {
      heads: heads.subarray(HEAD * at, HEAD * (at + BLOCK_SLOTS)),
      cells: cells.subarray(WINDOW_STEPS * at, WINDOW_STEPS * (at + BLOCK_SLOTS)),
    };
  }

  #pageOf(index: number): Page {
    let page = this.#pages[index];
    if (page === undefined) {
      page = {
        heads: new Float64Array(HEAD * PAGE_SLOTS),
        cells: new Float32Array(WINDOW_STEPS * PAGE_SLOTS),
      };
      while (this.#pages.length < index) this.#pages.push(undefined);
      this.#pages[index] = page;
      this.#pageCount++;
    }
    return page;
  }

  #put(slot: number, timestampMs: number, value: number): void {
    const page = this.#pages[slot >> 10] ?? this.#pageOf(slot >> 10);
    const { heads, cells } = page;
    const at = slot & (PAGE_SLOTS - 1);
    const head = HEAD * at;
    const count = heads[head + COUNT]!;
    if (count === 0) {
      heads[head + ORIGIN] = value;
      heads[head + USUAL] = 0;
      begin(page, at, timestampMs, value);
      return;
    }
    const elapsedMs = timestampMs - heads[head + NEWEST]!;
    if (elapsedMs <= 0) return;
    const before = heads[head + USUAL]!;
    const late = elapsedMs - before;
    let usual: number;
    let steps = 1;
    if (count >= USUAL_STEPS && Math.abs(late) < ON_TIME * before) {
      // Nearly always, and then without a division.
      usual = before + late * (1 / USUAL_STEPS);
      heads[head + USUAL] = usual;
      heads[head + OFF_TIME] = 0;
    } else {
      // One gap says nothing about the step.
      const isNews = count < USUAL_STEPS || heads[head + OFF_TIME] === 1;
      usual = isNews ? usualStep(heads, head, elapsedMs) : before;
      heads[head + OFF_TIME] = 1;
      steps = Math.max(Math.round(elapsedMs / usual), 1);
    }
    const first = heads[head + STEP]!;
    if (usual > STEP_RATIO * first || STEP_RATIO * usual < first || steps >= WINDOW_STEPS) {
      begin(page, at, timestampMs, value);
      return;
    }
    let written = heads[head + WRITTEN]!;
    for (let gap = 1; gap < steps; gap++) cells[cellOf(at, written++)] = Number.NaN;
    cells[cellOf(at, written++)] = inF32(value - heads[head + ORIGIN]!);
    heads[head + NEWEST] = timestampMs;
    heads[head + WRITTEN] = written;
    heads[head + COUNT] = Math.min(count + steps, WINDOW_STEPS);
    if (written >= heads[head + LOOK]!) this.#look(page, at);
  }

  /**
   * Moves the origin into the midst of the window when it lies far outside: at 16 values, at twice as many up to a full
   * window, and then once per window. The midst is a median: a spike of 1e12 must not cost the others their digits.
   */
  #look({ heads, cells }: Page, at: number): void {
    const head = HEAD * at;
    const [written, count] = [heads[head + WRITTEN]!, heads[head + COUNT]!];
    heads[head + LOOK] = written + Math.min(count, WINDOW_STEPS);
    let found = 0;
    for (let i = 0; i < LOOKED_AT; i++) {
      const cell = cells[cellOf(at, written - 1 - Math.floor((i * count) / LOOKED_AT))]!;
      if (!Number.isNaN(cell)) this.#looked[found++] = cell;
    }
    const looked = this.#looked.subarray(0, found);
    const shift = medianOf(looked);
    for (let i = 0; i < found; i++) looked[i] = Math.abs(looked[i]! - shift);
    if (!(Math.abs(shift) > ORIGIN_RATIO * medianOf(looked))) return;
    const before = heads[head + ORIGIN]!;
    const origin = before + shift;
    if (!Number.isFinite(origin)) return;
    heads[head + ORIGIN] = origin;
    for (let i = written - count; i < written; i++) {
      const cell = cellOf(at, i);
      cells[cell] = inF32(before - origin + cells[cell]!);
    }
  }
}

function usualStep(heads: Float64Array, head: number, elapsedMs: number): number {
  const count = heads[head + COUNT]!;
  const before = heads[head + USUAL]! || elapsedMs;
  const change = Math.min(Math.max(elapsedMs / before - 1, -USUAL_CLIP), USUAL_CLIP);
  const usual = before * (1 + change / Math.min(count + 1, USUAL_STEPS));
  heads[head + USUAL] = usual;
  if (count < SETTLED_STEPS) heads[head + STEP] = usual;
  return usual;
}

/** The window holds this value and nothing before it. */
function begin({ heads, cells }: Page, at: number, timestampMs: number, value: number): void {
  const head = HEAD * at;
  heads[head + NEWEST] = timestampMs;
  heads[head + WRITTEN] = 1;
  heads[head + COUNT] = 1;
  heads[head + LOOK] = FIRST_LOOK;
  cells[cellOf(at, 0)] = inF32(value - heads[head + ORIGIN]!);
}

function cellOf(at: number, index: number): number {
  return ((at >> 4) * WINDOW_STEPS + (index & (WINDOW_STEPS - 1))) * LANES + (at & (LANES - 1));
}

/** No value of a metric is that large; one that is stays the largest there is. */
function inF32(distance: number): number {
  return Math.min(Math.max(distance, -F32_MAX), F32_MAX);
}

function medianOf(values: Float64Array): number {
  const sorted = values.slice().sort();
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

function bytesOf({ buffer, byteOffset, byteLength }: Float64Array | Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
