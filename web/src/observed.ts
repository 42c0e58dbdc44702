// The points of a series that can be drawn: the window that the scorer still has, where it gives one, and what this page
// has seen of it since it was opened. Bounded: so many series, so many points of each; the oldest go first.

import type { Series } from './rows.js';

export interface Points {
  /** Seconds, ascending. */
  times: number[];
  values: (number | null)[];
  expected: (number | null)[];
  lower: (number | null)[];
  upper: (number | null)[];
  scores: (number | null)[];
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

export function pointsOf(series: Series): Points {
  remember(series);
  const own = seen.get(series.fingerprint) ?? new Map<number, Point>();
  const all = new Map<number, Point>(windowPoints(series, own));
  for (const [at, point] of own) all.set(at, point);
  const times = withGaps(
    [...all.keys()].sort((a, b) => a - b),
    series.intervalSeconds ?? 0,
  );
  const column = (name: keyof Point) => times.map((at) => all.get(at)?.[name] ?? null);
  const [begin = 0] = times;
  return {
    times,
    values: column('value'),
    expected: column('expected'),
    lower: column('lower'),
    upper: column('upper'),
    scores: column('score'),
    seenFrom: [...own.keys()].find((at) => at >= begin),
  };
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
