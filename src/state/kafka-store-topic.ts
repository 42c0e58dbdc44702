// The topic of the state store on Kafka, `<prefix>.checkpoints`: compacted, so that of each key the last value stays, and
// with as many partitions as the log. Created when it is missing; refused with a sentence when it would lose values.

import { setTimeout as sleep } from 'node:timers/promises';
import { OperatingError } from '../errors.js';
import { KAFKA_MESSAGE_BYTES_MAX, STORE_INDEX_MS_MAX } from '../limits.js';
import type { KafkaAdmin, KafkaClient } from '../log/kafka-client.js';
import { isUnknownTopic, kafkaError } from '../log/kafka-errors.js';
import { countPartitions } from '../log/kafka-topics.js';

export interface KafkaStoreSettings {
  prefix: string;
  /** Of the log. */
  partitions: number;
  /** Copies of a topic that is created here. */
  replication: number;
}

/** Kafka's resource type of a topic, in requests about configuration. */
const TOPIC_RESOURCE = 2;
const LEADERS_MS_MAX = 30_000;
const POLL_MS = 100;

export function storeTopicName(prefix: string): string {
  return `${prefix}.checkpoints`;
}

/** Rejects with an OperatingError. Several processes may ask at the same time. */
export async function openStoreTopic(
  client: KafkaClient,
  settings: KafkaStoreSettings,
): Promise<void> {
  const topic = storeTopicName(settings.prefix);
  const admin = client.admin();
  try {
    await admin.connect();
    if (!(await admin.listTopics()).includes(topic)) await create(admin, topic, settings);
    await check(admin, topic, settings.partitions);
  } catch (error) {
    throw kafkaError(error, `open the state in ${topic}`);
  } finally {
    await admin.disconnect();
  }
}

async function create(
  admin: KafkaAdmin,
  topic: string,
  { partitions, replication }: KafkaStoreSettings,
): Promise<void> {
  const config: Record<string, string | number> = {
    'cleanup.policy': 'compact',
    'max.message.bytes': 1024 * 1024,
    'min.insync.replicas': Math.min(2, replication),
    // A checkpoint is rewritten whole every minute or so. What is replaced is only cleaned out of closed segments, and a
    // restore reads what has not been cleaned: small ones, and soon.
    'segment.bytes': 64 * 1024 * 1024,
    'segment.ms': 10 * 60 * 1000,
    'min.cleanable.dirty.ratio': 0.2,
    // A reader that looks in more seldom than this begins from the beginning, see STORE_INDEX_MS_MAX.
    'delete.retention.ms': 2 * STORE_INDEX_MS_MAX,
  };
  await admin.createTopics({
    waitForLeaders: false, // its own waiting may reject although the topic is there
    topics: [
      {
        topic,
        numPartitions: partitions,
        replicationFactor: replication,
        configEntries: Object.entries(config).map(([name, value]) => ({
          name,
          value: String(value),
        })),
      },
    ],
  });
  for (const until = performance.now() + LEADERS_MS_MAX; ; await sleep(POLL_MS)) {
    const led = (await partitionsOf(admin, topic)).filter(({ leader }) => leader >= 0);
    if (led.length >= partitions) return;
    if (performance.now() > until) {
      const text = `Topic ${topic} was created and ${partitions - led.length} of its partitions have no leader`;
      throw new OperatingError('log_unavailable', text);
    }
  }
}

async function check(admin: KafkaAdmin, topic: string, partitions: number): Promise<void> {
  const count = await countPartitions(admin, topic);
  if (count < partitions) {
    throw new OperatingError(
      'log_other',
      `Topic ${topic} has ${count} partitions and log.partitions says ${partitions}; delete the topic, and what was ` +
        'learnt is learnt again from the log, or choose another log.prefix',
    );
  }
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [{ type: TOPIC_RESOURCE as number, name: topic }],
  });
  const entries = resources[0]?.configEntries ?? [];
  const settingOf = (name: string) =>
    entries.find(({ configName }) => configName === name)?.configValue;
  const policy = settingOf('cleanup.policy');
  if (policy !== undefined && policy !== 'compact') {
    throw new OperatingError(
      'log_other',
      `Topic ${topic} has cleanup.policy=${policy}, which would delete learnt state by age; set compact with ` +
        'kafka-configs.sh --alter',
    );
  }
  const bytes = settingOf('max.message.bytes');
  if (bytes !== undefined && Number(bytes) < KAFKA_MESSAGE_BYTES_MAX) {
    throw new OperatingError(
      'log_other',
      `Topic ${topic} has max.message.bytes=${bytes} where 1048576 is needed; set it with kafka-configs.sh --alter`,
    );
  }
}

async function partitionsOf(admin: KafkaAdmin, topic: string) {
  try {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    return topics[0]?.partitions ?? [];
  } catch (error) {
    // The broker asked has not heard of the topic yet.
    if (isUnknownTopic(error)) return [];
    throw error;
  }
}
