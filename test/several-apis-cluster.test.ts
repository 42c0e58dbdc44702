// Two apis as processes of their own on a real broker and a real Redis. The one that sends is killed, and then the one
// that took over: incidents stay what they were, each is told of as one and the same alert, its end is told, and the topic
// of anomalies holds the whole story.

import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AnomalySchema } from '../src/gen/anomaly_pb.js';
import { type Member, openCluster, openClusterLog, readWholeLog } from './cluster.js';
import { type KafkaPeers, startKafka } from './kafka-peers.js';
import { endPrograms, eventually } from './programs.js';
import { randomOf } from './random.js';
import { type RedisServer, startRedis } from './redis-peers.js';
import { openSender, writeBody } from './remote-write-sender.js';
import { readingOf } from './treeline-process.js';

const PARTITIONS = 4;
const MINUTE = 60_000;
const SAMPLES = 300;
const AFTER = 40;
const TAKEOVER_MS_MAX = 30_000;
const WAIT_MS = 60_000;
const LABELS = { __name__: 'queue', namespace: 'shop', pod: 'db-0' };

let kafka: KafkaPeers;
let redis: RedisServer;

beforeAll(async () => {
  kafka = await startKafka();
  redis = await startRedis();
}, 240_000);

afterAll(async () => {
  await kafka?.stop();
  await redis?.kill();
  await endPrograms();
});

interface Told {
  at: number;
  incident: string;
  startsAt: string;
  isOver: boolean;
}

/** What an Alertmanager would be sent. */
async function listen(): Promise<{ url: string; told: Told[]; close(): Promise<unknown> }> {
  const told: Told[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const alerts = JSON.parse(Buffer.concat(chunks).toString()) as {
        labels: { incident: string };
        startsAt: string;
        endsAt: string;
      }[];
      for (const { labels, startsAt, endsAt } of alerts) {
        const isOver = Date.parse(endsAt) <= Date.now() + 1_000;
        told.push({ at: performance.now(), incident: labels.incident, startsAt, isOver });
      }
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    told,
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

const isHolder = async ({ treeline }: Member) =>
  treeline !== undefined &&
  readingOf(await treeline.metrics().catch(() => []), 'treeline_lease_held') === 1;

const incidentsOf = async ({ treeline }: Member) =>
  (await treeline?.json<{ incidents: object[] }>('/anomaly/v1/incidents'))?.incidents;

test('of two apis one sends; killed with -9 the other goes on within 30 s, and nothing is told twice', {
  timeout: 400_000,
}, async () => {
  const receiver = await listen();
  const prefix = 'several';
  const args = ['--log-prefix', prefix, '--redis-address', redis.address, '--mode', 'live'];
  args.push('--alerts-alertmanagers', receiver.url, '--checkpoint-store', 'topic');
  const sizes = { partitions: PARTITIONS, seriesMax: 4_000, replication: 1 };
  const cluster = openCluster({ brokers: kafka.brokers, ...sizes, args });
  await cluster.add('receiver', 1);
  await cluster.add('scorer', 1);
  await cluster.add('api', 2);
  const apis = cluster.members.filter(({ role }) => role === 'api');
  const [write] = cluster.members;
  const sender = openSender(write?.url ?? '');
  const random = randomOf(5);
  const begin = Math.floor(Date.now() / MINUTE - SAMPLES - AFTER) * MINUTE;
  const point = (i: number, value: number) => [begin + i * MINUTE, value + random()] as const;
  const send = (points: (readonly [number, number])[]) =>
    eventually('a 204', WAIT_MS, async () => {
      const body = writeBody([{ labels: LABELS, points }]);
      const answer = await sender.send(body).catch(() => undefined);
      return answer?.status === 204 ? true : undefined;
    });
  // The fault lasts until the end: its incident is open.
  await send(Array.from({ length: SAMPLES }, (_, i) => point(i, i >= SAMPLES - 5 ? 100 : 10)));
  const first = await eventually('one to send', WAIT_MS, async () => {
    for (const api of apis) if (await isHolder(api)) return api;
    return undefined;
  });
  const second = apis.find((api) => api !== first) as Member;
  await eventually('the alert', WAIT_MS, async () => (receiver.told.length > 0 ? true : undefined));
  const shown = await incidentsOf(first);
  expect(shown).toMatchObject([{ state: 'open', notification: 'notified' }]);
  await eventually('the other to show the same', WAIT_MS, async () =>
    JSON.stringify(await incidentsOf(second)) === JSON.stringify(shown) ? true : undefined,
  );
  expect(await isHolder(second)).toBe(false);
  expect(receiver.told).toHaveLength(1);
  // What several share lies in Redis: an api has no volume.
  expect(apis.map(({ dataDir }) => existsSync(dataDir))).toEqual([false, false]);

  const takeovers: number[] = [];
  const killAndWait = async (holder: Member, next: Member) => {
    await cluster.kill(holder);
    const killedAt = performance.now();
    const before = receiver.told.length;
    const again = await eventually('the other to send', WAIT_MS, async () => receiver.told[before]);
    takeovers.push(Math.round(again.at - killedAt));
    expect(await isHolder(next)).toBe(true);
    expect(await incidentsOf(next)).toEqual(shown);
    expect(receiver.told).toHaveLength(before + 1);
  };
  await killAndWait(first, second);
  await cluster.start(first);
  await eventually('it to be back', WAIT_MS, async () =>
    (await incidentsOf(first).catch(() => undefined))?.length === 1 ? true : undefined,
  );
  await sleep(1_000);
  expect(await isHolder(first)).toBe(false);
  await killAndWait(second, first);
  console.log(`told by the other after ${takeovers.join(' and ')} ms`);
  expect(Math.max(...takeovers)).toBeLessThan(TAKEOVER_MS_MAX);

  await send(Array.from({ length: AFTER }, (_, i) => point(SAMPLES + i, 10)));
  await eventually('its end to be told', WAIT_MS, async () =>
    receiver.told.some(({ isOver }) => isOver) ? true : undefined,
  );
  // One alert, with the same labels and the same beginning, whoever sent it; and one end.
  expect(new Set(receiver.told.map(({ incident, startsAt }) => incident + startsAt)).size).toBe(1);
  expect(receiver.told.filter(({ isOver }) => isOver)).toHaveLength(1);
  expect(receiver.told.at(-1)?.isOver).toBe(true);

  const log = await openClusterLog({ brokers: kafka.brokers, partitions: PARTITIONS, prefix });
  const story: { key: string; score: number; end: bigint | undefined }[] = [];
  await readWholeLog(log, 'anomalies', (record) => {
    const { fingerprint, onsetMs, score, endMs, label } = fromBinary(AnomalySchema, record);
    expect(Object.fromEntries(label.map(({ name, value }) => [name, value]))).toEqual(LABELS);
    story.push({ key: `${fingerprint} ${onsetMs}`, score, end: endMs });
  });
  await log.close();
  expect(new Set(story.map(({ key }) => key)).size).toBe(1);
  expect(story.at(-1)?.end).toBeTypeOf('bigint');
  const scores = story.map(({ score }) => score);
  expect(scores).toEqual([...scores].sort((a, b) => a - b));
  // Nothing was told again after a takeover that had been told before.
  expect(new Set(story.map(({ score, end }) => `${score} ${end}`)).size).toBe(story.length);
  sender.close();
  await cluster.stopAll();
  await receiver.close();
});
