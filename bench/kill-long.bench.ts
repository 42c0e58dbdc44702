// kill -9 a hundred times under load, with the log at its retention all the time: records are trimmed
// and checkpoints of 2 MB are written many times a second, so that kills fall into both, and the pages
// that they free are used again at once. The moments follow from the seed. After each kill the data
// directory is opened here: everything in the log must be whole, and what is new of it is noted down
// before retention can take it. At the end: nothing acknowledged was missing from the log, nothing
// stood in it that was not sent, every count adds up, and the learnt state is that of a replay.
//
//   node dist/bench/kill-long.bench.js [--kills 100] [--seed N] [--smoke]

import { statSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type LoadShape, momentsFrom, SeenSamples, startLoad } from '../test/kill-load.js';
import { eventually, freePort, removeDirectory, temporaryDirectory } from '../test/programs.js';
import {
  identityFaults,
  partitionsAtRest,
  readingOf,
  runTreeline,
  spawnTreeline,
  startTreeline,
} from '../test/treeline-process.js';
import { DirectoryWatch } from './directory-watch.js';

const { values: flags } = parseArgs({
  options: {
    kills: { type: 'string' },
    seed: { type: 'string' },
    smoke: { type: 'boolean', default: false },
  },
});
const KILLS = Number(flags.kills ?? (flags.smoke ? 3 : 100));
const SEED = Number(flags.seed ?? Math.floor(Math.random() * 2 ** 31));
const PARTITIONS = 4;
const SHAPE: LoadShape = {
  connections: 4,
  seriesPerConnection: 2_500,
  batch: 500,
  // 40 MB of ledger; at this pace a quarter of an hour.
  stepsMax: flags.smoke ? 400 : 4_000,
  paceMs: 20,
};
/** A few seconds of load: less than this comes between two kills, so that no record goes unseen. */
const RETENTION = '24MB';
const SETTINGS = {
  '--checkpoint-interval': '100ms',
  '--log-retention-size': RETENTION,
  '--logging-level': 'error',
};
const ARGS = Object.entries(SETTINGS).flat();
/** From the start of the program to the kill: before it is ready, and up to several seconds under load. */
const MOMENT_MS_LEAST = 300;
const MOMENT_MS_MOST = 5_000;
/** A busy machine takes longer to start a program: so many times that, but not for ever. */
const READY_TIMES = 3;
const MOMENT_MS_LIMIT = 9_000;
/** Of these rounds most must have met a program that was taking samples. */
const PRODUCTIVE_SHARE = 0.5;
/** The file never gets shorter; after the first third it must not get much longer either. */
const GROWTH_MAX = 1.5;

const directory = temporaryDirectory('kill-long');
const dataDir = join(directory, 'data');
const port = await freePort();
const options = { dataDir, port, args: ARGS };
const faults: string[] = [];
const seen = new SeenSamples(SHAPE);
const watch = new DirectoryWatch(dataDir, { partitions: PARTITIONS, seen });
const load = startLoad(`http://127.0.0.1:${port}`, SHAPE);
const moment = momentsFrom(SEED);
const begun = performance.now();
const rounds = { productive: 0, trimmed: 0, interruptedCheckpoints: 0, slowestReadyMs: 0 };
const fileBytes: number[] = [];
const momentMsMost = await latestMomentMs();
for (let round = 0; round < KILLS; round++) await killOnce();
const last = await startTreeline(options);
rounds.slowestReadyMs = last.readyMs;
await sleep(2_000);
await load.stop();
const live = await partitionsAtRest(last);
const readings = await last.metrics();
faults.push(...identityFaults(readings));
await allSaved();
await last.kill();
await watch.look();
const again = await startTreeline(options);
const restored = await partitionsAtRest(again);
faults.push(...identityFaults(await again.metrics()));
await again.stop();
const ledger = seen.compare(load.acknowledged);
const leftover = await watch.look();
const verified = await runTreeline(['run', '--verify-replay', '--data-dir', dataDir]);
judge();
const minutes = (performance.now() - begun) / 60_000;
removeDirectory(directory);
const applied = live.reduce((sum, { outcomes }) => sum + (outcomes['applied'] ?? 0), 0);
console.log(`${new Date().toISOString()} ${cpus()[0]?.model} x ${cpus().length}`);
console.log(
  JSON.stringify(
    {
      seed: SEED,
      kills: KILLS,
      minutes: Math.round(10 * minutes) / 10,
      ...rounds,
      bodiesAcknowledged: load.answers(),
      bodiesSentAgain: load.unanswered(),
      samplesAcknowledged: load.answers() * SHAPE.batch,
      applied,
      recordsRead: watch.recordsRead,
      recordsTrimmed: watch.recordsTrimmed,
      missing: ledger.missing,
      foreign: ledger.foreign,
      fileMegabytes: fileBytes.map((bytes) => Math.round(bytes / 1e6)).filter(isShown),
      faults,
    },
    null,
    2,
  ),
);
if (faults.length > 0) process.exitCode = 1;

