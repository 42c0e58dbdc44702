// A consumer of one topic of the embedded log. It has every partition for as long as it lives,
// since there is nobody to share them with, and it never polls: a read of what is not there yet is
// woken by the append that makes it durable.

import { strict as assert } from 'node:assert';
import type { DataDir } from '../data-dir.js';
import { OperatingError } from '../errors.js';
import { type Lane, Scratch } from './lmdb-lane.js';
import type { Batch, Subscription } from './log.js';

export class LmdbSubscription implements Subscription {
  readonly #dir: DataDir;
  readonly #lanes: readonly Lane[];
  readonly #logClosing: AbortSignal;
  readonly #closing = new AbortController();
  readonly #scratches: Scratch[];
  /** Where this consumer stands in each partition, as it last said. */
  readonly committed: number[];

  constructor(parts: { dir: DataDir; lanes: readonly Lane[]; closing: AbortSignal }) {
    this.#dir = parts.dir;
    this.#lanes = parts.lanes;
    this.#logClosing = parts.closing;
    this.#scratches = parts.lanes.map(() => new Scratch());
    this.committed = parts.lanes.map(() => 0);
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted || this.#logClosing.aborted;
  }

  async read(
    partition: number,
    from: number,
    bytesMax: number,
    signal: AbortSignal,
  ): Promise<Batch> {
    const lane = this.#lanes[partition];
    const scratch = this.#scratches[partition];
    assert(lane !== undefined && scratch !== undefined, `no partition ${partition}`);
    assert(Number.isSafeInteger(from) && from >= 0, `offset ${from}`);
    const signals = [signal, this.#closing.signal, this.#logClosing];
    for (;;) {
      for (const one of signals) one.throwIfAborted();
      if (from > lane.high.offset) throw beyondEnd(lane, from);
      // The range is walked within this turn of the event loop: no read transaction outlives it and
      // pins old pages.
      const batch = this.#dir.read(() => lane.read(from, bytesMax, scratch));
      if (batch !== undefined) return batch;
      await lane.wait(from, signals);
    }
  }

  async commit(partition: number, next: number): Promise<void> {
    assert(partition in this.committed, `no partition ${partition}`);
    this.committed[partition] = next;
  }

  async close(): Promise<void> {
    this.#closing.abort(new OperatingError('log_closed', 'The subscription is closed'));
  }
}

function beyondEnd(lane: Lane, from: number): OperatingError {
  return new OperatingError(
    'log_truncated',
    `Cannot read ${lane.name} from offset ${from}: the log ends at ${lane.high.offset}, it was ` +
      'truncated or replaced after that offset was noted; ' +
      'go back to an older checkpoint or to the beginning of the log',
  );
}
