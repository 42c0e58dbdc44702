// Roles on a real broker while what they run on changes: a scorer is replaced by another build of the program and that one
// by the old one again, scorers are added and taken away while samples flow, and what one process has learnt on an embedded
// log is carried into a cluster. What must hold: nothing is lost, nothing learnt is learnt anew, and the states are those of
// one run over the same log that knew nothing of all this; `--verify-replay` says so too.

import { createHash } from 'node:crypto';
import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openDataDir } from '../src/data-dir.js';
import { openKafka } from '../src/log/kafka-client.js';
import { listCheckpoints, readManifest } from '../src/scorer/checkpoint.js';
import { openKafkaStore } from '../src/state/kafka-store.js';
import { openLmdbStore } from '../src/state/lmdb-store.js';
import type { StateStore } from '../src/state/state-store.js';
import { type Cluster, type Member, openCluster } from './cluster.js';
import type { Load } from './cluster-load.js';
import {
  judge,
  loadOf,
  moreAnswers,
  ready,
  saved,
  shares,
  WAIT_MS_MAX,
  watchStops,
} from './cluster-watch.js';
import { silent } from './kafka-fixture.js';
import { type KafkaPeers, startKafka } from './kafka-peers.js';
import { endPrograms, eventually, temporaryDirectory } from './programs.js';
import { projectRoot } from './project-root.js';
import { openSender, writeBody } from './remote-write-sender.js';
import {
  type PartitionRow,
  runTreeline,
  startTreeline,
  type Treeline,
} from './treeline-process.js';

const PARTITIONS = 4;
const SERIES_MAX = 4_000;
const FIRST_MS = Math.floor((Date.now() - 30 * 864e5) / 15_000) * 15_000;

interface Build {
  main: string;
  engineId: string;
}

let kafka: KafkaPeers;
let ours: Build;
let other: Build;

beforeAll(async () => {
  kafka = await startKafka();
  const dist = join(projectRoot(), 'dist');
  ours = buildAt(dist);
  other = buildAt(copyOf(dist));
}, 240_000);

afterAll(async () => {
  await kafka?.stop();
  await endPrograms();
});

test('another engine takes partitions over, and gives them back, without learning anew (scenario 25)', {
  timeout: 240_000,
}, async () => {
  expect(other.engineId).not.toBe(ours.engineId);
  const { cluster, load } = await begin('upgrade-topic', 'topic');
  const [, old] = cluster.members as [Member, Member];
  await saved(old, PARTITIONS);
  await cluster.add('scorer', 1, { main: other.main });
  const upgraded = cluster.members[2]!;
  await shares([old, 2], [upgraded, 2]);
  await cluster.stop(old);
  await shares([upgraded, PARTITIONS]);
  // Not only the ones that it restored from.
  await eventually('checkpoints of its own', WAIT_MS_MAX, async () => {
    const engines = await enginesIn(await openTopicStore('upgrade-topic'));
    return engines.every((engineId) => engineId === other.engineId) || undefined;
  });
  await cluster.start(old);
  await shares([old, 2], [upgraded, 2]);
  await cluster.stop(upgraded);
  await shares([old, PARTITIONS]);
  await moreAnswers(load, 50);
  await judge(cluster, load, site('upgrade-topic'), async (rows) => {
    await cluster.stop(old);
    expect(await enginesIn(await openTopicStore('upgrade-topic'))).toEqual(
      Array.from({ length: PARTITIONS }, () => ours.engineId),
    );
    await verifyReplay('upgrade-topic', ['--checkpoint-store', 'topic'], rows);
  });
});

test('the same on a volume: the program is replaced where its state lies', {
  timeout: 240_000,
}, async () => {
  const { cluster, load } = await begin('upgrade-volume', 'volume');
  const [, scorer] = cluster.members as [Member, Member];
  await saved(scorer, PARTITIONS);
  for (const build of [other, ours]) {
    await cluster.stop(scorer);
    expect(await enginesIn(await openVolumeStore(scorer))).not.toContain(build.engineId);
    scorer.main = build.main;
    await cluster.start(scorer);
    await saved(scorer, PARTITIONS);
    // Each begins where the other one ended: nothing that was scored is read again.
    const lines = restored(scorer);
    expect(lines.length).toBe(PARTITIONS);
    for (const { from, series } of lines) {
      expect(from).toBeGreaterThan(0);
      expect(series).toBeGreaterThan(0);
    }
    await moreAnswers(load, 50);
  }
  await judge(cluster, load, site('upgrade-volume'), async (rows) => {
    await cluster.stop(scorer);
    const where = ['--checkpoint-store', 'volume', '--data-dir', scorer.dataDir];
    await verifyReplay('upgrade-volume', where, rows);
  });
});

