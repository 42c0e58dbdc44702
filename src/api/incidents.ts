// Joins the anomalies of one tenant into incidents. Taken in the order of their onsets, an anomaly belongs to an incident
//
//   when the last anomaly of its own series ended at most REJOIN_MS before (it flaps; for a day at most), or
//   when one of the same entity began at most ENTITY_MS before, or
//   when one that shares a label with it (together.ts) began at most TOGETHER_MS before,
//
// the latter two within INCIDENT_SPAN_MS of the incident's first onset. When it belongs to several they become one, and
// otherwise it begins one. A shared label that began more than COMMON_STARTS_MAX incidents within a day is too common to
// say anything. The first mover is the earliest onset; an incident has its name.
//
// So incidents are a function of the set of anomalies: in whatever order they are heard of, the result is the same. An
// onset that is heard of late dissolves what it may change, and that is joined anew.

import { strict as assert } from 'node:assert';
import {
  COMMON_STARTS_MAX,
  ENTITY_MS,
  FLAPPING_MS_MAX,
  INCIDENT_SPAN_MS,
  REJOIN_MS,
  TOGETHER_MS,
  YOUNG_SHARE,
} from '../limits.js';
import type { Label } from '../series.js';
import { type Anomaly, compare, type Place, placeOf } from './anomalies.js';
import { type Ties, tiesOf } from './together.js';

const DAY_MS = 864e5;

export interface Incident {
  readonly tenant: string;
  /** In the order of their onsets; the first is the first mover. Never empty. */
  members: Anomaly[];
}

/** Shared keys of which those of more than a day ago are first looked for. */
const SHARED_PRUNED = 4096;

/** What is remembered of one key that anomalies share. */
interface Shared {
  last: Anomaly;
  /** Onsets of the incidents of the last day that began with it. */
  starts: number[];
}

interface Placed {
  incident: Incident;
  /** It belonged to none when it was taken, so it began one. */
  isBeginner: boolean;
}

export class Incidents {
  readonly tenant: string;
  readonly #partitionBy: readonly (readonly string[])[];
  readonly #find: (id: string) => Anomaly | undefined;
  readonly #placed = new Map<string, Placed>();
  readonly #all = new Set<Incident>();
  #shared = new Map<string, Shared>();
  #sharedMax = SHARED_PRUNED;
  /** The last anomaly that was taken. */
  #last: Place | undefined;
  readonly #ties = new WeakMap<readonly Label[], Ties>();

  constructor(
    tenant: string,
    parts: {
      partitionBy: readonly (readonly string[])[];
      find: (id: string) => Anomaly | undefined;
    },
  ) {
    this.tenant = tenant;
    this.#partitionBy = parts.partitionBy;
    this.#find = parts.find;
  }

  get count(): number {
    return this.#all.size;
  }

  /** In no order. */
  all(): Iterable<Incident> {
    return this.#all;
  }

  has(incident: Incident): boolean {
    return this.#all.has(incident);
  }

  /** The incident that an anomaly is part of. */
  of(anomalyId: string): Incident | undefined {
    return this.#placed.get(anomalyId)?.incident;
  }

