// The promise of a 204, tested by breaking the program: kill -9 at random moments under load, start
// it again on the same directory, and go on. The sender does what Prometheus does: one body of a
// series at a time, and the same bytes again until they are answered. At the end the log, the
// learnt state and the counters are compared with what was promised.

import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { openDataDir } from '../src/data-dir.js';
import { openLmdbStore } from '../src/state/lmdb-store.js';
import { readSampleLog } from './log-reader.js';
import { endPrograms, freePort, removeDirectory, temporaryDirectory } from './programs.js';
import { openSender, type Sender, type Series, writeBody } from './remote-write-sender.js';
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
const CONNECTIONS = 4;
const SERIES_PER_CONNECTION = 2_500;
const SERIES = CONNECTIONS * SERIES_PER_CONNECTION;
const BATCH = 500;
/** Bounds the load and the checks: at the pace below it lasts longer than the kills do. */
const STEPS_MAX = 1_200;
const PACE_MS = 20;
const STEP_MS = 15_000;
const RETRY_MS = 30;
const FIRST_MS = Math.floor((Date.now() - 30 * 864e5) / STEP_MS) * STEP_MS;
/** Often enough that kills fall before, into and after the writing of checkpoints. */
const ARGS = ['--checkpoint-interval', '1s', '--logging-level', 'warn'];

/** What was promised, one byte per sample. */
interface Notes {
  acknowledged: Uint8Array;
  answers: number;
  unanswered: number;
}

afterAll(endPrograms);

