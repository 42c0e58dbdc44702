// Senders that nobody here wrote, each against the running program: the Prometheus project's own Go
// client for 2.0, VictoriaMetrics' vmagent and Debian's Prometheus for 1.0. (The journey test has
// Prometheus in a whole installation.) What counts is the sender's own word, its counters of what it
// failed to deliver, and that the log holds what it says it sent. Prometheus 3 is a sender in a test
// of its own, prometheus3.test.ts: it takes minutes to build.

import { setTimeout as sleep } from 'node:timers/promises';
import { fromBinary } from '@bufbuild/protobuf';
import { afterAll, expect, test } from 'vitest';
import { HistogramSchema } from '../src/gen/remote_write_v2_pb.js';
import { MetricType } from '../src/gen/sample_block_pb.js';
import { keyOf, type LoggedSeries } from './logged-series.js';
import { startNodeExporter, startPrometheus, startVmagent } from './peers.js';
import { endPrograms, eventually, freePort, temporaryDirectory } from './programs.js';
import { type Rw2SenderReport, runRw2Sender, rw2SenderBinary } from './rw2-sender.js';
import { received, stopAndRead } from './sent-and-logged.js';
import {
  parseMetrics,
  type Reading,
  readingOf,
  startTreeline,
  type Treeline,
} from './treeline-process.js';

const PARTITIONS = 4;
const STEP_MS = 15_000;
const START_AGE_MS = 3_600_000;
const STALE = 0x7ff0000000000002n;
const BUILD_MS_MAX = 6 * 60_000;

afterAll(endPrograms);

test.each(['sample', 'series', 'none'] as const)(
  'the 2.0 client, with start timestamps in: %s: everything it sent is in the log',
  { timeout: BUILD_MS_MAX },
  async (start) => {
    const treeline = await started(`rw2-${start}`);
    const sent = { nowMs: Date.now() - 600_000, series: 9, requests: 4, start };
    const report = await runRw2Sender({ ...sent, url: `${treeline.url}/api/v1/write` });
    expect(report).toEqual({
      requests: 4,
      failed: 0,
      retried: 0,
      samples: 2 * 9 * 4,
      histograms: 9 * 4,
      exemplars: 9 * 4,
      errors: [],
    });
    const logged = await stopAndRead(treeline, PARTITIONS);
    expectAllOf(logged, sent);
  },
);

test('the 2.0 client is told exactly what of its request was refused', async () => {
  const treeline = await started('rw2-partial');
  const sent = { nowMs: Date.now() - 600_000, series: 3, requests: 2, start: 'none' as const };
  const url = `${treeline.url}/api/v1/write`;
  const report: Rw2SenderReport = await runRw2Sender({ ...sent, url, nameless: 2 });
  expect({ ...report, errors: report.errors.length }).toEqual({
    requests: 2,
    failed: 2,
    retried: 0,
    samples: 12,
    histograms: 6,
    exemplars: 6,
    errors: 2,
  });
  expect(report.errors[0]).toMatch(
    /400 Bad Request: 2 of 11 samples rejected: 2 no metric name; first: .*\{job="nameless"\}/,
  );
  expectAllOf(await stopAndRead(treeline, PARTITIONS), sent);
});

test('the 2.0 client rides out a start of the program: it retries and nothing is lost', async () => {
  await rw2SenderBinary();
  const port = await freePort();
  const sent = { nowMs: Date.now() - 600_000, series: 3, requests: 2, start: 'sample' as const };
  const url = `http://127.0.0.1:${port}/api/v1/write`;
  const sending = runRw2Sender({ ...sent, url });
  await sleep(500);
  const treeline = await started('rw2-retry', port);
  const report = await sending;
  expect([report.failed, report.samples, report.errors]).toEqual([0, 12, []]);
  expect(report.retried).toBeGreaterThan(0);
  expectAllOf(await stopAndRead(treeline, PARTITIONS), sent);
});

test('vmagent sends everything that it scrapes, and drops nothing', {
  timeout: 180_000,
}, async () => {
  const treeline = await started('vmagent');
  const exporter = await startNodeExporter();
  await exporter.expose(queues(1));
  const vmagent = await startVmagent({
    writeUrl: `${treeline.url}/api/v1/write`,
    scrapeConfig: `
scrape_configs:
  - job_name: demo
    scrape_interval: 1s
    static_configs: [{ targets: ["${exporter.target}"] }]
`,
  });
  await received(treeline, 5_000);
  await exporter.expose(queues(7));
  await received(treeline, 10_000);
  const readings = await metricsOf(vmagent.url);
  const requests = 'vmagent_remotewrite_requests_total';
  expect(readingOf(readings, requests, { status_code: '2XX' })).toBeGreaterThan(3);
  const refused = readings.filter(
    ({ name, labels, value }) => name === requests && labels['status_code'] !== '2XX' && value > 0,
  );
  expect(refused).toEqual([]);
  for (const counter of ['packets_dropped_total', 'retries_count_total']) {
    expect(readingOf(readings, `vmagent_remotewrite_${counter}`), counter).toBe(0);
  }
  await vmagent.stop();
  await exporter.stop();
  const logged = await stopAndRead(treeline, PARTITIONS);
  expectQueues(logged, exporter.target);
});

