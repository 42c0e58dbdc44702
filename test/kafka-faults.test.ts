// The log port on three real brokers (three copies, two in sync needed) while brokers and connections fail. The scenarios
// have the numbers of the project's list of failures. What always holds: a record whose append resolved is in the log, at
// the offset that was said; records of a partition are in the order of their appends; a reader sees every offset once.

import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import {
  FETCH_PARTITION_BYTES_MAX,
  READ_AHEAD_BYTES_MAX,
  RECORD_BYTES_MAX,
} from '../src/limits.js';
import { openKafka } from '../src/log/kafka-client.js';
import type { KafkaLog, KafkaLogSettings } from '../src/log/kafka-log.js';
import { topicName } from '../src/log/kafka-topics.js';
import type { Subscription } from '../src/log/log.js';
import { API, type FaultProxy, type Frame, startFaultProxy } from './kafka-fault-proxy.js';
import { kafkaSettings, open, silent, valuesOf, withAdmin } from './kafka-fixture.js';
import { type KafkaPeers, startKafka } from './kafka-peers.js';
import { endPrograms } from './programs.js';

const PARTITIONS = 6;
const nobody = { onAssigned() {}, onLost() {} };
let kafka: KafkaPeers;
let proxies: FaultProxy[];

beforeAll(async () => {
  kafka = await startKafka({ brokers: 3, proxied: true });
  proxies = await Promise.all(kafka.proxies.map((place) => startFaultProxy(place)));
}, 300_000);

afterEach(() => {
  for (const proxy of proxies) proxy.rule = () => undefined;
});

afterAll(async () => {
  await Promise.all(proxies.map((proxy) => proxy.stop()));
  await kafka.stop();
  await endPrograms();
});

function bytes(text: string): Uint8Array {
  return Buffer.from(text);
}

function rule(judge: FaultProxy['rule']): void {
  for (const proxy of proxies) proxy.rule = judge;
}

/** Through the proxies: a client that begins there is sent there by every look at the metadata. */
function proxied(): KafkaLogSettings {
  const brokers = kafka.proxies.map(({ proxyPort }) => `127.0.0.1:${proxyPort}`);
  return kafkaSettings(brokers, { partitions: PARTITIONS });
}

async function withLog(
  settings: KafkaLogSettings,
  body: (log: KafkaLog) => Promise<void>,
): Promise<void> {
  const log = await open(settings);
  try {
    await body(log);
  } finally {
    await log.close();
  }
}

/** Appends to every partition at once, without a pause, and keeps the books. */
class Load {
  /** Per partition: offset → value, as acknowledged. */
  readonly acknowledged = Array.from({ length: PARTITIONS }, () => new Map<number, string>());
  readonly refusals: { code: string; ms: number }[] = [];
  /** The longest time without any acknowledgement. */
  stopMs = 0;
  #lastMs = performance.now();
  #isEnding = false;
  readonly #log: KafkaLog;
  readonly #loops: Promise<void>[];

  constructor(log: KafkaLog) {
    this.#log = log;
    this.#loops = this.acknowledged.map((_, partition) => this.#run(partition));
  }

  get count(): number {
    return this.acknowledged.reduce((sum, { size }) => sum + size, 0);
  }

