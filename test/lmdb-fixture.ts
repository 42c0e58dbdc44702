// A data directory of its own for one test, under the system's temporary directory.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DataDir, openDataDir } from '../src/data-dir.js';
import type { LmdbLogSettings } from '../src/log/lmdb-log.js';

export const HOUR_MS = 3_600_000;

/** Nothing is ever beyond this retention. */
export const KEEP_ALL = { bytesMax: 1e12, ageMsMax: 1e6 * HOUR_MS };

export function settingsOf(partitions: number, settings: Partial<LmdbLogSettings> = {}): LmdbLogSettings {
  return {
    partitions,
    retention: { samples: KEEP_ALL, candidates: KEEP_ALL },
    clock: () => 1_700_000_000_000,
    ...settings,
  };
}

export async function emptyDirectory(): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'treeline-test-'));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

export async function withDataDir(body: (dir: DataDir) => Promise<void>): Promise<void> {
  const { path, remove } = await emptyDirectory();
  const dir = await openDataDir(path);
  try {
    await body(dir);
  } finally {
    await dir.close();
    await remove();
  }
}
