// The protobuf wire format, read in place (https://protobuf.dev/programming-guides/encoding/).
// Every read is given the end of the message that it is in and never passes it; lengths are
// compared with what is left, so that a length near 2^32 cannot wrap a 32-bit position. A position
// is returned, or 0 after `fail`.

import {
  FIELD_OVERRUN,
  fail,
  GROUP_TOO_DEEP,
  GROUP_UNMATCHED,
  TAG_INVALID,
  VARINT_TOO_LONG,
} from './failure';

/** Messages and unknown groups together may nest this deep. */
export const DEPTH_MAX: i32 = 100;
const VARINT_BYTES_MAX: usize = 10;

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH_DELIMITED: u32 = 2;
const GROUP_START: u32 = 3;
const GROUP_END: u32 = 4;
const FIXED32: u32 = 5;

/** What the last `readVarint` read, modulo 2^64. */
export let varint: u64 = 0;

/**
 * Up to 8 bytes at once: the first byte below 128 ends it, and what is before the end is pushed
 * together, 7 bits of 8, then 14 of 16, then 28 of 32. The read may pass `end`.
 */
export function readVarint(start: usize, end: usize): usize {
  const word = load<u64>(start);
  if ((word & 0x80) === 0 && start < end) {
    varint = word & 127;
    return start + 1;
  }
  const stops = ~word & 0x8080808080808080;
  if (stops === 0 || start >= end) return readLongVarint(start, end);
  const bytes = <usize>((ctz<u64>(stops) >> 3) + 1);
  if (bytes > end - start) return fail(FIELD_OVERRUN, start);
  let bits = word & (stops ^ (stops - 1));
  bits = ((bits & 0x7f007f007f007f00) >> 1) | (bits & 0x007f007f007f007f);
  bits = ((bits & 0x3fff00003fff0000) >> 2) | (bits & 0x00003fff00003fff);
  varint = ((bits & 0x0fffffff00000000) >> 4) | (bits & 0x000000000fffffff);
  return start + bytes;
}

function readLongVarint(start: usize, end: usize): usize {
  let at = start;
  let value: u64 = 0;
  let shift: u64 = 0;
  while (at < end) {
    const byte: u64 = load<u8>(at++);
    value |= (byte & 127) << shift;
    if (byte < 128) {
      varint = value;
      return at;
    }
    shift += 7;
    if (shift === 70) return fail(VARINT_TOO_LONG, start);
  }
  return fail(FIELD_OVERRUN, start);
}

/**
 * A tag or a length in the low 32 bits, the position behind it in the high 32; 0 after `fail`. One
 * register for both keeps the hot loops free of globals.
 */
export function readTag(start: usize, end: usize): u64 {
  const first: u64 = load<u8>(start);
  return first < 128 ? ((<u64>(start + 1)) << 32) | first : readLongTag(start, end);
}

function readLongTag(start: usize, end: usize): u64 {
  const at = readVarint(start, end);
  if (at === 0) return 0;
  if (at - start > 5 || (at - start === 5 && load<u8>(at - 1) > 0x0f)) {
    return fail(TAG_INVALID, start);
  }
  return ((<u64>at) << 32) | varint;
}

/** A length that has been checked against `end`. */
export function readLength(start: usize, end: usize): u64 {
  let at = start + 1;
  let length: u64 = load<u8>(start);
  if (start >= end) return fail(FIELD_OVERRUN, start);
  if (length >= 128) {
    at = readVarint(start, end);
    if (at === 0) return 0;
    length = varint;
  }
  if (length > <u64>(end - at)) return fail(FIELD_OVERRUN, start);
  return ((<u64>at) << 32) | length;
}

/**
 * Skips one field of any wire type; `depth` is that of the message it is in, 1 for the outermost.
 */
export function skipField(start: usize, end: usize, tag: u32, depth: i32): usize {
  if (tag < 8) return fail(TAG_INVALID, start);
  switch (tag & 7) {
    case VARINT:
      return readVarint(start, end);
    case FIXED64:
      return end - start < 8 ? fail(FIELD_OVERRUN, start) : start + 8;
    case LENGTH_DELIMITED: {
      const read = readLength(start, end);
      return read === 0 ? 0 : <usize>(read >> 32) + <u32>read;
    }
    case GROUP_START:
      return skipGroup(start, end, tag, depth + 1);
    case GROUP_END:
      return fail(GROUP_UNMATCHED, start);
    case FIXED32:
      return end - start < 4 ? fail(FIELD_OVERRUN, start) : start + 4;
    default:
      return fail(TAG_INVALID, start);
  }
}

function skipGroup(start: usize, end: usize, opening: u32, depth: i32): usize {
  if (depth > DEPTH_MAX) return fail(GROUP_TOO_DEEP, start);
  let at = start;
  while (at < end) {
    const read = readTag(at, end);
    if (read === 0) return 0;
    at = <usize>(read >> 32);
    const tag = <u32>read;
    if ((tag & 7) === GROUP_END) {
      return tag >> 3 === opening >> 3 ? at : fail(GROUP_UNMATCHED, at);
    }
    at = skipField(at, end, tag, depth);
    if (at === 0) return 0;
  }
  return fail(FIELD_OVERRUN, start);
}

/** A packed field of varints: whole ones, up to `end` exactly. */
export function skipPackedVarints(start: usize, end: usize): usize {
  let at = start;
  while (at < end) {
    at = readVarint(at, end);
    if (at === 0) return 0;
  }
  return at;
}

/** A packed field of 8-byte values. */
export function skipPackedFixed64(start: usize, end: usize): usize {
  return ((end - start) & 7) === 0 ? end : fail(FIELD_OVERRUN, start);
}

export function varintBytes(value: u32): u32 {
  let bytes: u32 = 1;
  while (value >= 128) {
    value >>= 7;
    bytes++;
  }
  return bytes;
}

export function writeVarint(at: usize, value: u32): usize {
  while (value >= 128) {
    store<u8>(at++, value | 128);
    value >>= 7;
  }
  store<u8>(at++, value);
  return at;
}
