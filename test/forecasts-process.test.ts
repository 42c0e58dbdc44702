// The built program with forecasts set: a seasonal series is sent, and what its gauges and its REST answer say of the future
// is compared with that future, which nobody has sent.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { endPrograms, eventually, temporaryDirectory } from './programs.js';
import { randomOf } from './random.js';
import { openSender, writeBody } from './remote-write-sender.js';
import { parseMetrics, readingOf, startTreeline } from './treeline-process.js';

const STEP_MS = 15_000;
const SAMPLES = 512;
const FORECAST_MS_MAX = 60_000;

const SETTINGS = `
forecasts:
  - name: near
    match: ['queue_length{job="shop"}']
    horizon: 16m
    interval: 10s
    quantiles: [0.99, 0.01, 0.5]
  - name: far
    match: ['queue_length']
    horizon: 1h
    interval: 10s
`;

interface ForecastPage {
  forecast: { series: number; waiting: number; model: string };
  series: {
    series: string;
    state: string;
    reason: string | null;
    stepSeconds: number;
    from: string;
    timestamps: string[];
    quantiles: Record<string, number[]>;
  }[];
}

afterEach(endPrograms);

test('the future of a seasonal series lies within its 98 % band', async () => {
  const file = join(temporaryDirectory('forecasts'), 'treeline.yaml');
  writeFileSync(file, SETTINGS);
  const treeline = await startTreeline({ args: ['--config', file, '--logging-level', 'warn'] });
  const random = randomOf(11);
  const firstMs = Date.now() - (SAMPLES - 1) * STEP_MS;
  const valueAt = (i: number) => 100 + 20 * Math.sin((2 * Math.PI * i) / 48) + 2 * (random() - 0.5);
  const seriesOf = (job: string, count: number) => ({
    labels: { __name__: 'queue_length', job, instance: `${job}:1` },
    points: Array.from(
      { length: count },
      (_, i) => [firstMs + (SAMPLES - count + i) * STEP_MS, valueAt(i)] as const,
    ),
  });
  const sender = openSender(treeline.url);
  const body = writeBody([seriesOf('shop', SAMPLES), seriesOf('bank', 30)]);
  expect((await sender.send(body)).status).toBe(204);
  sender.close();

  const page = (name: string) => treeline.json<ForecastPage>(`/anomaly/v1/forecasts/${name}`);
  const near = await eventually('a forecast', FORECAST_MS_MAX, async () => {
    const answer = await page('near');
    return answer.forecast.series === 1 ? answer : undefined;
  });
  expect(near.forecast.model).toBe('nano-2.0.0');
  const [shop] = near.series;
  expect(shop).toMatchObject({ state: 'forecast', stepSeconds: 15 });
  expect(Date.parse(shop?.from ?? '')).toBe(firstMs + (SAMPLES - 1) * STEP_MS);
  const { '0.01': lower = [], '0.5': median = [], '0.99': upper = [] } = shop?.quantiles ?? {};
  expect(shop?.timestamps.length).toBe(64);
  let inside = 0;
  let error = 0;
  let width = 0;
  for (const step of shop?.timestamps.keys() ?? []) {
    const value = valueAt(SAMPLES + step);
    if (value >= (lower[step] as number) && value <= (upper[step] as number)) inside++;
    error += Math.abs(value - (median[step] as number)) / 64;
    width += ((upper[step] as number) - (lower[step] as number)) / 64;
  }
  // A band of 98 % holds 63 of 64 on average. Who did not see the wave would be 12.7 off, or need a band of all that it spans.
  expect(inside).toBeGreaterThanOrEqual(58);
  expect(error).toBeLessThan(4);
  expect(width).toBeLessThan(60);

  const gauges = parseMetrics(await treeline.text('/metrics/anomalies'));
  const labels = { source_metric: 'queue_length', job: 'shop', instance: 'shop:1' };
  const end = { ...labels, forecast: 'near', quantile: '0.5' };
  expect(readingOf(gauges, 'anomaly_forecast', end)).toBe(median.at(-1));
  const about = readingOf(gauges, 'anomaly_forecast_timestamp_seconds', {
    ...labels,
    forecast: 'near',
  });
  expect(about).toBe((firstMs + (SAMPLES - 1 + 64) * STEP_MS) / 1000);

  const far = await eventually('the far one', FORECAST_MS_MAX, async () => {
    const answer = await page('far');
    return answer.forecast.series === 1 ? answer : undefined;
  });
  expect(far.forecast.waiting).toBe(1);
  const made = far.series.find(({ state }) => state === 'forecast');
  expect(made).toMatchObject({ stepSeconds: 60 });
  expect(made?.timestamps.length).toBe(60);
  expect(Object.keys(made?.quantiles ?? {})).toEqual(['0.1', '0.5', '0.9']);
  const young = far.series.find(({ state }) => state === 'waiting');
  expect(young?.reason).toBe('7 values of one in 60 s are known, 64 are needed');

  expect(await treeline.text('/-/ready')).toContain('forecasts: ready\n');
  const status = await treeline.json<{ forecasts: object[] }>('/anomaly/v1/status');
  expect(status.forecasts).toEqual([
    { name: 'near', series: 1, waiting: 0, limited: false, problem: null },
    { name: 'far', series: 1, waiting: 1, limited: false, problem: null },
  ]);
  const metrics = await treeline.metrics();
  const total = readingOf(metrics, 'treeline_forecasts_total', { outcome: 'made' });
  expect(total).toBeGreaterThanOrEqual(2);
  expect(readingOf(metrics, 'treeline_forecast_series', { forecast: 'far' })).toBe(1);
  const api = await treeline.json<{ paths: object }>('/openapi.json');
  expect(Object.keys(api.paths)).toContain('/anomaly/v1/forecasts/{name}');
  expect((await fetch(`${treeline.url}/anomaly/v1/forecasts/other`)).status).toBe(404);
  await treeline.stop();
});
