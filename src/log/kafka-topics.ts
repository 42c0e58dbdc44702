// Creates the topics of a log, or checks those that are there: as often as one likes and from several processes at once.
// What of an existing topic would lose or reorder samples is refused with a sentence that names setting and cure; nothing
// that exists is ever changed here. The log's own record (kafka-log-record.ts) says which log it is and how many partitions
// it has.

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { OperatingError } from '../errors.js';
import type { Logger } from '../http-server.js';
import { KAFKA_MESSAGE_BYTES_MAX } from '../limits.js';
import type { KafkaAdmin, KafkaClient } from './kafka-client.js';
import { isLeaderUnsettled, isUnknownTopic, kafkaError } from './kafka-errors.js';
import { logInForce, readLogRecords, writeLogRecord } from './kafka-log-record.js';
import { TOPICS, type Topic } from './log.js';

export interface TopicSettings {
  /** Names of topics and groups begin with it and a dot. */
  prefix: string;
  partitions: number;
  /** As the receiver has it: kept in the log's record, for it may not change either. */
  partitionBy: readonly (readonly string[])[];
  /** Copies of a topic that is created here. */
  replication: number;
  /** Records younger than this are not deleted; of a topic that is not named, all are kept. */
  retentionMs: Partial<Record<Topic, number>>;
}

export interface LogIdentity {
  id: string;
  /** Where the log's record stands in partition 0 of the control topic. */
  recordOffset: number;
  /** Topics that this call created. */
  created: readonly string[];
}

interface Rule {
  /** Kept for ever, whatever retention says. */
  isKept: boolean;
}

/** What is peculiar to a topic; a topic that joins the port has to say. */
const RULES: Record<Topic, Rule> = {
  samples: { isKept: false },
  // As long as samples: what goes on from it is their beginning, and without that it is followed by a gap.
  backfill: { isKept: false },
  candidates: { isKept: false },
  verdicts: { isKept: false },
  // What scorers do follows from it, so a replay needs all of it, and it is small.
  control: { isKept: true },
  anomalies: { isKept: false },
};

/** Kafka's resource type of a topic, in requests about configuration. */
const TOPIC_RESOURCE = 2;
const MESSAGE_BYTES = 1024 * 1024;
const LEADERS_MS_MAX = 30_000;
/** Whoever creates the samples topic names the log within this time, or has died over it. */
const CREATION_MS_MAX = 5_000;
const POLL_MS = 100;

export function topicName(prefix: string, topic: Topic): string {
  return `${prefix}.${topic}`;
}

/** Rejects with an OperatingError. */
export async function openTopics(
  client: KafkaClient,
  settings: TopicSettings,
  around: { logger: Logger; clock: () => number },
): Promise<LogIdentity> {
  const admin = client.admin();
  const doing = `open the log ${settings.prefix}`;
  try {
    await admin.connect();
    const created: string[] = [];
    const create = async (topic: Topic) => {
      const name = topicName(settings.prefix, topic);
      if ((await admin.listTopics()).includes(name)) return false;
      const isMine = await admin.createTopics({
        waitForLeaders: false, // its own waiting may reject although the topic is there
        topics: [createRequest(topic, settings)],
      });
      await untilLed(admin, name, settings.partitions);
      if (isMine) created.push(name);
      return isMine;
    };
    await create('control');
    const naming = { client, admin, settings, clock: around.clock };
    const named = await nameLog(naming, () => create('samples'));
    for (const topic of TOPICS) await create(topic);
    for (const topic of TOPICS) await check(admin, topic, settings, around.logger);
    return { ...named, created };
  } catch (error) {
    throw kafkaError(error, doing);
  } finally {
    await admin.disconnect();
  }
}

/** Whether a topic of the log is gone; asked twice, for a broker that has just started may not know it yet. */
export async function isTopicGone(admin: KafkaAdmin, name: string): Promise<boolean> {
  for (let look = 0; look < 2; look++) {
    if (look > 0) await sleep(1_000);
    if ((await admin.listTopics()).includes(name)) return false;
  }
  return true;
}

