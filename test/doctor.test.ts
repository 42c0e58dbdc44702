// `treeline doctor` against a real Prometheus, against servers that are not one, and on data directories.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { proposedRules, type Survey, survey } from '../src/cli/survey.js';
import { openPrometheus } from '../src/prometheus-client.js';
import { type NodeExporter, type Prometheus, startNodeExporter, startPrometheus } from './peers.js';
import { endPrograms, eventually, freePort } from './programs.js';
import { runTreeline, startTreeline } from './treeline-process.js';

interface Report {
  findings: { level: string; what: string; fix?: string }[];
  prometheus: Survey;
  drop: { selector: string; series: number }[];
  blocks: { prometheus: string; treeline: string };
}

const directory = mkdtempSync(join(tmpdir(), 'treeline-doctor-'));
let exporter: NodeExporter;
let prometheus: Prometheus;

beforeAll(async () => {
  exporter = await startNodeExporter();
  const lines = Array.from({ length: 300 }, (_, i) => `wait_seconds_bucket{le="${i}"} ${i}\n`);
  await exporter.expose(`${lines.join('')}go_inner{a="1"} 1\n`);
  prometheus = await startPrometheus(`
global: { scrape_interval: 1s, external_labels: { cluster: eu, __replica__: a } }
scrape_configs:
  - job_name: node
    static_configs: [{ targets: ["${exporter.target}"] }]
  - job_name: gone
    scrape_interval: 2s
    static_configs: [{ targets: ["127.0.0.1:1"] }]
  - job_name: gauges
    scrape_interval: 60s
    metrics_path: /metrics/anomalies
    static_configs: [{ targets: ["127.0.0.1:1"] }]
`);
  await eventually('the first scrapes', 60_000, async () => {
    const [up] = await prometheus.query('count(up == 0)');
    const [sum] = await prometheus.query('sum(scrape_samples_post_metric_relabeling{job="node"})');
    return Number(up?.value[1]) >= 1 && Number(sum?.value[1]) > 300 ? true : undefined;
  });
});

afterAll(async () => {
  await prometheus.stop();
  await exporter.stop();
  await endPrograms();
  rmSync(directory, { recursive: true });
});

test('it counts what a real Prometheus has, and prints blocks that Prometheus can read', async () => {
  const { stdout, code } = await runTreeline([
    'doctor',
    '--prometheus',
    prometheus.url,
    '-o',
    'json',
  ]);
  const { prometheus: found, findings, drop, blocks } = JSON.parse(stdout) as Report;
  const [counted] = await prometheus.query('count({__name__!=""})');
  // The head may hold a few that have just become stale.
  expect(found.series).toBeGreaterThanOrEqual(0.9 * Number(counted?.value[1]));
  const [scraped] = await prometheus.query('sum(scrape_samples_post_metric_relabeling)');
  const samples = Number(scraped?.value[1]);
  expect(found.samplesPerSecond).toBeGreaterThan(0.9 * samples);
  expect(found.samplesPerSecond).toBeLessThan(1.2 * samples + 20);
  expect(found.version).toMatch(/^\d+\.\d+/);
  expect(found.intervals).toContainEqual({ interval: '2s', targets: 1 });
  expect(Math.abs(found.clockAheadMs as number)).toBeLessThan(2_000);
  expect(found.unscored.buckets).toBeGreaterThanOrEqual(300);
  expect(found.newSeriesPerHour).toBeNull(); // it has been up for seconds
  expect(found.topLabels.map(({ name }) => name)).toContain('le');
  expect(found.topMetrics[0]).toMatchObject({ name: 'wait_seconds_bucket', value: 300 });
  expect(drop[0]?.selector).toBe('{__name__=~".+_bucket",le!=""}');
  expect(drop[0]?.series).toBe(found.unscored.buckets);
  // The scrape block that it found has no honor_labels: a fault, so exit 1.
  expect(code).toBe(1);
  const of = (text: string) => findings.find(({ what }) => what.includes(text));
  expect(of('without honor_labels')).toMatchObject({ level: 'fault' });
  expect(of('targets are down')).toMatchObject({ level: 'warning' });
  expect(of('replica a of cluster eu')).toMatchObject({ level: 'warning' });
  expect(of('series to score')).toMatchObject({ level: 'ok' });
  const rules = parse(blocks.treeline) as { ingest: { drop: string[] } };
  expect(rules.ingest.drop).toEqual(drop.map(({ selector }) => selector));
  const checked = await startPrometheus(blocks.prometheus);
  const answer = await fetch(`${checked.url}/api/v1/status/config`);
  const { yaml } = ((await answer.json()) as { data: { yaml: string } }).data;
  await checked.stop();
  expect(yaml).toContain('honor_labels: true');
  expect(yaml).toContain('max_samples_per_send: 2000');
});

