// Native histograms: the valid ones go into their own section of the block byte for byte, with what
// a reader needs beside them; each kind of invalid one is rejected with its own reason, and the rest
// of its series is kept. In both versions of remote-write.

import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { HistogramSchema } from '../src/gen/remote_write_v2_pb.js';
import { FUTURE_MS_MAX, HISTOGRAM_BYTES_MAX } from '../src/limits.js';
import type { RejectReason } from '../src/receiver/wasm-decoder.js';
import { Builds, messages, NOW_MS, none, POINT, UP } from './decode-builds.js';
import { delimited, fixed64, label, series, seriesV2, symbols, tag, varint } from './wire-bytes.js';

type Shape = MessageInitShape<typeof HistogramSchema>;

const SPANS = [
  { offset: 0, length: 2 },
  { offset: 1, length: 1 },
];
/** Buckets 1, 3, 2. */
const INTEGER: Shape = {
  count: { case: 'countInt', value: 7n },
  zeroCount: { case: 'zeroCountInt', value: 1n },
  sum: 12.5,
  schema: 3,
  positiveSpans: SPANS,
  positiveDeltas: [1n, 2n, -1n],
  timestamp: BigInt(NOW_MS),
};
const FLOAT: Shape = {
  count: { case: 'countFloat', value: 7.5 },
  zeroCount: { case: 'zeroCountFloat', value: 1 },
  sum: 12.5,
  positiveSpans: SPANS,
  positiveCounts: [1, 3, 2.5],
  timestamp: BigInt(NOW_MS),
};
const CUSTOM: Shape = {
  count: { case: 'countInt', value: 6n },
  sum: 1,
  schema: -53,
  positiveSpans: SPANS,
  positiveDeltas: [1n, 2n, -1n],
  customValues: [0.5, 1, 2.5],
  timestamp: BigInt(NOW_MS),
};
const TABLE = symbols('', '__name__', 'up');

/** The same histogram, sent in both versions, with a sample beside it. */
function both(content: Uint8Array): ReturnType<Builds['request']>[] {
  const builds = new Builds({ partitions: 1 });
  const v1 = builds.request([series(UP, delimited(4, content), POINT)]);
  const v2 = new Builds({ partitions: 1 }).request(
    [TABLE, seriesV2([1, 2], delimited(3, content), POINT)],
    { version: 2 },
  );
  return [v1, v2];
}

function bytes(shape: Shape): Uint8Array {
  return toBinary(HistogramSchema, create(HistogramSchema, shape));
}

function ok(content: Uint8Array): void {
  for (const decoded of both(content)) {
    expect(decoded).toMatchObject({ received: 2, rejectedCount: 0 });
    expect(decoded.written).toEqual({ samples: 1, histograms: 1, exemplars: 0 });
    const [message] = messages(decoded);
    expect(Buffer.compare(message!.histogram[0]!.histogram, content)).toBe(0);
    expect(message!.histogram[0]!.fingerprint).toBe(message!.fingerprint[0]);
    expect(fromBinary(HistogramSchema, content).timestamp).toBe(message!.histogram[0]!.timestampMs);
  }
}

function no(reason: RejectReason, content: Uint8Array): void {
  for (const decoded of both(content)) {
    expect(decoded.rejected).toEqual({ ...none(), [reason]: 1 });
    expect(decoded.written).toEqual({ samples: 1, histograms: 0, exemplars: 0 });
    expect(decoded.firstRejects).toEqual([{ reason, series: 'up' }]);
    expect(messages(decoded)[0]).toMatchObject({ histogram: [] });
    expect(messages(decoded)[0]!.fingerprint).toHaveLength(1);
  }
}

