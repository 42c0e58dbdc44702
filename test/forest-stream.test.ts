// What a stream does to one series, told in samples: counters and their restarts, names that lie,
// gaps, markers, the life of an anomaly, the band, series that stand still. Each rule by the sample
// at which it shows.

import { expect, test } from 'vitest';
import { type SeriesKind, WasmForest } from '../src/scorer/wasm-forest.js';
import { bitsOf, loadModule, observeAll } from './forest-runs.js';
import { normalFrom, randomFrom } from './realistic-series.js';
import type { Row } from './reference-forest.js';

const MODULE = loadModule('forest.debug.wasm');
const START_MS = 1_700_006_400_000;
const STALE = 0x7ff0000000000002n;

/** One series, fed at a minute's interval unless told otherwise. */
class Stream {
  readonly forest = new WasmForest(MODULE, { seriesMax: 1, seed: 1 });
  now = START_MS;
  readonly #normal = normalFrom(randomFrom(42));

  constructor(kind: SeriesKind) {
    this.forest.open(0, kind);
  }

  send(value: number | bigint, afterMs = 60_000): Row {
    this.now += afterMs;
    const bits = typeof value === 'bigint' ? value : bitsOf(value);
    return observeAll(this.forest, [{ slot: 0, timestamp: BigInt(this.now), bits }])[0]!;
  }

