// Folds candidates and verdicts into anomalies: onset, peak, end, and what the deep check said. What they are is a function
// of both logs and nothing else: what comes twice changes nothing, and it does not matter how the logs and their partitions
// were interleaved, or which of a candidate and its verdict is read first.
// A series has one open anomaly at a time. Time is stream time: the newest candidate says what is old.

import { type Candidate, Cause, Phase } from '../gen/candidate_pb.js';
import type { Verdict } from '../gen/verdict_pb.js';
import { fingerprintText, type Label } from '../series.js';
import {
  type AnomalyVerdict,
  EarlyVerdicts,
  isEarlier,
  type Place as LogPlace,
  verdictOf,
} from './verdicts.js';

export type CauseName = 'unspecified' | 'novelty' | 'magnitude' | 'quiet';

/** What one feature has to do with the distance of its entity. */
export interface FeatureShare {
  name: string;
  /** From 0 to 1; of all features together 1, or 0 where none stands out. */
  share: number;
  /** Undefined while it was not known. */
  value: number | undefined;
}

export interface Anomaly {
  readonly id: string;
  readonly tenant: string;
  readonly fingerprint: string;
  /** Shared by all anomalies of the series. */
  readonly labels: readonly Label[];
  readonly onsetMs: number;
  /** Of the highest sample so far, as are the numbers below. */
  peakMs: number;
  score: number;
  value: number;
  expected: number;
  lower: number;
  upper: number;
  cause: CauseName;
  /** Also of the highest sample; of a series that is no entity's distance none. */
  features: readonly FeatureShare[];
  /** Also of the highest sample: the series had hardly been seen, and what is rare for it was a guess. */
  isYoung: boolean;
  /** Undefined while it is open. */
  endMs: number | undefined;
  /** Of its earliest judged sample; undefined while the deep check has said nothing. */
  verdict: AnomalyVerdict | undefined;
  /** The anomaly of the same series before this one, when there was one that is still kept. */
  previousId: string | undefined;
}

export class Anomalies {
  readonly #retentionMs: number;
  readonly #byId = new Map<string, Anomaly>();
  /** Of each tenant in the order of `compare`. */
  readonly #ordered = new Map<string, Anomaly[]>();
  readonly #latestOfSeries = new Map<string, Anomaly>();
  #changed = new Set<Anomaly>();
  readonly early = new EarlyVerdicts();
  /** Stream time of the oldest and the newest candidate ever; infinite before the first one. */
  firstMs = Number.POSITIVE_INFINITY;
  newestMs = Number.NEGATIVE_INFINITY;

  constructor(retentionMs: number) {
    this.#retentionMs = retentionMs;
  }

  get count(): number {
    return this.#byId.size;
  }

  /** Everything that ended before this is forgotten. */
  get horizonMs(): number {
    return this.newestMs - this.#retentionMs;
  }

  /** Returns the anomaly that it opened. */
  apply(candidate: Candidate): Anomaly | undefined {
    const fingerprint = fingerprintText(
      Number(candidate.fingerprint & 0xffffffffn),
      Number(candidate.fingerprint >> 32n),
    );
    const timestampMs = Number(candidate.timestampMs);
    const onsetMs = Number(candidate.onsetMs);
    this.firstMs = Math.min(this.firstMs, onsetMs);
    this.newestMs = Math.max(this.newestMs, timestampMs);
    const id = `${fingerprint}-${onsetMs}`;
    const known = this.#byId.get(id);
    if (known === undefined) {
      // What was forgotten stays forgotten when its candidates are read again, and of an anomaly of which only the
      // end is left nothing could be told.
      if (candidate.phase === Phase.END || timestampMs < this.horizonMs) return undefined;
      return this.#open(candidate, { id, fingerprint, onsetMs, timestampMs });
    }
    if (candidate.phase === Phase.END) {
      if (known.endMs === timestampMs) return undefined;
      known.endMs = timestampMs;
    } else if (candidate.score > known.score) {
      known.peakMs = timestampMs;
      copyMeasures(candidate, known);
    } else return undefined;
    this.#changed.add(known);
    return undefined;
  }

  /** `place`: where the verdict stands in its log. */
  judge(verdict: Verdict, place: LogPlace): void {
    const id = idOf(verdict);
    const known = this.#byId.get(id);
    const fresh = verdictOf(verdict);
    if (known === undefined) {
      // What was forgotten stays forgotten.
      if (fresh.timestampMs >= this.horizonMs) this.early.put(id, fresh, place);
    } else if (isEarlier(fresh, known.verdict)) {
      known.verdict = fresh;
      this.#changed.add(known);
    }
  }

