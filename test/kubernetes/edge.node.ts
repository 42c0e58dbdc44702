// The edge on a real node, from an image built of the Dockerfile: installed by Helm, written to and scraped through its
// Service, its pod deleted, and upgraded to another image. What was acknowledged stays, and what was learnt is the same.
// IMAGES names docker archives with localhost/treeline:light, localhost/treeline:next and localhost/pause:lab.

import { chmodSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CHART } from '../chart-render.js';
import { eventually, removeDirectory, temporaryDirectory } from '../programs.js';
import { WRITE_HEADERS, writeBody } from '../remote-write-sender.js';
import { parseMetrics, readingOf } from '../treeline-process.js';
import { type Cluster, controlPlanePrograms, startCluster } from './control-plane.js';
import { isOwnNamespace, nodeTools, type RealNode, setUpNetwork, startNode } from './node.js';

const SPACE = 'edge';
const SERIES = 20;
const WARM_SAMPLES = 130;
const STEP_MS = 15_000;
const START_MS = Date.UTC(2026, 0, 5);
const TAG = [
  '--set',
  'mode=edge',
  '--set',
  'image.registry=localhost',
  '--set',
  'image.repository=treeline',
  '--set',
  'image.pullPolicy=Never',
];

let cluster: Cluster;
let node: RealNode;
const directory = temporaryDirectory('node');

beforeAll(async () => {
  // What is missing is built before anything else: in the namespace there is no way out.
  const tools = await nodeTools();
  await controlPlanePrograms();
  if (!isOwnNamespace()) {
    throw new Error(
      'Everything is built; start it as root with: unshare --net --mount npx vitest run …',
    );
  }
  const images = (process.env['IMAGES'] ?? '').split(' ').filter((path) => path !== '');
  await setUpNetwork();
  cluster = await startCluster({ hasFakeNodes: false });
  node = await startNode(cluster, { tools, images, directory });
});
afterAll(async () => {
  await cluster?.kubectl('delete', 'namespace', SPACE, '--timeout=60s').catch(() => undefined);
  await node?.stop();
  await cluster?.stop();
  removeDirectory(directory);
});

async function secret(name: string): Promise<string> {
  const path = `jsonpath={.data.${name}-token}`;
  const text = await cluster.kubectl('-n', SPACE, 'get', 'secret', 'treeline-auth', '-o', path);
  return Buffer.from(text, 'base64').toString();
}

async function address(): Promise<string> {
  const path = 'jsonpath={.spec.clusterIP}';
  return `http://${await cluster.kubectl('-n', SPACE, 'get', 'service', 'treeline-edge', '-o', path)}:8275`;
}

