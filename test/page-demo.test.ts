// The page as somebody meets it: `treeline demo` from its start, in a real Chromium. What is seen comes from samples that
// were sent over remote-write; nothing is put into the page. With TREELINE_PICTURES=DIR the pictures are kept there.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { axeFaults, keepPicture, openBrowser, openPage, type Watched } from './browser.js';
import { packageFolder, peerBinary, startAlertmanager } from './peers.js';
import {
  endPrograms,
  eventually,
  freePort,
  type Program,
  runProgram,
  startProgram,
  temporaryDirectory,
} from './programs.js';
import { mainFile } from './treeline-process.js';

const EXPLAINED_MS_MAX = 60_000;
const SEEN_MS_MAX = 2_000;

let url = '';
let demo: Program;
let browser: Browser;
let watched: Watched;
let page: Page;
let startedAt = 0;

beforeAll(async () => {
  browser = await openBrowser();
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  startedAt = performance.now();
  const args = [mainFile(), 'demo', '--listen', `127.0.0.1:${port}`];
  const environment = { TREELINE_LISTEN: undefined };
  demo = await startProgram(process.execPath, args, { environment });
  watched = await openPage(browser, { expected: /Failed to fetch/ });
  page = watched.page;
}, 120_000);

afterAll(async () => {
  await browser?.close();
  if (demo !== undefined && !demo.hasExited()) await demo.stop('SIGINT');
  await endPrograms();
});

async function json<T>(path: string, body?: object): Promise<T> {
  const answer = await fetch(`${url}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    ...(body !== undefined && {
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    }),
  });
  if (!answer.ok) throw new Error(`${path} is answered ${answer.status}: ${await answer.text()}`);
  return (await answer.json()) as T;
}

test('from the start of the demo to its fault explained on the page it takes less than a minute', {
  timeout: 120_000,
}, async () => {
  await eventually('the demo to say where to look', 100_000, async () => {
    if (demo.hasExited()) throw new Error(demo.stderr());
    return demo.stdout().includes('Look at http') ? true : undefined;
  });
  await page.goto(url);
  await page.getByRole('heading', { name: /incident(s are| is) open/ }).waitFor();
  await page.locator('a.row.incident', { hasText: 'pod="database-1"' }).first().click();
  await page.getByText('It began with').first().waitFor();
  const first = page.locator('a.row.member', { hasText: 'first mover' });
  expect(await first.textContent()).toContain('pod=database-1');
  // The reason of each is a number against what was expected.
  expect(await first.textContent()).toMatch(/× expected/);
  const tookMs = performance.now() - startedAt;
  process.stderr.write(`Explained ${(tookMs / 1000).toFixed(1)} s after the demo began\n`);
  expect(tookMs).toBeLessThan(EXPLAINED_MS_MAX);
});

test('a fault put in on the page is on the page within two seconds of its first sample', async () => {
  await page.goto(`${url}/#/now`);
  await page.getByRole('button', { name: 'Dead pod' }).click();
  const path = '/anomaly/v1/anomalies?match[]=up{pod="catalog-3"}&state=open';
  interface Found {
    anomalies: { onset: string; incident: string }[];
  }
  // Followed on the incident's view: it names the series as soon as the page has heard of it.
  const { onset, incident } = await eventually('the dead pod to be found', 10_000, async () => {
    return (await json<Found>(path)).anomalies[0];
  });
  await page.goto(`${url}/#/incident/${incident}?all=1`);
  await page.locator('a.row.member', { hasText: 'catalog-3' }).first().waitFor();
  const begun = Date.now() - Date.parse(onset);
  process.stderr.write(`On the page ${begun} ms after the timestamp of its first sample\n`);
  expect(begun).toBeLessThan(SEEN_MS_MAX);
  await json('/demo/faults', { fault: 'dead-pod', on: false });
});

test('three clicks lead from what is open to "not this again", and one more takes it back', async () => {
  interface Told {
    feedback: { kind: string; anomaly: string }[];
  }
  const told = async () => (await json<Told>('/anomaly/v1/feedback')).feedback;
  await page.goto(`${url}/#/now`);
  await page.locator('a.row.incident', { hasText: 'pod="database-1"' }).first().click();
  await page.locator('a.row.member', { hasText: 'db_query_duration_seconds' }).first().click();
  await page.getByRole('button', { name: 'False alarm' }).click();
  await page.getByRole('status').getByText('Said:').waitFor();
  const [said] = await told();
  expect(said?.kind).toBe('false-alarm');
  await page.locator('.spoken').waitFor();
  await page.getByRole('button', { name: 'Undo' }).click();
  await page.getByText('Taken back:').waitFor();
  expect(await told()).toEqual([]);
  await page.locator('.spoken').waitFor({ state: 'detached' });
  // The series says why, and what the deep check thinks of it.
  expect(await page.locator('main').textContent()).toMatch(
    /Forest.*Deep check.*(confirmed|suppressed|abstained)/s,
  );
  await page.locator('.chart canvas').first().waitFor();
  // The demo has no Prometheus beside it.
  await page.getByText('Older values are not kept here. Name a Prometheus in').waitFor();
});

