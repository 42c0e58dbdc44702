// The newest values of a series: in equal steps, with gaps where nothing came, and as exact as a model can tell.

import { expect, test } from 'vitest';
import { WINDOW_BYTES_PER_SERIES, WINDOW_STEPS } from '../src/limits.js';
import { BLOCK_SLOTS } from '../src/scorer/windows.js';
import { randomOf } from './random.js';
import { fedWindows, type Row } from './window-batches.js';

const BEGIN = 1_760_000_000_000;
const STEP = 15_000;

const rowsOf = (values: readonly number[], step = STEP, begin = BEGIN): Row[] =>
  values.map((value, i) => ({ at: begin + i * step, value }));
const range = (count: number) => Array.from({ length: count }, (_, i) => i);

function windowOf(rows: readonly Row[], untilMs?: number) {
  const { windows, put } = fedWindows();
  put(rows);
  const { stepMs, endMs, values } = windows.recent(0, untilMs);
  return { stepMs, endMs, values: [...values] };
}

test('values come back oldest first, and the last one is the newest', () => {
  const ok = (rows: readonly Row[], want: { stepMs: number; endMs: number; values: number[] }) =>
    expect(windowOf(rows)).toEqual(want);
  ok([], { stepMs: Number.NaN, endMs: Number.NaN, values: [] });
  ok(rowsOf([7]), { stepMs: 0, endMs: BEGIN, values: [7] });
  ok(rowsOf([1, 2, 3]), { stepMs: STEP, endMs: BEGIN + 2 * STEP, values: [1, 2, 3] });
  ok(rowsOf(range(1300)), {
    stepMs: STEP,
    endMs: BEGIN + 1299 * STEP,
    values: range(1300).slice(-WINDOW_STEPS),
  });
});

test('where nothing came there is NaN, and late by half a step is not missing', () => {
  const ok = (times: readonly number[], want: (number | null)[]) =>
    expect(
      windowOf(times.map((time, i) => ({ at: BEGIN + time * STEP, value: i }))).values,
    ).toEqual(want.map((value) => value ?? Number.NaN));
  ok([0, 1, 2, 5, 6], [0, 1, 2, null, null, 3, 4]);
  ok([0, 1, 2.4, 3.1, 3.9], [0, 1, 2, 3, 4]);
  ok([0, 1, 2, 2.2, 3, 4], [0, 1, 2, 3, 4, 5]);
  // A whole window of nothing: what was before says nothing any more.
  ok([...range(40), 2 * WINDOW_STEPS, 2 * WINDOW_STEPS + 1], [40, 41]);
});

test('late, repeated, stale and unscored samples leave no trace', () => {
  const rows: Row[] = rowsOf([1, 2, 3]);
  rows.splice(2, 0, { at: BEGIN + STEP, value: 9, outcome: 1 });
  rows.splice(3, 0, { at: BEGIN - STEP, value: 9, outcome: 3 });
  rows.splice(3, 0, { at: BEGIN + STEP + 1, value: Number.NaN });
  rows.push({ at: BEGIN + STEP, value: 99 });
  expect(windowOf(rows).values).toEqual([1, 2, 3]);
});

test('a new interval begins a new window, jitter does not', () => {
  const random = randomOf(3);
  const jittered = range(600).map((i) => ({
    at: BEGIN + i * STEP + Math.round(4000 * (random() - 0.5)),
    value: i,
  }));
  const kept = windowOf(jittered);
  expect(kept.values).toEqual(range(600).slice(-WINDOW_STEPS));
  expect(Math.abs(kept.stepMs - STEP)).toBeLessThan(3000);

  const changed = [...rowsOf(range(300)), ...rowsOf(range(200), 4 * STEP, BEGIN + 304 * STEP)];
  const { values, stepMs } = windowOf(changed);
  expect(stepMs / (4 * STEP)).toBeGreaterThan(0.95);
  expect(stepMs / (4 * STEP)).toBeLessThan(1.05);
  expect(values.slice(-150)).toEqual(range(200).slice(-150));
  expect(values.length).toBeLessThan(200);
});

test('what comes at random times fills a window whose time is right', () => {
  const random = randomOf(5);
  let at = BEGIN;
  const rows = range(2000).map((i) => {
    at += Math.ceil(-STEP * Math.log(1 - random()));
    return { at, value: i };
  });
  const { values, stepMs, endMs } = windowOf(rows);
  expect(endMs).toBe(at);
  const held = values.filter((value) => !Number.isNaN(value));
  expect(held.length).toBeGreaterThan(WINDOW_STEPS / 4);
  // Each value lies near the time at which it came, on average within a tenth of the window.
  const first = held[0] ?? 0;
  const spanMs = at - (rows[first]?.at ?? 0);
  expect(Math.abs(spanMs / (stepMs * (values.length - 1)) - 1)).toBeLessThan(0.35);
});

