// Reads a SampleBlock (proto/sample_block.proto) in place. Its packed fixed-width columns are little-endian arrays on
// the wire, so a reader needs only to know where they lie: no object per sample is made. Several blocks merged by
// concatenation have several runs of columns; any other legal encoding is brought to one run first.

import { strict as assert } from 'node:assert';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type SampleBlock, SampleBlockSchema } from './gen/sample_block_pb.js';
import { RECORD_BYTES_MAX } from './limits.js';

/** `count` samples whose columns begin at these offsets, 8 bytes a sample. */
export interface Run {
  count: number;
  fingerprintAt: number;
  timestampAt: number;
  valueAt: number;
  /** Undefined when no sample of the run has a start timestamp. */
  startAt: number | undefined;
}

export interface BlockLayout {
  /** The bytes that the offsets below count in: the record itself, or a normalised copy of it. */
  bytes: Uint8Array;
  tenant: string;
  runs: Run[];
  /** Begin and end of each serialised SeriesInfo. */
  series: { from: number; to: number }[];
  /** Begin and end of each serialised HistogramSample. */
  histograms: { from: number; to: number }[];
  /** Begin and end of each serialised ControlCopy. */
  control: { from: number; to: number }[];
  /** Begin and end of each serialised Heritage. */
  heritage: { from: number; to: number }[];
}

const COLUMNS = [2, 3, 4, 5];
/**
 * Fields that are reserved for what changes the learnt state: a reader that does not know one of them must not go on as
 * if it were not there. Fields above may be passed over.
 */
const [BINDING_MIN, BINDING_MAX] = [9, 15];
const text = new TextDecoder();

/** Throws when the bytes are not a SampleBlock. */
export function readBlock(bytes: Uint8Array): BlockLayout {
  const lists = { runs: [], series: [], histograms: [], control: [], heritage: [] };
  const layout: BlockLayout = { bytes, tenant: '', ...lists };
  const chunks: { from: number; to: number }[][] = [[], [], [], []];
  let at = 0;
  while (at < bytes.length) {
    const tag = varint(bytes, at);
    const size = varint(bytes, tag.next);
    const field = tag.value >>> 3;
    const from = size.next;
    const to = from + size.value;
    // Everything we know is length-delimited; whatever else there is, the general decoder judges.
    if ((tag.value & 7) !== 2 || to > bytes.length) return readBlockAnyhow(bytes);
    if (field === 1) layout.tenant = text.decode(bytes.subarray(from, to));
    else if (field === 6) layout.series.push({ from, to });
    else if (field === 7) layout.histograms.push({ from, to });
    else if (field === 8) layout.control.push({ from, to });
    else if (field === 10) layout.heritage.push({ from, to });
    else if (COLUMNS.includes(field)) chunks[field - 2]?.push({ from, to });
    else refuseNewer(field);
    at = to;
  }
  return placeRuns(layout, chunks) ? layout : readBlockAnyhow(bytes);
}

/** False when the chunks of the columns are not, one by one, those of the same samples. */
function placeRuns(layout: BlockLayout, chunks: { from: number; to: number }[][]): boolean {
  const [fingerprints = [], timestamps = [], values = [], starts = []] = chunks;
  const count = fingerprints.length;
  if (timestamps.length !== count || values.length !== count) return false;
  if (starts.length !== 0 && starts.length !== count) return false;
  for (const [i, { from, to }] of fingerprints.entries()) {
    const others = [timestamps[i], values[i], starts[i]];
    const length = to - from;
    if (length % 8 !== 0) return false;
    if (others.some((each) => each !== undefined && each.to - each.from !== length)) return false;
    const [timestampAt, valueAt, startAt] = others.map((each) => each?.from);
    assert(timestampAt !== undefined && valueAt !== undefined);
    layout.runs.push({ count: length / 8, fingerprintAt: from, timestampAt, valueAt, startAt });
  }
  return true;
}

/** Float samples and native histograms. */
export function countSamples(layout: BlockLayout): number {
  let count = layout.histograms.length;
  for (const run of layout.runs) count += run.count;
  return count;
}

/** The column of start timestamps for `samples` samples that have none, to stand behind their block. */
export function startsOfNone(samples: number): Uint8Array {
  const column = create(SampleBlockSchema, {
    startTimestampMs: Array.from({ length: samples }, () => 0n),
  });
  return toBinary(SampleBlockSchema, column);
}

export interface BlockPart {
  bytes: Uint8Array;
  /** Float samples and native histograms. */
  samples: number;
}

/** The same samples and announcements, in order, as blocks that each fit into one record of the log. */
export function splitBlock(bytes: Uint8Array, bytesMax = RECORD_BYTES_MAX): BlockPart[] {
  const whole = fromBinary(SampleBlockSchema, bytes);
  const { tenant, series, histogram } = whole;
  const floats = whole.fingerprint.length;
  assert(
    whole.control.length + whole.heritage.length === 0,
    'Copies of control records, and what scorers tell each other, come alone',
  );
  if (bytes.length <= bytesMax) return [{ bytes, samples: floats + histogram.length }];
  // Announcements go first, so that every series is known before its samples come.
  const kinds = [
    ...halves(series.length).map(([from, to]) => ({ series: series.slice(from, to) })),
    ...halves(floats).map(([from, to]) => columns(whole, from, to)),
    ...halves(histogram.length).map(([from, to]) => ({ histogram: histogram.slice(from, to) })),
  ];
  assert(kinds.length > 1, 'One sample, histogram or announcement fits into a record');
  return kinds.flatMap((kind) => {
    const part = create(SampleBlockSchema, { tenant, ...kind });
    return splitBlock(toBinary(SampleBlockSchema, part), bytesMax);
  });
}

function halves(count: number): [number, number][] {
  const half = Math.ceil(count / 2);
  const both: [number, number][] = [
    [0, half],
    [half, count],
  ];
  return both.filter(([from, to]) => from < to);
}

type Columns = Pick<SampleBlock, 'fingerprint' | 'timestampMs' | 'valueBits' | 'startTimestampMs'>;

function columns(block: Columns, from: number, to: number): Columns {
  return {
    fingerprint: block.fingerprint.slice(from, to),
    timestampMs: block.timestampMs.slice(from, to),
    valueBits: block.valueBits.slice(from, to),
    startTimestampMs: block.startTimestampMs.slice(from, to),
  };
}

function readBlockAnyhow(bytes: Uint8Array): BlockLayout {
  const block = fromBinary(SampleBlockSchema, bytes);
  for (const { no } of block.$unknown ?? []) refuseNewer(no);
  delete block.$unknown;
  const count = block.fingerprint.length;
  assert(
    block.timestampMs.length === count && block.valueBits.length === count,
    'The columns of a SampleBlock have one length',
  );
  const starts = block.startTimestampMs.length;
  assert(starts === 0 || starts === count, 'Each sample has a start timestamp, or none has one');
  const normalised = toBinary(SampleBlockSchema, block);
  // What toBinary writes is canonical, so this cannot come back here.
  return readBlock(normalised);
}

function refuseNewer(field: number): void {
  assert(
    field < BINDING_MIN || field > BINDING_MAX,
    `A SampleBlock has field ${field}, which only a newer version knows`,
  );
}

function varint(bytes: Uint8Array, at: number): { value: number; next: number } {
  let value = 0;
  let scale = 1;
  for (let next = at; next < bytes.length && next < at + 5; next++) {
    const byte = bytes[next]!;
    value += (byte & 127) * scale;
    if (byte < 128) return { value, next: next + 1 };
    scale *= 128;
  }
  return { value: 0, next: bytes.length + 1 };
}
