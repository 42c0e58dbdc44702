// The embedded log: durable appends by 1, 8 and 32 writers, reads, and bytes on disk for a sample.
// Goals: what an acknowledgement costs beside the plain write and fdatasync of the same bytes,
// measured first on the same disk; the longest time the event loop stood still; that what is read
// is what was appended (the hash). No goal: HTTP, scoring.
//
//   node dist/bench/log.bench.js [--smoke]

import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { create, toBinary } from '@bufbuild/protobuf';
import { type DataDir, openDataDir } from '../src/data-dir.js';
import { SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import { type LmdbLog, openLmdbLog } from '../src/log/lmdb-log.js';
import { removeDirectory, temporaryDirectory } from '../test/programs.js';
import { randomOf } from '../test/random.js';

const isSmoke = process.argv.includes('--smoke');
const ROUND_MS = isSmoke ? 100 : 3_000;
const PARTITIONS = 4;
const SEED = 4711;
const READ_BYTES = 4 * 1024 * 1024;
const SAMPLE_BYTES = 24;
/** Blocks are made beforehand and taken in turn: the log is measured, not the making of blocks. */
const BLOCKS = 16;
const KEEP_ALL = { bytesMax: 1e12, ageMsMax: 1e12 };
const SIZES = [340, 4266];
const WRITERS = [1, 8, 32];

interface Block {
  value: Uint8Array;
  samples: number;
}

console.log(`${cpus()[0]?.model ?? 'unknown CPU'}, Node ${process.version}, seed ${SEED}`);
for (const samples of SIZES) {
  const blocks = Array.from({ length: BLOCKS }, (_, index) => blockOf(samples, SEED + index));
  const kilobytes = ((samples * SAMPLE_BYTES) / 1000).toFixed(0);
  console.log(`\nrecords of ${samples} samples, about ${kilobytes} KB`);
  await measureDisk(blocks);
  for (const writers of WRITERS) await measure(blocks, writers);
}

/**
 * A scrape of gauges and counters: random fingerprints, one timestamp, values with many and with
 * few digits.
 */
function blockOf(samples: number, seed: number): Block {
  const random = randomOf(seed);
  const u64 = () =>
    (BigInt(Math.floor(random() * 2 ** 32)) << 32n) | BigInt(Math.floor(random() * 2 ** 32));
  const float = new Float64Array(1);
  const bits = new BigUint64Array(float.buffer);
  const valueBits = Array.from({ length: samples }, (_, index) => {
    const magnitude = random() * 1e6;
    float[0] = index % 3 === 0 ? Math.floor(magnitude) : magnitude;
    return bits[0] as bigint;
  });
  const block = create(SampleBlockSchema, {
    fingerprint: Array.from({ length: samples }, u64),
    timestampMs: Array.from({ length: samples }, () => BigInt(1_763_680_100_000 + seed)),
    valueBits,
  });
  return { value: toBinary(SampleBlockSchema, block), samples };
}

/** What the disk does by itself: one writer, write and fdatasync. */
async function measureDisk(blocks: readonly Block[]): Promise<void> {
  const directory = temporaryDirectory('bench-disk');
  const file = await open(join(directory, 'plain'), 'w');
  const latencies: number[] = [];
  const end = performance.now() + ROUND_MS;
  for (let i = 0; performance.now() < end; i++) {
    const { value } = blocks[i % blocks.length] as Block;
    const begin = performance.now();
    await file.write(value);
    await file.datasync();
    latencies.push(performance.now() - begin);
  }
  await file.close();
  removeDirectory(directory);
  console.log(`  plain write + fdatasync, 1 writer   ${rates(latencies, blocks)}`);
}

async function measure(blocks: readonly Block[], writers: number): Promise<void> {
  const directory = temporaryDirectory('bench-log');
  const dir = await openDataDir(directory);
  const retention = { samples: KEEP_ALL, candidates: KEEP_ALL };
  const log = await openLmdbLog(dir, { partitions: PARTITIONS, retention, clock: Date.now });
  const loop = monitorEventLoopDelay({ resolution: 1 });
  const latencies: number[] = [];
  let count = 0;
  loop.enable();
  const before = process.cpuUsage();
  const end = performance.now() + ROUND_MS;
  const write = async () => {
    while (performance.now() < end) {
      const number = count++;
      const { value, samples } = blocks[number % blocks.length] as Block;
      const begin = performance.now();
      await log.append('samples', number % PARTITIONS, value, samples);
      latencies.push(performance.now() - begin);
    }
  };
  await Promise.all(Array.from({ length: writers }, write));
  const cpu = process.cpuUsage(before);
  loop.disable();
  const samples = count * (blocks[0] as Block).samples;
  const cpuNs = ((cpu.user + cpu.system) * 1000) / samples;
  console.log(
    `  ${String(writers).padStart(2)} writers  ${rates(latencies, blocks)}, ` +
      `loop stood still ${(loop.max / 1e6).toFixed(0)} ms at most, CPU ${cpuNs.toFixed(0)} ns/sample`,
  );
  if (writers === WRITERS.at(-1)) {
    console.log(
      `  on disk ${(usedBytes(dir) / samples).toFixed(1)} of ${SAMPLE_BYTES} bytes per sample`,
    );
    await measureReads(log, blocks);
  }
  await log.close();
  await dir.close();
  removeDirectory(directory);
}

async function measureReads(log: LmdbLog, blocks: readonly Block[]): Promise<void> {
  const subscription = await log.subscribe('samples', { onAssigned() {}, onLost() {} });
  const { signal } = new AbortController();
  let bytes = 0;
  let elapsedMs = 0;
  const hash = createHash('sha256');
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const { high } = await log.bounds('samples', partition);
    for (let from = 0; from < high; ) {
      const begin = performance.now();
      const batch = await subscription.read(partition, from, READ_BYTES, signal);
      elapsedMs += performance.now() - begin;
      for (const { offset, value } of batch.records) {
        bytes += value.length;
        if (partition === 0 && offset < BLOCKS) hash.update(value);
      }
      from = batch.next;
    }
  }
  const megabytes = (bytes / 1e3 / elapsedMs).toFixed(0);
  const { length } = (blocks[0] as Block).value;
  const result = hash.digest('hex').slice(0, 16);
  console.log(`  reads ${megabytes} MB/s of ${length}-byte records, result ${result}`);
}

/** Pages that hold something, of trees and of values. */
function usedBytes(dir: DataDir): number {
  const { lastPageNumber, pageSize } = dir.environment.getStats() as {
    lastPageNumber: number;
    pageSize: number;
  };
  return (lastPageNumber + 1) * pageSize - dir.reusableBytes();
}

function rates(latencies: number[], blocks: readonly Block[]): string {
  latencies.sort((a, b) => a - b);
  const at = (share: number) => (latencies[Math.floor(share * latencies.length)] ?? 0).toFixed(1);
  const perSecond = (latencies.length * 1000) / ROUND_MS;
  const megabytes = (perSecond * (blocks[0] as Block).value.length) / 1e6;
  return (
    `${perSecond.toFixed(0).padStart(5)} appends/s, ${megabytes.toFixed(0).padStart(3)} MB/s, ` +
    `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`
  );
}
