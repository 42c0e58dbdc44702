// The built program with the roles that run models: what it says of itself, verdicts of what its scorer flags, a process of
// the role inference that another one asks, and the command that looks at a model.

import { execFileSync } from 'node:child_process';
import { statSync, truncateSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { endPrograms, eventually, temporaryDirectory } from './programs.js';
import { projectRoot } from './project-root.js';
import { randomOf } from './random.js';
import { openSender, writeBody } from './remote-write-sender.js';
import { readingOf, runTreeline, startTreeline, type Treeline } from './treeline-process.js';

const STEP_MS = 15_000;
const VERDICT_MS_MAX = 20_000;

afterEach(endPrograms);

/** 400 calm samples of a series, and one that is not. */
async function disturb(treeline: Treeline): Promise<void> {
  const random = randomOf(5);
  const sender = openSender(treeline.url);
  const labels = { __name__: 'queue_length', job: 'test', instance: 'a:1' };
  const from = Date.now() - 500 * STEP_MS;
  const calm = Array.from(
    { length: 400 },
    (_, i) => [from + i * STEP_MS, 100 + 10 * random()] as const,
  );
  for (const points of [calm, [[from + 400 * STEP_MS, 900] as const]]) {
    expect((await sender.send(writeBody([{ labels, points }]))).status).toBe(204);
  }
  sender.close();
}

function verdictCount(treeline: Treeline): Promise<number> {
  return eventually('a verdict', VERDICT_MS_MAX, async () =>
    readingOf(await treeline.metrics(), 'treeline_verdicts_total'),
  );
}

function childrenOf(pid: number): number[] {
  const lines = execFileSync('ps', ['-eo', 'ppid=,pid=,args=']).toString().split('\n');
  return lines
    .map((line) => line.trim().split(/\s+/))
    .filter(
      ([parent, , ...args]) => Number(parent) === pid && args.join(' ').includes('native-place'),
    )
    .map(([, child]) => Number(child));
}

test('what the scorer of a process flags has a verdict, and readiness knows the role', async () => {
  const treeline = await startTreeline({ args: ['--logging-level', 'warn'] });
  expect(await treeline.text('/-/ready')).toContain('deep-check: ready\n');
  const metrics = await treeline.metrics();
  const labels = { model: 'nano-2.0.0', runtime: 'native' };
  expect(readingOf(metrics, 'treeline_deep_check_runtime', labels)).toBe(1);
  await disturb(treeline);
  expect(await verdictCount(treeline)).toBeGreaterThanOrEqual(1);
  await treeline.stop();
});

test('a model that cannot be used is said at once, and the process does all else', async () => {
  const folder = temporaryDirectory('model');
  await cp(join(projectRoot(), 'models'), folder, { recursive: true });
  const { size } = statSync(join(folder, 'nano.onnx'));
  const fault = `nano.onnx has 1000 bytes, not ${size}`;
  truncateSync(join(folder, 'nano.onnx'), 1_000);
  const args = ['--deep-check-model', join(folder, 'nano.json')];
  const treeline = await startTreeline({ args });
  expect(await treeline.text('/-/ready')).toContain(fault);
  const words = treeline.program.stderr() + treeline.program.stdout();
  expect(words).toMatch(/WARN The deep check answers unchecked/);
  expect(words).toContain(fault);
  await disturb(treeline);
  await verdictCount(treeline);
  const labels = { outcome: 'unchecked' };
  expect(readingOf(await treeline.metrics(), 'treeline_verdicts_total', labels)).toBe(1);
  await treeline.stop();
});

test('the role inference needs no data directory, serves the model, and leaves no child behind', async () => {
  const dataDir = join(temporaryDirectory('none'), 'data');
  const model = await startTreeline({ dataDir, args: ['--roles', 'inference'] });
  const answer = await fetch(`${model.url}/v2/models/nano`);
  expect(await answer.json()).toMatchObject({ name: 'nano', versions: ['2.0.0'] });
  expect(() => execFileSync('ls', [dataDir], { stdio: 'ignore' })).toThrow();
  const args = ['--deep-check-remote', model.url, '--logging-level', 'warn'];
  const treeline = await startTreeline({ args });
  const labels = { model: 'nano-2.0.0', runtime: 'remote' };
  expect(readingOf(await treeline.metrics(), 'treeline_deep_check_runtime', labels)).toBe(1);
  await disturb(treeline);
  expect(await verdictCount(treeline)).toBeGreaterThanOrEqual(1);
  await treeline.stop();
  const [child] = childrenOf(model.program.pid);
  expect(child).toBeGreaterThan(0);
  await model.kill();
  await expect.poll(() => isAlive(child as number), { timeout: 5_000 }).toBe(false);
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false; // ESRCH
  }
}

test('model inspect says what a model is and what it answers, or the one thing that is wrong', async () => {
  const path = join(projectRoot(), 'models', 'nano.onnx');
  const said = await runTreeline(['model', 'inspect', path, '-o', 'json']);
  expect(said.code).toBe(0);
  expect(JSON.parse(said.stdout)).toMatchObject({
    id: 'nano',
    runtime: 'native',
    file: { bytes: statSync(path).size },
    horizon: 64,
    parity: { rows: 6, tolerance: 1e-4 },
    run: { windows: 8 },
  });
  const text = await runTreeline(['model', 'inspect', 'nano', '--runtime', 'wasm']);
  expect(text.stdout).toContain('6 answers as its makers wrote down');
  expect(text.stdout).toContain('wasm');
  const wrong = await runTreeline(['model', 'inspect', join(projectRoot(), 'README.md')]);
  expect([wrong.code, wrong.stdout]).toEqual([1, '']);
  expect(wrong.stderr).toContain('it is no JSON');
  expect((await runTreeline(['model', 'inspect'])).code).toBe(2);
});
