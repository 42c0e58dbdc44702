// Several apis on one log and one real Redis: all show the same, one of them decides and sends, and another goes on when
// that one falls silent, is frozen, or stops. And what becomes of it all while Redis is away, or has lost what it had.

import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromBinary } from '@bufbuild/protobuf';
import { afterAll, afterEach, expect, test } from 'vitest';
import { OperatingError } from '../src/errors.js';
import { AnomalySchema } from '../src/gen/anomaly_pb.js';
import { API_LEASE, Lease, type LeaseBook } from '../src/lease.js';
import { LEASE_MARGIN_MS, LEASE_MS } from '../src/limits-outputs.js';
import type { RedisClient, RedisConnection } from '../src/state/redis-client.js';
import { redisLease } from '../src/state/redis-lease.js';
import { openRedisStore } from '../src/state/redis-store.js';
import { type ApiSite, openApiSite, quiet } from './api-site.js';
import { anomalyId, candidatesOf, type Told } from './candidates.js';
import { MemoryLog } from './memory-log.js';
import { endPrograms, eventually } from './programs.js';
import { openClient, type RedisServer, startRedis, startWatchedRedis } from './redis-peers.js';

const WAIT_MS = 20_000;
let closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.reverse()) await close();
  closing = [];
});
afterAll(endPrograms);

interface Member extends ApiSite {
  lease: Lease;
  client: RedisClient;
  /** Its connection for the lease breaks, as of now. */
  cut(): void;
}

interface World {
  log: MemoryLog;
  /** Incidents that Alertmanager was sent, in order, by whom. */
  sent: { by: string; incident: string; ended: boolean }[];
  /** `now` is the clock that its lease goes by. */
  open(name: string, now?: () => number): Promise<Member>;
}

async function world(
  options: Parameters<typeof startRedis>[0] = {},
): Promise<World & { redis: RedisServer }> {
  const redis = await startRedis(options);
  closing.push(() => redis.kill());
  return { ...(await worldAt(redis)), redis };
}