test('Prometheus 2.42 sends samples and, apart from them, types: both arrive', {
  timeout: 180_000,
}, async () => {
  const treeline = await started('prometheus');
  const exporter = await startNodeExporter();
  await exporter.expose(queues(1));
  const prometheus = await startPrometheus(prometheusConfig(exporter.target, treeline.url));
  await received(treeline, 5_000);
  await exporter.expose(queues(7));
  await received(treeline, 15_000);
  const readings = await metricsOf(prometheus.url);
  expectPrometheusLostNothing(readings);
  expect(readingOf(readings, 'prometheus_remote_storage_metadata_total')).toBeGreaterThan(100);
  await prometheus.stop();
  await exporter.stop();
  const logged = await stopAndRead(treeline, PARTITIONS);
  expectQueues(logged, exporter.target);
  const typeOf = (name: string) =>
    [...logged.values()].find(({ labels }) => labels.some(({ value }) => value === name))?.type;
  expect(typeOf('demo_queue_length')).toBe(MetricType.GAUGE);
  expect(typeOf('node_cpu_seconds_total')).toBe(MetricType.COUNTER);
  expect(typeOf('go_gc_duration_seconds')).toBe(MetricType.SUMMARY);
});

test('of two Prometheus 2.42 with one cluster, one is listened to; when it ends, the other is', {
  timeout: 180_000,
}, async () => {
  const treeline = await started('pair', undefined, ['--ingest-replicas', 'elect']);
  const exporter = await startNodeExporter();
  await exporter.expose(queues(1));
  const config = (replica: string) =>
    prometheusConfig(exporter.target, treeline.url).replace(
      'global: {',
      `global: { external_labels: { cluster: demo, __replica__: ${replica} },`,
    );
  const first = await startPrometheus(config('first'));
  await received(treeline, 2_000);
  const second = await startPrometheus(config('second'));
  const leftOut = async () =>
    readingOf(await treeline.metrics(), 'treeline_samples_rejected_total', { reason: 'replica' });
  await eventually('the second to be left out', 60_000, async () =>
    ((await leftOut()) ?? 0) > 5_000 ? true : undefined,
  );
  expectPrometheusLostNothing(await metricsOf(second.url));
  await first.stop();
  const takeovers = async () =>
    readingOf(await treeline.metrics(), 'treeline_replica_takeovers_total');
  expect(await takeovers()).toBe(0);
  await eventually('the second to take over', 60_000, async () =>
    (await takeovers()) === 1 ? true : undefined,
  );
  await received(treeline, ((await leftOut()) ?? 0) + 10_000);
  expectPrometheusLostNothing(await metricsOf(second.url));
  await second.stop();
  await exporter.stop();
  const logged = await stopAndRead(treeline, PARTITIONS);
  const place = { instance: exporter.target, job: 'demo', cluster: 'demo', queue: 'q0' };
  const times = (logged.get(keyOf({ __name__: 'demo_queue_length', ...place }))?.points ?? []).map(
    ([ms]) => Number(ms),
  );
  // One sample a second, one silence of half a minute, no second rhythm between.
  const steps = times.slice(1).map((ms, i) => ms - times[i]!);
  expect(steps.filter((ms) => ms < 500)).toEqual([]);
  const silences = steps.filter((ms) => ms > 10_000);
  expect(silences).toHaveLength(1);
  expect(silences[0]).toBeGreaterThan(20_000);
  expect(silences[0]).toBeLessThan(45_000);
  expect([...logged.keys()].filter((key) => key.includes('__replica__'))).toEqual([]);
});

async function started(
  name: string,
  port?: number,
  args: readonly string[] = [],
): Promise<Treeline> {
  return startTreeline({
    dataDir: temporaryDirectory(name),
    args: ['--logging-level', 'warn', ...args],
    ...(port === undefined ? {} : { port }),
  });
}

async function metricsOf(url: string): Promise<Reading[]> {
  return parseMetrics(await (await fetch(`${url}/metrics`)).text());
}

