// What a kill leaves of a checkpoint that it came into: chunks whose manifest was never written, or is
// gone already. Nobody reads them, and the next checkpoint takes them away, or every kill would cost
// disk for ever.

import { expect, test } from 'vitest';
import { CHECKPOINTS_KEPT } from '../src/limits.js';
import {
  type Lineage,
  listCheckpoints,
  takeSnapshot,
  writeCheckpoint,
} from '../src/scorer/checkpoint.js';
import { BEGIN, partitionOf, record, STEP, scrape } from './histogram-scrapes.js';
import { MemoryStore, type Versioned } from './memory-store.js';

const lineage: Lineage = {
  logId: 'log',
  partition: 0,
  partitions: 2,
  engineId: new Uint8Array(32),
  seed: 1,
};

/** Ends as a killed process does: of what it writes nothing more is there. */
class DyingStore extends MemoryStore {
  #writesLeft: number;

  constructor(entries: Map<string, Versioned>, writes: number) {
    super(entries);
    this.#writesLeft = writes;
  }

  override put(key: string, value: Uint8Array): Promise<void> {
    return this.#writesLeft-- > 0 ? super.put(key, value) : Promise.reject(new Error('killed'));
  }

  override deleteAll(prefix: string): Promise<void> {
    return this.#writesLeft-- > 0 ? super.deleteAll(prefix) : Promise.reject(new Error('killed'));
  }
}

test('wherever a kill cuts a checkpoint short, the next one leaves whole checkpoints only', async () => {
  const partition = partitionOf();
  for (let i = 0; i < 20; i++) partition.apply(record(scrape(BEGIN + i * STEP, [i, 2 * i])));
  let cuts = 0;
  for (let writes = 0; ; writes++) {
    const entries = new Map<string, Versioned>();
    const save = (store: MemoryStore, offset: number) =>
      writeCheckpoint(store, takeSnapshot(partition, lineage, offset));
    for (const offset of [10, 20]) await save(new MemoryStore(entries), offset);
    const foreign = 'checkpoint/001/0000000000000005/000000';
    entries.set(foreign, { value: new Uint8Array(1), version: -1 });
    const isWhole = await save(new DyingStore(entries, writes), 30).then(
      () => true,
      () => false,
    );
    await save(new MemoryStore(entries), 40);
    const store = new MemoryStore(entries);
    const kept = await listCheckpoints(store, 0);
    expect(kept).toHaveLength(CHECKPOINTS_KEPT);
    expect(kept[0]).toBe(40);
    const places = (await store.list('checkpoint/000/')).map((key) => Number(key.split('/')[2]));
    expect([...new Set(places)].sort()).toEqual([...kept].sort());
    // Another partition's affairs are its own.
    expect(entries.has(foreign)).toBe(true);
    if (isWhole) break;
    cuts++;
  }
  // Before and after the chunk, after the manifest, and between the two parts of a deletion.
  expect(cuts).toBeGreaterThanOrEqual(4);
});

test('chunks beyond the offset of a checkpoint are left alone: they may be one on its way', async () => {
  const entries = new Map<string, Versioned>();
  const later = 'checkpoint/000/0000000000000050/000000';
  entries.set(later, { value: new Uint8Array(1), version: -1 });
  const store = new MemoryStore(entries);
  await writeCheckpoint(store, takeSnapshot(partitionOf(), lineage, 40));
  expect(entries.has(later)).toBe(true);
});