test('from one scorer to four and to two, while samples flow', { timeout: 240_000 }, async () => {
  const { cluster, load } = await begin('scaling', 'topic');
  const stops = watchStops(cluster);
  const [, first] = cluster.members as [Member, Member];
  await saved(first, PARTITIONS);
  await sleep(2_000);
  stops.closePhase('1');
  await cluster.add('scorer', 3);
  const scorers = cluster.members.slice(1);
  await shares(...scorers.map((member) => [member, 1] as const));
  await sleep(2_000);
  stops.closePhase('1 to 4');
  await cluster.stop(scorers[3]!);
  await cluster.stop(scorers[1]!);
  await shares([scorers[0]!, 2], [scorers[2]!, 2]);
  await sleep(2_000);
  stops.closePhase('4 to 2');
  const longest = await stops.end();
  const said = [...longest].map(([phase, ms]) => `${phase}: ${ms.toFixed(0)} ms`).join(', ');
  console.log(`longest stop of a partition: ${said}`);
  for (const ms of longest.values()) expect(ms).toBeLessThan(30_000);
  await judge(cluster, load, site('scaling'));
});

test('what one process has learnt goes on in a cluster', { timeout: 240_000 }, async () => {
  const file = join(temporaryDirectory('edge'), 'learnt.tls');
  const edge = await startTreeline({ dataDir: join(temporaryDirectory('edge'), 'data') });
  await sendMinutes(edge.url, 0, 40);
  await samplesReached(edge, 40);
  await edge.stop();
  const exported = await runTreeline(['state', 'export', file, '--data-dir', edge.dataDir]);
  expect(exported, exported.stderr).toMatchObject({ code: 0, stderr: '' });
  const learnt = /learnt state ([0-9a-f]{64})/.exec(exported.stdout)?.[1];

  const cluster = open('edge', 'topic');
  await cluster.add('scorer', 1);
  const [scorer] = cluster.members as [Member];
  await shares([scorer, PARTITIONS]);
  const to = [...onKafka('edge'), '--checkpoint-store', 'topic'];
  const refused = await runTreeline(['state', 'import', file, ...to]);
  expect(refused).toMatchObject({ code: 1, stdout: '' });
  expect(refused.stderr).toMatch(/A scorer is at work on the log edge; stop every scorer first/);
  await cluster.stop(scorer);
  const imported = await runTreeline(['state', 'import', file, ...to, '-o', 'json']);
  expect(imported, imported.stderr).toMatchObject({ code: 0, stderr: '' });
  expect(JSON.parse(imported.stdout)).toMatchObject({ scored: SERIES, recordsPassed: 0 });

  await cluster.start(scorer);
  await cluster.add('receiver', 1);
  await samplesReached(scorer.treeline!, 40);
  await ready(cluster.members[1]!);
  await sendMinutes(cluster.members[1]!.url, 40, 50);
  await samplesReached(scorer.treeline!, 50);
  await cluster.stop(scorer);
  const back = `${file}.back`;
  const again = await runTreeline(['state', 'export', back, ...to]);
  expect(again, again.stderr).toMatchObject({ code: 0 });
  expect(again.stdout).toContain(`${SERIES} series, ${SERIES} scored`);
  expect(again.stdout).not.toContain(learnt);
  // A replay cannot know what was learnt elsewhere; it begins at what was imported, or says why there is nothing to do.
  const verified = await runTreeline(['run', '--verify-replay', ...to]);
  expect(verified, verified.stderr).toMatchObject({ code: 0 });
  expect(verified.stdout.trim().split('\n').length).toBe(PARTITIONS);
  expect(verified.stdout).not.toContain('no checkpoint');
  await cluster.stopAll();
});

/** The program in `dist`, and its forest, whose hash is the engine id. */
function buildAt(dist: string): Build {
  const bytes = readFileSync(join(dist, 'forest.wasm'));
  return {
    main: join(dist, 'src', 'main.js'),
    engineId: createHash('sha256').update(bytes).digest('hex'),
  };
}

/**
 * Another build of the same program: its forest has one more custom section, which changes nothing but the bytes.
 * A custom section is 0x00, length of what follows, length of its name, name, content; lengths in LEB128.
 */
function copyOf(dist: string): string {
  const root = temporaryDirectory('build');
  const copy = join(root, 'dist');
  for (const name of ['src', 'decode.wasm', 'forest.wasm']) {
    cpSync(join(dist, name), join(copy, name), { recursive: true });
  }
  for (const name of ['package.json', 'node_modules']) {
    symlinkSync(join(projectRoot(), name), join(root, name));
  }
  const section = Buffer.concat([Buffer.from([5]), Buffer.from('build'), Buffer.from('other')]);
  const forest = readFileSync(join(copy, 'forest.wasm'));
  const longer = Buffer.concat([forest, Buffer.from([0, section.length]), section]);
  expect(WebAssembly.validate(longer)).toBe(true);
  writeFileSync(join(copy, 'forest.wasm'), longer);
  return copy;
}

