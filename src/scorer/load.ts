// Brings the state of a partition back from the newest checkpoint that the log still fits. A checkpoint beyond the end
// of its log means that the log was cut off: once that is certain the checkpoint is deleted, because when the log has
// grown past its offset again it would be taken for a state that it is not. Without one, a checkpoint in the middle of the
// history that comes before the samples is taken.
//
// Another process may own the partition meanwhile, or think so, and save and clean up while we read: a checkpoint that was
// there a moment ago is then gone because there is a newer one, which is not the same as having none.

import { OperatingError } from '../errors.js';
import type { Logger } from '../http-server.js';
import { RETRY_MS_MIN, TRUNCATION_MS_MIN } from '../limits.js';
import type { Log } from '../log/log.js';
import type { Metrics } from '../metrics.js';
import type { Pace } from '../pace.js';
import type { StateStore } from '../state/state-store.js';
import {
  checkpointsOf,
  deleteCheckpoint,
  isOfNothing,
  type Lineage,
  listCheckpoints,
  restoreCheckpoint,
} from './checkpoint.js';
import type { DetectorSet } from './detectors.js';
import { Partition } from './partition.js';
import { forgetWindows, readWindows } from './saved-windows.js';
import type { WasmForest } from './wasm-forest.js';

export interface LoadParts {
  log: Log;
  store: StateStore;
  createForest: (seriesMax: number) => WasmForest;
  metrics: Metrics;
  logger: Logger;
  pace: Pace;
  seriesMax: number;
  detectors?: DetectorSet;
}

export interface Loaded {
  partition: Partition;
  /** Offset to read from. */
  from: number;
  /** No sample has been applied: history comes first, if there is any. */
  isCold: boolean;
  /** Of the checkpoint; undefined when there was none. */
  hash: string | undefined;
  low: number;
  high: number;
}

/**
 * Undefined when the signal was aborted before the state was there. Rejects with a retryable OperatingError when the
 * checkpoints were others before everything of one of them was read.
 */
export async function loadPartition(
  parts: LoadParts,
  lineage: Lineage,
  signal: AbortSignal,
): Promise<Loaded | undefined> {
  const { store, logger, createForest, seriesMax, detectors } = parts;
  const { newest, ...bounds } = await boundsOfLog(parts, lineage, signal);
  if (signal.aborted) return undefined;
  const partition = new Partition(createForest(seriesMax), seriesMax, detectors);
  const options = { lineage, high: bounds.high, logger };
  let manifest = await restoreCheckpoint(store, partition, options);
  if (manifest === undefined) await expectNewest(store, lineage, newest);
  const isCold = manifest === undefined || isOfNothing(manifest);
  if (isCold) {
    const { high } = await parts.log.bounds('backfill', lineage.partition);
    manifest = await restoreCheckpoint(store, partition, { ...options, high, reading: 'history' });
  }
  const { windows } = partition.forest;
  if (windows === undefined) await forgetWindows(store, lineage.partition);
  if (manifest !== undefined && windows !== undefined && !signal.aborted) {
    const unusable = await readWindows(store, lineage, windows);
    const fields = { partition: lineage.partition, unusable };
    if (unusable > 0) logger.warn(fields, 'Windows are damaged or of another log; they fill again');
  }
  if (signal.aborted) return undefined;
  return {
    partition,
    from: manifest === undefined ? 0 : Number(manifest.offset),
    isCold,
    hash: manifest === undefined ? undefined : Buffer.from(manifest.stateHash).toString('hex'),
    ...bounds,
  };
}

/** None of the checkpoints could be taken. That means something only if they are those that were looked for. */
async function expectNewest(
  store: StateStore,
  { partition }: Lineage,
  newest: number | undefined,
): Promise<void> {
  const [now] = await listCheckpoints(store, partition);
  if (now === newest) return;
  const text = `The checkpoints of partition ${partition} changed while they were read: another process saves them`;
  throw new OperatingError('store_unavailable', text);
}

/** Of the partition's log, with no checkpoint of it beyond its end, and the newest checkpoint that was there before. */
async function boundsOfLog(
  { log, store, metrics, logger, pace }: LoadParts,
  lineage: Lineage,
  signal: AbortSignal,
): Promise<{ low: number; high: number; newest: number | undefined }> {
  const { partition } = lineage;
  for (let waited = 0; ; waited += RETRY_MS_MIN) {
    // In this order: another owner may be reading on, and what it saves is not beyond an end that is asked for later.
    const offsets = await listCheckpoints(store, partition);
    const { low, high } = await log.bounds('samples', partition);
    const beyond = await checkpointsOf(
      store,
      lineage,
      offsets.filter((offset) => offset > high),
    );
    if (beyond.length === 0 || signal.aborted) return { low, high, newest: offsets[0] };
    if (waited < TRUNCATION_MS_MIN) {
      await pace.sleep(RETRY_MS_MIN, signal);
      continue;
    }
    metrics.truncations.inc({ topic: 'samples', partition: String(partition) });
    logger.error(
      { partition, high, checkpoints: beyond },
      'The log ends before these checkpoints: it was cut off, records that had been scored are gone; the checkpoints ' +
        'are deleted and an older one is taken',
    );
    for (const offset of beyond) await deleteCheckpoint(store, partition, offset);
  }
}
