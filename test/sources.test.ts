// Pull mode: the grid, what becomes of each tick, and the whole service fed by a real Prometheus that dies and comes back.

import { rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { loadSettings } from '../src/config.js';
import { OperatingError } from '../src/errors.js';
import { type WriteRequest, WriteRequestSchema } from '../src/gen/remote_write_v1_pb.js';
import type { Logger } from '../src/http-server.js';
import { PULL_SERIES_MAX, RANGE_ANSWER_BYTES_MAX } from '../src/limits.js';
import { openPrometheusApi } from '../src/prometheus-api.js';
import { authorizationOf } from '../src/prometheus-credential.js';
import {
  type PullOutcome,
  type SourceQuery,
  startSource,
  type Taker,
} from '../src/sources/source.js';
import { type Asked, sendFault, sendSuccess, startApiServer } from './api-server.js';
import { type Prometheus, startPrometheus } from './peers.js';
import { endPrograms, eventually, freePort, temporaryDirectory } from './programs.js';
import { uncompressReference } from './reference-wire.js';
import { identityFaults, partitionsAtRest, readingOf, startTreeline } from './treeline-process.js';

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const directory = temporaryDirectory('sources');
afterAll(endPrograms);

type Answer = (asked: Asked, response: ServerResponse) => void;

interface Run {
  /** From which time to which the clock goes. */
  from?: number;
  until: number;
  everyMs?: number;
  take?: (request: WriteRequest) => { status: number; message?: string };
  authorization?: () => string;
}

/** A source from one time to another: its clock goes on when it sleeps. */
async function drive(answer: Answer, run: Run) {
  const served = await startApiServer(answer);
  onTestFinished(() => served.stop());
  const counts: Partial<Record<PullOutcome, number>> = {};
  const requests: WriteRequest[] = [];
  const taker: Taker = {
    async take(body, origin) {
      expect(origin).toEqual({ tenant: 'blue', version: 1 });
      const request = fromBinary(WriteRequestSchema, uncompressReference(body));
      requests.push(request);
      return run.take?.(request) ?? { status: 204 };
    },
  };
  const query: SourceQuery = {
    name: 'pods_up',
    query: 'up',
    everyMs: run.everyMs ?? 10_000,
    tenant: 'blue',
    api: openPrometheusApi(served.url, run.authorization),
  };
  let nowMs = run.from ?? 12_345;
  let end: () => void = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const source = startSource(query, {
    taker,
    logger: quiet,
    clock: () => nowMs,
    count: (outcome, ticks) => {
      counts[outcome] = (counts[outcome] ?? 0) + ticks;
    },
    async sleep(ms, signal) {
      if (nowMs + ms > run.until) {
        end();
        await new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
        });
      }
      nowMs += ms;
    },
  });
  await ended;
  const note = source.note();
  await source.stop();
  const times = served.asked.map(({ parameters }) => Number(parameters['time']));
  return { counts, requests, note, times, lastMs: source.lastMs(), asked: served.asked };
}

const vector =
  (...metrics: Record<string, string>[]): Answer =>
  ({ parameters: { time } }, response) => {
    const result = metrics.map((metric) => ({ metric, value: [Number(time), '1.5'] }));
    sendSuccess(response, { resultType: 'vector', result });
  };

const pairs = ({ timeseries }: WriteRequest) =>
  timeseries.map(({ labels, samples }) => [
    labels.map(({ name, value }) => `${name}=${value}`).join(),
    samples.map(({ timestamp, value }) => [Number(timestamp), value]),
  ]);

test('each tick of the grid is asked for once, and what it brings is logged with its time', async () => {
  const answer = vector({ pod: 'a' }, { __name__: 'up', b: '2', a: '1' });
  const { times, counts, requests, note, lastMs, asked } = await drive(answer, { until: 45_000 });
  expect(times).toEqual([20, 30, 40]);
  expect(asked[0]).toMatchObject({
    path: 'query',
    parameters: { query: 'up', timeout: '10000ms' },
  });
  expect(counts).toEqual({ ok: 3 });
  expect(requests.map(pairs)[1]).toEqual([
    ['__name__=pods_up,pod=a', [[30_000, 1.5]]],
    ['__name__=up,a=1,b=2', [[30_000, 1.5]]],
  ]);
  expect([note, lastMs]).toEqual([undefined, 40_000]);
});

