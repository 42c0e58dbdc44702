// Settings taken into a running process: all of them or none, and the rest named.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll, expect, test } from 'vitest';
import { loadSettings, type Settings } from '../src/config.js';
import { OperatingError } from '../src/errors.js';
import { Guard } from '../src/guard.js';
import { createHttpServer, type Logger } from '../src/http-server.js';
import { createMetrics } from '../src/metrics.js';
import { createReloader, type Step } from '../src/reload.js';
import { endPrograms, eventually } from './programs.js';
import { openSender, writeBody } from './remote-write-sender.js';
import { selfSigned } from './self-signed.js';
import { readingOf, startTreeline } from './treeline-process.js';

const directory = mkdtempSync(join(tmpdir(), 'treeline-reload-'));
const path = (name: string) => join(directory, name);
afterAll(async () => {
  await endPrograms();
  if (existsSync(directory)) rmSync(directory, { recursive: true });
});

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const settingsOf = (text: string): Settings =>
  loadSettings({ file: { name: 'treeline.yaml', text } });

function site(steps: Step[]) {
  let text = '';
  const metrics = createMetrics('0');
  const reloader = createReloader({
    settings: settingsOf(''),
    read: () => settingsOf(text),
    steps,
    metrics,
    logger: quiet,
  });
  const server = createHttpServer({ metrics, logger: quiet });
  reloader.routes(server);
  return {
    async post(next: string) {
      text = next;
      const { statusCode, body } = await server.inject({ method: 'POST', url: '/-/reload' });
      const metric = /^treeline_config_last_reload_successful (\d)$/m.exec(await metrics.text());
      return { statusCode, body, metric: metric?.[1] };
    },
  };
}

/** A step that notes what it is given, and fails when told so. */
function noting(keys: string[], seen: string[], fails?: (settings: Settings) => boolean): Step {
  return {
    keys,
    apply(settings) {
      if (fails?.(settings) === true)
        throw new OperatingError('config_invalid', 'It cannot be done');
      const text = `${keys.join()} ${settings.gauges.linger} ${settings.ingest.drop.join()}`;
      seen.push(text);
      return () => seen.push(`undo ${text}`);
    },
  };
}

test('what can change changes, and what needs a restart is named', async () => {
  const seen: string[] = [];
  const { post } = site([noting(['ingest.drop'], seen), noting(['gauges.linger'], seen)]);
  expect(await post('')).toMatchObject({ statusCode: 200, metric: '1' });
  expect(seen).toEqual([]);
  const { body, statusCode } = await post('ingest.drop: [up]\nlog.partitions: 8\n');
  expect([statusCode, JSON.parse(body)]).toEqual([
    200,
    { changed: ['ingest.drop'], needRestart: ['log.partitions'] },
  ]);
  expect(seen).toEqual(['ingest.drop 15m up']);
  // Asked again, the same is still waiting, and what is in force is not applied twice.
  expect(JSON.parse((await post('ingest.drop: [up]\nlog.partitions: 8\n')).body)).toEqual({
    changed: [],
    needRestart: ['log.partitions'],
  });
  expect(seen).toHaveLength(1);
});

test('TLS cannot be switched on without a restart', async () => {
  const { post } = site([]);
  const { body } = await post('tls: { certFile: /c, keyFile: /k }\n');
  expect(JSON.parse(body)).toEqual({ changed: [], needRestart: ['tls.certFile', 'tls.keyFile'] });
});

test('an invalid file changes nothing and says so, and a good one mends it', async () => {
  const seen: string[] = [];
  const { post } = site([noting(['gauges.linger'], seen)]);
  const bad = await post('gauges: { linger: 5m }\nlisten: 1\n');
  expect(bad).toMatchObject({ statusCode: 400, metric: '0' });
  expect(bad.body).toContain('The old settings stay in force');
  expect(bad.body).toContain('treeline.yaml:2:1: listen');
  expect(seen).toEqual([]);
  expect(await post('gauges: { linger: 5m }\n')).toMatchObject({ statusCode: 200, metric: '1' });
});

test('a step that fails takes back the steps before it', async () => {
  const seen: string[] = [];
  const { post } = site([
    noting(['ingest.drop'], seen),
    noting(['gauges.linger'], seen, ({ gauges }) => gauges.linger === '7m'),
  ]);
  const bad = await post('ingest.drop: [up]\ngauges.linger: 7m\n');
  expect(bad).toMatchObject({ statusCode: 400, metric: '0' });
  expect(bad.body).toContain('It cannot be done');
  expect(seen).toEqual(['ingest.drop 7m up', 'undo ingest.drop 7m up']);
  // Nothing of it is in force: the same rule counts as a change.
  const { body } = await post('ingest.drop: [up]\n');
  expect(JSON.parse(body).changed).toEqual(['ingest.drop']);
});