interface Naming {
  client: KafkaClient;
  admin: KafkaAdmin;
  settings: TopicSettings;
  clock: () => number;
}

/** The log in force; where there is none, it is created and named. */
async function nameLog(
  naming: Naming,
  createSamples: () => Promise<boolean>,
): Promise<Pick<LogIdentity, 'id' | 'recordOffset'>> {
  const { client, admin, settings, clock } = naming;
  const control = topicName(settings.prefix, 'control');
  const samples = topicName(settings.prefix, 'samples');
  const write = (logId: string, creating: boolean) =>
    writeLogRecord(client, control, {
      logId,
      creating,
      partitions: settings.partitions,
      partitionBy: settings.partitionBy.map((label) => ({ label: [...label] })),
      createdMs: BigInt(Math.floor(clock())),
    });
  const before = await readWhenLed(client, control);
  const read = before.at(-1)?.offset ?? -1;
  if (!(await admin.listTopics()).includes(samples)) {
    // Another number of partitions is refused before anything is created with it.
    const former = before.findLast(({ record }) => !record.creating);
    if (former !== undefined) checkRecord(former.record, settings);
    await write('', true);
    if (await createSamples()) await write(randomUUID(), false);
  } else if (before.length === 0) {
    // Created by other hands. Of several who find it so the first one to write has named it.
    await write(randomUUID(), false);
  }
  for (const until = performance.now() + CREATION_MS_MAX; ; await sleep(POLL_MS)) {
    const records = await readLogRecords(client, control);
    const found = logInForce(records);
    if (found !== undefined) {
      checkRecord(found.record, settings);
      return { id: found.record.logId, recordOffset: found.offset };
    }
    // Whoever won may have named the log before our `creating` was written: that name stands.
    const winner = records.find(({ offset, record }) => offset > read && !record.creating);
    if (winner !== undefined) await write(winner.record.logId, false);
    else if (performance.now() > until) await write(randomUUID(), false);
  }
}

/** The control topic may just have been created: its leader is named before it knows that it is one. */
async function readWhenLed(client: KafkaClient, control: string) {
  for (const until = performance.now() + LEADERS_MS_MAX; ; await sleep(POLL_MS)) {
    try {
      return await readLogRecords(client, control);
    } catch (error) {
      const isPassing = isLeaderUnsettled(error) || isUnknownTopic(error);
      if (!isPassing || performance.now() > until) throw error;
    }
  }
}

function checkRecord(
  record: { partitions: number; partitionBy: readonly { label: string[] }[] },
  settings: TopicSettings,
): void {
  const { prefix, partitions, partitionBy } = settings;
  if (record.partitions !== partitions) {
    throw new OperatingError(
      'log_other',
      `The log ${prefix} has ${record.partitions} partitions and log.partitions says ${partitions}; ` +
        `the number is fixed for the life of a log: set log.partitions to ${record.partitions}, ` +
        'or choose another log.prefix',
    );
  }
  const wanted = JSON.stringify(partitionBy);
  const found = JSON.stringify(record.partitionBy.map(({ label }) => label));
  if (wanted !== found) {
    throw new OperatingError(
      'log_other',
      `The log ${prefix} was made with ingest.partitionBy ${found} and the settings say ${wanted}; ` +
        'it is fixed for the life of a log: set it back, or choose another log.prefix',
    );
  }
}

function createRequest(topic: Topic, settings: TopicSettings) {
  const { prefix, partitions, replication, retentionMs } = settings;
  const retention = RULES[topic].isKept ? -1 : (retentionMs[topic] ?? -1);
  const config: Record<string, string | number> = {
    'cleanup.policy': 'delete',
    'retention.ms': retention,
    'retention.bytes': -1,
    'max.message.bytes': MESSAGE_BYTES,
    // Records are kept by when they came: those of a sender that catches up would be deleted at once by their own time.
    'message.timestamp.type': 'LogAppendTime',
    // An acknowledged record is on two brokers, and one may be away.
    'min.insync.replicas': Math.min(2, replication),
  };
  return {
    topic: topicName(prefix, topic),
    numPartitions: partitions,
    replicationFactor: replication,
    configEntries: Object.entries(config).map(([name, value]) => ({ name, value: String(value) })),
  };
}