test('the text has one line per finding, the figures and the blocks', async () => {
  const { stdout } = await runTreeline(['doctor', '--prometheus', prometheus.url]);
  expect(stdout).toMatch(/^ok {6}http:\/\/127\.0\.0\.1:\d+ answers, Prometheus \d/m);
  expect(stdout).toMatch(/^FAULT {3}The job gauges scrapes .*; set honor_labels: true/m);
  expect(stdout).toMatch(/^Treeline, memory +\d+ MB$/m);
  expect(stdout).toMatch(/^remote_write:$/m);
});

test('the rules that it proposes leave every scored series alone but those inside a program', () => {
  const found = {
    series: 1000,
    unscored: { buckets: 9, ignored: 0 },
    topMetrics: [
      { name: 'go_gc', value: 10 },
      { name: 'go_rare', value: 9 },
      { name: 'mine', value: 500 },
    ],
  } as unknown as Survey;
  expect(proposedRules(found).map(({ selector }) => selector)).toEqual(['go_gc']);
});

/** A server that answers every path alike. */
async function answering(status: number, body: string, work: (url: string) => Promise<void>) {
  const asked: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    asked.push(request.headers.authorization);
    response.writeHead(status).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  await work(`127.0.0.1:${(server.address() as AddressInfo).port}`);
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  return asked;
}

test('an address that cannot be asked is named without its password', async () => {
  const port = await freePort();
  const address = `http://me:hunter2@127.0.0.1:${port}`;
  const nobody = await runTreeline(['doctor', '--prometheus', address]);
  expect(nobody).toMatchObject({ code: 1, stdout: '' });
  expect(nobody.stderr).toContain(`Cannot ask http://127.0.0.1:${port}: ECONNREFUSED`);
  const wrong = await runTreeline(['doctor', '--prometheus', 'ftp://me:hunter2@x']);
  expect(wrong.stderr).toContain('is no address');
  expect(nobody.stderr + wrong.stderr).not.toContain('hunter2');
  expect(await runTreeline(['doctor'])).toMatchObject({ code: 2 });
  const asked = await answering(401, 'no', async (host) => {
    const client = openPrometheus(`http://me:hunter2@${host}/prefix`);
    await expect(client.version()).rejects.toThrow('answers 401; give user and password');
  });
  expect(asked).toEqual([`Basic ${Buffer.from('me:hunter2').toString('base64')}`]);
});

test('a server that is no Prometheus tells nothing, and that is said', async () => {
  await answering(200, '<html>', async (host) => {
    const found = await survey(openPrometheus(`http://${host}`), { clock: Date.now });
    expect(found).toMatchObject({
      version: null,
      series: 0,
      newSeriesPerHour: null,
      clockAheadMs: null,
      intervals: [],
    });
  });
  await answering(200, '<html>', async (host) => {
    const { stdout, code } = await runTreeline(['doctor', '--prometheus', `http://${host}`]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^FAULT .*knows no series/m);
  });
});

test('--local judges a data directory and leaves it as it is', async () => {
  const local = async (dataDir: string, ...args: string[]) => {
    const { stdout, code } = await runTreeline([
      'doctor',
      '--local',
      '--data-dir',
      dataDir,
      ...args,
    ]);
    return { stdout, code };
  };
  const fresh = join(directory, 'fresh');
  expect((await local(fresh)).stdout).toContain('is made at the first start');
  const foreign = join(directory, 'foreign');
  mkdirSync(foreign);
  writeFileSync(join(foreign, 'x'), '');
  expect((await local(foreign)).stdout).toContain('is not a data directory of Treeline');
  const config = join(directory, 'treeline.yaml');
  writeFileSync(config, `auth.credentials: [{ name: a, tokenFile: ${directory}/none }]\n`);
  const secret = await local(fresh, '--config', config);
  expect([secret.code, secret.stdout.includes('ENOENT')]).toEqual([1, true]);
  const dataDir = join(directory, 'data');
  const treeline = await startTreeline({ dataDir });
  expect(await local(dataDir)).toMatchObject({ code: 0 });
  expect((await local(dataDir)).stdout).toContain(String(treeline.program.pid));
  await treeline.stop();
  const { stdout, code } = await local(dataDir);
  expect([code, stdout.includes('no other process holds it')]).toEqual([0, true]);
  const large = await local(dataDir, '--log-retention-size', '9000TB');
  expect(large.stdout).toMatch(/^warning .*log\.retentionSize is 9000TB/m);
});
