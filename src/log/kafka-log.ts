// The log port on Kafka. Topics and identity are kafka-topics.ts, appends kafka-producer.ts, reading kafka-subscription.ts;
// this is what holds them together: one id, one bound on bytes, and one place that finds out whether the log that this
// process knows is still the one in force. When it is not, every call rejects with log_replaced and the process has to start
// anew: what it has learnt belongs to offsets that mean something else now.

import { strict as assert } from 'node:assert';
import { setTimeout as sleep } from 'node:timers/promises';
import { OperatingError } from '../errors.js';
import type { Logger } from '../http-server.js';
import {
  APPEND_BYTES_MAX,
  FOREIGN_IDS_MAX,
  KAFKA_LOG_INTERVAL_MS,
  RECORD_BYTES_MAX,
  RETRY_MS_MAX,
  RETRY_MS_MIN,
} from '../limits.js';
import { TopicBounds } from './kafka-bounds.js';
import { type KafkaClient, type KafkaConnection, openKafka } from './kafka-client.js';
import { type KafkaCounters, kafkaCounters } from './kafka-counters.js';
import { kafkaError } from './kafka-errors.js';
import type { FetchedMessage } from './kafka-fetcher.js';
import { LOG_RECORD_KEY, logInForce, readLogRecords } from './kafka-log-record.js';
import { type AppendBudget, LOG_ID_HEADER, TopicProducer } from './kafka-producer.js';
import { KafkaSubscription } from './kafka-subscription.js';
import {
  isTopicGone,
  type LogIdentity,
  openTopics,
  type TopicSettings,
  topicName,
} from './kafka-topics.js';
import {
  type Assignment,
  type Bounds,
  type Log,
  type Subscription,
  TOPICS,
  type Topic,
} from './log.js';
import { sharedAnswer } from './shared-answer.js';

export interface KafkaLogSettings extends TopicSettings {
  connection: KafkaConnection;
}

export interface KafkaLogAround {
  logger: Logger;
  clock: () => number;
  /** Ends the waiting for brokers that are away. */
  signal?: AbortSignal;
  /** Called at each try that failed while brokers are away: one sentence, for readiness. */
  onWaiting?: (reason: string) => void;
}

/** Between two looks at whether the log is still in force. */
const DOUBT_MS_MIN = 1_000;

/**
 * Waits for brokers that are away, for as long as it takes: says so to `onWaiting`, and in the log once a minute. Rejects
 * with an OperatingError that waiting would not mend (log_denied, log_other), or with the signal's reason.
 */
export async function openKafkaLog(
  settings: KafkaLogSettings,
  around: KafkaLogAround,
): Promise<KafkaLog> {
  const { logger, signal, onWaiting } = around;
  const client = openKafka(settings.connection, logger);
  let loggedMs = Number.NEGATIVE_INFINITY;
  for (let pauseMs = RETRY_MS_MIN; ; pauseMs = Math.min(2 * pauseMs, RETRY_MS_MAX)) {
    if (signal?.aborted === true) {
      client.close();
      throw signal.reason;
    }
    try {
      const identity = await openTopics(client, settings, around);
      return new KafkaLog(client, { settings, identity, around });
    } catch (error) {
      if (!(error instanceof OperatingError && error.retryable)) {
        client.close();
        throw error;
      }
      onWaiting?.(error.message);
      const nowMs = performance.now();
      if (nowMs - loggedMs >= KAFKA_LOG_INTERVAL_MS) {
        loggedMs = nowMs;
        const fields = { brokers: settings.connection.brokers, err: error };
        logger.warn(fields, 'Waiting for Kafka');
      }
    }
    await sleep(pauseMs, undefined, signal === undefined ? {} : { signal }).catch(() => {}); // aborted
  }
}

export class KafkaLog implements Log {
  readonly id: string;
  readonly partitions: number;
  /** What went wrong and was mended, for metrics. */
  readonly counters: KafkaCounters = kafkaCounters();
  readonly #client: KafkaClient;
  readonly #settings: KafkaLogSettings;
  readonly #recordOffset: number;
  readonly #around: KafkaLogAround;
  readonly #idBytes: Buffer;
  readonly #budget: AppendBudget = { bytes: 0 };
  readonly #producers = new Map<Topic, TopicProducer>();
  readonly #bounds = new Map<Topic, TopicBounds>();
  readonly #subscriptions = new Set<KafkaSubscription>();
  /** Ids in records that do not belong to this log, and were found to be strays in it. */
  readonly #strays = new Set<string>();
  readonly #look = sharedAnswer(() => this.#lookNow());
  #closing: Promise<void> | undefined;
  #replaced: OperatingError | undefined;
  #looking: Promise<void> | undefined;

