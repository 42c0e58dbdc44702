// Learnt state carried to other installations: nothing of it is lost, whatever the number of partitions, and what comes
// next is scored as if nothing had been moved.

import { fromBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { seriesPlacement } from '../src/cli/state-placement.js';
import { CheckpointSchema } from '../src/gen/checkpoint_pb.js';
import { SERIES_IDLE_MS } from '../src/limits.js';
import { ROW_DERIVED, ROW_LEFT_OUT, ROW_SCORED } from '../src/scorer/state-file.js';
import { importState } from '../src/scorer/state-import.js';
import { MemoryStore } from './memory-store.js';
import {
  BEGIN,
  contentsOf,
  fleet,
  Installation,
  layout,
  MINUTE,
  sourceOf,
} from './state-installation.js';

const SEED = 20_061;

async function sendMinutes(
  to: Installation,
  scrape: ReturnType<typeof fleet>,
  from: number,
  until: number,
): Promise<void> {
  for (let minute = from; minute < until; minute++) await to.send(scrape(minute));
  await to.learn();
}

async function learnt(partitions: number, minutes = 260): Promise<Installation> {
  const installation = new Installation(partitions);
  await sendMinutes(installation, fleet(SEED), 0, minutes);
  return installation;
}

test('from 4 to 3 to 7 to 4 partitions every series keeps its record, labels and histograms', async () => {
  const first = await (await learnt(4)).export();
  const want = await contentsOf(first);
  const flags = (flag: number) => [...want.rows.values()].filter((row) => row.flags & flag).length;
  expect([flags(ROW_SCORED) > 40, flags(ROW_LEFT_OUT), flags(ROW_DERIVED)]).toEqual([true, 2, 18]);
  expect(want.histograms).toBe(6);
  let file = first;
  for (const partitions of [3, 7, 4]) {
    const target = new Installation(partitions);
    const report = await target.import(file);
    expect(report.partitions.filter((count) => count > 0).length).toBeGreaterThan(1);
    expect([report.leftOut, report.begunAnew]).toEqual([0, 0]);
    file = await target.export();
    const got = await contentsOf(file);
    expect(got.learnt).toBe(want.learnt);
    expect(got.histograms).toBe(want.histograms);
    expect(got.rows.size).toBe(want.rows.size);
    for (const [fingerprint, row] of want.rows) {
      expect([fingerprint, got.rows.get(fingerprint)]).toEqual([fingerprint, row]);
    }
  }
});

test('after each move scores and candidates are those of a run that never moved', async () => {
  const stay = new Installation(4);
  let moving = new Installation(4);
  const [scrapes, same] = [fleet(SEED), fleet(SEED)];
  await sendMinutes(stay, scrapes, 0, 300);
  await sendMinutes(moving, same, 0, 300);
  const candidates = new Set(hexOf(moving.candidates()));
  for (const [step, partitions] of [3, 7, 1, 4].entries()) {
    const file = await moving.export();
    // The one who stays starts anew too, so that both announce every series again.
    const next = new Installation(4, { store: stay.store, log: stay.log });
    moving = new Installation(partitions);
    await moving.import(file);
    const from = 300 + 61 * step;
    await sendMinutes(next, scrapes, from, from + 61);
    await sendMinutes(moving, same, from, from + 61);
    const [want, got] = await Promise.all([next.export(), moving.export()].map(learntOf));
    expect([partitions, got]).toEqual([partitions, want]);
    for (const candidate of hexOf(moving.candidates())) candidates.add(candidate);
  }
  expect(stay.candidates().length).toBeGreaterThan(40);
  expect([...candidates].sort()).toEqual(hexOf(stay.candidates()));
});

const hexOf = (all: Buffer[]) => all.map((bytes) => bytes.toString('hex'));

async function learntOf(file: Promise<Buffer>): Promise<string> {
  return (await contentsOf(await file)).learnt;
}

test('the same state gives the same bytes, and says what it was learnt from', async () => {
  const installation = await learnt(2, 30);
  const [one, other] = [await installation.export(), await installation.export()];
  expect(one.equals(other)).toBe(true);
  await installation.send(fleet(SEED)(30));
  await installation.learn();
  expect((await installation.export()).equals(one)).toBe(false);
});

test('a series that was silent in a partition that was behind is not forgotten in one that was ahead', async () => {
  const from = new Installation(4);
  const late = { __name__: 'late', instance: 'host-1:9100' };
  const ahead = { __name__: 'ahead', instance: 'host-2:9100' };
  const aheadMs = BEGIN + 2 * SERIES_IDLE_MS;
  for (let minute = 0; minute < 130; minute++) {
    const at = minute * MINUTE;
    await from.send([{ labels: late, samples: [{ timestampMs: BEGIN + at, value: minute % 5 }] }]);
    await from.send([{ labels: ahead, samples: [{ timestampMs: aheadMs + at, value: 1 }] }]);
  }
  await from.learn();
  const target = new Installation(1);
  await target.import(await from.export());
  // An idle sweep comes with the first sample of the next hour but one.
  const next = aheadMs + 5 * 60 * MINUTE;
  await target.send([{ labels: ahead, samples: [{ timestampMs: next, value: 1 }] }]);
  await target.learn();
  const names = (rows: Map<string, { announcement: Uint8Array }>) =>
    [...rows.values()].map(
      ({ announcement }) => /late|ahead/.exec(String(Buffer.from(announcement)))?.[0],
    );
  expect(names((await contentsOf(await target.export())).rows).sort()).toEqual(['ahead', 'late']);
});

test('a histogram whose buckets do not meet begins anew, and its derived series stay', async () => {
  const file = await (await learnt(2, 120)).export();
  const target = new Installation(5, { partitionBy: [['le'], ['namespace', 'pod'], ['instance']] });
  const report = await target.import(file);
  expect(report.begunAnew).toBe(3);
  const [want, got] = [await contentsOf(file), await contentsOf(await target.export())];
  expect(got.histograms).toBe(want.histograms - 3);
  expect(got.rows.size).toBe(want.rows.size);
  for (const [fingerprint, { record }] of want.rows) {
    expect([fingerprint, got.rows.get(fingerprint)?.record]).toEqual([fingerprint, record]);
  }
});

test('tenants keep their series apart', async () => {
  const from = new Installation(3);
  for (let minute = 0; minute < 20; minute++) {
    const scrape = fleet(SEED + minute)(minute);
    await from.send(scrape, { tenant: 'north' });
    await from.send(scrape, { tenant: 'south' });
  }
  await from.learn();
  const want = await contentsOf(await from.export());
  const target = new Installation(2);
  await target.import(await from.export());
  expect((await contentsOf(await target.export())).rows).toEqual(want.rows);
});

test('the counters of the target are those of its own log', async () => {
  const file = await (await learnt(2, 20)).export();
  const target = new Installation(3);
  await target.import(file);
  const keys = (await target.store.list('checkpoint/')).filter((key) => key.endsWith('/manifest'));
  expect(keys.length).toBe(3);
  for (const key of keys) {
    const bytes = (await target.store.get(key)) as Uint8Array;
    const { outcomes, offset } = fromBinary(CheckpointSchema, bytes);
    expect([outcomes?.applied, outcomes?.unscored, offset]).toEqual([0, 0, 0n]);
  }
});

test('a target that was started and has learnt nothing may be imported into', async () => {
  const file = await (await learnt(2, 20)).export();
  const target = new Installation(3);
  await target.learn();
  expect(await target.store.list('checkpoint/')).toHaveLength(6);
  await target.import(file);
  const [got, want] = await Promise.all([target.export(), Promise.resolve(file)].map(learntOf));
  expect(got).toBe(want);
});

test('a target that has learnt something, or whose log is not empty, is left alone', async () => {
  const file = await (await learnt(2, 20)).export();
  const taken = await learnt(2, 5);
  await expect(taken.import(file, { force: true })).rejects.toThrow(/has learnt something already/);
  const logged = new Installation(2);
  await logged.send(fleet(SEED)(0));
  await expect(logged.import(file)).rejects.toThrow(/has taken 2 records already.*--force/);
  expect(await logged.store.list('')).toEqual([]);
  const report = await logged.import(file, { force: true });
  expect(report.recordsPassed).toBe(2);
  await logged.learn();
  const [got, want] = await Promise.all([logged.export(), Promise.resolve(file)].map(learntOf));
  expect(got).toBe(want);
});

test('an import that fails leaves nothing behind, and one that was killed is begun again', async () => {
  const file = await (await learnt(2, 20)).export();
  const kept = new Map();
  class FullStore extends MemoryStore {
    putsLeft = 4;
    override async put(key: string, value: Uint8Array): Promise<void> {
      if (this.putsLeft-- === 0) throw new Error('no space');
      await super.put(key, value);
    }
  }
  const full = new Installation(3, { store: new FullStore(kept) });
  await expect(full.import(file)).rejects.toThrow('no space');
  expect(await full.store.list('')).toEqual([]);
  // A process that is killed cannot tidy up.
  kept.set('checkpoint/002/0000000000000000/000007', { value: Buffer.from('chunk'), version: -1 });
  const again = new Installation(3, { store: new MemoryStore(kept) });
  await again.import(file);
  expect([...kept.keys()].filter((key) => key.endsWith('000007'))).toEqual([]);
  expect(await learntOf(again.export())).toBe(await learntOf(Promise.resolve(file)));
});

test('a file that is cut short, flipped anywhere or longer than it was is refused with a sentence', async () => {
  const file = await (await learnt(2, 12)).export();
  const target = new Installation(2);
  const refused = async (bytes: Buffer, where: string) => {
    const error = await target.import(bytes).then(
      () => undefined,
      (reason: unknown) => reason as { code?: string; message: string },
    );
    expect([where, error?.code]).toEqual([
      where,
      expect.stringMatching(/^(input_invalid|data_dir_newer)$/),
    ]);
    expect(error?.message).toMatch(/^Cannot read learnt\.tls: \S/);
    expect(await target.store.list('')).toEqual([]);
  };
  for (let at = 0; at < file.length; at += Math.max(1, Math.floor(file.length / 150))) {
    const flipped = Buffer.from(file);
    flipped[at]! ^= 1 << (at % 8);
    await refused(flipped, `bit ${at % 8} of byte ${at}`);
    await refused(file.subarray(0, at), `cut at ${at}`);
  }
  await refused(file.subarray(0, -1), 'cut at its last byte');
  await refused(Buffer.concat([file, file]), 'twice');
  await refused(Buffer.from('timestamp,value\n1,2\n3,4\n'), 'a CSV file');
}, 60_000);

test('a file of a newer Treeline, or of another table of trees, is refused', async () => {
  const installation = await learnt(2, 12);
  const refused = async (other: Partial<typeof layout>, sentence: RegExp) => {
    const file = sourceOf(await installation.export());
    const { log, store } = new Installation(2);
    const place = seriesPlacement(2, [['instance']]);
    const site = { log, store, place, layout: { ...layout, ...other } };
    await expect(importState(file, site)).rejects.toThrow(sentence);
  };
  await refused(
    { recordFormat: layout.recordFormat - 1 },
    /written by a newer Treeline \(record format \d+\)/,
  );
  await refused(
    { recordFormat: layout.recordFormat + 1 },
    /its recordFormat is \d+, this Treeline has/,
  );
  await refused({ seed: 2 }, /its seed is 1, this Treeline has 2/);
});

test('chunks of a checkpoint that never was finished go with the next one that is', async () => {
  const installation = await learnt(1, 5);
  const orphans = [
    'checkpoint/000/0000000000000003/000000',
    'checkpoint/000/0000000000000004/000001',
  ];
  for (const key of orphans) await installation.store.put(key, Buffer.from('chunk'));
  for (let minute = 5; minute < 9; minute++) {
    await installation.send(fleet(SEED)(minute));
    await installation.learn();
  }
  const keys = await installation.store.list('checkpoint/');
  expect(keys.filter((key) => orphans.includes(key))).toEqual([]);
  expect(keys.map((key) => Number(key.split('/')[2]))).toEqual([8, 8, 9, 9]);
});

test('a damaged newest checkpoint gives way to the one before it; without any there is nothing to export', async () => {
  const installation = await learnt(1, 12);
  const before = await learntOf(installation.export());
  await installation.send(fleet(SEED)(12));
  await installation.learn();
  const chunks = (await installation.store.list('checkpoint/000/')).filter(
    (key) => !key.endsWith('manifest'),
  );
  const newest = chunks.at(-1) as string;
  const bytes = (await installation.store.get(newest)) as Uint8Array;
  bytes[100]! ^= 1;
  await installation.store.put(newest, bytes);
  expect(await learntOf(installation.export())).toBe(before);
  for (const key of chunks) await installation.store.put(key, Buffer.from('x'));
  await expect(installation.export()).rejects.toThrow(/None of the checkpoints of partition 0/);
  await installation.store.deleteAll('');
  await expect(installation.export()).rejects.toThrow(/no learnt state to export/);
});
