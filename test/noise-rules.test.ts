// The noise rules: which anomalies are shown, by direction, deviation, N of M, threshold; that they change no score and
// nothing that is learnt; and that what is shown survives a checkpoint and a change of the rules.

import { expect, test } from 'vitest';
import type { NoiseRule } from '../src/scorer/noise-rules.js';
import { DAY, MINUTE, MONDAY, PartitionRun, ruleOf } from './partition-runs.js';
import { randomOf } from './random.js';

/** Two days of noise around 100, on which everything below is built. */
function calm(seed = 1, count = 2880): number[] {
  const random = randomOf(seed);
  return Array.from({ length: count }, () => 100 + 2 * (random() + random() + random() - 1.5));
}

/** A run that has seen two calm days of g. */
function warmRun(rules: readonly NoiseRule[] = []): PartitionRun {
  const run = new PartitionRun(rules);
  run.sendEach('g', MONDAY, calm());
  expect(run.onsets()).toEqual([]);
  return run;
}

const LATER = MONDAY + 2 * DAY;

/** Sends values behind the calm days; is an anomaly shown, and from which of them on? */
function shownFrom(rule: Partial<NoiseRule> | undefined, values: readonly number[]): number {
  const run = warmRun(rule === undefined ? [] : [ruleOf(rule)]);
  run.sendEach('g', LATER, values);
  const [first] = run.onsets();
  return first === undefined ? -1 : (first.timestampMs - LATER) / MINUTE;
}

test('direction, deviations, threshold, N of M and ignore decide what is shown', () => {
  const ok = (rule: Partial<NoiseRule> | undefined, values: number[], want: number) =>
    expect(shownFrom(rule, values), JSON.stringify([rule, values])).toBe(want);
  ok(undefined, [130], 0);
  ok({}, [130], 0);
  ok({ side: 'above' }, [130], 0);
  ok({ side: 'below' }, [130], -1);
  ok({ side: 'below' }, [70], 0);
  ok({ side: 'above' }, [70], -1);
  ok({ minDeviation: 20 }, [130], 0);
  ok({ minDeviation: 40 }, [130], -1);
  ok({ minDeviation: 40 }, [50], 0);
  ok({ minRelativeDeviation: 0.2 }, [130], 0);
  ok({ minRelativeDeviation: 0.4 }, [130], -1);
  ok({ minDeviation: 20, minRelativeDeviation: 0.4 }, [130], -1);
  ok({ threshold: 1.5 }, [130], 0);
  ok({ threshold: 100 }, [130], -1);
  // Coming back from a spike is below what is then expected.
  ok({ needed: 2, among: 3 }, [130, 100], 1);
  const above = { side: 'above' as const };
  ok({ ...above, needed: 2, among: 3 }, [130, 100], -1);
  ok({ ...above, needed: 2, among: 3 }, [130, 100, 160], 2);
  ok({ ...above, needed: 2, among: 3 }, [130, 100, 100, 160], -1);
  ok({ ...above, needed: 3, among: 3 }, [130, 180, 260], 2);
  ok({ isIgnored: true }, [500], -1);
});

test('the first rule that matches a series holds for it, the others for what is left', () => {
  const rules = [ruleOf({ match: ['g'], side: 'below' }), ruleOf({ match: ['{job="test"}'] })];
  const run = new PartitionRun(rules);
  for (const [at, value] of calm().entries()) {
    run.send(['g', 'h'].map((name) => ({ name, at: MONDAY + at * MINUTE, value })));
  }
  run.send(['g', 'h'].map((name) => ({ name, at: LATER, value: 130 })));
  expect(run.onsets().map(({ name }) => name)).toEqual(['h']);
});

test('rules change no score, no band and nothing that is learnt', () => {
  const lists = [
    [],
    [ruleOf({})],
    [ruleOf({ side: 'below', minDeviation: 3 })],
    [ruleOf({ needed: 3, among: 5, threshold: 2 })],
    [ruleOf({ isIgnored: true })],
  ];
  const random = randomOf(3);
  const values = calm(2, 600).map((value) => (random() < 0.05 ? value + 60 * random() : value));
  const told = lists.map((rules) => {
    const run = warmRun(rules);
    // On its first day too, when an open anomaly bears on the next score; silent for an hour in between.
    run.sendEach('young', LATER, values);
    run.sendEach('g', LATER + DAY, values);
    run.sendEach('young', LATER + 2 * DAY, values);
    return { hash: run.hash(), shown: run.changes.length };
  });
  expect(new Set(told.map(({ hash }) => hash)).size).toBe(1);
  expect(told[0]?.shown).toBe(told[1]?.shown);
  expect(told[0]?.shown).toBeGreaterThan(told[2]?.shown as number);
  expect(told[4]?.shown).toBe(0);
});

test('what is open or half begun under a rule goes on through a checkpoint', async () => {
  const rule = ruleOf({ side: 'above', needed: 2, among: 3 });
  for (const stopAt of [1, 2, 3, 5, 8]) {
    const values = [160, 100, 190, 100, 100, 220, ...calm(5, 20)];
    const [whole, cut] = [warmRun([rule]), warmRun([rule])];
    whole.sendEach('g', LATER, values);
    cut.sendEach('g', LATER, values.slice(0, stopAt));
    const { version } = await cut.restart();
    expect(version).toBe(4);
    cut.sendEach('g', LATER + stopAt * MINUTE, values.slice(stopAt));
    expect(cut.changes, `stopped after ${stopAt}`).toEqual(whole.changes);
    expect(whole.changes.map(({ phase }) => phase)).toContain('end');
    expect(cut.hash()).toBe(whole.hash());
  }
});

test('a checkpoint of a state without rules and control is one that older programs read', async () => {
  const run = warmRun();
  run.sendEach('g', LATER, [160]);
  expect((await run.restart()).version).toBe(2);
  expect(run.isFlagged('g')).toBe(true);
});

test('rules that change take over what is shown: nothing begins or ends twice', async () => {
  const run = warmRun();
  run.sendEach('g', LATER, [160]);
  expect(run.onsets()).toHaveLength(1);
  await run.partition.noise.change([ruleOf({ isIgnored: true })]);
  expect(run.isFlagged('g')).toBe(true);
  run.sendEach('g', LATER + MINUTE, [220, 260, 300, 340, 380]);
  expect(run.changes.splice(0).map(({ phase }) => phase)).toEqual(['end']);
  expect(run.isFlagged('g')).toBe(false);
  await run.partition.noise.change([]);
  expect(run.isFlagged('g')).toBe(false);
  run.sendEach('g', LATER + 6 * MINUTE, [1000]);
  expect(run.changes.splice(0).map(({ phase }) => phase)).toEqual(['onset']);
  expect((await run.restart([])).version).toBe(4);
  expect(run.isFlagged('g')).toBe(true);
});
