// One time of owning one partition, from the assignment to the loss of it or to the end of the stage: the loop itself,
// and what it does when the log is away, was truncated, has lost records, or holds one that nobody can read. A tenure
// that is lost ends after the record in work and settles nothing; one that is stopped finishes and settles its batch.

import { OperatingError } from './errors.js';
import type { Logger } from './http-server.js';
import { READ_BYTES_MAX, RETRY_MS_MAX, RETRY_MS_MIN } from './limits.js';
import type { Batch, Log, Subscription } from './log/log.js';
import type { Pace } from './pace.js';
import type { Stage, Standstill } from './stage.js';

export interface TenureParts {
  log: Log;
  stage: Stage;
  logger: Logger;
  pace: Pace;
  /** Assignments may be heard before the subscription is in our hands. */
  subscription: Promise<Subscription>;
  stopping: AbortSignal;
}

export class Tenure {
  readonly partition: number;
  /** Offset to read next, of what is settled; undefined before the restore. */
  position: number | undefined;
  standstill: Standstill | undefined;
  readonly #parts: TenureParts;
  readonly #losing = new AbortController();
  /** Lost or stopping. */
  readonly #end = new AbortController();
  /** What the log held when the loop began. */
  #goal = Number.POSITIVE_INFINITY;
  #hasCaughtUp = false;

  constructor(partition: number, parts: TenureParts) {
    this.partition = partition;
    this.#parts = parts;
  }

  get isLost(): boolean {
    return this.#losing.signal.aborted;
  }

  get hasCaughtUp(): boolean {
    this.#hasCaughtUp ||= this.position !== undefined && this.position >= this.#goal;
    return this.#hasCaughtUp;
  }

  lose(): void {
    this.#losing.abort();
    this.#end.abort();
  }

