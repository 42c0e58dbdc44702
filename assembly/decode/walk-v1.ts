// Walks a remote-write 1.0 WriteRequest in place (proto/remote_write_v1.proto) and leaves one
// record per series, float sample and native histogram. Exemplars and metadata are only judged and
// counted, but walked to the last known field, so that a request is corrupt here exactly when a
// full decoder would call it corrupt. A known field with another wire type is an unknown field, as
// the protobuf specification wants; of a repeated scalar the last one wins.

import {
  EXEMPLARS_ABOVE_LIMIT,
  fail,
  LOOKS_LIKE_VERSION_2,
  METADATA_ABOVE_LIMIT,
  SERIES_ABOVE_LIMIT,
} from './failure';
import { learn, readMetadata } from './families';
import { identify } from './identity';
import {
  addLabel,
  beginLabels,
  endLabels,
  nameBytes,
  nameStart,
  readLabel,
  reason,
  valueBytes,
  valueStart,
} from './labels';
import { labelSpan, SeriesRecord, seriesRecord, settings } from './layout';
import { addHistogram, addSample, beginPoints, endPoints } from './points';
import { NO_SAMPLES } from './reasons';
import { results } from './results';
import { isUtf8 } from './utf8';
import { readLength, readTag, skipField } from './wire';

const LENGTH_DELIMITED: u32 = 2;
const REQUEST_SERIES: u32 = 0x0a;
const REQUEST_METADATA: u32 = 0x1a;
// Symbols and series of version 2.0.
const SYMBOL_OF_2: u32 = 0x22;
const SERIES_OF_2: u32 = 0x2a;
const SERIES_LABEL: u32 = 0x0a;
const SERIES_SAMPLE: u32 = 0x12;
const SERIES_EXEMPLAR: u32 = 0x1a;
const SERIES_HISTOGRAM: u32 = 0x22;
// SERIES_LABEL in the low byte, a length below 128 in the high one.
const SHORT_LABEL: u32 = 0x000a;
const SHORT_LABEL_MASK: u32 = 0x80ff;
const EXEMPLAR_LABEL: u32 = 0x0a;
const EXEMPLAR_LABEL_DEPTH: i32 = 4;

/** Returns the end, or 0 after `fail`. */
export function walkRequest(start: usize, end: usize, futureAfter: i64): usize {
  const r = results();
  let looksLikeVersion2 = false;
  let at = start;
  while (at < end) {
    let read = readTag(at, end);
    if (read === 0) return 0;
    at = <usize>(read >> 32);
    const tag = <u32>read;
    if (tag !== REQUEST_SERIES && tag !== REQUEST_METADATA) {
      if (tag === SYMBOL_OF_2 || tag === SERIES_OF_2) looksLikeVersion2 = true;
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
      if (r.metadata === settings().metadataMax) return fail(METADATA_ABOVE_LIMIT, at);
      r.metadata++;
      at = readMetadata(at, messageEnd);
    }
    if (at === 0) return 0;
  }
  // Nothing of it would be taken, and 204 would be the loss of it.
  if (looksLikeVersion2 && r.series + r.metadata === 0) return fail(LOOKS_LIKE_VERSION_2, start);
  return at;
}

/** Of a request that was walked; true when a family has another type or unit than before. */
export function learnFamilies(start: usize, end: usize): bool {
  let isNews = false;
  let at = start;
  while (at < end) {
    const read = readTag(at, end);
    at = <usize>(read >> 32);
    if (<u32>read === REQUEST_METADATA) {
      const length = readLength(at, end);
      at = <usize>(length >> 32);
      readMetadata(at, at + <u32>length);
      if (learn()) isNews = true;
      at += <u32>length;
    } else {
      at = skipField(at, end, <u32>read, 1);
    }
  }
  return isNews;
}

function walkSeries(start: usize, end: usize, futureAfter: i64): usize {
  const r = results();
  if (r.series === settings().seriesMax) return fail(SERIES_ABOVE_LIMIT, start);
  const record = seriesRecord(r.series);
  record.start = <u32>start;
  record.end = <u32>end;
  record.exemplars = 0;
  record.badExemplars = 0;
  record.type = 0;
  record.unitSymbol = 0;
  record.announcementBytes = 0;
  let at = start;
  beginLabels();
  beginPoints(record);
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
    if (tag === SERIES_LABEL) at = addLabel(at, messageEnd);
    else if (tag === SERIES_SAMPLE) at = addSample(record, at, messageEnd, false);
    else if (tag === SERIES_HISTOGRAM) at = addHistogram(record, at, messageEnd, false);
    else at = walkExemplar(record, at, messageEnd);
    if (at === 0) return 0;
  }
  endLabels();
  endPoints(record, 0, futureAfter);
  // Prometheus sends each exemplar as a series of its own, without samples.
  const things = record.samples + record.histograms + record.exemplars + record.badExemplars;
  record.reason = reason !== 0 ? reason : things === 0 ? NO_SAMPLES : 0;
  if (record.reason === 0) {
    identify(record, r.series, futureAfter);
  }
  r.series++;
  return at;
}

/** Not kept; only whether it is one. */
function walkExemplar(record: SeriesRecord, start: usize, end: usize): usize {
  const r = results();
  if (r.exemplars === settings().exemplarsMax) return fail(EXEMPLARS_ABOVE_LIMIT, start);
  r.exemplars++;
  let isText = true;
  let at = start;
  while (at < end) {
    let read = readTag(at, end);
    if (read === 0) return 0;
    at = <usize>(read >> 32);
    const tag = <u32>read;
    if (tag !== EXEMPLAR_LABEL) {
      at = skipField(at, end, tag, 3);
      if (at === 0) return 0;
      continue;
    }
    read = readLength(at, end);
    if (read === 0) return 0;
    at = <usize>(read >> 32);
    if (readLabel(at, at + <u32>read, EXEMPLAR_LABEL_DEPTH) === 0) return 0;
    isText = isText && isUtf8(nameStart, nameBytes) && isUtf8(valueStart, valueBytes);
    at += <u32>read;
  }
  if (isText) record.exemplars++;
  else record.badExemplars++;
  return end;
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
