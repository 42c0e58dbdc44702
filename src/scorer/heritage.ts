// What scorers tell each other of entities. The pods of a workload lie in any partition, and a partition's state follows
// from its own samples log alone. So a newcomer's partition asks all others by a record in their logs, a wish; whoever
// has a sibling that knows itself answers by a record in the log of the newcomer, a bequest; and the state changes when
// that is read. Nothing depends on an answer: what gets lost costs one warm-up.
//
//   partition of the newcomer ──wish──▶ samples log of every partition ──▶ is there a sibling?
//            ▲                                                                   │
//            └──────────────── samples log of the newcomer ◀──bequest────────────┘

import { create } from '@bufbuild/protobuf';
import { type Bequest, type Heritage, HeritageSchema } from '../gen/sample_block_pb.js';
import { HAND_OVER_AHEAD_MS } from '../limits-detectors.js';
import type { Detector } from './detectors.js';
import { learntOf } from './entity-kernel.js';
import { type Entity, KNOWN_VECTORS } from './entity-state.js';

/** Who carries words between partitions; what it is told changes no state. */
export interface HeritagePost {
  born(entity: Entity): void;
  asked(word: Heritage): void;
}

/** Who may read the two records of a bequest. */
export interface Formats {
  entity: number;
  record: number;
}

/**
 * Replicas of a Deployment are alike, and so are those that a label calls one workload. Pods of a stateful set have roles
 * of their own, those of a daemon set nodes, those of a job phases: they inherit from whom they replace and do not borrow.
 */
export function isReplica({ detector, workload }: Entity): boolean {
  if (workload === undefined) return false;
  return detector.spec.workload?.isPod !== true || workload.startsWith('["deployment/');
}

export function wishOf(entity: Entity, partition: number): Heritage {
  const { tenant, workload = '', createdMs } = entity;
  return create(HeritageSchema, {
    ...{ tenant, detector: digestOf(entity.detector), entity: entity.values },
    what: { case: 'wish', value: { workload, partition, atMs: BigInt(createdMs) } },
  });
}

/** May the entity begin with it? Of several the first counts, and who knows itself wants none. */
export function isWelcome(
  bequest: Bequest,
  entity: Entity,
  here: { formats: Formats; distanceBytes: number; streamTimeMs: number },
): boolean {
  const { entityRecord, distanceRecord, entityFormat, recordFormat } = bequest;
  const { formats, distanceBytes, streamTimeMs } = here;
  if (entity.inheritedFrom !== '' || learntOf(entity.record) >= KNOWN_VECTORS) return false;
  if (entityFormat !== formats.entity || recordFormat !== formats.record) return false;
  if (entityRecord.length !== entity.record.length) return false;
  if (distanceRecord.length !== distanceBytes || bequest.from.length === 0) return false;
  // A partition that is behind would take its own vectors for late ones until it has caught up.
  const { buffer, byteOffset, byteLength } = distanceRecord;
  const lastMs = Number(new DataView(buffer, byteOffset, byteLength).getBigInt64(0, true));
  return lastMs <= streamTimeMs + HAND_OVER_AHEAD_MS;
}

export function isOf({ detector }: Heritage, { digest }: Detector): boolean {
  return Buffer.from(detector).toString('hex') === digest;
}

export function digestOf({ digest }: Detector): Uint8Array {
  return Buffer.from(digest, 'hex');
}
