// Walks a remote-write 2.0 Request in place (proto/remote_write_v2.proto). Symbols may come after
// the series that refer to them, so the request is gone through twice: first the symbols, and where
// each series is, then the series.

import {
  EXEMPLARS_ABOVE_LIMIT,
  fail,
  LABEL_BYTES_ABOVE_LIMIT,
  LOOKS_LIKE_VERSION_1,
  METADATA_ABOVE_LIMIT,
  SERIES_ABOVE_LIMIT,
  TAG_INVALID,
} from './failure';
import { identify } from './identity';
import { endLabels, labelBytes, reason, rejectSeries } from './labels';
import { labelSpan, SeriesRecord, SymbolRecord, seriesRecord, settings } from './layout';
import { beginPairs, countReferences, endPairs, takeReference, takeReferences } from './pairs';
import { addHistogram, addSample, beginPoints, endPoints } from './points';
import { INVALID_METADATA, NO_SAMPLES } from './reasons';
import { results } from './results';
import { addSymbol, beginSymbols, isSymbol, isText, symbolRecord } from './symbols';
import { readLength, readTag, readVarint, skipField, varint } from './wire';

const LENGTH_DELIMITED: u32 = 2;
// Series and metadata of version 1.0.
const SERIES_OF_1: u32 = 0x0a;
const METADATA_OF_1: u32 = 0x1a;
const REQUEST_SYMBOL: u32 = 0x22;
const REQUEST_SERIES: u32 = 0x2a;
const SERIES_REFERENCES: u32 = 0x0a;
const SERIES_REFERENCE: u32 = 0x08;
const SERIES_SAMPLE: u32 = 0x12;
const SERIES_HISTOGRAM: u32 = 0x1a;
const SERIES_EXEMPLAR: u32 = 0x22;
const SERIES_METADATA: u32 = 0x2a;
/** Up to 2.0-rc.3; since then samples and histograms have a start timestamp each. */
const SERIES_CREATED: u32 = 0x30;
/** METADATA_TYPE, a type below 128, METADATA_HELP; little-endian. */
const USUAL_METADATA: u64 = 0x180008;
const USUAL_METADATA_MASK: u64 = 0xff80ff;
const METADATA_TYPE: u32 = 0x08;
const METADATA_HELP: u32 = 0x18;
const METADATA_UNIT: u32 = 0x20;
const EXEMPLAR_REFERENCES: u32 = 0x0a;
const EXEMPLAR_REFERENCE: u32 = 0x08;

let isOutOfRange: bool = false;
let isAllText: bool = false;
/** Of the series that is listed. */
let pendingName: usize = 0;

// What the metadata of the current series say.
let metadataType: u32 = 0;
let helpReference: u64 = 0;
let unitReference: u64 = 0;

/** Returns the end, or 0 after `fail`. */
export function walkRequest(start: usize, end: usize, futureAfter: i64): usize {
  const r = results();
  let looksLikeVersion1 = false;
  let at = start;
  beginSymbols();
  while (at < end) {
    let read = readTag(at, end);
    if (read === 0) return 0;
    at = <usize>(read >> 32);
    const tag = <u32>read;
    if (tag !== REQUEST_SYMBOL && tag !== REQUEST_SERIES) {
      if (tag === SERIES_OF_1 || tag === METADATA_OF_1) looksLikeVersion1 = true;
      at = skipField(at, end, tag, 1);
      if (at === 0) return 0;
      continue;
    }
    read = readLength(at, end);
    if (read === 0) return 0;
    at = <usize>(read >> 32);
    const messageEnd = at + <u32>read;
    if (tag === REQUEST_SYMBOL) {
      if (addSymbol(at, messageEnd) === 0) return 0;
    } else {
      if (r.series === settings().seriesMax) return fail(SERIES_ABOVE_LIMIT, at);
      const record = seriesRecord(r.series++);
      record.start = <u32>at;
      record.end = <u32>messageEnd;
    }
    at = messageEnd;
  }
  if (looksLikeVersion1 && r.symbols + r.series === 0) return fail(LOOKS_LIKE_VERSION_1, start);
  for (let i: u32 = 0; i < r.series; i++) {
    if (walkSeries(i, futureAfter) === 0) return 0;
  }
  return end;
}