  /** `count` values around `level`, with a noise of 1. */
  calm(level: number, count: number, afterMs = 60_000): Row[] {
    return Array.from({ length: count }, () => this.send(level + this.#normal(), afterMs));
  }
}

test('a counter is scored as its rate per second, from its second sample on', () => {
  const stream = new Stream('counter');
  expect(stream.send(1000)).toMatchObject({ outcome: 'applied', score: NaN, value: NaN });
  expect(stream.send(1600).value).toBe(10);
  expect(stream.send(1600).value).toBe(0);
  expect(stream.send(1630, 15_000).value).toBe(2);
  expect(stream.forest.view(0)).toMatchObject({ kind: 'counter', samples: 3, lastValue: 2 });
});

test('a counter that falls began anew at zero', () => {
  const stream = new Stream('counter');
  stream.send(5000);
  expect(stream.send(120).value).toBe(2);
  expect(stream.send(-60).value).toBe(0);
});

test('a counter has no rate across a marker, a NaN or an infinity', () => {
  for (const hole of [STALE, bitsOf(NaN), bitsOf(Infinity)]) {
    const stream = new Stream('counter');
    stream.send(0);
    expect(stream.send(60).value).toBe(1);
    expect(stream.send(hole)).toMatchObject({ outcome: 'applied', score: NaN });
    expect(stream.send(120).value).toBe(NaN);
    expect(stream.send(240).value).toBe(2);
  }
});

test('a guessed counter that falls a little is a gauge, one that falls far is a counter', () => {
  const kindAfter = (values: number[]): SeriesKind => {
    const stream = new Stream('guessed-counter');
    for (const value of values) stream.send(value);
    return stream.forest.view(0).kind;
  };
  expect(kindAfter([100, 200, 300])).toBe('guessed-counter');
  expect(kindAfter([100, 200, 99])).toBe('guessed-counter');
  expect(kindAfter([100, 200, 0])).toBe('guessed-counter');
  expect(kindAfter([100, 200, 100])).toBe('gauge');
  expect(kindAfter([100, 200, 199])).toBe('gauge');
  expect(kindAfter([-1, -2])).toBe('gauge');
  const stream = new Stream('guessed-counter');
  stream.send(100);
  stream.send(200);
  expect(stream.send(150).value).toBe(150);
  expect(stream.forest.view(0)).toMatchObject({ samples: 1, lastValue: 150 });
  expect(stream.send(140).value).toBe(140);
});

test('a declared counter stays one however it falls', () => {
  const stream = new Stream('counter');
  for (const value of [100, 200, 150, 140]) stream.send(value);
  expect(stream.forest.view(0)).toMatchObject({ kind: 'counter', samples: 3 });
});

test('samples seen before, and older ones, change nothing', () => {
  const stream = new Stream('gauge');
  stream.calm(50, 10);
  const before = stream.forest.records(1).slice();
  const last = stream.forest.view(0).lastValue;
  expect(stream.send(last, 0).outcome).toBe('duplicate');
  expect(stream.send(last + 1, 0).outcome).toBe('conflict');
  expect(stream.send(last, -1).outcome).toBe('late');
  expect(stream.forest.records(1)).toEqual(before);
});

test('a series opened as another kind forgets what it learnt, but not what it last sent', () => {
  const stream = new Stream('gauge');
  stream.calm(50, 10);
  const last = stream.forest.view(0).lastValue;
  stream.forest.open(0, 'counter');
  expect(stream.send(last, 0).outcome).toBe('duplicate');
  expect(stream.forest.view(0)).toMatchObject({ kind: 'counter', samples: 0, stage: 'warming' });
});

test('an infinity or a NaN moves the time, and is neither scored nor learnt', () => {
  const stream = new Stream('gauge');
  stream.calm(50, 10);
  for (const value of [NaN, Infinity, -Infinity]) {
    expect(stream.send(value)).toMatchObject({ outcome: 'applied', score: NaN, flag: 0 });
  }
  const view = stream.forest.view(0);
  expect(view).toMatchObject({ samples: 10, stage: 'warming', lastTimestampMs: stream.now });
  expect(Math.abs(view.lastValue - 50)).toBeLessThan(5);
});

test('no score and no flag in the first 100 samples, whatever happens', () => {
  const stream = new Stream('gauge');
  const rows = stream.calm(50, 60);
  rows.push(stream.send(5000), ...stream.calm(50, 39));
  expect(rows.length).toBe(100);
  expect(rows.every(({ score, flag, alarm }) => score === 0 && flag === 0 && alarm === 0)).toBe(
    true,
  );
  expect(stream.forest.view(0)).toMatchObject({ stage: 'active', samples: 100, warmSamples: 100 });
});

test('a constant series is never anomalous, and its first noise does not deafen it', () => {
  const stream = new Stream('gauge');
  const still = Array.from({ length: 400 }, () => stream.send(7));
  expect(still.slice(100).every(({ score }) => score < 1)).toBe(true);
  stream.calm(7, 1500);
  expect(stream.send(7 + 40).score).toBeGreaterThan(1);
});

test('a large offset keeps its noise', () => {
  const stream = new Stream('gauge');
  const rows = stream.calm(8e9, 1200);
  const last = rows.at(-1)!;
  expect(last.upper - last.lower).toBeGreaterThan(4);
  expect(last.upper - last.lower).toBeLessThan(30);
  expect(stream.send(8e9 + 25).score).toBeGreaterThan(1);
});

test('an anomaly begins, has its peak, and ends after five calm samples and a minute', () => {
  const stream = new Stream('gauge');
  stream.calm(50, 1200, 10_000);
  const onset = stream.send(90, 10_000);
  const onsetMs = stream.now;
  expect(onset).toMatchObject({ flag: 1, event: { phase: 'onset', onset: BigInt(onsetMs) } });
  expect(onset.alarm).toBe(onset.score);
  expect(stream.forest.view(0)).toMatchObject({ flag: true, onsetMs, score: onset.score });
  const rows = stream.calm(50, 20, 10_000);
  const isCalm = rows.map(({ score }) => score <= 1);
  const lastAnomalous = isCalm.lastIndexOf(false);
  const ends = rows.flatMap(({ event }, i) => (event?.phase === 'end' ? [i] : []));
  // At 10 s a minute is six samples: the end comes with the sixth calm one.
  expect(ends).toEqual([lastAnomalous + 6]);
  const lastMs = BigInt(onsetMs + 10_000 * (lastAnomalous + 1));
  expect(rows[ends[0]!]!.event).toMatchObject({ onset: BigInt(onsetMs), timestamp: lastMs });
  expect(rows.slice(0, ends[0]).every(({ flag }) => flag === 1)).toBe(true);
  expect(rows.slice(ends[0]).every(({ flag }) => flag === 0)).toBe(true);
  expect(stream.forest.view(0)).toMatchObject({ flag: false, onsetMs: NaN, peakScore: 0 });
});

test('a peak is told when the score is a tenth higher than ever since the onset', () => {
  const stream = new Stream('gauge');
  stream.calm(50, 1200);
  let highest = 0;
  let peaks = 0;
  for (const height of [9, 10, 12, 16, 200, 201, 2000]) {
    const { score, event } = stream.send(50 + height);
    if (highest === 0) {
      if (score > 1) highest = score;
      continue;
    }
    const isPeak = score >= Math.fround(Math.fround(1.1) * highest);
    expect(event?.phase, `height ${height}`).toBe(isPeak ? 'peak' : undefined);
    if (isPeak) {
      highest = score;
      peaks++;
    }
  }
  expect(peaks).toBeGreaterThan(0);
  expect(stream.forest.view(0).peakScore).toBe(highest);
});

test('a stale marker ends the anomaly, and so does silence', () => {
  const stream = new Stream('gauge');
  stream.calm(50, 1200);
  stream.send(90);
  const onset = BigInt(stream.now);
  const marker = stream.send(STALE);
  expect(marker).toMatchObject({ flag: 0, event: { phase: 'end', onset, timestamp: onset } });
  expect(stream.forest.view(0)).toMatchObject({ stage: 'stale', flag: false });
  expect(stream.forest.endAnomaly(0)).toBe(false);
  stream.calm(50, 300);
  expect(stream.forest.view(0).stage).toBe('active');
  expect(stream.send(120).flag).toBe(1);
  expect(stream.forest.endAnomaly(0)).toBe(true);
  expect(stream.forest.endAnomaly(0)).toBe(false);
  expect(stream.forest.view(0)).toMatchObject({ flag: false, cause: 'none' });
});

/** At 50 and at 90 for half a day each, four times over; then 90 once more, after a time at 50. */
function scoreOfReturn(pause: (stream: Stream) => number): number {
  const stream = new Stream('gauge');
  for (let i = 0; i < 4; i++) {
    stream.calm(50, 700);
    stream.calm(90, 700);
  }
  stream.calm(50, 700);
  return stream.send(90, pause(stream)).score;
}

test('coming back after a gap or a marker at a known level is no news, jumping there is', () => {
  const jump = scoreOfReturn(() => 60_000);
  const short = scoreOfReturn(() => 4 * 60_000);
  const gap = scoreOfReturn(() => 6 * 60_000);
  const marker = scoreOfReturn((stream) => {
    stream.send(STALE);
    return 60_000;
  });
  expect(gap).toBeLessThan(1);
  expect(marker).toBeLessThan(1);
  expect(jump).toBeGreaterThan(1);
  expect(short).toBeGreaterThan(1);
});

test('coming back far outside everything seen is news even after a gap', () => {
  const stream = new Stream('gauge');
  stream.calm(50, 1500);
  expect(stream.send(5000, 600_000).score).toBeGreaterThan(1);
});

test('just inside the band a value is not anomalous by its size, just outside it is', () => {
  const stream = new Stream('gauge');
  stream.calm(50, 40);
  stream.send(250);
  stream.send(-150);
  stream.calm(50, 3000);
  const records = stream.forest.records(1).slice();
  const { expected, lower, upper } = stream.send(50);
  for (const [part, isOutside] of [
    [0.99, false],
    [1.03, true],
    [-0.99, false],
    [-1.03, true],
  ] as const) {
    stream.forest.restore(records);
    stream.now -= 60_000;
    const row = stream.send(expected + part * (upper - expected));
    expect([row.expected, row.lower, row.upper]).toEqual([expected, lower, upper]);
    const { score, cause } = stream.forest.view(0);
    expect(score > 1 && cause === 'magnitude', `at ${part} of the band`).toBe(isOutside);
  }
});

test('a series that stands still for far longer than ever is flagged once', () => {
  const stream = new Stream('gauge');
  stream.calm(50, 1000);
  const rows = Array.from({ length: 400 }, () => stream.send(50.5));
  const quiet = rows.flatMap(({ event }, i) => (event?.cause === 'quiet' ? [{ ...event, i }] : []));
  expect(quiet.map(({ phase }) => phase)).toEqual(['onset', 'end']);
  expect(rows[quiet[0]!.i]!.score).toBeCloseTo(1.2);
  expect(quiet[0]!.i).toBeGreaterThanOrEqual(29);
  expect(quiet[0]!.i).toBeLessThan(60);
});

test('the interval is learnt, and one long gap does not move it by more than a step', () => {
  const stream = new Stream('gauge');
  stream.calm(50, 300, 15_000);
  expect(stream.forest.view(0).intervalMs).toBeCloseTo(15_000, -1);
  stream.calm(50, 1, 86_400_000);
  expect(stream.forest.view(0).intervalMs).toBeLessThan(15_400);
});
