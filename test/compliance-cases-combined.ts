// The compliance suite's requests that combine samples, histograms, exemplars and metadata
// (combined_test.go), as data; see compliance-cases.ts. Two of them hold series with nothing but
// metadata or exemplars: the suite lists them as good and takes a 400 as well. Here they are 400, as
// in Prometheus.

import { type CaseSeries, type ComplianceCase, good, HOUR_MS, named } from './compliance-case.js';
import { histogramOf } from './compliance-cases-histograms.js';

const MANY = 50;

export function combinedCases(): ComplianceCase[] {
  return [...families(), ...edgeCases(), ...many(), ...peculiar()];
}

function families(): ComplianceCase[] {
  return [
    good('TestSamplesWithMetadataAndExemplars', [
      {
        labels: named('http_requests_total', { job: 'api', method: 'POST' }),
        value: 1,
        metadata: ['counter', 'Total number of HTTP requests', 'requests'],
        exemplars: [{ labels: { trace_id: 'request_trace_123', user_id: 'user789' }, value: 1 }],
      },
    ]),
    good('TestHistogramsWithMetadataAndExemplars', [
      {
        labels: named('request_duration_seconds', { service: 'auth' }),
        histogram: histogramOf(0.456, 'positive', 'negative', 'zero'),
        metadata: ['histogram', 'HTTP request duration distribution', 'seconds'],
        exemplars: [
          { labels: { trace_id: 'slow_request_trace', endpoint: '/login' }, value: 0.456 },
        ],
      },
    ]),
    good('TestComplexSamplesRequest', [
      {
        labels: named('cpu_usage', { instance: 'server1' }),
        value: 0.85,
        metadata: ['gauge', 'CPU usage ratio', 'ratio'],
        exemplars: [{ labels: { trace_id: 'high_cpu_trace', process: 'worker' }, value: 0.85 }],
      },
      {
        labels: named('memory_usage', { instance: 'server1' }),
        value: 8589934592,
        metadata: ['gauge', 'Memory usage in bytes', 'bytes'],
      },
    ]),
    good('TestComplexHistogramsRequest', [
      {
        labels: named('response_time_hist', { endpoint: '/api/v1/users' }),
        histogram: histogramOf(0.125, 'positive', 'zero'),
        metadata: ['histogram', 'Response time distribution', 'seconds'],
        exemplars: [{ labels: { trace_id: 'fast_response', user: 'premium' }, value: 0.125 }],
      },
      {
        labels: named('request_size_hist', { method: 'POST' }),
        histogram: histogramOf(1024, 'negative', 'zero'),
        metadata: ['histogram', 'Request size distribution', 'bytes'],
      },
    ]),
    good('TestMultipleMetricFamiliesSamples', [
      {
        labels: named('http_requests_total', { status: '200' }),
        value: 1000,
        metadata: ['counter', 'Total HTTP requests', 'requests'],
        exemplars: [{ labels: { trace_id: 'successful_request' }, value: 1000 }],
      },
      {
        labels: named('temperature_celsius', { location: 'datacenter1' }),
        value: 23.5,
        metadata: ['gauge', 'Temperature in Celsius', 'celsius'],
      },
    ]),
    good('TestMultipleMetricFamiliesHistograms', [
      {
        labels: named('request_duration_seconds', { handler: '/metrics' }),
        histogram: histogramOf(0.003, 'positive', 'zero'),
        metadata: ['histogram', 'Request duration in seconds', 'seconds'],
        exemplars: [
          { labels: { trace_id: 'metrics_scrape', scraper: 'prometheus' }, value: 0.003 },
        ],
      },
    ]),
  ];
}

function edgeCases(): ComplianceCase[] {
  const one = (
    name: string,
    series: CaseSeries[],
    want: ComplianceCase['want'],
  ): ComplianceCase => ({
    test: `TestEdgeCaseCombinations/${name}`,
    times: 1,
    series,
    want,
  });
  return [
    one(
      'metadata_without_data',
      [
        {
          labels: named('orphan_metric'),
          metadata: ['counter', 'Orphaned metric metadata', 'count'],
        },
      ],
      { status: 400 },
    ),
    one(
      'exemplars_without_data',
      [
        {
          labels: named('orphan_metric'),
          exemplars: [{ labels: { trace_id: 'orphan_trace' }, value: 42 }],
        },
      ],
      { status: 400 },
    ),
    one(
      'mixed_timestamp_data',
      [
        {
          labels: named('old_metric'),
          value: 1,
          ageMs: HOUR_MS,
          exemplars: [{ labels: { trace_id: 'old_trace' }, value: 1, ageMs: HOUR_MS / 2 }],
        },
        { labels: named('new_metric'), value: 2 },
      ],
      { status: 204, samples: 2, exemplars: 1 },
    ),
  ];
}

function many(): ComplianceCase[] {
  const rows = Array.from({ length: MANY }, (_, i) => i);
  return [
    good(
      'TestManySamples',
      rows.map((i) => ({
        labels: named(`counter_metric_${i}`, { series: `series_${i}` }),
        value: i * 100,
        metadata: ['counter', `Counter metric number ${i}`, 'count'],
        exemplars: [{ labels: { trace_id: `trace_${i}` }, value: i * 100 }],
      })),
    ),
    good(
      'TestManyHistograms',
      rows.map((i) => ({
        labels: named(`histogram_metric_${i}`, { bucket: `bucket_${i}` }),
        histogram:
          i % 2 === 0
            ? histogramOf(i / 10, 'positive', 'negative', 'zero')
            : histogramOf(i / 10, 'positive', 'zero'),
        metadata: ['histogram', `Histogram metric number ${i}`, 'seconds'],
        exemplars: [{ labels: { trace_id: `trace_${i}` }, value: i / 10 }],
      })),
    ),
  ];
}

function peculiar(): ComplianceCase[] {
  return [
    good('TestSpecialCharactersCombined', [
      {
        labels: named('test_metric', {
          job: 'test-job_with.special@chars',
          instance: 'localhost:9090',
          environment: 'test🚀',
        }),
        value: 42,
        metadata: [
          'gauge',
          'Test metric with special characters: äöü, newlines\nand "quotes"',
          'special/units',
        ],
        exemplars: [
          {
            labels: {
              trace_id: 'special_trace_äöü-123',
              span_id: 'span_with.dots-and_underscores',
            },
            value: 42,
          },
        ],
      },
    ]),
    good('TestCustomBucketsHistogramWithExemplar', [
      {
        labels: named('custom_latency_hist', { version: 'v2' }),
        histogram: histogramOf(0.05, 'custom'),
        exemplars: [{ labels: { trace_id: 'custom_bucket_trace', bucket: '0.1' }, value: 0.05 }],
      },
    ]),
  ];
}
