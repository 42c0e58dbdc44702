// Two weeks of three Deployments over four partitions, with 30 rollouts: no vector is flagged for being new, and what is
// wrong with a pod that is younger than its own warm-up is found, wherever the pod that it replaces was judged.

import { expect, test } from 'vitest';
import { flagsOfRollouts, foundIn, runFleet } from './rollout-fleet.js';

const WEEKS = { seed: 5, steps: 14 * 1440, stepMs: 60_000, partitions: 4, rollouts: 30 };

test('no rollout flags a pod, and faults of pods of an hour are found', async () => {
  const story = await runFleet({ ...WEEKS, faultEvery: 4, isCarried: true });
  const { faults, newcomers, heirs, counts } = story;
  expect([faults.length, newcomers, heirs]).toEqual([7, 60, 60]);
  expect(foundIn(story)).toEqual(faults);
  const soon = flagsOfRollouts(story);
  expect(soon.filter(({ metric }) => metric === 'treeline_entity_distance')).toEqual([]);
  // Series by themselves are past their warm-up then; of 180 one may be flagged, as on any day.
  expect(soon.length).toBeLessThanOrEqual(1);
  expect(counts).toMatchObject({ crowded: 0, lost: 0 });
}, 240_000);

test('without a word between partitions most newcomers learn by themselves', async () => {
  const { newcomers, heirs, counts } = await runFleet({
    ...WEEKS,
    steps: 4 * 1440,
    rollouts: 12,
    faultEvery: 0,
    isCarried: false,
  });
  expect(heirs).toBeLessThan(newcomers / 2);
  expect(counts).toEqual({ asked: 0, answered: 0, crowded: 0, lost: 0 });
}, 120_000);
