// What a scorer is made of, and what it says of its partitions.

import type { Logger } from '../http-server.js';
import type { Log } from '../log/log.js';
import type { Metrics } from '../metrics.js';
import type { Pace } from '../pace.js';
import type { StateStore } from '../state/state-store.js';
import type { DetectorSet } from './detectors.js';
import type { GaugeSettings } from './gauges.js';
import type { HistorySettings } from './history.js';
import type { NoiseRule } from './noise-rules.js';
import type { WasmForest } from './wasm-forest.js';

export interface ScorerParts {
  log: Log;
  store: StateStore;
  createForest: (seriesMax: number) => WasmForest;
  engineId: Uint8Array;
  detectors?: DetectorSet;
  metrics: Metrics;
  logger: Logger;
  clock: () => number;
  pace?: Pace;
  /** Deletes what retention no longer keeps; never called for records that no checkpoint covers. */
  trim: (partition: number, keepFrom: number, historyFrom: number) => Promise<void>;
  settings: {
    /** What comes before the samples; unless given, an empty log of history is not waited for. */
    history?: HistorySettings;
    seriesMax: number;
    seed: number;
    checkpointMs: number;
    gauges: GaugeSettings;
    /** What a record that cannot be read does: stops its partition (the default), or is left out and counted. */
    poison?: 'stop' | 'quarantine';
    /** How long a flag waits for its verdict; absent where nothing checks a second time: then no verdict is read. */
    verdictWaitMs?: number;
    /** Which anomalies are shown; the first that matches a series holds for it. None: all. */
    rules?: readonly NoiseRule[];
  };
}

export interface PartitionStatus {
  partition: number;
  offset: number;
  /** Null while the log is away. */
  high: number | null;
  lag: number | null;
  series: number;
  scored: number;
  streamTimeMs: number | null;
  stateHash: string | null;
  checkpoint: { offset: number; ageSeconds: number; stateHash: string } | null;
  outcomes: Record<string, number>;
  /** In the control log, after the newest record that the state knows. */
  controlOffset: number;
  /** Where and why it stands still; absent while it goes on. */
  stopped?: { offset: number; reason: string };
}