async function get(path: string): Promise<string> {
  const headers = { authorization: `Bearer ${await secret('read')}` };
  const answer = await fetch(`${await address()}${path}`, {
    headers,
    signal: AbortSignal.timeout(10_000),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`);
  return text;
}

/** Samples of all series at a time; resolves when they are acknowledged. */
async function write(index: number, disturbed = -1): Promise<void> {
  const series = Array.from({ length: SERIES }, (_, at) => {
    const noise = ((index * 31 + at * 17) % 11) / 10;
    const value = 50 + Math.sin(index / 7 + at) + noise + (at === disturbed ? 40 : 0);
    return {
      labels: { __name__: 'demo_load', instance: `host-${at}`, job: 'demo' },
      points: [[START_MS + index * STEP_MS, value] as const],
    };
  });
  const headers = { ...WRITE_HEADERS, authorization: `Bearer ${await secret('write')}` };
  const body = new Uint8Array(writeBody(series));
  const answer = await fetch(`${await address()}/api/v1/write`, { method: 'POST', headers, body });
  if (answer.status !== 204) throw new Error(`${answer.status} ${await answer.text()}`);
}

const applied = async () =>
  readingOf(parseMetrics(await get('/metrics')), 'treeline_samples_total', {
    outcome: 'applied',
  }) ?? 0;
const hashes = async () => {
  const { partitions } = JSON.parse(await get('/anomaly/v1/status')) as {
    partitions: { stateHash: string }[];
  };
  return partitions.map(({ stateHash }) => stateHash);
};
const gauges = async () =>
  (await get('/metrics/anomalies'))
    .split('\n')
    .filter((line) => /^anomaly_(flag|score)/.test(line))
    .sort();
const ready = () =>
  cluster.kubectl(
    '-n',
    SPACE,
    'wait',
    '--for=condition=Ready',
    'pod',
    '-l',
    'app.kubernetes.io/component=edge',
    '--timeout=120s',
  );

/** Folders stand for volumes here, and no driver gives them to the pod's group. */
async function openVolumes(): Promise<void> {
  const path = 'jsonpath={.items[*].spec.hostPath.path}';
  const folders = await eventually('a volume', 60_000, async () => {
    const text = await cluster.kubectl('get', 'pv', '-o', path);
    return text.trim() === '' ? undefined : text.trim().split(' ');
  });
  for (const folder of folders) chmodSync(folder, 0o777);
}

test('the edge runs on a real node, flags, survives its pod and an upgrade', async () => {
  await cluster.apply(`apiVersion: v1
kind: Namespace
metadata: { name: ${SPACE}, labels: { pod-security.kubernetes.io/enforce: restricted } }
`);
  await cluster.helm(
    4,
    '-n',
    SPACE,
    'install',
    'treeline',
    CHART,
    ...TAG,
    '--set',
    'image.tag=light',
  );
  await openVolumes();
  await ready();
  await eventually('the Service to answer', 60_000, () => get('/-/ready').catch(() => undefined));
  let written = 0;
  for (let index = 0; index < WARM_SAMPLES; index++) {
    await write(index);
    written += SERIES;
  }
  for (let index = WARM_SAMPLES; index < WARM_SAMPLES + 5; index++) {
    await write(index, 3);
    written += SERIES;
  }
  await eventually('every sample to be applied', 60_000, async () =>
    (await applied()) === written ? true : undefined,
  );
  const flagged = (await gauges()).filter(
    (line) => line.startsWith('anomaly_flag') && line.endsWith(' 1'),
  );
  expect(flagged).toEqual([expect.stringContaining('instance="host-3"')]);

  const before = { hashes: await hashes(), gauges: await gauges() };
  const pod = 'treeline-edge-0';
  await cluster.kubectl('-n', SPACE, 'delete', 'pod', pod, '--wait=true');
  await eventually('another pod', 60_000, () =>
    cluster.kubectl('-n', SPACE, 'get', 'pod', pod).catch(() => undefined),
  );
  await ready();
  await eventually('the Service to answer again', 60_000, () =>
    get('/-/ready').catch(() => undefined),
  );
  expect({ hashes: await hashes(), gauges: await gauges() }).toEqual(before);

  const upgrade = cluster.helm(
    4,
    '-n',
    SPACE,
    'upgrade',
    'treeline',
    CHART,
    ...TAG,
    '--set',
    'image.tag=next',
    '--wait',
    '--timeout',
    '3m',
  );
  let acknowledged = written;
  for (let index = WARM_SAMPLES + 5; index < WARM_SAMPLES + 105; index++) {
    // As a sender: the same again until it is acknowledged.
    await eventually('a write', 120_000, () =>
      write(index)
        .then(() => true as const)
        .catch(() => undefined),
    );
    acknowledged += SERIES;
  }
  await upgrade;
  await ready();
  const image = await cluster.kubectl(
    '-n',
    SPACE,
    'get',
    'pod',
    pod,
    '-o',
    'jsonpath={.spec.containers[0].image}',
  );
  expect(image).toBe('localhost/treeline:next');
  await eventually('what was acknowledged to be applied', 60_000, async () =>
    (await applied()) === acknowledged ? true : undefined,
  );
  const lines = (await cluster.kubectl('-n', SPACE, 'logs', pod)).trim().split('\n');
  const messages = lines
    .filter((line) => line.startsWith('{'))
    .map((line) => (JSON.parse(line) as { msg: string }).msg);
  expect(messages.length).toBeGreaterThan(0);
});
