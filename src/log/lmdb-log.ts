// The log port on lmdb: each partition is a database of its own, offsets are its keys. Durable
// means flushed: a record gets its offset when its transaction begins, and neither its sender nor a
// reader hears of it before the flush. After a failed flush nothing of that transaction is there
// and the next append gets the same offsets again.
//
//   database "log"             id, partitions (for the life of the log), floor/<topic>/<partition>
//   database "<topic>/<n>"     records, see lmdb-key.ts
//
// A floor says where a partition begins after something was deleted from it; without one it begins
// at 0.

import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { DataDir, Values } from '../data-dir.js';
import { OperatingError } from '../errors.js';
import { APPEND_BYTES_MAX, RECORD_BYTES_MAX } from '../limits.js';
import { checksum, type RecordKey, storedBytes } from './lmdb-key.js';
import { after, Lane, type Mark } from './lmdb-lane.js';
import { LmdbSubscription } from './lmdb-subscription.js';
import {
  type Assignment,
  type Bounds,
  type Log,
  type Subscription,
  TOPICS,
  type Topic,
} from './log.js';

export interface Retention {
  /** Of the whole topic. A partition may take more than its share of it while others take less. */
  bytesMax: number;
  ageMsMax: number;
}

export interface LmdbLogSettings {
  partitions: number;
  /** Of a topic that is not named, everything is kept. */
  retention: Partial<Record<Topic, Retention>>;
  clock: () => number;
}

export interface Trimmed {
  /** Records deleted. */
  records: number;
  /** Of these, how many at or above `keepFrom`: a consumer that restarts there will find a gap. */
  passed: number;
}

/**
 * Partitions of a log: more WASM memories than this do not fit into the address space of a process
 * on some kernels.
 */
export const PARTITIONS_MAX = 64;
/**
 * With less than this free, deleting and checkpoints could fail as well, and nothing would ever get
 * free again.
 */
export const DISK_RESERVE_BYTES = 64 * 1024 * 1024;
const DISK_CHECK_MS = 1_000;
/**
 * Records beyond `keepFrom` are deleted only when the topic has grown to so many times its limit.
 */
const PASSING_RATIO = 2;
/**
 * A topic that nobody trims is refused more at so many times its limit, and what is being written
 * at that time.
 */
const REFUSING_RATIO = 4;
/** Records deleted in one transaction: finding them takes some 5 ms of the event loop. */
const TRIM_RECORDS_MAX = 1024;
/**
 * And their pages, which go into lmdb's free list: its own pages must fit into what is reserved for
 * deletes.
 */
const TRIM_BYTES_MAX = 64 * 1024 * 1024;

const KEEP_ALL: Retention = {
  bytesMax: Number.POSITIVE_INFINITY,
  ageMsMax: Number.POSITIVE_INFINITY,
};

/** Rejects with data_dir_other when the log was made with another number of partitions. */
export async function openLmdbLog(dir: DataDir, settings: LmdbLogSettings): Promise<LmdbLog> {
  const { partitions } = settings;
  assert(Number.isInteger(partitions) && partitions >= 1 && partitions <= PARTITIONS_MAX);
  const names: Values = dir.openDatabase('log', {});
  let id = textOf(names, 'id');
  if (id === undefined) {
    id = randomUUID();
    const fresh = { id, partitions: String(partitions) };
    await dir.commit(0, () => {
      for (const [key, text] of Object.entries(fresh)) {
        void names.put(Buffer.from(key), Buffer.from(text));
      }
    });
  }
  const stored = Number(textOf(names, 'partitions'));
  if (stored !== partitions) {
    throw new OperatingError(
      'data_dir_other',
      `The log in ${dir.path} has ${stored} partitions and log.partitions says ${partitions}; ` +
        `the number is fixed for the life of a log: set log.partitions to ${stored}, ` +
        'or start with another data directory',
    );
  }
  const lanes = {} as Record<Topic, Lane[]>;
  for (const topic of TOPICS) {
    lanes[topic] = Array.from({ length: partitions }, (_, partition) => {
      const floor = textOf(names, floorKey(topic, partition));
      return new Lane(
        { topic, partition, floor: floor === undefined ? undefined : (JSON.parse(floor) as Mark) },
        dir.openDatabase(`${topic}/${partition}`, {}),
      );
    });
  }
  return new LmdbLog({ dir, settings, id, names, lanes });
}

