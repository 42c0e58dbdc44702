// Log and state for a command that works on them while the program does not run: opened, handed over, closed again,
// whatever happens. Nothing is deleted by retention meanwhile.

import { durationMs, type Settings, sizeBytes } from '../config.js';
import { openDataDir } from '../data-dir.js';
import { openLmdbLog } from '../log/lmdb-log.js';
import type { Log } from '../log/log.js';
import { openLmdbStore } from '../state/lmdb-store.js';
import type { StateStore } from '../state/state-store.js';

/** Rejects with data_dir_locked while the program runs. */
export async function withStorage<T>(
  settings: Settings,
  work: (storage: { log: Log; store: StateStore }) => Promise<T>,
): Promise<T> {
  const dir = await openDataDir(settings.dataDir);
  try {
    const never = { bytesMax: sizeBytes('1000TB'), ageMsMax: durationMs('5000w') };
    const log = await openLmdbLog(dir, {
      partitions: settings.log.partitions,
      retention: { samples: never, candidates: never },
      clock: Date.now,
    });
    try {
      return await work({ log, store: openLmdbStore(dir) });
    } finally {
      await log.close();
    }
  } finally {
    await dir.close();
  }
}
