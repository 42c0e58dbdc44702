// What is known of one entity, and the same as bytes: a section of a checkpoint. Which series belong to an entity follows
// from their labels and the detectors, and is written all the same: it says what is awaited for the next vector. Series
// are named by their entries. Layout: docs/formats.md.

import { strict as assert } from 'node:assert';
import type { Detector } from './detectors.js';
import { NO_ENTRY } from './slots.js';
import { StateReader, StateWriter } from './state-bytes.js';

/** Vectors until an entity is said to know itself: it neither inherits any more nor would it be wrong to inherit from. */
export const KNOWN_VECTORS = 120;

/** One series in one feature. */
export interface Link {
  entity: Entity;
  entry: number;
  feature: number;
  /** The newest sample; -Infinity before the first. */
  lastMs: number;
  /** As scored: of a counter its rate. */
  value: number;
  raw: number;
  /** Usual time between its samples; 0 before the second. */
  intervalMs: number;
  /** Its value is of the vector that is being gathered. */
  isFresh: boolean;
  /** The vector waits for it. */
  isAwaited: boolean;
  /** Its newest value still stands. */
  isLive: boolean;
}

export interface Entity {
  detector: Detector;
  tenant: string;
  /** Of the labels in the detector's `by`. */
  values: string[];
  /** Undefined where entities do not inherit. */
  workload: string | undefined;
  links: Link[];
  awaited: number;
  createdMs: number;
  /** Newest sample of any series; timestamp of the last vector; usual time between two vectors. */
  newestMs: number;
  vectorMs: number;
  stepMs: number;
  /** Its derived series; NO_ENTRY before the first distance. */
  entry: number;
  record: Uint8Array;
  /** Of the last vector: which features are known, their values, and what was received for them. */
  mask: number;
  vector: Float64Array;
  received: Float64Array;
  /** Share of each feature in its distance; zeros when it had none. Not kept: it follows from the vector when it is judged. */
  shares: Float64Array;
  /** Whose record this was; empty when its own. */
  inheritedFrom: string;
  /** That one may still live, in this partition or another. */
  isBorrower: boolean;
  /** Somebody has inherited since the last vector. */
  isSucceeded: boolean;
}

export function createEntity(
  parts: Pick<Entity, 'detector' | 'tenant' | 'values' | 'workload' | 'createdMs'>,
  recordBytes: number,
): Entity {
  const { features } = parts.detector.vector;
  return {
    ...parts,
    links: [],
    awaited: 0,
    newestMs: Number.NEGATIVE_INFINITY,
    vectorMs: Number.NEGATIVE_INFINITY,
    stepMs: 0,
    entry: NO_ENTRY,
    record: new Uint8Array(recordBytes),
    mask: 0,
    vector: new Float64Array(features).fill(Number.NaN),
    received: new Float64Array(features).fill(Number.NaN),
    shares: new Float64Array(features),
    inheritedFrom: '',
    isBorrower: false,
    isSucceeded: false,
  };
}

/** Each with the same fields in the same order, so that the engine takes them for one kind. */
export function createLink(entity: Entity, entry: number, feature: number): Link {
  return {
    entity,
    entry,
    feature,
    lastMs: Number.NEGATIVE_INFINITY,
    value: Number.NaN,
    raw: Number.NaN,
    intervalMs: 0,
    isFresh: false,
    isAwaited: false,
    isLive: false,
  };
}

/** Unique among all entities of a process. */
export function entityKey({
  detector,
  tenant,
  values,
}: Pick<Entity, 'detector' | 'tenant' | 'values'>): string {
  return JSON.stringify([detector.spec.name, tenant, ...values]);
}

const FRESH = 1;
const AWAITED = 2;
const LIVE = 4;
const SUCCEEDED = 1;
const BORROWER = 2;

