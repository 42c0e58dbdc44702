// The shapes of the route of older values (rest-history.ts), in both directions. In a file of their own, so that the page
// shares them without the rest of the program.

import { type Static, Type } from '@sinclair/typebox';
import { PAST_POINTS, PAST_POINTS_MAX } from '../limits.js';

const Short = { minLength: 1, maxLength: 100 };
export const HistoryQuery = Type.Object({
  start: Type.Optional(
    Type.String({ ...Short, description: 'RFC 3339 or seconds; six hours before the end' }),
  ),
  end: Type.Optional(Type.String({ ...Short, description: 'RFC 3339 or seconds; now' })),
  points: Type.Integer({
    minimum: 1,
    maximum: PAST_POINTS_MAX,
    default: PAST_POINTS,
    description: 'At most so many; the step follows from it, and is never shorter than the series',
  }),
});
export type HistoryQuery = Static<typeof HistoryQuery>;

export const HistoryAnswer = Type.Object({
  prometheus: Type.Unsafe<string | null>({
    type: ['string', 'null'],
    description: 'Where the values were read; null: no Prometheus is named',
  }),
  query: Type.String({ description: 'What it was asked' }),
  scoredAs: Type.Unsafe<'value' | 'rate'>({ type: 'string', enum: ['value', 'rate'] }),
  stepSeconds: Type.Number(),
  points: Type.Array(
    Type.Object({
      timestamp: Type.String(),
      value: Type.Unsafe<number | null>({
        type: ['number', 'null'],
        description: 'Null where it is no number',
      }),
    }),
    { description: 'In the order of time; where there was no sample there is no point' },
  ),
  reason: Type.String({ description: 'Why there are none; empty when there are' }),
  warnings: Type.Array(Type.String(), { description: 'Of the Prometheus' }),
});
export type HistoryAnswer = Static<typeof HistoryAnswer>;
