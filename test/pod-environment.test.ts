// The environment of the pod service: what each of its nine variables changes, what goes before it, what is refused; and
// with two of them alone pods are found in a real Prometheus.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { loadSettings, readSettings } from '../src/config.js';
import { detectorSpecs } from '../src/detector-rules.js';
import { podEnvironment } from '../src/pod-service.js';
import { openPrometheusApi } from '../src/prometheus-api.js';
import { classifier } from '../src/receiver/rules.js';
import { createDetector } from '../src/scorer/detectors.js';
import { EntityKernel, viewOf } from '../src/scorer/entity-kernel.js';
import { startSource } from '../src/sources/source.js';
import { loadWasm } from '../src/wasm-files.js';
import { startApiServer } from './api-server.js';
import { record } from './histogram-scrapes.js';
import { type Prometheus, startPrometheus } from './peers.js';
import { at, entityOf, partitionWith } from './pods.js';
import { endPrograms, eventually } from './programs.js';
import { randomOf } from './random.js';
import { spawnTreeline } from './treeline-process.js';

afterAll(endPrograms);

const URL_ALONE = { PROMETHEUS_URL: 'http://prometheus:9090' };
const settingsOf = (environment: Record<string, string>) =>
  loadSettings({ environment: { ...URL_ALONE, ...environment } });
const specOf = (environment: Record<string, string>) => detectorSpecs(settingsOf(environment))[0]!;

test('PROMETHEUS_URL: that Prometheus is asked for three queries, and pods are judged by all three', () => {
  const settings = settingsOf({});
  expect(settings.sources.map(({ name, prometheus }) => [name, prometheus])).toEqual([
    ['pod_cpu', 'http://prometheus:9090'],
    ['pod_memory', 'http://prometheus:9090'],
    ['pod_restarts', 'http://prometheus:9090'],
  ]);
  expect(settings.sources.map(({ query }) => query)).toEqual([
    'label_replace(rate(container_cpu_usage_seconds_total{container!="",container!="POD",pod!=""}[120s]),"__name__","pod_cpu","","")',
    'container_memory_usage_bytes{container!="",container!="POD",pod!=""}',
    'kube_pod_container_status_restarts_total{pod!=""}',
  ]);
  expect(settings.gauges.profile).toBe('pod-service');
  expect(specOf({})).toMatchObject({ name: 'kubernetes-pods', by: ['namespace', 'pod'] });
  expect(podEnvironment(URL_ALONE).settings).toContainEqual({
    key: 'backfill.prometheus',
    value: 'http://prometheus:9090',
    source: 'PROMETHEUS_URL',
  });
});

test('NAMESPACE_REGEX: only these namespaces are asked for and kept, anchored at both ends', () => {
  const settings = settingsOf({ NAMESPACE_REGEX: 'shop|team\\d' });
  for (const { query } of settings.sources) expect(query).toContain('namespace=~"shop|team\\\\d"');
  const classify = classifier(settings.ingest);
  const ok = (namespace: string, want: string) =>
    expect([namespace, classify([{ name: 'namespace', value: namespace }])]).toEqual([
      namespace,
      want,
    ]);
  ok('shop', 'keep');
  ok('team7', 'keep');
  ok('shop2', 'dropped');
  ok('my-shop', 'dropped');
  ok('team77', 'dropped');
  ok('', 'dropped');
});

test('POD_LABEL: the label of queries, detector and partitions, and /detect says pod all the same', () => {
  const settings = settingsOf({ POD_LABEL: 'pod_name' });
  expect(settings.ingest.partitionBy).toEqual([['namespace', 'pod_name'], ['instance']]);
  for (const { query } of settings.sources) expect(query).toContain('pod_name!=""');
  const spec = specOf({ POD_LABEL: 'pod_name' });
  expect(spec).toMatchObject({
    by: ['namespace', 'pod_name'],
    workload: { label: 'pod_name', isPod: true },
  });
});

