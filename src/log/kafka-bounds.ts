// Where the partitions of a topic begin and end, as the brokers say. Many ask at once (lag of every partition, at every
// scrape), so all who ask while a question is under way share the next one; each answer is of after the asking.

import { setTimeout as sleep } from 'node:timers/promises';
import { OperatingError } from '../errors.js';
import { BOUNDS_MS_MAX, RETRY_MS_MIN } from '../limits.js';
import type { KafkaAdmin, KafkaClient } from './kafka-client.js';
import { kafkaError } from './kafka-errors.js';
import { sharedAnswer } from './shared-answer.js';

export interface Range {
  low: number;
  high: number;
}

type Ranges = ReadonlyMap<number, Range>;

export class TopicBounds {
  readonly #client: KafkaClient;
  readonly #topic: string;
  readonly #closing = new AbortController();
  #admin: Promise<KafkaAdmin> | undefined;
  readonly #ask = sharedAnswer(() => this.#read());
  #asked: Promise<unknown> = Promise.resolve();

  constructor(client: KafkaClient, topic: string) {
    this.#client = client;
    this.#topic = topic;
  }

  async of(partition: number): Promise<Range> {
    const asked = this.#ask();
    this.#asked = asked;
    const ranges = await asked;
    const range = ranges.get(partition);
    if (range !== undefined) return range;
    const text = `The brokers know no partition ${partition} of ${this.#topic}`;
    throw new OperatingError('log_other', text);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled([this.#asked]);
    await this.#discard();
  }

  /** A leader that moves is waited for. */
  async #read(): Promise<Ranges> {
    const until = performance.now() + BOUNDS_MS_MAX;
    for (let pauseMs = RETRY_MS_MIN; ; pauseMs *= 2) {
      if (this.#closing.signal.aborted) throw new OperatingError('log_closed', 'The log is closed');
      try {
        this.#admin ??= this.#connect();
        const offsets = await (await this.#admin).fetchTopicOffsets(this.#topic);
        // They are not in the order of the partitions.
        return new Map(
          offsets.map(({ partition, low, high }) => [
            partition,
            { low: Number(low), high: Number(high) },
          ]),
        );
      } catch (cause) {
        const error = kafkaError(cause, `learn where ${this.#topic} begins and ends`);
        await this.#discard();
        if (!error.retryable || performance.now() + pauseMs > until) throw error;
      }
      await sleep(pauseMs);
    }
  }

  async #connect(): Promise<KafkaAdmin> {
    const admin = this.#client.admin();
    await admin.connect();
    return admin;
  }

  async #discard(): Promise<void> {
    const admin = this.#admin;
    this.#admin = undefined;
    try {
      await (await admin)?.disconnect();
    } catch {
      // It never connected.
    }
  }
}
