// What the parts of the composition root share: the settings, what has been opened from them, and the lists to which each
// role adds what is asked about its health, what ends the process, what a reload changes and what a stop undoes.

import type { Settings } from './config.js';
import type { Check } from './health.js';
import type { HttpServer, Logger } from './http-server.js';
import type { Log } from './log/log.js';
import type { Metrics } from './metrics.js';
import type { Step } from './reload.js';
import type { Storage } from './storage.js';

/** What every role is composed from. */
export interface Site {
  settings: Settings;
  logger: Logger;
  clock: () => number;
  metrics: Metrics;
  log: Log;
  storage: Storage;
  server: HttpServer;
  checks: Check[];
  failures: Promise<void>[];
  /** What parts of the process add to its status. */
  views: (() => object)[];
  /** How a reload takes what has changed to where it matters. */
  steps: Step[];
  /** What has been opened, for an ordered stop. */
  undo: (() => Promise<void>)[];
}
