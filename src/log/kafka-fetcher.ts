// Fetches the partitions of one topic from their leaders: one request at a time per leader, for all partitions that
// somebody wants just then. It stands on kafkajs' cluster (metadata, connections) and not on its consumer, whose loop jumps
// to another offset without a word when the wanted one is gone, joins its group anew whenever a leader moves, and hands
// out records when it likes (docs/decisions/0009-kafka-log.md). Here an offset that is gone is an answer like any other,
// and a leader that moved costs one look at the metadata.

import { setTimeout as sleep } from 'node:timers/promises';
import type { OperatingError } from '../errors.js';
import {
  FETCH_BYTES_MAX,
  FETCH_PARTITION_BYTES_MAX,
  FETCH_WAIT_BUSY_MS,
  FETCH_WAIT_MS,
  RETRY_MS_MIN,
} from '../limits.js';
import type { KafkaBroker, KafkaCluster } from './kafka-client.js';
import { kafkaComplaint, kafkaError } from './kafka-errors.js';

/** One message as kafkajs decodes it. */
export interface FetchedMessage {
  offset: string;
  key: Buffer | null;
  value: Buffer | null;
  headers: Record<string, unknown>;
  /** The end of a transaction: it has an offset and no value. */
  isControlRecord: boolean;
}

interface FetchAnswer {
  responses: {
    topicName: string;
    partitions: { partition: number; highWatermark: string; messages: FetchedMessage[] }[];
  }[];
}

export interface FetchSink {
  /** Partition → offset wanted next. Asked whenever a request is about to be made. */
  wanted(): ReadonlyMap<number, number>;
  /** Whether somebody is read ahead for as far as may be, and will want more in a moment. */
  isFull(): boolean;
  /** `messages` begin at or behind `from`; none when there was nothing yet. */
  onFetched(partition: number, from: number, messages: readonly FetchedMessage[]): void;
  /** There is no such offset: deleted, or beyond the end. The partition must not be wanted there again at once. */
  onOutOfRange(partition: number, from: number): void;
  /** A request failed, with undefined: the latest one did not. Requests go on by themselves. */
  onTrouble(error: OperatingError | undefined, cause?: unknown): void;
}

const PAUSE_MS_MAX = 1_000;
const CLOSE_MS_MAX = 2_000;

export class KafkaFetcher {
  readonly #openCluster: () => KafkaCluster;
  readonly #topic: string;
  readonly #sink: FetchSink;
  readonly #ending = new AbortController();
  /** Leaders with a request under way. */
  readonly #requests = new Map<number, Promise<void>>();
  #cluster: KafkaCluster;
  #opening: Promise<void> | undefined;
  #isOpen = false;
  #pauseMs = RETRY_MS_MIN;
  #recovering: Promise<void> | undefined;

  constructor(parts: { openCluster: () => KafkaCluster; topic: string; sink: FetchSink }) {
    this.#openCluster = parts.openCluster;
    this.#cluster = parts.openCluster();
    this.#topic = parts.topic;
    this.#sink = parts.sink;
  }

  /** To be called when something is wanted that was not before. */
  wake(): void {
    if (this.#ending.signal.aborted || this.#recovering !== undefined) return;
    if (!this.#isOpen) {
      this.#opening ??= this.#open();
      return;
    }
    const wanted = this.#sink.wanted();
    if (wanted.size === 0) return;
    let leaders: Record<string, number[]>;
    try {
      leaders = this.#cluster.findLeaderForPartitions(this.#topic, [...wanted.keys()]);
    } catch (error) {
      this.#recover(error);
      return;
    }
    let led = 0;
    for (const [leader, partitions] of Object.entries(leaders)) {
      const node = Number(leader);
      if (node < 0) continue; // nobody leads them just now
      led += partitions.length;
      if (this.#requests.has(node)) continue;
      const offsets = new Map(partitions.map((one) => [one, wanted.get(one) as number]));
      const request = this.#request(node, offsets).finally(() => {
        this.#requests.delete(node);
        this.wake();
      });
      this.#requests.set(node, request);
    }
    if (led < wanted.size) this.#recover(new Error(`no leader of ${wanted.size - led} partitions`));
  }

