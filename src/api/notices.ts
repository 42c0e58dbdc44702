// Decides for each incident whether somebody is notified of it, and remembers what was decided. An incident is notified
//
//   when it is more than a guess about series that have hardly been seen (incidents.ts), and
//   when it ranks above what chance brings (chance.ts), where most incidents must be chance, and
//   when it is among the highest ranked of the last BUDGET_DAYS, as many as the budget has for them, and
//   while the budget of the day and of the week is not spent.
//
// Ranks only rise, so what was held back may still be notified when it grows. Days are stream time: history is decided
// as it would have been then.

import { create } from '@bufbuild/protobuf';
import { type Notice, NoticeSchema, Outcome } from '../gen/anomaly_pb.js';
import {
  BUDGET_DAY_RATIO,
  BUDGET_DAYS,
  BUDGET_WEEK_RATIO,
  NEWS_MS_MAX,
  SHADOW_MS,
} from '../limits.js';
import type { Label } from '../series.js';
import type { Anomaly } from './anomalies.js';
import { chanceLine } from './chance.js';
import type { Quiet as Told } from './control.js';
import { firstOf, type Incident, type Weight, weightOf } from './incidents.js';

const HOUR_MS = 36e5;
const DAY_MS = 24 * HOUR_MS;
/** From this score on an incident is critical; 1 is the threshold of a flag. */
const CRITICAL_SCORE = 3;
/** Three weeks of hours. */
const LINES_KEPT = 512;

export type Mode = 'auto' | 'shadow' | 'live';

export interface NoticeSettings {
  mode: Mode;
  /** Incidents a day. */
  budget: number;
}

/** Why nobody is told of an anomaly. */
export type Quiet = Told | 'suppressed';

const QUIET_OUTCOMES: Record<Quiet, Outcome> = {
  muted: Outcome.MUTED,
  dismissed: Outcome.DISMISSED,
  suppressed: Outcome.SUPPRESSED,
};
const ALL_QUIET = new Set(Object.values(QUIET_OUTCOMES));

export interface NoticeParts {
  settings: NoticeSettings;
  quiet: (anomaly: Anomaly, nowMs: number) => Quiet | undefined;
  /** Its verdict may still come: nothing is decided by it before. */
  isAwaited: (anomaly: Anomaly) => boolean;
  clock: () => number;
}

/** Where in stream time a decision is made. */
export interface StreamTime {
  firstMs: number;
  newestMs: number;
}

export class Notices {
  #settings: NoticeSettings;
  readonly #quiet: NoticeParts['quiet'];
  readonly #isAwaited: NoticeParts['isAwaited'];
  readonly #clock: () => number;
  readonly #byAnomaly = new Map<string, Notice>();
  /** Those that were notified: few, because of the budget. */
  readonly #notified = new Map<string, Notice>();
  #weights = new WeakMap<Incident, Weight>();
  #changed = new Map<string, Notice>();
  /** Hour of stream time → what chance ranked up to then. */
  readonly #lines = new Map<number, number>();
  /** Incidents that the budget held back, since the process began. */
  heldCount = 0;
  /** When this installation began, by the clock on the wall; infinite until that is known. */
  begunMs = Number.POSITIVE_INFINITY;

  constructor({ settings, quiet, isAwaited, clock }: NoticeParts) {
    this.#settings = settings;
    this.#quiet = quiet;
    this.#isAwaited = isAwaited;
    this.#clock = clock;
  }

  get settings(): NoticeSettings {
    return this.#settings;
  }

  set settings(settings: NoticeSettings) {
    this.#settings = settings;
    this.#lines.clear();
  }

  restore(notice: Notice): void {
    this.#byAnomaly.set(notice.anomalyId, notice);
    if (notice.outcome === Outcome.NOTIFIED) this.#notified.set(notice.anomalyId, notice);
  }

  /** Puts what another process has decided in the place of everything that is known here. */
  replace(notices: Iterable<Notice>): void {
    this.#byAnomaly.clear();
    this.#notified.clear();
    this.#changed.clear();
    for (const notice of notices) this.restore(notice);
  }

  /** Must be told of every incident whose members, or what is known of them, have changed. */
  forgetWeight(incident: Incident): void {
    this.#weights.delete(incident);
  }

