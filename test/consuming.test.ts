// The consumers that docs/consuming.md offers, built as it says and run on a real broker: TypeScript with kafkajs, Python
// with librdkafka, each with code generated from proto/ by its own language's generator. What they read is what our
// decoder, scorer and log wrote.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rename, rm, symlink } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { fromBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Anomalies } from '../src/api/anomalies.js';
import { AnomaliesTopic } from '../src/api/anomalies-topic.js';
import { CandidateSchema } from '../src/gen/candidate_pb.js';
import { ANNOUNCE_INTERVAL_MS } from '../src/limits.js';
import { type KafkaLog, openKafkaLog } from '../src/log/kafka-log.js';
import { type KafkaPeers, startKafka } from './kafka-peers.js';
import {
  endPrograms,
  eventually,
  type Program,
  startProgram,
  temporaryDirectory,
} from './programs.js';
import { BEGIN, fleet, Installation, PARTITION_BY } from './state-installation.js';
import type { SeriesV2 } from './write-request-v2.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const execute = promisify(execFile);
const SETUP_MS_MAX = 5 * 60_000;
const STALE = 0x7ff0000000000002n;
const silent = { debug() {}, info() {}, warn() {}, error() {} };
let kafka: KafkaPeers;
let prefixes = 0;

beforeAll(async () => {
  kafka = await startKafka();
}, 180_000);

afterAll(async () => {
  await kafka?.stop();
  await endPrograms();
});

/** A folder in which the example stands as a reader of the document has it, and its command. */
async function buildTypeScript(): Promise<string[]> {
  const folder = temporaryDirectory('consumer');
  await cp(join(root, 'examples/consumers/typescript'), folder, { recursive: true });
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  const bin = (name: string) => join(root, 'node_modules/.bin', name);
  const path = `${join(root, 'node_modules/.bin')}:${process.env['PATH']}`;
  const options = { cwd: folder, env: { ...process.env, PATH: path }, timeout: SETUP_MS_MAX };
  await execute(bin('buf'), ['generate', join(root, 'proto')], options);
  await execute(bin('tsc'), ['-p', '.'], options);
  return [process.execPath, join(folder, 'consumer.js')];
}

async function buildPython(): Promise<string[]> {
  const source = join(root, 'examples/consumers/python');
  const python = join(await pythonHome(join(source, 'requirements.txt')), 'bin', 'python');
  const folder = temporaryDirectory('consumer');
  await cp(source, folder, { recursive: true });
  await mkdir(join(folder, 'gen'));
  const protos = ['sample_block', 'candidate', 'verdict', 'anomaly', 'remote_write_v2'].map(
    (name) => `${name}.proto`,
  );
  const protoc = ['-m', 'grpc_tools.protoc', `-I${join(root, 'proto')}`, '--python_out=gen'];
  await execute(python, [...protoc, ...protos], { cwd: folder, timeout: SETUP_MS_MAX });
  return [python, join(folder, 'consumer.py')];
}

/** An environment with these packages: complete or absent. */
async function pythonHome(requirements: string): Promise<string> {
  const cache = join(
    process.env['TREELINE_CACHE'] ?? join(homedir(), '.cache', 'treeline'),
    'python',
  );
  const digest = createHash('sha256')
    .update(await readFile(requirements))
    .digest('hex');
  const home = join(cache, digest.slice(0, 16));
  const done = join(home, 'complete');
  if (existsSync(done)) return home;
  await mkdir(cache, { recursive: true });
  const beside = await mkdtemp(join(cache, '.making-'));
  try {
    // An environment knows its own path: it is made where it will stay, and marked when it is whole.
    await rm(home, { recursive: true, force: true });
    await execute('python3', ['-m', 'venv', home], { timeout: SETUP_MS_MAX });
    const pip = ['-m', 'pip', 'install', '--quiet', '-r', requirements];
    await execute(join(home, 'bin', 'python'), pip, { timeout: SETUP_MS_MAX });
    await rename(beside, done);
  } finally {
    await rm(beside, { recursive: true, force: true });
  }
  return home;
}

interface Line {
  kind: string;
  timestampMs: number;
  name: string;
  rest: string;
}

