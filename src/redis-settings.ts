// From the settings to what the Redis client wants: where it is, TLS with the files read, and who we are. The password is
// read again at each connection, the rest once at start.

import type { Settings } from './config.js';
import { PEM_BYTES_MAX, SENT_SECRET_BYTES_MAX } from './limits.js';
import { readSecret } from './secret-file.js';
import { listenAddress } from './settings-rules.js';
import type { RedisConnection } from './state/redis-client.js';

/** Throws `config_invalid` naming the file that cannot be used. */
export function redisConnection(redis: Settings['redis']): RedisConnection {
  const { address, sentinels, master, username, passwordFile, sentinelPasswordFile, tls } = redis;
  const secret = (path: string) => readSecret(path, SENT_SECRET_BYTES_MAX);
  const pem = (path: string) => readSecret(path, PEM_BYTES_MAX);
  return {
    place:
      address === '' ? { sentinels: sentinels.map(listenAddress), master } : listenAddress(address),
    ...(username !== '' && { username }),
    ...(passwordFile !== '' && { password: () => secret(passwordFile) }),
    ...(sentinelPasswordFile !== '' && { sentinelPassword: secret(sentinelPasswordFile) }),
    ...(tls.mode === 'on' && {
      tls: {
        ...(tls.caFile !== '' && { ca: pem(tls.caFile) }),
        ...(tls.certFile !== '' && { cert: pem(tls.certFile), key: pem(tls.keyFile) }),
      },
    }),
  };
}
