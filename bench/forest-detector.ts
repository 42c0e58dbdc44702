// The shipped forest as a detector for the benches and the gate: one slot, one series after the
// other, samples in the order of the rows, nothing but the columns of the module. What it answers
// is what `treeline score` writes: score, alarm and flag of each row.

import { readFileSync } from 'node:fs';
import { CAUSES, PHASES, WasmForest } from '../src/scorer/wasm-forest.js';
import type { Detector, Verdicts } from './baselines.js';
import type { LabelledSeries } from './labelled-series.js';

const ONSET = PHASES.indexOf('onset');

export interface ForestRun extends Verdicts {
  /** Rows at which an anomaly began, in order. */
  readonly onsets: readonly number[];
  /** Why, of each onset. */
  readonly causes: readonly (typeof CAUSES)[number][];
}

export interface Samples {
  readonly timestampsMs: ArrayLike<number>;
  readonly values: ArrayLike<number>;
}

export function loadForest(url: URL): WebAssembly.Module {
  return new WebAssembly.Module(readFileSync(url));
}

/** With structure seed `seed`. Every series begins in a fresh forest. */
export function forestDetector(module: WebAssembly.Module, seed: number): Detector {
  const detect = (series: readonly LabelledSeries[]): ForestRun[] =>
    series.map((one) => {
      const forest = new WasmForest(module, { seriesMax: 1, seed });
      forest.open(0, 'gauge');
      return observeRows(forest, one, { slot: 0, from: 0, to: one.values.length });
    });
  return { name: 'Treeline', detect };
}

/** Rows `from` to `to` - 1 of a series whose slot is open. A row that is not scored answers 0. */
export function observeRows(
  forest: WasmForest,
  { timestampsMs, values }: Samples,
  { slot, from, to }: { slot: number; from: number; to: number },
): ForestRun {
  const { buffer } = forest.slots;
  const times = new BigInt64Array(buffer, forest.timestampBytes.byteOffset, forest.batchMax);
  const inputs = new Float64Array(buffer, forest.valueBytes.byteOffset, forest.batchMax);
  const scores = new Float64Array(to - from);
  const alarms = new Float64Array(to - from);
  const onsets: number[] = [];
  const causes: (typeof CAUSES)[number][] = [];
  for (let at = from; at < to; at += forest.batchMax) {
    const count = Math.min(forest.batchMax, to - at);
    forest.slots.fill(slot, 0, count);
    for (let i = 0; i < count; i++) {
      times[i] = BigInt(Math.round(timestampsMs[at + i]!));
      inputs[i] = values[at + i]!;
    }
    const events = forest.observe(count);
    for (let i = 0; i < count; i++) {
      const score = forest.scores[i]!;
      scores[at - from + i] = Number.isNaN(score) ? 0 : score;
      alarms[at - from + i] = forest.alarms[i]!;
    }
    for (let event = 0; event < events; event++) {
      if (forest.eventPhases[event] !== ONSET) continue;
      onsets.push(at + forest.eventIndexes[event]!);
      causes.push(CAUSES[forest.eventCauses[event]!]!);
    }
  }
  const above = (score: number): number => (score > 1 ? score : 0);
  const own = { calls: scores.map(above), alarms: alarms.map(above) };
  return { scores, alarms, onsets, causes, own };
}
