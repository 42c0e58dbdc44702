// `treeline score`: CSV in, CSV out, through the same forest as the service. One output row per input row, in order:
// timestamp,value,score,flag,alarm,expected,lower,upper. An empty value is a missing sample: its row stays, unscored.

import { once } from 'node:events';
import { createReadStream, createWriteStream, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Writable } from 'node:stream';
import { OperatingError } from '../errors.js';
import { WasmForest } from '../scorer/wasm-forest.js';
import { loadWasm } from '../wasm-files.js';

export interface ScoreOptions {
  column: string;
  value: string;
  out?: string;
  seed: string;
}

interface Row {
  timestamp: string;
  value: string;
  /** Index in the batch; -1 when there is nothing to score. */
  at: number;
}

const HEADER = 'timestamp,value,score,flag,alarm,expected,lower,upper\n';

export async function score(files: readonly string[], options: ScoreOptions): Promise<void> {
  const isDirectory = options.out !== undefined && isFolder(options.out);
  if (files.length > 1 && options.out !== undefined && !isDirectory) {
    throw new OperatingError(
      'input_invalid',
      `--out ${options.out} must be an existing directory for several files`,
    );
  }
  const seed = Number(options.seed);
  if (!Number.isInteger(seed) || seed < 0 || seed > 0xffffffff) {
    throw new OperatingError(
      'input_invalid',
      `--seed is ${options.seed}, expected 0 to 4294967295`,
    );
  }
  const { module } = loadWasm('forest');
  for (const file of files) {
    const path = isDirectory ? join(options.out as string, basename(file)) : options.out;
    const out = path === undefined ? process.stdout : createWriteStream(path);
    await scoreFile(file, out, { forest: new WasmForest(module, { seriesMax: 1, seed }), options });
    if (out !== process.stdout) {
      out.end();
      await once(out, 'finish');
    }
  }
}

async function scoreFile(
  file: string,
  out: Writable,
  { forest, options }: { forest: WasmForest; options: ScoreOptions },
): Promise<void> {
  forest.open(0, 'gauge');
  const timestamps = new DataView(forest.timestampBytes.buffer, forest.timestampBytes.byteOffset);
  const values = new DataView(forest.valueBytes.buffer, forest.valueBytes.byteOffset);
  const rows: Row[] = [];
  let used = 0;
  let columns: { time: number; value: number } | undefined;
  let line = 0;
  const flush = async () => {
    forest.observe(used);
    const text = rows
      .map((row) => `${row.timestamp},${row.value},${outputOf(forest, row.at)}\n`)
      .join('');
    rows.length = 0;
    used = 0;
    if (!out.write(text)) await once(out, 'drain');
  };
  for await (const text of linesOf(file)) {
    line++;
    const fields = fieldsOf(text);
    if (columns === undefined) {
      columns = columnsOf(fields, file, options);
      out.write(HEADER);
      continue;
    }
    if (text.trim() === '') continue;
    const timestamp = fields[columns.time] ?? '';
    const value = (fields[columns.value] ?? '').trim();
    const timestampMs = timeOf(timestamp);
    const isNumber = value !== '' && !Number.isNaN(Number(value));
    if (timestampMs === undefined || (value !== '' && !isNumber && !/^nan$/i.test(value))) {
      const wrong =
        timestampMs === undefined ? [options.column, timestamp] : [options.value, value];
      throw new OperatingError(
        'input_invalid',
        `${file}:${line}: ${wrong[0]} is ${JSON.stringify(wrong[1]?.slice(0, 80))}; expected ` +
          (timestampMs === undefined
            ? 'ISO 8601 or epoch seconds or milliseconds'
            : 'a number or nothing'),
      );
    }
    rows.push({ timestamp, value, at: isNumber ? used : -1 });
    if (isNumber) {
      forest.slots[used] = 0;
      timestamps.setBigInt64(8 * used, BigInt(timestampMs), true);
      values.setFloat64(8 * used, Number(value), true);
      used++;
    }
    if (used === forest.batchMax || rows.length >= 2 * forest.batchMax) await flush();
  }
  if (columns === undefined)
    throw new OperatingError('input_invalid', `${file}: the file is empty`);
  await flush();
}

async function* linesOf(file: string): AsyncGenerator<string> {
  const stream = createReadStream(file);
  try {
    await once(stream, 'open');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new OperatingError('input_invalid', `Cannot read ${file}: ${code}`, error);
  }
  yield* createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY });
}

function outputOf(forest: WasmForest, at: number): string {
  const score = at < 0 ? Number.NaN : forest.scores[at]!;
  if (Number.isNaN(score)) return ',,,,,';
  const band = [forest.expected[at]!, forest.lower[at]!, forest.upper[at]!];
  const shown = band.map((edge) => (Number.isFinite(edge) ? String(edge) : ''));
  return [score, forest.flags[at]!, forest.alarms[at]!, ...shown].join(',');
}

function columnsOf(
  fields: string[],
  file: string,
  options: ScoreOptions,
): { time: number; value: number } {
  const found = (name: string): number => {
    const index = fields.findIndex((field) => field.trim() === name);
    if (index < 0) {
      throw new OperatingError(
        'input_invalid',
        `${file}:1: no column ${JSON.stringify(name)}; the header has ${fields.join(', ').slice(0, 200)}`,
      );
    }
    return index;
  };
  return { time: found(options.column), value: found(options.value) };
}

/** RFC 4180 within one line: quoted fields, doubled quotes. */
function fieldsOf(line: string): string[] {
  if (!line.includes('"')) return line.split(',');
  const fields = line.match(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/g) ?? [];
  return fields.slice(0, line.endsWith(',') ? undefined : -1).map((field) =>
    field
      .replace(/,$/, '')
      .replace(/^"(.*)"$/, '$1')
      .replaceAll('""', '"'),
  );
}

/** Milliseconds; a bare number above 1e11 is milliseconds already, a time without zone is UTC. */
function timeOf(text: string): number | undefined {
  const trimmed = text.trim();
  if (trimmed === '') return undefined;
  const number = Number(trimmed);
  if (!Number.isNaN(number)) return Math.round(Math.abs(number) > 1e11 ? number : number * 1000);
  const hasZone = /(z|[+-]\d\d:?\d\d)$/i.test(trimmed);
  const ms = Date.parse(hasZone ? trimmed : `${trimmed.replace(' ', 'T')}Z`);
  return Number.isNaN(ms) ? undefined : ms;
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false; // not there yet: it is a file to write
  }
}
