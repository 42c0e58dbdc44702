// Several apis on one store. Each folds all candidates itself, so each shows the same anomalies and incidents; what is
// *decided* about them, written and sent is the business of the one that holds the lease. The others read its decisions.
//
//   holder:   decide ─▶ topic of anomalies ─▶ store: anomalies, notices, positions ─▶ `decided` ─▶ events, Alertmanagers
//   others:                                     store: `decided`, notices ─▶ events
//
// While the store is away every api goes on folding and showing. What is to be written waits, never more than the
// anomalies that are kept; positions in the log stay where they are, so that nothing is lost even if the process ends.
// Everything is written under the fence of the term, after which a writer that lost the lease is refused.

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { OperatingError } from '../errors.js';
import { DecidedSchema, type Notice, type Outcome } from '../gen/anomaly_pb.js';
import { API_LEASE, type Lease, type Term } from '../lease.js';
import { RETRY_MS_MAX } from '../limits.js';
import { DECIDED_KEPT, SHARING_MS } from '../limits-outputs.js';
import type { SharedStore } from '../state/state-store.js';
import type { Anomaly } from './anomalies.js';
import {
  bytesOf,
  loadNotices,
  noticesOf,
  save,
  savePosition,
  storedAnomalies,
  storedOf,
} from './archive.js';
import { firstOf } from './incidents.js';
import type { Keeping, KeepingParts } from './keeping.js';
import type { Refreshed } from './timeline.js';

const DECIDED = 'decided';

export interface SharedParts {
  store: SharedStore;
  lease: Lease;
}

export interface SharingParts extends KeepingParts, SharedParts {
  store: SharedStore;
  /** Every candidate that the log held has been read. */
  isCurrent: () => boolean;
  /** Brings the timeline up to date, which comes back as `follow`. */
  refresh: () => void;
}

interface Waiting {
  anomalies: Set<Anomaly>;
  notices: Map<string, Notice>;
  forgotten: Set<string>;
  /** Key of a position → offset of the first record that is not yet folded. */
  positions: Map<string, number>;
}

export class Sharing implements Keeping {
  readonly #parts: SharingParts;
  #waiting: Waiting = nothing();
  /** Stored first, told then: anomalies, and first movers of incidents. */
  #untold = { anomalies: new Set<Anomaly>(), firstMovers: new Set<string>() };
  /** Anomalies of what was decided here and has never been stored. */
  readonly #unstored = new Set<string>();
  #leading: Term | undefined;
  /** Of `decided`; undefined when all decisions have to be read. */
  #version: number | undefined;
  #decided: string[] = [];
  #timer: NodeJS.Timeout | undefined;
  #step: Promise<void> = Promise.resolve();
  #isStopped = false;
  #fail: (error: unknown) => void = () => {};
  problem: string | undefined;

  constructor(parts: SharingParts) {
    this.#parts = parts;
    parts.timeline.isDeciding = false;
  }

  start(fail: (error: unknown) => void): void {
    this.#fail = fail;
    const { lease } = this.#parts;
    lease.onLoss = () => this.#rewrite();
    lease.start();
    this.#schedule(0);
  }

  /** What waits is written, if it is ours to write; then the lease is given up. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#step;
    const { lease } = this.#parts;
    try {
      if (this.#leading?.isValid()) await this.#write(this.#leading);
    } catch (error) {
      // What could not be stored is read and decided again by whoever takes the lease.
      if (!(error instanceof OperatingError)) throw error;
    }
    this.#stepDown();
    await lease.stop();
  }

  /** Aborted when this process may send no more; undefined while it may not. */
  permit(): AbortSignal | undefined {
    return this.#leading?.isValid() ? this.#leading.ended : undefined;
  }

  get waitingCount(): number {
    const { anomalies, notices, forgotten } = this.#waiting;
    return anomalies.size + notices.size + forgotten.size;
  }

  /** For whoever looks after it. */
  note(): string {
    const role = this.permit() === undefined ? 'does not decide and send' : 'decides and sends';
    if (this.problem === undefined) return role;
    return `${role}; ${this.problem}; ${this.waitingCount} values wait to be stored`;
  }

  /** Waits for nothing: reading goes on while the store is away. */
  async folded(key: string, next: number, changed: Iterable<Anomaly>): Promise<void> {
    for (const anomaly of changed) this.#waiting.anomalies.add(anomaly);
    this.#waiting.positions.set(key, next);
  }

