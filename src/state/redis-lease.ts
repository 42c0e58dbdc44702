// What a lease is in Redis: who holds it, and a count that rises while that one lives. No time is written there: each
// process judges by its own clock how long it has seen no rise (src/lease.ts), so neither the clocks of several machines
// nor Redis' own, nor an expiry that a failover brings back, decide who sends. Each move is one script that compares.
//
//   <prefix>:lease:<name>    hash   token = <owner>#<epoch>, empty when given up · beat · epoch

import type { LeaseBook, LeaseMark } from '../lease.js';
import { type RedisClient, scriptOf } from './redis-client.js';

/** The count of beats; 0 when it is somebody else's. One that is not there is made anew. */
const BEAT = scriptOf(`
local token = redis.call('HGET', KEYS[1], 'token')
if token and token ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'token', ARGV[1])
if not token then redis.call('HSET', KEYS[1], 'epoch', ARGV[2]) end
return redis.call('HINCRBY', KEYS[1], 'beat', 1)
`);
/** The new epoch and the count of beats; zeros when it is not what the taker saw. */
const TAKE = scriptOf(`
local token = redis.call('HGET', KEYS[1], 'token') or ''
local beat = redis.call('HGET', KEYS[1], 'beat') or ''
if token .. ' ' .. beat ~= ARGV[1] then return { 0, 0 } end
local epoch = redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSET', KEYS[1], 'token', ARGV[2] .. '#' .. epoch)
return { epoch, redis.call('HINCRBY', KEYS[1], 'beat', 1) }
`);
const GIVE = scriptOf(`
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'token', '')
redis.call('HINCRBY', KEYS[1], 'beat', 1)
return 1
`);

export function leaseKey(prefix: string, name: string): string {
  return `${prefix}:lease:${name}`;
}

export function redisLease(client: RedisClient, prefix: string, name: string): LeaseBook {
  const keys = [leaseKey(prefix, name)];
  /** Of our last beat, to notice a Redis that has gone back: after a failover, or without what it had. */
  const last = { token: '', beat: 0 };
  return {
    async look(): Promise<LeaseMark> {
      const found = await client.command('HMGET', keys[0] as string, 'token', 'beat');
      const [token, beat] = (found as (Buffer | null)[]).map((text) => text?.toString());
      const mark = `${token ?? ''} ${beat ?? ''}`;
      return { mark, isFree: token === '', holder: token === '' ? undefined : token };
    },
    async beat(token) {
      const epoch = token.slice(token.lastIndexOf('#') + 1);
      const beat = (await client.run(BEAT, keys, [token, epoch])) as number;
      if (beat === 0) return 'lost';
      const isRising = last.token !== token || beat > last.beat;
      Object.assign(last, { token, beat });
      return isRising ? 'held' : 'held after a loss';
    },
    async take(mark, owner) {
      const taken = await client.run(TAKE, keys, [mark, owner]);
      const [epoch, beat] = taken as [epoch: number, beat: number];
      if (epoch === 0) return undefined;
      Object.assign(last, { token: `${owner}#${epoch}`, beat });
      return last.token;
    },
    async give(token) {
      await client.run(GIVE, keys, [token]);
    },
  };
}