/** Lists the labels of a walked series, at most labelsMax of them, and returns how many. */
export function listLabels(record: SeriesRecord): u32 {
  const end: usize = record.end;
  let at: usize = record.start;
  listed = 0;
  pendingName = 0;
  while (at < end) {
    const read = readTag(at, end);
    at = <usize>(read >> 32);
    const tag = <u32>read;
    if (tag === SERIES_REFERENCES) {
      const length = readLength(at, end);
      at = <usize>(length >> 32);
      const listEnd = at + <u32>length;
      while (at < listEnd) {
        at = readVarint(at, listEnd);
        list(varint);
      }
    } else {
      at = skipField(at, end, tag, 2);
      if (tag === SERIES_REFERENCE) list(varint);
    }
  }
  return listed;
}

let listed: u32 = 0;

/** One reference more; a pair with one that leads nowhere is left out. */
function list(reference: u64): void {
  const at = isSymbol(reference) ? changetype<usize>(symbolRecord(<u32>reference)) : NOWHERE;
  if (pendingName === 0) {
    pendingName = at;
    return;
  }
  const nameAt = pendingName;
  pendingName = 0;
  if (nameAt === NOWHERE || at === NOWHERE || listed === settings().labelsMax) return;
  const name = changetype<SymbolRecord>(nameAt);
  const value = changetype<SymbolRecord>(at);
  const span = labelSpan(listed++);
  span.name = name.start;
  span.nameBytes = name.bytes;
  span.value = value.start;
  span.valueBytes = value.bytes;
}

/** In place of the address of a symbol. */
const NOWHERE: usize = 1;

function walkSeries(index: u32, futureAfter: i64): usize {
  const record = seriesRecord(index);
  const end: usize = record.end;
  let at: usize = record.start;
  record.exemplars = 0;
  record.badExemplars = 0;
  record.announcementBytes = 0;
  let created: i64 = 0;
  metadataType = 0;
  helpReference = 0;
  unitReference = 0;
  beginPairs();
  beginPoints(record);
  while (at < end) {
    // Nearly every field is shorter than 128 bytes: tag and length in two bytes, read as one.
    const head: u32 = load<u16>(at);
    const short = head >> 8;
    if ((head & 0x8087) === LENGTH_DELIMITED && short + 2 <= <u32>(end - at)) {
      const partEnd = at + 2 + short;
      const tag = head & 0xff;
      if (tag === SERIES_SAMPLE) at = addSample(record, at + 2, partEnd, true);
      else if (tag === SERIES_REFERENCES) at = takeReferences(at + 2, partEnd);
      else if (tag === SERIES_METADATA) at = walkMetadata(at + 2, partEnd);
      else at = walkPart(record, tag, at + 2, partEnd);
      if (at === 0) return 0;
      continue;
    }
    let read = readTag(at, end);
    if (read === 0) return 0;
    at = <usize>(read >> 32);
    const tag = <u32>read;
    if (tag === SERIES_REFERENCE || tag === SERIES_CREATED) {
      const next = readVarint(at, end);
      if (next === 0) return 0;
      if (tag === SERIES_CREATED) created = <i64>varint;
      else if (takeReference(at, next) === 0) return 0;
      at = next;
      continue;
    }
    if ((tag & 7) !== LENGTH_DELIMITED) {
      at = skipField(at, end, tag, 2);
      if (at === 0) return 0;
      continue;
    }
    read = readLength(at, end);
    if (read === 0) return 0;
    at = <usize>(read >> 32);
    at = walkPart(record, tag, at, at + <u32>read);
    if (at === 0) return 0;
  }
  endPairs();
  endLabels();
  endMetadata(record);
  endPoints(record, created, futureAfter);
  if (record.samples + record.histograms === 0) rejectSeries(NO_SAMPLES);
  record.reason = reason;
  if (reason !== 0) return end;
  identify(record, index, futureAfter);
  const r = results();
  if (labelBytes > settings().labelBytesMax - r.labelBytes) {
    return fail(LABEL_BYTES_ABOVE_LIMIT, record.start);
  }
  r.labelBytes += labelBytes;
  return end;
}