async function untilLed(admin: KafkaAdmin, name: string, partitions: number): Promise<void> {
  const until = performance.now() + LEADERS_MS_MAX;
  for (;;) {
    const led = (await partitionsOf(admin, name)).filter(({ leader }) => leader >= 0).length;
    if (led >= partitions) return;
    if (performance.now() > until) {
      const text = `Topic ${name} was created and ${partitions - led} of its partitions have no leader`;
      throw new OperatingError('log_unavailable', text);
    }
    await sleep(POLL_MS);
  }
}

async function partitionsOf(admin: KafkaAdmin, name: string) {
  try {
    const { topics } = await admin.fetchTopicMetadata({ topics: [name] });
    return topics[0]?.partitions ?? [];
  } catch (error) {
    // The broker asked has not heard of the topic yet.
    if (isUnknownTopic(error)) return [];
    throw error;
  }
}

/** Of a topic that is there. Another process may just have created it, and the broker asked not have heard of it yet. */
export async function countPartitions(admin: KafkaAdmin, name: string): Promise<number> {
  for (const until = performance.now() + LEADERS_MS_MAX; ; await sleep(POLL_MS)) {
    const { length } = await partitionsOf(admin, name);
    if (length > 0) return length;
    if (performance.now() > until) {
      throw new OperatingError('log_unavailable', `The brokers do not know the topic ${name}`);
    }
  }
}

/** Refuses what would lose or reorder samples. */
async function check(
  admin: KafkaAdmin,
  topic: Topic,
  settings: TopicSettings,
  logger: Logger,
): Promise<void> {
  const name = topicName(settings.prefix, topic);
  const count = await countPartitions(admin, name);
  if (count < settings.partitions) {
    throw new OperatingError(
      'log_other',
      `Topic ${name} has ${count} partitions and log.partitions says ${settings.partitions}; ` +
        'delete the topic, or choose another log.prefix',
    );
  }
  if (count > settings.partitions) {
    // Series would move if we followed; nobody writes to the new ones.
    const fields = { topic: name, partitions: count, used: settings.partitions };
    logger.warn(fields, 'Somebody added partitions to this topic; they are not used');
  }
  const config = await configOf(admin, name);
  const wanted = RULES[topic].isKept ? -1 : (settings.retentionMs[topic] ?? -1);
  const faults = [
    fault(config, 'cleanup.policy', (value) => value === 'delete', 'delete'),
    fault(config, 'retention.ms', (value) => isLongEnough(Number(value), wanted), String(wanted)),
    fault(
      config,
      'max.message.bytes',
      (value) => Number(value) >= KAFKA_MESSAGE_BYTES_MAX,
      String(MESSAGE_BYTES),
    ),
    fault(config, 'message.timestamp.type', (value) => value === 'LogAppendTime', 'LogAppendTime'),
    ...(RULES[topic].isKept
      ? [fault(config, 'retention.bytes', (value) => Number(value) === -1, '-1')]
      : []),
  ].filter((text) => text !== undefined);
  if (faults.length === 0) return;
  throw new OperatingError('log_other', `Topic ${name} has ${faults.join(', and ')}`);
}

function isLongEnough(retentionMs: number, wantedMs: number): boolean {
  return retentionMs === -1 || (wantedMs !== -1 && retentionMs >= wantedMs);
}

function fault(
  config: ReadonlyMap<string, string>,
  key: string,
  isRight: (value: string) => boolean,
  cure: string,
): string | undefined {
  const value = config.get(key);
  if (value === undefined || isRight(value)) return undefined;
  const setting = key === 'retention.ms' ? ' (log.retentionAge)' : '';
  return `${key}=${value} where ${cure}${setting} is needed: set it with kafka-configs.sh --alter`;
}

async function configOf(admin: KafkaAdmin, name: string): Promise<ReadonlyMap<string, string>> {
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [{ type: TOPIC_RESOURCE as number, name }],
  });
  const entries = resources[0]?.configEntries ?? [];
  return new Map(entries.map(({ configName, configValue }) => [configName, configValue]));
}
