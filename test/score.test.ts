// `treeline score` and the command line around it, as a user calls them.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, expect, test } from 'vitest';
import { removeDirectory, runProgram, temporaryDirectory } from './programs.js';
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

test('--direction, --min-deviation and --of change flags and alarms, and nothing else', async () => {
  const path = file('ruled.csv', ['timestamp,value', ...week((ms) => new Date(ms).toISOString())]);
  const scored = async (...args: string[]) => {
    const { code, stdout, stderr } = await runTreeline(['score', path, ...args]);
    expect([code, stderr]).toEqual([0, '']);
    const cells = stdout
      .trimEnd()
      .split('\n')
      .map((row) => row.split(','));
    const [, , , flag, alarm] = cells[FAULT + 1] as string[];
    const rest = cells.map((row) => row.filter((_, column) => column !== 3 && column !== 4).join());
    return { flag: Number(flag), isAlarm: Number(alarm) > 0, rest };
  };
  const plain = await scored();
  const ok = async (args: string[], isFlagged: boolean) => {
    const { flag, isAlarm, rest } = await scored(...args);
    expect([args, flag, isAlarm]).toEqual([args, Number(isFlagged), isFlagged]);
    expect(rest).toEqual(plain.rest);
  };
  await ok(['--direction', 'above'], true);
  await ok(['--direction', 'below'], false);
  await ok(['--min-deviation', '60'], true);
  await ok(['--min-deviation', '90'], false);
  await ok(['--direction', 'above', '--of', '2/5'], false);
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

test('files, gzipped files and folders go into a directory under their own names', async () => {
  const rows = week(String).slice(0, 3000);
  const inputs = join(folder, 'inputs');
  mkdirSync(join(inputs, 'deep'), { recursive: true });
  const text = ['timestamp,value', ...rows].join('\n');
  writeFileSync(join(inputs, 'a.csv'), text);
  writeFileSync(join(inputs, 'b.csv.gz'), gzipSync(text));
  writeFileSync(join(inputs, 'deep', 'c.csv'), text);
  const out = join(folder, 'out');
  expect((await runTreeline(['score', inputs, '--out', out])).code).toBe(0);
  const plain = readFileSync(join(out, 'a.csv'), 'utf8');
  expect(plain.trimEnd().split('\n')).toHaveLength(rows.length + 1);
  expect(gunzipSync(readFileSync(join(out, 'b.csv.gz'))).toString()).toBe(plain);
  expect(readFileSync(join(out, 'deep', 'c.csv'), 'utf8')).toBe(plain);
  expect(readdirSync(out).sort()).toEqual(['a.csv', 'b.csv.gz', 'deep']);

  // Threads and shards change nothing, on standard output or in files.
  const alone = (await runTreeline(['score', inputs])).stdout;
  expect(alone).toBe(plain.repeat(3));
  expect((await runTreeline(['score', inputs, '--jobs', '3'])).stdout).toBe(alone);
  const parts = join(folder, 'parts');
  for (const shard of ['1/2', '2/2']) {
    const args = ['score', inputs, '--out', parts, '--jobs', '2', '--shard', shard];
    expect((await runTreeline(args)).code).toBe(0);
  }
  expect(readFileSync(join(parts, 'deep', 'c.csv'), 'utf8')).toBe(plain);
  expect(readdirSync(parts).sort()).toEqual(['a.csv', 'b.csv.gz', 'deep']);
});

test('several columns are a series each, as if each were alone', async () => {
  const rows = week(String).map((row, at) => `${row},${at % 50},"x, ""y""",${1e6 - at}`);
  const path = file('wide.csv', ['timestamp,"value",saw,words,down', ...rows]);
  const out = join(folder, 'wide');
  const args = ['score', path, '--value', 'down,value', '--out', out, '--jobs', '2'];
  expect((await runTreeline(args)).code).toBe(0);
  for (const column of ['value', 'down']) {
    const { stdout } = await runTreeline(['score', path, '--value', column]);
    expect(readFileSync(join(out, `wide.${column}.csv`), 'utf8')).toBe(stdout);
  }
});

test('quotes, CRLF, a byte order mark and blank lines make no difference', async () => {
  const rows = week(String);
  const plain = file('plain.csv', ['timestamp,value', ...rows]);
  const quoted = rows.map((row) => `"${row.replace(',', '","')}"\r`);
  const odd = file('odd.csv', ['\ufefftimestamp,value\r', '\r', ...quoted, '', '']);
  const [a, b] = await Promise.all([plain, odd].map((path) => runTreeline(['score', path])));
  expect(b?.stdout).toBe(a?.stdout);
});

test('-o json says what was found; rows that could not be used are counted and told', async () => {
  const rows = week((ms) => new Date(ms).toISOString());
  const late = rows[10] as string;
  const path = file('json.csv', [
    'timestamp,value',
    ...rows,
    late,
    '2026-02-01,-Inf',
    '2026-02-02,NaN',
  ]);
  const { stdout, stderr } = await runTreeline(['score', path, '-o', 'json']);
  const [series] = (JSON.parse(stdout) as { series: Record<string, unknown>[] }).series;
  const missing = rows.filter((row) => row.endsWith(',')).length + 1;
  expect(series).toMatchObject({
    file: path,
    column: 'value',
    out: null,
    rows: rows.length + 3,
    missing,
    unused: { duplicate: 0, conflict: 0, late: 1, infinite: 1 },
    scored: rows.length + 3 - missing - 2,
  });
  const anomalies = series?.['anomalies'] as { onset: string; end: string; score: number }[];
  expect(anomalies).toHaveLength(series?.['anomalyCount'] as number);
  const fault = new Date(BEGIN + FAULT * 60_000).toISOString();
  expect(anomalies.map(({ onset }) => onset)).toContain(fault);
  expect(stderr).toContain(
    'not scored in column value: rows of which 1 are older than a row before them, 1 are infinite',
  );
});

test('a failure leaves nothing behind, and what was there before as it was', async () => {
  const path = file('broken.csv', ['timestamp,value', ...week(String), 'never,1']);
  const out = join(folder, 'kept.csv');
  writeFileSync(out, 'as it was\n');
  const { code, stderr } = await runTreeline(['score', path, '--out', out]);
  expect([code, stderr]).toEqual([
    1,
    expect.stringContaining('broken.csv:10082: timestamp is "never"'),
  ]);
  expect(readFileSync(out, 'utf8')).toBe('as it was\n');
  expect(readdirSync(folder).filter((name) => name.endsWith('.part'))).toEqual([]);
  // On threads the same file is named, whatever else was under way.
  const good = file('good.csv', ['timestamp,value', ...week(String)]);
  const together = ['score', good, path, good, path, '--jobs', '3'];
  expect((await runTreeline(together)).stderr).toBe(stderr);
});

test('a reader that goes away is no failure', async () => {
  const path = file('long.csv', ['timestamp,value', ...week(String)]);
  const main = new URL('../dist/src/main.js', import.meta.url).pathname;
  for (const jobs of ['1', '2']) {
    const line = `"${process.execPath}" "${main}" score "${path}" "${path}" --jobs ${jobs} | head -n 1; echo "$\{PIPESTATUS[0]}"`;
    const { stdout, stderr } = await runProgram('bash', ['-c', line.replace('\\', '')], {
      timeoutMs: 60_000,
    });
    expect([stdout, stderr]).toEqual([
      'timestamp,value,score,flag,alarm,expected,lower,upper\n0\n',
      '',
    ]);
  }
});

test('what cannot be read is named with its place', async () => {
  const no = async (args: string[], sentence: string) => {
    const { code, stderr } = await runTreeline(['score', ...args]);
    expect([code, stderr]).toEqual([1, expect.stringContaining(sentence)]);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  };
  await no([join(folder, 'none.csv')], 'none.csv: ENOENT');
  await no([file('empty.csv', [])], 'empty.csv: the file is empty');
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
  await no(
    [file('open.csv', ['timestamp,value', '1,1', '2,"2', '3,3'])],
    'open.csv:3: a quoted field begins here and never ends',
  );
  await no(
    [file('long-row.csv', ['timestamp,value', '1,1', `2,${'9'.repeat(2 ** 21)}`])],
    'long-row.csv:3: a row is longer than 1048576 bytes',
  );
  writeFileSync(join(folder, 'utf16.csv'), Buffer.from('\ufefftimestamp,value\n', 'utf16le'));
  await no([join(folder, 'utf16.csv')], 'utf16.csv:1: the file is UTF-16; save it as UTF-8');
  const zipped = gzipSync(['timestamp,value', ...week(String)].join('\n'));
  writeFileSync(join(folder, 'cut.csv.gz'), zipped.subarray(0, 5000));
  await no([join(folder, 'cut.csv.gz')], 'it is damaged (unexpected end of file)');
});

test('usage errors exit 2 with a sentence', async () => {
  const path = file('usage.csv', ['timestamp,value']);
  const no = async (args: string[], sentence: string) => {
    const { code, stderr } = await runTreeline(['score', path, ...args]);
    expect([code, stderr]).toEqual([2, expect.stringContaining(sentence)]);
  };
  await no(['--seed', '-1'], '--seed is -1, expected 0 to 4294967295');
  await no(['--jobs', '0'], '--jobs is 0, expected 1 to 256');
  await no(['--shard', '0/2'], '--shard is 0/2, expected i/n with i from 1 to n');
  await no(['--plot', 'plot.png'], '--plot plot.png must end in .svg or .html');
  await no(['--of', '5/3'], '--of is 5/3, expected N/M with N up to M and M up to 32');
  await no(['--direction', 'up'], '--direction is up, expected above, below or both');
  await no(['--min-deviation', 'x'], '--min-deviation is x, expected a number from 0 on');
  await no(['--value', 'a,,b'], '--value is a,,b, expected names of columns');
  await no([path, '--out', path], 'must be a directory for several series');
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
