// What senders do to a series without meaning harm: another interval, two writers, a clock that is
// set back, hours of NaN, a single value from another world. Each is defined, none of them poisons a
// record: before and after it the same spike is found, and calm is calm.

import { expect, test } from 'vitest';
import { type SeriesKind, WasmForest } from '../src/scorer/wasm-forest.js';
import { bitsOf, loadModule, observeAll, type Sample } from './forest-runs.js';
import { normalFrom, randomFrom } from './realistic-series.js';
import type { Row } from './reference-forest.js';

const RELEASE = loadModule('forest.wasm');
const START_MS = 1_700_006_400_000;
const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
const NOISE = 2;
const LEVEL = 500;

/** One series with a day's rhythm, a noise of 2 around it, and whatever else a test puts in. */
class Life {
  readonly forest = new WasmForest(RELEASE, { seriesMax: 1, seed: 1 });
  now = START_MS;
  readonly #normal: () => number;

  constructor(kind: SeriesKind = 'gauge', seed = 1) {
    this.forest.open(0, kind);
    this.#normal = normalFrom(randomFrom(seed));
  }

  usual(at = this.now): number {
    return LEVEL + 50 * Math.sin((2 * Math.PI * (at % DAY_MS)) / DAY_MS) + NOISE * this.#normal();
  }

  send(samples: readonly (readonly [atMs: number, value: number])[]): Row[] {
    const columns: Sample[] = samples.map(([atMs, value]) => ({
      slot: 0,
      timestamp: BigInt(Math.round(atMs)),
      bits: bitsOf(value),
    }));
    return observeAll(this.forest, columns);
  }

  /** Calm samples for so long, `value` of what would be usual at its time. */
  live(
    durationMs: number,
    stepMs: number,
    value: (usual: number, at: number) => number = (usual) => usual,
  ): Row[] {
    const end = this.now + durationMs;
    const samples: [number, number][] = [];
    for (; this.now < end; this.now += stepMs) {
      samples.push([this.now, value(this.usual(), this.now)]);
    }
    return this.send(samples);
  }

  /** The score of one spike of so many noises. */
  spike(size: number, stepMs: number): number {
    const [row] = this.send([[this.now, this.usual() + size * NOISE]]);
    this.now += stepMs;
    return row!.score;
  }
}

function onsets(rows: readonly Row[]): number {
  return rows.filter(({ event }) => event?.phase === 'onset').length;
}

function causes(rows: readonly Row[]): string[] {
  return rows.flatMap(({ event }) => (event?.phase === 'onset' ? [event.cause] : []));
}

function flaggedShare(rows: readonly Row[]): number {
  return rows.filter(({ flag }) => flag === 1).length / rows.length;
}

test('an interval that changes from 15 s to a minute, and back, is no news', () => {
  for (const seed of [1, 2, 3]) {
    const life = new Life('gauge', seed);
    life.live(3 * DAY_MS, 15_000);
    const slower = life.live(2 * DAY_MS, MINUTE_MS);
    expect(life.forest.view(0).intervalMs / MINUTE_MS).toBeCloseTo(1, 1);
    expect(life.spike(20, MINUTE_MS)).toBeGreaterThan(1);
    life.live(DAY_MS / 4, MINUTE_MS);
    const faster = life.live(2 * DAY_MS, 15_000);
    expect(life.spike(20, 15_000)).toBeGreaterThan(1);
    expect(onsets(slower) + onsets(faster), `seed ${seed}, in four days`).toBeLessThanOrEqual(1);
  }
});

test('a counter whose interval changes has the same rate', () => {
  const life = new Life('counter');
  let total = 0;
  const count = (stepMs: number) => (usual: number) => (total += (usual * stepMs) / 1000);
  life.live(3 * DAY_MS, 15_000, count(15_000));
  life.live(MINUTE_MS, MINUTE_MS, count(MINUTE_MS));
  const rows = life.live(2 * DAY_MS, MINUTE_MS, count(MINUTE_MS));
  expect(rows[0]!.value / life.usual(START_MS)).toBeCloseTo(1, 0);
  expect(onsets(rows), 'in two days').toBeLessThanOrEqual(1);
});

test('two writers with different intervals are one series, and a spike of either is found', () => {
  for (const apart of [0, 30]) {
    const life = new Life();
    // One every 15 s, the other every minute, seven seconds later, and `apart` higher.
    const both = (days: number): Row[] => {
      const end = life.now + days * DAY_MS;
      const samples: [number, number][] = [];
      for (; life.now < end; life.now += 15_000) {
        samples.push([life.now, life.usual()]);
        if (life.now % MINUTE_MS < 15_000) {
          samples.push([life.now + 7_000, life.usual() + apart]);
        }
      }
      return life.send(samples);
    };
    both(3);
    const rows = both(3);
    expect(rows.every(({ outcome, score }) => outcome === 'applied' && score >= 0)).toBe(true);
    expect(onsets(rows), `onsets in three days, ${apart} apart`).toBeLessThanOrEqual(1);
    expect(life.spike(60, 15_000), `${apart} apart`).toBeGreaterThan(1);
  }
});

