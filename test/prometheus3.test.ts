// Prometheus 3.15 as the sender of remote-write 2.0. Its own word counts: what it failed to deliver,
// dropped or sent again; and it counts a whole batch as failed when our three Written headers do not
// say what it sent. The first build takes minutes, so that the gate goes without it (there the 2.0
// client of test/rw2-sender sends) and `npm run bench:long` has it: TREELINE_LONG=1.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { MetricType } from '../src/gen/sample_block_pb.js';
import { PROMETHEUS_3_VERSION, prometheus3Binary } from './go-peers/prometheus-3.js';
import type { LoggedSeries } from './logged-series.js';
import { type Prometheus, startPrometheus } from './peers.js';
import { endPrograms, eventually, freePort, temporaryDirectory } from './programs.js';
import { received, stopAndRead } from './sent-and-logged.js';
import {
  parseMetrics,
  type Reading,
  readingOf,
  startTreeline,
  type Treeline,
} from './treeline-process.js';

const TEST_MS_MAX = 25 * 60_000;
const PARTITIONS = 4;
const SCRAPE_MS = 500;
const SAMPLES = 20_000;
/** Requests to the scraped Prometheus: what its latency histograms observe. */
const ASK_MS = 5;
const WRITE = { route: '/api/v1/write' };
const LATENCY = 'prometheus_http_request_duration_seconds';

afterAll(endPrograms);

test('Prometheus 3 loses, drops and repeats nothing; types, starts and native histograms arrive', {
  timeout: TEST_MS_MAX,
}, async () => {
  const treeline = await started('prometheus-3');
  const pair = await startPair(treeline.url);
  expect(await versionOf(pair.sender)).toBe(PROMETHEUS_3_VERSION);
  await received(treeline, SAMPLES);
  await eventually('quantiles of a native histogram to be scored', 60_000, async () => {
    const rows = await derivedRows(treeline);
    return rows.some(({ progress }) => (progress?.samples ?? 0) >= 10) ? true : undefined;
  });
  const sent = await eventually('the sender and Treeline to agree', 60_000, () =>
    agreement(pair.sender, treeline),
  );
  expect(endsOf(sent.readings, ['failed', 'dropped', 'retried'])).toEqual([]);
  expect(sent.histograms).toBeGreaterThan(100);
  expect(sent.floats).toBeGreaterThan(SAMPLES / 2);
  expect(codesOf(await treeline.metrics())).toEqual(['204']);
  const rows = await derivedRows(treeline);
  await pair.stop();
  const logged = [...(await stopAndRead(treeline, PARTITIONS)).values()];

  const typeOf = (name: string) => logged.find((series) => nameOf(series) === name)?.type;
  expect(typeOf('go_goroutines')).toBe(MetricType.GAUGE);
  expect(typeOf('prometheus_http_requests_total')).toBe(MetricType.COUNTER);
  expect(typeOf('go_gc_duration_seconds')).toBe(MetricType.SUMMARY);
  expect(typeOf(LATENCY)).toBe(MetricType.HISTOGRAM);

  const natives = logged.filter(({ histograms }) => histograms.length > 0);
  expect(natives.length).toBeGreaterThan(3);
  const withStart = logged.filter(({ points }) => points.some(([, , start]) => start > 0n));
  expect(withStart.length).toBeGreaterThan(50);
  expect(natives.every(({ histograms }) => histograms.some(({ startMs }) => startMs > 0n))).toBe(
    true,
  );
  for (const { points, histograms } of logged) {
    for (const [at, , start] of points) expect(start <= at).toBe(true);
    for (const { timestampMs, startMs } of histograms) expect(startMs <= timestampMs).toBe(true);
  }
  console.log(
    `Prometheus ${PROMETHEUS_3_VERSION}: ${sent.floats} samples and ${sent.histograms} native ` +
      `histograms in ${sent.requests} requests, each 204; ${withStart.length} of ` +
      `${logged.length} series with start timestamps; ${natives.length} native histograms, ` +
      `${rows.length} derived series`,
  );
});

test('Prometheus 3 rides out kill -9 and a pause of Treeline: all that it sent is in the log', {
  timeout: TEST_MS_MAX,
}, async () => {
  const dataDir = temporaryDirectory('prometheus-3-kill');
  const port = await freePort();
  const first = await started(dataDir, port);
  const pair = await startPair(first.url);
  await received(first, 3_000);
  await first.kill();
  await sleep(3_000);
  const treeline = await started(dataDir, port);
  const { readings } = await eventually('the backlog to be sent', 60_000, async () => {
    const now = await metricsOf(pair.sender.url);
    const retried = readingOf(now, 'prometheus_remote_storage_samples_retried_total') ?? 0;
    const caughtUp = await agreementOfPending(pair.sender);
    return retried > 0 && caughtUp ? { readings: now } : undefined;
  });
  expect(endsOf(readings, ['failed', 'dropped'])).toEqual([]);
  await pair.stop();
  const logged = await stopAndRead(treeline, PARTITIONS);
  let expected = 0;
  for (const series of logged.values()) {
    // Each scrape gave each series that does not come and go one sample, those of the pause too.
    const times = [...new Set(series.points.map(([ms]) => Number(ms)))].sort((a, b) => a - b);
    if (!['up', 'go_goroutines', 'process_cpu_seconds_total'].includes(nameOf(series))) continue;
    expected++;
    for (let i = 1; i < times.length; i++) {
      const step = (times[i] as number) - (times[i - 1] as number);
      expect(step, nameOf(series)).toBeLessThan(1.9 * SCRAPE_MS);
    }
    expect(times.length).toBeGreaterThan(3_000 / SCRAPE_MS);
  }
  expect(expected).toBe(3);
});

