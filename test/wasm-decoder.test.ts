// decode.wasm through its host: what is kept, what is rejected and why, what refuses a whole request, what the blocks hold.
// Every case runs on the release and on the debug build. The reference decoder says which fingerprints and partitions are
// right; golden values pin the reference.

import { readFileSync } from 'node:fs';
import { fromBinary } from '@bufbuild/protobuf';
import { compressSync } from 'snappy';
import { expect, test } from 'vitest';
import { writeRequest, writeRequestBody } from '../bench/write-requests.js';
import { type SampleBlock, SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import {
  ANNOUNCE_INTERVAL_MS,
  DECODED_BYTES_MAX,
  FUTURE_MS_MAX,
  REQUEST_SAMPLES_MAX,
  REQUEST_SERIES_MAX,
} from '../src/limits.js';
import {
  BadRequest,
  type Decoded,
  type DecoderSettings,
  REJECT_REASONS,
  WasmDecoder,
} from '../src/receiver/wasm-decoder.js';
import { finish, labelHash, ReferenceDecoder, xxh64 } from './reference-decoder.js';
import { parseRequest } from './reference-wire.js';
import {
  bytesOf,
  delimited,
  fixed64,
  label,
  literalBlock,
  sample,
  series,
  tag,
  varint,
} from './wire-bytes.js';

const NOW_MS = 1_763_680_000_000;
const MODULES = ['dist/decode.wasm', 'dist/decode.debug.wasm'].map(
  (file) => new WebAssembly.Module(readFileSync(file)),
);
const SETTINGS: DecoderSettings = {
  partitions: 4,
  partitionBy: [['namespace', 'pod'], ['instance']],
  stripLabels: [],
  classify: () => 'keep',
};
const UP = label('__name__', 'up');
const POINT = sample(NOW_MS);

/** A decoder of each build; each method runs on all and insists on one answer. */
class Builds {
  readonly #decoders: WasmDecoder[];

  constructor(settings: Partial<DecoderSettings> = {}) {
    this.#decoders = MODULES.map((module) => new WasmDecoder(module, { ...SETTINGS, ...settings }));
  }

  body(body: Uint8Array, options: { tenant?: string; nowMs?: number } = {}): Decoded {
    const answers = this.#decoders.map((decoder) => {
      decoder.input(body.length).set(body);
      const decoded = decoder.decode(body.length, { tenant: '', nowMs: NOW_MS, ...options });
      const blocks = decoded.blocks.map((block) => ({ ...block, bytes: block.bytes.slice() }));
      return { ...decoded, blocks };
    });
    const [first] = answers;
    for (const { blocks, ...rest } of answers) {
      expect(rest).toEqual({ ...first!, blocks: undefined });
      expect(blocks.length).toBe(first!.blocks.length);
      // Blocks can be megabytes: compared as buffers, not value by value.
      blocks.forEach((block, i) => {
        const other = first!.blocks[i]!;
        expect([block.partition, block.samples]).toEqual([other.partition, other.samples]);
        expect(Buffer.compare(block.bytes, other.bytes)).toBe(0);
      });
    }
    expect(identityOf(first!)).toBe(first!.received);
    return first!;
  }

  request(parts: number[][], options: { tenant?: string; nowMs?: number } = {}): Decoded {
    return this.body(literalBlock(parts.flat()), options);
  }

  refused(body: Uint8Array | number[]): BadRequest {
    const errors = this.#decoders.map((decoder) => {
      decoder.input(body.length).set(body);
      try {
        decoder.decode(body.length, { tenant: '', nowMs: NOW_MS });
      } catch (error) {
        if (error instanceof BadRequest) return error;
        throw error;
      }
      return expect.fail('the request was taken');
    });
    for (const error of errors) expect(error.message).toBe(errors[0]!.message);
    return errors[0]!;
  }

  forgetAnnouncements(): void {
    for (const decoder of this.#decoders) decoder.forgetAnnouncements();
  }
}

function identityOf(decoded: Decoded): number {
  const sum = (counters: Record<string, number>): number =>
    Object.values(counters).reduce((total, count) => total + count, 0);
  const kept = decoded.blocks.reduce((total, block) => total + block.samples, 0);
  return kept + sum(decoded.leftOut) + sum(decoded.rejected);
}

function messages(decoded: Decoded): SampleBlock[] {
  return decoded.blocks.map((block) => fromBinary(SampleBlockSchema, block.bytes));
}

