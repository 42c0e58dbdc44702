// The memory log and the memory store keep what the ports promise; other tests stand on them.

import { expect, test } from 'vitest';
import { logContract } from './log-contract.js';
import { MemoryLog } from './memory-log.js';
import { MemoryStore, type Versioned } from './memory-store.js';
import { stateContract } from './state-contract.js';

logContract('memory log', async (partitions) => {
  let log = new MemoryLog(partitions);
  return {
    log,
    async reopen() {
      await log.close();
      log = new MemoryLog(partitions, log.remains);
      return log;
    },
    deleteBelow: async (partition, offset) => log.deleteBelow('samples', partition, offset),
    remove: () => log.close(),
  };
});

stateContract('memory store', async () => {
  const entries = new Map<string, Versioned>();
  return {
    store: new MemoryStore(entries),
    reopen: async () => new MemoryStore(entries),
    remove: async () => {},
  };
});

test('the memory log spoils a batch when the next one is read', async () => {
  const log = new MemoryLog(1);
  await Promise.all(['a', 'b'].map((text) => log.append('samples', 0, Buffer.from(text), 1)));
  const subscription = await log.subscribe('samples', { onAssigned() {}, onLost() {} });
  const { signal } = new AbortController();
  const kept = (await subscription.read(0, 0, 1, signal)).records[0]?.value as Uint8Array;
  expect(Buffer.from(kept).toString()).toBe('a');
  await subscription.read(0, 1, 1, signal);
  expect([...kept]).toEqual([0xdd]);
});
