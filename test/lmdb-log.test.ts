// The log port on lmdb: the contract, then retention, group commit, the size of the file and damage
// on the disk.

import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type DataDir, openDataDir } from '../src/data-dir.js';
import { APPEND_BYTES_MAX, RECORD_BYTES_MAX } from '../src/limits.js';
import { storedBytes } from '../src/log/lmdb-key.js';
import { DISK_RESERVE_BYTES, type LmdbLog, openLmdbLog } from '../src/log/lmdb-log.js';
import { HOUR_MS, KEEP_ALL, settingsOf, withDataDir } from './lmdb-fixture.js';
import { logContract } from './log-contract.js';
import { removeDirectory, temporaryDirectory } from './programs.js';
import { randomBytes, randomOf } from './random.js';

const START_MS = 1_700_000_000_000;
const nobody = { onAssigned() {}, onLost() {} };
const forever = new AbortController().signal;

logContract('lmdb log', async (partitions) => {
  const path = temporaryDirectory('log');
  let nowMs = START_MS;
  const settings = settingsOf(partitions, {
    retention: { samples: { bytesMax: 1e12, ageMsMax: HOUR_MS }, candidates: KEEP_ALL },
    clock: () => nowMs,
  });
  let dir = await openDataDir(path);
  let log = await openLmdbLog(dir, settings);
  return {
    log,
    async reopen() {
      await log.close();
      await dir.close();
      dir = await openDataDir(path);
      log = await openLmdbLog(dir, settings);
      return log;
    },
    async deleteBelow(partition, offset) {
      nowMs += 2 * HOUR_MS;
      expect((await log.trim('samples', partition, offset)).passed).toBe(0);
    },
    async remove() {
      await log.close();
      await dir.close();
      removeDirectory(path);
    },
  };
});

/** A log of one or more partitions with a clock to turn. */
async function withLog(
  settings: { bytesMax?: number; ageMsMax?: number; partitions?: number },
  body: (log: LmdbLog, clock: { nowMs: number }, dir: DataDir) => Promise<void>,
): Promise<void> {
  const { bytesMax = 1e12, ageMsMax = HOUR_MS, partitions = 1 } = settings;
  await withDataDir(async (dir) => {
    const clock = { nowMs: START_MS };
    const log = await openLmdbLog(
      dir,
      settingsOf(partitions, {
        retention: { samples: { bytesMax, ageMsMax }, candidates: KEEP_ALL },
        clock: () => clock.nowMs,
      }),
    );
    await body(log, clock, dir);
    await log.close();
  });
}

async function appendMany(log: LmdbLog, count: number, size: number, partition = 0): Promise<void> {
  const value = new Uint8Array(size).fill(1);
  await Promise.all(
    Array.from({ length: count }, () => log.append('samples', partition, value, 2)),
  );
}

test('age deletes what is older, up to what a consumer still needs', async () => {
  await withLog({}, async (log, clock) => {
    await appendMany(log, 3, 10);
    clock.nowMs += HOUR_MS / 2;
    await appendMany(log, 4, 10);
    const ok = async (keepFrom: number, records: number, low: number) => {
      expect(await log.trim('samples', 0, keepFrom)).toEqual({ records, passed: 0 });
      expect(await log.bounds('samples', 0)).toEqual({ low, high: 7, samples: 14 });
    };
    await ok(7, 0, 0);
    clock.nowMs += HOUR_MS / 2 + 1;
    await ok(2, 2, 2);
    await ok(7, 1, 3);
    clock.nowMs += 100 * HOUR_MS;
    await ok(5, 2, 5);
    await ok(7, 2, 7);
    await ok(7, 0, 7);
  });
});

test('size deletes the oldest until the topic fits, and at twice that passes a consumer', async () => {
  const record = storedBytes(1000);
  await withLog({ bytesMax: 10 * record }, async (log) => {
    await appendMany(log, 15, 1000);
    expect(log.storedBytes('samples')).toBe(15 * record);
    expect(await log.trim('samples', 0, 2)).toEqual({ records: 2, passed: 0 });
    expect(await log.trim('samples', 0, 12)).toEqual({ records: 3, passed: 0 });
    expect(await log.bounds('samples', 0)).toMatchObject({ low: 5, high: 15 });
    await appendMany(log, 10, 1000);
    expect(await log.trim('samples', 0, 5)).toEqual({ records: 0, passed: 0 });
    await appendMany(log, 5, 1000);
    expect(await log.trim('samples', 0, 7)).toEqual({ records: 5, passed: 3 });
    expect(log.storedBytes('samples')).toBe(20 * record);
  });
});

