// Anomalies, incidents and decisions as one view: candidates come in, a refresh brings everything that follows from them
// up to date and says what has changed. Nothing here waits, reads a clock by itself or touches a store.

import { type Notice, Outcome } from '../gen/anomaly_pb.js';
import type { Candidate } from '../gen/candidate_pb.js';
import type { Verdict } from '../gen/verdict_pb.js';
import { ANOMALIES_FORGOTTEN, ANOMALIES_MAX } from '../limits.js';
import type { Label } from '../series.js';
import { Anomalies, type Anomaly } from './anomalies.js';
import { ControlView } from './control.js';
import { endOf, firstOf, type Incident, Incidents, isOpen } from './incidents.js';
import { type NoticeSettings, Notices } from './notices.js';
import { type Place, VerdictWait } from './verdicts.js';

/** How much of stream time may pass before what is too old is looked for. */
const AGEING_MS = 6 * 3_600_000;

export interface TimelineSettings {
  retentionMs: number;
  partitionBy: readonly (readonly string[])[];
  alerts: NoticeSettings;
  /** How long a notice waits for the verdict; absent where nothing checks a second time. */
  verdictWaitMs?: number;
}

export interface Refreshed {
  anomalies: ReadonlySet<Anomaly>;
  incidents: ReadonlySet<Incident>;
  notices: ReadonlyMap<string, Notice>;
  forgotten: readonly string[];
}

export class Timeline {
  readonly anomalies: Anomalies;
  readonly notices: Notices;
  readonly control = new ControlView();
  readonly #partitionBy: readonly (readonly string[])[];
  readonly #incidents = new Map<string, Incidents>();
  /** Open, as of the last refresh; some may have been dissolved since. */
  readonly #open = new Set<Incident>();
  readonly #changed = new Set<Anomaly>();
  readonly #wait: VerdictWait;
  /** Ordered incidents, made when they are asked for. */
  readonly #lists = new Map<string, readonly Incident[]>();
  #agedMs = Number.NEGATIVE_INFINITY;
  #controlVersion = 0;
  /** While false, what another process decides is shown, and nothing is decided here. */
  isDeciding = true;
  /** Incidents begun since this process began; those that grew together count as often as they began. */
  incidentCount = 0;

  constructor(settings: TimelineSettings, clock: () => number) {
    this.anomalies = new Anomalies(settings.retentionMs);
    this.#partitionBy = settings.partitionBy;
    this.#wait = new VerdictWait(settings.verdictWaitMs, clock);
    this.notices = new Notices({
      settings: settings.alerts,
      quiet: (anomaly, nowMs) =>
        anomaly.verdict?.outcome === 'suppressed'
          ? 'suppressed'
          : this.control.quiet(anomaly, nowMs),
      isAwaited: ({ id }) => this.#wait.has(id),
      clock,
    });
  }

  /** Newest stream time there is; what is open is open as of then. */
  get nowMs(): number {
    return this.anomalies.newestMs;
  }

  get isStale(): boolean {
    const isNews = this.#changed.size > 0 || this.control.version !== this.#controlVersion;
    return isNews || this.isWaiting;
  }

  /** Something has to be decided although nothing more may be heard. */
  get isWaiting(): boolean {
    return !this.#wait.isEmpty;
  }

  apply(candidate: Candidate): void {
    const opened = this.anomalies.apply(candidate);
    if (opened !== undefined && opened.verdict === undefined) this.#wait.begin(opened.id);
  }

  judge(verdict: Verdict, place: Place): void {
    this.anomalies.judge(verdict, place);
  }

  /** What has changed in the anomalies themselves; a refresh will follow it up. */
  collect(): ReadonlySet<Anomaly> {
    const changed = this.anomalies.takeChanged();
    for (const anomaly of changed) this.#changed.add(anomaly);
    return changed;
  }

  /** After everything that was kept has been restored. */
  settle(): void {
    this.anomalies.settle();
    for (const tenant of this.anomalies.tenants()) {
      const ordered = this.anomalies.ordered(tenant);
      const incidents = this.#incidentsOf(tenant);
      incidents.add(ordered, ordered);
      for (const incident of incidents.all()) {
        if (isOpen(incident) || this.notices.of(incident) === undefined) this.#open.add(incident);
      }
    }
  }

  /** From now on decisions are made here, also of what was left undecided so far. */
  beginDeciding(): void {
    this.isDeciding = true;
    for (const incident of this.incidents()) {
      if (this.notices.of(incident) === undefined) this.#open.add(incident);
    }
    this.#controlVersion = Number.NaN; // stale, whatever it is
  }