  /** Takes in what was kept, in any order; `settle` must follow. */
  restore(anomaly: Anomaly): void {
    if (this.#byId.has(anomaly.id)) return;
    this.#byId.set(anomaly.id, anomaly);
    this.#orderOf(anomaly.tenant).push(anomaly);
  }

  /** Puts what was restored in order. */
  settle(): void {
    for (const list of this.#ordered.values()) {
      list.sort(compare);
      for (const anomaly of list) {
        const before = this.#latestOfSeries.get(anomaly.fingerprint);
        anomaly.previousId = before?.id;
        if (before !== undefined) Object.assign(anomaly, { labels: before.labels });
        this.#latestOfSeries.set(anomaly.fingerprint, anomaly);
      }
    }
  }

  /** What has changed since this was last asked. */
  takeChanged(): ReadonlySet<Anomaly> {
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }

  find(id: string): Anomaly | undefined {
    return this.#byId.get(id);
  }

  /** Undefined also when it is another tenant's. */
  get(id: string, tenant: string): Anomaly | undefined {
    const anomaly = this.#byId.get(id);
    return anomaly?.tenant === tenant ? anomaly : undefined;
  }

  tenants(): Iterable<string> {
    return this.#ordered.keys();
  }

  /** Of one tenant, oldest onset first. */
  ordered(tenant: string): readonly Anomaly[] {
    return this.#ordered.get(tenant) ?? [];
  }

  forget(forgotten: ReadonlySet<Anomaly>): void {
    if (forgotten.size === 0) return;
    for (const tenant of new Set([...forgotten].map((anomaly) => anomaly.tenant))) {
      const kept = this.ordered(tenant).filter((anomaly) => !forgotten.has(anomaly));
      if (kept.length === 0) this.#ordered.delete(tenant);
      else this.#ordered.set(tenant, kept);
    }
    for (const anomaly of forgotten) {
      const { id, fingerprint } = anomaly;
      this.#byId.delete(id);
      this.#changed.delete(anomaly);
      if (this.#latestOfSeries.get(fingerprint) === anomaly) {
        this.#latestOfSeries.delete(fingerprint);
      }
    }
  }

  #open(
    candidate: Candidate,
    known: { id: string; fingerprint: string; onsetMs: number; timestampMs: number },
  ): Anomaly | undefined {
    const { id, fingerprint, onsetMs, timestampMs } = known;
    const before = this.#latestOfSeries.get(fingerprint);
    if (before !== undefined && before.onsetMs > onsetMs) return undefined;
    if (before !== undefined && before.endMs === undefined) {
      // Its end was lost with records that retention deleted.
      before.endMs = before.peakMs;
      this.#changed.add(before);
    }
    const anomaly: Anomaly = {
      id,
      tenant: candidate.tenant,
      fingerprint,
      labels: before?.labels ?? candidate.label.map(({ name, value }) => ({ name, value })),
      onsetMs,
      peakMs: timestampMs,
      score: 0,
      value: 0,
      expected: 0,
      lower: 0,
      upper: 0,
      cause: 'unspecified',
      features: [],
      isYoung: false,
      endMs: undefined,
      verdict: this.early.take(id),
      previousId: before?.id,
    };
    copyMeasures(candidate, anomaly);
    this.#byId.set(id, anomaly);
    this.#latestOfSeries.set(fingerprint, anomaly);
    const list = this.#orderOf(anomaly.tenant);
    list.splice(placeOf(list, anomaly), 0, anomaly);
    this.#changed.add(anomaly);
    return anomaly;
  }

  #orderOf(tenant: string): Anomaly[] {
    let list = this.#ordered.get(tenant);
    if (list === undefined) {
      list = [];
      this.#ordered.set(tenant, list);
    }
    return list;
  }
}

function idOf({ fingerprint, onsetMs }: Pick<Verdict, 'fingerprint' | 'onsetMs'>): string {
  const low = Number(fingerprint & 0xffffffffn);
  return `${fingerprintText(low, Number(fingerprint >> 32n))}-${onsetMs}`;
}

/** The one order of anomalies: by onset, then by id. */
export function compare(a: Place, b: Place): number {
  return a.onsetMs - b.onsetMs || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

export type Place = Pick<Anomaly, 'onsetMs' | 'id'>;

/** How many of the ordered list come before this place. */
export function placeOf(list: readonly Place[], place: Place): number {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compare(list[middle] as Place, place) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function causeName(cause: Cause): CauseName {
  return Cause[cause].toLowerCase() as CauseName;
}

export function featuresOf(shares: Candidate['feature']): FeatureShare[] {
  return shares.map(({ name, share, value }) => ({ name, share, value }));
}

function copyMeasures(candidate: Candidate, into: Anomaly): void {
  into.score = candidate.score;
  into.value = candidate.value;
  into.expected = candidate.expected;
  into.lower = candidate.lower;
  into.upper = candidate.upper;
  into.cause = causeName(candidate.cause);
  into.features = featuresOf(candidate.feature);
  into.isYoung = candidate.isYoung;
}
