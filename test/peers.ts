// The real programs that Treeline meets: Debian's Prometheus with promtool, Alertmanager, node exporter and
// VictoriaMetrics' vmagent, a second sender of remote-write 1.0. Their packages are fetched with
// the system's own package tool and unpacked into a cache folder, which needs no root, installs
// nothing and starts no service on the user's ports. A peer that cannot be had is an error with its
// reason: no suite is ever skipped.
//
//   <cache>/peers/<package>/usr/bin/<program>      one folder per package, complete or absent
//   <cache>/peers/.unpack-<random>/                somebody is unpacking; renamed when complete

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  freePort,
  type Program,
  removeDirectory,
  startProgram,
  temporaryDirectory,
  waitUntilReady,
} from './programs.js';

const PACKAGES = {
  prometheus: 'prometheus',
  'prometheus-alertmanager': 'prometheus-alertmanager',
  promtool: 'prometheus',
  'prometheus-node-exporter': 'prometheus-node-exporter',
  vmagent: 'victoria-metrics',
};
export type PeerName = keyof typeof PACKAGES;

const DOWNLOAD_MS_MAX = 5 * 60_000;
const UPDATE_TRIES = 4;
const UPDATE_PAUSE_MS = 5_000;
const READY_MS_MAX = 60_000;
/** Nobody unpacks for this long: what is left of it belongs to a run that was killed. */
const ABANDONED_MS = 60 * 60_000;

const execute = promisify(execFile);

/** Path of the program, fetched on first use. Several processes may ask at the same time. */
export async function peerBinary(name: PeerName): Promise<string> {
  const path = join('usr', 'bin', name);
  return join(await packageFolder(PACKAGES[name], path), path);
}

/** Where a package of Debian's is unpacked; `path` is what must be in it. */
export async function packageFolder(name: string, path: string): Promise<string> {
  const cache = join(
    process.env['TREELINE_CACHE'] ?? join(homedir(), '.cache', 'treeline'),
    'peers',
  );
  const home = join(cache, name);
  if (existsSync(join(home, path))) return home;
  await mkdir(cache, { recursive: true });
  await removeAbandoned(cache);
  const beside = await mkdtemp(join(cache, '.unpack-'));
  try {
    await download(name, beside);
    const debs = (await readdir(beside)).filter((file) => file.endsWith('.deb'));
    const unpacked = join(beside, 'root');
    for (const deb of debs) await execute('dpkg', ['-x', join(beside, deb), unpacked]);
    if (!existsSync(join(unpacked, path))) throw new Error(`The package ${name} has no ${path}`);
    await moveInto(unpacked, home);
  } finally {
    await rm(beside, { recursive: true, force: true });
  }
  return home;
}

export interface Vector {
  metric: Record<string, string>;
  value: [number, string];
}

export interface Prometheus {
  readonly program: Program;
  readonly url: string;
  /** An instant query; rejects with Prometheus' own words. */
  query(promql: string): Promise<Vector[]>;
  stop(): Promise<void>;
}

/**
 * `config` is the text of prometheus.yml. Another Prometheus than Debian's may be given, and where
 * its blocks lie, which are then kept.
 */
