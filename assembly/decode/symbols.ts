// The symbols of a remote-write 2.0 request: each is checked and hashed once, however often series
// refer to it. A reference is an index, compared with the number of symbols as 64 bits, so that one
// above 2^32 never wraps to a valid one. Symbols may be doubled and may have no user; what is wrong
// with one (invalid UTF-8, too long) is the fault of the series that refer to it.

import { fail, SYMBOLS_ABOVE_LIMIT } from './failure';
import { symbolTraits } from './labels';
import { SymbolRecord, settings, symbolsRegion } from './layout';
import { results } from './results';
import { isUtf8 } from './utf8';
import { firstHalf, secondHalf, xxh64 } from './xxhash';

const NOT_TEXT: u32 = 0x400;

/** Returns 0 after `fail`. */
export function addSymbol(start: usize, end: usize): usize {
  const r = results();
  if (r.symbols === settings().symbolsMax) return fail(SYMBOLS_ABOVE_LIMIT, start);
  const bytes = <u32>(end - start);
  const symbol = symbolRecord(r.symbols);
  const isText = bytes === 0 || isUtf8(start, bytes);
  // Longer ones are in no label, and hashing them could be asked for again and again.
  const hash = bytes > settings().valueBytesMax ? 0 : xxh64(start, bytes);
  symbol.nameHalf = firstHalf(hash);
  symbol.valueHalf = secondHalf(hash);
  symbol.start = <u32>start;
  symbol.bytes = bytes;
  symbol.traits = symbolTraits(start, bytes, isText, hash) | (isText ? 0 : NOT_TEXT);
  symbol.unit = 0;
  if (r.symbols === 0 && bytes !== 0) r.oddFirstSymbol = 1;
  r.symbols++;
  return end;
}

export function isSymbol(reference: u64): bool {
  return reference < <u64>results().symbols;
}

export function isText(symbol: SymbolRecord): bool {
  return (symbol.traits & NOT_TEXT) === 0;
}

export function symbolRecord(index: u32): SymbolRecord {
  return changetype<SymbolRecord>(symbolsRegion + <usize>index * offsetof<SymbolRecord>());
}
