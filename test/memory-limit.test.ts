import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { afterAll, expect, test } from 'vitest';
import { sizeBytes } from '../src/config.js';
import { CheckpointSchema } from '../src/gen/checkpoint_pb.js';
import { BYTES_PER_SERIES, PROCESS_BYTES, SERIES_PER_PARTITION_MAX } from '../src/limits.js';
import { memoryAllowance, seriesCeiling } from '../src/memory-limit.js';
import { settleCeiling, writtenCeiling } from '../src/series-ceiling.js';
import { MemoryStore } from './memory-store.js';
import { endPrograms } from './programs.js';
import { openSender, writeBody } from './remote-write-sender.js';
import {
  identityFaults,
  partitionsAtRest,
  readingOf,
  runTreeline,
  startTreeline,
} from './treeline-process.js';

const directory = mkdtempSync(join(tmpdir(), 'treeline-memory-'));
afterAll(async () => {
  await endPrograms();
  rmSync(directory, { recursive: true });
});

let roots = 0;
function root(files: Record<string, string>): string {
  const path = join(directory, String(roots++));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(join(path, name), `${text}\n`);
  }
  return path;
}

test('the smallest limit of our cgroup and its parents counts, of either version', async () => {
  const ok = async (files: Record<string, string>, want: object) =>
    expect(await memoryAllowance(root(files))).toEqual(want);
  const machine = { bytes: totalmem(), source: 'machine' };
  await ok({}, machine);
  const v2 = { 'proc/self/cgroup': '0::/a/b' };
  await ok(
    { ...v2, 'sys/fs/cgroup/a/b/memory.max': '1000000' },
    {
      bytes: 1_000_000,
      source: 'cgroup v2',
    },
  );
  await ok({ ...v2, 'sys/fs/cgroup/a/b/memory.max': 'max' }, machine);
  await ok(
    {
      ...v2,
      'sys/fs/cgroup/a/b/memory.max': 'max',
      'sys/fs/cgroup/a/memory.max': '3000',
      'sys/fs/cgroup/memory.max': '5000',
    },
    { bytes: 3000, source: 'cgroup v2' },
  );
  // Inside a container the path of the host is not mounted; its own limit lies at the mount point.
  await ok({ ...v2, 'sys/fs/cgroup/memory.max': '5000' }, { bytes: 5000, source: 'cgroup v2' });
  const v1 = { 'proc/self/cgroup': '5:cpu,cpuacct:/x\n4:memory:/a\n0::/' };
  const file = 'sys/fs/cgroup/memory/a/memory.limit_in_bytes';
  await ok({ ...v1, [file]: '7000' }, { bytes: 7000, source: 'cgroup v1' });
  await ok({ ...v1, [file]: '9223372036854771712' }, machine);
  await ok({ ...v1, [file]: 'nonsense' }, machine);
});

test('the ceiling follows from memory, and the setting may only lower it', () => {
  const allowance = { bytes: 4e9, source: 'machine' };
  const of = (memory: string, maxSeries: number, partitions = 4) =>
    seriesCeiling(allowance, { memory, maxSeries, partitions, sizeBytes });
  const fitting = Math.floor((2e9 - PROCESS_BYTES) / BYTES_PER_SERIES);
  const half = of('50%', 10_000_000);
  expect(half).toMatchObject({ boundBy: 'limits.memory', memoryBytes: 2e9 });
  expect(half.perPartition).toBe(Math.ceil(fitting / 4));
  expect(of('2GB', 10_000_000)).toEqual(half);
  expect(of('50%', 1001)).toMatchObject({
    boundBy: 'ingest.maxSeries',
    perPartition: 251,
    total: 1004,
  });
  expect(of('1MB', 1000).perPartition).toBe(1);
  expect(of('100TB', 20_000_000, 1)).toMatchObject({
    boundBy: 'one partition',
    perPartition: SERIES_PER_PARTITION_MAX,
  });
});

test('the ceiling is written down, and never falls below what is learnt', async () => {
  const store = new MemoryStore();
  expect(await writtenCeiling(store)).toBeUndefined();
  expect(await settleCeiling(store, 100)).toBe(100);
  expect(await settleCeiling(store, 50)).toBe(50);
  const manifest = (slotEnd: number) =>
    toBinary(CheckpointSchema, create(CheckpointSchema, { slotEnd }));
  await store.put('checkpoint/000/0000000000000007/manifest', manifest(60));
  await store.put('checkpoint/001/0000000000000009/manifest', manifest(80));
  await store.put('checkpoint/001/0000000000000009/000000', Buffer.from([255]));
  expect(await settleCeiling(store, 50)).toBe(80);
  expect(await writtenCeiling(store)).toBe(80);
  expect(await settleCeiling(store, 90)).toBe(90);
});

test('what is over the ceiling is counted, and a smaller one keeps what is learnt', async () => {
  const dataDir = join(directory, 'data');
  const start = (series: number) =>
    startTreeline({
      dataDir,
      args: ['--ingest-max-series', String(series), '--log-partitions', '1'],
    });
  const first = await start(2);
  expect(first.program.stderr()).toMatch(/Ceiling on scored series.* total=2 .*ingest\.maxSeries/);
  const at = Date.now() - 10_000;
  const send = async (url: string, point: number) => {
    const sender = openSender(url);
    const series = ['a', 'b', 'c'].map((name) => ({
      labels: { __name__: name },
      points: [[at + point, 1]] as [number, number][],
    }));
    expect((await sender.send(writeBody(series))).status).toBe(204);
    sender.close();
  };
  await send(first.url, 0);
  await partitionsAtRest(first);
  const outcomes = async (treeline: typeof first) => {
    const readings = await treeline.metrics();
    expect(identityFaults(readings)).toEqual([]);
    return ['applied', 'refused'].map((outcome) =>
      readingOf(readings, 'treeline_samples_total', { outcome }),
    );
  };
  expect(await outcomes(first)).toEqual([2, 1]);
  expect((await first.stop()).code).toBe(0);
  // One series would be all that is allowed: what is learnt stays, and the log says so.
  const second = await start(1);
  expect(second.program.stderr()).toContain('the ceiling stays at what is learnt');
  expect(readingOf(await second.metrics(), 'treeline_series_limit')).toBe(2);
  await send(second.url, 1000);
  await partitionsAtRest(second);
  expect(await outcomes(second)).toEqual([4, 2]);
  expect((await second.stop()).code).toBe(0);
  const args = ['run', '--verify-replay', '--data-dir', dataDir, '--log-partitions', '1'];
  expect(await runTreeline(args)).toMatchObject({ code: 0 });
});
