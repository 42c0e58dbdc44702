// From records to blocks: one protobuf SampleBlock (proto/sample_block.proto) per touched
// partition, written once and in place. First every series is counted, so that each block's size is
// known; then tags and lengths are written; then the series go through the request a second time
// and write behind their partition's cursors.
//
//   block = [0a tenant] { 32 SeriesInfo } 12 n fingerprints 1a n timestamps 22 n value bits
//   n     = 8 x samples

import {
  blocksRegion,
  CacheEntry,
  PartitionRecord,
  partitionsRegion,
  SeriesRecord,
  settings,
  tenantRegion,
} from './layout';
import { findName, NO_NAME, namedLabel, stripsAny } from './names';
import { NATIVE_HISTOGRAM, TOO_FAR_IN_FUTURE } from './reasons';
import { leaveOut, reject, results } from './results';
import { dispositionOf, KEEP, takeAnnouncement } from './series-cache';
import { labelSpan, listLabels, sampleRecord, seriesRecord } from './walk-v1';
import { varintBytes, writeVarint } from './wire';
import { xxh64 } from './xxhash';

const BLOCK_TENANT: u8 = 0x0a;
const BLOCK_FINGERPRINTS: u8 = 0x12;
const BLOCK_TIMESTAMPS: u8 = 0x1a;
const BLOCK_VALUES: u8 = 0x22;
const BLOCK_SERIES: u8 = 0x32;
const INFO_FINGERPRINT: u8 = 0x09;
const INFO_LABEL: u8 = 0x12;
const LABEL_NAME: u8 = 0x0a;
const LABEL_VALUE: u8 = 0x12;
const INFO_FINGERPRINT_BYTES: u32 = 9;

export function writeBlocks(tenantBytes: u32, nowSeconds: u32, futureAfter: i64): void {
  const series = results().series;
  const partitions = settings().partitions;
  memory.fill(partitionsRegion, 0, <usize>partitions * offsetof<PartitionRecord>());
  for (let i: u32 = 0; i < series; i++) countSeries(i, nowSeconds);
  let at = blocksRegion;
  for (let p: u32 = 0; p < partitions; p++) {
    if (partitionRecord(p).samples !== 0) at = layOutBlock(partitionRecord(p), at, tenantBytes);
  }
  for (let i: u32 = 0; i < series; i++) {
    const record = seriesRecord(i);
    if (record.reason !== 0) continue;
    if (record.announcementBytes !== 0) writeAnnouncement(record);
    if (record.samples !== record.futures) writeSamples(record, futureAfter);
  }
}

export function partitionRecord(index: u32): PartitionRecord {
  return changetype<PartitionRecord>(partitionsRegion + <usize>index * offsetof<PartitionRecord>());
}

function countSeries(index: u32, nowSeconds: u32): void {
  const record = seriesRecord(index);
  if (record.reason !== 0) {
    reject(record.reason, record.samples + record.histograms, index);
    return;
  }
  const entry = changetype<CacheEntry>(<usize>record.entry);
  const disposition = dispositionOf(entry);
  if (disposition !== KEEP) {
    leaveOut(disposition, record.samples + record.histograms);
    // Nothing is left for the second round.
    record.futures = record.samples;
    return;
  }
  if (record.futures !== 0) reject(TOO_FAR_IN_FUTURE, record.futures, index);
  if (record.histograms !== 0) reject(NATIVE_HISTOGRAM, record.histograms, index);
  const samples = record.samples - record.futures;
  if (samples === 0) return;
  const partition = partitionRecord(record.partition);
  partition.samples += samples;
  if (!takeAnnouncement(entry, nowSeconds)) return;
  const bytes = announcementBytes(listKeptLabels(record));
  record.announcementBytes = bytes;
  partition.announcementBytes += 1 + varintBytes(bytes) + bytes;
}

