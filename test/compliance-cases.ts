// The inputs and expected statuses of the public receiver compliance suite, as data: prometheus/
// compliance, folder remotewrite/receiver, commit 67b8327 (https://github.com/prometheus/compliance).
// The suite sends 205 requests and reads nothing back; a case that it sends twice, once tolerating
// any 2xx and once not, says `times: 2` here. `test` is the suite's own name of the case. What is
// expected is stricter than there: exactly 204, exact counts also beside a bad series.
//
// The suite means to send the bit patterns of a stale marker and of NaN, and converts them to the
// numbers 9218868437227405314 and 9221120237041090561 instead. Both are sent here: the numbers as
// published, the patterns as cases `beyond` the suite.

import { type CaseSeries, type ComplianceCase, HOUR_MS } from './compliance-case.js';
import { combinedCases } from './compliance-cases-combined.js';
import { exemplarCases, metadataCases } from './compliance-cases-context.js';
import { histogramCases } from './compliance-cases-histograms.js';

export function complianceCases(): ComplianceCase[] {
  return [
    ...PUBLISHED_VALUES.flatMap(([name, value]) => metricCases(name, value)),
    ...BIT_PATTERNS.flatMap(([name, value]) =>
      metricCases(name, value).map((one) => ({ ...one, isBeyond: true as const })),
    ),
    {
      test: 'TestCounterWithCreatedTimestamp',
      times: 2,
      series: [
        {
          labels: { __name__: 'http_requests_total', job: 'api' },
          value: 100,
          createdAgeMs: HOUR_MS,
        },
      ],
      want: { status: 204, samples: 1 },
    },
    ...histogramCases(),
    ...exemplarCases(),
    ...metadataCases(),
    ...combinedCases(),
    ...requestCases(),
    ...version1Cases(),
  ];
}

const PUBLISHED_VALUES = [
  ['1.0', 1],
  ['StaleNaN', Number(0x7ff0000000000002n)],
  ['NaN', Number(0x7ff8000000000001n)],
  ['Inf', Number.POSITIVE_INFINITY],
  ['-Inf', Number.NEGATIVE_INFINITY],
] as const;

const BIT_PATTERNS = [
  ['bits of StaleNaN', 0x7ff0000000000002n],
  ['bits of NaN', 0x7ff8000000000001n],
] as const;

const PLACE = { job: 'testjob', instance: 'localhost:9090' };
const UP = { __name__: 'up', ...PLACE };

function metricCases(valueName: string, value: number | bigint): ComplianceCase[] {
  const single = (name: string, labels: CaseSeries['labels']): ComplianceCase => ({
    test: `TestSingleMetric/${valueName}/${name}`,
    times: 2,
    series: [{ labels, value }],
    want: { status: 204, samples: 1 },
  });
  const refused = (name: string, labels: CaseSeries['labels']): ComplianceCase => ({
    ...single(name, labels),
    times: 1,
    want: { status: 400 },
  });
  return [
    single('simple metric', { __name__: 'up' }),
    single('simple metric with multiple labels', UP),
    single('simple metric with newlines', { ...UP, job: 'test\njob\n' }),
    single('simple metric with dots', {
      __name__: 'resource.cpu.usage',
      'job.name': 'testjob',
      'instance.name': 'localhost:9090',
    }),
    single('simple metric with spaces', {
      __name__: 'resource cpu usage',
      'job name': 'testjob',
      'instance name': 'localhost:9090',
    }),
    refused('simple metric without name label', PLACE),
    refused('empty metric', {}),
    ...multipleCases(valueName, value),
  ];
}

/** Four instances; how many of them have a metric name. */
function multipleCases(valueName: string, value: number | bigint): ComplianceCase[] {
  const several = (name: string, named: number): ComplianceCase => {
    const isGood = named === 4;
    const series = [9090, 9091, 9092, 9093].map((port, index): CaseSeries => {
      const labels = { job: 'testjob', instance: `localhost:${port}` };
      return { labels: index < 4 - named ? labels : { __name__: 'up', ...labels }, value };
    });
    return {
      test: `TestMultipleMetrics/${valueName}/${name}`,
      times: isGood ? 2 : 1,
      series,
      want: { status: isGood ? 204 : 400, samples: named },
    };
  };
  return [
    several('multiple metrics', 4),
    several('multiple metrics, without name label', 0),
    several('multiple metrics, 1 without name label', 3),
  ];
}

const ONE_UP: readonly CaseSeries[] = [{ labels: { __name__: 'up' }, value: 1 }];
/** Declares 48 bytes whatever follows. */
const WRONG_LENGTH = '0'.charCodeAt(0);

/** The bodies are corrupt as well: a 415 shows that nobody tried to decompress them. */
function requestCases(): ComplianceCase[] {
  const corrupt = (test: string, headers: Record<string, string>, status: 400 | 415) =>
    ({
      test,
      times: 1,
      series: ONE_UP,
      headers,
      firstByte: WRONG_LENGTH,
      want: { status },
    }) as const;
  const type = (value: string) => ({ 'Content-Type': value });
  const encoding = (value: string) => ({ 'Content-Encoding': value });
  return [
    corrupt('TestBadContentTypes/application_json', type('application/json'), 415),
    corrupt('TestBadContentTypes/image_png', type('image/png'), 415),
    corrupt('TestBadContentEncodings/gzip', encoding('gzip'), 415),
    corrupt('TestBadContentEncodings/deflate', encoding('deflate'), 415),
    corrupt('TestCorruptRequestBody', {}, 400),
  ];
}

function version1Cases(): ComplianceCase[] {
  return [
    {
      test: 'TestRW1BasicCompatibility',
      times: 1,
      version: 1,
      series: [
        { labels: UP, value: 1 },
        { labels: { __name__: 'http_requests_total' }, value: 100 },
      ],
      want: { status: 204, samples: 2 },
    },
    {
      test: 'TestRW1ErrorHandling',
      times: 1,
      version: 1,
      series: [{ labels: { __name__: 'error_test' }, value: 1 }],
      firstByte: 0xff,
      want: { status: 400 },
    },
  ];
}
