// What the chart renders, running without a cluster: files are written where containers would find them, names of Services
// become ports of this machine, and the rendered settings are given to the built program. Nothing else is changed, so that
// what runs here is what would run there.

import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { one, type Rendered } from './chart-render.js';
import { kafkaJars } from './kafka-jars.js';
import { eventually, freePort, type Program, runProgram, startProgram } from './programs.js';
import { startTreeline, type Treeline } from './treeline-process.js';

const execute = promisify(execFile);
const READY_MS_MAX = 90_000;
const TEST_MS_MAX = 30_000;

/** A component's process, and where it is scraped. */
export type Component = Treeline & { scrapePort: number };

export class Installation {
  readonly #objects: readonly Rendered[];
  readonly #directory: string;
  /** Text of the rendering → text of this machine. */
  readonly #places: [from: string, to: string][] = [];

  constructor(objects: readonly Rendered[], directory: string) {
    this.#objects = objects;
    this.#directory = directory;
    this.#writeTokens();
  }

  /** A text of the rendering with this machine's names in it. */
  here(text: string): string {
    return this.#places.reduce((done, [from, to]) => done.replaceAll(from, to), text);
  }

  token(name: 'read' | 'write'): string {
    const { data } = one(this.#objects, 'Secret', '-auth');
    return Buffer.from(data[`${name}-token`], 'base64').toString();
  }

  /** The broker of the development Kafka, with its rendered properties. */
  async startKafka(): Promise<Program> {
    const { data } = one(this.#objects, 'ConfigMap', '-kafka');
    const [port, controller] = [await freePort(), await freePort()];
    const folder = join(this.#directory, 'kafka');
    mkdirSync(folder, { recursive: true });
    const file = join(folder, 'server.properties');
    const host =
      /advertised\.listeners=CLIENT:\/\/(\S+)/.exec(data['server.properties'])?.[1] ?? '';
    this.#places.push([host, `127.0.0.1:${port}`]);
    const text = this.here(data['server.properties'])
      .replaceAll('CLIENT://:9092', `CLIENT://127.0.0.1:${port}`)
      .replaceAll('localhost:9093', `127.0.0.1:${controller}`)
      .replaceAll('/var/lib/kafka', folder);
    writeFileSync(file, text);
    const args = one(this.#objects, 'StatefulSet', '-kafka')['spec'].template.spec.containers[0]
      .args;
    const clusterId = /--cluster-id (\S+)/.exec(args[0])?.[1] ?? '';
    const classes = ['-Xmx512m', '-cp', join(await kafkaJars(), '*')];
    const format = ['format', '--ignore-formatted', '--cluster-id', clusterId, '--config', file];
    await execute('java', [...classes, 'kafka.tools.StorageTool', ...format]);
    const program = await startProgram('java', [...classes, 'kafka.Kafka', file], {
      directory: folder,
    });
    await eventually('the broker to listen', READY_MS_MAX, () => isListening(port));
    return program;
  }

  /** A component's process, with its rendered settings and arguments. */
  async startComponent(component: string): Promise<Component> {
    const map = one(this.#objects, 'ConfigMap', `-${component}`);
    const [port, scrapePort] = [await freePort(), await freePort()];
    const name = map.metadata.name;
    const file = join(this.#directory, `${component}.yaml`);
    writeFileSync(file, this.here(map['data']['treeline.yaml']));
    const treeline = await startTreeline({
      port,
      dataDir: join(this.#directory, component),
      // Pods have an address each, and these share one.
      args: ['--config', file, '--listen-metrics', `127.0.0.1:${scrapePort}`],
    });
    const { namespace } = map.metadata;
    for (const domain of [`.${namespace}.svc.cluster.local`, `.${namespace}.svc`]) {
      this.#places.push([`${name}${domain}:8275`, `127.0.0.1:${port}`]);
    }
    return { ...treeline, scrapePort };
  }

  /** The script of the `helm test` pod. */
  runTest(): Promise<{ code: number | null; stdout: string; stderr: string }> {
    const { command, args } = one(this.#objects, 'Pod', '-test')['spec'].containers[0];
    const script = this.here(args[0]);
    return runProgram(process.execPath, [...command.slice(1), script], { timeoutMs: TEST_MS_MAX });
  }

  #writeTokens(): void {
    const folder = join(this.#directory, 'auth');
    mkdirSync(folder, { recursive: true });
    const { data } = one(this.#objects, 'Secret', '-auth');
    for (const [key, value] of Object.entries(data as Record<string, string>)) {
      const token = Buffer.from(value, 'base64');
      writeFileSync(join(folder, key), token);
      writeFileSync(join(folder, key.replace('-token', '')), token);
    }
    this.#places.push(['/etc/treeline/auth', folder], ['/etc/prometheus/treeline', folder]);
  }
}

function isListening(port: number): Promise<true | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1' });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(undefined));
  });
}
