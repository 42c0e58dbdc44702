// Runs both WASM modules and `treeline score` on fixed input and prints hashes of every bit that came out, one JSON object,
// for same-bits.test.ts to run on other Nodes. The input is made with integers and exactly rounded operations only, so
// that it is the same on every engine, and it is hostile: NaN, infinities, numbers without a normal form, gaps, resets.
//
//   node dist/test/same-bits/print-bits.js > test/fixtures/same-bits.json     (after a change of what is computed)

import { createHash, type Hash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runHere } from '../../src/cli/score-run.js';
import { WasmDecoder } from '../../src/receiver/wasm-decoder.js';
import { WasmForest } from '../../src/scorer/wasm-forest.js';
import { label, literalBlock, sample, series } from '../wire-bytes.js';

const SERIES = 48;
const ROUNDS = 600;
const STEP_MS = 15_000;
const BEGIN_MS = 1_763_683_200_000;
const BATCHES = [1024, 1, 7];
const ODD_VALUES = [
  ...[Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 5e-324, -2e-310],
  ...[1e308, -1e308, 1e-30, 2 ** 53],
];

const moduleOf = (name: string): WebAssembly.Module =>
  new WebAssembly.Module(readFileSync(new URL(`../../${name}.wasm`, import.meta.url)));

/** An integer sequence: the same on every engine. */
function integersFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 8;
  };
}

/** Value of a series in a round: levels, a daily wave, noise; every so often something odd. */
function valueAt(slot: number, round: number, next: () => number): number {
  const noise = (next() % 1000) / 1000;
  const odd = next();
  if (slot % 8 === 7 && odd % 97 === 0) return ODD_VALUES[odd % ODD_VALUES.length]!;
  if (slot % 4 === 1) return Math.floor(round / 7) * 11 - (odd % 211 === 0 ? 500 : 0);
  if (slot % 16 === 2) return 5;
  const turn = ((round * 9 + slot * 31) % 512) / 256 - 1;
  const jump = slot % 8 === 4 && round > 400 ? 40 : 0;
  return (slot + 1) * 10 + 8 * (1 - turn * turn) + noise + jump;
}

/** Hash of the output columns and the records after all samples, in batches of `batch`. */
function forestBits(module: WebAssembly.Module, batch: number): string {
  const forest = new WasmForest(module, { seriesMax: SERIES, seed: 1 });
  for (let slot = 0; slot < SERIES; slot++) {
    forest.open(slot, slot % 4 === 1 ? (slot % 8 === 1 ? 'counter' : 'guessed-counter') : 'gauge');
  }
  const { buffer } = forest.slots;
  const times = new BigInt64Array(buffer, forest.timestampBytes.byteOffset, forest.batchMax);
  const values = new Float64Array(buffer, forest.valueBytes.byteOffset, forest.batchMax);
  const hash = createHash('sha256');
  const next = integersFrom(7);
  let used = 0;
  const observe = (): void => {
    forest.observe(used);
    for (let at = 0; at < used; at++) hashRow(hash, forest, at);
    used = 0;
  };
  for (let round = 0; round < ROUNDS; round++) {
    const gapMs = round > 300 ? 86_400_000 : 0;
    for (let slot = 0; slot < SERIES; slot++) {
      forest.slots[used] = slot;
      times[used] = BigInt(BEGIN_MS + round * STEP_MS + gapMs - (next() % 50 === 0 ? STEP_MS : 0));
      values[used] = valueAt(slot, round, next);
      used++;
      if (used === batch) observe();
    }
  }
  observe();
  return hash.update(forest.records(SERIES)).digest('hex');
}

function hashRow(hash: Hash, forest: WasmForest, at: number): void {
  const { scores, alarms, expected, lower, upper } = forest;
  // An engine may choose the bits of a NaN that is shown: one number stands for all of them.
  const shown = [scores, alarms, expected, lower, upper].map((column) => column[at]! + 0);
  hash.update(new Float64Array(shown.map((one) => (Number.isNaN(one) ? -1 : one))));
  hash.update(Uint8Array.of(forest.flags[at]!, forest.outcomes[at]!));
}

/** Hash of the blocks of a fixed remote-write body. */
function decodeBits(module: WebAssembly.Module): string {
  const decoder = new WasmDecoder(module, {
    partitions: 4,
    partitionBy: [['namespace', 'pod'], ['instance']],
    stripLabels: [],
    classify: () => 'keep',
  });
  const next = integersFrom(11);
  const request = Array.from({ length: 500 }, (_, at) =>
    series(
      label('__name__', `metric_${at % 37}_total`),
      label('instance', `host-${next() % 20}:9100`),
      label('text', 'ä'.repeat(at % 9)),
      sample(BEGIN_MS + at, BigInt(next()) * 0x1_0000_0001n),
    ),
  ).flat();
  const body = literalBlock(request);
  decoder.input(body.length).set(body);
  const { blocks } = decoder.decode(body.length, { tenant: 'team', nowMs: BEGIN_MS });
  const hash = createHash('sha256');
  for (const { partition, bytes } of blocks) hash.update(Uint8Array.of(partition)).update(bytes);
  return hash.digest('hex');
}

/** Hash of what `treeline score` writes. */
async function rowBits(module: WebAssembly.Module): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'treeline-bits-'));
  try {
    const next = integersFrom(13);
    const rows = Array.from({ length: 20_000 }, (_, at) => {
      const isMissing = next() % 100 === 0;
      const value = 1e6 / (1 + (next() % 10_000)) + (at === 15_000 ? 1e9 : 0);
      return `${BEGIN_MS + at * 60_000},${isMissing ? '' : value}`;
    });
    const [file, out] = ['in.csv', 'out.csv'].map((name) => join(folder, name)) as [string, string];
    writeFileSync(file, `timestamp,value\n${rows.join('\n')}\n`);
    await runHere(
      [{ file, values: ['value'], outs: [out] }],
      { column: 'timestamp', seed: 1, isPlotted: false, isQuiet: false },
      { module, standardOutput: { write() {}, complete() {}, discard() {} }, onBytes() {} },
    );
    return createHash('sha256').update(readFileSync(out)).digest('hex');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const forest = moduleOf('forest');
const bits: Record<string, string> = {};
for (const batch of BATCHES) bits[`forest, batches of ${batch}`] = forestBits(forest, batch);
bits['forest, unoptimised'] = forestBits(moduleOf('forest.debug'), 1024);
bits['decode'] = decodeBits(moduleOf('decode'));
bits['decode, unoptimised'] = decodeBits(moduleOf('decode.debug'));
bits['rows of treeline score'] = await rowBits(forest);
process.stdout.write(`${JSON.stringify(bits, undefined, 2)}\n`);
