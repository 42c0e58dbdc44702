// The one way in which anything is written to lmdb: group commit. Writes that arrive while a
// transaction is being flushed wait and become the next transaction together, so that one flush
// serves them all; never more than one is under way. A write is settled only after fdatasync of its
// pages and the synchronous write of lmdb's meta page, and nothing is visible to readers before
// that.
//
// lmdb's own ways are not used, for reasons found in its sources (lmdb 3.5.6) and confirmed by
// test/durability:
// - overlappingSync (its default) shows a transaction to readers before the flush, and leaves it
//   standing when the flush fails. After a failed fsync Linux may have marked the lost pages clean,
//   so a later fsync can succeed over pages that never reached the disk: later transactions would
//   stand on them. Without it a failed flush aborts the transaction; its pages belong to nobody and
//   are written anew by the next one.
// - eventTurnBatching makes a promise that nobody can reach; a failed commit rejects it, which ends
//   the process.
// - a failed write of the meta page makes the environment refuse everything, and the next write
//   would then block for ever inside lmdb with its mutex held. So after each failure the
//   environment is asked, by reading, whether it lives.
// - a failed write of a page is reported into a buffer that is too short for the report: lmdb
//   spoils the heap, and the process may abort soon after. So the file is made longer by us, before
//   the transaction: a full disk is met there, and lmdb only ever overwrites what has its place
//   already. What remains (an input-output error of a write into the page cache) ends writing for
//   good.

import type { FileHandle } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RootDatabase } from 'lmdb';
import { OperatingError } from './errors.js';

export interface Write {
  /**
   * Upper bound of the disk that its values take; 0 for what mostly deletes, which may use the last
   * reserve.
   */
  bytes: number;
  /**
   * Called once, when its transaction begins; puts and removes, nothing else. An exception in it is
   * a programmer error and ends the process.
   */
  puts(): void;
  /** Called once the transaction is durable, or with why it is not; then nothing of it is there. */
  settled(error: OperatingError | undefined): void;
}

/**
 * A transaction of this size takes about 0.1 s to flush; lmdb itself could take 512 MiB of changed
 * pages.
 */
export const GROUP_BYTES_MAX = 16 * 1024 * 1024;
/** lmdb rejects a write first and says why a moment later. */
const REASON_MS_MAX = 1_000;

/** The file grows in steps of this. */
const GROWTH_BYTES = 4 * 1024 * 1024;
/** Pages of trees and of the free list that a transaction changes beside its values. */
const DELETING_ROOM_BYTES = 2 * 1024 * 1024;
/** Values leave this much to deletes, or a full disk could never be emptied. */
const WRITING_ROOM_BYTES = 6 * 1024 * 1024;
/**
 * Free pages inside the file count only when there are so many times more of them than a
 * transaction needs.
 */
const REUSE_RATIO = 3;
const ZEROS = Buffer.alloc(GROWTH_BYTES);

const PAGE_NOT_WRITTEN = /Attempting to write page/;
const FULL = /ENOSPC|EDQUOT|EFBIG|No space left|Disk quota exceeded|File too large/;

export interface CommitQueueParts {
  environment: RootDatabase;
  /** The environment's file, writable. The queue closes it. */
  file: FileHandle;
  /** Bytes of the file that hold nothing any more. */
  reusableBytes(): number;
  /** For messages. */
  path: string;
}

export class CommitQueue {
  /**
   * Rejects when nothing can be written any more until the process is started again. Never
   * resolves.
   */
  readonly failed: Promise<never>;
  readonly #environment: RootDatabase;
  readonly #file: FileHandle;
  readonly #reusableBytes: () => number;
  readonly #path: string;
  #fail: (error: OperatingError) => void = () => {};
  #fileBytes = 0;
  #waiting: Write[] = [];
  #running: Promise<void> | undefined;
  #isClosed = false;
  /** Why nothing can be written any more. */
  #end: OperatingError | undefined;

