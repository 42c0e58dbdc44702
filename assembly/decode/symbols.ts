// The symbols of a remote-write 2.0 request: each is checked and hashed once, however often series
// refer to it. A reference is an index, compared with the number of symbols as 64 bits, so that one
// above 2^32 never wraps to a valid one. Symbols may be doubled and may have no user; what is wrong
// with one (invalid UTF-8, too long) is the fault of the series that refer to it.
//
// Each different name of a request has a bit of its own, so that a second label of a name is found
// by one AND.

import { fail, SYMBOLS_ABOVE_LIMIT } from './failure';
import { traitsOfName } from './labels';
import {
  PAIR_STRIDE,
  PairEntry,
  pairsRegion,
  SymbolRecord,
  settings,
  symbolsRegion,
} from './layout';
import { findName, NO_NAME, namedLabel } from './names';
import {
  EMPTY_LABEL_NAME,
  INVALID_UTF8,
  LABEL_NAME_TOO_LONG,
  LABEL_VALUE_TOO_LONG,
} from './reasons';
import { results } from './results';
import { isUtf8 } from './utf8';
import { firstHalf, joinHalves, secondHalf, xxh64 } from './xxhash';

// Traits of a symbol: in the low byte those of labels with it as the name; whether it is a stripped
// name, no text, empty; what is wrong with it as a name and as a value.
export const TRAITS_OF_LABEL: u32 = 0xff;
export const TRAIT_STRIPPED: u32 = 0x100;
const TRAIT_NOT_TEXT: u32 = 0x200;
export const TRAIT_EMPTY: u32 = 0x400;
export const NAME_FAULT_SHIFT: u32 = 16;
export const NAME_FAULT_MASK: u32 = 0xff << 16;
export const VALUE_FAULT_SHIFT: u32 = 24;
export const VALUE_FAULT_MASK: u32 = 0xff << 24;

/** Instead of the index of a name; more than two bytes of a reference can say. */
export const NO_PAIR: u16 = u16.MAX_VALUE;
/** Where the labels are counted in the size of a pair: those of a whole series stay below it. */
export const PAIR_COUNT_SHIFT: u32 = 24;
export const PAIR_BYTES_MASK: u32 = 0xffffff;
/** Around a label of a SeriesInfo: three tags and their lengths, rounded up. */
export const LABEL_OVERHEAD_BYTES: u32 = 12;

/** The first 63 different names; the bit behind them is for all others. */
const OWN_BITS: u32 = 63;
/** Twice as many slots, found by hash, each the address of a symbol or 0. */
const NAME_SLOTS: u32 = 128;
const nameSlots: usize = memory.data(<i32>(NAME_SLOTS * sizeof<u32>()), 4);
let ownBits: u32 = 0;

export function beginSymbols(): void {
  if (ownBits === 0) return;
  ownBits = 0;
  memory.fill(nameSlots, 0, <usize>NAME_SLOTS * sizeof<u32>());
}

/** Returns 0 after `fail`. */
export function addSymbol(start: usize, end: usize): usize {
  const r = results();
  const s = settings();
  if (r.symbols === s.symbolsMax) return fail(SYMBOLS_ABOVE_LIMIT, start);
  const bytes = <u32>(end - start);
  const symbol = symbolRecord(r.symbols);
  const isSound = bytes === 0 || isUtf8(start, bytes);
  // Longer ones are in no label, and hashing them could be asked for again and again.
  const hash = bytes > s.valueBytesMax ? 0 : xxh64(start, bytes);
  const pairs = pairsRegion + <usize>r.symbols * PAIR_STRIDE;
  changetype<PairEntry>(pairs).name = NO_PAIR;
  changetype<PairEntry>(pairs + offsetof<PairEntry>()).name = NO_PAIR;
  symbol.ownBit = 0;
  symbol.nameHalf = firstHalf(hash);
  symbol.valueHalf = secondHalf(hash);
  symbol.start = <u32>start;
  symbol.bytes = bytes;
  symbol.traits = traitsOf(start, bytes, isSound, hash);
  symbol.unit = 0;
  if (r.symbols === 0 && bytes !== 0) r.oddFirstSymbol = 1;
  r.symbols++;
  return end;
}

