// The series that carries the distance of an entity: a gauge that nobody can send, named by the detector and by what
// names the entity. Its fingerprint follows from these alone, so it is the same after a restart and in another process.

import { createHash } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import { MetricType, SeriesInfoSchema } from '../gen/sample_block_pb.js';
import { ENTITY_METRIC } from './detectors.js';
import { type Entity, entityKey } from './entity-state.js';

export function seriesOfEntity(entity: Entity): {
  fingerprint: { low: number; high: number };
  announcement: Uint8Array;
} {
  const { detector, tenant, values } = entity;
  const hash = createHash('sha256')
    .update(`entity\n${entityKey(entity)}`)
    .digest();
  const announcement = create(SeriesInfoSchema, {
    fingerprint: hash.readBigUInt64LE(0),
    label: [
      { name: '__name__', value: ENTITY_METRIC },
      { name: 'detector', value: detector.spec.name },
      ...detector.spec.by.map((name, i) => ({ name, value: values[i]! })),
    ],
    type: MetricType.GAUGE,
    tenant,
  });
  return {
    fingerprint: { low: hash.readUInt32LE(0), high: hash.readUInt32LE(4) },
    announcement: toBinary(SeriesInfoSchema, announcement),
  };
}
