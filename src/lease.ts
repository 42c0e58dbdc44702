// What must happen once in a cluster is done by the one process that holds a lease. Time is each process' own:
//
//   holder:   beat ──2 s── beat ──2 s── beat ─ ─ ─ ─ no answer ─ ─ ─ ┐ its term ends 7.5 s after the last beat that it began
//   others:                  seen ─────────── no rise for 10 s ──────────────── take
//
// So whoever lost it has stopped, and what it was sending has been broken off, before the next one begins; no two clocks are
// compared, and none is trusted for more than 10 s. A lease that was given up in order is taken at once. One that is
// not there is watched for as long as one that is held: Redis may have lost it while its holder lives. Whoever writes
// names the term's token as well, for a process that was frozen does not know how late it is (redis-store.ts).

import { OperatingError } from './errors.js';
import type { Logger } from './http-server.js';
import { LEASE_BEAT_MS, LEASE_MARGIN_MS, LEASE_MS } from './limits-outputs.js';

/** The lease under which one api decides and sends. */
export const API_LEASE = 'api';

export interface LeaseMark {
  /** Changes with every beat, and with its holder. */
  mark: string;
  /** It was given up. */
  isFree: boolean;
  holder: string | undefined;
}

/** Where the lease is written down. Everything rejects with an OperatingError while that place is away. */
export interface LeaseBook {
  look(): Promise<LeaseMark>;
  /** Says that the holder lives. After a loss: an earlier beat is gone, and what else was written there may be, too. */
  beat(token: string): Promise<'held' | 'lost' | 'held after a loss'>;
  /** Takes it if the mark is still the one that was seen; resolves with the token of the new term. */
  take(mark: string, owner: string): Promise<string | undefined>;
  give(token: string): Promise<void>;
}

export interface Term {
  readonly token: string;
  /** Aborted when it ends. */
  readonly ended: AbortSignal;
  /** False a moment before it ends, also in a process that was frozen and whose timers are late. */
  isValid(): boolean;
}

export interface LeaseParts {
  book: LeaseBook;
  /** Unique to this start of this process. */
  owner: string;
  logger: Logger;
  /** Milliseconds that only rise. */
  now: () => number;
}

interface Held {
  term: Term;
  ending: AbortController;
  untilMs: number;
}

export class Lease {
  readonly #parts: LeaseParts;
  #held: Held | undefined;
  #seen: { mark: string; atMs: number } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #end: NodeJS.Timeout | undefined;
  #step: Promise<void> = Promise.resolve();
  #isStopped = false;
  /** Terms of this process. */
  terms = 0;
  /** Called when the book has lost something, while the lease was ours. */
  onLoss: () => void = () => {};

  constructor(parts: LeaseParts) {
    this.#parts = parts;
  }

  /** Undefined while it is not ours. */
  get term(): Term | undefined {
    return this.#held?.term.isValid() ? this.#held.term : undefined;
  }

  start(): void {
    this.#step = this.#turn();
  }

  /** Ends the term first, and then gives the lease up, so that another process need not wait. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#step;
    const token = this.#held?.term.token;
    this.#endTerm();
    if (token === undefined) return;
    try {
      await this.#parts.book.give(token);
    } catch (error) {
      // Then it is taken when it has been silent for long enough.
      if (!(error instanceof OperatingError)) throw error;
    }
  }

  async #turn(): Promise<void> {
    const begun = this.#parts.now();
    try {
      if (this.#held === undefined) await this.#watch();
      else await this.#beat(this.#held);
    } catch (error) {
      // The book is away: the term runs out by itself, and others see no rise.
      if (!(error instanceof OperatingError)) throw error;
    }
    if (this.#isStopped) return;
    const pause = Math.max(0, LEASE_BEAT_MS - (this.#parts.now() - begun));
    this.#timer = setTimeout(() => {
      this.#step = this.#turn();
    }, pause);
    this.#timer.unref();
  }

  async #beat(held: Held): Promise<void> {
    const { book, now, logger } = this.#parts;
    if (!held.term.isValid()) return this.#endTerm();
    const begun = now();
    const outcome = await book.beat(held.term.token);
    if (this.#held !== held) return; // it ran out meanwhile
    if (outcome === 'lost') {
      logger.warn({}, 'Another process holds the lease now; it sends, this one does not');
      return this.#endTerm();
    }
    held.untilMs = begun + LEASE_MS - LEASE_MARGIN_MS;
    this.#armEnd(held.untilMs - now());
    if (outcome === 'held after a loss') this.onLoss();
  }

  async #watch(): Promise<void> {
    const { book, now, owner, logger } = this.#parts;
    const { mark, isFree } = await book.look();
    const nowMs = now();
    if (this.#seen?.mark !== mark) this.#seen = { mark, atMs: nowMs };
    if (!isFree && nowMs - this.#seen.atMs < LEASE_MS) return;
    const begun = now();
    const token = await book.take(mark, owner);
    this.#seen = undefined;
    if (token === undefined || this.#isStopped) {
      if (token !== undefined) await book.give(token);
      return;
    }
    this.terms++;
    this.#begin(token, begun + LEASE_MS - LEASE_MARGIN_MS);
    logger.info({ token }, 'This process holds the lease: it decides and sends');
  }

  #begin(token: string, untilMs: number): void {
    const ending = new AbortController();
    const { now } = this.#parts;
    const isValid = () => !ending.signal.aborted && now() < held.untilMs;
    const held = { term: { token, ended: ending.signal, isValid }, ending, untilMs };
    this.#held = held;
    this.#armEnd(untilMs - now());
  }

  #armEnd(ms: number): void {
    clearTimeout(this.#end);
    this.#end = setTimeout(() => {
      this.#parts.logger.warn({}, 'The lease could not be kept; nothing is sent until it is back');
      this.#endTerm();
    }, ms);
    this.#end.unref();
  }

  #endTerm(): void {
    clearTimeout(this.#end);
    this.#held?.ending.abort();
    this.#held = undefined;
    this.#seen = undefined;
  }
}
