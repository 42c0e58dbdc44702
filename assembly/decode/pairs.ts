// The labels of a remote-write 2.0 series: references to symbols, name, value, name, and so on. They
// come packed, unpacked or in several pieces, and a pair may be cut in two. Labels are never made of
// symbols here: a pair of references adds a hash to a sum.
//
// Nearly every series has one packed list of references of one or two bytes to sound symbols, and
// its labels are those of others: for them there is a loop of its own. Each symbol keeps the last two
// labels that it was the value of in this request, so that a label costs a look at 8 bytes instead
// of a hash. Whatever is not quite like that is gone through again, one by one, and then judged.

import { fail, REFERENCES_ABOVE_LIMIT } from './failure';
import {
  beginLabels,
  commitLabels,
  count,
  labelBytes,
  reason,
  rejectSeries,
  seenBits,
  sum,
  takeTraits,
  tenantHash,
} from './labels';
import { PAIR_STRIDE, PairEntry, pairsRegion, SymbolRecord, seenRegion, settings } from './layout';
import {
  DUPLICATE_LABEL,
  ODD_REFERENCES,
  REFERENCE_OUT_OF_RANGE,
  TOO_MANY_LABELS,
} from './reasons';
import { results } from './results';
import {
  isSameText,
  joinLabel,
  LABEL_OVERHEAD_BYTES,
  NAME_FAULT_MASK,
  NAME_FAULT_SHIFT,
  NO_PAIR,
  PAIR_BYTES_MASK,
  PAIR_COUNT_SHIFT,
  symbolRecord,
  TRAIT_EMPTY,
  TRAIT_STRIPPED,
  TRAITS_OF_LABEL,
  VALUE_FAULT_MASK,
  VALUE_FAULT_SHIFT,
} from './symbols';
import { readVarint, varint } from './wire';
import { joinHalves } from './xxhash';

/** The first half of a pair whose second has not come yet; 0 when there is none. */
let pendingName: usize = 0;
/** References of the current series so far. */
let references: u32 = 0;
/** Where the list is that the fast loop took in. */
let plainStart: usize = 0;
let plainEnd: usize = 0;

export function beginPairs(): void {
  beginLabels();
  pendingName = 0;
  references = 0;
  plainEnd = 0;
}

/** Packed references. Returns the end, or 0 after `fail`. */
export function takeReferences(start: usize, end: usize): usize {
  if (references === 0 && start < end && load<u8>(end - 1) < 128) {
    const pairs = addPlainPairs(start, end);
    if (pairs !== 0) {
      plainStart = start;
      plainEnd = end;
      return takeCount(pairs << 1, end);
    }
    beginLabels();
  }
  takePlainAgain();
  const packed = countPacked(start, end);
  if (packed < 0) return 0;
  if (reason === 0) pendingName = addPairs(start, end, pendingName);
  return takeCount(<u32>packed, end);
}

/** A reference that comes alone: as it was sent, from `start` to `end`. */
export function takeReference(start: usize, end: usize): usize {
  takePlainAgain();
  if (reason === 0) pendingName = addPairs(start, end, pendingName);
  return takeCount(1, end);
}

export function endPairs(): void {
  if ((references & 1) !== 0) rejectSeries(ODD_REFERENCES);
}

/** Towards what a request may have. Returns `at`, or 0 after `fail`. */
export function countReferences(more: u32, at: usize): usize {
  const r = results();
  r.references += more;
  return r.references > settings().referencesMax ? fail(REFERENCES_ABOVE_LIMIT, at) : at;
}

function takeCount(more: u32, at: usize): usize {
  references += more;
  return countReferences(more, at);
}

/** More references come behind what the fast loop took in, which does not remember names. */
function takePlainAgain(): void {
  if (plainEnd === 0) return;
  beginLabels();
  pendingName = addPairs(plainStart, plainEnd, 0);
  plainEnd = 0;
}

/**
 * All references of a series, the last of which is known to be whole. Returns the number of labels,
 * or 0 when there is anything to judge: then the running sums mean nothing.
 */
