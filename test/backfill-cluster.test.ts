// History on Kafka: of two receivers one fills, the other follows it when it is killed, and scorers that come and go arrive
// at what the two logs say. And by hand, before anything runs.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { FOREST_SEED } from '../src/compose-scorer.js';
import { isMark, markOf } from '../src/history-mark.js';
import { READ_BYTES_MAX } from '../src/limits.js';
import type { Log, Topic } from '../src/log/log.js';
import { stateHash, takeSnapshot } from '../src/scorer/checkpoint.js';
import { applyBlock } from '../src/scorer/history.js';
import { Partition } from '../src/scorer/partition.js';
import { WasmForest } from '../src/scorer/wasm-forest.js';
import { loadWasm } from '../src/wasm-files.js';
import { type ApiServer, sendJson, sendSuccess, startApiServer } from './api-server.js';
import { type Member, openCluster, openClusterLog } from './cluster.js';
import { type KafkaPeers, startKafka } from './kafka-peers.js';
import { endPrograms, eventually } from './programs.js';
import { openSender, writeBody } from './remote-write-sender.js';
import { runTreeline } from './treeline-process.js';

const PARTITIONS = 4;
const SERIES_MAX = 4_000;
const SERIES = 40;
const HOURS = 24;
const MINUTE = 60_000;
const forever = new AbortController().signal;

let kafka: KafkaPeers;
let served: ApiServer;

beforeAll(async () => {
  kafka = await startKafka();
  served = await startApiServer(({ path, parameters }, response) => {
    if (!path.startsWith('query')) return sendJson(response, 404, {});
    if (path === 'query') {
      const result = [{ metric: { __name__: 'load' }, value: [0, String(SERIES)] }];
      return sendSuccess(response, { resultType: 'vector', result });
    }
    const [start, end, step] = ['start', 'end', 'step'].map((name) => Number(parameters[name]));
    const result = Array.from({ length: SERIES }, (_, series) => {
      const values: [number, string][] = [];
      for (let at = start!; at <= end! + 1e-6; at += step!) values.push([at, valueAt(series, at)]);
      return { metric: { __name__: 'load', instance: `i${series}` }, values };
    });
    return sendSuccess(response, { resultType: 'matrix', result });
  });
}, 240_000);

afterAll(async () => {
  await served?.stop();
  await kafka?.stop();
  await endPrograms();
});

/** A rhythm with noise that follows from the time alone. */
function valueAt(series: number, seconds: number): string {
  const noise = Math.sin(seconds * 12.9898 + series * 78.233) * 43758.5453;
  return (50 + 10 * Math.sin(seconds / 7_000 + series) + noise - Math.floor(noise)).toFixed(4);
}

async function historyLine({ url }: Member): Promise<string> {
  const text = await fetch(`${url}/-/ready`).then(
    (answer) => answer.text(),
    () => '',
  );
  return text.split('\n').find((line) => line.startsWith('history: ')) ?? '';
}

/** Which state both logs lead to, and what lies in front of the fences. */
async function reference(
  log: Log,
): Promise<{ hashes: string[]; samples: number; ends: unknown[] }> {
  const { module } = loadWasm('forest');
  const found: Awaited<ReturnType<typeof reference>> = { hashes: [], samples: 0, ends: [] };
  for (let index = 0; index < log.partitions; index++) {
    const seriesMax = SERIES_MAX / PARTITIONS;
    const forest = new WasmForest(module, { seriesMax, seed: FOREST_SEED });
    const partition = new Partition(forest, seriesMax);
    const next = await readAll(log, 'backfill', index, (record, offset) => {
      const mark = markOf(record);
      if (mark?.kind === 'fence') {
        found.ends.push(mark.end);
        partition.history.next = offset + 1;
        return true;
      }
      if (!isMark(record)) applyBlock(partition, record);
      return false;
    });
    expect(next).toBeGreaterThan(0);
    const high = await readAll(log, 'samples', index, (record) => {
      partition.apply(record);
      return false;
    });
    found.samples += partition.counts.applied;
    const lineage = { logId: log.id, partition: index, partitions: log.partitions };
    const more = { engineId: new Uint8Array(0), seed: FOREST_SEED };
    const snapshot = takeSnapshot(partition, { ...lineage, ...more }, high);
    found.hashes.push(Buffer.from(stateHash(snapshot)).toString('hex'));
  }
  return found;
}

/** Until `visit` has enough, or to the end; resolves with where that was. */
async function readAll(
  log: Log,
  topic: Topic,
  partition: number,
  visit: (record: Uint8Array, offset: number) => boolean,
): Promise<number> {
  const { high } = await log.bounds(topic, partition);
  const subscription = await log.subscribe(topic, { onAssigned() {}, onLost() {} });
  try {
    for (let at = 0; at < high; ) {
      const batch = await subscription.read(partition, at, READ_BYTES_MAX, forever);
      for (const { offset, value } of batch.records) if (visit(value, offset)) return offset + 1;
      at = batch.next;
    }
    return high;
  } finally {
    await subscription.close();
  }
}

