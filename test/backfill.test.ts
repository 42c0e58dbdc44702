// `treeline backfill`: weeks from a real Prometheus into a new data directory, and the service that is useful at once.

import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { openPrometheusApi } from '../src/prometheus-api.js';
import { readRange } from '../src/prometheus-range.js';
import type { Label } from '../src/series.js';
import { sendJson, sendSuccess, startApiServer } from './api-server.js';
import { type History, serveHistory } from './history-blocks.js';
import type { Prometheus } from './peers.js';
import { endPrograms, eventually, startProgram, temporaryDirectory } from './programs.js';
import { openSender, writeBody } from './remote-write-sender.js';
import {
  identityFaults,
  mainFile,
  partitionsAtRest,
  readingOf,
  runTreeline,
  startTreeline,
} from './treeline-process.js';

const PODS = 5;
const DAYS = 3;
const QUERY = '{namespace="shop"}';
const directory = temporaryDirectory('backfill');
let history: History;
let prometheus: Prometheus;

beforeAll(async () => {
  const wanted = { seed: 11, days: DAYS, pods: PODS };
  ({ history, prometheus } = await serveHistory(directory, wanted));
}, 180_000);

afterAll(async () => {
  await prometheus?.stop();
  await endPrograms();
});

function backfill(url: string, dataDir: string, ...args: string[]) {
  const fixed = ['backfill', '--prometheus', url, '--data-dir', dataDir];
  return runTreeline([...fixed, '--logging-level', 'error', ...args]);
}

interface Summary {
  series: number;
  points: number;
  start: string;
  end: string;
  isResumed: boolean;
  labels: Record<string, string>;
  rejections: string[];
}

const withQuery = ['--query', QUERY, '--lookback', '4d'];

test('after a backfill the service knows its series, has found the faults, and is as if it had run all the time', {
  timeout: 240_000,
}, async () => {
  const dataDir = join(directory, 'filled');
  const { stdout, stderr, code } = await backfill(
    prometheus.url,
    dataDir,
    ...withQuery,
    '-o',
    'json',
  );
  expect([code, stderr]).toEqual([0, '']);
  const summary = JSON.parse(stdout) as Summary;
  expect(summary).toMatchObject({
    series: 2 * PODS + 1,
    labels: { cluster: 'eu' },
    rejections: [],
  });
  // After its last sample a series goes on for the five minutes that Prometheus looks back.
  expect(summary.points).toBeGreaterThanOrEqual((2 * PODS + 1) * DAYS * 1440);

  const filled = await startTreeline({ dataDir });
  onTestFinished(async () => {
    await filled.stop();
  });
  const rest = await partitionsAtRest(filled);
  const { series } = await filled.json<{ series: { state: string; labels: object }[] }>(
    '/anomaly/v1/series?limit=1000',
  );
  expect(new Set(series.map(({ state }) => state))).toEqual(new Set(['active']));
  expect(series[0]?.labels).toMatchObject({ cluster: 'eu', namespace: 'shop' });
  const { anomalies } = await filled.json<{
    anomalies: { onset: string; labels: Record<string, string> }[];
  }>('/anomaly/v1/anomalies?limit=1000');
  for (const { metric, pod, fromMs } of history.faults) {
    const hits = anomalies.filter(({ onset, labels }) => {
      const lateMs = Date.parse(onset) - fromMs;
      return (
        labels['__name__'] === metric && labels['pod'] === pod && lateMs >= 0 && lateMs <= 180_000
      );
    });
    expect([metric, hits.length]).toEqual([metric, 1]);
  }
  const readings = await filled.metrics();
  expect(identityFaults(readings)).toEqual([]);
  expect(readingOf(readings, 'treeline_samples_total', { outcome: 'applied' })).toBe(
    summary.points,
  );

  const live = await startTreeline();
  onTestFinished(async () => {
    await live.stop();
  });
  await pushLive(live.url, summary);
  const liveRest = await partitionsAtRest(live);
  const hashes = (rows: typeof rest) => rows.map(({ stateHash }) => stateHash);
  expect(hashes(liveRest)).toEqual(hashes(rest));

  const again = await backfill(prometheus.url, dataDir, ...withQuery);
  expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('is in use by process')]);
  await filled.stop();
  const replayed = await runTreeline(['run', '--verify-replay', '--data-dir', dataDir]);
  expect(replayed.code, replayed.stderr).toBe(0);
  const late = await backfill(prometheus.url, dataDir, ...withQuery);
  expect(late.stderr).toContain(
    'The service has run on this data directory already; history comes before',
  );
});