function linesOf(program: Program): Line[] {
  return program
    .stdout()
    .split('\n')
    .slice(0, -1)
    .map((line) => {
      const [, kind = '', time, name = '', rest = ''] =
        /^(\w+) (\d+) (#[0-9a-f]{16}|[^{]*\{.*\}) (.*)$/.exec(line) ?? [];
      if (time === undefined) throw new Error(`An odd line: ${line}`);
      return { kind, timestampMs: Number(time), name, rest };
    });
}

async function startConsumer(command: string[], ...args: string[]): Promise<Program> {
  const [file = '', ...rest] = command;
  const program = await startProgram(file, [...rest, '--brokers', kafka.brokers.join(), ...args]);
  await eventually('the consumer to have its partitions', 30_000, async () => {
    if (program.hasExited()) throw new Error(`It ended: ${program.stderr()}`);
    return program.stderr().includes('reading treeline') ? true : undefined;
  });
  return program;
}

async function untilLines(program: Program, count: number): Promise<Line[]> {
  return eventually(`${count} lines, not ${linesOf(program).length}`, 30_000, async () => {
    if (program.hasExited()) throw new Error(`It ended: ${program.stderr()}`);
    const lines = linesOf(program);
    return lines.length >= count ? lines : undefined;
  });
}

async function openLog(): Promise<{ prefix: string; log: KafkaLog }> {
  const prefix = `treeline${++prefixes}`;
  const settings = {
    prefix,
    partitions: 3,
    partitionBy: PARTITION_BY,
    replication: 1,
    retentionMs: {},
    connection: { brokers: kafka.brokers },
  };
  return { prefix, log: await openKafkaLog(settings, { logger: silent, clock: Date.now }) };
}

/** Of every value a kind: ordinary ones, NaN, infinity, the stale marker, and histograms. */
function scrapeAt(minute: number): SeriesV2[] {
  const timestampMs = BEGIN + minute * 60_000;
  const odd = { ended: STALE, nan: Number.NaN, infinite: Infinity, tiny: 5e-324, 'größe "x"': 7 };
  const series = Object.entries(odd).map(([kind, value], i) => ({
    labels: { __name__: 'odd_value', kind, instance: `host-${i}` },
    samples: [{ timestampMs, value }],
  }));
  return [...fleet(minute)(minute), ...series];
}

const nameOf = ({ labels }: SeriesV2) => {
  const { __name__: metric, ...others } = labels as Record<string, string>;
  const pairs = Object.entries(others).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return `${metric}{${pairs.sort().join(',')}}`;
};

const numberOf = (text: string) =>
  Number(text.replace(/^-?inf$/, (inf) => inf.replace('inf', 'Infinity')).replace('nan', 'NaN'));

function checkValues(lines: readonly Line[], scrape: readonly SeriesV2[]): void {
  for (const series of scrape) {
    const line = lines.find(({ kind, name }) => kind === 'sample' && name === nameOf(series));
    const [sample] = series.samples ?? [];
    const [histogram] = series.histograms ?? [];
    if (sample?.value === STALE) expect(line?.rest).toBe('stale');
    else if (sample !== undefined) {
      expect([nameOf(series), numberOf(line?.rest ?? '')]).toEqual([nameOf(series), sample.value]);
      if (Number.isNaN(sample.value)) expect(line?.rest.toLowerCase()).toBe('nan');
    } else {
      expect(line?.rest).toBe(`histogram of ${histogram?.count} with sum ${histogram?.sum}`);
    }
  }
}

/** As the api does, candidate by candidate, and as one that took over does all over again. Returns what there is to say. */
async function tellAnomalies(log: KafkaLog, candidates: readonly Uint8Array[]): Promise<string[]> {
  const told: string[] = [];
  const anomalies = new Anomalies(90 * 864e5);
  for (const topic of [new AnomaliesTopic(log), new AnomaliesTopic(log)]) {
    for (const bytes of candidates) {
      anomalies.apply(fromBinary(CandidateSchema, bytes));
      const changed = [...anomalies.takeChanged()];
      for (const { onsetMs, score, endMs } of changed) {
        const state = endMs === undefined ? 'open' : 'closed';
        told.push(`${onsetMs} ${state} score ${score.toFixed(3)}`);
      }
      await topic.append(changed);
    }
    const all = [...anomalies.tenants()].flatMap((tenant) => anomalies.ordered(tenant));
    await topic.append(all);
    await topic.append(all);
  }
  expect(told.some((text) => text.includes('closed'))).toBe(true);
  return told;
}

const LANGUAGES = { TypeScript: buildTypeScript, Python: buildPython };

for (const [language, build] of Object.entries(LANGUAGES)) {
  test(`${language}: started at the end, it knows every series within the announce interval`, {
    timeout: SETUP_MS_MAX + 120_000,
  }, async () => {
    const command = await build();
    const { prefix, log } = await openLog();
    const installation = new Installation(3, { log });
    const nowMs = BEGIN + 100 * 60_000;
    await installation.send(scrapeAt(1), { nowMs });

    const consumer = await startConsumer(command, '--prefix', prefix);
    // Kafka's clients find out where the end is after they have their partitions.
    const first = scrapeAt(2);
    await eventually('the consumer to stand at the end', 30_000, async () => {
      await installation.send(first, { nowMs: nowMs + 1_000 });
      return consumer.stdout().includes('sample') ? true : undefined;
    });
    const before = await untilLines(consumer, 1);
    expect(before.every(({ name }) => name.startsWith('#'))).toBe(true);

    const second = scrapeAt(12);
    await installation.send(second, { nowMs: nowMs + ANNOUNCE_INTERVAL_MS });
    const timestampMs = BEGIN + 12 * 60_000;
    const lines = await eventually('the whole scrape', 30_000, async () => {
      const found = linesOf(consumer).filter((line) => line.timestampMs === timestampMs);
      return found.length >= second.length ? found : undefined;
    });
    expect(lines.map(({ name }) => name).sort()).toEqual(second.map(nameOf).sort());
    checkValues(lines, second);
    expect(await consumer.stop('SIGTERM')).toEqual({ code: 0, signal: null });
    await log.close();
  });

  test(`${language}: started at the beginning, it prints all samples, each candidate and each change of an anomaly once`, {
    timeout: SETUP_MS_MAX + 120_000,
  }, async () => {
    const command = await build();
    const { prefix, log } = await openLog();
    const learnt = new Installation(1);
    const scrapes = fleet(20_081);
    for (let minute = 0; minute < 200; minute++) await learnt.send(scrapes(minute));
    await learnt.learn();
    const candidates = learnt.candidates();
    expect(candidates.length).toBeGreaterThan(10);
    // The second time is that of a scorer that was killed.
    for (const bytes of [...candidates, ...candidates]) await log.append('candidates', 0, bytes, 0);
    const told = await tellAnomalies(log, candidates);
    const installation = new Installation(3, { log });
    const scrape = scrapeAt(5);
    await installation.send(scrape);

    const consumer = await startConsumer(command, '--prefix', prefix, '--from', 'beginning');
    const count = scrape.length + candidates.length + told.length;
    const lines = await untilLines(consumer, count);
    expect(await consumer.stop('SIGINT')).toEqual({ code: 0, signal: null });
    expect(linesOf(consumer)).toHaveLength(count);
    const anomalies = lines.filter(({ kind }) => kind === 'anomaly');
    expect(anomalies.map((line) => `${line.timestampMs} ${line.rest}`).sort()).toEqual(told.sort());
    checkValues(lines, scrape);
    const shown = lines.filter(({ kind }) => kind === 'candidate');
    const want = candidates.map((bytes) => fromBinary(CandidateSchema, bytes));
    expect(shown.map((line) => `${line.timestampMs} ${line.rest}`).sort()).toEqual(
      want
        .map(({ timestampMs, phase, score }) => {
          const what = ['unspecified', 'onset', 'peak', 'end'][phase];
          return `${timestampMs} ${what} score ${score.toFixed(3)}`;
        })
        .sort(),
    );
    await log.close();
  });
}

test('the document shows what is run here', async () => {
  const text = await readFile(join(root, 'docs/consuming.md'), 'utf8');
  const blocks = [...text.matchAll(/```(ts|python)\n([\s\S]*?)```/g)];
  expect(new Set(blocks.map(([, language]) => language))).toEqual(new Set(['ts', 'python']));
  for (const [, language, code = ''] of blocks) {
    const path = language === 'ts' ? 'typescript/consumer.ts' : 'python/consumer.py';
    const program = await readFile(join(root, 'examples/consumers', path), 'utf8');
    expect(program).toContain(code);
  }
});
