// The chart on a real control plane: installed, upgraded, rolled back, tested and uninstalled by both Helms, in a namespace
// that enforces the restricted profile, without one warning; two releases side by side; names as long as they may be; and
// every overlay admitted. Nodes are played by kwok, so pods become Ready without running.

import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CHART, objectsIn } from '../chart-render.js';
import { type Cluster, KUBERNETES_VERSION, startCluster } from './control-plane.js';

/** Kinds of operators that are not here are left out by the chart itself, unless it is forced to render them. */
const UNFORCED = ['--set', 'monitoring.force=false'];
const WAIT = ['--wait', '--timeout', '3m'];

/** As Helm and kubectl write what a server warns of; the chart's own notes say WARNING. */
const WARNED = /would violate|^W[0-9]{4} |level=WARN|^[Ww]arning:/m;

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(async () => {
  await cluster?.stop();
});

async function namespace(name: string): Promise<string> {
  const profile = (mode: string) => `pod-security.kubernetes.io/${mode}: restricted`;
  await cluster.apply(`apiVersion: v1
kind: Namespace
metadata:
  name: ${name}
  labels: { ${['enforce', 'warn', 'audit'].map(profile).join(', ')} }
`);
  return name;
}

async function pods(space: string): Promise<{ name: string; phase: string; isReady: boolean }[]> {
  const list = JSON.parse(await cluster.kubectl('-n', space, 'get', 'pods', '-o', 'json')) as {
    items: {
      metadata: { name: string };
      status: { phase: string; conditions?: { type: string; status: string }[] };
    }[];
  };
  return list.items.map(({ metadata, status }) => ({
    name: metadata.name,
    phase: status.phase,
    isReady:
      status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true,
  }));
}

test('the server says which Kubernetes it is', async () => {
  expect(await cluster.kubectl('version')).toContain(`Server Version: v${KUBERNETES_VERSION}`);
});

test.each([3, 4] as const)(
  'Helm %i: install, test, upgrade, rollback, uninstall, without a warning',
  async (major) => {
    const space = await namespace(`life-${major}`);
    const helm = (...args: string[]) => cluster.helm(major, '-n', space, ...args);
    const installed = await helm('install', 'treeline', CHART, ...WAIT);
    expect(installed).not.toMatch(WARNED);
    expect((await pods(space)).every(({ isReady }) => isReady)).toBe(true);
    const tokens = () =>
      cluster.kubectl('-n', space, 'get', 'secret', 'treeline-auth', '-o', 'jsonpath={.data}');
    const first = await tokens();
    expect(Object.keys(JSON.parse(first)).sort()).toEqual([
      'admin-token',
      'read-token',
      'write-token',
    ]);
    expect(await helm('test', 'treeline')).toContain('Succeeded');

    const uid = () =>
      cluster.kubectl(
        '-n',
        space,
        'get',
        'pods',
        '-l',
        'app.kubernetes.io/component=scorer',
        '-o',
        'jsonpath={.items[*].metadata.uid}',
      );
    const before = await uid();
    expect(
      await helm('upgrade', 'treeline', CHART, ...WAIT, '--set', 'receiver.replicas=2'),
    ).not.toMatch(WARNED);
    // Nothing about scorers has changed, the tokens have not, and so their pods have not.
    expect([await tokens(), await uid()]).toEqual([first, before]);
    expect((await pods(space)).filter(({ name }) => name.includes('receiver'))).toHaveLength(2);

    await helm('upgrade', 'treeline', CHART, ...WAIT, '--set', 'config.alerts.budget=3');
    expect(await uid()).not.toBe(before);
    await expect(helm('upgrade', 'treeline', CHART, '--set', 'scorer.replica=2')).rejects.toThrow(
      /replica/,
    );
    await helm('rollback', 'treeline', '1', ...WAIT);
    expect(
      (await pods(space)).filter(
        ({ name, phase }) => name.includes('receiver') && phase === 'Running',
      ),
    ).toHaveLength(1);
    expect(await tokens()).toBe(first);

    await helm('uninstall', 'treeline', '--wait');
    const left = await cluster.kubectl(
      '-n',
      space,
      'get',
      'deployments,statefulsets,services,secrets,configmaps',
      '-o',
      'name',
    );
    expect(
      left.split('\n').filter((name) => name.includes('treeline') && !name.includes('sh.helm')),
    ).toEqual([]);
    // What was learnt and found stays, as the values say.
    expect(await cluster.kubectl('-n', space, 'get', 'pvc', '-o', 'name')).toContain(
      'treeline-api',
    );
  },
);

