// Who is elected of a pair of Prometheus servers, where several receivers listen to the pair: one of them may hear only the
// first server and another only the second. Each goes on judging by what it knows, at once and by itself; what it knows of
// each cluster is one record in a store that all of them have, read and written every few seconds and whenever somebody
// is elected. Of two that elected otherwise the record that is there stands, unless the other one's lead is one that
// takes over anyhow; so all of them come to one answer (docs/decisions/0007-replica-pairs.md).
//
// While the store is away each receiver goes by what it hears itself. Nobody waits for it.

import { OperatingError } from '../errors.js';
import type { Logger } from '../http-server.js';
import { REPLICA_CLUSTERS_MAX, REPLICA_FORGET_MS, RETRY_MS_MIN } from '../limits.js';
import {
  ELECTION_NEWS_MS,
  ELECTION_START_TRIES,
  ELECTION_TRIES_MAX,
  ELECTIONS_SHARED_MS,
} from '../limits-outputs.js';
import type { Pace } from '../pace.js';
import type { StateStore } from '../state/state-store.js';
import { type Elected, isTakeover, type Replicas } from './replicas.js';

export interface ElectionParts {
  store: StateStore;
  replicas: Replicas;
  logger: Logger;
  pace: Pace;
}

const PREFIX = 'elected/';

export class ElectionSharing {
  /** Rounds that ended early because the store did not answer. */
  failures = 0;
  readonly #parts: ElectionParts;
  #isStale = false;
  #isAway = false;
  readonly #ending = new AbortController();
  #working: Promise<void> | undefined;
  #stopTimer: () => void = () => {};

  constructor(parts: ElectionParts) {
    this.#parts = parts;
  }

  /** What others have elected is known when it resolves, unless the store is away. */
  async start(): Promise<void> {
    this.#stopTimer = this.#parts.pace.every(ELECTIONS_SHARED_MS, () => this.changed());
    // A client that has just been made is still connecting.
    for (let tries = 1; tries < ELECTION_START_TRIES; tries++) {
      if (await isDone(() => this.#learn())) return;
      await this.#parts.pace.sleep(RETRY_MS_MIN, this.#ending.signal);
    }
    await this.#round(() => this.#learn());
  }

  /** Somebody was elected, or it is time. */
  changed(): void {
    if (this.#ending.signal.aborted) return;
    this.#isStale = true;
    this.#working ??= this.#work();
  }

  /** What is under way is finished. */
  async stop(): Promise<void> {
    this.#ending.abort();
    this.#stopTimer();
    await this.#working;
  }

  async #work(): Promise<void> {
    while (this.#isStale) {
      this.#isStale = false;
      await this.#round(async () => {
        await this.#learn();
        for (const elected of this.#parts.replicas.save()) await this.#agree(elected);
      });
    }
    this.#working = undefined;
  }

  /** Never rejects: the next round makes good what this one could not. */
  async #round(work: () => Promise<void>): Promise<void> {
    const { logger } = this.#parts;
    this.#isAway = !(await isDone(work, (err) => {
      this.failures++;
      if (this.#isAway) return;
      logger.warn({ err }, 'Elections of replicas are not shared with other receivers now');
    }));
  }

  /** Of clusters that only others have heard of. */
  async #learn(): Promise<void> {
    const { store, replicas } = this.#parts;
    const own = replicas.save();
    const known = new Set(own.map(keyOf));
    const keys = await store.list(PREFIX);
    const newestMs = Math.max(...own.map((elected) => elected.newestMs));
    for (const key of keys) {
      if (known.has(key)) continue;
      const stored = decode(await store.get(key));
      if (stored === undefined) continue;
      // As in the table: a cluster that has been silent for long makes room for others.
      const isOver = newestMs - stored.newestMs > REPLICA_FORGET_MS;
      if (keys.length > REPLICA_CLUSTERS_MAX && isOver) await store.deleteAll(key);
      else replicas.adopt(stored);
    }
  }

  async #agree(own: Elected): Promise<void> {
    const { store, replicas } = this.#parts;
    const key = keyOf(own);
    for (let tries = 0; tries < ELECTION_TRIES_MAX; tries++) {
      const stored = decode(await store.get(key));
      if (stored !== undefined && !isNews(own, stored)) {
        const isOther = stored.replica !== own.replica;
        if (isOther || stored.newestMs > own.newestMs) replicas.adopt(stored);
        return;
      }
      const version = Math.max(0, Math.floor(own.newestMs));
      if (await store.advance(key, encode(own), version)) return;
      // Somebody else was faster: what that one wrote is looked at.
    }
  }
}

async function isDone(
  work: () => Promise<void>,
  onError: (error: OperatingError) => void = () => {},
): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    onError(error);
    return false;
  }
}

/** Is what we know worth writing over what is there? */
function isNews(own: Elected, stored: Elected): boolean {
  const leadMs = own.newestMs - stored.newestMs;
  return own.replica === stored.replica ? leadMs >= ELECTION_NEWS_MS : isTakeover(stored, leadMs);
}

function keyOf({ tenant, cluster }: Elected): string {
  return PREFIX + Buffer.from(JSON.stringify([tenant, cluster])).toString('base64url');
}

function encode({ tenant, cluster, replica, newestMs, rhythmMs }: Elected): Uint8Array {
  return Buffer.from(JSON.stringify({ tenant, cluster, replica, newestMs, rhythmMs }));
}

/** Undefined when there is nothing, or nothing of ours. */
function decode(bytes: Uint8Array | undefined): Elected | undefined {
  if (bytes === undefined) return undefined;
  try {
    const { tenant, cluster, replica, newestMs, rhythmMs } = JSON.parse(
      Buffer.from(bytes).toString(),
    ) as Record<keyof Elected, unknown>;
    if (typeof tenant !== 'string' || typeof cluster !== 'string') return undefined;
    if (typeof replica !== 'string' || typeof newestMs !== 'number') return undefined;
    return typeof rhythmMs === 'number'
      ? { tenant, cluster, replica, newestMs, rhythmMs }
      : undefined;
  } catch {
    return undefined; // a SyntaxError: not written by us
  }
}
