// What people have told Treeline, as far as it says whom to notify: feedback and maintenance windows, folded from the
// control log. A record is in force from when it was said until it expires or is taken back. Only the first partition of
// the log is read. Everything is decided by stream time, so it is decided alike when history is read again.
//
// A false alarm dismisses anomalies like the one it was said of: of the same series, in the same direction, at most
// FALSE_ALARM_RATIO times as far from what was expected. Said of an entity or of selectors, distances are compared in
// halves of the expected band, since the series have units of their own. The latest word on an anomaly holds.

import { type Span, windowAt } from '../calendar.js';
import type { Control, Feedback, Maintenance } from '../gen/control_pb.js';
import { FeedbackKind } from '../gen/control_pb.js';
import { FALSE_ALARM_RATIO } from '../limits.js';
import { anyOf, BadMatcher } from '../matchers.js';
import { fingerprintText, type Label } from '../series.js';
import { type Anomaly, causeName } from './anomalies.js';

export type Quiet = 'muted' | 'dismissed';

type Matches = (labels: readonly Label[]) => boolean;

export interface FeedbackEntry {
  id: string;
  tenant: string;
  atMs: number;
  feedback: Feedback;
  matches: Matches;
}

export interface MaintenanceEntry {
  id: string;
  tenant: string;
  atMs: number;
  maintenance: Maintenance;
  matches: Matches;
  /** The window that was looked up last, and for when: until its end there is no other one. */
  span: (Span & { askedMs: number }) | undefined;
}

export class ControlView {
  readonly #feedback = new Map<string, FeedbackEntry>();
  readonly #maintenance = new Map<string, MaintenanceEntry>();
  /** Those said of one series. */
  readonly #ofSeries = new Map<string, Set<FeedbackEntry>>();
  readonly #ofSelectors = new Set<FeedbackEntry>();
  /** Rises with every record that changed something. */
  version = 0;

  apply(record: Control): void {
    const { id, tenant, what } = record;
    const atMs = Number(record.atMs);
    if (what.case === 'feedback' && !this.#feedback.has(id)) {
      const feedback = what.value;
      const entry = { id, tenant, atMs, feedback, matches: matchesOf(feedback.match) };
      this.#feedback.set(id, entry);
      this.#index(entry).add(entry);
    } else if (what.case === 'maintenance' && !this.#maintenance.has(id)) {
      const maintenance = what.value;
      const matches = matchesOf(maintenance.match);
      this.#maintenance.set(id, { id, tenant, atMs, maintenance, matches, span: undefined });
    } else if (what.case === 'undo') {
      this.#takeBack(what.value.id, tenant);
    } else return;
    this.version++;
  }