  isStored(anomalyId: string): boolean {
    return !this.#unstored.has(anomalyId);
  }

  follow(changes: Refreshed): void {
    const { anomalies, notices, forgotten } = this.#waiting;
    for (const anomaly of changes.anomalies) anomalies.add(anomaly);
    for (const [id, notice] of changes.notices) {
      notices.set(id, notice);
      this.#unstored.add(id);
    }
    const gone = new Set(changes.forgotten);
    if (gone.size > 0) for (const one of anomalies) if (gone.has(one.id)) anomalies.delete(one);
    // What others left in the store is found by whoever holds the lease next.
    if (this.#leading !== undefined) for (const id of gone) forgotten.add(id);
    const firstMovers = [...changes.incidents].map((incident) => firstOf(incident).id);
    if (this.#leading === undefined) {
      this.#parts.announce(changes.anomalies, firstMovers);
      return;
    }
    for (const anomaly of changes.anomalies) this.#untold.anomalies.add(anomaly);
    for (const id of firstMovers) this.#untold.firstMovers.add(id);
  }

  /** The store has lost what was in it: everything is written again. */
  #rewrite(): void {
    const { timeline, logger } = this.#parts;
    logger.warn({}, 'The shared store has lost what was in it; everything is written again');
    for (const tenant of timeline.anomalies.tenants()) {
      for (const anomaly of timeline.anomalies.ordered(tenant)) {
        this.#waiting.anomalies.add(anomaly);
      }
    }
    for (const notice of timeline.notices.all())
      this.#waiting.notices.set(notice.anomalyId, notice);
  }

