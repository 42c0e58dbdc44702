// The roles as processes on a real broker, killed and moved about while samples flow. What must hold: every sample
// answered 204 is in the log; states and candidates are those of an uninterrupted run over the same log. The long version,
// with three brokers that are killed too, is bench/cluster-kill.bench.ts.

import { setTimeout as sleep } from 'node:timers/promises';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { MetricMetadata_MetricType, WriteRequestSchema } from '../src/gen/remote_write_v1_pb.js';
import { MetricType, SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import { openKafkaLog } from '../src/log/kafka-log.js';
import type { Log } from '../src/log/log.js';
import {
  type Cluster,
  loggedCandidates,
  missingSamples,
  openCluster,
  readWholeLog,
  referenceRun,
} from './cluster.js';
import { type Load, startLoad } from './cluster-load.js';
import { type KafkaPeers, startKafka } from './kafka-peers.js';
import { endPrograms, eventually } from './programs.js';
import { randomOf } from './random.js';
import { compress, openSender, type Sender, writeBody } from './remote-write-sender.js';

const SEED = Number(process.env['TREELINE_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const PARTITIONS = 8;
const SERIES_MAX = 80_000;
const CONNECTIONS = 4;
const SERIES_PER_CONNECTION = 500;
const STEPS_MAX = 3_000;
const FIRST_MS = Math.floor((Date.now() - 30 * 864e5) / 15_000) * 15_000;
const KILLS = 12;

let kafka: KafkaPeers;

beforeAll(async () => {
  kafka = await startKafka();
}, 240_000);

afterAll(async () => {
  await kafka?.stop();
  await endPrograms();
});

test('whoever is killed, nothing acknowledged is lost and nothing is scored otherwise', {
  timeout: 300_000,
}, async ({ onTestFailed }) => {
  onTestFailed(() => console.error(`TREELINE_SEED=${SEED} repeats the order of the kills`));
  const random = randomOf(SEED);
  const cluster = openCluster({
    brokers: kafka.brokers,
    partitions: PARTITIONS,
    seriesMax: SERIES_MAX,
    replication: 1,
    args: ['--checkpoint-interval', '2s', '--log-prefix', 'kills', '--checkpoint-store', 'topic'],
  });
  await cluster.add('receiver', 2);
  await cluster.add('scorer', 1);
  const load = loadOf(cluster);
  await eventually('the first answers', 60_000, async () => load.answers() > 50 || undefined);
  await cluster.add('scorer', 2);
  await sleep(5_000);
  for (let round = 0; round < KILLS; round++) {
    const { members } = cluster;
    // Everybody at least once, then anybody.
    const member = members[round < members.length ? round : Math.floor(random() * members.length)]!;
    await cluster.kill(member);
    await sleep(2_000 * random());
    await cluster.start(member);
    await sleep(1_000 + 4_000 * random());
  }
  // One scorer leaves in order and does not come back.
  await cluster.stop(cluster.members.at(-1)!);
  await sleep(3_000);
  // Spikes begin after 300: there must be some to find, however slow the machine is.
  await eventually('enough steps', 120_000, async () => load.steps() > 400 || undefined);
  await load.stop();
  console.log(
    `seed ${SEED}: ${load.answers()} bodies in ${load.steps()} steps, ${load.retries()} sent again, ` +
      `longest wait ${load.longestMs().toFixed(0)} ms`,
  );
  expect(load.retries()).toBeGreaterThan(0);
  const rows = await cluster.atRest();
  const log = await openLog('kills');
  try {
    const sent = { acknowledged: load.acknowledged, series: load.series, firstMs: FIRST_MS };
    const { missing, foreign } = await missingSamples(log, sent);
    expect({ missing, foreign }).toEqual({ missing: 0, foreign: 0 });
    const reference = await referenceRun(log, SERIES_MAX);
    expect(rows.map(({ stateHash }) => stateHash)).toEqual(reference.hashes);
    expect(reference.candidates.length).toBeGreaterThan(0);
    expect(await loggedCandidates(log)).toEqual(reference.candidates);
  } finally {
    await log.close();
    await cluster.stopAll();
  }
});

test('types that one receiver learns from metadata are announced by the other', {
  timeout: 120_000,
}, async () => {
  const cluster = openCluster({
    brokers: kafka.brokers,
    partitions: PARTITIONS,
    seriesMax: SERIES_MAX,
    replication: 1,
    args: ['--log-prefix', 'types'],
  });
  await cluster.add('receiver', 2);
  const [first, second] = cluster.members.map(({ url }) => openSender(url));
  const send = (sender: Sender | undefined, body: Uint8Array) =>
    eventually('an answer', 60_000, async () => {
      const answer = await sender!.send(body).catch(() => undefined);
      return answer?.status === 204 ? true : undefined;
    });
  const labels = { __name__: 'oddly_named', instance: 'a:1', job: 'x' };
  const at = Date.now() - 60_000;
  await send(second, writeBody([{ labels, points: [[at, 1]] }]));
  const request = create(WriteRequestSchema, {
    metadata: [{ type: MetricMetadata_MetricType.COUNTER, metricFamilyName: 'oddly_named' }],
  });
  await send(first, compress(toBinary(WriteRequestSchema, request)));
  const log = await openLog('types');
  let next = at;
  const types = await eventually('the type to be announced', 30_000, async () => {
    next += 100;
    await send(second, writeBody([{ labels, points: [[next, 2]] }]));
    const announced: MetricType[] = [];
    await readWholeLog(log, 'samples', (record) => {
      for (const { type } of fromBinary(SampleBlockSchema, record).series) announced.push(type);
    });
    return announced.includes(MetricType.COUNTER) ? announced : undefined;
  });
  expect(types[0]).toBe(MetricType.UNSPECIFIED);
  first?.close();
  second?.close();
  await log.close();
  for (const member of cluster.members) await cluster.stop(member);
});

function loadOf(cluster: Cluster): Load {
  const receivers = cluster.members.filter(({ role }) => role === 'receiver');
  const urls = Array.from(
    { length: CONNECTIONS },
    (_, index) => receivers[index % receivers.length]!.url,
  );
  const seriesPerConnection = SERIES_PER_CONNECTION;
  return startLoad({
    urls,
    ...{ seriesPerConnection, seriesPerBody: 250 },
    stepsMax: STEPS_MAX,
    firstMs: FIRST_MS,
    paceMs: 20,
  });
}

function openLog(prefix: string): Promise<Log> {
  const settings = {
    connection: { brokers: kafka.brokers },
    prefix,
    partitions: PARTITIONS,
    partitionBy: [['namespace', 'pod'], ['instance']],
    replication: 1,
    retentionMs: {
      samples: 864e5,
      backfill: 864e5,
      candidates: 864e5,
      verdicts: 864e5,
      anomalies: 864e5,
    },
  };
  const logger = { debug() {}, info() {}, warn() {}, error() {} };
  return openKafkaLog(settings, { logger, clock: Date.now });
}
