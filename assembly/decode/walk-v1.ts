// Walks a remote-write 1.0 WriteRequest in place (proto/remote_write_v1.proto) and leaves one
// record per series and one per float sample. Messages we only count (exemplars, histograms,
// metadata) are still walked to the last known field, so that a request is corrupt here exactly
// when a full decoder would call it corrupt. A known field with another wire type is an unknown
// field, as the protobuf specification wants; of a repeated scalar the last one wins.

import { FIELD_OVERRUN, fail, SAMPLES_ABOVE_LIMIT, SERIES_ABOVE_LIMIT } from './failure';
import {
  addLabel,
  beginLabels,
  endLabels,
  nameBytes,
  nameStart,
  readLabel,
  reason,
  seriesFingerprint,
  seriesPartition,
  valueBytes,
  valueStart,
} from './labels';
import {
  LabelSpan,
  Sample,
  SeriesRecord,
  samplesRegion,
  seriesRegion,
  settings,
  spansRegion,
} from './layout';
import { NO_SAMPLES } from './reasons';
import { results } from './results';
import {
  readLength,
  readTag,
  readVarint,
  skipField,
  skipPackedFixed64,
  skipPackedVarints,
  varint,
} from './wire';

const LENGTH_DELIMITED: u32 = 2;
const REQUEST_SERIES: u32 = 0x0a;
const REQUEST_METADATA: u32 = 0x1a;
const SERIES_LABEL: u32 = 0x0a;
const SERIES_SAMPLE: u32 = 0x12;
const SERIES_EXEMPLAR: u32 = 0x1a;
const SERIES_HISTOGRAM: u32 = 0x22;
// SERIES_LABEL in the low byte, a length below 128 in the high one.
const SHORT_LABEL: u32 = 0x000a;
const SHORT_LABEL_MASK: u32 = 0x80ff;
const SAMPLE_VALUE: u32 = 0x09;
const SAMPLE_TIMESTAMP: u32 = 0x10;

// Messages that hold no message and no packed field are walked alike: field by field, by wire type.
const PLAIN: u32 = 0;
const EXEMPLAR: u32 = 1;
const HISTOGRAM: u32 = 2;

export function walkRequest(start: usize, end: usize, futureAfter: i64): usize {
  let at = start;
  while (at < end) {
    let read = readTag(at, end);
    if (read === 0) return 0;
    at = <usize>(read >> 32);
    const tag = <u32>read;
    if (tag !== REQUEST_SERIES && tag !== REQUEST_METADATA) {
      at = skipField(at, end, tag, 1);
      if (at === 0) return 0;
      continue;
    }
    read = readLength(at, end);
    if (read === 0) return 0;
    at = <usize>(read >> 32);
    const messageEnd = at + <u32>read;
    if (tag === REQUEST_SERIES) {
      at = walkSeries(at, messageEnd, futureAfter);
    } else {
      results().metadata++;
      at = walkCounted(PLAIN, at, messageEnd, 2);
    }
    if (at === 0) return 0;
  }
  return at;
}

function walkSeries(start: usize, end: usize, futureAfter: i64): usize {
  const r = results();
  if (r.series === settings().seriesMax) return fail(SERIES_ABOVE_LIMIT, start);
  const record = seriesRecord(r.series);
  const firstSample = r.samples;
  let histograms: u32 = 0;
  const firstExemplar = r.exemplars;
  let futures: u32 = 0;
  let at = start;
  beginLabels();
  while (at < end) {
    // Nearly every field is a label shorter than 128 bytes: tag and length in two bytes, read as
    // one.
    const head: u32 = load<u16>(at);
    if ((head & SHORT_LABEL_MASK) === SHORT_LABEL && (head >> 8) + 2 <= <u32>(end - at)) {
      at = addLabel(at + 2, at + 2 + (head >> 8));
      if (at === 0) return 0;
      continue;
    }
    let read = readTag(at, end);
    if (read === 0) return 0;
    at = <usize>(read >> 32);
    const tag = <u32>read;
    if ((tag & 7) !== LENGTH_DELIMITED || tag < SERIES_LABEL || tag > SERIES_HISTOGRAM) {
      at = skipField(at, end, tag, 2);
      if (at === 0) return 0;
      continue;
    }
    read = readLength(at, end);
    if (read === 0) return 0;
    at = <usize>(read >> 32);
    const messageEnd = at + <u32>read;
    if (tag === SERIES_LABEL) {
      at = addLabel(at, messageEnd);
    } else if (tag === SERIES_SAMPLE) {
      if (r.received === settings().samplesMax) return fail(SAMPLES_ABOVE_LIMIT, at);
      const sample = sampleRecord(r.samples);
      at = readSample(at, messageEnd, sample);
      if (sample.timestamp > futureAfter) futures++;
      r.samples++;
      r.received++;
    } else if (tag === SERIES_EXEMPLAR) {
      r.exemplars++;
      at = walkCounted(EXEMPLAR, at, messageEnd, 3);
    } else {
      if (r.received === settings().samplesMax) return fail(SAMPLES_ABOVE_LIMIT, at);
      histograms++;
      r.received++;
      at = walkCounted(HISTOGRAM, at, messageEnd, 3);
    }
    if (at === 0) return 0;
  }
  endLabels();
  const samples = r.samples - firstSample;
  record.start = <u32>start;
  record.end = <u32>end;
  record.firstSample = firstSample;
  record.samples = samples;
  record.histograms = histograms;
  record.futures = futures;
  record.announcementBytes = 0;
  // Prometheus sends each exemplar as a series of its own, without samples.
  const isBare = samples + histograms === 0 && r.exemplars === firstExemplar;
  record.reason = reason !== 0 ? reason : isBare ? NO_SAMPLES : 0;
  if (record.reason === 0) {
    record.fingerprint = seriesFingerprint();
    record.partition = seriesPartition();
  }
  r.series++;
  return at;
}

