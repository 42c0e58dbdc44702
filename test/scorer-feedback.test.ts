// What people say of anomalies, in the scorer: what was a false alarm is not flagged again, twice as much is; an accepted
// shift is the usual level; undo takes both back; all of it by stream time, and the same after a restart.

import { expect, test } from 'vitest';
import { Cause } from '../src/gen/candidate_pb.js';
import { FeedbackKind } from '../src/gen/control_pb.js';
import type { PhaseChange } from '../src/scorer/phase-change.js';
import { DAY, fingerprintOf, HOUR, MINUTE, MONDAY, PartitionRun } from './partition-runs.js';
import { randomOf } from './random.js';

const LATER = MONDAY + 2 * DAY;
const { FALSE_ALARM, CONFIRMED, ACCEPT_SHIFT, MISSED } = FeedbackKind;

function calm(seed = 1, count = 2880): number[] {
  const random = randomOf(seed);
  return Array.from({ length: count }, () => 100 + 2 * (random() + random() + random() - 1.5));
}

/** Two calm days of these series, in units of their own. */
function warmRun(units: Record<string, number> = { g: 1 }): PartitionRun {
  const run = new PartitionRun();
  const series = Object.entries(units).map(([name, unit], i) => ({ name, unit, values: calm(i) }));
  for (let at = 0; at < 2880; at++) {
    run.send(
      series.map(({ name, unit, values }) => {
        return { name, at: MONDAY + at * MINUTE, value: unit * (values[at] as number) };
      }),
    );
  }
  run.changes.splice(0);
  return run;
}

/** A spike of this height on a calm hour, and another one behind it. What begins is told. */
function spike(run: PartitionRun, at: number, height: number, { name = 'g', unit = 1 } = {}) {
  const values = calm(at / HOUR, 60).map((value, i) => unit * (i === 10 ? value + height : value));
  run.sendEach(name, at, values);
  return run.onsets().filter((change) => change.timestampMs === at + 10 * MINUTE);
}

function markedBy({
  value,
  expected,
  upper,
  lower,
  cause,
  onsetMs,
  name,
}: PhaseChange & { name: string }) {
  return {
    fingerprint: fingerprintOf(name),
    onsetMs: BigInt(onsetMs),
    cause: cause === 'quiet' ? Cause.QUIET : Cause.MAGNITUDE,
    deviation: value - expected,
    bands: (value - expected) / ((upper - lower) / 2),
  };
}

test('what was a false alarm is not flagged again, twice as much is, undo restores', async () => {
  const run = warmRun();
  const [first] = spike(run, LATER, 30);
  expect(first).toBeDefined();
  run.sayFeedback('f', { kind: FALSE_ALARM, anomaly: markedBy(first!) });
  expect(run.partition.control.counts).toMatchObject({ applied: 1, elsewhere: 0 });
  expect(spike(run, LATER + DAY, 30)).toEqual([]);
  expect(spike(run, LATER + DAY + HOUR, 40)).toEqual([]);
  await run.restart();
  expect(spike(run, LATER + 2 * DAY - HOUR, 40)).toEqual([]);
  // The other way is something else.
  expect(spike(run, LATER + 2 * DAY, -40)).toHaveLength(1);
  expect(spike(run, LATER + 3 * DAY, 62)).toHaveLength(1);
});

test('undo takes a false alarm back: the same shape is flagged again', async () => {
  for (const isTakenBack of [true, false]) {
    const run = warmRun();
    const [first] = spike(run, LATER, 30);
    run.sayFeedback('f', { kind: FALSE_ALARM, anomaly: markedBy(first!) });
    await run.restart();
    if (isTakenBack) run.undo('f');
    expect(spike(run, LATER + DAY + HOUR, 40)).toHaveLength(isTakenBack ? 1 : 0);
    expect(run.partition.control.isEmpty).toBe(isTakenBack);
  }
});

test('feedback changes no score and nothing that is learnt', () => {
  const records = [true, false].map((isSaid) => {
    const run = warmRun();
    const [first] = spike(run, LATER, 30);
    if (isSaid) run.sayFeedback('f', { kind: FALSE_ALARM, anomaly: markedBy(first!) });
    for (let day = 1; day < 4; day++) spike(run, LATER + day * DAY, 30 * day);
    return run.record('g');
  });
  expect(records[0]).toEqual(records[1]);
});

test('the latest word holds: what is confirmed is flagged again', () => {
  const run = warmRun();
  const [first] = spike(run, LATER, 30);
  run.sayFeedback('f', { kind: FALSE_ALARM, anomaly: markedBy(first!) });
  run.sayFeedback('c', { kind: CONFIRMED, anomaly: markedBy(first!) });
  expect(spike(run, LATER + DAY, 35)).toHaveLength(1);
  run.sayFeedback('f2', { kind: FALSE_ALARM, anomaly: markedBy(first!) });
  expect(spike(run, LATER + 2 * DAY, 35)).toEqual([]);
});

test('a word on selectors holds for their series in halves of their own bands, and expires by stream time', () => {
  const run = warmRun({ g: 1, bytes: 1e9, other: 1, late: 1e9 });
  const [first] = spike(run, LATER, 30);
  run.sayFeedback('f', {
    ...{ kind: FALSE_ALARM, anomaly: markedBy(first!), match: ['{__name__=~"g|bytes|late"}'] },
    expiresMs: BigInt(LATER + 4 * DAY),
  });
  const bytes = { name: 'bytes', unit: 1e9 };
  expect(spike(run, LATER + DAY, 30, bytes)).toEqual([]);
  expect(spike(run, LATER + DAY, 30, { name: 'other' })).toHaveLength(1);
  expect(spike(run, LATER + 2 * DAY, 400, bytes)).toHaveLength(1);
  expect(spike(run, LATER + 3 * DAY, 30, { name: 'late', unit: 1e9 })).toEqual([]);
  expect(spike(run, LATER + 5 * DAY, 40, { name: 'late', unit: 1e9 })).toHaveLength(1);
  expect(run.partition.control.isEmpty).toBe(true);
});

