// The shipped model forecasts a small set of made series as well as it did when it was shipped: whoever changes weights,
// scaling, layout or runtime and loses quality hears of it here.

import { expect, test } from 'vitest';
import { decilesOf } from '../bench/forecast-model.js';
import { geometricMean, RULES, scoreOf, windowsOf } from '../bench/forecast-score.js';
import { madeForecastSets } from '../bench/forecast-series.js';
import { type Forecaster, ModelForecaster, parityError } from '../src/inference/forecaster.js';
import { loadModel } from '../src/inference/manifest.js';
import { createNativeRuntime } from '../src/inference/native-runtime.js';
import { nano } from './deep-check-site.js';
import { scrambled } from './scrambled-weights.js';

/** Relative to seasonal naive, over all sets, of nano 2.0.0: lower is better. */
const REFERENCE = { mase: 0.596, crps: 0.573 };
const WORSE_MAX = 1.02;

async function qualityOf(forecaster: Forecaster): Promise<{ mase: number; crps: number }> {
  const mases: number[] = [];
  const crpses: number[] = [];
  for (const set of madeForecastSets()) {
    const windows = windowsOf(set);
    const naive = RULES['seasonal naive'];
    if (naive === undefined) throw new Error('no rule');
    const base = scoreOf(
      set,
      windows.map(([past]) => naive(past, set.horizon, set.season)),
    );
    const contexts = windows.map(([past]) => past.slice(-512));
    const forecasts = await forecaster.forecast(contexts, set.horizon);
    const { mase, crps } = scoreOf(set, forecasts.map(decilesOf));
    mases.push(mase / base.mase);
    crpses.push(crps / base.crps);
  }
  await forecaster.close();
  return { mase: geometricMean(mases), crps: geometricMean(crpses) };
}

test('forecasts are no more than 2 % worse than they were', async () => {
  const { mase, crps } = await qualityOf(await nano());
  expect(mase).toBeLessThan(REFERENCE.mase * WORSE_MAX);
  expect(crps).toBeLessThan(REFERENCE.crps * WORSE_MAX);
  // A reference that everything passes would hold nothing.
  expect(mase).toBeGreaterThan(REFERENCE.mase / WORSE_MAX);
  expect(crps).toBeGreaterThan(REFERENCE.crps / WORSE_MAX);
});

test('with its weights in another order the model is worse than knowing nothing', async () => {
  const model = loadModel('nano');
  const other = { ...model, bytes: scrambled(model.bytes, 1), parity: [] };
  const runtime = createNativeRuntime(other, { clock: Date.now });
  const { mase, crps } = await qualityOf(new ModelForecaster(other, runtime));
  expect(mase).toBeGreaterThan(1.5 * REFERENCE.mase);
  expect(crps).toBeGreaterThan(1.5 * REFERENCE.crps);
  const checked = createNativeRuntime(other, { clock: Date.now });
  expect(await parityError(model, checked)).toBeGreaterThan(0.1);
  await checked.close();
});

test('the measures tell a right forecast from a wrong one', () => {
  const values = Float64Array.from({ length: 600 }, (_, i) => 10 + (i % 24) + ((i * 7) % 5) / 5);
  const set = { name: 'one', series: [values], horizon: 48, season: 24 };
  const windows = windowsOf(set);
  expect(windows.length).toBe(2);
  expect(windows[0]?.[0].length).toBe(504);
  const exact = windows.map(([, future]) =>
    Float64Array.from({ length: 9 * 48 }, (_, i) => future[i % 48] as number),
  );
  expect(scoreOf(set, exact)).toEqual({ mase: 0, crps: 0, inside80: 1 });
  const off = exact.map((deciles) => deciles.map((value) => value + 100));
  const { mase, crps, inside80 } = scoreOf(set, off);
  expect(mase).toBeGreaterThan(50);
  expect(crps).toBeCloseTo(
    100 / (windows.flatMap(([, f]) => [...f]).reduce((a, b) => a + b) / 96),
    6,
  );
  expect(inside80).toBe(0);
});
