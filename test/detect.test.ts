// What the pod service is asked for, asked of the whole program: /detect, /healthz and its two gauges, with nothing
// learnt, with enough learnt, with a fault, and after the pods are gone.

import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { AnomalyRow } from '../src/api/rest-schemas.js';
import { startTreeline } from '../src/compose.js';
import { loadSettings } from '../src/config.js';
import { invertedScore, podLines } from '../src/detect.js';
import type { Logger } from '../src/http-server.js';
import { writeRequestBody } from '../src/write-request.js';
import type { Sample } from './histogram-scrapes.js';
import { at, Pod, type PodState } from './pods.js';
import { eventually, removeDirectory, temporaryDirectory } from './programs.js';

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };

interface PodAnswer {
  pod: string;
  namespace: string;
  cpu: number;
  memory: number;
  restarts: number;
  anomaly_flag: number;
  anomaly_score: number;
  age_seconds: number;
}

/** The program on one partition, fed scrape by scrape; its clock stands two seconds behind the last one. */
async function openSite(settings: string, pods: readonly Pod[]) {
  const directory = temporaryDirectory('detect');
  let nowMs = at(0);
  const text = `listen: '127.0.0.1:0'\ndataDir: ${join(directory, 'd')}\nlog.partitions: 1\n${settings}`;
  const treeline = await startTreeline(loadSettings({ file: { name: 't.yaml', text } }), {
    logger: quiet,
    clock: () => nowMs,
  });
  onTestFinished(async () => {
    await treeline.stop();
    removeDirectory(directory);
  });
  let step = 0;
  const get = async (path: string) => {
    const answer = await fetch(treeline.url + path);
    const body = await answer.text();
    return { status: answer.status, body };
  };
  return {
    get,
    detect: async () => {
      const { status, body } = await get('/detect');
      return { status, answer: JSON.parse(body) as { pods: PodAnswer[]; error: string } };
    },
    setClock: (ms: number) => {
      nowMs = ms;
    },
    async feed(steps: number, state: (pod: number) => PodState = () => ({})) {
      for (let i = 0; i < steps; i++, step++) {
        nowMs = at(step) + 2_000;
        const samples = pods.flatMap((pod, k) => pod.scrape(at(step), state(k)));
        const body = await writeRequestBody(samples.map(seriesOf));
        const answer = await fetch(`${treeline.url}/api/v1/write`, {
          method: 'POST',
          body,
          headers: {
            'content-type': 'application/x-protobuf',
            'content-encoding': 'snappy',
            'x-prometheus-remote-write-version': '0.1.0',
          },
        });
        expect([answer.status, await answer.text()]).toEqual([204, '']);
      }
      // Scored is what is logged; the scorer reads on its own.
      const wanted = new Date(at(step - 1)).toISOString();
      for (let tries = 0; tries < 200; tries++) {
        const { body } = await get('/anomaly/v1/series?match[]=container_memory_usage_bytes');
        if (body.includes(wanted)) return;
        await new Promise((turn) => setTimeout(turn, 20));
      }
      throw new Error('The last scrape has not been scored');
    },
  };
}

function seriesOf({ labels, at: timestampMs, value }: Sample) {
  return {
    labels: Object.entries(labels).map(([name, text]) => ({ name, value: text })),
    samples: [{ timestampMs, value: value as number }],
  };
}

