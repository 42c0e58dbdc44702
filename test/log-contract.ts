// What every adapter of the log port must do. An adapter's test calls logContract with a way to
// make a fresh log; what is peculiar to the adapter stays in its own test. Each test opens and
// removes a log of its own.

import { expect, test } from 'vitest';
import { OperatingError } from '../src/errors.js';
import { RECORD_BYTES_MAX } from '../src/limits.js';
import type { Batch, Log, Subscription } from '../src/log/log.js';
import { randomBytes, randomOf } from './random.js';

export interface LogFixture {
  log: Log;
  /** Closes the log and opens what it left behind. */
  reopen(): Promise<Log>;
  /** As retention would: the records of a partition of `samples` below this offset. */
  deleteBelow(partition: number, offset: number): Promise<void>;
  /** Closes and removes everything. */
  remove(): Promise<void>;
  /** True where samples are counted by the process that appends them, and not in the log. */
  forgetsSamples?: boolean;
}

const PARTITIONS = 3;
const MANY = 1 << 20;
const forever = new AbortController().signal;

export function logContract(name: string, open: (partitions: number) => Promise<LogFixture>): void {
  function check(sentence: string, body: (fixture: LogFixture) => Promise<void>): void {
    test(`${name}: ${sentence}`, async () => {
      const fixture = await open(PARTITIONS);
      try {
        await body(fixture);
      } finally {
        await fixture.remove();
      }
    });
  }

  check('an acknowledged record is there after close and reopen', async (fixture) => {
    const { log, reopen } = fixture;
    const offset = await log.append('samples', 1, bytes('kept'), 3);
    const { id } = log;
    const again = await reopen();
    expect(again.id).toBe(id);
    expect(await contents(again, 1, offset)).toEqual(['kept']);
    const samples = remembered(fixture, 3);
    expect(await again.bounds('samples', 1)).toEqual({ low: 0, high: 1, samples });
    expect(await again.append('samples', 1, bytes('next'), 0)).toBe(offset + 1);
  });

  check(
    'records of a partition have the order of the calls, whatever is awaited',
    async ({ log }) => {
      const seed = 20_011;
      const random = randomOf(seed);
      const wanted: string[][] = [[], [], []];
      const offsets: Promise<number>[][] = [[], [], []];
      for (let i = 0; i < 300; i++) {
        const partition = Math.floor(random() * PARTITIONS);
        wanted[partition]?.push(`record ${i}`);
        offsets[partition]?.push(log.append('samples', partition, bytes(`record ${i}`), 1));
        if (random() < 0.1) await new Promise((turn) => setImmediate(turn));
      }
      for (let partition = 0; partition < PARTITIONS; partition++) {
        const got = await Promise.all(offsets[partition] ?? []);
        expect(got, `seed ${seed}`).toEqual(got.map((_, index) => index));
        expect(await contents(log, partition, 0), `seed ${seed}`).toEqual(wanted[partition]);
      }
    },
  );

  check('offsets increase and next is the one after the last', async ({ log }) => {
    await appendAll(log, 0, ['a', 'b', 'c', 'd']);
    const subscription = await log.subscribe('samples', nobody);
    const first = await subscription.read(0, 1, 2, forever);
    expect(first.records.map(({ offset }) => offset)).toEqual([1, 2]);
    expect(first.next).toBe(3);
    const second = await subscription.read(0, first.next, MANY, forever);
    expect(second.records.map(({ offset }) => offset)).toEqual([3]);
    expect(second.next).toBe((await log.bounds('samples', 0)).high);
  });

  check('a read waits for the append that comes later', async ({ log }) => {
    const subscription = await log.subscribe('samples', nobody);
    const reading = subscription.read(2, 0, MANY, forever).then(textOf);
    await log.append('samples', 1, bytes('of another partition'), 1);
    await log.append('candidates', 2, bytes('of another topic'), 1);
    expect(await isPending(reading)).toBe(true);
    await log.append('samples', 2, bytes('mine'), 1);
    expect(await reading).toEqual(['mine']);
  });

  check('a record can be read when its append has resolved', async ({ log }) => {
    const subscription = await log.subscribe('samples', nobody);
    for (let i = 0; i < 20; i++) {
      const offset = await log.append('samples', 0, bytes(`record ${i}`), 1);
      expect(textOf(await subscription.read(0, offset, MANY, forever))).toEqual([`record ${i}`]);
    }
  });

  check('a read delivers the record that was asked for first', async ({ log }) => {
    await appendAll(log, 0, ['a', 'b', 'c']);
    for (const from of [0, 1, 2]) {
      const subscription = await log.subscribe('samples', nobody);
      const batch = await subscription.read(0, from, MANY, forever);
      expect(batch.records[0]?.offset).toBe(from);
      expect(batch.gap).toBe(0);
    }
  });

  check('what retention deleted is reported as a gap', async ({ log, deleteBelow }) => {
    await appendAll(log, 0, ['a', 'b', 'c', 'd']);
    await deleteBelow(0, 3);
    expect(await log.bounds('samples', 0)).toMatchObject({ low: 3, high: 4 });
    const subscription = await log.subscribe('samples', nobody);
    const batch = await subscription.read(0, 1, MANY, forever);
    expect([batch.gap, batch.next, textOf(batch)]).toEqual([2, 4, ['d']]);
  });

  check('a partition of which everything was deleted goes on', async (fixture) => {
    const { log, deleteBelow, reopen } = fixture;
    await appendAll(log, 0, ['a', 'b']);
    await deleteBelow(0, 2);
    expect(await log.bounds('samples', 0)).toEqual({ low: 2, high: 2, samples: 2 });
    const again = await reopen();
    const samples = remembered(fixture, 2);
    expect(await again.bounds('samples', 0)).toEqual({ low: 2, high: 2, samples });
    const subscription = await again.subscribe('samples', nobody);
    const reading = subscription
      .read(0, 0, MANY, forever)
      .then((batch) => [batch.gap, textOf(batch)]);
    expect(await isPending(reading)).toBe(true);
    expect(await again.append('samples', 0, bytes('c'), 1)).toBe(2);
    expect(await reading).toEqual([2, ['c']]);
  });

  check('an offset beyond the end is refused, not waited for', async ({ log }) => {
    await appendAll(log, 0, ['a']);
    const subscription = await log.subscribe('samples', nobody);
    const refused = subscription.read(0, 2, MANY, forever);
    await expect(refused).rejects.toBeInstanceOf(OperatingError);
    await expect(refused).rejects.toThrow(/samples\/0 from offset 2.*ends at 1/);
  });

  check('a read stops with the reason of its signal', async ({ log }) => {
    const subscription = await log.subscribe('samples', nobody);
    const ending = new AbortController();
    const reading = subscription.read(0, 0, MANY, ending.signal);
    const other = subscription.read(1, 0, MANY, forever).then(textOf);
    ending.abort(new Error('enough'));
    await expect(reading).rejects.toThrow('enough');
    await expect(subscription.read(0, 0, MANY, ending.signal)).rejects.toThrow('enough');
    await log.append('samples', 1, bytes('goes on'), 1);
    expect(await other).toEqual(['goes on']);
  });

  check('closing a subscription or the log stops the reads that wait', async ({ log }) => {
    const [left, right] = [
      await log.subscribe('samples', nobody),
      await log.subscribe('samples', nobody),
    ];
    const reads = [left.read(0, 0, MANY, forever), right.read(0, 0, MANY, forever)];
    const outcomes = reads.map((read) => read.catch((error: OperatingError) => error.code));
    await left.close();
    expect(await outcomes[0]).toBe('log_closed');
    expect(await isPending(outcomes[1] as Promise<unknown>)).toBe(true);
    await log.close();
    expect(await outcomes[1]).toBe('log_closed');
    await expect(log.append('samples', 0, bytes('late'), 1)).rejects.toMatchObject({
      code: 'log_closed',
    });
  });

  check('closing the log settles every append first', async ({ log, reopen }) => {
    const appends = Array.from({ length: 50 }, (_, i) =>
      log.append('samples', 0, bytes(`${i}`), 1),
    );
    await log.close();
    expect(await Promise.all(appends)).toEqual(appends.map((_, index) => index));
    expect(await contents(await reopen(), 0, 0)).toHaveLength(50);
  });

  check('two subscriptions read on their own', async ({ log }) => {
    await appendAll(log, 0, ['a', 'b', 'c']);
    const [left, right] = [
      await log.subscribe('samples', nobody),
      await log.subscribe('samples', nobody),
    ];
    expect(textOf(await left.read(0, 0, 1, forever))).toEqual(['a']);
    expect(textOf(await right.read(0, 2, MANY, forever))).toEqual(['c']);
    expect(textOf(await left.read(0, 1, MANY, forever))).toEqual(['b', 'c']);
    await left.commit(0, 3);
    expect(textOf(await right.read(0, 0, 1, forever))).toEqual(['a']);
  });

  check('a subscription is assigned every partition, after it was handed over', async ({ log }) => {
    const assigned: number[] = [];
    let subscription: Subscription | undefined;
    const isReady: boolean[] = [];
    subscription = await log.subscribe('samples', {
      onAssigned(partition) {
        isReady.push(subscription !== undefined);
        assigned.push(partition);
      },
      onLost() {},
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(assigned.toSorted()).toEqual([0, 1, 2]);
    expect(isReady).toEqual([true, true, true]);
  });

  check('values come back byte for byte, from nothing to the largest', async ({ log, reopen }) => {
    const seed = 20_012;
    const random = randomOf(seed);
    const sizes = [0, 1, 7, 511, 512, 513, 1999, 2000, 4096, 65_536, RECORD_BYTES_MAX];
    const values = sizes.flatMap((size) => [
      randomBytes(random, size),
      new Uint8Array(size).fill(size % 251),
      // The first byte that an lz4-compressing store could take for its own mark.
      randomBytes(random, size).fill(255, 0, 1),
    ]);
    await Promise.all(values.map((value) => log.append('samples', 0, value, 1)));
    for await (const each of beforeAndAfter(log, reopen)) {
      const subscription = await each.subscribe('samples', nobody);
      for (let from = 0, seen = 0; seen < values.length; ) {
        const batch = await subscription.read(0, from, MANY, forever);
        for (const { value } of batch.records) {
          expect(
            Buffer.compare(value, values[seen] as Uint8Array),
            `seed ${seed}, value ${seen}`,
          ).toBe(0);
          seen++;
        }
        from = batch.next;
      }
    }
  });

  check(
    'a batch has about the bytes that were asked for, and one record at least',
    async ({ log }) => {
      await appendAll(log, 0, ['aaaaaaaa', 'bbbbbbbb', 'cccccccc']);
      const subscription = await log.subscribe('samples', nobody);
      const ok = async (bytesMax: number, records: number) => {
        const batch = await subscription.read(0, 0, bytesMax, forever);
        expect(batch.records).toHaveLength(records);
      };
      await ok(1, 1);
      await ok(15, 1);
      await ok(16, 2);
      await ok(24, 3);
    },
  );

  check('samples are counted per partition with their record', async (fixture) => {
    const { log, reopen } = fixture;
    await log.append('samples', 0, bytes('a'), 5);
    await log.append('samples', 0, bytes('b'), 0);
    await log.append('samples', 1, bytes('c'), 7);
    await log.append('samples', 0, bytes('d'), 2);
    for await (const each of beforeAndAfter(log, reopen)) {
      const samples = each === log ? 7 : remembered(fixture, 7);
      expect(await each.bounds('samples', 0)).toEqual({ low: 0, high: 3, samples });
      expect(await each.bounds('samples', 1)).toEqual({ low: 0, high: 1, samples });
      expect(await each.bounds('samples', 2)).toEqual({ low: 0, high: 0, samples: 0 });
      expect(await each.bounds('candidates', 0)).toEqual({ low: 0, high: 0, samples: 0 });
    }
  });
}

/** What a log that was opened anew says of the samples that were appended before. */
function remembered({ forgetsSamples = false }: LogFixture, samples: number): number {
  return forgetsSamples ? 0 : samples;
}

const nobody = { onAssigned() {}, onLost() {} };

/** The fixture as it is, then reopened. */
async function* beforeAndAfter(open: Log, reopen: () => Promise<Log>): AsyncGenerator<Log> {
  yield open;
  yield await reopen();
}

function bytes(text: string): Uint8Array {
  return Buffer.from(text);
}

function textOf(batch: Batch): string[] {
  return batch.records.map(({ value }) => Buffer.from(value).toString());
}

async function appendAll(log: Log, partition: number, texts: string[]): Promise<void> {
  await Promise.all(texts.map((text) => log.append('samples', partition, bytes(text), 1)));
}

/** Everything in a partition of `samples` from an offset to the end, in reads of a few records. */
async function contents(log: Log, partition: number, from: number): Promise<string[]> {
  const { high } = await log.bounds('samples', partition);
  const subscription = await log.subscribe('samples', nobody);
  const texts: string[] = [];
  for (let at = from; at < high; ) {
    const batch = await subscription.read(partition, at, 64, forever);
    texts.push(...textOf(batch));
    at = batch.next;
  }
  await subscription.close();
  return texts;
}

async function isPending(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol('pending');
  const timeout = new Promise((resolve) => setTimeout(resolve, 50, pending));
  return (await Promise.race([promise, timeout])) === pending;
}