/** Fingerprint and partition of the only series of a request. */
function identify(builds: Builds, labels: number[][], tenant = ''): string {
  const { blocks } = builds.request([series(UP, ...labels, POINT)], { tenant });
  const message = fromBinary(SampleBlockSchema, blocks[0]!.bytes);
  return `${message.fingerprint[0]!.toString(16).padStart(16, '0')}/${blocks[0]!.partition}`;
}

test('the module imports the memory and abort, nothing else', () => {
  for (const module of MODULES) {
    const imports = WebAssembly.Module.imports(module).map(({ module: from, name }) => `${from}.${name}`);
    expect(imports.toSorted()).toEqual(['env.abort', 'env.memory']);
  }
});

test('XXH64 of the reference gives the published values', () => {
  const ok = (text: string, want: bigint): void => expect(xxh64(Uint8Array.from(bytesOf(text)))).toBe(want);
  ok('', 0xef46db3751d8e999n);
  ok('a', 0xd24ec4f1a98c6e5bn);
  ok('as', 0x1c330fb2d66be179n);
  ok('abc', 0x44bc2cf5ad770999n);
  ok('asdf', 0x415872f599cea71en);
  ok('Call me Ishmael. Some years ago--never mind how long precisely-', 0x02a2e85470d6fd96n);
});

test('fingerprints and partitions are pinned', () => {
  const builds = new Builds();
  const ok = (labels: number[][], tenant: string, want: string): void => {
    expect(identify(builds, labels, tenant)).toBe(want);
  };
  ok([], '', 'cd4982be44be1f73/3');
  ok([label('job', 'node'), label('instance', '10.0.0.1:9100')], '', 'e903b9c683449be3/2');
  ok([label('job', 'node'), label('instance', '10.0.0.1:9100')], 'blue', 'd47fa5566954e8c2/1');
  ok([label('namespace', 'shop'), label('pod', 'cart-1'), label('instance', 'a')], '', 'd44be6161a6ef85c/3');
  ok([label('stadt', 'Köln 🌊'), label('x', 'v'.repeat(500))], '', 'c99033280a81fb4b/3');
});

test('the hash equals the reference for names and values of every length', () => {
  const builds = new Builds({ partitionBy: [] });
  for (let length = 1; length <= 140; length++) {
    const name = 'n'.repeat(length);
    const value = Array.from({ length }, (_, i) => String.fromCharCode(33 + ((i * 7 + length) % 90))).join('');
    const raw = (text: string): Uint8Array => Uint8Array.from(bytesOf(text));
    const sum = labelHash(raw('__name__'), raw('up')) + labelHash(raw(name), raw(value));
    // Twice: the second time the label comes from the memo.
    for (let again = 0; again < 2; again++) {
      const got = identify(builds, [label(name, value)]).split('/')[0];
      expect(got, `length ${length}`).toBe(finish(sum).toString(16).padStart(16, '0'));
    }
  }
});

test('order, empty values and stripped labels do not change a series', () => {
  const builds = new Builds({ stripLabels: ['replica', 'prometheus_replica'] });
  const want = identify(builds, [label('job', 'a'), label('zone', 'b')]);
  const ok = (labels: number[][]): void => expect(identify(builds, labels)).toBe(want);
  ok([label('zone', 'b'), label('job', 'a')]);
  ok([label('zone', 'b'), label('job', 'a'), label('empty', '')]);
  ok([label('job', 'a'), label('replica', 'r1'), label('zone', 'b')]);
  ok([label('job', 'a'), label('prometheus_replica', 'r2'), label('zone', 'b'), label('replica', 'r1')]);
  expect(identify(builds, [label('job', 'a'), label('zone', 'c')])).not.toBe(want);
  expect(identify(builds, [label('job', 'a')])).not.toBe(want);
});

