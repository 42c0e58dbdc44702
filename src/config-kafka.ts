// The settings of `log.kafka`: which brokers, how to speak to them, and as whom.

import { Type } from '@sinclair/typebox';
import { BROKERS_MAX } from './limits.js';

const strict = { additionalProperties: false };

export const Kafka = Type.Object(
  {
    brokers: Type.Array(Type.String({ pattern: '^.+:[0-9]{1,5}$' }), {
      maxItems: BROKERS_MAX,
      default: [],
      description: 'HOST:PORT of some brokers; the others are learnt from them',
    }),
    replication: Type.Integer({
      minimum: 1,
      maximum: 7,
      default: 3,
      description: 'Copies of each topic when Treeline creates it; 1 for a single broker',
    }),
    tls: Type.Object(
      {
        mode: Type.Union([Type.Literal('off'), Type.Literal('on')], {
          default: 'off',
          description: 'on: speak TLS to the brokers',
        }),
        caFile: Type.String({
          default: '',
          description: 'Certificates in PEM to trust instead of the usual ones',
        }),
        certFile: Type.String({
          default: '',
          description: 'Our certificate in PEM, where brokers ask for one',
        }),
        keyFile: Type.String({ default: '', description: 'Its private key in PEM' }),
      },
      strict,
    ),
    sasl: Type.Object(
      {
        mechanism: Type.Union(
          ['none', 'plain', 'scram-sha-256', 'scram-sha-512'].map((name) => Type.Literal(name)),
          { default: 'none', description: 'How we say who we are' },
        ),
        username: Type.String({ default: '', description: 'As whom' }),
        passwordFile: Type.String({ default: '', description: 'File with the password' }),
      },
      strict,
    ),
  },
  strict,
);
