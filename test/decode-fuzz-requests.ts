// Requests of both versions of remote-write made at random, mostly right, and then damaged: bytes of
// the message, of the snappy block, or cut off. One seed, one body.

import { compressSync } from 'snappy';
import type { Version } from '../src/receiver/bad-request.js';
import { NOW_MS } from './decode-builds.js';
import {
  bytesOf,
  delimited,
  fixed64,
  label,
  literalBlock,
  series,
  tag,
  varint,
} from './wire-bytes.js';

export type Random = () => number;

export function damagedBody(random: Random, version: Version): Uint8Array {
  // Now and then the other version's message.
  const isOther = random() < 0.02;
  const isV2 = (version === 2) !== isOther;
  const decoded = Uint8Array.from(isV2 ? randomRequestV2(random) : randomRequest(random));
  const kind = random();
  if (kind < 0.55) damage(decoded, random);
  const whole = random() < 0.5 ? literalBlock(decoded) : compressSync(Buffer.from(decoded));
  const body = Uint8Array.from(whole);
  if (kind > 0.75) damage(body, random);
  if (kind > 0.95) return body.slice(0, Math.floor(random() * body.length));
  return body;
}

function damage(bytes: Uint8Array, random: Random): void {
  for (let times = 1 + Math.floor(random() * 3); times > 0 && bytes.length > 0; times--) {
    const at = Math.floor(random() * bytes.length);
    const kind = random();
    if (kind < 0.4) bytes[at] = Math.floor(random() * 256);
    else if (kind < 0.7) bytes[at]! ^= 1 << Math.floor(random() * 8);
    else if (kind < 0.8) bytes.fill(255, at, at + Math.floor(random() * 12));
    else
      bytes.copyWithin(
        at,
        Math.floor(random() * bytes.length),
        Math.floor(random() * bytes.length),
      );
  }
}

function randomRequest(random: Random): number[] {
  const parts: number[] = [];
  for (let n = Math.floor(random() * 6); n > 0; n--) {
    const kind = random();
    if (kind < 0.85) parts.push(...randomSeries(random));
    else if (kind < 0.92) parts.push(...randomMetadata(random));
    else parts.push(...unknownField(random, 0));
  }
  return parts;
}

const NAMES = [
  'namespace',
  'pod',
  'instance',
  'replica',
  'ü',
  'le',
  'job',
  'a.very.long.label.name',
];
const VALUES = [
  '',
  '1',
  'default',
  'checkout-7d9f8b6c5d-x2x9z',
  'größe',
  '10.0.0.1:9100',
  'x'.repeat(120),
];
const METRICS = [
  ...['up', 'up_total', 'up_count', 'up_bucket', 'up_sum', 'up_created', 'up_gsum', 'upper_info'],
  ...['requests', 'scrape_x', 'anomaly', ''],
];
const FAMILIES = ['up', 'upper', 'up_total', 'requests', '', 'n'.repeat(1025)];
const UNITS = ['', '', 'seconds', 'bytes', 'ratio', 'x'.repeat(60), 'x'.repeat(61)];
/** Malformed: overlong, surrogate, above U+10FFFF, cut off, a lone continuation. */
const BROKEN_TEXT = [
  [0xc0, 0x80],
  [0xed, 0xa0, 0x80],
  [0xf4, 0x90, 0x80, 0x80],
  [0xe2, 0x82],
  [0x80],
];

