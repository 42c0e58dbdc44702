// One partition of the state store's topic: an index of its keys, kept by reading the topic from its beginning once and
// then whatever is new, and a queue of what is to be written. Values are not kept; one that is asked for is read where the
// index says it lies.
//
//   key     the store's key
//   value   version f64 (-1: put without one) | bytes; null deletes the key
//
// Who reads the messages in order arrives at the same index: a put replaces what is there, an advance only what has no
// greater version.

import { setTimeout as sleep } from 'node:timers/promises';
import { OperatingError } from '../errors.js';
import {
  FETCH_BYTES_MAX,
  FETCH_PARTITION_BYTES_MAX,
  FETCH_WAIT_BUSY_MS,
  KAFKA_REPLICATION_MS_MAX,
  RECORD_BYTES_MAX,
  RETRY_MS_MIN,
  STORE_INDEX_MS_MAX,
  STORE_MS_MAX,
  STORE_SEND_RECORDS_MAX,
} from '../limits.js';
import type { KafkaCluster, KafkaProducer } from '../log/kafka-client.js';
import { kafkaComplaint, kafkaError } from '../log/kafka-errors.js';
import type { FetchedMessage } from '../log/kafka-fetcher.js';

export const NO_VERSION = -1;
const VERSION_BYTES = 8;

interface Place {
  offset: number;
  version: number;
}

interface Write {
  key: string;
  /** With its version; null deletes. */
  value: Buffer | null;
  settled: (error?: unknown) => void;
}

export interface LaneSite {
  topic: string;
  cluster: KafkaCluster;
  producer: KafkaProducer;
  ending: AbortSignal;
  troubles: StoreTroubles;
  /** What the last fetch for a value brought besides, of whichever lane: a checkpoint's chunks lie side by side. */
  ahead: { lane: KafkaLane | undefined; messages: FetchedMessage[] };
}

/** What went wrong with the state store's topic and was tried again, for those who watch. */
export interface StoreTroubles {
  retries: number;
  /** Why the store cannot do its work just now; undefined when it can. */
  current: OperatingError | undefined;
}

export class KafkaLane {
  readonly #site: LaneSite;
  readonly #partition: number;
  #places = new Map<string, Place>();
  /** Offset of the first message that is not in the index. */
  #next = 0;
  /** When the index was last the same as the topic. */
  #followedMs = Number.NEGATIVE_INFINITY;
  /** Reads come one after another. */
  #reading: Promise<unknown> = Promise.resolve();
  readonly #waiting: Write[] = [];
  #sending: Promise<void> | undefined;

  constructor(site: LaneSite, partition: number) {
    this.#site = site;
    this.#partition = partition;
  }

  /** Everything that anybody has written before this call is in the index when it resolves. */
  sync(): Promise<void> {
    return this.#inTurn(() => this.#readTo());
  }

  /** As of the last `sync` and our own writes. */
  keys(): Iterable<string> {
    return this.#places.keys();
  }

  versionOf(key: string): number | undefined {
    return this.#places.get(key)?.version;
  }

