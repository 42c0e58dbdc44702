// What anomaly_rate is a share of: the scored series of a detector, a namespace and a job. The number of groups is bounded;
// beyond it everything of a tenant falls into one group, whose name says so.

import { RATE_GROUPS_MAX } from '../limits.js';
import { labelText, numberText } from './gauge-text.js';

const OVERFLOW_JOB = 'over-the-limit-of-groups';

export type GroupNames = Pick<Group, 'detector' | 'tenant' | 'namespace' | 'job'>;

export interface Group {
  detector: string;
  tenant: string;
  namespace: string;
  job: string;
  series: number;
  flagged: number;
}

export class RateGroups {
  readonly #groups = new Map<string, Group>();

  /** One series more. */
  join(names: GroupNames): Group {
    const group = this.#groupOf(names);
    group.series++;
    return group;
  }

  leave(group: Group): void {
    group.series--;
    if (group.series === 0) this.#groups.delete(keyOf(group));
  }

  /** Without line breaks between them. `down`: flags of open anomalies that are down all the same. */
  *lines(tenant: string, down: ReadonlyMap<Group, number>): Generator<string> {
    yield '# HELP anomaly_rate Share of the scored series of a group whose flag is up';
    yield '# TYPE anomaly_rate gauge';
    for (const group of this.#groups.values()) {
      if (group.tenant !== tenant) continue;
      const labels = (['detector', 'namespace', 'job'] as const).map((name) => ({
        name,
        value: group[name],
      }));
      const share = (group.flagged - (down.get(group) ?? 0)) / group.series;
      yield `anomaly_rate${labelText(labels, false)} ${numberText(share)}`;
    }
  }

  #groupOf(names: GroupNames): Group {
    const key = keyOf(names);
    let group = this.#groups.get(key);
    if (group === undefined) {
      const isFull = this.#groups.size >= RATE_GROUPS_MAX && names.job !== OVERFLOW_JOB;
      if (isFull) return this.#groupOf({ ...names, namespace: '', job: OVERFLOW_JOB });
      group = { ...names, series: 0, flagged: 0 };
      this.#groups.set(key, group);
    }
    return group;
  }
}

function keyOf({ detector, tenant, namespace, job }: GroupNames): string {
  return JSON.stringify([detector, tenant, namespace, job]);
}
