// What a series is to the forest, told by its type where that is known and by its name where it is not. Raw buckets of
// histograms are nothing to it: histograms.ts takes them up.

import { MetricType } from '../gen/sample_block_pb.js';
import type { Label } from '../series.js';
import type { SeriesKind } from './wasm-forest.js';

/** How a series is scored; undefined when it is not: raw histogram buckets, and alerts that Prometheus fires itself. */
export function scoringOf(labels: readonly Label[], type: MetricType): SeriesKind | undefined {
  const name = labels.find((label) => label.name === '__name__')?.value ?? '';
  if (name === 'ALERTS') return undefined;
  if (name.endsWith('_bucket') && labels.some((label) => label.name === 'le')) return undefined;
  const isPart = /_(count|sum)$/.test(name);
  if (type === MetricType.COUNTER) return 'counter';
  if (type === MetricType.HISTOGRAM || type === MetricType.SUMMARY)
    return isPart ? 'counter' : 'gauge';
  if (type !== MetricType.UNSPECIFIED) return 'gauge';
  return isPart || name.endsWith('_total') ? 'guessed-counter' : 'gauge';
}
