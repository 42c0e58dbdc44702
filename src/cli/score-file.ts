// One file through the forest: bytes in, rows out, a batch at a time, in memory that does not depend on the file's length.
// The texts of timestamp and value go from input to output as they are; a batch never outlives the bytes it points
// into. Several columns are several series of the same rows, each in a slot of its own.

import { createReadStream } from 'node:fs';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { OperatingError } from '../errors.js';
import { CSV_CHUNK_BYTES, CSV_ROW_BYTES_MAX } from '../limits.js';
import type { ShownRule, WasmForest } from '../scorer/wasm-forest.js';
import { BATCH_TEXT_BYTES_MAX, RowBatch, type SeriesResult } from './score-batch.js';
import type { RowOutput } from './score-output.js';
import { CsvRows, fieldsOf } from './score-rows.js';
import type { OnsetForecaster } from './score-verdicts.js';

export interface FileOptions {
  file: string;
  /** Name of the column with the timestamps, and of those to score. */
  column: string;
  values: readonly string[];
  isPlotted: boolean;
  rule?: ShownRule | undefined;
}

export interface FileContext {
  /** Has as many slots as there are columns; what they held is forgotten. */
  forest: WasmForest;
  /** One per column. */
  outputs: readonly RowOutput[];
  /** Judges what begins an anomaly; the forest then keeps windows. */
  forecaster?: OnsetForecaster | undefined;
  /** Told of every piece that was read, as it lies on the disk. */
  onBytes(count: number): void;
}

const LF = 10;
const QUOTE = 34;

export async function scoreFile(
  options: FileOptions,
  { forest, outputs, forecaster, onBytes }: FileContext,
): Promise<SeriesResult[]> {
  const { file } = options;
  const bytes = Buffer.allocUnsafe(BATCH_TEXT_BYTES_MAX);
  const batch = new RowBatch(forest, { options, outputs, forecaster });
  let used = 0;
  let rows: CsvRows | undefined;
  const read = async (isLast: boolean): Promise<void> => {
    let from = 0;
    if (rows === undefined) {
      const header = readHeader(bytes.subarray(0, used), isLast, options);
      if (header === undefined) return;
      rows = header.rows;
      from = header.end;
      await batch.begin();
    }
    rows.feed(bytes, from, used);
    while (rows.next(isLast)) if (batch.add(bytes, rows)) await batch.flush(bytes);
    await batch.flush(bytes);
    if (isLast && rows.isWithinQuotes) {
      throw invalid(`${file}:${rows.nextLine}: a quoted field begins here and never ends`);
    }
    bytes.copyWithin(0, rows.at, used);
    used -= rows.at;
  };
  for await (const piece of piecesOf(file, onBytes)) {
    for (let at = 0; at < piece.length; at += CSV_CHUNK_BYTES) {
      used += piece.copy(bytes, used, at, at + CSV_CHUNK_BYTES);
      await read(false);
      if (used > CSV_ROW_BYTES_MAX) {
        const line = rows?.nextLine ?? 1;
        throw invalid(`${file}:${line}: a row is longer than ${CSV_ROW_BYTES_MAX} bytes`);
      }
    }
  }
  await read(true);
  return batch.results();
}

async function* piecesOf(
  file: string,
  onBytes: (count: number) => void,
): AsyncGenerator<Buffer, void, undefined> {
  const source = createReadStream(file, { highWaterMark: CSV_CHUNK_BYTES });
  source.on('data', (piece) => onBytes(piece.length));
  let stream: Readable = source.pause();
  if (/\.gz$/i.test(file)) {
    // A failure of either end reaches the reader below through the other.
    stream = pipeline(source, createGunzip({ chunkSize: CSV_CHUNK_BYTES }), () => {});
  }
  try {
    for await (const piece of stream) yield piece as Buffer;
  } catch (error) {
    if (error instanceof OperatingError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code?.startsWith('Z_') ? `it is damaged (${message})` : code;
    if (code === undefined) throw error;
    throw new OperatingError('input_invalid', `Cannot read ${file}: ${why}`, error);
  }
}

/** Undefined until the whole header is there. */
function readHeader(
  bytes: Buffer,
  isLast: boolean,
  options: FileOptions,
): { rows: CsvRows; end: number } | undefined {
  const { file } = options;
  if (bytes.length < 3 && !isLast) return undefined;
  if (bytes.length >= 2 && (bytes.readUInt16BE(0) === 0xfffe || bytes.readUInt16BE(0) === 0xfeff)) {
    throw invalid(`${file}:1: the file is UTF-16; save it as UTF-8`);
  }
  let start = bytes.length >= 3 && bytes.readUIntBE(0, 3) === 0xefbbbf ? 3 : 0;
  let line = 1;
  for (; bytes[start] === LF || bytes[start] === 13; start++) if (bytes[start] === LF) line++;
  let quotes = 0;
  let end = start;
  for (; end < bytes.length && (bytes[end] !== LF || quotes % 2 === 1); end++) {
    if (bytes[end] === QUOTE) quotes++;
  }
  if (end >= bytes.length && !isLast) return undefined;
  const text = bytes.toString('utf8', start, end);
  if (text.trim() === '') throw invalid(`${file}: the file is empty`);
  const fields = fieldsOf(text);
  const find = (name: string): number => {
    const index = fields.indexOf(name);
    if (index >= 0) return index;
    const there = fields.join(', ').slice(0, 200);
    throw invalid(`${file}:${line}: no column ${JSON.stringify(name)}; the header has ${there}`);
  };
  const wanted = [find(options.column), ...options.values.map(find)];
  if (new Set(wanted).size < wanted.length) {
    throw invalid(`${file}:${line}: a column cannot be both timestamp and value, or scored twice`);
  }
  const lines = text.split('\n').length;
  return { rows: new CsvRows(wanted, line + lines - 1), end: Math.min(end + 1, bytes.length) };
}

function invalid(message: string): OperatingError {
  return new OperatingError('input_invalid', message);
}
