// Older values of one series through the route that reads them: what a Prometheus is asked, which of what it answers is the
// series, and what is said when there is nothing. The Prometheus is a server that answers as each test says; a real one is
// met in page-history.test.ts.

import type { ServerResponse } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { answerError } from '../src/api/query.js';
import { historyRoute } from '../src/api/rest-history.js';
import type { SeriesSource } from '../src/api/rest-series.js';
import { createHttpServer } from '../src/http-server.js';
import { PAST_ANSWER_BYTES_MAX, PAST_READS_MAX } from '../src/limits.js';
import { createMetrics } from '../src/metrics.js';
import { type PastPlace, PastValues } from '../src/past-values.js';
import { openPrometheusApi } from '../src/prometheus-api.js';
import { type Asked, sendFault, sendSuccess, startApiServer } from './api-server.js';
import { quiet } from './api-site.js';
import { parseMetrics, readingOf } from './treeline-process.js';

const FINGERPRINT = '00000000000000aa';
const END = 1_800_000_000;
const LABELS = { __name__: 'load', instance: 'a:1', job: 'node' };

type Answer = (asked: Asked, response: ServerResponse) => void;

interface Case {
  labels?: Record<string, string>;
  scoredAs?: 'value' | 'rate';
  stripped?: string[];
  queries?: PastPlace['queries'];
  tenant?: string;
  authorization?: () => string;
}

async function siteOf(answer: Answer, of: Case = {}) {
  const served = await startApiServer(answer);
  onTestFinished(() => served.stop());
  const metrics = createMetrics('0');
  const server = createHttpServer({ metrics, logger: quiet });
  const { labels = LABELS, scoredAs = 'value', stripped = [], queries = [], tenant = '' } = of;
  const series = {
    find: ({ fingerprint }: { fingerprint: string }) =>
      fingerprint === FINGERPRINT ? { labels, scoredAs, intervalSeconds: 15 } : undefined,
  } as unknown as SeriesSource;
  const clock = () => END * 1000;
  const past = new PastValues({ clock, stripped, metrics });
  past.use([{ tenant, api: openPrometheusApi(served.url, of.authorization), queries }]);
  void server.register(async (scope) => {
    scope.setErrorHandler((error: Parameters<typeof answerError>[0], request, reply) =>
      answerError(error, { route: request.routeOptions.url, reply, logger: quiet }),
    );
    historyRoute(scope, { series, past, clock });
  });
  return {
    ...{ served, past },
    async get(query = '', fingerprint = FINGERPRINT) {
      const answer = await server.inject({ url: `/series/${fingerprint}/history${query}` });
      return { status: answer.statusCode, body: answer.json() };
    },
    count: async (outcome: string) =>
      readingOf(parseMetrics(await metrics.text()), 'treeline_past_reads_total', { outcome }),
  };
}

type Values = [number, string][];
const matrix =
  (...result: { metric: Record<string, string>; values: Values }[]): Answer =>
  (_asked, response) =>
    sendSuccess(response, { resultType: 'matrix', result });
const VALUES: Values = [
  [END - 60, '1.5'],
  [END - 30, 'NaN'],
  [END, '+Inf'],
];

test('a series is asked for by all of its labels, in steps that people count in', async () => {
  const ok = async (query: string, step: number, start: number) => {
    const { served, get } = await siteOf(matrix({ metric: LABELS, values: VALUES }));
    const { status, body } = await get(query);
    expect([query, status]).toEqual([query, 200]);
    expect(served.asked).toHaveLength(1);
    expect(served.asked[0]?.path).toBe('query_range');
    expect(served.asked[0]?.parameters).toMatchObject({
      query: '{__name__="load",instance="a:1",job="node"}',
      step: String(step),
      start: String(start),
      end: String(END),
    });
    expect(body).toMatchObject({ prometheus: served.url, stepSeconds: step, reason: '' });
    expect(body.points).toEqual([
      { timestamp: new Date((END - 60) * 1000).toISOString(), value: 1.5 },
      { timestamp: new Date((END - 30) * 1000).toISOString(), value: null },
      { timestamp: new Date(END * 1000).toISOString(), value: null },
    ]);
  };
  const DAY = 86_400;
  // Six hours of 500 points unless said; never shorter than the interval; whole hours in the end.
  await ok('', 60, END - DAY / 4);
  await ok(`?start=${END - 600}`, 15, END - 600);
  await ok(`?start=${END - 7 * DAY}&points=1000`, 900, END - 7 * DAY);
  // From the first multiple of the step on.
  await ok(`?start=${new Date((END - DAY) * 1000).toISOString()}&points=2`, 43_200, 1_799_928_000);
});

test('of a counter the rate is asked for, over a step or four of its intervals', async () => {
  const { __name__: _name, ...others } = LABELS;
  const answer = matrix({ metric: others, values: VALUES });
  const { served, get } = await siteOf(answer, { scoredAs: 'rate' });
  const { body } = await get(`?start=${END - 600}`);
  expect(served.asked[0]?.parameters['query']).toBe(
    'rate({__name__="load",instance="a:1",job="node"}[60s])',
  );
  expect([body.scoredAs, body.points.length]).toEqual(['rate', 3]);
});

