// Who inherits from whom. A pod of a rollout has a new name and nothing learnt; the one that it replaces knows the
// workload and falls silent. The newcomer takes over what the silent one has learnt, once and for one newcomer only:
// siblings that live share nothing, and another workload never inherits.

import { HAND_OVER_MS, HAND_OVER_SIBLINGS_MAX } from '../limits-detectors.js';
import { type Entity, entityKey } from './entity-state.js';
import { NO_ENTRY } from './slots.js';

/** Vectors until an entity is said to know itself: it neither inherits any more nor would it be wrong to inherit from. */
const KNOWN_VECTORS = 120;
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
}

function isBefore(a: Entity, b: Entity): boolean {
  if (a.newestMs !== b.newestMs) return a.newestMs < b.newestMs;
  return entityKey(a) > entityKey(b);
}

function learntOf(record: Uint8Array): number {
  return new DataView(record.buffer, record.byteOffset, record.byteLength).getUint32(0, true);
}

function workloadKey({ detector, tenant, workload }: Entity): string | undefined {
  return workload && JSON.stringify([detector.spec.name, tenant, workload]);
}
