// Snappy and the remote-write 1.0 message in plain TypeScript, written to be read: the part of the
// reference decoder that decides whether a request is well-formed. Every message becomes a list of
// fields, every field is checked against the end of the message that it is in.

import { DECODED_BYTES_MAX, REQUEST_SAMPLES_MAX, REQUEST_SERIES_MAX } from '../src/limits.js';

export type Verdict = 'bad_snappy' | 'bad_protobuf' | 'too_large';

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

export interface ByteLabel {
  name: Uint8Array;
  value: Uint8Array;
}

export interface SeriesMessage {
  labels: ByteLabel[];
  samples: { timestamp: bigint; bits: bigint }[];
  exemplars: number;
  histograms: number;
}

export interface RequestMessage {
  series: SeriesMessage[];
  metadata: number;
  /** True when a known field came with another wire type: then fromBinary reads something else. */
  hasOddWireType: boolean;
}

/**
 * One field of a message; for a length-delimited one `start` and `end` are those of its content.
 */
interface Field {
  number: number;
  wireType: number;
  value: bigint;
  start: number;
  end: number;
}

const LENGTH_DELIMITED = 2;
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

/**
 * Field number and wire type of everything fromBinary knows, to see where it would read something
 * else.
 */
const KNOWN: Record<string, Record<number, readonly number[]>> = {
  request: { 1: [2], 3: [2] },
  series: { 1: [2], 2: [2], 3: [2], 4: [2] },
  label: { 1: [2], 2: [2] },
  sample: { 1: [1], 2: [0] },
  exemplar: { 1: [2], 2: [1], 3: [0] },
  span: { 1: [0], 2: [0] },
  metadata: { 1: [0], 2: [2], 4: [2], 5: [2] },
  histogram: {
    ...{ 1: [0], 2: [1], 3: [1], 4: [0], 5: [1], 6: [0], 7: [1], 8: [2], 9: [0, 2], 10: [1, 2] },
    ...{ 11: [2], 12: [0, 2], 13: [1, 2], 14: [0], 15: [0], 16: [1, 2] },
  },
};

export function parseRequest(bytes: Uint8Array): RequestMessage {
  const request: RequestMessage = { series: [], metadata: 0, hasOddWireType: false };
  try {
    parseInto(request, bytes);
  } catch (error) {
    // A decoder that ignores wire types was somewhere else by now, so nothing can be said of what
    // it meets.
    if (error instanceof Refused && request.hasOddWireType) error.isStrict = true;
    throw error;
  }
  return request;
}

function parseInto(request: RequestMessage, bytes: Uint8Array): void {
  let samples = 0;
  function* fields(kind: string, field: Field, depth: number): Generator<Field> {
    const known = KNOWN[kind]!;
    const onTag = (number: number, wireType: number): void => {
      if (known[number] && !known[number].includes(wireType)) request.hasOddWireType = true;
    };
    const { start, end } = field;
    for (const read of readFields(bytes, { start, end, depth, onTag })) {
      if (known[read.number]?.includes(read.wireType)) yield read;
    }
  }
  const walk = (kind: string, field: Field, depth: number): void => {
    for (const _ of fields(kind, field, depth));
  };
  const text = (field: Field): Uint8Array => bytes.slice(field.start, field.end);
  const label = (message: Field, depth: number): ByteLabel => {
    const parsed: ByteLabel = { name: new Uint8Array(), value: new Uint8Array() };
    for (const field of fields('label', message, depth)) {
      if (field.number === 1) parsed.name = text(field);
      else parsed.value = text(field);
    }
    return parsed;
  };
  const histogram = (message: Field): void => {
    for (const field of fields('histogram', message, 3)) {
      if (field.wireType !== LENGTH_DELIMITED) continue;
      if (field.number === 8 || field.number === 11) walk('span', field, 4);
      else if (field.number === 9 || field.number === 12) readPackedVarints(bytes, field);
      else if ((field.end - field.start) % 8 !== 0) {
        throw new Refused('bad_protobuf', 'packed doubles', true);
      }
    }
  };
  const takeSample = (): void => {
    if (++samples > REQUEST_SAMPLES_MAX) throw new Refused('too_large', 'samples');
  };
  const series = (message: Field): SeriesMessage => {
    const parsed: SeriesMessage = { labels: [], samples: [], exemplars: 0, histograms: 0 };
    for (const field of fields('series', message, 2)) {
      if (field.number === 1) parsed.labels.push(label(field, 3));
      if (field.number === 2) {
        takeSample();
        const sample = { timestamp: 0n, bits: 0n };
        for (const part of fields('sample', field, 3)) {
          if (part.number === 1) sample.bits = part.value;
          else sample.timestamp = BigInt.asIntN(64, part.value);
        }
        parsed.samples.push(sample);
      }
      if (field.number === 3) {
        parsed.exemplars++;
        for (const part of fields('exemplar', field, 3)) if (part.number === 1) label(part, 4);
      }
      if (field.number === 4) {
        takeSample();
        parsed.histograms++;
        histogram(field);
      }
    }
    return parsed;
  };
  const whole: Field = { number: 0, wireType: 2, value: 0n, start: 0, end: bytes.length };
  for (const field of fields('request', whole, 1)) {
    if (field.number === 1) {
      if (request.series.length === REQUEST_SERIES_MAX) throw new Refused('too_large', 'series');
      request.series.push(series(field));
    } else {
      request.metadata++;
      walk('metadata', field, 2);
    }
  }
}

/** Reads the fields of a message, one after another; a group is skipped and has no value. */
function* readFields(
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

function readPackedVarints(bytes: Uint8Array, field: Field): void {
  let at = field.start;
  while (at < field.end) {
    const start = at;
    while (at < field.end && bytes[at]! >= 128) at++;
    at++;
    if (at > field.end) throw new Refused('bad_protobuf', 'packed varints', true);
    if (at - start > 10) throw new Refused('bad_protobuf', 'packed varint too long', true);
  }
}