function layOutBlock(partition: PartitionRecord, start: usize, tenantBytes: u32): usize {
  const columnBytes = partition.samples << 3;
  let at = start;
  if (tenantBytes !== 0) {
    store<u8>(at, BLOCK_TENANT);
    at = writeVarint(at + 1, tenantBytes);
    memory.copy(at, tenantRegion, tenantBytes);
    at += tenantBytes;
  }
  partition.announcementCursor = <u32>at;
  at += partition.announcementBytes;
  store<u8>(at, BLOCK_FINGERPRINTS);
  at = writeVarint(at + 1, columnBytes);
  partition.fingerprintCursor = <u32>at;
  at += columnBytes;
  store<u8>(at, BLOCK_TIMESTAMPS);
  at = writeVarint(at + 1, columnBytes);
  partition.timestampCursor = <u32>at;
  at += columnBytes;
  store<u8>(at, BLOCK_VALUES);
  at = writeVarint(at + 1, columnBytes);
  partition.valueCursor = <u32>at;
  at += columnBytes;
  partition.start = <u32>start;
  partition.bytes = <u32>(at - start);
  return at;
}

function writeSamples(record: SeriesRecord, futureAfter: i64): void {
  const partition = partitionRecord(record.partition);
  const fingerprint = record.fingerprint;
  let written: usize = 0;
  const fingerprints: usize = partition.fingerprintCursor;
  const timestamps: usize = partition.timestampCursor;
  const values: usize = partition.valueCursor;
  for (let i: u32 = 0; i < record.samples; i++) {
    const sample = sampleRecord(record.firstSample + i);
    if (sample.timestamp > futureAfter) continue;
    store<u64>(fingerprints + written, fingerprint);
    store<i64>(timestamps + written, sample.timestamp);
    store<u64>(values + written, sample.valueBits);
    written += 8;
  }
  partition.fingerprintCursor = <u32>(fingerprints + written);
  partition.timestampCursor = <u32>(timestamps + written);
  partition.valueCursor = <u32>(values + written);
}

/**
 * Lists the labels that a series is made of, without empty values and stripped names, and returns
 * how many.
 */
export function listKeptLabels(record: SeriesRecord): u32 {
  const count = listLabels(record);
  let kept: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const span = labelSpan(i);
    if (span.valueBytes === 0 || isStripped(span.name, span.nameBytes)) continue;
    if (kept !== i) memory.copy(changetype<usize>(labelSpan(kept)), changetype<usize>(span), 16);
    kept++;
  }
  return kept;
}

function isStripped(name: usize, bytes: u32): bool {
  if (!stripsAny) return false;
  const index = findName(xxh64(name, bytes), name, bytes);
  return index !== NO_NAME && namedLabel(index).stripped !== 0;
}

/** Of a SeriesInfo with the labels that are listed, without its own tag and length. */
function announcementBytes(labels: u32): u32 {
  let bytes = INFO_FINGERPRINT_BYTES;
  for (let i: u32 = 0; i < labels; i++) {
    const label = labelBytes(i);
    bytes += 1 + varintBytes(label) + label;
  }
  return bytes;
}

function labelBytes(index: u32): u32 {
  const span = labelSpan(index);
  const name = 1 + varintBytes(span.nameBytes) + span.nameBytes;
  return name + 1 + varintBytes(span.valueBytes) + span.valueBytes;
}

function writeAnnouncement(record: SeriesRecord): void {
  const partition = partitionRecord(record.partition);
  let at: usize = partition.announcementCursor;
  store<u8>(at, BLOCK_SERIES);
  at = writeVarint(at + 1, record.announcementBytes);
  store<u8>(at, INFO_FINGERPRINT);
  store<u64>(at + 1, record.fingerprint);
  at += INFO_FINGERPRINT_BYTES;
  const labels = listKeptLabels(record);
  for (let i: u32 = 0; i < labels; i++) {
    const span = labelSpan(i);
    store<u8>(at, INFO_LABEL);
    at = writeVarint(at + 1, labelBytes(i));
    at = writeText(at, LABEL_NAME, span.name, span.nameBytes);
    at = writeText(at, LABEL_VALUE, span.value, span.valueBytes);
  }
  partition.announcementCursor = <u32>at;
}

function writeText(at: usize, tag: u8, source: usize, bytes: u32): usize {
  store<u8>(at, tag);
  at = writeVarint(at + 1, bytes);
  memory.copy(at, source, bytes);
  return at + bytes;
}