test('the series is found without what its Prometheus adds on sending, with what is stripped on arrival, or by its query', async () => {
  const added: Answer = ({ path, parameters }, response) => {
    if (path === 'status/config') {
      return sendSuccess(response, { yaml: 'global:\n  external_labels:\n    cluster: eu\n' });
    }
    const isOwn = parameters['query'] === '{__name__="load",instance="a:1"}';
    const metric = { __name__: 'load', instance: 'a:1' };
    matrix(...(isOwn ? [{ metric, values: VALUES }] : []))({ path } as Asked, response);
  };
  const labels = { __name__: 'load', instance: 'a:1', cluster: 'eu' };
  const one = await siteOf(added, { labels });
  expect((await one.get()).body.points).toHaveLength(3);
  // Its configuration is asked for once in a while only.
  expect((await one.get()).body.points).toHaveLength(3);
  expect(one.served.asked.filter(({ path }) => path === 'status/config')).toHaveLength(1);

  const replicas = ['a', 'b'].map((replica, index) => ({
    metric: { ...LABELS, replica },
    values: VALUES.slice(index),
  }));
  const two = await siteOf(matrix(...replicas), { stripped: ['replica'] });
  expect((await two.get()).body.points).toHaveLength(3);
  // Where nothing is stripped they are other series.
  const three = await siteOf(matrix(...replicas));
  expect((await three.get()).body).toMatchObject({
    points: [],
    reason: expect.stringContaining('no values'),
  });

  const pulled: Answer = ({ parameters }, response) => {
    const isQuery = parameters['query'] === 'sum by (job) (up)';
    const result = ['node', 'other'].map((job) => ({ metric: { job }, values: VALUES }));
    matrix(...(isQuery ? result : []))({} as Asked, response);
  };
  const four = await siteOf(pulled, {
    labels: { __name__: 'ups', job: 'node' },
    queries: [
      { name: 'others', query: 'never asked' },
      { name: 'ups', query: 'sum by (job) (up)' },
    ],
  });
  const { body } = await four.get();
  expect([body.query, body.points.length]).toEqual(['sum by (job) (up)', 3]);
  expect(four.served.asked.map(({ parameters }) => parameters['query'])).not.toContain(
    'never asked',
  );
});

test('labels are text to Prometheus, whatever they say', async () => {
  const labels = { __name__: 'a', 'http.status': '200', hostile: `"} or {x="\\\n` };
  const { served, get } = await siteOf(matrix({ metric: labels, values: VALUES }), { labels });
  expect((await get()).body.points).toHaveLength(3);
  expect(served.asked[0]?.parameters['query']).toBe(
    String.raw`{__name__="a",hostile="\"} or {x=\"\\\n","http.status"="200"}`,
  );
});

test('a tenant is not shown what another one’s Prometheus has, and that none is named is an answer', async () => {
  const { served, get, past } = await siteOf(matrix({ metric: LABELS, values: VALUES }), {
    tenant: 'blue',
  });
  const none = {
    prometheus: null,
    points: [],
    reason: expect.stringContaining('backfill.prometheus'),
  };
  expect(await get()).toMatchObject({ status: 200, body: none });
  expect(served.asked).toEqual([]);
  const undo = past.use([{ tenant: '', api: openPrometheusApi(served.url), queries: [] }]);
  expect((await get()).body.points).toHaveLength(3);
  undo();
  expect((await get()).body).toMatchObject(none);
});

test('what cannot be read is an error with its reason, and counted', async () => {
  const ok = async (
    answer: Answer,
    [status, outcome, sentence]: [number, string, string],
    of: Case = {},
  ) => {
    const { get, count } = await siteOf(answer, of);
    const { status: found, body } = await get();
    expect([found, body.error]).toEqual([status, expect.stringContaining(sentence)]);
    expect([outcome, await count(outcome)]).toEqual([outcome, 1]);
  };
  const [away, refused] = [502, 502];
  await ok((_asked, response) => response.destroy(), [away, 'unreachable', 'Cannot read older']);
  await ok((_asked, response) => response.writeHead(503).end(), [away, 'unreachable', '503']);
  await ok(
    (_asked, response) => sendFault(response, 400, ['bad_data', 'parse error']),
    [refused, 'refused', 'parse error'],
  );
  await ok(
    (_asked, response) => sendSuccess(response, { resultType: 'vector', result: [] }),
    [refused, 'refused', 'no matrix'],
  );
  await ok(
    (_asked, response) => response.end('x'.repeat(PAST_ANSWER_BYTES_MAX + 1)),
    [refused, 'refused', `more than ${PAST_ANSWER_BYTES_MAX} bytes`],
  );
});

test('requests that cannot be meant are refused, and more at once than are read are asked to come again', async () => {
  const waiting: ServerResponse[] = [];
  const { get, count, served } = await siteOf((_asked, response) => void waiting.push(response));
  expect((await get('?start=5&end=5')).body.error).toContain('not before');
  expect((await get(`?start=${END - 36 * 86_400}`)).body.error).toContain('35 days');
  expect((await get('?points=2001')).status).toBe(400);
  expect((await get('?start=yesterday')).body.error).toContain('expected RFC 3339');
  expect((await get('', 'nobody')).status).toBe(404);
  expect((await get('', '00000000000000bb')).status).toBe(404);
  expect(served.asked).toEqual([]);
  const under = Array.from({ length: PAST_READS_MAX }, () => get());
  while (waiting.length < PAST_READS_MAX) await new Promise((turn) => setTimeout(turn, 5));
  expect(await get()).toMatchObject({
    status: 503,
    body: { error: expect.stringContaining('again') },
  });
  expect(await count('busy')).toBe(1);
  for (const response of waiting) matrix({ metric: LABELS, values: VALUES })({} as Asked, response);
  for (const answered of await Promise.all(under)) expect(answered.status).toBe(200);
  expect(await count('answered')).toBe(PAST_READS_MAX);
});