  /** Waits for what is under way, but not for a broker that does not answer. */
  async close(): Promise<void> {
    this.#ending.abort();
    const ended = Promise.all([this.#opening, this.#recovering, ...this.#requests.values()]);
    const disconnected = ended.then(() => disconnect(this.#cluster));
    await Promise.race([disconnected, sleep(CLOSE_MS_MAX, undefined, { ref: false })]);
  }

  async #open(): Promise<void> {
    try {
      await this.#cluster.connect();
      await this.#cluster.addTargetTopic(this.#topic);
      this.#isOpen = true;
      this.#opening = undefined;
      this.wake();
    } catch (error) {
      this.#opening = undefined;
      this.#recover(error);
    }
  }

  async #request(node: number, offsets: ReadonlyMap<number, number>): Promise<void> {
    let broker: KafkaBroker | undefined;
    try {
      await this.#cluster.refreshMetadataIfNecessary();
      broker = await this.#cluster.findBroker({ nodeId: String(node) });
      if (this.#ending.signal.aborted) return;
      const partitions = [...offsets].map(([partition, offset]) => ({
        partition,
        fetchOffset: String(offset),
        maxBytes: FETCH_PARTITION_BYTES_MAX,
      }));
      const answer: FetchAnswer = await broker.fetch({
        maxWaitTime: this.#sink.isFull() ? FETCH_WAIT_BUSY_MS : FETCH_WAIT_MS,
        minBytes: 1,
        maxBytes: FETCH_BYTES_MAX,
        // Nobody writes transactions here; whoever does sees his records when they are written.
        isolationLevel: 0,
        topics: [{ topic: this.#topic, partitions }],
      });
      if (this.#ending.signal.aborted) return;
      this.#take(answer, offsets);
      this.#pauseMs = RETRY_MS_MIN;
      this.#sink.onTrouble(undefined);
    } catch (error) {
      if (this.#ending.signal.aborted) return;
      const { name, partition } = kafkaComplaint(error);
      const from = partition === undefined ? undefined : offsets.get(partition);
      if (name === 'KafkaJSOffsetOutOfRange' && partition !== undefined && from !== undefined) {
        this.#sink.onOutOfRange(partition, from);
        return;
      }
      // A connection that swallowed a request will swallow the next one too.
      if (name === 'KafkaJSRequestTimeoutError') await broker?.disconnect();
      this.#recover(error);
    }
  }

  #take({ responses }: FetchAnswer, offsets: ReadonlyMap<number, number>): void {
    for (const { topicName, partitions } of responses) {
      if (topicName !== this.#topic) continue;
      for (const { partition, messages } of partitions) {
        const from = offsets.get(partition);
        if (from === undefined) continue;
        // The first batch may begin before the wanted offset.
        const first = messages.findIndex(({ offset }) => Number(offset) >= from);
        this.#sink.onFetched(partition, from, first < 0 ? [] : messages.slice(first));
      }
    }
  }

  /** Looks anew who leads what, after a pause that grows while nothing succeeds. */
  #recover(cause: unknown): void {
    if (this.#ending.signal.aborted) return;
    this.#sink.onTrouble(kafkaError(cause, `fetch from ${this.#topic}`), cause);
    this.#recovering ??= this.#lookAnew(cause).finally(() => {
      this.#recovering = undefined;
      this.wake();
    });
  }

  async #lookAnew(cause: unknown): Promise<void> {
    const { name, host, port } = kafkaComplaint(cause) as Error & { host?: string; port?: number };
    if (name === 'KafkaJSConnectionClosedError' && host !== undefined && port !== undefined) {
      this.#cluster.removeBroker({ host, port });
    }
    const pauseMs = this.#pauseMs;
    this.#pauseMs = Math.min(2 * pauseMs, PAUSE_MS_MAX);
    try {
      await sleep(pauseMs, undefined, { signal: this.#ending.signal });
      if (this.#isOpen) await this.#cluster.refreshMetadata();
    } catch (error) {
      if (this.#ending.signal.aborted) return;
      this.#sink.onTrouble(kafkaError(error, `find the leaders of ${this.#topic}`), error);
      // None of the brokers that it knows answers: begin again with those that were named in the settings.
      void disconnect(this.#cluster);
      this.#cluster = this.#openCluster();
      this.#isOpen = false;
    }
  }
}

async function disconnect(cluster: KafkaCluster): Promise<void> {
  try {
    await cluster.disconnect();
  } catch {
    // The connection broke while it was closed: it is gone all the same.
  }
}
