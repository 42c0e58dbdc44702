// Reads a SampleBlock (proto/sample_block.proto) in place. Its packed fixed-width columns are little-endian arrays on
// the wire, so a reader needs only to know where they lie: no object per sample is made. Several blocks merged by
// concatenation have several runs of columns; any other legal encoding is brought to one run first.

import { strict as assert } from 'node:assert';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { SampleBlockSchema } from './gen/sample_block_pb.js';
import { RECORD_BYTES_MAX } from './limits.js';

/** `count` samples whose three columns begin at these offsets, 8 bytes a sample. */
export interface Run {
  count: number;
  fingerprintAt: number;
  timestampAt: number;
  valueAt: number;
}

export interface BlockLayout {
  /** The bytes that the offsets below count in: the record itself, or a normalised copy of it. */
  bytes: Uint8Array;
  tenant: string;
  runs: Run[];
  /** Begin and end of each serialised SeriesInfo. */
  series: { from: number; to: number }[];
}

const COLUMNS = [2, 3, 4];
const text = new TextDecoder();

/** Throws when the bytes are not a SampleBlock. */
export function readBlock(bytes: Uint8Array): BlockLayout {
  const layout: BlockLayout = { bytes, tenant: '', runs: [], series: [] };
  const chunks: { from: number; to: number }[][] = [[], [], []];
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
    else if (COLUMNS.includes(field)) chunks[field - 2]?.push({ from, to });
    at = to;
  }
  const [fingerprints = [], timestamps = [], values = []] = chunks;
  for (let i = 0; i < fingerprints.length; i++) {
    const [f, t, v] = [fingerprints[i], timestamps[i], values[i]];
    const length = f === undefined ? 0 : f.to - f.from;
    if (f === undefined || t === undefined || v === undefined) return readBlockAnyhow(bytes);
    if (length % 8 !== 0 || t.to - t.from !== length || v.to - v.from !== length) {
      return readBlockAnyhow(bytes);
    }
    layout.runs.push({
      count: length / 8,
      fingerprintAt: f.from,
      timestampAt: t.from,
      valueAt: v.from,
    });
  }
  if (timestamps.length !== fingerprints.length || values.length !== fingerprints.length) {
    return readBlockAnyhow(bytes);
  }
  return layout;
}

export function countSamples(layout: BlockLayout): number {
  let count = 0;
  for (const run of layout.runs) count += run.count;
  return count;
}

export interface BlockPart {
  bytes: Uint8Array;
  samples: number;
}

/** The same samples and announcements, in order, as blocks that each fit into one record of the log. */
export function splitBlock(bytes: Uint8Array, bytesMax = RECORD_BYTES_MAX): BlockPart[] {
  const whole = fromBinary(SampleBlockSchema, bytes);
  const samples = whole.fingerprint.length;
  if (bytes.length <= bytesMax) return [{ bytes, samples }];
  const { tenant, series } = whole;
  const half = Math.ceil((series.length > 0 ? series.length : samples) / 2);
  assert(series.length > 0 || samples > 1, 'One sample fits into a record');
  // Announcements go first, so that every series is known before its samples come.
  const parts =
    series.length > 0
      ? [
          create(SampleBlockSchema, { tenant, series: series.slice(0, half) }),
          create(SampleBlockSchema, { tenant, series: series.slice(half) }),
          create(SampleBlockSchema, { tenant, ...columns(whole, 0, samples) }),
        ]
      : [
          create(SampleBlockSchema, { tenant, ...columns(whole, 0, half) }),
          create(SampleBlockSchema, { tenant, ...columns(whole, half, samples) }),
        ];
  return parts
    .filter((part) => part.series.length + part.fingerprint.length > 0)
    .flatMap((part) => splitBlock(toBinary(SampleBlockSchema, part), bytesMax));
}

type Columns = { fingerprint: bigint[]; timestampMs: bigint[]; valueBits: bigint[] };

function columns(block: Columns, from: number, to: number): Columns {
  return {
    fingerprint: block.fingerprint.slice(from, to),
    timestampMs: block.timestampMs.slice(from, to),
    valueBits: block.valueBits.slice(from, to),
  };
}

function readBlockAnyhow(bytes: Uint8Array): BlockLayout {
  const block = fromBinary(SampleBlockSchema, bytes, { readUnknownFields: false });
  const count = block.fingerprint.length;
  assert(
    block.timestampMs.length === count && block.valueBits.length === count,
    'The columns of a SampleBlock have one length',
  );
  const normalised = toBinary(SampleBlockSchema, block);
  // What toBinary writes is canonical, so this cannot come back here.
  return readBlock(normalised);
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
