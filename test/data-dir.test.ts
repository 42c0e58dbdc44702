// The data directory: one process at a time, nobody else's directory, no newer format.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { DATA_DIR_FORMAT, openDataDir } from '../src/data-dir.js';
import {
  eventually,
  type Program,
  removeDirectory,
  startProgram,
  temporaryDirectory,
} from './programs.js';

const compiled = fileURLToPath(new URL('../dist/src/data-dir.js', import.meta.url));
/** Opens the directory, says so, and stays. Says the error otherwise. */
const HOLD = `
  import { openDataDir } from ${JSON.stringify(compiled)};
  try {
    const dir = await openDataDir(process.argv[1]);
    console.log('opened');
    setInterval(() => {}, 1000);
    process.once('SIGTERM', () => dir.close().then(() => process.exit()));
  } catch (error) {
    console.log(error.code, error.message);
  }`;
const directories: string[] = [];
afterAll(() => directories.forEach(removeDirectory));

function directory(): string {
  const path = temporaryDirectory('data-dir');
  directories.push(path);
  return path;
}

async function hold(path: string): Promise<Program> {
  return startProgram(process.execPath, ['--input-type=module', '--eval', HOLD, path]);
}

async function firstWord(program: Program): Promise<string> {
  return eventually('a word from the holder', 20_000, async () => {
    const [line, ...rest] = program.stdout().split('\n');
    if (rest.length > 0) return line;
    if (program.hasExited()) throw new Error(program.stderr());
    return undefined;
  });
}

async function opens(path: string): Promise<void> {
  const dir = await openDataDir(path);
  await dir.close();
}

test('a directory is made, marked, opened again, and left as it was', async () => {
  const path = join(directory(), 'deep', 'new');
  await opens(path);
  const marker = readFileSync(join(path, 'treeline.json'), 'utf8');
  expect(JSON.parse(marker)).toEqual({ format: DATA_DIR_FORMAT });
  await opens(path);
  expect(readFileSync(join(path, 'treeline.json'), 'utf8')).toBe(marker);
  expect(readdirSync(path).filter((name) => name.startsWith('lock-'))).toEqual([]);
});

test('what a file system puts into a new directory is not in the way', async () => {
  const path = directory();
  mkdirSync(join(path, 'lost+found'));
  await opens(path);
});

test('a directory that another program uses is left alone', async () => {
  const path = directory();
  writeFileSync(join(path, 'thesis.txt'), 'text');
  await expect(opens(path)).rejects.toMatchObject({ code: 'data_dir_other' });
  await expect(opens(path)).rejects.toThrow(/thesis\.txt/);
  expect(readdirSync(path)).toEqual(['thesis.txt']);
});

test('a marker that is none is not trusted', async () => {
  for (const text of ['', 'null', '{"format":"1"}', '{"format":0}', '{"format":1.5}', '[]']) {
    const path = directory();
    writeFileSync(join(path, 'treeline.json'), text);
    await expect(opens(path), text).rejects.toMatchObject({ code: 'data_dir_other' });
  }
});

test('a directory of a newer version is left alone', async () => {
  const path = directory();
  writeFileSync(join(path, 'treeline.json'), JSON.stringify({ format: DATA_DIR_FORMAT + 1 }));
  await expect(opens(path)).rejects.toMatchObject({ code: 'data_dir_newer' });
  await expect(opens(path)).rejects.toThrow(/has format 2, this Treeline knows 1/);
  expect(readdirSync(path)).toEqual(['treeline.json']);
});

test('what is no directory cannot be used', async () => {
  const file = join(directory(), 'file');
  writeFileSync(file, '');
  for (const path of [file, join(file, 'below')]) {
    await expect(opens(path), path).rejects.toMatchObject({ code: 'data_dir_unwritable' });
    await expect(opens(path), path).rejects.toThrow(path);
  }
});

test('a start that was killed while it made the directory is taken up again', async () => {
  const path = directory();
  writeFileSync(join(path, 'treeline.json.partial'), '{"for');
  writeFileSync(join(path, 'lock-1-1-0'), 'starts');
  await opens(path);
  expect(readdirSync(path).toSorted()).toEqual([
    'treeline.json',
    'treeline.mdb',
    'treeline.mdb-lock',
  ]);
});

test('free bytes are those of the file system', async () => {
  const path = directory();
  const dir = await openDataDir(path);
  expect(await dir.freeBytes()).toBeGreaterThan(1e6);
  await dir.close();
});

test('one process opens a directory once', async () => {
  const path = directory();
  const dir = await openDataDir(path);
  await expect(openDataDir(path)).rejects.toThrow(`in use by process ${process.pid}`);
  await dir.close();
  await opens(path);
});

test('a second process is told which one has the directory', async () => {
  const path = directory();
  const holder = await hold(path);
  expect(await firstWord(holder)).toBe('opened');
  const started = performance.now();
  await expect(openDataDir(path)).rejects.toMatchObject({ code: 'data_dir_locked' });
  expect(performance.now() - started).toBeLessThan(900);
  await expect(openDataDir(path)).rejects.toThrow(`in use by process ${holder.pid}`);
  expect(await holder.stop()).toEqual({ code: 0, signal: null });
  await opens(path);
});

test('what a killed process left does not block the next one', async () => {
  const path = directory();
  for (let round = 0; round < 3; round++) {
    const holder = await hold(path);
    expect(await firstWord(holder)).toBe('opened');
    await holder.stop('SIGKILL');
    expect(readdirSync(path).filter((name) => name.startsWith('lock-'))).toHaveLength(1);
  }
  await opens(path);
});

test('a reused process id does not block: the start time decides', async () => {
  const path = directory();
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').slice(0, 8);
  // Process 1 lives, but has not been started at tick 12345; and no process has survived another
  // boot.
  writeFileSync(join(path, `lock-1-12345-${boot}`), 'holds');
  writeFileSync(join(path, `lock-1-0-00000000`), 'holds');
  await opens(path);
});

test('of several starters at once exactly one wins', async () => {
  for (let round = 0; round < 5; round++) {
    const path = directory();
    const programs = await Promise.all(Array.from({ length: 4 }, () => hold(path)));
    const words = await Promise.all(programs.map(firstWord));
    const winner = programs[words.indexOf('opened')] as Program;
    expect(
      words.filter((word) => word === 'opened'),
      words.join('\n'),
    ).toHaveLength(1);
    for (const word of words) expect(word).toMatch(/^opened$|^data_dir_locked /);
    await winner.stop('SIGKILL');
    await Promise.all(programs.map((program) => program.stop('SIGKILL')));
  }
});
