// The compliance suite's requests with native histograms (histograms_test.go), as data; see
// compliance-cases.ts. Every histogram there is made of the same few parts: positive buckets of 23
// observations, negative ones of 3, one observation at zero, or six custom buckets of 30.

import { type CaseHistogram, type ComplianceCase, good, named } from './compliance-case.js';

type Part = 'positive' | 'negative' | 'zero' | 'custom';

/** Counts 1, 3, 4, 7 and 8, in two spans. */
const POSITIVE = {
  spans: [
    [0, 3],
    [2, 2],
  ],
  deltas: [1, 2, 1, 3, 1],
} as const;
/** Counts 1 and 2. */
const NEGATIVE = { spans: [[0, 2]], deltas: [1, 1] } as const;
/** Counts 2, 3, 5, 8, 7 and 5: one bucket fewer than the bounds allow. */
const CUSTOM: CaseHistogram = {
  schema: -53,
  count: 30,
  positive: { spans: [[0, 6]], deltas: [2, 1, 2, 3, -1, -2] },
  customValues: [0.1, 0.5, 1, 2.5, 5, 10],
};

export function histogramOf(sum: number, ...parts: readonly Part[]): CaseHistogram {
  const has = (part: Part): boolean => parts.includes(part);
  if (has('custom')) return { ...CUSTOM, sum };
  return {
    ...(has('zero') ? { zeroCount: 1 } : {}),
    sum,
    count: (has('positive') ? 23 : 0) + (has('negative') ? 3 : 0) + (has('zero') ? 1 : 0),
    ...(has('positive') ? { positive: POSITIVE } : {}),
    ...(has('negative') ? { negative: NEGATIVE } : {}),
  };
}

export function histogramCases(): ComplianceCase[] {
  return [
    good('TestHistograms/basic_histogram', [
      {
        labels: named('test_histogram'),
        histogram: histogramOf(1, 'positive', 'negative', 'zero'),
      },
    ]),
    good('TestHistograms/custom_buckets_histogram', [
      { labels: named('test_histogram'), histogram: histogramOf(1, 'custom') },
    ]),
    good('TestHistograms/positive_only_histogram', [
      {
        labels: named('test_histogram', { job: 'test' }),
        histogram: histogramOf(1, 'positive', 'zero'),
      },
    ]),
    good('TestHistograms/negative_only_histogram', [
      {
        labels: named('test_histogram', { instance: 'localhost' }),
        histogram: histogramOf(1, 'negative'),
      },
    ]),
    good('TestHistograms/minimal_histogram', [
      { labels: named('minimal_hist'), histogram: histogramOf(1, 'zero') },
    ]),
    {
      test: 'TestHistograms/bad_count_histogram',
      times: 1,
      series: [
        { labels: named('minimal_hist'), histogram: { ...histogramOf(1, 'positive'), count: 99 } },
      ],
      want: { status: 400 },
    },
    good('TestHistogramWithCreatedTimestamp', [
      {
        labels: named('request_duration_seconds', { job: 'api' }),
        histogram: histogramOf(1.5, 'positive', 'negative', 'zero'),
        createdAgeMs: 30 * 60_000,
      },
    ]),
    good('TestMultipleHistograms', [
      { labels: named('hist1', { job: 'test' }), histogram: histogramOf(10.5, 'positive', 'zero') },
      { labels: named('hist2', { job: 'test' }), histogram: histogramOf(5.2, 'negative') },
    ]),
    good('TestEmptyHistogram', [{ labels: named('empty_hist'), histogram: histogramOf(0) }]),
    ...casesWithContext(),
  ];
}

/** Histograms with metadata, exemplars, or both. */
function casesWithContext(): ComplianceCase[] {
  const getRequests = named('http_request_duration_seconds', { method: 'GET' });
  const uploads = named('response_size_bytes', { service: 'upload' });
  return [
    good('TestHistogramWithMetadata', [
      {
        labels: named('request_duration_seconds', { job: 'api' }),
        histogram: histogramOf(2.5, 'positive', 'negative', 'zero'),
        metadata: ['histogram', 'HTTP request duration in seconds', 'seconds'],
      },
    ]),
    good('TestHistogramWithExemplar', [
      {
        labels: getRequests,
        histogram: histogramOf(1.23, 'positive', 'zero'),
        exemplars: [{ labels: { trace_id: 'abc123def456', span_id: 'span789' }, value: 1.23 }],
      },
    ]),
    good('TestHistogramWithMetadataAndExemplar', [
      {
        labels: uploads,
        histogram: histogramOf(10485760, 'positive', 'negative', 'zero'),
        metadata: ['histogram', 'HTTP response size in bytes', 'bytes'],
        exemplars: [
          { labels: { trace_id: 'large_upload_trace', user_id: 'user456' }, value: 10485760 },
        ],
      },
    ]),
    good('TestMultipleHistogramsWithMetadata', [
      {
        labels: named('cpu_usage_histogram', { instance: 'server1' }),
        histogram: histogramOf(0.75, 'positive', 'zero'),
        metadata: ['histogram', 'CPU usage distribution', 'ratio'],
      },
      {
        labels: named('memory_usage_histogram', { instance: 'server1' }),
        histogram: histogramOf(8589934592, 'positive', 'negative'),
        metadata: ['histogram', 'Memory usage distribution', 'bytes'],
      },
    ]),
  ];
}
