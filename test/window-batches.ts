// Feeds windows with columns as a forest leaves them, one sample a batch or many.

import { type BatchColumns, Windows } from '../src/scorer/windows.js';

export interface Row {
  slot?: number;
  at: number;
  value: number;
  /** 0: applied. */
  outcome?: number;
}

export interface FedWindows {
  windows: Windows;
  put(rows: readonly Row[]): void;
}

const BATCH = 512;

export function fedWindows(): FedWindows {
  const timestamps = new BigInt64Array(BATCH);
  const columns: BatchColumns = {
    slots: new Uint32Array(BATCH),
    timestampBytes: new Uint8Array(timestamps.buffer),
    outcomes: new Uint8Array(BATCH),
    values: new Float64Array(BATCH),
  };
  const windows = new Windows(columns);
  const fill = ({ slot = 0, at, value, outcome = 0 }: Row, i: number) => {
    columns.slots[i] = slot;
    timestamps[i] = BigInt(at);
    columns.values[i] = value;
    columns.outcomes[i] = outcome;
  };
  return {
    windows,
    put(rows) {
      for (let from = 0; from < rows.length; from += BATCH) {
        const batch = rows.slice(from, from + BATCH);
        batch.forEach(fill);
        windows.finish(batch.length);
      }
    },
  };
}
