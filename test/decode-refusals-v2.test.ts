// What decode.wasm does not take of a remote-write 2.0 request, each with its reason, and beside it
// what is still accepted: references, symbols, exemplars, metadata, sizes, the other version's message.

import { compressSync } from 'snappy';
import { expect, test } from 'vitest';
import {
  LABEL_VALUE_BYTES_MAX,
  REQUEST_EXEMPLARS_MAX,
  REQUEST_LABEL_BYTES_MAX,
  REQUEST_METADATA_MAX,
  REQUEST_REFERENCES_MAX,
  REQUEST_SAMPLES_MAX,
  REQUEST_SERIES_MAX,
  REQUEST_SYMBOLS_MAX,
} from '../src/limits.js';
import type { REJECT_REASONS } from '../src/receiver/wasm-decoder.js';
import { Builds, messages, none, POINT } from './decode-builds.js';
import {
  bytesOf,
  delimited,
  fixed64,
  literalBlock,
  series,
  seriesV2,
  symbols,
  tag,
  varint,
} from './wire-bytes.js';

const V2 = { version: 2 } as const;
// 0 '', 1 __name__, 2 up, 3 job, 4 a, 5 __name__, 6 broken, 7 too long a name, 8 too long a value
const TABLE = symbols(
  ...['', '__name__', 'up', 'job', 'a', '__name__'],
  [0xc3, 0x28],
  'n'.repeat(1025),
  'v'.repeat(8193),
);
const UP = [1, 2];

test('a bad series is rejected for its reason and the others are kept', () => {
  const builds = new Builds();
  const ok = (
    reason: (typeof REJECT_REASONS)[number],
    refs: (number | bigint)[],
    ...parts: number[][]
  ): void => {
    const decoded = builds.request(
      [TABLE, seriesV2(UP, POINT), seriesV2(refs, POINT, ...parts), seriesV2(UP, POINT)],
      V2,
    );
    expect([refs, decoded.rejected]).toEqual([refs, { ...none(), [reason]: 1 }]);
    expect(decoded).toMatchObject({ received: 3, rejectedCount: 1 });
    expect(decoded.written).toEqual({ samples: 2, histograms: 0, exemplars: 0 });
    expect(messages(decoded)[0]!.fingerprint).toHaveLength(2);
  };
  ok('odd_references', [1]);
  ok('odd_references', [1, 2, 3]);
  ok('reference_out_of_range', [9, 2]);
  ok('reference_out_of_range', [1, 9]);
  ok('reference_out_of_range', [1, 2, 999, 4]);
  for (const above of [1n << 32n, 1n << 33n, 1n << 63n]) {
    ok('reference_out_of_range', [1, above + 2n]);
    ok('reference_out_of_range', [above + 1n, 2]);
    ok('reference_out_of_range', UP, [...tag(1, 0), 3, ...tag(1, 0), ...varint(above + 4n)]);
    ok('invalid_metadata', UP, delimited(5, [...tag(3, 0), ...varint(above + 4n)]));
  }
  ok('invalid_metadata', UP, delimited(5, [...tag(3, 0), 9]));
  ok('invalid_metadata', UP, delimited(5, [...tag(4, 0), 9]));
  ok('invalid_metadata', UP, delimited(5, [...tag(4, 0), 6]));
  ok('no_metric_name', []);
  ok('no_metric_name', [3, 4]);
  ok('no_metric_name', [1, 0]);
  ok('empty_label_name', [1, 2, 0, 4]);
  ok('duplicate_label', [1, 2, 3, 4, 3, 2]);
  ok('duplicate_label', [1, 2, 3, 4, 5, 2]);
  ok('duplicate_label', [1, 2, 3, 0, 3, 4]);
  ok('invalid_utf8', [1, 6]);
  ok('invalid_utf8', [1, 2, 6, 4]);
  ok('label_name_too_long', [1, 2, 7, 4]);
  ok('label_value_too_long', [1, 2, 3, 8]);
  const many = Array.from({ length: 65 }, (_, i) => [i + 9, 4]).flat();
  const wide = symbols(...Array.from({ length: 65 }, (_, i) => `l${i}`));
  const crowded = builds.request([TABLE, wide, seriesV2(many, POINT)], V2);
  expect(crowded.rejected).toEqual({ ...none(), too_many_labels: 1 });
}, 20_000);

test('without symbols no series is right', () => {
  const decoded = new Builds().request([seriesV2([0, 0], POINT)], V2);
  expect(decoded.rejected).toEqual({ ...none(), reference_out_of_range: 1 });
});

