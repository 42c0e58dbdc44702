// Series of which scores say nothing: clocks, ids that only grow, constants. They are called so, the first two are not
// flagged, and all are scored again when they change; what is measured is never taken for one of them.

import { expect, test } from 'vitest';
import { findSeries } from '../src/scorer/series-view.js';
import { fingerprintText } from '../src/series.js';
import { fingerprintOf, HOUR, MINUTE, MONDAY, PartitionRun } from './partition-runs.js';
import { randomOf } from './random.js';

type Values = (atMs: number, i: number) => number;

function run(series: Record<string, Values>, minutes: number, on = new PartitionRun(), from = 0) {
  for (let i = from; i < from + minutes; i++) {
    const at = MONDAY + i * MINUTE;
    on.send(Object.entries(series).map(([name, value]) => ({ name, at, value: value(at, i) })));
  }
  return on;
}

function stateOf(on: PartitionRun, name: string) {
  const fingerprint = fingerprintOf(name);
  const text = fingerprintText(Number(fingerprint & 0xffffffffn), Number(fingerprint >> 32n));
  const row = findSeries([[0, on.partition]], { fingerprint: text, tenant: '' });
  return [row?.state, row?.reason?.slice(0, 12)];
}

/** Sums of what is drawn: ids that are handed out. */
function growing(seed: number, draw: (random: () => number) => number): Values {
  const random = randomOf(seed);
  let sum = 1000;
  return () => {
    sum += draw(random);
    return sum;
  };
}

const random = randomOf(5);
const SERIES: Record<string, Values> = {
  unix_seconds: (at) => at / 1000 - 0.25,
  unix_ms: (at) => at - 3,
  ids: growing(1, (draw) => 50 + Math.floor(20 * draw())),
  offsets: growing(2, (draw) => Math.ceil(-300 * Math.log(1 - draw()))),
  constant: () => 7,
  // What is measured, and looks a little like these.
  uptime: (at) => (at - MONDAY) / 1000,
  disk_bytes: growing(3, (draw) => Math.floor(4096 * (draw() - 0.3))),
  ramp: (_at, i) => 0.37 * (i % 700),
  users: (_at, i) => Math.round(500 + 300 * Math.sin((2 * Math.PI * i) / 1440) + 9 * random()),
  noise: () => 100 + random(),
  flat_then_noise: (_at, i) => (i < 800 ? 4 : 4 + random()),
  last_run: (at) => Math.floor(at / HOUR) * 3600,
  step: (_at, i) => Math.floor(i / 900),
};

test('clocks, growing ids and constants are called so, nothing that is measured is', async () => {
  const on = run(SERIES, 5 * 1440);
  const states = Object.fromEntries(Object.keys(SERIES).map((name) => [name, stateOf(on, name)]));
  const active = ['active', undefined];
  expect(states).toEqual({
    unix_seconds: ['unsuited', 'Its value is'],
    unix_ms: ['unsuited', 'Its value is'],
    ids: ['unsuited', 'Whole number'],
    offsets: ['unsuited', 'Whole number'],
    constant: ['unsuited', 'It has never'],
    ...Object.fromEntries(
      Object.keys(SERIES)
        .slice(5)
        .map((name) => [name, active]),
    ),
    // A whole number of seconds that grows by sixty every minute, and nothing else can be said of it.
    uptime: ['unsuited', 'Whole number'],
  });
  expect(on.partition.noise.constants).toBe(1);
  expect(on.partition.noise.unsuited.size).toBe(5);
  const hash = on.hash();
  expect((await on.restart()).version).toBe(2);
  expect(on.hash()).toBe(hash);
  expect(stateOf(on, 'ids')[0]).toBe('unsuited');
  expect(on.partition.noise.constants).toBe(1);
});

test('a constant that moves is news, and suited from then on', () => {
  const on = run({ constant: () => 7, other: (_at, i) => i % 5 }, 2 * 1440);
  expect(stateOf(on, 'constant')[0]).toBe('unsuited');
  on.changes.splice(0);
  run({ constant: () => 0, other: (_at, i) => i % 5 }, 1, on, 2 * 1440);
  expect(on.onsets().map(({ name }) => name)).toEqual(['constant']);
  expect(stateOf(on, 'constant')[0]).toBe('active');
});

