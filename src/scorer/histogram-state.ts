// What is learnt of one histogram, as bytes: its key, its derived series, and what its buckets counted. Series are named
// by number: by their entry in a checkpoint, by their place in the file in a state file; whoever moves a histogram from
// one to the other renumbers it. Layout: docs/formats.md.

import { BucketSet } from './bucket-set.js';
import { NativeSet } from './native-set.js';
import { NO_ENTRY } from './slots.js';
import { StateReader, StateWriter } from './state-bytes.js';

const KEY_BYTES = 16;

export interface HistogramState {
  /** Hash of tenant, name and labels without `le`, in hex. */
  key: string;
  /** Entries in the order of DERIVED; NO_ENTRY until the first interval. */
  derived: [number, number, number];
  classic: BucketSet | undefined;
  native: NativeSet | undefined;
}

export interface SavedHistograms {
  /** Entries of series that were looked at and left out. */
  leftOut: number[];
  histograms: HistogramState[];
}

export function encodeHistogram(to: StateWriter, histogram: HistogramState): void {
  const { key, derived, classic, native } = histogram;
  to.bytes(Buffer.from(key, 'hex'));
  for (const entry of derived) to.u32(entry);
  to.u32((classic === undefined ? 0 : 1) | (native === undefined ? 0 : 2));
  classic?.encode(to);
  native?.encode(to);
}

export function decodeHistogram(from: StateReader): HistogramState {
  const key = Buffer.from(from.bytes(KEY_BYTES)).toString('hex');
  const derived: HistogramState['derived'] = [from.u32(), from.u32(), from.u32()];
  const parts = from.u32();
  const classic = (parts & 1) === 0 ? undefined : BucketSet.decode(from);
  const native = (parts & 2) === 0 ? undefined : NativeSet.decode(from);
  return { key, derived, classic, native };
}

/** The histograms section of a checkpoint. */
export function encodeHistograms({ leftOut, histograms }: SavedHistograms): Uint8Array {
  const to = new StateWriter();
  to.u32(leftOut.length);
  for (const entry of leftOut) to.u32(entry);
  to.u32(histograms.length);
  for (const histogram of histograms) encodeHistogram(to, histogram);
  return to.written();
}

/** Empty bytes are those of a checkpoint older than histograms. */
export function decodeHistograms(bytes: Uint8Array): SavedHistograms {
  if (bytes.length === 0) return { leftOut: [], histograms: [] };
  const from = new StateReader(bytes);
  const leftOut = Array.from({ length: from.u32() }, () => from.u32());
  const histograms = Array.from({ length: from.u32() }, () => decodeHistogram(from));
  from.end();
  return { leftOut, histograms };
}

/** The series whose samples it gathers. */
export function membersOf({ classic, native }: HistogramState): number[] {
  const members = classic === undefined ? [] : [...classic.entries.subarray(0, classic.count)];
  if (native !== undefined) members.push(native.entry);
  return members;
}

/** Gives each series of the histogram another number. NO_ENTRY stays. */
export function renumberHistogram(
  histogram: HistogramState,
  numberOf: (entry: number) => number,
): void {
  const { derived, classic, native } = histogram;
  for (const i of [0, 1, 2] as const) {
    if (derived[i] !== NO_ENTRY) derived[i] = numberOf(derived[i]);
  }
  for (let row = 0; row < (classic?.count ?? 0); row++) {
    classic!.entries[row] = numberOf(classic!.entries[row]!);
  }
  if (native !== undefined) native.entry = numberOf(native.entry);
}