test('TRAINING_LOOKBACK_MINUTES and QUERY_STEP_SECONDS: how much history, in which steps, and how often is asked', () => {
  const found = podEnvironment({
    ...URL_ALONE,
    TRAINING_LOOKBACK_MINUTES: '90',
    QUERY_STEP_SECONDS: '30',
  });
  const settingOf = (key: string) => found.settings.find((one) => one.key === key);
  expect(settingOf('backfill.lookback')).toMatchObject({
    value: '90m',
    source: 'TRAINING_LOOKBACK_MINUTES',
  });
  expect(settingOf('backfill.step')).toMatchObject({ value: '30s', source: 'QUERY_STEP_SECONDS' });
  const settings = settingsOf({ QUERY_STEP_SECONDS: '300' });
  expect(settings.sources.map(({ every }) => every)).toEqual(['300s', '300s', '300s']);
  expect(settings.sources[0]!.query).toContain('[600s]');
});

test('REQUEST_TIMEOUT_SECONDS: an answer that takes longer is given up', async () => {
  const { sources } = settingsOf({ REQUEST_TIMEOUT_SECONDS: '0.2' });
  expect(sources.map(({ timeout }) => timeout)).toEqual(['200ms', '200ms', '200ms']);
  const silent = await startApiServer(() => {});
  onTestFinished(() => silent.stop());
  let counted = 0;
  const source = startSource(
    {
      ...{ name: 'pod_cpu', query: 'up', everyMs: 60_000, answerMs: 200, tenant: '' },
      api: openPrometheusApi(silent.url),
    },
    {
      taker: { take: async () => ({ status: 204 }) },
      logger: { debug() {}, info() {}, warn() {}, error() {} },
      // A tick is due at once.
      clock: () => 60_000,
      count: () => counted++,
    },
  );
  await eventually('giving up', 5_000, async () => (counted > 0 ? true : undefined));
  expect(source.note()).toContain('0.2 s');
  expect(silent.asked[0]!.parameters['timeout']).toBe('200ms');
  await source.stop();
});

test('IFOREST_N_ESTIMATORS: trees, a multiple of 16 and at most 64, and it is said', () => {
  const ok = (wanted: string, trees: number, noted: boolean) => {
    const environment = { ...URL_ALONE, IFOREST_N_ESTIMATORS: wanted };
    expect([wanted, specOf(environment).trees]).toEqual([wanted, trees]);
    const { notes } = podEnvironment(environment);
    expect(notes.some((note) => note.startsWith('IFOREST_N_ESTIMATORS:'))).toBe(noted);
  };
  ok('16', 16, false);
  ok('17', 32, true);
  ok('64', 64, false);
  ok('100', 64, true);
  ok('1', 16, true);
  // Its effect: other trees find other leaves rare.
  expect(run({ trees: 16 }).rarity).not.toBe(run({ trees: 64 }).rarity);
});

test('IFOREST_MAX_SAMPLES: how many vectors the leaves remember', () => {
  expect(specOf({ IFOREST_MAX_SAMPLES: '256' }).remember).toBe(256);
  const { notes } = podEnvironment({ ...URL_ALONE, IFOREST_MAX_SAMPLES: '10' });
  expect(notes).toEqual(['IFOREST_MAX_SAMPLES: 10 is 64 here, the least that can be remembered']);
  // Its effect: who forgets sooner has emptier leaves.
  expect(run({ remember: 64 }).rarity).toBeGreaterThan(run({ remember: 4096 }).rarity);
});

test('IFOREST_CONTAMINATION: the share of vectors that is flagged; auto is the threshold', () => {
  expect(specOf({ IFOREST_CONTAMINATION: 'auto' }).share).toBe(0);
  expect(specOf({ IFOREST_CONTAMINATION: '0.1' }).share).toBe(0.1);
  const ok = (share: number) => {
    const { flagged } = run({ share, steps: 6000 });
    expect(flagged).toBeGreaterThan(0.7 * share);
    expect(flagged).toBeLessThan(1.4 * share);
  };
  ok(0.1);
  ok(0.02);
});

/** A pod of two features for so many vectors; `flagged`: share of the later half beyond the quantile. */
function run(options: { trees?: number; remember?: number; share?: number; steps?: number }) {
  const { trees = 48, remember = 4096, share = 0, steps = 1000 } = options;
  const kernel = new EntityKernel(loadWasm('entity').module, 1);
  const settings = { features: 2, trees, remember, share };
  const bytes = new Uint8Array(kernel.recordBytes(settings));
  const random = randomOf(7);
  let flagged = 0;
  for (let i = 0; i < steps; i++) {
    const load = random() + random() + random();
    kernel.values[0] = load + 0.1 * random();
    kernel.values[1] = 3 * load + 0.3 * random();
    const before = viewOf(bytes, 2).quantile;
    kernel.observe(bytes, 3, settings);
    if (i >= steps / 2 && viewOf(bytes, 2).distance > before) flagged++;
  }
  return { rarity: viewOf(bytes, 2).rarity, flagged: flagged / (steps / 2) };
}

