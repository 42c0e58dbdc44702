// What a forecaster is shown of a series so that its answer reaches as far as somebody wants to see, pure. A model looks so
// many steps ahead; a horizon of more steps is met by looking at every second, third … value, counted back from the newest.
// Values are left out and not averaged, because the quantiles are to be those of values.
//
//   window    · · · · · · · · · · · ·  newest            horizon
//   every 3rd     ·     ·     ·     ·  ├─ step ─┤─ step ─┤
//
// Where the value of such a place is missing, the one nearest before it stands in.

import { WINDOW_STEPS } from '../limits.js';
import { FORECAST_STEPS_MAX } from '../limits-forecasts.js';

export interface ForecasterLimits {
  contextMax: number;
  observedMin: number;
  horizon: number;
}

export interface RecentWindow {
  /** Of the newest value. */
  endMs: number;
  /** Between two values. */
  stepMs: number;
  /** Oldest first; NaN where nothing arrived. */
  values: Float64Array;
}

export interface ForecastContext {
  values: Float64Array;
  stepMs: number;
  /** Steps to the horizon, or just beyond it. */
  steps: number;
}

/** Why it cannot be forecast (yet), in words for people, when it cannot. */
export function contextOf(
  { values, stepMs }: RecentWindow,
  { horizonMs, limits }: { horizonMs: number; limits: ForecasterLimits },
): ForecastContext | string {
  const stepsMax = Math.min(limits.horizon, FORECAST_STEPS_MAX);
  const wanted = stepsTo(horizonMs, stepMs);
  const stride = Math.ceil(wanted / stepsMax);
  if (Math.floor(WINDOW_STEPS / stride) < limits.observedMin) {
    const reach = Math.floor(WINDOW_STEPS / limits.observedMin) * stepsMax * stepMs;
    return `A value every ${spanText(stepMs)} is kept ${WINDOW_STEPS} times, which tells ${spanText(reach)} ahead at most`;
  }
  const context = everyNth(values, stride).slice(-limits.contextMax);
  const observed = context.reduce((count, value) => count + (Number.isNaN(value) ? 0 : 1), 0);
  if (observed < limits.observedMin) {
    const among = stride === 1 ? '' : ` of one in ${spanText(stride * stepMs)}`;
    return `${observed} values${among} are known, ${limits.observedMin} are needed`;
  }
  const steps = stepsTo(horizonMs, stride * stepMs);
  return { values: context, stepMs: stride * stepMs, steps };
}

/** The mean of many steps is not a whole number of milliseconds: a horizon of 240 of them is not 241. */
function stepsTo(horizonMs: number, stepMs: number): number {
  return Math.max(1, Math.ceil(horizonMs / stepMs - 0.01));
}

function everyNth(values: Float64Array, stride: number): Float64Array {
  const thinned = new Float64Array(Math.floor(values.length / stride)).fill(Number.NaN);
  for (let back = 0; back < thinned.length; back++) {
    const newest = values.length - 1 - back * stride;
    for (let i = newest; i > newest - stride; i--) {
      const value = values[i] as number;
      if (Number.isNaN(value)) continue;
      thinned[thinned.length - 1 - back] = value;
      break;
    }
  }
  return thinned;
}

export function spanText(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 48 * 3600
    ? `${Math.floor(seconds / 3600)} h`
    : `${Math.floor(seconds / 86_400)} days`;
}
