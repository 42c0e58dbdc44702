// Real Redis servers and Sentinels for the length of a test, from Debian's packages, on free ports of 127.0.0.1, with data of
// their own that is removed afterwards. They can be killed, started again, frozen and thawed. With `secured` there is TLS
// and a password, and nothing else is let in.

import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { openRedis, type RedisClient, type RedisConnection } from '../src/state/redis-client.js';
import { packageFolder } from './peers.js';
import {
  eventually,
  freePort,
  type Program,
  startProgram,
  temporaryDirectory,
} from './programs.js';

const READY_MS_MAX = 20_000;
/** Beside what every Debian has. */
const LIBRARIES = {
  liblzf1: 'liblzf.so.1',
  libjemalloc2: 'libjemalloc.so.2',
  libatomic1: 'libatomic.so.1',
};
const ARCHITECTURES: Record<string, string> = { x64: 'x86_64', arm64: 'aarch64' };

export interface RedisServer {
  readonly host: '127.0.0.1';
  readonly port: number;
  readonly address: string;
  kill(): Promise<void>;
  /** In the same place, with what it had saved. */
  start(): Promise<void>;
  freeze(): void;
  thaw(): void;
}

export interface RedisOptions {
  replicaOf?: number;
  secured?: { cert: string; key: string; password: string };
  isSentinel?: boolean;
  lines?: readonly string[];
  /** Nothing survives a kill. */
  forgets?: boolean;
}

export async function redisProgram(): Promise<{
  server: string;
  environment: { LD_LIBRARY_PATH: string };
}> {
  const triplet = `${ARCHITECTURES[process.arch] ?? process.arch}-linux-gnu`;
  const tools = await packageFolder('redis-tools', 'usr/bin/redis-check-rdb');
  const folders = [];
  for (const [name, library] of Object.entries(LIBRARIES)) {
    const folder = await packageFolder(name, `usr/lib/${triplet}/${library}`);
    folders.push(join(folder, 'usr/lib', triplet));
  }
  // One binary that goes by its name; the package with the server holds but a link to it.
  const server = join(temporaryDirectory('redis-program'), 'redis-server');
  symlinkSync(join(tools, 'usr/bin/redis-check-rdb'), server);
  return { server, environment: { LD_LIBRARY_PATH: folders.join(':') } };
}

export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const { server, environment } = await redisProgram();
  const { secured, replicaOf, isSentinel, lines = [], forgets } = options;
  const directory = join(temporaryDirectory('redis'), 'files');
  mkdirSync(directory);
  const port = await freePort();
  const config = join(directory, 'redis.conf');
  const text = [`bind 127.0.0.1`, `dir ${directory}`, 'save ""', ...lines];
  if (secured === undefined) text.push(`port ${port}`);
  else {
    writeFileSync(join(directory, 'cert.pem'), secured.cert);
    writeFileSync(join(directory, 'key.pem'), secured.key);
    const files = ['cert', 'key'].map((name) => `tls-${name}-file ${directory}/${name}.pem`);
    text.push('port 0', `tls-port ${port}`, ...files, 'tls-auth-clients no');
    text.push(`tls-ca-cert-file ${directory}/cert.pem`, `requirepass ${secured.password}`);
  }
  if (replicaOf !== undefined) text.push(`replicaof 127.0.0.1 ${replicaOf}`);
  if (isSentinel !== true && forgets !== true) text.push('appendonly yes', 'appendfsync always');
  writeFileSync(config, `${text.join('\n')}\n`);
  const args = [config, ...(isSentinel === true ? ['--sentinel'] : [])];
  let program: Program | undefined;
  const start = async () => {
    program = await startProgram(server, args, { directory, environment });
    await eventually(`Redis on ${port}`, READY_MS_MAX, async () => {
      if (program?.hasExited()) throw new Error(`Redis ended: ${program.stdout()}`);
      return (await isListening(port)) ? true : undefined;
    });
  };
  await start();
  return {
    host: '127.0.0.1',
    port,
    address: `127.0.0.1:${port}`,
    start,
    async kill() {
      await program?.stop('SIGKILL');
    },
    freeze: () => process.kill(program?.pid as number, 'SIGSTOP'),
    thaw: () => process.kill(program?.pid as number, 'SIGCONT'),
  };
}

export interface Watched {
  readonly servers: readonly RedisServer[];
  readonly sentinels: readonly RedisServer[];
  stop(): Promise<void>;
}

/** A master, a replica, and three Sentinels that agree within seconds. */
export async function startWatchedRedis(): Promise<Watched> {
  const master = await startRedis();
  const replica = await startRedis({ replicaOf: master.port });
  const lines = [
    `sentinel monitor mymaster 127.0.0.1 ${master.port} 2`,
    'sentinel down-after-milliseconds mymaster 1000',
    'sentinel failover-timeout mymaster 5000',
  ];
  const sentinels: RedisServer[] = [];
  for (let i = 0; i < 3; i++) sentinels.push(await startRedis({ isSentinel: true, lines }));
  const servers = [master, replica];
  return {
    servers,
    sentinels,
    async stop() {
      await Promise.all([...servers, ...sentinels].map((one) => one.kill()));
    },
  };
}

export const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** A client that is connected. */
export async function openClient(connection: RedisConnection): Promise<RedisClient> {
  const client = openRedis(connection, silent);
  await eventually('Redis to answer', READY_MS_MAX, async () =>
    client.problem() === undefined ? true : undefined,
  );
  return client;
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
