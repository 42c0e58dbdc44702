// Event-F1 of labelled series, judged on the continuous score: an operator who is called by one
// threshold for all series, and counts calls. An alarm begins at a row that reaches the threshold
// and stands for 15 rows; the next such row after that begins another, so a score that stays high
// keeps costing. No point adjustment, which lets a random score look good.
//
//   score   ____▁█▆▂________█▇▇▇█▇▇▇▇▇▇▇▇▇▇▇▇█▇____
//   label   ____▇▇▇▇▇▇▇▇____________________________
//   alarms      [ 15 rows     ]  [ 15 rows    ][ …          found: reached within the first 8 rows
//                                   false        false      true: any row in a label or 7 behind

import type { LabelledSeries, Segment } from './labelled-series.js';

export const ALARM_ROWS = 15;
export const FOUND_WITHIN_ROWS = 8;
export const FORGIVEN_ROWS = 7;
/** The first part of a series, in which a detector learns, is not judged. */
export const UNJUDGED_SHARE = 0.15;

export interface EventScore {
  readonly f1: number;
  readonly threshold: number;
  readonly found: number;
  readonly falseAlarms: number;
  readonly events: number;
}

/** What the judge needs of a series, and the score to be judged. */
export interface JudgedSeries {
  readonly scores: ArrayLike<number>;
  readonly start: number;
  /** Those that reach into the judged part, cut to it. */
  readonly segments: readonly Segment[];
}

export function judgedSeries(series: LabelledSeries, scores: ArrayLike<number>): JudgedSeries {
  const start = judgedFrom(series);
  const segments = series.segments
    .filter(({ to }) => to > start)
    .map(({ from, to }) => ({ from: Math.max(from, start), to }));
  return { scores, start, segments };
}

export function judgedFrom({ values }: LabelledSeries): number {
  return Math.floor(UNJUDGED_SHARE * values.length);
}

/** Alarms from scores of at least `atLeast`. */
export function eventScoreAt(judged: readonly JudgedSeries[], atLeast: number): EventScore {
  let found = 0;
  let falseAlarms = 0;
  let events = 0;
  for (const series of judged) {
    events += series.segments.length;
    falseAlarms += countFalseAlarms(series, atLeast);
    for (const segment of series.segments) if (peakOf(series, segment) >= atLeast) found++;
  }
  const f1 = found === 0 ? 0 : (2 * found) / (found + falseAlarms + events);
  return { f1, threshold: atLeast, found, falseAlarms, events };
}

/**
 * The best single threshold. What is found changes only where the threshold passes the highest
 * score of a segment's first rows, and between two of these the higher threshold makes no more
 * alarms, so those are the thresholds to try.
 */
export function sweptEventScore(judged: readonly JudgedSeries[]): EventScore {
  const peaks = judged.flatMap((series) =>
    series.segments.map((segment) => peakOf(series, segment)),
  );
  const thresholds = [...new Set(peaks)].filter((peak) => peak > 0).sort((a, b) => b - a);
  let best = eventScoreAt(judged, Number.POSITIVE_INFINITY);
  for (const threshold of thresholds) {
    const score = eventScoreAt(judged, threshold);
    if (score.f1 > best.f1) best = score;
  }
  return best;
}

function peakOf({ scores }: JudgedSeries, { from, to }: Segment): number {
  let peak = 0;
  for (let row = from; row < Math.min(to, from + FOUND_WITHIN_ROWS); row++) {
    if (scores[row]! > peak) peak = scores[row]!;
  }
  return peak;
}

function countFalseAlarms({ scores, start, segments }: JudgedSeries, atLeast: number): number {
  let count = 0;
  let next = 0;
  for (let row = start; row < scores.length; row++) {
    if (!(scores[row]! >= atLeast)) continue;
    while (next < segments.length && segments[next]!.to + FORGIVEN_ROWS <= row) next++;
    const segment = segments[next];
    if (segment === undefined || segment.from >= row + ALARM_ROWS) count++;
    row += ALARM_ROWS - 1;
  }
  return count;
}