test('a scalar is one series, and many series are several requests', async () => {
  const scalar: Answer = ({ parameters: { time } }, response) =>
    sendSuccess(response, { resultType: 'scalar', result: [Number(time), '+Inf'] });
  const one = await drive(scalar, { until: 25_000 });
  expect(one.requests.map(pairs)).toEqual([
    [['__name__=pods_up', [[20_000, Number.POSITIVE_INFINITY]]]],
  ]);
  const many = vector(...Array.from({ length: 4500 }, (_, at) => ({ pod: String(at) })));
  const { requests } = await drive(many, { until: 25_000 });
  expect(requests.map(({ timeseries }) => timeseries.length)).toEqual([2000, 2000, 500]);
});

test('a Prometheus that is away is asked again for ever, for the newest tick, and every tick is counted', async () => {
  let broken = 8;
  const { times, counts } = await drive(
    (asked, response) => {
      if (broken-- > 0) response.writeHead(503).end();
      else vector({})(asked, response);
    },
    { until: 405_000 },
  );
  // Pauses of 1, 2, 4, 8, 16, 32, 60 and 60 s from 20 s on.
  expect(times.slice(0, 9)).toEqual([20, 20, 20, 20, 30, 50, 80, 140, 200]);
  expect(times.slice(9)).toEqual(Array.from({ length: 20 }, (_, at) => 210 + 10 * at));
  expect(counts).toEqual({ away: 8, missed: 18, ok: 21 });
  expect((counts.missed ?? 0) + (counts.ok ?? 0)).toBe((400 - 20) / 10 + 1);
});

test('what cannot succeed is asked once a tick, and the note says why in the words of Prometheus', async () => {
  const ok = async (answer: Answer, outcome: PullOutcome, want: string) => {
    const { counts, note } = await drive(answer, { until: 45_000 });
    expect(counts).toEqual({ [outcome]: 3 });
    expect(note).toContain(`pods_up: `);
    expect(note).toContain(want);
    expect(note).toMatch(/, since 1970-01-01T00:00:\d\dZ$/);
  };
  await ok(
    (_asked, response) => sendFault(response, 400, ['bad_data', 'parse error']),
    'refused',
    'it answers 400, bad_data: parse error',
  );
  await ok(
    (_asked, response) => response.end('<html>'),
    'refused',
    'no answer of the Prometheus API',
  );
  await ok(
    (_asked, response) => sendSuccess(response, { resultType: 'matrix', result: [] }),
    'refused',
    'its answer is no vector',
  );
  await ok(
    vector(...Array.from({ length: PULL_SERIES_MAX + 1 }, () => ({}))),
    'refused',
    `brings ${PULL_SERIES_MAX + 1} series, at most ${PULL_SERIES_MAX} are pulled`,
  );
  await ok(vector(), 'empty', 'the query matches nothing');
  const histogram = { metric: {}, histogram: [0, {}] };
  await ok(
    (_asked, response) => sendSuccess(response, { resultType: 'vector', result: [histogram] }),
    'empty',
    'the query matches nothing',
  );
  const partly: Answer = (_asked, response) => {
    const result = [{ metric: {}, value: [20, '1'] }];
    sendSuccess(response, { resultType: 'vector', result }, { warnings: ['a store is away'] });
  };
  await ok(partly, 'ok', 'warns: a store is away');
  const halved: Answer = (_asked, response) => {
    const result = [{ metric: {}, value: [20, '1'] }];
    sendSuccess(response, { resultType: 'vector', result }, { isPartial: true });
  };
  await ok(halved, 'ok', 'warns: The answer is partial: some of its storage is away');
});