test('one receiver fills, another goes on when it is killed, and every scorer arrives at the same state', {
  timeout: 300_000,
}, async () => {
  const cluster = openCluster({
    ...{ brokers: kafka.brokers, partitions: PARTITIONS, seriesMax: SERIES_MAX, replication: 1 },
    args: [
      ...['--log-prefix', 'history', '--checkpoint-store', 'topic', '--checkpoint-interval', '1s'],
      ...['--backfill-prometheus', served.url, '--backfill-lookback', `${HOURS}h`],
    ],
  });
  await cluster.add('receiver', 2);
  await cluster.add('scorer', 2);
  const receivers = cluster.members.filter(({ role }) => role === 'receiver');
  const filling = await eventually('a quarter of the history', 60_000, async () => {
    for (const member of receivers) {
      const line = await historyLine(member);
      // A receiver is ready all the time: it takes samples.
      const [, share = '0', by] =
        /^history: ready; (\d+) %[^;]*?(, by another receiver)?$/.exec(line) ?? [];
      if (Number(share) >= 25 && by === undefined) return member;
    }
    return undefined;
  });
  const other = receivers.find((member) => member !== filling) as Member;
  const nowMs = Math.ceil(Date.now() / MINUTE) * MINUTE;
  const sender = openSender(other.url);
  const live = Array.from({ length: SERIES }, (_, series) => ({
    labels: { __name__: 'load', instance: `i${series}` },
    points: [[nowMs, Number(valueAt(series, nowMs / 1_000))] as const],
  }));
  expect((await sender.send(writeBody(live))).status).toBe(204);
  sender.close();
  await cluster.kill(filling);
  const killedAt = performance.now();
  // And one of those who read it.
  const scorer = cluster.members.find(({ role }) => role === 'scorer') as Member;
  await cluster.kill(scorer);
  await cluster.start(scorer);

  await eventually('the other to have filled the rest', 150_000, async () =>
    (await historyLine(other)) === 'history: ready' ? true : undefined,
  );
  console.log(`filled ${((performance.now() - killedAt) / 1000).toFixed(0)} s after the kill`);
  const rows = await cluster.atRest();
  const log = await openClusterLog({
    brokers: kafka.brokers,
    prefix: 'history',
    partitions: PARTITIONS,
  });
  try {
    const { hashes, samples, ends } = await reference(log);
    expect(ends).toEqual(['complete', 'complete', 'complete', 'complete']);
    expect(samples).toBe(SERIES * (HOURS * 60 + 1) + SERIES);
    expect(rows.map(({ stateHash: hash }) => hash)).toEqual(hashes);
  } finally {
    await log.close();
  }
  // A partition that moves, and one that starts anew from its checkpoint, read no history again.
  await cluster.kill(scorer);
  const after = await cluster.atRest();
  expect(after.map(({ stateHash: hash }) => hash)).toEqual(rows.map(({ stateHash: hash }) => hash));
  await cluster.stopAll();
});

test('by hand into a log on Kafka, before its first scorer, which needs no setting to read it', {
  timeout: 180_000,
}, async () => {
  const place = [
    ...['--log-kind', 'kafka', '--log-kafka-brokers', kafka.brokers.join(',')],
    ...['--log-prefix', 'by-hand', '--log-partitions', String(PARTITIONS)],
    ...['--log-kafka-replication', '1', '--checkpoint-store', 'topic'],
  ];
  const args = ['backfill', '--prometheus', served.url, '--lookback', '3h', ...place];
  const filled = await runTreeline(args);
  expect([filled.code, filled.stderr]).toEqual([
    0,
    'treeline: its external_labels cannot be asked for; if it has any, name each with --label\n',
  ]);
  expect(filled.stdout).toContain(`${SERIES * 181} samples of ${SERIES} series from `);
  expect(filled.stdout).toContain(' are in the log by-hand\n');
  const again = await runTreeline(args);
  expect([again.code, again.stderr]).toEqual([
    1,
    expect.stringContaining('The log has a history already; history comes before'),
  ]);
  const cluster = openCluster({
    ...{ brokers: kafka.brokers, partitions: PARTITIONS, seriesMax: SERIES_MAX, replication: 1 },
    args: ['--log-prefix', 'by-hand', '--checkpoint-store', 'topic'],
  });
  await cluster.add('scorer', 1);
  const rows = await cluster.atRest();
  const log = await openClusterLog({
    brokers: kafka.brokers,
    prefix: 'by-hand',
    partitions: PARTITIONS,
  });
  try {
    const { hashes, samples } = await reference(log);
    expect(samples).toBe(SERIES * 181);
    expect(rows.map(({ stateHash: hash }) => hash)).toEqual(hashes);
  } finally {
    await log.close();
  }
  const atWork = await runTreeline(args);
  expect(atWork.stderr).toContain(
    'A scorer is at work on the log by-hand; stop every scorer first',
  );
  await cluster.stopAll();
});
