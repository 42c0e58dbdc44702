// By what two anomalies may belong to one incident: the entity that they are of, or a part of the system that both name.
// What is said here about labels is the whole rule; how close in time is said in incidents.ts.
//
//   entity      the values of the first label set of ingest.partitionBy whose labels are all present
//   together    cluster and namespace; where there is no namespace: cluster and one of service, job, instance
//
// A namespace is what people draw around things that depend on each other. Where there is one, job and instance say
// nothing beside it: all of a cluster's pods share those of the one exporter that reports them.

import type { Label } from '../series.js';

export interface Ties {
  /** Undefined for a series that no label set fits: it is an entity of its own. */
  entity: string | undefined;
  together: readonly string[];
  /** What tells the entity from others; none for a series that is an entity of its own. */
  entityLabels: readonly Label[];
}

const NARROW = ['service', 'job', 'instance'];

export function tiesOf(
  labels: readonly Label[],
  partitionBy: readonly (readonly string[])[],
): Ties {
  const values = new Map(labels.map(({ name, value }) => [name, value]));
  const set = partitionBy.find((names) => names.every((name) => values.has(name)));
  const entityLabels = (set ?? []).map((name) => ({ name, value: values.get(name) ?? '' }));
  const cluster = values.get('cluster') ?? '';
  const namespace = values.get('namespace');
  const key = (name: string, value: string) => JSON.stringify([cluster, name, value]);
  const together =
    namespace === undefined
      ? NARROW.flatMap((name) => {
          const value = values.get(name);
          return value === undefined ? [] : [key(name, value)];
        })
      : [key('namespace', namespace)];
  const entity = set && JSON.stringify([cluster, entityLabels]);
  return { entity, together, entityLabels };
}