test('200,000 series, and more bytes than are read, are refused once a tick with their number, and nothing is logged', async () => {
  const ok = async (answer: Answer, want: string) => {
    const { counts, note, requests } = await drive(answer, { until: 25_000 });
    expect([counts, requests]).toEqual([{ refused: 1 }, []]);
    expect(note).toContain(want);
  };
  const result = Array.from({ length: 200_000 }, (_, i) => ({
    metric: { pod: String(i) },
    value: [20, '1'],
  }));
  await ok(
    (_asked, response) => sendSuccess(response, { resultType: 'vector', result }),
    `brings 200000 series, at most ${PULL_SERIES_MAX} are pulled`,
  );
  await ok(
    (_asked, response) => response.end(Buffer.alloc(RANGE_ANSWER_BYTES_MAX + 1, ' ')),
    `the answer has more than ${RANGE_ANSWER_BYTES_MAX} bytes`,
  );
}, 60_000);

test('what the receiver says becomes of a tick: rejected is told, unlogged is tried again', async () => {
  const rejected = await drive(vector({}), {
    until: 45_000,
    take: () => ({ status: 400, message: '1 of 1 samples rejected' }),
  });
  expect(rejected.counts).toEqual({ rejected: 3 });
  expect(rejected.note).toContain('1 of 1 samples rejected');
  let full = 2;
  const late = await drive(vector({}), {
    until: 45_000,
    take: () => (full-- > 0 ? { status: 503, message: 'The log is full' } : { status: 204 }),
  });
  expect(late.times).toEqual([20, 20, 20, 30, 40]);
  expect(late.counts).toEqual({ unlogged: 2, ok: 3 });
  expect(late.note).toBeUndefined();
});

test('a token is read anew for each request, and one that is missing for a moment is waited for', async () => {
  const tokenFile = join(directory, 'token');
  writeFileSync(tokenFile, 'first\n');
  const authorization = authorizationOf({ tokenFile }) as () => string;
  const told: (string | undefined)[] = [];
  const answer: Answer = (asked, response) => {
    told.push(asked.authorization);
    if (told.length === 1) rmSync(tokenFile);
    vector({})(asked, response);
  };
  let asks = 0;
  const { counts } = await drive(answer, {
    until: 45_000,
    authorization: () => {
      if (asks++ === 3) writeFileSync(tokenFile, 'second');
      return authorization();
    },
  });
  expect(told).toEqual(['Bearer first', 'Bearer second', 'Bearer second']);
  expect(counts).toEqual({ ok: 3, away: 2 });
  expect(() => authorizationOf({ tokenFile: join(directory, 'none') })).toThrow('ENOENT');
  const passwordFile = join(directory, 'password');
  writeFileSync(passwordFile, 'p:ss');
  const basic = authorizationOf({ username: 'me', passwordFile })?.();
  expect(basic).toBe(`Basic ${Buffer.from('me:p:ss').toString('base64')}`);
});

test('settings of sources are judged with their place', () => {
  const fault = (text: string, more = ''): string => {
    try {
      loadSettings({ file: { name: 't.yaml', text: `sources: ${text}\n${more}` } });
    } catch (error) {
      if (error instanceof OperatingError) return error.message;
      throw error;
    }
    return 'no fault';
  };
  const at = 'prometheus: "http://p:9090", query: up';
  expect(fault(`[{${at}}, {name: a_b, ${at}, every: 15s, tokenFile: /t}]`)).toBe('no fault');
  expect(fault('[{query: up}]')).toContain('prometheus is missing');
  expect(fault(`[{${at}, every: 0s}]`)).toContain('sources[0].every');
  expect(fault(`[{${at}, name: a-b}]`)).toContain('sources[0].name');
  expect(fault(`[{${at}, name: source_2}, {${at}}]`)).toContain(
    't.yaml:1:1: sources[1]: the name source_2 is given twice',
  );
  expect(fault('[{prometheus: "http://me:x@p", query: up}]')).toContain(
    'set username and passwordFile',
  );
  expect(fault('[{prometheus: "p:9090", query: up}]')).toContain('expected an address');
  expect(fault(`[{${at}, username: me}]`)).toContain('given together or not at all');
  expect(fault(`[{${at}, tokenFile: /t, username: me, passwordFile: /p}]`)).toContain('exclude');
  expect(fault(`[{${at}, tenant: x}]`)).toContain('means nothing while tenancy is off');
  expect(fault(`[{${at}}]`, 'tenancy: header\n')).toContain('whose samples these are');
  expect(fault(`[{${at}, tenant: a/b}]`, 'tenancy: header\n')).toContain('letters, digits');
  const kafka = 'log: {kind: kafka, kafka: {brokers: ["b:1"]}}\nroles: [scorer]\n';
  expect(fault(`[{${at}}]`, kafka)).toContain('add it to roles');
});