export class LmdbLog implements Log {
  readonly id: string;
  readonly partitions: number;
  readonly #dir: DataDir;
  readonly #settings: LmdbLogSettings;
  readonly #names: Values;
  readonly #lanes: Record<Topic, Lane[]>;
  readonly #closing = new AbortController();
  /** Bytes given to append and not yet settled. */
  #waitingBytes = 0;
  #settling = new Set<Promise<unknown>>();
  #disk = { isFull: false, checkedMs: Number.NEGATIVE_INFINITY };

  constructor(parts: {
    dir: DataDir;
    settings: LmdbLogSettings;
    id: string;
    names: Values;
    lanes: Record<Topic, Lane[]>;
  }) {
    this.id = parts.id;
    this.partitions = parts.settings.partitions;
    this.#dir = parts.dir;
    this.#settings = parts.settings;
    this.#names = parts.names;
    this.#lanes = parts.lanes;
    // Each partition of each subscription waits on it.
    setMaxListeners(0, this.#closing.signal);
  }

  /**
   * Upper bound of the disk that a topic takes: what its records would need without compression.
   */
  storedBytes(topic: Topic): number {
    return this.#lanes[topic].reduce((sum, lane) => sum + lane.stored, 0);
  }

  append(topic: Topic, partition: number, value: Uint8Array, samples: number): Promise<number> {
    const lane = this.#lane(topic, partition);
    assert(value.length <= RECORD_BYTES_MAX, `record of ${value.length} bytes`);
    assert(Number.isSafeInteger(samples) && samples >= 0, `${samples} samples`);
    const refusal = this.#refusal(topic, value.length);
    if (refusal !== undefined) return Promise.reject(refusal);
    const appended = this.#write(lane, value, samples);
    this.#settling.add(appended);
    const settled = () => this.#settling.delete(appended);
    appended.then(settled, settled);
    return appended;
  }

  #write(lane: Lane, value: Uint8Array, samples: number): Promise<number> {
    const { length } = value;
    const crc = checksum(value);
    this.#waitingBytes += length;
    return new Promise((resolve, reject) => {
      let end: Mark | undefined;
      this.#dir.write({
        bytes: storedBytes(length),
        puts: () => {
          const nowMs = Math.max(0, Math.floor(this.#settings.clock()));
          end = lane.put(value, { samples, crc, nowMs });
        },
        settled: (error) => {
          this.#waitingBytes -= length;
          if (error === undefined && end !== undefined) {
            lane.advance(end);
            resolve(end.offset - 1);
            return;
          }
          // Without an end it was refused before it took part in anything.
          if (end !== undefined) lane.fallBack();
          reject(error);
        },
      });
    });
  }