test('two releases live in one namespace, and one goes without the other', async () => {
  const space = await namespace('pair');
  for (const release of ['one', 'two']) {
    await cluster.helm(4, '-n', space, 'install', release, CHART, ...WAIT, '--set', 'mode=edge');
  }
  await cluster.helm(4, '-n', space, 'uninstall', 'one', '--wait');
  const left = await pods(space);
  expect(left).toEqual([{ name: 'two-treeline-edge-0', phase: 'Running', isReady: true }]);
});

test('a release whose name is as long as Helm allows runs', async () => {
  const space = await namespace('long-names');
  const release = 'a-release-with-a-name-of-fifty-three-characters-as-is';
  expect(release).toHaveLength(53);
  await cluster.helm(4, '-n', space, 'install', release, CHART, ...WAIT);
  const found = await pods(space);
  expect(found.length).toBeGreaterThanOrEqual(4);
  expect(found.every(({ isReady }) => isReady)).toBe(true);
});

test('every overlay is admitted without a warning', async () => {
  const overlays = readdirSync(CHART).flatMap(
    (name) => /^values-(.+)\.yaml$/.exec(name)?.[1] ?? [],
  );
  expect(overlays.length).toBeGreaterThanOrEqual(12);
  for (const overlay of overlays) {
    const space = await namespace(`overlay-${overlay}`);
    const values = ['-f', `${CHART}values-${overlay}.yaml`, ...UNFORCED];
    const text = await cluster.helm(4, 'template', 'treeline', CHART, '-n', space, ...values);
    // The server judges each object, and the pods that its controllers would make of it, and keeps none.
    const said = await cluster.helm(
      4,
      '-n',
      space,
      'install',
      'treeline',
      CHART,
      '--dry-run=server',
      ...values,
    );
    expect([overlay, WARNED.test(said)]).toEqual([overlay, false]);
    expect(objectsIn(text).length).toBeGreaterThan(3);
    const created = await cluster.helm(4, '-n', space, 'install', 'treeline', CHART, ...values);
    expect([overlay, WARNED.test(created)]).toEqual([overlay, false]);
    await cluster.helm(4, '-n', space, 'uninstall', 'treeline');
  }
});

test('a sharded job runs its parts to the end', async () => {
  const space = await namespace('batch');
  await cluster.apply(`apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: treeline-files, namespace: ${space} }
spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }
`);
  const values = ['-f', `${CHART}values-batch.yaml`, '--set', 'task.completions=6'];
  await cluster.helm(4, '-n', space, 'install', 'batch', CHART, ...values);
  await cluster.kubectl(
    '-n',
    space,
    'wait',
    '--for=condition=Complete',
    'job',
    '--all',
    '--timeout=120s',
  );
  const job = JSON.parse(await cluster.kubectl('-n', space, 'get', 'jobs', '-o', 'json')).items[0];
  expect([job.status.succeeded, job.status.completedIndexes]).toEqual([6, '0-5']);
});

test('a pod that the restricted profile refuses is refused here too', async () => {
  const space = await namespace('strict');
  await expect(
    cluster.kubectl('-n', space, 'run', 'loose', '--image=busybox:1.36', '--restart=Never'),
  ).rejects.toThrow(/violates PodSecurity "restricted/);
});
