// What rollouts do: weeks of Deployments over several partitions, each pod replaced again and again, with and without words
// between the partitions. Goals: nobody is flagged for being new, faults of pods that are younger than their warm-up are
// found, and how many newcomers begin with what a sibling has learnt. No goals: time, memory.
//
//   node dist/bench/rollouts.bench.js [--seeds N] [--rollouts N] [--smoke]

import { parseArgs } from 'node:util';
import { flagsOfRollouts, foundIn, runFleet } from '../test/rollout-fleet.js';

const { values: options } = parseArgs({
  options: {
    seeds: { type: 'string', default: '5' },
    rollouts: { type: 'string', default: '30' },
    smoke: { type: 'boolean', default: false },
  },
});
const SEEDS = options.smoke ? 1 : Number(options.seeds);
const ROLLOUTS = options.smoke ? 6 : Number(options.rollouts);
const STEPS = (options.smoke ? 3 : 14) * 1440;
const PARTITIONS = options.smoke ? [4] : [1, 4, 64];

console.log(
  '| partitions | words are carried | newcomers | begin with what was learnt | faults | found | vectors, series flagged for being new |',
);
console.log('|--:|---|--:|--:|--:|--:|--:|');
for (const partitions of PARTITIONS) {
  for (const isCarried of [false, true]) {
    const sums = { newcomers: 0, heirs: 0, faults: 0, found: 0, vectors: 0, series: 0 };
    for (let seed = 1; seed <= SEEDS; seed++) {
      const shape = { seed, steps: STEPS, stepMs: 60_000, partitions };
      const story = await runFleet({ ...shape, rollouts: ROLLOUTS, faultEvery: 4, isCarried });
      sums.newcomers += story.newcomers;
      sums.heirs += story.heirs;
      sums.faults += story.faults.length;
      sums.found += foundIn(story).length;
      for (const { metric } of flagsOfRollouts(story)) {
        if (metric === 'treeline_entity_distance') sums.vectors++;
        else sums.series++;
      }
    }
    const { newcomers, heirs, faults, found, vectors, series } = sums;
    const row = [partitions, isCarried ? 'yes' : 'no', newcomers, heirs, faults, found];
    console.log(`| ${row.join(' | ')} | ${vectors}, ${series} |`);
  }
}
