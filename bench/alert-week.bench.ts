// Who is told of what in a week of a noisy fleet: 5,000 series (test/noisy-fleet.ts), two weeks in fast forward through the
// real program at its defaults, which watches for the first one; in the second one there are 40 faults. What must hold: the
// notified incidents are 0.3 to 1.2 of the budget of these days, and nine of ten faults are among them.
// `node dist/bench/alert-week.bench.js [--series 5000] [--step 60] [--seed N] [--smoke]`.

import assert from 'node:assert';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  BUDGET_OF_WEEK,
  entityOf,
  FAULTS,
  type IncidentRow,
  incidentsOf,
  isNear,
  noisyFleet,
  sendFleet,
  toldOf,
} from '../test/noisy-fleet.js';
import { endPrograms, eventually, removeDirectory, temporaryDirectory } from '../test/programs.js';
import { partitionsAtRest, readingOf, startTreeline } from '../test/treeline-process.js';
import { cpuSecondsOf, memoryOf } from './process-readings.js';

const { values: flags } = parseArgs({
  options: {
    series: { type: 'string' },
    step: { type: 'string' },
    seed: { type: 'string', default: '20260' },
    smoke: { type: 'boolean', default: false },
  },
});
const SEED = Number(flags.seed);
const PROGRESS_MS = 30_000;

const fleet = noisyFleet({
  seed: SEED,
  series: Number(flags.series ?? (flags.smoke ? 100 : 5_000)),
  stepSeconds: Number(flags.step ?? (flags.smoke ? 300 : 60)),
  // A week in shadow, as every installation has it.
  quietDays: 7,
});
const directory = temporaryDirectory('alert-week');
const treeline = await startTreeline({
  dataDir: join(directory, 'data'),
  args: ['--logging-level', 'warn'],
});
const begun = performance.now();
let toldAt = begun;
await sendFleet(treeline.url, fleet, (steps) => {
  const now = performance.now();
  if (now - toldAt < PROGRESS_MS) return;
  toldAt = now;
  const cpu = cpuSecondsOf(treeline.program.pid);
  const share = ((100 * steps) / fleet.steps).toFixed(1);
  console.error(
    `${share} % after ${Math.round((now - begun) / 1000)} s, ${Math.round(cpu)} of CPU`,
  );
});
await partitionsAtRest(treeline);
const seconds = (performance.now() - begun) / 1000;
let rows = await incidentsOf(treeline);
// The api decides a moment after the last candidate was written.
await eventually('the decisions to stand', 60_000, async () => {
  const before = JSON.stringify(rows);
  rows = await incidentsOf(treeline);
  const isPending = rows.some(({ notification }) => notification === 'pending');
  return !isPending && JSON.stringify(rows) === before ? true : undefined;
});
const { incidents, notified, heard, byChance, isFault } = toldOf(rows, fleet);
const others = incidents.filter((row) => !isFault(row));
const readings = await treeline.metrics();
const verdicts = ['confirmed', 'suppressed', 'abstained', 'unchecked'].map(
  (outcome) => `${outcome} ${readingOf(readings, 'treeline_verdicts_total', { outcome }) ?? 0}`,
);
const outcome = {
  seed: SEED,
  series: fleet.series,
  stepSeconds: fleet.stepSeconds,
  samples: fleet.series * fleet.steps,
  incidents: incidents.length,
  told: notified.length,
  ofBudget: Number((notified.length / BUDGET_OF_WEEK).toFixed(3)),
  faultsTold: `${heard} of ${FAULTS}`,
  toldByChance: byChance,
  flagged: fleet.faults.filter((fault) => incidents.some((row) => isNear(row, fault, fleet)))
    .length,
  /** What became of each fault that nobody was told of. */
  untold: untold(),
  ranksOfFaults: quantiles(incidents.filter(isFault)).join(' '),
  ranksOfOthers: quantiles(others).join(' '),
  highestOthers: highest(others),
  othersOnFaultyEntities: others.filter(
    ({ rank, entities }) =>
      rank > 3 && fleet.faults.some(({ series }) => entities.includes(entityOf(series))),
  ).length,
  verdicts: verdicts.join(', '),
  seconds: Math.round(seconds),
  cpuSeconds: Math.round(cpuSecondsOf(treeline.program.pid)),
  senderCpuSeconds: Math.round((process.cpuUsage().user + process.cpuUsage().system) / 1e6),
  ownMegabytes: Math.round(memoryOf(treeline.program.pid).ownMegabytes),
};
console.log(JSON.stringify(outcome, null, 2));
await treeline.stop();
removeDirectory(directory);
await endPrograms();
if (!flags.smoke) {
  assert(outcome.ofBudget >= 0.3 && outcome.ofBudget <= 1.2, 'the budget is missed');
  assert(heard >= 0.9 * FAULTS, 'faults are missed');
}

function untold(): string[] {
  return fleet.faults.flatMap((fault) => {
    const near = incidents.filter((row) => isNear(row, fault, fleet));
    if (near.some(({ notification }) => notification === 'notified')) return [];
    const what = near.map(({ notification, rank }) => `${notification} at rank ${rank.toFixed(1)}`);
    return [`${fault.size.toFixed(1)} deviations: ${what.join(', ') || 'no incident'}`];
  });
}

/** How far apart the ranks of faults and of chance are, whoever was told. */
function quantiles(found: readonly IncidentRow[]): (string | undefined)[] {
  const ranks = found.map(({ rank }) => rank).sort((a, b) => b - a);
  return [0, 0.1, 0.5, 0.9, 1].map((q) => ranks[Math.round(q * (ranks.length - 1))]?.toFixed(2));
}

/** Every seventh of the fifty highest. */
function highest(found: readonly IncidentRow[]): string {
  const ranks = found.map(({ rank }) => rank).sort((a, b) => b - a);
  return ranks
    .slice(0, 50)
    .filter((_, i) => i % 7 === 0)
    .map((rank) => rank.toFixed(2))
    .join(' ');
}
