// What a cold partition does before its first sample: it reads the log of history up to its fence, as if those blocks had
// come through the samples log. A partition with a checkpoint of samples never comes here. The fence is a record, so a
// replay ends where the first reading ended, whoever wrote it; when nobody writes any more, the reader writes it itself,
// and reads it like any other.

import { OperatingError } from '../errors.js';
import {
  encodeMark,
  type HistoryMark,
  type HistoryRange,
  isMark,
  markOf,
  NO_RANGE,
  shareOf,
} from '../history-mark.js';
import type { Logger } from '../http-server.js';
import { READ_BYTES_MAX } from '../limits.js';
import type { Batch, Log, Subscription } from '../log/log.js';
import type { Metrics } from '../metrics.js';
import type { Pace } from '../pace.js';
import type { Partition } from './partition.js';
import type { Owned } from './saver.js';

export interface HistorySettings {
  /** Somebody fills the log, or will: an empty one is waited for. */
  isExpected: boolean;
  /** How long nobody may write before the history is taken to end where it is. */
  silenceMs: number;
}

export interface HistoryParts {
  log: Log;
  logger: Logger;
  metrics: Metrics;
  pace: Pace;
  settings: HistorySettings;
  /** What the batch led to is durable, and the state stands at `next`. */
  settle: (index: number, next: number) => Promise<void>;
}

const END_METRIC = 'treeline_history_ends_total';

export class HistoryReader {
  readonly #parts: HistoryParts;
  /** Partitions that read history now, and the newest word about it. */
  readonly #reading = new Map<number, HistoryRange>();
  readonly #ends = new Map<string, number>();
  #subscribing: Promise<Subscription> | undefined;

