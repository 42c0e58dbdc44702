// Remote-write 2.0 through decode.wasm and its host: the same series as in 1.0, start timestamps,
// exact counts, and how types and units reach the announcements, from 2.0 inline and from the
// metadata of 1.0. Every case runs on the release and on the debug build.

import { expect, test } from 'vitest';
import { writeRequestBody, writeRequestBodyV2, writeRequestV2 } from '../bench/write-requests.js';
import { MetricType } from '../src/gen/sample_block_pb.js';
import {
  ANNOUNCE_INTERVAL_MS,
  FAMILY_ENTRIES,
  FUTURE_MS_MAX,
  UNIT_BYTES_MAX,
  UNITS_MAX,
} from '../src/limits.js';
import { Builds, messages, NOW_MS, type Options, POINT, SETTINGS } from './decode-builds.js';
import { ReferenceDecoder } from './reference-decoder.js';
import { parseRequest } from './reference-messages.js';
import {
  bytesOf,
  delimited,
  fixed64,
  label,
  literalBlock,
  sample,
  series,
  seriesV2,
  symbols,
  tag,
  varint,
} from './wire-bytes.js';

const V2 = { version: 2 } as const;
const TABLE = symbols('', '__name__', 'up', 'job', 'a', 'seconds', 'bytes');
const started = (start: number, timestamp = NOW_MS): number[] =>
  delimited(2, [
    ...fixed64(1, 1n),
    ...tag(2, 0),
    ...varint(timestamp),
    ...tag(3, 0),
    ...varint(start),
  ]);
const metadata = (type: number, unit = 0): number[] =>
  delimited(5, [...tag(1, 0), type, ...tag(3, 0), 4, ...tag(4, 0), unit]);
const family = (name: string, type: number, unit = ''): number[] =>
  delimited(3, [
    ...tag(1, 0),
    type,
    ...delimited(2, bytesOf(name)),
    ...delimited(5, bytesOf(unit)),
  ]);

/** What a request announces: metric, type, unit. */
function announced(builds: Builds, request: number[][], options: Options = {}): unknown[] {
  return messages(builds.request(request, options)).flatMap((message) =>
    message.series.map(({ label: labels, type, unit }) => [
      labels.find(({ name }) => name === '__name__')!.value,
      type,
      unit,
    ]),
  );
}

test('a series is the same one in both versions, in the same partition', () => {
  const options = { seed: 11, series: 400, samplesPerSeries: 2 };
  const builds = new Builds({ partitions: 16, stripLabels: ['endpoint'] });
  const old = builds.body(writeRequestBody(options), { tenant: 'blue' });
  builds.forgetAnnouncements();
  const now = builds.body(writeRequestBodyV2(options), { tenant: 'blue', version: 2 });
  expect(now).toMatchObject({ received: 800, newSeries: 0, rejectedCount: 0 });
  expect(now.written).toEqual(old.written);
  expect(now.blocks.length).toBe(old.blocks.length);
  messages(now).forEach((message, i) => {
    const before = messages(old)[i]!;
    expect(now.blocks[i]!.partition).toBe(old.blocks[i]!.partition);
    expect(message.fingerprint).toEqual(before.fingerprint);
    expect(message.timestampMs).toEqual(before.timestampMs);
    expect(message.valueBits).toEqual(before.valueBits);
    expect(message.series.map((each) => each.label)).toEqual(
      before.series.map((each) => each.label),
    );
    expect(message.startTimestampMs).toHaveLength(before.fingerprint.length);
    expect(before.startTimestampMs).toEqual([]);
  });
});

test('a realistic request gives the blocks of the reference', () => {
  const options = { seed: 5, series: 300, samplesPerSeries: 3 };
  const got = new Builds().body(writeRequestBodyV2(options), V2);
  const reference = new ReferenceDecoder(SETTINGS);
  const want = reference.decode(parseRequest(writeRequestV2(options), 2), {
    tenant: '',
    nowMs: NOW_MS,
  });
  expect(got.newSeries).toBe(300);
  messages(got).forEach((message, i) => {
    const columns = want.columns.get(got.blocks[i]!.partition)!;
    expect(message.fingerprint).toEqual(columns.fingerprint);
    expect(message.startTimestampMs).toEqual(columns.startTimestampMs);
    expect(message.series).toMatchObject(columns.announced);
  });
});

