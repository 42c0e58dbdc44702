// What `helm install` without a value brings up, with the real programs: the development Kafka from its rendered properties,
// receiver, scorer and api from their rendered settings, the script of `helm test`, and a real Prometheus that is given the
// blocks of NOTES as they are printed. The same for an edge, and for the documents' words about tokens.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { type Component, Installation } from './chart-installation.js';
import { CHART, notes, one, render, runHelm } from './chart-render.js';
import { type Prometheus, peerBinary, startPrometheus } from './peers.js';
import {
  endPrograms,
  eventually,
  removeDirectory,
  runProgram,
  temporaryDirectory,
} from './programs.js';
import { projectRoot } from './project-root.js';
import { parseMetrics, readingOf, runTreeline, startTreeline } from './treeline-process.js';

const SEEN_MS_MAX = 60_000;

afterAll(endPrograms);

/** From `remote_write:` to the empty line. */
function blocksOf(text: string): string {
  const block = /^remote_write:\n(?:.+\n)+/m.exec(text)?.[0];
  if (block === undefined) throw new Error(`There are no blocks in ${text}`);
  return block;
}

/** Names of a cluster's DNS are not known here: the one target stands in their place, all else is as printed. */
function targeting(blocks: string, target: string): string {
  const discovery = /dns_sd_configs: .*port: 8276 \}\]/;
  expect(blocks).toMatch(discovery);
  return blocks.replace(discovery, `static_configs: [{ targets: ["${target}"] }]`);
}

async function metric(from: Component, token: string, name: string): Promise<number> {
  const headers = { authorization: `Bearer ${token}` };
  const answer = await fetch(`http://127.0.0.1:${from.scrapePort}/metrics`, { headers });
  return readingOf(parseMetrics(await answer.text()), name) ?? 0;
}

test('the blocks of NOTES are a configuration that Prometheus takes, in each mode', async () => {
  const promtool = await peerBinary('promtool');
  const tlsOn = { tls: { enabled: true, existingSecret: 'tls' } };
  for (const values of [{}, { mode: 'edge' }, { auth: { enabled: false } }, tlsOn]) {
    const directory = temporaryDirectory('notes');
    new Installation(await render({}), directory);
    const tokens = join(directory, 'auth');
    const blocks = blocksOf(await notes(values)).replaceAll('/etc/prometheus/treeline', tokens);
    const file = join(directory, 'prometheus.yml');
    writeFileSync(file, blocks);
    const said = await runProgram(promtool, ['check', 'config', file], { timeoutMs: 30_000 });
    expect([said.code, said.stderr + said.stdout]).toEqual([0, expect.stringContaining('SUCCESS')]);
    expect(parse(blocks).scrape_configs[0].honor_labels).toBe(true);
    removeDirectory(directory);
  }
});

test('NOTES speak of the objects that are rendered, and warn of what is for trying out', async () => {
  const text = await notes({});
  const objects = await render({});
  for (const [, kind = '', name = ''] of text.matchAll(/\b(svc|secret)[/ ](\S+)/g)) {
    const kinds: Record<string, string> = { svc: 'Service', secret: 'Secret' };
    expect(one(objects, kinds[kind] ?? kind, name).metadata.name).toBe(name);
  }
  expect(text).toContain('WARNING: the development Kafka');
  expect(await notes({ kafka: { brokers: ['k:9092'] } })).not.toContain('WARNING');
  expect(await notes({ mode: 'edge' })).not.toContain('WARNING');
  expect(await notes({ auth: { enabled: false } })).toContain('whoever reaches a pod may write');
  const two = { scorer: { replicas: 2, checkpointStore: 'volume' } };
  expect(await notes(two)).toContain('Set topic');
});

