// From records to blocks: one protobuf SampleBlock (proto/sample_block.proto) per touched
// partition, written once and in place. First every series is counted, so that each block's size is
// known; then tags and lengths are written; then the series go through the request a second time
// and write behind their partition's cursors.
//
//   block = [0a tenant] { 32 SeriesInfo } [12 n fingerprints 1a n timestamps 22 n value bits
//           [2a n start timestamps]] { 3a HistogramSample }
//   n     = 8 x samples

import { isLeftOut } from './claims';
import { kindOf, kindOfMetric, TYPE_MAX, unitAt, unitIndex } from './families';
import {
  blocksRegion,
  CacheEntry,
  HistogramRecord,
  histogramRecord,
  labelSpan,
  PartitionRecord,
  partitionsRegion,
  SeriesRecord,
  SymbolRecord,
  sampleRecord,
  seriesRecord,
  settings,
  tenantRegion,
} from './layout';
import { claimBits, findName, isReplicaName, NO_NAME, namedLabel, stripsAny } from './names';
import { INVALID_EXEMPLAR, TOO_FAR_IN_FUTURE } from './reasons';
import { LEFT_OUT_REPLICA, leaveOut, rejectOther, rejectSamples, results } from './results';
import { dispositionOf, KEEP, kindOfEntry, mayHaveNewKind, takeAnnouncement } from './series-cache';
import { listLabels as listLabelsOf1 } from './walk-v1';
import { listLabels as listLabelsOf2 } from './walk-v2';
import { varintBytes, writeVarint } from './wire';
import { xxh64 } from './xxhash';

const BLOCK_TENANT: u8 = 0x0a;
const BLOCK_FINGERPRINTS: u8 = 0x12;
const BLOCK_TIMESTAMPS: u8 = 0x1a;
const BLOCK_VALUES: u8 = 0x22;
const BLOCK_STARTS: u8 = 0x2a;
const BLOCK_SERIES: u8 = 0x32;
const BLOCK_HISTOGRAM: u8 = 0x3a;
const INFO_FINGERPRINT: u8 = 0x09;
const INFO_LABEL: u8 = 0x12;
const LABEL_NAME: u8 = 0x0a;
const LABEL_VALUE: u8 = 0x12;
const INFO_TYPE: u8 = 0x18;
const INFO_UNIT: u8 = 0x22;
const HISTOGRAM_FINGERPRINT: u8 = 0x09;
const HISTOGRAM_TIMESTAMP: u8 = 0x11;
const HISTOGRAM_START: u8 = 0x19;
const HISTOGRAM_MESSAGE: u8 = 0x22;
/** A tag and 8 bytes. */
const FIXED64_BYTES: u32 = 9;
/** "__name__", little-endian. */
const METRIC_NAME: u64 = 0x5f5f656d616e5f5f;

/** 1 or 2: how the labels of this request's series are written. */
let version: u32 = 1;

/** Of the series of this request, as they were sent, at most labelsMax; returns how many. */
export function listLabels(record: SeriesRecord): u32 {
  return version === 1 ? listLabelsOf1(record) : listLabelsOf2(record);
}

export function setVersion(ofRequest: u32): void {
  version = ofRequest;
}

export function writeBlocks(tenantBytes: u32, nowSeconds: u32, futureAfter: i64): void {
  const series = results().series;
  const partitions = settings().partitions;
  memory.fill(partitionsRegion, 0, <usize>partitions * offsetof<PartitionRecord>());
  for (let i: u32 = 0; i < series; i++) countSeries(i, nowSeconds);
  let at = blocksRegion;
  for (let p: u32 = 0; p < partitions; p++) {
    const partition = partitionRecord(p);
    if ((partition.samples | partition.histograms) === 0) continue;
    at = layOutBlock(partition, at, tenantBytes);
  }
  for (let i: u32 = 0; i < series; i++) {
    const record = seriesRecord(i);
    if (record.reason !== 0) continue;
    if (record.announcementBytes !== 0) writeAnnouncement(record);
    if (record.samples !== record.futures) writeSamples(record, futureAfter);
    if (record.histograms !== record.badHistograms) writeHistograms(record);
  }
}

/**
 * When every series that is not rejected comes from a replica that is out, the whole request is left
 * out, and what is wrong with it is the elected one's to hear of.
 */
export function leaveAllOut(): bool {
  const r = results();
  for (let i: u32 = 0; i < r.series; i++) {
    const record = seriesRecord(i);
    if (record.reason === 0 && !isLeftOut(record)) return false;
  }
  memory.fill(partitionsRegion, 0, <usize>settings().partitions * offsetof<PartitionRecord>());
  r.isAllOut = 1;
  leaveOut(LEFT_OUT_REPLICA, r.received);
  r.writtenSamples = r.samples;
  r.writtenHistograms = r.histograms;
  r.writtenExemplars = r.exemplars;
  return true;
}

export function partitionRecord(index: u32): PartitionRecord {
  return changetype<PartitionRecord>(partitionsRegion + <usize>index * offsetof<PartitionRecord>());
}

