// The labels of one series: each is judged, hashed and added to the running sums; nothing is kept
// of them but the sums, and where their names are until the next series. The first thing found
// wrong is the reason of the series: labels in the order in which they were sent, and of one label
// its number, its name, its value, then whether the name came before. After a reason only the
// structure of the bytes is still checked. Here are the labels of 1.0; those of 2.0 are in pairs.ts.

import { memoHolds, memoKeep, memoSlot } from './label-memo';
import { MemoEntry, SeenName, seenRegion, settings } from './layout';
import { findName, keepLabelHash, NO_NAME, namedLabel } from './names';
import {
  DUPLICATE_LABEL,
  EMPTY_LABEL_NAME,
  INVALID_UTF8,
  LABEL_NAME_TOO_LONG,
  LABEL_VALUE_TOO_LONG,
  NO_METRIC_NAME,
  TOO_MANY_LABELS,
} from './reasons';
import { isUtf8 } from './utf8';
import { readLength, readTag, skipField } from './wire';
import { xxh64, xxh64Pair } from './xxhash';

/** "__name__", little-endian. */
const METRIC_NAME: u64 = 0x5f5f656d616e5f5f;
/** WriteRequest, TimeSeries, Label. */
const LABEL_DEPTH: i32 = 3;
const NAME_TAG: u32 = 0x0a;
const VALUE_TAG: u32 = 0x12;

// Traits of a label: the index in the name table plus 1 when the label is looked for, and whether it
// is the metric's name. No label that is stripped or empty has any.
const TRAIT_INDEX_MASK: u32 = 0x3f;
const TRAIT_METRIC_NAME: u32 = 0x40;

/** Where the last label read by `readLabel` has its name and value. */
export let nameStart: usize = 0;
export let nameBytes: u32 = 0;
export let valueStart: usize = 0;
export let valueBytes: u32 = 0;

/** Why the current series is rejected so far; 0 while nothing is wrong. */
export let reason: u32 = 0;
/** What the symbols of the current series' labels take in a SeriesInfo, at most. */
export let labelBytes: u32 = 0;
export let tenantHash: u64 = 0;
export let sum: u64 = 0;
export let count: u32 = 0;
/** Of the hashes of the names so far, unless `commitLabels` was called. */
export let seenBits: u64 = 0;
/** Names of the table that the series has, with a value, by their bits. */
export let present: u64 = 0;
/** The metric's name; 0 while it has none. */
export let metricStart: usize = 0;
export let metricBytes: u32 = 0;

/** The pseudo-label ("", tenant) that starts every sum; nothing when there is no tenant. */
export function setTenant(start: usize, bytes: u32): void {
  tenantHash = bytes === 0 ? 0 : xxh64Pair(xxh64(start, 0), xxh64(start, bytes));
}

export function beginLabels(): void {
  reason = 0;
  labelBytes = 0;
  sum = tenantHash;
  count = 0;
  seenBits = 0;
  present = 0;
  metricStart = 0;
}

/** What a loop over many labels has come to; it started from what is here. */
export function commitLabels(newSum: u64, newSeen: u64, newCount: u32, newBytes: u32): void {
  sum = newSum;
  seenBits = newSeen;
  count = newCount;
  labelBytes = newBytes;
}

/** Only the first reason counts. */
export function rejectSeries(why: u32): void {
  if (reason === 0) reason = why;
}

/** Call once all labels are added. */
export function endLabels(): void {
  if (reason === 0 && metricStart === 0) reason = NO_METRIC_NAME;
}

/** A label that does not count after all. */
export function takeOut(labelHash: u64): void {
  sum -= labelHash;
}

/** Traits of a label with this name and a value. */
export function traitsOfName(index: i32, start: usize, bytes: u32): u32 {
  const isMetric = bytes === 8 && load<u64>(start) === METRIC_NAME;
  return <u32>(index + 1) | (isMetric ? TRAIT_METRIC_NAME : 0);
}

/** Of a label that is added and has traits. */
export function takeTraits(traits: u32, labelHash: u64, value: usize, bytes: u32): void {
  if ((traits & TRAIT_METRIC_NAME) !== 0) {
    metricStart = value;
    metricBytes = bytes;
  }
  const index = traits & TRAIT_INDEX_MASK;
  keepLabelHash(index, labelHash);
  present |= ((<u64>1) << index) >> 1;
}

