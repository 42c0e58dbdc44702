// The state port on a real Redis: alone, behind Sentinels through a failover, with TLS and a password; and what a fence
// keeps out.

import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { OperatingError } from '../src/errors.js';
import { REDIS_COMMAND_MS_MAX } from '../src/limits-outputs.js';
import { openRedis, type RedisClient } from '../src/state/redis-client.js';
import { redisLease } from '../src/state/redis-lease.js';
import { openRedisStore } from '../src/state/redis-store.js';
import { endPrograms, eventually } from './programs.js';
import {
  openClient,
  type RedisServer,
  silent,
  startRedis,
  startWatchedRedis,
} from './redis-peers.js';
import { selfSigned } from './self-signed.js';
import { stateContract } from './state-contract.js';

let redis: RedisServer;
let prefixes = 0;
const clients: RedisClient[] = [];
const newPrefix = () => `test-${++prefixes}`;

beforeAll(async () => {
  redis = await startRedis();
}, 120_000);

afterAll(async () => {
  for (const client of clients) await client.close();
  await endPrograms();
});

async function connected(place: { host: string; port: number } = redis): Promise<RedisClient> {
  const client = await openClient({ place: { host: place.host, port: place.port } });
  clients.push(client);
  return client;
}

async function textOf(store: { get(key: string): Promise<Uint8Array | undefined> }, key: string) {
  const value = await store.get(key);
  return value === undefined ? undefined : Buffer.from(value).toString();
}

stateContract('redis', async () => {
  const prefix = newPrefix();
  const open = async () => openRedisStore(await connected(), prefix);
  const store = await open();
  return {
    store,
    // Another process would see what this one left.
    reopen: open,
    remove: () => store.deleteAll(''),
  };
});

test('what was acknowledged is there after the server was killed, and prefixes keep apart', async () => {
  const server = await startRedis();
  const client = await connected(server);
  const [a, b] = [openRedisStore(client, 'a'), openRedisStore(client, 'b')];
  await a.put('key', Buffer.from('of a'));
  await b.put('key', Buffer.from('of b'));
  await server.kill();
  await eventually('a word about it', 5_000, async () => client.problem());
  const begun = performance.now();
  await expect(a.get('key')).rejects.toMatchObject({ code: 'store_unavailable', retryable: true });
  expect(performance.now() - begun).toBeLessThan(1_000);
  await server.start();
  await eventually('Redis to answer', 10_000, async () =>
    client.problem() === undefined ? true : undefined,
  );
  expect([await textOf(a, 'key'), await textOf(b, 'key')]).toEqual(['of a', 'of b']);
  await a.deleteAll('');
  expect([await a.list(''), await b.list('')]).toEqual([[], ['key']]);
});

test('a server that is frozen is given up after a bounded time, and serves again when it is thawed', {
  timeout: 30_000,
}, async () => {
  const server = await startRedis();
  const client = await connected(server);
  const store = openRedisStore(client, 'p');
  server.freeze();
  const begun = performance.now();
  await expect(store.put('key', Buffer.from('x'))).rejects.toMatchObject({
    code: 'store_unavailable',
  });
  expect(performance.now() - begun).toBeLessThan(REDIS_COMMAND_MS_MAX + 1_000);
  expect(client.failures).toBe(1);
  server.thaw();
  await eventually('a write to be taken', 20_000, async () => {
    const written = store.put('key', Buffer.from('y')).then(() => true);
    return written.catch(() => undefined);
  });
  expect(await textOf(store, 'key')).toBe('y');
});

test('who lost the lease writes nothing any more, whatever was on its way', async () => {
  const client = await connected();
  const prefix = newPrefix();
  const book = redisLease(client, prefix, 'api');
  const store = openRedisStore(client, prefix);
  const first = await book.take((await book.look()).mark, 'first');
  if (first === undefined) return expect.fail('the lease was free');
  const ours = store.fenced({ name: 'api', token: first });
  await ours.put('a', Buffer.from('first'));
  expect(await ours.advance('p', Buffer.from('1'), 1)).toBe(true);
  const second = await book.take((await book.look()).mark, 'second');
  expect(second).toBe('second#2');
  const lost = { code: 'lease_lost' };
  await expect(ours.put('a', Buffer.from('late'))).rejects.toMatchObject(lost);
  await expect(ours.advance('p', Buffer.from('9'), 9)).rejects.toMatchObject(lost);
  await expect(ours.deleteAll('')).rejects.toMatchObject(lost);
  expect([await textOf(ours, 'a'), await textOf(ours, 'p')]).toEqual(['first', '1']);
  await store.fenced({ name: 'api', token: second as string }).put('a', Buffer.from('second'));
  expect(await textOf(store, 'a')).toBe('second');
});