/** A length-delimited field of a series. */
function walkPart(record: SeriesRecord, tag: u32, start: usize, end: usize): usize {
  if (tag === SERIES_SAMPLE) return addSample(record, start, end, true);
  if (tag === SERIES_REFERENCES) return takeReferences(start, end);
  if (tag === SERIES_METADATA) return walkMetadata(start, end);
  if (tag === SERIES_HISTOGRAM) return addHistogram(record, start, end, true);
  if (tag === SERIES_EXEMPLAR) return walkExemplar(record, start, end);
  return tag < 8 ? fail(TAG_INVALID, start) : end;
}

/** Several of them are merged: of each field the last value counts. */
function walkMetadata(start: usize, end: usize): usize {
  const r = results();
  if (r.metadata === settings().metadataMax) return fail(METADATA_ABOVE_LIMIT, start);
  r.metadata++;
  // Nearly all are a type and a help, a reference of one or two bytes, and perhaps a unit of one.
  const word = load<u64>(start);
  if ((word & USUAL_METADATA_MASK) === USUAL_METADATA) {
    const isLong: u32 = <u32>(word >> 31) & 1;
    const rest: u32 = <u32>(word >> 32) >> (isLong << 3);
    const behind = <u32>(end - start) - 4 - isLong;
    const hasUnit = behind === 2 && (rest & 0x80ff) === METADATA_UNIT;
    if ((behind === 0 || hasUnit) && (word & ((<u64>isLong) << 39)) === 0) {
      metadataType = (<u32>word >> 8) & 127;
      helpReference = ((word >> 24) & 127) | ((word >> 25) & (<u64>isLong * 0x3f80));
      if (hasUnit) unitReference = (rest >> 8) & 127;
      return end;
    }
  }
  let at = start;
  while (at < end) {
    const read = readTag(at, end);
    if (read === 0) return 0;
    const tag = <u32>read;
    at = <usize>(read >> 32);
    if (tag === METADATA_TYPE) {
      at = readVarint(at, end);
      metadataType = <u32>varint;
    } else if (tag === METADATA_HELP) {
      at = readVarint(at, end);
      helpReference = varint;
    } else if (tag === METADATA_UNIT) {
      at = readVarint(at, end);
      unitReference = varint;
    } else {
      at = skipField(at, end, tag, 3);
    }
    if (at === 0) return 0;
  }
  return end;
}

/** A reference of 0 is the empty string, whatever the first symbol is. */
function endMetadata(record: SeriesRecord): void {
  record.type = metadataType;
  record.unitSymbol = 0;
  if (helpReference !== 0) judgeReference(helpReference);
  if (unitReference === 0) return;
  judgeReference(unitReference);
  if (reason === 0) record.unitSymbol = <u32>changetype<usize>(symbolRecord(<u32>unitReference));
}

function judgeReference(reference: u64): void {
  if (!isSymbol(reference) || !isText(symbolRecord(<u32>reference))) rejectSeries(INVALID_METADATA);
}

/** Not kept; only whether it is one. What is wrong with it is not the fault of its series. */
function walkExemplar(record: SeriesRecord, start: usize, end: usize): usize {
  const r = results();
  if (r.exemplars === settings().exemplarsMax) return fail(EXEMPLARS_ABOVE_LIMIT, start);
  r.exemplars++;
  let references: u32 = 0;
  isOutOfRange = false;
  isAllText = true;
  let at = start;
  while (at < end) {
    let read = readTag(at, end);
    if (read === 0) return 0;
    at = <usize>(read >> 32);
    const tag = <u32>read;
    if (tag === EXEMPLAR_REFERENCES) {
      read = readLength(at, end);
      if (read === 0) return 0;
      at = <usize>(read >> 32);
      const listEnd = at + <u32>read;
      let count: u32 = 0;
      for (; at < listEnd; count++) {
        at = readVarint(at, listEnd);
        if (at === 0) return 0;
        judgeExemplarReference(varint);
      }
      references += count;
      if (countReferences(count, at) === 0) return 0;
    } else {
      at = skipField(at, end, tag, 3);
      if (at === 0) return 0;
      if (tag !== EXEMPLAR_REFERENCE) continue;
      judgeExemplarReference(varint);
      references++;
      if (countReferences(1, at) === 0) return 0;
    }
  }
  if ((references & 1) !== 0 || isOutOfRange || !isAllText) record.badExemplars++;
  else record.exemplars++;
  return end;
}

function judgeExemplarReference(reference: u64): void {
  if (!isSymbol(reference)) isOutOfRange = true;
  else if (!isText(symbolRecord(<u32>reference))) isAllText = false;
}
