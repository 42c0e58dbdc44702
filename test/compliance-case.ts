// What one case of the compliance suite looks like as data: what is sent, and what the answer must
// say. The cases themselves are in the files compliance-cases*.ts.

import type { HistogramV2, LabelPairs, MetricTypeName } from './write-request-v2.js';

export type CaseHistogram = Omit<HistogramV2, 'timestampMs'>;

export interface CaseSeries {
  labels: Readonly<Record<string, string>>;
  value?: number | bigint;
  histogram?: CaseHistogram;
  /** Age of the sample or histogram. */
  ageMs?: number;
  exemplars?: readonly { labels: LabelPairs; value: number | bigint; ageMs?: number }[];
  metadata?: readonly [type: MetricTypeName, help: string, unit: string];
  /** Age of the series itself, which this suite still sends in field 6. */
  createdAgeMs?: number;
}

export interface ComplianceCase {
  test: string;
  times: 1 | 2;
  isBeyond?: true;
  series: readonly CaseSeries[];
  /** 2 unless given. */
  version?: 1;
  headers?: Readonly<Record<string, string>>;
  /** Overwrites the first byte of the compressed body. */
  firstByte?: number;
  want: { status: 204 | 400 | 415; samples?: number; histograms?: number; exemplars?: number };
}

export const HOUR_MS = 3_600_000;
export const MINUTE_MS = 60_000;

/** A request that is taken whole: what is expected follows from what it holds. */
export function good(test: string, series: readonly CaseSeries[]): ComplianceCase {
  const count = (of: (one: CaseSeries) => number) => series.reduce((sum, one) => sum + of(one), 0);
  return {
    test,
    times: 2,
    series,
    want: {
      status: 204,
      samples: count(({ value }) => (value === undefined ? 0 : 1)),
      histograms: count(({ histogram }) => (histogram === undefined ? 0 : 1)),
      exemplars: count(({ exemplars = [] }) => exemplars.length),
    },
  };
}

export function named(name: string, labels: Record<string, string> = {}): Record<string, string> {
  return { __name__: name, ...labels };
}
