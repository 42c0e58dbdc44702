// How what the api folds and decides is kept: by an api that has its store to itself (here), or by several that share one
// (sharing.ts). Alone, what changed is written first and the position in the log last, and decisions are stored before
// anybody hears of them.

import { setTimeout as sleep } from 'node:timers/promises';
import { OperatingError } from '../errors.js';
import type { Notice } from '../gen/anomaly_pb.js';
import type { Logger } from '../http-server.js';
import { RETRY_MS_MAX, RETRY_MS_MIN } from '../limits.js';
import type { StateStore } from '../state/state-store.js';
import type { Anomaly } from './anomalies.js';
import type { AnomaliesTopic } from './anomalies-topic.js';
import { save, savePosition } from './archive.js';
import { firstOf } from './incidents.js';
import type { Refreshed, Timeline } from './timeline.js';

export interface Keeping {
  /** `fail` hears of what is no matter of a store or a log that is away. */
  start(fail: (error: unknown) => void): void;
  /**
   * A partition of candidates or verdicts, by the key of its position, has been folded up to `next`, and these anomalies
   * changed by it. Resolves when the next records may be read.
   */
  folded(key: string, next: number, changed: Iterable<Anomaly>): Promise<void>;
  /** Keeps what a refresh led to, and then tells of it. */
  follow(changes: Refreshed): void;
  /** False while what was decided of this anomaly here is not stored yet: nobody may hear of it. */
  isStored(anomalyId: string): boolean;
  /** Resolves when everything is written that can be. */
  stop(): Promise<void>;
}

export interface KeepingParts {
  store: StateStore;
  logId: string;
  timeline: Timeline;
  logger: Logger;
  topic: AnomaliesTopic | undefined;
  announce: (anomalies: Iterable<Anomaly>, firstMovers: Iterable<string>) => void;
}

export class OwnKeeping implements Keeping {
  readonly #parts: KeepingParts;
  /** What is not yet in the store. */
  #unsaved = {
    anomalies: new Set<Anomaly>(),
    notices: new Map<string, Notice>(),
    forgotten: new Set<string>(),
  };
  /** Decisions on their way to the store. */
  #writing: ReadonlyMap<string, Notice> = new Map();
  #saving: Promise<void> = Promise.resolve();
  #fail: (error: unknown) => void = () => {};
  #isStopped = false;

  constructor(parts: KeepingParts) {
    this.#parts = parts;
  }

  start(fail: (error: unknown) => void): void {
    this.#fail = fail;
  }

  async folded(key: string, next: number, changed: Iterable<Anomaly>): Promise<void> {
    for (const anomaly of changed) this.#unsaved.anomalies.add(anomaly);
    await this.#save();
    const { store, logId, timeline } = this.#parts;
    const { firstMs, newestMs } = timeline.anomalies;
    await savePosition(store, key, { logId, next, firstMs, newestMs });
  }

  follow(changes: Refreshed): void {
    const { anomalies, notices, forgotten } = this.#unsaved;
    for (const anomaly of changes.anomalies) anomalies.add(anomaly);
    for (const [id, notice] of changes.notices) notices.set(id, notice);
    for (const id of changes.forgotten) forgotten.add(id);
    if (changes.forgotten.length > 0) {
      for (const anomaly of anomalies) if (forgotten.has(anomaly.id)) anomalies.delete(anomaly);
    }
    const firstMovers = [...changes.incidents].map((incident) => firstOf(incident).id);
    void this.#saveForSure().then(
      () => this.#parts.announce(changes.anomalies, firstMovers),
      (error: unknown) => this.#fail(error),
    );
  }

  isStored(anomalyId: string): boolean {
    return !this.#unsaved.notices.has(anomalyId) && !this.#writing.has(anomalyId);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    try {
      await this.#saving;
    } catch (error) {
      // What could not be stored is read and decided again at the next start.
      if (!(error instanceof OperatingError)) throw error;
    }
  }

  /** Decisions wait for the store, and nobody hears of them before. */
  #saveForSure(): Promise<void> {
    const parts = { logger: this.#parts.logger, isOver: () => this.#isStopped };
    return untilItAnswers('store decisions', () => this.#save(), parts);
  }

  /** One after another, so that an older value never replaces a newer one. */
  #save(): Promise<void> {
    const turn = this.#saving.catch(() => {}).then(() => this.#saveOnce()); // each caller hears of its own failure
    this.#saving = turn;
    return turn;
  }

  async #saveOnce(): Promise<void> {
    const writing = this.#unsaved;
    this.#writing = writing.notices;
    this.#unsaved = { anomalies: new Set(), notices: new Map(), forgotten: new Set() };
    try {
      await this.#parts.topic?.append(writing.anomalies);
      await save(this.#parts.store, writing);
      this.#writing = new Map();
    } catch (error) {
      const { anomalies, notices, forgotten } = this.#unsaved;
      for (const anomaly of writing.anomalies) {
        if (!forgotten.has(anomaly.id)) anomalies.add(anomaly);
      }
      for (const [id, notice] of writing.notices) if (!notices.has(id)) notices.set(id, notice);
      for (const id of writing.forgotten) forgotten.add(id);
      throw error;
    }
  }
}

/** A store that is away comes back. Rejects with what is no matter of that, and when it `isOver`. */
export async function untilItAnswers<T>(
  what: string,
  work: () => Promise<T>,
  { logger, isOver }: { logger: Logger; isOver: () => boolean },
): Promise<T> {
  for (let pause = RETRY_MS_MIN; ; pause = Math.min(2 * pause, RETRY_MS_MAX)) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof OperatingError && error.retryable) || isOver()) throw error;
      logger.warn({ code: error.code, err: error }, `Cannot ${what} now; trying again`);
      await sleep(pause);
    }
  }
}