test('a clock that is set back changes nothing until it has caught up', () => {
  const [life, sound] = [new Life('gauge', 7), new Life('gauge', 7)];
  for (const one of [life, sound]) one.live(3 * DAY_MS, MINUTE_MS);
  const before = life.forest.record(0);
  const back = life.now - 3_600_000;
  const late = life.send(
    Array.from({ length: 59 }, (_, i) => [back + i * MINUTE_MS, 9000] as const),
  );
  expect(new Set(late.map(({ outcome }) => outcome))).toEqual(new Set(['late']));
  expect(late.every(({ score, event }) => Number.isNaN(score) && event === undefined)).toBe(true);
  const again = life.send([[life.now - MINUTE_MS, 9000]]);
  expect(again[0]!.outcome).toBe('conflict');
  expect(life.forest.record(0)).toEqual(before);
  for (const one of [life, sound]) one.live(DAY_MS, MINUTE_MS);
  expect(life.forest.record(0)).toEqual(sound.forest.record(0));
});

test('hours of NaN and infinities are no values: nothing is learnt, and coming back is no news', () => {
  for (const hole of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    const life = new Life();
    life.live(3 * DAY_MS, MINUTE_MS);
    const { samples } = life.forest.view(0);
    const storm = life.live(6 * 3_600_000, MINUTE_MS, () => hole);
    expect(storm.every(({ score, value }) => Number.isNaN(score) && Number.isNaN(value))).toBe(
      true,
    );
    expect(life.forest.view(0).samples).toBe(samples);
    expect(onsets(life.live(DAY_MS, MINUTE_MS))).toBeLessThanOrEqual(1);
    expect(life.spike(20, MINUTE_MS)).toBeGreaterThan(1);
  }
});

test('a single wild value is told, and neither deafens its series nor leaves it loud', () => {
  // Up to what a limit says that means "none", an unset pointer, the largest double.
  for (const wild of [1e9, -1e9, 9.2e18, Number.MAX_VALUE, -Number.MAX_VALUE]) {
    const life = new Life();
    life.live(4 * DAY_MS, MINUTE_MS);
    const name = `after ${wild}`;
    const [told] = life.send([[life.now, wild]]);
    life.now += MINUTE_MS;
    expect(told!.score, name).toBeGreaterThan(1);
    // Its own hour of the day knows it for some nights; every other is as it was.
    const rest = life.live(1.25 * DAY_MS, MINUTE_MS);
    expect(causes(rest), name).toEqual([]);
    expect(
      rest.slice(120).some(({ flag }) => flag === 1),
      `${name}: still flagged`,
    ).toBe(false);
    const { expected, lower, upper } = rest.at(-1)!;
    expect(Math.abs(expected - LEVEL), name).toBeLessThan(100);
    expect(upper - lower, name).toBeLessThan(200);
    expect(life.spike(30, MINUTE_MS), name).toBeGreaterThan(1);
  }
});

test('a level five million noises away that stays is the usual one in an hour', () => {
  const life = new Life();
  life.live(4 * DAY_MS, MINUTE_MS);
  const onto = (usual: number): number => 1e7 + usual;
  const first = life.live(3_600_000, MINUTE_MS, onto);
  expect(onsets(first)).toBeGreaterThan(0);
  const after = life.live(2 * DAY_MS, MINUTE_MS, onto);
  expect(flaggedShare(after)).toBeLessThan(0.05);
  expect(Math.abs(after.at(-1)!.expected - 1e7 - LEVEL)).toBeLessThan(100);
});

test('a counter that falls below zero, and one that leaps by 1e308, go on as counters', () => {
  const life = new Life('counter');
  let total = 1e6;
  const count = (usual: number): number => (total += usual);
  life.live(3 * DAY_MS, MINUTE_MS, count);
  const odd = life.send([
    [life.now, -5e3],
    [life.now + MINUTE_MS, -4e3],
    [life.now + 2 * MINUTE_MS, 1e308],
  ]);
  life.now += 3 * MINUTE_MS;
  total = 0;
  expect(odd.every(({ score, value }) => score >= 0 && Number.isFinite(value))).toBe(true);
  expect(odd[0]!.value).toBe(0);
  const rest = life.live(3 * DAY_MS, MINUTE_MS, count);
  expect(flaggedShare(rest)).toBeLessThan(0.05);
  expect(life.forest.view(0).kind).toBe('counter');
  const [spike] = life.send([[life.now, total + 3 * LEVEL]]);
  expect(spike!.score).toBeGreaterThan(1);
});