export async function startPrometheus(
  config: string,
  options: { binary?: string; args?: readonly string[]; port?: number; tsdb?: string } = {},
): Promise<Prometheus> {
  const binary = options.binary ?? (await peerBinary('prometheus'));
  const directory = temporaryDirectory('prometheus');
  const port = options.port ?? (await freePort());
  const url = `http://127.0.0.1:${port}`;
  const configPath = join(directory, 'prometheus.yml');
  await writeFile(configPath, config);
  const program = await startProgram(
    binary,
    [
      `--config.file=${configPath}`,
      `--storage.tsdb.path=${options.tsdb ?? join(directory, 'tsdb')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      ...(options.args ?? []),
    ],
    { directory },
  );
  await waitUntilReady(program, `${url}/-/ready`, READY_MS_MAX);
  return {
    program,
    url,
    async query(promql) {
      const answer = await fetch(`${url}/api/v1/query?${new URLSearchParams({ query: promql })}`);
      const body = (await answer.json()) as { error?: string; data: { result: Vector[] } };
      if (!answer.ok) throw new Error(`Prometheus refuses ${promql}: ${body.error}`);
      return body.data.result;
    },
    async stop() {
      await program.stop();
      removeDirectory(directory);
    },
  };
}

export interface Alertmanager {
  readonly url: string;
  readonly port: number;
  /** As its API shows them, resolved ones until they are forgotten. */
  alerts(): Promise<AlertShown[]>;
  stop(): Promise<void>;
}

export interface AlertShown {
  fingerprint: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
  startsAt: string;
  endsAt: string;
  status: { state: string };
}

/** Notifies `webhookUrl` at once and of every change. A port may be given, to come back where another one was. */
export async function startAlertmanager(options: {
  webhookUrl: string;
  port?: number;
}): Promise<Alertmanager> {
  const binary = await relocated(await peerBinary('prometheus-alertmanager'));
  const directory = temporaryDirectory('alertmanager');
  const port = options.port ?? (await freePort());
  const url = `http://127.0.0.1:${port}`;
  const configPath = join(directory, 'alertmanager.yml');
  await symlink(
    join(binary, '..', '..', 'share', 'prometheus', 'alertmanager'),
    join(directory, 'at'),
  );
  await writeFile(
    configPath,
    `route:
  receiver: hook
  group_by: [namespace]
  group_wait: 100ms
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: hook
    webhook_configs: [{ url: "${options.webhookUrl}", send_resolved: true }]
`,
  );
  const program = await startProgram(
    binary,
    [
      `--config.file=${configPath}`,
      `--storage.path=${join(directory, 'storage')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--cluster.listen-address=',
    ],
    { directory },
  );
  await waitUntilReady(program, `${url}/-/ready`, READY_MS_MAX);
  return {
    url,
    port,
    alerts: async () => (await fetch(`${url}/api/v2/alerts`)).json() as Promise<AlertShown[]>,
    async stop() {
      await program.stop();
      removeDirectory(directory);
    },
  };
}

export interface NodeExporter {
  /** `127.0.0.1:PORT`, as a scrape target. */
  readonly target: string;
  /** Replaces the metrics of the textfile collector, which never sees half a file. */
  expose(text: string): Promise<void>;
  stop(): Promise<void>;
}

export async function startNodeExporter(): Promise<NodeExporter> {
  const binary = await peerBinary('prometheus-node-exporter');
  const directory = temporaryDirectory('node-exporter');
  const port = await freePort();
  const program = await startProgram(
    binary,
    [`--web.listen-address=127.0.0.1:${port}`, `--collector.textfile.directory=${directory}`],
    { directory },
  );
  await waitUntilReady(program, `http://127.0.0.1:${port}/metrics`, READY_MS_MAX);
  return {
    target: `127.0.0.1:${port}`,
    async expose(text) {
      const unfinished = join(directory, 'exposed.unfinished');
      await writeFile(unfinished, text);
      await rename(unfinished, join(directory, 'exposed.prom'));
    },
    async stop() {
      await program.stop();
      removeDirectory(directory);
    },
  };
}

export interface Vmagent {
  readonly program: Program;
  readonly url: string;
  /** Sends what it still has, stale markers among it. */
  stop(): Promise<void>;
}

/** `scrapeConfig` is the text of its scrape configuration; everything is sent to `writeUrl`. */
export async function startVmagent(options: {
  scrapeConfig: string;
  writeUrl: string;
}): Promise<Vmagent> {
  const binary = await peerBinary('vmagent');
  const directory = temporaryDirectory('vmagent');
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const configPath = join(directory, 'scrape.yml');
  await writeFile(configPath, options.scrapeConfig);
  const program = await startProgram(
    binary,
    [
      `-promscrape.config=${configPath}`,
      `-remoteWrite.url=${options.writeUrl}`,
      `-remoteWrite.tmpDataPath=${join(directory, 'queue')}`,
      '-remoteWrite.flushInterval=500ms',
      `-httpListenAddr=127.0.0.1:${port}`,
    ],
    { directory },
  );
  await waitUntilReady(program, `${url}/health`, READY_MS_MAX);
  return {
    program,
    url,
    async stop() {
      await program.stop();
      removeDirectory(directory);
    },
  };
}

/**
 * Debian's Alertmanager reads its templates from where its package is installed, and from nowhere else. A copy reads them
 * from `at` in its working directory: a path of the same length, for Go keeps lengths apart from texts.
 */
async function relocated(binary: string): Promise<string> {
  const copy = `${binary}-relocated`;
  if (existsSync(copy)) return copy;
  const bytes = await readFile(binary);
  const installed = Buffer.from('/usr/share/prometheus/alertmanager');
  const working = Buffer.from(`.${'/'.repeat(installed.length - 3)}at`);
  for (let at = bytes.indexOf(installed); at >= 0; at = bytes.indexOf(installed, at)) {
    working.copy(bytes, at);
  }
  const beside = `${copy}-${process.pid}`;
  await writeFile(beside, bytes, { mode: 0o755 });
  await rename(beside, copy);
  return copy;
}

async function download(name: string, directory: string): Promise<void> {
  // A download as root into a folder that the user _apt may not write to would only warn; this says
  // it is meant.
  const args = [
    '-q',
    '-o',
    'APT::Sandbox::User=root',
    '-o',
    'Acquire::Retries=3',
    'download',
    name,
  ];
  const options = { cwd: directory, timeout: DOWNLOAD_MS_MAX };
  try {
    await execute('apt-get', args, options);
    return;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new Error(`The suite needs ${name}, from Debian or Ubuntu: there is no apt-get here`);
    }
    // No package lists, or lists so old that the file they name is gone: both are mended by newer
    // lists.
    await updateLists(name, (error as { stderr?: string }).stderr ?? String(error));
  }
  await execute('apt-get', args, options);
}

async function updateLists(name: string, reason: string): Promise<void> {
  const isRoot = process.getuid?.() === 0;
  if (!isRoot && process.env['CI'] !== 'true') {
    throw new Error(`Cannot download ${name}; run "sudo apt-get update" once.\n${reason}`);
  }
  const command = isRoot ? ['apt-get'] : ['sudo', '-n', 'apt-get'];
  const args = [...command.slice(1), '-q', '-o', 'Acquire::Retries=3', 'update'];
  for (let attempt = 1; ; attempt++) {
    try {
      await execute(command[0] as string, args, { timeout: DOWNLOAD_MS_MAX });
      return;
    } catch (error) {
      // Network away, or somebody else holds the lock of the lists.
      if (attempt === UPDATE_TRIES) throw new Error(`apt-get update failed; ${reason}\n${error}`);
      await sleep(attempt * UPDATE_PAUSE_MS);
    }
  }
}

async function moveInto(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    // Another process was quicker; what it unpacked is complete, for it was renamed too.
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
  }
}

async function removeAbandoned(cache: string): Promise<void> {
  for (const name of await readdir(cache)) {
    if (!name.startsWith('.unpack-')) continue;
    const path = join(cache, name);
    // Its owner may finish and remove it between the two calls.
    const made = await stat(path).catch(() => undefined);
    if (made === undefined || Date.now() - made.mtimeMs < ABANDONED_MS) continue;
    await rm(path, { recursive: true, force: true });
  }
}
