// What every adapter of the state port must do. An adapter's test calls stateContract with a way to
// make a fresh store.

import { expect, test } from 'vitest';
import { CHUNK_BYTES } from '../src/limits.js';
import type { StateStore } from '../src/state/state-store.js';
import { randomBytes, randomOf } from './random.js';

export interface StoreFixture {
  store: StateStore;
  /** Closes the store and opens what it left behind. */
  reopen(): Promise<StateStore>;
  /** Closes and removes everything. */
  remove(): Promise<void>;
}

export function stateContract(name: string, open: () => Promise<StoreFixture>): void {
  function check(sentence: string, body: (fixture: StoreFixture) => Promise<void>): void {
    test(`${name}: ${sentence}`, async () => {
      const fixture = await open();
      try {
        await body(fixture);
      } finally {
        await fixture.remove();
      }
    });
  }

  check('what was put is there, also after a reopen', async ({ store, reopen }) => {
    await store.put('a', bytes('one'));
    await store.put('a', bytes('two'));
    await store.put('empty', bytes(''));
    for await (const each of beforeAndAfter(store, reopen)) {
      expect(await textOf(each, 'a')).toBe('two');
      expect(await textOf(each, 'empty')).toBe('');
      expect(await textOf(each, 'b')).toBeUndefined();
    }
  });

  check('a value is a copy, which its reader may keep and change', async ({ store }) => {
    await store.put('small', bytes('small'));
    await store.put('large', new Uint8Array(100_000).fill(7));
    const small = await store.get('small');
    const large = await store.get('large');
    await store.put('small', bytes('other'));
    await store.put('large', new Uint8Array(100_000).fill(8));
    await store.get('small');
    await store.get('large');
    expect(Buffer.from(small as Uint8Array).toString()).toBe('small');
    expect(large?.every((byte) => byte === 7)).toBe(true);
    large?.fill(9);
    expect((await store.get('large'))?.every((byte) => byte === 8)).toBe(true);
  });

  check('chunks of checkpoints come back byte for byte', async ({ store, reopen }) => {
    const seed = 20_021;
    const random = randomOf(seed);
    const chunks = Array.from({ length: 6 }, () => randomBytes(random, CHUNK_BYTES));
    await Promise.all(chunks.map((chunk, index) => store.put(`chunk/${index}`, chunk)));
    for await (const each of beforeAndAfter(store, reopen)) {
      for (const [index, chunk] of chunks.entries()) {
        const got = (await each.get(`chunk/${index}`)) as Uint8Array;
        expect(Buffer.compare(got, chunk), `seed ${seed}, chunk ${index}`).toBe(0);
      }
    }
  });

  check('a pointer moves forward and never back', async ({ store, reopen }) => {
    const ok = async (on: StateStore, version: number, wrote: boolean, now: string) => {
      expect([version, await on.advance('pointer', bytes(`v${version}`), version)]).toEqual([
        version,
        wrote,
      ]);
      expect(await textOf(on, 'pointer')).toBe(now);
    };
    await ok(store, 0, true, 'v0');
    await ok(store, 0, false, 'v0');
    await ok(store, 5, true, 'v5');
    await ok(store, 4, false, 'v5');
    await ok(store, 5, false, 'v5');
    const again = await reopen();
    await ok(again, 3, false, 'v5');
    await ok(again, 2 ** 53 - 1, true, `v${2 ** 53 - 1}`);
  });

  check('a put replaces a pointer, and any advance may follow it', async ({ store }) => {
    await store.advance('pointer', bytes('far'), 100);
    await store.put('pointer', bytes('put'));
    expect(await textOf(store, 'pointer')).toBe('put');
    expect(await store.advance('pointer', bytes('zero'), 0)).toBe(true);
    expect(await textOf(store, 'pointer')).toBe('zero');
  });

  check('of concurrent advances the highest wins', async ({ store }) => {
    const seed = 20_022;
    const random = randomOf(seed);
    for (let round = 0; round < 20; round++) {
      const key = `pointer/${round}`;
      const versions = Array.from({ length: 12 }, () => Math.floor(random() * 1000));
      const wrote = await Promise.all(versions.map((v) => store.advance(key, bytes(`v${v}`), v)));
      const highest = Math.max(...versions);
      expect(await textOf(store, key), `seed ${seed}, round ${round}`).toBe(`v${highest}`);
      expect(wrote[versions.indexOf(highest)], `seed ${seed}, round ${round}`).toBe(true);
    }
  });

  check('keys are listed by prefix in byte order', async ({ store }) => {
    const keys = ['b', 'a/2', 'a/10', 'a', 'a0', 'A', 'a/é', 'a/z', 'aé', 'a/\uffff', 'a/😀'];
    for (const key of keys) await store.put(key, bytes(key));
    const ok = async (prefix: string, want: string[]) => {
      expect(await store.list(prefix)).toEqual(want);
    };
    await ok('a/', ['a/10', 'a/2', 'a/z', 'a/é', 'a/\uffff', 'a/😀']);
    await ok('a/1', ['a/10']);
    await ok('c', []);
    const all = keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    await ok('', all);
  });

  check(
    'deleteAll deletes what begins with the prefix and nothing else',
    async ({ store, reopen }) => {
      for (const key of ['a', 'a/1', 'a/2', 'a0', 'b/1']) await store.put(key, bytes(key));
      await store.advance('a/3', bytes('a/3'), 7);
      await store.deleteAll('a/');
      await store.deleteAll('nothing');
      for await (const each of beforeAndAfter(store, reopen)) {
        expect(await each.list('')).toEqual(['a', 'a0', 'b/1']);
      }
      const again = await reopen();
      expect(await again.get('a/3')).toBeUndefined();
      expect(await again.advance('a/3', bytes('anew'), 1)).toBe(true);
    },
  );

  check('deleteAll takes thousands of keys', async ({ store }) => {
    const keys = Array.from({ length: 10_000 }, (_, index) => `many/${index}`);
    await Promise.all(keys.map((key) => store.put(key, bytes(key))));
    expect(await store.list('many/')).toHaveLength(keys.length);
    await store.deleteAll('many/');
    expect(await store.list('many/')).toEqual([]);
  });
}

/** The fixture as it is, then reopened. */
async function* beforeAndAfter(
  open: StateStore,
  reopen: () => Promise<StateStore>,
): AsyncGenerator<StateStore> {
  yield open;
  yield await reopen();
}

function bytes(text: string): Uint8Array {
  return Buffer.from(text);
}

async function textOf(store: StateStore, key: string): Promise<string | undefined> {
  const value = await store.get(key);
  return value === undefined ? undefined : Buffer.from(value).toString();
}