function countSeries(index: u32, nowSeconds: u32): void {
  const r = results();
  const record = seriesRecord(index);
  if (record.reason !== 0) {
    const points = record.samples + record.histograms;
    if (points !== 0) rejectSamples(record.reason, points, index);
    else rejectOther(record.reason, 1, index);
    return;
  }
  r.writtenExemplars += record.exemplars;
  if (record.badExemplars !== 0) rejectOther(INVALID_EXEMPLAR, record.badExemplars, index);
  if (isLeftOut(record)) {
    leaveOutSeries(record, LEFT_OUT_REPLICA);
    return;
  }
  const entry = changetype<CacheEntry>(<usize>record.entry);
  const disposition = dispositionOf(entry);
  if (disposition !== KEEP) {
    leaveOutSeries(record, disposition);
    return;
  }
  if (record.futures !== 0) rejectSamples(TOO_FAR_IN_FUTURE, record.futures, index);
  const samples = record.samples - record.futures;
  r.writtenSamples += samples;
  const partition = partitionRecord(record.partition);
  partition.samples += samples;
  partition.starts += record.starts;
  if (record.histograms !== 0) countHistograms(record, partition, index);
  if (samples + record.histograms === record.badHistograms) return;
  const kind = resolveKind(record, entry);
  if (!takeAnnouncement(entry, kind, nowSeconds)) return;
  record.kind = kind;
  const bytes = announcementBytes(listKeptLabels(record), kind);
  record.announcementBytes = bytes;
  partition.announcementBytes += 1 + varintBytes(bytes) + bytes;
}

function leaveOutSeries(record: SeriesRecord, disposition: u32): void {
  const r = results();
  leaveOut(disposition, record.samples + record.histograms);
  r.writtenSamples += record.samples;
  r.writtenHistograms += record.histograms;
  // Nothing is left for the second round.
  record.futures = record.samples;
  record.badHistograms = record.histograms;
}

function countHistograms(record: SeriesRecord, partition: PartitionRecord, index: u32): void {
  for (let i: u32 = 0; i < record.histograms; i++) {
    const histogram = histogramRecord(record.firstHistogram + i);
    if (histogram.reason !== 0) {
      rejectSamples(histogram.reason, 1, index);
      continue;
    }
    const bytes = histogramSampleBytes(histogram);
    partition.histograms++;
    partition.histogramBytes += 1 + varintBytes(bytes) + bytes;
    results().writtenHistograms++;
  }
}

/**
 * What the request says itself comes first; then what is known of the family; and what was known
 * before is never unsaid by silence.
 */
function resolveKind(record: SeriesRecord, entry: CacheEntry): u32 {
  const said = saidKind(record);
  if (said !== 0) return said;
  if (mayHaveNewKind(entry)) {
    const learnt = familyKind(record);
    if (learnt !== 0) return learnt;
  }
  return kindOfEntry(entry);
}

function saidKind(record: SeriesRecord): u32 {
  if (version === 1) return 0;
  let unit: u32 = 0;
  if (record.unitSymbol !== 0) {
    const symbol = changetype<SymbolRecord>(<usize>record.unitSymbol);
    if (symbol.unit === 0) symbol.unit = <u16>(unitIndex(symbol.start, symbol.bytes) + 1);
    unit = symbol.unit - 1;
  }
  return kindOf(record.type, unit);
}

function familyKind(record: SeriesRecord): u32 {
  const labels = listLabels(record);
  for (let i: u32 = 0; i < labels; i++) {
    const span = labelSpan(i);
    if (span.nameBytes === 8 && load<u64>(span.name) === METRIC_NAME) {
      return kindOfMetric(span.value, span.valueBytes);
    }
  }
  return 0;
}

function layOutBlock(partition: PartitionRecord, start: usize, tenantBytes: u32): usize {
  let at = start;
  if (tenantBytes !== 0) {
    store<u8>(at, BLOCK_TENANT);
    at = writeVarint(at + 1, tenantBytes);
    memory.copy(at, tenantRegion, tenantBytes);
    at += tenantBytes;
  }
  partition.announcementCursor = <u32>at;
  at += partition.announcementBytes;
  if (partition.samples !== 0) {
    const columnBytes = partition.samples << 3;
    at = columnHead(at, BLOCK_FINGERPRINTS, columnBytes);
    partition.fingerprintCursor = <u32>at;
    at = columnHead(at + columnBytes, BLOCK_TIMESTAMPS, columnBytes);
    partition.timestampCursor = <u32>at;
    at = columnHead(at + columnBytes, BLOCK_VALUES, columnBytes);
    partition.valueCursor = <u32>at;
    at += columnBytes;
    if (partition.starts !== 0) {
      at = columnHead(at, BLOCK_STARTS, columnBytes);
      partition.startCursor = <u32>at;
      at += columnBytes;
    }
  }
  partition.histogramCursor = <u32>at;
  at += partition.histogramBytes;
  partition.start = <u32>start;
  partition.bytes = <u32>(at - start);
  return at;
}

