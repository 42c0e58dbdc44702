// Listeners of their own for Prometheus and the operator, on the running program: what is served where, that the same
// credentials are asked for, and what the printed blocks name.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { loadSettings } from '../src/config.js';
import { OperatingError } from '../src/errors.js';
import { endPrograms, freePort, temporaryDirectory } from './programs.js';
import { runTreeline, startTreeline } from './treeline-process.js';

afterAll(endPrograms);

test('what has a listener of its own is served there and nowhere else; health is told everywhere', async () => {
  const directory = temporaryDirectory('listeners');
  const tokenFile = join(directory, 'token');
  writeFileSync(tokenFile, 'a-token-of-32-characters-and-more\n');
  const [metricsPort, adminPort] = [await freePort(), await freePort()];
  const credential = { name: 'all', tokenFile, allow: ['write', 'read', 'admin'] };
  const treeline = await startTreeline({
    dataDir: join(directory, 'data'),
    args: [
      ...['--listen-metrics', `127.0.0.1:${metricsPort}`],
      ...['--listen-admin', `127.0.0.1:${adminPort}`],
      ...['--auth-credentials', JSON.stringify([credential]), '--auth-open', '["read"]'],
    ],
  });
  const headers = { Authorization: 'Bearer a-token-of-32-characters-and-more' };
  const status = async (url: string, init?: RequestInit) => (await fetch(url, init)).status;
  const [metrics, admin] = [`http://127.0.0.1:${metricsPort}`, `http://127.0.0.1:${adminPort}`];
  const reload = { method: 'POST' };
  expect({
    health: await Promise.all([treeline.url, metrics, admin].map((at) => status(`${at}/-/ready`))),
    gauges: await Promise.all(
      [treeline.url, metrics, admin].map((at) => status(`${at}/metrics/anomalies`)),
    ),
    own: await Promise.all([treeline.url, metrics, admin].map((at) => status(`${at}/metrics`))),
    reload: await Promise.all(
      [treeline.url, metrics, admin].map((at) => status(`${at}/-/reload`, { ...reload, headers })),
    ),
    stranger: await status(`${admin}/-/reload`, reload),
    rest: await Promise.all(
      [treeline.url, metrics].map((at) => status(`${at}/anomaly/v1/anomalies`)),
    ),
  }).toEqual({
    health: [200, 200, 200],
    gauges: [404, 200, 404],
    own: [404, 200, 404],
    reload: [404, 404, 200],
    stranger: 401,
    rest: [200, 404],
  });
  expect(treeline.program.stdout()).toContain(`targets: ["127.0.0.1:${metricsPort}"]`);
  await treeline.stop();
});

test('a process of the role inference alone keeps to them, too', async () => {
  const metricsPort = await freePort();
  const treeline = await startTreeline({
    args: ['--roles', 'inference', '--listen-metrics', `127.0.0.1:${metricsPort}`],
  });
  const status = async (url: string) => (await fetch(url)).status;
  const metrics = `http://127.0.0.1:${metricsPort}`;
  const paths = ['/metrics', '/-/ready', '/v2/health/ready'];
  expect({
    main: await Promise.all(paths.map((path) => status(`${treeline.url}${path}`))),
    metrics: await Promise.all(paths.map((path) => status(`${metrics}${path}`))),
  }).toEqual({ main: [404, 200, 200], metrics: [200, 200, 404] });
  await treeline.stop();
});

test('an address that is taken, twice the same, or open to others is refused with the name of its setting', async () => {
  const taken = await startTreeline({ dataDir: temporaryDirectory('listeners-taken') });
  const { host } = new URL(taken.url);
  const dataDir = temporaryDirectory('listeners-second');
  const run = await runTreeline([
    ...['run', '--data-dir', dataDir, '--listen', '127.0.0.1:0', '--listen-metrics', host],
  ]);
  expect(run.code).toBe(1);
  expect(run.stderr).toContain(`Cannot listen on ${host}`);
  expect(run.stderr).toContain('set listenMetrics');
  await taken.stop();

  const refused = (flags: Record<string, string>): string => {
    try {
      loadSettings({ flags });
    } catch (error) {
      if (error instanceof OperatingError) return error.message;
      throw error;
    }
    return '';
  };
  expect(refused({ 'listen-admin': '0.0.0.0:9000' })).toContain('listenAdmin: "0.0.0.0:9000"');
  expect(
    refused({ 'listen-admin': '127.0.0.1:9000', 'listen-metrics': '127.0.0.1:9000' }),
  ).toContain('has this address already');
  expect(refused({ 'listen-metrics': '127.0.0.1:99999' })).toContain('there is no port 99999');
});