export function isSymbol(reference: u64): bool {
  return reference < <u64>results().symbols;
}

export function isText(symbol: SymbolRecord): bool {
  return (symbol.traits & TRAIT_NOT_TEXT) === 0;
}

export function symbolRecord(index: u32): SymbolRecord {
  return changetype<SymbolRecord>(symbolsRegion + <usize>index * offsetof<SymbolRecord>());
}

/**
 * Fills in what the label of this name and this value is. False when something is wrong with either,
 * or there is no such symbol.
 */
export function joinLabel(nameIndex: u32, valueIndex: u32, label: PairEntry): bool {
  const symbols = results().symbols;
  if (nameIndex >= symbols || valueIndex >= symbols) return false;
  const name = symbolRecord(nameIndex);
  const value = symbolRecord(valueIndex);
  const traits = name.traits;
  const ofValue = value.traits;
  if (((traits & NAME_FAULT_MASK) | (ofValue & VALUE_FAULT_MASK)) !== 0) return false;
  if (name.ownBit === 0) name.ownBit = <u16>(1 + ownBitOf(name));
  const counts = (traits & TRAIT_STRIPPED) === 0 && (ofValue & TRAIT_EMPTY) === 0;
  label.labelHash = counts ? joinHalves(name.nameHalf, value.valueHalf) : 0;
  label.name = <u16>nameIndex;
  label.bit = <u8>(name.ownBit - 1);
  label.traits = counts ? <u8>(traits & TRAITS_OF_LABEL) : 0;
  label.size = (name.bytes + value.bytes + LABEL_OVERHEAD_BYTES) | (1 << PAIR_COUNT_SHIFT);
  return true;
}

function traitsOf(start: usize, bytes: u32, isSound: bool, hash: u64): u32 {
  const s = settings();
  let nameFault: u32 = 0;
  if (bytes === 0) nameFault = EMPTY_LABEL_NAME;
  else if (bytes > s.nameBytesMax) nameFault = LABEL_NAME_TOO_LONG;
  else if (!isSound) nameFault = INVALID_UTF8;
  let valueFault: u32 = 0;
  if (bytes > s.valueBytesMax) valueFault = LABEL_VALUE_TOO_LONG;
  else if (!isSound) valueFault = INVALID_UTF8;
  let traits = (nameFault << NAME_FAULT_SHIFT) | (valueFault << VALUE_FAULT_SHIFT);
  if (!isSound) traits |= TRAIT_NOT_TEXT;
  if (bytes === 0) traits |= TRAIT_EMPTY;
  if (nameFault !== 0) return traits;
  const index = findName(hash, start, bytes);
  if (index !== NO_NAME && namedLabel(index).stripped !== 0) return traits | TRAIT_STRIPPED;
  return traits | traitsOfName(index, start, bytes);
}

/** Symbols of one text have one bit. */
function ownBitOf(name: SymbolRecord): u32 {
  let slot = <u32>(name.nameHalf >> 57);
  while (true) {
    const at = nameSlots + ((<usize>slot) << 2);
    const known = changetype<SymbolRecord>(<usize>load<u32>(at));
    if (changetype<usize>(known) === 0) {
      if (ownBits === OWN_BITS) return OWN_BITS;
      store<u32>(at, <u32>changetype<usize>(name));
      return ownBits++;
    }
    if (isSameText(known, name)) return known.ownBit - 1;
    slot = (slot + 1) & (NAME_SLOTS - 1);
  }
}

export function isSameText(one: SymbolRecord, other: SymbolRecord): bool {
  if (one.nameHalf !== other.nameHalf || one.bytes !== other.bytes) return false;
  return memory.compare(one.start, other.start, one.bytes) === 0;
}