  constructor(
    client: KafkaClient,
    parts: { settings: KafkaLogSettings; identity: LogIdentity; around: KafkaLogAround },
  ) {
    this.id = parts.identity.id;
    this.partitions = parts.settings.partitions;
    this.#client = client;
    this.#settings = parts.settings;
    this.#recordOffset = parts.identity.recordOffset;
    this.#around = parts.around;
    this.#idBytes = Buffer.from(this.id);
  }

  /** Why the log cannot do its work just now, in one sentence. */
  unready(): string | undefined {
    const troubles = [
      this.#replaced,
      ...[...this.#producers.values()].map(({ trouble }) => trouble),
      ...[...this.#subscriptions].map(({ trouble }) => trouble),
    ];
    return troubles.find((trouble) => trouble !== undefined)?.message;
  }

  append(topic: Topic, partition: number, value: Uint8Array, samples: number): Promise<number> {
    assert(partition >= 0 && partition < this.partitions, `no partition ${partition}`);
    assert(value.length <= RECORD_BYTES_MAX, `record of ${value.length} bytes`);
    assert(Number.isSafeInteger(samples) && samples >= 0, `${samples} samples`);
    const ended = this.#ended();
    if (ended !== undefined) return Promise.reject(ended);
    if (this.#budget.bytes + value.length > APPEND_BYTES_MAX) {
      this.counters.appendsFailed++;
      const text = `${this.#budget.bytes} bytes wait for the log; try later`;
      return Promise.reject(new OperatingError('overloaded', text));
    }
    return this.#producer(topic).append(partition, value, samples);
  }

  async bounds(topic: Topic, partition: number): Promise<Bounds> {
    assert(partition >= 0 && partition < this.partitions, `no partition ${partition}`);
    const ended = this.#ended();
    if (ended !== undefined) throw ended;
    const range = await this.#topicBounds(topic).of(partition);
    return { ...range, samples: this.#producers.get(topic)?.samples(partition) ?? 0 };
  }

  async subscribe(topic: Topic, assignment: Assignment, group?: string): Promise<Subscription> {
    const ended = this.#ended();
    if (ended !== undefined) throw ended;
    const subscription = new KafkaSubscription({
      client: this.#client,
      topic,
      name: topicName(this.#settings.prefix, topic),
      partitions: this.partitions,
      group: group === undefined ? undefined : `${this.#settings.prefix}.${group}`,
      assignment,
      counters: this.counters,
      clock: this.#around.clock,
      log: {
        bounds: (partition) => this.#topicBounds(topic).of(partition),
        judge: (message) => this.#judge(topic, message),
        confirm: (message) => this.#confirm(message),
        look: () => this.#look(),
        doubt: () => this.#doubt(),
      },
    });
    this.#subscriptions.add(subscription);
    // Whoever waited here for the group to answer could not say meanwhile what it waits for.
    return {
      read: (partition, from, bytesMax, signal) =>
        subscription.read(partition, from, bytesMax, signal),
      commit: (partition, next) => subscription.commit(partition, next),
      close: async () => {
        this.#subscriptions.delete(subscription);
        await subscription.close();
      },
    };
  }

  /** How many subscribers share out partitions under this name now. Rejects with an OperatingError. */
  async membersOf(group: string): Promise<number> {
    const name = `${this.#settings.prefix}.${group}`;
    const admin = this.#client.admin();
    try {
      await admin.connect();
      const { groups } = await admin.describeGroups([name]);
      return groups[0]?.members.length ?? 0;
    } catch (error) {
      throw kafkaError(error, `ask who is in the group ${name}`);
    } finally {
      await admin.disconnect();
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const closed = new OperatingError('log_closed', 'The log is closed');
    await Promise.all([
      ...[...this.#subscriptions].map((subscription) => subscription.end(closed)),
      ...[...this.#producers.values()].map((producer) => producer.close()),
    ]);
    await Promise.all([
      this.#looking,
      ...[...this.#bounds.values()].map((bounds) => bounds.close()),
    ]);
    this.#client.close();
  }

  #ended(): OperatingError | undefined {
    if (this.#closing !== undefined) return new OperatingError('log_closed', 'The log is closed');
    return this.#replaced;
  }

  #producer(topic: Topic): TopicProducer {
    const found = this.#producers.get(topic);
    if (found !== undefined) return found;
    const producer = new TopicProducer({
      client: this.#client,
      topic: topicName(this.#settings.prefix, topic),
      partitions: this.partitions,
      logId: this.id,
      budget: this.#budget,
      counters: this.counters,
      onDoubt: () => this.#doubt(),
    });
    this.#producers.set(topic, producer);
    return producer;
  }

  #topicBounds(topic: Topic): TopicBounds {
    const found = this.#bounds.get(topic);
    if (found !== undefined) return found;
    const bounds = new TopicBounds(this.#client, topicName(this.#settings.prefix, topic));
    this.#bounds.set(topic, bounds);
    return bounds;
  }

  #judge(topic: Topic, message: FetchedMessage): 'record' | 'own' | 'foreign' {
    if (topic === 'control' && message.key?.toString() === LOG_RECORD_KEY) {
      if (Number(message.offset) > this.#recordOffset) this.#doubt();
      return 'own';
    }
    const id = message.headers[LOG_ID_HEADER];
    // Somebody else's program may write to our topics, and need not know the id.
    if (!(id instanceof Buffer) || this.#idBytes.equals(id)) return 'record';
    if (!this.#strays.has(id.toString())) return 'foreign';
    this.counters.foreignRecords++;
    return 'record';
  }

  /**
   * A record of another log: either ours was replaced, or it is an old record of a topic that outlived its log, or
   * one of a process that has not heard yet of the new log. Its sender was told that it is safe, so it is handed out.
   */
  async #confirm(message: FetchedMessage): Promise<undefined> {
    await this.#look();
    if (this.#strays.size >= FOREIGN_IDS_MAX) this.#strays.clear();
    this.#strays.add(String(message.headers[LOG_ID_HEADER]));
    return undefined;
  }

  /** Somebody saw what should not be; finds out in the background. */
  #doubt(): void {
    if (this.#closing !== undefined || this.#replaced !== undefined || this.#looking !== undefined)
      return;
    this.#looking = this.#look()
      .catch(() => {
        // Replaced, and everybody has been told; or brokers are away, and whoever doubted will again.
      })
      .then(() => sleep(DOUBT_MS_MIN, undefined, { ref: false }))
      .finally(() => {
        this.#looking = undefined;
      });
  }

  /**
   * Rejects with log_replaced, or with a retryable error when the brokers cannot be asked. Any other topic that is gone is
   * created again: what it held is lost, and the samples are not.
   */
  async #lookNow(): Promise<void> {
    const { prefix } = this.#settings;
    const admin = this.#client.admin();
    try {
      await admin.connect();
      for (const topic of ['control', 'samples'] as const) {
        const name = topicName(prefix, topic);
        if (await isTopicGone(admin, name)) this.#replace(`topic ${name} was deleted`);
      }
      const inForce = logInForce(await readLogRecords(this.#client, topicName(prefix, 'control')));
      if (inForce !== undefined && inForce.record.logId !== this.id) {
        this.#replace(`the log ${this.id} was replaced by ${inForce.record.logId}`);
      }
      const names = await admin.listTopics();
      const gone = TOPICS.map((topic) => topicName(prefix, topic)).filter(
        (name) => !names.includes(name),
      );
      if (gone.length === 0) return;
      this.#around.logger.warn({ topics: gone }, 'Topics were deleted; creating them again');
      await openTopics(this.#client, this.#settings, this.#around);
    } catch (error) {
      throw kafkaError(error, `find out which log ${prefix} is`);
    } finally {
      await admin.disconnect();
    }
  }

  #replace(why: string): never {
    const { prefix } = this.#settings;
    this.#replaced ??= new OperatingError(
      'log_replaced',
      `The log ${prefix} is not the one that this process began with: ${why}; ` +
        'the process has to start again, and begins with the log that is there then',
    );
    for (const subscription of this.#subscriptions) void subscription.end(this.#replaced);
    throw this.#replaced;
  }
}

/** What `treeline topics` does: the same as at the start of the service, once. */
export async function openLogTopics(
  settings: KafkaLogSettings,
  around: KafkaLogAround,
): Promise<LogIdentity> {
  const client = openKafka(settings.connection, around.logger);
  try {
    return await openTopics(client, settings, around);
  } finally {
    client.close();
  }
}
