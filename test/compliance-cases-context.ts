// The compliance suite's requests with exemplars (exemplar_test.go) and metadata (metadata_test.go),
// as data; see compliance-cases.ts.

import {
  type CaseSeries,
  type ComplianceCase,
  good,
  HOUR_MS,
  MINUTE_MS,
  named,
} from './compliance-case.js';
import { histogramOf } from './compliance-cases-histograms.js';
import type { MetricTypeName } from './write-request-v2.js';

export function exemplarCases(): ComplianceCase[] {
  const one = (
    name: string,
    labels: CaseSeries['labels'],
    exemplar: { labels: Record<string, string>; value: number },
  ): ComplianceCase =>
    good(`TestExemplars/${name}`, [{ labels, value: exemplar.value, exemplars: [exemplar] }]);
  return [
    one('basic_exemplar', named('http_requests_total', { job: 'api' }), {
      labels: { trace_id: 'abc123def456' },
      value: 1,
    }),
    one('exemplar_with_span_id', named('request_duration_seconds', { method: 'GET' }), {
      labels: { trace_id: 'xyz789', span_id: 'span123' },
      value: 0.125,
    }),
    one('exemplar_without_trace_id', named('cpu_usage', { instance: 'host1' }), {
      labels: { user_id: 'user123' },
      value: 0.85,
    }),
    one('exemplar_with_multiple_labels', named('request_latency', { service: 'auth' }), {
      labels: { trace_id: 'trace456', user: 'admin', endpoint: '/login' },
      value: 0.05,
    }),
    one('exemplar_no_labels', named('simple_counter'), { labels: {}, value: 1 }),
    one('exemplar_with_special_chars', named('test_metric'), {
      labels: { trace_id: 'trace-with-dashes_and_underscores.123' },
      value: 42,
    }),
    one('exemplar_with_unicode', named('unicode_test', { region: '🌍' }), {
      labels: { trace_id: 'unicode_trace_测试' },
      value: 100,
    }),
    good('TestExemplarWithCreatedTimestamp', [
      {
        labels: named('http_requests_total', { job: 'api' }),
        value: 250,
        createdAgeMs: 2 * HOUR_MS,
        exemplars: [{ labels: { trace_id: 'abc123', span_id: 'span456' }, value: 250 }],
      },
    ]),
    ...severalExemplars(),
    ...exemplarValidation(),
    ...exemplarValues(),
  ];
}

function severalExemplars(): ComplianceCase[] {
  const aged = (trace: string, value: number, ageMs: number): CaseSeries => ({
    labels: named('latency_hist'),
    value,
    ageMs,
    exemplars: [{ labels: { trace_id: trace }, value, ageMs }],
  });
  return [
    good('TestMultipleExemplars', [
      {
        labels: named('request_duration', { method: 'GET' }),
        value: 0.1,
        exemplars: [{ labels: { trace_id: 'trace1', span_id: 'span1' }, value: 0.1 }],
      },
      {
        labels: named('request_duration', { method: 'POST' }),
        value: 0.25,
        exemplars: [{ labels: { trace_id: 'trace2', span_id: 'span2' }, value: 0.25 }],
      },
      {
        labels: named('error_count', { service: 'payment' }),
        value: 1,
        exemplars: [{ labels: { trace_id: 'trace3', user: 'test_user' }, value: 1 }],
      },
    ]),
    // One series three times in one request, and an hour older each time that the request is made.
    good('TestExemplarTimestamps', [
      aged('old_trace', 0.05, HOUR_MS),
      aged('recent_trace', 0.15, MINUTE_MS),
      aged('current_trace', 0.08, 0),
    ]),
  ];
}

function exemplarValidation(): ComplianceCase[] {
  const one = (name: string, labels: CaseSeries['labels'], isGood: boolean): ComplianceCase => ({
    test: `TestExemplarValidation/${name}`,
    times: 1,
    series: [{ labels, value: 1, exemplars: [{ labels: { trace_id: 'test_trace' }, value: 1 }] }],
    want: isGood ? { status: 204, samples: 1, exemplars: 1 } : { status: 400 },
  });
  return [
    one('exemplar_without_name_label', { job: 'test' }, false),
    one('exemplar_with_empty_name', { __name__: '' }, false),
    one('exemplar_with_valid_name', named('valid_metric'), true),
  ];
}

