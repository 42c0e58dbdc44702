// Every object that the chart renders is one that an API server takes: by the strict schemas of six minor releases, unknown
// fields too, and custom resources by their operators' validators. And what a cluster that enforces the restricted profile
// of Pod Security asks of pods, and what operators are told to look for, is there without being asked for.

import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { conform } from './chart-conform.js';
import { CUSTOM_KINDS, customFaults } from './chart-custom-resources.js';
import { KUBERNETES_MINORS } from './chart-programs.js';
import { one, type Rendered, render, renderText, type Values } from './chart-render.js';
import { SCENARIOS } from './chart-scenarios.js';

const names = Object.keys(SCENARIOS);
const rendered = (name: string) => render(SCENARIOS[name] ?? {});

test('every object is valid on six minor releases, unknown fields too', {
  timeout: 180_000,
}, async () => {
  const texts = [];
  for (const name of names) texts.push(await renderText(SCENARIOS[name] ?? {}));
  for (const minor of KUBERNETES_MINORS) expect(await conform(texts, minor)).toEqual([]);
});

test('what is not valid would be found: an unknown field, a wrong type', async () => {
  const [first] = (await rendered('as it is')).filter(({ kind }) => kind === 'Deployment');
  const wrong = { ...(first as Rendered), spec: { ...first?.['spec'], replica: 1 } };
  expect(await conform([JSON.stringify(wrong)], '1.36')).toEqual([
    expect.stringContaining('replica'),
  ]);
  const typed = { ...(first as Rendered), spec: { ...first?.['spec'], replicas: 'one' } };
  expect(await conform([JSON.stringify(typed)], '1.36')).toHaveLength(1);
});

test('custom resources are what their operators take', { timeout: 120_000 }, async () => {
  const seen = new Set<string>();
  for (const name of names) {
    for (const object of await rendered(name)) {
      if (!CUSTOM_KINDS.includes(object.kind)) continue;
      seen.add(object.kind);
      const faults = await customFaults(object);
      expect([name, object.kind, object.metadata.name, faults]).toEqual([
        name,
        object.kind,
        object.metadata.name,
        [],
      ]);
    }
  }
  expect([...seen].sort()).toEqual([...CUSTOM_KINDS].sort());
});

test('a fault in a custom resource would be found', async () => {
  const monitors = (await rendered('everything on Kafka')).filter(
    ({ kind }) => kind === 'ServiceMonitor',
  );
  const monitor = monitors[0] as Rendered;
  const endpoints = [{ ...monitor['spec'].endpoints[0], honorLabel: true }];
  expect(await customFaults({ ...monitor, spec: { ...monitor['spec'], endpoints } })).toEqual([
    'unknown field honorLabel',
  ]);
  expect(
    await customFaults({ ...monitor, spec: { ...monitor['spec'], endpoints: 3 } }),
  ).not.toEqual([]);
});

interface Pod {
  of: string;
  spec: Rendered['spec'];
  labels: Record<string, string>;
}

function podsIn(objects: readonly Rendered[]): Pod[] {
  return objects.flatMap((object) => {
    const of = `${object.kind}/${object.metadata.name}`;
    const spec = object['spec'];
    if (object.kind === 'Pod') return [{ of, spec, labels: object.metadata.labels ?? {} }];
    const template = object.kind === 'CronJob' ? spec.jobTemplate.spec.template : spec?.template;
    if (template?.spec?.containers === undefined) return [];
    return [{ of, spec: template.spec, labels: template.metadata.labels ?? {} }];
  });
}

function containersIn({ spec }: Pod): Rendered['spec'][] {
  return [...spec.containers, ...(spec.initContainers ?? [])];
}

