// A Python environment with pinned packages, for peers that are written in it: made once by pip in a cache folder outside
// the clone, complete or absent.
//
//   <cache>/python/<digest of the requirements>/complete

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const execute = promisify(execFile);
export const PYTHON_MS_MAX = 5 * 60_000;

/** Path of its interpreter. */
export async function pythonWith(requirements: string): Promise<string> {
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
  await execute('python3', ['-m', 'venv', home], { timeout: PYTHON_MS_MAX });
  const pip = [
    '-m',
    'pip',
    'install',
    '--quiet',
    '--disable-pip-version-check',
    '-r',
    requirements,
  ];
  await execute(python, pip, { timeout: PYTHON_MS_MAX });
  await writeFile(done, '');
  return python;
}