function addPlainPairs(start: usize, end: usize): u32 {
  sumSoFar = tenantHash;
  seenSoFar = 0;
  sizeSoFar = 0;
  for (let at = addKnownPairs(start, end); at !== end; at = addKnownPairs(at, end)) {
    if (at > end || !learnPair(at, end)) return 0;
  }
  const pairs = sizeSoFar >> PAIR_COUNT_SHIFT;
  if (popcnt<u64>(seenSoFar) !== pairs || pairs > settings().labelsMax) return 0;
  commitLabels(sumSoFar, seenSoFar, <u32>pairs, <u32>sizeSoFar & PAIR_BYTES_MASK);
  return <u32>pairs;
}

// Where `addKnownPairs` left off. It calls nothing, so that all of it fits into registers.
let sumSoFar: u64 = 0;
/** A bit for each name; fewer than there are labels when a name came twice. */
let seenSoFar: u64 = 0;
/** Of the labels, added up: see PairEntry. More than labelsMax of them may count as even more. */
let sizeSoFar: u64 = 0;

/** Returns where it stopped: at `end` or behind it, or at the first pair that is not known. */
function addKnownPairs(start: usize, end: usize): usize {
  const symbols = results().symbols;
  const table = pairsRegion;
  let localSum = sumSoFar;
  let seen = seenSoFar;
  let size = sizeSoFar;
  let at = start;
  while (at < end) {
    const head: u32 = load<u32>(at);
    let name = head & 127;
    let rest = head >> 8;
    let next = at + 2;
    if ((head & 0x80) !== 0) {
      if ((rest & 0x80) !== 0) break;
      name |= (rest << 7) & 0x3f80;
      rest >>= 8;
      next++;
    }
    // Short and long values come in no order: without a branch, none is predicted wrongly. One
    // that is longer still is no index, whatever the symbols.
    const isLong: u32 = (rest >> 7) & 1;
    const isLonger = (rest & (isLong << 15)) << 8;
    const index = (rest & 127) | ((rest >> 1) & (isLong * 0x3f80)) | isLonger;
    if (index >= symbols) break;
    let entry = changetype<PairEntry>(table + <usize>index * PAIR_STRIDE);
    let label = labelOf(entry);
    if (<u16>label !== name) {
      entry = changetype<PairEntry>(changetype<usize>(entry) + offsetof<PairEntry>());
      label = labelOf(entry);
      if (<u16>label !== name) break;
    }
    seen |= (<u64>1) << (label >> 16);
    size += label >> 32;
    localSum += entry.labelHash;
    const traits = <u32>(label >> 24) & TRAITS_OF_LABEL;
    if (traits !== 0) takePairTraits(traits, entry.labelHash, index);
    at = next + isLong;
  }
  sumSoFar = localSum;
  seenSoFar = seen;
  sizeSoFar = size;
  return at;
}

/** Name, bit, traits and bytes. */
function labelOf(entry: PairEntry): u64 {
  return load<u64>(changetype<usize>(entry), offsetof<PairEntry>('name'));
}

function takePairTraits(traits: u32, labelHash: u64, value: u32): void {
  const symbol = symbolRecord(value);
  takeTraits(traits, labelHash, symbol.start, symbol.bytes);
}

/** Takes in a pair of short references; false when it is not one or there is anything to judge. */
function learnPair(at: usize, end: usize): bool {
  const word: u32 = load<u32>(at);
  const ends = ~word & 0x80808080;
  const lastEnd = ends & (ends - 1);
  if (lastEnd === 0) return false;
  const nameBytes = (ctz<u32>(ends) >> 3) + 1;
  const bytes = (ctz<u32>(lastEnd) >> 3) + 1;
  if (bytes > <u32>(end - at) || nameBytes > 2 || bytes - nameBytes > 2) return false;
  readVarint(at, end);
  const name = <u32>varint;
  readVarint(at + nameBytes, end);
  const value = <u32>varint;
  if (value >= results().symbols) return false;
  // The second place is for whatever comes and goes.
  const first = pairsRegion + <usize>value * PAIR_STRIDE;
  const isTaken = changetype<PairEntry>(first).name !== NO_PAIR;
  return joinLabel(
    name,
    value,
    changetype<PairEntry>(isTaken ? first + offsetof<PairEntry>() : first),
  );
}

