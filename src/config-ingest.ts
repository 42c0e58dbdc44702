// The settings of what is taken in, and by whom: rules, partitioning, replicas, the ceiling on series.

import { Type } from '@sinclair/typebox';
import { RULES_MAX, SERIES_MAX } from './limits.js';

const strict = { additionalProperties: false };

const Selectors = (description: string) =>
  Type.Array(Type.String({ minLength: 1 }), { maxItems: RULES_MAX, default: [], description });

export const Ingest = Type.Object(
  {
    partitionBy: Type.Array(Type.Array(Type.String({ minLength: 1 }), { minItems: 1 }), {
      minItems: 1,
      maxItems: 8,
      default: [['namespace', 'pod'], ['instance']],
      description: 'Label sets; the first whose labels are all present decides the partition',
    }),
    keep: Selectors('Series selectors; when there are any, all other series are left out'),
    drop: Selectors('Series selectors; what they match is left out, also when kept'),
    stripLabels: Type.Array(Type.String({ minLength: 1 }), {
      maxItems: 16,
      default: [],
      description: 'Labels removed on arrival; they do not tell series apart',
    }),
    replicas: Type.Union([Type.Literal('off'), Type.Literal('elect')], {
      default: 'off',
      description: 'elect: of the replicas of a cluster one is listened to at a time',
    }),
    clusterLabel: Type.String({
      minLength: 1,
      default: 'cluster',
      description: 'Label that says which cluster a replica belongs to',
    }),
    replicaLabel: Type.String({
      minLength: 1,
      default: '__replica__',
      description: 'Label that tells replicas apart; removed from series that have both',
    }),
    maxSeries: Type.Integer({
      minimum: 1,
      maximum: SERIES_MAX,
      default: 800_000,
      description: 'Series scored at most, an equal share in each partition',
    }),
  },
  strict,
);
