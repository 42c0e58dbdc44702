// Follows one topic beside the samples, for the partitions that this process scores: each owned partition that can be read
// has a loop, from where its owner says, record by record, until the partition is disowned or lost. Nothing is committed:
// where to begin is the owner's business. What fails for a while is tried again; anything else ends the process.

import { OperatingError } from '../errors.js';
import type { Logger } from '../http-server.js';
import { READ_BYTES_MAX, RETRY_MS_MAX, RETRY_MS_MIN } from '../limits.js';
import type { Batch, Log, Subscription, Topic } from '../log/log.js';
import type { Metrics } from '../metrics.js';
import type { Pace } from '../pace.js';

export interface TailParts {
  log: Log;
  logger: Logger;
  metrics: Metrics;
  pace: Pace;
}

/** The offset to read from; undefined while that is not known yet, and then it is asked again. */
export type TailBegin = () => number | undefined | Promise<number | undefined>;

/** May be called again with the same record after it failed. */
export type TakeRecord = (
  partition: number,
  record: { offset: number; value: Uint8Array },
) => void | Promise<void>;

export class TopicTail {
  readonly failed: Promise<void>;
  readonly #parts: TailParts;
  readonly #topic: Topic;
  readonly #take: TakeRecord;
  /** Partitions of the topic that can be read. */
  readonly #readable = new Set<number>();
  readonly #owned = new Map<number, TailBegin>();
  readonly #loops = new Map<number, AbortController>();
  readonly #endings = new Set<Promise<void>>();
  #subscribing: Promise<Subscription> | undefined;
  #isStopped = false;
  #fail: (error: unknown) => void = () => {};

  constructor(parts: TailParts, topic: Topic, take: TakeRecord) {
    this.#parts = parts;
    this.#topic = topic;
    this.#take = take;
    this.failed = new Promise((_resolve, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => {}); // whoever awaits it hears of it
  }

  async start(): Promise<void> {
    this.#subscribing = this.#parts.log.subscribe(this.#topic, {
      onAssigned: (partition) => {
        this.#end(partition);
        this.#readable.add(partition);
        this.#begin(partition);
      },
      onLost: (partition) => {
        this.#readable.delete(partition);
        this.#end(partition);
      },
    });
    await this.#subscribing;
  }

  /** A partition's state has been restored. */
  own(partition: number, begin: TailBegin): void {
    this.#end(partition);
    this.#owned.set(partition, begin);
    this.#begin(partition);
  }

  disown(partition: number): void {
    this.#owned.delete(partition);
    this.#end(partition);
  }

  /** Nothing more is taken; what is under way is waited for. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const partition of [...this.#loops.keys()]) this.#end(partition);
    await Promise.all(this.#endings);
    // Why it could not subscribe, whoever started it has heard.
    const subscription = await this.#subscribing?.catch(() => undefined);
    await subscription?.close();
  }

  #begin(partition: number): void {
    const begin = this.#owned.get(partition);
    if (this.#isStopped || begin === undefined || !this.#readable.has(partition)) return;
    const ending = new AbortController();
    this.#loops.set(partition, ending);
    const loop = this.#loop(partition, begin, ending.signal).catch((error) => this.#fail(error));
    this.#endings.add(loop);
    void loop.finally(() => this.#endings.delete(loop));
  }

  #end(partition: number): void {
    this.#loops.get(partition)?.abort();
    this.#loops.delete(partition);
  }

  async #loop(partition: number, begin: TailBegin, signal: AbortSignal): Promise<void> {
    const { metrics, pace } = this.#parts;
    const subscription = await this.#subscribing;
    let from: number | undefined;
    while (!signal.aborted) {
      const known = await this.#retrying(signal, async () => ({ from: await begin() }));
      from = known?.from;
      if (known === undefined || from !== undefined) break;
      await pace.sleep(RETRY_MS_MIN, signal);
    }
    while (from !== undefined && subscription !== undefined && !signal.aborted) {
      const at: number = from;
      const batch: Batch | undefined = await this.#retrying(signal, () =>
        subscription.read(partition, at, READ_BYTES_MAX, signal),
      );
      if (batch === undefined) return;
      const labels = { topic: this.#topic, partition: String(partition) };
      if (batch.gap > 0) metrics.gapRecords.inc(labels, batch.gap);
      for (const record of batch.records) {
        const taken = await this.#retrying(signal, async () => {
          await this.#take(partition, record);
          return true;
        });
        if (taken === undefined) return;
      }
      from = batch.next;
    }
  }

  /** Undefined once the partition is not followed any more. */
  async #retrying<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T | undefined> {
    const { pace, logger } = this.#parts;
    for (let pause = RETRY_MS_MIN; !signal.aborted; pause = Math.min(2 * pause, RETRY_MS_MAX)) {
      try {
        return await work();
      } catch (error) {
        if (signal.aborted) return undefined;
        if (!(error instanceof OperatingError && error.retryable)) throw error;
        // It is assigned again, or the log is closed by whoever stops us.
        if (error.code === 'partition_lost' || error.code === 'log_closed') return undefined;
        const fields = { topic: this.#topic, code: error.code, err: error };
        logger.warn(fields, `Cannot follow ${this.#topic} now; trying again`);
        await pace.sleep(pause, signal);
      }
    }
    return undefined;
  }
}
