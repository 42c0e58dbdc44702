// The log port on a real Kafka broker: the contract, then what is peculiar to Kafka.

import { Kafka, Partitioners } from 'kafkajs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  APPEND_BYTES_MAX,
  KAFKA_SESSION_MS,
  READ_AHEAD_BYTES_MAX,
  RECORD_BYTES_MAX,
} from '../src/limits.js';
import { openKafka } from '../src/log/kafka-client.js';
import { kafkaCounters } from '../src/log/kafka-counters.js';
import { type KafkaLog, type KafkaLogSettings, openKafkaLog } from '../src/log/kafka-log.js';
import { TopicProducer } from '../src/log/kafka-producer.js';
import type { Batch, Subscription } from '../src/log/log.js';
import { clock, deleteBelow, kafkaSettings, open, silent, withAdmin } from './kafka-fixture.js';
import { type KafkaPeers, startKafka } from './kafka-peers.js';
import { logContract } from './log-contract.js';
import { endPrograms } from './programs.js';

let kafka: KafkaPeers;

beforeAll(async () => {
  kafka = await startKafka();
}, 300_000);

afterAll(async () => {
  await kafka.stop();
  await endPrograms();
});

logContract('kafka log', async (partitions) => {
  const settings = kafkaSettings(kafka.brokers, { partitions });
  let log = await openKafkaLog(settings, { logger: silent, clock });
  return {
    log,
    forgetsSamples: true,
    async reopen() {
      await log.close();
      log = await open(settings);
      return log;
    },
    deleteBelow: (partition, offset) =>
      deleteBelow(settings, { topic: 'samples', partition, offset }),
    remove: () => log.close(),
  };
});

const forever = new AbortController().signal;
const MANY = 1 << 20;
const nobody = { onAssigned() {}, onLost() {} };

async function withLog(
  body: (log: KafkaLog, settings: KafkaLogSettings) => Promise<void>,
  settings: Partial<KafkaLogSettings> = {},
): Promise<void> {
  const own = kafkaSettings(kafka.brokers, settings);
  const log = await open(own);
  try {
    await body(log, own);
  } finally {
    await log.close();
  }
}

function bytes(text: string): Uint8Array {
  return Buffer.from(text);
}

function textsOf({ records }: Batch): string[] {
  return records.map(({ value }) => Buffer.from(value).toString());
}

/** Reads on until so many records have come. */
async function readMany(
  subscription: Subscription,
  { partition, from }: { partition: number; from: number },
  count: number,
): Promise<string[]> {
  const texts: string[] = [];
  for (let at = from; texts.length < count; ) {
    const batch = await subscription.read(partition, at, MANY, forever);
    expect(batch.gap).toBe(0);
    texts.push(...textsOf(batch));
    at = batch.next;
  }
  return texts;
}

test('the log keeps its own record to itself', async () => {
  await withLog(async (log) => {
    const subscription = await log.subscribe('control', nobody);
    await log.append('control', 0, bytes('a'), 0);
    expect(await readMany(subscription, { partition: 0, from: 0 }, 1)).toEqual(['a']);
    // A reader that begins at 0 gets to the end, where there is nothing yet for it.
    const { high } = await log.bounds('control', 0);
    let at = 0;
    while (at < high) at = (await subscription.read(0, at, 1, forever)).next;
    expect(at).toBe(high);
  });
});

test('the ends of transactions are holes, not gaps (scenario 22)', async () => {
  await withLog(async (log, { prefix }) => {
    await log.append('samples', 0, bytes('a'), 1);
    const foreign = new Kafka({ brokers: [...kafka.brokers], logLevel: 0 }).producer({
      transactionalId: prefix,
      maxInFlightRequests: 1,
      idempotent: true,
      retry: { retries: 20 },
      createPartitioner: Partitioners.DefaultPartitioner,
    });
    await foreign.connect();
    for (const value of ['b', 'c']) {
      const transaction = await foreign.transaction();
      await transaction.send({ topic: `${prefix}.samples`, messages: [{ partition: 0, value }] });
      await transaction.commit();
    }
    await foreign.disconnect();
    await log.append('samples', 0, bytes('d'), 1);
    // a, b, marker, c, marker, d
    expect((await log.bounds('samples', 0)).high).toBe(6);
    const subscription = await log.subscribe('samples', nobody);
    expect(await readMany(subscription, { partition: 0, from: 0 }, 4)).toEqual([
      'a',
      'b',
      'c',
      'd',
    ]);
    expect(await readMany(subscription, { partition: 0, from: 2 }, 2)).toEqual(['c', 'd']);
    const end = await subscription.read(0, 4, MANY, forever);
    expect([end.gap, end.next]).toEqual([0, 6]);
  });
});

