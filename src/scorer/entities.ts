// The entities of one partition: series that a detector takes for one thing, a pod, gathered into one vector a step and
// judged together. The distance of a vector from everything that its features usually do together is scored as a series
// of its own, so that flags, candidates, gauges and checkpoints are those of any series. Part of the partition's state: a
// function of the samples in their order.
//
//    cpu      ●───────────────●───────────────●            a vector is complete when all that is awaited has come,
//    memory     ●───────────────●                          or when a series speaks again: then what is missing is held
//    restarts      ●───────────────●                       as long as it is young enough, else masked
//    vectors       V1              V2          (V3)

import { strict as assert } from 'node:assert';
import { fromBinary } from '@bufbuild/protobuf';
import { type Heritage, SeriesInfoSchema } from '../gen/sample_block_pb.js';
import { DETECTORS_MAX, ENTITY_SERIES_MAX, LOAN_VECTORS } from '../limits-detectors.js';
import { DerivedQueue } from './derived-queue.js';
import type { Detector, DetectorSet } from './detectors.js';
import { type EntityView, viewOf } from './entity-kernel.js';
import { seriesOfEntity } from './entity-series.js';
import {
  createEntity,
  createLink,
  decodeEntities,
  type Entity,
  encodeEntities,
  entityKey,
  type Link,
} from './entity-state.js';
import { aggregateInto, isBehind, isDue, isHeld, nextInterval, rateOf } from './entity-vector.js';
import { Successions } from './hand-over.js';
import { type Formats, type HeritagePost, isOf, isWelcome } from './heritage.js';
import { NO_ENTRY, type Slots } from './slots.js';
import type { WasmForest } from './wasm-forest.js';

/** What the partition does for entities. */
export interface EntityPort {
  slots: Slots;
  /** The entry of a derived series, old or new; NO_ENTRY when there is no room. */
  open(fingerprint: { low: number; high: number }, announcement: Uint8Array): number;
  endAnomaly(entry: number): void;
  streamTimeMs(): number;
}

/** Null: looked at, and of no entity. */
type Member = Link[] | null | undefined;

export class Entities {
  /** Distances that wait to be scored. */
  readonly queue: DerivedQueue;
  /** Series left out since the start because other labels chose their partition, or their entity has too many. */
  refused = 0;
  /** What came from other partitions since the start: taken in, and not wanted any more. */
  readonly bequests = { taken: 0, declined: 0 };
  /** Absent where nobody carries words to other partitions, as in a replay. */
  post: HeritagePost | undefined;
  readonly successions = new Successions();
  readonly #set: DetectorSet | undefined;
  readonly #forest: WasmForest;
  readonly #port: EntityPort;
  readonly #byKey = new Map<string, Entity>();
  /** By entry: the places of a series in entities. */
  readonly #members: Member[] = [];
  /** By entry of a derived series. */
  readonly #byEntry = new Map<number, Entity>();
  readonly #timestamps: Int32Array;
  readonly #bits: Uint32Array;
  readonly #raw: Float64Array;

