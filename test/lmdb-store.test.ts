// The state port on lmdb: the contract, and that state and log share a directory without meeting.

import { expect, test } from 'vitest';
import { openDataDir } from '../src/data-dir.js';
import { openLmdbLog } from '../src/log/lmdb-log.js';
import { openLmdbStore } from '../src/state/lmdb-store.js';
import { settingsOf, withDataDir } from './lmdb-fixture.js';
import { removeDirectory, temporaryDirectory } from './programs.js';
import { stateContract } from './state-contract.js';

stateContract('lmdb store', async () => {
  const path = temporaryDirectory('store');
  let dir = await openDataDir(path);
  return {
    store: openLmdbStore(dir),
    async reopen() {
      await dir.close();
      dir = await openDataDir(path);
      return openLmdbStore(dir);
    },
    async remove() {
      await dir.close();
      removeDirectory(path);
    },
  };
});

test('log and state in one directory do not see each other', async () => {
  await withDataDir(async (dir) => {
    const log = await openLmdbLog(dir, settingsOf(2));
    const store = openLmdbStore(dir);
    await Promise.all([
      store.put('a', Buffer.from('state')),
      log.append('samples', 0, Buffer.from('record'), 1),
      store.put('b', Buffer.from('state')),
    ]);
    await store.deleteAll('');
    expect(await store.list('')).toEqual([]);
    expect(await log.bounds('samples', 0)).toEqual({ low: 0, high: 1, samples: 1 });
    await log.close();
  });
});

test('a store of a closed directory says so', async () => {
  await withDataDir(async (dir) => {
    const store = openLmdbStore(dir);
    await dir.close();
    await expect(store.put('a', Buffer.from('b'))).rejects.toMatchObject({ code: 'log_closed' });
    await expect(store.get('a')).rejects.toMatchObject({ code: 'log_unavailable' });
  });
});
