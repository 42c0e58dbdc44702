// Of the Prometheus servers that scrape the same targets and all send, one is elected per tenant and cluster, and what
// the others send is left out (docs/decisions/0007-replica-pairs.md). Time is stream time, so that the answer to the
// same requests in the same order is always the same. The table is bounded, and saved and restored by its owner.

import {
  REPLICA_CLUSTERS_MAX,
  REPLICA_FORGET_MS,
  REPLICA_RHYTHM_MS_MAX,
  REPLICA_TAKEOVER_MS,
  REPLICA_TEXT_CHARS_MAX,
} from '../limits.js';
import type { ReplicaClaim } from './wasm-decoder.js';

export interface Elected {
  tenant: string;
  cluster: string;
  replica: string;
  /** Newest timestamp accepted from it. */
  newestMs: number;
  /** The longest step between two of its newest timestamps, fading over REPLICA_RHYTHM_MS_MAX. */
  rhythmMs: number;
}

export interface Takeover {
  tenant: string;
  cluster: string;
  from: string;
  to: string;
  /** What is missing between the two, at most. */
  gapMs: number;
}

export class Replicas {
  readonly #elected = new Map<string, Elected>();
  readonly #onChange: (takeover: Takeover | undefined) => void;
  takeovers = 0;
  /** Requests let in without an election: the table is full, or a name is too long. */
  unelected = 0;

  /** `onChange` hears of every first election (undefined) and of every takeover. */
  constructor(onChange: (takeover: Takeover | undefined) => void = () => {}) {
    this.#onChange = onChange;
  }

  get clusters(): number {
    return this.#elected.size;
  }

  /** Whether a request, or the part of it with this claim, is let in. */
  judge(claim: ReplicaClaim): boolean {
    const key = keyOf(claim);
    const elected = this.#elected.get(key);
    if (elected === undefined) return this.#elect(key, claim);
    const { newestMs = Number.NEGATIVE_INFINITY } = claim;
    const stepMs = newestMs - elected.newestMs;
    if (claim.replica !== elected.replica) {
      if (!isTakeover(elected, stepMs)) return false;
      return this.#takeOver(elected, claim.replica, newestMs);
    }
    if (stepMs <= 0) return true;
    elected.newestMs = newestMs;
    elected.rhythmMs = rhythmAfter(elected.rhythmMs, stepMs);
    return true;
  }

  save(): readonly Elected[] {
    return [...this.#elected.values()];
  }

  /** What `save` returned; only before the first request. */
  restore(saved: readonly Elected[]): void {
    for (const elected of saved) this.#elected.set(keyOf(elected), { ...elected });
  }

  /** What another receiver knows of a cluster, in place of what is known here. */
  adopt(elected: Elected): void {
    const key = keyOf(elected);
    if (!this.#elected.has(key) && this.#elected.size >= REPLICA_CLUSTERS_MAX) return;
    this.#elected.set(key, { ...elected });
  }

  #elect(key: string, claim: ReplicaClaim): boolean {
    const { tenant, cluster, replica, newestMs } = claim;
    // Nothing to go by: an exemplar alone elects nobody.
    if (newestMs === undefined) return true;
    const isShort =
      cluster.length <= REPLICA_TEXT_CHARS_MAX && replica.length <= REPLICA_TEXT_CHARS_MAX;
    if (!isShort || !this.#makeRoom(newestMs)) {
      this.unelected++;
      return true;
    }
    this.#elected.set(key, { tenant, cluster, replica, newestMs, rhythmMs: 0 });
    this.#onChange(undefined);
    return true;
  }

  #takeOver(elected: Elected, replica: string, newestMs: number): boolean {
    if (replica.length > REPLICA_TEXT_CHARS_MAX) {
      this.unelected++;
      return true;
    }
    const { tenant, cluster, replica: from } = elected;
    const gapMs = newestMs - elected.newestMs;
    elected.replica = replica;
    elected.newestMs = newestMs;
    // Two that take over from one another need a longer lead each time.
    elected.rhythmMs = Math.min(gapMs, REPLICA_RHYTHM_MS_MAX);
    this.takeovers++;
    this.#onChange({ tenant, cluster, from, to: replica, gapMs });
    return true;
  }

  /** Room for one more; a cluster that has been silent long enough makes it. */
  #makeRoom(nowMs: number): boolean {
    if (this.#elected.size < REPLICA_CLUSTERS_MAX) return true;
    for (const [key, { newestMs }] of this.#elected) {
      if (nowMs - newestMs <= REPLICA_FORGET_MS) continue;
      this.#elected.delete(key);
      return true;
    }
    return false;
  }
}

/** Does a lead of another replica make it the elected one? */
export function isTakeover({ rhythmMs }: Elected, leadMs: number): boolean {
  return leadMs > Math.max(REPLICA_TAKEOVER_MS, rhythmMs);
}

/** A step that is longer than any rhythm was an outage, and says nothing of it. */
function rhythmAfter(rhythmMs: number, stepMs: number): number {
  if (stepMs > REPLICA_RHYTHM_MS_MAX) return rhythmMs;
  return Math.max(stepMs, rhythmMs * (1 - stepMs / REPLICA_RHYTHM_MS_MAX));
}

function keyOf({ tenant, cluster }: { tenant: string; cluster: string }): string {
  return JSON.stringify([tenant, cluster]);
}
