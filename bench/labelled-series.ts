// Series with labels, read in place from folders the bench is given: the layout of the Numenta
// Anomaly Benchmark (data/ and labels/combined_windows.json), and folders of CSV files, gzipped or
// not, with the columns timestamp, value and label. A row without a value is a missing sample, NaN
// here: the row counts for the judges, no detector is shown it, and it is never read as 0. Labels
// go to the judges only; a detector is shown times and values.

import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { gunzipSync } from 'node:zlib';

/** Rows `from` to `to` - 1. */
export interface Segment {
  readonly from: number;
  readonly to: number;
}

export interface LabelledSeries {
  readonly name: string;
  readonly timestampsMs: Float64Array;
  /** NaN where the sample is missing. */
  readonly values: Float64Array;
  /** In order, apart from each other. */
  readonly segments: readonly Segment[];
}

export interface Corpora {
  /** The folder in NAB's layout, where there is one. */
  readonly nabFolder: string | undefined;
  /** Folders of labelled CSV files, by name. */
  readonly csvFolders: readonly string[];
}

export interface Corpus {
  readonly name: string;
  readonly folder: string;
  /** In NAB's layout; else labelled CSV files. */
  readonly isNab: boolean;
  readonly series: readonly LabelledSeries[];
}

/** Every other series: work on one half leaves the other untouched. */
export type Half = 'first' | 'second' | undefined;

/** Everything in the folder that a bench was given, NAB first, each read when its turn comes. */
export function* readCorpora(folder: string | undefined): Generator<Corpus> {
  assert(folder !== undefined, 'Say where the labelled series lie: --data DIR');
  const { nabFolder, csvFolders } = findCorpora(folder);
  assert(nabFolder !== undefined || csvFolders.length > 0, `${folder} has no labelled series`);
  if (nabFolder !== undefined) {
    const series = readNab(nabFolder);
    yield { name: basename(nabFolder), folder: nabFolder, isNab: true, series };
  }
  for (const found of csvFolders) {
    const series = readLabelledFolder(found);
    yield { name: basename(found), folder: found, isNab: false, series };
  }
}

export function halfNamed(name: string | undefined): Half {
  assert(name === undefined || name === 'first' || name === 'second', `--half is ${name}`);
  return name;
}

export function halfOf(series: readonly LabelledSeries[], half: Half): readonly LabelledSeries[] {
  if (half === undefined) return series;
  return series.filter((_, at) => at % 2 === (half === 'first' ? 0 : 1));
}

/** The rows that have a value. A segment keeps those of its rows that are left, one without any is gone. */
export function presentRows(series: LabelledSeries): LabelledSeries {
  const isPresent = (_: number, row: number): boolean => !Number.isNaN(series.values[row]!);
  const timestampsMs = series.timestampsMs.filter(isPresent);
  const values = series.values.filter(isPresent);
  // Present rows before each row, and before the end.
  const before = new Uint32Array(series.values.length + 1);
  for (let row = 0; row < series.values.length; row++) {
    before[row + 1] = before[row]! + (isPresent(0, row) ? 1 : 0);
  }
  const segments = series.segments
    .map(({ from, to }) => ({ from: before[from]!, to: before[to]! }))
    .filter(({ from, to }) => from < to);
  return { name: series.name, timestampsMs, values, segments };
}

/** What lies in a folder of data sets, or in a folder that is one. */
export function findCorpora(folder: string): Corpora {
  const inside = readdirSync(folder)
    .sort()
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isDirectory());
  const candidates = [folder, ...inside];
  return {
    nabFolder: candidates.find((path) => existsSync(windowsOf(path))),
    csvFolders: candidates.filter(isLabelledFolder),
  };
}

/** Files in the order of their names. Windows are inclusive on disk. */
export function readNab(folder: string): LabelledSeries[] {
  const windows = JSON.parse(readFileSync(windowsOf(folder), 'utf8')) as Record<
    string,
    [string, string][]
  >;
  return Object.keys(windows)
    .sort()
    .map((name) => {
      const rows = readRows(join(folder, 'data', name));
      const timestampsMs = Float64Array.from(rows.cells, (cells) => timeOf(cells[0]!));
      const firstRows = new Map<number, number>();
      timestampsMs.forEach((at, row) => {
        if (!firstRows.has(at)) firstRows.set(at, row);
      });
      const rowOf = (text: string): number => {
        const row = firstRows.get(timeOf(text.slice(0, 19)));
        assert(row !== undefined, `${name} has no row of ${text}, where a window ends`);
        return row;
      };
      const segments = windows[name]!.map(([from, to]) => ({
        from: rowOf(from),
        to: rowOf(to) + 1,
      }));
      const values = Float64Array.from(rows.cells, (cells) => Number(cells[1]));
      return { name, timestampsMs, values, segments };
    });
}

/** One series per file, in the order of their names, numbers in the order of numbers. */
export function readLabelledFolder(folder: string): LabelledSeries[] {
  return csvNames(folder).map((name) => {
    const { header, cells } = readRows(join(folder, name));
    const at = (column: string): number => {
      assert(header.includes(column), `${name} has no column ${column}`);
      return header.indexOf(column);
    };
    const [time, value, label] = [at('timestamp'), at('value'), at('label')];
    const numberOf = (text = ''): number => (text === '' ? Number.NaN : Number(text));
    return {
      name,
      timestampsMs: Float64Array.from(cells, (row) => timeOf(row[time]!)),
      values: Float64Array.from(cells, (row) => numberOf(row[value])),
      segments: segmentsOf(cells.map((row) => Number(row[label]) > 0)),
    };
  });
}

/** Runs of true. */
export function segmentsOf(labels: readonly boolean[]): Segment[] {
  const segments: Segment[] = [];
  for (let from = 0; from < labels.length; from++) {
    if (!labels[from]) continue;
    let to = from;
    while (labels[to]) to++;
    segments.push({ from, to });
    from = to;
  }
  return segments;
}

function windowsOf(folder: string): string {
  return join(folder, 'labels', 'combined_windows.json');
}

function csvNames(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => /\.csv(\.gz)?$/.test(name))
    .sort(new Intl.Collator('en', { numeric: true }).compare);
}

/** By its first file: one may be a megabyte, and there may be hundreds. */
function isLabelledFolder(folder: string): boolean {
  const [first] = csvNames(folder);
  if (first === undefined) return false;
  const { header } = readRows(join(folder, first));
  return ['timestamp', 'value', 'label'].every((column) => header.includes(column));
}

function readRows(path: string): { header: string[]; cells: string[][] } {
  const bytes = readFileSync(path);
  const text = (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
  const [header = '', ...lines] = text.trim().split(/\r?\n/);
  return { header: header.split(','), cells: lines.map((line) => line.split(',')) };
}

/** Epoch seconds, epoch milliseconds, or a date that is UTC where it does not say otherwise. */
function timeOf(text: string): number {
  const number = Number(text);
  if (!Number.isNaN(number)) return number > 1e11 ? number : number * 1000;
  const ms = Date.parse(/z$|[+-]\d\d:\d\d$/i.test(text) ? text : `${text.replace(' ', 'T')}Z`);
  assert(!Number.isNaN(ms), `${text} is no time`);
  return ms;
}