interface Pair {
  sender: Prometheus;
  stop(): Promise<void>;
}

/** One Prometheus 3 that is scraped and asked things, so that it has latencies, and one that sends. */
async function startPair(url: string): Promise<Pair> {
  const binary = await prometheus3Binary();
  const source = await startPrometheus('global: { scrape_interval: 1s }\n', { binary });
  const stopping = new AbortController();
  const asking = askForEver(source.url, stopping.signal);
  const sender = await startPrometheus(senderConfig(source.url.replace('http://', ''), url), {
    binary,
    // What 2.0 says of types comes from these labels: by itself 3.15 says of every series that its
    // type is unknown, because its flag metadata-wal-records does not reach its own storage.
    args: ['--enable-feature=st-storage,exemplar-storage,type-and-unit-labels'],
  });
  return {
    sender,
    async stop() {
      stopping.abort();
      await asking;
      await sender.stop();
      await source.stop();
    },
  };
}

async function askForEver(url: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const answer = await fetch(`${url}/api/v1/query?query=up`);
    await answer.arrayBuffer();
    await sleep(ASK_MS);
  }
}

function senderConfig(target: string, url: string): string {
  return `
global: { scrape_native_histograms: true, scrape_interval: ${SCRAPE_MS}ms, scrape_timeout: ${SCRAPE_MS}ms }
scrape_configs:
  - job_name: demo
    static_configs: [{ targets: ["${target}"] }]
remote_write:
  - url: ${url}/api/v1/write
    protobuf_message: io.prometheus.write.v2.Request
    send_exemplars: true
    send_native_histograms: true
    queue_config: { batch_send_deadline: 100ms, max_samples_per_send: 500 }
`;
}

async function started(dataDir: string, port?: number): Promise<Treeline> {
  const path = dataDir.startsWith('/') ? dataDir : temporaryDirectory(dataDir);
  return startTreeline({
    dataDir: path,
    args: ['--logging-level', 'warn'],
    ...(port === undefined ? {} : { port }),
  });
}

interface Sent {
  readings: Reading[];
  floats: number;
  histograms: number;
  requests: number;
}

/**
 * What the sender says it sent, at a moment at which nothing is on its way and Treeline has received
 * exactly that; undefined at other moments, which there are few of between two scrapes.
 */
async function agreement(sender: Prometheus, treeline: Treeline): Promise<Sent | undefined> {
  const before = readingOf(await treeline.metrics(), 'treeline_samples_received_total');
  const readings = await metricsOf(sender.url);
  const after = await treeline.metrics();
  const count = (name: string) => readingOf(readings, `prometheus_remote_storage_${name}`) ?? 0;
  const floats = count('samples_total');
  const histograms = count('histograms_total');
  const got = readingOf(after, 'treeline_samples_received_total');
  if (before !== got || floats + histograms !== got) return undefined;
  const requests = readingOf(after, 'treeline_http_requests_total', WRITE) ?? 0;
  return { readings, floats, histograms, requests };
}

async function agreementOfPending(sender: Prometheus): Promise<boolean> {
  const readings = await metricsOf(sender.url);
  const behind = readingOf(readings, 'prometheus_remote_storage_samples_pending') ?? Number.NaN;
  return behind === 0;
}

/** Which of the ends that nothing may come to are not 0. */
function endsOf(readings: readonly Reading[], ends: readonly string[]): Reading[] {
  const names = ['samples', 'metadata', 'exemplars', 'histograms'].flatMap((kind) =>
    ends.map((end) => `prometheus_remote_storage_${kind}_${end}_total`),
  );
  expect(readings.some(({ name }) => names.includes(name))).toBe(true);
  return readings.filter(({ name, value }) => names.includes(name) && value !== 0);
}

function codesOf(readings: readonly Reading[]): (string | undefined)[] {
  return readings
    .filter(
      ({ name, labels, value }) =>
        name === 'treeline_http_requests_total' && labels['route'] === WRITE.route && value > 0,
    )
    .map(({ labels }) => labels['code']);
}

interface SeriesRow {
  labels: Record<string, string>;
  state: string;
  lastValue?: number | null;
  progress?: { samples: number };
}

/** The scored series that stand for the native histograms of request latencies. */
async function derivedRows(treeline: Treeline): Promise<SeriesRow[]> {
  const match = encodeURIComponent(`{__name__="${LATENCY}",quantile="0.99"}`);
  const path = `/anomaly/v1/series?match[]=${match}&limit=1000`;
  return (await treeline.json<{ series: SeriesRow[] }>(path)).series;
}

async function metricsOf(url: string): Promise<Reading[]> {
  const answer = await fetch(`${url}/metrics`, { headers: { accept: 'text/plain' } });
  return parseMetrics(await answer.text());
}

async function versionOf(prometheus: Prometheus): Promise<string | undefined> {
  const answer = await fetch(`${prometheus.url}/api/v1/status/buildinfo`);
  return ((await answer.json()) as { data: { version?: string } }).data.version;
}

function nameOf({ labels }: LoggedSeries): string {
  return labels.find(({ name }) => name === '__name__')?.value ?? '';
}
