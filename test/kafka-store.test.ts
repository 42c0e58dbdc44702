// The state port on a compacted topic of a real broker: the contract, and what is peculiar to a topic.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { CHUNK_BYTES } from '../src/limits.js';
import { type KafkaClient, openKafka } from '../src/log/kafka-client.js';
import { openKafkaLog } from '../src/log/kafka-log.js';
import { readToEnd } from '../src/log/kafka-read.js';
import { type KafkaStore, openKafkaStore } from '../src/state/kafka-store.js';
import { storeTopicName } from '../src/state/kafka-store-topic.js';
import { type KafkaPeers, startKafka } from './kafka-peers.js';
import { endPrograms, eventually } from './programs.js';
import { randomBytes, randomOf } from './random.js';
import { stateContract } from './state-contract.js';
import { contentsOf, fleet, Installation, PARTITION_BY } from './state-installation.js';

const silent = { debug() {}, info() {}, warn() {}, error() {} };
let kafka: KafkaPeers;
let client: KafkaClient;
let prefixes = 0;

beforeAll(async () => {
  // The cleaner looks often, so that what compaction does is seen.
  kafka = await startKafka({ settings: { 'log.cleaner.backoff.ms': 200 } });
  client = openKafka({ brokers: kafka.brokers }, silent);
}, 180_000);

afterAll(async () => {
  await kafka?.stop();
  await endPrograms();
});

function settingsOf(prefix = `store${++prefixes}`) {
  return { prefix, partitions: 3, replication: 1 };
}

stateContract('kafka store', async () => {
  const settings = settingsOf();
  let store = await openKafkaStore(client, settings);
  return {
    store,
    async reopen() {
      await store.close();
      store = await openKafkaStore(client, settings);
      return store;
    },
    remove: () => store.close(),
  };
});

async function withStores(
  count: number,
  body: (stores: KafkaStore[], prefix: string) => Promise<void>,
): Promise<void> {
  const settings = settingsOf();
  const stores: KafkaStore[] = [];
  for (let i = 0; i < count; i++) stores.push(await openKafkaStore(client, settings));
  try {
    await body(stores, settings.prefix);
  } finally {
    for (const store of stores) await store.close();
  }
}

const textOf = async (store: KafkaStore, key: string) => {
  const value = await store.get(key);
  return value === undefined ? undefined : Buffer.from(value).toString();
};

/** How many messages each partition of the topic has been sent. */
async function sentTo(prefix: string): Promise<number[]> {
  const admin = client.admin();
  await admin.connect();
  const offsets = await admin.fetchTopicOffsets(storeTopicName(prefix));
  await admin.disconnect();
  return offsets.sort((a, b) => a.partition - b.partition).map(({ high }) => Number(high));
}

test('the checkpoints of a partition lie in the partition of that number, all else in the first', async () => {
  await withStores(1, async ([store], prefix) => {
    await store!.put('checkpoint/002/0000000000000000/manifest', Buffer.from('a'));
    await store!.put('checkpoint/001/0000000000000000/manifest', Buffer.from('b'));
    await store!.put('checkpoint/001/0000000000000000/000000', Buffer.from('c'));
    await store!.put('receiver/rejected', Buffer.from('d'));
    expect(await sentTo(prefix)).toEqual([1, 2, 1]);
    expect(await store!.list('checkpoint/')).toHaveLength(3);
  });
});

test('what one process writes, another reads at its next call', async () => {
  await withStores(2, async ([one, other]) => {
    expect(await textOf(other!, 'a')).toBeUndefined();
    await one!.put('a', Buffer.from('1'));
    expect(await textOf(other!, 'a')).toBe('1');
    await other!.put('a', Buffer.from('2'));
    await one!.put('b', Buffer.from('3'));
    expect([await textOf(one!, 'a'), await textOf(other!, 'b')]).toEqual(['2', '3']);
    await other!.deleteAll('a');
    expect(await one!.list('')).toEqual(['b']);
  });
});

test('of two processes the greater version stands for both, and is the last in the topic', async () => {
  const seed = 20_071;
  const random = randomOf(seed);
  await withStores(2, async ([one, other], prefix) => {
    const highests = new Map<string, string>();
    for (let round = 0; round < 30; round++) {
      const key = `pointer/${round}`;
      const versions = [one, other].map(() => Math.floor(random() * 1000));
      await Promise.all(
        [one, other].map((store, i) =>
          store!.advance(key, Buffer.from(`v${versions[i]}`), versions[i]!),
        ),
      );
      const highest = `v${Math.max(...versions)}`;
      highests.set(key, highest);
      const seen = [await textOf(one!, key), await textOf(other!, key)];
      expect([seed, round, seen]).toEqual([seed, round, [highest, highest]]);
    }
    // Cleaning keeps the last.
    const last = new Map<string, string>();
    await readToEnd(client, { topic: storeTopicName(prefix), partition: 0 }, ({ key, value }) => {
      last.set(String(key), String(value?.subarray(8)));
    });
    expect([seed, last]).toEqual([seed, highests]);
  });
});

