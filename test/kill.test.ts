// The promise of a 204, tested by breaking the program: kill -9 at random moments under load, start
// it again on the same directory, and go on. At the end the log, the learnt state and the counters
// are compared with what was promised. 100 kills, with retention at work all the time, are
// `bench/kill-long.bench.ts`.

import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { openDataDir } from '../src/data-dir.js';
import { openLmdbStore } from '../src/state/lmdb-store.js';
import { type LoadShape, momentsFrom, SeenSamples, startLoad } from './kill-load.js';
import { readSampleLog } from './log-reader.js';
import { endPrograms, freePort, removeDirectory, temporaryDirectory } from './programs.js';
import {
  identityFaults,
  partitionsAtRest,
  runTreeline,
  spawnTreeline,
  startTreeline,
  type TreelineOptions,
} from './treeline-process.js';

const SEED = Number(process.env['TREELINE_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const KILLS = 20;
const PARTITIONS = 4;
/** At this pace the load lasts longer than the kills do. */
const SHAPE: LoadShape = {
  connections: 4,
  seriesPerConnection: 2_500,
  batch: 500,
  stepsMax: 1_200,
  paceMs: 20,
};
/** Often enough that kills fall before, into and after the writing of checkpoints. */
const ARGS = ['--checkpoint-interval', '1s', '--logging-level', 'warn'];

afterAll(endPrograms);

test('after 20 kills nothing acknowledged is missing, and the state is as if there were none', {
  timeout: 300_000,
}, async ({ onTestFailed }) => {
  onTestFailed(() => console.error(`TREELINE_SEED=${SEED} repeats the moments of the kills`));
  const directory = temporaryDirectory('kill');
  const dataDir = join(directory, 'data');
  const port = await freePort();
  const options = { dataDir, port, args: ARGS };
  const load = startLoad(`http://127.0.0.1:${port}`, SHAPE);
  const random = momentsFrom(SEED);
  let productive = 0;
  const unitMs = await restartMs(options);
  for (let round = 0; round < KILLS; round++) {
    const before = load.answers();
    const treeline = await spawnTreeline(options);
    await sleep((0.3 + 2.7 * random()) * unitMs);
    expect(treeline.program.hasExited(), treeline.program.stderr()).toBe(false);
    expect((await treeline.kill()).signal).toBe('SIGKILL');
    if (load.answers() > before) productive++;
  }
  const last = await startTreeline(options);
  await sleep(1_000);
  await load.stop();
  console.log(
    `seed ${SEED}: ${load.answers()} bodies acknowledged, ${load.unanswered()} sent again, ` +
      `in ${productive} of ${KILLS} rounds; the last start took ${last.readyMs.toFixed(0)} ms`,
  );
  // Else the kills met an idle program, and the test has shown nothing.
  expect(productive).toBeGreaterThan(KILLS / 2);
  expect(load.unanswered()).toBeGreaterThan(0);

  const live = await partitionsAtRest(last);
  expect(live).toHaveLength(PARTITIONS);
  expect(identityFaults(await last.metrics())).toEqual([]);
  await last.kill();
  const again = await startTreeline(options);
  const restored = await partitionsAtRest(again);
  expect(restored.map(hashAndOffset)).toEqual(live.map(hashAndOffset));
  expect(identityFaults(await again.metrics())).toEqual([]);
  expect(await again.stop()).toEqual({ code: 0, signal: null });

  expect(await missingFrom(dataDir, load.acknowledged)).toEqual({ missing: 0, foreign: 0 });
  const unsent = load.acknowledged.slice();
  unsent[unsent.length - 1] = 1;
  // The check itself sees a sample that is not there.
  expect(await missingFrom(dataDir, unsent)).toEqual({ missing: 1, foreign: 0 });

  const verified = await runTreeline(['run', '--verify-replay', '--data-dir', dataDir]);
  expect(verified.stdout.match(/equal: /g) ?? [], verified.stdout).toHaveLength(PARTITIONS);
  expect(verified.code, verified.stderr).toBe(0);

  const fresh = join(directory, 'fresh');
  cpSync(dataDir, fresh, { recursive: true });
  await forgetCheckpoints(fresh);
  const uninterrupted = await startTreeline({ dataDir: fresh, args: ARGS });
  const replayed = await partitionsAtRest(uninterrupted);
  expect(replayed.map(hashAndOffset)).toEqual(live.map(hashAndOffset));
  await uninterrupted.stop();
  removeDirectory(directory);
});

/** How long a start takes on this machine, with state to restore: kills fall before and after. */
async function restartMs(options: TreelineOptions): Promise<number> {
  const treeline = await startTreeline(options);
  await treeline.kill();
  return Math.min(Math.max(1_000, 2 * treeline.readyMs), 2_500);
}

/** Against what the log of a stopped program holds. */
async function missingFrom(
  dataDir: string,
  acknowledged: Uint8Array,
): Promise<{ missing: number; foreign: number }> {
  const seen = new SeenSamples(SHAPE);
  await readSampleLog(dataDir, PARTITIONS, (block) => seen.add(block));
  return seen.compare(acknowledged);
}

async function forgetCheckpoints(dataDir: string): Promise<void> {
  const dir = await openDataDir(dataDir);
  const store = openLmdbStore(dir);
  expect(await store.list('checkpoint/')).not.toEqual([]);
  await store.deleteAll('checkpoint/');
  await dir.close();
}

function hashAndOffset(row: { offset: number; high: number; stateHash: string | null }): object {
  expect(row.stateHash).toMatch(/^[0-9a-f]{64}$/);
  return { offset: row.offset, high: row.high, stateHash: row.stateHash };
}
