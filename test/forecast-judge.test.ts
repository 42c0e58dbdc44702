// From a forecast to a judgement, on forecasts made by hand: surprise and band under quantiles, what is usual of a series,
// and when something is confirmed, suppressed, or left as it is.

import { expect, test } from 'vitest';
import { judge, quietness, tail } from '../src/deep-check/judge.js';
import { type CheckWindow, type Question, questionOf } from '../src/deep-check/origins.js';
import { bandAt, exceedanceAt, surpriseAt } from '../src/deep-check/surprise.js';
import type { Forecast } from '../src/inference/forecaster.js';
import { createOneLiner } from '../src/inference/one-liners.js';
import { randomOf } from './random.js';

const LEVELS = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99];

/** Logistic around a middle: its quantiles are known in closed form, and its tails are exponential. */
function logistic(middle: number, scale: number, steps = 64, levels = LEVELS): Forecast {
  const quantiles = levels.flatMap((level) =>
    new Array<number>(steps).fill(middle + scale * Math.log(level / (1 - level))),
  );
  return { levels, steps, quantiles: Float64Array.from(quantiles) };
}

const limits = { contextMax: 512, observedMin: 64, horizon: 64 };

function question(window: Partial<CheckWindow> & { values: Float64Array }): Question {
  const { values, suspiciousFrom = values.length - 1, isQuiet = false } = window;
  const asked = questionOf({ values, suspiciousFrom, isQuiet }, limits);
  if (typeof asked === 'string') throw new Error(asked);
  return asked;
}

test('a surprise is -ln of the two-sided tail, between the quantiles and far beyond them', () => {
  const forecast = logistic(10, 2);
  const at = (value: number) => surpriseAt(forecast, { step: 3, value, floor: 0 });
  const truly = (value: number) => {
    const below = 1 / (1 + Math.exp(-(value - 10) / 2));
    return -Math.log(2 * Math.min(below, 1 - below));
  };
  expect(at(10)).toBeCloseTo(0, 12);
  for (const level of LEVELS) {
    const value = 10 + 2 * Math.log(level / (1 - level));
    expect(at(value)).toBeCloseTo(truly(value), 9);
  }
  // Tails are fitted on the two outermost quantiles: right to 2 % for a logistic one.
  for (const value of [-10, 30, 60]) expect(at(value) / truly(value)).toBeCloseTo(1, 1);
  expect(at(1e12)).toBeGreaterThan(1e10);
  expect(Number.isFinite(at(-1e300))).toBe(true);
});

test('a forecast that is sure of one value is surprised by a change of the least step only beyond the floor', () => {
  const sure = logistic(5, 0);
  expect(surpriseAt(sure, { step: 0, value: 5, floor: 0.5 })).toBeCloseTo(0, 12);
  expect(surpriseAt(sure, { step: 0, value: 6, floor: 0.5 })).toBeCloseTo(-Math.log(0.02) + 2, 9);
  expect(exceedanceAt(sure, { step: 0, value: 6, floor: 0.5 })).toBe(2);
});

test('the band is the median and the quantiles nearest to 5 and 95 %', () => {
  const { expected, lower, upper } = bandAt(logistic(1, 1), 0);
  expect(expected).toBe(1);
  expect(lower).toBeCloseTo(1 + Math.log(0.05 / 0.95), 12);
  expect(upper).toBeCloseTo(1 + Math.log(0.95 / 0.05), 12);
  const coarse = bandAt(logistic(1, 1, 4, [0.1, 0.5, 0.9]), 0);
  expect(coarse.lower).toBeCloseTo(1 + Math.log(0.1 / 0.9), 12);
  expect(coarse.upper).toBeCloseTo(1 + Math.log(0.9 / 0.1), 12);
});

test('a tail probability is a rank among what was usual, and falls exponentially beyond the largest', () => {
  const usual = Array.from({ length: 99 }, (_, i) => i + 1);
  expect(tail(50, usual)).toBe(0.51);
  expect(tail(99, usual)).toBe(0.02);
  expect(tail(0, usual)).toBe(1);
  const just = tail(99.0001, usual);
  expect(just).toBeCloseTo(0.01, 4);
  expect(tail(199, usual)).toBeLessThan(just * Math.exp(-3));
  expect(tail(5, new Array<number>(20).fill(3))).toBeLessThan(1e-12);
});

test('p is uniform when the series does what it always did, however wrong the forecast is about it', () => {
  // The forecast believes in half of the true spread, and is wrong by one: calibration must mend both.
  const random = randomOf(7);
  const draw = () => {
    const u = random();
    return 11 + 4 * Math.log(u / (1 - u));
  };
  const ps: number[] = [];
  for (let run = 0; run < 400; run++) {
    const asked = question({ values: Float64Array.from({ length: 400 }, draw) });
    ps.push(
      judge(
        asked,
        asked.contexts.map(() => logistic(10, 2)),
      ).p,
    );
  }
  for (const level of [0.05, 0.2, 0.5, 0.8]) {
    const share = ps.filter((p) => p <= level).length / ps.length;
    expect(Math.abs(share - level)).toBeLessThan(0.07);
  }
});

