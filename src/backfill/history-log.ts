// The log of history as those see it who fill it: who is at it, how far it is, whether it has ended, and the one way to
// become the one who fills. Partition 0 decides:
//
//    … ▪ ▪ progress      ◀── look: it ends at h, and nothing has come for HISTORY_STALE_MS
//        claim "h"        ◀── counts, for it lies at h. Of two who looked at the same time the second lies at h + 1
//
// So at most one believes to have won, unless it was only slow and comes back. It finds the claim of the other when its own
// records no longer lie side by side in partition 0, and stops. Until then both write the same steps, each in order and
// from a step on before which everything is durable: whichever record comes first is applied, the other is a duplicate,
// and in no partition a step is missing before a later one.

import { randomBytes } from 'node:crypto';
import {
  encodeMark,
  type HistoryEnding,
  type HistoryMark,
  type HistoryRange,
  markOf,
  NO_RANGE,
} from '../history-mark.js';
import { READ_BYTES_MAX } from '../limits.js';
import { HISTORY_TAIL_RECORDS } from '../limits-history.js';
import type { Log } from '../log/log.js';

export interface HistoryTail {
  /** Where partition 0 ends. */
  high: number;
  isFenced: boolean;
  /** The newest word about the range; undefined when there is none. */
  range: HistoryRange | undefined;
}

/** Thrown by `append` when somebody else fills now. */
export class Superseded extends Error {}

/** Thrown by `append` when a reader has ended the history. */
export class Fenced extends Error {}

export class HistoryLog {
  readonly #log: Log;
  readonly #filler = randomBytes(16).toString('hex');
  /** In partition 0, behind our newest record there. */
  #expected = 0;
  #taken: Error | undefined;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Why nothing more is appended by us. */
  get taken(): Error | undefined {
    return this.#taken;
  }

  async hasSamples(): Promise<boolean> {
    for (let partition = 0; partition < this.#log.partitions; partition++) {
      if ((await this.#log.bounds('samples', partition)).high > 0) return true;
    }
    return false;
  }

  /** Where partition 0 ends now. */
  async high(): Promise<number> {
    return (await this.#log.bounds('backfill', 0)).high;
  }

  async look(): Promise<HistoryTail> {
    const { low, high } = await this.#log.bounds('backfill', 0);
    // Retention has deleted all of it: it has been read long ago.
    if (high > 0 && low === high) return { high, isFenced: true, range: undefined };
    for (let count = HISTORY_TAIL_RECORDS; ; count *= 8) {
      const from = Math.max(low, high - count);
      const marks = (await this.#marks(from, high)).map(({ mark }) => mark);
      const isFenced = marks.some(({ kind }) => kind === 'fence');
      const range = marks.at(-1);
      if (isFenced || range !== undefined || from === low) return { high, isFenced, range };
    }
  }

  /** Whether the log is ours to fill; `tail` is what was seen of it. */
  async claim(tail: HistoryTail, range: HistoryRange): Promise<boolean> {
    const mark = { kind: 'claim', filler: this.#filler, claimOffset: tail.high, ...range } as const;
    const offset = await this.#log.append('backfill', 0, encodeMark(mark), 0);
    this.#expected = offset + 1;
    this.#taken = undefined;
    return offset === tail.high;
  }

  /** Rejects with Superseded or Fenced, and with what the log rejects with. */
  async append(partition: number, record: Uint8Array, samples: number): Promise<void> {
    if (this.#taken !== undefined) throw this.#taken;
    const offset = await this.#log.append('backfill', partition, record, samples);
    if (partition !== 0) return;
    const from = this.#expected;
    this.#expected = Math.max(this.#expected, offset + 1);
    if (offset > from) await this.#examine(from, offset);
  }

  /** In every partition, for those who wait there. */
  async sayProgress(range: HistoryRange): Promise<void> {
    const mark = { kind: 'progress', filler: this.#filler, claimOffset: 0, ...range } as const;
    await this.#toAll(encodeMark(mark));
  }

  /** Partition 0 comes last: a fence there means that there is one everywhere. */
  async fence(end: HistoryEnding, range: HistoryRange = NO_RANGE): Promise<void> {
    const mark = { kind: 'fence', filler: this.#filler, claimOffset: 0, end, ...range } as const;
    const record = encodeMark(mark);
    for (let partition = this.#log.partitions - 1; partition >= 0; partition--) {
      await this.#log.append('backfill', partition, record, 0);
    }
  }

  async #toAll(record: Uint8Array): Promise<void> {
    const partitions = Array.from({ length: this.#log.partitions }, (_, partition) => partition);
    await Promise.all(partitions.map((partition) => this.append(partition, record, 0)));
  }

  /** Others have written between our records in partition 0. */
  async #examine(from: number, to: number): Promise<void> {
    for (const { offset, mark } of await this.#marks(from, to)) {
      if (mark.filler === this.#filler) continue;
      if (mark.kind === 'fence') this.#taken ??= new Fenced('The history was ended');
      const isValid = mark.kind === 'claim' && mark.claimOffset === offset;
      if (isValid) this.#taken ??= new Superseded('Another process fills the history');
    }
    if (this.#taken !== undefined) throw this.#taken;
  }

  async #marks(from: number, to: number): Promise<{ offset: number; mark: HistoryMark }[]> {
    const found: { offset: number; mark: HistoryMark }[] = [];
    if (from >= to) return found;
    const subscription = await this.#log.subscribe('backfill', { onAssigned() {}, onLost() {} });
    const { signal } = new AbortController();
    try {
      for (let at = from; at < to; ) {
        const batch = await subscription.read(0, at, READ_BYTES_MAX, signal);
        for (const { offset, value } of batch.records) {
          const mark = offset < to ? markOf(value) : undefined;
          if (mark !== undefined) found.push({ offset, mark });
        }
        at = batch.next;
      }
    } finally {
      await subscription.close();
    }
    return found;
  }
}

/** Whether somebody else, and not the log or that Prometheus, keeps us from filling. */
export function isTaken(error: unknown): boolean {
  return error instanceof Superseded || error instanceof Fenced;
}