  async end(): Promise<void> {
    this.#isEnding = true;
    await Promise.all(this.#loops);
  }

  async #run(partition: number): Promise<void> {
    for (let i = 0; !this.#isEnding; i++) {
      const value = `${partition}:${i}`;
      const before = performance.now();
      try {
        const offset = await this.#log.append('samples', partition, bytes(value), 1);
        this.acknowledged[partition]?.set(offset, value);
        const now = performance.now();
        this.stopMs = Math.max(this.stopMs, now - this.#lastMs);
        this.#lastMs = now;
      } catch (error) {
        const { code } = error as { code: string };
        this.refusals.push({ code, ms: performance.now() - before });
      }
      // Some hundred a second in each partition are enough to be in the way of everything.
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

async function readBack(settings: KafkaLogSettings, load: Load): Promise<void> {
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const values = await valuesOf(settings, { topic: 'samples', partition });
    for (const [offset, value] of load.acknowledged[partition] ?? []) {
      expect([offset, values[offset]]).toEqual([offset, value]);
    }
    // A repeated append may be there twice, and stands where it was first or later: never before an older one.
    const firsts = [...new Set(values)].map((value) => Number(value.split(':')[1]));
    expect(firsts).toEqual(firsts.toSorted((a, b) => a - b));
  }
}

/** Reads one partition as it grows; every offset is to come once, in order. */
class Follower {
  next = 0;
  gaps = 0;
  stopMs = 0;
  #lastMs = performance.now();
  readonly #ending = new AbortController();
  readonly #loop: Promise<void>;

  constructor(subscription: Subscription, partition: number) {
    this.#loop = this.#run(subscription, partition);
  }

  async end(): Promise<void> {
    this.#ending.abort(new Error('end of the test'));
    await this.#loop;
  }

  async #run(subscription: Subscription, partition: number): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      try {
        const batch = await subscription.read(partition, this.next, 1 << 20, signal);
        const now = performance.now();
        this.stopMs = Math.max(this.stopMs, now - this.#lastMs);
        this.#lastMs = now;
        const offsets = batch.records.map(({ offset }) => offset);
        expect(offsets).toEqual(offsets.map((_, index) => this.next + index));
        this.gaps += batch.gap;
        this.next = batch.next;
      } catch (error) {
        if ((error as { code?: string }).code === 'partition_lost') return;
        if (!signal.aborted) throw error;
      }
    }
  }
}

async function leaderOf(settings: KafkaLogSettings, partition: number): Promise<number> {
  const name = topicName(settings.prefix, 'samples');
  const { topics } = await withAdmin(kafka.brokers, (admin) =>
    admin.fetchTopicMetadata({ topics: [name] }),
  );
  const found = topics[0]?.partitions.find((one) => one.partitionId === partition);
  if (found === undefined) throw new Error(`no partition ${partition}`);
  return found.leader;
}

async function restored(settings: KafkaLogSettings): Promise<void> {
  await kafka.untilInSync(
    ['samples', 'candidates', 'verdicts', 'control'].map((t) => `${settings.prefix}.${t}`),
  );
}

test('a rolling restart under load: every acknowledged record is read back (contract C13, scenarios 10, 11, 46)', async () => {
  const settings = kafkaSettings(kafka.brokers, { partitions: PARTITIONS });
  await withLog(settings, async (log) => {
    const load = new Load(log);
    const subscription = await log.subscribe('samples', nobody);
    const group = await log.subscribe('candidates', nobody, 'deep-check');
    const followers = load.acknowledged.map(
      (_, partition) => new Follower(subscription, partition),
    );
    for (const id of kafka.ids) {
      await kafka.end(id);
      await kafka.start(id);
      await restored(settings);
    }
    await load.end();
    const { rejoins } = log.counters;
    for (const [partition, follower] of followers.entries()) {
      const { high } = await log.bounds('samples', partition);
      await expect.poll(() => follower.next, { timeout: 20_000 }).toBe(high);
      expect(follower.gaps).toBe(0);
      await follower.end();
    }
    await group.close();
    await readBack(settings, load);
    const codes = new Set(load.refusals.map(({ code }) => code));
    report(`rolling restart: ${load.count} acknowledged, ${load.refusals.length} refused`, {
      appendsMs: load.stopMs,
      readsMs: Math.max(...followers.map(({ stopMs }) => stopMs)),
      rejoins,
    });
    expect([...codes].filter((code) => code !== 'log_unavailable')).toEqual([]);
    expect(load.count).toBeGreaterThan(1_000);
  });
}, 180_000);

test('a broker killed under load: 503 for seconds, nothing lost, everything goes on (scenario 11)', async () => {
  const settings = kafkaSettings(kafka.brokers, { partitions: PARTITIONS });
  await withLog(settings, async (log) => {
    const load = new Load(log);
    const subscription = await log.subscribe('samples', nobody);
    const followers = load.acknowledged.map(
      (_, partition) => new Follower(subscription, partition),
    );
    const id = await leaderOf(settings, 0);
    await kafka.kill(id);
    const before = load.count;
    await expect
      .poll(() => load.acknowledged.every(({ size }) => size > 0) && load.count > before + 600, {
        timeout: 40_000,
      })
      .toBe(true);
    await kafka.start(id);
    await restored(settings);
    await load.end();
    for (const [partition, follower] of followers.entries()) {
      const { high } = await log.bounds('samples', partition);
      await expect.poll(() => follower.next, { timeout: 20_000 }).toBe(high);
      await follower.end();
    }
    await readBack(settings, load);
    report(`broker killed: ${load.count} acknowledged, ${load.refusals.length} refused`, {
      appendsMs: load.stopMs,
      readsMs: Math.max(...followers.map(({ stopMs }) => stopMs)),
    });
    // Nobody waits much longer than he was promised, and everybody is told to try again.
    for (const { code, ms } of load.refusals) {
      expect(code).toBe('log_unavailable');
      expect(ms).toBeLessThan(7_000);
    }
    expect(load.stopMs).toBeLessThan(20_000);
  });
}, 120_000);

test('without enough replicas nothing is acknowledged; with them it goes on (scenario 13)', async () => {
  const settings = kafkaSettings(kafka.brokers, { partitions: PARTITIONS });
  await withLog(settings, async (log) => {
    expect(await log.append('samples', 0, bytes('before'), 1)).toBe(0);
    const leader = await leaderOf(settings, 0);
    const others = kafka.ids.filter((id) => id !== leader);
    for (const id of others) kafka.freeze(id);
    try {
      const before = performance.now();
      await expect(log.append('samples', 0, bytes('during'), 1)).rejects.toMatchObject({
        code: 'log_unavailable',
        status: 503,
      });
      expect(performance.now() - before).toBeLessThan(7_000);
      expect(log.counters.appendsFailed).toBe(1);
    } finally {
      for (const id of others) kafka.thaw(id);
    }
    const again = () => log.append('samples', 0, bytes('after'), 1).catch(() => -1);
    await expect.poll(again, { timeout: 60_000 }).toBeGreaterThan(0);
    await restored(settings);
    const values = await valuesOf(settings, { topic: 'samples', partition: 0 });
    expect(values[0]).toBe('before');
    // What was refused may be there, as the port says; never behind what was acknowledged after it.
    expect(values.slice(1).join(' ')).toMatch(/^(during )*after( after)*$/);
  });
}, 120_000);

test('the coordinator of a group killed: its readers go on reading, and share anew when it is back (scenario 12)', async () => {
  const settings = kafkaSettings(kafka.brokers, { partitions: PARTITIONS });
  const logs = [await open(settings), await open(settings)] as const;
  const owned = logs.map(() => new Map<number, Follower>());
  const lost: number[] = [];
  try {
    const subscriptions: Subscription[] = [];
    for (const [index, log] of logs.entries()) {
      const mine = owned[index] as Map<number, Follower>;
      const subscription: Subscription = await log.subscribe(
        'samples',
        {
          onAssigned: (partition) => mine.set(partition, new Follower(subscription, partition)),
          onLost: (partition) => {
            lost.push(partition);
            void mine.get(partition)?.end();
            mine.delete(partition);
          },
        },
        'scorer',
      );
      subscriptions.push(subscription);
    }
    const sizes = () => owned.map(({ size }) => size);
    await expect.poll(sizes, { timeout: 20_000 }).toEqual([3, 3]);
    lost.length = 0;
    const before = owned.map((mine) => [...mine.keys()]);
    const coordinator = await coordinatorOf(`${settings.prefix}.scorer`);
    await kafka.kill(coordinator);
    const append = (value: string) =>
      Promise.all(
        Array.from({ length: PARTITIONS }, async (_, partition) => {
          const appended = () =>
            logs[0].append('samples', partition, bytes(value), 1).catch(() => -1);
          await expect.poll(appended, { timeout: 40_000 }).toBeGreaterThanOrEqual(0);
        }),
      );
    await append('while it is away');
    await kafka.start(coordinator);
    await restored(settings);
    const crashes = logs.map(({ counters }) => counters.crashes);
    const rejoins = logs.map(({ counters }) => counters.rejoins);
    await expect.poll(sizes, { timeout: 40_000 }).toEqual([3, 3]);
    await append('when it is back');
    const all = () => owned.flatMap((mine) => [...mine]);
    expect(new Set(all().map(([partition]) => partition)).size).toBe(PARTITIONS);
    for (const [partition, follower] of all()) {
      const { high } = await logs[0].bounds('samples', partition);
      await expect.poll(() => follower.next, { timeout: 30_000 }).toBe(high);
      expect(follower.gaps).toBe(0);
    }
    report('coordinator killed', { crashes, rejoins, lost: lost.length });
    // Each has what it had: nobody's share was a reason to restore anything for good.
    expect(owned.map((mine) => [...mine.keys()].toSorted())).toEqual(
      before.map((one) => one.toSorted()),
    );
    await Promise.all(all().map(([, follower]) => follower.end()));
  } finally {
    await Promise.all(logs.map((log) => log.close()));
  }
}, 180_000);

async function coordinatorOf(groupId: string): Promise<number> {
  const cluster = openKafka({ brokers: kafka.brokers }, silent).cluster();
  await cluster.connect();
  try {
    await cluster.refreshMetadata();
    return (await cluster.findGroupCoordinatorMetadata({ groupId })).coordinator.nodeId;
  } finally {
    await cluster.disconnect();
  }
}

test('an answer that gets lost: refused in time, in the log all the same, and the rest in order (scenario 9, contract C10)', async () => {
  const settings = proxied();
  await withLog(settings, async (log) => {
    expect(await log.append('samples', 0, bytes('a'), 1)).toBe(0);
    rule((frame) => (frame.way === 'answer' && frame.api === API.produce ? 'swallow' : undefined));
    const before = performance.now();
    const refused = log.append('samples', 0, bytes('b'), 1);
    const queued = log.append('samples', 0, bytes('c'), 1);
    for (const one of [refused, queued]) {
      await expect(one).rejects.toMatchObject({ code: 'log_unavailable', retryable: true });
    }
    expect(performance.now() - before).toBeLessThan(7_000);
    expect(log.unready() ?? 'no answer yet').toMatch(/samples|no answer yet/);
    rule(() => undefined);
    const again = () => log.append('samples', 0, bytes('d'), 1).catch(() => -1);
    await expect.poll(again, { timeout: 30_000 }).toBeGreaterThan(0);
    const values = await valuesOf(settings, { topic: 'samples', partition: 0 });
    expect(values.join('')).toMatch(/^ab+c*d+$/);
    expect(log.counters.appendsFailed).toBeGreaterThanOrEqual(2);
  });
}, 90_000);

test('connections that are late, reset or swallow everything: reads and appends go on by themselves', async () => {
  const settings = proxied();
  await withLog(settings, async (log) => {
    const load = new Load(log);
    const subscription = await log.subscribe('samples', nobody);
    const followers = load.acknowledged.map(
      (_, partition) => new Follower(subscription, partition),
    );
    const flow = async (what: string) => {
      const [count, next] = [load.count, followers.map((follower) => follower.next)];
      await expect
        .poll(
          () => load.count > count + 60 && followers.every((one, i) => one.next > (next[i] ?? 0)),
          {
            timeout: 40_000,
            message: what,
          },
        )
        .toBe(true);
    };
    await flow('undisturbed');
    rule(({ api }) => (api === API.produce || api === API.fetch ? { delayMs: 150 } : undefined));
    await flow('150 ms late');
    let frames = 0;
    rule(() => (++frames % 40 === 0 ? 'reset' : undefined));
    await flow('every fortieth frame a reset');
    rule(() => undefined);
    await flow('undisturbed again');
    // One broker's connections stay open and nothing comes through, as when its machine has lost its power.
    const [first] = proxies as [FaultProxy];
    first.rule = () => 'swallow';
    const swallowedMs = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    first.rule = () => undefined;
    await flow('after a black hole');
    report('black hole of 3 s', { flowsAgainMs: performance.now() - swallowedMs });
    await load.end();
    for (const [partition, follower] of followers.entries()) {
      const { high } = await log.bounds('samples', partition);
      await expect.poll(() => follower.next, { timeout: 20_000 }).toBe(high);
      expect(follower.gaps).toBe(0);
      await follower.end();
    }
    await readBack(settings, load);
    const codes = new Set(load.refusals.map(({ code }) => code));
    expect([...codes].filter((code) => code !== 'log_unavailable')).toEqual([]);
  });
  // Nothing is left open.
  await expect.poll(() => proxies.reduce((sum, proxy) => sum + proxy.connections(), 0)).toBe(0);
}, 180_000);

test('who does not read on is read ahead for only so far', async () => {
  const settings = proxied();
  await withLog(settings, async (log) => {
    const value = new Uint8Array(RECORD_BYTES_MAX);
    const each = 10;
    for (let i = 0; i < each; i++) {
      const append = (_: unknown, partition: number) => log.append('samples', partition, value, 1);
      await Promise.all(Array.from({ length: PARTITIONS }, append));
    }
    let fetched = 0;
    rule(({ way, api, bytes: size }) => {
      if (way === 'answer' && api === API.fetch) fetched += size;
      return undefined;
    });
    const subscription = await log.subscribe('samples', nobody);
    for (let partition = 0; partition < PARTITIONS; partition++) {
      await subscription.read(partition, 0, 1, new AbortController().signal);
    }
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    const most = PARTITIONS * (READ_AHEAD_BYTES_MAX + FETCH_PARTITION_BYTES_MAX);
    expect(most).toBeLessThan(each * PARTITIONS * value.length);
    expect(fetched).toBeLessThan(1.05 * most);
    // And all of it is used: reading on from there fetches only what is missing.
    for (let partition = 0; partition < PARTITIONS; partition++) {
      for (let at = 1; at < each; ) {
        at = (await subscription.read(partition, at, 1, new AbortController().signal)).next;
      }
    }
    expect(fetched).toBeLessThan(1.2 * each * PARTITIONS * value.length);
  });
}, 60_000);

test('a member cut off from the group alone loses its partitions to the others, and learns it (contract C8)', async () => {
  const settings = proxied();
  const direct = { ...settings, connection: { brokers: kafka.brokers } };
  const cutOff = await open(settings);
  const other = await open(direct);
  const owned = [new Set<number>(), new Set<number>()] as const;
  const books = (mine: Set<number>) => ({
    onAssigned: (partition: number) => void mine.add(partition),
    onLost: (partition: number) => void mine.delete(partition),
  });
  try {
    await cutOff.subscribe('samples', books(owned[0]), 'scorer');
    await expect.poll(() => owned[0].size, { timeout: 20_000 }).toBe(PARTITIONS);
    await other.subscribe('samples', books(owned[1]), 'scorer');
    await expect.poll(() => owned.map(({ size }) => size), { timeout: 20_000 }).toEqual([3, 3]);
    const ofGroup: number[] = [API.heartbeat, API.joinGroup, API.syncGroup, API.findCoordinator];
    rule(({ way, api }: Frame) =>
      way === 'request' && ofGroup.includes(api) ? 'swallow' : undefined,
    );
    await expect.poll(() => owned[1].size, { timeout: 30_000 }).toBe(PARTITIONS);
    rule(() => undefined);
    await expect.poll(() => owned.map(({ size }) => size), { timeout: 60_000 }).toEqual([3, 3]);
    expect(new Set([...owned[0], ...owned[1]]).size).toBe(PARTITIONS);
  } finally {
    await Promise.all([cutOff.close(), other.close()]);
  }
}, 120_000);

/** What was measured on the way; it is part of the output of a run. */
function report(what: string, measured: object): void {
  process.stdout.write(`${what}: ${JSON.stringify(measured)}\n`);
}
