// What a row costs `treeline score`, from the bytes of a CSV file to the bytes of the scored one, on one core: CPU time,
// system time included, and the memory it takes. Goals: the target of one million rows per CPU-second, memory that does
// not grow with the file, and that a faster-but-wrong command is seen (the hash of what it wrote). No goal: the start of
// the process; several threads.
//
//   node dist/bench/score-cli.bench.js [--rows N] [--smoke]

import { createHash } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { runHere } from '../src/cli/score-run.js';

const { values: options } = parseArgs({
  options: { rows: { type: 'string' }, smoke: { type: 'boolean', default: false } },
});
const ROWS = Number(options.rows ?? (options.smoke ? 50_000 : 4_000_000));
const GZIP_ROWS_MAX = 1_000_000;
const START_MS = Date.UTC(2026, 0, 1);
const module = new WebAssembly.Module(readFileSync(new URL('../forest.wasm', import.meta.url)));
const folder = mkdtempSync(join(tmpdir(), 'treeline-score-cli-'));

interface Kind {
  name: string;
  values: number;
  isZipped: boolean;
  row(at: number, random: () => number): string;
}

const minute = (at: number): number => START_MS + at * 60_000;
const wave = (at: number): number => {
  const turn = (at % 1440) / 720 - 1;
  return 40 * (1 - turn * turn);
};
const KINDS: Kind[] = [
  {
    name: 'epoch seconds, 3 decimals',
    values: 1,
    isZipped: false,
    row: (at, random) => `${minute(at) / 1000},${(100 + wave(at) + random()).toFixed(3)}`,
  },
  {
    name: 'ISO times, 17 digits',
    values: 1,
    isZipped: false,
    row: (at, random) => `${new Date(minute(at)).toISOString()},${100 + wave(at) + random()}`,
  },
  {
    name: 'four columns, each a series',
    values: 4,
    isZipped: false,
    row(at, random) {
      const columns = [1, 10, 100, 1000].map((size) => (size + wave(at) + random()).toFixed(3));
      return `${minute(at)},${columns.join(',')}`;
    },
  },
  {
    name: 'epoch seconds, gzipped',
    values: 1,
    isZipped: true,
    row: (at, random) => `${minute(at) / 1000},${(100 + wave(at) + random()).toFixed(3)}`,
  },
];

console.log(`${cpus()[0]?.model ?? 'unknown CPU'}, Node ${process.version}`);
try {
  for (const kind of KINDS) await measure(kind);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function measure(kind: Kind): Promise<void> {
  const rows = kind.isZipped ? Math.min(ROWS, GZIP_ROWS_MAX) : Math.round(ROWS / kind.values);
  const names = Array.from({ length: kind.values }, (_, at) => `v${at}`);
  const file = write(kind, rows, names);
  const outs = names.map((name) => join(folder, `${name}.out`));
  const settings = { column: 't', seed: 1, isPlotted: false, isQuiet: false };
  const none = { write() {}, complete() {}, discard() {} };
  const context = { module, standardOutput: none, onBytes() {} };
  const before = process.cpuUsage();
  await runHere([{ file, values: names, outs }], settings, context);
  const { user, system } = process.cpuUsage(before);
  const spent = user + system;
  const rss = process.memoryUsage.rss();
  const hash = createHash('sha256');
  for await (const piece of createReadStream(outs[0]!)) hash.update(piece as Buffer);
  const digest = hash.digest('hex').slice(0, 16);
  const series = rows * kind.values;
  const bytes = [file, outs[0]!].map((path) => (statSync(path).size / 1e6).toFixed(0));
  console.log(
    `${kind.name}: ${rows} rows x ${kind.values}, ${bytes[0]} MB in, ${bytes[1]} MB out a column: ` +
      `${((1000 * spent) / series).toFixed(0)} ns a row, ${(series / spent).toFixed(2)} M rows per ` +
      `CPU-second, RSS ${(rss / 1e6).toFixed(0)} MB, rows ${digest}`,
  );
  for (const path of [file, ...outs]) rmSync(path);
}

function write({ row, isZipped }: Kind, rows: number, names: readonly string[]): string {
  let state = 7;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const header = `t,${names.join(',')}\n`;
  if (isZipped) {
    const text = Array.from({ length: rows }, (_, at) => row(at, random)).join('\n');
    const path = join(folder, 'rows.csv.gz');
    writeFileSync(path, gzipSync(`${header}${text}\n`, { level: 1 }));
    return path;
  }
  const path = join(folder, 'rows.csv');
  const file = openSync(path, 'w');
  writeSync(file, header);
  const PIECE = 10_000;
  for (let from = 0; from < rows; from += PIECE) {
    const count = Math.min(PIECE, rows - from);
    const lines = Array.from({ length: count }, (_, i) => row(from + i, random));
    writeSync(file, `${lines.join('\n')}\n`);
  }
  closeSync(file);
  return path;
}
