// The same gate between lmdb and the kernel as in test/durability, under the whole program: no 204 precedes the flush of
// its record, a failing disk is answered 503 and survived, and what was answered 204 outlives a loss of power.

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { buildFlushGate, type FlushGate } from './durability/flush-gate.js';
import { readLoggedSeries } from './log-reader.js';
import { eventually, removeDirectory, temporaryDirectory } from './programs.js';
import { randomOf } from './random.js';
import { openSender, type Sender, writeBody } from './remote-write-sender.js';
import { startTreeline, type Treeline } from './treeline-process.js';

const SEED = Number(process.env['TREELINE_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const BEGIN = 1_760_000_000_000;
const PARTITIONS = 4;
const SERIES = 40;

let gate: FlushGate;
let folder: string;
let treeline: Treeline;
let sender: Sender;
let time = BEGIN;

beforeEach(async () => {
  gate = await buildFlushGate();
  folder = temporaryDirectory('durability-http');
  treeline = await startTreeline({ dataDir: join(folder, 'data'), environment: gate.env });
  sender = openSender(treeline.url, 8);
});

afterEach(async () => {
  sender.close();
  gate.fail(null);
  gate.release();
  await treeline.program.stop('SIGKILL');
  gate.remove();
  removeDirectory(folder);
});

/** One sample of each series; resolves with the status and the time that its samples carry. */
async function write(): Promise<{ status: number; text: string; at: number }> {
  time += 1000;
  const at = time;
  const series = Array.from({ length: SERIES }, (_, i) => ({
    labels: { __name__: 'm', instance: `i${i}` },
    points: [[at, at / 1000] as [number, number]],
  }));
  const { status, text } = await sender.send(writeBody(series));
  return { status, text, at };
}

test('no 204 precedes the flush of its record', async () => {
  expect((await write()).status).toBe(204);
  for (let round = 0; round < 3; round++) {
    gate.hold();
    const answers: number[] = [];
    const writes = Array.from({ length: 8 }, () =>
      write().then(({ status }) => answers.push(status)),
    );
    await eventually('a held flush', 10_000, async () =>
      gate.read('held') > 0 ? true : undefined,
    );
    await sleep(300);
    expect(answers).toEqual([]);
    const before = gate.flushes();
    gate.release();
    await Promise.all(writes);
    expect(new Set(answers)).toEqual(new Set([204]));
    expect(gate.flushes()).toBeGreaterThan(before);
  }
});

test.each([
  ['EIO', /input\/output error/i],
  ['ENOSPC', /no space|full/i],
] as const)('%s is answered 503 with its cause, and is survived', async (errno, cause) => {
  expect((await write()).status).toBe(204);
  gate.fail(errno);
  const refused = await write();
  expect(refused.status).toBe(503);
  expect(refused.text).toMatch(cause);
  const rejected = (await treeline.metrics()).filter(
    ({ name, labels }) =>
      name === 'treeline_samples_rejected_total' && labels['reason'] === 'unavailable',
  );
  expect(rejected[0]?.value).toBeGreaterThan(0);
  gate.fail(null);
  // The sender comes back, as it always does on a 503.
  const taken = await eventually('a 204', 20_000, async () => {
    const answer = await write();
    return answer.status === 204 ? answer : undefined;
  });
  await sender.close();
  await treeline.program.stop('SIGTERM');
  const points = await readLoggedSeries(treeline.dataDir, {
    partitions: PARTITIONS,
    keyOf: (labels) => labels.find(({ name }) => name === 'instance')?.value ?? '',
  });
  expect(points.size).toBe(SERIES);
  for (const rows of points.values()) expect(rows.map(([at]) => at)).toContain(taken.at);
});

test('what was answered 204 is there after a loss of power', async () => {
  const random = randomOf(SEED);
  const acknowledged: number[] = [];
  let stopped = false;
  const load = Array.from({ length: 8 }, async () => {
    while (!stopped) {
      const answer = await write().catch(() => undefined);
      if (answer === undefined) return;
      expect(answer.status).toBe(204);
      acknowledged.push(answer.at);
    }
  });
  await eventually('some answers', 20_000, async () =>
    acknowledged.length > 100 ? true : undefined,
  );
  await sleep(500 * random());
  await treeline.program.stop('SIGKILL');
  stopped = true;
  await Promise.all(load);
  gate.losePower(join(treeline.dataDir, 'treeline.mdb'), () => random() < 0.5);
  const points = await readLoggedSeries(treeline.dataDir, {
    partitions: PARTITIONS,
    keyOf: (labels) => labels.find(({ name }) => name === 'instance')?.value ?? '',
  });
  for (const [instance, rows] of points) {
    const there = new Set(rows.map(([at]) => at));
    const missing = acknowledged.filter((at) => !there.has(at));
    expect([`seed ${SEED}`, instance, missing]).toEqual([`seed ${SEED}`, instance, []]);
  }
  expect(points.size).toBe(SERIES);
});