test('what is open when it is called a false alarm closes as any calm series does', () => {
  const run = warmRun();
  run.sendEach('g', LATER, [160]);
  const [first] = run.onsets();
  run.sayFeedback('f', { kind: FALSE_ALARM, anomaly: markedBy(first!) });
  run.sendEach('g', LATER + MINUTE, [160, 160, 160, 160, 160]);
  expect(run.changes.splice(0).map(({ phase }) => phase)).toEqual(['end']);
  expect(run.isFlagged('g')).toBe(false);
});

test('words on series of other partitions, on what was missed, and unknown kinds change nothing here', () => {
  const run = warmRun();
  const before = run.hash();
  const anomaly = { fingerprint: 5n, deviation: 3, bands: 3 };
  run.sayFeedback('a', { kind: FALSE_ALARM, anomaly });
  run.sayFeedback('b', { kind: MISSED, match: ['g'] });
  run.say('c', undefined);
  run.undo('never said');
  expect(run.partition.control.counts).toMatchObject({ applied: 0, elsewhere: 3, unknown: 1 });
  expect(run.partition.control.isEmpty).toBe(true);
  run.partition.control.next = 0;
  expect(run.hash()).toBe(before);
});

/** Alternating days, and a level that is 80 higher from LATER on. */
function shifted(seed: number, count: number): number[] {
  return calm(seed, count).map((value) => value + 80);
}

function expectedOf(run: PartitionRun, name = 'g'): { expected: number; half: number } {
  const { expected, lower, upper } = run.partition.forest.view(run.slotOf(name));
  return { expected, half: (upper - lower) / 2 };
}

test('an accepted shift is the usual level at once, and undo brings the old one back', async () => {
  const run = warmRun();
  run.sendEach('g', LATER, shifted(2, 30));
  const [first] = run.onsets();
  const { half } = expectedOf(run);
  run.sayFeedback('s', { kind: ACCEPT_SHIFT, anomaly: markedBy(first!) });
  expect(run.isFlagged('g')).toBe(false);
  expect(Math.abs(expectedOf(run).expected - 180)).toBeLessThan(half);
  run.changes.splice(0);
  run.sendEach('g', LATER + 30 * MINUTE, shifted(3, 1410));
  expect(run.onsets()).toEqual([]);
  // The season moved along: the same hour of the next day is no news, the old level is.
  run.sendEach('g', LATER + DAY, shifted(4, 30));
  expect(run.onsets()).toEqual([]);
  await run.restart();
  run.undo('s');
  run.sendEach('g', LATER + DAY + 30 * MINUTE, shifted(5, 1));
  const [again] = run.onsets();
  expect(again?.expected).toBeLessThan(100 + 2 * half);
  expect(again?.value).toBeGreaterThan(170);
});

test('to accept a shift and to undo it at once leaves the level where it was', () => {
  const [said, never] = [warmRun(), warmRun()];
  for (const run of [said, never]) run.sendEach('g', LATER, calm(2, 3));
  const before = expectedOf(said).expected;
  said.sayFeedback('s', { kind: ACCEPT_SHIFT, anomaly: { fingerprint: fingerprintOf('g') } });
  said.undo('s');
  for (const run of [said, never]) run.sendEach('g', LATER + 3 * MINUTE, [100]);
  expect(Math.abs(expectedOf(said).expected - before)).toBeLessThan(2);
});

test('a shift that is accepted for selectors moves the series whose level has moved, no others', () => {
  const run = warmRun({ g: 1, h: 1 });
  for (let i = 0; i < 30; i++) {
    const at = LATER + i * MINUTE;
    run.send([
      { name: 'g', at, value: shifted(2, 30)[i] as number },
      { name: 'h', at, value: calm(3, 30)[i] as number },
    ]);
  }
  const before = run.record('h');
  run.sayFeedback('s', { kind: ACCEPT_SHIFT, match: ['{job="test"}'] });
  expect(run.record('h')).toEqual(before);
  expect(expectedOf(run, 'g').expected).toBeGreaterThan(170);
});

test('a replay of the same records, cut anywhere, arrives at the same state', async () => {
  const build = async (restartAt: number): Promise<string> => {
    const run = warmRun();
    const steps = [
      () => void spike(run, LATER, 30),
      () =>
        run.sayFeedback('f', {
          kind: FALSE_ALARM,
          anomaly: { fingerprint: fingerprintOf('g'), deviation: 30, bands: 3 },
          expiresMs: BigInt(LATER + 3 * DAY),
        }),
      () =>
        run.sayMaintenance('m', { noLearn: true, match: ['g'], endMs: BigInt(LATER + 26 * HOUR) }),
      () => run.sendEach('g', LATER + DAY, shifted(2, 300)),
      () =>
        run.sayFeedback('s', {
          kind: ACCEPT_SHIFT,
          anomaly: { fingerprint: fingerprintOf('g') },
        }),
      () => run.sendEach('g', LATER + DAY + 6 * HOUR, shifted(3, 300)),
      () => run.undo('s'),
      () => run.sendEach('g', LATER + 4 * DAY, calm(4, 300)),
    ];
    for (const [at, step] of steps.entries()) {
      if (at === restartAt) await run.restart();
      step();
    }
    return run.hash();
  };
  const hashes = await Promise.all([-1, 1, 2, 3, 4, 5, 6, 7].map(build));
  expect(new Set(hashes).size).toBe(1);
});