test('an installation without a value: Kafka, receiver, scorer and api run, and Prometheus uses NOTES', {
  timeout: 600_000,
}, async ({ onTestFinished }) => {
  const values = { partitions: 4 };
  const directory = temporaryDirectory('installation');
  const installation = new Installation(await render(values), directory);
  const kafka = await installation.startKafka();
  const running: { stop(): Promise<unknown> }[] = [];
  onTestFinished(async () => {
    for (const { stop } of running.reverse()) await stop();
    await kafka.stop();
    removeDirectory(directory);
  });
  const components: Record<string, Component> = {};
  for (const component of ['scorer', 'receiver', 'api']) {
    const started = await installation.startComponent(component);
    running.push(started);
    components[component] = started;
  }
  const { scorer, receiver, api } = components as Record<'scorer' | 'receiver' | 'api', Component>;
  const tested = await installation.runTest();
  expect([tested.code, tested.stderr]).toEqual([0, '']);
  expect(tested.stdout.match(/: 20[04]$/gm)).toHaveLength(2);

  const blocks = targeting(blocksOf(await notes(values)), `127.0.0.1:${scorer.scrapePort}`);
  const quick = 'global: { scrape_interval: 1s }\n';
  const prometheus: Prometheus = await startPrometheus(quick + installation.here(blocks));
  running.push(prometheus);
  const scored = await eventually('samples to be scored', SEEN_MS_MAX, async () => {
    const count = await metric(scorer, installation.token('read'), 'treeline_samples_total');
    return count > 0 ? count : undefined;
  });
  expect(scored).toBeGreaterThan(0);
  expect(
    await metric(receiver, installation.token('read'), 'treeline_samples_logged_total'),
  ).toBeGreaterThan(0);
  await eventually('the gauges to be scraped', SEEN_MS_MAX, async () => {
    const [up] = await prometheus.query('up{job="treeline"} == 1');
    return up;
  });
  const refused = await fetch(`${api.url}/anomaly/v1/anomalies`);
  expect(refused.status).toBe(401);
  const headers = { authorization: `Bearer ${installation.token('read')}` };
  // Whoever may reach the port of the API finds no metrics there, and nothing else where metrics are.
  const elsewhere = [
    `${scorer.url}/metrics`,
    `http://127.0.0.1:${scorer.scrapePort}/anomaly/v1/series`,
  ];
  for (const url of elsewhere)
    expect([url, (await fetch(url, { headers })).status]).toEqual([url, 404]);
  const status = await fetch(`${api.url}/anomaly/v1/series`, { headers });
  expect([
    status.status,
    ((await status.json()) as { unreachable?: unknown[] }).unreachable ?? [],
  ]).toEqual([200, []]);
});

test('an edge runs from its rendered settings and passes helm test', {
  timeout: 120_000,
}, async () => {
  const directory = temporaryDirectory('edge');
  const installation = new Installation(await render({ mode: 'edge' }), directory);
  const edge = await installation.startComponent('edge');
  const tested = await installation.runTest();
  await edge.stop();
  removeDirectory(directory);
  expect([tested.code, tested.stderr]).toEqual([0, '']);
});

test('a test of a Treeline that is not there fails', { timeout: 60_000 }, async () => {
  const directory = temporaryDirectory('absent');
  const installation = new Installation(await render({ mode: 'edge' }), directory);
  const tested = await installation.runTest();
  removeDirectory(directory);
  expect(tested.code).toBe(1);
});

test('the parts of a sharded job together are what one process writes', {
  timeout: 60_000,
}, async () => {
  const directory = temporaryDirectory('shards');
  const input = join(directory, 'input');
  mkdirSync(input);
  for (const name of ['a', 'b', 'c', 'd', 'e']) {
    const rows = Array.from({ length: 300 }, (_, row) => `${1_760_000_000 + row * 60},${row % 7}`);
    writeFileSync(join(input, `${name}.csv`), `timestamp,value\n${rows.join('\n')}\n`);
  }
  const values = {
    workloadType: 'job',
    task: {
      args: ['score', '/work/input', '--out', '/work/output'],
      sharded: true,
      completions: 2,
    },
  };
  const { command, args } = one(await render(values), 'Job')['spec'].template.spec.containers[0];
  for (const index of ['0', '1']) {
    const done = await runContainer([...command, ...args], {
      work: directory,
      environment: { JOB_COMPLETION_INDEX: index },
    });
    expect([done.code, done.stderr]).toEqual([0, expect.any(String)]);
  }
  const whole = await runTreeline(['score', input, '--out', join(directory, 'whole')]);
  expect(whole.code).toBe(0);
  const names = readdirSync(join(directory, 'whole'));
  expect(readdirSync(join(directory, 'output'))).toEqual(names);
  expect(names).toHaveLength(5);
  for (const name of names) {
    expect(readFileSync(join(directory, 'output', name), 'utf8')).toBe(
      readFileSync(join(directory, 'whole', name), 'utf8'),
    );
  }
  removeDirectory(directory);
});

