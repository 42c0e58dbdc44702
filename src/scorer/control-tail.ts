// Follows the control log of the partitions that this process scores, and appends a copy of each record to the samples log
// of the same partition, from which it reaches the state. Nothing is applied here. Copies go in order, each until it is
// durable; what a crash or a second owner makes them come twice, the state drops.

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { OperatingError } from '../errors.js';
import { ControlSchema } from '../gen/control_pb.js';
import { SampleBlockSchema } from '../gen/sample_block_pb.js';
import type { Logger } from '../http-server.js';
import { CONTROL_BYTES_MAX, READ_BYTES_MAX, RETRY_MS_MAX, RETRY_MS_MIN } from '../limits.js';
import type { Batch, Log, Subscription } from '../log/log.js';
import type { Metrics } from '../metrics.js';
import type { Pace } from '../pace.js';

export interface ControlTailParts {
  log: Log;
  logger: Logger;
  metrics: Metrics;
  pace: Pace;
}

export class ControlTail {
  readonly failed: Promise<void>;
  readonly #parts: ControlTailParts;
  /** Partitions of the control log that can be read. */
  readonly #readable = new Set<number>();
  /** How far the state of each owned partition knows control. */
  readonly #owned = new Map<number, () => number | undefined>();
  readonly #loops = new Map<number, AbortController>();
  readonly #endings = new Set<Promise<void>>();
  #subscribing: Promise<Subscription> | undefined;
  #isStopped = false;
  #fail: (error: unknown) => void = () => {};

  constructor(parts: ControlTailParts) {
    this.#parts = parts;
    this.failed = new Promise((_resolve, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => {}); // whoever awaits it hears of it
  }

  async start(): Promise<void> {
    this.#subscribing = this.#parts.log.subscribe('control', {
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

  /**
   * A partition's state has been restored. `next` says below which offset it knows the control records; undefined while
   * it is replayed, when copies that it will meet would be made again.
   */
  own(partition: number, next: () => number | undefined): void {
    this.#end(partition);
    this.#owned.set(partition, next);
    this.#begin(partition);
  }

  disown(partition: number): void {
    this.#owned.delete(partition);
    this.#end(partition);
  }

  /** Nothing more is appended; what is under way is waited for. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const partition of [...this.#loops.keys()]) this.#end(partition);
    await Promise.all(this.#endings);
    // Why it could not subscribe, whoever started it has heard.
    const subscription = await this.#subscribing?.catch(() => undefined);
    await subscription?.close();
  }

  #begin(partition: number): void {
    const next = this.#owned.get(partition);
    if (this.#isStopped || next === undefined || !this.#readable.has(partition)) return;
    const ending = new AbortController();
    this.#loops.set(partition, ending);
    const loop = this.#loop(partition, next, ending.signal).catch((error) => this.#fail(error));
    this.#endings.add(loop);
    void loop.finally(() => this.#endings.delete(loop));
  }

  #end(partition: number): void {
    this.#loops.get(partition)?.abort();
    this.#loops.delete(partition);
  }

  async #loop(
    partition: number,
    next: () => number | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { metrics, logger, pace } = this.#parts;
    const subscription = await this.#subscribing;
    let from = next();
    for (; from === undefined && !signal.aborted; from = next()) {
      await pace.sleep(RETRY_MS_MIN, signal);
    }
    while (from !== undefined && subscription !== undefined && !signal.aborted) {
      const at: number = from;
      const batch: Batch | undefined = await this.#retrying(signal, () =>
        subscription.read(partition, at, READ_BYTES_MAX, signal),
      );
      if (batch === undefined) return;
      const labels = { topic: 'control', partition: String(partition) };
      if (batch.gap > 0) metrics.gapRecords.inc(labels, batch.gap);
      for (const { offset, value } of batch.records) {
        if (value.length > CONTROL_BYTES_MAX) {
          metrics.unreadable.inc(labels);
          logger.error({ ...labels, offset }, 'A control record is too large; it is left out');
          continue;
        }
        if (isForReceivers(value)) continue;
        const copy = copyOf(offset, value);
        const append = () => this.#parts.log.append('samples', partition, copy, 0);
        if ((await this.#retrying(signal, append)) === undefined) return;
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
        logger.warn({ code: error.code, err: error }, 'Cannot follow control now; trying again');
        await pace.sleep(pause, signal);
      }
    }
    return undefined;
  }
}

function copyOf(offset: number, record: Uint8Array): Uint8Array {
  const copy = create(SampleBlockSchema, { control: [{ offset: BigInt(offset), record }] });
  return toBinary(SampleBlockSchema, copy);
}

/** Types reach the state by the announcements of receivers. */
function isForReceivers(value: Uint8Array): boolean {
  try {
    return fromBinary(ControlSchema, value).what.case === 'types';
  } catch {
    // Whoever applies its copy says that it cannot be read.
    return false;
  }
}