test('a series needs a sample or a histogram, and without one its exemplars are not written', () => {
  const exemplar = delimited(4, fixed64(2, 1n));
  const ok = (...parts: number[][]): void => {
    const decoded = new Builds().request([TABLE, seriesV2(UP, ...parts)], V2);
    expect(decoded.rejectedOther).toEqual({ ...none(), no_samples: 1 });
    expect(decoded.written).toEqual({ samples: 0, histograms: 0, exemplars: 0 });
  };
  ok();
  ok(exemplar);
  ok(delimited(5, [...tag(1, 0), 1]));
});

test('an exemplar with bad references is rejected alone', () => {
  const builds = new Builds();
  const exemplar = (...refs: (number | bigint)[]): number[] =>
    delimited(4, [
      ...delimited(
        1,
        refs.flatMap((ref) => varint(ref)),
      ),
      ...fixed64(2, 1n),
    ]);
  const ok = (bad: number[]): void => {
    const request = [TABLE, seriesV2(UP, exemplar(3, 4), POINT, bad, exemplar())];
    const decoded = builds.request(request, V2);
    expect(decoded.rejectedOther).toEqual({ ...none(), invalid_exemplar: 1 });
    expect(decoded.written).toEqual({ samples: 1, histograms: 0, exemplars: 2 });
    expect(decoded.firstRejects).toEqual([{ reason: 'invalid_exemplar', series: 'up' }]);
  };
  ok(exemplar(3));
  ok(exemplar(3, 999));
  ok(exemplar(999, 3));
  ok(exemplar(3, (1n << 32n) + 4n));
  ok(exemplar(3, 6));
  ok(delimited(4, [...tag(1, 0), 3]));
});

test('a message of the other version is refused and named', () => {
  const builds = new Builds();
  const v1 = literalBlock(series(delimited(1, [1]), POINT));
  const v2 = literalBlock([...TABLE, ...seriesV2(UP, POINT)]);
  const wrong = builds.refused(literalBlock(series(POINT)), 2);
  expect([wrong.status, wrong.message]).toEqual([400, expect.stringContaining('remote-write 1.0')]);
  expect(builds.refused(literalBlock(delimited(3, [])), 2).reason).toBe('wrong_version');
  const fallback = builds.refused(v2, 1);
  expect([fallback.status, fallback.reason]).toEqual([415, 'version_2_as_1']);
  expect(fallback.message).toContain('looks like remote-write 2.0');
  expect(builds.refused(literalBlock(symbols('')), 1).status).toBe(415);
  expect(builds.refused(v1, 1).reason).toBe('bad_protobuf');
  // A little of both is what its type says.
  const both = [...TABLE, ...seriesV2(UP, POINT), ...delimited(3, delimited(2, bytesOf('up')))];
  expect(builds.request([both], V2).received).toBe(1);
  expect(builds.request([both]).metadata).toBe(1);
  for (const version of [1, 2] as const) {
    expect(builds.body(Uint8Array.of(0), { version }).received).toBe(0);
  }
});

test('bytes that are not a request are refused with a sentence', () => {
  const builds = new Builds();
  const ok = (decoded: number[], want: RegExp): void => {
    const error = builds.refused(literalBlock(decoded), 2);
    expect(error.message).toMatch(want);
    expect(error.message).toContain('io.prometheus.write.v2.Request');
    expect([error.status, error.reason]).toEqual([400, 'bad_protobuf']);
  };
  ok([0x22, 5, 1], /past the end/);
  ok([0x2a, 0xff, 0xff, 0xff, 0xff, 0x0f], /past the end/);
  ok(delimited(5, delimited(1, [1, 0x80])), /past the end/);
  ok(delimited(5, delimited(1, varint(1, 11))), /varint/);
  ok(delimited(5, delimited(1, [...Array(20).fill(1), ...varint(1, 11), 1])), /varint/);
  ok(delimited(5, [...tag(1, 0), ...varint(1, 11)]), /varint/);
  ok(delimited(5, delimited(4, delimited(1, [0x80]))), /past the end/);
  ok(delimited(5, delimited(5, [...tag(1, 0), 0x80])), /past the end/);
  ok(delimited(5, delimited(2, [...tag(3, 0), 0x80])), /past the end/);
  ok(delimited(5, [...tag(6, 0), 0x80]), /past the end/);
  ok(delimited(5, [0x02, 0]), /tag/);
  // Also when the series comes before its symbols.
  ok([...delimited(5, delimited(1, [0x80])), ...TABLE], /past the end/);
});

