// Who is checked and who is shed, with a clock that the test turns.

import { expect, test } from 'vitest';
import { Admission, type ShedReason, type Waiting } from '../src/deep-check/admission.js';
import { BUDGET_BURST_SECONDS, COOLDOWN_MS } from '../src/limits-models.js';
import { randomOf } from './random.js';

interface Check extends Waiting {
  name: string;
}

let nowMs = 0;
const shed: string[] = [];

function admission(settings: Partial<ConstructorParameters<typeof Admission>[0]> = {}) {
  nowMs = 0;
  shed.length = 0;
  const wanted = { windowsPerSecond: 1000, waitMsMax: 5_000, checksMax: 4, ...settings };
  return new Admission<Check>(wanted, () => nowMs);
}

function check(name: string, fields: Partial<Check> = {}): Check {
  return {
    ...{ name, key: name, group: 'job', score: 2, timestampMs: 0, windows: 8 },
    shed: (reason: ShedReason) => shed.push(`${name} ${reason}`),
    ...fields,
  };
}

const names = (checks: readonly Check[]) => checks.map(({ name }) => name).join(' ');

test('the highest scores go first, as many as a batch holds', () => {
  const queue = admission();
  for (const [name, score] of [
    ['a', 2],
    ['b', 4],
    ['c', 3],
  ] as const)
    queue.offer(check(name, { score }));
  expect(queue.windows).toBe(24);
  expect(names(queue.take(16))).toBe('b c');
  expect(names(queue.take(16))).toBe('a');
  expect([queue.length, queue.windows]).toEqual([0, 0]);
});

test('groups have their turn, so that one that flaps does not starve the others', () => {
  const queue = admission({ checksMax: 100 });
  for (let i = 0; i < 20; i++) queue.offer(check(`noisy${i}`, { group: 'noisy', score: 100 }));
  for (const group of ['x', 'y']) queue.offer(check(group, { group, score: 1.1 }));
  expect(names(queue.take(32))).toBe('noisy0 x y noisy1');
  expect(names(queue.take(16))).toBe('noisy2 noisy3');
});

test('of a series the newest waits, and after a check it rests, unless its score has doubled', () => {
  const queue = admission();
  queue.offer(check('old', { key: 's' }));
  queue.offer(check('new', { key: 's' }));
  expect(shed).toEqual(['old replaced']);
  expect(names(queue.take(32))).toBe('new');
  queue.offer(check('soon', { key: 's', timestampMs: COOLDOWN_MS - 1 }));
  expect(shed.at(-1)).toBe('soon cooldown');
  queue.offer(check('worse', { key: 's', timestampMs: COOLDOWN_MS - 1, score: 4 }));
  expect(names(queue.take(32))).toBe('worse');
  queue.offer(check('later', { key: 's', timestampMs: 2 * COOLDOWN_MS }));
  expect(names(queue.take(32))).toBe('later');
  queue.offer(check('history', { key: 's', timestampMs: 0 }));
  expect(names(queue.take(32))).toBe('history');
});

test('onsets of one series that lie further apart than it rests all wait, and each is checked', () => {
  const queue = admission();
  for (const [name, minutes] of [
    ['monday', 0],
    ['tuesday', 24 * 60],
    ['tuesday again', 24 * 60 + 0.5],
    ['sunday before', -24 * 60],
  ] as const) {
    queue.offer(check(name, { key: 's', timestampMs: minutes * COOLDOWN_MS }));
  }
  expect(shed).toEqual(['tuesday replaced']);
  expect([queue.length, queue.windows]).toEqual([3, 24]);
  expect(names(queue.take(32))).toBe('monday tuesday again sunday before');
  expect([queue.length, queue.windows]).toEqual([0, 0]);
});

test('when all places are taken the lowest score goes, of equal ones the oldest, or the newcomer', () => {
  const queue = admission({ checksMax: 3 });
  for (const [name, score] of [
    ['a', 2],
    ['b', 1.5],
    ['c', 1.5],
  ] as const)
    queue.offer(check(name, { score }));
  queue.offer(check('low', { score: 1.2 }));
  queue.offer(check('high', { score: 9 }));
  expect(shed).toEqual(['low queue_full', 'b queue_full']);
  expect(names(queue.take(99))).toBe('high a c');
});

test('what has waited too long is late', () => {
  const queue = admission();
  queue.offer(check('a'));
  nowMs = 3_000;
  queue.offer(check('b'));
  nowMs = 5_000;
  queue.expire();
  expect(shed).toEqual([]);
  nowMs = 5_001;
  queue.expire();
  expect(shed).toEqual(['a late']);
  expect(queue.oldestMs()).toBe(2_001);
  // What all wait for makes nobody late.
  nowMs = 12_001;
  queue.excuse(7_000);
  queue.expire();
  expect(shed).toEqual(['a late']);
  expect(queue.oldestMs()).toBe(2_001);
  nowMs = 15_001;
  queue.expire();
  expect(shed).toEqual(['a late', 'b late']);
});

test('the budget is an average with a burst; one check that is larger than all of it still has its turn', () => {
  const queue = admission({ windowsPerSecond: 8, checksMax: 1000, waitMsMax: 1e9 });
  for (let i = 0; i < 30; i++) queue.offer(check(`c${i}`));
  expect(queue.take(1e6).length).toBe(BUDGET_BURST_SECONDS);
  expect(queue.take(1e6).length).toBe(0);
  nowMs = 999;
  expect(queue.take(1e6).length).toBe(0);
  nowMs = 1_000;
  expect(queue.take(1e6).length).toBe(1);
  nowMs = 1e9;
  expect(queue.take(1e6).length).toBe(BUDGET_BURST_SECONDS);
  const small = admission({ windowsPerSecond: 1 });
  small.offer(check('large', { windows: 100 }));
  expect(names(small.take(32))).toBe('large');
});

test('everything that is offered is taken or shed exactly once', () => {
  const random = randomOf(11);
  const queue = admission({ windowsPerSecond: 200, checksMax: 16, waitMsMax: 300 });
  const seen = new Map<string, number>();
  const count = (name: string) => seen.set(name, (seen.get(name) ?? 0) + 1);
  for (let i = 0; i < 5_000; i++) {
    nowMs += Math.floor(30 * random());
    const name = `n${i}`;
    const wanted = check(name, {
      key: `s${Math.floor(40 * random())}`,
      group: `g${Math.floor(4 * random())}`,
      score: 1 + random(),
      timestampMs: nowMs * 10,
      windows: 1 + Math.floor(8 * random()),
      shed: () => count(name),
    });
    queue.offer(wanted);
    if (random() < 0.3) queue.expire();
    if (random() < 0.3) for (const taken of queue.take(32)) count(taken.name);
    expect(queue.length).toBeLessThanOrEqual(16);
  }
  nowMs += 1_000;
  queue.expire();
  expect([queue.length, queue.windows]).toEqual([0, 0]);
  expect(seen.size).toBe(5_000);
  expect([...seen.values()].every((times) => times === 1)).toBe(true);
});