function randomSeries(random: Random): number[] {
  const parts: number[][] = [];
  if (random() < 0.95) parts.push(label('__name__', pick(METRICS, random)));
  for (const name of NAMES) if (random() < 0.5) parts.push(label(name, pick(VALUES, random)));
  if (random() < 0.06) parts.push(label(pick(NAMES, random), pick(VALUES, random)));
  if (random() < 0.05) parts.push(label(pick(BROKEN_TEXT, random), 'x'));
  if (random() < 0.05)
    parts.push(label('text', [...bytesOf('0123456789abcdef'), ...pick(BROKEN_TEXT, random)]));
  if (random() < 0.03) for (let i = 0; i < 60; i++) parts.push(label(`l${i}`, 'v'));
  if (random() < 0.03) parts.push(label('n'.repeat(1020 + Math.floor(random() * 10)), 'v'));
  if (random() < 0.03) parts.push(label('v', 'v'.repeat(8188 + Math.floor(random() * 10))));
  for (let n = Math.floor(random() * 4); n > 0; n--) parts.push(randomSample(random));
  if (random() < 0.1) parts.push(delimited(3, [...label('trace', 'abc'), ...fixed64(2, 1n)]));
  if (random() < 0.1) parts.push(delimited(4, randomHistogram(random)));
  if (random() < 0.1) parts.push(unknownField(random, 0));
  if (random() < 0.3) parts.sort(() => random() - 0.5);
  return series(...parts);
}

const BITS = [
  0n,
  0x3ff0000000000000n,
  0x7ff0000000000002n,
  0x7ff8000000000001n,
  0x8000000000000000n,
];
const FAR = [0n, -1n, -(1n << 63n), (1n << 63n) - 1n, BigInt(NOW_MS + 7_000_000)];

function randomSample(random: Random): number[] {
  const timestamp =
    random() < 0.1 ? pick(FAR, random) : BigInt(NOW_MS - Math.floor(random() * 1e6));
  const parts = [fixed64(1, pick(BITS, random)), [...tag(2, 0), ...varint(timestamp)]];
  if (random() < 0.05) parts.push(unknownField(random, 0));
  if (random() < 0.05) parts.reverse();
  if (random() < 0.05) parts.push(fixed64(1, pick(BITS, random)));
  if (random() < 0.05) parts.pop();
  return delimited(2, parts.flat());
}

function randomMetadata(random: Random): number[] {
  const parts = [
    [...tag(1, 0), ...varint(Math.floor(random() * 10))],
    delimited(2, random() < 0.05 ? pick(BROKEN_TEXT, random) : bytesOf(pick(FAMILIES, random))),
    delimited(4, bytesOf('help')),
    delimited(5, random() < 0.05 ? pick(BROKEN_TEXT, random) : bytesOf(pick(UNITS, random))),
  ];
  return delimited(3, parts.filter(() => random() < 0.9).flat());
}

function zigzag(value: bigint | number): bigint {
  const wide = BigInt(value);
  return wide < 0n ? -wide * 2n - 1n : wide * 2n;
}

