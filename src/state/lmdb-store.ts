// The state port on lmdb: one database, keys in byte order, each value with a version. The version
// is lmdb's own eight-byte prefix of a value; -1 stands for "put without one", so that any advance
// may follow. This process is the only writer of the directory, so compare-and-write is a matter of
// doing the advances of one key one after another.

import { strict as assert } from 'node:assert';
import type { DataDir, Values } from '../data-dir.js';
import { storedBytes } from '../log/lmdb-key.js';
import type { StateStore } from './state-store.js';

const NO_VERSION = -1;
/** lmdb's longest key with pages of 4 KiB, less what it may add. */
export const KEY_BYTES_MAX = 1024;
/** Keys deleted in one transaction. */
const DELETE_KEYS_MAX = 4096;

export function openLmdbStore(dir: DataDir): StateStore {
  return new LmdbStore(dir);
}

class LmdbStore implements StateStore {
  readonly #dir: DataDir;
  readonly #values: Values;
  /** The last advance under way of each key. */
  readonly #advancing = new Map<string, Promise<unknown>>();

  constructor(dir: DataDir) {
    this.#dir = dir;
    this.#values = dir.openDatabase('state', {
      useVersions: true,
      // Checkpoints are rewritten whole and soon replaced: not worth the time of a compressor.
      compression: false,
    });
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    return this.#dir.read(() => this.#values.get(keyBytes(key)));
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    await this.#write(keyBytes(key), value, NO_VERSION);
  }

  async advance(key: string, value: Uint8Array, version: number): Promise<boolean> {
    assert(Number.isSafeInteger(version) && version >= 0, `version ${version}`);
    const before = this.#advancing.get(key) ?? Promise.resolve();
    // An earlier advance that failed has told its own caller; the next one judges by what is
    // stored.
    const turn = before.catch(() => {}).then(() => this.#advance(keyBytes(key), value, version));
    this.#advancing.set(key, turn);
    try {
      return await turn;
    } finally {
      if (this.#advancing.get(key) === turn) this.#advancing.delete(key);
    }
  }

  async list(prefix: string): Promise<string[]> {
    return this.#keys(prefix, Number.POSITIVE_INFINITY).map((key) => Buffer.from(key).toString());
  }

  async deleteAll(prefix: string): Promise<void> {
    for (;;) {
      const keys = this.#keys(prefix, DELETE_KEYS_MAX);
      if (keys.length === 0) return;
      await this.#dir.commit(0, () => {
        for (const key of keys) void this.#values.remove(key);
      });
    }
  }

  async #advance(key: Uint8Array, value: Uint8Array, version: number): Promise<boolean> {
    const stored = this.#dir.read(() => this.#values.getEntry(key));
    if (stored !== undefined && version <= (stored.version ?? NO_VERSION)) return false;
    await this.#write(key, value, version);
    return true;
  }

  #write(key: Uint8Array, value: Uint8Array, version: number): Promise<void> {
    return this.#dir.commit(
      storedBytes(value.length),
      () => void this.#values.put(key, value, version),
    );
  }

  #keys(prefix: string, limit: number): Uint8Array[] {
    const start = Buffer.from(prefix);
    const end = firstBeyond(start);
    return this.#dir.read(() => {
      const keys: Uint8Array[] = [];
      for (const key of this.#values.getKeys(end === undefined ? { start } : { start, end })) {
        if (keys.push(key) >= limit) break;
      }
      return keys;
    });
  }
}

/** The first key in byte order that does not begin with `prefix`; undefined when there is none. */
function firstBeyond(prefix: Buffer): Buffer | undefined {
  const last = prefix.findLastIndex((byte) => byte < 0xff);
  if (last < 0) return undefined;
  const end = Buffer.from(prefix.subarray(0, last + 1));
  end[last] = (end[last] as number) + 1;
  return end;
}

function keyBytes(key: string): Buffer {
  const bytes = Buffer.from(key);
  assert(bytes.length > 0 && bytes.length <= KEY_BYTES_MAX, `key of ${bytes.length} bytes`);
  return bytes;
}