test('the first set whose labels are all there and not empty chooses the partition', () => {
  const builds = new Builds({ partitions: 64 });
  const partition = (...labels: number[][]): string => identify(builds, labels).split('/')[1]!;
  const pod = [label('namespace', 'shop'), label('pod', 'cart-1')];
  const expected = (names: [string, string][]): string => {
    const raw = (text: string): Uint8Array => Uint8Array.from(bytesOf(text));
    const sum = names.reduce((all, [name, value]) => all + labelHash(raw(name), raw(value)), 0n);
    return String(((finish(sum) >> 32n) * 64n) >> 32n);
  };
  const byPod = expected([['namespace', 'shop'], ['pod', 'cart-1']]);
  expect(partition(...pod)).toBe(byPod);
  expect(partition(label('instance', 'i'), ...pod.toReversed(), label('cpu', '1'))).toBe(byPod);
  const byInstance = expected([['instance', 'i']]);
  expect(partition(label('instance', 'i'), label('namespace', 'shop'))).toBe(byInstance);
  expect(partition(label('instance', 'i'), label('namespace', 'shop'), label('pod', ''))).toBe(byInstance);
  const neither = expected([['__name__', 'up'], ['pod', 'cart-1']]);
  expect(partition(label('pod', 'cart-1'))).toBe(neither);
});

test('a realistic request gives the blocks of the reference', () => {
  for (const samplesPerSeries of [1, 3]) {
    const options = { seed: 5, series: 300, samplesPerSeries };
    const got = new Builds().body(writeRequestBody(options), { tenant: 'blue' });
    const reference = new ReferenceDecoder(SETTINGS);
    const request = parseRequest(writeRequest(options));
    const want = reference.decode(request, { tenant: 'blue', nowMs: NOW_MS });
    expect(got.received).toBe(300 * samplesPerSeries);
    expect(got.newSeries).toBe(300);
    expect(got.blocks.map(({ partition }) => partition)).toEqual([...want.columns.keys()].toSorted());
    messages(got).forEach((message, i) => {
      const columns = want.columns.get(got.blocks[i]!.partition)!;
      expect(message.tenant).toBe('blue');
      expect(message.fingerprint).toEqual(columns.fingerprint);
      expect(message.timestampMs).toEqual(columns.timestampMs);
      expect(message.valueBits).toEqual(columns.valueBits);
      expect(message.series).toMatchObject(columns.announced);
    });
  }
});

test('two blocks of one tenant, concatenated, are one block', () => {
  const builds = new Builds({ partitions: 1 });
  const first = builds.request([series(UP, sample(1), sample(2))], { tenant: 'blue' });
  const second = builds.request([series(label('__name__', 'down'), sample(3))], { tenant: 'blue' });
  const bytes = Buffer.concat([first.blocks[0]!.bytes, second.blocks[0]!.bytes]);
  const message = fromBinary(SampleBlockSchema, bytes);
  expect(message.tenant).toBe('blue');
  expect(message.timestampMs).toEqual([1n, 2n, 3n]);
  expect(new Set(message.fingerprint).size).toBe(2);
  expect(message.fingerprint[2]).toBe(message.series[1]!.fingerprint);
  expect(message.series.map((each) => each.label[0]!.value)).toEqual(['up', 'down']);
});

test('labels are announced before the columns, as sent, without empty and stripped ones', () => {
  const builds = new Builds({ partitions: 1, stripLabels: ['replica'] });
  const labels = [label('zone', 'b'), label('empty', ''), UP, label('replica', 'r'), label('ä', 'ö')];
  const decoded = builds.request([series(...labels, POINT)]);
  const message = messages(decoded)[0]!;
  const texts = message.series[0]!.label.map(({ name, value }) => [name, value]);
  expect(texts).toEqual([['zone', 'b'], ['__name__', 'up'], ['ä', 'ö']]);
  expect(message.series[0]!.fingerprint).toBe(message.fingerprint[0]);
  expect(decoded.blocks[0]!.bytes[0]).toBe(0x32);
});

test('a series is announced once per interval, and again when announcements are forgotten', () => {
  const classified: string[] = [];
  const builds = new Builds({
    partitions: 1,
    classify: (labels) => {
      classified.push(labels[0]!.value);
      return 'keep';
    },
  });
  const announced = (nowMs: number): number =>
    messages(builds.request([series(UP, POINT), series(UP, POINT)], { nowMs }))[0]!.series.length;
  expect(announced(NOW_MS)).toBe(1);
  expect(announced(NOW_MS)).toBe(0);
  expect(announced(NOW_MS + ANNOUNCE_INTERVAL_MS - 1000)).toBe(0);
  expect(announced(NOW_MS + ANNOUNCE_INTERVAL_MS)).toBe(1);
  expect(announced(NOW_MS + ANNOUNCE_INTERVAL_MS + 1)).toBe(0);
  builds.forgetAnnouncements();
  expect(announced(NOW_MS + ANNOUNCE_INTERVAL_MS + 2)).toBe(1);
  expect(announced(NOW_MS + ANNOUNCE_INTERVAL_MS + 3)).toBe(0);
  // Once for each of the two builds.
  expect(classified).toEqual(['up', 'up']);
});