  weightOf(incident: Incident): Weight {
    let weight = this.#weights.get(incident);
    if (weight === undefined) {
      weight = weightOf(incident.members);
      this.#weights.set(incident, weight);
    }
    return weight;
  }

  /** What was decided of the incident; of several, since it has grown together, the first notice. */
  of(incident: Incident): Notice | undefined {
    let found: Notice | undefined;
    for (const { id } of incident.members) {
      const notice = this.#byAnomaly.get(id);
      if (notice === undefined) continue;
      const isFirst = found?.outcome !== Outcome.NOTIFIED || notice.atMs < found.atMs;
      if (found === undefined || (notice.outcome === Outcome.NOTIFIED && isFirst)) found = notice;
    }
    return found;
  }

  /** All that were notified, also those whose incident has become part of another one. */
  notified(): Iterable<Notice> {
    return this.#notified.values();
  }

  /** Every decision that is known. */
  all(): Iterable<Notice> {
    return this.#byAnomaly.values();
  }

  takeChanged(): ReadonlyMap<string, Notice> {
    const changed = this.#changed;
    this.#changed = new Map();
    return changed;
  }

  forget(anomalyId: string): boolean {
    this.#changed.delete(anomalyId);
    this.#notified.delete(anomalyId);
    return this.#byAnomaly.delete(anomalyId);
  }

  /** Judges some of all the incidents there are. Returns those of which it decided something new. */
  decide(
    judged: Iterable<Incident>,
    all: () => Iterable<Incident>,
    stream: StreamTime,
  ): Incident[] {
    const ordered = [...judged].sort((a, b) => firstOf(a).onsetMs - firstOf(b).onsetMs);
    let known: readonly Rival[] | undefined;
    const rivals = () => {
      known ??= this.#rivals(all(), firstOf(ordered[0] as Incident).onsetMs);
      return known;
    };
    return ordered.filter((incident) => {
      const before = this.of(incident);
      if (before?.outcome === Outcome.NOTIFIED) return false;
      const { newestMs } = stream;
      const notQuiet = this.loud(incident, newestMs);
      const loud = notQuiet.filter((anomaly) => !this.#isAwaited(anomaly));
      if (notQuiet.length > 0 && loud.length === 0) return false;
      const atMs = loud.reduce(
        (latest, { peakMs }) => Math.max(latest, peakMs),
        firstOf(incident).onsetMs,
      );
      let outcome: Outcome;
      if (loud.length === 0) {
        const why = this.#quiet(firstOf(incident), newestMs);
        outcome = QUIET_OUTCOMES[why ?? 'dismissed'];
      } else if (this.isShadow(atMs, stream.firstMs)) outcome = Outcome.SHADOW;
      else {
        const { rank, isGuess } =
          loud.length === incident.members.length ? this.weightOf(incident) : weightOf(loud);
        const isWithin =
          !isGuess && this.#isWithin({ rank, atMs, firstMs: stream.firstMs }, rivals);
        outcome = isWithin ? Outcome.NOTIFIED : Outcome.HELD;
      }
      if (before?.outcome === outcome) return false;
      if (outcome === Outcome.HELD) this.heldCount++;
      this.#keep(incident, { outcome, atMs, before });
      return true;
    });
  }

  /** Members that somebody would be notified of. */
  loud(incident: Incident, newestMs: number): Anomaly[] {
    return incident.members.filter((anomaly) => this.#quiet(anomaly, newestMs) === undefined);
  }

  /** An installation in which nothing happens is a week old as well: what then happens is told. */
  isShadow(atMs: number, firstMs: number): boolean {
    const { mode } = this.settings;
    if (mode !== 'auto') return mode === 'shadow';
    return atMs - firstMs < SHADOW_MS && this.#clock() - this.begunMs < SHADOW_MS;
  }

  /** Incidents notified within so many days up to this time. */
  notifiedWithin(days: number, untilMs: number): number {
    let count = 0;
    for (const { atMs } of this.#notified.values()) {
      if (Number(atMs) <= untilMs && Number(atMs) > untilMs - days * DAY_MS) count++;
    }
    return count;
  }

  #isWithin(
    { rank, atMs, firstMs }: { rank: number; atMs: number; firstMs: number },
    rivals: Rivals,
  ): boolean {
    const { budget } = this.settings;
    if (this.notifiedWithin(1, atMs) >= budget * BUDGET_DAY_RATIO) return false;
    const most = budget * BUDGET_WEEK_RATIO;
    if (this.notifiedWithin(BUDGET_DAYS, atMs) >= most * BUDGET_DAYS) return false;
    const fromMs = comparedFrom(atMs, firstMs);
    const days = Math.max((atMs - fromMs) / DAY_MS, 1);
    let places = Math.ceil(most * days);
    if (places === 0 || rank <= this.#lineAt(atMs, firstMs, rivals)) return false;
    for (const rival of rivals()) {
      if (rival.rank <= rank) return true;
      const { startMs } = rival;
      if (startMs > atMs || startMs <= fromMs) continue;
      if (--places === 0) return false;
    }
    return true;
  }

  /** What chance ranks up to, as of the hour before. */
  #lineAt(atMs: number, firstMs: number, rivals: Rivals): number {
    const hour = Math.floor(atMs / HOUR_MS);
    const known = this.#lines.get(hour);
    if (known !== undefined) return known;
    const untilMs = hour * HOUR_MS;
    const fromMs = comparedFrom(untilMs, firstMs);
    const ranks = rivals().flatMap(({ rank, startMs }) =>
      startMs < untilMs && startMs >= fromMs ? [rank] : [],
    );
    const { budget } = this.settings;
    const aDay = (ranks.length / Math.max(untilMs - fromMs, HOUR_MS)) * DAY_MS;
    const line = chanceLine(ranks.reverse(), { aDay, budget });
    if (this.#lines.size >= LINES_KEPT) this.#lines.clear();
    this.#lines.set(hour, line);
    return line;
  }

  /** What incidents from `fromMs` on are ranked among, the highest first: every one that is not all quiet. */
  #rivals(all: Iterable<Incident>, fromMs: number): Rival[] {
    const ranked: Rival[] = [];
    for (const incident of all) {
      if (firstOf(incident).onsetMs <= fromMs - (BUDGET_DAYS + 1) * DAY_MS) continue;
      const outcome = this.of(incident)?.outcome;
      if (outcome !== undefined && ALL_QUIET.has(outcome)) continue;
      ranked.push({ rank: this.weightOf(incident).rank, startMs: firstOf(incident).onsetMs });
    }
    return ranked.sort((a, b) => b.rank - a.rank);
  }

  #keep(
    incident: Incident,
    decided: { outcome: Outcome; atMs: number; before: Notice | undefined },
  ): void {
    const { outcome, atMs, before } = decided;
    const isNotified = outcome === Outcome.NOTIFIED;
    const notice = create(NoticeSchema, {
      anomalyId: before?.anomalyId ?? firstOf(incident).id,
      outcome,
      atMs: BigInt(atMs),
      isSent: isNotified && this.#clock() - atMs <= NEWS_MS_MAX,
      label: isNotified ? alertLabels(incident, this.weightOf(incident)) : [],
    });
    this.restore(notice);
    this.#changed.set(notice.anomalyId, notice);
  }
}

