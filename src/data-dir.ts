// The data directory: opened once, by one process, with one lmdb environment in it that the log and
// the state share.
//
//   treeline.json     the marker: which format everything beside it has
//   treeline.mdb      the environment (and treeline.mdb-lock, lmdb's own)
//   lock-<pid>-…      who has it, see dir-lock.ts
//
// A directory with something else in it is left alone, and so is one that a newer Treeline has
// written.

import { AssertionError } from 'node:assert';
import { mkdir, open as openFile, readdir, readFile, rename, statfs } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Database, type DatabaseOptions, open, type RootDatabase } from 'lmdb';
import { CommitQueue, type Write } from './commit-queue.js';
import { isLockFile, lockDir } from './dir-lock.js';
import { OperatingError } from './errors.js';

export interface DataDir {
  readonly path: string;
  /** For reading. Whoever wants to write calls `write` or `commit`. */
  readonly environment: RootDatabase;
  /** Makes the database when there is none of this name. */
  openDatabase(name: string, options: DatabaseOptions): Values;
  /**
   * Runs `puts` in the next transaction and tells `settled` once it is durable, or why not. Keeps
   * the order of calls.
   */
  write(write: Write): void;
  /** The same as a promise. */
  commit(bytes: number, puts: () => void): Promise<void>;
  /** Runs `look`, which reads from the environment; what lmdb throws becomes an OperatingError. */
  read<T>(look: () => T): T;
  /**
   * Rejects when nothing can be written any more until the process is started again. Never
   * resolves.
   */
  readonly failed: Promise<never>;
  /** Free bytes of the file system that the directory lies on, for us who are not root. */
  freeBytes(): Promise<number>;
  /**
   * Bytes of lmdb's file that hold nothing any more: it never gets shorter, new values go there
   * first.
   */
  reusableBytes(): number;
  close(): Promise<void>;
}

export type Values = Database<Uint8Array, Uint8Array>;

export const DATA_DIR_FORMAT = 1;
const BYTES = { encoding: 'binary', keyEncoding: 'binary' } as const;
export const DATA_DIR_MARKER = 'treeline.json';
const PARTIAL_MARKER = 'treeline.json.partial';
const STORE = 'treeline.mdb';
/** What a file system may put into every new directory by itself. */
const NOBODYS = new Set(['lost+found', PARTIAL_MARKER]);
/**
 * Address space reserved at once, so that the map need not move while the file grows; it costs no
 * memory.
 */
const MAP_BYTES = 64 * 1024 ** 3;
/**
 * 64 partitions of each of six topics, and a few of ours. A transaction pays 4 bytes of copying for
 * each.
 */
const DATABASES_MAX = 6 * 64 + 16;
/** Shorter values are not worth compressing: a page of lmdb holds several of them anyway. */
const COMPRESSION_BYTES_MIN = 512;

/** Rejects with an OperatingError that names the directory and what to do. */
export async function openDataDir(path: string): Promise<DataDir> {
  const full = resolve(path);
  const undo: (() => Promise<void>)[] = [];
  try {
    await mkdir(full, { recursive: true, mode: 0o700 });
    await readMarker(full);
    const lock = await lockDir(full);
    undo.push(() => lock.release());
    const isNew = (await readMarker(full)) === undefined;
    if (isNew) await writeMarker(full);
    const environment = openEnvironment(full);
    undo.push(() => environment.close());
    const file = await openFile(join(full, STORE), 'r+');
    const databases: Values[] = [];
    const reusableBytes = () => countReusable(environment, databases);
    const queue = new CommitQueue({ environment, file, reusableBytes, path: full });
    undo.push(() => queue.close());
    if (isNew) await queue.prepare();
    await syncDirectory(full);
    return dataDir({ path: full, environment, databases, queue, undo });
  } catch (error) {
    await undoAll(undo);
    if (error instanceof OperatingError) throw error;
    throw new OperatingError(
      'data_dir_unwritable',
      `Cannot use ${full} as the data directory: ${(error as Error).message}; ` +
        'it must be a directory that this user may write to',
      error,
    );
  }
}

function dataDir(parts: {
  path: string;
  environment: RootDatabase;
  databases: Values[];
  queue: CommitQueue;
  undo: (() => Promise<void>)[];
}): DataDir {
  const { path, environment, databases, queue, undo } = parts;
  let closing: Promise<void> | undefined;
  return {
    path,
    environment,
    failed: queue.failed,
    write: (write) => queue.push(write),
    commit: (bytes, puts) =>
      new Promise((resolve, reject) => {
        queue.push({ bytes, puts, settled: (error) => (error ? reject(error) : resolve()) });
      }),
    openDatabase(name, options) {
      const opened = reading(path, () => environment.openDB(name, { ...BYTES, ...options }));
      databases.push(opened as Values);
      return opened as Values;
    },
    read: (look) => reading(path, look),
    async freeBytes() {
      const { bavail, bsize } = await statfs(path);
      return bavail * bsize;
    },
    reusableBytes: () => reading(path, () => countReusable(environment, databases)),
    close() {
      closing ??= undoAll(undo);
      return closing;
    },
  };
}