  constructor(forest: WasmForest, set: DetectorSet | undefined, port: EntityPort) {
    this.#forest = forest;
    this.#port = port;
    this.#set = set !== undefined && set.detectors.length > 0 ? set : undefined;
    const detectors = this.#set?.detectors.length ?? 0;
    assert(detectors <= DETECTORS_MAX);
    // A sample ends at most two vectors of each detector; so many are gathered before the queue is scored.
    this.queue = new DerivedQueue(8 * detectors * forest.batchMax);
    const { timestampBytes, valueBytes, batchMax } = forest;
    this.#timestamps = new Int32Array(
      timestampBytes.buffer,
      timestampBytes.byteOffset,
      2 * batchMax,
    );
    this.#bits = new Uint32Array(valueBytes.buffer, valueBytes.byteOffset, 2 * batchMax);
    this.#raw = new Float64Array(valueBytes.buffer, valueBytes.byteOffset, batchMax);
  }

  get count(): number {
    return this.#byKey.size;
  }

  /** Vectors before an entity has a distance. */
  get settleVectors(): number {
    return this.#set?.kernel.settleVectors ?? 0;
  }

  get detectors(): readonly Detector[] {
    return this.#set?.detectors ?? [];
  }

  get formats(): Formats {
    return { entity: this.#set?.kernel.format ?? 0, record: this.#forest.recordFormat };
  }

  all(): Iterable<Entity> {
    return this.#byKey.values();
  }

  /** The entity whose distance this series carries. */
  of(entry: number): { entity: Entity; view: EntityView } | undefined {
    const entity = this.#byEntry.get(entry);
    return entity === undefined ? undefined : { entity, view: this.view(entity) };
  }

  view(entity: Entity): EntityView {
    return viewOf(entity.record, entity.detector.vector.features);
  }

  /** The first `count` rows of the forest's columns have been scored; `entries` says whose they are. */
  gather(entries: Uint32Array, count: number): void {
    if (this.#set === undefined) return;
    const { values, outcomes } = this.#forest;
    for (let i = 0; i < count; i++) {
      const entry = entries[i]!;
      let links = this.#members[entry];
      if (links === undefined) links = this.#join(entry, this.#timestampAt(i));
      if (links === null) continue;
      const value = values[i]!;
      if (!Number.isNaN(value)) {
        const timestampMs = this.#timestampAt(i);
        for (const link of links) this.#take(link, timestampMs, value, this.#raw[i]!);
      } else if (outcomes[i] === 0 && this.#isStaleMarker(i)) {
        for (const link of links) this.#markGone(link);
      }
    }
  }

  /** A series is forgotten; its entry may be another's soon. */
  remove(entry: number): void {
    const derived = this.#byEntry.get(entry);
    if (derived !== undefined) {
      this.#byEntry.delete(entry);
      derived.entry = NO_ENTRY;
      this.#dropWhenEmpty(derived);
    }
    for (const link of this.#members[entry] ?? []) {
      this.#markGone(link);
      link.entity.links = link.entity.links.filter((other) => other !== link);
      this.#dropWhenEmpty(link.entity);
    }
    this.#members[entry] = undefined;
  }

  /** What other partitions say, read from the samples log of this one: a wish is passed on, a bequest is taken in. */
  hear(word: Heritage): void {
    if (word.what.case === 'wish') this.post?.asked(word);
    else if (word.what.case !== 'bequest') return;
    else if (this.#borrow(word)) this.bequests.taken++;
    else this.bequests.declined++;
  }

  encode(): Uint8Array {
    if (this.#set === undefined) return new Uint8Array();
    const { detectors, kernel } = this.#set;
    return encodeEntities([...this.#byKey.values()], { format: kernel.format, detectors });
  }

  /** Empty bytes are those of a state without detectors. Series join again by themselves when they are next heard of. */
  restore(bytes: Uint8Array): void {
    if (this.#set === undefined || bytes.length === 0) return;
    const { detectors, kernel } = this.#set;
    for (const entity of decodeEntities(bytes, { format: kernel.format, detectors })) {
      this.#byKey.set(entityKey(entity), entity);
      this.successions.add(entity);
      if (entity.entry !== NO_ENTRY) this.#adoptEntry(entity, entity.entry);
    }
  }

  /** The first sample of a series: which entities is it part of? */
  #join(entry: number, timestampMs: number): Link[] | null {
    const announced = fromBinary(SeriesInfoSchema, this.#port.slots.announcement(entry));
    const links: Link[] = [];
    for (const detector of this.#set!.detectors) {
      const match = detector.match(announced.label);
      if (match === undefined) continue;
      if (match === 'elsewhere') {
        this.refused++;
        continue;
      }
      const { values, workload, features } = match;
      const { tenant } = announced;
      const named = { detector, tenant, values, workload, createdMs: timestampMs };
      const entity = this.#byKey.get(entityKey(named)) ?? this.#create(named);
      if (entity.links.length + features.length > ENTITY_SERIES_MAX) {
        this.refused++;
        continue;
      }
      for (const feature of features) {
        // After a restore it is there already.
        const known = entity.links.find((one) => one.entry === entry && one.feature === feature);
        links.push(known ?? this.#link(entity, entry, feature));
      }
    }
    this.#setMember(entry, links.length === 0 ? null : links);
    return links.length === 0 ? null : links;
  }

  #create(named: Parameters<typeof createEntity>[0]): Entity {
    const entity = createEntity(named, this.#set!.kernel.recordBytes(named.detector.vector));
    this.#byKey.set(entityKey(entity), entity);
    this.successions.add(entity);
    this.post?.born(entity);
    return entity;
  }

  #link(entity: Entity, entry: number, feature: number): Link {
    const link = createLink(entity, entry, feature);
    entity.links.push(link);
    return link;
  }

  #take(link: Link, timestampMs: number, scored: number, raw: number): void {
    const { entity, feature } = link;
    if (timestampMs <= link.lastMs) return;
    if (link.isFresh) this.#complete(entity);
    const isRate = entity.detector.spec.features[feature]!.as === 'rate';
    const value = isRate ? rateOf(link, timestampMs, raw) : scored;
    link.intervalMs = nextInterval(link, timestampMs);
    link.lastMs = timestampMs;
    link.raw = raw;
    if (timestampMs > entity.newestMs) entity.newestMs = timestampMs;
    if (!Number.isFinite(value)) return;
    link.value = value;
    link.isFresh = true;
    link.isLive = true;
    this.#hasCome(link);
  }

  /** It ended: nothing of it stands in the next vector, and nobody waits for it. */
  #markGone(link: Link): void {
    link.isLive = false;
    link.isFresh = false;
    this.#hasCome(link);
  }

  /** Nobody waits for it any more. With the last one the vector is complete, unless a scrape is in the middle of coming in. */
  #hasCome(link: Link): void {
    const { entity } = link;
    if (!link.isAwaited) return;
    link.isAwaited = false;
    if (--entity.awaited > 0) return;
    for (const other of entity.links) {
      other.isAwaited = other.isLive && isBehind(other, entity);
      if (!other.isAwaited) continue;
      other.isFresh = false;
      entity.awaited++;
    }
    if (entity.awaited === 0) this.#complete(entity);
  }

  #complete(entity: Entity): void {
    const { detector, newestMs, record } = entity;
    const { kernel } = this.#set!;
    let hasFresh = false;
    for (const link of entity.links) {
      if (link.isFresh) hasFresh = true;
      else if (link.isLive && !isHeld(link, newestMs)) link.isLive = false;
    }
    const { features } = detector.spec;
    entity.mask = 0;
    for (let i = 0; i < features.length; i++) {
      aggregateInto(entity, i, features[i]!.aggregate);
      if (!Number.isNaN(entity.vector[i])) entity.mask |= 1 << i;
    }
    kernel.values.set(entity.vector);
    const isNews = hasFresh && newestMs > entity.vectorMs && entity.mask !== 0;
    if (isNews) {
      entity.vectorMs = newestMs;
      entity.isSucceeded = false;
      if (this.#inherit(entity)) {
        kernel.values.set(entity.vector);
      }
      const distance = kernel.observe(record, entity.mask, detector.vector);
      entity.shares.set(kernel.shares.subarray(0, features.length));
      if (!Number.isNaN(distance)) this.#tell(entity, distance);
    }
    this.#await(entity);
  }

  /** Who is to be heard of before the next vector is complete? */
  #await(entity: Entity): void {
    let stepMs = Number.POSITIVE_INFINITY;
    for (const { isLive, intervalMs } of entity.links) {
      if (isLive && intervalMs > 0 && intervalMs < stepMs) stepMs = intervalMs;
    }
    if (Number.isFinite(stepMs)) entity.stepMs = stepMs;
    entity.awaited = 0;
    for (const link of entity.links) {
      link.isFresh = false;
      link.isAwaited = link.isLive && isDue(link, entity);
      if (link.isAwaited) entity.awaited++;
    }
  }

  #tell(entity: Entity, distance: number): void {
    if (entity.entry === NO_ENTRY && !this.#open(entity)) return;
    this.#port.slots.touch(entity.entry, this.#port.streamTimeMs());
    this.queue.push(entity.entry, entity.vectorMs, distance);
  }

  /** False when there is no room for a further series. */
  #open(entity: Entity): boolean {
    const { fingerprint, announcement } = seriesOfEntity(entity);
    const entry = this.#port.open(fingerprint, announcement);
    if (entry === NO_ENTRY) return false;
    this.#adoptEntry(entity, entry);
    return true;
  }

  #adoptEntry(entity: Entity, entry: number): void {
    entity.entry = entry;
    this.#byEntry.set(entry, entity);
    // Its own distance is no feature of it.
    this.#setMember(entry, null);
  }

  /** True when the entity begins with what another of its workload had learnt. */
  #inherit(entity: Entity): boolean {
    const predecessor = this.successions.predecessorOf(entity);
    if (predecessor === undefined) return false;
    if (entity.entry === NO_ENTRY && !this.#open(entity)) return false;
    const { detector } = entity;
    entity.record.set(predecessor.record);
    this.#set!.kernel.handOver(entity.record, detector.vector.features);
    const { slots } = this.#port;
    for (const entry of [predecessor.entry, entity.entry]) this.#port.endAnomaly(entry);
    this.#forest.copy(slots.slotOf(predecessor.entry), slots.slotOf(entity.entry));
    entity.inheritedFrom = predecessor.values.join('/');
    predecessor.isSucceeded = true;
    return true;
  }

  /** The same from a sibling that may still live; false when the entity is not there, or does not want it any more. */
  #borrow(word: Heritage): boolean {
    const detector = this.detectors.find((one) => isOf(word, one));
    if (detector === undefined || word.what.case !== 'bequest') return false;
    const { tenant, entity: values } = word;
    const entity = this.#byKey.get(entityKey({ detector, tenant, values }));
    const { from, entityRecord, distanceRecord } = word.what.value;
    const forest = this.#forest;
    const streamTimeMs = this.#port.streamTimeMs();
    const here = { formats: this.formats, distanceBytes: forest.recordBytes, streamTimeMs };
    if (entity === undefined || !isWelcome(word.what.value, entity, here)) return false;
    if (entity.entry === NO_ENTRY && !this.#open(entity)) return false;
    entity.record.set(entityRecord);
    this.#set!.kernel.handOver(entity.record, detector.vector.features, LOAN_VECTORS);
    this.#port.endAnomaly(entity.entry);
    const slot = this.#port.slots.slotOf(entity.entry);
    forest.records(slot + 1).set(distanceRecord, slot * forest.recordBytes);
    entity.inheritedFrom = from.join('/');
    entity.isBorrower = true;
    return true;
  }

  #dropWhenEmpty(entity: Entity): void {
    if (entity.links.length > 0 || entity.entry !== NO_ENTRY) return;
    this.#byKey.delete(entityKey(entity));
    this.successions.remove(entity);
  }

  #setMember(entry: number, member: Member): void {
    while (this.#members.length <= entry) this.#members.push(undefined);
    this.#members[entry] = member;
  }

  #timestampAt(i: number): number {
    return this.#timestamps[2 * i + 1]! * 4294967296 + (this.#timestamps[2 * i]! >>> 0);
  }

  #isStaleMarker(i: number): boolean {
    return this.#bits[2 * i] === 2 && this.#bits[2 * i + 1] === 0x7ff00000;
  }
}