test('what retention takes away under a reader at work is counted (scenario 19)', async () => {
  await withLog(async (log, settings) => {
    const count = 14;
    const value = new Uint8Array(RECORD_BYTES_MAX);
    for (let i = 0; i < count; i++) await log.append('samples', 0, value, 1);
    const subscription = await log.subscribe('samples', nobody);
    let at = (await subscription.read(0, 0, 1, forever)).next;
    // Time to read ahead as far as may be, which is less than there is.
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    await deleteBelow(settings, { topic: 'samples', partition: 0, offset: count - 1 });
    let [records, gap] = [1, 0];
    while (at < count) {
      const batch = await subscription.read(0, at, MANY, forever);
      expect(batch.next - at).toBe(batch.records.length + batch.gap);
      expect(batch.records.map(({ offset }) => offset)[0]).toBe(at + batch.gap);
      records += batch.records.length;
      gap += batch.gap;
      at = batch.next;
    }
    expect(records + gap).toBe(count);
    expect(gap).toBeGreaterThan(0);
    expect(records).toBeGreaterThanOrEqual(1 + READ_AHEAD_BYTES_MAX / RECORD_BYTES_MAX);
  });
});

test('a record of another log is handed out as long as ours is in force', async () => {
  await withLog(async (log, { prefix }) => {
    const foreign = openKafka({ brokers: kafka.brokers }, silent).producer();
    await foreign.connect();
    const headers = { log: 'e3b0c442-98fc-1c14-9afb-f4c8996fb924' };
    const messages = [
      { partition: 0, value: 'stray', headers },
      { partition: 0, value: 'nameless' },
    ];
    await foreign.send({ topic: `${prefix}.samples`, messages });
    await foreign.disconnect();
    await log.append('samples', 0, bytes('ours'), 1);
    const subscription = await log.subscribe('samples', nobody);
    const place = { partition: 0, from: 0 };
    expect(await readMany(subscription, place, 3)).toEqual(['stray', 'nameless', 'ours']);
    expect(log.counters.foreignRecords).toBe(1);
  });
});

test('more bytes than may wait are refused at once, and later appends go on', async () => {
  await withLog(async (log) => {
    const value = new Uint8Array(RECORD_BYTES_MAX);
    const fitting = Math.floor(APPEND_BYTES_MAX / RECORD_BYTES_MAX);
    const appends = Array.from({ length: fitting }, (_, i) =>
      log.append('samples', i % 3, value, 1),
    );
    const surplus = log.append('samples', 0, value, 1);
    await expect(surplus).rejects.toMatchObject({ code: 'overloaded', status: 503 });
    await Promise.allSettled(appends);
    await expect.poll(() => log.append('samples', 0, value, 1).then(() => true)).toBe(true);
  });
});

test('a partition that the brokers do not know rejects (contract C14)', async () => {
  await withLog(async (_log, { prefix }) => {
    const counters = kafkaCounters();
    const producer = new TopicProducer({
      client: openKafka({ brokers: kafka.brokers }, silent),
      topic: `${prefix}.samples`,
      partitions: 9,
      logId: 'any',
      budget: { bytes: 0 },
      counters,
      onDoubt() {},
    });
    const refused = producer.append(8, bytes('nowhere'), 1);
    await expect(refused).rejects.toMatchObject({ code: 'log_other' });
    await expect(refused).rejects.toThrow(/samples\/8.*no such partition/);
    expect(await producer.append(2, bytes('somewhere'), 1)).toBe(0);
    expect(counters.appendsFailed).toBe(1);
    await producer.close();
  });
});

