// What decode.wasm does not take: series and samples that are rejected while the rest is kept, and
// whole requests that are refused, each with its reason. Beside each limit and each malformation
// stands what is still accepted.

import { compressSync } from 'snappy';
import { expect, test } from 'vitest';
import { writeRequestBody } from '../bench/write-requests.js';
import {
  DECODED_BYTES_MAX,
  FUTURE_MS_MAX,
  REQUEST_EXEMPLARS_MAX,
  REQUEST_METADATA_MAX,
  REQUEST_SAMPLES_MAX,
  REQUEST_SERIES_MAX,
} from '../src/limits.js';
import type { REJECT_REASONS } from '../src/receiver/wasm-decoder.js';
import { Builds, MODULES, messages, NOW_MS, none, POINT, UP } from './decode-builds.js';
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
  const many = (count: number): number[][] =>
    Array.from({ length: count }, (_, i) => label(`l${i}`, 'v'));
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

test('labels at the limits and unusual text are kept', () => {
  const builds = new Builds();
  const ok = (...labels: number[][]): void => {
    const decoded = builds.request([series(UP, ...labels, POINT)]);
    expect(decoded).toMatchObject({ received: 1, rejectedCount: 0 });
    expect(messages(decoded)[0]!.fingerprint).toHaveLength(1);
  };
  ok(...Array.from({ length: 63 }, (_, i) => label(`l${i}`, 'v')));
  ok(label('n'.repeat(1024), 'v'.repeat(8192)));
  ok(
    label('job name', 'nul \0 and newline \n'),
    label('instance.name', '🌊 é \uffff \u{10ffff} \ud7ff'),
  );
  ok(label('bom', '\ufefftext'));
  // Fields in another order, a repeated field (the last wins), one that nobody knows.
  ok(delimited(1, [...delimited(2, bytesOf('v')), ...delimited(1, bytesOf('n'))]));
  ok(delimited(1, [...delimited(1, bytesOf('__name__')), ...delimited(1, bytesOf('n'))]));
  ok(delimited(1, [...delimited(1, bytesOf('n')), ...tag(9, 0), 1, ...delimited(2, bytesOf('v'))]));
});

test('samples too far ahead and series without samples are rejected one by one', () => {
  const builds = new Builds();
  const last = NOW_MS + FUTURE_MS_MAX;
  const decoded = builds.request([
    series(UP, sample(last), sample(last + 1), sample((1n << 63n) - 1n), POINT),
    series(label('__name__', 'histogram'), delimited(4, [...tag(15, 0), ...varint(last + 1)])),
    series(label('__name__', 'bare')),
    // As Prometheus sends an exemplar: taken, and left out of the log.
    series(label('__name__', 'exemplars'), delimited(3, fixed64(2, 0n))),
    series(
      label('__name__', 'exemplars'),
      delimited(3, delimited(1, delimited(2, BROKEN_TEXT[0]!))),
      delimited(3, []),
    ),
    delimited(3, delimited(2, bytesOf('up'))),
    delimited(3, delimited(2, [])),
    delimited(3, delimited(2, BROKEN_TEXT[0]!)),
  ]);
  expect(decoded.rejected).toEqual({ ...none(), too_far_in_future: 3 });
  expect(decoded.rejectedOther).toEqual({
    ...{ ...none(), no_samples: 1, invalid_exemplar: 1, invalid_metadata: 2 },
  });
  const counts = { received: 5, rejectedCount: 7, exemplars: 3, metadata: 3, newSeries: 3 };
  expect(decoded).toMatchObject(counts);
  expect(decoded.written).toEqual({ samples: 2, histograms: 0, exemplars: 2 });
  expect(decoded.firstRejects).toEqual([
    { reason: 'invalid_metadata', series: '' },
    { reason: 'invalid_metadata', series: '' },
    { reason: 'too_far_in_future', series: 'up' },
    { reason: 'too_far_in_future', series: 'histogram' },
    { reason: 'no_samples', series: 'bare' },
  ]);
  expect(messages(decoded)[0]!.timestampMs).toEqual([BigInt(last), BigInt(NOW_MS)]);
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
  ok(
    `{a="${'🌊'.repeat(64)}…", b="${'x'.repeat(60)}…`,
    label('a', '🌊'.repeat(100)),
    label('b', 'x'.repeat(100)),
  );
  const cut = builds.request([series(label('a', `${'x'.repeat(195 - 2)}🌊🌊🌊`), POINT)])
    .firstRejects[0]!.series;
  expect(cut.length).toBeLessThanOrEqual(200);
  expect(cut).toMatch(/x[^\ud800-\udfff]*…$|🌊…$/u);
  const many = Array.from({ length: 9 }, (_, i) => series(label('job', `j${i}`), POINT));
  const { firstRejects, rejectedCount } = builds.request(many);
  expect(rejectedCount).toBe(9);
  expect(firstRejects.map((first) => first.series)).toEqual(
    [0, 1, 2, 3, 4].map((i) => `{job="j${i}"}`),
  );
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
  ok(
    [0x30, ...writeRequestBody({ seed: 1, series: 5, samplesPerSeries: 1 }).subarray(1)],
    /snappy/,
  );
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
  const named = delimited(1, [
    ...delimited(1, bytesOf('__name__')),
    ...delimited(2, bytesOf('up')),
  ]);
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
    Buffer.concat([
      Buffer.from([0x0a, ...varint(2 * count + UP.length), ...UP]),
      pairs(tagByte, count),
    ]);
  ok(inOneSeries(0x12, DECODED_BYTES_MAX / 2 - 100));
  ok(inOneSeries(0x12, REQUEST_SAMPLES_MAX + 1));
  ok(inOneSeries(0x22, REQUEST_SAMPLES_MAX + 1));
  ok(inOneSeries(0x1a, REQUEST_EXEMPLARS_MAX + 1));
  ok(pairs(0x1a, REQUEST_METADATA_MAX + 1));
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
