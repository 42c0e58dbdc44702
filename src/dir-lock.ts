// Keeps a directory to one process. Every process that wants it puts down a file of its own, named
// after what makes a process unique (pid, start time, boot), and then looks who else is there.
// Whoever looks after putting down its file sees everybody who looked before, so two can never both
// find themselves alone. Names are never used twice, so the file of a process that was killed can
// be removed by anybody at any time and never blocks a restart.

import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { OperatingError } from './errors.js';

export interface DirLock {
  release(): Promise<void>;
}

/**
 * How long a starter waits for others, who started at the same moment, to give way. They do within
 * a few ms.
 */
const GIVE_WAY_MS_MAX = 1_000;
const LOOK_AGAIN_MS = 10;
const HOLDS = 'holds';
const NAME = /^lock-(\d+)-(\d+)-([0-9a-f]+)$/;

/**
 * Directories that this very process holds: its own file does not tell them from those of an
 * earlier namesake.
 */
const heldHere = new Set<string>();

export function isLockFile(name: string): boolean {
  return NAME.test(name);
}

/** Rejects with data_dir_locked, naming the pid, when another process has the directory. */
export async function lockDir(path: string): Promise<DirLock> {
  const own = await ownName();
  const ownPath = join(path, own);
  if (heldHere.has(ownPath)) throw locked(path, process.pid);
  heldHere.add(ownPath);
  try {
    await writeFile(ownPath, 'starts');
    await waitUntilAlone(path, own);
    await writeFile(ownPath, HOLDS);
  } catch (error) {
    heldHere.delete(ownPath);
    await rm(ownPath, { force: true });
    throw error;
  }
  return {
    async release() {
      await rm(ownPath, { force: true });
      heldHere.delete(ownPath);
    },
  };
}

async function waitUntilAlone(path: string, own: string): Promise<void> {
  const deadline = performance.now() + GIVE_WAY_MS_MAX;
  for (;;) {
    const others = await livingOthers(path, own);
    const [first] = others;
    if (first === undefined) return;
    for (const other of others) {
      // Of several who start at once the one whose name sorts first stays and the others leave:
      // exactly one wins.
      if (other < own || (await holds(join(path, other)))) throw locked(path, pidOf(other));
    }
    if (performance.now() > deadline) throw locked(path, pidOf(first));
    await sleep(LOOK_AGAIN_MS);
  }
}

/** Names of the other living processes at this directory; what dead ones left is removed. */
async function livingOthers(path: string, own: string): Promise<string[]> {
  const living: string[] = [];
  for (const name of await readdir(path)) {
    if (name === own || !isLockFile(name)) continue;
    if (await isAlive(name)) living.push(name);
    else await rm(join(path, name), { force: true });
  }
  return living.sort();
}

async function holds(file: string): Promise<boolean> {
  try {
    return (await readFile(file, 'utf8')) === HOLDS;
  } catch (error) {
    // ENOENT: it has just given way.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

async function isAlive(name: string): Promise<boolean> {
  const [, pid = '', start = '', boot = ''] = NAME.exec(name) ?? [];
  if (boot !== (await bootName())) return false;
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    // ESRCH: no such process. EPERM: it lives and belongs to somebody else.
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  // Without /proc, start times are 0 everywhere and the pid alone decides.
  return start === '0' || start === (await startTime(pid));
}

async function ownName(): Promise<string> {
  const start = (await startTime('self')) ?? '0';
  return `lock-${process.pid}-${start}-${await bootName()}`;
}

/**
 * Start time in clock ticks since boot: field 22 of /proc/<pid>/stat (man 5 proc). The second field
 * is the program's name in parentheses and may hold anything, so counting begins after the last
 * one. A zombie holds nothing any more.
 */
async function startTime(pid: string): Promise<string | undefined> {
  const stat = await readIfThere(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

async function bootName(): Promise<string> {
  const id = await readIfThere('/proc/sys/kernel/random/boot_id');
  return id === undefined ? '0' : id.slice(0, 8);
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    // ENOENT or ESRCH: no such process, or a system without /proc.
    return undefined;
  }
}

function pidOf(name: string): number {
  return Number(NAME.exec(name)?.[1]);
}

function locked(path: string, pid: number): OperatingError {
  return new OperatingError(
    'data_dir_locked',
    `The data directory ${path} is in use by process ${pid}; ` +
      'stop that process, or start with another data directory',
  );
}
