// Appends to one topic. Records of one partition go out one request at a time, in the order of the calls, and what has
// gathered meanwhile goes together; each request is of one partition only, and counts when the answer names exactly that
// partition, no error and an offset: kafkajs resolves sends of which nothing was sent (docs/decisions/0009-kafka-log.md).
//
// Whoever has no acknowledgement in time is told to try again. A request that is under way by then is waited for all the
// same, so that order and the bound on bytes hold; if it succeeds, the record will be there twice.

import { strict as assert } from 'node:assert';
import { setTimeout as sleep } from 'node:timers/promises';
import { OperatingError } from '../errors.js';
import {
  APPEND_MS_MAX,
  KAFKA_RECORD_OVERHEAD_BYTES,
  KAFKA_REPLICATION_MS_MAX,
  RECORD_BYTES_MAX,
  RETRY_MS_MIN,
} from '../limits.js';
import type { KafkaClient, KafkaProducer } from './kafka-client.js';
import type { KafkaCounters } from './kafka-counters.js';
import { isUnknownTopic, kafkaComplaint, kafkaError } from './kafka-errors.js';

/** Carries the log id in every message. */
export const LOG_ID_HEADER = 'log';

/** Bytes of all topics together that were given to append and are not done with. */
export interface AppendBudget {
  bytes: number;
}

export interface TopicProducerParts {
  client: KafkaClient;
  topic: string;
  partitions: number;
  logId: string;
  budget: AppendBudget;
  counters: KafkaCounters;
  /** The topic may be gone, or be another one: somebody should look. */
  onDoubt: () => void;
}

interface Entry {
  value: Uint8Array;
  samples: number;
  resolve: (offset: number) => void;
  reject: (error: OperatingError) => void;
  timer: NodeJS.Timeout;
  isTold: boolean;
  /** Taken into a request: only the answer ends it. */
  isTaken: boolean;
}

interface Lane {
  partition: number;
  queue: Entry[];
  working: Promise<void> | undefined;
  /** Samples acknowledged by the brokers. */
  samples: number;
  /** Offset of the last acknowledged record. */
  last: number;
  lastError: OperatingError | undefined;
}

const PAUSE_MS_MAX = 1_000;
const TROUBLE_MS = 15_000;
/** Answers that name no partition before the partition is taken to be missing. */
const EMPTY_ANSWERS_MAX = 3;

export class TopicProducer {
  readonly #parts: TopicProducerParts;
  readonly #lanes: Lane[];
  readonly #headers: { [LOG_ID_HEADER]: Buffer };
  #producer: Promise<KafkaProducer> | undefined;
  #trouble: { error: OperatingError; sinceMs: number } | undefined;

