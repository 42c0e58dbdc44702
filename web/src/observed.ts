// The points of a series that can be drawn: what a Prometheus has of the time before, the window that the scorer still has,
// where it gives one, and what this page has seen of it since it was opened. Bounded: so many series, so many points of
// each; the oldest go first.

import type { HistoryAnswer } from '../../src/api/history-answer.js';
import type { Series } from './rows.js';

export interface Points {
  /** Seconds, ascending. */
  times: number[];
  values: (number | null)[];
  /** Values from before those, as a Prometheus has them. */
  past: (number | null)[];
  expected: (number | null)[];
  lower: (number | null)[];
  upper: (number | null)[];
  scores: (number | null)[];
  /** Where the values that are Treeline's own begin. */
  ownFrom: number | undefined;
  /** From here on the page has seen them itself. */
  seenFrom: number | undefined;
}

interface Point {
  value: number | null;
  expected: number | null;
  lower: number | null;
  upper: number | null;
  score: number | null;
}

const SERIES_MAX = 50;
const POINTS_MAX = 1_440;
/** Without a sample for so long the line ends. */
const GAP_INTERVALS = 5;
/** What was before such a gap would only squeeze together what is after it. */
const LONG_GAP_INTERVALS = 100;
const LONG_GAP_SECONDS = 600;

const seen = new Map<string, Map<number, Point>>();

export function remember(series: Series): void {
  const { fingerprint, lastTimestamp } = series;
  if (lastTimestamp === undefined) return;
  let points = seen.get(fingerprint);
  if (points === undefined) {
    if (seen.size >= SERIES_MAX) seen.delete(seen.keys().next().value ?? '');
    points = new Map();
    seen.set(fingerprint, points);
  }
  const at = Date.parse(lastTimestamp) / 1000;
  const { lastValue = null, expected = null, lower = null, upper = null, score = null } = series;
  points.set(at, { value: lastValue, expected, lower, upper, score });
  if (points.size > POINTS_MAX) points.delete(points.keys().next().value ?? 0);
}

export function pointsOf(series: Series, history: HistoryAnswer | undefined): Points {
  remember(series);
  const own = seen.get(series.fingerprint) ?? new Map<number, Point>();
  const all = new Map<number, Point>(windowPoints(series, own));
  for (const [at, point] of own) all.set(at, point);
  const times = withGaps(
    [...all.keys()].sort((a, b) => a - b),
    series.intervalSeconds ?? 0,
  );
  const [ownFrom] = times;
  const before = pastPoints(history, ownFrom);
  // The lines meet in the first value of ours, unless something is missing between them.
  const meets =
    ownFrom !== undefined &&
    ownFrom - (before.at(-1)?.at ?? Number.NaN) <= joinSeconds(series, history);
  const column = (name: keyof Point) => [
    ...before.map(() => null),
    ...times.map((at) => all.get(at)?.[name] ?? null),
  ];
  return {
    times: [...before.map(({ at }) => at), ...times],
    values: column('value'),
    past: [
      ...before.map(({ value }) => value),
      ...times.map((at) => (meets && at === ownFrom ? (all.get(at)?.value ?? null) : null)),
    ],
    expected: column('expected'),
    lower: column('lower'),
    upper: column('upper'),
    scores: column('score'),
    ownFrom,
    seenFrom: [...own.keys()].find((at) => at >= (ownFrom ?? 0)),
  };
}

interface PastPoint {
  at: number;
  value: number | null;
}

/** Those before the first of ours; where one or more steps are missing, a time of no value ends the line. */
function pastPoints(history: HistoryAnswer | undefined, ownFrom: number | undefined): PastPoint[] {
  if (history === undefined) return [];
  const { points, stepSeconds } = history;
  const kept: PastPoint[] = [];
  for (const { timestamp, value } of points) {
    const at = Date.parse(timestamp) / 1000;
    if (at >= (ownFrom ?? Number.POSITIVE_INFINITY)) break;
    const last = kept.at(-1);
    if (last !== undefined && at - last.at > 1.5 * stepSeconds) {
      kept.push({ at: (last.at + at) / 2, value: null });
    }
    kept.push({ at, value });
  }
  return kept;
}

function joinSeconds({ intervalSeconds = 0 }: Series, history: HistoryAnswer | undefined): number {
  return Math.max(2 * (history?.stepSeconds ?? 0), GAP_INTERVALS * intervalSeconds);
}

/**
 * Of ascending times those since the last long gap, and where something is missing a time of no point, which ends the
 * line there.
 */
function withGaps(times: readonly number[], interval: number): number[] {
  const long = Math.max(LONG_GAP_SECONDS, LONG_GAP_INTERVALS * interval);
  const kept: number[] = [];
  for (const at of times) {
    const last = kept.at(-1);
    if (last !== undefined && at - last > long) kept.length = 0;
    else if (last !== undefined && interval > 0 && at - last > GAP_INTERVALS * interval) {
      kept.push((last + at) / 2);
    }
    kept.push(at);
  }
  return kept;
}

/** Where the page has seen a sample itself, that is the more exact one. */
function windowPoints(
  { window = [], intervalSeconds = 0 }: Series,
  own: ReadonlyMap<number, Point>,
): [number, Point][] {
  const ownTimes = [...own.keys()];
  return window.flatMap(
    ({ timestamp, value, expected, lower, upper, score }): [number, Point][] => {
      const at = Date.parse(timestamp) / 1000;
      if (ownTimes.some((time) => Math.abs(time - at) < intervalSeconds / 2)) return [];
      const point = {
        value,
        expected: expected ?? null,
        lower: lower ?? null,
        upper: upper ?? null,
        score: score ?? null,
      };
      return [[at, point]];
    },
  );
}
