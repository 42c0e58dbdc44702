// The settings of who may in, and of TLS on our own listener.

import { type Static, Type } from '@sinclair/typebox';
import { CREDENTIALS_MAX, TENANT_BYTES_MAX } from './limits.js';
import { PATH_GROUPS, type PathGroup } from './path-groups.js';

const strict = { additionalProperties: false };
const SIZE = '^[0-9]+(B|KB|MB|GB|TB)$';

const Groups = (options: { minItems?: number; default: PathGroup[]; description: string }) =>
  Type.Array(Type.Union(PATH_GROUPS.map((group) => Type.Literal(group))), {
    uniqueItems: true,
    ...options,
  });

const Credential = Type.Object(
  {
    name: Type.String({
      pattern: '^[A-Za-z0-9._-]{1,64}$',
      description: 'Shown in log lines; with passwordFile also the user name',
    }),
    tokenFile: Type.Optional(
      Type.String({ minLength: 1, description: 'File with the bearer token' }),
    ),
    passwordFile: Type.Optional(
      Type.String({ minLength: 1, description: 'File with the password of basic auth' }),
    ),
    allow: Groups({ minItems: 1, default: ['write'], description: 'Path groups it opens' }),
    tenant: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: TENANT_BYTES_MAX,
        description: 'The only tenant it may speak for',
      }),
    ),
    samplesPerSecond: Type.Optional(
      Type.Integer({ minimum: 1, description: 'More than this on average is answered 429' }),
    ),
    requestsPerSecond: Type.Optional(
      Type.Integer({ minimum: 1, description: 'More than this on average is answered 429' }),
    ),
    bodySize: Type.Optional(
      Type.String({ pattern: SIZE, description: 'Larger request bodies are answered 413' }),
    ),
  },
  strict,
);

export type CredentialSettings = Static<typeof Credential>;

export const Auth = Type.Object(
  {
    mode: Type.Union([Type.Literal('loopback'), Type.Literal('none')], {
      default: 'loopback',
      description: 'none: let anybody in who can reach a listener that is not on loopback',
    }),
    credentials: Type.Array(Credential, {
      maxItems: CREDENTIALS_MAX,
      default: [],
      description: 'Who may do what; when there are any, nobody else may do anything',
    }),
    open: Groups({
      default: [],
      description: 'Path groups that need no credential although there are some',
    }),
  },
  strict,
);

export const Tls = Type.Object(
  {
    certFile: Type.String({
      default: '',
      description: 'Certificate chain of the listener in PEM; with it only HTTPS is spoken',
    }),
    keyFile: Type.String({ default: '', description: 'Its private key in PEM' }),
  },
  strict,
);