function site(prefix: string) {
  return { brokers: kafka.brokers, partitions: PARTITIONS, prefix, seriesMax: SERIES_MAX };
}

function open(prefix: string, store: 'topic' | 'volume'): Cluster {
  return openCluster({
    ...site(prefix),
    replication: 1,
    args: [
      ...['--log-prefix', prefix, '--checkpoint-store', store, '--checkpoint-interval', '1s'],
      ...['--logging-level', 'info', '--logging-format', 'json'],
    ],
  });
}

function onKafka(prefix: string): string[] {
  return [
    ...['--log-kind', 'kafka', '--log-kafka-brokers', kafka.brokers.join(',')],
    ...['--log-kafka-replication', '1', '--log-prefix', prefix],
    ...['--log-partitions', String(PARTITIONS), '--ingest-max-series', String(SERIES_MAX)],
  ];
}

/** A receiver and a scorer, and samples that flow. */
async function begin(
  prefix: string,
  store: 'topic' | 'volume',
): Promise<{ cluster: Cluster; load: Load }> {
  const cluster = open(prefix, store);
  await cluster.add('receiver', 1);
  await cluster.add('scorer', 1);
  await ready(...cluster.members);
  const load = loadOf(cluster);
  await moreAnswers(load, 100);
  return { cluster, load };
}

/** The replayed states are the saved ones, and those are what the scorers said last. */
async function verifyReplay(
  prefix: string,
  where: readonly string[],
  rows: readonly PartitionRow[],
): Promise<void> {
  const verified = await runTreeline(['run', '--verify-replay', ...onKafka(prefix), ...where]);
  expect(verified, verified.stderr).toMatchObject({ code: 0 });
  const lines = verified.stdout.trim().split('\n');
  expect(lines.length).toBe(PARTITIONS);
  for (const [partition, line] of lines.entries()) {
    const { stateHash, offset } = rows[partition]!;
    expect(line).toBe(
      `partition ${partition}: equal: records 0 to ${offset}, saved ${stateHash}, replayed ${stateHash}`,
    );
  }
}

/** What it says about partitions that it restored. */
function restored({ treeline }: Member): { partition: number; from: number; series: number }[] {
  return treeline!.program
    .stderr()
    .split('\n')
    .filter((line) => line.includes('Partition restored'))
    .map((line) => JSON.parse(line) as { partition: number; from: number; series: number });
}

/** Of the newest checkpoint of each partition. Closes the store. */
async function enginesIn({ store, close }: OpenStore): Promise<string[]> {
  const engines: string[] = [];
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const newest = (await listCheckpoints(store, partition))[0];
    const manifest = newest !== undefined && (await readManifest(store, partition, newest));
    engines.push(manifest ? Buffer.from(manifest.engineId).toString('hex') : 'none');
  }
  await close();
  return engines;
}

interface OpenStore {
  store: StateStore;
  close(): Promise<void>;
}

async function openTopicStore(prefix: string): Promise<OpenStore> {
  const client = openKafka({ brokers: kafka.brokers }, silent);
  const settings = { prefix, partitions: PARTITIONS, replication: 1 };
  const store = await openKafkaStore(client, settings);
  return { store, close: () => store.close() };
}

async function openVolumeStore({ dataDir }: Member): Promise<OpenStore> {
  const dir = await openDataDir(dataDir);
  return { store: openLmdbStore(dir), close: () => dir.close() };
}

const SERIES = 200;

async function sendMinutes(url: string, from: number, until: number): Promise<void> {
  const sender = openSender(url);
  for (let minute = from; minute < until; minute++) {
    const series = Array.from({ length: SERIES }, (_, i) => ({
      labels: { __name__: 'queue', instance: `host-${i}`, job: 'test' },
      points: [[FIRST_MS + minute * 60_000, 10 + ((i + minute) % 7)]] as const,
    }));
    expect((await sender.send(writeBody(series))).status).toBe(204);
  }
  sender.close();
}

/** Every series has learnt so many samples. */
async function samplesReached(treeline: Treeline, samples: number): Promise<void> {
  interface Page {
    series: { progress?: { samples: number } }[];
  }
  await eventually(`${samples} samples of each series`, WAIT_MS_MAX, async () => {
    const { series } = await treeline
      .json<Page>('/anomaly/v1/series?limit=1000')
      .catch(() => ({ series: [] }) as Page);
    const isThere = series.every(({ progress }) => progress?.samples === samples);
    return (series.length === SERIES && isThere) || undefined;
  });
}