/** One Label message. Returns its end, or 0 after `fail`. */
export function addLabel(start: usize, end: usize): usize {
  const bytes = <u32>(end - start);
  const slot = memoSlot(start, bytes);
  if (slot !== 0 && memoHolds(slot, start, bytes)) {
    const memo = changetype<MemoEntry>(slot);
    if (reason !== 0) return end;
    if (!admit(memo.nameHash, memo.labelHash, start + memo.nameStart, memo.nameBytes)) return end;
    const traits = memo.traits;
    if (traits !== 0) {
      takeTraits(traits, memo.labelHash, start + memo.valueStart, memo.valueBytes);
    }
    return end;
  }
  if (readLabel(start, end) === 0) return 0;
  if (reason === 0) judge(slot, start, bytes);
  return end;
}

/** Finds name and value of one Label message; of a repeated field the last. */
export function readLabel(start: usize, end: usize, depth: i32 = LABEL_DEPTH): usize {
  let at = start;
  nameBytes = 0;
  valueBytes = 0;
  while (at < end) {
    let read = readTag(at, end);
    if (read === 0) return 0;
    at = <usize>(read >> 32);
    const tag = <u32>read;
    if (tag !== NAME_TAG && tag !== VALUE_TAG) {
      at = skipField(at, end, tag, depth);
      if (at === 0) return 0;
      continue;
    }
    read = readLength(at, end);
    if (read === 0) return 0;
    at = <usize>(read >> 32);
    if (tag === NAME_TAG) {
      nameStart = at;
      nameBytes = <u32>read;
    } else {
      valueStart = at;
      valueBytes = <u32>read;
    }
    at += <u32>read;
  }
  return end;
}

function judge(slot: usize, start: usize, bytes: u32): void {
  const s = settings();
  if (count === s.labelsMax) reason = TOO_MANY_LABELS;
  else if (nameBytes === 0) reason = EMPTY_LABEL_NAME;
  else if (nameBytes > s.nameBytesMax) reason = LABEL_NAME_TOO_LONG;
  else if (!isUtf8(nameStart, nameBytes)) reason = INVALID_UTF8;
  else if (valueBytes > s.valueBytesMax) reason = LABEL_VALUE_TOO_LONG;
  else if (valueBytes !== 0 && !isUtf8(valueStart, valueBytes)) reason = INVALID_UTF8;
  if (reason !== 0) return;

  const nameHash = xxh64(nameStart, nameBytes);
  let labelHash: u64 = 0;
  let traits: u32 = 0;
  // An empty value is no label (Prometheus drops it); neither is a stripped one.
  const index = valueBytes === 0 ? NO_NAME : findName(nameHash, nameStart, nameBytes);
  if (valueBytes !== 0 && (index === NO_NAME || namedLabel(index).stripped === 0)) {
    labelHash = xxh64Pair(nameHash, xxh64(valueStart, valueBytes));
    traits = traitsOfName(index, nameStart, nameBytes);
  }
  if (slot !== 0) {
    const memo = changetype<MemoEntry>(slot);
    memo.nameHash = nameHash;
    memo.labelHash = labelHash;
    memo.nameStart = <u16>(nameStart - start);
    memo.nameBytes = <u16>nameBytes;
    memo.traits = traits;
    memo.valueStart = <u16>(valueStart - start);
    memo.valueBytes = <u16>valueBytes;
    memoKeep(slot, start, bytes);
  }
  if (!admit(nameHash, labelHash, nameStart, nameBytes)) return;
  if (traits !== 0) takeTraits(traits, labelHash, valueStart, valueBytes);
}

/** False when the series is rejected now. */
function admit(nameHash: u64, labelHash: u64, name: usize, bytes: u32): bool {
  if (count === settings().labelsMax) {
    reason = TOO_MANY_LABELS;
    return false;
  }
  const bit = (<u64>1) << (nameHash >> 58);
  if ((seenBits & bit) !== 0 && wasSeen(nameHash, name, bytes)) {
    reason = DUPLICATE_LABEL;
    return false;
  }
  seenBits |= bit;
  const seen = changetype<SeenName>(seenRegion + <usize>count * offsetof<SeenName>());
  seen.hash = nameHash;
  seen.name = <u32>name;
  seen.nameBytes = bytes;
  count++;
  sum += labelHash;
  return true;
}

function wasSeen(nameHash: u64, name: usize, bytes: u32): bool {
  for (let i: u32 = 0; i < count; i++) {
    const seen = changetype<SeenName>(seenRegion + <usize>i * offsetof<SeenName>());
    if (seen.hash !== nameHash || seen.nameBytes !== bytes) continue;
    if (memory.compare(seen.name, name, bytes) === 0) return true;
  }
  return false;
}
