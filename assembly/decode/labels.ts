// The labels of one series: each is judged, hashed and added to the running sums; nothing is kept
// of them but the sums, and where their names are until the next series. The first thing found
// wrong is the reason of the series: labels in the order in which they were sent, and of one label
// its number, its name, its value, then whether the name came before. After a reason only the
// structure of the bytes is still checked.

import { memoHolds, memoKeep, memoSlot } from './label-memo';
import { MemoEntry, SeenName, SymbolRecord, seenRegion, settings, symbolsRegion } from './layout';
import { findName, keepLabelHash, NO_NAME, namedLabel, partitionSum } from './names';
import {
  DUPLICATE_LABEL,
  EMPTY_LABEL_NAME,
  INVALID_UTF8,
  LABEL_NAME_TOO_LONG,
  LABEL_VALUE_TOO_LONG,
  NO_METRIC_NAME,
  REFERENCE_OUT_OF_RANGE,
  TOO_MANY_LABELS,
} from './reasons';
import { results } from './results';
import { isUtf8 } from './utf8';
import { readLength, readTag, readVarint, skipField, varint } from './wire';
import { finish, joinHalves, xxh64, xxh64Pair } from './xxhash';

/** "__name__", little-endian. */
const METRIC_NAME: u64 = 0x5f5f656d616e5f5f;
/** WriteRequest, TimeSeries, Label. */
const LABEL_DEPTH: i32 = 3;
const NAME_TAG: u32 = 0x0a;
const VALUE_TAG: u32 = 0x12;

// Traits of a label: the low byte is the index in the name table plus 1 when the label counts for
// the partition.
const TRAIT_INDEX_MASK: u32 = 0xff;
const TRAIT_METRIC_NAME: u32 = 0x100;
const TRAITS_KEPT: u32 = 0x1ff;
// Of a symbol also whether it is a stripped name, and what is wrong with it as a name or a value.
const TRAIT_STRIPPED: u32 = 0x200;
const TRAIT_EMPTY: u32 = 0x800;
const NAME_FAULT_SHIFT: u32 = 16;
const NAME_FAULT_MASK: u32 = 0xff << 16;
const VALUE_FAULT_SHIFT: u32 = 24;
const VALUE_FAULT_MASK: u32 = 0xff << 24;
// As `addPlainPairs` sees them.
const SPECIAL_NAME: u64 = (<u64>(NAME_FAULT_MASK | TRAIT_STRIPPED)) << 32;
const SPECIAL_VALUE: u64 = (<u64>(VALUE_FAULT_MASK | TRAIT_EMPTY)) << 32;
const KEPT_NAME: u64 = (<u64>TRAITS_KEPT) << 32;
/** Around a label of a SeriesInfo: three tags and their lengths, rounded up. */
const LABEL_OVERHEAD_BYTES: u32 = 12;

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
let sum: u64 = 0;
export let count: u32 = 0;
let seenBits: u64 = 0;
let present: u32 = 0;
let hasMetricName: bool = false;

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
  hasMetricName = false;
}

/** Only the first reason counts. */
export function rejectSeries(why: u32): void {
  if (reason === 0) reason = why;
}

/** Call once all labels are added. */
export function endLabels(): void {
  if (reason === 0 && !hasMetricName) reason = NO_METRIC_NAME;
}

export function seriesFingerprint(): u64 {
  return finish(sum);
}

export function seriesPartition(): u32 {
  const hash = finish(partitionSum(present, tenantHash, sum));
  return <u32>(((hash >> 32) * <u64>settings().partitions) >> 32);
}

