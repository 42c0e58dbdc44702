// The settings of `redis` and `outputs`: which Redis several apis share, and to which databases the anomaly gauges are
// written. Secrets are named by file, never written down.

import { Type } from '@sinclair/typebox';
import { TENANT_BYTES_MAX } from './limits.js';
import { OUTPUTS_MAX, SENTINELS_MAX } from './limits-outputs.js';

const strict = { additionalProperties: false };
const HOST_PORT = '^[^@/ ]+:[0-9]{1,5}$';

export const Redis = Type.Object(
  {
    address: Type.String({
      pattern: `^$|${HOST_PORT}`,
      default: '',
      description: 'HOST:PORT of a Redis that several apis share; Kafka only',
    }),
    sentinels: Type.Array(Type.String({ pattern: HOST_PORT }), {
      maxItems: SENTINELS_MAX,
      uniqueItems: true,
      default: [],
      description: 'Instead of address: HOST:PORT of the Sentinels that know where it is',
    }),
    master: Type.String({
      minLength: 1,
      default: 'mymaster',
      description: 'The name that the Sentinels know it by',
    }),
    username: Type.String({ default: '', description: 'As whom; empty for the default user' }),
    passwordFile: Type.String({
      default: '',
      description: 'File with the password, read again at each connection',
    }),
    sentinelPasswordFile: Type.String({
      default: '',
      description: 'File with the password of the Sentinels',
    }),
    tls: Type.Object(
      {
        mode: Type.Union([Type.Literal('off'), Type.Literal('on')], {
          default: 'off',
          description: 'on: speak TLS to Redis and to the Sentinels',
        }),
        caFile: Type.String({
          default: '',
          description: 'Certificates in PEM to trust instead of the usual ones',
        }),
        certFile: Type.String({
          default: '',
          description: 'Our certificate in PEM, where Redis asks for one',
        }),
        keyFile: Type.String({ default: '', description: 'Its private key in PEM' }),
      },
      strict,
    ),
    prefix: Type.String({
      pattern: '^[A-Za-z0-9._-]{1,100}$',
      default: 'treeline',
      description: 'Names of its keys begin with it',
    }),
  },
  strict,
);

/** Several apis share a store. */
export function hasRedis({
  address,
  sentinels,
}: {
  address: string;
  sentinels: string[];
}): boolean {
  return address !== '' || sentinels.length > 0;
}

const file = (description: string) => Type.Optional(Type.String({ minLength: 1, description }));

const Target = Type.Object(
  {
    url: Type.String({
      minLength: 1,
      description: 'Where remote-write 1.0 is taken, path included',
    }),
    interval: Type.String({
      pattern: '^[1-9][0-9]{0,4}(s|m|h)$',
      default: '15s',
      description: 'How often the gauges are sent',
    }),
    tokenFile: file('File with a bearer token for it'),
    username: file('User name of basic auth'),
    passwordFile: file('File with its password'),
    tenant: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: TENANT_BYTES_MAX,
        description: 'Whose gauges, when tenancy is not off; sent as X-Scope-OrgID',
      }),
    ),
  },
  strict,
);

export const RemoteWriteTargets = Type.Array(Target, {
  maxItems: OUTPUTS_MAX,
  default: [],
  description: 'Databases that the anomaly gauges are written to, by remote-write',
});
