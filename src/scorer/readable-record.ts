// Reads a record of the samples log as far as it must be read to know that applying it cannot fail half-way: a record is
// applied whole or not at all. What is refused here is the record's fault (damaged, or of a newer format); what throws
// afterwards is ours.

import { strict as assert } from 'node:assert';
import { fromBinary } from '@bufbuild/protobuf';
import { OperatingError } from '../errors.js';
import {
  type ControlCopy,
  ControlCopySchema,
  type Heritage,
  HeritageSchema,
} from '../gen/sample_block_pb.js';
import { type BlockLayout, readBlock } from '../sample-block.js';
import { type Announced, readAnnouncement } from './announcement.js';
import type { HistogramSampleReader } from './histogram-sample.js';

export interface Announcement {
  announced: Announced;
  /** As it is kept: with the tenant, which only the block says. */
  bytes: Uint8Array;
}

export interface ReadableRecord {
  layout: BlockLayout;
  announcements: Announcement[];
  control: ControlCopy[];
  heritage: Heritage[];
}

/** Throws an OperatingError `record_unreadable`. `native` is a reader to try the histograms with. */
export function readRecord(record: Uint8Array, native: HistogramSampleReader): ReadableRecord {
  try {
    const layout = readBlock(record);
    const announcements = layout.series.map(({ from, to }) => {
      assert(to > from, 'An announcement names a series');
      const bytes = layout.bytes.subarray(from, to);
      const announced = readAnnouncement(bytes);
      return { announced, bytes: layout.tenant === '' ? bytes : withTenant(bytes, layout.tenant) };
    });
    for (const place of layout.histograms) native.read(layout.bytes, place);
    const control = layout.control.map(({ from, to }) => {
      const copy = fromBinary(ControlCopySchema, layout.bytes.subarray(from, to));
      assert(copy.offset < Number.MAX_SAFE_INTEGER, 'An offset is a number');
      return copy;
    });
    const heritage = layout.heritage.map(({ from, to }) =>
      fromBinary(HeritageSchema, layout.bytes.subarray(from, to)),
    );
    return { layout, announcements, control, heritage };
  } catch (error) {
    // Expected: a TypeError or RangeError of a decoder that met bytes which are no message, or an assert on them.
    const reason = error instanceof Error ? error.message : String(error);
    const text = `Cannot read a record of ${record.length} bytes: ${reason}`;
    throw new OperatingError('record_unreadable', text, error);
  }
}

/** A SeriesInfo with its field 5 set: appending a field to a serialised message sets it. */
function withTenant(bytes: Uint8Array, tenant: string): Uint8Array {
  const name = Buffer.from(tenant);
  assert(name.length < 16384, 'A tenant has a short name');
  const size = name.length < 128 ? [name.length] : [(name.length & 127) | 128, name.length >> 7];
  return Buffer.concat([bytes, Uint8Array.from([(5 << 3) | 2, ...size]), name]);
}