/**
 * The same for all kinds of labels, one by one; `name` is the address of the symbol that an earlier
 * piece ended with, or 0. Returns the address that this one ends with. The references are known to
 * be whole.
 */
function addPairs(start: usize, end: usize, name: usize): usize {
  const symbols = <u64>results().symbols;
  const labelsMax = settings().labelsMax;
  let at = start;
  let localSum = sum;
  let localSeen = seenBits;
  let localCount = count;
  let localBytes = labelBytes;
  while (at < end) {
    at = readVarint(at, end);
    const reference = varint;
    if (reference >= symbols) {
      rejectSeries(REFERENCE_OUT_OF_RANGE);
      break;
    }
    const symbol = changetype<usize>(symbolRecord(<u32>reference));
    if (name === 0) {
      name = symbol;
      continue;
    }
    const nameRecord = changetype<SymbolRecord>(name);
    const valueRecord = changetype<SymbolRecord>(symbol);
    const traits = nameRecord.traits;
    const faults = (traits & NAME_FAULT_MASK) | (valueRecord.traits & VALUE_FAULT_MASK);
    if (localCount === labelsMax) {
      rejectSeries(TOO_MANY_LABELS);
      break;
    }
    if (faults !== 0) {
      const nameFault = (faults & NAME_FAULT_MASK) >> NAME_FAULT_SHIFT;
      rejectSeries(nameFault !== 0 ? nameFault : faults >> VALUE_FAULT_SHIFT);
      break;
    }
    const nameHalf = nameRecord.nameHalf;
    const bit = (<u64>1) << nameHalf;
    if ((localSeen & bit) !== 0 && wasNamed(nameRecord, localCount)) {
      rejectSeries(DUPLICATE_LABEL);
      break;
    }
    localSeen |= bit;
    store<u32>(seenRegion + ((<usize>localCount) << 2), <u32>name);
    localCount++;
    localBytes += nameRecord.bytes + valueRecord.bytes + LABEL_OVERHEAD_BYTES;
    name = 0;
    if (((traits & TRAIT_STRIPPED) | (valueRecord.traits & TRAIT_EMPTY)) !== 0) continue;
    const labelHash = joinHalves(nameHalf, valueRecord.valueHalf);
    localSum += labelHash;
    const kept = traits & TRAITS_OF_LABEL;
    if (kept !== 0) takeTraits(kept, labelHash, valueRecord.start, valueRecord.bytes);
  }
  commitLabels(localSum, localSeen, localCount, localBytes);
  return name;
}

/** Whether one of the first names of the series, which are symbols, has the text of this one. */
function wasNamed(name: SymbolRecord, names: u32): bool {
  for (let i: u32 = 0; i < names; i++) {
    const seen = changetype<SymbolRecord>(<usize>load<u32>(seenRegion + ((<usize>i) << 2)));
    if (isSameText(seen, name)) return true;
  }
  return false;
}

/** The number of varints that fill these bytes, or -1 after `fail`. Each ends with a byte below 128. */
function countPacked(start: usize, end: usize): i32 {
  let packed = 0;
  let at = start;
  for (; at < end; at += 16) {
    const left = <u32>(end - at);
    const inside: i32 = left >= 16 ? 0xffff : (1 << left) - 1;
    const more = i8x16.bitmask(v128.load(at)) & inside;
    // Three bytes in a row that are not the last: no index of a symbol, and perhaps no varint.
    if ((more & (more << 1) & (more << 2)) !== 0) return countOneByOne(start, end);
    packed += popcnt(inside ^ more);
  }
  return at === start || load<u8>(end - 1) < 128 ? packed : countOneByOne(start, end);
}

function countOneByOne(start: usize, end: usize): i32 {
  let packed = 0;
  for (let at = start; at < end; packed++) {
    at = readVarint(at, end);
    if (at === 0) return -1;
  }
  return packed;
}
