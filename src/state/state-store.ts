// The state port: small named values and the chunks of checkpoints. Two adapters: lmdb in one
// process, Redis in a cluster. The contract is checked on every adapter by test/state-contract.ts.

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