async function worldAt(place: RedisConnection['place']): Promise<World> {
  const log = new MemoryLog(2);
  const sent: World['sent'] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const by = (request.url ?? '').split('/')[1] ?? '';
      const alerts = JSON.parse(Buffer.concat(chunks).toString()) as {
        labels: { incident: string };
        endsAt: string;
      }[];
      for (const { labels, endsAt } of alerts) {
        const ended = Date.parse(endsAt) <= Date.now() + 1_000;
        sent.push({ by, incident: labels.incident.slice(2), ended });
      }
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  closing.push(async () => {
    await log.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const first = await openClient({ place });
  const book = redisLease(first, 'p', API_LEASE);
  // As an api leaves it that stopped in order: the first one that looks may take it.
  await book.give((await book.take((await book.look()).mark, 'nobody')) as string);
  await first.close();
  return {
    ...{ log, sent },
    async open(name, now = () => performance.now()) {
      const client = await openClient({ place });
      let isCut = false;
      const lease = new Lease({
        book: cuttable(redisLease(client, 'p', API_LEASE), () => isCut),
        owner: `${name}-${randomUUID()}`,
        logger: quiet,
        now,
      });
      const site = await openApiSite({
        log,
        hasTopic: true,
        shared: { store: openRedisStore(client, 'p'), lease },
        clock: Date.now,
        settings: {
          alerts: { mode: 'live', budget: 5 },
          alertmanagers: [`${url}/${name}`],
        },
      });
      closing.push(() => client.close());
      closing.push(() => site.stop());
      await site.start();
      const cut = () => {
        isCut = true;
      };
      return { ...site, lease, client, cut };
    },
  };
}

function cuttable(book: LeaseBook, isCut: () => boolean): LeaseBook {
  const guarded =
    <A extends unknown[], T>(call: (...args: A) => Promise<T>) =>
    async (...args: A) => {
      if (isCut()) throw new OperatingError('store_unavailable', 'cut off');
      return call(...args);
    };
  const { look, beat, take, give } = book;
  return { look: guarded(look), beat: guarded(beat), take: guarded(take), give: guarded(give) };
}

const holds = (member: Member) =>
  eventually('it to hold the lease', WAIT_MS, async () =>
    member.api.sharing?.permit() === undefined ? undefined : true,
  );

interface Shown {
  id: string;
  notification: string;
  state: string;
}

async function incidents(member: Member): Promise<Shown[]> {
  const { body } = await member.get('/incidents');
  return (body.incidents as Shown[]).map(({ id, notification, state }) => ({
    id,
    notification,
    state,
  }));
}

const shows = (member: Member, count: number, notification = 'notified') =>
  eventually(`${count} incidents ${notification}`, WAIT_MS, async () => {
    const rows = await incidents(member);
    const alike = rows.filter((row) => row.notification === notification);
    return alike.length === count ? rows : undefined;
  });

const faultOf = (pod: string, agoMs = 60_000): Told => ({
  labels: { __name__: 'queue', namespace: pod, pod },
  onset: Date.now() - agoMs,
  score: 4,
});

test('all show the same, one sends, and when it stops the next one sends at once', {
  timeout: 90_000,
}, async () => {
  const { open, log, sent } = await world();
  const first = await open('first');
  await holds(first);
  const second = await open('second');
  const fault = faultOf('a');
  await first.append(0, candidatesOf(fault));
  const shown = await shows(first, 1);
  expect(await shows(second, 1)).toEqual(shown);
  await eventually('it to be sent', WAIT_MS, async () => (sent.length > 0 ? true : undefined));
  expect([first, second].map(({ api }) => api.sharing?.note())).toEqual([
    'decides and sends',
    'does not decide and send',
  ]);
  const begun = performance.now();
  await first.stop();
  await holds(second);
  expect(performance.now() - begun).toBeLessThan(LEASE_MS / 2);
  // Its end is heard of by the one that sends now.
  await second.append(0, candidatesOf({ ...fault, end: Date.now() }).slice(-1));
  await eventually('its end to be sent', WAIT_MS, async () =>
    sent.some(({ ended }) => ended) ? true : undefined,
  );
  const incident = anomalyId(fault);
  expect(sent.filter(({ by }) => by === 'first')).toEqual([
    { by: 'first', incident, ended: false },
  ]);
  // When the end came first, it need not say before that it fires.
  const told = sent.filter(({ by }) => by === 'second');
  expect(told.at(-1)).toEqual({ by: 'second', incident, ended: true });
  expect(told.slice(0, -1).filter(({ ended }) => ended)).toEqual([]);
  expect(told.length).toBeLessThanOrEqual(2);
  // Told in the topic once for each change, whoever told it.
  const records: { end: bigint | undefined; score: number }[] = [];
  for (const partition of [0, 1]) {
    for (const value of log.remains.lanes.get(`anomalies/${partition}`)?.records ?? []) {
      const { endMs, score, onsetMs } = fromBinary(AnomalySchema, value);
      expect(Number(onsetMs)).toBe(fault.onset);
      records.push({ end: endMs, score });
    }
  }
  expect(records.at(-1)?.end).toBeTypeOf('bigint');
  expect(new Set(records.map(({ end, score }) => `${end} ${score}`)).size).toBe(records.length);
});

test('one that can no longer keep its lease stops before the next one begins, and no decision is made twice', {
  timeout: 120_000,
}, async () => {
  const { open, sent } = await world();
  const first = await open('first');
  await holds(first);
  const second = await open('second');
  const old = faultOf('a');
  await first.append(0, candidatesOf(old));
  const shown = await shows(second, 1);
  await eventually('it to be sent', WAIT_MS, async () => (sent.length > 0 ? true : undefined));
  let heard = '';
  const reader = await first.server.inject({
    url: '/anomaly/v1/stream',
    payloadAsStream: true,
  });
  reader.stream().on('data', (chunk: Buffer) => {
    heard += chunk;
  });
  first.cut();
  const cutAt = performance.now();
  let [endedAt, begunAt] = [Number.NaN, Number.NaN];
  while (Number.isNaN(begunAt)) {
    const permits = [first, second].map(({ api }) => api.sharing?.permit() !== undefined);
    expect(permits).not.toEqual([true, true]);
    if (!permits[0] && Number.isNaN(endedAt)) {
      endedAt = performance.now();
      // What begins while nobody decides is seen by both, and decided by whoever comes next.
      await first.append(1, candidatesOf(faultOf('b', 1_000)));
    }
    if (permits[1]) begunAt = performance.now();
    expect(performance.now() - cutAt).toBeLessThan(30_000);
    await sleep(10);
  }
  const gapMs = begunAt - endedAt;
  console.log(
    `ended after ${Math.round(endedAt - cutAt)} ms, taken after ${Math.round(begunAt - cutAt)} ms`,
  );
  expect(gapMs).toBeGreaterThan(LEASE_MARGIN_MS / 2);
  const both = await shows(second, 2);
  expect(both).toEqual(expect.arrayContaining(shown));
  expect(await shows(first, 2)).toEqual(both);
  // Who reads the events of the one that decides no more hears of what the other one decides.
  await eventually('an event of the second decision', WAIT_MS, async () =>
    heard
      .split('\n\n')
      .some((event) => /"b"|pod=b/.test(event) && /"notification":"notified"/.test(event))
      ? true
      : undefined,
  );
  await eventually('both to be sent by the second', WAIT_MS, async () =>
    sent.filter(({ by }) => by === 'second').length === 2 ? true : undefined,
  );
  expect(sent.filter(({ by }) => by === 'first')).toHaveLength(1);
  expect(sent.slice(1).every(({ by }) => by === 'second')).toBe(true);
});

test('one that was frozen knows that its term is over before its timers do, and writes nothing', {
  timeout: 60_000,
}, async () => {
  const { open } = await world();
  let frozenMs = 0;
  const first = await open('first', () => performance.now() + frozenMs);
  await holds(first);
  const term = first.lease.term;
  expect(term?.isValid()).toBe(true);
  // As after SIGCONT: time has passed, and no timer has run yet.
  frozenMs = LEASE_MS;
  expect([term?.isValid(), first.lease.term, first.api.sharing?.permit()]).toEqual([
    false,
    undefined,
    undefined,
  ]);
});

test('while Redis is away everything is folded and shown, and later stored, decided and sent', {
  timeout: 120_000,
}, async () => {
  const { open, redis, sent } = await world();
  const first = await open('first');
  await holds(first);
  const second = await open('second');
  await redis.kill();
  const fault = faultOf('a');
  await first.append(0, candidatesOf(fault));
  for (const member of [first, second]) {
    await eventually('the anomaly to be shown', WAIT_MS, async () =>
      (await member.get('/anomalies')).body.anomalies.length === 1 ? true : undefined,
    );
    await eventually('a word about it', WAIT_MS, async () => {
      const { body } = await member.server.inject({ url: '/-/ready' });
      expect(body).toContain('api: ready');
      return /Redis does not answer/.test(member.api.sharing?.note() ?? '') ? true : undefined;
    });
  }
  await eventually('its term to end', WAIT_MS, async () =>
    first.api.sharing?.permit() === undefined ? true : undefined,
  );
  expect(first.api.sharing?.waitingCount).toBe(1);
  expect(sent).toEqual([]);
  await redis.start();
  // Whoever takes it; the mark that was seen last has to be silent for the whole time.
  await eventually('it to be sent', 40_000, async () => (sent.length > 0 ? true : undefined));
  expect(await shows(first, 1)).toEqual(await shows(second, 1));
  expect(new Set(sent.map(({ by }) => by)).size).toBe(1);
  const store = openRedisStore(first.client, 'p');
  expect(await store.list('anomaly/')).toEqual([`anomaly/${anomalyId(fault)}.`]);
  expect(await store.list('notice/')).toEqual([`notice/${anomalyId(fault)}.`]);
});

test('a Redis that has lost everything is filled again by the one that holds the lease (scenario 30)', {
  timeout: 90_000,
}, async () => {
  const { open, redis, sent } = await world({ forgets: true });
  const first = await open('first');
  await holds(first);
  const fault = faultOf('a');
  await first.append(0, candidatesOf(fault));
  await shows(first, 1);
  const store = openRedisStore(first.client, 'p');
  const keysOf = async () => (await store.list('')).filter((key) => !key.startsWith('fold/'));
  await eventually('it to be stored', WAIT_MS, async () =>
    (await keysOf()).includes('decided') ? true : undefined,
  );
  const before = await keysOf();
  await redis.kill();
  await redis.start();
  const after = await eventually('it to be filled again', WAIT_MS, async () => {
    const keys = await keysOf().catch(() => []);
    return keys.length >= before.length ? keys : undefined;
  });
  expect(after).toEqual(before);
  // One that comes later finds all of it, though the holder never told it anything.
  const second = await open('second');
  expect(await shows(second, 1)).toEqual(await shows(first, 1));
  expect(sent.filter(({ by }) => by === 'second')).toEqual([]);
});

test('a failover of Redis changes neither who sends nor what was told', {
  timeout: 120_000,
}, async () => {
  const watched = await startWatchedRedis();
  closing.push(() => watched.stop());
  const sentinels = watched.sentinels.map(({ host, port }) => ({ host, port }));
  await untilReplicated(watched.sentinels);
  const { open, sent } = await worldAt({ sentinels, master: 'mymaster' });
  const first = await open('first');
  await holds(first);
  const second = await open('second');
  await first.append(0, candidatesOf(faultOf('a')));
  await shows(second, 1);
  await eventually('it to be sent', WAIT_MS, async () => (sent.length > 0 ? true : undefined));
  await watched.servers[0]?.kill();
  const killedAt = performance.now();
  await first.append(1, candidatesOf(faultOf('b')));
  await eventually('the second to be sent', 60_000, async () => {
    const permits = [first, second].map(({ api }) => api.sharing?.permit() !== undefined);
    expect(permits).not.toEqual([true, true]);
    return new Set(sent.map(({ incident }) => incident)).size === 2 ? true : undefined;
  });
  console.log(`told ${Math.round(performance.now() - killedAt)} ms after the master was killed`);
  const shown = await shows(first, 2);
  await eventually('the other to show the same', WAIT_MS, async () =>
    JSON.stringify(await incidents(second)) === JSON.stringify(shown) ? true : undefined,
  );
  const store = openRedisStore(second.client, 'p');
  expect(await store.list('notice/')).toHaveLength(2);
});

async function untilReplicated(sentinels: readonly RedisServer[]): Promise<void> {
  for (const { host, port } of sentinels) {
    const asked = await openClient({ place: { host, port } });
    await eventually('a Sentinel to know the replica and the others', 30_000, async () => {
      const replicas = (await asked.command('SENTINEL', 'replicas', 'mymaster')) as unknown[];
      const others = (await asked.command('SENTINEL', 'sentinels', 'mymaster')) as unknown[];
      return replicas.length === 1 && others.length === 2 ? true : undefined;
    });
    await asked.close();
  }
}

test('an api that starts while Redis is away says so, and begins by itself', {
  timeout: 60_000,
}, async () => {
  const { open, redis } = await world();
  const first = await open('first');
  await holds(first);
  await first.append(0, candidatesOf(faultOf('a')));
  await shows(first, 1);
  await first.stop();
  const client = await openClient({ place: redis });
  closing.push(() => client.close());
  await redis.kill();
  const lease = new Lease({
    book: redisLease(client, 'p', API_LEASE),
    owner: 'late',
    logger: quiet,
    now: () => performance.now(),
  });
  const shared = { store: openRedisStore(client, 'p'), lease };
  const late = await openApiSite({ log: first.log, shared, clock: Date.now });
  closing.push(() => late.stop());
  await late.api.start();
  expect(late.api.unready()).toBe('not started');
  await redis.start();
  await late.until(
    async () => late.api.unready(),
    (missing) => missing === undefined,
  );
  await late.until(
    async () => (await late.get('/incidents')).body.incidents[0]?.notification,
    (notification) => notification === 'notified',
  );
});