  #schedule(pauseMs: number): void {
    this.#timer = setTimeout(() => {
      this.#step = this.#turn().catch((error: unknown) => this.#fail(error));
    }, pauseMs);
    this.#timer.unref();
  }

  async #turn(): Promise<void> {
    try {
      await this.#once();
      this.problem = undefined;
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      if (error.code === 'lease_lost') this.#stepDown();
      else this.#complain(error);
    }
    if (!this.#isStopped)
      this.#schedule(this.problem === undefined ? SHARING_MS : RETRY_MS_MAX / 5);
  }

  #complain(error: OperatingError): void {
    if (this.problem === undefined) {
      const fields = { code: error.code, reason: error.message };
      this.#parts.logger.warn(fields, 'The shared store is away; what is new waits to be stored');
    }
    this.problem = error.message;
  }

  async #once(): Promise<void> {
    const { lease, isCurrent } = this.#parts;
    const { term } = lease;
    if (this.#leading !== undefined && this.#leading !== term) this.#stepDown();
    if (term === undefined || (this.#leading === undefined && !isCurrent())) return this.#hear();
    if (this.#leading === undefined) await this.#stepUp(term);
    if (term.isValid()) await this.#write(term);
  }

  async #stepUp(term: Term): Promise<void> {
    const { store, timeline, refresh } = this.#parts;
    const notices: Notice[] = [];
    await loadNotices(store, (notice) => notices.push(notice));
    const decided = await this.#decidedNow();
    const stored = await storedAnomalies(store);
    const written = await storedOf(store, this.#waiting.anomalies);
    if (!term.isValid()) return;
    // Written, and so told, by the one before us.
    for (const [anomaly, bytes] of written) {
      const isSame = Buffer.compare(bytes, bytesOf(anomaly)) === 0;
      if (isSame) this.#waiting.anomalies.delete(anomaly);
    }
    timeline.notices.replace(notices);
    this.#version = decided?.version ?? 0;
    this.#decided = decided?.anomalyIds ?? [];
    this.#leading = term;
    term.ended.addEventListener('abort', () => this.#stepDown(), { once: true });
    // Left there when its writer died; what began after the horizon may be what we have not read yet.
    const { anomalies } = timeline;
    for (const id of stored) {
      const isOld = Number(id.slice(id.indexOf('-') + 1)) < anomalies.horizonMs;
      if (isOld && anomalies.find(id) === undefined) this.#waiting.forgotten.add(id);
    }
    timeline.beginDeciding();
    refresh();
  }

  /** What was decided and not stored was never told, and is decided by somebody else. */
  #stepDown(): void {
    if (this.#leading === undefined) return;
    const { timeline } = this.#parts;
    this.#leading = undefined;
    timeline.isDeciding = false;
    for (const id of this.#unstored) timeline.notices.forget(id);
    this.#waiting.notices.clear();
    this.#waiting.forgotten.clear();
    this.#unstored.clear();
    this.#untold = { anomalies: new Set(), firstMovers: new Set() };
    this.#version = undefined;
  }

  async #write(term: Term): Promise<void> {
    const writing = this.#waiting;
    const telling = this.#untold;
    const { anomalies, notices, positions } = writing;
    this.#waiting = nothing();
    this.#untold = { anomalies: new Set(), firstMovers: new Set() };
    try {
      await this.#parts.topic?.append(anomalies, term.isValid);
      const store = this.#parts.store.fenced({ name: API_LEASE, token: term.token });
      await save(store, writing);
      const { firstMs, newestMs } = this.#parts.timeline.anomalies;
      const { logId, announce } = this.#parts;
      const places = [...positions].map(([key, next]) =>
        savePosition(store, key, { logId, next, firstMs, newestMs }),
      );
      await Promise.all(places);
      if (notices.size > 0) await this.#tellDecided(store, [...notices.keys()]);
      for (const id of notices.keys()) {
        // Decided anew while it was written: that is to be stored as well.
        if (!this.#waiting.notices.has(id)) this.#unstored.delete(id);
      }
      // Stored, and so true, also when the term ended meanwhile; whether alerts may be sent is asked again.
      announce(telling.anomalies, telling.firstMovers);
    } catch (error) {
      this.#putBack(writing, telling);
      throw error;
    }
  }

  async #tellDecided(store: Parameters<typeof save>[0], ids: readonly string[]): Promise<void> {
    const version = (this.#version ?? 0) + ids.length;
    const anomalyId = [...this.#decided, ...ids].slice(-DECIDED_KEPT);
    const message = create(DecidedSchema, { version: BigInt(version), anomalyId });
    await store.advance(DECIDED, toBinary(DecidedSchema, message), version);
    this.#version = version;
    this.#decided = anomalyId;
  }

  #putBack(writing: Waiting, telling: { anomalies: Set<Anomaly>; firstMovers: Set<string> }): void {
    const { anomalies, notices, forgotten, positions } = this.#waiting;
    for (const anomaly of writing.anomalies) {
      if (!forgotten.has(anomaly.id)) anomalies.add(anomaly);
    }
    for (const [key, next] of writing.positions) {
      if (!positions.has(key)) positions.set(key, next);
    }
    if (this.#leading === undefined) return;
    for (const [id, notice] of writing.notices) if (!notices.has(id)) notices.set(id, notice);
    for (const id of writing.forgotten) forgotten.add(id);
    for (const anomaly of telling.anomalies) this.#untold.anomalies.add(anomaly);
    for (const id of telling.firstMovers) this.#untold.firstMovers.add(id);
  }

  /** What the one that decides has decided since we last looked. */
  async #hear(): Promise<void> {
    const { store, timeline, announce } = this.#parts;
    const decided = await this.#decidedNow();
    if (decided === undefined || decided.version === this.#version) return;
    const missed = decided.version - (this.#version ?? Number.NEGATIVE_INFINITY);
    let notices: Notice[] = [];
    if (missed > 0 && missed <= decided.anomalyIds.length) {
      notices = await noticesOf(store, decided.anomalyIds.slice(-missed));
      if (this.#leading !== undefined) return;
      for (const notice of notices) timeline.notices.restore(notice);
    } else {
      await loadNotices(store, (notice) => notices.push(notice));
      if (this.#leading !== undefined) return;
      const known = new Map<string, Outcome>();
      for (const { anomalyId, outcome } of timeline.notices.all()) known.set(anomalyId, outcome);
      timeline.notices.replace(notices);
      notices = notices.filter(({ anomalyId, outcome }) => known.get(anomalyId) !== outcome);
    }
    this.#version = decided.version;
    announce(
      [],
      notices.map(({ anomalyId }) => anomalyId),
    );
  }

  async #decidedNow(): Promise<{ version: number; anomalyIds: string[] } | undefined> {
    const bytes = await this.#parts.store.get(DECIDED);
    if (bytes === undefined) return undefined;
    const { version, anomalyId } = fromBinary(DecidedSchema, bytes);
    return { version: Number(version), anomalyIds: anomalyId };
  }
}

function nothing(): Waiting {
  return {
    anomalies: new Set(),
    notices: new Map(),
    forgotten: new Set(),
    positions: new Map(),
  };
}