test('after 20 kills nothing acknowledged is missing, and the state is as if there were none', {
  timeout: 300_000,
}, async ({ onTestFailed }) => {
  onTestFailed(() => console.error(`TREELINE_SEED=${SEED} repeats the moments of the kills`));
  const directory = temporaryDirectory('kill');
  const dataDir = join(directory, 'data');
  const port = await freePort();
  const options = { dataDir, port, args: ARGS };
  const notes: Notes = {
    acknowledged: new Uint8Array(STEPS_MAX * SERIES),
    answers: 0,
    unanswered: 0,
  };
  const stopping = new AbortController();
  const sender = openSender(`http://127.0.0.1:${port}`, CONNECTIONS);
  const loads = Array.from({ length: CONNECTIONS }, (_, connection) =>
    load(sender, { connection, notes, signal: stopping.signal }),
  );
  const random = randomFrom(SEED);
  let productive = 0;
  const unitMs = await restartMs(options);
  for (let round = 0; round < KILLS; round++) {
    const before = notes.answers;
    const treeline = await spawnTreeline(options);
    await sleep((0.3 + 2.7 * random()) * unitMs);
    expect(treeline.program.hasExited(), treeline.program.stderr()).toBe(false);
    expect((await treeline.kill()).signal).toBe('SIGKILL');
    if (notes.answers > before) productive++;
  }
  const last = await startTreeline(options);
  await sleep(1_000);
  stopping.abort();
  await Promise.all(loads);
  sender.close();
  console.log(
    `seed ${SEED}: ${notes.answers} bodies acknowledged, ${notes.unanswered} sent again, ` +
      `in ${productive} of ${KILLS} rounds; the last start took ${last.readyMs.toFixed(0)} ms`,
  );
  // Else the kills met an idle program, and the test has shown nothing.
  expect(productive).toBeGreaterThan(KILLS / 2);
  expect(notes.unanswered).toBeGreaterThan(0);

  const live = await partitionsAtRest(last);
  expect(live).toHaveLength(PARTITIONS);
  expect(identityFaults(await last.metrics())).toEqual([]);
  await last.kill();
  const again = await startTreeline(options);
  const restored = await partitionsAtRest(again);
  expect(restored.map(hashAndOffset)).toEqual(live.map(hashAndOffset));
  expect(identityFaults(await again.metrics())).toEqual([]);
  expect(await again.stop()).toEqual({ code: 0, signal: null });

  expect(await missingFrom(dataDir, notes.acknowledged)).toEqual({ missing: 0, foreign: 0 });
  const unsent = notes.acknowledged.slice();
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

/**
 * One connection: each series one sample a step, in bodies of 500, each sent until it is answered.
 */
async function load(
  sender: Sender,
  options: { connection: number; notes: Notes; signal: AbortSignal },
): Promise<void> {
  const { connection, notes, signal } = options;
  const first = connection * SERIES_PER_CONNECTION;
  for (let step = 0; step < STEPS_MAX; step++) {
    for (let from = first; from < first + SERIES_PER_CONNECTION; from += BATCH) {
      if (signal.aborted) return;
      const body = writeBody(seriesOf(from, step));
      await sendUntilAnswered(sender, body, notes);
      notes.acknowledged.fill(1, step * SERIES + from, step * SERIES + from + BATCH);
      notes.answers++;
      await sleep(PACE_MS);
    }
  }
  throw new Error(`The load ran out after ${STEPS_MAX} steps; the last kills met an idle program`);
}

async function sendUntilAnswered(sender: Sender, body: Uint8Array, notes: Notes): Promise<void> {
  for (;;) {
    try {
      const { status, text } = await sender.send(body);
      if (status === 204) return;
      if (status !== 503) throw new TypeError(`A good body is answered ${status}: ${text}`);
    } catch (error) {
      if (error instanceof TypeError) throw error;
      // Killed, or not listening yet.
    }
    notes.unanswered++;
    await sleep(RETRY_MS);
  }
}

function seriesOf(from: number, step: number): Series[] {
  return Array.from({ length: BATCH }, (_, offset) => {
    const series = from + offset;
    const isCounter = series % 4 === 0;
    return {
      labels: {
        __name__: isCounter ? 'load_requests_total' : 'load_queue_length',
        environment: 'test',
        instance: `10.0.0.${series % 100}:9100`,
        job: 'load',
        series: String(series),
      },
      points: [[FIRST_MS + step * STEP_MS, sampleValue(series, step)]],
    };
  });
}

/** Any fixed function will do that tells series and steps apart; counters grow, gauges swing. */
function sampleValue(series: number, step: number): number {
  const noise = (Math.imul(series + 1, 2654435761) ^ Math.imul(step + 1, 40503)) & 1023;
  return series % 4 === 0
    ? 100 * step + noise / 16
    : 50 * Math.sin(step / 40 + series) + noise / 64;
}

/** Acknowledged samples that the log lacks, and logged ones that were never sent so. */
async function missingFrom(
  dataDir: string,
  acknowledged: Uint8Array,
): Promise<{ missing: number; foreign: number }> {
  const seriesByFingerprint = new Map<bigint, number>();
  const logged = new Uint8Array(acknowledged.length);
  const value = new Float64Array(1);
  const bits = new BigUint64Array(value.buffer);
  let foreign = 0;
  await readSampleLog(dataDir, PARTITIONS, (block) => {
    for (const { fingerprint, label } of block.series) {
      const series = label.find(({ name }) => name === 'series')?.value;
      seriesByFingerprint.set(fingerprint, Number(series));
    }
    for (let i = 0; i < block.fingerprint.length; i++) {
      const series = seriesByFingerprint.get(block.fingerprint[i] as bigint) ?? Number.NaN;
      const step = (Number(block.timestampMs[i]) - FIRST_MS) / STEP_MS;
      value[0] = sampleValue(series, step);
      if (bits[0] === block.valueBits[i]) logged[step * SERIES + series] = 1;
      else foreign++;
    }
  });
  let missing = 0;
  for (let at = 0; at < logged.length; at++)
    if (acknowledged[at] === 1 && logged[at] === 0) missing++;
  return { missing, foreign };
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

/** Marsaglia's xorshift32, for numbers in [0, 1) that a seed repeats. */
function randomFrom(seed: number): () => number {
  let x = seed | 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
}