test('a mute is a maintenance window, which is found again and taken back', async () => {
  interface Windows {
    maintenance: { match: string[]; mute: boolean; active: boolean }[];
  }
  const windows = async () => (await json<Windows>('/anomaly/v1/maintenance')).maintenance;
  await page.goto(`${url}/#/now`);
  await page.locator('a.row.incident', { hasText: 'pod="database-1"' }).first().click();
  await page.getByRole('button', { name: 'Mute for 1 h' }).click();
  await page.getByText('Said: Nobody is notified').waitFor();
  // Where it began, and not all of the namespace.
  expect(await windows()).toMatchObject([
    { match: ['{namespace="shop",pod="database-1"}'], mute: true, active: true },
  ]);
  await page.getByRole('button', { name: 'Close' }).click();
  await page.goto(`${url}/#/now`);
  await page.getByRole('link', { name: '1 maintenance window' }).click();
  await page.getByText('nobody is notified of').waitFor();
  await page.getByRole('button', { name: 'Take back' }).click();
  await page.getByText('Nothing is in force').waitFor();
  expect(await windows()).toEqual([]);
});

test('everything that clicks do, keys do', async () => {
  await page.goto(`${url}/#/now`);
  await page.locator('a.row').first().waitFor();
  const at = () => page.evaluate(() => location.hash);
  await page.keyboard.press('j');
  expect(await page.evaluate(() => document.activeElement?.classList.contains('row'))).toBe(true);
  await page.keyboard.press('Enter');
  await page.getByText('First mover', { exact: true }).waitFor();
  expect(await at()).toMatch(/^#\/incident\//);
  await page.locator('a.row').nth(1).waitFor();
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await page.keyboard.press('k');
  await page.keyboard.press('Enter');
  await page.locator('.chart').waitFor();
  expect(await at()).toMatch(/^#\/series\/[0-9a-f]{16}\?anomaly=/);
  await page.getByRole('button', { name: 'False alarm' }).waitFor();
  await page.keyboard.press('f');
  await page.getByText('Said:').waitFor();
  await page.keyboard.press('u');
  await page.getByText('Taken back:').waitFor();
  await page.keyboard.press('?');
  await page.getByRole('dialog').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  await page.keyboard.press('y');
  await page.getByRole('heading', { name: 'Partitions' }).waitFor();
  await page.keyboard.press('s');
  await page.locator('input[type=search]').waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('{pod="frontend-1",__name__="up"}');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelectorAll('a.row').length === 1);
  expect(await at()).toContain('match=');
  // What is typed into a field is text, not a key.
  await page.keyboard.press('Escape');
  await page.keyboard.press('n');
  expect(await at()).toBe('#/now');
});

test('the address is the state: what is chosen is there again after a reload', async () => {
  await page.goto(`${url}/#/now?show=closed&by=job&span=7d`);
  await page.getByRole('combobox', { name: 'Label' }).waitFor();
  await page.reload();
  await page.locator('a.row.incident').first().waitFor();
  expect(await page.getByRole('combobox', { name: 'Label' }).inputValue()).toBe('job');
  expect(await page.locator('.tabs [aria-current=true]').allInnerTexts()).toEqual(['Closed', '7d']);
  await page.locator('.lane-name', { hasText: 'catalog' }).waitFor();
  // The troubles of the last week are there.
  expect(await page.locator('a.row.incident').count()).toBeGreaterThan(3);
});

interface Rows {
  incidents: { id: string; firstMover: { anomaly: string; series: string } }[];
}

test('what is copied is what Prometheus and Alertmanager take', { timeout: 120_000 }, async () => {
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.goto(`${url}/#/now`);
  await page.locator('a.row.incident', { hasText: 'pod="database-1"' }).first().click();
  const copied = async (name: string) => {
    await page.getByRole('button', { name }).click();
    await page.getByRole('button', { name: 'Copied' }).waitFor();
    const text = await page.evaluate(() => navigator.clipboard.readText());
    await page.getByRole('button', { name: 'Copied' }).waitFor({ state: 'detached' });
    return text;
  };
  const directory = temporaryDirectory('copied');
  const rules = join(directory, 'rules.yml');
  writeFileSync(rules, await copied('Copy as alert rule'));
  const promtool = await peerBinary('promtool');
  const checked = await runProgram(promtool, ['check', 'rules', rules], { timeoutMs: 20_000 });
  expect([checked.code, checked.stdout]).toEqual([0, expect.stringContaining('1 rules found')]);
  const silence = await copied('Copy as silence');
  const alertmanager = await startAlertmanager({ webhookUrl: 'http://127.0.0.1:9/' });
  const peers = await packageFolder('prometheus-alertmanager', join('usr', 'bin', 'amtool'));
  const added = await runProgram(
    'bash',
    ['-c', `${silence} --alertmanager.url=${alertmanager.url} --author=test`],
    {
      timeoutMs: 20_000,
      environment: { PATH: `${join(peers, 'usr', 'bin')}:${process.env['PATH']}` },
    },
  );
  expect([added.code, added.stderr]).toEqual([0, '']);
  const silences = await fetch(`${alertmanager.url}/api/v2/silences`);
  const { id, firstMover } = (await json<Rows>('/anomaly/v1/incidents?state=open')).incidents.find(
    (incident) => incident.firstMover.series.includes('database-1'),
  ) as Rows['incidents'][number];
  expect(firstMover.anomaly).toBe(id.slice(2));
  // The name under which Alertmanager knows the incident.
  expect(await silences.json()).toMatchObject([
    {
      matchers: expect.arrayContaining([
        expect.objectContaining({ name: 'incident', value: id }),
        expect.objectContaining({ name: 'alertname', value: 'Anomaly' }),
      ]),
    },
  ]);
  await alertmanager.stop();
  const run = async (command: string) => {
    const { stdout } = await runProgram('bash', ['-c', command], { timeoutMs: 20_000 });
    return JSON.parse(stdout) as { id: string; match: string[]; active: boolean; anomaly: string };
  };
  const window = await run(await copied('Copy as maintenance window'));
  expect(window).toMatchObject({
    ...{ match: ['{namespace="shop",pod="database-1"}'], mute: true },
    comment: `Treeline incident ${id}`,
  });
  const word = await run(await copied('Copy as feedback'));
  expect(word).toMatchObject({ kind: 'false-alarm', anomaly: firstMover.anomaly });
  for (const path of [`maintenance/${window.id}`, `feedback/${word.id}`]) {
    const { status } = await fetch(`${url}/anomaly/v1/${path}`, { method: 'DELETE' });
    expect([path, status]).toEqual([path, 204]);
  }
  const call = page.locator('.call');
  await call.getByRole('button').click();
  const command = await page.evaluate(() => navigator.clipboard.readText());
  expect(command).toMatch(/^curl -s 'http:\/\/127\.0\.0\.1:\d+\/anomaly\/v1\/incidents\/i-/);
});

test('every view is sound and fits, wide and narrow, light and dark', {
  timeout: 180_000,
}, async () => {
  const { incidents } = await json<Rows>('/anomaly/v1/incidents?order=rank&limit=1');
  const { id, firstMover } = incidents[0] as Rows['incidents'][0];
  const series = firstMover.anomaly.slice(0, 16);
  const views = {
    now: '#/now?span=1d',
    incident: `#/incident/${id}`,
    series: `#/series/${series}`,
    system: '#/system',
    list: '#/series',
  };
  const faults: string[] = [];
  for (const theme of ['light', 'dark'] as const) {
    for (const width of [1280, 390]) {
      const { page: view, complaints } = await openPage(browser, { width, theme });
      for (const [name, hash] of Object.entries(views)) {
        await view.goto(`${url}/${hash}`);
        await view.locator('.headline:not(.faint)').waitFor();
        await view
          .locator(name === 'system' ? 'table' : 'a.row')
          .first()
          .waitFor();
        const place = `${name} ${width} ${theme}`;
        const wide = await view.evaluate(() => document.documentElement.scrollWidth);
        if (wide > width) faults.push(`${place}: ${wide} pixels wide`);
        for (const fault of await axeFaults(view)) faults.push(`${place}: ${fault}`);
        await keepPicture(view, `${name}-${width}-${theme}`);
      }
      for (const complaint of complaints) faults.push(complaint);
      await view.context().close();
    }
  }
  expect(faults).toEqual([]);
});

test('the browser had nothing to complain of, and asked nobody else for anything', () => {
  expect(watched.complaints).toEqual([]);
});
