// The demo's storyboard without a browser: the shop is what it says it is, every fault does to it what its text says, and
// the routes take only what they know. That the faults are found is asserted where they are looked at.

import { expect, test } from 'vitest';
import { FAULTS, type FaultName, Faults } from '../src/cli/demo-faults.js';
import { demoRoutes } from '../src/cli/demo-routes.js';
import { createShop } from '../src/cli/demo-shop.js';
import { createHttpServer, type Logger } from '../src/http-server.js';
import { createMetrics } from '../src/metrics.js';
import { seriesText } from '../src/series.js';

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const NOON = Date.UTC(2026, 0, 5, 12);
const STEP_MS = 5_000;

/** Mean of the last `count` values of each series, undefined where nothing was said. */
function run(prepare: (faults: Faults) => void, { steps = 60, count = 12 } = {}) {
  const shop = createShop(3);
  const faults = new Faults();
  prepare(faults);
  const sums = new Map<string, { sum: number; last: number; seen: number }>();
  let before = new Map<string, number>();
  for (let step = 0; step < steps; step++) {
    const moment = shop.momentAt(NOON + step * STEP_MS, faults);
    const values = new Map<string, number>();
    for (const { labels, next } of shop.series) {
      const name = seriesText(labels);
      const value = next(moment);
      if (value === undefined) continue;
      values.set(name, value);
      if (step < steps - count) continue;
      const isCounter = name.includes('_total');
      const seen = isCounter ? (value - (before.get(name) ?? value)) / (STEP_MS / 1000) : value;
      const entry = sums.get(name) ?? { sum: 0, last: 0, seen: 0 };
      sums.set(name, { sum: entry.sum + seen, last: value, seen: entry.seen + 1 });
    }
    before = values;
  }
  return {
    names: [...sums.keys()],
    mean: (name: string) => {
      const entry = sums.get(name);
      return entry === undefined ? undefined : entry.sum / entry.seen;
    },
    last: (name: string) => sums.get(name)?.last ?? Number.NaN,
  };
}

const on =
  (name: FaultName, atMs = NOON) =>
  (faults: Faults) =>
    faults.set(name, true, atMs);
const calm = run(() => {});
const ratio = (disturbed: ReturnType<typeof run>, name: string) =>
  (disturbed.mean(name) ?? Number.NaN) / (calm.mean(name) ?? Number.NaN);

test('the shop has 12 pods and about 150 series, the same each time', () => {
  const { series } = createShop(3);
  const names = series.map(({ labels }) => seriesText(labels));
  expect(new Set(names).size).toBe(names.length);
  expect(names.length).toBeGreaterThanOrEqual(140);
  expect(names.length).toBeLessThanOrEqual(160);
  const pods = new Set(
    series.flatMap(({ labels }) =>
      labels.filter(({ name }) => name === 'pod').map(({ value }) => value),
    ),
  );
  expect(pods.size).toBe(12);
  const again = run(() => {});
  for (const name of calm.names) expect([name, again.mean(name)]).toEqual([name, calm.mean(name)]);
});

test('a slow database is felt by those that wait for it, and later the further they are away', () => {
  const query =
    'db_query_duration_seconds{job="database", namespace="shop", pod="database-1", quantile="0.99"}';
  const web = (pod: string, job: string) =>
    `http_request_duration_seconds{job="${job}", namespace="shop", pod="${pod}", quantile="0.5"}`;
  const after = (seconds: number) => {
    const steps = 1 + (seconds * 1000) / STEP_MS;
    return run(on('latency-step'), { steps, count: 1 });
  };
  expect(ratio(after(0), query)).toBeGreaterThan(6);
  expect(ratio(after(0), web('checkout-1', 'checkout'))).toBeLessThan(1.3);
  expect(ratio(after(5), web('checkout-1', 'checkout'))).toBeGreaterThan(2);
  expect(ratio(after(5), web('frontend-1', 'frontend'))).toBeLessThan(1.3);
  expect(ratio(after(10), web('frontend-1', 'frontend'))).toBeGreaterThan(2);
  const replica = query.replace('database-1', 'database-2');
  expect(ratio(after(10), replica)).toBeLessThan(1.3);
});

