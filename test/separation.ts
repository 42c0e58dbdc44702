// How well do scores tell a stretch of a series with a fault in it from stretches without? For each
// fault, the highest score within it is compared with the highest scores of calm stretches of the
// same length, of all series of the kind, by the probability that the faulty one is the higher (the
// area under the ROC curve; ties count half). 1 is perfect, 0.5 is a coin, 0 is upside down. One
// scale for all series: a detector whose scores mean something else on each series loses here.

import {
  type Background,
  type BackgroundKind,
  type Fault,
  type LongFault,
  makeBackground,
  withFault,
  withLongFault,
} from './realistic-series.js';

export type AnyFault = Fault | LongFault;
/** Scores of the whole series, one row after the other. */
export type Scorer = (values: Float64Array) => ArrayLike<number>;

export interface Case {
  readonly fault: AnyFault;
  readonly kind: BackgroundKind;
}

export const STEP_SECONDS = 60;
const DAYS = 10;
const DAY = 86400 / STEP_SECONDS;
export const SERIES_COUNT = 8;
const FIRST_SEED = 301;
/** Rows of a fault that is a single value or a step in which it must be noticed. */
const SHORT_ROWS = 5;
/** Calm stretches are taken from the days before the fault. */
const CALM_DAYS = 3;

export interface Faulty {
  readonly calm: Float64Array;
  readonly faulty: Float64Array;
  readonly at: number;
  readonly length: number;
}

export function faultySeriesOf({ fault, kind }: Case): Faulty[] {
  return Array.from({ length: SERIES_COUNT }, (_, i) => {
    const seed = FIRST_SEED + i;
    const background = makeBackground(kind, { seed, stepSeconds: STEP_SECONDS, days: DAYS });
    return faultOf(background, fault, (DAYS - 2) * DAY + 37 * i);
  });
}

function faultOf(background: Background, fault: AnyFault, from: number): Faulty {
  const calm = background.values;
  if (!isLong(fault)) {
    const faulty = withFault(background, fault, from);
    return { calm, faulty, at: from, length: SHORT_ROWS };
  }
  const { values, at, length } = withLongFault(background, fault, from);
  return { calm, faulty: values, at, length };
}

function isLong(fault: AnyFault): fault is LongFault {
  return ['flat line', 'ramp', 'drift', 'phase error', 'missed job', 'extra job'].includes(fault);
}

/** The gate: the least separation asked for of each case, a little below what is reached. */
export const GATE: readonly [Case, number][] = [
  [{ fault: 'spike of 12', kind: 'daily' }, 0.99],
  [{ fault: 'spike of 12', kind: 'autoregressive' }, 0.99],
  [{ fault: 'level shift of 8', kind: 'daily' }, 0.99],
  [{ fault: 'level shift of 8', kind: 'drifting' }, 0.98],
  [{ fault: 'drop to zero', kind: 'nightly' }, 0.99],
  [{ fault: 'drop to zero', kind: 'bursty' }, 0.99],
  [{ fault: 'flat line', kind: 'daily' }, 0.99],
  [{ fault: 'flat line', kind: 'bursty' }, 0.95],
  [{ fault: 'ramp', kind: 'autoregressive' }, 0.98],
  [{ fault: 'drift', kind: 'daily' }, 0.98],
  [{ fault: 'phase error', kind: 'daily' }, 0.98],
  [{ fault: 'missed job', kind: 'nightly' }, 0.98],
  [{ fault: 'extra job', kind: 'nightly' }, 0.98],
];

/** See the top. */
export function separation(series: readonly Faulty[], scorer: Scorer): number {
  const faultPeaks: number[] = [];
  const calmPeaks: number[] = [];
  for (const { faulty, at, length } of series) {
    const scores = scorer(faulty.subarray(0, at + length));
    faultPeaks.push(peakOf(scores, at, length));
    for (let from = at - CALM_DAYS * DAY; from + length <= at; from += length) {
      calmPeaks.push(peakOf(scores, from, length));
    }
  }
  let sum = 0;
  for (const peak of faultPeaks) {
    for (const calm of calmPeaks) sum += peak > calm ? 1 : peak === calm ? 0.5 : 0;
  }
  return sum / (faultPeaks.length * calmPeaks.length);
}

function peakOf(scores: ArrayLike<number>, from: number, length: number): number {
  let peak = Number.NEGATIVE_INFINITY;
  for (let row = from; row < from + length; row++) peak = Math.max(peak, scores[row]!);
  return peak;
}