test('a topic deleted under one producer does not stop the others (contract C15, scenario 47)', async () => {
  await withLog(async (log, { prefix }) => {
    await log.append('candidates', 0, bytes('a'), 1);
    await log.append('samples', 0, bytes('a'), 1);
    await withAdmin(kafka.brokers, (admin) =>
      admin.deleteTopics({ topics: [`${prefix}.candidates`] }),
    );
    const again = expect
      .poll(() => log.append('candidates', 0, bytes('b'), 1), { timeout: 20_000 })
      .toBe(0);
    // Meanwhile, and longer than a poisoned client would have kept its last look at the metadata.
    for (let i = 1; i <= 40; i++) {
      expect(await log.append('samples', i % 3, bytes(`${i}`), 1)).toBeGreaterThanOrEqual(0);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await again;
  });
});

/** A member of a group that keeps the books of what it was told. */
class Reader {
  readonly owned = new Set<number>();
  readonly said: string[] = [];
  subscription!: Subscription;

  static async join(log: KafkaLog, group: string): Promise<Reader> {
    const reader = new Reader();
    reader.subscription = await log.subscribe(
      'samples',
      {
        onAssigned: (partition) => {
          reader.said.push(`+${partition}`);
          reader.owned.add(partition);
        },
        onLost: (partition) => {
          reader.said.push(`-${partition}`);
          reader.owned.delete(partition);
        },
      },
      group,
    );
    return reader;
  }

  async untilOwned(count: number): Promise<void> {
    await expect.poll(() => this.owned.size, { timeout: 20_000, interval: 20 }).toBe(count);
  }
}

test('a group shares its partitions, moves as few as it can, and tells who lost which', async () => {
  const settings = kafkaSettings(kafka.brokers, { partitions: 7 });
  const logs = [await open(settings), await open(settings), await open(settings)] as const;
  try {
    const first = await Reader.join(logs[0], 'scorer');
    await first.untilOwned(7);
    const lost = first.subscription.read(6, 0, MANY, forever);
    lost.catch(() => {}); // awaited below
    const kept = first.subscription.read(0, 0, MANY, forever);
    const second = await Reader.join(logs[1], 'scorer');
    await Promise.all([first.untilOwned(4), second.untilOwned(3)]);
    // What stays is not spoken of again.
    expect(first.said).toEqual(['+0', '+1', '+2', '+3', '+4', '+5', '+6', '-4', '-5', '-6']);
    expect(second.said).toEqual(['+4', '+5', '+6']);
    await expect(lost).rejects.toMatchObject({ code: 'partition_lost' });
    const refused = first.subscription.read(5, 0, MANY, forever);
    await expect(refused).rejects.toThrow(/samples\/5 is read by another member/);
    await logs[2].append('samples', 0, bytes('still mine'), 1);
    expect(textsOf(await kept)).toEqual(['still mine']);
    const third = await Reader.join(logs[2], 'scorer');
    await Promise.all([first.untilOwned(3), second.untilOwned(2), third.untilOwned(2)]);
    expect(first.said.slice(10)).toEqual(['-3']);
    await second.subscription.close();
    await Promise.all([first.untilOwned(4), third.untilOwned(3)]);
    expect(new Set([...first.owned, ...third.owned]).size).toBe(7);
    expect(first.said.filter((word) => word === '-0')).toEqual([]);
  } finally {
    await Promise.all(logs.map((log) => log.close()));
  }
});

test('where a group stands is told to the broker, for tools that show lag', async () => {
  await withLog(async (log, { prefix }) => {
    await log.append('samples', 1, bytes('a'), 1);
    const reader = await Reader.join(log, 'scorer');
    await reader.untilOwned(3);
    await reader.subscription.read(1, 0, MANY, forever);
    await reader.subscription.commit(1, 1);
    await reader.subscription.close();
    const [topic] = await withAdmin(kafka.brokers, (admin) =>
      admin.fetchOffsets({ groupId: `${prefix}.scorer`, topics: [`${prefix}.samples`] }),
    );
    const offsets = topic?.partitions.map(({ partition, offset }) => [partition, offset]);
    expect(offsets?.toSorted()).toEqual([
      [0, '-1'],
      [1, '1'],
      [2, '-1'],
    ]);
    expect(log.counters.offsetsRefused).toBe(0);
  });
});

test('a member whose process stood still is thrown out, learns it, and joins again (scenario 16)', async () => {
  await withLog(async (log) => {
    const reader = await Reader.join(log, 'scorer');
    await reader.untilOwned(3);
    const silence = performance.now() + 1.4 * KAFKA_SESSION_MS;
    while (performance.now() < silence); // the event loop does not come round
    await reader.subscription.commit(0, 1);
    await log.append('samples', 0, bytes('after'), 1);
    await expect
      .poll(() => log.counters.rejoins + log.counters.crashes, { timeout: 20_000 })
      .toBeGreaterThan(0);
    await reader.untilOwned(3);
    expect(textsOf(await reader.subscription.read(0, 0, MANY, forever))).toEqual(['after']);
  });
});

test('members that come and go: whoever has a partition reads each of its records once, in order (scenarios 14, 18)', async () => {
  const settings = kafkaSettings(kafka.brokers);
  const staying = await open(settings);
  const coming = await open(settings);
  const ending = new AbortController();
  const loops: Promise<void>[] = [];
  /** Partition → offsets in the order in which anybody read them, since its reader began anew. */
  const books = new Map<number, number[]>();
  const follow = (subscription: () => Subscription, partition: number) => {
    const offsets: number[] = [];
    books.set(partition, offsets);
    const loop = async () => {
      for (let at = 0; ; ) {
        const batch = await subscription().read(partition, at, MANY, ending.signal);
        offsets.push(...batch.records.map(({ offset }) => offset));
        at = batch.next;
      }
    };
    loops.push(
      loop().catch((error) =>
        expect(['partition_lost', 'log_closed', undefined]).toContain(error.code),
      ),
    );
  };
  const join = async (log: KafkaLog) => {
    const owned = new Set<number>();
    const subscription: Subscription = await log.subscribe(
      'samples',
      {
        onAssigned: (partition) => {
          owned.add(partition);
          follow(() => subscription, partition);
        },
        onLost: (partition) => void owned.delete(partition),
      },
      'scorer',
    );
    return { subscription, owned };
  };
  try {
    const first = await join(staying);
    await expect.poll(() => first.owned.size, { timeout: 20_000 }).toBe(3);
    // The first of all groups may meet a coordinator that is still being made.
    const { crashes } = staying.counters;
    let appended = 0;
    const appending = (async () => {
      while (!ending.signal.aborted) {
        const append = (partition: number) => staying.append('samples', partition, bytes('x'), 1);
        await Promise.all([0, 1, 2].map(append));
        appended++;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    })();
    for (let cycle = 0; cycle < 5; cycle++) {
      const second = await join(coming);
      await expect
        .poll(() => [first.owned.size, second.owned.size], { timeout: 20_000 })
        .toEqual([2, 1]);
      await second.subscription.close();
      await expect.poll(() => first.owned.size, { timeout: 20_000 }).toBe(3);
    }
    await expect.poll(() => [...books.values()].every((one) => one.length > 50)).toBe(true);
    const goal = appended;
    await expect.poll(() => [...books.values()].every((one) => one.length >= goal)).toBe(true);
    ending.abort(new Error('end of the test'));
    await Promise.all([appending, ...loops]);
    for (const offsets of books.values()) expect(offsets).toEqual(offsets.map((_, index) => index));
    expect(staying.counters.crashes).toBe(crashes);
  } finally {
    ending.abort(new Error('end of the test'));
    await Promise.all([staying.close(), coming.close()]);
  }
});

test('a reader that takes longer than a session over a batch stays a member (contract C9)', async () => {
  await withLog(async (log) => {
    await log.append('samples', 0, bytes('a'), 1);
    await log.append('samples', 0, bytes('b'), 1);
    const reader = await Reader.join(log, 'scorer');
    await reader.untilOwned(3);
    await reader.subscription.read(0, 0, 1, forever);
    await new Promise((resolve) => setTimeout(resolve, 1.4 * KAFKA_SESSION_MS));
    expect(textsOf(await reader.subscription.read(0, 1, 1, forever))).toEqual(['b']);
    expect(reader.said).toEqual(['+0', '+1', '+2']);
    expect([log.counters.rejoins, log.counters.crashes]).toEqual([0, 0]);
  });
});

test('a log that is read by nobody and appended to by nobody closes at once', async () => {
  const log = await open(kafkaSettings(kafka.brokers));
  const before = performance.now();
  await log.close();
  expect(performance.now() - before).toBeLessThan(1_000);
  await expect(log.bounds('samples', 0)).rejects.toMatchObject({ code: 'log_closed' });
  await expect(log.subscribe('samples', nobody)).rejects.toMatchObject({ code: 'log_closed' });
});