async function latestMomentMs(): Promise<number> {
  const treeline = await startTreeline(options);
  await treeline.kill();
  return Math.min(Math.max(MOMENT_MS_MOST, READY_TIMES * treeline.readyMs), MOMENT_MS_LIMIT);
}

/** Else the last kill may come into a checkpoint, and nothing that follows it cleans up after that. */
function allSaved(): Promise<true> {
  return eventually('checkpoints of all partitions', 30_000, async () => {
    const { partitions } = await last.json<{
      partitions: { offset: number; checkpoint: { offset: number } | null }[];
    }>('/anomaly/v1/status');
    const isSaved = partitions.every(({ offset, checkpoint }) => checkpoint?.offset === offset);
    return isSaved ? true : undefined;
  });
}

async function killOnce(): Promise<void> {
  const before = load.answers();
  const treeline = await spawnTreeline(options);
  await sleep(MOMENT_MS_LEAST + (momentMsMost - MOMENT_MS_LEAST) * moment());
  if (treeline.program.hasExited()) faults.push(`it ended by itself: ${treeline.program.stderr()}`);
  await treeline.kill();
  if (load.answers() > before) rounds.productive++;
  const looked = await watch.look();
  faults.push(...looked.faults);
  if (looked.trimmed > 0) rounds.trimmed++;
  if (looked.interruptedCheckpoints > 0) rounds.interruptedCheckpoints++;
  fileBytes.push(statSync(join(dataDir, 'treeline.mdb')).size);
}

function judge(): void {
  const must = (isSo: boolean, fault: string): void => {
    if (!isSo) faults.push(fault);
  };
  must(
    flags.smoke || rounds.productive > PRODUCTIVE_SHARE * KILLS,
    'most kills met an idle program',
  );
  must(load.unanswered() > 0, 'no body had to be sent again');
  must(ledger.missing === 0, `${ledger.missing} acknowledged samples were never in the log`);
  must(ledger.foreign === 0, `${ledger.foreign} logged samples were never sent`);
  const outcomes = (name: string) => live.reduce((sum, row) => sum + (row.outcomes[name] ?? 0), 0);
  // Each series is sent in order and everything is acknowledged in the end: what was logged twice is a
  // duplicate, and the rest is applied once each.
  const acknowledged = load.answers() * SHAPE.batch;
  must(outcomes('applied') === acknowledged, `${outcomes('applied')} of ${acknowledged} applied`);
  for (const name of ['conflict', 'late', 'refused', 'unscored']) {
    must(outcomes(name) === 0, `${outcomes(name)} samples are ${name}`);
  }
  must((readingOf(readings, 'treeline_log_gap_records_total') ?? 0) === 0, 'retention left a gap');
  const states = (rows: typeof live) =>
    JSON.stringify(rows.map(({ offset, high, stateHash }) => [offset, high, stateHash]));
  must(states(restored) === states(live), `restored ${states(restored)}, was ${states(live)}`);
  must(verified.code === 0, `verify-replay: ${verified.stderr}`);
  const equal = verified.stdout.match(/equal: /g)?.length;
  must(equal === PARTITIONS, `verify-replay: ${verified.stdout}`);
  must(watch.recordsTrimmed > 0 || flags.smoke, 'retention was never at work');
  faults.push(...leftover.faults);
  must(leftover.strayChunks === 0, `${leftover.strayChunks} chunks belong to no checkpoint`);
  const settled = fileBytes[Math.floor(KILLS / 3)] ?? Number.NaN;
  const growth = (fileBytes.at(-1) ?? Number.NaN) / settled;
  must(growth <= GROWTH_MAX || flags.smoke, `the file grew ${growth.toFixed(2)} times`);
}

function isShown(_megabytes: number, round: number): boolean {
  return round % Math.ceil(KILLS / 10) === 0 || round === KILLS - 1;
}
