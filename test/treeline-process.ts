// The built program as a user runs it: `node dist/src/main.js run` on a free port of 127.0.0.1 with
// a temporary data directory, spoken to over HTTP alone. It can be stopped, killed, and started
// again on the same directory and port.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Exit,
  eventually,
  freePort,
  type Program,
  removeDirectory,
  runProgram,
  startProgram,
  temporaryDirectory,
  waitUntilReady,
} from './programs.js';
import { projectRoot } from './project-root.js';

export const READY_MS_MAX = 30_000;
const COMMAND_MS_MAX = 120_000;
const REST_MS_MAX = 60_000;

export interface TreelineOptions {
  /** Made and removed by us when absent. */
  dataDir?: string;
  port?: number;
  args?: readonly string[];
  environment?: Readonly<Record<string, string>>;
  /** Another built program than ours. */
  main?: string;
}

export interface Treeline {
  readonly program: Program;
  readonly url: string;
  readonly port: number;
  readonly dataDir: string;
  /** From the start of the process to the first 200 of /-/ready. */
  readonly readyMs: number;
  /** Body of a route; rejects when it is not answered 200. */
  text(path: string): Promise<string>;
  json<T>(path: string): Promise<T>;
  metrics(): Promise<Reading[]>;
  /** Ends in order, and keeps the data directory unless it is temporary. */
  stop(): Promise<Exit>;
  kill(): Promise<Exit>;
}

/** Rejects with the program's own words when it does not become ready. */
export async function startTreeline(options: TreelineOptions = {}): Promise<Treeline> {
  const treeline = await spawnTreeline(options);
  await waitUntilReady(treeline.program, `${treeline.url}/-/ready`, READY_MS_MAX);
  return { ...treeline, readyMs: performance.now() - treeline.startedAt };
}

/** The same without waiting for it to become ready. */
export async function spawnTreeline(
  options: TreelineOptions = {},
): Promise<Treeline & { startedAt: number }> {
  const dataDir = options.dataDir ?? join(temporaryDirectory('data'), 'data');
  const port = options.port ?? (await freePort());
  const url = `http://127.0.0.1:${port}`;
  const args = ['--listen', `127.0.0.1:${port}`, '--data-dir', dataDir, ...(options.args ?? [])];
  const startedAt = performance.now();
  const program = await startProgram(
    process.execPath,
    [options.main ?? mainFile(), 'run', ...args],
    {
      environment: environmentOf(options.environment),
    },
  );
  const text = async (path: string) => {
    const answer = await fetch(`${url}${path}`);
    const body = await answer.text();
    if (answer.status !== 200) throw new Error(`${path} is answered ${answer.status}: ${body}`);
    return body;
  };
  return {
    program,
    url,
    port,
    dataDir,
    startedAt,
    readyMs: Number.NaN,
    text,
    json: async <T>(path: string) => JSON.parse(await text(path)) as T,
    metrics: async () => parseMetrics(await text('/metrics')),
    async stop() {
      const exit = await program.stop('SIGTERM');
      if (options.dataDir === undefined) removeDirectory(join(dataDir, '..'));
      return exit;
    },
    kill: () => program.stop('SIGKILL'),
  };
}

/** Any command of the program, to its end. */
export function runTreeline(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Exit & { stdout: string; stderr: string }> {
  const options = { environment: environmentOf(environment), timeoutMs: COMMAND_MS_MAX };
  return runProgram(process.execPath, [mainFile(), ...args], options);
}

/** Settings in the environment of whoever runs the tests must not change what is tested. */
function environmentOf(
  own: Readonly<Record<string, string>> = {},
): Record<string, string | undefined> {
  const settings = Object.keys(process.env).filter((name) => name.startsWith('TREELINE_'));
  return { ...Object.fromEntries(settings.map((name) => [name, undefined])), ...own };
}

export interface Reading {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/**
 * Sum of a metric over the label values that are not named; undefined when there is no such series
 * at all.
 */
export function readingOf(
  readings: readonly Reading[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number | undefined {
  const wanted = Object.entries(labels);
  const found = readings.filter(
    (reading) =>
      reading.name === name && wanted.every(([key, value]) => reading.labels[key] === value),
  );
  return found.length === 0 ? undefined : found.reduce((sum, { value }) => sum + value, 0);
}

export interface PartitionRow {
  partition: number;
  offset: number;
  high: number;
  lag: number;
  stateHash: string | null;
  outcomes: Record<string, number>;
}

/** Resolves once everything logged has been scored; the state hash is that of then. */
export function partitionsAtRest(treeline: Treeline): Promise<PartitionRow[]> {
  return eventually('every partition to be scored to its end', REST_MS_MAX, async () => {
    const path = '/anomaly/v1/status?stateHash=now';
    const { partitions } = await treeline.json<{ partitions: PartitionRow[] }>(path);
    return partitions.every(({ offset, high }) => offset === high) ? partitions : undefined;
  });
}

/**
 * What breaks the two identities that hold of our counters at rest; empty when they hold and say
 * something.
 */
export function identityFaults(readings: readonly Reading[]): string[] {
  const logged = readings.filter(({ name }) => name === 'treeline_samples_logged_total');
  const received = readingOf(readings, 'treeline_samples_received_total') ?? Number.NaN;
  const rejected = readingOf(readings, 'treeline_samples_rejected_total') ?? 0;
  const total = logged.reduce((sum, { value }) => sum + value, 0);
  const faults: string[] = [];
  if (received !== total + rejected) {
    faults.push(`received ${received}, but logged ${total} and rejected ${rejected}`);
  }
  if (total === 0) faults.push('nothing was logged');
  for (const { labels, value } of logged) {
    const outcomes = readingOf(readings, 'treeline_samples_total', labels) ?? Number.NaN;
    if (outcomes === value) continue;
    faults.push(`partition ${labels['partition']}: logged ${value}, but outcomes of ${outcomes}`);
  }
  return faults;
}

/**
 * The Prometheus text format, as far as our own metrics use it. Throws on a line that it cannot
 * read.
 */
export function parseMetrics(text: string): Reading[] {
  const readings: Reading[] = [];
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const parts = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (parts === null) throw new Error(`Not a line of metrics: ${line}`);
    const labels: Record<string, string> = {};
    for (const pair of (parts[2] ?? '').matchAll(/([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g)) {
      labels[pair[1] as string] = (pair[2] as string).replace(
        /\\(.)/g,
        (_all, character: string) => (character === 'n' ? '\n' : character),
      );
    }
    const number = (parts[3] as string).replace(/^([+-])Inf$/, '$1Infinity');
    readings.push({ name: parts[1] as string, labels, value: Number(number) });
  }
  return readings;
}

export function mainFile(): string {
  const root = projectRoot();
  const path = join(root, 'dist', 'src', 'main.js');
  if (existsSync(path)) return path;
  throw new Error(`The program has not been built: there is no ${path}; run "npm run build"`);
}
