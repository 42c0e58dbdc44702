// `treeline score` and the command line around it, as a user calls them.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { removeDirectory, temporaryDirectory } from './programs.js';
import { randomOf } from './random.js';
import { runTreeline } from './treeline-process.js';

const folder = temporaryDirectory('score');
const BEGIN = Date.UTC(2026, 0, 1);
const FAULT = 5000;

afterAll(() => removeDirectory(folder));

function file(name: string, lines: readonly string[]): string {
  const path = join(folder, name);
  writeFileSync(path, `${lines.join('\n')}\n`);
  return path;
}

/** A week of minutes with a spike at row FAULT, some rows empty. */
function week(timeOf: (ms: number) => string): string[] {
  const random = randomOf(7);
  return Array.from({ length: 7 * 1440 }, (_, i) => {
    const value =
      100 + 20 * Math.sin((2 * Math.PI * i) / 1440) + 2 * random() + (i === FAULT ? 80 : 0);
    return `${timeOf(BEGIN + i * 60_000)},${i % 97 === 3 ? '' : value.toFixed(3)}`;
  });
}

test('one row per row, in order; the spike is flagged and alarmed once', async () => {
  const input = week((ms) => new Date(ms).toISOString());
  const path = file('week.csv', ['timestamp,value', ...input]);
  const { code, stdout, stderr } = await runTreeline(['score', path]);
  expect([code, stderr]).toEqual([0, '']);
  const [header, ...rows] = stdout.trimEnd().split('\n');
  expect(header).toBe('timestamp,value,score,flag,alarm,expected,lower,upper');
  expect(rows.map((row) => row.split(',').slice(0, 2).join(','))).toEqual(input);
  const cells = rows.map((row) => row.split(','));
  expect(cells[3]?.slice(2)).toEqual(['', '', '', '', '', '']);
  const fault = cells[FAULT] as string[];
  expect(Number(fault[2])).toBeGreaterThan(1);
  expect(fault[3]).toBe('1');
  expect(Number(fault[4])).toBe(Number(fault[2]));
  expect(Number(fault[7])).toBeLessThan(Number(fault[1]));
  const around = cells.slice(FAULT, FAULT + 60).filter((row) => Number(row[4]) > 0);
  expect(around).toHaveLength(1);
  expect(cells.filter((row) => Number(row[4]) > 0).length).toBeLessThanOrEqual(3);
});

test('seconds, milliseconds and ISO times without a zone mean the same', async () => {
  const forms = {
    seconds: (ms: number) => String(ms / 1000),
    milliseconds: (ms: number) => String(ms),
    iso: (ms: number) => new Date(ms).toISOString().slice(0, 19).replace('T', ' '),
  };
  const scores = [];
  for (const [name, timeOf] of Object.entries(forms)) {
    const path = file(`${name}.csv`, ['when,"the value"', ...week(timeOf)]);
    const { stdout } = await runTreeline([
      'score',
      path,
      '--column',
      'when',
      '--value',
      'the value',
    ]);
    scores.push(
      stdout
        .split('\n')
        .slice(1)
        .map((row) => row.split(',').slice(1).join(',')),
    );
  }
  expect(scores[1]).toEqual(scores[0]);
  expect(scores[2]).toEqual(scores[0]);
});

test('another seed makes other trees; the same seed the same bytes', async () => {
  const path = file('seed.csv', ['timestamp,value', ...week(String)]);
  const [a, b, other] = await Promise.all(
    ['1', '1', '2'].map(
      async (seed) => (await runTreeline(['score', path, '--seed', seed])).stdout,
    ),
  );
  expect(b).toBe(a);
  expect(other).not.toBe(a);
});

test('several files go into a directory', async () => {
  const paths = ['a.csv', 'b.csv'].map((name) => file(name, ['timestamp,value', '1,1', '2,2']));
  const out = join(folder, 'out');
  mkdirSync(out);
  expect((await runTreeline(['score', ...paths, '--out', out])).code).toBe(0);
  expect(readFileSync(join(out, 'b.csv'), 'utf8').split('\n')).toHaveLength(4);
  const refused = await runTreeline(['score', ...paths, '--out', join(folder, 'one.csv')]);
  expect([refused.code, refused.stderr]).toEqual([
    1,
    expect.stringContaining('must be an existing directory for several files'),
  ]);
});

test('what cannot be read is named with its place', async () => {
  const no = async (args: string[], sentence: string) => {
    const { code, stderr } = await runTreeline(['score', ...args]);
    expect([code, stderr]).toEqual([1, expect.stringContaining(sentence)]);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  };
  await no([join(folder, 'none.csv')], 'none.csv: ENOENT');
  await no([file('empty.csv', [])], 'no column "timestamp"');
  await no(
    [file('columns.csv', ['time,value'])],
    'no column "timestamp"; the header has time, value',
  );
  await no(
    [file('number.csv', ['timestamp,value', '1,1', '2,lots'])],
    'number.csv:3: value is "lots"; expected a number or nothing',
  );
  await no(
    [file('time.csv', ['timestamp,value', 'noon,1'])],
    'time.csv:2: timestamp is "noon"; expected ISO 8601 or epoch seconds or milliseconds',
  );
  await no([file('s.csv', ['timestamp,value']), '--seed', '-1'], '--seed is -1');
});

test('commands explain themselves; usage errors exit 2', async () => {
  for (const command of ['run', 'demo', 'score']) {
    const { code, stdout } = await runTreeline([command, '--help']);
    expect([command, code]).toEqual([command, 0]);
    expect(stdout).toMatch(/Example:\n {2}treeline /);
  }
  expect((await runTreeline(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  for (const args of [['fly'], ['score'], ['run', '--fly']]) {
    expect([args, (await runTreeline(args)).code]).toEqual([args, 2]);
  }
});
