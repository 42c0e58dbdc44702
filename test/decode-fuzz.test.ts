// Requests made at random and then damaged, decoded four times: by both builds of decode.wasm, by
// the reference decoder and by snappy + fromBinary. No trap, equal verdicts, equal columns.
// TREELINE_FUZZ sets how many; the seed of the one that fails is in the message, and
// TREELINE_FUZZ_SEED runs that one alone.

import { readFileSync } from 'node:fs';
import { clone, createFileRegistry, type DescMessage, fromBinary } from '@bufbuild/protobuf';
import { FieldDescriptorProto_Type, FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { compressSync, uncompressSync } from 'snappy';
import { expect, test } from 'vitest';
import { randomFrom } from '../bench/write-requests.js';
import { file_remote_write_v1 } from '../src/gen/remote_write_v1_pb.js';
import { SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import {
  BadRequest,
  type Decoded,
  type DecoderSettings,
  DISPOSITIONS,
  WasmDecoder,
} from '../src/receiver/wasm-decoder.js';
import { type Reference, ReferenceDecoder } from './reference-decoder.js';
import {
  parseRequest,
  Refused,
  type RequestMessage,
  uncompressReference,
  type Verdict,
} from './reference-wire.js';
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

const CASES = Number(process.env['TREELINE_FUZZ'] ?? 20_000);
const ONLY_SEED = process.env['TREELINE_FUZZ_SEED'];
const NOW_MS = 1_763_680_000_000;
const TENANTS = ['', 'blue', 'grün'];

const SETTINGS: DecoderSettings = {
  partitions: 5,
  partitionBy: [['namespace', 'pod'], ['instance']],
  stripLabels: ['replica', 'ü'],
  classify: (labels) => {
    const metric = labels.find(({ name }) => name === '__name__')!.value;
    return DISPOSITIONS[metric.startsWith('up') ? 0 : metric.length % DISPOSITIONS.length]!;
  },
};

type Random = () => number;
type Outcome<T> = { verdict: 'ok'; value: T } | { verdict: Verdict };

test('both builds, the reference and fromBinary agree on damaged requests', () => {
  const builds = ['dist/decode.wasm', 'dist/decode.debug.wasm'].map(
    (file) => new WasmDecoder(new WebAssembly.Module(readFileSync(file)), SETTINGS),
  );
  const reference = new ReferenceDecoder(SETTINGS);
  const verdicts = { ok: 0, bad_snappy: 0, bad_protobuf: 0, too_large: 0 };
  const seeds = ONLY_SEED ? [Number(ONLY_SEED)] : Array.from({ length: CASES }, (_, i) => i + 1);
  let compared = 0;
  for (const seed of seeds) {
    const at = `seed ${seed}`;
    const random = randomFrom(seed);
    const body = damagedBody(random);
    const options = {
      tenant: pick(TENANTS, random),
      nowMs: NOW_MS + Math.floor(random() * 3_600_000),
    };
    if (random() < 0.01)
      for (const decoder of [...builds, reference]) decoder.forgetAnnouncements();

    const parsed = parse(body);
    verdicts[parsed.verdict]++;
    if (compareWithFromBinary(body, parsed, at)) compared++;
    const wanted = parsed.verdict === 'ok' ? reference.decode(parsed.value, options) : undefined;
    for (const decoder of builds) {
      const got = decode(decoder, body, options);
      expect(got.verdict, at).toBe(parsed.verdict);
      if (got.verdict === 'ok') expectEqual(got.value, wanted!, options.tenant, at);
    }
  }
  // A generator that only makes rubbish, or only good requests, would test nothing.
  if (seeds.length < 1000) return;
  expect(verdicts.ok).toBeGreaterThan(seeds.length / 5);
  expect(verdicts.bad_protobuf).toBeGreaterThan(seeds.length / 20);
  expect(verdicts.bad_snappy).toBeGreaterThan(seeds.length / 20);
  expect(compared).toBeGreaterThan(seeds.length / 3);
}, 900_000);

function decode(
  decoder: WasmDecoder,
  body: Uint8Array,
  options: { tenant: string; nowMs: number },
): Outcome<Decoded> {
  decoder.input(body.length).set(body);
  try {
    return { verdict: 'ok', value: decoder.decode(body.length, options) };
  } catch (error) {
    if (!(error instanceof BadRequest)) throw error;
    return { verdict: error.reason as Verdict };
  }
}

function parse(body: Uint8Array): Outcome<RequestMessage> & { isStrict?: boolean } {
  try {
    return { verdict: 'ok', value: parseRequest(uncompressReference(body)) };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return { verdict: error.verdict, isStrict: error.isStrict };
  }
}

/**
 * The generated schema with bytes for strings: then fromBinary does not judge UTF-8, as a receiver
 * may not either.
 */
const bytesSchema = ((): DescMessage => {
  const file = clone(FileDescriptorProtoSchema, file_remote_write_v1.proto);
  for (const { field } of file.messageType) {
    for (const each of field) {
      if (each.type === FieldDescriptorProto_Type.STRING)
        each.type = FieldDescriptorProto_Type.BYTES;
    }
  }
  return createFileRegistry(file, () => undefined).getMessage('prometheus.WriteRequest')!;
})();

interface PlainRequest {
  timeseries: {
    labels: { name: Uint8Array; value: Uint8Array }[];
    samples: { value: number; timestamp: bigint }[];
    exemplars: unknown[];
    histograms: unknown[];
  }[];
  metadata: unknown[];
}

/**
 * False when the two have nothing to agree on: fromBinary ignores the wire type of a known field,
 * lets a nested field run past its message and skips varints of any length; the reference is
 * stricter there.
 */
function compareWithFromBinary(
  body: Uint8Array,
  parsed: ReturnType<typeof parse>,
  at: string,
): boolean {
  let bytes: Uint8Array;
  try {
    bytes = uncompressSync(Buffer.from(body)) as Buffer;
  } catch {
    // The package throws its own error for whatever is not a snappy block.
    expect(['bad_snappy', 'too_large'], at).toContain(parsed.verdict);
    return true;
  }
  expect(parsed.verdict, at).not.toBe('bad_snappy');
  if (parsed.isStrict || parsed.verdict === 'too_large') return false;
  let plain: PlainRequest;
  try {
    plain = fromBinary(bytesSchema, bytes) as unknown as PlainRequest;
  } catch {
    // fromBinary throws plain errors for whatever is malformed.
    if (parsed.verdict === 'ok') expect(parsed.value.hasOddWireType, at).toBe(true);
    return true;
  }
  if (parsed.verdict !== 'ok') expect.fail(`fromBinary accepts what the reference refuses, ${at}`);
  if (parsed.value.hasOddWireType) return false;
  expect(parsed.value.metadata, at).toBe(plain.metadata.length);
  const seen = parsed.value.series.map((each) => ({
    labels: each.labels.map(({ name, value }) => [latin(name), latin(value)]),
    samples: each.samples.map(({ timestamp, bits }) => [timestamp, doubleOf(bits)]),
    others: [each.exemplars, each.histograms],
  }));
  const wanted = plain.timeseries.map((each) => ({
    labels: each.labels.map(({ name, value }) => [latin(name), latin(value)]),
    samples: each.samples.map(({ timestamp, value }) => [timestamp, value]),
    others: [each.exemplars.length, each.histograms.length],
  }));
  expect(seen, at).toEqual(wanted);
  return true;
}

function expectEqual(got: Decoded, wanted: Reference, tenant: string, at: string): void {
  const { columns, firstReasons, leftOut, rejected, ...counts } = wanted;
  expect(got, at).toMatchObject(counts);
  expect(got.leftOut, at).toMatchObject(leftOut);
  expect(got.rejected, at).toMatchObject(rejected);
  expect(
    got.firstRejects.map(({ reason }) => reason),
    at,
  ).toEqual(firstReasons);
  for (const { series: text } of got.firstRejects) expect(text.length, at).toBeLessThanOrEqual(200);
  const kept = got.blocks.reduce((sum, block) => sum + block.samples, 0);
  expect(kept + total(got.leftOut) + total(got.rejected), at).toBe(got.received);
  expect(
    got.blocks.map(({ partition }) => partition),
    at,
  ).toEqual([...columns.keys()].sort());
  for (const block of got.blocks) {
    const message = fromBinary(SampleBlockSchema, block.bytes);
    const want = columns.get(block.partition)!;
    expect(message.tenant, at).toBe(tenant);
    expect(message.fingerprint, at).toEqual(want.fingerprint);
    expect(message.timestampMs, at).toEqual(want.timestampMs);
    expect(message.valueBits, at).toEqual(want.valueBits);
    const announced = message.series.map(({ fingerprint, label: labels }) => ({
      fingerprint,
      label: labels.map(({ name, value }) => ({ name, value })),
    }));
    expect(announced, at).toEqual(want.announced);
  }
}

function damagedBody(random: Random): Uint8Array {
  const decoded = Uint8Array.from(randomRequest(random));
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
    else if (kind < 0.92)
      parts.push(...delimited(3, [...tag(1, 0), 2, ...delimited(2, bytesOf('up'))]));
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
const METRICS = ['up', 'up_total', 'requests', 'scrape_x', 'anomaly', ''];
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
  if (random() < 0.1) parts.push(randomHistogram(random));
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

function randomHistogram(random: Random): number[] {
  const parts = [
    [...tag(1, 0), ...varint(7)],
    delimited(8, [...tag(1, 0), 1, ...tag(2, 0), 2]),
    delimited(9, [...varint(300), ...varint(1)]),
    delimited(13, new Uint8Array(16)),
    delimited(16, new Uint8Array(random() < 0.1 ? 7 : 8)),
    [...tag(12, 0), 4],
  ];
  return delimited(4, parts.filter(() => random() < 0.7).flat());
}

function unknownField(random: Random, depth: number): number[] {
  const number = pick([5, 17, 100, 20_000], random);
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

function pick<T>(choices: readonly T[], random: Random): T {
  return choices[Math.floor(random() * choices.length)]!;
}

function total(counters: Record<string, number>): number {
  return Object.values(counters).reduce((sum, count) => sum + count, 0);
}

function latin(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}

function doubleOf(bits: bigint): number {
  return new Float64Array(new BigUint64Array([bits]).buffer)[0]!;
}