/** Entities come in the order in which they were created. */
export function encodeEntities(
  entities: readonly Entity[],
  options: { format: number; detectors: readonly Detector[] },
): Uint8Array {
  const to = new StateWriter();
  to.u32(options.format);
  to.u32(options.detectors.length);
  for (const { digest } of options.detectors) to.bytes(Buffer.from(digest, 'hex'));
  to.u32(entities.length);
  for (const entity of entities) {
    to.u32(options.detectors.indexOf(entity.detector));
    writeText(to, JSON.stringify([entity.tenant, entity.workload ?? null, ...entity.values]));
    writeText(to, entity.inheritedFrom);
    to.u32((entity.isSucceeded ? SUCCEEDED : 0) | (entity.isBorrower ? BORROWER : 0));
    for (const ms of [entity.createdMs, entity.newestMs, entity.vectorMs, entity.stepMs])
      to.f64(ms);
    to.u32(entity.entry);
    to.u32(entity.mask);
    to.u32(entity.vector.length);
    for (const value of entity.vector) to.f64(value);
    for (const value of entity.received) to.f64(value);
    to.u32(entity.record.length);
    to.bytes(entity.record);
    to.u32(entity.links.length);
    for (const link of entity.links) {
      to.u32(link.entry);
      to.u32(link.feature);
      to.u32(
        (link.isFresh ? FRESH : 0) | (link.isAwaited ? AWAITED : 0) | (link.isLive ? LIVE : 0),
      );
      for (const number of [link.lastMs, link.value, link.raw, link.intervalMs]) to.f64(number);
    }
  }
  return to.written();
}

/** Entities of a detector that is defined otherwise now are left out: what they have learnt is of other features. */
export function decodeEntities(
  bytes: Uint8Array,
  options: { format: number; detectors: readonly Detector[] },
): Entity[] {
  const from = new StateReader(bytes);
  const isReadable = from.u32() === options.format;
  const known = Array.from({ length: from.u32() }, () => {
    const digest = Buffer.from(from.bytes(16)).toString('hex');
    return options.detectors.find((detector) => detector.digest === digest);
  });
  const entities: Entity[] = [];
  const count = from.u32();
  for (let i = 0; i < count && isReadable; i++) {
    const entity = readEntity(from, known);
    if (entity !== undefined) entities.push(entity);
  }
  if (isReadable) from.end();
  return entities;
}

function readEntity(
  from: StateReader,
  known: readonly (Detector | undefined)[],
): Entity | undefined {
  const detector = known[from.u32()];
  const [tenant, workload, ...values] = JSON.parse(readText(from)) as [
    string,
    string | null,
    ...string[],
  ];
  const inheritedFrom = readText(from);
  const flags = from.u32();
  const isSucceeded = (flags & SUCCEEDED) !== 0;
  const isBorrower = (flags & BORROWER) !== 0;
  const [createdMs, newestMs, vectorMs, stepMs] = [from.f64(), from.f64(), from.f64(), from.f64()];
  const [entry, mask] = [from.u32(), from.u32()];
  // Written with it: of a detector that is gone nobody else knows.
  const features = from.u32();
  const vector = Float64Array.from({ length: features }, () => from.f64());
  const received = Float64Array.from({ length: features }, () => from.f64());
  const record = from.bytes(from.u32());
  const links = Array.from({ length: from.u32() }, () => readLink(from));
  if (detector === undefined) return undefined;
  assert.equal(features, detector.vector.features);
  const entity: Entity = {
    ...{ detector, tenant, values, workload: workload ?? undefined },
    ...{ inheritedFrom, isSucceeded, isBorrower, shares: new Float64Array(features) },
    ...{ createdMs, newestMs, vectorMs, stepMs, entry, mask, vector, received, record },
    links: [],
    awaited: 0,
  };
  entity.links = links.map((link) => ({ ...link, entity }));
  entity.awaited = links.filter(({ isAwaited }) => isAwaited).length;
  return entity;
}

function readLink(from: StateReader): Omit<Link, 'entity'> {
  const [entry, feature, flags] = [from.u32(), from.u32(), from.u32()];
  const [lastMs, value, raw, intervalMs] = [from.f64(), from.f64(), from.f64(), from.f64()];
  const isFresh = (flags & FRESH) !== 0;
  const isAwaited = (flags & AWAITED) !== 0;
  const isLive = (flags & LIVE) !== 0;
  return { entry, feature, lastMs, value, raw, intervalMs, isFresh, isAwaited, isLive };
}

function writeText(to: StateWriter, text: string): void {
  const bytes = Buffer.from(text);
  to.u32(bytes.length);
  to.bytes(bytes);
}

function readText(from: StateReader): string {
  return Buffer.from(from.bytes(from.u32())).toString();
}
