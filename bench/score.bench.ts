// Nanoseconds of CPU time that one sample costs the forest, from filled input columns to scores and
// events, every series once per round, in scrape order and in random order. Goals: 5 million
// samples/s in order at 100,000 series and 2 million in random order at a million, the price of
// records that no longer fit a cache, and that a faster-but-wrong forest is seen: the hash of all
// records is the same on every machine and in both orders. Beside it the same algorithm without
// vectors (the readable twin of the tests, which must come to the same bytes) and, with --peers,
// AWS Random Cut Forest, river and scikit-learn on the same rows. No goal: the log, look-ups,
// accuracy. Not timed: filling the columns. The first rounds, in which every leaf is new, are timed
// apart. With --windows the newest values of every series are kept as well, as for a deep check.
//
//   node dist/bench/score.bench.js [--series N,N] [--windows] [--peers] [--smoke]

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { WasmForest } from '../src/scorer/wasm-forest.js';
import { ReferenceSeries } from '../test/reference-forest.js';
import { recordOf } from '../test/reference-record.js';
import { plantTrees } from '../test/reference-trees.js';
import { faultySeries } from './faulty-series.js';
import { forestDetector } from './forest-detector.js';
import { setUpPeers } from './peers/peers.js';

const { values: options } = parseArgs({
  options: {
    series: { type: 'string', default: '10000,100000,1000000' },
    windows: { type: 'boolean', default: false },
    peers: { type: 'boolean', default: false },
    smoke: { type: 'boolean', default: false },
  },
});
const SERIES_COUNTS = options.smoke ? [1_000] : options.series.split(',').map(Number);
const ROUND_SAMPLES = options.smoke ? 50_000 : 8_000_000;
const WARM_ROUNDS = options.smoke ? 10 : 60;
const ROUNDS_MIN = options.smoke ? 30 : 84;
/** Of the twin: it takes microseconds where the module takes a fraction of one. */
const TWIN_SERIES = options.smoke ? 20 : 1_000;
const TWIN_ROUNDS = 150;
/** Rows of eight series are milliseconds of ours: seen so many times. */
const PEER_SERIES = 8;
const PEER_REPEATS = 40;
const STEP_MS = 15_000;
const START_MS = 1_763_683_200_000;
const SEED = 1;
/** Samples/s: by order and number of series. */
const TARGETS: Record<string, number> = { 'scrape 100000': 5e6, 'random 1000000': 2e6 };
const PEER_RATIO = 100;

type Order = 'scrape' | 'random';

// Half a wave as a parabola: Math.sin may differ between engines, and the hash must not.
const WAVES = Float64Array.from({ length: 2048 }, (_, i) => {
  const turn = (i % 1024) / 1024;
  return (i < 1024 ? 1.2 : -1.2) * turn * (1 - turn);
});

const module = new WebAssembly.Module(readFileSync(new URL('../forest.wasm', import.meta.url)));
const date = new Date().toISOString().slice(0, 10);
const cpu = cpus()[0]?.model ?? 'unknown CPU';
const rows: object[] = [];
console.log(`${date}, ${cpu}, Node ${process.version}, load ${loadavg()[0]!.toFixed(1)}`);
for (const seriesCount of SERIES_COUNTS) {
  assert(Number.isInteger(seriesCount) && seriesCount > 0, `--series is ${options.series}`);
  const inOrder = measure(seriesCount, 'scrape');
  const atRandom = measure(seriesCount, 'random');
  assert.equal(atRandom, inOrder, 'The order of series changes no record');
}
measureTwin();
if (options.peers) await measurePeers();
console.log(JSON.stringify({ bench: 'score', date, cpu, node: process.version, rows }));

/** The hash of all records. */
function measure(seriesCount: number, order: Order): string {
  const hasWindows = options.windows;
  const forest = new WasmForest(module, { seriesMax: seriesCount, seed: SEED, hasWindows });
  for (let slot = 0; slot < seriesCount; slot++) forest.open(slot, 'gauge');
  const load = createLoad(forest, { seriesCount, order });
  const rounds = Math.max(ROUNDS_MIN, Math.round(ROUND_SAMPLES / seriesCount));
  const young: number[] = [];
  const warm: number[] = [];
  for (let round = 0; round < rounds; round++) {
    let spent = 0;
    for (let from = 0; from < seriesCount; from += forest.batchMax) {
      const count = load.fill(round, from);
      spent += nanosOf(() => {
        forest.observe(count);
        forest.windows?.finish(count);
      });
    }
    (round < WARM_ROUNDS ? young : warm).push(spent / seriesCount);
  }
  const records = createHash('sha256').update(forest.records(seriesCount)).digest('hex');
  report({ seriesCount, order, young, warm, records });
  return records;
}

interface Load {
  /** Fills the input columns from the series at `from` on; returns how many. */
  fill(round: number, from: number): number;
}

function createLoad(
  forest: WasmForest,
  { seriesCount, order }: { seriesCount: number; order: Order },
): Load {
  const { buffer } = forest.slots;
  const timestamps = new BigInt64Array(buffer, forest.timestampBytes.byteOffset, forest.batchMax);
  const values = new Float64Array(buffer, forest.valueBytes.byteOffset, forest.batchMax);
  const slots = Uint32Array.from({ length: seriesCount }, (_, slot) => slot);
  for (let i = seriesCount - 1; order === 'random' && i > 0; i--) {
    const k = mixed(i) % (i + 1);
    [slots[i], slots[k]] = [slots[k]!, slots[i]!];
  }
  return {
    fill(round, from) {
      const count = Math.min(forest.batchMax, seriesCount - from);
      timestamps.fill(BigInt(START_MS + round * STEP_MS), 0, count);
      for (let i = 0; i < count; i++) {
        const slot = slots[from + i]!;
        forest.slots[i] = slot;
        values[i] = valueAt(slot, round);
      }
      return count;
    },
  };
}