  get counts(): { feedback: number; maintenance: number } {
    return { feedback: this.#feedback.size, maintenance: this.#maintenance.size };
  }

  /** In the order in which they were said. */
  feedback(tenant: string): FeedbackEntry[] {
    return [...this.#feedback.values()].filter((entry) => entry.tenant === tenant);
  }

  maintenance(tenant: string): MaintenanceEntry[] {
    return [...this.#maintenance.values()].filter((entry) => entry.tenant === tenant);
  }

  /** The latest word on an anomaly: what was said of this very one, else undefined. */
  saidOf(anomaly: Anomaly): FeedbackEntry | undefined {
    let latest: FeedbackEntry | undefined;
    for (const entry of this.#ofSeries.get(anomaly.fingerprint) ?? []) {
      if (entry.feedback.anomaly?.id === anomaly.id) latest = entry;
    }
    return latest;
  }

  /** Why nobody is notified of an anomaly at this stream time; undefined when somebody is. */
  quiet(anomaly: Anomaly, nowMs: number): Quiet | undefined {
    const atMs = Math.min(nowMs, anomaly.endMs ?? nowMs);
    for (const entry of this.#maintenance.values()) {
      if (!entry.maintenance.mute || entry.tenant !== anomaly.tenant) continue;
      if (isActive(entry, atMs) && entry.matches(anomaly.labels)) return 'muted';
    }
    return this.#isDismissed(anomaly) ? 'dismissed' : undefined;
  }

  #isDismissed(anomaly: Anomaly): boolean {
    let word: { atMs: number; isFalse: boolean } | undefined;
    const own = this.#ofSeries.get(anomaly.fingerprint) ?? [];
    for (const entries of [own, this.#ofSelectors]) {
      for (const entry of entries) {
        if (entry.tenant !== anomaly.tenant || entry.atMs < (word?.atMs ?? 0)) continue;
        const isFalse = judgement(entry, anomaly);
        if (isFalse !== undefined) word = { atMs: entry.atMs, isFalse };
      }
    }
    return word?.isFalse ?? false;
  }

  #takeBack(id: string, tenant: string): void {
    const feedback = this.#feedback.get(id);
    if (feedback?.tenant === tenant) {
      this.#feedback.delete(id);
      this.#index(feedback).delete(feedback);
    }
    if (this.#maintenance.get(id)?.tenant === tenant) this.#maintenance.delete(id);
  }

  #index({ feedback }: FeedbackEntry): Set<FeedbackEntry> {
    if (feedback.match.length > 0 || feedback.anomaly === undefined) return this.#ofSelectors;
    const fingerprint = textOf(feedback.anomaly.fingerprint);
    let entries = this.#ofSeries.get(fingerprint);
    if (entries === undefined) {
      entries = new Set();
      this.#ofSeries.set(fingerprint, entries);
    }
    return entries;
  }
}

/** Value less expected, and the same in halves of the expected band. */
export function deviationOf(anomaly: Anomaly): { deviation: number; bands: number } {
  const deviation = anomaly.value - anomaly.expected;
  const half = (anomaly.upper - anomaly.lower) / 2;
  return { deviation, bands: half > 0 ? deviation / half : Math.sign(deviation) };
}

export function isActive(entry: MaintenanceEntry, atMs: number): boolean {
  const { startMs, endMs, weekly } = entry.maintenance;
  if (startMs !== undefined && atMs < Number(startMs)) return false;
  if (endMs !== undefined && atMs >= Number(endMs)) return false;
  if (weekly === undefined) return true;
  const { span } = entry;
  if (span === undefined || atMs < span.askedMs || atMs >= span.endMs) {
    const found = windowAt(weekly, atMs);
    entry.span = found && { ...found, askedMs: atMs };
  }
  return entry.span !== undefined && atMs >= entry.span.startMs;
}

/** True: a false alarm; false: a real one; undefined: this says nothing about it. */
function judgement({ feedback, matches }: FeedbackEntry, anomaly: Anomaly): boolean | undefined {
  const { kind, anomaly: marked, expiresMs, streamMs, match } = feedback;
  if (expiresMs !== undefined && anomaly.onsetMs >= Number(expiresMs)) return undefined;
  if (match.length > 0 && !matches(anomaly.labels)) return undefined;
  if (kind === FeedbackKind.ACCEPT_SHIFT) {
    return anomaly.onsetMs <= Number(streamMs) ? true : undefined;
  }
  const isFalse = kind === FeedbackKind.FALSE_ALARM;
  if (!isFalse && kind !== FeedbackKind.CONFIRMED) return undefined;
  if (marked === undefined || marked.id === anomaly.id) return isFalse;
  const now = deviationOf(anomaly);
  const isSeries = match.length === 0;
  const then = isSeries ? marked.deviation : marked.bands;
  const seen = isSeries ? now.deviation : now.bands;
  const isSameSide = Math.sign(then) === Math.sign(seen) || seen === 0;
  const wasQuiet = causeName(marked.cause) === 'quiet';
  if (!isSameSide || wasQuiet !== (anomaly.cause === 'quiet')) return undefined;
  const isLike = Math.abs(seen) <= FALSE_ALARM_RATIO * Math.abs(then);
  // What was confirmed once is real when it comes again, and the more so when it is larger.
  if (!isFalse) return Math.abs(seen) * FALSE_ALARM_RATIO >= Math.abs(then) ? false : undefined;
  return isLike ? true : undefined;
}

function matchesOf(selectors: readonly string[]): Matches {
  let matches: Matches;
  try {
    matches = anyOf(selectors);
  } catch (error) {
    // Judged when it was said, perhaps by another version: what cannot be read matches nothing.
    if (!(error instanceof BadMatcher)) throw error;
    return () => false;
  }
  const known = new WeakMap<readonly Label[], boolean>();
  return (labels) => {
    let answer = known.get(labels);
    if (answer === undefined) {
      answer = matches(labels);
      known.set(labels, answer);
    }
    return answer;
  };
}

export function textOf(fingerprint: bigint): string {
  return fingerprintText(Number(fingerprint & 0xffffffffn), Number(fingerprint >> 32n));
}
