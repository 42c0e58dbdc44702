// One partition of the embedded log: its database, where it begins and ends, and who waits for its
// next record. The ends that everybody sees are durable ones; `next` and the sums beside it run
// ahead of them while a group is written, and fall back when the group fails, so that offsets stay
// dense.

import { strict as assert } from 'node:assert';
import type { Values } from '../data-dir.js';
import { OperatingError } from '../errors.js';
import {
  checksum,
  decodeKey,
  encodeKey,
  type RecordKey,
  seekKey,
  storedBytes,
} from './lmdb-key.js';
import type { Batch, LogRecord, Topic } from './log.js';

/** A read returns at most so many records, however small: the event loop waits 5 to 10 ms for them. */
const READ_RECORDS_MAX = 512;

/** A key, and the bytes that it was decoded from. */
interface Found {
  key: RecordKey;
  bytes: Uint8Array;
}

/** Where a partition stands: the offset after a record, and the sums up to it. */
export interface Mark {
  offset: number;
  samples: number;
  stored: number;
}

export class Lane {
  readonly topic: Topic;
  readonly partition: number;
  /** The first record still there. */
  low: Mark;
  /** What is durable ends here. */
  high: Mark;
  /** What has been given to the transaction under way ends here. */
  next: Mark;
  /** Trims of one partition follow one another. */
  trimming: Promise<unknown> = Promise.resolve();
  readonly #values: Values;
  readonly #waiting = new Set<() => void>();

  constructor(where: { topic: Topic; partition: number; floor: Mark | undefined }, values: Values) {
    this.topic = where.topic;
    this.partition = where.partition;
    this.#values = values;
    const first = this.keys({ limit: 1 })[0];
    const last = this.keys({ limit: 1, reverse: true })[0];
    const floor = where.floor ?? { offset: 0, samples: 0, stored: 0 };
    this.low = floor;
    this.high = last === undefined ? floor : after(last);
    this.next = this.high;
    assert.equal(first?.offset ?? floor.offset, floor.offset, `first record of ${this.name}`);
  }

  get name(): string {
    return `${this.topic}/${this.partition}`;
  }

  /** Upper bound of the disk that this partition takes. */
  get stored(): number {
    return this.high.stored - this.low.stored;
  }

  /** Inside a transaction: gives the record the next offset. */
  put(value: Uint8Array, about: { samples: number; crc: number; nowMs: number }): Mark {
    const before = this.next;
    const key: RecordKey = {
      offset: before.offset,
      appendedMs: about.nowMs,
      samples: before.samples + about.samples,
      stored: before.stored + storedBytes(value.length),
      length: value.length,
      crc: about.crc,
    };
    this.next = after(key);
    void this.#values.put(encodeKey(key), value);
    return this.next;
  }

  /** Inside a transaction. */
  remove(key: RecordKey): void {
    void this.#values.remove(encodeKey(key));
  }

  /** Records up to `mark` are durable. */
  advance(mark: Mark): void {
    this.high = mark;
    for (const wake of this.#waiting) wake();
  }

  /** The transaction under way has failed: nothing that was put in it is there. */
  fallBack(): void {
    this.next = this.high;
  }

  /** Keys of at most `limit` records, in order, from the first one or from the end. */
  keys(range: { limit: number; reverse?: boolean }): RecordKey[] {
    const { limit, reverse = false } = range;
    const options = reverse ? { reverse, limit } : { start: seekKey(0), limit };
    const keys: RecordKey[] = [];
    for (const bytes of this.#values.getKeys(options)) keys.push(decodeKey(bytes));
    return keys;
  }

  /** Durable records from `from` on, in memory of `scratch`; undefined when there is none. */
  read(from: number, bytesMax: number, scratch: Scratch): Batch | undefined {
    const found = this.#find(from, bytesMax);
    const first = found[0]?.key.offset;
    if (first === undefined) return undefined;
    let at = 0;
    const memory = scratch.take(found.reduce((sum, { key }) => sum + aligned(key.length), 0));
    const records: LogRecord[] = [];
    for (const each of found) {
      const { offset, length } = each.key;
      assert.equal(offset, first + records.length, `offsets of ${this.name}`);
      const value = memory.subarray(at, at + length);
      this.#fetch(each, value);
      records.push({ offset, value });
      at += aligned(length);
    }
    return { records, next: first + records.length, gap: first - from };
  }

  #find(from: number, bytesMax: number): Found[] {
    const found: Found[] = [];
    let total = 0;
    const range = {
      start: seekKey(from),
      end: seekKey(this.high.offset),
      limit: READ_RECORDS_MAX,
    };
    for (const bytes of this.#values.getKeys(range)) {
      const key = decodeKey(bytes);
      if (found.length > 0 && total + key.length > bytesMax) break;
      total += key.length;
      found.push({ key, bytes });
    }
    return found;
  }

  #fetch({ key, bytes }: Found, target: Uint8Array): void {
    // Valid until the next call to lmdb: its own buffer, or the map itself.
    const lent = this.#values.getBinaryFast(bytes);
    const isWhole = lent !== undefined && lent.length === key.length;
    if (isWhole) target.set(new Uint8Array(lent.buffer, lent.byteOffset, key.length));
    if (isWhole && checksum(target) === key.crc) return;
    throw new OperatingError(
      'log_damaged',
      `Record ${key.offset} of ${this.name} is damaged on the disk; look after the disk, ` +
        'then restore the data directory or start with a new one',
    );
  }

  /**
   * Resolves once a record at `from` is durable; rejects with the reason of whichever signal is
   * aborted first.
   */
  wait(from: number, signals: readonly AbortSignal[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (isAborted: boolean) => {
        this.#waiting.delete(wake);
        for (const signal of signals) signal.removeEventListener('abort', stop);
        if (isAborted) reject(signals.find((signal) => signal.aborted)?.reason);
        else resolve();
      };
      const wake = () => {
        if (this.high.offset > from) settle(false);
      };
      const stop = () => settle(true);
      this.#waiting.add(wake);
      for (const signal of signals) signal.addEventListener('abort', stop);
      if (signals.some((signal) => signal.aborted)) stop();
    });
  }
}

/** Memory for one batch, used again for the next. Grows to what the largest batch needed. */
export class Scratch {
  #memory = Buffer.alloc(0);

  take(bytes: number): Uint8Array {
    if (this.#memory.length < bytes) this.#memory = Buffer.allocUnsafeSlow(bytes);
    return this.#memory;
  }
}

export function after(key: RecordKey): Mark {
  return { offset: key.offset + 1, samples: key.samples, stored: key.stored };
}

/** Columns of eight bytes can be read in place only when a record begins at a multiple of eight. */
function aligned(length: number): number {
  return Math.ceil(length / 8) * 8;
}
