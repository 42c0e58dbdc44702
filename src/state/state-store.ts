// The state port: small named values and the chunks of checkpoints. Three adapters: lmdb in one
// process, a compacted topic and Redis in a cluster. The contract is checked on every adapter by
// test/state-contract.ts.

export interface StateStore {
  /** A copy that the caller may keep; undefined when there is none. */
  get(key: string): Promise<Uint8Array | undefined>;
  /** Resolves once the value is durable. Replaces what was there. */
  put(key: string, value: Uint8Array): Promise<void>;
  /**
   * Moves a pointer forward: writes only when `version` is greater than the version stored with the
   * key (or there is none), in one step. Resolves with whether it wrote. A late writer can
   * therefore never move a pointer back.
   */
  advance(key: string, value: Uint8Array, version: number): Promise<boolean>;
  /** Keys that begin with `prefix`, in byte order. */
  list(prefix: string): Promise<string[]>;
  /** Deletes every key that begins with `prefix`. */
  deleteAll(prefix: string): Promise<void>;
}

export interface Fence {
  /** Of the lease. */
  name: string;
  /** Of the term in which the writer holds it. */
  token: string;
}

/** A store that several processes write to. */
export interface SharedStore extends StateStore {
  /** The same store for writes of whoever holds this lease; they reject with `lease_lost` when somebody else does. */
  fenced(fence: Fence): StateStore;
}
