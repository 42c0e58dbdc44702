// Several receivers in front of one pair of Prometheus servers, none of which need hear both: they come to one answer, keep
// it while the elected one is heard of anywhere, and go by themselves while they cannot tell each other. Time is stream
// time, and a round of sharing happens when the test says so.

import { expect, test } from 'vitest';
import { OperatingError } from '../src/errors.js';
import type { Pace } from '../src/pace.js';
import { ElectionSharing } from '../src/receiver/election-sharing.js';
import { Replicas } from '../src/receiver/replicas.js';
import { MemoryStore, type Versioned } from './memory-store.js';
import { randomOf } from './random.js';

const START = 1_763_680_000_000;
const silent = { debug() {}, info() {}, warn() {}, error() {} };

class Faulty extends MemoryStore {
  isAway = false;

  override async get(key: string): Promise<Uint8Array | undefined> {
    this.#expectHere();
    return super.get(key);
  }

  override async list(prefix: string): Promise<string[]> {
    this.#expectHere();
    return super.list(prefix);
  }

  override async advance(key: string, value: Uint8Array, version: number): Promise<boolean> {
    this.#expectHere();
    return super.advance(key, value, version);
  }

  #expectHere(): void {
    if (this.isAway) throw new OperatingError('store_unavailable', 'Nobody answers');
  }
}

interface Receiver {
  store: Faulty;
  sharing: ElectionSharing;
  replicas: Replicas;
  warnings: string[];
  /** Whether a scrape of this replica, so many seconds after the start, is let in. */
  hear(replica: string, seconds: number, cluster?: string): boolean;
  /** As its clock does every few seconds. */
  share(): Promise<void>;
}

async function receiverOn(entries: Map<string, Versioned>): Promise<Receiver> {
  const store = new Faulty(entries);
  const warnings: string[] = [];
  let tick = () => {};
  const pace: Pace = {
    turn: async () => {},
    sleep: async () => {},
    every(_ms, work) {
      tick = work;
      return () => {};
    },
  };
  const replicas: Replicas = new Replicas(() => sharing.changed());
  const logger = { ...silent, warn: (_fields: object, text: string) => void warnings.push(text) };
  const sharing = new ElectionSharing({ store, replicas, logger, pace });
  await sharing.start();
  return {
    ...{ store, sharing, replicas, warnings },
    hear: (replica, seconds, cluster = 'c') =>
      replicas.judge({ tenant: '', cluster, replica, newestMs: START + 1000 * seconds }),
    async share() {
      tick();
      // Every promise that can go on goes on: the store takes a turn for each of its writes.
      for (let turn = 0; turn < 20; turn++) await new Promise((next) => setImmediate(next));
    },
  };
}

const electedOf = ({ replicas }: Receiver) =>
  replicas.save().map(({ cluster, replica }) => `${cluster}: ${replica}`);

test('scenario 26: of two receivers that each hear one of a pair, both listen to the same one, for as long as it sends', async () => {
  const entries = new Map<string, Versioned>();
  const receivers = [await receiverOn(entries), await receiverOn(entries)] as const;
  const taken = [0, 0];
  for (let seconds = 0; seconds < 3600; seconds += 15) {
    for (const [index, receiver] of receivers.entries()) {
      if (receiver.hear(`${index}`, seconds + 7 * index)) taken[index]!++;
    }
    for (const receiver of receivers) await receiver.share();
  }
  // Until they had told each other, each took its own.
  const elected = taken.indexOf(240);
  const other = 1 - elected;
  for (const receiver of receivers) await receiver.share();
  expect(taken[elected]).toBe(240);
  expect(taken[other]).toBeLessThan(3);
  expect(receivers.map(electedOf)).toEqual([[`c: ${elected}`], [`c: ${elected}`]]);
  // The elected one ends: the other takes over when it is 30 s ahead of what was heard of it anywhere.
  const lastSeconds = 3585 + 7 * elected;
  const ahead = [10, 25, 31, 46].map((lead) =>
    receivers[other]!.hear(`${other}`, lastSeconds + lead),
  );
  for (const receiver of receivers) await receiver.share();
  expect(ahead).toEqual([false, false, true, true]);
  expect(receivers.map(electedOf)).toEqual([[`c: ${other}`], [`c: ${other}`]]);
  // And the first one coming back is not listened to, by whoever hears it.
  expect(receivers.map(({ hear }) => hear(`${elected}`, lastSeconds + 60))).toEqual([false, false]);
});

