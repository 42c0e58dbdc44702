// A real node with one release of the chart on it, for the tests that need one: set up once per file, spoken to as senders,
// scrapes and people do, by the addresses of its Services. IMAGES names the folder with treeline-light.tar, see images.sh.

import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CHART } from '../chart-render.js';
import { eventually, removeDirectory, temporaryDirectory } from '../programs.js';
import { WRITE_HEADERS, writeBody } from '../remote-write-sender.js';
import { type ClusterApi, type ClusterDns, serviceAddresses, startDns } from './cluster-dns.js';
import { type Cluster, controlPlanePrograms, startCluster } from './control-plane.js';
import { isOwnNamespace, NODE_ADDRESS, nodeTools, setUpNetwork, startNode } from './node.js';
import { renamed, supportImages } from './node-images.js';

const READY_MS_MAX = 300_000;
const ANSWER_MS_MAX = 10_000;
export const STEP_MS = 15_000;
const START_MS = Date.UTC(2026, 0, 5);

/** Images that the node has already, by what the chart calls them. */
const IMAGE_VALUES = [
  'image.registry=localhost',
  'image.repository=treeline',
  'image.pullPolicy=Never',
];

export interface RealCluster {
  cluster: Cluster;
  api: ClusterApi;
  stop(): Promise<void>;
}