test('age never passes a consumer', async () => {
  await withLog({}, async (log, clock) => {
    await appendMany(log, 5, 10);
    clock.nowMs += 1000 * HOUR_MS;
    expect(await log.trim('samples', 0, 0)).toEqual({ records: 0, passed: 0 });
  });
});

test('a full topic takes from the partition that has more than its share', async () => {
  const record = storedBytes(1000);
  await withLog({ bytesMax: 10 * record, partitions: 2 }, async (log) => {
    await appendMany(log, 3, 1000, 0);
    await appendMany(log, 12, 1000, 1);
    expect(await log.trim('samples', 0, 3)).toEqual({ records: 0, passed: 0 });
    expect(await log.trim('samples', 1, 12)).toEqual({ records: 5, passed: 0 });
    expect(log.storedBytes('samples')).toBe(10 * record);
  });
});

test('a consumer that was passed hears how many records it missed', async () => {
  await withLog({ bytesMax: 4 * storedBytes(1000) }, async (log) => {
    await appendMany(log, 20, 1000);
    expect(await log.trim('samples', 0, 3)).toEqual({ records: 12, passed: 9 });
    const subscription = await log.subscribe('samples', nobody);
    const batch = await subscription.read(0, 3, 1 << 20, forever);
    expect([batch.gap, batch.next]).toEqual([9, 20]);
  });
});

test('trims and appends at one time do not disturb each other', async () => {
  const seed = 20_031;
  const random = randomOf(seed);
  await withLog({ bytesMax: 100_000 }, async (log) => {
    let appended = 0;
    const appending = (async () => {
      for (let i = 0; i < 200; i++) {
        const size = Math.floor(random() * 5000);
        expect(await log.append('samples', 0, new Uint8Array(size).fill(i), 1)).toBe(appended++);
      }
    })();
    let deleted = 0;
    for (let isDone = false; !isDone; ) {
      isDone = await Promise.race([
        appending.then(() => true),
        new Promise<boolean>((resolve) => setTimeout(resolve, 1, false)),
      ]);
      const trims = [1, 2].map(() => log.trim('samples', 0, appended));
      for (const { records } of await Promise.all(trims)) deleted += records;
    }
    expect(log.storedBytes('samples'), `seed ${seed}`).toBeLessThanOrEqual(100_000);
    const { low, high, samples } = await log.bounds('samples', 0);
    expect([low, high, samples], `seed ${seed}`).toEqual([deleted, 200, 200]);
  });
});

test('thousands of records are trimmed in one call', async () => {
  await withLog({}, async (log, clock) => {
    await appendMany(log, 10_000, 20);
    clock.nowMs += 2 * HOUR_MS;
    expect(await log.trim('samples', 0, 10_000)).toEqual({ records: 10_000, passed: 0 });
    expect(log.storedBytes('samples')).toBe(0);
  });
});

test('appends of one turn share one transaction', async () => {
  await withLog({ partitions: 4 }, async (log, _clock, dir) => {
    const transactions = () => (dir.environment.getStats() as { lastTxnId: number }).lastTxnId;
    const before = transactions();
    await Promise.all([0, 1, 2, 3].map((partition) => appendMany(log, 25, 100, partition)));
    expect(transactions() - before).toBe(1);
  });
});

test('the file stays near what retention allows, however much passes through it', async () => {
  const seed = 20_032;
  const random = randomOf(seed);
  const bytesMax = 8_000_000;
  // What is kept free for deletes, and one step of growth.
  const reserve = 12 * 1024 * 1024;
  await withLog({ bytesMax, partitions: 2 }, async (log, _clock, dir) => {
    const file = join(dir.path, 'treeline.mdb');
    const noise = randomBytes(random, 1_000_000);
    for (let through = 0, round = 0; through < 15 * bytesMax; round++) {
      const appends = Array.from({ length: 8 }, (_, i) => {
        const size = Math.floor(random() ** 3 * 300_000);
        through += size;
        return log.append('samples', i % 2, noise.subarray(round, round + size), 1);
      });
      await Promise.all(appends);
      for (const partition of [0, 1]) {
        const { high } = await log.bounds('samples', partition);
        await log.trim('samples', partition, high);
      }
    }
    expect(log.storedBytes('samples'), `seed ${seed}`).toBeLessThanOrEqual(bytesMax);
    expect(statSync(file).size, `seed ${seed}`).toBeLessThan(2 * bytesMax + reserve);
  });
});

