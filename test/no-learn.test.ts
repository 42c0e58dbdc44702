// Windows in which nothing is learnt: what the series had learnt before comes back byte for byte, the guard against
// duplicates goes on, and live run, restart and replay arrive at the same state.

import { expect, test } from 'vitest';
import { readSetAside } from '../src/scorer/no-learn.js';
import { StateReader } from '../src/scorer/state-bytes.js';
import { DAY, HOUR, MINUTE, MONDAY, PartitionRun, type Point } from './partition-runs.js';
import { randomOf } from './random.js';

const LATER = MONDAY + 2 * DAY;
/** What changes all the same: guard, onset and last anomalous, score, peak, phase and quiet bits. */
const CHANGES: [number, number][] = [
  [0, 16],
  [24, 40],
  [168, 176],
  [206, 208],
];

function calm(seed = 1, count = 2880): number[] {
  const random = randomOf(seed);
  return Array.from({ length: count }, () => 100 + 2 * (random() + random() + random() - 1.5));
}

function warmRun(names = ['g']): PartitionRun {
  const run = new PartitionRun();
  for (const [at, value] of calm().entries()) {
    run.send(names.map((name) => ({ name, at: MONDAY + at * MINUTE, value })));
  }
  return run;
}

function learnt(record: Uint8Array): Uint8Array {
  const copy = record.slice();
  for (const [from, to] of CHANGES) copy.fill(0, from, to);
  return copy;
}

/** One hour of it, two hours behind the calm days. */
const window = {
  noLearn: true,
  startMs: BigInt(LATER + 2 * HOUR),
  endMs: BigInt(LATER + 3 * HOUR),
};

test('what was learnt before a window comes back byte for byte behind it, and other series learn on', () => {
  const run = warmRun(['g', 'other']);
  run.sayMaintenance('m', { ...window, match: ['g'] });
  run.sendEach('g', LATER, calm(2, 120));
  run.sendEach('other', LATER, calm(2, 120));
  const before = run.record('g');
  const otherBefore = run.record('other');
  // Far away, and long enough to be the new level if it were learnt.
  run.sendEach(
    'g',
    LATER + 2 * HOUR,
    calm(3, 60).map((value) => value + 500),
  );
  run.sendEach('other', LATER + 2 * HOUR, calm(3, 60));
  expect(run.onsets().map(({ name }) => name)).toEqual(['g']);
  expect(run.partition.noise.noLearn.count).toBe(1);
  expect(learnt(run.record('other'))).not.toEqual(learnt(otherBefore));
  const scored = run.partition.forest.view(run.slotOf('g'));
  expect(scored.lastTimestampMs).toBe(LATER + 3 * HOUR - MINUTE);
  run.partition.noise.noLearn.turn(run.slotOf('g'));
  const after = run.record('g');
  expect(learnt(after)).toEqual(learnt(before));
  expect(Buffer.from(after.subarray(0, 8)).readBigInt64LE()).toBe(
    BigInt(LATER + 3 * HOUR - MINUTE),
  );
});

test('behind a window the old level is the usual one, as if there had been none', () => {
  const back = calm(4, 200);
  const [with_, without] = [true, false].map((hasWindow) => {
    const run = warmRun();
    if (hasWindow) run.sayMaintenance('m', { ...window, match: ['g'] });
    run.sendEach('g', LATER, calm(2, 120));
    run.sendEach(
      'g',
      LATER + 2 * HOUR,
      calm(3, 60).map((value) => value + 500),
    );
    run.changes.splice(0);
    run.sendEach('g', LATER + 3 * HOUR, back);
    const { lower, upper } = run.partition.forest.view(run.slotOf('g'));
    return { width: upper - lower, kept: run.partition.noise.noLearn.count };
  });
  expect(with_?.kept).toBe(0);
  expect(with_?.width).toBeLessThan(20);
  expect(without?.width).toBeGreaterThan(5 * (with_?.width as number));
});

