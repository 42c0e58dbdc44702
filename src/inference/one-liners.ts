// One line of arithmetic each, in the same slot as a model: what a foundation model must beat to be worth its cost. Each
// forecasts a normal distribution per step, and is calibrated and judged exactly as a model is.
//
//   zscore              mean and standard deviation of the context
//   squared-difference  the last value, and how far values go from one another in so many steps
//   seasonal-naive      the value one season ago, and how far values are from theirs; the season is the strongest echo

import type { Forecast, Forecaster } from './forecaster.js';
import { meanAndDeviation } from './scaling.js';

export const ONE_LINERS = ['zscore', 'squared-difference', 'seasonal-naive'] as const;
export type OneLiner = (typeof ONE_LINERS)[number];

/** Levels and the quantiles of the standard normal distribution at them. */
const NORMAL: readonly (readonly [level: number, z: number])[] = [
  [0.01, -2.3263478740408408],
  [0.05, -1.6448536269514729],
  [0.1, -1.2815515655446004],
  [0.2, -0.8416212335729143],
  [0.3, -0.5244005127080409],
  [0.4, -0.2533471031357997],
  [0.5, 0],
  [0.6, 0.2533471031357997],
  [0.7, 0.5244005127080407],
  [0.8, 0.8416212335729143],
  [0.9, 1.2815515655446004],
  [0.95, 1.6448536269514722],
  [0.99, 2.3263478740408408],
];
const LEVELS = NORMAL.map(([level]) => level);
const STEPS = 64;
const CONTEXT = 512;
const OBSERVED_MIN = 64;
/** Echoes shorter than this are noise that has not died away. */
const SEASON_MIN = 8;
/** A correlation with the value one season ago below this is no season. */
const ECHO_MIN = 0.2;

/** At a step, counted from 0: the middle and the standard deviation. */
type Rule = (context: Float64Array) => (step: number) => readonly [middle: number, sd: number];

const RULES: Readonly<Record<OneLiner, Rule>> = {
  zscore: (context) => {
    const { mean, sd } = meanAndDeviation(context);
    return () => [mean, sd];
  },
  'squared-difference': (context) => {
    const last = context.findLast((value) => !Number.isNaN(value)) ?? 0;
    const sd = rootMeanSquare(context, 1);
    return (step) => [last, sd * Math.sqrt(step + 1)];
  },
  'seasonal-naive': (context) => {
    const season = seasonOf(context);
    const sd = rootMeanSquare(context, season);
    const { mean } = meanAndDeviation(context);
    return (step) => {
      const value = context[context.length - season + (step % season)] ?? mean;
      return [Number.isNaN(value) ? mean : value, sd];
    };
  },
};

export function isOneLiner(name: string): name is OneLiner {
  return (ONE_LINERS as readonly string[]).includes(name);
}

export function createOneLiner(name: OneLiner): Forecaster {
  return {
    id: name,
    contextMax: CONTEXT,
    observedMin: OBSERVED_MIN,
    horizon: STEPS,
    rowsMax: 1024,
    runtime: 'arithmetic',
    failures: 0,
    trouble: () => undefined,
    prepare: async () => {},
    close: async () => {},
    forecast: async (contexts) => contexts.map((context) => forecast(RULES[name], context)),
  };
}

function forecast(rule: Rule, context: Float64Array): Forecast {
  const at = rule(context.subarray(-CONTEXT));
  const quantiles = new Float64Array(LEVELS.length * STEPS);
  for (let step = 0; step < STEPS; step++) {
    const [middle, sd] = at(step);
    for (const [index, [, z]] of NORMAL.entries())
      quantiles[index * STEPS + step] = middle + sd * z;
  }
  return { levels: LEVELS, steps: STEPS, quantiles };
}

/** Of the differences between values so many steps apart. */
function rootMeanSquare(values: Float64Array, lag: number): number {
  let count = 0;
  let squares = 0;
  for (let i = lag; i < values.length; i++) {
    const difference = (values[i] as number) - (values[i - lag] as number);
    if (Number.isNaN(difference)) continue;
    count++;
    squares += difference ** 2;
  }
  return count === 0 ? 0 : Math.sqrt(squares / count);
}

/** The lag, at most half of the context, at which values resemble those before them most; 1 when none does. */
function seasonOf(context: Float64Array): number {
  const { mean, sd } = meanAndDeviation(context);
  const z = context.map((value) => (Number.isNaN(value) ? 0 : (value - mean) / sd));
  let season = 1;
  let strongest = ECHO_MIN;
  for (let lag = SEASON_MIN; lag <= context.length / 2; lag++) {
    let sum = 0;
    for (let i = lag; i < z.length; i++) sum += (z[i] as number) * (z[i - lag] as number);
    const echo = sum / (z.length - lag);
    if (echo <= strongest) continue;
    strongest = echo;
    season = lag;
  }
  return season;
}
