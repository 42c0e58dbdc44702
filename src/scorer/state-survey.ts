// The first reading of a state file that is to be imported: whether all of it is sound and ours to read, and in which
// partition of the target each series goes. A series goes where its labels put it; what a histogram is scored by goes
// where the histogram's series go. Kept of a series are 14 bytes.

import type { StateFileHead } from '../gen/state_file_pb.js';
import { membersOf } from './histogram-state.js';
import { NO_ENTRY } from './slots.js';
import type { RecordLayout } from './state-export.js';
import { ROW_DERIVED, type StateFileCounts, type StateRow } from './state-file.js';
import { invalid, newer, readStateFile, type StateFileSource } from './state-file-reader.js';

/** Where a series belongs, and the fingerprint that its labels have. */
export interface Placed {
  low: number;
  high: number;
  partition: number;
}

/** One for each serialised SeriesInfo; undefined when a receiver would refuse its labels. */
export type PlaceSeries = (announcements: readonly Uint8Array[]) => Promise<(Placed | undefined)[]>;

/** In place of a partition: the series goes nowhere. */
export const NOWHERE = 0xffff;

export interface TargetSize {
  series: number;
  scored: number;
  /** Bytes of its announcements. */
  labels: number;
  streamTimeMs: number;
}

export interface Survey {
  head: StateFileHead;
  counts: StateFileCounts;
  bytes: number;
  learnt: Uint8Array;
  recordsBehind: number;
  /** Of each series in the order of the file: partition or NOWHERE. */
  places: Uint16Array;
  sizes: TargetSize[];
  /** Stream time of the partition that each series comes from, by the first series of each. */
  origins: { first: number; streamTimeMs: number }[];
  /** Series left out, because another one has the same fingerprint or nothing says where they belong. */
  leftOut: number;
}

export async function surveyStateFile(
  source: StateFileSource,
  options: { layout: RecordLayout; partitions: number; place: PlaceSeries },
): Promise<Survey> {
  const { layout, partitions, place } = options;
  const series = new SeriesColumns();
  const origins: Survey['origins'] = [];
  let head: StateFileHead | undefined;
  let recordsBehind = 0;
  for await (const piece of readStateFile(source)) {
    if (piece.kind === 'head') {
      head = piece.head;
      checkLayout(source, head, layout);
    } else if (piece.kind === 'partition') {
      const { manifest } = piece.partition;
      recordsBehind += piece.partition.recordsBehind;
      const streamTimeMs = manifest?.streamTimeMs ?? Number.NEGATIVE_INFINITY;
      origins.push({ first: series.count, streamTimeMs });
    } else if (piece.kind === 'rows') {
      const placed = await place(piece.rows.map(({ announcement }) => announcement));
      for (const [i, row] of piece.rows.entries()) {
        series.push(row, placeOf(source, row, placed[i]));
      }
    } else if (piece.kind === 'histograms') {
      for (const histogram of piece.histograms) {
        const [first = NOWHERE, ...others] = membersOf(histogram).map((at) => series.placeAt(at));
        if (others.some((other) => other !== first)) continue;
        for (const at of histogram.derived) if (at !== NO_ENTRY) series.move(at, first);
      }
    } else if (head !== undefined) {
      const { end, bytes } = piece;
      const { places, leftOut } = series.settle();
      const sizes = sizesOf({ series, places, partitions, origins });
      const counts = { series: end.series, scored: end.scored, histograms: end.histograms };
      const { learnt } = end;
      return { head, counts, bytes, learnt, recordsBehind, places, sizes, origins, leftOut };
    }
  }
  throw invalid(source, 'it has no end');
}

export function checkLayout(
  source: StateFileSource,
  head: StateFileHead,
  layout: RecordLayout,
): void {
  if (head.recordFormat > layout.recordFormat) {
    throw newer(source, `record format ${head.recordFormat}`);
  }
  for (const name of ['recordFormat', 'recordBytes', 'seed'] as const) {
    if (head[name] === layout[name]) continue;
    throw invalid(source, `its ${name} is ${head[name]}, this Treeline has ${layout[name]}`);
  }
}