test('announcements can be forgotten more often than the generation counts', () => {
  const builds = new Builds({ partitions: 1 });
  const announced = (): number => messages(builds.request([series(UP, POINT)]))[0]!.series.length;
  expect(announced()).toBe(1);
  for (let i = 0; i < 65_535; i++) builds.forgetAnnouncements();
  expect(announced()).toBe(1);
  expect(announced()).toBe(0);
});

test('what is not to be kept is counted under its disposition and left out', () => {
  const builds = new Builds({
    classify: (labels) => {
      const metric = labels.find(({ name }) => name === '__name__')!.value;
      if (metric.startsWith('anomaly_')) return 'own_output';
      if (metric.startsWith('scrape_')) return 'ignored';
      return metric === 'debug' ? 'dropped' : 'keep';
    },
  });
  const named = (name: string, ...parts: number[][]): number[] => series(label('__name__', name), ...parts);
  const request = [
    named('anomaly_score', POINT, POINT),
    named('scrape_duration_seconds', POINT, delimited(4, [])),
    named('debug', POINT, sample(NOW_MS + FUTURE_MS_MAX * 2)),
    named('up', POINT),
  ];
  for (const newSeries of [4, 0]) {
    const decoded = builds.request(request);
    expect(decoded.leftOut).toEqual({ keep: 0, own_output: 2, ignored: 2, dropped: 2 });
    expect(decoded).toMatchObject({ received: 7, rejectedCount: 0, newSeries });
    expect(decoded.blocks.map(({ samples }) => samples)).toEqual([1]);
  }
});

test('a bad series is rejected for its reason and the others are kept', () => {
  const builds = new Builds();
  const ok = (reason: (typeof REJECT_REASONS)[number], ...labels: number[][]): void => {
    const decoded = builds.request([
      series(UP, POINT),
      series(...labels, POINT, POINT, delimited(4, [])),
      series(UP, POINT),
    ]);
    expect(decoded.rejected).toEqual({ ...none(), [reason]: 3 });
    expect(decoded).toMatchObject({ received: 5, rejectedCount: 3 });
    expect(decoded.firstRejects.map((first) => first.reason)).toEqual([reason]);
    expect(messages(decoded)[0]!.fingerprint).toHaveLength(2);
  };
  const many = (count: number): number[][] => Array.from({ length: count }, (_, i) => label(`l${i}`, 'v'));
  ok('no_metric_name');
  ok('no_metric_name', label('job', 'a'));
  ok('no_metric_name', label('__name__', ''));
  ok('no_metric_name', label('__name__x', 'up'), label('_name__', 'up'));
  ok('duplicate_label', UP, UP);
  ok('duplicate_label', UP, label('a', '1'), label('b', '1'), label('a', '2'));
  ok('duplicate_label', UP, label('a', ''), label('b', '1'), label('a', '2'));
  ok('duplicate_label', UP, label('a', ''), label('a', ''));
  ok('empty_label_name', UP, label('', 'x'));
  ok('empty_label_name', UP, delimited(1, []));
  ok('empty_label_name', UP, delimited(1, delimited(2, bytesOf('x'))));
  ok('invalid_utf8', label('__name__', [0xff]));
  ok('invalid_utf8', UP, label([0xc3, 0x28], 'x'));
  for (const broken of BROKEN_TEXT) {
    ok('invalid_utf8', UP, label('x', broken));
    ok('invalid_utf8', UP, label('x', [...bytesOf('sixteen bytes ok'), ...broken]));
    ok('invalid_utf8', UP, label('x', [...broken, ...bytesOf('sixteen bytes after')]));
  }
  ok('too_many_labels', UP, ...many(64));
  ok('label_name_too_long', UP, label('n'.repeat(1025), 'v'));
  ok('label_value_too_long', UP, label('n', 'v'.repeat(8193)));
});

