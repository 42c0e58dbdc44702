// The settings of `detectors`: which series are one entity, by which labels, and what its features are. A preset fills in
// what is not written.

import { Type } from '@sinclair/typebox';
import { RULES_MAX } from './limits.js';
import { DETECTOR_FEATURES_MAX, DETECTOR_LABELS_MAX, DETECTORS_MAX } from './limits-detectors.js';

const strict = { additionalProperties: false };
const NAME = '^[a-zA-Z_][a-zA-Z0-9_-]{0,99}$';

const Feature = Type.Object(
  {
    name: Type.String({ pattern: NAME, description: 'Its name in answers' }),
    match: Type.Array(Type.String({ minLength: 1 }), {
      minItems: 1,
      maxItems: RULES_MAX,
      description: 'Series selectors; a series that any of them matches belongs to the feature',
    }),
    aggregate: Type.Union(
      ['sum', 'max', 'mean', 'last'].map((how) => Type.Literal(how as 'sum')),
      { default: 'sum', description: 'How several series of an entity become one value' },
    ),
    as: Type.Optional(
      Type.Literal('rate', { description: 'rate: a counter, whatever it looks like' }),
    ),
  },
  strict,
);

const DetectorEntry = Type.Object(
  {
    preset: Type.Optional(
      Type.Union(
        ['kubernetes-pods', 'node', 'http-service'].map((name) => Type.Literal(name as 'node')),
        { description: 'Labels and features that are not written are those of this preset' },
      ),
    ),
    name: Type.Optional(
      Type.String({
        pattern: NAME,
        description: 'Value of the label detector; that of the preset',
      }),
    ),
    match: Type.Array(Type.String({ minLength: 1 }), {
      maxItems: RULES_MAX,
      default: [],
      description: 'Series selectors that every series of the detector must match one of',
    }),
    by: Type.Optional(
      Type.Array(Type.String({ minLength: 1 }), {
        minItems: 1,
        maxItems: DETECTOR_LABELS_MAX,
        uniqueItems: true,
        description: 'Labels that name an entity',
      }),
    ),
    podLabel: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'Label that holds the name of a pod; unless set, pod or pod_name if in by',
      }),
    ),
    features: Type.Optional(Type.Array(Feature, { minItems: 1, maxItems: DETECTOR_FEATURES_MAX })),
    workload: Type.Optional(
      Type.String({
        description:
          'Label that names the workload; entities of one inherit. Unless set, what is left of a pod without its random part',
      }),
    ),
    trees: Type.Integer({
      minimum: 16,
      maximum: 64,
      multipleOf: 16,
      default: 48,
      description: 'Trees of the isolation forest over the vector',
    }),
    remember: Type.Integer({
      minimum: 64,
      maximum: 1_000_000,
      default: 4096,
      description: 'Vectors after which the forest has forgotten half',
    }),
    contamination: Type.Union(
      [Type.Literal('auto'), Type.Number({ minimum: 0.0001, maximum: 0.5 })],
      {
        default: 'auto',
        description: 'Share of the vectors that /detect flags; auto: what passes the threshold',
      },
    ),
  },
  strict,
);

export const DetectorList = Type.Array(DetectorEntry, {
  maxItems: DETECTORS_MAX,
  default: [],
  description: 'Series that are judged together: what an entity is, and which features it has',
});