function exemplarValues(): ComplianceCase[] {
  const one = (name: string, value: number | bigint): ComplianceCase =>
    good(`TestExemplarSpecialValues/${name}`, [
      {
        labels: named('test_metric'),
        value,
        exemplars: [{ labels: { trace_id: 'special_value_trace' }, value }],
      },
    ]);
  return [
    one('zero_value', 0),
    one('negative_value', -123.456),
    one('large_value', 1e10),
    one('small_value', 1e-10),
    one('nan_value', Number(0x7ff8000000000001n)),
    { ...one('bits of NaN', 0x7ff8000000000001n), isBeyond: true },
    one('inf_value', Number.POSITIVE_INFINITY),
    one('-inf_value', Number.NEGATIVE_INFINITY),
  ];
}

export function metadataCases(): ComplianceCase[] {
  const gauge = (name: string, value: number, help: string, unit: string): CaseSeries => ({
    labels: named(name),
    value,
    metadata: ['gauge', help, unit],
  });
  const disk = gauge('disk_usage', 75.2, 'Disk usage percentage', 'percent');
  return [
    ...metadataTypes(),
    good('TestCounterMetadataWithCreatedTimestamp', [
      {
        labels: named('http_requests_total', { job: 'api' }),
        value: 150,
        createdAgeMs: HOUR_MS,
        metadata: ['counter', 'Total HTTP requests', 'requests'],
      },
    ]),
    good('TestMetadataWithSamples', [
      {
        labels: named('http_requests_total', { job: 'test' }),
        value: 42,
        metadata: ['counter', 'Total HTTP requests', 'requests'],
      },
    ]),
    good('TestMultipleMetadata', [
      gauge('cpu_usage', 85.5, 'CPU usage percentage', 'percent'),
      gauge('memory_usage', 4096000000, 'Memory usage in bytes', 'bytes'),
      { ...disk, labels: { ...disk.labels, device: 'sda1' } },
    ]),
    good('TestMetadataWithComplexLabels', [
      {
        labels: named('http_request_duration_seconds', {
          job: 'api-server',
          instance: 'localhost:8080',
          method: 'GET',
          status: '200',
          endpoint: '/api/v1/users',
        }),
        histogram: histogramOf(0.25, 'positive', 'negative', 'zero'),
        metadata: ['histogram', 'HTTP request duration in seconds', 'seconds'],
      },
    ]),
    ...metadataValidation(),
  ];
}

function metadataTypes(): ComplianceCase[] {
  const one = (
    name: string,
    metric: string,
    metadata: readonly [MetricTypeName, string, string],
  ): ComplianceCase =>
    good(`TestMetadata/${name}`, [{ labels: named(metric), value: 1, metadata }]);
  return [
    one('counter_metadata', 'http_requests_total', [
      'counter',
      'Total number of HTTP requests',
      'requests',
    ]),
    one('gauge_metadata', 'cpu_usage_percent', [
      'gauge',
      'Current CPU usage percentage',
      'percent',
    ]),
    good('TestMetadata/histogram_metadata', [
      {
        labels: named('request_duration_seconds'),
        histogram: histogramOf(1, 'positive', 'negative', 'zero'),
        metadata: ['histogram', 'Request duration in seconds', 'seconds'],
      },
    ]),
    one('metadata_no_help_no_unit', 'simple_counter', ['counter', '', '']),
    good('TestMetadata/metadata_with_special_chars', [
      {
        labels: named('test_metric', { job: 'test' }),
        value: 1,
        metadata: ['gauge', 'Test metric with\nnewlines and "quotes"', 'bytes/sec'],
      },
    ]),
    one('unspecified_metadata_type', 'unknown_metric', ['unspecified', 'Unknown metric type', '']),
    one('info_metadata_type', 'build_info', ['info', 'Build information', '']),
    one('stateset_metadata_type', 'node_state', ['stateset', 'Node state information', '']),
    one('summary_metadata_type', 'request_latency_summary', [
      'summary',
      'Request latency summary',
      'seconds',
    ]),
    one('gauge_histogram_metadata_type', 'temperature_histogram', [
      'gaugeHistogram',
      'Temperature distribution gauge histogram',
      'celsius',
    ]),
  ];
}

function metadataValidation(): ComplianceCase[] {
  const one = (name: string, series: CaseSeries, isGood: boolean): ComplianceCase => ({
    test: `TestMetadataValidation/${name}`,
    times: 1,
    series: [series],
    want: isGood ? { status: 204, samples: 1 } : { status: 400 },
  });
  return [
    // The suite itself leaves the metadata of a nameless series out.
    one('metadata_without_name_label', { labels: { job: 'test' }, value: 1 }, false),
    one(
      'metadata_with_empty_name',
      { labels: { __name__: '' }, value: 1, metadata: ['gauge', 'Test help', 'unit'] },
      false,
    ),
    one(
      'metadata_with_valid_name',
      {
        labels: named('valid_metric_name'),
        value: 1,
        metadata: ['counter', 'Test help', 'unit'],
      },
      true,
    ),
  ];
}