const BROKEN_TEXT = [
  [0x80],
  [0xc0, 0x80],
  [0xc1, 0xbf],
  [0xc3, 0x28],
  [0xe0, 0x9f, 0xbf],
  [0xed, 0xa0, 0x80],
  [0xe2, 0x82],
  [0xf0, 0x8f, 0xbf, 0xbf],
  [0xf4, 0x90, 0x80, 0x80],
  [0xf5, 0x80, 0x80, 0x80],
  [0xf0, 0x9f, 0x98],
];

function none(): Record<string, number> {
  return Object.fromEntries(REJECT_REASONS.map((reason) => [reason, 0]));
}

test('labels at the limits and unusual text are kept', () => {
  const builds = new Builds();
  const ok = (...labels: number[][]): void => {
    const decoded = builds.request([series(UP, ...labels, POINT)]);
    expect(decoded).toMatchObject({ received: 1, rejectedCount: 0 });
    expect(messages(decoded)[0]!.fingerprint).toHaveLength(1);
  };
  ok(...Array.from({ length: 63 }, (_, i) => label(`l${i}`, 'v')));
  ok(label('n'.repeat(1024), 'v'.repeat(8192)));
  ok(label('job name', 'nul \0 and newline \n'), label('instance.name', '🌊 é \uffff \u{10ffff} \ud7ff'));
  ok(label('bom', '\ufefftext'));
  // Fields in another order, a repeated field (the last wins), one that nobody knows.
  ok(delimited(1, [...delimited(2, bytesOf('v')), ...delimited(1, bytesOf('n'))]));
  ok(delimited(1, [...delimited(1, bytesOf('__name__')), ...delimited(1, bytesOf('n'))]));
  ok(delimited(1, [...delimited(1, bytesOf('n')), ...tag(9, 0), 1, ...delimited(2, bytesOf('v'))]));
});

test('samples too far in the future, histograms and series without samples are rejected one by one', () => {
  const builds = new Builds();
  const last = NOW_MS + FUTURE_MS_MAX;
  const decoded = builds.request([
    series(UP, sample(last), sample(last + 1), sample((1n << 63n) - 1n), POINT),
    series(label('__name__', 'histogram'), delimited(4, [...tag(15, 0), ...varint(NOW_MS)])),
    series(label('__name__', 'bare')),
    series(label('__name__', 'exemplars'), delimited(3, fixed64(2, 0n))),
    delimited(3, delimited(2, bytesOf('up'))),
  ]);
  expect(decoded.rejected).toEqual({ ...none(), too_far_in_future: 2, native_histogram: 1 });
  const counts = { received: 5, rejectedCount: 5, exemplars: 1, metadata: 1, newSeries: 2 };
  expect(decoded).toMatchObject(counts);
  expect(decoded.firstRejects).toEqual([
    { reason: 'too_far_in_future', series: 'up' },
    { reason: 'native_histogram', series: 'histogram' },
    { reason: 'no_samples', series: 'bare' },
    { reason: 'no_samples', series: 'exemplars' },
  ]);
  expect(messages(decoded)[0]!.timestampMs).toEqual([BigInt(last), BigInt(NOW_MS)]);
});

test('any past timestamp and any value arrive bit by bit', () => {
  const builds = new Builds();
  const timestamps = [0n, -1n, -(1n << 63n), 1n, BigInt(NOW_MS)];
  const bits = [
    0x7ff0000000000002n,
    0x7ff8000000000001n,
    0xfff0000000000000n,
    0x8000000000000000n,
    0x0000000000000001n,
  ];
  const samples = timestamps.map((timestamp, i) => sample(timestamp, bits[i]));
  const message = messages(builds.request([series(UP, ...samples, delimited(2, []))]))[0]!;
  expect(message.timestampMs).toEqual([...timestamps, 0n]);
  expect(message.valueBits).toEqual([...bits, 0n]);
});

