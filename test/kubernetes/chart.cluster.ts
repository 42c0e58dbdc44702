// The chart on a real control plane: installed, upgraded, rolled back, tested and uninstalled by both Helms, in a namespace
// that enforces the restricted profile, without one warning; two releases side by side; names as long as they may be; and
// every overlay admitted. Nodes are played by kwok, so pods become Ready without running.

import { execFile } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CUSTOM_KINDS } from '../chart-custom-resources.js';
import { helmPrograms } from '../chart-programs.js';
import { CHART, chartYaml, objectsIn } from '../chart-render.js';
import { eventually, removeDirectory, temporaryDirectory } from '../programs.js';
import { projectRoot } from '../project-root.js';
import { type Cluster, KUBERNETES_VERSION, startCluster } from './control-plane.js';

const execute = promisify(execFile);

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

test('an installation of another version of the chart is upgraded to this one and back', async () => {
  const space = await namespace('versions');
  const other = join(temporaryDirectory('other-chart'), 'treeline');
  cpSync(CHART, other, { recursive: true });
  const { version } = chartYaml();
  const text = readFileSync(join(other, 'Chart.yaml'), 'utf8').replaceAll(version, '0.0.1');
  writeFileSync(join(other, 'Chart.yaml'), text);
  const helm = (...args: string[]) => cluster.helm(4, '-n', space, ...args);
  const images = async () => {
    const path = 'jsonpath={.items[*].spec.containers[?(@.image)].image}';
    const all = await cluster.kubectl('-n', space, 'get', 'pods', '-o', path);
    return [...new Set(all.split(' ').filter((name) => name.includes('treeline/')))];
  };
  const kept = () =>
    cluster.kubectl('-n', space, 'get', 'pvc,secrets', '-o', 'jsonpath={.items[*].metadata.uid}');
  // As before there was a port for metrics alone.
  await helm('install', 'treeline', other, ...WAIT, '--set', 'metricsPort=null');
  expect(await images()).toEqual(['docker.io/treeline/treeline:0.0.1']);
  const before = new Set((await kept()).split(' '));
  expect(await helm('upgrade', 'treeline', CHART, ...WAIT, '--reset-values')).not.toMatch(WARNED);
  const current = [`docker.io/treeline/treeline:${version}`];
  await eventually('the old pods to be gone', 60_000, async () =>
    JSON.stringify(await images()) === JSON.stringify(current) ? true : undefined,
  );
  const after = new Set((await kept()).split(' '));
  // Helm's own record of the second revision is new; claims and tokens are those of before.
  expect([...before].filter((uid) => !after.has(uid))).toEqual([]);
  await helm('rollback', 'treeline', '1', ...WAIT);
  await eventually('the new pods to be gone', 60_000, async () =>
    (await images()).join(' ').endsWith(':0.0.1') ? true : undefined,
  );
  await helm('uninstall', 'treeline', '--wait');
  removeDirectory(join(other, '..'));
});

test('what Kustomize builds is admitted without a warning, and runs', async () => {
  const { kubectl } = await helmPrograms(4);
  for (const name of ['dev', 'staging', 'production']) {
    const space = await namespace(`kustomize-${name}`);
    const folder = join(projectRoot(), 'deploy/kustomize/overlays', name);
    const { stdout } = await execute(kubectl, ['kustomize', folder]);
    // Kinds of operators that are not here; chart-kustomize.test.ts judges these.
    const objects = objectsIn(stdout).filter(({ kind }) => !CUSTOM_KINDS.includes(kind));
    const list = { apiVersion: 'v1', kind: 'List', items: objects };
    const said = await cluster.apply(JSON.stringify(list), '-n', space);
    expect([name, WARNED.exec(said)?.[0]]).toEqual([name, undefined]);
    const wanted = objects.filter(({ kind }) => /^(Deployment|StatefulSet)$/.test(kind));
    for (const { kind, metadata } of wanted) {
      const workload = `${kind.toLowerCase()}/${metadata.name}`;
      await cluster.kubectl('-n', space, 'rollout', 'status', workload, '--timeout=120s');
    }
    await cluster.kubectl('delete', 'namespace', space, '--wait=false');
  }
});

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
