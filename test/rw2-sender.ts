// Builds and runs test/rw2-sender, a remote-write 2.0 sender made of the Prometheus project's own Go
// client. The program is kept in the cache outside of the clone, under a hash of its source, so that
// it is built once; a Go that is missing or too old is an error that says so.
//
//   <cache>/rw2-sender/<hash of source, go.mod and go.sum>/rw2-sender      complete or absent

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { runProgram } from './programs.js';

const SOURCES = ['go.mod', 'go.sum', 'main.go'];
const BUILD_MS_MAX = 5 * 60_000;
const RUN_MS_MAX = 60_000;
/** Where Go's own archive unpacks to; it is often not in the path of a service. */
const GO_HOME = '/usr/local/go/bin';

const execute = promisify(execFile);
const source = fileURLToPath(new URL('rw2-sender', import.meta.url));

export interface Rw2SenderOptions {
  url: string;
  nowMs: number;
  series: number;
  requests: number;
  start: 'none' | 'sample' | 'series';
  /** Bad series in each request. */
  nameless?: number;
}

export interface Rw2SenderReport {
  requests: number;
  failed: number;
  retried: number;
  samples: number;
  histograms: number;
  exemplars: number;
  errors: string[];
}

/** Runs to its end and resolves with what the sender itself counted. */
export async function runRw2Sender(options: Rw2SenderOptions): Promise<Rw2SenderReport> {
  const { url, nowMs, series, requests, start, nameless = 0 } = options;
  const flags = { url, now: nowMs, series, requests, start, nameless };
  const args = Object.entries(flags).flatMap(([name, value]) => [`-${name}`, String(value)]);
  const { stdout, stderr } = await runProgram(await rw2SenderBinary(), args, {
    timeoutMs: RUN_MS_MAX,
  });
  if (stdout === '') throw new Error(`The 2.0 sender reports nothing: ${stderr}`);
  return JSON.parse(stdout) as Rw2SenderReport;
}

/** Path of the program, built on first use. Several processes may ask at the same time. */
export async function rw2SenderBinary(): Promise<string> {
  const hash = createHash('sha256');
  for (const file of SOURCES) hash.update(await readFile(join(source, file)));
  const cache = process.env['TREELINE_CACHE'] ?? join(homedir(), '.cache', 'treeline');
  const home = join(cache, 'rw2-sender', hash.digest('hex').slice(0, 16));
  const binary = join(home, 'rw2-sender');
  if (existsSync(binary)) return binary;
  await mkdir(join(cache, 'rw2-sender'), { recursive: true });
  const beside = await mkdtemp(join(cache, 'rw2-sender', '.build-'));
  try {
    await build(join(beside, 'rw2-sender'));
    await mkdir(home, { recursive: true });
    // Whoever is last wins, and all have built the same.
    await rename(join(beside, 'rw2-sender'), binary);
  } finally {
    await rm(beside, { recursive: true, force: true });
  }
  return binary;
}

async function build(target: string): Promise<void> {
  const environment = {
    ...process.env,
    PATH: [process.env['PATH'], GO_HOME].filter((path) => path !== undefined).join(delimiter),
    CGO_ENABLED: '0',
  };
  try {
    await execute('go', ['build', '-trimpath', '-buildvcs=false', '-o', target, '.'], {
      cwd: source,
      env: environment,
      timeout: BUILD_MS_MAX,
    });
  } catch (error) {
    const { code, stderr } = error as NodeJS.ErrnoException & { stderr?: string };
    const reason = code === 'ENOENT' ? 'there is no go' : (stderr ?? String(error));
    throw new Error(`Cannot build test/rw2-sender, which needs Go 1.25 or newer: ${reason}`);
  }
}
