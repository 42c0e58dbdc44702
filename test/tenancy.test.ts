// Two tenants send the very same series to one process. Each sees its own, on every route there is, and nothing else of
// the other: no series, no gauge, no anomaly, no count.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startPrometheus } from './peers.js';
import { endPrograms, eventually } from './programs.js';
import { randomOf } from './random.js';
import { openSender, type Sender, WRITE_HEADERS, writeBody } from './remote-write-sender.js';
import { startTreeline, type Treeline } from './treeline-process.js';

const MINUTE = 60_000;
const SAMPLES = 160;
const directory = mkdtempSync(join(tmpdir(), 'treeline-tenancy-'));
let treeline: Treeline;
let sender: Sender;

const tokens = { alpha: 'secret-of-alpha', operator: 'secret-of-the-operator' };
const bearer = (name: keyof typeof tokens) => ({ Authorization: `Bearer ${tokens[name]}` });
const asTenant = (tenant: string) => ({ ...bearer('operator'), 'X-Scope-OrgID': tenant });

beforeAll(async () => {
  for (const [name, token] of Object.entries(tokens)) writeFileSync(join(directory, name), token);
  const config = join(directory, 'treeline.yaml');
  writeFileSync(
    config,
    `tenancy: header
log.partitions: 2
gauges.scores: all
auth.credentials:
  - { name: alpha, tokenFile: ${directory}/alpha, allow: [write, read], tenant: alpha }
  - { name: operator, tokenFile: ${directory}/operator, allow: [write, read, admin] }
`,
  );
  treeline = await startTreeline({ args: ['--config', config, '--verdicts', 'off'] });
  sender = openSender(treeline.url);
  const begin = Math.floor(Date.now() / MINUTE) * MINUTE - SAMPLES * MINUTE;
  // The same series of both; only beta's goes wrong at its end. Beta has one more besides.
  for (const [tenant, fault] of [
    ['alpha', 0],
    ['beta', 500],
  ] as const) {
    const random = randomOf(3);
    const points = Array.from({ length: SAMPLES }, (_, i) => {
      const value = 10 + random() + (i >= SAMPLES - 3 ? fault : 0);
      return [begin + i * MINUTE, value] as const;
    });
    const labels = { __name__: 'latency', instance: 'a:1', job: 'shop' };
    const series = [{ labels, points }];
    if (tenant === 'beta') series.push({ labels: { ...labels, job: 'beta-only' }, points });
    const headers = {
      ...WRITE_HEADERS,
      ...(tenant === 'alpha' ? bearer('alpha') : asTenant('beta')),
    };
    expect((await sender.send(writeBody(series), headers)).status).toBe(204);
  }
});

afterAll(async () => {
  sender.close();
  await treeline.stop();
  await endPrograms();
  rmSync(directory, { recursive: true });
});

async function get(path: string, headers: Record<string, string>) {
  const answer = await fetch(`${treeline.url}${path}`, { headers });
  return { status: answer.status, body: await answer.text() };
}

const seriesOf = async (headers: Record<string, string>) => {
  const { body } = await get('/anomaly/v1/series', headers);
  return (JSON.parse(body) as { series: { series: string; fingerprint: string }[] }).series;
};
const anomaliesOf = async (headers: Record<string, string>) => {
  const { body } = await get('/anomaly/v1/anomalies', headers);
  return (JSON.parse(body) as { anomalies: { id: string }[] }).anomalies;
};