function columnHead(at: usize, tag: u8, bytes: u32): usize {
  store<u8>(at, tag);
  return writeVarint(at + 1, bytes);
}

function writeSamples(record: SeriesRecord, futureAfter: i64): void {
  const partition = partitionRecord(record.partition);
  const fingerprint = record.fingerprint;
  let written: usize = 0;
  const fingerprints: usize = partition.fingerprintCursor;
  const timestamps: usize = partition.timestampCursor;
  const values: usize = partition.valueCursor;
  const starts: usize = partition.startCursor;
  for (let i: u32 = 0; i < record.samples; i++) {
    const sample = sampleRecord(record.firstSample + i);
    if (sample.timestamp > futureAfter) continue;
    store<u64>(fingerprints + written, fingerprint);
    store<i64>(timestamps + written, sample.timestamp);
    store<u64>(values + written, sample.valueBits);
    if (starts !== 0) store<i64>(starts + written, sample.startTimestamp);
    written += 8;
  }
  partition.fingerprintCursor = <u32>(fingerprints + written);
  partition.timestampCursor = <u32>(timestamps + written);
  partition.valueCursor = <u32>(values + written);
  if (starts !== 0) partition.startCursor = <u32>(starts + written);
}

/** Without tag and length. */
function histogramSampleBytes(histogram: HistogramRecord): u32 {
  const times = histogram.startTimestamp === 0 ? 2 * FIXED64_BYTES : 3 * FIXED64_BYTES;
  return times + 1 + varintBytes(histogram.bytes) + histogram.bytes;
}

function writeHistograms(record: SeriesRecord): void {
  const partition = partitionRecord(record.partition);
  let at: usize = partition.histogramCursor;
  for (let i: u32 = 0; i < record.histograms; i++) {
    const histogram = histogramRecord(record.firstHistogram + i);
    if (histogram.reason !== 0) continue;
    store<u8>(at, BLOCK_HISTOGRAM);
    at = writeVarint(at + 1, histogramSampleBytes(histogram));
    at = writeFixed64(at, HISTOGRAM_FINGERPRINT, record.fingerprint);
    at = writeFixed64(at, HISTOGRAM_TIMESTAMP, histogram.timestamp);
    if (histogram.startTimestamp !== 0) {
      at = writeFixed64(at, HISTOGRAM_START, histogram.startTimestamp);
    }
    at = writeText(at, HISTOGRAM_MESSAGE, histogram.start, histogram.bytes);
  }
  partition.histogramCursor = <u32>at;
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
    if (span.valueBytes === 0 || isStripped(record, span.name, span.nameBytes)) continue;
    if (kept !== i) memory.copy(changetype<usize>(labelSpan(kept)), changetype<usize>(span), 16);
    kept++;
  }
  return kept;
}

function isStripped(record: SeriesRecord, name: usize, bytes: u32): bool {
  const hasClaim = claimBits !== 0 && record.claim !== 0;
  if (!stripsAny && !hasClaim) return false;
  const index = findName(xxh64(name, bytes), name, bytes);
  if (index === NO_NAME) return false;
  return namedLabel(index).stripped !== 0 || (hasClaim && isReplicaName(index));
}

/** Of a SeriesInfo with the labels that are listed, without its own tag and length. */
function announcementBytes(labels: u32, kind: u32): u32 {
  let bytes = FIXED64_BYTES;
  for (let i: u32 = 0; i < labels; i++) {
    const label = labelBytes(i);
    bytes += 1 + varintBytes(label) + label;
  }
  if ((kind & TYPE_MAX) !== 0) bytes += 2;
  const unit = unitAt(kind);
  if (unit !== 0) bytes += 1 + varintBytes(load<u32>(unit)) + load<u32>(unit);
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
  at = writeFixed64(at, INFO_FINGERPRINT, record.fingerprint);
  const labels = listKeptLabels(record);
  for (let i: u32 = 0; i < labels; i++) {
    const span = labelSpan(i);
    store<u8>(at, INFO_LABEL);
    at = writeVarint(at + 1, labelBytes(i));
    at = writeText(at, LABEL_NAME, span.name, span.nameBytes);
    at = writeText(at, LABEL_VALUE, span.value, span.valueBytes);
  }
  const type = record.kind & TYPE_MAX;
  if (type !== 0) {
    store<u8>(at, INFO_TYPE);
    store<u8>(at + 1, <u8>type);
    at += 2;
  }
  const unit = unitAt(record.kind);
  if (unit !== 0) at = writeText(at, INFO_UNIT, unit + 4, load<u32>(unit));
  partition.announcementCursor = <u32>at;
}

function writeFixed64(at: usize, tag: u8, value: u64): usize {
  store<u8>(at, tag);
  store<u64>(at + 1, value);
  return at + FIXED64_BYTES;
}

function writeText(at: usize, tag: u8, source: usize, bytes: u32): usize {
  store<u8>(at, tag);
  at = writeVarint(at + 1, bytes);
  memory.copy(at, source, bytes);
  return at + bytes;
}