  /** Why nothing can be appended just now. */
  #refusal(topic: Topic, bytes: number): OperatingError | undefined {
    if (this.#closing.signal.aborted) return closed();
    if (this.#waitingBytes + bytes > APPEND_BYTES_MAX) {
      return new OperatingError(
        'overloaded',
        `${this.#waitingBytes} bytes wait for the log; try later`,
      );
    }
    const { bytesMax } = this.#retention(topic);
    const stored = this.storedBytes(topic);
    if (stored > REFUSING_RATIO * bytesMax + APPEND_BYTES_MAX) {
      return new OperatingError(
        'disk_full',
        `The log of ${topic} in ${this.#dir.path} holds ${stored} bytes, ${REFUSING_RATIO} times ` +
          'what retention allows, and nobody deletes; look why the scorer does not',
      );
    }
    this.#checkDisk();
    if (!this.#disk.isFull) return undefined;
    return new OperatingError(
      'disk_full',
      `Less than ${DISK_RESERVE_BYTES / 1024 ** 2} MiB are free at ${this.#dir.path}; ` +
        'free some space or lower log.retentionSize, appending then goes on by itself',
    );
  }

  /**
   * Looks at the disk now and then while there are appends; the answer counts from the next one on.
   */
  #checkDisk(): void {
    const nowMs = performance.now();
    if (nowMs - this.#disk.checkedMs < DISK_CHECK_MS) return;
    this.#disk.checkedMs = nowMs;
    const looking = this.#dir
      .freeBytes()
      .then((free) => {
        this.#disk.isFull = free + this.#dir.reusableBytes() < DISK_RESERVE_BYTES;
      })
      .catch(() => {
        // statfs may fail for a moment on a network file system, and an environment whose flush failed
        // can no longer be read: the last answer stands, writes tell the truth.
      });
    this.#settling.add(looking);
    void looking.finally(() => this.#settling.delete(looking));
  }

  async bounds(topic: Topic, partition: number): Promise<Bounds> {
    const { low, high } = this.#lane(topic, partition);
    return { low: low.offset, high: high.offset, samples: high.samples };
  }

  async subscribe(topic: Topic, assignment: Assignment): Promise<Subscription> {
    if (this.#closing.signal.aborted) throw closed();
    const subscription = new LmdbSubscription({
      dir: this.#dir,
      lanes: this.#lanes[topic],
      closing: this.#closing.signal,
    });
    // After the caller has the subscription in its hands, since it will want to read at once.
    setImmediate(() => {
      for (let partition = 0; partition < this.partitions && !subscription.isClosed; partition++) {
        assignment.onAssigned(partition);
      }
      if (!subscription.isClosed) assignment.onShared?.();
    });
    return subscription;
  }

  /**
   * Deletes what is beyond retention, oldest first. Records at or above `keepFrom` go only when the
   * topic has grown to twice its size: the disk counts for more than what a consumer that far
   * behind would miss.
   */
  trim(topic: Topic, partition: number, keepFrom: number): Promise<Trimmed> {
    const lane = this.#lane(topic, partition);
    const turn = lane.trimming.then(() => this.#trim(lane, keepFrom));
    lane.trimming = turn.catch(() => {}); // its own caller has heard of it
    return turn;
  }

  async #trim(lane: Lane, keepFrom: number): Promise<Trimmed> {
    const trimmed = { records: 0, passed: 0 };
    for (;;) {
      if (this.#closing.signal.aborted) throw closed();
      const keys = this.#dir.read(() => this.#beyondRetention(lane, keepFrom));
      const last = keys.at(-1);
      if (last === undefined) return trimmed;
      const low = after(last);
      await this.#dir.commit(0, () => {
        for (const key of keys) lane.remove(key);
        const floor = Buffer.from(JSON.stringify(low));
        void this.#names.put(Buffer.from(floorKey(lane.topic, lane.partition)), floor);
      });
      lane.low = low;
      trimmed.records += keys.length;
      trimmed.passed += keys.filter((key) => key.offset >= keepFrom).length;
    }
  }

  #beyondRetention(lane: Lane, keepFrom: number): RecordKey[] {
    const { bytesMax, ageMsMax } = this.#retention(lane.topic);
    const oldestMs = this.#settings.clock() - ageMsMax;
    const others = this.storedBytes(lane.topic) - lane.stored;
    let here = lane.stored;
    let from = lane.low.stored;
    const isOver = (max: number) => others + here > max && here > max / this.partitions;
    const keys: RecordKey[] = [];
    for (const key of lane.keys({ limit: TRIM_RECORDS_MAX })) {
      const isKept =
        key.offset >= keepFrom
          ? !isOver(PASSING_RATIO * bytesMax)
          : !isOver(bytesMax) && key.appendedMs >= oldestMs;
      if (isKept || key.offset >= lane.high.offset) break;
      if (lane.stored - here >= TRIM_BYTES_MAX) break;
      keys.push(key);
      here -= key.stored - from;
      from = key.stored;
    }
    return keys;
  }

  /** Resolves once every append has been settled. The data directory stays open: it is not ours. */
  async close(): Promise<void> {
    this.#closing.abort(closed());
    const lanes = Object.values(this.#lanes).flat();
    await Promise.allSettled([...this.#settling, ...lanes.map((lane) => lane.trimming)]);
  }

  #retention(topic: Topic): Retention {
    return this.#settings.retention[topic] ?? KEEP_ALL;
  }

  #lane(topic: Topic, partition: number): Lane {
    const lane = this.#lanes[topic][partition];
    assert(lane !== undefined, `no partition ${partition} in ${topic}`);
    return lane;
  }
}

function textOf(names: Values, key: string): string | undefined {
  const bytes = names.get(Buffer.from(key));
  return bytes === undefined ? undefined : Buffer.from(bytes).toString();
}

function floorKey(topic: Topic, partition: number): string {
  return `floor/${topic}/${partition}`;
}

function closed(): OperatingError {
  return new OperatingError('log_closed', 'The log is closed');
}