test('another number of partitions is refused, and the log stays as it is', async () => {
  await withDataDir(async (dir) => {
    const log = await openLmdbLog(dir, settingsOf(4));
    await log.append('samples', 3, Buffer.from('a'), 1);
    await log.close();
    const refused = openLmdbLog(dir, settingsOf(8));
    await expect(refused).rejects.toMatchObject({ code: 'data_dir_other' });
    await expect(refused).rejects.toThrow(/has 4 partitions and log\.partitions says 8/);
    const again = await openLmdbLog(dir, settingsOf(4));
    expect(again.id).toBe(log.id);
    expect(await again.bounds('samples', 3)).toEqual({ low: 0, high: 1, samples: 1 });
    await again.close();
  });
});

test('every log has a name of its own', async () => {
  const ids = new Set<string>();
  for (let i = 0; i < 3; i++) {
    await withDataDir(async (dir) => void ids.add((await openLmdbLog(dir, settingsOf(1))).id));
  }
  expect(ids.size).toBe(3);
});

test('more bytes than may wait are refused at once, and later appends go on', async () => {
  await withLog({}, async (log) => {
    const value = new Uint8Array(RECORD_BYTES_MAX);
    const fitting = Math.floor(APPEND_BYTES_MAX / RECORD_BYTES_MAX);
    const appends = Array.from({ length: fitting }, () => log.append('samples', 0, value, 1));
    const surplus = log.append('samples', 0, value, 1);
    await expect(surplus).rejects.toMatchObject({ code: 'overloaded', status: 503 });
    await Promise.all(appends);
    expect(await log.append('samples', 0, value, 1)).toBe(fitting);
  });
});

test('appends are refused while the disk is nearly full, and go on when it is not', async () => {
  await withDataDir(async (dir) => {
    let free = 10 * DISK_RESERVE_BYTES;
    const small: DataDir = { ...dir, freeBytes: async () => free };
    const log = await openLmdbLog(small, settingsOf(1));
    const outcome = () =>
      log.append('samples', 0, Buffer.from('a'), 1).catch((error) => error.code);
    const until = async (want: string | number) => {
      let last: unknown;
      await expect
        .poll(async () => (last = await outcome()), { timeout: 5000, interval: 100 })
        .toSatisfy((got) => (want === 'number' ? typeof got === 'number' : got === want));
      return last;
    };
    await until('number');
    free = DISK_RESERVE_BYTES / 2;
    await until('disk_full');
    free = DISK_RESERVE_BYTES;
    await until('number');
    await log.close();
  });
});

test('a record that is damaged on the disk is named, not delivered', async () => {
  const path = temporaryDirectory('damage');
  const seed = 20_033;
  const value = randomBytes(randomOf(seed), 3000);
  const file = join(path, 'treeline.mdb');
  const withReader = async (
    body: (read: (from: number) => Promise<Uint8Array>) => Promise<void>,
  ) => {
    const dir = await openDataDir(path);
    const log = await openLmdbLog(dir, settingsOf(1));
    if ((await log.bounds('samples', 0)).high === 0) {
      await log.append('samples', 0, Buffer.from('sound'), 1);
      await log.append('samples', 0, value, 1);
    }
    const subscription = await log.subscribe('samples', nobody);
    await body(async (from) => {
      const batch = await subscription.read(0, from, 1, forever);
      return batch.records[0]?.value as Uint8Array;
    });
    await log.close();
    await dir.close();
  };
  await withReader(async (read) => expect(Buffer.compare(await read(1), value)).toBe(0));
  const bytes = readFileSync(file);
  const at = bytes.indexOf(value.subarray(1000, 1032));
  expect(at, `seed ${seed}`).toBeGreaterThan(0);
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  writeFileSync(file, bytes);
  await withReader(async (read) => {
    expect(Buffer.from(await read(0)).toString()).toBe('sound');
    await expect(read(1)).rejects.toThrow(/Record 1 of samples\/0 is damaged/);
  });
  removeDirectory(path);
});
