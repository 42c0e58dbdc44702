// The state port in memory, for tests of what keeps state. A true store: it passes the same
// contract as the others.

import type { StateStore } from '../src/state/state-store.js';

export interface Versioned {
  value: Uint8Array;
  version: number;
}

export class MemoryStore implements StateStore {
  readonly #entries: Map<string, Versioned>;

  /** `entries`: what an earlier store left behind. */
  constructor(entries = new Map<string, Versioned>()) {
    this.#entries = entries;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    const entry = this.#entries.get(key);
    return entry === undefined ? undefined : Uint8Array.from(entry.value);
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    const copy = Uint8Array.from(value);
    await new Promise((turn) => setImmediate(turn));
    this.#entries.set(key, { value: copy, version: -1 });
  }

  async advance(key: string, value: Uint8Array, version: number): Promise<boolean> {
    const copy = Uint8Array.from(value);
    await new Promise((turn) => setImmediate(turn));
    const stored = this.#entries.get(key);
    if (stored !== undefined && version <= stored.version) return false;
    this.#entries.set(key, { value: copy, version });
    return true;
  }

  async list(prefix: string): Promise<string[]> {
    const keys = [...this.#entries.keys()].filter((key) => key.startsWith(prefix));
    return keys.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  }

  async deleteAll(prefix: string): Promise<void> {
    for (const key of await this.list(prefix)) this.#entries.delete(key);
  }
}
