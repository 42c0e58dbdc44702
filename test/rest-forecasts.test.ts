// The routes about forecasts over the real server: pages, selectors, tenants, and what is not there.

import { afterEach, expect, test } from 'vitest';
import { Forecasts } from '../src/api/forecasts.js';
import { answerError } from '../src/api/query.js';
import { forecastRoutes } from '../src/api/rest-forecasts.js';
import type { SeriesSource } from '../src/api/rest-series.js';
import { Access } from '../src/auth.js';
import { sizeBytes } from '../src/config.js';
import { Checker } from '../src/deep-check/checker.js';
import { createHttpServer, type HttpServer } from '../src/http-server.js';
import { createOneLiner } from '../src/inference/one-liners.js';
import { anyOf } from '../src/matchers.js';
import { createMetrics } from '../src/metrics.js';
import { quiet } from './api-site.js';

const NOW = 1_763_683_200_000;
const STEP_MS = 15_000;
const SERIES = 7;
let server: HttpServer | undefined;

afterEach(async () => {
  await server?.close();
});

const fingerprintAt = (index: number) => (index + 1).toString(16).padStart(16, '0');

/** Seven series of each tenant, of which the last is too young. */
const source: SeriesSource = {
  isCursor: () => true,
  page: async ({ tenant }) => ({
    rows: Array.from({ length: SERIES }, (_, index) => rowAt(index, tenant)),
  }),
  find: ({ fingerprint, tenant }) => rowAt(Number.parseInt(fingerprint, 16) - 1, tenant),
  count: async () => ({}),
  status: async () => ({ partitions: [] }),
};

function rowAt(index: number, tenant: string) {
  const labels = { __name__: 'load', owner: tenant, n: String(index) };
  const count = index === SERIES - 1 ? 10 : 100;
  const window = Array.from({ length: count }, (_, i) => ({
    timestamp: new Date(NOW - (count - 1 - i) * STEP_MS).toISOString(),
    value: index,
  }));
  const shared = { fingerprint: fingerprintAt(index), series: `load{n="${index}"}`, labels };
  return { ...shared, state: 'active', scoredAs: 'value', window };
}

async function openServer() {
  const desk = new Checker({
    ...{ forecaster: createOneLiner('squared-difference'), clock: Date.now },
    settings: { batch: 32, windowsPerSecond: 1000, waitMsMax: 5_000 },
    onVerdict() {},
    onShed() {},
  });
  const spec = (name: string, tenant: string) => ({
    ...{ name, tenant, match: ['load'], matches: anyOf(['load']), seriesMax: 50 },
    ...{ horizon: '1m', horizonMs: 60_000, interval: '1m', intervalMs: 60_000 },
    quantiles: [0.1, 0.5],
  });
  const specs = [spec('load', 'shop'), spec('load-of-the-bank', 'bank')];
  const clock = () => NOW;
  const forecasts = new Forecasts({ specs, series: source, desk, clock, logger: quiet });
  await forecasts.turn();
  const rules = { credentials: [], open: [], tenancy: 'header' as const, sizeBytes };
  const access = new Access(rules, Date.now);
  const judge = (knock: Parameters<Access['judge']>[0]) => access.judge(knock);
  const opened = createHttpServer({ metrics: createMetrics('0'), logger: quiet, judge });
  server = opened;
  void opened.register(
    async (scope) => {
      scope.setErrorHandler((error: Parameters<typeof answerError>[0], request, reply) =>
        answerError(error, { route: request.routeOptions.url, reply, logger: quiet }),
      );
      forecastRoutes(scope, { forecasts, clock });
    },
    { prefix: '/anomaly/v1' },
  );
  return async (path: string, tenant = 'shop') => {
    const headers = { 'x-scope-orgid': tenant };
    const answer = await opened.inject({ url: `/anomaly/v1/forecasts${path}`, headers });
    return { status: answer.statusCode, body: answer.json() };
  };
}

test('a tenant sees its own forecasts and no others', async () => {
  const get = await openServer();
  const { body } = await get('');
  expect(body).toEqual({
    forecasts: [
      {
        ...{ name: 'load', match: ['load'], horizon: '1m', interval: '1m' },
        ...{ quantiles: [0.1, 0.5], model: 'squared-difference', series: 6, waiting: 1 },
        ...{ limited: false, made: new Date(NOW).toISOString(), problem: null },
      },
    ],
  });
  expect((await get('/load-of-the-bank')).status).toBe(404);
  const bank = await get('/load-of-the-bank', 'bank');
  expect(bank.body.series[0].labels.owner).toBe('bank');
});

test('a page has every step and quantile, or the reason why there is none', async () => {
  const get = await openServer();
  const { body } = await get('/load');
  expect(body.series).toHaveLength(SERIES);
  expect(body.series[3]).toEqual({
    ...{ fingerprint: fingerprintAt(3), series: 'load{n="3"}', scoredAs: 'value' },
    labels: { __name__: 'load', owner: 'shop', n: '3' },
    ...{ state: 'forecast', reason: null, model: 'squared-difference', stepSeconds: 15 },
    ...{ made: new Date(NOW).toISOString(), from: new Date(NOW).toISOString() },
    timestamps: [1, 2, 3, 4].map((step) => new Date(NOW + step * STEP_MS).toISOString()),
    // It has never moved, and so it stays.
    quantiles: { '0.1': [3, 3, 3, 3], '0.5': [3, 3, 3, 3] },
  });
  expect(body.series[6]).toMatchObject({
    ...{ state: 'waiting', reason: '10 values are known, 64 are needed', made: null },
    ...{ timestamps: [], quantiles: {} },
  });
});

test('pages follow each other; selectors choose; what is not understood is 400', async () => {
  const get = await openServer();
  const seen: string[] = [];
  for (let cursor = ''; ; ) {
    const { body } = await get(`/load?limit=3${cursor}`);
    for (const { labels } of body.series) seen.push(labels.n);
    if (body.cursor === undefined) break;
    cursor = `&cursor=${body.cursor}`;
  }
  expect(seen).toEqual(['0', '1', '2', '3', '4', '5', '6']);
  const chosen = await get(`/load?${new URLSearchParams({ 'match[]': '{n=~"2|5"}' })}`);
  expect(chosen.body.series.map(({ labels }: { labels: { n: string } }) => labels.n)).toEqual([
    '2',
    '5',
  ]);
  const bad = async (query: string, want: string) => {
    const { status, body } = await get(`/load?${query}`);
    expect([status, body.error]).toEqual([400, expect.stringContaining(want)]);
  };
  await bad('cursor=00000000000000ff', 'begin again');
  await bad('cursor=x', 'cursor');
  await bad('limit=0', 'limit');
  await bad('match[]=%7Ba%3D', 'Cannot read the selector');
});
