// The state port in a simulated world: one store that several processes share, with latency, failing writes, and deaths
// at the named places of a checkpoint.

import { OperatingError } from '../src/errors.js';
import type { StateStore } from '../src/state/state-store.js';
import type { Host, World } from './sim-world.js';

export interface StoreFaults {
  /** Of a write that fails. */
  failing: number;
  /** Of a death at each named place. */
  killing: number;
}

export class SimStore {
  readonly entries = new Map<string, Uint8Array>();
  /** Everything ever written, with whatever else was true at that time. */
  onPut: (key: string, value: Uint8Array) => void = () => {};
  readonly #world: World;
  readonly #faults: () => StoreFaults;

  constructor(world: World, faults: () => StoreFaults) {
    this.#world = world;
    this.#faults = faults;
  }

  of(host: Host): StateStore {
    const world = this.#world;
    const { entries } = this;
    const latency = () => world.between(0, 30);
    const keys = (prefix: string) => [...entries.keys()].filter((key) => key.startsWith(prefix));
    return {
      get: (key) => host.ask(() => entries.get(key)?.slice(), latency),
      put: (key, value) => {
        const copy = value.slice();
        const isManifest = key.endsWith('/manifest');
        if (isManifest) this.#perhapsKill(host, 'between chunks and manifest');
        return host.ask(() => {
          if (world.chance(this.#faults().failing)) throw failed();
          entries.set(key, copy);
          this.onPut(key, copy);
          this.#perhapsKill(host, isManifest ? 'after the manifest' : 'between chunks');
        }, latency);
      },
      advance: (key, value) => {
        const copy = value.slice();
        return host.ask(() => {
          entries.set(key, copy);
          return true;
        }, latency);
      },
      list: (prefix) => host.ask(() => keys(prefix).sort(), latency),
      deleteAll: (prefix) => {
        this.#perhapsKill(host, 'before old checkpoints are deleted');
        return host.ask(() => {
          if (world.chance(this.#faults().failing)) throw failed();
          for (const key of keys(prefix)) entries.delete(key);
        }, latency);
      },
    };
  }

  #perhapsKill(host: Host, where: string): void {
    if (this.#world.chance(this.#faults().killing)) host.kill(where);
  }
}

function failed(): OperatingError {
  return new OperatingError('disk_full', 'Cannot write into the simulated store');
}
