// What a forecaster is shown so that its answer reaches the horizon, and quantiles that it does not give by itself.

import { expect, test } from 'vitest';
import { contextOf } from '../src/api/forecast-context.js';
import { quantileOf } from '../src/inference/quantile.js';
import { WINDOW_STEPS } from '../src/limits.js';

const LIMITS = { contextMax: 512, observedMin: 64, horizon: 64 };
const SECOND = 1_000;
const MINUTE = 60 * SECOND;

const ramp = (count: number) => Float64Array.from({ length: count }, (_, i) => i);
const ask = (values: Float64Array, horizonMs: number, stepMs = 15 * SECOND) =>
  contextOf({ endMs: 0, stepMs, values }, { horizonMs, limits: LIMITS });

test('a horizon within the steps of the model is met by the values as they are', () => {
  const ok = (horizonMs: number, steps: number) => {
    const context = ask(ramp(WINDOW_STEPS), horizonMs);
    expect(context).toMatchObject({ stepMs: 15 * SECOND, steps });
    expect(typeof context !== 'string' && [...context.values]).toEqual([...ramp(WINDOW_STEPS)]);
  };
  ok(16 * MINUTE, 64);
  ok(15 * SECOND, 1);
  ok(1 * SECOND, 1);
  ok(20 * SECOND, 2);
});

test('a longer one by every second, third value, counted from the newest', () => {
  const context = ask(ramp(WINDOW_STEPS), 60 * MINUTE);
  if (typeof context === 'string') return expect.fail(context);
  expect(context).toMatchObject({ stepMs: 60 * SECOND, steps: 60 });
  expect(context.values.length).toBe(128);
  expect([...context.values.slice(-3)]).toEqual([503, 507, 511]);
  const odd = ask(ramp(WINDOW_STEPS - 1), 17 * MINUTE);
  expect(odd).toMatchObject({ stepMs: 30 * SECOND, steps: 34 });
  expect(typeof odd !== 'string' && [...odd.values.slice(-2)]).toEqual([508, 510]);
});

test('a step that is measured, not known, costs no further step', () => {
  expect(ask(ramp(WINDOW_STEPS), 16 * MINUTE, 14_999.9)).toMatchObject({ steps: 64 });
});

test('where a place has no value the one before it stands in, and gaps of a whole step stay', () => {
  const values = ramp(WINDOW_STEPS);
  values[511] = Number.NaN;
  values.fill(Number.NaN, 504, 508);
  const context = ask(values, 60 * MINUTE);
  expect(typeof context !== 'string' && [...context.values.slice(-3)]).toEqual([
    503,
    Number.NaN,
    510,
  ]);
});

test('what cannot be foreseen says why', () => {
  const bad = (values: Float64Array, horizonMs: number, want: string) =>
    expect(ask(values, horizonMs)).toBe(want);
  bad(ramp(63), 16 * MINUTE, '63 values are known, 64 are needed');
  bad(ramp(255), 60 * MINUTE, '63 values of one in 60 s are known, 64 are needed');
  const full = ramp(WINDOW_STEPS);
  expect(ask(full, 128 * MINUTE)).toMatchObject({ steps: 64, stepMs: 120 * SECOND });
  bad(full, 129 * MINUTE, 'A value every 15 s is kept 512 times, which tells 2 h ahead at most');
});

test('quantiles between two levels are linear, and those beyond the outermost go on as they end', () => {
  const levels = [0.1, 0.5, 0.9];
  const forecast = { levels, steps: 2, quantiles: Float64Array.of(0, -10, 5, 0, 10, 20) };
  const ok = (step: number, level: number, want: number) =>
    expect(quantileOf(forecast, step, level)).toBeCloseTo(want, 10);
  ok(0, 0.1, 0);
  ok(0, 0.5, 5);
  ok(0, 0.9, 10);
  ok(0, 0.3, 2.5);
  ok(1, 0.7, 10);
  // Symmetrical below and above, and ten times as rare is the same step again.
  const tail = (5 / Math.log(5)) * Math.log(10);
  ok(0, 0.01, -tail);
  ok(0, 0.99, 10 + tail);
  ok(0, 0.001, -2 * tail);
  const one = { levels: [0.5], steps: 1, quantiles: Float64Array.of(7) };
  expect(quantileOf(one, 0, 0.99)).toBe(7);
});