test('an export is verified, and no more files are kept than the values say', {
  timeout: 60_000,
}, async () => {
  const directory = temporaryDirectory('export');
  const treeline = await startTreeline({ dataDir: join(directory, 'data') });
  await treeline.stop();
  const old = ['treeline-20200101T000000Z.tls', 'treeline-20200102T000000Z.tls', 'mine.tls'];
  for (const name of old) writeFileSync(join(directory, name), 'old');
  const jobs = { stateExport: { enabled: true, existingClaim: 'backup', keep: 2 } };
  const container = one(await render({ jobs }), 'CronJob', '-export')['spec'].jobTemplate.spec
    .template.spec.containers[0];
  expect(container.args).toEqual(['--config', '/etc/treeline/config/treeline.yaml']);
  const done = await runContainer([...container.command, '--data-dir', join(directory, 'data')], {
    work: directory,
  });
  expect([done.code, done.stdout]).toEqual([0, expect.stringContaining('sound')]);
  const left = readdirSync(directory).filter((name) => name.endsWith('.tls'));
  expect(left).toHaveLength(3);
  expect(left).toEqual(expect.arrayContaining(['mine.tls', 'treeline-20200102T000000Z.tls']));
  removeDirectory(directory);
});

/** The command of a container with the paths of this machine. */
function runContainer(
  command: readonly string[],
  { work, environment = {} }: { work: string; environment?: Record<string, string> },
) {
  const [program, ...args] = command.map((text) =>
    text.replaceAll('/work', work).replaceAll('/app/', projectRoot()),
  );
  expect(program).toBe('node');
  return runProgram(process.execPath, args, { environment, timeoutMs: 60_000 });
}

test('every setting that the chart makes is one that the program takes', async () => {
  const { loadSettings } = await import('../src/config.js');
  const full = {
    kafka: {
      brokers: ['k:9093'],
      tls: { enabled: true, existingSecret: 's', certKey: 'c', keyKey: 'k' },
      sasl: { mechanism: 'plain', username: 'me', existingSecret: 's' },
    },
    tls: { enabled: true, existingSecret: 's' },
    auth: { open: ['read'], credentials: [{ name: 'more', tokenFile: '/x', allow: ['read'] }] },
    jobs: { topics: { enabled: true } },
  };
  for (const values of [{}, { mode: 'edge' }, { auth: { enabled: false } }, full]) {
    for (const { kind, data, metadata } of await render(values)) {
      const text = kind === 'ConfigMap' ? data['treeline.yaml'] : undefined;
      if (text === undefined) continue;
      expect(() => loadSettings({ file: { name: metadata.name, text } })).not.toThrow();
    }
  }
});

test('the package of the chart holds what it needs, and no more', async () => {
  const directory = temporaryDirectory('package');
  const said = await runHelm(4, ['package', CHART, '--destination', directory]);
  const archive = /saved it to: (\S+)/.exec(said)?.[1] ?? '';
  const listed = await runProgram('tar', ['-tzf', archive], { timeoutMs: 30_000 });
  removeDirectory(directory);
  expect(listed.stdout).toContain('treeline/values.schema.json');
  expect(listed.stdout).toContain('treeline/files/treeline-rules.yaml');
  expect(readFileSync(`${CHART}.helmignore`, 'utf8')).not.toContain('values');
});
