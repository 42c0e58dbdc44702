// A Python environment with pinned packages, for peers that are written in it: made once by pip in a cache folder outside
// the clone, complete or absent.
//
//   <cache>/python/<digest of the requirements>/complete

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const execute = promisify(execFile);
export const PYTHON_MS_MAX = 5 * 60_000;

/** Path of its interpreter; the environment is made with `interpreter`. */
export async function pythonWith(requirements: string, interpreter = 'python3'): Promise<string> {
  const cache = process.env['TREELINE_CACHE'] ?? join(homedir(), '.cache', 'treeline');
  const digest = createHash('sha256')
    .update(await readFile(requirements))
    .digest('hex');
  const home = join(cache, 'python', digest.slice(0, 16));
  const python = join(home, 'bin', 'python');
  const done = join(home, 'complete');
  if (existsSync(done)) return python;
  await rm(home, { recursive: true, force: true });
  await mkdir(join(cache, 'python'), { recursive: true });
  await execute(interpreter, ['-m', 'venv', home], { timeout: PYTHON_MS_MAX });
  const pip = [
    '-m',
    'pip',
    'install',
    '--quiet',
    '--disable-pip-version-check',
    // What is unpacked is kept; the archives would take as much again.
    '--no-cache-dir',
    // What is imported is compiled then, and most of it never is.
    '--no-compile',
    '-r',
    requirements,
  ];
  await execute(python, pip, { timeout: PYTHON_MS_MAX });
  await writeFile(done, '');
  return python;
}

/** A Python of at least 3.`minor` that this machine has, on the path or among pyenv's; undefined: none. */
export async function pythonFrom(minor: number): Promise<string | undefined> {
  const versions = join(process.env['PYENV_ROOT'] ?? join(homedir(), '.pyenv'), 'versions');
  const pyenv = await readdir(versions).catch(() => []);
  const names = ['python3', ...[0, 1, 2, 3].map((more) => `python3.${minor + more}`)];
  const paths = pyenv.map((version) => join(versions, version, 'bin', 'python3'));
  const ask = `import sys, venv; sys.exit(sys.version_info < (3, ${minor}))`;
  for (const candidate of [...names, ...paths]) {
    // It is not there, too old, without venv, or a shim that leads nowhere.
    const isFit = await execute(candidate, ['-c', ask]).then(
      () => true,
      () => false,
    );
    if (isFit) return candidate;
  }
  return undefined;
}
