// Membership in a consumer group: who reads which partitions, and how far they say they are. It runs kafkajs' consumer
// with everything paused for ever, which then only joins, sends heartbeats and commits; records come by kafka-fetcher.ts.
// So a heartbeat waits for nothing but the event loop, and neither a leader that moves nor an offset that is gone ever
// makes the group share out its partitions anew.
//
// A member that fails is started anew, later and later, for as long as the log is open; partitions stay with their reader
// until the group says otherwise.

import { setTimeout as sleep } from 'node:timers/promises';
import type { OperatingError } from '../errors.js';
import { COMMIT_INTERVAL_MS, RETRY_MS_MAX, RETRY_MS_MIN } from '../limits.js';
import { kafkaAssigner } from './kafka-assigner.js';
import type { KafkaClient, KafkaConsumer } from './kafka-client.js';
import type { KafkaCounters } from './kafka-counters.js';
import { kafkaComplaint, kafkaError } from './kafka-errors.js';

export interface MemberParts {
  client: KafkaClient;
  group: string;
  topic: string;
  partitions: number;
  counters: KafkaCounters;
  clock: () => number;
  /** Called inside the join: what this member reads from now on. */
  onJoined: (partitions: readonly number[]) => void;
  /** A member failed, with undefined: it has joined. It is started anew by itself. */
  onTrouble: (error: OperatingError | undefined, cause?: unknown) => void;
}

const CLOSE_MS_MAX = 3_000;

export class KafkaMember {
  readonly #parts: MemberParts;
  readonly #ending = new AbortController();
  readonly #commits = new Map<number, number>();
  #owned: { partitions: readonly number[]; sinceMs: number } = { partitions: [], sinceMs: 0 };
  #consumer: KafkaConsumer | undefined;
  #hasJoined = false;
  #joins = 0;
  #pauseMs = RETRY_MS_MIN;
  #starting: Promise<void> | undefined;
  #committing: Promise<void> | undefined;
  #commitTimer: NodeJS.Timeout | undefined;

  constructor(parts: MemberParts) {
    this.#parts = parts;
  }

  /** Joins in its own time; `onJoined` tells. */
  start(): void {
    this.#starting = this.#run();
  }

  /** Kept and sent now and then: the newest of each partition. */
  commit(partition: number, next: number): void {
    this.#commits.set(partition, next);
    this.#commitTimer ??= setTimeout(() => {
      this.#commitTimer = undefined;
      this.#committing = this.#flush();
    }, COMMIT_INTERVAL_MS);
  }

  /** Leaves the group, so that the others need not wait for the session to end. */
  async close(): Promise<void> {
    this.#ending.abort();
    clearTimeout(this.#commitTimer);
    const leaving = this.#leave();
    await Promise.race([leaving, sleep(CLOSE_MS_MAX, undefined, { ref: false })]);
  }

  async #leave(): Promise<void> {
    await this.#committing;
    await this.#flush();
    await this.#starting;
    await disconnect(this.#consumer);
  }

  async #run(): Promise<void> {
    const { client, group, topic, partitions } = this.#parts;
    const assigner = kafkaAssigner({ topic, partitions, owned: () => this.#owned });
    const { consumer } = client.member(group, assigner);
    this.#consumer = consumer;
    consumer.on('consumer.group_join', ({ payload }) => {
      // Before its first fetch: it never makes one.
      consumer.pause([{ topic }]);
      this.#joined(payload.memberAssignment[topic] ?? []);
    });
    consumer.on('consumer.crash', ({ payload }) => this.#failed(consumer, payload.error));
    try {
      await consumer.connect();
      await consumer.subscribe({ topics: [topic], fromBeginning: true });
      await consumer.run({ autoCommit: false, eachBatch: async () => {} });
    } catch (error) {
      // What goes wrong later comes as a crash.
      this.#failed(consumer, error);
    }
  }

  #joined(partitions: readonly number[]): void {
    if (this.#ending.signal.aborted) return;
    this.#hasJoined = true;
    this.#pauseMs = RETRY_MS_MIN;
    if (this.#joins++ > 0) this.#parts.counters.rejoins++;
    // Who stays with what it had keeps its seniority: a claim is as old as its newest partition.
    const isSame =
      partitions.length === this.#owned.partitions.length &&
      partitions.every((one) => this.#owned.partitions.includes(one));
    if (!isSame || this.#owned.sinceMs === 0) {
      this.#owned = { partitions: [...partitions], sinceMs: Math.floor(this.#parts.clock()) };
    }
    for (const partition of this.#commits.keys()) {
      if (!partitions.includes(partition)) this.#commits.delete(partition);
    }
    this.#parts.onTrouble(undefined);
    this.#parts.onJoined(partitions);
  }

  #failed(consumer: KafkaConsumer, cause: unknown): void {
    if (this.#ending.signal.aborted || consumer !== this.#consumer) return;
    this.#consumer = undefined;
    this.#hasJoined = false;
    this.#parts.counters.crashes++;
    const { group, onTrouble } = this.#parts;
    onTrouble(kafkaError(cause, `take part in the consumer group ${group}`), cause);
    const pauseMs = this.#pauseMs;
    this.#pauseMs = Math.min(2 * pauseMs, RETRY_MS_MAX);
    // A broker that does not answer must not keep a failed member from being started anew.
    const gone = sleep(CLOSE_MS_MAX, undefined, { ref: false });
    this.#starting = Promise.all([
      Promise.race([Promise.all([disconnect(consumer), this.#explain(cause)]), gone]),
      // It keeps the process alive: while a role starts there may be nothing else that does.
      sleep(pauseMs, undefined, { signal: this.#ending.signal }).catch(() => {}), // closing
    ]).then(() => (this.#ending.signal.aborted ? undefined : this.#run()));
  }

  /**
   * kafkajs asks every broker for the coordinator and keeps their reasons to itself. Any of them says whether it is that we
   * may not know.
   */
  async #explain(cause: unknown): Promise<void> {
    if (kafkaComplaint(cause).name !== 'KafkaJSGroupCoordinatorNotFound') return;
    const { client, group, onTrouble } = this.#parts;
    const cluster = client.cluster();
    try {
      await cluster.connect();
      await cluster.refreshMetadata();
      const [nodeId] = cluster.getNodeIds();
      if (nodeId === undefined) return;
      const broker = await cluster.findBroker({ nodeId: String(nodeId) });
      await broker.describeGroups({ groupIds: [group] });
    } catch (error) {
      // That the group is another broker's, or that this one is away too, says nothing new.
      if (kafkaComplaint(error).type !== 'GROUP_AUTHORIZATION_FAILED') return;
      if (this.#consumer === undefined && !this.#ending.signal.aborted) {
        onTrouble(kafkaError(error, `take part in the consumer group ${group}`), error);
      }
    } finally {
      await disconnect(cluster);
    }
  }

  async #flush(): Promise<void> {
    const { topic, counters } = this.#parts;
    const consumer = this.#consumer;
    if (!this.#hasJoined || consumer === undefined || this.#commits.size === 0) return;
    const offsets = [...this.#commits].map(([partition, next]) => ({
      topic,
      partition,
      offset: String(next),
    }));
    this.#commits.clear();
    try {
      await consumer.commitOffsets(offsets);
    } catch {
      // No member of the group any more, or its coordinator is away: only tools that show lag will miss it.
      counters.offsetsRefused++;
    }
  }
}

async function disconnect(client: Pick<KafkaConsumer, 'disconnect'> | undefined): Promise<void> {
  try {
    await client?.disconnect();
  } catch {
    // The connection broke while it was closed: it is gone all the same.
  }
}
