// The settings of `backfill`: where a new installation gets its history from. Secrets are named by file, never written down.

import { Type } from '@sinclair/typebox';
import { SOURCE_QUERY_CHARACTERS_MAX } from './limits.js';

const DURATION = '^[1-9][0-9]*(s|m|h|d|w)$';
const file = (description: string) => Type.String({ default: '', description });

export const Backfill = Type.Object(
  {
    prometheus: Type.String({
      pattern: '^(https?://.+)?$',
      default: '',
      description:
        'Address of a Prometheus whose history a new installation reads before its first live sample; none unless set',
    }),
    query: Type.String({
      maxLength: SOURCE_QUERY_CHARACTERS_MAX,
      default: '',
      description: 'PromQL for that history; unless set, what ingest.keep selects',
    }),
    lookback: Type.String({
      pattern: DURATION,
      default: '2w',
      description: 'How much history is read',
    }),
    step: Type.String({
      pattern: DURATION,
      default: '1m',
      description: 'Time between two points of it',
    }),
    wait: Type.String({
      pattern: DURATION,
      default: '15m',
      description:
        'How long a history may stand still, for a Prometheus that is away, before detection begins without the rest',
    }),
    tokenFile: file('File with a bearer token for that Prometheus'),
    username: Type.String({ default: '', description: 'User name of basic auth' }),
    passwordFile: file('File with its password'),
    tenant: Type.String({
      default: '',
      description: 'Whose history it is, when tenancy is not off',
    }),
  },
  { additionalProperties: false },
);