test('pods are what the restricted profile wants, and read nothing but their volumes', async () => {
  for (const name of names) {
    for (const pod of podsIn(await rendered(name))) {
      const { of, spec } = pod;
      expect([of, spec.automountServiceAccountToken, spec.enableServiceLinks]).toEqual([
        of,
        false,
        false,
      ]);
      expect([of, spec.hostNetwork, spec.hostPID, spec.hostIPC]).toEqual([
        of,
        undefined,
        undefined,
        undefined,
      ]);
      expect(spec.securityContext).toMatchObject({
        runAsNonRoot: true,
        seccompProfile: { type: 'RuntimeDefault' },
      });
      expect(spec.securityContext.runAsUser).toBeGreaterThan(0);
      for (const container of containersIn(pod)) {
        expect([of, container.name, container.securityContext]).toEqual([
          of,
          container.name,
          {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
        ]);
      }
      for (const volume of spec.volumes ?? [])
        expect([of, volume.hostPath]).toEqual([of, undefined]);
    }
  }
});

test('every container has requests, a limit of memory, a pinned image, and every mount its volume', async () => {
  for (const name of names) {
    const objects = await rendered(name);
    for (const pod of podsIn(objects)) {
      const claims = objects
        .filter((object) => `${object.kind}/${object.metadata.name}` === pod.of)
        .flatMap((object) => object['spec'].volumeClaimTemplates ?? [])
        .map((claim: Rendered) => claim.metadata.name);
      const volumes = [
        ...(pod.spec.volumes ?? []).map((volume: { name: string }) => volume.name),
        ...claims,
      ];
      expect(new Set(volumes).size, pod.of).toBe(volumes.length);
      for (const container of containersIn(pod)) {
        expect(container.resources.requests, pod.of).toMatchObject({
          cpu: expect.anything(),
          memory: expect.anything(),
        });
        expect(container.resources.limits, pod.of).toMatchObject({ memory: expect.anything() });
        expect(container.image, pod.of).toMatch(/[:@](?!latest)[a-z0-9]/);
        for (const mount of container.volumeMounts ?? []) {
          expect(volumes, `${pod.of} ${container.name}`).toContain(mount.name);
        }
        const env = (container.env ?? []).map((entry: { name: string }) => entry.name);
        expect(new Set(env).size).toBe(env.length);
      }
    }
  }
});

test('services, monitors, policies and budgets select pods that are there', async () => {
  for (const name of names) {
    const objects = await rendered(name);
    const pods = podsIn(objects);
    for (const object of objects) {
      const { kind, metadata, spec } = object;
      const selector =
        kind === 'Service'
          ? spec.selector
          : /Policy|Budget|PodMonitor/.test(kind)
            ? (spec.podSelector ?? spec.selector).matchLabels
            : undefined;
      if (selector === undefined) continue;
      const found = pods.filter(({ labels }) => isSubset(selector, labels));
      expect([name, kind, metadata.name, found.length > 0]).toEqual([
        name,
        kind,
        metadata.name,
        true,
      ]);
    }
    for (const { metadata, spec } of objects.filter(({ kind }) => kind === 'ServiceMonitor')) {
      const services = objects.filter(
        (object) =>
          object.kind === 'Service' &&
          isSubset(spec.selector.matchLabels, object.metadata.labels ?? {}),
      );
      expect([metadata.name, services.length]).toEqual([metadata.name, 1]);
    }
  }
});

test('anomaly gauges keep the labels of their series wherever they are scraped', async () => {
  const everywhere = [
    ...(await rendered('everything on Kafka')),
    ...(await rendered('everything at the edge')),
  ];
  const monitors = everywhere.filter(({ kind }) => /Monitor$/.test(kind));
  const endpoints = monitors.flatMap(({ spec }) => spec.endpoints ?? spec.podMetricsEndpoints);
  const gauges = endpoints.filter(({ path }) => path === '/metrics/anomalies');
  expect(gauges).toHaveLength(2);
  for (const endpoint of endpoints) {
    expect(endpoint.honorLabels).toBe(endpoint.path === '/metrics/anomalies' ? true : undefined);
  }
});

test('receivers that elect replicas have the Redis of the apis, and forecasts are scraped from apis', async () => {
  const wired = async (config: object) => {
    const objects = await render(
      {
        redis: { address: 'redis:6379', existingSecret: 'secret' },
        monitoring: { serviceMonitor: { enabled: true } },
        config,
      },
      { apis: ['monitoring.coreos.com/v1'] },
    );
    const pod = one(objects, 'Deployment', 'receiver')['spec'].template.spec;
    const settings = one(objects, 'ConfigMap', 'receiver')['data']['treeline.yaml'];
    const { endpoints } = one(objects, 'ServiceMonitor', 'api')['spec'];
    return {
      mounts: pod.containers[0].volumeMounts.some(({ name }: { name: string }) => name === 'redis'),
      volumes: pod.volumes.some(({ name }: { name: string }) => name === 'redis'),
      address: parse(settings).redis?.address,
      paths: endpoints.map(({ path }: { path: string }) => path),
    };
  };
  expect(await wired({})).toEqual({
    ...{ mounts: false, volumes: false, address: undefined },
    paths: ['/metrics'],
  });
  const forecasts = [{ name: 'disk', match: ['node_filesystem_avail_bytes'] }];
  expect(await wired({ ingest: { replicas: 'elect' }, forecasts })).toEqual({
    ...{ mounts: true, volumes: true, address: 'redis:6379' },
    paths: ['/metrics/anomalies', '/metrics'],
  });
});

test('whoever may scrape reaches the gauges and nothing else', async () => {
  const prometheus = { namespaceSelector: { matchLabels: { team: 'prometheus' } } };
  const readers = { namespaceSelector: { matchLabels: { team: 'readers' } } };
  const rulesOf = async (values: Values) =>
    one(await render(values), 'NetworkPolicy', '-scorer')['spec'].ingress.map(
      ({ ports, from }: { ports: { port: number }[]; from?: unknown[] }) => [ports[0]?.port, from],
    );
  const siblings = { podSelector: { matchLabels: expect.anything() } };
  const networkPolicy = { enabled: true, from: [readers], metricsFrom: [prometheus] };
  expect(await rulesOf({ networkPolicy })).toEqual([
    [8275, [siblings, readers]],
    [8276, [prometheus]],
  ]);
  expect(await rulesOf({ networkPolicy: { enabled: true, from: [readers] } })).toEqual([
    [8275, [siblings, readers]],
    [8276, [readers]],
  ]);
  expect(await rulesOf({ networkPolicy: { enabled: true } })).toEqual([
    [8275, undefined],
    [8276, undefined],
  ]);
  // Of one port all that is known is who may read.
  const single = { metricsPort: null, networkPolicy: { enabled: true, from: [readers] } };
  expect(await rulesOf(single)).toEqual([[8275, [siblings, readers]]]);
  const monitoring = { force: true, serviceMonitor: { enabled: true }, annotations: true };
  for (const [port, number, metricsPort] of [
    ['metrics', 8276, 8276],
    ['http', 8275, null],
  ] as const) {
    const objects = await render({ metricsPort, monitoring });
    const { spec } = one(objects, 'ServiceMonitor', '-scorer');
    expect(spec.endpoints.map((endpoint: { port: string }) => endpoint.port)).toEqual([port, port]);
    const { template } = one(objects, 'StatefulSet', '-scorer')['spec'];
    expect(template.metadata.annotations['prometheus.io/port']).toBe(`${number}`);
    const named = template.spec.containers[0].ports.find(
      ({ name }: { name: string }) => name === port,
    );
    expect(named.containerPort).toBe(number);
  }
});

test('pods that scale have no number of their own, and budgets and spreads stand where there are several', async () => {
  const objects = await rendered('everything on Kafka');
  const of = (kind: string, end: string) =>
    objects.find((object) => object.kind === kind && object.metadata.name.endsWith(end));
  expect(of('Deployment', '-receiver')?.['spec'].replicas).toBeUndefined();
  expect(of('StatefulSet', '-scorer')?.['spec'].replicas).toBeUndefined();
  expect(of('Deployment', '-api')?.['spec'].replicas).toBe(2);
  for (const end of ['-receiver', '-scorer', '-api', '-deep-check']) {
    expect([end, of('PodDisruptionBudget', end)?.['spec']]).toEqual([
      end,
      expect.objectContaining({ maxUnavailable: 1, unhealthyPodEvictionPolicy: 'AlwaysAllow' }),
    ]);
    const workload = of('Deployment', end) ?? of('StatefulSet', end);
    expect(workload?.['spec'].template.spec.topologySpreadConstraints).toHaveLength(1);
  }
});

test('names stay within what their kinds allow, however long those of release and chart are', async () => {
  const long = 'a-release-with-a-name-of-fifty-three-characters-in-all';
  const seen = new Set<string>();
  for (const release of [long.slice(0, 53), `${long.slice(0, 52)}b`]) {
    for (const values of [{}, SCENARIOS['everything on Kafka'] ?? {}, SCENARIOS['nightly'] ?? {}]) {
      for (const { kind, metadata, spec } of await render(values, { release })) {
        expect([metadata.name, metadata.name.length <= 63]).toEqual([metadata.name, true]);
        // A StatefulSet's pods carry its name and a hash of ten in a label; a CronJob's jobs eleven characters more.
        if (kind === 'StatefulSet') expect(metadata.name.length).toBeLessThanOrEqual(52);
        if (kind === 'CronJob') expect(metadata.name.length).toBeLessThanOrEqual(52);
        for (const value of Object.values(metadata.labels ?? {}))
          expect(value.length).toBeLessThanOrEqual(63);
        if (kind === 'StatefulSet') seen.add(`${release}/${metadata.name}`);
        if (kind === 'Service') expect(spec.ports[0].name.length).toBeLessThanOrEqual(15);
      }
    }
  }
  const stateful = [...seen].map((name) => name.split('/')[1]);
  expect(new Set(stateful).size).toBe(stateful.length);
});

function isSubset(selector: Record<string, string>, labels: Record<string, string>): boolean {
  return Object.entries(selector).every(([key, value]) => labels[key] === value);
}
