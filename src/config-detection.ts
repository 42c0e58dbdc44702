// The settings of `detection`: what a sample must be for its anomaly to be shown. They change no score and nothing that
// is learnt.

import { type Static, Type } from '@sinclair/typebox';
import { NOISE_RULES_MAX, RULES_MAX } from './limits.js';

const strict = { additionalProperties: false };

export const Rule = Type.Object(
  {
    match: Type.Array(Type.String({ minLength: 1 }), {
      minItems: 1,
      maxItems: RULES_MAX,
      description: 'Series selectors; the first rule of which one matches a series holds for it',
    }),
    direction: Type.Union([Type.Literal('above'), Type.Literal('below'), Type.Literal('both')], {
      default: 'both',
      description: 'Values above what was expected, below it, or both',
    }),
    minDeviation: Type.Number({
      minimum: 0,
      default: 0,
      description: 'How far from what was expected a value must be, in its own unit',
    }),
    minRelativeDeviation: Type.Number({
      minimum: 0,
      default: 0,
      description: 'The same as a share of what was expected: 0.2 is a fifth',
    }),
    of: Type.String({
      pattern: '^[1-9][0-9]?/[1-9][0-9]?$',
      default: '1/1',
      description: 'N/M: an anomaly begins when N of the last M samples are so, M at most 32',
    }),
    threshold: Type.Number({
      minimum: 0.1,
      maximum: 100,
      default: 1,
      description: 'The score must be higher',
    }),
    ignore: Type.Boolean({ default: false, description: 'Nothing is shown of these series' }),
  },
  strict,
);

export type DetectionRule = Static<typeof Rule>;

export const Detection = Type.Object(
  {
    rules: Type.Array(Rule, {
      maxItems: NOISE_RULES_MAX,
      default: [],
      description:
        'What a sample must be for its anomaly to be shown: direction, least deviation, N of M, threshold, per selector',
    }),
  },
  strict,
);

/** The two numbers of `3/5`. */
export function needOf({ of }: Pick<DetectionRule, 'of'>): { needed: number; among: number } {
  const [needed = 1, among = 1] = of.split('/').map(Number);
  return { needed, among };
}