  refresh(): Refreshed {
    this.collect();
    this.#lists.clear();
    const anomalies = new Set(this.#changed);
    this.#changed.clear();
    for (const { id, verdict } of anomalies) if (verdict !== undefined) this.#wait.end(id);
    this.#wait.pass();
    this.#controlVersion = this.control.version;
    const incidents = this.#join(anomalies);
    for (const incident of incidents) {
      this.notices.forgetWeight(incident);
      this.#open.add(incident);
    }
    const judged = new Set(incidents);
    for (const incident of this.#open) {
      if (this.#incidentsOf(incident.tenant).has(incident)) judged.add(incident);
      else this.#open.delete(incident);
    }
    const stream = { firstMs: this.anomalies.firstMs, newestMs: this.nowMs };
    if (this.isDeciding) {
      for (const one of this.notices.decide(judged, () => this.incidents(), stream)) {
        incidents.add(one);
      }
    }
    for (const incident of this.#open) {
      const isAwaited = incident.members.some(({ id }) => this.#wait.has(id));
      if (!isOpen(incident) && !isAwaited) this.#open.delete(incident);
    }
    const forgotten = this.#forget();
    return { anomalies, incidents, notices: this.notices.takeChanged(), forgotten };
  }

  /** Of all tenants, in no order. */
  *incidents(): Iterable<Incident> {
    for (const incidents of this.#incidents.values()) yield* incidents.all();
  }

  /** Of one tenant, newest first onset or highest rank first; the same list until something changes. */
  list(tenant: string, order: 'time' | 'rank' = 'time'): readonly Incident[] {
    const incidents = this.#incidents.get(tenant);
    if (incidents === undefined) return [];
    const key = JSON.stringify([order, tenant]);
    let list = this.#lists.get(key);
    if (list === undefined) {
      const value = (incident: Incident) => this.orderOf(incident, order);
      list = [...incidents.all()].sort(
        (a, b) => value(b) - value(a) || (firstOf(a).id < firstOf(b).id ? 1 : -1),
      );
      this.#lists.set(key, list);
    }
    return list;
  }

  orderOf(incident: Incident, order: 'time' | 'rank'): number {
    return order === 'rank' ? this.notices.weightOf(incident).rank : firstOf(incident).onsetMs;
  }

  /** The incident that an anomaly is part of; undefined also when it is another tenant's. */
  incidentOf(anomalyId: string, tenant: string): Incident | undefined {
    return this.#incidents.get(tenant)?.of(anomalyId);
  }

  /** For people: `namespace=shop pod=db-0`; empty for a series that is an entity of its own. */
  entityOf(anomaly: Anomaly): string {
    return this.entityLabels(anomaly)
      .map(({ name, value }) => `${name}=${value}`)
      .join(' ');
  }

  entityLabels(anomaly: Anomaly): readonly Label[] {
    return this.#incidentsOf(anomaly.tenant).tiesOf(anomaly.labels).entityLabels;
  }

  outcomeOf(incident: Incident): Outcome {
    return this.notices.of(incident)?.outcome ?? Outcome.UNSPECIFIED;
  }

  #join(changed: ReadonlySet<Anomaly>): Set<Incident> {
    const fresh = new Map<string, Anomaly[]>();
    for (const anomaly of changed) {
      if (this.incidentOf(anomaly.id, anomaly.tenant) !== undefined) continue;
      const list = fresh.get(anomaly.tenant) ?? [];
      list.push(anomaly);
      fresh.set(anomaly.tenant, list);
    }
    const touched = new Set<Incident>();
    for (const [tenant, list] of fresh) {
      const incidents = this.#incidentsOf(tenant);
      const begun = new Set(list.map(({ id }) => id));
      for (const incident of incidents.add(list, this.anomalies.ordered(tenant))) {
        touched.add(incident);
        if (begun.has(firstOf(incident).id)) this.incidentCount++;
      }
    }
    for (const { id, tenant } of changed) {
      const incident = this.incidentOf(id, tenant);
      if (incident !== undefined) touched.add(incident);
    }
    return touched;
  }

  #incidentsOf(tenant: string): Incidents {
    let incidents = this.#incidents.get(tenant);
    if (incidents === undefined) {
      const find = (id: string) => this.anomalies.find(id);
      incidents = new Incidents(tenant, { partitionBy: this.#partitionBy, find });
      this.#incidents.set(tenant, incidents);
    }
    return incidents;
  }

  /** Whole incidents only, so that those that stay are what they were. */
  #forget(): string[] {
    const isFull = this.anomalies.count > ANOMALIES_MAX;
    if (!isFull && this.nowMs - this.#agedMs < AGEING_MS) return [];
    this.#agedMs = this.nowMs;
    const horizonMs = this.anomalies.horizonMs;
    const target = isFull ? ANOMALIES_MAX - ANOMALIES_FORGOTTEN : Number.POSITIVE_INFINITY;
    const closed: [incident: Incident, endMs: number][] = [];
    const open: [incident: Incident, endMs: number][] = [];
    for (const incident of this.incidents()) {
      const endMs = endOf(incident);
      (endMs === undefined ? open : closed).push([incident, endMs ?? Number.POSITIVE_INFINITY]);
    }
    const byAge = (list: [Incident, number][]) =>
      list.sort(([a], [b]) => firstOf(a).onsetMs - firstOf(b).onsetMs);
    const forgotten = new Set<Anomaly>();
    // Open ones last: somebody may be looking at them.
    for (const [incident, endMs] of [...byAge(closed), ...byAge(open)]) {
      if (endMs >= horizonMs && this.anomalies.count - forgotten.size <= target) continue;
      this.#incidentsOf(incident.tenant).forget(incident);
      for (const anomaly of incident.members) {
        forgotten.add(anomaly);
        this.notices.forget(anomaly.id);
      }
    }
    this.anomalies.forget(forgotten);
    return [...forgotten].map(({ id }) => id);
  }
}
