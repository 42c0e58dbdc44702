// The state port on Redis, for what several processes share: latest anomalies and decisions. One hash holds the values,
// one the versions of pointers, and a sorted set the keys, because Redis itself cannot list by prefix in the order of
// bytes. Each call is one script, so it happens whole or not at all. Writes may name a fence: they are refused once
// somebody else holds the lease, however late they arrive.
//
//   <prefix>:values      hash        key → bytes
//   <prefix>:versions    hash        key → version, of what was advanced
//   <prefix>:keys        sorted set  every key, score 0
//
// Durable means what the Redis is configured for: with appendonly and replicas it is. What a failover loses is folded
// again from the log, and decisions are written again by who made them (docs/decisions/0020-several-apis.md).

import { strict as assert } from 'node:assert';
import { OperatingError } from '../errors.js';
import { RECORD_BYTES_MAX } from '../limits.js';
import { REDIS_KEYS_PER_TURN } from '../limits-outputs.js';
import { type RedisClient, scriptOf } from './redis-client.js';
import { leaseKey } from './redis-lease.js';
import type { Fence, SharedStore, StateStore } from './state-store.js';

/** Every script begins with it: KEYS[4] is the lease, ARGV[1] the token of whoever must hold it, or nothing. */
const FENCE = `
if ARGV[1] ~= '' and redis.call('HGET', KEYS[4], 'token') ~= ARGV[1] then return -1 end
`;
const PUT = scriptOf(`${FENCE}
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('HDEL', KEYS[2], ARGV[2])
redis.call('ZADD', KEYS[3], 0, ARGV[2])
return 1
`);
const ADVANCE = scriptOf(`${FENCE}
local stored = redis.call('HGET', KEYS[2], ARGV[2])
if stored and tonumber(ARGV[4]) <= tonumber(stored) then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('HSET', KEYS[2], ARGV[2], ARGV[4])
redis.call('ZADD', KEYS[3], 0, ARGV[2])
return 1
`);
const DELETE = scriptOf(`${FENCE}
local found = redis.call('ZRANGEBYLEX', KEYS[3], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
for _, key in ipairs(found) do
  redis.call('HDEL', KEYS[1], key)
  redis.call('HDEL', KEYS[2], key)
  redis.call('ZREM', KEYS[3], key)
end
return #found
`);

export function openRedisStore(client: RedisClient, prefix: string): SharedStore {
  return new RedisStore(client, prefix, undefined);
}

class RedisStore implements SharedStore {
  readonly #client: RedisClient;
  readonly #prefix: string;
  readonly #keys: readonly string[];
  readonly #token: string;

  constructor(client: RedisClient, prefix: string, fence: Fence | undefined) {
    this.#client = client;
    this.#prefix = prefix;
    this.#token = fence?.token ?? '';
    const lease = leaseKey(prefix, fence?.name ?? '');
    this.#keys = [`${prefix}:values`, `${prefix}:versions`, `${prefix}:keys`, lease];
  }

  fenced(fence: Fence): StateStore {
    return new RedisStore(this.#client, this.#prefix, fence);
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    const value = await this.#client.command('HGET', `${this.#prefix}:values`, key);
    // A copy: what the client gives may be a part of a larger buffer of its own.
    return value === null ? undefined : Uint8Array.from(value as Buffer);
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    expectFitting(key, value);
    await this.#run(PUT, [key, value]);
  }

  async advance(key: string, value: Uint8Array, version: number): Promise<boolean> {
    expectFitting(key, value);
    assert(Number.isSafeInteger(version) && version >= 0, `version ${version}`);
    return (await this.#run(ADVANCE, [key, value, version])) === 1;
  }

  async list(prefix: string): Promise<string[]> {
    const [first, last] = rangeOf(prefix);
    const keys: string[] = [];
    for (let from: Buffer = first; ; ) {
      const found = (await this.#client.command(
        'ZRANGEBYLEX',
        `${this.#prefix}:keys`,
        from,
        last,
        'LIMIT',
        0,
        REDIS_KEYS_PER_TURN,
      )) as Buffer[];
      for (const key of found) keys.push(key.toString());
      const end = found.at(-1);
      if (end === undefined || found.length < REDIS_KEYS_PER_TURN) return keys;
      from = Buffer.concat([Buffer.from('('), end]);
    }
  }

  async deleteAll(prefix: string): Promise<void> {
    const [first, last] = rangeOf(prefix);
    for (;;) {
      const deleted = await this.#run(DELETE, [first, last, REDIS_KEYS_PER_TURN]);
      if (deleted < REDIS_KEYS_PER_TURN) return;
    }
  }

  async #run(script: typeof PUT, args: readonly (string | number | Uint8Array)[]): Promise<number> {
    const answer = (await this.#client.run(script, this.#keys, [this.#token, ...args])) as number;
    if (answer >= 0) return answer;
    throw new OperatingError('lease_lost', 'Not written: another process holds the lease now');
  }
}

function expectFitting(key: string, value: Uint8Array): void {
  assert(key !== '' && value.length < RECORD_BYTES_MAX, `${key} of ${value.length} bytes`);
}

/** Bounds of the keys with this prefix, as Redis writes them. */
function rangeOf(prefix: string): [first: Buffer, last: Buffer] {
  const start = Buffer.from(prefix);
  // No key is longer than its prefix by bytes of 0xff: that is no UTF-8.
  const last = Buffer.concat([Buffer.from('('), start, Buffer.from([0xff])]);
  return [Buffer.concat([Buffer.from('['), start]), prefix === '' ? Buffer.from('+') : last];
}