/** One Label message. Returns its end, or 0 after `fail`. */
export function addLabel(start: usize, end: usize): usize {
  const bytes = <u32>(end - start);
  const slot = memoSlot(start, bytes);
  if (slot !== 0 && memoHolds(slot, start, bytes)) {
    const memo = changetype<MemoEntry>(slot);
    if (reason === 0) {
      admit(memo.nameHash, memo.labelHash, memo.traits, start + memo.nameStart, memo.nameBytes);
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

/** What `addPair` will want to know of a symbol whose bytes and hash these are. */
export function symbolTraits(start: usize, bytes: u32, isText: bool, hash: u64): u32 {
  const s = settings();
  let nameFault: u32 = 0;
  if (bytes === 0) nameFault = EMPTY_LABEL_NAME;
  else if (bytes > s.nameBytesMax) nameFault = LABEL_NAME_TOO_LONG;
  else if (!isText) nameFault = INVALID_UTF8;
  let valueFault: u32 = 0;
  if (bytes > s.valueBytesMax) valueFault = LABEL_VALUE_TOO_LONG;
  else if (!isText) valueFault = INVALID_UTF8;
  let traits = (nameFault << NAME_FAULT_SHIFT) | (valueFault << VALUE_FAULT_SHIFT);
  if (bytes === 0) traits |= TRAIT_EMPTY;
  if (nameFault !== 0) return traits;
  const index = findName(hash, start, bytes);
  if (index !== NO_NAME) {
    if (namedLabel(index).stripped !== 0) traits |= TRAIT_STRIPPED;
    else traits |= <u32>(index + 1);
  }
  if (bytes === 8 && load<u64>(start) === METRIC_NAME) traits |= TRAIT_METRIC_NAME;
  return traits;
}

/**
 * Packed references to symbols, name, value, name, and so on: the hot loop of remote-write 2.0, for
 * labels with which nothing is special. Returns where it stopped: at `end`, or at the first label
 * that is not quite like that (a reference of three bytes, a stripped name, a fault), which is
 * `addPairs`' to judge. The last reference before `end` is known to be whole.
 */
export function addPlainPairs(start: usize, end: usize): usize {
  const symbols = results().symbols;
  const table = symbolsRegion;
  const seenEnd = seenRegion + ((<usize>settings().labelsMax) << 2);
  let seenAt = seenRegion + ((<usize>count) << 2);
  let localSum = sum;
  let localSeen = seenBits;
  let bytes: u64 = 0;
  let at = start;
  while (at < end) {
    const head: u32 = load<u32>(at);
    let nameIndex = head & 127;
    let rest = head >> 8;
    let next = at + 2;
    if ((head & 0x80) !== 0) {
      nameIndex |= (rest & 127) << 7;
      if ((rest & 0x80) !== 0) break;
      rest >>= 8;
      next++;
    }
    let valueIndex = rest & 127;
    if ((rest & 0x80) !== 0) {
      valueIndex |= (rest >> 1) & 0x3f80;
      if ((rest & 0x8000) !== 0) break;
      next++;
    }
    if (nameIndex >= symbols || valueIndex >= symbols || next > end) break;
    const name = changetype<SymbolRecord>(table + nameIndex * offsetof<SymbolRecord>());
    const value = changetype<SymbolRecord>(table + valueIndex * offsetof<SymbolRecord>());
    const nameWord = load<u64>(changetype<usize>(name), offsetof<SymbolRecord>('bytes'));
    const valueWord = load<u64>(changetype<usize>(value), offsetof<SymbolRecord>('bytes'));
    if (((nameWord & SPECIAL_NAME) | (valueWord & SPECIAL_VALUE)) !== 0) break;
    const nameHalf = name.nameHalf;
    const bit = (<u64>1) << nameHalf;
    const names = <u32>(seenAt - seenRegion) >> 2;
    if ((localSeen & bit) !== 0 && wasNamed(changetype<usize>(name), names)) break;
    if (seenAt === seenEnd) break;
    localSeen |= bit;
    store<u32>(seenAt, <u32>changetype<usize>(name));
    seenAt += 4;
    at = next;
    bytes += nameWord;
    bytes += valueWord;
    const labelHash = joinHalves(nameHalf, value.valueHalf);
    localSum += labelHash;
    if ((nameWord & KEPT_NAME) !== 0) takeTraits(<u32>(nameWord >> 32) & TRAITS_KEPT, labelHash);
  }
  const pairs = <u32>((seenAt - seenRegion) >> 2) - count;
  sum = localSum;
  seenBits = localSeen;
  count += pairs;
  labelBytes += <u32>bytes + pairs * LABEL_OVERHEAD_BYTES;
  return at;
}

/**
 * The same for all kinds of labels, one by one; `name` is the address of the symbol that an earlier
 * piece ended with, or 0. Returns the address that this one ends with. The references are known to
 * be whole: see walk-v2.ts.
 */
export function addPairs(start: usize, end: usize, name: usize): usize {
  const symbols = <u64>results().symbols;
  const labelsMax = settings().labelsMax;
  let at = start;
  let localSum = sum;
  let localSeen = seenBits;
  let localCount = count;
  let localBytes = labelBytes;
  while (at < end) {
    const head: u32 = load<u16>(at);
    let reference: u64 = head & 127;
    if ((head & 0x80) === 0) {
      at++;
    } else if ((head & 0x8000) === 0) {
      reference |= (head >> 1) & 0x3f80;
      at += 2;
    } else {
      at = readVarint(at, end);
      reference = varint;
    }
    if (reference >= symbols) {
      reason = REFERENCE_OUT_OF_RANGE;
      break;
    }
    const symbol = symbolsRegion + <usize>reference * offsetof<SymbolRecord>();
    if (name === 0) {
      name = symbol;
      continue;
    }
    const nameRecord = changetype<SymbolRecord>(name);
    const valueRecord = changetype<SymbolRecord>(symbol);
    const traits = nameRecord.traits;
    const faults = (traits & NAME_FAULT_MASK) | (valueRecord.traits & VALUE_FAULT_MASK);
    if (localCount === labelsMax) {
      reason = TOO_MANY_LABELS;
      break;
    }
    if (faults !== 0) {
      const nameFault = (faults & NAME_FAULT_MASK) >> NAME_FAULT_SHIFT;
      reason = nameFault !== 0 ? nameFault : faults >> VALUE_FAULT_SHIFT;
      break;
    }
    const nameHalf = nameRecord.nameHalf;
    const bit = (<u64>1) << nameHalf;
    if ((localSeen & bit) !== 0 && wasNamed(name, localCount)) {
      reason = DUPLICATE_LABEL;
      break;
    }
    localSeen |= bit;
    store<u32>(seenRegion + ((<usize>localCount) << 2), <u32>name);
    localCount++;
    localBytes += nameRecord.bytes + valueRecord.bytes + LABEL_OVERHEAD_BYTES;
    name = 0;
    if (valueRecord.bytes === 0 || (traits & TRAIT_STRIPPED) !== 0) continue;
    const labelHash = joinHalves(nameHalf, valueRecord.valueHalf);
    localSum += labelHash;
    if ((traits & TRAITS_KEPT) !== 0) takeTraits(traits, labelHash);
  }
  sum = localSum;
  seenBits = localSeen;
  count = localCount;
  labelBytes = localBytes;
  return name;
}

/** Whether one of the first names of the series, which are symbols, has the text of this one. */
function wasNamed(name: usize, names: u32): bool {
  const record = changetype<SymbolRecord>(name);
  for (let i: u32 = 0; i < names; i++) {
    const seen = changetype<SymbolRecord>(<usize>load<u32>(seenRegion + ((<usize>i) << 2)));
    if (seen.nameHalf !== record.nameHalf || seen.bytes !== record.bytes) continue;
    if (memory.compare(seen.start, record.start, record.bytes) === 0) return true;
  }
  return false;
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
    traits = <u32>(index + 1);
    if (nameBytes === 8 && load<u64>(nameStart) === METRIC_NAME) traits |= TRAIT_METRIC_NAME;
  }
  if (slot !== 0) {
    const memo = changetype<MemoEntry>(slot);
    memo.nameHash = nameHash;
    memo.labelHash = labelHash;
    memo.nameStart = <u16>(nameStart - start);
    memo.nameBytes = <u16>nameBytes;
    memo.traits = traits;
    memoKeep(slot, start, bytes);
  }
  admit(nameHash, labelHash, traits, nameStart, nameBytes);
}

function admit(nameHash: u64, labelHash: u64, traits: u32, name: usize, bytes: u32): void {
  if (count === settings().labelsMax) {
    reason = TOO_MANY_LABELS;
    return;
  }
  const bit = (<u64>1) << (nameHash >> 58);
  if ((seenBits & bit) !== 0 && wasSeen(nameHash, name, bytes)) {
    reason = DUPLICATE_LABEL;
    return;
  }
  seenBits |= bit;
  const seen = changetype<SeenName>(seenRegion + <usize>count * offsetof<SeenName>());
  seen.hash = nameHash;
  seen.name = <u32>name;
  seen.nameBytes = bytes;
  count++;
  sum += labelHash;
  if (traits !== 0) takeTraits(traits, labelHash);
}

function takeTraits(traits: u32, labelHash: u64): void {
  if ((traits & TRAIT_METRIC_NAME) !== 0) hasMetricName = true;
  const index = traits & TRAIT_INDEX_MASK;
  keepLabelHash(index, labelHash);
  present |= <u32>(((<u64>1) << index) >> 1);
}

function wasSeen(nameHash: u64, name: usize, bytes: u32): bool {
  for (let i: u32 = 0; i < count; i++) {
    const seen = changetype<SeenName>(seenRegion + <usize>i * offsetof<SeenName>());
    if (seen.hash !== nameHash || seen.nameBytes !== bytes) continue;
    if (memory.compare(seen.name, name, bytes) === 0) return true;
  }
  return false;
}