test('503 with reason and progress until warm, then every pod with its verdict, then nobody', async () => {
  const pods = [
    new Pod('db-0', { namespace: 'x', seed: 1, containers: ['app', 'side'] }),
    new Pod('db-0', { namespace: 'y', seed: 2 }),
  ];
  const site = await openSite('detectors: [{preset: kubernetes-pods}]\n', pods);
  expect(await site.detect()).toMatchObject({
    status: 503,
    answer: { error: expect.stringMatching(/^No pod has been heard of/) as string },
  });
  const healthz = JSON.parse((await site.get('/healthz')).body) as object;
  expect(healthz).toEqual({ status: 'ok', model_trained: false, prometheus_url: null });
  await site.feed(40);
  expect(await site.detect()).toMatchObject({
    status: 503,
    answer: {
      error: expect.stringMatching(/^Learning: 39 of 120 vectors .*, ready about 20/) as string,
      progress: { vectors: 39, needed: 120, readyAt: new Date(at(39 + 81)).toISOString() },
    },
  });
  await site.feed(400);
  const { status, answer } = await site.detect();
  expect(status).toBe(200);
  expect(Object.keys(answer)).toEqual(['pods']);
  expect(answer.pods.map(({ pod, namespace }) => [namespace, pod])).toEqual([
    ['x', 'db-0'],
    ['y', 'db-0'],
  ]);
  for (const row of answer.pods) {
    expect(Object.keys(row)).toEqual([
      'pod',
      'namespace',
      'cpu',
      'memory',
      'restarts',
      'anomaly_flag',
      'anomaly_score',
      'age_seconds',
    ]);
    expect(row.cpu).toBeGreaterThan(0);
    expect(row.memory).toBeGreaterThan(2e8);
    expect([row.restarts, row.anomaly_flag, row.age_seconds]).toEqual([0, 0, 2]);
  }
  expect(JSON.parse((await site.get('/healthz')).body)).toMatchObject({ model_trained: true });
  await site.feed(2, (pod) => (pod === 0 ? { extraCores: 0.6 } : {}));
  const faulty = (await site.detect()).answer.pods;
  expect(faulty.map(({ anomaly_flag }) => anomaly_flag)).toEqual([1, 0]);
  expect(faulty[0]!.anomaly_score).toBeGreaterThan(1);
  const asked = JSON.parse((await site.get('/detect?contributions=true')).body) as {
    pods: { contributions: Record<string, number> }[];
  };
  expect(asked.pods.map(({ contributions }) => Object.keys(contributions))).toEqual([
    ['cpu', 'memory', 'restarts'],
    ['cpu', 'memory', 'restarts'],
  ]);
  expect(asked.pods[0]!.contributions['cpu']).toBeGreaterThan(0.8);
  expect((await site.get('/detect?contributions=perhaps')).status).toBe(400);
  const row = await eventually('the anomaly', 30_000, async () => {
    const path = '/anomaly/v1/anomalies?match[]=treeline_entity_distance';
    const { anomalies } = JSON.parse((await site.get(path)).body) as { anomalies: AnomalyRow[] };
    return anomalies[0];
  });
  expect(row.features[0]).toMatchObject({ name: 'cpu', value: expect.any(Number) as number });
  expect(row.features[0]!.share).toBeGreaterThan(0.8);
  expect(row.explanation).toMatch(
    /^kubernetes-pods of namespace=x pod=db-0: cpu contributes \d+ %/,
  );
  const anomalies = (await site.get('/metrics/anomalies')).body;
  expect(anomalies).toMatch(
    /^anomaly_flag\{detector="kubernetes-pods",namespace="x",pod="db-0"\} 1$/m,
  );
  expect(anomalies).toMatch(/^anomaly_rate\{detector="kubernetes-pods",namespace="x"\} 1$/m);
  expect((await site.get('/metrics')).body).toMatch(/^treeline_entities 2$/m);
  site.setClock(at(441) + 5 * 15_000 + 1);
  expect((await site.detect()).status).toBe(503);
}, 120_000);

test('restarts are told as they were received, a count', async () => {
  const pods = [new Pod('a', { seed: 3 })];
  const site = await openSite('detectors: [{preset: kubernetes-pods}]\n', pods);
  await site.feed(125);
  await site.feed(1, () => ({ restarts: 3 }));
  await site.feed(1);
  expect((await site.detect()).answer.pods[0]!.restarts).toBe(3);
}, 60_000);

test('without a detector of pods /detect says what to set', async () => {
  const { detect, get } = await openSite('', []);
  const { status, answer } = await detect();
  expect([status, answer.error]).toEqual([
    503,
    'No detector of pods is set; set detectors to [{preset: kubernetes-pods}]',
  ]);
  expect((await get('/openapi.json')).body).toContain('"/detect"');
}, 60_000);

test('the profile shows two gauges by the names of the pod service, lower is worse', async () => {
  const pods = [new Pod('a', { seed: 1 }), new Pod('b', { seed: 2 })];
  const settings = 'detectors: [{preset: kubernetes-pods}]\ngauges.profile: pod-service\n';
  const site = await openSite(settings, pods);
  const linesOf = async () => {
    const { body } = await site.get('/metrics');
    return body.split('\n').filter((line) => /^anomaly_/.test(line));
  };
  await site.feed(40);
  expect(await linesOf()).toEqual([]);
  await site.feed(400);
  await site.feed(2, (pod) => (pod === 0 ? { extraCores: 0.6 } : {}));
  const lines = await linesOf();
  const read = (name: string, pod: string) =>
    Number(lines.find((line) => line.startsWith(`${name}{pod="${pod}"} `))?.split(' ')[1]);
  expect(lines.length).toBe(4);
  expect([read('anomaly_flag', 'a'), read('anomaly_flag', 'b')]).toEqual([1, 0]);
  expect(read('anomaly_score', 'a')).toBeLessThan(0);
  expect(read('anomaly_score', 'b')).toBeGreaterThan(0);
  const { answer } = await site.detect();
  expect(answer.pods[0]!.anomaly_score).toBeCloseTo(read('anomaly_score', 'a'), 9);
}, 120_000);

test('a lower number is worse, 0 at the threshold, and pods of one name keep their namespace', () => {
  const ok = (score: number, want: number) => expect(invertedScore(score)).toBeCloseTo(want, 12);
  ok(0, 0.5);
  ok(1, 0);
  ok(3, -0.25);
  ok(Number.POSITIVE_INFINITY, -0.5);
  const row = {
    cpu: 1,
    memory: 1,
    restarts: 0,
    isFlagged: false,
    score: 1,
    ageSeconds: 0,
    shares: {},
  };
  const text = [
    ...podLines([
      { ...row, pod: 'a', namespace: 'x' },
      { ...row, pod: 'a', namespace: 'y' },
      { ...row, pod: 'b"\\', namespace: 'x' },
    ]),
  ].join('');
  expect(text.match(/^anomaly_flag.*$/gm)).toEqual([
    'anomaly_flag{pod="a",namespace="x"} 0',
    'anomaly_flag{pod="a",namespace="y"} 0',
    'anomaly_flag{pod="b\\"\\\\"} 0',
  ]);
});