test('that a growing id rises is no news; that it falls or stands still is, and then it is suited again', () => {
  for (const { change, within } of [
    { change: () => 3, within: 0 },
    { change: (before: number) => before, within: 60 },
  ]) {
    const ids = growing(1, (draw) => 50 + Math.floor(20 * draw()));
    let last = 0;
    const on = run({ ids: (at, i) => (last = ids(at, i)) }, 5 * 1440);
    expect(stateOf(on, 'ids')[0]).toBe('unsuited');
    on.changes.splice(0);
    run({ ids: (at, i) => (last = ids(at, i) + 10_000) }, 1, on, 5 * 1440);
    expect(on.onsets()).toEqual([]);
    run({ ids: () => change(last) }, 120, on, 5 * 1440 + 1);
    const [first] = on.onsets();
    expect(first?.timestampMs).toBeLessThanOrEqual(MONDAY + (5 * 1440 + 1 + within) * MINUTE);
    expect(stateOf(on, 'ids')[0]).toBe('active');
  }
});

test('what is unsuited is counted as unscored and learns on; its mark is no part of the state hash', () => {
  const on = run({ unix: (at) => at / 1000 }, 2 * 1440);
  const { samples } = on.partition.forest.view(on.slotOf('unix'));
  const before = { ...on.partition.counts };
  expect(before.unscored).toBeGreaterThan(0);
  expect(before.applied + before.unscored).toBe(2 * 1440);
  run({ unix: (at) => at / 1000 }, 10, on, 2 * 1440);
  expect(on.partition.counts).toEqual({ ...before, unscored: before.unscored + 10 });
  expect(on.partition.forest.view(on.slotOf('unix')).samples).toBe(samples + 10);
  const hash = on.hash();
  on.partition.noise.unsuited.clear();
  expect(on.hash()).toBe(hash);
});

test('every sample has one outcome: before a series is unsuited, while it is, and when it is suited again', async () => {
  const clock: Values = (at) => at / 1000;
  const noise = { noise: SERIES['noise'] as Values };
  const on = run({ unix: clock, constant: () => 7, ...noise }, 1440);
  const { counts } = on.partition;
  const said = () => Object.values(on.partition.counts).reduce((sum, count) => sum + count);
  expect(said()).toBe(3 * 1440);
  // What has never moved is scored, and so are the others until the clock is known for one.
  const { unscored } = counts;
  expect(unscored).toBeGreaterThan(0);
  expect(unscored).toBeLessThan(1440);

  // Seen before, or the same time with another value: no more a sample of an unsuited series than of any other.
  const at = MONDAY + 1439 * MINUTE;
  on.send([{ name: 'unix', at, value: clock(at, 0) }]);
  on.send([{ name: 'unix', at, value: 1 }]);
  on.send([{ name: 'unix', at: at - MINUTE, value: 1 }]);
  expect(counts).toMatchObject({ unscored, duplicate: 1, conflict: 1, late: 1 });

  // A clock that stands still is suited again within a minute.
  const stopped = clock(at, 0);
  run({ unix: () => stopped, constant: () => 7 }, 60, on, 1440);
  expect(stateOf(on, 'unix')[0]).toBe('active');
  const { unscored: until, applied } = counts;
  run({ unix: () => stopped, constant: () => 7 }, 10, on, 1500);
  expect(counts).toMatchObject({ unscored: until, applied: applied + 20 });
  expect(said()).toBe(3 * 1440 + 3 + 2 * 70);
});

test('a restart while a series is unsuited changes no count', async () => {
  const unix: Values = (at) => at / 1000;
  const [through, restarted] = [run({ unix }, 1440), run({ unix }, 1440)];
  await restarted.restart();
  run({ unix }, 200, through, 1440);
  run({ unix }, 200, restarted, 1440);
  expect(restarted.partition.counts).toEqual(through.partition.counts);
  expect(restarted.partition.counts.unscored).toBeGreaterThan(200);
  expect(restarted.hash()).toBe(through.hash());
});