  /** A copy. */
  async get(key: string): Promise<Buffer | undefined> {
    await this.sync();
    return this.#inTurn(async () => {
      for (;;) {
        const place = this.#places.get(key);
        if (place === undefined) return undefined;
        const message = await this.#messageAt(place.offset);
        if (message?.value) return Buffer.from(message.value.subarray(VERSION_BYTES));
        // Cleaned away, since there is a newer one, or since it was deleted so long ago that the deletion is gone as well.
        await this.#readTo();
        if (this.#places.get(key) === place) this.#places.delete(key);
      }
    });
  }

  /** Resolves once it is acknowledged by all in-sync replicas. Writes of a lane keep their order. */
  write(key: string, value: Uint8Array | null, version = NO_VERSION): Promise<void> {
    let bytes: Buffer | null = null;
    if (value !== null) {
      bytes = Buffer.alloc(VERSION_BYTES + value.length);
      bytes.writeDoubleLE(version);
      bytes.set(value, VERSION_BYTES);
    }
    return new Promise((resolve, reject) => {
      const settled = (error?: unknown) => (error === undefined ? resolve() : reject(error));
      this.#waiting.push({ key, value: bytes, settled });
      this.#sending ??= this.#send();
    });
  }

  /** Resolves when nothing is being read or written. */
  async close(): Promise<void> {
    await Promise.allSettled([this.#reading, this.#sending]);
  }

  async #send(): Promise<void> {
    // Puts of the same turn go together.
    await undefined;
    while (this.#waiting.length > 0) {
      const writes = this.#takeWaiting();
      try {
        const offset = await this.#trying('write to', () => this.#sendOnce(writes));
        // Unless somebody else wrote in between, what we wrote need not be read back.
        if (offset === this.#next)
          for (const [i, one] of writes.entries()) this.#place(one, offset + i);
        for (const { settled } of writes) settled();
      } catch (error) {
        for (const { settled } of writes) settled(error);
      }
    }
    this.#sending = undefined;
  }

  #takeWaiting(): Write[] {
    let bytes = 0;
    let count = 0;
    for (const { key, value } of this.#waiting) {
      bytes += key.length + (value?.length ?? 0);
      if (count > 0 && (bytes > RECORD_BYTES_MAX || count === STORE_SEND_RECORDS_MAX)) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }

  async #sendOnce(writes: readonly Write[]): Promise<number> {
    const { producer, topic } = this.#site;
    const partition = this.#partition;
    const [answer, ...others] = await producer.send({
      topic,
      acks: -1,
      timeout: KAFKA_REPLICATION_MS_MAX,
      messages: writes.map(({ key, value }) => ({ partition, key, value })),
    });
    const isTaken = answer?.partition === partition && answer.errorCode === 0;
    if (!isTaken || answer.baseOffset === undefined || others.length > 0) {
      const text = `${topic}/${partition} did not take ${writes.length} values`;
      throw new OperatingError('log_unavailable', text);
    }
    return Number(answer.baseOffset);
  }

  #place({ key, value }: { key: string; value: Buffer | null }, offset: number): void {
    this.#next = offset + 1;
    if (value === null) {
      this.#places.delete(key);
      return;
    }
    const version = value.readDoubleLE(0);
    const before = this.#places.get(key)?.version ?? NO_VERSION;
    if (version === NO_VERSION || version >= before) this.#places.set(key, { offset, version });
  }

  async #readTo(): Promise<void> {
    const { low, high } = await this.#trying('read', () => this.#bounds());
    const idleMs = performance.now() - this.#followedMs;
    const isGone = this.#next < low || this.#next > high;
    // The topic was made anew; or deletions that we have not seen may have been cleaned away.
    if (isGone || idleMs > STORE_INDEX_MS_MAX) {
      this.#places = new Map();
      this.#next = low;
    }
    while (this.#next < high) {
      const messages = await this.#trying('read', () => this.#fetch(this.#next));
      for (const { key, value, offset } of messages) {
        if (Number(offset) < this.#next) continue; // ours, placed when it was acknowledged
        if (key === null) this.#next = Number(offset) + 1;
        else this.#place({ key: key.toString(), value }, Number(offset));
      }
    }
    this.#followedMs = performance.now();
  }

  async #messageAt(offset: number): Promise<FetchedMessage | undefined> {
    const { ahead } = this.#site;
    const isAt = (message: FetchedMessage) => Number(message.offset) === offset;
    if (ahead.lane !== this || !ahead.messages.some(isAt)) {
      const messages = await this.#trying('read', () => this.#fetchIfThere(offset));
      ahead.messages = messages;
      ahead.lane = this;
    }
    const found = ahead.messages.findIndex(isAt);
    const message = ahead.messages[found];
    // What lies before it has been asked for, or will not be.
    ahead.messages = ahead.messages.slice(found + 1);
    return message;
  }

  async #bounds(): Promise<{ low: number; high: number }> {
    const [low, high] = await Promise.all([this.#edge(true), this.#edge(false)]);
    return { low, high };
  }

  async #edge(fromBeginning: boolean): Promise<number> {
    const { cluster, topic } = this.#site;
    const partition = this.#partition;
    const answer = await cluster.fetchTopicsOffset([
      { topic, partitions: [{ partition }], fromBeginning },
    ]);
    const found = answer[0]?.partitions.find((one) => one.partition === partition);
    if (found === undefined) throw new Error(`no answer about ${topic}/${partition}`);
    return Number(found.offset);
  }

  async #fetchIfThere(from: number): Promise<FetchedMessage[]> {
    try {
      return await this.#fetch(from);
    } catch (error) {
      if (kafkaComplaint(error).name === 'KafkaJSOffsetOutOfRange') return [];
      throw error;
    }
  }

  /** The messages from `from` on, or behind it where those are cleaned away; one at least. */
  async #fetch(from: number): Promise<FetchedMessage[]> {
    const { cluster, topic } = this.#site;
    const partition = this.#partition;
    const [leader] = Object.keys(cluster.findLeaderForPartitions(topic, [partition]));
    if (leader === undefined || Number(leader) < 0)
      throw new Error(`${topic}/${partition} has no leader`);
    const broker = await cluster.findBroker({ nodeId: leader });
    const { responses } = await broker.fetch({
      maxWaitTime: FETCH_WAIT_BUSY_MS,
      minBytes: 1,
      maxBytes: FETCH_BYTES_MAX,
      isolationLevel: 0,
      topics: [
        {
          topic,
          partitions: [
            { partition, fetchOffset: String(from), maxBytes: FETCH_PARTITION_BYTES_MAX },
          ],
        },
      ],
    });
    const messages = (responses[0]?.partitions[0]?.messages ?? []) as FetchedMessage[];
    const there = messages.filter(({ offset }) => Number(offset) >= from);
    // A new leader may not know yet that what it has is acknowledged: to go on without it would be to lose it.
    if (there.length === 0) throw new Error(`${topic}/${partition} has nothing at offset ${from}`);
    return there;
  }

  /** Again and again while it may help: leaders move, brokers come back. */
  async #trying<T>(what: string, work: () => Promise<T>): Promise<T> {
    const { cluster, ending, topic, troubles } = this.#site;
    const until = performance.now() + STORE_MS_MAX;
    for (let pause = RETRY_MS_MIN; ; pause = Math.min(2 * pause, 1_000)) {
      try {
        const done = await work();
        troubles.current = undefined;
        return done;
      } catch (error) {
        const known = kafkaError(error, `${what} ${topic}/${this.#partition}`);
        troubles.current = known;
        if (!known.retryable || ending.aborted || performance.now() > until) throw known;
      }
      troubles.retries++;
      await sleep(pause, undefined, { signal: ending }).catch(() => {}); // closing: the next failure is the last
      await cluster.refreshMetadata().catch(() => {}); // no broker answers: the next try will say so
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#reading.then(work);
    this.#reading = turn.catch(() => {}); // its own caller hears of it
    return turn;
  }
}
