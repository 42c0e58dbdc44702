// One snappy block, from the body's region into the decoded region; written from
// https://github.com/google/snappy/blob/main/format_description.txt. Nothing is written before the
// declared length has been judged, and nothing past it counts: the fast copies below move 16 bytes
// at a time and may read and write up to SLACK_BYTES beyond what they were asked for, which
// layout.ts keeps free behind both regions.
//
//   block    = varint length, elements
//   element  = literal  xxxxxx00 (length - 1, or 60..63: 1..4 length bytes follow)  bytes
//            | copy     oooLLL01 (length - 4, offset bits 8..10)             offset bits 0..7
//            | copy     LLLLLL10 (length - 1)                                       2 bytes offset
//            | copy     LLLLLL11 (length - 1)                                       4 bytes offset

import {
  BODY_EMPTY,
  BODY_FRAMED,
  ELEMENT_TRUNCATED,
  fail,
  LENGTH_ABOVE_LIMIT,
  LENGTH_MALFORMED,
  OFFSET_OUTSIDE,
  OUTPUT_OVERRUN,
  OUTPUT_SHORT,
} from './failure';

/** First 8 bytes of the framed format: chunk type 0xff, its length 6, and the start of "sNaPpY". */
const FRAMED_START: u64 = 0x50614e73000006ff;
/** Longer literals go to the engine's own copy; shorter ones are not worth the call. */
const SHORT_LITERAL_BYTES: u32 = 64;

/** Returns the position behind the last decoded byte, or 0 after `fail`. */
export function uncompress(body: usize, bytes: u32, target: usize, bytesMax: u32): usize {
  const end = body + bytes;
  if (bytes === 0) return fail(BODY_EMPTY, body);
  if (bytes >= 10 && load<u64>(body) === FRAMED_START) return fail(BODY_FRAMED, body);
  let at = body;
  let declared: u64 = 0;
  let shift: u64 = 0;
  while (true) {
    if (at >= end || shift > 28) return fail(LENGTH_MALFORMED, at);
    const byte: u64 = load<u8>(at++);
    declared |= (byte & 127) << shift;
    if (byte < 128) break;
    shift += 7;
  }
  if (declared > <u64>u32.MAX_VALUE) return fail(LENGTH_MALFORMED, at);
  if (declared > <u64>bytesMax) return fail(LENGTH_ABOVE_LIMIT, at);
  return elements(at, end, target, target + <usize>declared);
}

function elements(start: usize, end: usize, target: usize, targetEnd: usize): usize {
  let at = start;
  let out = target;
  while (at < end) {
    const tag: u32 = load<u8>(at++);
    const kind = tag & 3;
    if (kind === 0) {
      let length: u32 = tag >> 2;
      if (length >= 60) {
        const extra: u32 = length - 59;
        if (<u32>(end - at) < extra) return fail(ELEMENT_TRUNCATED, at);
        length = load<u32>(at) & (0xffffffff >> ((4 - extra) << 3));
        at += extra;
        if (length === u32.MAX_VALUE) return fail(ELEMENT_TRUNCATED, at);
      }
      length++;
      if (length > <u32>(end - at)) return fail(ELEMENT_TRUNCATED, at);
      if (length > <u32>(targetEnd - out)) return fail(OUTPUT_OVERRUN, at);
      if (length <= SHORT_LITERAL_BYTES) copyForward(out, at, length);
      else memory.copy(out, at, length);
      at += length;
      out += length;
      continue;
    }
    let length: u32 = (tag >> 2) + 1;
    let offset: u32;
    if (kind === 1) {
      if (at >= end) return fail(ELEMENT_TRUNCATED, at);
      length = ((tag >> 2) & 7) + 4;
      offset = ((tag & 0xe0) << 3) | load<u8>(at++);
    } else if (kind === 2) {
      if (end - at < 2) return fail(ELEMENT_TRUNCATED, at);
      offset = load<u16>(at);
      at += 2;
    } else {
      if (end - at < 4) return fail(ELEMENT_TRUNCATED, at);
      offset = load<u32>(at);
      at += 4;
    }
    if (offset === 0 || offset > <u32>(out - target)) return fail(OFFSET_OUTSIDE, at);
    if (length > <u32>(targetEnd - out)) return fail(OUTPUT_OVERRUN, at);
    if (offset >= 16) copyForward(out, out - offset, length);
    else repeat(out, offset, length);
    out += length;
  }
  return out === targetEnd ? out : fail(OUTPUT_SHORT, at);
}

/**
 * At most SHORT_LITERAL_BYTES (copies have at most 64), source at least 16 bytes away: 16 at a
 * time, past the end.
 */
function copyForward(target: usize, source: usize, bytes: u32): void {
  // Always 32, so that only a long one costs a branch that nobody can predict.
  v128.store(target, v128.load(source));
  v128.store(target, v128.load(source, 16), 16);
  for (let done: u32 = 32; done < bytes; done += 16) {
    v128.store(target + done, v128.load(source + done));
  }
}

/** A copy that overlaps itself: the last `offset` bytes again and again. */
function repeat(target: usize, offset: u32, bytes: u32): void {
  const source = target - offset;
  if (offset >= 8) {
    for (let done: u32 = 0; done < bytes; done += 8) {
      store<u64>(target + done, load<u64>(source + done));
    }
    return;
  }
  for (let done: u32 = 0; done < bytes; done++) store<u8>(target + done, load<u8>(source + done));
}
