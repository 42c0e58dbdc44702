// A data directory of its own for one test, under the system's temporary directory.

import { type DataDir, openDataDir } from '../src/data-dir.js';
import type { LmdbLogSettings } from '../src/log/lmdb-log.js';
import { removeDirectory, temporaryDirectory } from './programs.js';

export const HOUR_MS = 3_600_000;

/** Nothing is ever beyond this retention. */
export const KEEP_ALL = { bytesMax: 1e12, ageMsMax: 1e6 * HOUR_MS };

export function settingsOf(
  partitions: number,
  settings: Partial<LmdbLogSettings> = {},
): LmdbLogSettings {
  return {
    partitions,
    retention: { samples: KEEP_ALL, candidates: KEEP_ALL },
    clock: () => 1_700_000_000_000,
    ...settings,
  };
}

export async function withDataDir(body: (dir: DataDir) => Promise<void>): Promise<void> {
  const path = temporaryDirectory('lmdb');
  const dir = await openDataDir(path);
  try {
    await body(dir);
  } finally {
    await dir.close();
    removeDirectory(path);
  }
}
