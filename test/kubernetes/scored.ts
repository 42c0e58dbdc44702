// What scorers of a release have come to: how many samples they applied, the hashes of their partitions' states, and the
// gauges that they show. A file of its own, for the tests of an edge and of a cluster compare the same.

import { parseMetrics, readingOf } from '../treeline-process.js';
import type { Release } from './real-cluster.js';

export interface Scored {
  /** By partition. */
  hashes: string[];
  /** Lines of flags and scores, sorted. */
  gauges: string[];
}

export async function appliedBy(release: Release, component: string): Promise<number> {
  const texts = await release.get(component, '/metrics');
  const outcome = { outcome: 'applied' };
  return texts
    .map((text) => readingOf(parseMetrics(text), 'treeline_samples_total', outcome) ?? 0)
    .reduce((sum, count) => sum + count, 0);
}

export async function scoredBy(release: Release, component: string): Promise<Scored> {
  const statuses = (await release.get(component, '/anomaly/v1/status')).map(
    (text) => JSON.parse(text) as { partitions: { partition: number; stateHash: string }[] },
  );
  const partitions = statuses.flatMap((status) => status.partitions);
  const gauges = (await release.get(component, '/metrics/anomalies'))
    .flatMap((text) => text.split('\n'))
    .filter((line) => /^anomaly_(flag|score)/.test(line));
  return {
    hashes: partitions
      .sort((a, b) => a.partition - b.partition)
      .map(({ partition, stateHash }) => `${partition} ${stateHash}`),
    gauges: gauges.sort(),
  };
}

export function flaggedIn({ gauges }: Scored): string[] {
  return gauges.filter((line) => line.startsWith('anomaly_flag') && line.endsWith(' 1'));
}