test('integer, float and custom buckets are kept as they were sent', () => {
  ok(bytes(INTEGER));
  ok(bytes(FLOAT));
  ok(bytes(CUSTOM));
  ok(bytes({ timestamp: 5n }));
  ok(new Uint8Array(0));
  const negative = { negativeSpans: [{ offset: -3, length: 1 }], negativeDeltas: [5n] };
  ok(bytes({ ...INTEGER, ...negative, count: { case: 'countInt', value: 12n } }));
  for (const schema of [-4, 0, 8, 9, 52]) ok(bytes({ ...INTEGER, schema }));
  // NaN observations are in the count and in no bucket.
  ok(bytes({ ...INTEGER, sum: Number.NaN, count: { case: 'countInt', value: 9n } }));
  ok(bytes({ ...FLOAT, sum: Number.NaN, count: { case: 'countFloat', value: 9 } }));
  // A rounding error is none.
  ok(bytes({ ...FLOAT, count: { case: 'countFloat', value: 7.5 + 1e-9 } }));
  // The first bucket may lie anywhere, a span may be empty.
  ok(
    bytes({
      ...INTEGER,
      positiveSpans: [
        { offset: -700, length: 3 },
        { offset: 9, length: 0 },
      ],
    }),
  );
  ok(bytes({ ...CUSTOM, positiveSpans: [{ offset: 1, length: 3 }] }));
  // Values one by one instead of packed, and an unknown field.
  const unpacked = [
    ...[...tag(4, 0), 0, ...tag(99, 0), 7, ...tag(1, 0), 4],
    ...[
      ...delimited(11, [...tag(2, 0), 2]),
      ...tag(12, 0),
      ...varint(4),
      ...tag(12, 0),
      ...varint(0),
    ],
  ];
  ok(Uint8Array.from(unpacked));
});

test('an invalid histogram is rejected alone and for its own reason', () => {
  no('histogram_schema', bytes({ ...INTEGER, schema: 99 }));
  for (const schema of [-5, -9, -52, -54, 53])
    no('histogram_schema', bytes({ ...INTEGER, schema }));
  no('histogram_count_mismatch', bytes({ ...INTEGER, count: { case: 'countInt', value: 99n } }));
  no('histogram_count_mismatch', bytes({ ...INTEGER, count: { case: undefined } }));
  no('histogram_count_mismatch', bytes({ ...FLOAT, count: { case: 'countFloat', value: 7 } }));
  no(
    'histogram_count_mismatch',
    bytes({ ...INTEGER, sum: Number.NaN, count: { case: 'countInt', value: 6n } }),
  );
  // Two buckets of 2^63 are none modulo 2^64.
  const huge = { positiveSpans: [{ length: 3 }], positiveDeltas: [(1n << 63n) - 1n, 0n, 0n] };
  no('histogram_count_mismatch', bytes({ ...INTEGER, ...huge }));
  no('histogram_negative_bucket', bytes({ ...INTEGER, positiveDeltas: [1n, -2n, 5n] }));
  no('histogram_negative_bucket', bytes({ ...FLOAT, positiveCounts: [1, -3, 2.5] }));
  no('histogram_negative_bucket', bytes({ ...FLOAT, positiveCounts: [1, Number.NaN, 2.5] }));
  no(
    'histogram_negative_bucket',
    bytes({ ...FLOAT, zeroCount: { case: 'zeroCountFloat', value: -1 } }),
  );
  no('histogram_negative_bucket', bytes({ ...FLOAT, count: { case: 'countFloat', value: -1 } }));
  const wrapping = { positiveSpans: [{ length: 2 }], positiveDeltas: [(1n << 63n) - 1n, 1n] };
  no('histogram_negative_bucket', bytes({ ...INTEGER, ...wrapping }));
  no('histogram_span_mismatch', bytes({ ...INTEGER, positiveSpans: [{ length: 5 }] }));
  no('histogram_span_mismatch', bytes({ ...INTEGER, positiveSpans: [{ length: 2 ** 32 - 1 }] }));
  no('histogram_span_mismatch', bytes({ ...INTEGER, positiveSpans: [] }));
  no('histogram_span_mismatch', bytes({ ...INTEGER, negativeSpans: [{ length: 1 }] }));
  const [first, second] = SPANS;
  no(
    'histogram_span_offset',
    bytes({ ...INTEGER, positiveSpans: [first!, { ...second!, offset: -1 }] }),
  );
  no(
    'histogram_span_offset',
    bytes({ ...INTEGER, positiveSpans: [{ offset: 2 ** 31 - 1, length: 3 }] }),
  );
  no('histogram_span_offset', bytes({ ...CUSTOM, positiveSpans: [{ offset: -1, length: 3 }] }));
  for (const customValues of [
    [1, 0.5, 2],
    [1, 1, 2],
    [1, Number.NaN, 2],
    [0.5, 1, Number.POSITIVE_INFINITY],
    [1],
  ]) {
    no('histogram_custom_bounds', bytes({ ...CUSTOM, customValues }));
  }
  no(
    'histogram_custom_parts',
    bytes({ ...CUSTOM, zeroCount: { case: 'zeroCountInt', value: 1n } }),
  );
  no('histogram_custom_parts', bytes({ ...CUSTOM, zeroThreshold: 0.1 }));
  no('histogram_custom_parts', bytes({ ...CUSTOM, negativeSpans: [{ length: 0 }] }));
  no('histogram_stray_bounds', bytes({ ...INTEGER, customValues: [1] }));
  no(
    'histogram_too_long',
    bytes({
      ...CUSTOM,
      customValues: Array.from({ length: HISTOGRAM_BYTES_MAX / 8 }, (_, i) => i),
    }),
  );
  no('too_far_in_future', bytes({ ...INTEGER, timestamp: BigInt(NOW_MS + FUTURE_MS_MAX + 1) }));
});

