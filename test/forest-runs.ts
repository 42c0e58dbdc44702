// Runs samples through a real forest and collects what comes out, row by row, for the suites that
// judge it. Both builds are read from dist/: the release that ships, and the debug build with its
// asserts and its switches.

import { readFileSync } from 'node:fs';
import { CAUSES, OUTCOMES, PHASES, type WasmForest } from '../src/scorer/wasm-forest.js';
import type { Row } from './reference-forest.js';

export const BUILDS = ['forest.wasm', 'forest.debug.wasm'] as const;

export interface Sample {
  slot: number;
  timestamp: bigint;
  bits: bigint;
}

export function loadModule(build: (typeof BUILDS)[number]): WebAssembly.Module {
  return new WebAssembly.Module(readFileSync(new URL(`../dist/${build}`, import.meta.url)));
}

export function bitsOf(value: number): bigint {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  return view.getBigUint64(0);
}

/** Observes the samples in batches of at most `batch`, or as many as `batch` says each time. */
export function observeAll(
  forest: WasmForest,
  samples: readonly Sample[],
  batch: () => number = () => forest.batchMax,
): Row[] {
  const rows: Row[] = [];
  const timestamps = new DataView(forest.timestampBytes.buffer, forest.timestampBytes.byteOffset);
  const values = new DataView(forest.valueBytes.buffer, forest.valueBytes.byteOffset);
  for (let from = 0; from < samples.length; ) {
    const count = Math.min(batch(), samples.length - from);
    for (let i = 0; i < count; i++) {
      const { slot, timestamp, bits } = samples[from + i]!;
      forest.slots[i] = slot;
      timestamps.setBigInt64(8 * i, timestamp, true);
      values.setBigUint64(8 * i, bits, true);
    }
    const events = forest.observe(count);
    for (let i = 0; i < count; i++) rows.push(rowAt(forest, i));
    for (let event = 0; event < events; event++) {
      rows[from + forest.eventIndexes[event]!]!.event = eventAt(forest, event);
    }
    from += count;
  }
  return rows;
}

function rowAt(forest: WasmForest, i: number): Row {
  return {
    outcome: OUTCOMES[forest.outcomes[i]!]!,
    score: forest.scores[i]!,
    alarm: forest.alarms[i]!,
    flag: forest.flags[i]!,
    value: forest.values[i]!,
    expected: forest.expected[i]!,
    lower: forest.lower[i]!,
    upper: forest.upper[i]!,
  };
}

function eventAt(forest: WasmForest, event: number): NonNullable<Row['event']> {
  return {
    phase: PHASES[forest.eventPhases[event]!]!,
    cause: CAUSES[forest.eventCauses[event]!]!,
    onset: forest.eventOnsets[event]!,
    timestamp: forest.eventTimestamps[event]!,
  };
}
