// From forecasts to a judgement, pure. The suspicious values are compared with what the forecast expected of them, and
// that with how far the same forecaster was off before, on this very series: a model that is always wrong here is not
// listened to, and a series that often does this is not reported.
//
//   p ≤ CONFIRM_P                                          confirmed
//   p ≥ SUPPRESS_P, the forecast by itself finds it no
//   rarer than OWN_P, its band says something, and it is
//   not too quiet                                          suppressed
//   else                                                   abstained: the forest's word stands

import type { Forecast } from '../inference/forecaster.js';
import { meanAndDeviation } from '../inference/scaling.js';
import type { Question } from './origins.js';
import { type Band, bandAt, exceedanceAt, surpriseAt } from './surprise.js';

export interface Judged extends Band {
  outcome: 'confirmed' | 'suppressed' | 'abstained';
  reason: string;
  direction: 'above' | 'below';
  p: number;
}

const CONFIRM_P = 0.01;
/**
 * Chosen on one half of the labelled series (ADR 16), where 14 % of the false alarms go and 1 % of the detections. With 0.15
 * and 0.05 three times as many detections go, with 0.3 of both only half as many false alarms.
 */
const SUPPRESS_P = 0.2;
const OWN_P = 0.1;
/** A band wider than this share of the context's range has told nothing. */
const TELLING_SHARE = 0.75;
/** Fewer errors of the past do not say what is usual; then the forecast's own word counts. */
const ERRORS_MIN = 16;
/** Widths below this share of the context's standard deviation are not believed. */
const FLOOR_SHARE = 0.02;
/** A run is as quiet as this share of the earlier ones at most: too quiet to be suppressed. */
const QUIET_P = 0.05;
/** Values that a run needs to be called quiet. */
const QUIET_RUN = 8;

/** `forecasts` belong to the question's contexts, in their order. */
export function judge(question: Question, forecasts: readonly Forecast[]): Judged {
  const { contexts, futures, guard, isQuiet } = question;
  const context = contexts[0] as Float64Array;
  const future = futures[0] as Float64Array;
  const forecast = forecasts[0] as Forecast;
  const floor = floorOf(context);
  const last = future.length - 1;
  const band = bandAt(forecast, last);
  const direction = (future[last] as number) >= band.expected ? 'above' : 'below';
  const length = future.length - guard;
  const run = runAt(forecast, future, { from: guard, length, floor });
  const usual = futures.slice(1).flatMap((earlier, index) => {
    const runs: Run[] = [];
    const told = forecasts[index + 1] as Forecast;
    for (let from = guard; from + length <= earlier.length; from++) {
      const one = runAt(told, earlier, { from, length, floor });
      if (one.count > 0) runs.push(one);
    }
    return runs;
  });
  const p = probability(run, usual);
  if (isQuiet) {
    // Quiet is judged over the whole future, guard and all: it is a run of its own kind.
    const quietP = quietness(context, future);
    return { ...decideQuiet(quietP), direction, p: quietP, ...band };
  }
  const { outcome, reason } = decide(p, {
    ownP: ownProbability(run),
    isTelling: isTelling(context, forecast, future.length),
    quietP: quietness(context, future.subarray(guard)),
  });
  return { outcome, reason, direction, p, ...band };
}

/** A stuck gauge is perfectly predicted: of what is too quiet no forecast says anything, and nothing is suppressed. */
function decideQuiet(quietP: number): Pick<Judged, 'outcome' | 'reason'> {
  if (quietP <= QUIET_P) return { outcome: 'confirmed', reason: '' };
  return { outcome: 'abstained', reason: 'A forecast cannot see that it is too quiet' };
}

function decide(
  p: number,
  { ownP, isTelling, quietP }: { ownP: number; isTelling: boolean; quietP: number },
): Pick<Judged, 'outcome' | 'reason'> {
  if (p <= CONFIRM_P) return { outcome: 'confirmed', reason: '' };
  if (quietP <= QUIET_P) {
    return { outcome: 'abstained', reason: 'It is unusually quiet, which a forecast cannot see' };
  }
  if (p < SUPPRESS_P || ownP < OWN_P)
    return { outcome: 'abstained', reason: 'It is unusual, but not rare' };
  if (isTelling) return { outcome: 'suppressed', reason: '' };
  return { outcome: 'abstained', reason: 'The band is too wide to tell' };
}

interface Run {
  /** The greatest surprise, and the mean exceedance. */
  peak: number;
  mean: number;
  /** Values that were observed. */
  count: number;
}