test('the service pulls from a real Prometheus: away at first, killed, back, and reconfigured', {
  timeout: 180_000,
}, async () => {
  const port = await freePort();
  const config = join(directory, 'treeline.yaml');
  const address = `http://127.0.0.1:${port}`;
  const source = (name: string, query: string) =>
    `  - { name: ${name}, prometheus: "${address}", query: '${query}', every: 1s }\n`;
  writeFileSync(
    config,
    `sources:\n${source('lookups', 'sum by (job) (rate(prometheus_tsdb_head_series[30s]) + 1)')}`,
  );
  const treeline = await startTreeline({ args: ['--config', config] });
  onTestFinished(async () => {
    await treeline.stop();
  });
  const ready = async () => (await fetch(`${treeline.url}/-/ready`)).text();
  const pulls = async (outcome: string, name = 'lookups') =>
    readingOf(await treeline.metrics(), 'treeline_pulls_total', { source: name, outcome }) ?? 0;
  const line = await eventually('the first try', 10_000, async () => {
    return /^sources: ready; .*$/m.exec(await ready())?.[0].match(/.*ECONNREFUSED.*/)?.[0];
  });
  expect(line).toContain(`1 of 1 bring nothing or not all: lookups: Cannot ask ${address}`);
  expect(await pulls('away')).toBeGreaterThan(0);

  const tsdb = join(directory, 'tsdb');
  const scrape = `
global: { scrape_interval: 1s }
scrape_configs: [{ job_name: self, static_configs: [{ targets: ["127.0.0.1:${port}"] }] }]
`;
  const start = (): Promise<Prometheus> => startPrometheus(scrape, { port, tsdb });
  const first = await start();
  const oks = await eventually('samples', 60_000, async () => {
    const count = await pulls('ok');
    return count >= 3 ? count : undefined;
  });
  expect(await ready()).toMatch(/^sources: ready$/m);
  await first.program.stop('SIGKILL');
  await eventually('the note', 30_000, async () =>
    (await ready()).includes('ECONNREFUSED') ? true : undefined,
  );
  expect((await fetch(`${treeline.url}/-/ready`)).status).toBe(200);
  const second = await start();
  onTestFinished(() => second.stop());
  await eventually('samples again', 90_000, async () =>
    (await pulls('ok')) > oks + 2 ? true : undefined,
  );

  const path = '/anomaly/v1/series?match[]=lookups';
  const { series } = await treeline.json<{ series: { labels: object; interval: number }[] }>(path);
  expect(series.map(({ labels }) => labels)).toEqual([{ __name__: 'lookups', job: 'self' }]);
  expect(await pulls('missed')).toBeGreaterThan(0);
  writeFileSync(config, `sources:\n${source('ups', 'up')}`);
  const reloaded = await fetch(`${treeline.url}/-/reload`, { method: 'POST' });
  expect(await reloaded.json()).toEqual({ changed: ['sources'], needRestart: [] });
  await eventually('the new source', 30_000, async () =>
    (await pulls('ok', 'ups')) > 1 ? true : undefined,
  );
  writeFileSync(config, `sources: []\n`);
  await fetch(`${treeline.url}/-/reload`, { method: 'POST' });
  await partitionsAtRest(treeline);
  const readings = await treeline.metrics();
  expect(identityFaults(readings)).toEqual([]);
  expect(readings.filter(({ name }) => name.startsWith('treeline_pull'))).toEqual([]);
});
