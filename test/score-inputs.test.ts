// Which files `treeline score` reads, in which order, and where each series goes.

import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { type InputOptions, planTasks } from '../src/cli/score-inputs.js';
import { removeDirectory, temporaryDirectory } from './programs.js';

const folder = temporaryDirectory('inputs');
afterAll(() => removeDirectory(folder));

function put(...names: string[]): void {
  for (const name of names) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), 'timestamp,value\n');
  }
}

function plan(paths: readonly string[], options: Partial<InputOptions> = {}) {
  const refuse = (message: string): never => {
    throw new Error(message);
  };
  return planTasks(
    paths.map((path) => join(folder, path)),
    {
      values: ['value'],
      out: undefined,
      shard: { index: 1, count: 1 },
      jobs: 1,
      refuse,
      ...options,
    },
  );
}

put('in/b.csv', 'in/a.csv.gz', 'in/deep/er/c.csv', 'in/notes.txt', 'in/B.CSV', 'one.csv', 'in.csv');
const inFolder = ['B.CSV', 'a.csv.gz', 'b.csv', 'deep/er/c.csv'];

test('folders are searched for CSV files, in the order of their names', () => {
  mkdirSync(join(folder, 'elsewhere'), { recursive: true });
  symlinkSync(join(folder, 'in'), join(folder, 'in/deep/circle'));
  expect(plan(['in', 'one.csv']).map(({ file }) => file)).toEqual(
    [...inFolder.map((name) => `in/${name}`), 'one.csv'].map((name) => join(folder, name)),
  );
  expect(() => plan(['elsewhere'])).toThrow('elsewhere: no *.csv or *.csv.gz file in it');
});

test('names are mirrored below --out; of several columns each has a file of its own', () => {
  const out = join(folder, 'out');
  const outsOf = (tasks: ReturnType<typeof plan>) => tasks.flatMap(({ outs }) => outs ?? []);
  expect(outsOf(plan(['in'], { out }))).toEqual(inFolder.map((name) => join(out, name)));
  expect(outsOf(plan(['one.csv'], { out, values: ['load 1', 'a/b'] }))).toEqual([
    join(out, 'one.load%201.csv'),
    join(out, 'one.a%2Fb.csv'),
  ]);
  expect(outsOf(plan(['one.csv'], { out }))).toEqual([out]);
  expect(outsOf(plan(['one.csv'], { out: `${out}/` }))).toEqual([join(out, 'one.csv')]);
  expect(plan(['one.csv'])[0]?.outs).toBeUndefined();
});

test('what was written into a searched folder is not read again', () => {
  put('again/a.csv', 'again/scored/a.csv');
  const out = join(folder, 'again/scored');
  expect(plan(['again'], { out }).map(({ file }) => file)).toEqual([join(folder, 'again/a.csv')]);
});

test('arguments that make no sense together are refused with a sentence', () => {
  const no = (paths: string[], options: Partial<InputOptions>, sentence: string) =>
    expect(() => plan(paths, options)).toThrow(sentence);
  const out = join(folder, 'one.csv');
  no(['in', 'one.csv'], { out }, 'one.csv must be a directory for several series');
  no(['in'], { out: join(folder, 'new.csv') }, 'new.csv must be a directory for several series');
  no(['one.csv'], { out }, 'one.csv would be overwritten by its own scores');
  no(['one.csv'], { out: folder }, 'one.csv would be overwritten by its own scores');
  put('x/a.csv', 'y/a.csv');
  no(['x', 'y'], { out: join(folder, 'o') }, 'would both be written to');
  no(['one.csv'], { values: ['a', 'a'], out: join(folder, 'o') }, 'names a column twice');
  no(['one.csv'], { values: Array(257).fill('a') }, '257 columns; at most 256 at once');
});

test('the shards together are the whole: of files, of the columns of one file, and none twice', () => {
  const all = (paths: string[], options: Partial<InputOptions>, count: number) =>
    Array.from({ length: count }, (_, at) =>
      plan(paths, { ...options, shard: { index: at + 1, count } }),
    )
      .flat()
      .flatMap(({ file, values, outs }) => values.map((value, at) => [file, value, outs?.[at]]))
      .sort();
  const out = join(folder, 'shards');
  const values = ['a', 'b', 'c'];
  for (const count of [1, 2, 3, 7]) {
    for (const paths of [['in'], ['one.csv']]) {
      expect(all(paths, { values, out }, count)).toEqual(all(paths, { values, out }, 1));
    }
  }
  expect(plan(['one.csv'], { shard: { index: 2, count: 2 } })).toEqual([]);
});

test('columns of one file are shared out where threads would be idle, in their order', () => {
  const values = ['a', 'b', 'c', 'd', 'e'];
  const shares = (jobs: number) => plan(['one.csv'], { values, jobs }).map((task) => task.values);
  expect(shares(1)).toEqual([values]);
  expect(shares(2)).toEqual([
    ['a', 'b', 'c'],
    ['d', 'e'],
  ]);
  expect(shares(9)).toEqual(values.map((value) => [value]));
  expect(plan(['in'], { values, jobs: 4 })).toHaveLength(4);
});