test('more of anything than a request may have is 413, quickly', () => {
  const builds = new Builds();
  const ok = (decoded: Uint8Array, why: RegExp): void => {
    const body = compressSync(Buffer.from(decoded));
    const start = performance.now();
    const error = builds.refused(body, 2);
    expect([error.status, error.message]).toEqual([413, expect.stringMatching(why)]);
    expect(performance.now() - start).toBeLessThan(2_000);
  };
  const repeat = (bytes: number[], count: number): Buffer =>
    Buffer.alloc(bytes.length * count, Uint8Array.from(bytes));
  const inOneSeries = (content: Buffer): Buffer =>
    Buffer.concat([Buffer.from([...TABLE, 0x2a, ...varint(content.length)]), content]);
  ok(repeat([0x22, 1, 97], REQUEST_SYMBOLS_MAX + 1), /symbols/);
  ok(repeat([0x2a, 0], REQUEST_SERIES_MAX + 1), /series/);
  ok(repeat([0x2a, 0], 16_000_000), /series/);
  ok(inOneSeries(repeat([0x12, 0], REQUEST_SAMPLES_MAX + 1)), /samples/);
  ok(inOneSeries(repeat([0x1a, 0], REQUEST_SAMPLES_MAX + 1)), /samples/);
  ok(inOneSeries(repeat([0x22, 0], REQUEST_EXEMPLARS_MAX + 1)), /exemplars/);
  ok(inOneSeries(repeat([0x2a, 0], REQUEST_METADATA_MAX + 1)), /metadata/);
  ok(inOneSeries(repeat([0x08, 1], REQUEST_REFERENCES_MAX + 1)), /references/);
  const packed = repeat([1], REQUEST_REFERENCES_MAX + 1);
  const head = (tagByte: number): Buffer => Buffer.from([tagByte, ...varint(packed.length)]);
  ok(inOneSeries(Buffer.concat([head(0x0a), packed])), /references/);
  const exemplar = Buffer.concat([head(0x0a), packed]);
  ok(
    inOneSeries(Buffer.concat([Buffer.from([0x22, ...varint(exemplar.length)]), exemplar])),
    /references/,
  );
  // A value of the greatest length, referred to by as many series as make it too much.
  const value = 'v'.repeat(LABEL_VALUE_BYTES_MAX);
  const many = Math.ceil(REQUEST_LABEL_BYTES_MAX / LABEL_VALUE_BYTES_MAX);
  const table = symbols('', '__name__', 'up', 'job', value);
  const amplified = (count: number): Buffer =>
    Buffer.concat([Buffer.from(table), repeat(seriesV2([1, 2, 3, 4], delimited(2, [])), count)]);
  ok(amplified(many), /labels/);
  const most = builds.body(compressSync(amplified(many - 100)), V2);
  expect(most.received).toBe(many - 100);
});

test('whatever a protobuf decoder may do is done', () => {
  const builds = new Builds();
  const ok = (...parts: number[][]): void => {
    const decoded = builds.request(parts, V2);
    expect(decoded).toMatchObject({ received: 1, rejectedCount: 0 });
    expect(messages(decoded)[0]!.series.length + 1).toBeGreaterThan(0);
  };
  const unknown = [
    [...tag(9, 0), ...varint((1n << 64n) - 1n)],
    fixed64(1000, 7n),
    [...tag(9, 3), ...delimited(1, [1]), ...tag(9, 4)],
    [...tag(4, 0), 5],
    fixed64(5, 1n),
  ].flat();
  ok(unknown, TABLE, seriesV2(UP, POINT), unknown);
  ok(seriesV2(UP, POINT), TABLE);
  ok(TABLE, delimited(5, [...POINT, ...delimited(1, UP)]));
  ok(TABLE, delimited(5, [...tag(1, 0), 1, ...tag(1, 0), 2, ...POINT]));
  ok(
    TABLE,
    delimited(5, [...delimited(1, [1]), ...POINT, ...delimited(1, []), ...delimited(1, [2])]),
  );
  ok(TABLE, delimited(5, [...delimited(1, [1]), ...tag(1, 0), 2, ...POINT]));
  ok(TABLE, delimited(5, [...delimited(1, [...varint(1, 10), ...varint(2, 3)]), ...POINT]));
  ok(TABLE, seriesV2(UP, fixed64(5, 1n), [...tag(6, 1), 1, 2, 3, 4, 5, 6, 7, 8], POINT));
});

test('a first symbol that is not empty is accepted, and said', () => {
  const table = symbols('job', '__name__', 'up');
  const decoded = new Builds().request([table, seriesV2([1, 2, 0, 2], POINT)], V2);
  expect(decoded).toMatchObject({ rejectedCount: 0, hasOddFirstSymbol: true });
  // Metadata without a unit have the reference 0, which then is no unit.
  const metadata = delimited(5, [...tag(1, 0), 2]);
  const typed = new Builds().request([table, seriesV2([1, 2], metadata, POINT)], V2);
  expect(messages(typed)[0]!.series[0]).toMatchObject({ type: 2, unit: '' });
});