test('in a window retries are duplicates, another value at the same time a conflict, older ones late', () => {
  const run = warmRun();
  run.sayMaintenance('m', { ...window, match: ['g'] });
  const at = LATER + 2 * HOUR;
  run.sendEach('g', LATER, calm(2, 120));
  const before = { ...run.partition.counts };
  const points: Point[] = [
    { name: 'g', at, value: 100 },
    { name: 'g', at, value: 100 },
    { name: 'g', at, value: 101 },
    { name: 'g', at: at - 1, value: 100 },
  ];
  run.send(points);
  run.send(points.slice(0, 1));
  const { counts } = run.partition;
  const grown = Object.entries(counts).map(([key, n]) => [key, n - before[key as 'applied']]);
  expect(Object.fromEntries(grown)).toMatchObject({
    ...{ applied: 1, duplicate: 2, conflict: 1, late: 1, unscored: 0 },
  });
  // Behind it too: what the window saw is not new again.
  run.sendEach('g', LATER + 3 * HOUR, [100]);
  run.send(points.slice(0, 1));
  expect(counts.late - before.late).toBe(2);
});

test('one batch may begin and end windows of many series, wherever it is cut', () => {
  const names = ['a', 'b', 'c', 'd'];
  const rows = Array.from({ length: 240 }, (_, i) => {
    const value = calm(7, 240)[i] as number;
    return names.map((name) => ({ name, at: LATER + i * MINUTE, value: value + i }));
  });
  const hashes = [1, 7, 240].map((size) => {
    const run = warmRun(names);
    run.sayMaintenance('m', { ...window, match: ['{__name__=~"a|c"}'] });
    for (let from = 0; from < rows.length; from += size)
      run.send(rows.slice(from, from + size).flat());
    const learntNow = names.map((name) => Buffer.from(run.record(name)).toString('hex'));
    return learntNow.join();
  });
  expect(new Set(hashes).size).toBe(1);
});

test('a window goes on through a checkpoint, and a silent series learns again when it is over', async () => {
  const values = calm(3, 60).map((value) => value + 500);
  const [whole, cut] = [warmRun(['g', 'other']), warmRun(['g', 'other'])];
  for (const run of [whole, cut]) {
    run.sayMaintenance('m', { ...window, match: ['g'] });
    run.sendEach('g', LATER, calm(2, 120));
    run.sendEach('g', LATER + 2 * HOUR, values.slice(0, 30));
  }
  expect((await cut.restart()).version).toBe(4);
  for (const run of [whole, cut]) {
    run.sendEach('g', LATER + 2.5 * HOUR, values.slice(30));
    expect(run.partition.noise.noLearn.count).toBe(1);
    run.sendEach('other', LATER + 3 * HOUR, calm(4, 10));
    expect(run.partition.noise.noLearn.count).toBe(0);
  }
  expect(cut.hash()).toBe(whole.hash());
  expect(cut.record('g')).toEqual(whole.record('g'));
});

test('weekly windows on a clock that changes to summer time; undo ends them at once', () => {
  // Sundays 01:00 to 04:00 in Berlin: on 2026-03-29 02:00 is skipped, so it ends at 02:00 UTC after two hours.
  const sunday = Date.UTC(2026, 2, 29);
  const run = warmRun();
  run.sayMaintenance('m', {
    ...{ noLearn: true, match: ['g'] },
    weekly: { days: [0], from: 60, to: 240, timeZone: 'Europe/Berlin' },
  });
  const isSetAside = (at: number): boolean => {
    run.send([{ name: 'g', at, value: 100 }]);
    return run.partition.noise.noLearn.count === 1;
  };
  expect(isSetAside(sunday - MINUTE)).toBe(false);
  expect(isSetAside(sunday)).toBe(true);
  expect(isSetAside(sunday + 2 * HOUR - MINUTE)).toBe(true);
  expect(isSetAside(sunday + 2 * HOUR)).toBe(false);
  expect(isSetAside(sunday + 7 * DAY - HOUR)).toBe(true);
  run.undo('m');
  expect(isSetAside(sunday + 7 * DAY)).toBe(false);
});

test('what a checkpoint holds of a window begins with the records that were set aside', () => {
  const run = warmRun();
  run.sayMaintenance('m', { ...window, match: ['g'] });
  run.sendEach('g', LATER, calm(2, 120));
  const before = run.record('g');
  run.sendEach('g', LATER + 2 * HOUR, [500, 500]);
  const section = new StateReader(run.partition.noise.encode());
  expect([...readSetAside(section, 832)]).toEqual([[run.slotOf('g'), before]]);
});

test('mutes change nothing here', () => {
  const run = warmRun();
  run.sayMaintenance('m', { ...window, noLearn: false, mute: true, match: ['g'] });
  run.sendEach('g', LATER + 2 * HOUR, [100, 100]);
  expect(run.partition.noise.noLearn.isActive).toBe(false);
  expect(run.partition.control.counts).toMatchObject({ elsewhere: 1, applied: 0 });
});
