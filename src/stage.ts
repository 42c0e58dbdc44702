// The one loop of every stage: restore → read → apply → settle. A stage owns its partitions one by one; nothing is
// shared between them, and a batch is settled (its outputs durable) before the next one of that partition is read.

import { setTimeout as sleep } from 'node:timers/promises';
import { OperatingError } from './errors.js';
import type { Logger } from './http-server.js';
import { READ_BYTES_MAX, RETRY_MS_MAX, RETRY_MS_MIN } from './limits.js';
import type { Batch, Log, Topic } from './log/log.js';

export interface Stage {
  topic: Topic;
  /** Brings a partition's state back; resolves with the offset to read from. */
  restore(partition: number): Promise<number>;
  /** One record, applied at once. Records come in order, each offset once per restore. */
  apply(partition: number, record: Uint8Array, offset: number): void;
  /** Retention deleted records before they were read. */
  onGap(partition: number, records: number): void;
  /** After a batch: resolves when everything that the batch led to is durable. */
  settle(partition: number, next: number): Promise<void>;
}

export interface Running {
  /** Records still to read, of a partition that has been restored; undefined before. */
  lag(partition: number): Promise<number | undefined>;
  position(partition: number): number | undefined;
  /** True once a partition has reached what the log held when the loop began. */
  hasCaughtUp(partition: number): boolean;
  /** Resolves once every loop has ended; the batch in work is finished first. */
  stop(): Promise<void>;
  /** Rejects when a loop cannot go on. Never resolves otherwise before stop. */
  failed: Promise<void>;
}

export async function runStage(log: Log, stage: Stage, logger: Logger): Promise<Running> {
  const ending = new AbortController();
  const positions = new Map<number, number>();
  const goals = new Map<number, number>();
  const loops = new Set<Promise<void>>();
  let fail: (error: unknown) => void = () => {};
  const failed = new Promise<void>((_resolve, reject) => {
    fail = reject;
  });
  failed.catch(() => {}); // whoever awaits it hears of it; nobody does in tests that stop in time

  async function loop(partition: number): Promise<void> {
    let from = await stage.restore(partition);
    goals.set(partition, (await log.bounds(stage.topic, partition)).high);
    positions.set(partition, from);
    while (!ending.signal.aborted) {
      const batch = await read(partition, from);
      if (batch === undefined) return;
      if (batch.gap > 0) stage.onGap(partition, batch.gap);
      for (const { offset, value } of batch.records) {
        stage.apply(partition, value, offset);
        // Requests must be answered while a long batch is scored.
        await new Promise((turn) => setImmediate(turn));
      }
      await retrying(() => stage.settle(partition, batch.next));
      from = batch.next;
      positions.set(partition, from);
      await subscription.commit(partition, from);
    }
  }

  async function read(partition: number, from: number): Promise<Batch | undefined> {
    try {
      return await subscription.read(partition, from, READ_BYTES_MAX, ending.signal);
    } catch (error) {
      if (ending.signal.aborted) return undefined;
      throw error;
    }
  }

  /** A log that is away comes back: the batch waits for it. */
  async function retrying(work: () => Promise<void>): Promise<void> {
    for (let pause = RETRY_MS_MIN; ; pause = Math.min(2 * pause, RETRY_MS_MAX)) {
      try {
        await work();
        return;
      } catch (error) {
        if (!(error instanceof OperatingError && error.retryable) || ending.signal.aborted)
          throw error;
        logger.warn({ code: error.code, err: error }, 'Outputs could not be written; trying again');
        await sleep(pause);
      }
    }
  }

  const subscription = await log.subscribe(stage.topic, {
    onAssigned(partition) {
      const running = loop(partition).catch((error: unknown) => fail(error));
      loops.add(running);
      void running.finally(() => loops.delete(running));
    },
    onLost() {
      // The embedded log never takes a partition away.
    },
  });

  return {
    failed,
    async lag(partition) {
      const position = positions.get(partition);
      if (position === undefined) return undefined;
      return Math.max(0, (await log.bounds(stage.topic, partition)).high - position);
    },
    position: (partition) => positions.get(partition),
    hasCaughtUp(partition) {
      const position = positions.get(partition);
      return (
        position !== undefined && position >= (goals.get(partition) ?? Number.POSITIVE_INFINITY)
      );
    },
    async stop() {
      ending.abort();
      await Promise.all(loops);
      await subscription.close();
    },
  };
}