test('of an integer and a float count the last one is meant', () => {
  const integer = Uint8Array.from([...tag(1, 0), ...varint(7)]);
  const float = Uint8Array.from(fixed64(2, 0x401e000000000000n));
  ok(Buffer.concat([integer, bytes(FLOAT)]));
  no('histogram_span_mismatch', Buffer.concat([bytes(FLOAT), integer]));
  no('histogram_span_mismatch', Buffer.concat([bytes(INTEGER), float]));
});

test('a known field of another wire type is rejected: a reader of the log would stumble over it', () => {
  const odd = (part: number[]): void =>
    no('histogram_malformed', Buffer.concat([bytes(INTEGER), Uint8Array.from(part)]));
  odd([...tag(3, 0), 1]);
  odd(fixed64(1, 1n));
  odd([...tag(15, 5), 1, 2, 3, 4]);
  odd(delimited(14, [1]));
  odd([...tag(11, 0), 1]);
  odd(delimited(11, [...tag(1, 5), 1, 2, 3, 4]));
  odd([...tag(13, 0), 1]);
  odd(delimited(17, [1]));
});

test('the time of a span does not depend on its length', () => {
  const builds = new Builds();
  const spans = Array.from({ length: 5000 }, () =>
    delimited(11, [...tag(2, 0), ...varint(2 ** 32 - 1)]),
  );
  const content = delimited(4, spans.flat());
  // Of 2^32 buckets each: counted one by one, these would take hours.
  const request = Array.from({ length: 100 }, () => series(UP, content));
  const start = process.cpuUsage();
  expect(builds.request(request).rejected['histogram_span_mismatch']).toBe(100);
  expect(process.cpuUsage(start).user / 1000).toBeLessThan(2_000);
});

test('a series of histograms alone is announced, and start timestamps go with them', () => {
  const started = bytes({ ...INTEGER, startTimestamp: 123n });
  const plain = bytes(INTEGER);
  const decoded = new Builds({ partitions: 1 }).request(
    [
      TABLE,
      seriesV2([1, 2], delimited(3, started), delimited(3, plain), [...tag(6, 0), ...varint(77)]),
    ],
    { version: 2 },
  );
  const [message] = messages(decoded);
  expect(decoded.blocks[0]).toMatchObject({ samples: 2, floats: 0, hasStarts: false });
  expect(message!.series).toHaveLength(1);
  expect(message!.fingerprint).toEqual([]);
  expect(message!.histogram.map((each) => each.startTimestampMs)).toEqual([123n, 77n]);
  // Version 1.0 has no start timestamps; what stands there is an unknown field to it.
  const [old] = both(started);
  expect(messages(old!)[0]!.histogram[0]!.startTimestampMs).toBe(0n);
});

test('a thousand series with one each, left out by rule, count as written', () => {
  const builds = new Builds({ classify: () => 'dropped' });
  const parts = Array.from({ length: 1000 }, (_, i) =>
    series(UP, label('i', String(i)), delimited(4, bytes({ ...INTEGER, schema: 99 })), POINT),
  );
  const decoded = builds.request(parts);
  expect(decoded).toMatchObject({ received: 2000, rejectedCount: 0, blocks: [] });
  expect(decoded.written).toEqual({ samples: 1000, histograms: 1000, exemplars: 0 });
});
