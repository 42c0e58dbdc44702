// A consumer of one topic on Kafka: the partitions that it has, one lane each, filled by a fetcher and emptied by reads.
// With a group the partitions come and go by kafka-member.ts; without one all of them are here from the start.
//
// Never silent: an offset that retention deleted is a counted gap, one beyond the end is log_truncated, a record that
// carries another log's id waits until it is known whether the log was replaced. Reading ahead is bounded per partition
// and in all; a lane whose reader waits is always filled.

import { strict as assert } from 'node:assert';
import { setTimeout as sleep } from 'node:timers/promises';
import { OperatingError } from '../errors.js';
import { READ_AHEAD_BYTES_MAX, SUBSCRIPTION_BYTES_MAX } from '../limits.js';
import type { Range } from './kafka-bounds.js';
import type { KafkaClient } from './kafka-client.js';
import type { KafkaCounters } from './kafka-counters.js';
import { isUnknownTopic } from './kafka-errors.js';
import { type FetchedMessage, KafkaFetcher } from './kafka-fetcher.js';
import { ReaderLane } from './kafka-lane.js';
import { KafkaMember } from './kafka-member.js';
import type { Assignment, Batch, Subscription, Topic } from './log.js';

export interface SubscriptionParts {
  client: KafkaClient;
  topic: Topic;
  /** The topic's name in Kafka. */
  name: string;
  partitions: number;
  /** The group's whole name; undefined: every partition, and nobody else is asked. */
  group: string | undefined;
  assignment: Assignment;
  counters: KafkaCounters;
  clock: () => number;
  log: LogOfSubscription;
}

/** What the log knows and a subscription asks. */
export interface LogOfSubscription {
  bounds(partition: number): Promise<Range>;
  /** What a message is: a record to hand out, one of the log's own, or one that may belong to another log. */
  judge(message: FetchedMessage): 'record' | 'own' | 'foreign';
  /** Resolves when records with this id may be handed out; rejects when the log was replaced. */
  confirm(message: FetchedMessage): Promise<undefined>;
  /** Resolves when the log is the one that it was; rejects when it was replaced, or nobody can be asked. */
  look(): Promise<void>;
  /** The topic may be gone, or be another one. */
  doubt(): void;
}

type Found = { low: number } | undefined;

/** An offset that is not there is looked at again after this long: a new leader may not know its own end yet. */
const LOOK_AGAIN_MS = 300;
const LOOKS_MAX = 2;
const EMPTY = new Uint8Array(0);

export class KafkaSubscription implements Subscription {
  readonly #parts: SubscriptionParts;
  readonly #lanes = new Map<number, ReaderLane>();
  readonly #fetcher: KafkaFetcher;
  readonly #member: KafkaMember | undefined;
  readonly #closing = new AbortController();
  /** Partitions that the role believes to have. */
  readonly #told = new Set<number>();
  /** Of these, what was lost since the role heard of them. */
  readonly #gone = new Set<number>();
  readonly #troubles = new Map<'fetch' | 'group', OperatingError>();
  #bytes = 0;
  #isTelling = false;