test('a lease moves by compare: of many that want it one gets it, and only its holder can keep or give it', async () => {
  const client = await connected();
  const book = redisLease(client, newPrefix(), 'api');
  const { mark } = await book.look();
  const owners = Array.from({ length: 20 }, (_, i) => `owner-${i}`);
  const tokens = await Promise.all(owners.map((owner) => book.take(mark, owner)));
  const taken = tokens.filter((token) => token !== undefined);
  expect(taken).toHaveLength(1);
  const [token] = taken as [string];
  const seen = await book.look();
  expect(seen).toMatchObject({ isFree: false, holder: token });
  expect(await book.beat(token)).toBe('held');
  // It lives: what was seen before is no longer so.
  expect(await book.take(seen.mark, 'late')).toBeUndefined();
  expect(await book.beat('owner-x#1')).toBe('lost');
  await book.give('owner-x#1');
  expect(await book.look()).toMatchObject({ holder: token });
  await book.give(token);
  const free = await book.look();
  expect(free).toMatchObject({ isFree: true, holder: undefined });
  expect(await book.beat(token)).toBe('lost');
  expect(await book.take(free.mark, 'next')).toBe('next#2');
});

test('a lease that Redis has lost is made anew by its holder, and by nobody else', async () => {
  const server = await startRedis({ forgets: true });
  const client = await connected(server);
  const book = redisLease(client, 'p', 'api');
  const token = (await book.take((await book.look()).mark, 'a')) as string;
  expect([await book.beat(token), await book.beat(token)]).toEqual(['held', 'held']);
  await server.kill();
  await server.start();
  await eventually('Redis to answer', 10_000, async () =>
    client.problem() === undefined ? true : undefined,
  );
  expect(await book.look()).toMatchObject({ isFree: false, holder: undefined });
  expect(await book.beat(token)).toBe('held after a loss');
  expect(await book.beat(token)).toBe('held');
  expect(await book.take((await book.look()).mark, 'b')).toBe('b#2');
});

test('behind Sentinels a new master is found by itself, and nothing acknowledged before is gone', {
  timeout: 120_000,
}, async () => {
  const watched = await startWatchedRedis();
  const sentinels = watched.sentinels.map(({ host, port }) => ({ host, port }));
  const client = await openClient({ place: { sentinels, master: 'mymaster' } });
  const store = openRedisStore(client, 'p');
  await store.put('before', Buffer.from('1'));
  const [master, replica] = watched.servers as [RedisServer, RedisServer];
  const beside = openRedisStore(await connected(replica), 'p');
  await eventually('the replica to have it, and the Sentinels to know it', 30_000, async () => {
    const known = await Promise.all(
      watched.sentinels.map(async (one) => {
        const asked = await openClient({ place: { host: one.host, port: one.port } });
        const rows = (await asked.command('SENTINEL', 'replicas', 'mymaster')) as unknown[];
        await asked.close();
        return rows.length;
      }),
    );
    return known.every((count) => count === 1) && (await beside.get('before')) !== undefined
      ? true
      : undefined;
  });
  await master.kill();
  const begun = performance.now();
  await eventually('a write to be taken by the new master', 60_000, async () => {
    const written = store.put('after', Buffer.from('2')).then(() => true);
    return written.catch(() => undefined);
  });
  console.log(`new master after ${Math.round(performance.now() - begun)} ms`);
  expect([await textOf(store, 'before'), await textOf(beside, 'after')]).toEqual(['1', '2']);
  await client.close();
  await watched.stop();
});