test('the first rejections are named on one line each', () => {
  const builds = new Builds();
  const ok = (want: string, ...labels: number[][]): void => {
    const { firstRejects } = builds.request([series(...labels, POINT)]);
    expect(firstRejects[0]!.series).toBe(want);
  };
  ok('{job="a\\r\\nb\\u007f\\u2028\\u0085"}', label('job', 'a\r\nb\u007f\u2028\u0085'));
  ok('up{a="\ufffd("}', UP, label('a', [0xc3, 0x28]));
  ok('{}');
  ok(`{a="${'🌊'.repeat(64)}", b="${'x'.repeat(61)}…`, label('a', '🌊'.repeat(100)), label('b', 'x'.repeat(100)));
  const cut = builds.request([series(label('a', `${'x'.repeat(195 - 2)}🌊🌊🌊`), POINT)]).firstRejects[0]!.series;
  expect(cut.length).toBeLessThanOrEqual(200);
  expect(cut).toMatch(/x[^\ud800-\udfff]*…$|🌊…$/u);
  const many = Array.from({ length: 9 }, (_, i) => series(label('job', `j${i}`), POINT));
  const { firstRejects, rejectedCount } = builds.request(many);
  expect(rejectedCount).toBe(9);
  expect(firstRejects.map((first) => first.series)).toEqual([0, 1, 2, 3, 4].map((i) => `{job="j${i}"}`));
});

test('a body that is not a snappy block is refused with a sentence', () => {
  const builds = new Builds();
  const ok = (body: number[], want: RegExp): void => {
    const error = builds.refused(body);
    expect(error.message).toMatch(want);
    expect([error.status, error.reason]).toEqual([400, 'bad_snappy']);
  };
  ok([], /empty/);
  ok([0xff, 0x06, 0x00, 0x00, ...bytesOf('sNaPpY'), 1, 2, 3], /framed/);
  ok([0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00], /snappy/);
  ok([0x80], /declared length/);
  ok([0xff, 0xff, 0xff, 0xff, 0x10], /declared length/);
  ok([0x80, 0x80, 0x80, 0x80, 0x80, 0x01], /declared length/);
  ok([4, 3 << 2, 1, 2, 3], /cut off/);
  ok([4, 60 << 2], /cut off/);
  ok([4, 63 << 2, 0xff, 0xff, 0xff, 0xff, 1], /cut off/);
  ok([4, 0x01], /cut off/);
  ok([4, 0x02, 1], /cut off/);
  ok([4, 0x03, 1, 0, 0], /cut off/);
  ok([8, 0, 1, 0x01, 0], /outside/);
  ok([8, 0, 1, 0x01, 2], /outside/);
  ok([8, 0, 1, 0x03, 0xff, 0xff, 0xff, 0xff], /outside/);
  ok([3, 0, 1, 0x01, 1], /more than it declares/);
  ok([1, 0, 1, 0, 1], /more than it declares/);
  ok([8, 0, 1], /less than it declares/);
  ok([0x30, ...writeRequestBody({ seed: 1, series: 5, samplesPerSeries: 1 }).subarray(1)], /snappy/);
  const whole = compressSync(Buffer.from(series(UP, POINT, POINT)));
  for (let bytes = 0; bytes < whole.length; bytes++) {
    expect(builds.refused(whole.subarray(0, bytes)).status, `${bytes} bytes`).toBe(400);
  }
});

test('a declared length above the limit is refused before anything is decoded', () => {
  const builds = new Builds();
  const ok = (body: number[]): void => {
    expect([builds.refused(body).status, builds.refused(body).reason]).toEqual([413, 'too_large']);
  };
  ok([0xff, 0xff, 0xff, 0xff, 0x0f]);
  ok([...varint(DECODED_BYTES_MAX + 1), 0, 0]);
  // At the limit it is judged by what follows: an unknown field that fills it to the last byte.
  const decoded = new Uint8Array(DECODED_BYTES_MAX);
  decoded.set([...tag(9, 2), ...varint(DECODED_BYTES_MAX - 5)]);
  expect(builds.body(compressSync(Buffer.from(decoded))).received).toBe(0);
});

test('snappy elements of every kind decode as written', () => {
  const builds = new Builds({ partitions: 1 });
  for (const period of [1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 31, 64, 100]) {
    const value = Array.from({ length: 300 }, (_, i) => String.fromCharCode(97 + ((i % period) % 26))).join('');
    const decoded = builds.body(compressSync(Buffer.from(series(UP, label('x', value), POINT))));
    expect(messages(decoded)[0]!.series[0]!.label[1]!.value, `period ${period}`).toBe(value);
  }
});

test('an empty request is taken', () => {
  const want = { received: 0, blocks: [], rejectedCount: 0, firstRejects: [], newSeries: 0 };
  expect(new Builds().body(Uint8Array.of(0))).toMatchObject(want);
});

