// What tests of the Kafka log share: settings of a log of its own on brokers that are running, and ways to read and to
// damage it from outside, with a client that is not ours to test.

import { expect } from 'vitest';
import type { Logger } from '../src/http-server.js';
import { type KafkaAdmin, openKafka } from '../src/log/kafka-client.js';
import { type KafkaLog, type KafkaLogSettings, openKafkaLog } from '../src/log/kafka-log.js';
import { LOG_RECORD_KEY } from '../src/log/kafka-log-record.js';
import { readToEnd } from '../src/log/kafka-read.js';
import { topicName } from '../src/log/kafka-topics.js';
import type { Subscription, Topic } from '../src/log/log.js';

export const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };
export const clock = () => 1_700_000_000_000;

let prefixCount = 0;

export function kafkaSettings(
  brokers: readonly string[],
  settings: Partial<KafkaLogSettings> = {},
): KafkaLogSettings {
  return {
    connection: { brokers },
    prefix: `test-${process.pid}-${++prefixCount}`,
    partitions: 3,
    partitionBy: [['namespace', 'pod'], ['instance']],
    replication: Math.min(3, brokers.length),
    retentionMs: {},
    ...settings,
  };
}

export function open(settings: KafkaLogSettings, logger: Logger = silent): Promise<KafkaLog> {
  return openKafkaLog(settings, { logger, clock });
}

/** A member of a group that has all partitions of samples. */
export async function joined(log: KafkaLog, group: string): Promise<Subscription> {
  let owned = 0;
  const books = { onAssigned: () => void owned++, onLost: () => void owned-- };
  const subscription = await log.subscribe('samples', books, group);
  await expect.poll(() => owned, { timeout: 60_000 }).toBe(log.partitions);
  return subscription;
}

export async function withAdmin<T>(
  brokers: readonly string[],
  body: (admin: KafkaAdmin) => Promise<T>,
): Promise<T> {
  const admin = openKafka({ brokers }, silent).admin();
  await admin.connect();
  try {
    return await body(admin);
  } finally {
    await admin.disconnect();
  }
}

interface Right {
  /** 2 a topic, 3 a group, as Kafka numbers them; the operations likewise. */
  resource: 2 | 3;
  operation: number;
}

export const RIGHTS = {
  topicRead: { resource: 2, operation: 3 },
  topicWrite: { resource: 2, operation: 4 },
  topicCreate: { resource: 2, operation: 5 },
  topicDescribe: { resource: 2, operation: 8 },
  topicDescribeConfigs: { resource: 2, operation: 10 },
  groupRead: { resource: 3, operation: 3 },
} as const satisfies Record<string, Right>;

/** On all that begins with the prefix: what the documents ask for, or a part of it. */
export async function allow(
  brokers: readonly string[],
  prefix: string,
  { user, rights = Object.values(RIGHTS) }: { user: string; rights?: readonly Right[] },
): Promise<void> {
  await withAdmin(brokers, (anonymous) =>
    anonymous.createAcls({
      acl: rights.map(({ resource, operation }) => ({
        resourceType: resource as number,
        resourceName: `${prefix}.`,
        resourcePatternType: 4,
        principal: `User:${user}`,
        host: '*',
        operation,
        permissionType: 3,
      })),
    }),
  );
}

export async function deleteBelow(
  settings: KafkaLogSettings,
  place: { topic: Topic; partition: number; offset: number },
): Promise<void> {
  const topic = topicName(settings.prefix, place.topic);
  await withAdmin(settings.connection.brokers, async (admin) => {
    await admin.fetchTopicMetadata({ topics: [topic] }); // else it does not know the leaders
    const partitions = [{ partition: place.partition, offset: String(place.offset) }];
    await admin.deleteTopicRecords({ topic, partitions });
  });
}

/** The values in a partition, as text, read without our subscription. */
export async function valuesOf(
  settings: KafkaLogSettings,
  { topic, partition }: { topic: Topic; partition: number },
): Promise<string[]> {
  const values: string[] = [];
  const name = topicName(settings.prefix, topic);
  const client = openKafka(settings.connection, silent);
  await readToEnd(client, { topic: name, partition }, ({ key, value }) => {
    if (key?.toString() !== LOG_RECORD_KEY) values.push(String(value));
  });
  return values;
}