test('one series sent twice in a request, by other symbols and in another order, is one', () => {
  const table = symbols('', '__name__', 'up', 'job', 'a', 'job', 'a', '__name__');
  const request = [table, seriesV2([1, 2, 3, 4], POINT), seriesV2([5, 6, 7, 2], POINT)];
  const decoded = new Builds().request(request, V2);
  expect(decoded.newSeries).toBe(1);
  expect(new Set(messages(decoded)[0]!.fingerprint).size).toBe(1);
  expect(messages(decoded)[0]!.series).toHaveLength(1);
});

test('start timestamps are a column when there is one, and the older field stands in', () => {
  const builds = new Builds({ partitions: 1 });
  const starts = (...parts: number[][]): bigint[] =>
    messages(builds.request([TABLE, seriesV2([1, 2], ...parts)], V2))[0]!.startTimestampMs;
  const created = [...tag(6, 0), ...varint(77)];
  expect(starts(POINT, POINT)).toEqual([]);
  expect(starts(POINT, started(5))).toEqual([0n, 5n]);
  expect(starts(started(0))).toEqual([]);
  expect(starts(started(5), POINT, created)).toEqual([5n, 77n]);
  expect(starts(created, POINT)).toEqual([77n]);
  // Before or after the sample, even in the future: carried, never judged.
  expect(starts(started(NOW_MS + 2 * FUTURE_MS_MAX))).toEqual([BigInt(NOW_MS + 2 * FUTURE_MS_MAX)]);
  // A rejected sample is no reason for a column.
  expect(starts(POINT, started(5, NOW_MS + 2 * FUTURE_MS_MAX))).toEqual([]);
  const mixed = builds.request(
    [TABLE, seriesV2([1, 2], POINT), seriesV2([1, 2, 3, 4], started(9))],
    V2,
  );
  expect(messages(mixed)[0]!.startTimestampMs).toEqual([0n, 9n]);
  expect(mixed.blocks[0]).toMatchObject({ samples: 2, floats: 2, hasStarts: true });
});

test('what is left out by rule counts as written, what is rejected does not', () => {
  const builds = new Builds({
    classify: (labels) => (labels.length > 1 ? 'dropped' : 'keep'),
  });
  const exemplar = delimited(4, fixed64(2, 1n));
  const decoded = builds.request(
    [
      TABLE,
      seriesV2([1, 2], POINT, sample(NOW_MS + 2 * FUTURE_MS_MAX), exemplar),
      seriesV2([1, 2, 3, 4], POINT, POINT, delimited(3, []), exemplar, exemplar),
      seriesV2([3, 4], POINT, exemplar),
    ],
    V2,
  );
  expect(decoded).toMatchObject({ received: 6, exemplars: 4 });
  expect(decoded.written).toEqual({ samples: 3, histograms: 1, exemplars: 3 });
  expect(decoded.leftOut.dropped).toBe(3);
});

