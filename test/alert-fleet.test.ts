// A noisy fleet for ten days in fast forward through the real program, live from its first hour. After three days forty
// faults come within a week. Who is told, and of what? The same at 5,000 series, at the defaults: bench/alert-week.bench.ts.

import { afterAll, expect, test } from 'vitest';
import {
  BUDGET_OF_WEEK,
  FAULTS,
  incidentsOf,
  noisyFleet,
  sendFleet,
  toldOf,
} from './noisy-fleet.js';
import { endPrograms, eventually } from './programs.js';
import { partitionsAtRest, startTreeline } from './treeline-process.js';

const SEED = Number(process.env['TREELINE_SEED'] ?? 20_260);
const SERIES = Number(process.env['TREELINE_FLEET'] ?? 200);

afterAll(endPrograms);

test('in a week with forty faults nine of ten are told of, within the budget', {
  timeout: 300_000,
}, async ({ onTestFailed }) => {
  let last = '';
  onTestFailed(() => console.error(`TREELINE_SEED=${SEED} repeats the fleet; at last ${last}`));
  const treeline = await startTreeline({ args: ['--mode', 'live', '--logging-level', 'warn'] });
  const fleet = noisyFleet({ seed: SEED, series: SERIES, stepSeconds: 60, quietDays: 3 });
  await sendFleet(treeline.url, fleet);
  await partitionsAtRest(treeline);
  const outcome = await eventually('nine of ten faults to be told of', 30_000, async () => {
    const { incidents, notified, heard, byChance } = toldOf(await incidentsOf(treeline), fleet);
    const counts = { incidents: incidents.length, told: notified.length, byChance, heard };
    last = JSON.stringify(counts);
    return heard >= 0.9 * FAULTS ? counts : undefined;
  });
  console.log(`seed ${SEED}, ${SERIES} series: ${last} of ${FAULTS} faults`);
  expect(outcome.told / BUDGET_OF_WEEK).toBeGreaterThanOrEqual(0.3);
  expect(outcome.told / BUDGET_OF_WEEK).toBeLessThanOrEqual(1.2);
  await treeline.stop();
});
