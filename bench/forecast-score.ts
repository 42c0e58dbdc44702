// How good forecasts are, by the protocol that GIFT-Eval and BOOM call "short": the last windows of each series, a horizon
// of 48 steps (60 at 10 s), MASE scaled by the in-sample error of the seasonal naive forecast, CRPS as the mean weighted
// quantile loss over nine deciles, both as ratios to seasonal naive. The same as training/evaluate.py, on the product's own
// path; and the simple rules that a model must beat.

import { strict as assert } from 'node:assert';

export interface ForecastSet {
  name: string;
  series: readonly Float64Array[];
  horizon: number;
  season: number;
}

/** Nine deciles, `horizon` steps each, one after another. */
export type Deciles = Float64Array;
export type DecileRule = (past: Float64Array, horizon: number, season: number) => Deciles;

export interface ForecastScore {
  mase: number;
  crps: number;
  /** Share of the values within the innermost 80, 90 and 98 % of the forecast; NaN where it does not say. */
  inside80: number;
}

export const DECILES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9] as const;
const Z = [
  -1.2815515655446004, -0.8416212335729143, -0.5244005127080409, -0.2533471031357997, 0,
  0.2533471031357997, 0.5244005127080407, 0.8416212335729143, 1.2815515655446004,
] as const;
const WINDOWS_MAX = 20;
const RATES = [0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 1];
const NEWEST = 512;
/** BOOM's own seasonal naive forecast takes its spread from so many values; its published CRPS is met within 2 % set by set. */
const NAIVE_NEWEST = 2048;

export const RULES: Readonly<Record<string, DecileRule>> = {
  'seasonal naive': (past, horizon, season) => {
    const m = past.length > season ? season : 1;
    const sd = rootMeanSquare(lagged(past.subarray(-NAIVE_NEWEST), m));
    return normal(horizon, (step) => [
      past[past.length - m + (step % m)] as number,
      sd * Math.sqrt(Math.floor(step / m) + 1),
    ]);
  },
  'last value': (past, horizon) => {
    const sd = deviation(lagged(past.subarray(-NEWEST), 1));
    const last = past.at(-1) ?? Number.NaN;
    return normal(horizon, (step) => [last, sd * Math.sqrt(step + 1)]);
  },
  'exponential smoothing': (past, horizon) => {
    const { level, sd, rate } = smoothed(past.subarray(-NEWEST));
    return normal(horizon, (step) => [level, sd * Math.sqrt(1 + step * rate * rate)]);
  },
  'quantiles of the last 512': (past, horizon) => {
    const sorted = past
      .subarray(-NEWEST)
      .filter((value) => !Number.isNaN(value))
      .sort();
    const deciles = new Float64Array(9 * horizon);
    for (const [index, level] of DECILES.entries()) {
      const at = level * (sorted.length - 1);
      const low = sorted[Math.floor(at)] as number;
      const value = low + (at % 1) * ((sorted[Math.ceil(at)] as number) - low);
      deciles.fill(value, index * horizon, (index + 1) * horizon);
    }
    return deciles;
  },
};

/** What came before each window, and the window. */
export function windowsOf({
  series,
  horizon,
}: ForecastSet): [past: Float64Array, future: Float64Array][] {
  return series.flatMap((values) => {
    const wanted = Math.max(1, Math.ceil((0.1 * values.length) / horizon));
    const count = Math.min(wanted, WINDOWS_MAX);
    return Array.from({ length: count }, (_, k): [Float64Array, Float64Array] => {
      const end = values.length - (count - k) * horizon;
      return [values.subarray(0, end), values.subarray(end, end + horizon)];
    });
  });
}

/** `forecasts` belong to the windows of the set, in their order. */
export function scoreOf(set: ForecastSet, forecasts: readonly Deciles[]): ForecastScore {
  const { horizon, season } = set;
  const windows = windowsOf(set);
  assert(windows.length === forecasts.length);
  const ratios = { sum: 0, count: 0 };
  const losses = new Float64Array(9);
  let size = 0;
  const inside = { sum: 0, count: 0 };
  for (const [index, [past, future]] of windows.entries()) {
    const deciles = forecasts[index] as Deciles;
    const scale = past.length > season ? meanSize(lagged(past, season)) : Number.NaN;
    for (let step = 0; step < horizon; step++) {
      const value = future[step] as number;
      if (Number.isNaN(value)) continue;
      size += Math.abs(value);
      const at = (level: number) => deciles[level * horizon + step] as number;
      for (let level = 0; level < 9; level++) {
        const below = value <= at(level) ? 1 : 0;
        const loss = 2 * Math.abs((at(level) - value) * (below - (DECILES[level] as number)));
        losses[level] = (losses[level] as number) + loss;
      }
      inside.sum += value >= at(0) && value <= at(8) ? 1 : 0;
      inside.count++;
      const ratio = Math.abs(at(4) - value) / scale;
      if (!Number.isFinite(ratio)) continue;
      ratios.sum += ratio;
      ratios.count++;
    }
  }
  const loss = losses.reduce((sum, one) => sum + one, 0) / 9;
  return {
    mase: ratios.sum / ratios.count,
    crps: loss / Math.max(1e-12, size),
    inside80: inside.sum / inside.count,
  };
}

export function geometricMean(values: readonly number[]): number {
  const logs = values.map((value) => Math.log(Math.max(value, 1e-9)));
  return Math.exp(logs.reduce((sum, one) => sum + one, 0) / logs.length);
}

function normal(horizon: number, at: (step: number) => [middle: number, sd: number]): Deciles {
  const deciles = new Float64Array(9 * horizon);
  for (let step = 0; step < horizon; step++) {
    const [middle, sd] = at(step);
    for (const [index, z] of Z.entries()) deciles[index * horizon + step] = middle + sd * z;
  }
  return deciles;
}

function lagged(values: Float64Array, lag: number): Float64Array {
  return values.slice(lag).map((value, i) => value - (values[i] as number));
}

function deviation(values: Float64Array): number {
  const known = values.filter((value) => !Number.isNaN(value));
  const mean = known.reduce((sum, one) => sum + one, 0) / known.length;
  return Math.sqrt(known.reduce((sum, one) => sum + (one - mean) ** 2, 0) / known.length);
}

function rootMeanSquare(values: Float64Array): number {
  const known = values.filter((value) => !Number.isNaN(value));
  return Math.sqrt(known.reduce((sum, one) => sum + one ** 2, 0) / known.length);
}

function meanSize(values: Float64Array): number {
  const known = values.filter((value) => !Number.isNaN(value));
  return known.reduce((sum, one) => sum + Math.abs(one), 0) / known.length;
}

/** Simple exponential smoothing with the rate that would have been best. */
function smoothed(values: Float64Array): { level: number; sd: number; rate: number } {
  let best = { level: 0, sd: Number.POSITIVE_INFINITY, rate: 1 };
  for (const rate of RATES) {
    let level = values[0] as number;
    let squares = 0;
    for (const value of values.subarray(1)) {
      const error = value - level;
      squares += error ** 2;
      level += rate * error;
    }
    const sd = Math.sqrt(squares / (values.length - 1));
    if (sd < best.sd) best = { level, sd, rate };
  }
  return best;
}
