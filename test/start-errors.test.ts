// What a user meets when the program cannot start: one clear sentence on standard error that names
// the cause and the way out, exit code 1, and no stack trace. The built program is run as a user
// runs it.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { DATA_DIR_FORMAT, openDataDir } from '../src/data-dir.js';
import { endPrograms, freePort, temporaryDirectory } from './programs.js';
import { runTreeline, startTreeline } from './treeline-process.js';

afterAll(endPrograms);

test('an unknown key is named with its line, its column and the nearest key', async () => {
  const directory = temporaryDirectory('settings');
  const path = join(directory, 'treeline.yml');
  writeFileSync(path, '# settings\nlisten: 127.0.0.1:0\nlog:\n  partitons: 8\n');
  await fails(
    ['--config', path],
    /treeline\.yml:4:3: unknown key "log\.partitons"; did you mean "log\.partitions"\?$/,
  );
  await fails(['--config', join(directory, 'absent.yml')], /absent\.yml: ENOENT/);
});

test('a value out of bounds is named with what was expected', async () => {
  await fails(['--log-partitions', '65'], /--log-partitions: .*64.*found 65/);
  const variable = { TREELINE_LOG_PARTITIONS: 'many' };
  await fails(
    [],
    /TREELINE_LOG_PARTITIONS: .*number.*found "many"|integer.*found "many"/,
    variable,
  );
});

test('an address reachable from outside needs authentication or an explicit word', async () => {
  await fails(
    ['--listen', '0.0.0.0:0'],
    /"0\.0\.0\.0:0" is reachable from other machines.*auth\.mode: none/,
  );
});

test('an occupied port is named, and the data directory is free again afterwards', async () => {
  const occupant = createServer();
  const port = await freePort();
  await new Promise<void>((resolve) => {
    occupant.listen(port, '127.0.0.1', resolve);
  });
  const dataDir = join(temporaryDirectory('occupied'), 'data');
  const flags = ['--listen', `127.0.0.1:${port}`, '--data-dir', dataDir];
  await fails(flags, new RegExp(`Cannot listen on 127\\.0\\.0\\.1:${port}: another program`));
  await new Promise((resolve) => occupant.close(resolve));
  const treeline = await startTreeline({ dataDir, port });
  expect(await treeline.stop()).toEqual({ code: 0, signal: null });
});

test('a data directory that cannot be written is named', async () => {
  const directory = temporaryDirectory('unwritable');
  const file = join(directory, 'file');
  writeFileSync(file, 'not a directory');
  await fails(['--data-dir', file], new RegExp(escaped(file)));
  await fails(['--data-dir', join(file, 'below')], new RegExp(escaped(join(file, 'below'))));
  // Root, too, may not make a directory there.
  await fails(['--data-dir', '/sys/treeline'], /\/sys\/treeline/);
});

test('a directory that holds something else is left alone', async () => {
  const directory = temporaryDirectory('foreign');
  mkdirSync(join(directory, 'photos'));
  await fails(['--data-dir', directory], new RegExp(escaped(directory)));
});

test('a second process on the same directory is told who has it', async () => {
  const treeline = await startTreeline();
  try {
    const pid = new RegExp(`${escaped(treeline.dataDir)}.*${treeline.program.pid}`);
    await fails(['--data-dir', treeline.dataDir], pid);
    await fails(['--verify-replay', '--data-dir', treeline.dataDir], pid);
    expect(await treeline.text('/-/healthy')).toContain('Healthy');
  } finally {
    await treeline.stop();
  }
});

test('a directory of a newer version is not touched', async () => {
  const dataDir = join(temporaryDirectory('newer'), 'data');
  await (await openDataDir(dataDir)).close();
  makeNewer(dataDir);
  await fails(['--data-dir', dataDir], /newer|format 2/i);
});

test('another number of partitions than the log was made with is refused', async () => {
  const dataDir = join(temporaryDirectory('partitions'), 'data');
  const treeline = await startTreeline({ dataDir, args: ['--log-partitions', '2'] });
  await treeline.stop();
  await fails(['--data-dir', dataDir, '--log-partitions', '3'], /\b2\b.*\b3\b|\b3\b.*\b2\b/);
});

test('a flag that does not exist is a usage error', async () => {
  const { code, stderr } = await runTreeline(['run', '--retention', '1d']);
  expect(code).toBe(2);
  expect(stderr).toContain("unknown option '--retention'");
});

/**
 * Runs the service, which must not start: exit 1, and one sentence on standard error that says
 * `why`.
 */
async function fails(
  flags: readonly string[],
  why: RegExp,
  environment: Readonly<Record<string, string>> = {},
): Promise<void> {
  const directory = ['--data-dir', join(temporaryDirectory('refused'), 'data')];
  const rest = flags.includes('--data-dir') ? [] : directory;
  const free =
    flags.includes('--listen') || flags.includes('--config') ? [] : ['--listen', '127.0.0.1:0'];
  const args = ['run', ...flags, ...rest, ...free, '--logging-level', 'error'];
  const { code, stdout, stderr } = await runTreeline(args, environment);
  const lines = stderr.trimEnd().split('\n');
  expect(lines, stderr).toHaveLength(1);
  expect(lines[0]).toMatch(/^treeline: /);
  expect(lines[0]).toMatch(why);
  expect(stdout).toBe('');
  expect(code).toBe(1);
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

/** Writes the marker that a later version would leave. */
function makeNewer(dataDir: string): void {
  const path = join(dataDir, 'treeline.json');
  const marker = JSON.parse(readFileSync(path, 'utf8')) as { format: number };
  expect(marker.format).toBe(DATA_DIR_FORMAT);
  writeFileSync(path, JSON.stringify({ ...marker, format: DATA_DIR_FORMAT + 1 }));
}