function readSample(start: usize, end: usize, sample: Sample): usize {
  let at = start;
  let timestamp: u64 = 0;
  let valueBits: u64 = 0;
  while (at < end) {
    const read = readTag(at, end);
    if (read === 0) return 0;
    at = <usize>(read >> 32);
    const tag = <u32>read;
    if (tag === SAMPLE_VALUE) {
      if (end - at < 8) return fail(FIELD_OVERRUN, at);
      valueBits = load<u64>(at);
      at += 8;
    } else if (tag === SAMPLE_TIMESTAMP) {
      at = readVarint(at, end);
      if (at === 0) return 0;
      timestamp = varint;
    } else {
      at = skipField(at, end, tag, 3);
      if (at === 0) return 0;
    }
  }
  sample.timestamp = <i64>timestamp;
  sample.valueBits = valueBits;
  return at;
}

function walkCounted(kind: u32, start: usize, end: usize, depth: i32): usize {
  let at = start;
  while (at < end) {
    let read = readTag(at, end);
    if (read === 0) return 0;
    at = <usize>(read >> 32);
    const tag = <u32>read;
    if (kind === PLAIN || (tag & 7) !== LENGTH_DELIMITED) {
      at = skipField(at, end, tag, depth);
      if (at === 0) return 0;
      continue;
    }
    read = readLength(at, end);
    if (read === 0) return 0;
    at = <usize>(read >> 32);
    at = walkField(kind, tag >> 3, at, at + <u32>read, depth + 1);
    if (at === 0) return 0;
  }
  return at;
}

/** A length-delimited field of an exemplar or a histogram. */
function walkField(kind: u32, field: u32, start: usize, end: usize, depth: i32): usize {
  if (field === 0) return skipField(start, end, LENGTH_DELIMITED, depth);
  if (kind === EXEMPLAR) return field === 1 ? walkCounted(PLAIN, start, end, depth) : end;
  switch (field) {
    case 8: // negative_spans
    case 11: // positive_spans
      return walkCounted(PLAIN, start, end, depth);
    case 9: // negative_deltas
    case 12: // positive_deltas
      return skipPackedVarints(start, end);
    case 10: // negative_counts
    case 13: // positive_counts
    case 16: // custom_values
      return skipPackedFixed64(start, end);
    default:
      return end;
  }
}

/**
 * Lists the labels of a walked series, as sent, at most labelsMax of them, and returns how many.
 */
export function listLabels(record: SeriesRecord): u32 {
  const end: usize = record.end;
  let at: usize = record.start;
  let count: u32 = 0;
  while (at < end && count < settings().labelsMax) {
    let read = readTag(at, end);
    at = <usize>(read >> 32);
    const tag = <u32>read;
    if (tag !== SERIES_LABEL) {
      at = skipField(at, end, tag, 2);
      continue;
    }
    read = readLength(at, end);
    at = <usize>(read >> 32);
    readLabel(at, at + <u32>read);
    at += <u32>read;
    const span = labelSpan(count++);
    span.name = <u32>nameStart;
    span.nameBytes = nameBytes;
    span.value = <u32>valueStart;
    span.valueBytes = valueBytes;
  }
  return count;
}

export function labelSpan(index: u32): LabelSpan {
  return changetype<LabelSpan>(spansRegion + <usize>index * offsetof<LabelSpan>());
}

export function seriesRecord(index: u32): SeriesRecord {
  return changetype<SeriesRecord>(seriesRegion + <usize>index * offsetof<SeriesRecord>());
}

export function sampleRecord(index: u32): Sample {
  return changetype<Sample>(samplesRegion + <usize>index * offsetof<Sample>());
}
