// The log port in memory, for tests of what stands on a log. A true log: it passes the same
// contract as the others. It is strict where the port only warns: the values of a batch are
// overwritten at the next read of that partition, so that a consumer who keeps them is found out.

import { strict as assert } from 'node:assert';
import { setMaxListeners } from 'node:events';
import { OperatingError } from '../src/errors.js';
import type { Assignment, Batch, Bounds, Log, Subscription, Topic } from '../src/log/log.js';

interface Lane {
  low: number;
  records: Uint8Array[];
  samples: number;
}

/** What a log leaves behind when it is closed. */
export interface Remains {
  id: string;
  lanes: Map<string, Lane>;
}

let logCount = 0;

export class MemoryLog implements Log {
  readonly id: string;
  readonly partitions: number;
  readonly remains: Remains;
  readonly #closing = unbounded(new AbortController());
  readonly #wakes = new Set<() => void>();
  #durable: Promise<unknown> = Promise.resolve();

  constructor(partitions: number, remains?: Remains) {
    this.partitions = partitions;
    this.remains = remains ?? { id: `memory-log-${++logCount}`, lanes: new Map() };
    this.id = this.remains.id;
  }

  append(topic: Topic, partition: number, value: Uint8Array, samples: number): Promise<number> {
    if (this.#closing.signal.aborted) return Promise.reject(closed('log'));
    const appended = this.#durable.then(async () => {
      // As on a disk, a record is neither acknowledged nor visible in the turn in which it was
      // appended.
      await new Promise((turn) => setImmediate(turn));
      const lane = this.#lane(topic, partition);
      lane.records.push(Uint8Array.from(value));
      lane.samples += samples;
      for (const wake of this.#wakes) wake();
      return lane.low + lane.records.length - 1;
    });
    this.#durable = appended;
    return appended;
  }

  async bounds(topic: Topic, partition: number): Promise<Bounds> {
    const { low, records, samples } = this.#lane(topic, partition);
    return { low, high: low + records.length, samples };
  }

  async subscribe(topic: Topic, assignment: Assignment): Promise<Subscription> {
    if (this.#closing.signal.aborted) throw closed('log');
    const ending = unbounded(new AbortController());
    const lent = new Map<number, Uint8Array[]>();
    setImmediate(() => {
      for (let partition = 0; partition < this.partitions; partition++) {
        if (!ending.signal.aborted) assignment.onAssigned(partition);
      }
      if (!ending.signal.aborted) assignment.onShared?.();
    });
    return {
      read: async (partition, from, bytesMax, signal) => {
        for (const value of lent.get(partition) ?? []) value.fill(0xdd);
        const signals = [signal, ending.signal, this.#closing.signal];
        const batch = await this.#read(this.#lane(topic, partition), { from, bytesMax, signals });
        lent.set(
          partition,
          batch.records.map(({ value }) => value),
        );
        return batch;
      },
      async commit() {},
      async close() {
        ending.abort(closed('subscription'));
      },
    };
  }

  /** As retention would: deletes the records below this offset. */
  deleteBelow(topic: Topic, partition: number, offset: number): void {
    const lane = this.#lane(topic, partition);
    const count = Math.min(Math.max(0, offset - lane.low), lane.records.length);
    lane.records.splice(0, count);
    lane.low += count;
  }

  async close(): Promise<void> {
    this.#closing.abort(closed('log'));
    await this.#durable;
  }

  async #read(
    lane: Lane,
    wanted: { from: number; bytesMax: number; signals: AbortSignal[] },
  ): Promise<Batch> {
    const { from, bytesMax, signals } = wanted;
    for (;;) {
      for (const signal of signals) signal.throwIfAborted();
      const high = lane.low + lane.records.length;
      if (from > high) {
        const text = `Cannot read samples/0 from offset ${from}: the log ends at ${high}`;
        throw new OperatingError('log_truncated', text);
      }
      const first = Math.max(from, lane.low);
      if (first < high) return take(lane, { first, from, bytesMax });
      await this.#turn(signals);
    }
  }

  /** Resolves at the next append, rejects when a signal is aborted. */
  #turn(signals: AbortSignal[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (settle: () => void) => () => {
        this.#wakes.delete(wake);
        for (const signal of signals) signal.removeEventListener('abort', stop);
        settle();
      };
      const wake = done(resolve);
      const stop = done(() => reject(signals.find((signal) => signal.aborted)?.reason));
      this.#wakes.add(wake);
      for (const signal of signals) signal.addEventListener('abort', stop);
    });
  }

  #lane(topic: Topic, partition: number): Lane {
    assert(partition >= 0 && partition < this.partitions, `no partition ${partition}`);
    const name = `${topic}/${partition}`;
    const lane = this.remains.lanes.get(name) ?? { low: 0, records: [], samples: 0 };
    this.remains.lanes.set(name, lane);
    return lane;
  }
}

function take(lane: Lane, wanted: { first: number; from: number; bytesMax: number }): Batch {
  const { first, from, bytesMax } = wanted;
  let next = first;
  let bytes = 0;
  const records = [];
  for (const value of lane.records.slice(first - lane.low)) {
    if (records.length > 0 && bytes + value.length > bytesMax) break;
    bytes += value.length;
    records.push({ offset: next++, value: Uint8Array.from(value) });
  }
  return { records, next, gap: first - from };
}

function closed(what: string): OperatingError {
  return new OperatingError('log_closed', `The ${what} is closed`);
}

/** Every read that waits listens to it. */
function unbounded(controller: AbortController): AbortController {
  setMaxListeners(0, controller.signal);
  return controller;
}
