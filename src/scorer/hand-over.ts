// Who inherits from whom. A pod of a rollout has a new name and nothing learnt; the one that it replaces knows the
// workload and falls silent. The newcomer takes over what the silent one has learnt, once and for one newcomer only, and
// another workload never inherits. Who lends to newcomers of other partitions is chosen here too: see heritage.ts.

import { HAND_OVER_MS, HAND_OVER_SIBLINGS_MAX } from '../limits-detectors.js';
import { farthestOf, learntOf, sinceOf } from './entity-kernel.js';
import { type Entity, entityKey, KNOWN_VECTORS } from './entity-state.js';
import { NO_ENTRY } from './slots.js';

/** Silent for so many of its own steps: it has missed two scrapes. */
const SILENT_STEPS = 2;

export class Successions {
  readonly #byWorkload = new Map<string, Set<Entity>>();
  /** The same, so that no key is made for every vector. */
  readonly #siblings = new WeakMap<Entity, Set<Entity>>();

  add(entity: Entity): void {
    const key = workloadKey(entity);
    if (key === undefined) return;
    const siblings = this.#byWorkload.get(key) ?? new Set();
    siblings.add(entity);
    this.#byWorkload.set(key, siblings);
    this.#siblings.set(entity, siblings);
  }

  remove(entity: Entity): void {
    const key = workloadKey(entity);
    const siblings = key === undefined ? undefined : this.#byWorkload.get(key);
    if (key === undefined || siblings === undefined) return;
    siblings.delete(entity);
    if (siblings.size === 0) this.#byWorkload.delete(key);
  }

  /** The sibling that fell silent last, for a newcomer that has not inherited yet. */
  predecessorOf(entity: Entity): Entity | undefined {
    const { inheritedFrom, newestMs, createdMs, record } = entity;
    if (inheritedFrom !== '' || learntOf(record) >= KNOWN_VECTORS) return undefined;
    const siblings = this.#siblings.get(entity);
    if (siblings === undefined || siblings.size < 2) return undefined;
    let found: Entity | undefined;
    let seen = 0;
    for (const other of siblings) {
      // The rest of a very large workload begins by itself.
      if (seen++ >= HAND_OVER_SIBLINGS_MAX) break;
      // First what nearly all of them are: not silent.
      if (newestMs - other.newestMs <= SILENT_STEPS * other.stepMs) continue;
      if (other === entity || other.isSucceeded || other.entry === NO_ENTRY) continue;
      if (learntOf(other.record) < KNOWN_VECTORS) continue;
      if (createdMs - other.newestMs > HAND_OVER_MS) continue;
      if (found === undefined || isBefore(found, other)) found = other;
    }
    return found;
  }

  /**
   * Of those of a workload who know themselves, alive or gone for a while, the one who has seen the least trouble: what has
   * once gone wrong with a sibling is no habit of a newcomer.
   */
  lenderFor(
    asks: Pick<Entity, 'detector' | 'tenant' | 'workload'>,
    { atMs, isCalm }: { atMs: number; isCalm: (entity: Entity) => boolean },
  ): Entity | undefined {
    const key = workloadKey(asks);
    let found: Entity | undefined;
    let least = Number.POSITIVE_INFINITY;
    let seen = 0;
    for (const other of (key === undefined ? undefined : this.#byWorkload.get(key)) ?? []) {
      if (seen++ >= HAND_OVER_SIBLINGS_MAX) break;
      if (other.entry === NO_ENTRY || sinceOf(other.record) < KNOWN_VECTORS) continue;
      if (atMs - other.newestMs > HAND_OVER_MS) continue;
      const farthest = farthestOf(other.record, other.detector.vector.features);
      if (farthest >= least || !isCalm(other)) continue;
      found = other;
      least = farthest;
    }
    return found;
  }
}

function isBefore(a: Entity, b: Entity): boolean {
  if (a.newestMs !== b.newestMs) return a.newestMs < b.newestMs;
  return entityKey(a) > entityKey(b);
}

function workloadKey({
  detector,
  tenant,
  workload,
}: Pick<Entity, 'detector' | 'tenant' | 'workload'>): string | undefined {
  return workload && JSON.stringify([detector.spec.name, tenant, workload]);
}