test('the rights that the document names are enough', async () => {
  const server = await startRedis();
  const root = await connected(server);
  const rights = /`(\+@hash [^`]*)` on keys/.exec(readFileSync('docs/operations.md', 'utf8'))?.[1];
  if (rights === undefined) return expect.fail('the document names no rights');
  await root.command('ACL', 'SETUSER', 'treeline', 'on', '>right', '~p:*', ...rights.split(' '));
  const place = { host: server.host, port: server.port };
  const client = await openClient({ place, username: 'treeline', password: () => 'right' });
  clients.push(client);
  const book = redisLease(client, 'p', 'api');
  const token = (await book.take((await book.look()).mark, 'a')) as string;
  expect(await book.beat(token)).toBe('held');
  const store = openRedisStore(client, 'p').fenced({ name: 'api', token });
  await store.put('a/1', Buffer.from('x'));
  await store.advance('a/2', Buffer.from('y'), 1);
  expect([await store.list('a/'), await textOf(store, 'a/1')]).toEqual([['a/1', 'a/2'], 'x']);
  await store.deleteAll('a/');
  await book.give(token);
  await expect(openRedisStore(client, 'q').get('a')).rejects.toMatchObject({
    code: 'store_denied',
  });
});

test('TLS and a password: let in with them, refused without, told so in a sentence', {
  timeout: 60_000,
}, async () => {
  const { cert, key } = selfSigned('127.0.0.1');
  const server = await startRedis({ secured: { cert, key, password: 'right' } });
  const place = { host: server.host, port: server.port };
  const tls = { ca: cert };
  const client = await openClient({ place, tls, password: () => 'right' });
  const store = openRedisStore(client, 'p');
  await store.put('key', Buffer.from('secret'));
  expect(await textOf(store, 'key')).toBe('secret');
  await client.close();
  const stranger = openRedis({ place, tls, password: () => 'wrong' }, silent);
  const refused = await eventually('a refusal', 10_000, async () => {
    const error = await openRedisStore(stranger, 'p')
      .get('key')
      .catch((reason: unknown) => reason);
    return error instanceof OperatingError && error.code === 'store_denied' ? error : undefined;
  });
  expect(refused.message).toContain('check redis.username and redis.passwordFile');
  await stranger.close();
  const untrusting = openRedis({ place, tls: {}, password: () => 'right' }, silent);
  const distrust = await eventually('a word about it', 10_000, async () => {
    const problem = untrusting.problem();
    return problem?.includes('certificate') ? problem : undefined;
  });
  expect(distrust).toMatch(/^Redis does not answer: /);
  await untrusting.close();
});

test('scenario 29: a Redis that is full, or has become a replica, is waited for: it serves reads, and writes when it can', async () => {
  const server = await startRedis();
  const client = await connected(server);
  const store = openRedisStore(client, newPrefix());
  await store.put('before', Buffer.from('1'));
  const refuses = async (words: RegExp) => {
    const refused = store.put('during', Buffer.from('2'));
    await expect(refused).rejects.toMatchObject({ code: 'store_unavailable', retryable: true });
    await expect(refused).rejects.toThrow(words);
    // The client looks anew for a master meanwhile, and has no connection for a moment.
    await eventually('a read', 20_000, async () => {
      const text = await textOf(store, 'before').catch(() => undefined);
      return text === '1' ? true : undefined;
    });
  };
  const takes = (key: string) =>
    eventually('a write', 20_000, async () => {
      const isDone = await store.put(key, Buffer.from('3')).then(
        () => true,
        () => undefined,
      );
      return isDone && (await textOf(store, key)) === '3' ? true : undefined;
    });
  await client.command('CONFIG', 'SET', 'maxmemory', '1');
  await refuses(/maxmemory/);
  await client.command('CONFIG', 'SET', 'maxmemory', '0');
  await takes('room again');
  // As an old master after a failover: of a server that nobody can reach.
  await client.command('REPLICAOF', '127.0.0.1', '1');
  await refuses(/read.?only/i);
  await eventually('it to be told', 20_000, async () =>
    client.command('REPLICAOF', 'NO', 'ONE').then(
      () => true,
      () => undefined,
    ),
  );
  await takes('master again');
});