test('a leak grows by a hundredth a second and ends in a restart', () => {
  const memory =
    'container_memory_working_set_bytes{job="worker", namespace="batch", pod="worker-1"}';
  const restarts =
    'kube_pod_container_status_restarts_total{job="worker", namespace="batch", pod="worker-1"}';
  const leaking = run(on('memory-leak'), { steps: 11, count: 1 });
  expect(ratio(leaking, memory)).toBeGreaterThan(1.4);
  expect(leaking.last(restarts)).toBe(0);
  const restarted = run(on('memory-leak'), { steps: 22, count: 1 });
  expect(restarted.last(restarts)).toBe(1);
  expect(ratio(restarted, memory)).toBeLessThan(1.2);
});

test('a dead pod says nothing but that it is down, and others take its requests', () => {
  const dead = run(on('dead-pod'));
  expect(dead.last('up{job="catalog", namespace="shop", pod="catalog-3"}')).toBe(0);
  expect(dead.names.filter((name) => name.includes('catalog-3'))).toHaveLength(1);
  const requests =
    'http_requests_total{code="200", job="catalog", namespace="shop", pod="catalog-1"}';
  expect(ratio(dead, requests)).toBeGreaterThan(1.4);
});

test('a cron job that is missing is waited for ever longer, and the others are not', () => {
  const delay = (job: string) =>
    `cronjob_start_delay_seconds{cronjob="${job}", job="cron", namespace="cron"}`;
  const missing = run(on('cron-missing'), { steps: 60, count: 1 });
  expect(missing.last(delay('stock-sync'))).toBeGreaterThan(230);
  expect(missing.last(delay('send-invoices'))).toBeLessThan(3);
  expect(calm.last(delay('stock-sync'))).toBeLessThan(3);
  // When it may run again, it is soon as punctual as before.
  const over = run((faults) => {
    faults.set('cron-missing', true, NOON);
    faults.set('cron-missing', false, NOON + 120_000);
  });
  expect(over.last(delay('stock-sync'))).toBeLessThan(3);
});

test('a surge reaches everything that carries requests, and it ends', () => {
  const surge = run(on('traffic-surge'));
  for (const tier of ['frontend', 'checkout', 'catalog']) {
    const name = `http_requests_total{code="200", job="${tier}", namespace="shop", pod="${tier}-1"}`;
    expect(ratio(surge, name)).toBeGreaterThan(2);
  }
  const over = run((faults) => {
    faults.set('traffic-surge', true, NOON);
    faults.set('traffic-surge', false, NOON + 60_000);
  });
  const orders = 'orders_total{job="worker", namespace="batch", payment="card", pod="worker-1"}';
  expect(ratio(over, orders)).toBeLessThan(1.3);
});

test('the routes list the faults, put them in and take them away, and refuse what they do not know', async () => {
  const server = createHttpServer({ metrics: createMetrics('0'), logger: quiet });
  const faults = new Faults();
  let changes = 0;
  demoRoutes(server, { faults, clock: () => NOON, onChange: () => changes++ });
  const post = (payload: object) => server.inject({ method: 'POST', url: '/demo/faults', payload });
  interface Row {
    name: string;
    since: string | null;
  }
  const running = async () =>
    (await server.inject({ url: '/demo/faults' }))
      .json<{ faults: Row[] }>()
      .faults.filter(({ since }) => since !== null)
      .map(({ name }) => name);
  expect(await running()).toEqual([]);
  for (const { name } of FAULTS) expect((await post({ fault: name })).statusCode).toBe(200);
  expect(await running()).toEqual(FAULTS.map(({ name }) => name));
  expect((await post({ fault: 'dead-pod', on: false })).statusCode).toBe(200);
  expect(await running()).not.toContain('dead-pod');
  expect(changes).toBe(FAULTS.length + 1);
  for (const body of [{}, { fault: 'no-such' }, { fault: 1 }, { fault: 'dead-pod', on: 'yes' }]) {
    const answer = await post(body);
    expect([body, answer.statusCode]).toEqual([body, 400]);
    expect(answer.json<{ error: string }>().error).toContain('latency-step');
  }
  expect(new Set(FAULTS.map(({ key }) => key)).size).toBe(FAULTS.length);
  await server.close();
});
