// When the state of which partition is saved: each at most once per interval, the one longest without a checkpoint
// first, and one at a time, so that no more than one copy of a partition's memory exists. A partition that has been
// lost is not saved any more; what of it is being written is finished, because it is true whoever owns it now.

import type { Logger } from '../http-server.js';
import { CHECKPOINTS_KEPT, WINDOWS_SAVED_MS } from '../limits.js';
import type { Metrics } from '../metrics.js';
import type { StateStore } from '../state/state-store.js';
import {
  checkpointsOf,
  type Lineage,
  listCheckpoints,
  takeSnapshot,
  writeCheckpoint,
} from './checkpoint.js';
import type { Partition } from './partition.js';
import { writeWindows } from './saved-windows.js';

/** A partition of this process. */
export interface Owned {
  index: number;
  partition: Partition;
  /** Candidates of the batch in work, not yet in the log. */
  outputs: Uint8Array[];
  /** Of these, how many carry a window. */
  windowCount: number;
  /** Offset that the state stands at, in the log that it reads; undefined while a batch is in work, when state and outputs are ahead of it. */
  settled: number | undefined;
  saved?: { offset: number; at: number; hash: string };
  /** When all windows were saved last, and up to which offset they reached at least. */
  windowsSaved?: { offset: number; at: number };
  /** When it was saved last, or tried to. */
  triedAt?: number;
}

export interface SaverParts {
  store: StateStore;
  metrics: Metrics;
  logger: Logger;
  clock: () => number;
  /** Deletes what retention no longer keeps; never called for records that no checkpoint covers. */
  trim: (partition: number, keepFrom: number, historyFrom: number) => Promise<void>;
  lineage: (partition: number) => Lineage;
  owned: () => Iterable<Owned>;
  intervalMs: number;
}

export class Saver {
  readonly #parts: SaverParts;
  #saving: Promise<void> | undefined;

  constructor(parts: SaverParts) {
    this.#parts = parts;
  }

  /** Begins to save what is due, unless that is being done. The state is copied at once; nobody waits for the disk. */
  saveWhenDue(): void {
    if (this.#saving !== undefined) return;
    const next = this.#due();
    if (next === undefined) return;
    this.#saving = this.#save(next.owned, next.offset).finally(() => {
      this.#saving = undefined;
      this.saveWhenDue();
    });
  }

  /** Everything that is settled and not saved. */
  async saveAll(): Promise<void> {
    for (const owned of [...this.#parts.owned()]) {
      while (this.#saving !== undefined) await this.#saving;
      const { settled, saved } = owned;
      if (settled === undefined) continue;
      if (settled !== saved?.offset) await this.#save(owned, settled, true);
      else if (settled !== owned.windowsSaved?.offset) await this.#saveLast(owned, settled);
    }
  }

  #due(): { owned: Owned; offset: number } | undefined {
    const { clock, intervalMs } = this.#parts;
    const now = clock();
    let first: { owned: Owned; offset: number } | undefined;
    for (const owned of this.#parts.owned()) {
      const { settled, saved, triedAt = Number.NEGATIVE_INFINITY } = owned;
      if (settled === undefined || settled === saved?.offset) continue;
      // Negative: the clock was set back, and may have been set back by a day.
      if (now >= triedAt && now - triedAt < intervalMs) continue;
      if (first === undefined || triedAt < (first.owned.triedAt ?? Number.NEGATIVE_INFINITY))
        first = { owned, offset: settled };
    }
    return first;
  }

  /** Never rejects: without a checkpoint the next start replays more, and nothing is lost. */
  async #save(owned: Owned, offset: number, isLast = false): Promise<void> {
    const { store, clock, logger, metrics, trim, lineage } = this.#parts;
    const { index } = owned;
    const snapshot = takeSnapshot(owned.partition, lineage(index), offset);
    owned.triedAt = clock();
    try {
      await this.#saveWindows(owned, offset, isLast);
      await writeCheckpoint(store, snapshot);
      const hash = Buffer.from(snapshot.manifest.stateHash).toString('hex');
      owned.saved = { offset, at: clock(), hash };
      // The log must reach back to the oldest checkpoint that may have to be fallen back to.
      const all = await listCheckpoints(store, index);
      const own = await checkpointsOf(store, lineage(index), all);
      // History is read again only by a state that has nothing else.
      const historyFrom = own.length < CHECKPOINTS_KEPT ? 0 : owned.partition.history.next;
      await trim(index, own.at(-1) ?? 0, historyFrom);
    } catch (error) {
      metrics.checkpointFailures.inc();
      const fields = { partition: index, offset, err: error as Error };
      logger.error(fields, 'Checkpoint failed; the next one is tried at the next interval');
    }
  }

  /** Its state is saved, its windows are not. */
  async #saveLast(owned: Owned, offset: number): Promise<void> {
    const { logger } = this.#parts;
    try {
      await this.#saveWindows(owned, offset, true);
    } catch (error) {
      const fields = { partition: owned.index, err: error as Error };
      logger.error(fields, 'Windows not saved; the next start finds them with a gap');
    }
  }

  async #saveWindows(owned: Owned, offset: number, isLast: boolean): Promise<void> {
    const { store, clock, lineage } = this.#parts;
    const { index, partition, windowsSaved } = owned;
    const { windows } = partition.forest;
    if (windows === undefined) return;
    const now = clock();
    const since = now - (windowsSaved?.at ?? Number.NEGATIVE_INFINITY);
    // Negative: the clock was set back.
    const isDue = isLast || since >= WINDOWS_SAVED_MS || since < 0;
    const blocks = isDue ? windows.blocks(partition.slots.slotEnd) : [...windows.disturbed];
    await writeWindows(store, lineage(index), { windows, blocks });
    if (isDue) owned.windowsSaved = { offset, at: now };
  }
}