test('type and unit of 2.0 are announced, and again when they change', () => {
  const builds = new Builds();
  const ask = (...parts: number[][]): unknown[] =>
    announced(builds, [TABLE, seriesV2([1, 2], ...parts, POINT)], V2);
  expect(ask(metadata(1, 5))).toEqual([['up', MetricType.COUNTER, 'seconds']]);
  expect(ask(metadata(1, 5))).toEqual([]);
  expect(ask(metadata(2, 5))).toEqual([['up', MetricType.GAUGE, 'seconds']]);
  expect(ask(metadata(2, 6))).toEqual([['up', MetricType.GAUGE, 'bytes']]);
  // Silence unsays nothing; neither does a type that nobody knows.
  expect(ask()).toEqual([]);
  expect(ask(metadata(0))).toEqual([]);
  expect(ask(metadata(99))).toEqual([]);
  expect(
    announced(builds, [TABLE, seriesV2([1, 2], POINT)], {
      ...V2,
      nowMs: NOW_MS + ANNOUNCE_INTERVAL_MS,
    }),
  ).toEqual([['up', MetricType.GAUGE, 'bytes']]);
  // Repeated metadata are merged.
  const halves = [delimited(5, [...tag(1, 0), 3]), delimited(5, [...tag(4, 0), 5])];
  expect(ask(...halves)).toEqual([['up', MetricType.HISTOGRAM, 'seconds']]);
});

test('types of 1.0 come in requests of their own and reach the series and the parts of a family', () => {
  const builds = new Builds();
  const named = (name: string): number[] => series(label('__name__', name), POINT);
  const names = ['up', 'x_total', 'x_count', 'x_sum', 'x_bucket', 'y_sum', 'z_count'];
  expect(announced(builds, names.map(named))).toHaveLength(7);
  expect(announced(builds, names.map(named))).toEqual([]);
  const learnt = builds.request([family('up', 2), family('x', 3, 'seconds'), family('z', 2)]);
  expect(learnt).toMatchObject({ received: 0, metadata: 3, blocks: [], rejectedCount: 0 });
  expect(new Set(announced(builds, names.map(named)).map(String))).toEqual(
    new Set([
      String(['up', MetricType.GAUGE, '']),
      // No part of a histogram is called _total, and a gauge has no _count.
      ...['x_count', 'x_sum', 'x_bucket'].map((name) =>
        String([name, MetricType.HISTOGRAM, 'seconds']),
      ),
    ]),
  );
  expect(announced(builds, names.map(named))).toEqual([]);
  // The same again changes nothing; another type is announced; its own name comes before the stem.
  builds.request([family('up', 2), family('x', 3, 'seconds')]);
  expect(announced(builds, names.map(named))).toEqual([]);
  builds.request([family('x_count', 1)]);
  expect(announced(builds, names.map(named))).toEqual([['x_count', MetricType.COUNTER, '']]);
  // "unknown" unsays nothing.
  builds.request([family('up', 0)]);
  expect(announced(builds, names.map(named))).toEqual([]);
});

test('a new series is announced with the type of its family, also when it comes with it', () => {
  const builds = new Builds();
  const late = series(label('__name__', 'late_total'), POINT);
  expect(announced(builds, [late, family('late', 1)])).toEqual([
    ['late_total', MetricType.COUNTER, ''],
  ]);
  // The family of one tenant is nobody else's.
  expect(announced(builds, [late], { tenant: 'blue' })).toEqual([['late_total', 0, '']]);
  // What a 2.0 request says of a series comes before what its family says.
  const request = [symbols('', '__name__', 'late_total'), seriesV2([1, 2], metadata(0), POINT)];
  expect(announced(builds, request, V2)).toEqual([]);
  request[1] = seriesV2([1, 2], delimited(5, [...tag(1, 0), 2]), POINT);
  expect(announced(builds, request, V2)).toEqual([['late_total', MetricType.GAUGE, '']]);
});

test('a corrupt request teaches nothing', () => {
  const builds = new Builds();
  const up = series(label('__name__', 'up'), POINT);
  builds.refused(literalBlock([...family('up', 1), 0x00]));
  expect(announced(builds, [up])).toEqual([['up', 0, '']]);
});