function runAt(
  forecast: Forecast,
  future: Float64Array,
  { from, length, floor }: { from: number; length: number; floor: number },
): Run {
  let count = 0;
  let peak = 0;
  let sum = 0;
  for (let step = from; step < from + length; step++) {
    const value = future[step] as number;
    if (Number.isNaN(value)) continue;
    count++;
    peak = Math.max(peak, surpriseAt(forecast, { step, value, floor }));
    sum += exceedanceAt(forecast, { step, value, floor });
  }
  return { peak, mean: count === 0 ? 0 : sum / count, count };
}

/** What the forecast says by itself. Bonferroni over the values of the run: the greatest of many is not surprising. */
function ownProbability({ count, peak }: Run): number {
  return Math.min(1, count * Math.exp(-peak));
}

/** How often a run at least as far out is to be expected. */
function probability(run: Run, usual: readonly Run[]): number {
  if (usual.length < ERRORS_MIN) return ownProbability(run);
  const byPeak = tail(
    run.peak,
    usual.map(({ peak }) => peak),
  );
  if (run.count === 1) return byPeak;
  const byMean = tail(
    run.mean,
    usual.map(({ mean }) => mean),
  );
  return Math.min(1, 2 * Math.min(byPeak, byMean));
}

/**
 * The rank of `value` among what was usual; beyond the largest an exponential tail fitted on the upper half, so that p is
 * not stuck at 1 / (n + 1).
 */
export function tail(value: number, usual: readonly number[]): number {
  const sorted = usual.toSorted((a, b) => a - b);
  const n = sorted.length;
  const largest = sorted[n - 1] as number;
  if (value <= largest) {
    const beyond = sorted.filter((one) => one >= value).length;
    return Math.min(1, (1 + beyond) / (n + 1));
  }
  const middle = sorted[n >> 1] as number;
  const upper = sorted.slice((n >> 1) + 1);
  const excess = upper.reduce((sum, one) => sum + one - middle, 0) / upper.length;
  const scale = Math.max(excess, Number.EPSILON * largest, Number.MIN_VALUE);
  return Math.exp(-(value - largest) / scale) / (n + 1);
}

/** The width below which a band is not believed: values come in steps, and nothing is known more exactly than that. */
function floorOf(context: Float64Array): number {
  const { mean, sd } = meanAndDeviation(context);
  const values = context.filter((value) => !Number.isNaN(value)).sort();
  let gap = Number.POSITIVE_INFINITY;
  for (let i = 1; i < values.length; i++) {
    const difference = (values[i] as number) - (values[i - 1] as number);
    if (difference > 0) gap = Math.min(gap, difference);
  }
  const isConstant = !Number.isFinite(gap);
  const least = Math.max(Math.abs(mean) * 1e-9, Number.MIN_VALUE);
  // Of a constant the standard deviation says 1, which is nothing that was seen.
  return isConstant ? least : Math.max(FLOOR_SHARE * sd, gap / 2, least);
}

function isTelling(context: Float64Array, forecast: Forecast, steps: number): boolean {
  const { levels } = forecast;
  const lower = levels.findIndex((level) => level >= 0.1);
  const upper = levels.findLastIndex((level) => level <= 0.9);
  const widths: number[] = [];
  for (let step = 0; step < steps; step++) {
    const at = (index: number) => forecast.quantiles[index * forecast.steps + step] as number;
    widths.push(at(upper) - at(lower));
  }
  widths.sort((a, b) => a - b);
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  for (const value of context) {
    if (value < least) least = value;
    if (value > most) most = value;
  }
  return (widths[widths.length >> 1] as number) < TELLING_SHARE * (most - least);
}

/** The share of earlier runs of the same length that varied as little; 1 when the run is too short to say. */
export function quietness(context: Float64Array, run: Float64Array): number {
  if (run.length < QUIET_RUN) return 1;
  const here = variation(run);
  let count = 0;
  let asQuiet = 0;
  for (let from = 0; from + run.length <= context.length; from++) {
    count++;
    if (variation(context.subarray(from, from + run.length)) <= here) asQuiet++;
  }
  return count === 0 ? 1 : (1 + asQuiet) / (1 + count);
}

/** The mean step between neighbours. */
function variation(run: Float64Array): number {
  let sum = 0;
  let count = 0;
  for (let i = 1; i < run.length; i++) {
    const step = Math.abs((run[i] as number) - (run[i - 1] as number));
    if (Number.isNaN(step)) continue;
    sum += step;
    count++;
  }
  return count === 0 ? Number.POSITIVE_INFINITY : sum / count;
}
