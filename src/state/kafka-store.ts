// The state port on a compacted topic, so that a partition may move to a machine that does not have the volume. The keys
// of a partition's checkpoints lie in the partition of the same number, all others in partition 0: whoever takes over a
// partition reads one of the topic.
//
// What a topic cannot promise: two processes that advance the same key at the same time may both be told that they wrote;
// then the greater version stands, for every reader, but a value of a lesser version may be the last one in the topic, and
// if its writer dies before it has read it back and put the greater one behind it, cleaning leaves the lesser one.
// Checkpoints do not depend on it. They are put, under keys that hold their offset, and follow from the log alone: of
// several processes that think they own a partition each can only write what the others would, and the highest offset is
// taken.

import { strict as assert } from 'node:assert';
import { setMaxListeners } from 'node:events';
import { OperatingError } from '../errors.js';
import { RECORD_BYTES_MAX } from '../limits.js';
import type { KafkaClient } from '../log/kafka-client.js';
import { kafkaError } from '../log/kafka-errors.js';
import { KafkaLane, type LaneSite } from './kafka-store-lane.js';
import { type KafkaStoreSettings, openStoreTopic, storeTopicName } from './kafka-store-topic.js';
import type { StateStore } from './state-store.js';

/** Creates the topic when it is missing. Rejects with an OperatingError. */
export async function openKafkaStore(
  client: KafkaClient,
  settings: KafkaStoreSettings,
): Promise<KafkaStore> {
  await openStoreTopic(client, settings);
  const topic = storeTopicName(settings.prefix);
  const ending = new AbortController();
  // Every partition that waits for its next try listens.
  setMaxListeners(0, ending.signal);
  const producer = client.producer();
  const cluster = client.cluster();
  try {
    await producer.connect();
    await cluster.connect();
    await cluster.addTargetTopic(topic);
  } catch (error) {
    await Promise.all([producer.disconnect(), cluster.disconnect()]);
    throw kafkaError(error, `open the state in ${topic}`);
  }
  const site: LaneSite = {
    topic,
    producer,
    cluster,
    ending: ending.signal,
    troubles: { retries: 0, current: undefined },
    ahead: { lane: undefined, messages: [] },
  };
  return new KafkaStore(site, ending, settings.partitions);
}

export class KafkaStore implements StateStore {
  readonly #site: LaneSite;
  readonly #ending: AbortController;
  readonly #lanes: readonly KafkaLane[];
  /** The last advance under way of each key. */
  readonly #advancing = new Map<string, Promise<unknown>>();

  constructor(site: LaneSite, ending: AbortController, partitions: number) {
    this.#site = site;
    this.#ending = ending;
    this.#lanes = Array.from({ length: partitions }, (_, index) => new KafkaLane(site, index));
  }

  /** Calls that failed and were tried again. */
  get retries(): number {
    return this.#site.troubles.retries;
  }

  /** Why the store cannot do its work just now, in one sentence. */
  unready(): string | undefined {
    return this.#site.troubles.current?.message;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    this.#expectOpen();
    return this.#laneOf(key).get(key);
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    this.#expectOpen();
    assert(key !== '' && value.length < RECORD_BYTES_MAX, `${key} of ${value.length} bytes`);
    await this.#laneOf(key).write(key, value);
  }

  async advance(key: string, value: Uint8Array, version: number): Promise<boolean> {
    this.#expectOpen();
    assert(Number.isSafeInteger(version) && version >= 0, `version ${version}`);
    const before = this.#advancing.get(key) ?? Promise.resolve();
    // An earlier advance that failed has told its own caller.
    const turn = before.catch(() => {}).then(() => this.#advance(key, value, version));
    this.#advancing.set(key, turn);
    try {
      return await turn;
    } finally {
      if (this.#advancing.get(key) === turn) this.#advancing.delete(key);
    }
  }

  async list(prefix: string): Promise<string[]> {
    this.#expectOpen();
    const lanes = this.#lanesOf(prefix);
    await Promise.all(lanes.map((lane) => lane.sync()));
    return lanes
      .flatMap((lane) => [...lane.keys()].filter((key) => key.startsWith(prefix)))
      .map((key) => Buffer.from(key))
      .sort(Buffer.compare)
      .map(String);
  }

  async deleteAll(prefix: string): Promise<void> {
    const keys = await this.list(prefix);
    await Promise.all(keys.map((key) => this.#laneOf(key).write(key, null)));
  }

  /** What is being written is written first. */
  async close(): Promise<void> {
    this.#ending.abort();
    await Promise.all(this.#lanes.map((lane) => lane.close()));
    const { producer, cluster } = this.#site;
    await Promise.all([producer.disconnect(), cluster.disconnect()]);
  }

  async #advance(key: string, value: Uint8Array, version: number): Promise<boolean> {
    const lane = this.#laneOf(key);
    await lane.sync();
    const stored = lane.versionOf(key);
    if (stored !== undefined && version <= stored) return false;
    await lane.write(key, value, version);
    await lane.sync();
    const now = lane.versionOf(key);
    if (now === undefined || now <= version) return true;
    // Another process was ahead of us, and ours is the last in the topic: its value must be, for cleaning keeps the last.
    const winner = await lane.get(key);
    if (winner !== undefined) await lane.write(key, winner, now);
    return false;
  }

  #laneOf(key: string): KafkaLane {
    return this.#lanes[partitionOf(key) ?? 0] ?? (this.#lanes[0] as KafkaLane);
  }

  /** Those in which keys with this prefix may lie. */
  #lanesOf(prefix: string): readonly KafkaLane[] {
    return partitionOf(prefix) === undefined ? this.#lanes : [this.#laneOf(prefix)];
  }

  #expectOpen(): void {
    if (!this.#ending.signal.aborted) return;
    throw new OperatingError('log_closed', 'The state store is closed');
  }
}

/** Of a checkpoint's key; undefined for all others, and for what is only the beginning of one. */
function partitionOf(key: string): number | undefined {
  const digits = /^checkpoint\/([0-9]{3})\//.exec(key)?.[1];
  return digits === undefined ? undefined : Number(digits);
}
