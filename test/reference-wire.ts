// Snappy and the protobuf wire format in plain TypeScript, written to be read: the part of the
// reference decoder that decides whether bytes are well-formed. Every message becomes a list of
// fields, every field is checked against the end of the message that it is in. What the fields mean
// is in reference-messages.ts.

import { DECODED_BYTES_MAX } from '../src/limits.js';
import type { BadRequest } from '../src/receiver/bad-request.js';

export type Verdict = BadRequest['reason'];

export class Refused extends Error {
  readonly verdict: Verdict;
  /** True when a decoder that does not check nested lengths may well accept it. */
  isStrict: boolean;

  constructor(verdict: Verdict, message: string, isStrict = false) {
    super(message);
    this.verdict = verdict;
    this.isStrict = isStrict;
  }
}

/**
 * One field of a message; for a length-delimited one `start` and `end` are those of its content.
 */
export interface Field {
  number: number;
  wireType: number;
  value: bigint;
  start: number;
  end: number;
}

export const LENGTH_DELIMITED = 2;
const DEPTH_MAX = 100;

/** One snappy block, byte by byte. */
export function uncompressReference(body: Uint8Array): Uint8Array {
  const bad = (why: string): Refused => new Refused('bad_snappy', why);
  let at = 0;
  const next = (): number => {
    if (at >= body.length) throw bad('cut off');
    return body[at++]!;
  };
  const little = (bytes: number): number => {
    let value = 0;
    for (let i = 0; i < bytes; i++) value += next() * 2 ** (8 * i);
    return value;
  };
  let declared = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = next();
    declared += (byte & 127) * 2 ** shift;
    if (declared >= 2 ** 32 || shift > 28) throw bad('declared length');
    if (byte < 128) break;
  }
  if (declared > DECODED_BYTES_MAX) throw new Refused('too_large', 'declared length');
  const out = new Uint8Array(declared);
  let written = 0;
  while (at < body.length) {
    const tag = next();
    let length = (tag >> 2) + 1;
    if ((tag & 3) === 0) {
      if (length > 60) length = little(length - 60) + 1;
      if (length > body.length - at) throw bad('literal cut off');
      if (length > declared - written) throw bad('literal too long');
      out.set(body.subarray(at, at + length), written);
      at += length;
      written += length;
      continue;
    }
    let offset: number;
    if ((tag & 3) === 1) {
      length = ((tag >> 2) & 7) + 4;
      offset = (tag >> 5) * 256 + next();
    } else {
      offset = little((tag & 3) === 2 ? 2 : 4);
    }
    if (offset === 0 || offset > written) throw bad('offset');
    if (length > declared - written) throw bad('copy too long');
    for (; length > 0; length--, written++) out[written] = out[written - offset]!;
  }
  if (written !== declared) throw bad('too short');
  return out;
}

/** Reads the fields of a message, one after another; a group is skipped and has no value. */
export function* readFields(
  bytes: Uint8Array,
  message: {
    start: number;
    end: number;
    depth: number;
    /**
     * Called for the fields of this message, not for those inside a group, before their content is
     * read.
     */
    onTag: (number: number, wireType: number) => void;
  },
): Generator<Field> {
  let at = message.start;
  const { end } = message;
  const bad = (why: string, isStrict = false): Refused =>
    new Refused('bad_protobuf', `${why} at ${at}`, isStrict);
  // Past the end of the message but not of the request: a decoder that only checks the latter reads
  // on.
  const overrun = (to: number): Refused => bad('field past its message', to <= bytes.length);
  const varint = (isStrict: boolean): bigint => {
    let value = 0n;
    for (let i = 0n; ; i++) {
      if (i === 10n) throw bad('varint too long', isStrict);
      if (at >= end) throw overrun(at + 1);
      const byte = bytes[at++]!;
      value |= BigInt(byte & 127) << (7n * i);
      if (byte < 128) return BigInt.asUintN(64, value);
    }
  };
  const readTag = (): { number: number; wireType: number } => {
    const start = at;
    const tag = varint(false);
    if (at - start > 5 || tag >= 1n << 32n) throw bad('tag overflows');
    const read = { number: Number(tag >> 3n), wireType: Number(tag & 7n) };
    if (read.number === 0 || read.wireType > 5) throw bad('tag invalid');
    return read;
  };
  const readField = (depth: number): Field => {
    const { number, wireType } = readTag();
    if (depth === message.depth) message.onTag(number, wireType);
    const field: Field = { number, wireType, value: 0n, start: at, end: at };
    if (wireType === 0) {
      field.value = varint(true);
    } else if (wireType === 1 || wireType === 5) {
      const length = wireType === 1 ? 8 : 4;
      if (length > end - at) throw overrun(at + length);
      for (let i = 0; i < length; i++) field.value |= BigInt(bytes[at + i]!) << BigInt(8 * i);
      at += length;
    } else if (wireType === LENGTH_DELIMITED) {
      const length = varint(false);
      // A decoder that keeps 32 bits of a length may see a short one here.
      if (length >= 1n << 32n) throw bad('length overflows', true);
      if (length > BigInt(end - at)) throw overrun(at + Number(length));
      field.start = at;
      at += Number(length);
    } else if (wireType === 3) {
      if (depth + 1 > DEPTH_MAX) throw bad('groups nested too deep');
      for (let inner = readField(depth + 1); ; inner = readField(depth + 1)) {
        if (inner.wireType !== 4) continue;
        if (inner.number !== number) throw bad('group ends that was not begun');
        break;
      }
    }
    field.end = at;
    return field;
  };
  while (at < end) {
    const field = readField(message.depth);
    if (field.wireType === 4) throw bad('group ends that was not begun');
    yield field;
  }
}

/** The values of a field of varints, packed or not. */
export function varintsOf(bytes: Uint8Array, field: Field): bigint[] {
  if (field.wireType !== LENGTH_DELIMITED) return [field.value];
  const values: bigint[] = [];
  let at = field.start;
  while (at < field.end) {
    const start = at;
    let value = 0n;
    for (; at < field.end && bytes[at]! >= 128; at++) {
      value |= BigInt(bytes[at]! & 127) << BigInt(7 * (at - start));
    }
    if (at - start >= 10) throw new Refused('bad_protobuf', 'packed varint too long', true);
    if (at === field.end) throw new Refused('bad_protobuf', 'packed varints', true);
    value |= BigInt(bytes[at]!) << BigInt(7 * (at - start));
    values.push(BigInt.asUintN(64, value));
    at++;
  }
  return values;
}

/** The bits of a field of doubles, packed or not. */
export function doublesOf(bytes: Uint8Array, field: Field): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (field.wireType !== LENGTH_DELIMITED) return [doubleOf(field.value)];
  if ((field.end - field.start) % 8 !== 0) throw new Refused('bad_protobuf', 'doubles', true);
  const values: number[] = [];
  for (let at = field.start; at < field.end; at += 8) values.push(view.getFloat64(at, true));
  return values;
}

export function doubleOf(bits: bigint): number {
  return new Float64Array(new BigUint64Array([bits]).buffer)[0]!;
}