test('families and units beyond their room are left out and counted', () => {
  const builds = new Builds();
  const full = (FAMILY_ENTRIES / 4) * 3;
  const families = Array.from({ length: full + 10 }, (_, i) => family(`f${i}`, 1));
  expect(builds.request(families).familiesLeftOut).toBe(10);
  const last = (i: number): number[] => series(label('__name__', `f${i}`), POINT);
  expect(announced(builds, [last(full - 1)])).toEqual([[`f${full - 1}`, MetricType.COUNTER, '']]);
  expect(announced(builds, [last(full)])).toEqual([[`f${full}`, 0, '']]);

  const units = Array.from({ length: UNITS_MAX + 5 }, (_, i) => `u${i}`);
  const table = symbols('', '__name__', 'up', ...units, 'x'.repeat(UNIT_BYTES_MAX + 1));
  const each = [...units, 'long'].map((_, i) =>
    seriesV2([1, i + 3], delimited(5, [...tag(4, 0), ...varint(i + 3)]), POINT),
  );
  const decoded = new Builds({ partitions: 1 }).request([table, ...each], V2);
  expect(decoded.unitsLeftOut).toBe(6);
  const kept = messages(decoded)[0]!.series.map(({ unit }) => unit);
  expect(kept).toEqual([...units.slice(0, UNITS_MAX), ...Array(6).fill('')]);
}, 20_000);

test('many names, values of many names, and long lists give the labels of the reference', () => {
  const builds = new Builds({ partitions: 1, stripLabels: ['n3'] });
  const reference = new ReferenceDecoder({ ...SETTINGS, partitions: 1, stripLabels: ['n3'] });
  // More names than have a bit of their own, some of them twice in the table, and few values.
  const names = Array.from({ length: 150 }, (_, i) => `n${i % 140}`);
  const texts = ['', '__name__', 'up', 'v', 'w', ...names, ...Array(200).fill('x'), 'y'];
  const first = texts.indexOf('n0');
  const last = texts.length - 1;
  const lists = [
    ...names.map((_, i) => [1, 2, first + i, 3 + (i % 2)]),
    ...names.map((_, i) => [1, 2, first + i, 0, first + ((i + 1) % 140), last]),
    // 64 labels, and one too many; one name twice, as two symbols, early and late in the table.
    [1, 2, ...Array.from({ length: 63 }, (_, i) => [first + i, 3]).flat()],
    [1, 2, ...Array.from({ length: 64 }, (_, i) => [first + i, 3]).flat()],
    [1, 2, first + 5, 3, first + 145, 4],
    [1, 2, first + 100, 3, first + 100, 3],
    [1, 2, first + 139, 3, first + 138, 3, first + 139, 4],
    [1, 2, first + 3, 3, first + 3, 4],
    [1, 2, last + 1, 3],
    [1, 2, first, last + 1],
  ];
  const request = [symbols(...texts), ...lists.map((refs) => seriesV2(refs, POINT))];
  for (let again = 0; again < 2; again++) {
    const got = builds.request(request, V2);
    const parsed = parseRequest(Uint8Array.from(request.flat()), 2);
    const want = reference.decode(parsed, { tenant: '', nowMs: NOW_MS });
    expect(messages(got)[0]!.fingerprint).toEqual(want.columns.get(0)!.fingerprint);
    expect(got.rejected).toMatchObject(want.rejected);
    expect(want.rejected).toEqual({
      ...{ too_many_labels: 1, duplicate_label: 4, reference_out_of_range: 2 },
    });
  }
});

test('a decoder that takes the place of another knows the types that it had learnt', () => {
  const settings = { partitions: 1 };
  const before = new Builds(settings);
  before.request([family('requests', 1, 'requests'), family('latency', 3, 'seconds')]);
  const after = new Builds(settings);
  after.adoptFamilies(before);
  const named = (name: string) => series(label('__name__', name), POINT);
  expect(announced(after, [named('requests_total'), named('latency_bucket')])).toEqual([
    ['requests_total', 1, 'requests'],
    ['latency_bucket', 3, 'seconds'],
  ]);
  // It goes on learning where the other stopped, and the other does not hear of it.
  after.request([family('fresh', 2, 'bytes')]);
  expect(announced(after, [named('fresh')])).toEqual([['fresh', 2, 'bytes']]);
  expect(announced(before, [named('fresh')])).toEqual([['fresh', 0, '']]);
});