test('a receiver that starts knows who is elected before its first request', async () => {
  const entries = new Map<string, Versioned>();
  const one = await receiverOn(entries);
  expect([one.hear('a', 0), one.hear('z', 0, 'd')]).toEqual([true, true]);
  await one.share();
  await one.sharing.stop();
  const other = await receiverOn(entries);
  expect([other.hear('b', 7), other.hear('a', 15), other.hear('y', 7, 'd')]).toEqual([
    false,
    true,
    false,
  ]);
});

test('while the store is away each goes by what it hears, says so once, and agrees when it is back', async () => {
  const entries = new Map<string, Versioned>();
  const [one, other] = [await receiverOn(entries), await receiverOn(entries)];
  one.hear('a', 0);
  await one.share();
  await other.share();
  for (const { store } of [one, other]) store.isAway = true;
  const taken: boolean[] = [];
  for (let seconds = 15; seconds <= 120; seconds += 15) {
    one.hear('a', seconds);
    taken.push(other.hear('b', seconds + 7));
    await one.share();
    await other.share();
  }
  // It never heard of the first one: nobody is there to tell that it lives.
  expect(taken.at(-1)).toBe(true);
  expect(other.sharing.failures).toBeGreaterThan(3);
  expect(other.warnings).toHaveLength(1);
  for (const { store } of [one, other]) store.isAway = false;
  for (const receiver of [one, other, one, other]) await receiver.share();
  expect(electedOf(one)).toEqual(electedOf(other));
  const elected = electedOf(one)[0] === 'c: a' ? 'a' : 'b';
  for (let seconds = 135; seconds <= 600; seconds += 15) {
    expect([one.hear('a', seconds), other.hear('b', seconds + 7)]).toEqual([
      elected === 'a',
      elected === 'b',
    ]);
    await one.share();
    await other.share();
  }
});

test('whoever is heard where, and whoever tells first: they agree, and of each cluster one is listened to', async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = randomOf(seed);
    const entries = new Map<string, Versioned>();
    const receivers: Receiver[] = [];
    for (let i = 0; i < 4; i++) receivers.push(await receiverOn(entries));
    const pick = () => receivers[Math.floor(random() * receivers.length)] as Receiver;
    let doubles = 0;
    for (let seconds = 0; seconds < 900; seconds += 15) {
      for (const cluster of ['c', 'd']) {
        const taken = ['a', 'b', 'e'].filter((replica) =>
          pick().hear(replica, seconds + 5 * random(), cluster),
        );
        // Only before anybody has told anybody may several be taken.
        if (taken.length !== 1 && seconds > 0) doubles++;
      }
      await Promise.all(receivers.map((one) => one.share()));
      for (const one of receivers) await one.share();
      const answers = new Set(receivers.map((one) => electedOf(one).sort().join(', ')));
      expect([seed, seconds, [...answers]]).toEqual([seed, seconds, [expect.any(String)]]);
    }
    expect([seed, doubles]).toEqual([seed, 0]);
  }
});

test('what others have written under our keys is not believed', async () => {
  const entries = new Map<string, Versioned>();
  const one = await receiverOn(entries);
  one.hear('a', 0);
  await one.share();
  const [key] = [...entries.keys()] as [string];
  for (const text of ['', 'null', '{}', '{"tenant":"","cluster":"c","replica":1}', '\u0000']) {
    entries.set(key, { value: Buffer.from(text), version: 0 });
    const other = await receiverOn(entries);
    expect(other.replicas.clusters).toBe(0);
    expect(other.hear('b', 60)).toBe(true);
    await other.share();
    expect(JSON.parse(Buffer.from(entries.get(key)!.value).toString())).toMatchObject({
      replica: 'b',
    });
  }
});
