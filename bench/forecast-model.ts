// A model's forecast as forecast-score.ts wants it, and how often values fell into its bands.

import { strict as assert } from 'node:assert';
import type { Forecast } from '../src/inference/forecaster.js';
import { DECILES, type Deciles } from './forecast-score.js';

export function decilesOf(forecast: Forecast): Deciles {
  const { steps, quantiles } = forecast;
  const deciles = new Float64Array(9 * steps);
  for (const [index, level] of DECILES.entries()) {
    deciles.set(
      quantiles.subarray(placeOf(forecast, level) * steps, (placeOf(forecast, level) + 1) * steps),
      index * steps,
    );
  }
  return deciles;
}

/** Shares of all values that lie between the outer quantiles of a band. */
export function bandsOf(forecasts: readonly Forecast[], futures: readonly Float64Array[]) {
  const inside = (low: number, high: number) => {
    let within = 0;
    let count = 0;
    for (const [index, forecast] of forecasts.entries()) {
      const [from, to] = [placeOf(forecast, low), placeOf(forecast, high)];
      for (const [step, value] of (futures[index] as Float64Array).entries()) {
        if (Number.isNaN(value)) continue;
        const at = (place: number) => forecast.quantiles[place * forecast.steps + step] as number;
        if (value >= at(from) && value <= at(to)) within++;
        count++;
      }
    }
    return within / count;
  };
  return { inside80: inside(0.1, 0.9), inside90: inside(0.05, 0.95), inside98: inside(0.01, 0.99) };
}

function placeOf({ levels }: Forecast, level: number): number {
  const place = levels.findIndex((one) => Math.abs(one - level) < 1e-9);
  assert(place >= 0, `the model does not forecast the quantile ${level}`);
  return place;
}
