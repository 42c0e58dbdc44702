// `treeline run --verify-replay`: reads the log again from its beginning up to the newest checkpoint's offset, and compares
// the two states; from the older checkpoint where retention has deleted the beginning, or where the state was imported.
// Equal means that the state is what an uninterrupted run would have learnt.

import { createHash } from 'node:crypto';
import { detectorSetOf } from '../compose-detectors.js';
import { FOREST_SEED } from '../compose-scorer.js';
import type { Settings } from '../config.js';
import { OperatingError } from '../errors.js';
import { isMark } from '../history-mark.js';
import type { Logger } from '../http-server.js';
import { READ_BYTES_MAX } from '../limits.js';
import type { Log } from '../log/log.js';
import {
  type Lineage,
  listCheckpoints,
  restoreCheckpoint,
  stateHash,
  takeSnapshot,
} from '../scorer/checkpoint.js';
import type { DetectorSet } from '../scorer/detectors.js';
import { applyBlock } from '../scorer/history.js';
import { originOf } from '../scorer/origin.js';
import { Partition } from '../scorer/partition.js';
import { WasmForest } from '../scorer/wasm-forest.js';
import { writtenCeiling } from '../series-ceiling.js';
import type { StateStore } from '../state/state-store.js';
import { zoneChanges } from '../time-zone.js';
import { loadWasm } from '../wasm-files.js';
import { type Opened, withStorage } from './state-storage.js';

/** Prints a line per partition; rejects when a hash differs. */
export async function verifyReplay(settings: Settings, logger: Logger): Promise<void> {
  const different = await withStorage(settings, (opened) => verifyAll(opened, settings, logger), {
    logger,
  });
  if (different.length > 0) {
    throw new OperatingError(
      'checkpoint_corrupt',
      `The replayed state of partition ${different.join(', ')} differs from the saved one; to learn anew from the ` +
        'log, start with an empty state',
    );
  }
}

/** The partitions whose hashes differ. */
async function verifyAll(
  { log, store }: Opened,
  settings: Settings,
  logger: Logger,
): Promise<number[]> {
  const different: number[] = [];
  const seriesMax = (await writtenCeiling(store)) ?? settings.ingest.maxSeries;
  const { poison } = settings.log;
  const zone = zoneChanges(settings.timezone);
  const detectors = detectorSetOf(settings);
  for (let index = 0; index < log.partitions; index++) {
    const site = { log, store, logger, seriesMax, poison, zone, detectors };
    const { text, isEqual } = await verify(index, site);
    process.stdout.write(`partition ${index}: ${text}\n`);
    if (!isEqual) different.push(index);
  }
  return different;
}

async function verify(
  index: number,
  site: {
    log: Log;
    store: StateStore;
    logger: Logger;
    seriesMax: number;
    poison: 'stop' | 'quarantine';
    zone: Int32Array | undefined;
    detectors: DetectorSet | undefined;
  },
): Promise<{ text: string; isEqual: boolean }> {
  const { log, store, logger, seriesMax, poison, zone, detectors } = site;
  const forest = loadWasm('forest');
  const planted = { seriesMax, seed: FOREST_SEED, zone };
  const empty = () => new Partition(new WasmForest(forest.module, planted), seriesMax, detectors);
  const lineage: Lineage = {
    logId: log.id,
    partition: index,
    partitions: log.partitions,
    engineId: createHash('sha256').update(forest.bytes).digest(),
    seed: FOREST_SEED,
  };
  const { low, high } = await log.bounds('samples', index);
  const saved = empty();
  const newest = await restoreCheckpoint(store, saved, { lineage, high, logger });
  if (newest === undefined) return { text: 'no checkpoint', isEqual: true };
  const until = Number(newest.offset);
  const replayed = empty();
  let from = low;
  const importedAt = await originOf(store, lineage);
  const history = { from: 0, until: Number(newest.historyNext) };
  const isHistoryGone = history.until > 0 && (await log.bounds('backfill', index)).low > 0;
  if (low > 0 || importedAt !== undefined || isHistoryGone) {
    const older = (await listCheckpoints(store, index)).find(
      (offset) => offset < until && offset >= low,
    );
    if (older === undefined) {
      const why =
        importedAt === undefined
          ? `the log begins at ${low}${isHistoryGone ? ', and its history is gone' : ''}`
          : `the state was imported at ${importedAt}, and there is no older checkpoint`;
      return { text: `nothing to replay: ${why}`, isEqual: true };
    }
    await restoreCheckpoint(store, replayed, { lineage, high: older, logger });
    from = older;
  } else await replayHistory(log, replayed, { index, ...history });
  await replay(log, replayed, { index, from, until, poison });
  const [want, got] = [saved, replayed].map((partition) =>
    Buffer.from(stateHash(takeSnapshot(partition, lineage, until))).toString('hex'),
  );
  // The hash written with the checkpoint vouches for what was restored from it.
  const isEqual = want === got && want === Buffer.from(newest.stateHash).toString('hex');
  const before = history.until === 0 || from > 0 ? '' : `history to ${history.until}, `;
  const text = `${before}records ${from} to ${until}, saved ${want}, replayed ${got}`;
  return { text: `${isEqual ? 'equal' : 'DIFFERENT'}: ${text}`, isEqual };
}

/** As a cold partition reads it, up to where the saved state had read it. */
async function replayHistory(
  log: Log,
  partition: Partition,
  range: { index: number; from: number; until: number },
): Promise<void> {
  if (range.until === 0) return;
  const subscription = await log.subscribe('backfill', { onAssigned() {}, onLost() {} });
  const { signal } = new AbortController();
  for (let at = range.from; at < range.until; ) {
    const batch = await subscription.read(range.index, at, READ_BYTES_MAX, signal);
    for (const { offset, value } of batch.records) {
      if (offset < range.until && !isMark(value)) applyBlock(partition, value);
    }
    at = batch.next;
  }
  await subscription.close();
  partition.history.next = range.until;
}

async function replay(
  log: Log,
  partition: Partition,
  range: { index: number; from: number; until: number; poison: 'stop' | 'quarantine' },
): Promise<void> {
  const subscription = await log.subscribe('samples', { onAssigned() {}, onLost() {} });
  const { signal } = new AbortController();
  for (let at = range.from; at < range.until; ) {
    const batch = await subscription.read(range.index, at, READ_BYTES_MAX, signal);
    for (const { offset, value } of batch.records) {
      if (offset >= range.until) break;
      try {
        partition.apply(value);
      } catch (error) {
        // The saved state has passed over it too, if that is what scorers are told to do.
        const isUnreadable = error instanceof OperatingError && error.code === 'record_unreadable';
        if (!isUnreadable || range.poison !== 'quarantine') throw error;
      }
    }
    at = batch.next;
  }
  await subscription.close();
}
