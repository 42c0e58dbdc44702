// Log and state for a command that works on them while no scorer does: opened, handed over, closed again, whatever
// happens. Nothing is deleted by retention meanwhile.

import type { Settings } from '../config.js';
import { OperatingError } from '../errors.js';
import type { Logger } from '../http-server.js';
import type { Log } from '../log/log.js';
import { createMetrics } from '../metrics.js';
import type { StateStore } from '../state/state-store.js';
import { openStorage } from '../storage.js';
import { version } from '../version.js';

const WAIT_MS_MAX = 30_000;
const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {} };

export interface Opened {
  log: Log;
  store: StateStore;
}

/**
 * Rejects with data_dir_locked while the program runs on the same directory; with `alone`, also while any scorer is at
 * work on the log. Brokers that are away are waited for, for half a minute.
 */
export async function withStorage<T>(
  settings: Settings,
  work: (opened: Opened) => Promise<T>,
  { alone = false, logger = SILENT }: { alone?: boolean; logger?: Logger } = {},
): Promise<T> {
  const ending = new AbortController();
  let reason = 'the log does not answer';
  const timer = setTimeout(
    () => ending.abort(new OperatingError('log_unavailable', `Given up after 30 s: ${reason}`)),
    WAIT_MS_MAX,
  );
  // What a scorer would open: it is the scorers' state.
  const storage = await openStorage(
    { ...settings, roles: ['scorer'] },
    {
      logger,
      clock: Date.now,
      metrics: createMetrics(version()),
      onWait: (why) => {
        reason = why;
      },
      signal: ending.signal,
    },
  ).finally(() => clearTimeout(timer));
  try {
    const store = storage.checkpoints as StateStore;
    const atWork = alone ? await storage.scorersAtWork() : 0;
    if (atWork > 0) {
      throw new OperatingError(
        'data_dir_locked',
        `${atWork === 1 ? 'A scorer is' : `${atWork} scorers are`} at work on the log ${settings.log.prefix}; ` +
          'stop every scorer first',
      );
    }
    return await work({ log: storage.log, store });
  } finally {
    await storage.close();
  }
}
