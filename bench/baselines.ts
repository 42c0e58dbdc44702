// What a detector must beat to be worth its memory: three lines of arithmetic each. A plain
// exponentially weighted z-score, the distance outside the range seen so far, and an alarm every
// 600 rows that never looks at the series. All see one row after the other and nothing ahead. Also
// what a detector is to the benches, and the one way in which alarms are made of the scores of
// those that make none themselves.

import { type LabelledSeries, presentRows } from './labelled-series.js';

export interface Verdicts {
  /** Continuous, one per row; higher is more anomalous. */
  readonly scores: Float64Array;
  /** The score on rows that begin or raise an event, else 0: one event per cause. */
  readonly alarms: Float64Array;
  /** What it does by itself; undefined when it has no threshold of its own. */
  readonly own: Decisions | undefined;
}

/** At a detector's own threshold, which nobody has tuned for the series at hand. */
export interface Decisions {
  /** Above 0 where it calls. */
  readonly calls: Float64Array;
  /** Above 0 on the calls that begin or raise an event. */
  readonly alarms: Float64Array;
}

export interface Detector {
  readonly name: string;
  detect(series: readonly LabelledSeries[]): Promise<Verdicts[]> | Verdicts[];
}

/** Rows for which a higher score is remembered: what the public detectors with alarms do, too. */
export const QUIET_ROWS = 120;
const PERIOD_ROWS = 600;
const MEAN_RATE = 0.3;
const DEVIATION_RATE = 0.001;
/** Three standard deviations of a normal variable, in mean absolute deviations. */
const THREE_SIGMA = 3 / Math.sqrt(2 / Math.PI);
/** A range forgets a 20,000th of its width a row, so that an old outlier does not hide all. */
const RANGE_RATE = 1 / 20_000;

export const BASELINES: readonly Detector[] = [
  baseline('z-score, exponentially weighted', THREE_SIGMA, zScores),
  baseline('range exceedance', Number.MIN_VALUE, rangeScores),
  baseline(`an alarm every ${PERIOD_ROWS} rows`, 1, periodicScores),
];

function baseline(
  name: string,
  threshold: number,
  score: (values: Float64Array) => Float64Array,
): Detector {
  const detect = (series: readonly LabelledSeries[]): Verdicts[] =>
    series.map(({ values }) => {
      const scores = score(values);
      return withRecords(
        scores,
        scores.map((one) => (one >= threshold ? one : 0)),
      );
    });
  return { name, detect };
}

/** Shows a detector the samples that there are; a row without one has neither score nor alarm. */
export function withoutMissing(detector: Detector): Detector {
  const detect = async (series: readonly LabelledSeries[]): Promise<Verdicts[]> => {
    const verdicts = await detector.detect(
      series.map((one) => ({ ...presentRows(one), segments: [] })),
    );
    return verdicts.map(({ scores, alarms, own }, at) => {
      const spread = (column: Float64Array) => spreadRows(column, series[at]!.values);
      return {
        scores: spread(scores),
        alarms: spread(alarms),
        own: own && { calls: spread(own.calls), alarms: spread(own.alarms) },
      };
    });
  };
  return { name: detector.name, detect };
}

function spreadRows(column: Float64Array, values: Float64Array): Float64Array {
  let next = 0;
  return values.map((value) => (Number.isNaN(value) ? 0 : column[next++]!));
}

/** Alarms made by one rule, for detectors that leave that to their user. */
export function withRecords(scores: Float64Array, calls: Float64Array | undefined): Verdicts {
  const own = calls === undefined ? undefined : { calls, alarms: recordsOf(calls) };
  return { scores, alarms: recordsOf(scores), own };
}

/** A score counts when it is higher than all of the 120 rows before it. */
export function recordsOf(scores: Float64Array): Float64Array {
  const alarms = new Float64Array(scores.length);
  let record = 0;
  let age = 0;
  scores.forEach((score, row) => {
    if (++age > QUIET_ROWS) record = 0;
    if (!(score > record)) return;
    alarms[row] = score;
    record = score;
    age = 0;
  });
  return alarms;
}

export function zScores(values: Float64Array): Float64Array {
  let mean = values[0] ?? 0;
  let deviation = 0;
  return values.map((value, row) => {
    const residual = Math.abs(value - mean);
    const score = deviation > 0 ? residual / deviation : 0;
    mean += Math.max(MEAN_RATE, 1 / (row + 1)) * (value - mean);
    deviation += Math.max(DEVIATION_RATE, 1 / (row + 1)) * (residual - deviation);
    return score;
  });
}

export function rangeScores(values: Float64Array): Float64Array {
  let low = values[0] ?? 0;
  let high = low;
  return values.map((value) => {
    const range = high - low;
    const outside = Math.max(0, value - high, low - value);
    const shrink = range * RANGE_RATE;
    low = Math.min(value, low + shrink);
    high = Math.max(value, high - shrink);
    return range > 0 ? outside / range : 0;
  });
}

function periodicScores(values: Float64Array): Float64Array {
  return values.map((_, row) => (row % PERIOD_ROWS === PERIOD_ROWS - 1 ? 1 : 0));
}
