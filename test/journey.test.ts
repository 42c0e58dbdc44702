// A sample's whole journey among real programs: node exporter → Prometheus → remote-write →
// Treeline → its gauges scraped by the same Prometheus → PromQL. Prometheus sends everything it
// scrapes, our own gauges and metrics too, as an installation without any filter does. The second
// test sends weeks of history through the same door.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { readLoggedSeries } from './log-reader.js';
import { type NodeExporter, type Prometheus, startNodeExporter, startPrometheus } from './peers.js';
import { endPrograms, eventually, removeDirectory, temporaryDirectory } from './programs.js';
import { openSender, type Series, writeBody } from './remote-write-sender.js';
import {
  identityFaults,
  parseMetrics,
  partitionsAtRest,
  readingOf,
  startTreeline,
  type Treeline,
} from './treeline-process.js';

const SEED = Number(process.env['TREELINE_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const PARTITIONS = 4;
const QUEUES = 10;
const DISTURBED = 'q3';
const EXPOSE_MS = 250;
const WARM_MS_MAX = 170_000;
const FLAG_MS_MAX = 30_000;

afterAll(endPrograms);

test('Prometheus finds the disturbed series in our gauges, and only that one', {
  timeout: 300_000,
}, async ({ onTestFailed, onTestFinished }) => {
  onTestFailed(() => console.error(`TREELINE_SEED=${SEED} repeats the noise`));
  const directory = temporaryDirectory('journey');
  const treeline = await startTreeline({ dataDir: directory, args: ['--logging-level', 'warn'] });
  const exporter = await startNodeExporter();
  const fleet = exposeQueues(exporter);
  const prometheus = await startPrometheus(prometheusConfig(exporter, treeline));
  onTestFinished(async () => {
    await fleet.stop();
    await prometheus.stop();
    await exporter.stop();
    await treeline.stop();
    removeDirectory(directory);
  });

  await eventually('the queues to be warm', WARM_MS_MAX, async () => {
    const states = await queueStates(treeline);
    return states.length === QUEUES && states.every((state) => state === 'active')
      ? true
      : undefined;
  });
  await sleep(3_000);
  const wasFlagged = 'max_over_time(anomaly_flag{source_metric="demo_queue_length"}[10m]) == 1';
  expect(await prometheus.query(wasFlagged)).toEqual([]);

  fleet.disturb();
  const flagged = await eventually(`${DISTURBED} to be flagged`, FLAG_MS_MAX, async () => {
    const found = await prometheus.query('anomaly_flag{source_metric="demo_queue_length"} == 1');
    return found.length > 0 ? found : undefined;
  });
  await sleep(5_000);
  expect(await prometheus.query(wasFlagged)).toHaveLength(1);
  expect(flagged.map(({ metric }) => metric)).toEqual([
    {
      __name__: 'anomaly_flag',
      detector: 'series',
      instance: exporter.target,
      job: 'demo',
      queue: DISTURBED,
      source_metric: 'demo_queue_length',
    },
  ]);
  const score = `anomaly_score{queue="${DISTURBED}"} > 1 and anomaly_score == anomaly_score`;
  expect(
    await prometheus.query(`max_over_time(anomaly_score{queue="${DISTURBED}"}[1m]) > 1`),
    score,
  ).toHaveLength(1);
  for (const bound of ['expected', 'expected_lower', 'expected_upper']) {
    expect(await prometheus.query(`anomaly_${bound}{queue="${DISTURBED}"}`)).toHaveLength(1);
  }
  await expectNothingLost(prometheus);
  await fleet.stop();
  await prometheus.stop();
  await expectOwnOutputLeftOut(treeline);
});

test('weeks of one-minute samples through the same door: the fault is listed at its own time', {
  timeout: 120_000,
}, async ({ onTestFailed, onTestFinished }) => {
  onTestFailed(() => console.error(`TREELINE_SEED=${SEED} repeats the noise`));
  const treeline = await startTreeline({ args: ['--logging-level', 'warn'] });
  onTestFinished(async () => {
    await treeline.stop();
  });
  const history = {
    minutes: 14 * 1440,
    series: 12,
    faulty: 7,
    from: 12 * 1440 + 600,
    until: 12 * 1440 + 660,
  };
  const firstMs = Math.floor(Date.now() / 60_000 - history.minutes - 1440) * 60_000;
  const sender = openSender(treeline.url);
  const normal = normalFrom(SEED);
  for (let minute = 0; minute < history.minutes; minute += 100) {
    const answer = await sender.send(
      writeBody(historyBody(minute, { ...history, firstMs, normal })),
    );
    expect(answer.status, answer.text).toBe(204);
  }
  sender.close();
  await partitionsAtRest(treeline);

  const selector = encodeURIComponent(`{job="history",series="${history.faulty}"}`);
  const onsetMs = firstMs + history.from * 60_000;
  const fault = await eventually('the fault to be listed', 10_000, async () => {
    const path = `/anomaly/v1/anomalies?limit=1000&match[]=${selector}`;
    const { anomalies } = await treeline.json<{ anomalies: AnomalyRow[] }>(path);
    return anomalies.find(({ onset }) => Math.abs(Date.parse(onset) - onsetMs) <= 3 * 60_000);
  });
  expect(Date.parse(fault.onset)).toBeGreaterThanOrEqual(onsetMs);
  expect(fault.labels).toMatchObject({ __name__: 'history_load', instance: 'host-7:9100' });
  expect(fault.score).toBeGreaterThan(1);
  expect(fault.value).toBeGreaterThan(fault.upper);
  expect(fault.explanation).toContain('above the expected');
  const one = await treeline.json<AnomalyRow>(`/anomaly/v1/anomalies/${fault.id}`);
  expect(one).toEqual(fault);

  const all = await treeline.json<{ anomalies: AnomalyRow[] }>('/anomaly/v1/anomalies?limit=1000');
  const days = (history.series * history.minutes) / 1440;
  console.log(`seed ${SEED}: ${all.anomalies.length - 1} other anomalies in ${days} series-days`);
  expect(all.anomalies.length - 1).toBeLessThan(0.3 * days);
  expect(identityFaults(await treeline.metrics())).toEqual([]);
});

interface AnomalyRow {
  id: string;
  onset: string;
  score: number;
  value: number;
  upper: number;
  labels: Record<string, string>;
  explanation: string;
}

interface HistoryShape {
  series: number;
  minutes: number;
  faulty: number;
  from: number;
  until: number;
  firstMs: number;
  normal: () => number;
}

/**
 * 100 minutes of every series: a daily rhythm and noise, one of them 10 noise deviations too high
 * for an hour.
 */
function historyBody(minute: number, shape: HistoryShape): Series[] {
  const end = Math.min(minute + 100, shape.minutes);
  return Array.from({ length: shape.series }, (_, series) => ({
    labels: {
      __name__: 'history_load',
      instance: `host-${series}:9100`,
      job: 'history',
      series: String(series),
    },
    points: Array.from({ length: end - minute }, (_unused, offset) => {
      const at = minute + offset;
      const isFault = series === shape.faulty && at >= shape.from && at < shape.until;
      const rhythm = 20 * Math.sin((2 * Math.PI * at) / 1440 + series);
      const value = 100 + rhythm + 2 * shape.normal() + (isFault ? 20 : 0);
      return [shape.firstMs + at * 60_000, value] as const;
    }),
  }));
}

function prometheusConfig(exporter: NodeExporter, treeline: Treeline): string {
  const own = treeline.url.replace('http://', '');
  // No write_relabel_configs: whatever is scraped is sent, our own output included.
  return `
global: { scrape_interval: 1s }
scrape_configs:
  - job_name: demo
    static_configs: [{ targets: ["${exporter.target}"] }]
  - job_name: treeline
    honor_labels: true
    metrics_path: /metrics/anomalies
    static_configs: [{ targets: ["${own}"] }]
  - job_name: treeline-metrics
    static_configs: [{ targets: ["${own}"] }]
remote_write:
  - url: ${treeline.url}/api/v1/write
    queue_config: { batch_send_deadline: 500ms, max_samples_per_send: 500 }
    metadata_config: { send: true, send_interval: 2s }
`;
}

/** Ten calm gauges, written anew several times a second; one of them rises on demand. */
function exposeQueues(exporter: NodeExporter): { disturb(): void; stop(): Promise<void> } {
  const normal = normalFrom(SEED);
  let isDisturbed = false;
  let isStopped = false;
  const writing = (async () => {
    while (!isStopped) {
      const lines = ['# TYPE demo_queue_length gauge'];
      for (let queue = 0; queue < QUEUES; queue++) {
        const swing = 3 * Math.sin(Date.now() / 7_000 + queue);
        const fault = isDisturbed && `q${queue}` === DISTURBED ? 400 : 0;
        const value = 100 + 10 * queue + swing + normal() + fault;
        lines.push(`demo_queue_length{queue="q${queue}"} ${value.toFixed(3)}`);
      }
      await exporter.expose(`${lines.join('\n')}\n`);
      await sleep(EXPOSE_MS);
    }
  })();
  return {
    disturb: () => {
      isDisturbed = true;
    },
    async stop() {
      isStopped = true;
      await writing;
    },
  };
}

async function queueStates(treeline: Treeline): Promise<string[]> {
  const path = '/anomaly/v1/series?match[]=demo_queue_length';
  const { series } = await treeline.json<{ series: { state: string }[] }>(path);
  return series.map(({ state }) => state);
}

/** The sender's own word: nothing that it sent was refused for good. */
async function expectNothingLost(prometheus: Prometheus): Promise<void> {
  const readings = parseMetrics(await (await fetch(`${prometheus.url}/metrics`)).text());
  const sent = readingOf(readings, 'prometheus_remote_storage_samples_total');
  expect(sent).toBeGreaterThan(10_000);
  for (const counter of ['failed', 'dropped']) {
    expect(readingOf(readings, `prometheus_remote_storage_samples_${counter}_total`)).toBe(0);
  }
  const invalid = 'prometheus_remote_storage_metadata_failed_total';
  expect(readingOf(readings, invalid)).toBe(0);
}

/**
 * Our gauges came back, were counted, and are neither logged nor scored. Stops the program to read
 * its log.
 */
async function expectOwnOutputLeftOut(treeline: Treeline): Promise<void> {
  await partitionsAtRest(treeline);
  const readings = await treeline.metrics();
  expect(identityFaults(readings)).toEqual([]);
  const rejected = 'treeline_samples_rejected_total';
  expect(readingOf(readings, rejected, { reason: 'own_output' })).toBeGreaterThan(1_000);
  expect(readingOf(readings, 'treeline_samples_total', { outcome: 'conflict' })).toBe(0);
  expect(readingOf(readings, 'treeline_samples_total', { outcome: 'refused' })).toBe(0);
  await treeline.stop();
  const series = await readLoggedSeries(treeline.dataDir, {
    partitions: PARTITIONS,
    keyOf: (labels) => JSON.stringify(labels.map(({ name, value }) => [name, value])),
  });
  const keys = [...series.keys()];
  expect(keys.filter((key) => key.includes('"demo_queue_length"'))).toHaveLength(QUEUES);
  expect(keys.filter((key) => key.includes('"node_'))).not.toEqual([]);
  expect(keys.filter((key) => key.includes('source_metric'))).toEqual([]);
  expect(keys.filter((key) => /"__name__","(anomaly|treeline)_/.test(key))).toEqual([]);
}

/** Standard normal numbers that a seed repeats: the sum of twelve uniform ones, less six. */
function normalFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    let sum = -6;
    for (let i = 0; i < 12; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      sum += state / 2 ** 32;
    }
    return sum;
  };
}
