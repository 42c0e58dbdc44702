// What a series is to the forest, told by its type where that is known and by its name where it is not. Raw buckets of
// histograms are nothing to it: histograms.ts takes them up.

import { MetricType } from '../gen/sample_block_pb.js';
import type { Label } from '../series.js';
import type { SeriesKind } from './wasm-forest.js';

/** How a series is scored; undefined when it is not: raw histogram buckets, and alerts that Prometheus fires itself. */
export function scoringOf(labels: readonly Label[], type: MetricType): SeriesKind | undefined {
  const name = labels.find((label) => label.name === '__name__')?.value ?? '';
  return scoringOfName(name, { hasLe: labels.some((label) => label.name === 'le'), type });
}

/** The same of what matters of the labels. */
export function scoringOfName(
  name: string,
  { hasLe, type }: { hasLe: boolean; type: MetricType },
): SeriesKind | undefined {
  if (name === 'ALERTS') return undefined;
  if (hasLe && name.endsWith('_bucket')) return undefined;
  const isPart = name.endsWith('_count') || name.endsWith('_sum');
  if (type === MetricType.COUNTER) return 'counter';
  if (type === MetricType.HISTOGRAM || type === MetricType.SUMMARY)
    return isPart ? 'counter' : 'gauge';
  if (type !== MetricType.UNSPECIFIED) return 'gauge';
  return isPart || name.endsWith('_total') ? 'guessed-counter' : 'gauge';
}