/**
 * From when on others are compared with: of what there is the later half, and at most the days of the budget. A fleet that
 * is being learnt brings much in its first days that it never will again.
 */
function comparedFrom(atMs: number, firstMs: number): number {
  return Math.max(atMs - BUDGET_DAYS * DAY_MS, (firstMs + atMs) / 2);
}

interface Rival {
  rank: number;
  startMs: number;
}

/** Made when they are first needed: most incidents are judged without. */
type Rivals = () => readonly Rival[];

/** Ours win over those of the series with the same names. */
function alertLabels(incident: Incident, { peak }: Weight): Label[] {
  const first = firstOf(incident);
  const labels = new Map<string, string>();
  for (const { name, value } of first.labels) {
    // Receivers of alerts know no other names.
    if (/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name)) labels.set(name, value);
  }
  labels.delete('__name__');
  labels.set('alertname', 'Anomaly');
  labels.set('source_metric', first.labels.find(({ name }) => name === '__name__')?.value ?? '');
  labels.set('severity', peak.score >= CRITICAL_SCORE ? 'critical' : 'warning');
  labels.set('incident', `i-${first.id}`);
  if (incident.tenant !== '') labels.set('tenant', incident.tenant);
  return [...labels].map(([name, value]) => ({ name, value }));
}