function reading<T>(path: string, look: () => T): T {
  try {
    return look();
  } catch (error) {
    if (error instanceof OperatingError || error instanceof AssertionError) throw error;
    // MDB_PANIC after a failed write of the meta page, MDB_CORRUPTED, or a closed environment.
    const text = `Cannot read ${path}: ${(error as Error).message}`;
    throw new OperatingError('log_unavailable', text, error);
  }
}

/** What a tree takes, as lmdb tells it; its types leave this open. */
interface TreeStats {
  treeBranchPageCount: number;
  treeLeafPageCount: number;
  overflowPages: number;
}

interface StoreStats extends TreeStats {
  lastPageNumber: number;
  pageSize: number;
  free: TreeStats;
}

/** All pages so far, less the two meta pages and those of the trees. */
function countReusable(environment: RootDatabase, databases: readonly Values[]): number {
  const whole = environment.getStats() as StoreStats;
  const trees = [whole, whole.free, ...databases.map((one) => one.getStats() as StoreStats)];
  const used = trees.reduce((sum, tree) => sum + pagesOf(tree), 2);
  return (whole.lastPageNumber + 1 - used) * whole.pageSize;
}

function pagesOf(tree: TreeStats): number {
  return tree.treeBranchPageCount + tree.treeLeafPageCount + tree.overflowPages;
}

/** Closes in the reverse order of opening: the queue before the environment, the lock last. */
async function undoAll(undo: (() => Promise<void>)[]): Promise<void> {
  for (const step of undo.splice(0).reverse()) await step();
}

function openEnvironment(path: string): RootDatabase {
  return open({
    path: join(path, STORE),
    mapSize: MAP_BYTES,
    maxDbs: DATABASES_MAX,
    ...BYTES,
    // Named databases inherit it unless they say no. lmdb's own dictionary is of English words: not
    // for columns.
    compression: { threshold: COMPRESSION_BYTES_MIN, dictionary: Buffer.alloc(0) },
    // Both are explained in commit-queue.ts.
    overlappingSync: false,
    eventTurnBatching: false,
  });
}

/** The format of the directory; undefined when it is new. */
async function readMarker(path: string): Promise<number | undefined> {
  const names = await readdir(path);
  if (!names.includes(DATA_DIR_MARKER)) {
    const foreign = names.find((name) => !NOBODYS.has(name) && !isLockFile(name));
    if (foreign === undefined) return undefined;
    throw other(path, `it holds ${foreign}, and no ${DATA_DIR_MARKER}`);
  }
  const format = formatOf(await readFile(join(path, DATA_DIR_MARKER), 'utf8'));
  if (format === undefined) throw other(path, `its ${DATA_DIR_MARKER} does not say a format`);
  if (format > DATA_DIR_FORMAT) {
    throw new OperatingError(
      'data_dir_newer',
      `The data directory ${path} has format ${format}, this Treeline knows ${DATA_DIR_FORMAT}; ` +
        'start the newer version, or another data directory',
    );
  }
  return format;
}

function formatOf(text: string): number | undefined {
  try {
    const { format } = JSON.parse(text) as { format?: unknown };
    return typeof format === 'number' && Number.isInteger(format) && format > 0
      ? format
      : undefined;
  } catch {
    // A SyntaxError, or a TypeError for the text `null`: not our marker.
    return undefined;
  }
}

/**
 * Under its final name the marker is always whole: it is renamed into place after its bytes are on
 * the disk.
 */
async function writeMarker(path: string): Promise<void> {
  const file = await openFile(join(path, PARTIAL_MARKER), 'w');
  try {
    await file.writeFile(`${JSON.stringify({ format: DATA_DIR_FORMAT })}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(join(path, PARTIAL_MARKER), join(path, DATA_DIR_MARKER));
  await syncDirectory(path);
}

/** A new file survives a power loss only when the directory that names it has been flushed, too. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await openFile(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function other(path: string, why: string): OperatingError {
  return new OperatingError(
    'data_dir_other',
    `${path} is not a data directory of Treeline: ${why}; choose an empty directory or a new one`,
  );
}