  constructor(parts: SubscriptionParts) {
    this.#parts = parts;
    const { client, name, partitions, group } = parts;
    this.#fetcher = new KafkaFetcher({
      openCluster: () => client.cluster(),
      topic: name,
      sink: this.#sink(),
    });
    if (group === undefined) {
      this.#assign(Array.from({ length: partitions }, (_, partition) => partition));
      return;
    }
    this.#member = new KafkaMember({
      ...parts,
      group,
      topic: name,
      onJoined: (mine) => this.#assign(mine),
      onTrouble: (error, cause) => this.#trouble('group', error, cause),
    });
    this.#member.start();
  }

  /** Why records do not come just now. */
  get trouble(): OperatingError | undefined {
    return this.#troubles.get('group') ?? this.#troubles.get('fetch');
  }

  async read(
    partition: number,
    from: number,
    bytesMax: number,
    signal: AbortSignal,
  ): Promise<Batch> {
    const { name, partitions } = this.#parts;
    assert(partition >= 0 && partition < partitions, `no partition ${partition}`);
    assert(Number.isSafeInteger(from) && from >= 0, `offset ${from}`);
    for (const one of [signal, this.#closing.signal]) one.throwIfAborted();
    const lane = this.#lanes.get(partition);
    if (lane === undefined) throw lost(name, partition);
    assert(lane.read === undefined, `${name}/${partition} is being read already`);
    if (lane.position !== from) {
      this.#bytes -= lane.bytes;
      lane.seek(from);
    }
    const batch = this.#take(lane, bytesMax);
    if (batch !== undefined) return batch;
    return new Promise((resolve, reject) => {
      const stop = () => settle(() => reject(signal.reason));
      const settle = (outcome: () => void) => {
        lane.read = undefined;
        signal.removeEventListener('abort', stop);
        outcome();
      };
      lane.read = {
        bytesMax,
        resolve: (found) => settle(() => resolve(found)),
        reject: (reason) => settle(() => reject(reason)),
      };
      signal.addEventListener('abort', stop);
      this.#fetcher.wake();
    });
  }

  async commit(partition: number, next: number): Promise<void> {
    if (this.#lanes.has(partition)) this.#member?.commit(partition, next);
  }

  async close(): Promise<void> {
    await this.end(new OperatingError('log_closed', 'The subscription is closed'));
  }

  /** Closes; reads that wait, and those to come, reject with this. */
  async end(reason: OperatingError): Promise<void> {
    this.#closing.abort(reason);
    for (const lane of this.#lanes.values()) lane.read?.reject(reason);
    await Promise.all([this.#member?.close(), this.#fetcher.close()]);
  }

  #take(lane: ReaderLane, bytesMax: number): Batch | undefined {
    const before = lane.bytes;
    const batch = lane.take(bytesMax);
    this.#bytes -= before - lane.bytes;
    // There may be room to read ahead again.
    if (batch !== undefined) this.#fetcher.wake();
    return batch;
  }

  #serve(lane: ReaderLane): void {
    const { read } = lane;
    const batch = read === undefined ? undefined : this.#take(lane, read.bytesMax);
    if (batch !== undefined) read?.resolve(batch);
  }

  #sink() {
    return {
      wanted: () => {
        const wanted = new Map<number, number>();
        for (const lane of this.#lanes.values()) {
          if (this.#isWanting(lane)) wanted.set(lane.partition, lane.fetchFrom);
        }
        return wanted;
      },
      isFull: () => [...this.#lanes.values()].some((lane) => lane.bytes >= READ_AHEAD_BYTES_MAX),
      onFetched: (partition: number, from: number, messages: readonly FetchedMessage[]) => {
        const lane = this.#lanes.get(partition);
        // It was given away, or its reader went elsewhere meanwhile.
        if (lane === undefined || lane.fetchFrom !== from || lane.isHeld) return;
        if (messages.length > 0) lane.looks = 0;
        this.#fill(lane, messages);
        this.#serve(lane);
      },
      onOutOfRange: (partition: number, from: number) => {
        const lane = this.#lanes.get(partition);
        if (lane === undefined || lane.fetchFrom !== from || lane.isHeld) return;
        this.#hold(lane, () => this.#findOffset(lane));
      },
      onTrouble: (error: OperatingError | undefined, cause?: unknown) => {
        if (error !== undefined) this.#parts.counters.fetchesFailed++;
        this.#trouble('fetch', error, cause);
      },
    };
  }

  #isWanting(lane: ReaderLane): boolean {
    if (lane.position === undefined || lane.isHeld) return false;
    if (lane.read !== undefined) return true;
    return lane.bytes < READ_AHEAD_BYTES_MAX && this.#bytes < SUBSCRIPTION_BYTES_MAX;
  }

  #fill(lane: ReaderLane, messages: readonly FetchedMessage[]): void {
    const { log } = this.#parts;
    for (const message of messages) {
      const offset = Number(message.offset);
      const what = message.isControlRecord ? 'own' : log.judge(message);
      if (what === 'foreign') {
        this.#hold(lane, () => log.confirm(message));
        return;
      }
      if (what === 'own') {
        lane.pass(offset);
        continue;
      }
      const value = message.value ?? EMPTY;
      lane.put(offset, value);
      this.#bytes += value.length;
    }
  }

  /** Fetches nothing more for it until `look` has come to an end; what that rejects with is for the reader. */
  #hold(lane: ReaderLane, look: () => Promise<Found>): void {
    lane.isHeld = true;
    const { fetchFrom } = lane;
    const isSame = () => this.#lanes.get(lane.partition) === lane && lane.fetchFrom === fetchFrom;
    look().then(
      (found) => {
        if (!isSame()) return;
        lane.isHeld = false;
        // What was read ahead is given before a gap is; the offset is looked at again then.
        if (found !== undefined && lane.isEmpty) lane.skipTo(found.low);
        this.#fetcher.wake();
      },
      (error: unknown) => {
        if (!isSame() || this.#closing.signal.aborted) return;
        if (error instanceof OperatingError && error.retryable) {
          setTimeout(() => isSame() && this.#hold(lane, look), LOOK_AGAIN_MS).unref();
          return;
        }
        // Nothing more until the reader says again where to begin; it may find the same.
        lane.position = undefined;
        lane.read?.reject(error);
      },
    );
  }

  /** Resolves with where the partition begins, if it is behind the wanted offset. */
  async #findOffset(lane: ReaderLane): Promise<Found> {
    const { log, topic } = this.#parts;
    const { partition, fetchFrom } = lane;
    const { low, high } = await log.bounds(partition);
    if (fetchFrom < low) {
      if (!lane.isEmpty) await sleep(LOOK_AGAIN_MS, undefined, { ref: false });
      return { low };
    }
    if (fetchFrom > high && ++lane.looks >= LOOKS_MAX) {
      await log.look();
      throw new OperatingError(
        'log_truncated',
        `Cannot read ${topic}/${partition} from offset ${fetchFrom}: the log ends at ${high}, it was ` +
          'truncated or replaced after that offset was noted; ' +
          'go back to an older checkpoint or to the beginning of the log',
      );
    }
    await sleep(LOOK_AGAIN_MS, undefined, { ref: false });
    return undefined;
  }

  #trouble(of: 'fetch' | 'group', error: OperatingError | undefined, cause?: unknown): void {
    if (error === undefined) {
      this.#troubles.delete(of);
      return;
    }
    this.#troubles.set(of, error);
    if (isUnknownTopic(cause)) this.#parts.log.doubt();
  }

  /** A partition that stays keeps its lane, and what was read ahead for it. */
  #assign(partitions: readonly number[]): void {
    for (const [partition, lane] of this.#lanes) {
      if (partitions.includes(partition)) continue;
      this.#lanes.delete(partition);
      this.#bytes -= lane.bytes;
      if (this.#told.delete(partition)) this.#gone.add(partition);
      lane.read?.reject(lost(this.#parts.name, partition));
    }
    for (const partition of partitions) {
      if (!this.#lanes.has(partition)) this.#lanes.set(partition, new ReaderLane(partition));
    }
    // In a turn of its own: the first time the role has the subscription in its hands by then, and what it throws ends the
    // process, as it should, instead of being taken for a failure of the group.
    if (this.#isTelling) return;
    this.#isTelling = true;
    setImmediate(() => {
      this.#isTelling = false;
      this.#tell();
    });
  }

  #tell(): void {
    const { assignment } = this.#parts;
    const gone = [...this.#gone];
    this.#gone.clear();
    for (const partition of gone) assignment.onLost(partition);
    for (const partition of [...this.#lanes.keys()]) {
      if (this.#told.has(partition) || this.#closing.signal.aborted) continue;
      this.#told.add(partition);
      assignment.onAssigned(partition);
    }
    if (!this.#closing.signal.aborted) assignment.onShared?.();
  }
}

function lost(name: string, partition: number): OperatingError {
  return new OperatingError(
    'partition_lost',
    `Partition ${name}/${partition} is read by another member now`,
  );
}
