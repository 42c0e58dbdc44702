// Reads the samples log of a program that has been stopped, through the same adapter, and decodes
// it with the generated code: what a test says of the log does not rest on our own reader of
// blocks.

import { fromBinary } from '@bufbuild/protobuf';
import { openDataDir } from '../src/data-dir.js';
import { type SampleBlock, SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import { openLmdbLog } from '../src/log/lmdb-log.js';
import type { Label } from '../src/series.js';

const READ_BYTES = 8 * 1024 * 1024;
const KEEP_ALL = { bytesMax: Number.MAX_SAFE_INTEGER, ageMsMax: Number.MAX_SAFE_INTEGER };

/** Every record of every partition, in order. */
export async function readSampleLog(
  dataDir: string,
  partitions: number,
  visit: (block: SampleBlock, partition: number) => void,
): Promise<void> {
  const dir = await openDataDir(dataDir);
  const log = await openLmdbLog(dir, {
    partitions,
    retention: { samples: KEEP_ALL, candidates: KEEP_ALL },
    clock: Date.now,
  });
  const subscription = await log.subscribe('samples', { onAssigned() {}, onLost() {} });
  const { signal } = new AbortController();
  for (let partition = 0; partition < partitions; partition++) {
    const { low, high } = await log.bounds('samples', partition);
    if (low !== 0)
      throw new Error(`Partition ${partition} begins at ${low}: retention was at work`);
    for (let from = low; from < high; ) {
      const batch = await subscription.read(partition, from, READ_BYTES, signal);
      if (batch.gap > 0) throw new Error(`${batch.gap} records are missing at ${from}`);
      for (const { value } of batch.records) visit(fromBinary(SampleBlockSchema, value), partition);
      from = batch.next;
    }
  }
  await subscription.close();
  await log.close();
  await dir.close();
}

/** A small log whole: the points of each series, by the text that `keyOf` makes of its labels. */
export async function readLoggedSeries(
  dataDir: string,
  options: { partitions: number; keyOf: (labels: readonly Label[]) => string },
): Promise<Map<string, [timestampMs: number, value: number][]>> {
  const keys = new Map<bigint, string>();
  const points = new Map<string, [number, number][]>();
  const bits = new BigUint64Array(1);
  const value = new Float64Array(bits.buffer);
  await readSampleLog(dataDir, options.partitions, (block) => {
    for (const { fingerprint, label } of block.series) {
      const key = options.keyOf(label);
      keys.set(fingerprint, key);
      if (!points.has(key)) points.set(key, []);
    }
    for (let i = 0; i < block.fingerprint.length; i++) {
      const key = keys.get(block.fingerprint[i] as bigint);
      if (key === undefined) throw new Error('A sample comes before its series is announced');
      bits[0] = block.valueBits[i] as bigint;
      points.get(key)?.push([Number(block.timestampMs[i]), value[0] as number]);
    }
  });
  return points;
}
