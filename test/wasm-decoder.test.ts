// decode.wasm through its host: identity of series, partitions, announcements, dispositions, what
// the blocks hold. Every case runs on the release and on the debug build. The reference decoder
// says which fingerprints and partitions are right; golden values pin the reference.

import { fromBinary } from '@bufbuild/protobuf';
import { compressSync } from 'snappy';
import { expect, test } from 'vitest';
import { writeRequest, writeRequestBody } from '../bench/write-requests.js';
import { SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import { ANNOUNCE_INTERVAL_MS, FUTURE_MS_MAX, REQUEST_SERIES_MAX } from '../src/limits.js';
import { type Decoded, WasmDecoder } from '../src/receiver/wasm-decoder.js';
import {
  Builds,
  identify,
  MODULES,
  messages,
  NOW_MS,
  POINT,
  SETTINGS,
  UP,
} from './decode-builds.js';
import { ReferenceDecoder } from './reference-decoder.js';
import { finish, labelHash, xxh64 } from './reference-hash.js';
import { parseRequest } from './reference-messages.js';
import { bytesOf, delimited, label, literalBlock, sample, series } from './wire-bytes.js';

test('the module imports the memory and abort, nothing else', () => {
  for (const module of MODULES) {
    const imports = WebAssembly.Module.imports(module).map(
      ({ module: from, name }) => `${from}.${name}`,
    );
    expect(imports.toSorted()).toEqual(['env.abort', 'env.memory']);
  }
});

test('XXH64 of the reference gives the published values', () => {
  const ok = (text: string, want: bigint): void =>
    expect(xxh64(Uint8Array.from(bytesOf(text)))).toBe(want);
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
  ok(
    [label('namespace', 'shop'), label('pod', 'cart-1'), label('instance', 'a')],
    '',
    'd44be6161a6ef85c/3',
  );
  ok([label('stadt', 'Köln 🌊'), label('x', 'v'.repeat(500))], '', 'c99033280a81fb4b/3');
});

test('the hash equals the reference for names and values of every length', () => {
  const builds = new Builds({ partitionBy: [] });
  for (let length = 1; length <= 140; length++) {
    const name = 'n'.repeat(length);
    const value = Array.from({ length }, (_, i) =>
      String.fromCharCode(33 + ((i * 7 + length) % 90)),
    ).join('');
    const raw = (text: string): Uint8Array => Uint8Array.from(bytesOf(text));
    const sum = labelHash(raw('__name__'), raw('up')) + labelHash(raw(name), raw(value));
    // Twice: the second time the label comes from the memo.
    for (let again = 0; again < 2; again++) {
      const got = identify(builds, [label(name, value)]).split('/')[0];
      expect(got, `length ${length}`).toBe(finish(sum).toString(16).padStart(16, '0'));
    }
  }
});

test('labels that differ in one byte are never taken for each other', () => {
  const builds = new Builds({ partitionBy: [], partitions: 1 });
  const reference = new ReferenceDecoder({ ...SETTINGS, partitionBy: [], partitions: 1 });
  // Names and values of every length that the memo keeps, and a few that it does not.
  for (let length = 1; length <= 100; length++) {
    const texts = Array.from({ length: length + 1 }, (_, i) =>
      i === 0 ? 'x'.repeat(length) : `${'x'.repeat(i - 1)}y${'x'.repeat(length - i)}`,
    );
    const request = texts.flatMap((text) => [
      ...series(UP, label('n', text), POINT),
      ...series(UP, label(text, 'v'), POINT),
    ]);
    const options = { tenant: '', nowMs: NOW_MS };
    const parsed = parseRequest(Uint8Array.from(request));
    const want = reference.decode(parsed, options).columns.get(0)!.fingerprint;
    expect(messages(builds.request([request]))[0]!.fingerprint, `length ${length}`).toEqual(want);
  }
});

test('order, empty values and stripped labels do not change a series', () => {
  const builds = new Builds({ stripLabels: ['replica', 'prometheus_replica'] });
  const want = identify(builds, [label('job', 'a'), label('zone', 'b')]);
  const ok = (labels: number[][]): void => expect(identify(builds, labels)).toBe(want);
  ok([label('zone', 'b'), label('job', 'a')]);
  ok([label('zone', 'b'), label('job', 'a'), label('empty', '')]);
  ok([label('job', 'a'), label('replica', 'r1'), label('zone', 'b')]);
  ok([
    label('job', 'a'),
    label('prometheus_replica', 'r2'),
    label('zone', 'b'),
    label('replica', 'r1'),
  ]);
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
  const byPod = expected([
    ['namespace', 'shop'],
    ['pod', 'cart-1'],
  ]);
  expect(partition(...pod)).toBe(byPod);
  expect(partition(label('instance', 'i'), ...pod.toReversed(), label('cpu', '1'))).toBe(byPod);
  const byInstance = expected([['instance', 'i']]);
  expect(partition(label('instance', 'i'), label('namespace', 'shop'))).toBe(byInstance);
  expect(partition(label('instance', 'i'), label('namespace', 'shop'), label('pod', ''))).toBe(
    byInstance,
  );
  const neither = expected([
    ['__name__', 'up'],
    ['pod', 'cart-1'],
  ]);
  expect(partition(label('pod', 'cart-1'))).toBe(neither);
});

test('without such a set all parts of a histogram meet, and nothing else is drawn together', () => {
  const builds = new Builds({ partitions: 64 });
  const partition = (metric: string, ...labels: number[][]): number => {
    const parts = [label('__name__', metric), label('job', 'a'), ...labels, POINT];
    return builds.request([series(...parts)]).blocks[0]!.partition;
  };
  for (const stem of ['latency_seconds', 'x', 'a.name_that.is_longer_than_any_other']) {
    const native = partition(stem);
    for (const bound of ['0.1', '5', '+Inf']) {
      expect(partition(`${stem}_bucket`, label('le', bound))).toBe(native);
    }
    expect([partition(`${stem}_count`), partition(`${stem}_sum`)]).toEqual([native, native]);
  }
  const names = ['up', 'a_total', 'a_created', 'a_buckets', '_sum', 'sum', '_bucket', 'bucket'];
  const others = names.flatMap((name) => [partition(name), partition(name, label('l', '1'))]);
  expect(new Set(others).size).toBeGreaterThan(10);
  // Pinned: whoever writes the log from elsewhere must put them in the same places.
  expect([partition('rpc_bucket', label('le', '1')), partition('up'), partition('_sum')]).toEqual([
    ...[7, 50, 30],
  ]);
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
    expect(got.blocks.map(({ partition }) => partition)).toEqual(
      [...want.columns.keys()].toSorted(),
    );
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
  const labels = [
    label('zone', 'b'),
    label('empty', ''),
    UP,
    label('replica', 'r'),
    label('ä', 'ö'),
  ];
  const decoded = builds.request([series(...labels, POINT)]);
  const message = messages(decoded)[0]!;
  const texts = message.series[0]!.label.map(({ name, value }) => [name, value]);
  expect(texts).toEqual([
    ['zone', 'b'],
    ['__name__', 'up'],
    ['ä', 'ö'],
  ]);
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
  const named = (name: string, ...parts: number[][]): number[] =>
    series(label('__name__', name), ...parts);
  const request = [
    named('anomaly_score', POINT, POINT),
    named('scrape_duration_seconds', POINT, delimited(4, [])),
    named('debug', POINT, sample(NOW_MS + FUTURE_MS_MAX * 2)),
    named('up', POINT),
  ];
  for (const newSeries of [4, 0]) {
    const decoded = builds.request(request);
    expect(decoded.leftOut).toEqual({
      ...{ keep: 0, own_output: 2, ignored: 2, dropped: 2, replica: 0 },
    });
    expect(decoded).toMatchObject({ received: 7, rejectedCount: 0, newSeries });
    expect(decoded.blocks.map(({ samples }) => samples)).toEqual([1]);
  }
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

test('snappy elements of every kind decode as written', () => {
  const builds = new Builds({ partitions: 1 });
  for (const period of [1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 31, 64, 100]) {
    const value = Array.from({ length: 300 }, (_, i) =>
      String.fromCharCode(97 + ((i % period) % 26)),
    ).join('');
    const decoded = builds.body(compressSync(Buffer.from(series(UP, label('x', value), POINT))));
    expect(messages(decoded)[0]!.series[0]!.label[1]!.value, `period ${period}`).toBe(value);
  }
});

test('an empty request is taken', () => {
  const want = { received: 0, blocks: [], rejectedCount: 0, firstRejects: [], newSeries: 0 };
  expect(new Builds().body(Uint8Array.of(0))).toMatchObject(want);
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
    expect(decoder.input(body.length).buffer.byteLength).toBeLessThan(400 * 1e6);
    decoder.input(body.length).set(body);
    decoder.decode(body.length, { tenant: '', nowMs: NOW_MS });
  }
  // Each has about 150 MB of address space.
  expect((process.memoryUsage().rss - before) / decoders.length).toBeLessThan(10 * 2 ** 20);
});