test('a tenant sees its own series, gauges and anomalies on every route, and no other', async () => {
  const beta = await eventually('the anomalies of beta', 30_000, async () => {
    const found = await anomaliesOf(asTenant('beta'));
    return found.length >= 2 ? found : undefined;
  });
  for (const alpha of [bearer('alpha'), asTenant('alpha')]) {
    const own = await seriesOf(alpha);
    expect(own.map(({ series }) => series)).toEqual(['latency{instance="a:1", job="shop"}']);
    expect(await anomaliesOf(alpha)).toEqual([]);
    for (const { id } of beta) {
      expect((await get(`/anomaly/v1/anomalies/${id}`, alpha)).status).toBe(404);
      expect((await get(`/anomaly/v1/anomalies/${id}`, asTenant('beta'))).status).toBe(200);
      expect((await get(`/anomaly/v1/anomalies?cursor=${id}`, alpha)).status).toBe(400);
    }
    for (const { fingerprint } of await seriesOf(asTenant('beta'))) {
      expect((await get(`/anomaly/v1/series/${fingerprint}`, alpha)).status).toBe(404);
      expect((await get(`/anomaly/v1/series/${fingerprint}`, asTenant('beta'))).status).toBe(200);
    }
    const gauges = (await get('/metrics/anomalies', alpha)).body;
    expect(gauges.match(/^anomaly_score\{/gm)).toHaveLength(1);
    expect(gauges).toMatch(/^anomaly_rate\{.*job="shop".*\} 0$/m);
    expect(gauges).not.toContain('beta-only');
    const status = JSON.parse((await get('/anomaly/v1/status', alpha)).body) as object;
    expect(status).toEqual({ tenant: 'alpha', anomalies: 0, series: 1, scored: 1 });
    expect((await get('/metrics', alpha)).status).toBe(403);
    expect((await get('/metrics?all=1', alpha)).status).toBe(403);
  }
  const gauges = (await get('/metrics/anomalies', asTenant('beta'))).body;
  expect(gauges.match(/^anomaly_flag\{.*\} 1$/gm)).toHaveLength(2);
  // The same labels of two tenants are two series.
  const [alphas, betas] = [await seriesOf(bearer('alpha')), await seriesOf(asTenant('beta'))];
  expect(new Set([...alphas, ...betas].map(({ fingerprint }) => fingerprint)).size).toBe(3);
  expect(await seriesOf(asTenant('gamma'))).toEqual([]);
});

test('who names no tenant, another one or none that can be, is told so', async () => {
  const statusOf = async (path: string, headers: Record<string, string>) =>
    (await get(path, headers)).status;
  for (const path of ['/anomaly/v1/series', '/anomaly/v1/anomalies', '/metrics/anomalies']) {
    expect([path, await statusOf(path, bearer('operator'))]).toEqual([path, 400]);
    expect([path, await statusOf(path, {})]).toEqual([path, 401]);
    const foreign = { ...bearer('alpha'), 'X-Scope-OrgID': 'beta' };
    expect([path, await statusOf(path, foreign)]).toEqual([path, 403]);
    expect([path, await statusOf(path, asTenant('a/b'))]).toEqual([path, 400]);
  }
  const body = writeBody([{ labels: { __name__: 'x' }, points: [[Date.now(), 1]] }]);
  const of = async (headers: Record<string, string>) =>
    (await sender.send(body, { ...WRITE_HEADERS, ...headers })).status;
  expect(await of(bearer('operator'))).toBe(400);
  expect(await of({ ...bearer('alpha'), 'X-Scope-OrgID': 'beta' })).toBe(403);
  expect(await of({})).toBe(401);
});

test('the operator sees the process as a whole, and health needs nothing', async () => {
  const status = JSON.parse((await get('/anomaly/v1/status', bearer('operator'))).body) as {
    partitions: { series: number }[];
  };
  expect(status.partitions.reduce((sum, { series }) => sum + series, 0)).toBe(3);
  expect((await get('/metrics', bearer('operator'))).body).toContain('treeline_series{');
  expect((await get('/metrics?all=1', bearer('operator'))).status).toBe(400);
  expect((await get('/-/ready', {})).status).toBe(200);
  expect((await get('/-/healthy', {})).status).toBe(200);
  const reload = await fetch(`${treeline.url}/-/reload`, {
    method: 'POST',
    headers: bearer('alpha'),
  });
  expect(reload.status).toBe(403);
});

test('no secret stands in the log or in what is printed', () => {
  const text = treeline.program.stderr() + treeline.program.stdout();
  expect(text).toContain(`credentials_file: ${directory}/alpha`);
  for (const token of Object.values(tokens)) expect(text).not.toContain(token);
});

test('after a restart each still has its own', async () => {
  const args = ['--config', join(directory, 'treeline.yaml'), '--verdicts', 'off'];
  const before = await seriesOf(asTenant('beta'));
  const { dataDir, port } = treeline;
  await treeline.kill();
  treeline = await startTreeline({ args, dataDir, port });
  expect(await seriesOf(bearer('alpha'))).toHaveLength(1);
  expect(await seriesOf(asTenant('beta'))).toEqual(before);
  expect((await anomaliesOf(asTenant('beta'))).length).toBeGreaterThanOrEqual(2);
  expect(await anomaliesOf(bearer('alpha'))).toEqual([]);
  expect((await get('/metrics/anomalies', bearer('alpha'))).body).not.toContain('beta-only');
});

test('a Prometheus with the printed blocks writes and reads as the tenant of its token', async () => {
  const printed = treeline.program.stdout();
  const blocks = printed.slice(printed.indexOf('remote_write:'), printed.indexOf('Then open'));
  expect(blocks).not.toContain('X-Scope-OrgID');
  const prometheus = await startPrometheus(`global: { scrape_interval: 1s }\n${blocks}`);
  const up = await eventually('what Prometheus has written', 60_000, async () => {
    const found = await seriesOf(bearer('alpha'));
    return found.find(({ series }) => series.startsWith('up{'));
  });
  expect(up.series).toContain('job="treeline"');
  const scores = await eventually('the gauges of alpha', 60_000, async () => {
    const found = await prometheus.query('anomaly_score{source_metric="latency"}');
    return found.length > 0 ? found : undefined;
  });
  expect(scores.map(({ metric }) => metric['job'])).toEqual(['shop']);
  expect((await seriesOf(asTenant('beta'))).map(({ series }) => series)).not.toContain(up.series);
  await prometheus.stop();
});
