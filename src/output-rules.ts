// What a schema cannot say of `redis` and `outputs`: one way to find Redis, and only where it is of use; addresses that are
// addresses and hold no secret; credentials that are whole; tenants where there are tenants.

import type { Settings } from './config.js';
import { hasRedis } from './config-outputs.js';
import { credentialFault } from './prometheus-credential.js';
import type { BrokenRule } from './settings-rules.js';
import { tenantFault } from './tenant.js';

export function outputRules(settings: Settings): BrokenRule[] {
  return [...redisRules(settings), ...targetRules(settings)];
}

function redisRules({ redis, log }: Settings): BrokenRule[] {
  const broken: BrokenRule[] = [];
  const say = (key: string, message: string) => broken.push({ key, message: `${key}: ${message}` });
  const { address, sentinels, username, passwordFile, sentinelPasswordFile, tls } = redis;
  const key = address === '' ? 'redis.sentinels' : 'redis.address';
  if (address !== '' && sentinels.length > 0) {
    say(
      'redis.sentinels',
      'they say where Redis is, and so does redis.address; remove one of them',
    );
  }
  if (hasRedis(redis) && log.kind === 'embedded') {
    say(key, 'it is for several api processes, which need log.kind kafka');
  }
  for (const place of [...sentinels, ...(address === '' ? [] : [address])]) {
    if (Number(place.slice(place.lastIndexOf(':') + 1)) > 65_535) {
      say(key, `there is no port in ${place}`);
    }
  }
  if (username !== '' && passwordFile === '') {
    say('redis.username', 'it is set together with redis.passwordFile');
  }
  if (sentinelPasswordFile !== '' && sentinels.length === 0) {
    say('redis.sentinelPasswordFile', 'it means nothing without redis.sentinels');
  }
  if (tls.mode === 'off' && tls.caFile + tls.certFile + tls.keyFile !== '') {
    say('redis.tls.mode', 'certificate files mean nothing while it is off');
  }
  if ((tls.certFile === '') !== (tls.keyFile === '')) {
    say('redis.tls.certFile', 'it is set together with redis.tls.keyFile or not at all');
  }
  return broken;
}

function targetRules({ outputs, tenancy }: Settings): BrokenRule[] {
  const key = 'outputs.remoteWrite';
  return outputs.remoteWrite.flatMap((target, index) => {
    const fault = addressFault(target.url) ?? credentialFault(target) ?? whose(target, tenancy);
    return fault === undefined ? [] : [{ key, message: `${key}[${index}]: ${fault}` }];
  });
}

function addressFault(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    return 'url: expected an address, http://HOST:PORT/PATH';
  }
  return url.username === '' && url.password === ''
    ? undefined
    : 'url: a password in an address is soon seen; set username and passwordFile';
}

function whose({ tenant }: { tenant?: string }, tenancy: Settings['tenancy']): string | undefined {
  if (tenancy === 'off') {
    return tenant === undefined ? undefined : 'a tenant means nothing while tenancy is off';
  }
  if (tenant === undefined) return 'tenant: whose gauges are sent must be said while tenancy is on';
  const fault = tenantFault(tenant);
  return fault === undefined ? undefined : `tenant: ${fault}`;
}