function expectPrometheusLostNothing(readings: readonly Reading[]): void {
  expect(readingOf(readings, 'prometheus_remote_storage_samples_total')).toBeGreaterThan(3_000);
  for (const kind of ['samples', 'metadata', 'exemplars', 'histograms']) {
    for (const end of ['failed', 'dropped', 'retried']) {
      const counter = `prometheus_remote_storage_${kind}_${end}_total`;
      expect([counter, readingOf(readings, counter) ?? 0]).toEqual([counter, 0]);
    }
  }
}

/** What the sender's own description says that it sends: test/rw2-sender/main.go. */
function expectAllOf(
  logged: Map<string, LoggedSeries>,
  sent: { nowMs: number; series: number; requests: number; start: string },
): void {
  const { nowMs, series, requests, start } = sent;
  const startMs = start === 'none' ? 0n : BigInt(nowMs - START_AGE_MS);
  const numbers = Array.from({ length: requests }, (_, number) => number);
  const at = (number: number) => BigInt(nowMs + number * STEP_MS);
  const find = (name: string, i: number): LoggedSeries => {
    const place = { instance: 'host:9100', job: 'rw2-sender', number: String(i) };
    const found = logged.get(keyOf({ __name__: name, ...place }));
    expect(found, `${name} ${i}`).toBeDefined();
    return found as LoggedSeries;
  };
  expect(logged.size).toBe(3 * series);
  for (let i = 0; i < series; i++) {
    const counter = find('sender_requests_total', i);
    expect([counter.type, counter.unit]).toEqual([MetricType.COUNTER, 'requests']);
    expect(counter.points.map(([ms, bits, from]) => [ms, numberOf(bits), from])).toEqual(
      numbers.map((number) => [at(number), 10 * number + i, startMs]),
    );
    const gauge = find('sender_queue_length', i);
    expect([gauge.type, gauge.unit]).toEqual([MetricType.GAUGE, '']);
    expect(gauge.points.map(([ms]) => ms)).toEqual(numbers.map(at));
    expect(gauge.points.slice(0, -1).map(([, bits]) => numberOf(bits))).toEqual(
      numbers.slice(0, -1).map((number) => i - number),
    );
    expect(gauge.points.at(-1)?.[1]).toBe(STALE);
    const latency = find('sender_latency', i);
    expect([latency.type, latency.unit]).toEqual([MetricType.HISTOGRAM, 'seconds']);
    expect(latency.histograms.map(({ timestampMs, startMs: from }) => [timestampMs, from])).toEqual(
      numbers.map((number) => [at(number), startMs]),
    );
    const decoded = latency.histograms.map(({ bytes }) => fromBinary(HistogramSchema, bytes));
    expect(decoded.map(({ sum }) => sum)).toEqual(numbers.map((number) => number + 0.5));
    const shapes = [
      { schema: 3, count: { case: 'countInt', value: 27n }, positiveDeltas: [1n, 2n, 1n, 3n, 1n] },
      { schema: 0, count: { case: 'countFloat', value: 6.5 }, positiveCounts: [2, 3] },
      { schema: -53, count: { case: 'countInt', value: 30n }, customValues: [0.1, 0.5, 1, 2.5, 5] },
    ];
    for (const one of decoded) expect(one).toMatchObject(shapes[i % 3] as object);
  }
}

function queues(value: number): string {
  const lines = Array.from(
    { length: 5 },
    (_, i) => `demo_queue_length{queue="q${i}"} ${value + i}`,
  );
  return `# HELP demo_queue_length Length.\n# TYPE demo_queue_length gauge\n${lines.join('\n')}\n`;
}

/** Both values of every queue, in the order in which they were exposed. */
function expectQueues(logged: Map<string, LoggedSeries>, target: string): void {
  for (let i = 0; i < 5; i++) {
    const labels = { __name__: 'demo_queue_length', instance: target, job: 'demo', queue: `q${i}` };
    const points = logged.get(keyOf(labels))?.points ?? [];
    const values = points.filter(([, bits]) => bits !== STALE).map(([, bits]) => numberOf(bits));
    expect(values.length).toBeGreaterThan(3);
    expect([...new Set(values)]).toEqual([1 + i, 7 + i]);
    expect([...values].sort((a, b) => a - b)).toEqual(values);
    const times = points.map(([ms]) => ms);
    expect([...times].sort()).toEqual(times);
  }
}

function prometheusConfig(target: string, url: string): string {
  return `
global: { scrape_interval: 1s }
scrape_configs:
  - job_name: demo
    static_configs: [{ targets: ["${target}"] }]
remote_write:
  - url: ${url}/api/v1/write
    queue_config: { batch_send_deadline: 500ms, max_samples_per_send: 500 }
    metadata_config: { send: true, send_interval: 2s }
`;
}

function numberOf(bits: bigint): number {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, bits);
  return view.getFloat64(0);
}