/** The same points over HTTP, minute by minute, as a Prometheus would have sent them. */
async function pushLive(url: string, { start, end }: Summary): Promise<void> {
  const all: { labels: Label[]; points: Map<number, number> }[] = [];
  const taker = {
    series: (labels: Label[]) => {
      all.push({ labels, points: new Map() });
    },
    points: (at: number, times: Float64Array, values: Float64Array, count: number) => {
      for (let i = 0; i < count; i++) all[at]?.points.set(times[i] as number, values[i] as number);
    },
  };
  const [startMs, endMs] = [Date.parse(start), Date.parse(end)];
  const api = openPrometheusApi(prometheus.url);
  await readRange(api, { query: QUERY, startMs, endMs, stepMs: 60_000 }, taker);
  const sender = openSender(url);
  for (let ms = startMs; ms <= endMs; ms += 60_000) {
    const series = all.flatMap(({ labels, points }) => {
      const value = points.get(ms);
      if (value === undefined) return [];
      const named = Object.fromEntries(labels.map((label) => [label.name, label.value]));
      return [{ labels: { ...named, cluster: 'eu' }, points: [[ms, value] as const] }];
    });
    if (series.length === 0) continue;
    const answer = await sender.send(writeBody(series));
    expect(answer.status, answer.text).toBe(204);
  }
  sender.close();
}

test('a backfill that was interrupted goes on where it was, without a gap and without a duplicate', {
  timeout: 120_000,
}, async () => {
  let isBroken = true;
  let ranges = 0;
  const served = await startApiServer(({ path, parameters }, response) => {
    if (!path.startsWith('query')) return sendJson(response, 404, {});
    if (path === 'query') {
      // So many are expected that the first window has 400 steps, and its first request 200.
      const result = [{ metric: {}, value: [0, '2000'] }];
      return sendSuccess(response, { resultType: 'vector', result });
    }
    // The second window: nobody answers any more. A request of five brings two series, and so the rest of them.
    if (isBroken && ++ranges > 2) return;
    const [start, end, step] = ['start', 'end', 'step'].map((name) => Number(parameters[name]));
    const values: [number, string][] = [];
    for (let at = start!; at <= end! + 1e-6; at += step!) values.push([at, String(Math.sin(at))]);
    const result = ['a', 'b'].map((pod) => ({ metric: { __name__: 'load', pod }, values }));
    return sendSuccess(response, { resultType: 'matrix', result });
  });
  onTestFinished(() => served.stop());
  const dataDir = join(directory, 'interrupted');
  const args = ['--query', 'load', '--lookback', '6h', '--step', '15s'];
  const first = await startProgram(process.execPath, [
    ...[mainFile(), 'backfill', '--prometheus', served.url, '--data-dir', dataDir, ...args],
  ]);
  await eventually('the first window in the log', 60_000, async () =>
    ranges > 2 ? true : undefined,
  );
  await first.stop('SIGKILL');
  expect(first.stdout()).toBe('');
  expect(first.stderr()).toContain('its external_labels cannot be asked for');
  isBroken = false;
  const second = await backfill(
    served.url,
    dataDir,
    ...args,
    '-o',
    'json',
    '--label',
    'cluster=eu',
  );
  const summary = JSON.parse(second.stdout) as Summary;
  expect(summary).toMatchObject({ isResumed: true, series: 2 });
  const third = await backfill(served.url, dataDir, ...args);
  expect(third.stderr).toContain('The log has a history already; history comes before');
  const treeline = await startTreeline({ dataDir });
  await partitionsAtRest(treeline);
  const readings = await treeline.metrics();
  await treeline.stop();
  const steps = (Date.parse(summary.end) - Date.parse(summary.start)) / 15_000 + 1;
  expect(summary.points).toBe(2 * steps);
  expect(readingOf(readings, 'treeline_samples_total', { outcome: 'applied' })).toBe(
    2 * (400 + steps),
  );
  expect(readingOf(readings, 'treeline_samples_total', { outcome: 'duplicate' })).toBe(0);
});

test('nothing is written of what should not be, and the next call is free', {
  timeout: 60_000,
}, async () => {
  const dataDir = join(directory, 'refused');
  const ok = async (args: string[], code: number, text: string) => {
    const ended = await backfill(prometheus.url, dataDir, ...args);
    expect([ended.code, ended.stdout]).toEqual([code, '']);
    expect(ended.stderr).toContain(text);
  };
  await ok(['--query', 'nothing_here'], 1, 'nothing_here matches nothing');
  await ok([...withQuery, '--log-retention-size', '1KB'], 1, 'log.retentionSize is 1KB; raise it');
  await ok([...withQuery, '--step', 'soon'], 2, '--step is soon');
  await ok(['--query', 'up', '--lookback', '1s'], 2, '--lookback is 1s');
  await ok([...withQuery, '--label', 'a'], 2, '--label is a, expected NAME=VALUE');
  await ok([...withQuery, '--tenant', 'x'], 2, '--tenant is given when tenancy is header');
  await ok(
    [...withQuery, '--tenancy', 'header', '--tenant', 'a/b'],
    2,
    '--tenant: a tenant is made of',
  );
  const good = await backfill(
    prometheus.url,
    dataDir,
    '--query',
    'queue_length',
    '--no-external-labels',
  );
  expect([good.code, good.stderr]).toEqual([0, '']);
  expect(good.stdout).toMatch(/^\d+ samples of 5 series from .* are in the log of /);
  expect(good.stdout).not.toContain('Labels added');
  expect(good.stdout).toMatch(/^Now start the program: it scores them first, in about 1 s/m);
});
