// Builds Go programs that tests and benches need: real peers, by the name and version of their Go
// modules, with the checksums of go.sum beside them. A program is kept in the cache outside of the
// clone, under a hash of its sources and of how it is built, so that it is built once and another
// version never answers for this one. It runs at low priority: the first build of a large peer takes
// minutes of both cores.
//
//   <cache>/<name>/<hash>/<name>      complete or absent

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import {
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, delimiter, join } from 'node:path';
import { promisify } from 'node:util';

export interface GoProgram {
  /** Of the program, and of its folder in the cache. */
  name: string;
  /** Folder with go.mod, go.sum and, where it is ours, the program itself. */
  source: string;
  /** What is built: `.`, or the import path of a program in one of the modules. */
  target: string;
  flags?: readonly string[];
  /** Modules of which parts are taken from a folder, because no proxy has them; by their names. */
  folders?: Readonly<Record<string, ModuleFolder>>;
}

/** Whatever these packages need of other modules must be in the go.mod of the program. */
export interface ModuleFolder {
  root: string;
  /** Packages, or single files of them. */
  paths: readonly string[];
}

const BUILD_MS_MAX = 20 * 60_000;
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;
/** Where Go's own archive unpacks to; it is often not in the path of a service. */
const GO_HOME = '/usr/local/go/bin';
const PRIORITY = '15';

const execute = promisify(execFile);

export function cacheFolder(): string {
  return process.env['TREELINE_CACHE'] ?? join(homedir(), '.cache', 'treeline');
}

/** Path of the program, built on first use. Several processes may ask at the same time. */
export async function goProgram(program: GoProgram): Promise<string> {
  const { name } = program;
  const home = join(cacheFolder(), name, await hashOf(program));
  const binary = join(home, name);
  if (existsSync(binary)) return binary;
  await mkdir(join(cacheFolder(), name), { recursive: true });
  const beside = await mkdtemp(join(cacheFolder(), name, '.build-'));
  try {
    await build(program, beside);
    await mkdir(home, { recursive: true });
    // Whoever is last wins, and all have built the same.
    await rename(join(beside, name), binary);
  } finally {
    await rm(beside, { recursive: true, force: true });
  }
  return binary;
}

async function hashOf({ source, target, flags = [], folders = {} }: GoProgram): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify([target, flags, Object.keys(folders)]));
  const parts = Object.values(folders).flatMap(({ root, paths }) =>
    paths.map((path) => join(root, path)),
  );
  for (const part of [source, ...parts]) {
    for (const file of await goFiles(part))
      hash.update(basename(file)).update(await readFile(file));
  }
  return hash.digest('hex').slice(0, 16);
}

async function goFiles(path: string): Promise<string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const names = await readdir(path, { recursive: true });
  return names
    .filter((name) => /\.(go|mod|sum)$/.test(name))
    .sort()
    .map((name) => join(path, name));
}

/** In a copy of the sources: a build leaves nothing in the clone. */
async function build(program: GoProgram, beside: string): Promise<void> {
  const { name, source, target, flags = [], folders = {} } = program;
  const copy = join(beside, 'source');
  await cp(source, copy, { recursive: true });
  for (const [module, folder] of Object.entries(folders)) {
    await addFolder(copy, { module, folder });
  }
  const environment = {
    ...process.env,
    PATH: [process.env['PATH'], GO_HOME].filter((path) => path !== undefined).join(delimiter),
    CGO_ENABLED: '0',
    GOFLAGS: '-mod=readonly',
    GOWORK: 'off',
  };
  const args = ['build', '-trimpath', '-buildvcs=false', ...flags, '-o', join(beside, name)];
  try {
    await execute('nice', ['-n', PRIORITY, 'go', ...args, target], {
      cwd: copy,
      env: environment,
      timeout: BUILD_MS_MAX,
      maxBuffer: OUTPUT_BYTES_MAX,
    });
  } catch (error) {
    const { stderr } = error as { stderr?: string };
    const reason = stderr === undefined || stderr === '' ? String(error) : stderr.slice(-4_000);
    const needed = goVersionIn(await readFile(join(source, 'go.mod'), 'utf8'));
    throw new Error(`Cannot build ${name}, which needs Go ${needed} or newer: ${reason}`);
  }
}

async function addFolder(
  copy: string,
  { module, folder }: { module: string; folder: ModuleFolder },
): Promise<void> {
  const place = join(copy, 'folders', module);
  for (const path of folder.paths) {
    await cp(join(folder.root, path), join(place, path), { recursive: true });
  }
  const goMod = await readFile(join(copy, 'go.mod'), 'utf8');
  await writeFile(join(place, 'go.mod'), `module ${module}\n\ngo ${goVersionIn(goMod)}\n`);
  const replace = `replace ${module} => ./folders/${module}\n`;
  await writeFile(join(copy, 'go.mod'), `${goMod}\n${replace}`);
}

function goVersionIn(goMod: string): string | undefined {
  return /^go (\S+)$/m.exec(goMod)?.[1];
}
