// What `treeline backtest --suggest` counts by rules from scores alone is what the forest shows by the same rules.

import { expect, test } from 'vitest';
import { RuleTrials, TRIAL_RULES } from '../src/cli/rule-trial.js';
import { needOf } from '../src/config-detection.js';
import { WasmForest } from '../src/scorer/wasm-forest.js';
import { loadWasm } from '../src/wasm-files.js';
import { bitsOf, observeAll } from './forest-runs.js';
import { normalFrom, randomFrom } from './realistic-series.js';

const START = 1_760_000_000_000n;

/** Noise that bursts, drifts, stands still and falls silent. */
function values(seed: number, count: number): number[] {
  const random = randomFrom(seed);
  const normal = normalFrom(random);
  let [level, still, silent] = [50, 0, 0];
  return Array.from({ length: count }, () => {
    if (random() < 0.0005) still = 200;
    if (random() < 0.0005) silent = 90;
    if (random() < 0.001) level += 40 * normal();
    if (silent-- > 0) return 0;
    if (still-- > 0) return level;
    return level + normal() * (random() < 0.02 ? 20 * random() : 1);
  });
}

test('trials of rules count as the forest does', () => {
  let [counted, kinds] = [0, 0];
  for (let seed = 1; seed <= 12; seed++) {
    const series = values(seed, 12_000);
    const step = [15_000n, 60_000n, 300_000n][seed % 3]!;
    const forest = new WasmForest(loadWasm('forest').module, {
      seriesMax: TRIAL_RULES.length,
      seed: 1,
    });
    const trials = new RuleTrials();
    for (const [slot, { of, threshold }] of TRIAL_RULES.entries()) {
      const plain = { side: 'both', minDeviation: 0, minRelativeDeviation: 0 } as const;
      forest.open(slot, 'gauge');
      forest.writeRule(slot + 1, { ...plain, ...needOf({ of }), threshold, isIgnored: false });
      forest.assignRule(slot, slot + 1);
    }
    const shown = TRIAL_RULES.map((_, slot) => {
      const samples = series.map((value, i) => {
        return { slot, timestamp: START + step * BigInt(i), bits: bitsOf(value) };
      });
      const rows = observeAll(forest, samples);
      if (slot === 0) {
        for (const [i, { score }] of rows.entries()) {
          trials.add(Number(START + step * BigInt(i)), score);
        }
      }
      return rows.filter(({ event }) => event?.phase === 'onset').length;
    });
    expect(trials.counts, `seed ${seed}`).toEqual(shown);
    counted += shown[0]!;
    kinds += new Set(shown).size;
  }
  expect(counted).toBeGreaterThan(50);
  expect(kinds).toBeGreaterThan(24);
});