export async function startRealCluster(): Promise<RealCluster> {
  const directory = temporaryDirectory('node');
  // What is missing is built before anything else: in the namespace there is no way out.
  const tools = await nodeTools();
  await controlPlanePrograms();
  const folder = join(directory, 'images');
  mkdirSync(folder);
  const support = await supportImages(folder);
  if (!isOwnNamespace()) {
    removeDirectory(directory);
    throw new Error(
      'Everything is there; start it as root with: unshare --net --mount npx vitest run …',
    );
  }
  const light = builtImage('light');
  const next = await renamed(light, 'localhost/treeline:next', folder);
  await setUpNetwork();
  const running: { stop(): Promise<unknown> }[] = [];
  const stop = async () => {
    for (const one of running.reverse()) await one.stop().catch(() => undefined);
    removeDirectory(directory);
  };
  try {
    const cluster = await startCluster({ hasFakeNodes: false });
    running.push(cluster);
    const images = [...support, light, next];
    running.push(await startNode(cluster, { tools, images, directory }));
    removeDirectory(folder);
    const api = apiOf(cluster.kubeconfig);
    const dns: ClusterDns = await startDns(NODE_ADDRESS, api);
    running.push(dns);
    return { cluster, api, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Of the Dockerfile's target. */
export function builtImage(target: 'light' | 'heavy'): string {
  const folder = process.env['IMAGES'];
  if (folder === undefined) throw new Error('IMAGES names no folder; see images.sh');
  return join(folder, `treeline-${target}.tar`);
}

function apiOf(kubeconfig: string): ClusterApi {
  const { clusters, users } = JSON.parse(readFileSync(kubeconfig, 'utf8')) as {
    clusters: { cluster: { server: string; 'certificate-authority': string } }[];
    users: { user: { token: string } }[];
  };
  const [cluster, user] = [clusters[0]?.cluster, users[0]?.user];
  if (cluster === undefined || user === undefined) throw new Error(`${kubeconfig} is not ours`);
  const ca = readFileSync(cluster['certificate-authority']);
  return { server: cluster.server, token: user.token, ca };
}

/** A release named treeline in a namespace that enforces the restricted profile. */
export class Release {
  readonly #real: RealCluster;
  readonly space: string;
  readonly #values: readonly string[];

  constructor(real: RealCluster, space: string, values: readonly string[]) {
    this.#real = real;
    this.space = space;
    this.#values = [...values, ...IMAGE_VALUES.flatMap((value) => ['--set', value])];
  }

  kubectl(...args: string[]): Promise<string> {
    return this.#real.cluster.kubectl('-n', this.space, ...args);
  }

  async install(): Promise<void> {
    const { cluster } = this.#real;
    await cluster.apply(`apiVersion: v1
kind: Namespace
metadata: { name: ${this.space}, labels: { pod-security.kubernetes.io/enforce: restricted } }
`);
    await this.#helm('install', 'treeline', CHART, '--set', 'image.tag=light', ...this.#values);
  }

  upgrade(tag: string): Promise<string> {
    const values = ['--set', `image.tag=${tag}`, ...this.#values];
    return this.#helm('upgrade', 'treeline', CHART, ...values, '--wait', '--timeout', '5m');
  }

  test(): Promise<string> {
    return this.#helm('test', 'treeline', '--timeout', '3m');
  }

  #helm(...args: string[]): Promise<string> {
    return this.#real.cluster.helm(4, '-n', this.space, ...args);
  }

  /** Waits for each pod of a component, or of all. */
  async ready(component?: string): Promise<void> {
    const labels = ['app.kubernetes.io/instance=treeline'];
    if (component !== undefined) labels.push(`app.kubernetes.io/component=${component}`);
    const args = ['--for=condition=Ready', 'pod', '-l', labels.join(','), '--timeout=10s'];
    await eventually('pods to be ready', READY_MS_MAX, () =>
      this.kubectl('wait', ...args).catch(() => undefined),
    );
  }

  /** Ends with the release. */
  async remove(): Promise<void> {
    await this.#real.cluster
      .kubectl('delete', 'namespace', this.space, '--timeout=120s')
      .catch(() => undefined);
  }

  async token(name: 'read' | 'write'): Promise<string> {
    const path = `jsonpath={.data.${name}-token}`;
    const text = await this.kubectl('get', 'secret', 'treeline-auth', '-o', path);
    return Buffer.from(text, 'base64').toString();
  }

  /** Of the Service of a component: one, or those of its pods. */
  async addresses(component: string): Promise<string[]> {
    const name = `treeline-${component}.${this.space}.svc.cluster.local`;
    return (await serviceAddresses(name, this.#real.api)) ?? [];
  }

  /** From each address of the Service. */
  async get(component: string, path: string): Promise<string[]> {
    const headers = { authorization: `Bearer ${await this.token('read')}` };
    const port = path.startsWith('/metrics') ? 8276 : 8275;
    return Promise.all(
      (await this.addresses(component)).map(async (address) => {
        const signal = AbortSignal.timeout(ANSWER_MS_MAX);
        const answer = await fetch(`http://${address}:${port}${path}`, { headers, signal });
        const text = await answer.text();
        if (!answer.ok) throw new Error(`${component}${path}: ${answer.status} ${text}`);
        return text;
      }),
    );
  }

  /** Samples of all series at a time; resolves when they are acknowledged, and sends again until they are. */
  async write(component: string, { index, series, disturbed = -1 }: Sample): Promise<void> {
    const body = new Uint8Array(
      writeBody(
        Array.from({ length: series }, (_, at) => ({
          labels: { __name__: 'demo_load', instance: `host-${at}`, job: 'demo' },
          points: [[START_MS + index * STEP_MS, valueAt(index, at, at === disturbed)] as const],
        })),
      ),
    );
    const headers = { ...WRITE_HEADERS, authorization: `Bearer ${await this.token('write')}` };
    await eventually('an acknowledgement', READY_MS_MAX, async () => {
      const [address] = await this.addresses(component);
      const signal = AbortSignal.timeout(ANSWER_MS_MAX);
      const to = `http://${address}:8275/api/v1/write`;
      const answer = await fetch(to, { method: 'POST', headers, body, signal }).catch(
        () => undefined,
      );
      if (answer?.status === 204) return true;
      // What a sender repeats: no answer, and what is answered 5xx.
      if (answer === undefined || answer.status >= 500) return undefined;
      throw new Error(`${answer.status} ${await answer.text()}`);
    });
  }
}

export interface Sample {
  index: number;
  series: number;
  disturbed?: number;
}

function valueAt(index: number, at: number, isDisturbed: boolean): number {
  const noise = ((index * 31 + at * 17) % 11) / 10;
  return 50 + Math.sin(index / 7 + at) + noise + (isDisturbed ? 40 : 0);
}