test('bytes that are not a WriteRequest are refused with a sentence', () => {
  const builds = new Builds();
  const ok = (decoded: number[], want: RegExp): void => {
    const error = builds.refused(literalBlock(decoded));
    expect(error.message).toMatch(want);
    expect([error.status, error.reason]).toEqual([400, 'bad_protobuf']);
  };
  const groups = (count: number): number[] => [
    ...Array.from({ length: count }, () => tag(9, 3)).flat(),
    ...Array.from({ length: count }, () => tag(9, 4)).flat(),
  ];
  ok([0x0a, 5, 1], /past the end/);
  ok([0x0a], /past the end/);
  ok([0x0a, 0x80], /past the end/);
  ok([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], /past the end/);
  ok([0x0a, ...varint((1n << 32n) + 0n)], /past the end/);
  ok([0x0a, ...varint((1n << 64n) - 1n)], /past the end/);
  ok([0x4a, 0xff, 0xff, 0xff, 0xff, 0x0f], /past the end/);
  ok([...delimited(1, [0x0a, 5]), ...bytesOf('trail')], /past the end/);
  ok([...series(delimited(1, [0x0a, 9, 1])), ...bytesOf('123456789')], /past the end/);
  ok(series(delimited(2, [0x09, 1, 2, 3])), /past the end/);
  ok(series(delimited(2, [0x10, 0x80])), /past the end/);
  ok([...tag(9, 1), 1, 2, 3], /past the end/);
  ok([...tag(9, 5), 1, 2, 3], /past the end/);
  ok(series(delimited(4, delimited(16, [1, 2, 3]))), /past the end/);
  ok(series(delimited(4, delimited(12, [0x80]))), /past the end/);
  ok([...tag(9, 0), ...varint(1, 11)], /varint/);
  ok(series(delimited(2, [0x10, ...varint(1, 11)])), /varint/);
  ok([0x00, 0], /tag/);
  ok([0x02, 0], /tag/);
  ok(series([0x02, 0]), /tag/);
  ok(series(delimited(1, [0x00, 0])), /tag/);
  ok(series(delimited(4, [0x02, 0])), /tag/);
  ok(tag(9, 6), /tag/);
  ok(tag(9, 7), /tag/);
  ok([0x8a, 0x80, 0x80, 0x80, 0x10, 0], /tag/);
  ok([0x8a, 0x80, 0x80, 0x80, 0x80, 0x00, 0], /tag/);
  ok(tag(9, 4), /group/);
  ok([...tag(9, 3), ...tag(8, 4)], /group/);
  ok(tag(9, 3), /past the end/);
  ok([...series(tag(9, 3)), ...tag(9, 4)], /past the end/);
  // The request itself is the first of the 100 levels.
  ok(groups(100), /nested/);
  ok(series(delimited(1, groups(98))), /nested/);
});

test('whatever a protobuf decoder may skip is skipped', () => {
  const builds = new Builds();
  const ok = (...parts: number[][]): void => {
    expect(builds.request(parts)).toMatchObject({ received: 1, rejectedCount: 0 });
  };
  const groups = (count: number): number[] => [
    ...Array.from({ length: count }, () => tag(9, 3)).flat(),
    ...Array.from({ length: count }, () => tag(9, 4)).flat(),
  ];
  const unknown = [
    [...tag(9, 0), ...varint((1n << 64n) - 1n)],
    fixed64(1000, 7n),
    delimited(9, [1, 2, 3]),
    [...tag(9, 3), ...delimited(1, [1]), ...tag(2, 0), 5, ...tag(9, 4)],
    [...tag(9, 5), 1, 2, 3, 4],
    groups(97),
    // Known fields with another wire type, in the request, the series, the label and the sample.
    [...tag(1, 0), 5],
    fixed64(2, 1n),
    [...tag(3, 5), 1, 2, 3, 4],
  ].flat();
  const named = delimited(1, [...delimited(1, bytesOf('__name__')), ...delimited(2, bytesOf('up'))]);
  ok(unknown, series(UP, POINT), unknown);
  ok(series(unknown, UP, unknown, POINT));
  ok(series(delimited(1, [...unknown, ...named.slice(2)]), POINT));
  ok(series(UP, delimited(2, [...tag(9, 0), 1, ...tag(1, 0), 1, ...tag(2, 5), 1, 2, 3, 4])));
  ok(series(POINT, UP), delimited(2, [1, 2, 3]));
  // Tags and lengths that are longer than they need be.
  ok([0x8a, 0x00, ...varint(UP.length + POINT.length, 5), ...UP, ...POINT]);
  ok(series([0x92, 0x80, 0x00, ...varint(0, 10)], UP));
});

