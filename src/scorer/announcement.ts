// Reads a serialised SeriesInfo (proto/sample_block.proto) where it lies. A process that begins with nothing meets every
// series of its partitions within seconds, and each one again every few minutes: what a partition wants to know of it are
// a fingerprint, a type and three facts about its labels, and to decode all of them for that took most of the time of a
// catch-up (bench/kafka.bench.ts).
//
//   09 fingerprint(8)   12 len ( 0a len name  12 len value )   …   18 type   22 len unit   2a len tenant
//
// Only what every encoder of ours writes is read so: ASCII, each field as above, nothing empty. Whatever else is legal,
// and what is not, the general decoder judges, so that nothing is understood here that it would not understand alike.

import { fromBinary } from '@bufbuild/protobuf';
import { type MetricType, type SeriesInfo, SeriesInfoSchema } from '../gen/sample_block_pb.js';
import { scoringOf, scoringOfName } from './scoring.js';
import type { SeriesKind } from './wasm-forest.js';

/** What a partition wants to know of a series that is announced. */
export interface Announced {
  low: number;
  high: number;
  type: MetricType;
  /** Undefined when it is known and not scored. */
  scoring: SeriesKind | undefined;
}

/** Values of the labels that were asked for, empty where there is none, and the tenant. */
export interface Picked {
  values: string[];
  tenant: string;
}

const NAME = Buffer.from('__name__');
const LE = Buffer.from('le');
const NOTHING = -1;

/** Throws what the general decoder throws. */
export function readAnnouncement(bytes: Uint8Array): Announced {
  if (walk(bytes)) {
    const { low, high, type, nameFrom, nameTo, hasLe } = found;
    const name = nameFrom === NOTHING ? '' : ascii(bytes, nameFrom, nameTo);
    return { low, high, type, scoring: scoringOfName(name, { hasLe, type }) };
  }
  const { fingerprint, label, type } = fromBinary(SeriesInfoSchema, bytes);
  return {
    low: Number(fingerprint & 0xffffffffn),
    high: Number(fingerprint >> 32n),
    type,
    scoring: scoringOf(label, type),
  };
}

/** The same labels of one series after another. */
export function labelPicker(names: readonly string[]): (bytes: Uint8Array) => Picked {
  const wanted = names.map((name) => Buffer.from(name));
  return (bytes) => {
    const values = names.map(() => '');
    const take = (from: number, to: number, valueTo: number) => {
      const index = wanted.findIndex((name) => isText(bytes, { from, to }, name));
      // Of a label that is there twice the first one counts, as everywhere.
      if (index >= 0 && values[index] === '') {
        values[index] = ascii(bytes, found.valueFrom, valueTo);
      }
    };
    if (walk(bytes, take)) {
      const { tenantFrom, tenantTo } = found;
      const tenant = tenantFrom === NOTHING ? '' : ascii(bytes, tenantFrom, tenantTo);
      return { values, tenant };
    }
    const { label, tenant }: SeriesInfo = fromBinary(SeriesInfoSchema, bytes);
    const textOf = (name: string) => label.find((one) => one.name === name)?.value ?? '';
    return { values: names.map(textOf), tenant };
  };
}

/** Where the last walk found what: one object for all of them, since there may be half a million in a second. */
const found = {
  low: 0,
  high: 0,
  type: 0 as MetricType,
  hasLe: false,
  nameFrom: NOTHING,
  nameTo: NOTHING,
  tenantFrom: NOTHING,
  tenantTo: NOTHING,
  /** Of the label that is being told of. */
  valueFrom: NOTHING,
};

type OnLabel = (nameFrom: number, nameTo: number, valueTo: number) => void;

/** False when it is not what every encoder of ours writes; then nothing of `found` may be believed. */
function walk(bytes: Uint8Array, onLabel?: OnLabel): boolean {
  found.low = 0;
  found.high = 0;
  found.type = 0;
  found.hasLe = false;
  found.nameFrom = NOTHING;
  found.tenantFrom = NOTHING;
  const end = bytes.length;
  for (let at = 0; at < end; ) {
    const tag = bytes[at]!;
    if (tag === 0x09) {
      if (at + 9 > end) return false;
      found.low = u32(bytes, at + 1);
      found.high = u32(bytes, at + 5);
      at += 9;
    } else if (tag === 0x18) {
      const type = bytes[at + 1];
      if (type === undefined || type > 127) return false;
      found.type = type as MetricType;
      at += 2;
    } else if (tag === 0x12) {
      if (!measure(bytes, at + 1, end)) return false;
      at = span.to;
      if (!walkLabel(bytes, span.from, onLabel)) return false;
    } else if (tag === 0x22 || tag === 0x2a) {
      if (!measure(bytes, at + 1, end) || !isAscii(bytes, span.from, span.to)) return false;
      at = span.to;
      if (tag === 0x2a) {
        found.tenantFrom = span.from;
        found.tenantTo = span.to;
      }
    } else return false;
  }
  return true;
}

/** The label that begins here and ends where `span` ends. */
function walkLabel(bytes: Uint8Array, from: number, onLabel: OnLabel | undefined): boolean {
  const end = span.to;
  if (bytes[from] !== 0x0a || !measure(bytes, from + 1, end)) return false;
  const [nameFrom, nameTo] = [span.from, span.to];
  if (nameTo >= end || bytes[nameTo] !== 0x12 || !measure(bytes, nameTo + 1, end)) return false;
  if (span.to !== end) return false;
  if (!isAscii(bytes, nameFrom, nameTo) || !isAscii(bytes, span.from, end)) return false;
  const name = { from: nameFrom, to: nameTo };
  if (onLabel !== undefined) {
    found.valueFrom = span.from;
    onLabel(nameFrom, nameTo, end);
  } else if (found.nameFrom === NOTHING && isText(bytes, name, NAME)) {
    found.nameFrom = span.from;
    found.nameTo = end;
  } else if (isText(bytes, name, LE)) found.hasLe = true;
  return true;
}

const span = { from: 0, to: 0 };

/** Puts into `span` what is behind a length at `at`; false when it is empty, too long or ends behind `end`. */
function measure(bytes: Uint8Array, at: number, end: number): boolean {
  if (at + 1 > end) return false;
  let size = bytes[at]!;
  let from = at + 1;
  if (size > 127) {
    if (from >= end) return false;
    const more = bytes[from]!;
    // Three bytes are 16,384 and more: no text of a label is as long.
    if (more > 127) return false;
    size = (size & 127) | (more << 7);
    from++;
  }
  span.from = from;
  span.to = from + size;
  return size > 0 && span.to <= end;
}

function isAscii(bytes: Uint8Array, from: number, to: number): boolean {
  let all = 0;
  for (let at = from; at < to; at++) all |= bytes[at]!;
  return all < 128;
}

function isText(bytes: Uint8Array, place: { from: number; to: number }, text: Uint8Array): boolean {
  const { from, to } = place;
  if (to - from !== text.length) return false;
  for (let i = 0; i < text.length; i++) if (bytes[from + i] !== text[i]) return false;
  return true;
}

function ascii(bytes: Uint8Array, from: number, to: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('latin1');
}

function u32(bytes: Uint8Array, at: number): number {
  const [a, b, c, d] = [bytes[at]!, bytes[at + 1]!, bytes[at + 2]!, bytes[at + 3]!];
  return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
}
