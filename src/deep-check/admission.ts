// Who is checked, and when: checks wait here until a batch takes them. Of a series' onsets within a minute of stream time the
// newest waits (history may bring several of a series at once, days apart: each is checked); a series that was just checked
// rests; what is taken stays within a budget of windows per second; every group (tenant and job) has its turn, so that one
// that flaps does not starve the others; and when all places are taken, or a check has waited too long, it is shed and told
// so. Everything that is offered is settled exactly once, here or by who took it.

import {
  BUDGET_BURST_SECONDS,
  CHECKS_WAITING_MAX,
  COOLDOWN_MS,
  COOLDOWN_SERIES_MAX,
} from '../limits-models.js';

export const SHED_REASONS = ['cooldown', 'replaced', 'queue_full', 'late'] as const;
export type ShedReason = (typeof SHED_REASONS)[number];

export interface Waiting {
  /** The series. */
  key: string;
  /** Whose turns are its own. */
  group: string;
  score: number;
  /** Stream time. */
  timestampMs: number;
  /** Windows that it costs. */
  windows: number;
  shed(reason: ShedReason): void;
}

export interface AdmissionSettings {
  windowsPerSecond: number;
  waitMsMax: number;
  checksMax?: number;
}

interface Place<T> {
  check: T;
  sinceMs: number;
}

export class Admission<T extends Waiting> {
  readonly #settings: AdmissionSettings;
  readonly #clock: () => number;
  /** Group → what waits of it; a group whose turn has passed is put at the end. */
  readonly #groups = new Map<string, Place<T>[]>();
  /** In the order in which they came. */
  readonly #waiting = new Set<Place<T>>();
  /** Series → what came last of it and still waits. */
  readonly #newest = new Map<string, Place<T>>();
  /** Series → its last check; the least recent first. */
  readonly #checked = new Map<string, { timestampMs: number; score: number }>();
  #tokens: number;
  #filledMs: number;
  #excusedMs = 0;
  #windows = 0;

  constructor(settings: AdmissionSettings, clock: () => number) {
    this.#settings = settings;
    this.#clock = clock;
    this.#tokens = settings.windowsPerSecond * BUDGET_BURST_SECONDS;
    this.#filledMs = clock();
  }

  get length(): number {
    return this.#waiting.size;
  }

  /** Windows that wait. */
  get windows(): number {
    return this.#windows;
  }

  offer(check: T): void {
    const last = this.#checked.get(check.key);
    if (last !== undefined && rests(check, last)) {
      check.shed('cooldown');
      return;
    }
    const same = this.#newest.get(check.key);
    if (same !== undefined && isSoonAfter(check, same.check)) this.#shed(same, 'replaced');
    if (this.length >= (this.#settings.checksMax ?? CHECKS_WAITING_MAX)) {
      const least = this.#least();
      if (least.check.score >= check.score) {
        check.shed('queue_full');
        return;
      }
      this.#shed(least, 'queue_full');
    }
    const place = { check, sinceMs: this.#clock() - this.#excusedMs };
    this.#waiting.add(place);
    this.#newest.set(check.key, place);
    this.#windows += check.windows;
    const group = this.#groups.get(check.group);
    if (group === undefined) this.#groups.set(check.group, [place]);
    else group.push(place);
  }

  /** Time that makes nobody late: what all of them wait for has just been begun. */
  excuse(ms: number): void {
    this.#excusedMs += Math.max(0, ms);
  }

  /** Sheds what has waited too long. */
  expire(): void {
    const now = this.#clock() - this.#excusedMs;
    // In the order in which they came, so that the first that is young enough ends it.
    for (const place of this.#waiting) {
      if (now - place.sinceMs <= this.#settings.waitMsMax) return;
      this.#shed(place, 'late');
    }
  }

  /** The next checks: from each group in turn its highest score, as long as windows and budget last. */
  take(windowsMax: number): T[] {
    this.#refill();
    const taken: T[] = [];
    let windows = 0;
    while (this.length > 0) {
      const [name, group] = this.#groups.entries().next().value as [string, Place<T>[]];
      const place = group.reduce((a, b) => (b.check.score > a.check.score ? b : a));
      const cost = place.check.windows;
      // One check may be more than a batch holds, or than the budget ever has: it goes alone, and the budget pays later.
      if (taken.length > 0 && windows + cost > windowsMax) break;
      if (this.#tokens < Math.min(cost, this.#settings.windowsPerSecond * BUDGET_BURST_SECONDS))
        break;
      this.#tokens -= cost;
      windows += cost;
      this.#remove(place);
      taken.push(place.check);
      this.#remember(place.check);
      if (this.#groups.delete(name) && group.length > 0) this.#groups.set(name, group);
    }
    return taken;
  }

  /** How long the one that came first has waited. */
  oldestMs(): number {
    const first = this.#waiting.values().next().value;
    return first === undefined ? 0 : this.#clock() - this.#excusedMs - first.sinceMs;
  }

  #refill(): void {
    const now = this.#clock();
    const { windowsPerSecond } = this.#settings;
    const earned = (Math.max(0, now - this.#filledMs) / 1000) * windowsPerSecond;
    this.#tokens = Math.min(this.#tokens + earned, windowsPerSecond * BUDGET_BURST_SECONDS);
    this.#filledMs = now;
  }

  #least(): Place<T> {
    // Ties: the oldest, which is met first.
    let least: Place<T> | undefined;
    for (const place of this.#waiting) {
      if (least === undefined || place.check.score < least.check.score) least = place;
    }
    return least as Place<T>;
  }

  #shed(place: Place<T>, reason: ShedReason): void {
    this.#remove(place);
    place.check.shed(reason);
  }

  #remove(place: Place<T>): void {
    const { key, group: name, windows } = place.check;
    this.#waiting.delete(place);
    if (this.#newest.get(key) === place) this.#newest.delete(key);
    this.#windows -= windows;
    const group = this.#groups.get(name) as Place<T>[];
    group.splice(group.indexOf(place), 1);
    if (group.length === 0) this.#groups.delete(name);
  }

  #remember({ key, timestampMs, score }: T): void {
    this.#checked.delete(key);
    this.#checked.set(key, { timestampMs, score });
    if (this.#checked.size <= COOLDOWN_SERIES_MAX) return;
    this.#checked.delete(this.#checked.keys().next().value as string);
  }
}

export type Checked = Pick<Waiting, 'timestampMs' | 'score'>;

/** So soon after its last check a series is not checked again. */
export function rests(check: Checked, last: Checked): boolean {
  return isSoonAfter(check, last) && check.score < 2 * last.score;
}

function isSoonAfter(
  check: Pick<Checked, 'timestampMs'>,
  last: Pick<Checked, 'timestampMs'>,
): boolean {
  const since = check.timestampMs - last.timestampMs;
  return since >= 0 && since < COOLDOWN_MS;
}