  constructor(parts: HistoryParts) {
    this.#parts = parts;
    const { metrics } = parts;
    const partitions = {
      name: 'treeline_history_partitions',
      help: 'Partitions that read history before their first sample',
    };
    metrics.observe('gauge', partitions, () => [{ labels: {}, value: this.#reading.size }]);
    const ends = { name: END_METRIC, help: 'Partitions whose history ended, by how it ended' };
    metrics.observe('counter', { ...ends, labels: ['end'] }, () =>
      [...this.#ends].map(([end, value]) => ({ labels: { end }, value })),
    );
  }

  /** Undefined when no partition reads history. */
  unready(): string | undefined {
    const rows = [...this.#reading];
    if (rows.length === 0) return undefined;
    const share = Math.min(...rows.map(([, range]) => shareOf(range)));
    const partitions = rows.map(([index]) => index).sort((a, b) => a - b);
    return `reading history of partition ${partitions.join(', ')}: ${Math.floor(100 * share)} %`;
  }

  /**
   * Resolves when the samples log is to be read next, or the signal was aborted. Rejects with a retryable OperatingError;
   * then the partition has to be loaded anew.
   */
  async follow(owned: Owned, signal: AbortSignal): Promise<void> {
    const { index, partition } = owned;
    const { history } = partition;
    if (!(await this.#isWanted(index, history.next))) {
      history.isReading = false;
      return;
    }
    history.isReading = true;
    owned.settled = history.next;
    this.#reading.set(index, NO_RANGE);
    this.#parts.logger.info({ partition: index, from: history.next }, 'Reading history first');
    try {
      const subscription = await this.#subscribe();
      let fence: HistoryMark | undefined;
      while (fence === undefined && !signal.aborted) {
        const batch = await this.#read(subscription, owned, signal);
        if (batch === undefined) {
          if (!signal.aborted) await this.#endInSilence(index);
          continue;
        }
        fence = await this.#applyAll(owned, batch, signal);
        if (fence === undefined && !signal.aborted) {
          history.next = batch.next;
          await this.#parts.settle(index, batch.next);
        }
      }
      if (fence !== undefined) await this.#finish(owned, fence);
    } finally {
      this.#reading.delete(index);
      await this.#release();
    }
  }

  async #isWanted(index: number, next: number): Promise<boolean> {
    const { log, settings } = this.#parts;
    if (next > 0) return true;
    const { low, high } = await log.bounds('backfill', index);
    // All of it deleted by retention: what was joined to it is gone as well.
    return high === 0 ? settings.isExpected : low < high;
  }

  /** The fence, once it is met; what lies behind it is nobody's. */
  async #applyAll(
    owned: Owned,
    batch: Batch,
    signal: AbortSignal,
  ): Promise<HistoryMark | undefined> {
    const { pace, metrics, logger } = this.#parts;
    const { index, partition } = owned;
    const labels = { topic: 'backfill', partition: String(index) };
    if (batch.gap > 0) {
      owned.settled = undefined;
      partition.gapRecords += batch.gap;
      metrics.gapRecords.inc(labels, batch.gap);
      logger.error(
        { ...labels, records: batch.gap },
        'Retention deleted history before it was read',
      );
    }
    for (const { offset, value } of batch.records) {
      const mark = markOf(value);
      if (mark?.kind === 'fence') {
        partition.history.next = offset + 1;
        return mark;
      }
      if (mark !== undefined) this.#reading.set(index, mark);
      if (isMark(value)) continue;
      owned.settled = undefined;
      this.#apply(owned, value, offset);
      await pace.turn();
      if (signal.aborted) return undefined;
    }
    return undefined;
  }

  #apply({ index, partition }: Owned, record: Uint8Array, offset: number): void {
    const { metrics, logger } = this.#parts;
    const error = applyBlock(partition, record);
    if (error === undefined) return;
    const labels = { topic: 'backfill', partition: String(index) };
    metrics.unreadable.inc(labels);
    logger.error({ ...labels, offset, err: error }, 'A record cannot be read; it is left out');
  }

  async #finish(owned: Owned, { end = 'complete' }: HistoryMark): Promise<void> {
    const { index, partition } = owned;
    const { next, records } = partition.history;
    partition.history.isReading = false;
    // Where it was saved counts in the other log: the next checkpoint is due at once.
    delete owned.saved;
    delete owned.triedAt;
    this.#ends.set(end, (this.#ends.get(end) ?? 0) + 1);
    const fields = { partition: index, next, records, end, series: partition.slots.count };
    this.#parts.logger.info(fields, 'History read');
    await this.#parts.settle(index, 0);
  }

  /** Undefined when nobody wrote for too long, or the signal was aborted. */
  async #read(
    subscription: Subscription,
    { index, partition }: Owned,
    signal: AbortSignal,
  ): Promise<Batch | undefined> {
    const { log, pace, settings } = this.#parts;
    const from = partition.history.next;
    if (settings.silenceMs === 0 && from >= (await log.bounds('backfill', index)).high) {
      return undefined;
    }
    const ending = new AbortController();
    const stop = () => ending.abort();
    signal.addEventListener('abort', stop);
    if (signal.aborted) stop();
    if (settings.silenceMs > 0) void pace.sleep(settings.silenceMs, ending.signal).then(stop);
    try {
      return await subscription.read(index, from, READ_BYTES_MAX, ending.signal);
    } catch (error) {
      if (ending.signal.aborted) return undefined;
      if (!(error instanceof OperatingError && error.code === 'log_truncated')) throw error;
      const text = `The history of partition ${index} was cut off before ${from}; reading it anew`;
      throw new OperatingError('log_unavailable', text, error);
    } finally {
      signal.removeEventListener('abort', stop);
      stop();
    }
  }

  async #endInSilence(index: number): Promise<void> {
    const { log, logger, settings } = this.#parts;
    const { startMs, endMs, doneMs } = this.#reading.get(index) ?? NO_RANGE;
    logger.warn(
      { partition: index, waitedMs: settings.silenceMs },
      'Nobody writes history any more; detection begins with what there is',
    );
    const mark = { kind: 'fence', end: 'silent', filler: '', claimOffset: 0 } as const;
    await log.append('backfill', index, encodeMark({ ...mark, startMs, endMs, doneMs }), 0);
  }

  #subscribe(): Promise<Subscription> {
    this.#subscribing ??= this.#parts.log.subscribe('backfill', { onAssigned() {}, onLost() {} });
    this.#subscribing.catch(() => {
      this.#subscribing = undefined; // whoever awaits it hears of it, and tries again
    });
    return this.#subscribing;
  }

  /** History is read once: nothing is kept open for it. */
  async #release(): Promise<void> {
    if (this.#reading.size > 0) return;
    const subscribing = this.#subscribing;
    this.#subscribing = undefined;
    await (await subscribing?.catch(() => undefined))?.close();
  }
}

/** One record of history that is no mark. What cannot be read has changed nothing, and unlike a sample it can be done without. */
export function applyBlock(partition: Partition, record: Uint8Array): OperatingError | undefined {
  partition.history.records++;
  try {
    partition.apply(record);
    return undefined;
  } catch (error) {
    if (error instanceof OperatingError && error.code === 'record_unreadable') return error;
    throw error;
  }
}
