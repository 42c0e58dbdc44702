// The images of the Dockerfile as they run: unpacked, with nothing around them but their own files, as the user that they
// name. Each is as small as the documents say, becomes ready, judges a suspicion with the runtime that it brings, and
// stays within its memory; size, time and memory are printed for the table in docs/operations.md. Wants root.

import { execFile } from 'node:child_process';
import { chownSync, lstatSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, test } from 'vitest';
import {
  endPrograms,
  eventually,
  freePort,
  removeDirectory,
  startProgram,
  temporaryDirectory,
} from '../programs.js';
import { WRITE_HEADERS, writeBody } from '../remote-write-sender.js';
import { parseMetrics } from '../treeline-process.js';
import { isOwnNamespace, setUpNetwork } from './node.js';
import { builtImage } from './real-cluster.js';

const execute = promisify(execFile);
const MEGABYTE = 1_000_000;
const READY_MS_MAX = 60_000;
const JUDGED_MS_MAX = 60_000;
const USER = 10_001;
const SERIES = 20;
const WARM_SAMPLES = 200;
const STEP_MS = 15_000;
const START_MS = Date.UTC(2026, 0, 5);

afterAll(endPrograms);

interface Image {
  Layers: string[];
  Config: string;
}

/** All layers over each other in a folder; these images delete nothing of a layer below. */
async function unpacked(archive: string): Promise<{ root: string; command: string[] }> {
  const directory = temporaryDirectory('image');
  await execute('tar', ['-xf', archive, '-C', directory]);
  const read = (name: string) => JSON.parse(readFileSync(join(directory, name), 'utf8'));
  const [image] = read('manifest.json') as Image[];
  if (image === undefined) throw new Error(`${archive} holds no image`);
  const root = join(directory, 'root');
  mkdirSync(root);
  for (const layer of image.Layers) {
    const args = ['--same-owner', '-xpf', join(directory, layer), '-C', root];
    await execute('tar', args);
  }
  const { config } = read(image.Config);
  expect([config.User, config.WorkingDir]).toEqual([`${USER}:${USER}`, '/app']);
  return { root, command: config.Entrypoint };
}

function bytesIn(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => lstatSync(join(entry.parentPath, entry.name)).size)
    .reduce((sum, size) => sum + size, 0);
}

/** A process and all that it has started, from the outside in. */
function family(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc').filter((entry) => /^[0-9]+$/.test(entry))) {
    try {
      const status = readFileSync(`/proc/${name}/stat`, 'utf8');
      parents.set(Number(name), Number(status.slice(status.lastIndexOf(')') + 4).split(' ')[0]));
    } catch {
      // ENOENT, ESRCH: it has ended between the two reads.
    }
  }
  const below = (at: number): number[] => [
    at,
    ...[...parents].filter(([, parent]) => parent === at).flatMap(([child]) => below(child)),
  ];
  return below(pid);
}