test('small moves at a great height are kept, whatever came first and whatever spikes', () => {
  /** Error of the newest 256 values, in usual distances of neighbours. */
  const errorOf = (values: readonly number[]) => {
    const want = values.slice(-256);
    const got = windowOf(rowsOf(values)).values.slice(-256);
    const usual = want
      .map((value, i) => Math.abs(value - (want[i - 1] ?? value)))
      .sort((a, b) => a - b)[128] as number;
    return Math.max(
      ...want.map(
        (value, i) =>
          // Of a spike what matters is its own size.
          Math.abs(value - (got[i] ?? Number.NaN)) /
          Math.max(usual, 1e-4 * Math.abs(value - (want[0] ?? 0))),
      ),
    );
  };
  const random = randomOf(7);
  const noise = (count: number) => range(count).map(() => random() - 0.5);
  const ok = (values: readonly number[]) => expect(errorOf(values)).toBeLessThan(0.01);
  ok(noise(600));
  ok(noise(600).map((value) => 1e12 + value));
  ok(noise(600).map((value) => -3e9 + 1e-2 * value));
  ok([0, ...noise(900).map((value) => 1e12 + 1000 * value)]);
  ok(noise(5000).map((value, i) => 1e12 + 1e6 * i + 1e5 * value));
  ok(noise(1400).map((value, i) => (i % 211 === 0 ? 1e12 : value)));
  // The spikes are the values at which the origin is looked at.
  const looks = range(7).map((i) => 16 * 2 ** i - 1);
  ok([0, ...noise(1100).map((value, i) => (looks.includes(i + 1) ? 5e12 : 1e12 + 1000 * value))]);
  ok(noise(1024).map((value, i) => (i === 1023 ? 1e15 : value)));
});

test('values beyond any metric stay finite', () => {
  const { values } = windowOf(rowsOf([0, 1e300, -1e300, Number.MAX_VALUE, 5]));
  expect(values.every(Number.isFinite)).toBe(true);
  expect(values.at(-1)).toBe(5);
});

test('an event in the midst of a batch sees nothing of what comes after it', () => {
  const { windows, put } = fedWindows();
  put(rowsOf(range(10)));
  const seen: (number | undefined)[] = [];
  const original = windows.observeTo.bind(windows);
  // The batch is filled by a first call that stops in its midst, as a partition does when it reports an event.
  let isAsked = false;
  windows.observeTo = (end) => {
    if (!isAsked) {
      isAsked = true;
      original(3);
      seen.push(windows.recent(0).values.at(-1));
    }
    original(end);
  };
  put(
    rowsOf(
      range(8).map((i) => 10 + i),
      STEP,
      BEGIN + 10 * STEP,
    ),
  );
  seen.push(windows.recent(0).values.at(-1));
  expect(seen).toEqual([12, 17]);
});

test('asked for an earlier time, a window ends there', () => {
  const rows = rowsOf(range(600));
  const at = (i: number) => BEGIN + i * STEP;
  expect(windowOf(rows, at(599)).values.at(-1)).toBe(599);
  expect(windowOf(rows, at(590)).values.at(-1)).toBe(590);
  expect(windowOf(rows, at(590)).endMs).toBe(at(590));
  expect(windowOf(rows, at(590)).values.length).toBe(WINDOW_STEPS - 9);
  expect(windowOf(rows, at(10)).values).toEqual([]);
});

test('a slot that is given to another series begins anew', () => {
  const { windows, put } = fedWindows();
  put(rowsOf([1, 2, 3]));
  windows.clear(1);
  expect([...windows.disturbed]).toEqual([]);
  windows.clear(0);
  expect([...windows.disturbed]).toEqual([0]);
  expect(windows.recent(0).values.length).toBe(0);
  put([{ at: 5, value: 4 }]);
  expect([...windows.recent(0).values]).toEqual([4]);
});

test('copied while samples go on, put back and replayed, it is what it would have been', () => {
  const random = randomOf(11);
  const slots = 3 * BLOCK_SLOTS;
  const rounds = range(700).map((i) =>
    range(slots)
      .filter(() => random() > 0.02)
      .map((slot) => ({ slot, at: BEGIN + i * STEP + (slot % 7), value: 1e9 * slot + random() })),
  );
  const [saved, later] = [500, 503];
  const whole = fedWindows();
  const copies: Uint8Array[] = [];
  rounds.forEach((rows, i) => {
    whole.put(rows);
    // The blocks are copied one after another, while the log goes on.
    if (i >= saved && i < later) copies.push(whole.windows.block(i - saved));
  });
  expect([...whole.windows.blocks(slots)]).toEqual([...copies.keys()]);
  const restored = fedWindows();
  for (const [index, bytes] of copies.entries()) restored.windows.restoreBlock(index, bytes);
  for (const rows of rounds.slice(saved)) restored.put(rows);
  for (let index = 0; index < copies.length; index++) {
    expect(Buffer.compare(restored.windows.block(index), whole.windows.block(index))).toBe(0);
  }
  expect(copies[0]?.length).toBe(BLOCK_SLOTS * WINDOW_BYTES_PER_SERIES);
});