  get #ending(): AbortSignal {
    return this.#end.signal;
  }

  async lag(): Promise<number | undefined> {
    const { log, stage } = this.#parts;
    if (this.position === undefined) return undefined;
    try {
      const { low, high } = await log.bounds(stage.topic, this.partition);
      // What retention has deleted is not there to be read.
      return Math.max(0, high - Math.max(low, this.position));
    } catch (error) {
      // A log that is away: how far behind we are is not known, and asking must not fail.
      if (error instanceof OperatingError && error.retryable) return undefined;
      throw error;
    }
  }

  /** Resolves when it is over and, if the partition was lost, forgotten. Begins when the tenure `before` has ended. */
  async run(before: Promise<void> | undefined): Promise<void> {
    await before;
    const { stopping, stage } = this.#parts;
    const stop = () => this.#end.abort();
    if (stopping.aborted) stop();
    stopping.addEventListener('abort', stop);
    try {
      if (this.#ending.aborted) return;
      await this.#loop(await this.#parts.subscription);
      if (this.standstill !== undefined) await aborted(this.#ending);
      if (this.isLost) stage.drop?.(this.partition);
    } finally {
      stopping.removeEventListener('abort', stop);
    }
  }

  async #loop(subscription: Subscription): Promise<void> {
    const { stage, pace } = this.#parts;
    let from = await this.#restore();
    let pause = RETRY_MS_MIN;
    while (from !== undefined && !this.#ending.aborted) {
      const batch = await this.#read(subscription, from);
      if (batch === undefined) return;
      if (batch === 'truncated') {
        stage.onTruncated?.(this.partition, from);
        // Brokers that do not agree yet where the log ends must not be asked without a pause.
        await pace.sleep(pause, this.#ending);
        pause = Math.min(2 * pause, RETRY_MS_MAX);
        from = await this.#restore();
        continue;
      }
      pause = RETRY_MS_MIN;
      if (batch.gap > 0) {
        const found = await this.#resume(from);
        // Nobody knows then whether anything is lost: the state stays where it is, and whoever reads on will ask.
        if (found === undefined || this.isLost) return;
        if (found.newer !== undefined) {
          from = found.newer;
          continue;
        }
        stage.onGap(this.partition, batch.gap);
      }
      from = await this.#applyAll(subscription, batch);
    }
  }

  /** Undefined when it was given up before there was an answer. */
  async #resume(from: number): Promise<{ newer: number | undefined } | undefined> {
    const { stage } = this.#parts;
    const found = await this.#retrying('resume', async () => ({
      newer: await stage.resume?.(this.partition, from),
    }));
    if (found?.newer !== undefined) this.position = found.newer;
    return found;
  }

  /** Undefined when the tenure is over, or the partition stands still. */
  async #applyAll(subscription: Subscription, batch: Batch): Promise<number | undefined> {
    const { stage, pace, logger } = this.#parts;
    for (const { offset, value } of batch.records) {
      try {
        stage.apply(this.partition, value, offset);
      } catch (error) {
        if (!(error instanceof OperatingError && error.code === 'record_unreadable')) throw error;
        // What came before it is kept: the state and its offset stand right at this record.
        await this.#settle(subscription, offset);
        this.standstill = { partition: this.partition, offset, reason: error.message };
        logger.error(
          { ...this.standstill, topic: stage.topic },
          'A record cannot be read; its partition stands still, others go on',
        );
        return undefined;
      }
      await pace.turn();
      if (this.isLost) return undefined;
    }
    return (await this.#settle(subscription, batch.next)) ? batch.next : undefined;
  }

  /** False when it was given up: the partition is lost, or the stage stops while the log is away. */
  async #settle(subscription: Subscription, next: number): Promise<boolean> {
    const { stage } = this.#parts;
    const isSettled = await this.#retrying('settle', async () => {
      await stage.settle(this.partition, next);
      return true;
    });
    if (isSettled === undefined || this.isLost) return false;
    this.position = next;
    await subscription.commit(this.partition, next);
    return true;
  }

  async #restore(): Promise<number | undefined> {
    const { log, stage } = this.#parts;
    this.position = undefined;
    this.#hasCaughtUp = false;
    const restored = await this.#retrying('restore', async () => {
      const from = await stage.restore(this.partition, this.#ending);
      return { from, ...(await log.bounds(stage.topic, this.partition)) };
    });
    if (restored === undefined) return undefined;
    const { low, high } = restored;
    // Of a partition of which everything was deleted nothing is to be read until somebody sends to it again.
    this.#goal = low < high ? high : 0;
    this.position = restored.from;
    return restored.from;
  }

  async #read(subscription: Subscription, from: number): Promise<Batch | 'truncated' | undefined> {
    try {
      return await this.#retrying('read', () =>
        subscription.read(this.partition, from, READ_BYTES_MAX, this.#ending),
      );
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      if (error.code === 'log_truncated') return 'truncated';
      if (error.code !== 'partition_lost') throw error;
      this.lose();
      return undefined;
    }
  }

  /** A log or a store that is away comes back: the work waits for it. Undefined once there is nothing to wait for. */
  async #retrying<T>(what: string, work: () => Promise<T>): Promise<T | undefined> {
    const { pace, logger, stage } = this.#parts;
    for (let pause = RETRY_MS_MIN; ; pause = Math.min(2 * pause, RETRY_MS_MAX)) {
      if (this.isLost) return undefined;
      try {
        return await work();
      } catch (error) {
        if (this.#ending.aborted) return undefined;
        const isWorthwhile = error instanceof OperatingError && error.retryable;
        if (!isWorthwhile || GIVEN_UP.includes(error.code)) throw error;
        const { topic } = stage;
        const fields = { topic, partition: this.partition, code: error.code, err: error };
        logger.warn(fields, `Cannot ${what} now; trying again`);
        await pace.sleep(pause, this.#ending);
      }
    }
  }
}

/** Retrying is for somebody else: the new owner, the next process. */
const GIVEN_UP: readonly string[] = ['partition_lost', 'log_closed'];

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
