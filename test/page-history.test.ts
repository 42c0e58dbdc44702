// Values from before what Treeline keeps, on the page: a real Prometheus with a day of history, of which the service reads
// through what is looked at. Then that Prometheus goes away, and the page says what is missing and goes on.

import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { keepPicture, openBrowser, openPage } from './browser.js';
import { type History, makeHistory } from './history-blocks.js';
import { type Prometheus, startPrometheus } from './peers.js';
import { endPrograms, eventually, temporaryDirectory } from './programs.js';
import { startTreeline, type Treeline } from './treeline-process.js';

const MINUTE_MS = 60_000;
const directory = temporaryDirectory('page-history');
let history: History;
let prometheus: Prometheus;
let treeline: Treeline;
let browser: Browser;

beforeAll(async () => {
  const startMs = Math.floor(Date.now() / MINUTE_MS - 1440) * MINUTE_MS;
  history = await makeHistory(directory, { seed: 5, startMs, days: 1, pods: 2 });
  const config = 'global: { external_labels: { cluster: eu } }\n';
  prometheus = await startPrometheus(config, { tsdb: history.tsdb });
  treeline = await startTreeline({
    args: ['--backfill-prometheus', prometheus.url, '--backfill-lookback', '1d'],
  });
  browser = await openBrowser();
}, 120_000);

afterAll(async () => {
  await browser?.close();
  await treeline?.stop();
  await prometheus?.stop();
  await endPrograms();
});

interface Row {
  fingerprint: string;
  labels: Record<string, string>;
  lastTimestamp: string;
}
interface Answer {
  prometheus: string;
  query: string;
  stepSeconds: number;
  points: { timestamp: string; value: number }[];
}

async function seriesOf(selector: string): Promise<Row> {
  return eventually(selector, 30_000, async () => {
    const path = `/anomaly/v1/series?match[]=${encodeURIComponent(selector)}`;
    return (await treeline.json<{ series: Row[] }>(path)).series[0];
  });
}

test('what is read through is what Prometheus has, of gauges the values and of counters the rates', async () => {
  const ok = async (selector: string, promql: string) => {
    const row = await seriesOf(selector);
    // Sent under a label that Prometheus itself does not know.
    expect(row.labels['cluster']).toBe('eu');
    const end = history.endMs / 1000;
    const span = `start=${end - 6 * 3600}&end=${end}`;
    const path = `/anomaly/v1/series/${row.fingerprint}/history?${span}`;
    const { points, query, stepSeconds } = await treeline.json<Answer>(path);
    expect([query, stepSeconds]).toEqual([promql, 60]);
    const search = new URLSearchParams({ query, step: '60' });
    const own = await fetch(`${prometheus.url}/api/v1/query_range?${search}&${span}`);
    const { data } = (await own.json()) as { data: { result: { values: [number, string][] }[] } };
    const wanted = data.result[0]?.values.map(([at, value]) => [1000 * at, Number(value)]);
    expect(points.length).toBeGreaterThan(300);
    expect(points.map(({ timestamp, value }) => [Date.parse(timestamp), value])).toEqual(wanted);
  };
  const pod = 'namespace="shop",pod="pod-1"';
  await ok(`queue_length{${pod}}`, `{__name__="queue_length",${pod}}`);
  await ok(`requests_total{${pod}}`, `rate({__name__="requests_total",${pod}}[240s])`);
});

test('the page shows it behind its own, further back when asked, and says when Prometheus is away', {
  timeout: 60_000,
}, async () => {
  const { fingerprint } = await seriesOf('queue_length{pod="pod-1"}');
  const { page, complaints } = await openPage(browser, { expected: /502/ });
  await page.goto(`${treeline.url}/#/series/${fingerprint}?span=1d`);
  const figure = page.locator('figure.chart');
  const from = `What was before is read from ${prometheus.url}, a value every `;
  await figure.getByText(from).waitFor();
  await figure.getByText('from before, as Prometheus has it').waitFor();
  await figure.locator('canvas').first().waitFor();
  await keepPicture(page, 'history-1280-light');
  await page.getByRole('link', { name: '7d' }).click();
  await page.waitForFunction(() => location.hash.includes('span=7d'));
  // Of a week in steps that fit; it has no more than its day.
  await figure.getByText(`${from}30 min`).waitFor();
  await page.reload();
  await figure.getByText(`${from}30 min`).waitFor();
  expect(await page.locator('.call code').allInnerTexts()).toContainEqual(
    expect.stringMatching(/\/anomaly\/v1\/series\/[0-9a-f]{16}\/history\?start=\d+&end=\d+/),
  );
  await prometheus.program.stop('SIGKILL');
  await page.reload();
  await figure
    .getByText(/Older values are missing: Cannot read older values from .*ECONNREFUSED/)
    .waitFor();
  // The rest of the view is as it was.
  await page.getByRole('heading', { name: 'Labels' }).waitFor();
  expect(complaints).toEqual([]);
  await page.context().close();
});