test('what was said for Treeline goes before, and where it came from is shown', () => {
  const environment = {
    ...URL_ALONE,
    NAMESPACE_REGEX: 'shop',
    TREELINE_GAUGES_PROFILE: 'default',
  };
  const file = { name: 't.yaml', text: 'ingest.keep: [up]\n' };
  const { settings, sources } = readSettings({ environment, file });
  expect([settings.ingest.keep, settings.gauges.profile]).toEqual([['up'], 'default']);
  expect(sources.get('sources')).toBe('PROMETHEUS_URL');
  expect(sources.get('gauges.profile')).toBe('TREELINE_GAUGES_PROFILE');
  expect(loadSettings({ environment: { NAMESPACE_REGEX: 'shop' } }).ingest.keep).toEqual([]);
  expect(podEnvironment({ NAMESPACE_REGEX: 'shop' }).notes).toEqual([
    'NAMESPACE_REGEX sets nothing without PROMETHEUS_URL',
  ]);
});

test('a variable that cannot be used is refused by its name', () => {
  const fault = (environment: Record<string, string>) => {
    try {
      settingsOf(environment);
      return 'none';
    } catch (error) {
      return (error as Error).message;
    }
  };
  const ok = (name: string, value: string, want: string) =>
    expect(fault({ [name]: value })).toContain(`${name}: ${want}`);
  ok('QUERY_STEP_SECONDS', '1.5', 'expected a whole number from 1 to 86400, found "1.5"');
  ok('REQUEST_TIMEOUT_SECONDS', 'soon', 'expected a number from 0.001 to 30, found "soon"');
  ok('IFOREST_N_ESTIMATORS', '0', 'expected a whole number from 1 to 100000, found "0"');
  ok('IFOREST_MAX_SAMPLES', '-1', 'expected a whole number from 1');
  ok('IFOREST_CONTAMINATION', '0.7', 'expected a number from 0.0001 to 0.5, found "0.7"');
  ok('TRAINING_LOOKBACK_MINUTES', 'x', 'expected a number from 0');
  ok('POD_LABEL', 'a-b', 'is no name of a label');
  ok('NAMESPACE_REGEX', '(a+)+', 'ingest.keep[0]: The regular expression');
  expect(fault({ PROMETHEUS_URL: 'p:9090' })).toContain('PROMETHEUS_URL: backfill.prometheus');
});

test('a pulled rate and pushed counters are the same feature', () => {
  const { ingest } = settingsOf({});
  const detector = createDetector(specOf({}), ingest.partitionBy);
  const partition = partitionWith({
    detectors: [detector],
    kernel: new EntityKernel(loadWasm('entity').module, 1),
  });
  const labels = { namespace: 'n', pod: 'p', container: 'app' };
  for (let i = 0; i < 5; i++) {
    const rows = [
      { labels: { __name__: 'pod_cpu', ...labels }, at: at(i), value: 0.25 },
      { labels: { __name__: 'container_memory_usage_bytes', ...labels }, at: at(i), value: 100 },
    ];
    partition.apply(record(rows));
  }
  expect([...entityOf(partition, 'n', 'p')!.vector]).toEqual([0.25, 100, Number.NaN]);
});