function placeOf(source: StateFileSource, row: StateRow, placed: Placed | undefined): number {
  if ((row.flags & ROW_DERIVED) !== 0) return placed?.partition ?? NOWHERE;
  if (placed === undefined || placed.low !== row.low || placed.high !== row.high) {
    throw invalid(
      source,
      'its series are named by another rule than here; use the Treeline that wrote it',
    );
  }
  return placed.partition;
}

function sizesOf(parts: {
  series: SeriesColumns;
  places: Uint16Array;
  partitions: number;
  origins: Survey['origins'];
}): TargetSize[] {
  const { series, places, partitions, origins } = parts;
  const sizes = Array.from({ length: partitions }, () => ({
    series: 0,
    scored: 0,
    labels: 0,
    streamTimeMs: Number.NEGATIVE_INFINITY,
  }));
  let origin = -1;
  for (let at = 0; at < places.length; at++) {
    while (origin + 1 < origins.length && origins[origin + 1]!.first <= at) origin++;
    const size = sizes[places[at]!];
    if (size === undefined) continue;
    size.series++;
    if (series.isScored(at)) size.scored++;
    size.labels += series.labelBytes(at);
    size.streamTimeMs = Math.max(size.streamTimeMs, origins[origin]!.streamTimeMs);
  }
  return sizes;
}

/** Of each series its place, its fingerprint, and how much it takes. */
class SeriesColumns {
  count = 0;
  #places = new Uint16Array(1024);
  #fingerprints = new BigUint64Array(1024);
  #sizes = new Uint32Array(1024);

  push({ low, high, announcement, record }: StateRow, place: number): void {
    const at = this.count++;
    if (at === this.#places.length) this.#grow();
    this.#places[at] = place;
    this.#fingerprints[at] = (BigInt(high) << 32n) | BigInt(low);
    this.#sizes[at] = 2 * announcement.length + (record.length > 0 ? 1 : 0);
  }

  placeAt(at: number): number {
    return at < this.count ? this.#places[at]! : NOWHERE;
  }

  move(at: number, place: number): void {
    if (at < this.count) this.#places[at] = place;
  }

  isScored(at: number): boolean {
    return (this.#sizes[at]! & 1) === 1;
  }

  labelBytes(at: number): number {
    return this.#sizes[at]! >>> 1;
  }

  /** Of series with one fingerprint the first one stays: what a histogram is scored by may be there twice. */
  settle(): { places: Uint16Array; leftOut: number } {
    const fingerprints = this.#fingerprints.subarray(0, this.count);
    const places = this.#places.subarray(0, this.count);
    const sorted = fingerprints.toSorted();
    const twice = new Set<bigint>();
    for (let i = 1; i < sorted.length; i++) {
      if (sorted[i] === sorted[i - 1]) twice.add(sorted[i]!);
    }
    const seen = new Set<bigint>();
    let leftOut = 0;
    for (let at = 0; at < places.length; at++) {
      const fingerprint = fingerprints[at]!;
      if (twice.has(fingerprint)) {
        if (seen.has(fingerprint)) places[at] = NOWHERE;
        seen.add(fingerprint);
      }
      if (places[at] === NOWHERE) leftOut++;
    }
    return { places, leftOut };
  }

  #grow(): void {
    const size = 2 * this.#places.length;
    const [places, fingerprints, sizes] = [this.#places, this.#fingerprints, this.#sizes];
    this.#places = new Uint16Array(size);
    this.#fingerprints = new BigUint64Array(size);
    this.#sizes = new Uint32Array(size);
    this.#places.set(places);
    this.#fingerprints.set(fingerprints);
    this.#sizes.set(sizes);
  }
}
