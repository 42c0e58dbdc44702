// Why a whole request is refused. A function that meets the reason calls `fail` and returns its 0,
// which is never a valid position because every region starts above the static memory; callers pass
// the 0 on. The codes are part of the interface with the host, which turns them into sentences.

export const BODY_EMPTY: u32 = 1;
export const BODY_FRAMED: u32 = 2;
export const LENGTH_MALFORMED: u32 = 3;
export const LENGTH_ABOVE_LIMIT: u32 = 4;
export const ELEMENT_TRUNCATED: u32 = 5;
export const OUTPUT_OVERRUN: u32 = 6;
export const OFFSET_OUTSIDE: u32 = 7;
export const OUTPUT_SHORT: u32 = 8;
export const FIELD_OVERRUN: u32 = 9;
export const VARINT_TOO_LONG: u32 = 10;
export const TAG_INVALID: u32 = 11;
export const GROUP_TOO_DEEP: u32 = 12;
export const GROUP_UNMATCHED: u32 = 13;
export const SERIES_ABOVE_LIMIT: u32 = 14;
export const SAMPLES_ABOVE_LIMIT: u32 = 15;
export const EXEMPLARS_ABOVE_LIMIT: u32 = 16;
export const METADATA_ABOVE_LIMIT: u32 = 17;
export const SYMBOLS_ABOVE_LIMIT: u32 = 18;
export const REFERENCES_ABOVE_LIMIT: u32 = 19;
export const LABEL_BYTES_ABOVE_LIMIT: u32 = 20;
export const LOOKS_LIKE_VERSION_2: u32 = 21;
export const LOOKS_LIKE_VERSION_1: u32 = 22;

export let failureCode: u32 = 0;
/**
 * Where in linear memory it was found: in the body for snappy, in the decoded bytes for protobuf.
 */
export let failurePosition: usize = 0;

export function fail(code: u32, position: usize): usize {
  failureCode = code;
  failurePosition = position;
  return 0;
}