test('what is far off is confirmed with its direction, what was expected is suppressed', () => {
  const values = Float64Array.from(
    { length: 400 },
    (_, i) => 10 + 3 * Math.sin(i / 5) + 0.1 * ((i * 7) % 5),
  );
  const forecasts = (asked: Question) =>
    asked.contexts.map((context) => {
      // A perfect forecast but for a little noise.
      const steps = 64;
      const from = context.length;
      const quantiles = LEVELS.flatMap((level) =>
        Array.from({ length: steps }, (_, step) => {
          const i = from + step;
          return 10.2 + 3 * Math.sin(i / 5) + 0.1 * Math.log(level / (1 - level));
        }),
      );
      return { levels: LEVELS, steps, quantiles: Float64Array.from(quantiles) };
    });
  const at = (last: number) => {
    const asked = question({ values: Float64Array.from([...values.slice(0, -1), last]) });
    return judge(asked, forecasts(asked));
  };
  const usual = values.at(-1) as number;
  expect(at(usual)).toMatchObject({ outcome: 'suppressed', reason: '' });
  expect(at(usual + 4)).toMatchObject({ outcome: 'confirmed', direction: 'above' });
  expect(at(usual - 4)).toMatchObject({ outcome: 'confirmed', direction: 'below' });
  expect(at(usual + 4).p).toBeLessThan(at(usual + 2).p);
});

test('a band as wide as everything that ever was tells nothing', () => {
  const random = randomOf(3);
  const values = Float64Array.from({ length: 400 }, () => 10 + random());
  const asked = question({ values: Float64Array.from([...values.slice(0, -1), 10.5]) });
  const judged = judge(
    asked,
    asked.contexts.map(() => logistic(10.5, 1)),
  );
  expect(judged.outcome).toBe('abstained');
  expect(judged.reason).toBe('The band is too wide to tell');
});

test('a run that stands still where values always moved is never suppressed', () => {
  const random = randomOf(5);
  const moving = Array.from({ length: 390 }, () => 100 + 10 * random());
  const values = Float64Array.from([...moving, ...new Array<number>(12).fill(105)]);
  const told = (asked: Question) => asked.contexts.map(() => logistic(105, 2));
  const flat = question({ values, suspiciousFrom: 390 });
  expect(judge(flat, told(flat))).toMatchObject({ outcome: 'abstained' });
  expect(judge(flat, told(flat)).reason).toContain('quiet');
  const quiet = question({ values, suspiciousFrom: 390, isQuiet: true });
  expect(judge(quiet, told(quiet))).toMatchObject({ outcome: 'confirmed' });
  const alive = question({ values: Float64Array.from(moving), suspiciousFrom: 370, isQuiet: true });
  expect(judge(alive, told(alive)).outcome).toBe('abstained');
});

test('quietness is a rank among runs of the same length', () => {
  const wild = Float64Array.from({ length: 200 }, (_, i) => (i % 2) * 10);
  expect(quietness(wild, new Float64Array(10).fill(3))).toBeCloseTo(1 / 192, 9);
  expect(quietness(wild, wild.slice(0, 10))).toBe(1);
  expect(quietness(wild, wild.slice(0, 4))).toBe(1);
});

test('the context ends before the suspicion, and calibration reaches back over the whole window', () => {
  const values = Float64Array.from({ length: 400 }, (_, i) => i);
  const { contexts, futures, guard } = question({ values, suspiciousFrom: 396 });
  expect(guard).toBe(8);
  expect(contexts.length).toBe(8);
  expect(contexts[0]?.at(-1)).toBe(387);
  expect([...(futures[0] ?? [])]).toEqual(Array.from({ length: 12 }, (_, i) => 388 + i));
  for (let k = 1; k < 8; k++) {
    expect(contexts[k]?.at(-1)).toBe(387 - 46 * k);
    expect(futures[k]?.[0]).toBe(388 - 46 * k);
    expect(futures[k]?.length).toBe(46);
  }
  const sizes = (length: number, suspiciousFrom: number) => {
    const asked = question({ values: new Float64Array(length).fill(1), suspiciousFrom });
    return [asked.contexts.length, asked.futures[1]?.length];
  };
  // As far apart as the forecast reaches behind the guard; in a short window close together, and fewer.
  expect(sizes(600, 599)).toEqual([8, 56]);
  expect(sizes(140, 139)).toEqual([5, 16]);
  // A long suspicion is compared with what is as long.
  expect(sizes(400, 350)).toEqual([5, 58]);
});

test('a window that is too short, too suspicious or empty is refused with the reason', () => {
  const refused = (window: Partial<CheckWindow> & { values: Float64Array }, want: string) => {
    const { values, suspiciousFrom = values.length - 1, isQuiet = false } = window;
    expect(questionOf({ values, suspiciousFrom, isQuiet }, limits)).toContain(want);
  };
  const values = new Float64Array(400).fill(1);
  refused({ values: values.slice(0, 70) }, '61 samples before the suspicion, 64 are needed');
  refused({ values, suspiciousFrom: 300 }, 'The suspicion is 100 samples long');
  refused(
    { values: Float64Array.from(values, (_, i) => (i % 10 === 9 ? 1 : Number.NaN)) },
    '39 samples',
  );
  refused(
    { values: Float64Array.from(values, (v, i) => (i === 399 ? Number.NaN : v)) },
    'does not end',
  );
  refused({ values, suspiciousFrom: 0 }, 'The suspicion is 400');
});

test('one-liners forecast what their names say', async () => {
  const wave = Float64Array.from(
    { length: 480 },
    (_, i) => 50 + 10 * Math.sin((2 * Math.PI * i) / 24),
  );
  const middle = async (name: Parameters<typeof createOneLiner>[0], step: number) => {
    const [forecast] = await createOneLiner(name).forecast([wave]);
    return bandAt(forecast as Forecast, step);
  };
  expect((await middle('zscore', 5)).expected).toBeCloseTo(50, 6);
  expect((await middle('squared-difference', 5)).expected).toBe(wave[479]);
  expect((await middle('seasonal-naive', 5)).expected).toBeCloseTo(wave[461] as number, 6);
  expect((await middle('seasonal-naive', 29)).expected).toBeCloseTo(wave[461] as number, 6);
  const { lower, upper } = await middle('zscore', 0);
  expect(upper - lower).toBeCloseTo(2 * 1.6449 * Math.sqrt(50), 0);
});