test('more series or samples than a request may have refuse it quickly', () => {
  const builds = new Builds();
  const ok = (decoded: Uint8Array): void => {
    const body = compressSync(Buffer.from(decoded));
    const start = performance.now();
    const error = builds.refused(body);
    expect([error.status, error.reason]).toEqual([413, 'too_large']);
    expect(performance.now() - start).toBeLessThan(2_000);
  };
  const pairs = (first: number, count: number): Uint8Array => {
    const bytes = new Uint8Array(2 * count);
    for (let i = 0; i < bytes.length; i += 2) bytes[i] = first;
    return bytes;
  };
  ok(pairs(0x0a, DECODED_BYTES_MAX / 2));
  ok(pairs(0x0a, REQUEST_SERIES_MAX + 1));
  const inOneSeries = (tagByte: number, count: number): Uint8Array =>
    Buffer.concat([Buffer.from([0x0a, ...varint(2 * count + UP.length), ...UP]), pairs(tagByte, count)]);
  ok(inOneSeries(0x12, DECODED_BYTES_MAX / 2 - 100));
  ok(inOneSeries(0x12, REQUEST_SAMPLES_MAX + 1));
  ok(inOneSeries(0x22, REQUEST_SAMPLES_MAX + 1));
  const full = builds.body(compressSync(Buffer.from(inOneSeries(0x12, REQUEST_SAMPLES_MAX))));
  expect(full.blocks[0]!.samples).toBe(REQUEST_SAMPLES_MAX);
  const bare = builds.body(compressSync(Buffer.from(pairs(0x0a, REQUEST_SERIES_MAX))));
  expect(bare.rejectedCount).toBe(REQUEST_SERIES_MAX);
  // Labels without end are one rejected series.
  const labels = Buffer.concat([Buffer.from([0x0a, ...varint(2e6)]), pairs(0x0a, 1e6)]);
  expect(builds.body(compressSync(labels)).firstRejects[0]!.reason).toBe('empty_label_name');
});

test('a refused request leaves no series behind', () => {
  let asked = 0;
  const builds = new Builds({
    classify: () => {
      asked++;
      return 'keep';
    },
  });
  builds.refused(literalBlock([...series(UP, POINT), 0x00]));
  expect(asked).toBe(0);
  expect(builds.request([series(UP, POINT)]).newSeries).toBe(1);
  expect(asked).toBe(MODULES.length);
});

test('the table of known series is cleared when it is three quarters full', () => {
  const [module] = MODULES;
  const decoder = new WasmDecoder(module!, SETTINGS);
  const perRequest = REQUEST_SERIES_MAX;
  const decode = (first: number, count: number): Decoded => {
    const template = Uint8Array.from(series(UP, label('i', '00000000'), POINT));
    const digits = Buffer.from(template).indexOf('00000000');
    const decoded = Buffer.alloc(template.length * count);
    for (let i = 0; i < count; i++) {
      decoded.set(template, i * template.length);
      decoded.write(String(first + i).padStart(8, '0'), i * template.length + digits);
    }
    const body = literalBlock(decoded);
    decoder.input(body.length).set(body);
    return decoder.decode(body.length, { tenant: '', nowMs: NOW_MS });
  };
  for (let round = 0; round < 4; round++) {
    expect(decode(round * perRequest, perRequest).newSeries).toBe(perRequest);
  }
  // 800,000 are known, more than three quarters of 2^20: the next request finds an empty table.
  expect(decoder.cacheClears).toBe(0);
  expect(decode(0, 10).newSeries).toBe(10);
  expect(decoder.cacheClears).toBe(1);
  expect(decode(0, 10).newSeries).toBe(0);
});

test('a small request touches little of the memory', () => {
  const before = process.memoryUsage().rss;
  const decoders = Array.from({ length: 4 }, () => new WasmDecoder(MODULES[0]!, SETTINGS));
  const body = literalBlock(series(UP, POINT));
  for (const decoder of decoders) {
    decoder.input(body.length).set(body);
    decoder.decode(body.length, { tenant: '', nowMs: NOW_MS });
  }
  // Each has about 150 MB of address space.
  expect((process.memoryUsage().rss - before) / decoders.length).toBeLessThan(10 * 2 ** 20);
});