/** Mostly valid; the content of a Histogram message. */
function randomHistogram(random: Random): number[] {
  const isFloat = random() < 0.4;
  const isCustom = random() < 0.25;
  const schema = isCustom ? -53 : pick([0, 3, 8, -4, 3, 0, 9, 52, 53, -5, -9, 99], random);
  const parts: number[][] = [[...tag(4, 0), ...varint(zigzag(schema))]];
  let count = 0;
  const side = (spans: number, deltas: number, counts: number): void => {
    let buckets = 0;
    for (let n = Math.floor(random() * 3); n > 0; n--) {
      const length = Math.floor(random() * 4);
      const offset =
        random() < 0.05 ? pick([-1, 2 ** 30, -(2 ** 31)], random) : Math.floor(random() * 3);
      const odd = random() < 0.03 ? pick([2 ** 32 - 1, 2 ** 31, 7], random) : length;
      parts.push(
        delimited(spans, [...tag(1, 0), ...varint(zigzag(offset)), ...tag(2, 0), ...varint(odd)]),
      );
      buckets += length;
    }
    if (random() < 0.03) buckets++;
    const values = Array.from({ length: buckets }, () => Math.floor(random() * 9));
    if (random() < 0.03 && buckets > 0) values[0] = -1;
    count += values.reduce((sum, value) => sum + value, 0);
    const differences = values.map((value, i) => varint(zigzag(value - (values[i - 1] ?? 0))));
    if (random() < 0.03) differences.push(varint(zigzag(2n ** 63n - 1n)));
    const doubles = values.map((value) => fixed64(0, bitsOf(value)).slice(1));
    const [field, elements, wireType] = isFloat ? [counts, doubles, 1] : [deltas, differences, 0];
    if (random() < 0.2) parts.push(...elements.map((one) => [...tag(field, wireType), ...one]));
    else parts.push(delimited(field, elements.flat()));
  };
  side(11, 12, 13);
  if (!isCustom || random() < 0.1) side(8, 9, 10);
  const zero = isCustom && random() < 0.9 ? 0 : Math.floor(random() * 3);
  count += zero + (random() < 0.05 ? 1 : 0);
  const sum = random() < 0.1 ? Number.NaN : 1.5;
  parts.push(
    isFloat ? fixed64(2, bitsOf(count)) : [...tag(1, 0), ...varint(count)],
    isFloat ? fixed64(7, bitsOf(zero)) : [...tag(6, 0), ...varint(zero)],
    fixed64(3, bitsOf(sum)),
    [...tag(15, 0), ...varint(random() < 0.1 ? pick(FAR, random) : BigInt(NOW_MS))],
  );
  if (isCustom || random() < 0.05) {
    const bounds = random() < 0.8 ? [0.1, 1, 2.5, 5, 10, 20, 40] : pick(BOUNDS, random);
    parts.push(
      delimited(
        16,
        bounds.flatMap((bound) => fixed64(0, bitsOf(bound)).slice(1)),
      ),
    );
  }
  if (random() < 0.2) parts.push([...tag(17, 0), ...varint(NOW_MS - 1000)]);
  if (random() < 0.1) parts.push([...tag(14, 0), 1]);
  if (random() < 0.03) parts.push([...tag(3, 0), 1]);
  if (random() < 0.03) parts.push(delimited(16, new Uint8Array(7)));
  if (random() < 0.03) parts.push(delimited(99, new Uint8Array(70_000)));
  if (random() < 0.05) parts.push(unknownField(random, 0));
  if (random() < 0.05) parts.pop();
  return parts.flat();
}

const BOUNDS = [[], [1], [2, 1], [1, 1], [1, Number.NaN, 2], [1, Number.POSITIVE_INFINITY]];

function bitsOf(value: number): bigint {
  return new BigUint64Array(new Float64Array([value]).buffer)[0]!;
}

function randomRequestV2(random: Random): number[] {
  const symbols: number[][] = random() < 0.95 ? [[]] : [];
  for (const text of ['__name__', ...NAMES, ...VALUES, ...METRICS, ...UNITS, 'help']) {
    if (random() < 0.9) symbols.push(bytesOf(text));
  }
  if (random() < 0.2) symbols.push(pick(BROKEN_TEXT, random));
  if (random() < 0.1) symbols.push(bytesOf('n'.repeat(1020 + Math.floor(random() * 10))));
  if (random() < 0.1) symbols.push(bytesOf('v'.repeat(8188 + Math.floor(random() * 10))));
  if (random() < 0.1) symbols.push(...Array.from({ length: 200 }, (_, i) => bytesOf(`s${i}`)));
  if (random() < 0.1) symbols.push(bytesOf('__name__'), bytesOf('up'), bytesOf('le'));
  const fields = symbols.map((symbol) => delimited(4, symbol));
  const all: number[][] = [];
  for (let n = Math.floor(random() * 6); n > 0; n--) {
    all.push(random() < 0.95 ? randomSeriesV2(random, symbols) : unknownField(random, 0));
  }
  const order = random();
  if (order < 0.8) return [...fields, ...all].flat();
  if (order < 0.9) return [...all, ...fields].flat();
  return [...fields.slice(0, 10), ...all, ...fields.slice(10)].flat();
}