/** Levels of all sizes, a slow wave, 5 % of noise; a function of series and round alone. */
function valueAt(slot: number, round: number): number {
  const level = 10 + (mixed(slot) % 1000);
  const wave = WAVES[(mixed(~slot) + 7 * round) & 2047]!;
  const noise = mixed(Math.imul(slot, 4096) + round) / 2 ** 32 - 0.5;
  return level * (1 + wave + 0.05 * noise);
}

/** Any whole number to one of 32 bits that looks like chance. */
function mixed(number: number): number {
  let h = Math.imul(number ^ (number >>> 16), 0x21f0aaad);
  h = Math.imul(h ^ (h >>> 15), 0xd35a2d97);
  return (h ^ (h >>> 15)) >>> 0;
}

function report(run: {
  seriesCount: number;
  order: Order;
  young: number[];
  warm: number[];
  records: string;
}): void {
  const { seriesCount, order, records } = run;
  const [best, median] = [Math.min(...run.warm), medianOf(run.warm)];
  const young = medianOf(run.young);
  const residentMb = process.memoryUsage.rss() / 1e6;
  const target = TARGETS[`${order} ${seriesCount}`];
  const rate = 1e9 / best;
  const word = target === undefined ? '' : rate >= target ? ', target reached' : ', target MISSED';
  console.log(
    `${String(seriesCount).padStart(7)} series, ${order} order: best ${best.toFixed(0)}, ` +
      `median ${median.toFixed(0)} ns a sample (${(rate / 1e6).toFixed(2)} and ` +
      `${(1000 / median).toFixed(2)} M/s${word}), young ${young.toFixed(0)} ns, ` +
      `RSS ${residentMb.toFixed(0)} MB, records ${records.slice(0, 16)}`,
  );
  rows.push({ seriesCount, order, best, median, young, residentMb, records });
}

function medianOf(times: readonly number[]): number {
  return [...times].sort((a, b) => a - b)[times.length >> 1]!;
}

/** Every supported engine has vectors, so the module has no build without; its twin has none. */
function measureTwin(): void {
  const forest = new WasmForest(module, { seriesMax: TWIN_SERIES, seed: SEED });
  const trees = plantTrees(SEED);
  const twins = Array.from({ length: TWIN_SERIES }, (_, slot) => {
    forest.open(slot, 'gauge');
    return new ReferenceSeries(trees, 'gauge');
  });
  const load = createLoad(forest, { seriesCount: TWIN_SERIES, order: 'scrape' });
  const bits = new BigUint64Array(TWIN_SERIES);
  const values = new Float64Array(bits.buffer);
  const [vectors, scalar]: [number[], number[]] = [[], []];
  for (let round = 0; round < TWIN_ROUNDS; round++) {
    let spent = 0;
    for (let from = 0; from < TWIN_SERIES; from += forest.batchMax) {
      const count = load.fill(round, from);
      spent += nanosOf(() => forest.observe(count));
    }
    vectors.push(spent / TWIN_SERIES);
    for (let slot = 0; slot < TWIN_SERIES; slot++) values[slot] = valueAt(slot, round);
    const at = BigInt(START_MS + round * STEP_MS);
    const ofTwin = nanosOf(() => {
      for (let slot = 0; slot < TWIN_SERIES; slot++) twins[slot]!.observe(at, bits[slot]!);
    });
    scalar.push(ofTwin / TWIN_SERIES);
  }
  const records = Buffer.concat(twins.map(recordOf));
  assert(records.equals(forest.records(TWIN_SERIES)), 'The twin comes to the same bytes');
  const [ours, twin] = [Math.min(...vectors), Math.min(...scalar)];
  console.log(
    `without vectors, the readable twin: ${twin.toFixed(0)} ns a sample beside ` +
      `${ours.toFixed(0)} ns (${(twin / ours).toFixed(0)}x), the same ${records.length} bytes`,
  );
  rows.push({ twin, beside: ours, seriesCount: TWIN_SERIES });
}

/** Of the processor, not of the clock on the wall: others may be at work on this machine. */
function nanosOf(work: () => void): number {
  const start = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(start);
  return 1000 * (user + system);
}

/** CPU time a row; ours includes what fills the columns, which the peers have no need of. */
async function measurePeers(): Promise<void> {
  const series = faultySeries(options.smoke ? 1 : PEER_SERIES);
  const rowCount = series.reduce((sum, { values }) => sum + values.length, 0);
  const detector = forestDetector(module, SEED);
  await detector.detect(series);
  const start = process.cpuUsage();
  for (let repeat = 0; repeat < PEER_REPEATS; repeat++) await detector.detect(series);
  const { user, system } = process.cpuUsage(start);
  const ours = (1000 * (user + system)) / (rowCount * PEER_REPEATS);
  console.log(`${series.length} series, ${rowCount} rows: ours ${ours.toFixed(0)} ns a row`);
  rows.push({ rows: rowCount, ours });
  for (const peer of await setUpPeers(console.log)) {
    // The same run under its other number.
    if (peer.name.endsWith('its grade')) continue;
    await peer.detect(series);
    const ratio = peer.nanosPerRow() / ours;
    const word = ratio >= PEER_RATIO ? 'reached' : 'MISSED';
    console.log(
      `  ${peer.name}: ${(peer.nanosPerRow() / 1000).toFixed(1)} us a row, ` +
        `${ratio.toFixed(0)}x, ${PEER_RATIO}x ${word}`,
    );
    rows.push({ peer: peer.name, nanos: peer.nanosPerRow(), ratio });
  }
}
