// Nanoseconds that one sample costs the forest, from filled input columns to scores and events, in
// scrape order: every series once per round. Goals: the target of 5 million samples/s at 100,000
// series, the price of records that no longer fit a cache, and that a faster-but-wrong forest is
// seen (the hash of all records, the same on every machine). No goal: the log, look-ups, accuracy.
// Not timed: filling the columns. The first rounds, in which every leaf is new, are timed apart.
//
// With --windows the newest values of every series are kept as well, as they are for a deep check.
//
//   node dist/bench/score.bench.js [--smoke] [--random] [--windows]

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { WasmForest } from '../src/scorer/wasm-forest.js';

const isSmoke = process.argv.includes('--smoke');
const isRandomOrder = process.argv.includes('--random');
const hasWindows = process.argv.includes('--windows');
const SERIES_COUNTS = isSmoke ? [1_000] : [1_000, 10_000, 100_000];
const ROUND_SAMPLES = isSmoke ? 50_000 : 8_000_000;
const ROUNDS_MIN = isSmoke ? 30 : 120;
const WARM_ROUNDS = isSmoke ? 10 : 60;
const STEP_MS = 15_000;
const START_MS = 1_763_683_200_000;

const module = new WebAssembly.Module(readFileSync(new URL('../forest.wasm', import.meta.url)));

console.log(
  `${cpus()[0]?.model ?? 'unknown CPU'}, Node ${process.version}, ` +
    `${isRandomOrder ? 'random' : 'scrape'} order`,
);
for (const seriesCount of SERIES_COUNTS) measure(seriesCount);

function measure(seriesCount: number): void {
  const forest = new WasmForest(module, { seriesMax: seriesCount, seed: 1, hasWindows });
  for (let slot = 0; slot < seriesCount; slot++) forest.open(slot, 'gauge');
  const load = createLoad(forest, seriesCount);
  const rounds = Math.max(ROUNDS_MIN, Math.round(ROUND_SAMPLES / seriesCount));
  const young: number[] = [];
  const warm: number[] = [];
  for (let round = 0; round < rounds; round++) {
    let spent = 0n;
    for (let from = 0; from < seriesCount; from += forest.batchMax) {
      const count = load.fill(round, from);
      const start = process.hrtime.bigint();
      forest.observe(count);
      forest.windows?.finish(count);
      spent += process.hrtime.bigint() - start;
    }
    (round < WARM_ROUNDS ? young : warm).push(Number(spent) / seriesCount);
  }
  report(forest, seriesCount, { young, warm });
}

interface Load {
  /** Fills the input columns from the series at `from` on; returns how many. */
  fill(round: number, from: number): number;
}

/** Levels of all sizes, a slow wave, 5 % of noise. */
function createLoad(forest: WasmForest, seriesCount: number): Load {
  const { buffer } = forest.slots;
  const timestamps = new BigInt64Array(buffer, forest.timestampBytes.byteOffset, forest.batchMax);
  const values = new Float64Array(buffer, forest.valueBytes.byteOffset, forest.batchMax);
  let state = 12345;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const order = Uint32Array.from({ length: seriesCount }, (_, slot) => slot);
  for (let i = seriesCount - 1; isRandomOrder && i > 0; i--) {
    const k = Math.floor(random() * (i + 1));
    [order[i], order[k]] = [order[k]!, order[i]!];
  }
  const levels = Float64Array.from(order, () => 10 + 1000 * random());
  const starts = Float64Array.from(order, () => Math.floor(2048 * random()));
  // Half a wave as a parabola: Math.sin may differ between engines, and the hash must not.
  const waves = Float64Array.from({ length: 2048 }, (_, i) => {
    const turn = (i % 1024) / 1024;
    return (i < 1024 ? 1.2 : -1.2) * turn * (1 - turn);
  });
  return {
    fill(round, from) {
      const count = Math.min(forest.batchMax, seriesCount - from);
      const timestamp = BigInt(START_MS + round * STEP_MS);
      for (let i = 0; i < count; i++) {
        const slot = order[from + i]!;
        const wave = waves[(starts[slot]! + 7 * round) & 2047]!;
        forest.slots[i] = slot;
        timestamps[i] = timestamp;
        values[i] = levels[slot]! * (1 + wave + 0.05 * (random() - 0.5));
      }
      return count;
    },
  };
}

function report(
  forest: WasmForest,
  seriesCount: number,
  { young, warm }: { young: number[]; warm: number[] },
): void {
  const sorted = warm.sort((a, b) => a - b);
  const median = sorted[sorted.length >> 1]!;
  const early = young.sort((a, b) => a - b)[young.length >> 1]!;
  const megabytes = ((seriesCount * forest.recordBytes) / 1e6).toFixed(1);
  const digest = createHash('sha256').update(forest.records(seriesCount)).digest('hex');
  console.log(
    `${String(seriesCount).padStart(7)} series, ${megabytes.padStart(5)} MB: ` +
      `best ${sorted[0]!.toFixed(0)}, median ${median.toFixed(0)} ns per sample ` +
      `(${(1000 / median).toFixed(2)} M/s), young ${early.toFixed(0)} ns, ` +
      `records ${digest.slice(0, 16)}`,
  );
}
