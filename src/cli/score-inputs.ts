// What `treeline score` is to read and where each series goes: folders are searched, shards are taken out, names are
// mirrored below --out. Everything is decided here, before the first byte is read, and depends on the arguments and the
// names in the folders only: the shards of one call together are the whole.

import { readdirSync, realpathSync } from 'node:fs';
import { basename, join, relative, resolve, sep } from 'node:path';
import { OperatingError } from '../errors.js';
import { CSV_COLUMNS_MAX, CSV_FILES_MAX } from '../limits.js';
import { statOf } from './score-output.js';

/** One pass over one file. */
export interface ScoreTask {
  file: string;
  /** Columns to score, each a series. */
  values: string[];
  /** Where the rows of each go; standard output when absent. */
  outs: string[] | undefined;
}

export interface InputOptions {
  values: readonly string[];
  out: string | undefined;
  shard: { index: number; count: number };
  /** Threads that want something to do. */
  jobs: number;
  /** Ends the call with a sentence: the arguments make no sense together. */
  refuse: (message: string) => never;
}

interface Input {
  path: string;
  /** As it is mirrored: relative to the folder that was searched. */
  name: string;
}

const CSV = /\.csv(\.gz)?$/i;

export function planTasks(paths: readonly string[], options: InputOptions): ScoreTask[] {
  const { values, refuse } = options;
  if (values.length > CSV_COLUMNS_MAX) {
    refuse(`--value names ${values.length} columns; at most ${CSV_COLUMNS_MAX} at once`);
  }
  const kinds = paths.map((path) => (isFolder(path) ? 'folder' : 'file'));
  const out = options.out === undefined ? undefined : resolve(options.out);
  const inputs = paths.flatMap((path, at) =>
    kinds[at] === 'folder' ? search(path, out) : [{ path, name: basename(path) }],
  );
  if (inputs.length > CSV_FILES_MAX) {
    refuse(
      `${inputs.length} files; at most ${CSV_FILES_MAX} at once: use --shard or fewer folders`,
    );
  }
  const isOne = inputs.length === 1 && values.length === 1 && kinds[0] === 'file';
  const nameOf = namer(out, { ...options, isOne });
  const tasks = inputs.map(({ path, name }) => ({
    file: path,
    values: [...values],
    outs: nameOf && values.map((value) => nameOf(name, values.length > 1 ? value : undefined)),
  }));
  checkOuts(tasks, refuse);
  return split(shardOf(tasks, options.shard), options.jobs);
}

/** Every *.csv and *.csv.gz below the folder, sorted; links to folders are not followed. What lies in `out` is output. */
function search(folder: string, out: string | undefined): Input[] {
  const found: Input[] = [];
  const visit = (directory: string): void => {
    if (resolve(directory) === out) return;
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) visit(path);
      else if (CSV.test(entry.name) && resolve(path) !== out && statOf(path)?.isFile()) {
        found.push({ path, name: relative(folder, path) });
      }
    }
  };
  try {
    visit(folder);
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException;
    throw new OperatingError('input_invalid', `Cannot read ${path ?? folder}: ${code}`, error);
  }
  if (found.length === 0) {
    throw new OperatingError('input_invalid', `${folder}: no *.csv or *.csv.gz file in it`);
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/** File and column → path of the output; undefined for standard output. */
function namer(
  out: string | undefined,
  { isOne, refuse, out: given }: InputOptions & { isOne: boolean },
): ((name: string, column: string | undefined) => string) | undefined {
  if (out === undefined) return undefined;
  const isDirectory = isFolder(out) || given?.endsWith(sep) === true;
  if (isOne && !isDirectory) return () => out;
  if (!isDirectory && (exists(out) || CSV.test(out))) {
    refuse(`--out ${given} must be a directory for several series`);
  }
  return (name, column) => join(out, column === undefined ? name : withColumn(name, column));
}

/** cpu.csv.gz and `load 1` → cpu.load%201.csv.gz: every column has a name of its own that any file system takes. */
function withColumn(name: string, column: string): string {
  const end = CSV.exec(name)?.[0] ?? '';
  return `${name.slice(0, name.length - end.length)}.${encodeURIComponent(column)}${end}`;
}

function checkOuts(tasks: readonly ScoreTask[], refuse: InputOptions['refuse']): void {
  const sources = new Map<string, string>();
  for (const { file, outs } of tasks) {
    for (const out of outs ?? []) {
      const other = sources.get(out);
      if (other !== undefined) {
        refuse(
          other === file
            ? `--value names a column twice`
            : `${other} and ${file} would both be written to ${out}`,
        );
      }
      sources.set(out, file);
    }
  }
  for (const { file } of tasks) {
    const real = exists(file) ? realpathSync(file) : file;
    for (const path of new Set([real, resolve(file)])) {
      if (sources.has(path)) refuse(`${file} would be overwritten by its own scores`);
    }
  }
}

/** Every count-th file; of a single file, every count-th column. */
function shardOf(tasks: ScoreTask[], { index, count }: InputOptions['shard']): ScoreTask[] {
  const isOurs = (_: unknown, at: number): boolean => at % count === index - 1;
  if (tasks.length > 1) return tasks.filter(isOurs);
  return tasks
    .map((task) => ({
      ...task,
      values: task.values.filter(isOurs),
      outs: task.outs?.filter(isOurs),
    }))
    .filter(({ values }) => values.length > 0);
}

/** Where there are fewer files than threads, columns of a file are shared out; each thread then reads the file. */
function split(tasks: ScoreTask[], jobs: number): ScoreTask[] {
  const parts = Math.ceil(jobs / Math.max(1, tasks.length));
  if (parts <= 1) return tasks;
  return tasks.flatMap((task) => {
    const size = Math.ceil(task.values.length / parts);
    const starts = task.values.map((_, at) => at).filter((at) => at % size === 0);
    return starts.map((from) => ({
      file: task.file,
      values: task.values.slice(from, from + size),
      outs: task.outs?.slice(from, from + size),
    }));
  });
}

function isFolder(path: string): boolean {
  return statOf(path)?.isDirectory() === true;
}

function exists(path: string): boolean {
  return statOf(path) !== undefined;
}