test('a new certificate serves new connections, and cuts none that is open', async () => {
  const [first, second] = [selfSigned('first'), selfSigned('second')];
  const write = ({ cert, key }: { cert: string; key: string }) => {
    writeFileSync(path('cert'), cert);
    writeFileSync(path('key'), key);
  };
  write(first);
  const text = `tls: { certFile: ${path('cert')}, keyFile: ${path('key')} }\n`;
  const errors: object[] = [];
  const logger = { ...quiet, error: (fields: object) => errors.push(fields) };
  const guard = new Guard(settingsOf(text), { logger, clock: Date.now });
  const { tls } = guard;
  const server = createHttpServer({ metrics: createMetrics('0'), logger, ...(tls && { tls }) });
  server.get('/name', () => 'here');
  const url = await server.listen({ host: '127.0.0.1', port: 0 });
  guard.start([server]);
  expect(url).toMatch(/^https:/);
  const { Agent } = await import('node:https');
  const old = new Agent({ keepAlive: true, ca: [first.cert, second.cert] });
  expect(await peerName(`${url}/name`, old)).toBe('first');
  // Half of a renewal: the new certificate does not fit the old key, and what was good stays.
  writeFileSync(path('cert'), second.cert);
  await eventually('the misfit to be noticed', 10_000, async () => errors.length > 0 || undefined);
  expect(await nameOnNewConnection(url, first.cert)).toBe('first');
  write(second);
  const now = await eventually('the new certificate', 10_000, async () => {
    const name = await nameOnNewConnection(url, `${first.cert}${second.cert}`);
    return name === 'second' ? name : undefined;
  });
  expect(now).toBe('second');
  expect(await peerName(`${url}/name`, old)).toBe('first');
  old.destroy();
  guard.stop();
  await server.close();
});

async function nameOnNewConnection(url: string, ca: string): Promise<string> {
  const { Agent } = await import('node:https');
  const agent = new Agent({ ca });
  try {
    return await peerName(`${url}/name`, agent);
  } finally {
    agent.destroy();
  }
}

/** The name in the certificate with which this connection was made. */
function peerName(url: string, agent: import('node:https').Agent): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { agent }, (answer) => {
      const name = (answer.socket as TLSSocket).getPeerCertificate().subject.CN as string;
      answer.resume().on('end', () => resolve(name));
    });
    asked.on('error', reject).end();
  });
}

test('the running program takes new rules at SIGHUP, and keeps the old ones for a bad file', async () => {
  const file = path('treeline.yaml');
  writeFileSync(file, 'gauges.linger: 5m\n');
  const treeline = await startTreeline({ args: ['--config', file] });
  const sender = openSender(treeline.url);
  const start = Date.now() - 60_000;
  let second = 0;
  const send = async () => {
    second++;
    const point = [start + 1000 * second, 1] as const;
    const body = writeBody([
      { labels: { __name__: 'noise', instance: 'a' }, points: [point] },
      { labels: { __name__: 'signal', instance: 'a' }, points: [point] },
    ]);
    expect((await sender.send(body)).status).toBe(204);
    return readingOf(await treeline.metrics(), 'treeline_samples_rejected_total', {
      reason: 'dropped',
    });
  };
  const successful = async () =>
    readingOf(await treeline.metrics(), 'treeline_config_last_reload_successful');
  expect([await send(), await send()]).toEqual([undefined, undefined]);
  expect(await successful()).toBe(1);
  writeFileSync(file, 'ingest.drop: [noise]\n');
  process.kill(treeline.program.pid, 'SIGHUP');
  await eventually('the rule to be in force', 10_000, async () => (await send()) ?? undefined);
  writeFileSync(file, 'ingest.drop: ["{"]\n');
  process.kill(treeline.program.pid, 'SIGHUP');
  await eventually('the bad file to be noticed', 10_000, async () =>
    (await successful()) === 0 ? true : undefined,
  );
  const before = (await send()) as number;
  expect(await send()).toBe(before + 1);
  expect(treeline.program.stderr()).toContain(`${file}:1:1: ingest.drop[0]`);
  sender.close();
  expect((await treeline.stop()).code).toBe(0);
});