test('after cleaning new and old readers find the same keys and values', {
  timeout: 90_000,
}, async () => {
  const random = randomOf(20_072);
  const settings = settingsOf();
  const topic = storeTopicName(settings.prefix);
  await createTopic(topic, {
    'cleanup.policy': 'compact',
    'max.message.bytes': '1048576',
    'segment.bytes': String(1024 * 1024),
    'segment.ms': '500',
    'min.cleanable.dirty.ratio': '0.01',
    'delete.retention.ms': '0',
  });
  const store = await openKafkaStore(client, settings);
  const early = await openKafkaStore(client, settings);
  const prefixOf = (round: number) => `checkpoint/000/${String(round).padStart(16, '0')}/`;
  const last = new Map<string, Uint8Array>();
  for (let round = 0; round < 20; round++) {
    for (let chunk = 0; chunk < 3; chunk++) {
      const value = randomBytes(random, CHUNK_BYTES / 2);
      await store.put(prefixOf(round) + chunk, value);
      last.set(prefixOf(round) + chunk, value);
    }
    for (const key of await store.list(prefixOf(round - 2))) last.delete(key);
    await store.deleteAll(prefixOf(round - 2));
    if (round === 10) expect(await early.list('')).toHaveLength(6);
  }
  await eventually('the cleaner', 60_000, async () => {
    await store.put('checkpoint/000/tick', Buffer.from('tick'));
    let found = 0;
    await readToEnd(client, { topic, partition: 0 }, () => found++);
    const [sent = 0] = await sentTo(settings.prefix);
    return found < sent / 2 ? true : undefined;
  });
  await store.deleteAll('checkpoint/000/tick');
  const late = await openKafkaStore(client, settings);
  for (const reader of [store, early, late]) {
    expect(await reader.list(prefixOf(18))).toHaveLength(3);
    for (const [key, value] of last) {
      expect([key, Buffer.compare((await reader.get(key)) as Buffer, value)]).toEqual([key, 0]);
    }
    expect(await reader.get(`${prefixOf(9)}0`)).toBeUndefined();
    await reader.close();
  }
});

async function createTopic(topic: string, config: Record<string, string>): Promise<void> {
  const admin = client.admin();
  await admin.connect();
  const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }));
  await admin.createTopics({
    topics: [{ topic, numPartitions: 3, replicationFactor: 1, configEntries }],
  });
  await admin.disconnect();
}

test('a topic that would delete by age, or has too few partitions, is refused with a sentence', async () => {
  const byAge = settingsOf();
  await createTopic(storeTopicName(byAge.prefix), { 'cleanup.policy': 'delete' });
  await expect(openKafkaStore(client, byAge)).rejects.toThrow(
    /cleanup\.policy=delete.*set compact/,
  );
  const few = { ...settingsOf(), partitions: 4 };
  await createTopic(storeTopicName(few.prefix), { 'cleanup.policy': 'compact' });
  await expect(openKafkaStore(client, few)).rejects.toThrow(
    /has 3 partitions and log\.partitions says 4/,
  );
});

test('what was learnt at the edge goes on in a cluster, and on another machine after that', {
  timeout: 60_000,
}, async () => {
  const scrape = fleet(20_073);
  const edge = new Installation(4);
  for (let minute = 0; minute < 130; minute++) await edge.send(scrape(minute));
  await edge.learn();
  const settings = settingsOf();
  const log = await openKafkaLog(
    {
      ...settings,
      partitionBy: PARTITION_BY,
      retentionMs: {},
      connection: { brokers: kafka.brokers },
    },
    { logger: silent, clock: Date.now },
  );
  const first = await openKafkaStore(client, settings);
  const cluster = new Installation(3, { store: first, log });
  await cluster.import(await edge.export());
  expect((await contentsOf(await cluster.export())).rows).toEqual(
    (await contentsOf(await edge.export())).rows,
  );
  for (let minute = 130; minute < 150; minute++) {
    const series = scrape(minute);
    await edge.send(series);
    await cluster.send(series);
    // Each minute another machine: nothing but the topic goes with it.
    if (minute % 5 !== 0) continue;
    const store = await openKafkaStore(client, settings);
    await new Installation(3, { store, log }).learn();
    await store.close();
  }
  await edge.learn();
  await cluster.learn();
  const [want, got] = [
    await contentsOf(await edge.export()),
    await contentsOf(await cluster.export()),
  ];
  expect(got.learnt).toBe(want.learnt);
  await first.close();
  await log.close();
});

test('a broker that is killed and comes back is waited for, and has kept what was acknowledged', {
  timeout: 120_000,
}, async () => {
  await withStores(1, async ([store], prefix) => {
    await store!.put('checkpoint/001/before', Buffer.from('before'));
    await kafka.kill(1);
    const pending = store!.put('checkpoint/001/after', Buffer.from('after'));
    const listed = store!.list('checkpoint/001/');
    const reason = await eventually('a word about it', 20_000, async () => store!.unready());
    expect(reason).toMatch(/^Cannot (read|write to) store\d+\.checkpoints\/1: the brokers/);
    await kafka.start(1);
    await pending;
    await listed;
    expect([store!.unready(), store!.retries > 0]).toEqual([undefined, true]);
    const keys = ['checkpoint/001/after', 'checkpoint/001/before'];
    expect(await store!.list('checkpoint/001/')).toEqual(keys);
    const other = await openKafkaStore(client, { prefix, partitions: 3, replication: 1 });
    expect(await textOf(other, 'checkpoint/001/after')).toBe('after');
    await other.close();
  });
});
