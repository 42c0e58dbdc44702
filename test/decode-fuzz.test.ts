// Requests made at random and then damaged, decoded four times: by both builds of decode.wasm, by
// the reference decoder and by snappy + fromBinary. No trap, equal verdicts, equal columns.
// TREELINE_FUZZ sets how many; the seed of the one that fails is in the message, and
// TREELINE_FUZZ_SEED runs that one alone.

import { readFileSync } from 'node:fs';
import {
  clone,
  createFileRegistry,
  type DescFile,
  type DescMessage,
  fromBinary,
} from '@bufbuild/protobuf';
import { FieldDescriptorProto_Type, FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { uncompressSync } from 'snappy';
import { expect, test } from 'vitest';
import { randomFrom } from '../bench/write-requests.js';
import { file_remote_write_v1 } from '../src/gen/remote_write_v1_pb.js';
import { file_remote_write_v2, HistogramSchema } from '../src/gen/remote_write_v2_pb.js';
import { SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import { BadRequest, type Version } from '../src/receiver/bad-request.js';
import {
  type Decoded,
  type DecoderSettings,
  DISPOSITIONS,
  WasmDecoder,
} from '../src/receiver/wasm-decoder.js';
import { NOW_MS } from './decode-builds.js';
import { damagedBody, pick } from './decode-fuzz-requests.js';
import { type Reference, ReferenceDecoder } from './reference-decoder.js';
import { parseRequest, type RequestMessage } from './reference-messages.js';
import { doubleOf, Refused, uncompressReference, type Verdict } from './reference-wire.js';

const CASES = Number(process.env['TREELINE_FUZZ'] ?? 20_000);
const ONLY_SEED = process.env['TREELINE_FUZZ_SEED'];
const TENANTS = ['', 'blue', 'grün'];

const SETTINGS: DecoderSettings = {
  partitions: 5,
  partitionBy: [['namespace', 'pod'], ['instance']],
  stripLabels: ['replica', 'ü'],
  classify: (labels) => {
    const metric = labels.find(({ name }) => name === '__name__')!.value;
    return DISPOSITIONS[metric.startsWith('up') ? 0 : metric.length % DISPOSITIONS.length]!;
  },
  replicas: {
    clusterLabel: 'job',
    replicaLabel: 'a.very.long.label.name',
    // Nothing that an election would say, but everything that it is asked with.
    judge: ({ tenant, cluster, replica, newestMs = 1 }) =>
      (tenant.length + cluster.length + replica.length + Math.abs(newestMs % 5)) % 3 !== 0,
  },
};

type Outcome<T> = { verdict: 'ok'; value: T } | { verdict: Verdict };

type Parsed = Outcome<RequestMessage> & { isStrict?: boolean };

test.each([1, 2] as const)(
  'both builds, the reference and fromBinary agree on damaged requests of version %i',
  (version) => fuzz(version),
  3_600_000,
);

function fuzz(version: Version): void {
  const builds = ['dist/decode.wasm', 'dist/decode.debug.wasm'].map(
    (file) => new WasmDecoder(new WebAssembly.Module(readFileSync(file)), SETTINGS),
  );
  const reference = new ReferenceDecoder(SETTINGS);
  const verdicts = { ok: 0, bad_snappy: 0, bad_protobuf: 0, too_large: 0, wrong_version: 0 };
  const seeds = ONLY_SEED ? [Number(ONLY_SEED)] : Array.from({ length: CASES }, (_, i) => i + 1);
  const seen = { compared: 0, histograms: 0, exemplars: 0, types: 0, starts: 0, out: 0, allOut: 0 };
  for (const seed of seeds) {
    const at = `seed ${seed} of version ${version}`;
    const random = randomFrom(seed);
    const body = damagedBody(random, version);
    const options = {
      tenant: pick(TENANTS, random),
      nowMs: NOW_MS + Math.floor(random() * 3_600_000),
      version,
    };
    if (random() < 0.01)
      for (const decoder of [...builds, reference]) decoder.forgetAnnouncements();

    const parsed = parse(body, version);
    verdicts[parsed.verdict === 'version_2_as_1' ? 'wrong_version' : parsed.verdict]++;
    if (compareWithFromBinary(body, parsed, at)) seen.compared++;
    const wanted = parsed.verdict === 'ok' ? reference.decode(parsed.value, options) : undefined;
    for (const decoder of builds) {
      const got = decode(decoder, body, options);
      expect(got.verdict, at).toBe(parsed.verdict);
      if (got.verdict === 'ok') expectEqual(got.value, wanted!, options.tenant, at);
    }
    for (const columns of wanted?.columns.values() ?? []) {
      seen.histograms += columns.histogram.length;
      seen.types += columns.announced.filter(({ type, unit }) => type > 0 && unit !== '').length;
      seen.starts += columns.startTimestampMs.length;
    }
    seen.exemplars += wanted?.written.exemplars ?? 0;
    if (wanted?.isLeftOut === false && wanted.leftOut.replica !== undefined) seen.out++;
    if (wanted?.isLeftOut === true) seen.allOut++;
  }
  // A generator that only makes rubbish, or only good requests, would test nothing.
  if (seeds.length < 1000) return;
  expect(verdicts.ok).toBeGreaterThan(seeds.length / 5);
  expect(verdicts.bad_protobuf).toBeGreaterThan(seeds.length / 20);
  expect(verdicts.bad_snappy).toBeGreaterThan(seeds.length / 20);
  expect(verdicts.wrong_version).toBeGreaterThan(0);
  expect(seen.compared).toBeGreaterThan(seeds.length / 3);
  expect(seen.histograms).toBeGreaterThan(seeds.length / 100);
  expect(seen.exemplars).toBeGreaterThan(seeds.length / 50);
  expect(seen.types).toBeGreaterThan(seeds.length / 1000);
  expect(seen.out).toBeGreaterThan(seeds.length / 100);
  expect(seen.allOut).toBeGreaterThan(seeds.length / 1000);
  if (version === 2) expect(seen.starts).toBeGreaterThan(seeds.length / 10);
}

function decode(
  decoder: WasmDecoder,
  body: Uint8Array,
  options: { tenant: string; nowMs: number; version: Version },
): Outcome<Decoded> {
  decoder.input(body.length).set(body);
  try {
    return { verdict: 'ok', value: decoder.decode(body.length, options) };
  } catch (error) {
    if (!(error instanceof BadRequest)) throw error;
    return { verdict: error.reason };
  }
}

function parse(body: Uint8Array, version: Version): Parsed {
  try {
    return { verdict: 'ok', value: parseRequest(uncompressReference(body), version) };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return { verdict: error.verdict, isStrict: error.isStrict };
  }
}

/**
 * The generated schema with bytes for strings: then fromBinary does not judge UTF-8, as a receiver
 * may not either.
 */
function bytesSchema(described: DescFile, message: string): DescMessage {
  const file = clone(FileDescriptorProtoSchema, described.proto);
  for (const { field } of file.messageType) {
    for (const each of field) {
      if (each.type === FieldDescriptorProto_Type.STRING)
        each.type = FieldDescriptorProto_Type.BYTES;
    }
  }
  return createFileRegistry(file, () => undefined).getMessage(message)!;
}

const SCHEMAS = {
  1: bytesSchema(file_remote_write_v1, 'prometheus.WriteRequest'),
  2: bytesSchema(file_remote_write_v2, 'io.prometheus.write.v2.Request'),
};

/** What of both versions' messages is compared. */
interface PlainRequest {
  symbols?: Uint8Array[];
  timeseries: {
    labels?: { name: Uint8Array; value: Uint8Array }[];
    labelsRefs?: number[];
    samples: { value: number; timestamp: bigint; startTimestamp?: bigint }[];
    exemplars: { labels?: unknown[]; labelsRefs?: number[] }[];
    histograms: { timestamp: bigint }[];
    metadata?: { type: number; helpRef: number; unitRef: number };
    createdTimestamp?: bigint;
  }[];
  metadata?: { type: number; metricFamilyName: Uint8Array; unit: Uint8Array }[];
}

/**
 * False when the two have nothing to agree on: fromBinary ignores the wire type of a known field,
 * lets a nested field run past its message and skips varints of any length; the reference is
 * stricter there. fromBinary does not know of limits, and takes a message of the other version for
 * an empty one.
 */
function compareWithFromBinary(body: Uint8Array, parsed: Parsed, at: string): boolean {
  let bytes: Uint8Array;
  try {
    bytes = uncompressSync(Buffer.from(body)) as Buffer;
  } catch {
    // The package throws its own error for whatever is not a snappy block.
    expect(['bad_snappy', 'too_large'], at).toContain(parsed.verdict);
    return true;
  }
  expect(parsed.verdict, at).not.toBe('bad_snappy');
  const version = at.endsWith('2') ? 2 : 1;
  const isOther = ['too_large', 'wrong_version', 'version_2_as_1'].includes(parsed.verdict);
  if (parsed.isStrict || isOther) return false;
  let plain: PlainRequest;
  try {
    plain = fromBinary(SCHEMAS[version], bytes) as unknown as PlainRequest;
  } catch {
    // fromBinary throws plain errors for whatever is malformed.
    if (parsed.verdict === 'ok') expect(parsed.value.hasOddWireType, at).toBe(true);
    return true;
  }
  if (parsed.verdict !== 'ok') expect.fail(`fromBinary accepts what the reference refuses, ${at}`);
  if (parsed.value.hasOddWireType) return false;
  expect(summaryOf(parsed.value), at).toEqual(summaryOfPlain(plain));
  return true;
}

/** fromBinary keeps the lower 32 bits of a reference: there one above 2^32 wraps to a valid one. */
const low = (reference: bigint): number => Number(BigInt.asUintN(32, reference));

function summaryOf(request: RequestMessage): unknown {
  return {
    symbols: request.symbols.map(latin),
    families: request.metadata.map(({ type, family, unit }) => [
      type | 0,
      latin(family),
      latin(unit),
    ]),
    series: request.series.map((each) => ({
      labels: each.labels.map(({ name, value }) => [latin(name), latin(value)]),
      refs: each.refs.map(low),
      samples: each.samples.map(({ timestamp, bits, start }) => [timestamp, doubleOf(bits), start]),
      exemplars: each.exemplars.map(({ labels, refs }) => [labels.length, refs.map(low)]),
      histograms: each.histograms.map(({ timestamp }) => timestamp),
      metadata: [each.metadata.type | 0, low(each.metadata.helpRef), low(each.metadata.unitRef)],
      created: each.created,
    })),
  };
}

function summaryOfPlain(plain: PlainRequest): unknown {
  return {
    symbols: (plain.symbols ?? []).map(latin),
    families: (plain.metadata ?? []).map((each) => [
      each.type,
      latin(each.metricFamilyName),
      latin(each.unit),
    ]),
    series: plain.timeseries.map((each) => ({
      labels: (each.labels ?? []).map(({ name, value }) => [latin(name), latin(value)]),
      refs: each.labelsRefs ?? [],
      samples: each.samples.map(({ timestamp, value, startTimestamp = 0n }) => [
        timestamp,
        value,
        startTimestamp,
      ]),
      exemplars: each.exemplars.map(({ labels = [], labelsRefs = [] }) => [
        labels.length,
        labelsRefs,
      ]),
      histograms: each.histograms.map(({ timestamp }) => timestamp),
      metadata: [
        each.metadata?.type ?? 0,
        each.metadata?.helpRef ?? 0,
        each.metadata?.unitRef ?? 0,
      ],
      created: each.createdTimestamp ?? 0n,
    })),
  };
}

function expectEqual(got: Decoded, wanted: Reference, tenant: string, at: string): void {
  const { columns, firstReasons, leftOut, rejected, rejectedOther, ...counts } = wanted;
  expect(got, at).toMatchObject(counts);
  expect(got.leftOut, at).toMatchObject(leftOut);
  expect(got.rejected, at).toMatchObject(rejected);
  expect(got.rejectedOther, at).toMatchObject(rejectedOther);
  expect(total(got.rejected) + total(got.rejectedOther), at).toBe(got.rejectedCount);
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
    expect(message.startTimestampMs, at).toEqual(want.startTimestampMs);
    expect(block.samples, at).toBe(want.fingerprint.length + want.histogram.length);
    const histograms = message.histogram.map(({ $typeName: _, ...each }) => each);
    expect(histograms, at).toEqual(want.histogram);
    // Whoever reads the log decodes them.
    for (const { histogram, timestampMs } of histograms) {
      expect(fromBinary(HistogramSchema, histogram).timestamp, at).toBe(timestampMs);
    }
    const announced = message.series.map(({ fingerprint, label: labels, type, unit }) => ({
      fingerprint,
      ...{ type, unit },
      label: labels.map(({ name, value }) => ({ name, value })),
    }));
    expect(announced, at).toEqual(want.announced);
  }
}

function total(counters: Record<string, number>): number {
  return Object.values(counters).reduce((sum, count) => sum + count, 0);
}

function latin(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}