  /**
   * Takes anomalies that are new. `ordered` are all of the tenant's, these among them. Returns the incidents that have
   * gained or lost members.
   */
  add(fresh: readonly Anomaly[], ordered: readonly Anomaly[]): Set<Incident> {
    const sorted = fresh.toSorted(compare);
    const first = sorted[0];
    const touched = new Set<Incident>();
    if (first === undefined) return touched;
    if (this.#last !== undefined && compare(first, this.#last) < 0) {
      const from = this.#dissolve(first, ordered);
      for (const anomaly of ordered.slice(from)) touched.add(this.#take(anomaly));
    } else {
      for (const anomaly of sorted) touched.add(this.#take(anomaly));
    }
    for (const incident of touched) if (!this.#all.has(incident)) touched.delete(incident);
    return touched;
  }

  forget(incident: Incident): void {
    this.#all.delete(incident);
    for (const { id } of incident.members) this.#placed.delete(id);
  }

  tiesOf(labels: readonly Label[]): Ties {
    let ties = this.#ties.get(labels);
    if (ties === undefined) {
      ties = tiesOf(labels, this.#partitionBy);
      this.#ties.set(labels, ties);
    }
    return ties;
  }

  /** Undoes every incident that reaches beyond the place. Returns where in `ordered` to begin anew. */
  #dissolve(place: Place, ordered: readonly Anomaly[]): number {
    let from = placeOf(ordered, place);
    let checked = ordered.length;
    while (checked > from) {
      const range = ordered.slice(from, checked);
      checked = from;
      for (const { id } of range) {
        const incident = this.of(id);
        if (incident === undefined) continue;
        this.forget(incident);
        from = Math.min(from, placeOf(ordered, firstOf(incident)));
      }
    }
    this.#remember(from, ordered);
    return from;
  }

  /** What was shared before this place, as if nothing had come after it. */
  #remember(until: number, ordered: readonly Anomaly[]): void {
    this.#shared = new Map();
    const end = ordered[until];
    const beginMs = (end?.onsetMs ?? Number.POSITIVE_INFINITY) - DAY_MS;
    let at = until;
    while (at > 0 && (ordered[at - 1] as Anomaly).onsetMs > beginMs) at--;
    for (const anomaly of ordered.slice(at, until)) {
      const placed = this.#placed.get(anomaly.id);
      assert(placed !== undefined, `${anomaly.id} is in no incident`);
      this.#note(anomaly, placed.isBeginner);
    }
  }

  #take(anomaly: Anomaly): Incident {
    const joined = this.#belongsTo(anomaly);
    const [oldest, ...others] = joined.sort((a, b) => compare(firstOf(a), firstOf(b)));
    const incident = oldest ?? { tenant: this.tenant, members: [] };
    for (const other of others) {
      for (const { id } of other.members) (this.#placed.get(id) as Placed).incident = incident;
      incident.members.push(...other.members);
      this.#all.delete(other);
    }
    if (others.length > 0) incident.members.sort(compare);
    incident.members.push(anomaly);
    this.#all.add(incident);
    this.#placed.set(anomaly.id, { incident, isBeginner: oldest === undefined });
    this.#note(anomaly, oldest === undefined);
    this.#last = { onsetMs: anomaly.onsetMs, id: anomaly.id };
    return incident;
  }

  #belongsTo(anomaly: Anomaly): Incident[] {
    const { onsetMs, labels } = anomaly;
    const found = new Set<Incident>();
    const join = (other: Anomaly | undefined, spanMs: number) => {
      const incident = other && this.of(other.id);
      if (incident !== undefined && onsetMs - firstOf(incident).onsetMs <= spanMs) {
        found.add(incident);
      }
    };
    const previous = anomaly.previousId === undefined ? undefined : this.#find(anomaly.previousId);
    if (previous?.endMs !== undefined && onsetMs - previous.endMs <= REJOIN_MS) {
      join(previous, FLAPPING_MS_MAX);
    }
    const { entity, together } = this.tiesOf(labels);
    const sameEntity = entity === undefined ? undefined : this.#shared.get(entity)?.last;
    if (sameEntity !== undefined && onsetMs - sameEntity.onsetMs <= ENTITY_MS) {
      join(sameEntity, INCIDENT_SPAN_MS);
    }
    for (const key of together) {
      const shared = this.#shared.get(key);
      if (shared === undefined || onsetMs - shared.last.onsetMs > TOGETHER_MS) continue;
      while ((shared.starts[0] ?? Number.POSITIVE_INFINITY) <= onsetMs - DAY_MS) {
        shared.starts.shift();
      }
      if (shared.starts.length <= COMMON_STARTS_MAX) join(shared.last, INCIDENT_SPAN_MS);
    }
    return [...found];
  }

  #note(anomaly: Anomaly, isBeginner: boolean): void {
    const { entity, together } = this.tiesOf(anomaly.labels);
    for (const key of entity === undefined ? together : [entity, ...together]) {
      let shared = this.#shared.get(key);
      if (shared === undefined) {
        this.#prune(anomaly.onsetMs);
        shared = { last: anomaly, starts: [] };
        this.#shared.set(key, shared);
      }
      shared.last = anomaly;
      if (!isBeginner) continue;
      shared.starts.push(anomaly.onsetMs);
      // More than this are no less too many.
      if (shared.starts.length > 2 * COMMON_STARTS_MAX) shared.starts.shift();
    }
  }

  #prune(nowMs: number): void {
    if (this.#shared.size < this.#sharedMax) return;
    for (const [key, { last }] of this.#shared) {
      if (last.onsetMs < nowMs - DAY_MS) this.#shared.delete(key);
    }
    this.#sharedMax = Math.max(SHARED_PRUNED, 2 * this.#shared.size);
  }
}

export function firstOf(incident: Incident): Anomaly {
  return incident.members[0] as Anomaly;
}

/** Ids of anomalies and of the incidents that they begin. */
export function incidentId(incident: Incident): string {
  return `i-${firstOf(incident).id}`;
}

export function isOpen(incident: Incident): boolean {
  return incident.members.some(({ endMs }) => endMs === undefined);
}

/** Undefined while it is open. */
export function endOf(incident: Incident): number | undefined {
  let end = Number.NEGATIVE_INFINITY;
  for (const { endMs } of incident.members) {
    if (endMs === undefined) return undefined;
    end = Math.max(end, endMs);
  }
  return end;
}

export interface Weight {
  /** The anomaly with the highest score. */
  peak: Anomaly;
  /** Different series. */
  series: number;
  /**
   * What incidents are compared by: the highest score, of young series a share of it, and one more of it with each doubling
   * of the series.
   */
  rank: number;
  /** All series are young, and what was found is no more than what a guess comes to. */
  isGuess: boolean;
}

export function weightOf(members: readonly Anomaly[]): Weight {
  let peak = members[0] as Anomaly;
  let highest = 0;
  let isYoung = true;
  const series = new Set<string>();
  for (const anomaly of members) {
    if (anomaly.score > peak.score) peak = anomaly;
    highest = Math.max(highest, anomaly.isYoung ? YOUNG_SHARE * anomaly.score : anomaly.score);
    isYoung &&= anomaly.isYoung;
    series.add(anomaly.fingerprint);
  }
  const rank = highest * (1 + Math.log2(series.size));
  return { peak, series: series.size, rank, isGuess: isYoung && rank <= 1 };
}