test('a real Prometheus answers each query, and all of them at once with every series', {
  timeout: 120_000,
}, async () => {
  const exporter = await startExporter();
  onTestFinished(exporter.stop);
  const prometheus = await startPrometheus(`
global: { scrape_interval: 1s }
scrape_configs:
  - { job_name: c, honor_labels: true, static_configs: [{ targets: ["127.0.0.1:${exporter.port}"] }] }
`);
  onTestFinished(() => prometheus.stop());
  const { settings } = podEnvironment({ ...URL_ALONE, NAMESPACE_REGEX: 'shop' });
  const whole = settings.find(({ key }) => key === 'backfill.query')?.value as string;
  const counted = async (query: string) => {
    const counts: Record<string, number> = {};
    for (const { metric } of await prometheus.query(query)) {
      const name = metric['__name__'] ?? '';
      counts[name] = (counts[name] ?? 0) + 1;
    }
    return counts;
  };
  // Two pods of two containers; a rate needs two scrapes.
  const want = {
    container_memory_usage_bytes: 4,
    kube_pod_container_status_restarts_total: 4,
    pod_cpu: 4,
  };
  await eventually('two scrapes', 60_000, async () =>
    (await counted(whole))['pod_cpu'] === 4 ? true : undefined,
  );
  expect(await counted(whole)).toEqual(want);
  const parts = settings.find(({ key }) => key === 'sources')?.value as { query: string }[];
  const each = await Promise.all(parts.map(({ query }) => counted(query)));
  expect(Object.assign({}, ...each)).toEqual(want);
});

test('with PROMETHEUS_URL and NAMESPACE_REGEX alone the pods of a real Prometheus are detected', {
  timeout: 300_000,
}, async () => {
  const exporter = await startExporter();
  onTestFinished(exporter.stop);
  const config = `
global: { scrape_interval: 1s }
scrape_configs:
  - job_name: cadvisor
    honor_labels: true
    static_configs: [{ targets: ["127.0.0.1:${exporter.port}"] }]
`;
  const prometheus: Prometheus = await startPrometheus(config);
  onTestFinished(() => prometheus.stop());
  // The third variable makes two minutes of what would be two hours.
  const environment = {
    PROMETHEUS_URL: prometheus.url,
    NAMESPACE_REGEX: 'shop',
    QUERY_STEP_SECONDS: '1',
  };
  const treeline = await spawnTreeline({ environment });
  onTestFinished(async () => {
    await treeline.stop();
  });
  const detect = async () => {
    const answer = await fetch(`${treeline.url}/detect`).catch(() => undefined);
    return answer && { status: answer.status, body: (await answer.json()) as Answer };
  };
  interface Answer {
    error?: string;
    pods?: Record<string, unknown>[];
  }
  const learning = await eventually('the first vectors', 120_000, async () => {
    const found = await detect();
    return found?.body.error?.startsWith('Learning') ? found : undefined;
  });
  expect(learning.status).toBe(503);
  const { pods } = await eventually('what is learnt', 240_000, async () => {
    const found = await detect();
    return found?.status === 200 ? found.body : undefined;
  });
  expect(pods!.map(({ namespace, pod }) => `${String(namespace)}/${String(pod)}`)).toEqual([
    'shop/web-0',
    'shop/web-1',
  ]);
  expect(pods![0]).toMatchObject({ restarts: 2, anomaly_flag: 0 });
  expect(pods![0]!['memory']).toBeGreaterThan(3e8);
  expect(pods![0]!['cpu']).toBeCloseTo(1, 0);
  expect(await treeline.json('/healthz')).toEqual({
    status: 'ok',
    model_trained: true,
    prometheus_url: prometheus.url,
  });
  expect(await treeline.text('/metrics')).toMatch(/^anomaly_flag\{pod="web-0"\} 0$/m);
});

/** Two pods of two containers each in one namespace, one pod in another. */
async function startExporter(): Promise<{ port: number; stop: () => Promise<void> }> {
  const pods = [
    ['shop', 'web-0'],
    ['shop', 'web-1'],
    ['system', 'dns-0'],
  ];
  const startedAt = Date.now();
  const server = createServer((_request, response) => {
    const seconds = (Date.now() - startedAt) / 1000;
    const lines = pods.flatMap(([namespace, pod]) =>
      ['app', 'side', 'POD'].flatMap((container) => {
        const labels = `{namespace="${namespace}",pod="${pod}",container="${container}"}`;
        return [
          `container_cpu_usage_seconds_total${labels} ${seconds / 2}`,
          `container_memory_usage_bytes${labels} ${2e8 + 1e6 * Math.sin(seconds)}`,
          ...(container === 'POD' ? [] : [`kube_pod_container_status_restarts_total${labels} 1`]),
        ];
      }),
    );
    response.end(`${lines.join('\n')}\n`);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    port: (server.address() as AddressInfo).port,
    stop: () => new Promise<void>((done) => void server.close(() => done())),
  };
}
