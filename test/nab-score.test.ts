// The benchmark's scorer against sums done by hand from NAB's published rules. That it also brings
// out NAB's whole published scoreboard is checked where the labelled series are: by the bench.

import { expect, test } from 'vitest';
import type { LabelledSeries, Segment } from '../bench/labelled-series.js';
import { checkEnds } from '../bench/nab-published.js';
import { nabScore, PROFILES, type Profile, prepareNab } from '../bench/nab-score.js';

const ROWS = 200;
/** Rows 0 to 29 are the probation. */
const WINDOW = { from: 100, to: 110 };

function seriesOf(segments: readonly Segment[], rows = ROWS): LabelledSeries {
  const values = new Float64Array(rows);
  return { name: 'made', timestampsMs: values.map((_, row) => 60_000 * row), values, segments };
}

function alarmsAt(entries: Record<number, number>, rows = ROWS): Float64Array {
  const alarms = new Float64Array(rows);
  for (const [row, alarm] of Object.entries(entries)) alarms[Number(row)] = alarm;
  return alarms;
}

/** NAB's sigmoid, in the form of its paper. */
function sigmoid(position: number): number {
  return 2 / (1 + Math.exp(5 * position)) - 1;
}

function ok(entries: Record<number, number>, want: number, profile: Profile = PROFILES.standard) {
  const files = [prepareNab(seriesOf([WINDOW]))];
  const { score } = nabScore(files, [alarmsAt(entries)], { profile, atLeast: 1 });
  expect(score).toBeCloseTo(want, 9);
}

test('silence scores 0, the first row of every window 100, in every profile', () => {
  for (const profile of Object.values(PROFILES)) {
    ok({}, 0, profile);
    ok({ 100: 1 }, 100, profile);
  }
});

test('a find is worth less the later it comes, and only the earliest of a window counts', () => {
  const worth = (row: number): number => sigmoid(-(110 - row) / 10) / sigmoid(-1);
  for (const row of [101, 105, 109]) ok({ [row]: 1 }, 50 * (worth(row) + 1));
  ok({ 103: 1, 107: 9 }, 50 * (worth(103) + 1));
  ok({ 105: 1 }, (100 * (worth(105) + 2)) / 3, PROFILES.lowFalseNegative);
});

test('a false alarm costs its price: all of it before the first window and far behind one', () => {
  ok({ 100: 1, 50: 1 }, 50 * (2 - 0.11));
  ok({ 100: 1, 199: 1 }, 50 * (2 - 0.11));
  ok({ 100: 1, 50: 1, 51: 1 }, 50 * (2 - 0.44), PROFILES.lowFalsePositive);
});

test('just behind a window a false alarm costs little, and the more the later', () => {
  ok({ 100: 1, 110: 1 }, 50 * (2 + 0.11 * sigmoid(1 / 9)));
  ok({ 100: 1, 115: 1 }, 50 * (2 + 0.11 * sigmoid(6 / 9)));
});

test('rows of the probation are not judged', () => {
  ok({ 0: 1, 29: 1, 100: 1 }, 100);
  ok({ 30: 1, 100: 1 }, 50 * (2 - 0.11));
  const [long] = [prepareNab(seriesOf([{ from: 8000, to: 8010 }], 10_000))];
  expect(long.probation).toBe(750);
});

test('alarms below the threshold are not there, those on it are', () => {
  const files = [prepareNab(seriesOf([WINDOW]))];
  const alarms = [alarmsAt({ 60: 1.5, 100: 2 })];
  const at = (atLeast: number) =>
    nabScore(files, alarms, { profile: PROFILES.standard, atLeast }).score;
  expect(at(2)).toBeCloseTo(100, 9);
  expect(at(1.5)).toBeCloseTo(50 * (2 - 0.11), 9);
  expect(at(2.01)).toBeCloseTo(0, 9);
});

test('the sweep finds the best threshold, takes equal alarms together, and may choose silence', () => {
  const sweep = (entries: Record<number, number>, segments: readonly Segment[] = [WINDOW]) => {
    const files = [prepareNab(seriesOf(segments))];
    return nabScore(files, [alarmsAt(entries)], { profile: PROFILES.standard });
  };
  expect(sweep({ 50: 1, 60: 1.5, 100: 2 })).toEqual({
    score: 100,
    threshold: 2,
    found: 1,
    falseAlarms: 0,
  });
  expect(sweep({ 50: 3, 100: 2 })).toMatchObject({ threshold: 2, found: 1, falseAlarms: 1 });
  expect(sweep({ 50: 2, 100: 2 })).toMatchObject({ threshold: 2, found: 1, falseAlarms: 1 });
  const lateAndLoud = Object.fromEntries([...Array(40).keys()].map((i) => [40 + i, 2]));
  expect(sweep({ ...lateAndLoud, 109: 1 })).toMatchObject({
    score: 0,
    threshold: Number.POSITIVE_INFINITY,
  });
});

test('one threshold serves all files, and a silent file loses its windows', () => {
  const files = [prepareNab(seriesOf([WINDOW])), prepareNab(seriesOf([WINDOW]))];
  const alarms = [alarmsAt({ 100: 5 }), alarmsAt({ 100: 1, 50: 4 })];
  const found = nabScore(files, alarms, { profile: PROFILES.standard });
  expect(found.score).toBeCloseTo((100 * (2 - 0.11 + 2)) / 4, 9);
  expect(found.threshold).toBe(1);
});

test('the check of the ends of the scale fails a scorer whose windows are one row off', () => {
  const series = [seriesOf([WINDOW]), seriesOf([])];
  const sound = checkEnds(series, series.map(prepareNab)).slice(0, 2);
  expect(sound.map(({ isSound }) => isSound)).toEqual([true, true]);
  const shifted = [seriesOf([{ from: 99, to: 109 }]), seriesOf([])].map(prepareNab);
  const wrong = checkEnds(series, shifted).slice(0, 2);
  expect(wrong.map(({ isSound }) => isSound)).toEqual([true, false]);
});
