// Windows in which nothing is learnt. At the first sample of a series within one, its record is set aside; the one in the
// forest goes on, so that scores, gauges and the guard against duplicates are as always, and at the first sample behind
// the window the record that was set aside takes its place again, byte for byte but for the guard, the score that is shown
// and the open anomaly. A sample is judged by its own timestamp. When windows are is looked up for a grid of stream time,
// so that live run and replay see the same.

import { windowAt } from '../calendar.js';
import type { Maintenance, Weekly } from '../gen/control_pb.js';
import { SILENCE_MS, WINDOWS_MS } from '../limits.js';
import type { NamedSeries, Word } from './control-state.js';
import type { StateReader, StateWriter } from './state-bytes.js';
import type { WasmForest } from './wasm-forest.js';

/** Windows that hold for the same series; starts and ends, ascending. */
interface WindowSet {
  words: readonly Word<Maintenance>[];
  spans: Float64Array;
  grid: number;
}

export class NoLearn {
  readonly #forest: WasmForest;
  /** By slot, one more than the place in #sets; 0: no window holds for it. */
  #setOf = new Uint32Array(0);
  #sets: WindowSet[] = [];
  readonly #byKey = new Map<string, number>();
  /** Records that were set aside, by slot. */
  readonly #kept = new Map<number, Uint8Array>();

  constructor(forest: WasmForest) {
    this.#forest = forest;
  }

  /** Must any sample be asked about? */
  get isActive(): boolean {
    return this.#sets.length > 0 || this.#kept.size > 0;
  }

  /** Series whose record is set aside. */
  get count(): number {
    return this.#kept.size;
  }

  /** Other windows hold: tell of every series again. */
  begin(slotsMax: number): void {
    this.#sets = [];
    this.#byKey.clear();
    this.#setOf = new Uint32Array(slotsMax);
  }

  assign(slot: number, series: NamedSeries, windows: Iterable<Word<Maintenance>>): void {
    const words = [...windows].filter(
      ({ tenant, matches }) => tenant === series.tenant && matches(series.labels),
    );
    this.#setOf[slot] = words.length === 0 ? 0 : this.#placeOf(words) + 1;
  }

  /** Does the sample that comes next begin or end the time in which the series does not learn? */
  isTurning(slot: number, timestampMs: number, streamTimeMs: number): boolean {
    return this.#isWithin(slot, timestampMs, streamTimeMs) !== this.#kept.has(slot);
  }

  /** Everything before the sample must have been observed. */
  turn(slot: number): void {
    const kept = this.#kept.get(slot);
    if (kept === undefined) this.#kept.set(slot, this.#forest.record(slot));
    else this.#resume(slot, kept);
  }

  /** The slot is free, or its series begins anew, or is to keep what it learns now. */
  forget(slot: number): void {
    this.#kept.delete(slot);
  }

  /** Those that fell silent learn again too. */
  sweep(streamTimeMs: number): void {
    for (const [slot, kept] of this.#kept) {
      const isOver = [streamTimeMs - SILENCE_MS, streamTimeMs].every(
        (atMs) => !this.#isWithin(slot, atMs, streamTimeMs),
      );
      if (isOver) this.#resume(slot, kept);
    }
  }

  encode(to: StateWriter): void {
    to.u32(this.#kept.size);
    for (const [slot, record] of [...this.#kept].sort(([a], [b]) => a - b)) {
      to.u32(slot);
      to.bytes(record);
    }
  }

  restore(from: StateReader, recordBytes: number): void {
    for (const [slot, record] of readSetAside(from, recordBytes)) this.#kept.set(slot, record);
  }

  #resume(slot: number, kept: Uint8Array): void {
    this.#kept.delete(slot);
    this.#forest.resume(slot, kept);
  }

  #placeOf(words: readonly Word<Maintenance>[]): number {
    const key = JSON.stringify(words.map(({ id }) => id));
    let place = this.#byKey.get(key);
    if (place === undefined) {
      place = this.#sets.push({ words, spans: new Float64Array(), grid: Number.NaN }) - 1;
      this.#byKey.set(key, place);
    }
    return place;
  }

  #isWithin(slot: number, timestampMs: number, streamTimeMs: number): boolean {
    const set = this.#sets[(this.#setOf[slot] ?? 0) - 1];
    if (set === undefined) return false;
    const grid = Math.floor(streamTimeMs / WINDOWS_MS);
    if (set.grid !== grid) {
      set.grid = grid;
      const spans = set.words.flatMap(({ what }) => spansOf(what, grid));
      set.spans = Float64Array.from(spans.flat());
    }
    const { spans } = set;
    for (let at = 0; at < spans.length; at += 2) {
      if (timestampMs >= spans[at]! && timestampMs < spans[at + 1]!) return true;
    }
    return false;
  }
}

/** Records that were set aside, by slot: the first part of a checkpoint's section. */
export function readSetAside(from: StateReader, recordBytes: number): Map<number, Uint8Array> {
  const records = new Map<number, Uint8Array>();
  for (let left = from.u32(); left > 0; left--) {
    const slot = from.u32();
    records.set(slot, from.bytes(recordBytes));
  }
  return records;
}

/** Windows of the cells before, at and behind `grid`; a sample that is older than those is in none. */
function spansOf({ startMs, endMs, weekly }: Maintenance, grid: number): [number, number][] {
  const from = startMs === undefined ? Number.NEGATIVE_INFINITY : Number(startMs);
  const to = endMs === undefined ? Number.POSITIVE_INFINITY : Number(endMs);
  if (weekly === undefined) return [[from, to]];
  return weeklySpans(weekly, grid)
    .map(([start, end]): [number, number] => [Math.max(start, from), Math.min(end, to)])
    .filter(([start, end]) => start < end);
}

function weeklySpans(weekly: Weekly, grid: number): [number, number][] {
  const spans: [number, number][] = [];
  const untilMs = (grid + 2) * WINDOWS_MS;
  for (let atMs = (grid - 1) * WINDOWS_MS; atMs < untilMs; ) {
    const span = windowAt(weekly, atMs);
    if (span === undefined || span.startMs >= untilMs) break;
    spans.push([span.startMs, span.endMs]);
    atMs = span.endMs;
  }
  return spans;
}