function randomSeriesV2(random: Random, symbols: readonly number[][]): number[] {
  const texts = symbols.map((symbol) => new TextDecoder().decode(Uint8Array.from(symbol)));
  const refOf = (text: string): number => texts.lastIndexOf(text);
  const anyRef = (): bigint =>
    random() < 0.03
      ? pick([BigInt(symbols.length), 2n ** 32n + 1n, 2n ** 64n - 1n, 999n], random)
      : BigInt(Math.floor(random() * symbols.length));
  const refs: bigint[] = [];
  const add = (name: string, value: bigint): void => {
    if (refOf(name) >= 0) refs.push(BigInt(refOf(name)), value);
  };
  if (random() < 0.95) add('__name__', BigInt(Math.max(0, refOf(pick(METRICS, random)))));
  for (const name of NAMES) if (random() < 0.5) add(name, anyRef());
  if (random() < 0.05) refs.push(anyRef(), anyRef());
  if (random() < 0.03) refs.push(anyRef());
  if (random() < 0.03) for (let i = 0; i < 64; i++) add(`s${i}`, 1n);
  const parts: number[][] = referenceFields(refs, random);
  for (let n = Math.floor(random() * 4); n > 0; n--) {
    const sample = randomSample(random);
    const start = [...tag(3, 0), ...varint(random() < 0.5 ? NOW_MS - 5 : 0)];
    // The content of the sample, behind its tag and a length of one byte.
    parts.push(random() < 0.3 ? delimited(2, [...sample.slice(2), ...start]) : sample);
  }
  if (random() < 0.15) parts.push(delimited(3, randomHistogram(random)));
  if (random() < 0.2) {
    const labels = random() < 0.3 ? [] : [anyRef(), anyRef()];
    if (random() < 0.1) labels.pop();
    parts.push(delimited(4, [...referenceFields(labels, random).flat(), ...fixed64(2, 1n)]));
  }
  while (random() < 0.4) {
    const pieces = [
      [...tag(1, 0), ...varint(Math.floor(random() * 10))],
      [
        ...tag(3, 0),
        ...varint(Math.max(0, random() < 0.9 ? refOf('help') : Number(anyRef() % 1000n))),
      ],
      [
        ...tag(4, 0),
        ...varint(random() < 0.9 ? Math.max(0, refOf(pick(UNITS, random))) : anyRef()),
      ],
    ];
    parts.push(delimited(5, pieces.filter(() => random() < 0.7).flat()));
  }
  if (random() < 0.1) parts.push([...tag(6, 0), ...varint(NOW_MS - 60_000)]);
  if (random() < 0.1) parts.push(unknownField(random, 0));
  if (random() < 0.3) parts.sort(() => random() - 0.5);
  return delimited(5, parts.flat());
}

/** Packed, alone, or in pieces. */
function referenceFields(refs: readonly bigint[], random: Random): number[][] {
  const kind = random();
  const encoded = refs.map((ref) =>
    varint(ref, random() < 0.02 ? 1 + Math.floor(random() * 11) : 1),
  );
  if (kind < 0.7) return [delimited(1, encoded.flat())];
  if (kind < 0.85) return encoded.map((ref) => [...tag(1, 0), ...ref]);
  const cut = Math.floor(random() * refs.length);
  return [delimited(1, encoded.slice(0, cut).flat()), delimited(1, encoded.slice(cut).flat())];
}

function unknownField(random: Random, depth: number): number[] {
  const number = pick([7, 18, 100, 20_000], random);
  switch (Math.floor(random() * 5)) {
    case 0:
      return [
        ...tag(number, 0),
        ...varint(Math.floor(random() * 1e9), 1 + Math.floor(random() * 11)),
      ];
    case 1:
      return fixed64(number, 1n);
    case 2:
      return delimited(number, bytesOf('unknown'));
    case 3:
      return [...tag(number, 5), 1, 2, 3, 4];
    default: {
      const content = depth < 3 ? unknownField(random, depth + 1) : [];
      return [...tag(number, 3), ...content, ...tag(random() < 0.95 ? number : 6, 4)];
    }
  }
}

export function pick<T>(choices: readonly T[], random: Random): T {
  return choices[Math.floor(random() * choices.length)]!;
}
