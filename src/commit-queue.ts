// The one way in which anything is written to lmdb: group commit. Writes that arrive while a transaction is being
// flushed wait and become the next transaction together, so that one flush serves them all; never more than one is under
// way. A write is settled only after fdatasync of its pages and the synchronous write of lmdb's meta page, and
// nothing is visible to readers before that.
//
// lmdb's own ways are not used, for reasons found in its sources (lmdb 3.5.6) and confirmed by test/durability:
// - overlappingSync (its default) shows a transaction to readers before the flush, and leaves it standing when the
//   flush fails. After a failed fsync Linux may have marked the lost pages clean, so a later fsync can succeed over
//   pages that never reached the disk: later transactions would stand on them. Without it a failed flush aborts the
//   transaction; its pages belong to nobody and are written anew by the next one.
// - eventTurnBatching makes a promise that nobody can reach; a failed commit rejects it, which ends the process.
// - a failed write of the meta page makes the environment refuse everything, and the next write would then block for
//   ever inside lmdb with its mutex held. So after each failure the environment is asked, by reading, whether it lives.

import { setTimeout as sleep } from 'node:timers/promises';
import type { RootDatabase } from 'lmdb';
import { OperatingError } from './errors.js';

export interface Write {
  bytes: number;
  /** Called once, when its transaction begins; puts and removes, nothing else. May not throw. */
  puts(): void;
  /** Called once the transaction is durable, or with why it is not; then nothing of it is there. */
  settled(error: OperatingError | undefined): void;
}

/** A transaction of this size takes about 0.1 s to flush; lmdb itself could take 512 MiB of changed pages. */
export const GROUP_BYTES_MAX = 16 * 1024 * 1024;
/** lmdb rejects a write first and says why a moment later. */
const REASON_MS_MAX = 1_000;

const FULL = /ENOSPC|EDQUOT|EFBIG|No space left|Disk quota exceeded|File too large/;

export class CommitQueue {
  readonly #environment: RootDatabase;
  readonly #path: string;
  #waiting: Write[] = [];
  #running: Promise<void> | undefined;
  /** Why nothing can be written any more. */
  #end: OperatingError | undefined;

  constructor(environment: RootDatabase, path: string) {
    this.#environment = environment;
    this.#path = path;
  }

  push(write: Write): void {
    if (this.#end !== undefined) {
      const end = this.#end;
      queueMicrotask(() => write.settled(end));
      return;
    }
    this.#waiting.push(write);
    this.#running ??= this.#run();
  }

  /** Resolves once everything pushed before is settled; whatever is pushed after is refused. */
  async close(): Promise<void> {
    const running = this.#running;
    this.#end ??= new OperatingError('log_closed', `The data directory ${this.#path} is closed`);
    await running;
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      // One turn of the event loop, so that all who were woken by the last commit can join this one.
      await new Promise((turn) => setImmediate(turn));
      const group = this.#take();
      const error = this.#isBroken ? this.#end : await this.#commit(group);
      for (const write of group) write.settled(error);
    }
    this.#running = undefined;
  }

  get #isBroken(): boolean {
    return this.#end !== undefined && this.#end.code !== 'log_closed';
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
      await this.#environment.batch(() => {
        for (const write of group) write.puts();
      });
      return undefined;
    } catch (error) {
      const cause = await reasonOf(error);
      const text = cause instanceof Error ? cause.message : String(cause);
      if (!this.#lives()) {
        this.#end = new OperatingError(
          'log_unavailable',
          `Cannot write to ${this.#path}: ${text}, and the database cannot tell any more what is on the disk; ` +
            'look after the disk, then restart Treeline',
          cause,
        );
        return this.#end;
      }
      return FULL.test(text)
        ? new OperatingError(
            'disk_full',
            `Cannot write to ${this.#path}: ${text}; free some space, writing then goes on by itself`,
            cause,
          )
        : new OperatingError('log_unavailable', `Cannot write to ${this.#path}: ${text}`, cause);
    }
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

/** What lmdb rejects with only says "see commitError": a second promise, which must be caught or ends the process. */
async function reasonOf(error: unknown): Promise<unknown> {
  const { commitError } = error as { commitError?: Promise<never> };
  if (commitError === undefined) return error;
  const reason = commitError.catch((cause: unknown) => cause);
  return Promise.race([reason, sleep(REASON_MS_MAX, error, { ref: false })]);
}
