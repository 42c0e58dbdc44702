// What a series does regularly is no news, and does not hide what is: jobs of every night and of
// every hour, zeros that are usual, a first day on which everything is new. And what no single step
// tells: a slow walk away from the day's rhythm.

import { expect, test } from 'vitest';
import { observeRows } from '../bench/forest-detector.js';
import { WasmForest } from '../src/scorer/wasm-forest.js';
import { loadModule } from './forest-runs.js';
import {
  type BackgroundKind,
  makeBackground,
  normalFrom,
  randomFrom,
  withLongFault,
} from './realistic-series.js';

const START_MS = 1_700_006_400_000;
const RELEASE = loadModule('forest.wasm');
const MINUTES = 1440;

function observe(values: Float64Array, stepSeconds: number) {
  const forest = new WasmForest(RELEASE, { seriesMax: 1, seed: 1 });
  forest.open(0, 'gauge');
  const timestampsMs = values.map((_, row) => START_MS + 1000 * stepSeconds * row);
  return observeRows(forest, { timestampsMs, values }, { slot: 0, from: 0, to: values.length });
}

function calm(kind: BackgroundKind, shape: { seed: number; stepSeconds: number; days: number }) {
  return makeBackground(kind, shape).values;
}

/** Onsets per day. */
function onsetsByDay(values: Float64Array, stepSeconds: number): number[] {
  const perDay = 86400 / stepSeconds;
  const days = new Array<number>(Math.ceil(values.length / perDay)).fill(0);
  for (const row of observe(values, stepSeconds).onsets) days[Math.floor(row / perDay)]!++;
  return days;
}

test.each([15, 60])('a job of every night is told once, at %i s', (stepSeconds) => {
  for (const seed of [11, 12, 13]) {
    const days = onsetsByDay(calm('nightly', { seed, stepSeconds, days: 6 }), stepSeconds);
    expect(days[0], `first night of seed ${seed}`).toBe(1);
    expect(days.slice(1), `later nights of seed ${seed}`).toEqual([0, 0, 0, 0, 0]);
  }
});

/** Minutes of noise around 30, and from day `from` on a job of twenty minutes at ten past three. */
function withNewJob(days: number, from: number): Float64Array {
  const normal = normalFrom(randomFrom(21));
  return Float64Array.from({ length: days * MINUTES }, (_, minute) => {
    const ofDay = minute % MINUTES;
    const isJob = minute >= from * MINUTES && ofDay >= 190 && ofDay < 210;
    return 30 + normal() + (isJob ? 40 : 0);
  });
}

test('a new job is told for some nights, until it is a habit; what is larger is told on', () => {
  const values = withNewJob(16, 8);
  const days = onsetsByDay(values, 60);
  expect(
    days.slice(1, 8).reduce((sum, count) => sum + count),
    'before the job',
  ).toBe(0);
  expect(days[8], 'the first night').toBeGreaterThan(0);
  expect(days.slice(12), 'from the fifth night on').toEqual([0, 0, 0, 0]);
  const last = 15 * MINUTES + 195;
  values.fill(30 + 400, last, last + 3);
  expect(onsetsByDay(values, 60)[15], 'ten times the job').toBeGreaterThan(0);
});

test('beside a job of every hour, a spike of a fifth of its size is told, and the job is not', () => {
  for (const stepSeconds of [15, 60]) {
    const values = calm('hourly', { seed: 31, stepSeconds, days: 6 });
    const days = onsetsByDay(values, stepSeconds);
    expect(
      days.slice(1).reduce((sum, count) => sum + count),
      `${stepSeconds} s`,
    ).toBe(0);
    const at = (5 * 86400 + 12 * 3600 + 1500) / stepSeconds;
    values[at]! += 12;
    expect(observe(values, stepSeconds).scores[at], `${stepSeconds} s`).toBeGreaterThan(1);
  }
});

test('a walk away from the rhythm of the day is told, and not at every step', () => {
  for (const stepSeconds of [15, 60]) {
    const background = makeBackground('daily', { seed: 41, stepSeconds, days: 6 });
    const from = background.values.length - 400;
    const { values, at, length } = withLongFault(background, 'ramp', from);
    const during = observe(values, stepSeconds).onsets.filter(
      (row) => row >= at && row < at + length,
    );
    expect(during.length, `onsets of the ramp at ${stepSeconds} s`).toBeGreaterThan(0);
    expect(during.length, `onsets of the ramp at ${stepSeconds} s`).toBeLessThanOrEqual(3);
  }
});

test('two zeros in a row are told of a series that has none', () => {
  const values = calm('lognormal', { seed: 51, stepSeconds: 60, days: 4 });
  const at = values.length - 100;
  values.fill(0, at, at + 20);
  const { onsets, causes } = observe(values, 60);
  const onset = onsets.findIndex((row) => row >= at);
  expect([onsets[onset], causes[onset]]).toEqual([at + 1, 'quiet']);
});

test('zeros that are usual are not told, one by one or in runs of usual length', () => {
  const random = randomFrom(61);
  let work = 0;
  const sparse = Float64Array.from({ length: 8 * MINUTES }, () => {
    if (work <= 0 && random() < 0.02) work = 1 + Math.floor(5 * random());
    return work-- > 0 ? 1 + Math.floor(9 * random()) : 0;
  });
  const silentNights = calm('lognormal', { seed: 62, stepSeconds: 60, days: 8 }).map(
    (value, minute) => (minute % MINUTES < 360 ? 0 : value),
  );
  const integers = calm('integer', { seed: 63, stepSeconds: 60, days: 8 });
  for (const [name, values] of Object.entries({ sparse, silentNights, integers })) {
    const { onsets, causes } = observe(values, 60);
    const quiet = onsets.filter((row, i) => row > 2 * MINUTES && causes[i] === 'quiet');
    expect(quiet, name).toEqual([]);
  }
});

test('a constant zero never speaks, and is not too quiet after it was once something else', () => {
  const values = new Float64Array(6 * MINUTES);
  expect(observe(values, 60).onsets).toEqual([]);
  values[700] = 5;
  const { onsets, causes } = observe(values, 60);
  expect(onsets[0]).toBe(700);
  expect(causes).not.toContain('quiet');
});

test('in its first 18 hours a series that bursts is told about once', () => {
  let total = 0;
  for (let seed = 71; seed < 81; seed++) {
    const { onsets } = observe(calm('bursty', { seed, stepSeconds: 60, days: 1 }), 60);
    const early = onsets.filter((row) => row < 18 * 60).length;
    expect(early, `onsets of seed ${seed}: once more when twice as large`).toBeLessThanOrEqual(2);
    total += early;
  }
  expect(total, 'onsets of ten series').toBeLessThanOrEqual(13);
});

test('a first value far from all others does not make a series deaf or loud', () => {
  const values = calm('daily', { seed: 81, stepSeconds: 60, days: 6 }).map((value) => value + 1e6);
  values[0] = 0;
  const at = values.length - 300;
  const clean = onsetsByDay(values, 60).slice(1);
  expect(
    clean.reduce((sum, count) => sum + count),
    'onsets of five days',
  ).toBeLessThanOrEqual(3);
  for (let i = 0; i < 60; i++) values[at + i]! += 60;
  expect(Math.max(...observe(values, 60).scores.subarray(at, at + 3))).toBeGreaterThan(1);
});
