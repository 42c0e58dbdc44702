// Bad inputs, rows 59 to 65: native histograms that contradict themselves, each beside a good one and
// a good sample in one request of remote-write 2.0. The bad histogram is refused alone and named. What
// is right is what Prometheus takes (model/histogram, Validate), and what is left is logged, byte for
// byte as a decoder reads it.

import { fromBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { HistogramSchema } from '../src/gen/remote_write_v2_pb.js';
import { type BadInputs, good, messageOf, openBadInputs } from './bad-inputs.js';
import { keyOf } from './logged-series.js';
import { endPrograms } from './programs.js';
import { compress, WRITE_HEADERS_V2, writtenOf } from './remote-write-sender.js';
import { bytesOf, delimited, tag, varint } from './wire-bytes.js';
import {
  type HistogramV2,
  histogramBytes,
  type SeriesV2,
  writeRequestV2,
} from './write-request-v2.js';

type Histogram = Omit<HistogramV2, 'timestampMs'>;

const NOW = Date.now();
const SPANS = [
  [0, 3],
  [2, 2],
] as const;
/** 1, 3, 4, 7 and 8: 23. */
const DELTAS = [1, 2, 1, 3, 1] as const;
const RIGHT: Histogram = { count: 23, sum: 1, positive: { spans: SPANS, deltas: DELTAS } };
const CUSTOM: Histogram = {
  schema: -53,
  sum: 1,
  count: 30,
  positive: { spans: [[0, 6]], deltas: [2, 1, 2, 3, -1, -2] },
  customValues: [0.1, 0.5, 1, 2.5, 5, 10],
};
const FLOAT: Histogram = {
  countFloat: 6.5,
  sum: 1,
  zeroCountFloat: 1.5,
  positive: { spans: [[0, 2]], counts: [2, 3] },
};
const INT64_MAX = 2n ** 63n - 1n;

let inputs: BadInputs;
/** The histograms that were kept, as they were sent. */
const kept = new Map<string, Uint8Array>();

beforeAll(async () => {
  inputs = await openBadInputs('bad-histograms');
});

afterAll(async () => {
  inputs.close();
  await endPrograms();
});

test('59: the count is the sum of the buckets', async () => {
  const reason = 'histogram_count_mismatch';
  await refused(reason, { ...RIGHT, count: 99 });
  await refused(reason, { ...RIGHT, count: 22 });
  await refused(reason, { ...RIGHT, zeroCount: 1 });
  await refused(reason, { ...FLOAT, countFloat: 6 });
  await refused(reason, { ...RIGHT, count: 22, sum: Number.NaN });
  // Observations that are NaN are in the count and in no bucket.
  await taken({ ...RIGHT, count: 24, sum: Number.NaN });
  await taken({ ...RIGHT, count: 23, sum: Number.NaN });
});

test('60: the schema is one that is known', async () => {
  for (const schema of [99, -9, -5, -52, -54, 53, 2 ** 31 - 1, -(2 ** 31)]) {
    await refused('histogram_schema', { ...RIGHT, schema });
  }
  for (const schema of [-4, 0, 3, 8]) await taken({ ...RIGHT, schema });
});

test('61: custom buckets have no zero bucket, no threshold and nothing below zero', async () => {
  const reason = 'histogram_custom_parts';
  await refused(reason, { ...CUSTOM, count: 31, zeroCount: 1 });
  await refused(reason, { ...CUSTOM, zeroThreshold: 0.001 });
  await refused(reason, {
    ...CUSTOM,
    count: 31,
    negative: { spans: [[0, 1]], deltas: [1] },
  });
  await taken(CUSTOM);
  await taken({ ...CUSTOM, zeroCount: 0 });
});

test('62: custom bounds rise, are finite, and are enough', async () => {
  const reason = 'histogram_custom_bounds';
  for (const customValues of [
    [0.1, 0.5, 1, 5, 2.5, 10],
    [0.1, 0.5, 1, 1, 5, 10],
    [0.1, 0.5, Number.NaN, 2.5, 5, 10],
    [0.1, 0.5, 1, 2.5, 5, Number.POSITIVE_INFINITY],
  ]) {
    await refused(reason, { ...CUSTOM, customValues });
  }
  // Six buckets need five bounds: the last bucket ends at infinity.
  await taken({ ...CUSTOM, customValues: [0.1, 0.5, 1, 2.5, 5] });
  await refusedForAny({ ...CUSTOM, customValues: [0.1, 0.5, 1, 2.5] });
  await refusedForAny({ ...CUSTOM, customValues: [] });
  await refused('histogram_stray_bounds', { ...RIGHT, customValues: [1, 2] });
});

test('63: spans and buckets are as many, and a span is never walked', async () => {
  const mismatch = 'histogram_span_mismatch';
  await refused(mismatch, {
    ...RIGHT,
    count: 15,
    positive: { spans: SPANS, deltas: [1, 2, 1, 3] },
  });
  await refused(mismatch, { ...RIGHT, positive: { spans: SPANS, deltas: [...DELTAS, 1] } });
  await refused(mismatch, { ...RIGHT, positive: { spans: [], deltas: DELTAS } });
  await refused(mismatch, { ...RIGHT, negative: { spans: [[0, 1]] } });
  const begun = performance.now();
  for (const length of [2 ** 32 - 1, 2 ** 31]) {
    await refused(mismatch, { ...RIGHT, positive: { spans: [[0, length]], deltas: DELTAS } });
  }
  const huge = Array.from({ length: 1_000 }, () => [0, 2 ** 32 - 1] as const);
  await refused(mismatch, { ...RIGHT, positive: { spans: huge, deltas: DELTAS } });
  // Lengths whose sum is 5 modulo 2^32.
  const wrapping = [
    [0, 2 ** 32 - 1],
    [0, 6],
  ] as const;
  await refused(mismatch, { ...RIGHT, positive: { spans: wrapping, deltas: DELTAS } });
  expect(performance.now() - begun).toBeLessThan(3_000);
  const backwards = [
    [0, 3],
    [-1, 2],
  ] as const;
  await refused('histogram_span_offset', {
    ...RIGHT,
    positive: { spans: backwards, deltas: DELTAS },
  });
  const below = [
    [-7, 3],
    [2, 2],
  ] as const;
  await taken({ ...RIGHT, positive: { spans: below, deltas: DELTAS } });
});

test('64: no bucket is below zero, and no sum wraps', async () => {
  const reason = 'histogram_negative_bucket';
  const spans = [[0, 2]] as const;
  await refused(reason, { ...RIGHT, count: 0, positive: { spans, deltas: [1, -2] } });
  await refused(reason, { ...RIGHT, count: 1, negative: { spans, deltas: [-1, 2] } });
  await refused(reason, { ...FLOAT, countFloat: 1, positive: { spans, counts: [2, -1] } });
  await refusedForAny({ ...RIGHT, count: 0, positive: { spans, deltas: [INT64_MAX, 1n] } });
  await refusedForAny({ ...RIGHT, count: 1, positive: { spans, deltas: [INT64_MAX, INT64_MAX] } });
  // 2^63 + 2^63 observations are none, modulo 2^64.
  await refusedForAny({ ...RIGHT, count: 0, positive: { spans, deltas: [INT64_MAX, 0n] } });
  await refusedForAny({
    ...FLOAT,
    countFloat: Number.NaN,
    positive: { spans, counts: [Number.NaN, 1] },
  });
});

test('65: of an integer and a float count, the last one counts', async () => {
  // The second message of a field of message type is merged with the first: the last count wins.
  const float = histogramBytes({ ...FLOAT, timestampMs: NOW });
  const both = (...parts: Uint8Array[]) => Buffer.concat(parts);
  const integerCount = Uint8Array.from([...tag(1, 0), ...varint(7)]);
  const zeroInteger = Uint8Array.from([...tag(6, 0), ...varint(1)]);
  // Integer counts with float buckets contradict each other.
  await refusedForAny(both(float, integerCount));
  await refusedForAny(both(float, integerCount, zeroInteger));
  await taken({ count: 7, ...FLOAT });
  await taken(FLOAT);
});

test('a histogram that cannot be read makes the request unreadable', async () => {
  for (const bytes of [
    [...tag(11, 2), ...varint(100)],
    [...tag(9, 2), 1, 0x80],
    [...tag(16, 2), 7, 1, 2, 3, 4, 5, 6, 7],
    [...tag(8, 2), 2, 0x08, 0x80],
  ]) {
    const message = Uint8Array.from([
      ...['', '__name__', 'cut'].flatMap((symbol) => delimited(4, bytesOf(symbol))),
      ...delimited(5, [...delimited(1, [1, 2]), ...delimited(3, bytes)]),
    ]);
    const answer = await inputs.sender.send(compress(message), WRITE_HEADERS_V2);
    expect([answer.status, writtenOf(answer)]).toEqual([
      400,
      { samples: 0, histograms: 0, exemplars: 0 },
    ]);
  }
});

test('the future is refused of histograms too, and both kinds may share a series', async () => {
  const labels = { __name__: 'mixed' };
  const mixed: SeriesV2 = {
    labels,
    samples: [{ timestampMs: NOW, value: 1 }],
    histograms: [
      { ...RIGHT, timestampMs: NOW },
      { ...RIGHT, timestampMs: NOW + 3_600_000 },
    ],
  };
  await inputs.partly(
    { version: 2, message: writeRequestV2([mixed]) },
    {
      why: /^1 of 3 samples rejected: 1 too far in future; first: .*mixed$/m,
      reason: 'too_far_in_future',
      rejected: 1,
      samples: 1,
      histograms: 1,
    },
  );
  const right = { ...mixed, histograms: [{ ...RIGHT, timestampMs: NOW }] };
  inputs.keep(right);
  kept.set(keyOf(labels), histogramBytes({ ...RIGHT, timestampMs: NOW }));
});

test('1.0 has native histograms too, and no counts to say so', async () => {
  const right: SeriesV2 = {
    labels: { __name__: 'histogram_of_1_0' },
    histograms: [{ ...RIGHT, timestampMs: NOW }],
  };
  await inputs.take(messageOf(1, [right]), {});
  keepAll([right]);
  const wrong: SeriesV2 = {
    labels: { __name__: 'wrong' },
    histograms: [{ ...RIGHT, count: 99, timestampMs: NOW }],
  };
  const beside = good();
  await inputs.partly(messageOf(1, [wrong, beside]), {
    why: /^1 of 3 samples rejected: 1 histogram count mismatch; first: .*: wrong$/m,
    reason: 'histogram_count_mismatch',
    rejected: 1,
  });
  keepAll([beside]);
});

test('the log holds the right histograms as they were sent, and nothing else', async () => {
  const logged = await inputs.expectLog();
  let histograms = 0;
  for (const [key, bytes] of kept) {
    const found = logged.get(key)?.histograms[0];
    expect(found, key).toBeDefined();
    const decoded = fromBinary(HistogramSchema, found?.bytes ?? new Uint8Array());
    const sent = fromBinary(HistogramSchema, bytes);
    const times = { timestamp: 0n, startTimestamp: 0n };
    expect({ ...decoded, ...times }, key).toEqual({ ...sent, ...times });
    histograms++;
  }
  expect(histograms).toBeGreaterThan(40);
});

let sentSeries = 0;

/** The histogram between a good sample and a good histogram. */
function requestWith(histogram: Histogram | Uint8Array): {
  message: Uint8Array;
  right: SeriesV2[];
} {
  const number = String(sentSeries++);
  const beside: SeriesV2 = {
    labels: { __name__: 'beside', number },
    histograms: [{ ...RIGHT, timestampMs: NOW }],
  };
  const sample = good();
  const right = [beside, sample];
  if (histogram instanceof Uint8Array) {
    // Symbols are added up over the parts of a message: the part in front has them all.
    const symbols = ['', '__name__', 'judged', 'number', number];
    const front = Uint8Array.from([
      ...symbols.flatMap((symbol) => delimited(4, bytesOf(symbol))),
      ...delimited(5, [...delimited(1, [1, 2, 3, 4]), ...delimited(3, histogram)]),
    ]);
    return { message: front, right: [] };
  }
  const judged: SeriesV2 = {
    labels: { __name__: 'judged', number },
    histograms: [{ ...histogram, timestampMs: NOW }],
  };
  return { message: writeRequestV2([beside, judged, sample]), right };
}

async function refused(reason: string, histogram: Histogram): Promise<void> {
  const { message, right } = requestWith(histogram);
  const words = reason.replaceAll('_', ' ');
  await inputs.partly(
    { version: 2, message },
    {
      why: new RegExp(`^1 of 4 samples rejected: 1 ${words}; first: ${words}: judged\\{`),
      reason,
      rejected: 1,
      samples: 2,
      histograms: 1,
    },
  );
  keepAll(right);
}

/** Where several things are wrong, any of them may be named. */
async function refusedForAny(histogram: Histogram | Uint8Array): Promise<void> {
  const { message, right } = requestWith(histogram);
  const before = await inputs.metric('treeline_samples_rejected_total');
  const answer = await inputs.sender.send(compress(message), WRITE_HEADERS_V2);
  expect([answer.status, answer.text]).toEqual([
    400,
    expect.stringMatching(
      /^1 of [14] samples rejected: 1 histogram .*; first: histogram .*: judged/,
    ),
  ]);
  const good = right.length > 0;
  expect(writtenOf(answer)).toEqual({
    samples: good ? 2 : 0,
    histograms: good ? 1 : 0,
    exemplars: 0,
  });
  expect(await inputs.metric('treeline_samples_rejected_total')).toBe(before + 1);
  keepAll(right);
}

async function taken(histogram: Histogram): Promise<void> {
  const number = String(sentSeries);
  const { message, right } = requestWith(histogram);
  await inputs.take({ version: 2, message }, { samples: 2, histograms: 2 });
  const judged: SeriesV2 = {
    labels: { __name__: 'judged', number },
    histograms: [{ ...histogram, timestampMs: NOW }],
  };
  keepAll([...right, judged]);
}

function keepAll(series: readonly SeriesV2[]): void {
  inputs.keep(...series);
  for (const { labels = {}, histograms = [] } of series) {
    for (const one of histograms) kept.set(keyOf(labels), histogramBytes(one));
  }
}