  constructor(parts: TopicProducerParts) {
    this.#parts = parts;
    this.#headers = { [LOG_ID_HEADER]: Buffer.from(parts.logId) };
    this.#lanes = Array.from({ length: parts.partitions }, (_, partition) => ({
      partition,
      queue: [],
      working: undefined,
      samples: 0,
      last: -1,
      lastError: undefined,
    }));
  }

  /**
   * Why the latest request failed, until one succeeds. It is forgotten after a while without any: where nobody is sent
   * while this is not ready, nobody would ever find out that it is again.
   */
  get trouble(): OperatingError | undefined {
    if (this.#trouble === undefined) return undefined;
    const { error, sinceMs } = this.#trouble;
    return performance.now() - sinceMs < TROUBLE_MS ? error : undefined;
  }

  samples(partition: number): number {
    return this.#lane(partition).samples;
  }

  append(partition: number, value: Uint8Array, samples: number): Promise<number> {
    const lane = this.#lane(partition);
    this.#parts.budget.bytes += value.length;
    const appended = new Promise<number>((resolve, reject) => {
      const entry: Entry = {
        value,
        samples,
        resolve,
        reject,
        timer: setTimeout(() => this.#giveUp(lane, entry), APPEND_MS_MAX),
        isTold: false,
        isTaken: false,
      };
      lane.queue.push(entry);
    });
    lane.working ??= this.#work(lane);
    return appended;
  }

  /** Every append is settled first. */
  async close(): Promise<void> {
    await Promise.all(this.#lanes.map(({ working }) => working));
    const producer = this.#producer;
    this.#producer = undefined;
    await disconnect(producer);
  }

  async #work(lane: Lane): Promise<void> {
    // What is appended in the same turn goes with the first.
    await new Promise((turn) => setImmediate(turn));
    while (lane.queue.length > 0) {
      const entries = takeBatch(lane.queue);
      for (const entry of entries) entry.isTaken = true;
      await this.#deliver(lane, entries);
      for (const { value } of entries) this.#parts.budget.bytes -= value.length;
    }
    lane.working = undefined;
  }

  /** Resolves when nothing of these entries is under way and all of them have been told. */
  async #deliver(lane: Lane, entries: readonly Entry[]): Promise<void> {
    for (let pauseMs = RETRY_MS_MIN, empty = 0; ; pauseMs = Math.min(2 * pauseMs, PAUSE_MS_MAX)) {
      const open = entries.filter((entry) => !entry.isTold);
      if (open.length === 0) return;
      const error = await this.#attempt(lane, open);
      if (error === undefined) return;
      this.#trouble = { error, sinceMs: performance.now() };
      lane.lastError = error;
      if (error.code === 'log_other' && ++empty < EMPTY_ANSWERS_MAX) continue;
      if (!error.retryable) {
        for (const entry of open) this.#tell(entry, error);
        return;
      }
      this.#parts.counters.appendsRepeated++;
      await sleep(pauseMs);
    }
  }

  /** One request. Resolves with what went wrong. */
  async #attempt(lane: Lane, entries: readonly Entry[]): Promise<OperatingError | undefined> {
    const { topic } = this.#parts;
    const { partition } = lane;
    const doing = `append to ${topic}/${partition}`;
    this.#producer ??= this.#connect();
    const connecting = this.#producer;
    try {
      const producer = await connecting;
      const answers = await producer.send({
        topic,
        acks: -1,
        timeout: KAFKA_REPLICATION_MS_MAX,
        messages: entries.map(({ value }) => ({
          partition,
          key: null,
          value: Buffer.from(value.buffer, value.byteOffset, value.byteLength),
          headers: this.#headers,
        })),
      });
      const [answer] = answers;
      if (answers.length !== 1 || answer?.partition !== partition) {
        this.#replace(connecting);
        const text = `Cannot ${doing}: the brokers know no such partition; somebody has made the topic anew`;
        return new OperatingError('log_other', text);
      }
      const first = Number(answer.baseOffset);
      if (answer.errorCode !== 0 || !Number.isSafeInteger(first) || first < 0) {
        const text = `Cannot ${doing}: the brokers answered with error ${answer.errorCode} and no offset`;
        return new OperatingError('log_unavailable', text);
      }
      this.#acknowledge(lane, entries, first);
      return undefined;
    } catch (cause) {
      const error = kafkaError(cause, doing);
      if (isUnknownTopic(cause)) {
        // The deleted topic would stay in the client's list and fail its every look at the metadata.
        this.#replace(connecting);
        this.#parts.onDoubt();
        return new OperatingError('log_unavailable', error.message, cause);
      }
      // Of a connection that swallowed a request nothing more is to be had.
      if (kafkaComplaint(cause).name === 'KafkaJSRequestTimeoutError') this.#replace(connecting);
      return error;
    }
  }

  #acknowledge(lane: Lane, entries: readonly Entry[], first: number): void {
    this.#trouble = undefined;
    lane.lastError = undefined;
    // Offsets only grow, unless the log was cut or made anew.
    if (first <= lane.last) this.#parts.onDoubt();
    lane.last = first + entries.length - 1;
    entries.forEach((entry, index) => {
      lane.samples += entry.samples;
      if (entry.isTold) {
        this.#parts.counters.appendsLate++;
        return;
      }
      entry.isTold = true;
      clearTimeout(entry.timer);
      entry.resolve(first + index);
    });
  }

  #giveUp(lane: Lane, entry: Entry): void {
    if (!entry.isTaken) {
      lane.queue.splice(lane.queue.indexOf(entry), 1);
      this.#parts.budget.bytes -= entry.value.length;
    }
    const where = `${this.#parts.topic}/${lane.partition}`;
    const reason = lane.lastError === undefined ? '' : `; ${lane.lastError.message}`;
    const text = `No acknowledgement of an append to ${where} in ${APPEND_MS_MAX} ms; try again${reason}`;
    this.#tell(entry, new OperatingError('log_unavailable', text, lane.lastError));
  }

  #tell(entry: Entry, error: OperatingError): void {
    if (entry.isTold) return;
    entry.isTold = true;
    clearTimeout(entry.timer);
    this.#parts.counters.appendsFailed++;
    entry.reject(error);
  }

  async #connect(): Promise<KafkaProducer> {
    const producer = this.#parts.client.producer();
    try {
      await producer.connect();
      return producer;
    } catch (error) {
      this.#producer = undefined;
      void disconnect(Promise.resolve(producer));
      throw error;
    }
  }

  /** The next request gets a producer of its own; what is under way on this one comes to its end. */
  #replace(producer: Promise<KafkaProducer>): void {
    if (this.#producer !== producer) return;
    this.#producer = undefined;
    void disconnect(producer);
  }

  #lane(partition: number): Lane {
    const lane = this.#lanes[partition];
    assert(lane !== undefined, `no partition ${partition}`);
    return lane;
  }
}

/** From the front of the queue as many as fit into one batch, one at least. */
function takeBatch(queue: Entry[]): Entry[] {
  let bytes = 0;
  let count = 0;
  for (const { value } of queue) {
    bytes += value.length + KAFKA_RECORD_OVERHEAD_BYTES;
    if (count > 0 && bytes > RECORD_BYTES_MAX) break;
    count++;
  }
  return queue.splice(0, count);
}

async function disconnect(producer: Promise<KafkaProducer> | undefined): Promise<void> {
  try {
    await (await producer)?.disconnect();
  } catch {
    // It never connected, or the connection broke while it was closed: it is gone in either case.
  }
}