  constructor(parts: CommitQueueParts) {
    this.#environment = parts.environment;
    this.#file = parts.file;
    this.#reusableBytes = parts.reusableBytes;
    this.#path = parts.path;
    this.failed = new Promise((_resolve, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => {}); // each write hears of it as well
  }

  /**
   * For a new environment: room for the databases that will be made in it, or the error that there
   * is none.
   */
  async prepare(): Promise<void> {
    try {
      await this.#makeRoom(0);
    } catch (error) {
      throw this.#judge(error);
    }
  }

  push(write: Write): void {
    if (this.#isClosed || this.#end !== undefined) {
      const text = `The data directory ${this.#path} is closed`;
      const error = this.#end ?? new OperatingError('log_closed', text);
      queueMicrotask(() => write.settled(error));
      return;
    }
    this.#waiting.push(write);
    this.#running ??= this.#run();
  }

  /** Resolves once everything pushed before is settled; whatever is pushed after is refused. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#running;
    await this.#file.close();
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      // One turn of the event loop: all who were woken by the last commit can join this one.
      await new Promise((turn) => setImmediate(turn));
      const group = this.#take();
      const error = this.#end ?? (await this.#commit(group));
      for (const write of group) write.settled(error);
    }
    this.#running = undefined;
  }

  #take(): Write[] {
    let bytes = 0;
    let count = 0;
    for (const write of this.#waiting) {
      if (count > 0 && bytes + write.bytes > GROUP_BYTES_MAX) break;
      bytes += write.bytes;
      count++;
    }
    return this.#waiting.splice(0, count);
  }

  async #commit(group: Write[]): Promise<OperatingError | undefined> {
    try {
      await this.#makeRoom(group.reduce((sum, write) => sum + write.bytes, 0));
      await this.#environment.batch(() => {
        for (const write of group) putAll(write);
      });
      return undefined;
    } catch (error) {
      return this.#judge(await reasonOf(error));
    }
  }

  /** Makes sure that whatever the next transaction writes has its place in the file. */
  async #makeRoom(bytes: number): Promise<void> {
    const { lastPageNumber, pageSize } = this.#environment.getStats() as EnvironmentStats;
    const end = (lastPageNumber + 1) * pageSize;
    const own = DELETING_ROOM_BYTES + 1.25 * bytes;
    const needed = end + own + (bytes > 0 ? WRITING_ROOM_BYTES : 0);
    if (needed <= this.#fileBytes) return;
    try {
      await this.#grow(needed);
    } catch (error) {
      // On a full disk lmdb still fills what deleted records left. Should it find no run of free
      // pages that is long enough, it goes on beyond its last page: there must be place for that,
      // too, and it is taken from what deletes need.
      const isReusing = this.#reusableBytes() > REUSE_RATIO * bytes;
      if (isFull(error) && isReusing && end + own <= this.#fileBytes) return;
      throw error;
    }
  }

  async #grow(needed: number): Promise<void> {
    this.#fileBytes = (await this.#file.stat()).size;
    while (this.#fileBytes < needed) {
      const { bytesWritten } = await this.#file.write(ZEROS, 0, ZEROS.length, this.#fileBytes);
      this.#fileBytes += bytesWritten;
    }
  }

  #judge(cause: unknown): OperatingError {
    const text = cause instanceof Error ? cause.message : String(cause);
    if (!this.#lives() || PAGE_NOT_WRITTEN.test(text)) {
      this.#end = new OperatingError(
        'log_unavailable',
        `Cannot write to ${this.#path}: ${text}, and the database cannot go on after that; ` +
          'look after the disk, then restart Treeline',
        cause,
      );
      this.#fail(this.#end);
      return this.#end;
    }
    return isFull(cause)
      ? new OperatingError(
          'disk_full',
          `Cannot write to ${this.#path}: ${text}; free some space, writing then goes on by itself`,
          cause,
        )
      : new OperatingError('log_unavailable', `Cannot write to ${this.#path}: ${text}`, cause);
  }

  #lives(): boolean {
    try {
      this.#environment.resetReadTxn();
      this.#environment.doesExist('alive');
      return true;
    } catch {
      // MDB_PANIC: lmdb refuses even to read after a failed write of its meta page.
      return false;
    }
  }
}

/** Half of a write would be committed with the group: better no process than such a log. */
function putAll(write: Write): void {
  try {
    write.puts();
  } catch (error) {
    process.nextTick(() => {
      throw error;
    });
    throw error;
  }
}

function isFull(cause: unknown): boolean {
  return FULL.test(cause instanceof Error ? cause.message : String(cause));
}

/** The part of lmdb's getStats that we read; its types leave it open. */
interface EnvironmentStats {
  lastPageNumber: number;
  pageSize: number;
}

/**
 * What lmdb rejects with only says "see commitError": a second promise, which must be caught or
 * ends the process.
 */
async function reasonOf(error: unknown): Promise<unknown> {
  const { commitError } = error as { commitError?: Promise<never> };
  if (commitError === undefined) return error;
  const reason = commitError.catch((cause: unknown) => cause);
  return Promise.race([reason, sleep(REASON_MS_MAX, error, { ref: false })]);
}
