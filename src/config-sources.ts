// The settings of `sources`: which queries are asked of which Prometheus, how often, and as whom. Secrets are named by
// file, never written down.

import { Type } from '@sinclair/typebox';
import { SOURCE_QUERY_CHARACTERS_MAX, SOURCES_MAX, TENANT_BYTES_MAX } from './limits.js';

const file = (description: string) => Type.Optional(Type.String({ minLength: 1, description }));

const SourceEntry = Type.Object(
  {
    name: Type.Optional(
      Type.String({
        pattern: '^[a-zA-Z_][a-zA-Z0-9_]{0,99}$',
        description:
          'Its name in metrics, and the metric name of series that the query leaves without one; source_1 for the first, and so on, unless set',
      }),
    ),
    prometheus: Type.String({ minLength: 1, description: 'Address of a Prometheus' }),
    query: Type.String({
      minLength: 1,
      maxLength: SOURCE_QUERY_CHARACTERS_MAX,
      description: 'PromQL whose result is a vector',
    }),
    every: Type.String({
      pattern: '^[1-9][0-9]{0,4}(s|m|h)$',
      default: '1m',
      description: 'How often it is asked',
    }),
    timeout: Type.Optional(
      Type.String({
        pattern: '^[1-9][0-9]{0,7}(ms|s)$',
        description: 'How long an answer may take; every, unless set, and at most 30s',
      }),
    ),
    tokenFile: file('File with a bearer token for that Prometheus'),
    username: file('User name of basic auth'),
    passwordFile: file('File with its password'),
    tenant: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: TENANT_BYTES_MAX,
        description: 'Whose samples these are, when tenancy is not off',
      }),
    ),
  },
  { additionalProperties: false },
);

export const SourceList = Type.Array(SourceEntry, {
  maxItems: SOURCES_MAX,
  default: [],
  description: 'Queries that are asked of a Prometheus again and again; their results are scored',
});

/** What it is called in metrics; `index` is its place in the list. */
export function sourceName({ name }: { name?: string }, index: number): string {
  return name ?? `source_${index + 1}`;
}