function residentBytes(pid: number): number {
  return family(pid)
    .map((at) => /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${at}/status`, 'utf8'))?.[1])
    .reduce((sum, kilobytes) => sum + Number(kilobytes ?? 0) * 1024, 0);
}

/** One sample of each series at each step; `disturbed` is far off. */
async function send(url: string, { from, until, disturbed = -1 }: Steps): Promise<void> {
  for (let index = from; index < until; index++) {
    const series = Array.from({ length: SERIES }, (_, at) => {
      const noise = ((index * 31 + at * 17) % 11) / 10;
      const value = 50 + Math.sin(index / 7 + at) + noise + (at === disturbed ? 40 : 0);
      return {
        labels: { __name__: 'demo_load', instance: `host-${at}`, job: 'demo' },
        points: [[START_MS + index * STEP_MS, value] as const],
      };
    });
    const body = new Uint8Array(writeBody(series));
    const to = `${url}/api/v1/write`;
    const answer = await fetch(to, { method: 'POST', headers: WRITE_HEADERS, body });
    if (answer.status !== 204) throw new Error(`${answer.status} ${await answer.text()}`);
  }
}

interface Steps {
  from: number;
  until: number;
  disturbed?: number;
}

/** How many of each kind there are. */
async function verdictsAt(url: string): Promise<Map<string, number>> {
  const readings = parseMetrics(await (await fetch(`${url}/metrics`)).text());
  const said = readings.filter(({ name }) => name === 'treeline_verdicts_total');
  return new Map(said.map(({ labels, value }) => [labels['outcome'] ?? '', value]));
}

/** One series after the other is disturbed until a suspicion is judged: the first may come before the model is there. */
async function judged(url: string): Promise<void> {
  for (let at = 0; at < SERIES; at++) {
    const from = WARM_SAMPLES + at * 3;
    await send(url, { from, until: from + 3, disturbed: at });
    const outcomes = await eventually('a verdict', JUDGED_MS_MAX, async () => {
      const counts = await verdictsAt(url);
      const sum = [...counts.values()].reduce((all, count) => all + count, 0);
      return sum > at ? counts : undefined;
    });
    if ([...outcomes].some(([outcome, count]) => outcome !== 'unchecked' && count > 0)) return;
  }
  throw new Error('Nothing is ever judged');
}

const ALL = 'receiver,scorer,deep-check,api';
const IMAGES = [
  ['light', 'receiver,scorer,api', 180, 200],
  ['light', ALL, 180, 450],
  ['heavy', ALL, 400, 450],
] as const;

test.each(IMAGES)('%s with %s is at most %i MB and takes at most %i MB', async (...image) => {
  const [target, roles, sizeMax, memoryMax] = image;
  if (isOwnNamespace()) await setUpNetwork();
  const { root, command } = await unpacked(builtImage(target));
  const bytes = bytesIn(root);
  chownSync(join(root, 'data'), USER, USER);
  expect(statSync(join(root, 'data')).uid).toBe(USER);
  const port = await freePort();
  const listen = ['run', '--listen', `127.0.0.1:${port}`, '--roles', roles];
  const inside = ['chroot', `--userspec=${USER}:${USER}`, root, ...command, ...listen];
  mkdirSync(join(root, 'proc'), { recursive: true });
  // What every container is given: a child's input and output are there.
  await execute('mknod', ['-m', '666', join(root, 'dev/null'), 'c', '1', '3']);
  const spaces = ['--mount', '--pid', '--fork', `--mount-proc=${join(root, 'proc')}`];
  const environment = { NODE_ENV: 'production', TREELINE_DATA_DIR: '/data/treeline' };
  const startedAt = performance.now();
  const program = await startProgram('unshare', [...spaces, ...inside], { environment });
  const url = `http://127.0.0.1:${port}`;
  await eventually('the image to be ready', READY_MS_MAX, async () => {
    if (program.hasExited()) throw new Error(program.stderr());
    const answer = await fetch(`${url}/-/ready`).catch(() => undefined);
    return answer?.status === 200 ? true : undefined;
  });
  const readyMs = performance.now() - startedAt;
  const idle = residentBytes(program.pid as number);
  await send(url, { from: 0, until: WARM_SAMPLES });
  if (roles === ALL) await judged(url);
  const judging = residentBytes(program.pid as number);
  // `unshare` passes no signal on, and ends with the one process that it waits for.
  const [, inner] = family(program.pid as number);
  process.kill(inner as number, 'SIGTERM');
  expect(await program.exited).toMatchObject({ code: 0 });
  removeDirectory(join(root, '..'));
  const inMegabytes = (count: number) => Math.round(count / MEGABYTE);
  const row = [
    inMegabytes(bytes),
    (readyMs / 1_000).toFixed(1),
    inMegabytes(idle),
    inMegabytes(judging),
  ];
  process.stdout.write(`${target} ${roles}: MB, ready s, idle MB, judging MB: ${row.join(' ')}\n`);
  expect(bytes).toBeLessThan(sizeMax * MEGABYTE);
  expect(judging).toBeLessThan(memoryMax * MEGABYTE);
});
