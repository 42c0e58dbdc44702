// Fills the log of history, once in the life of a log, in the background of a receiver or by hand: finds out whether there
// is anything to do, becomes the only one to do it, reads window by window, writes step by step, and ends it with a fence.
// What goes wrong is tried again for as long as somebody is willing to wait; then the history ends where it is, because
// nothing is detected before its end.
//
//    look ─ fenced ──────────────────────────────▶ over
//     │ empty, samples logged before ─ fence ────▶ over (too_late)
//     │ empty, or silent for too long ─ claim ─┬─ fill ─ fence ─▶ over (complete, empty, given_up)
//     └ somebody fills: watch ◀─────── lost ───┴─ superseded

import { OperatingError } from '../errors.js';
import { type HistoryEnding, type HistoryRange, shareOf } from '../history-mark.js';
import type { Logger } from '../http-server.js';
import {
  HISTORY_ALIVE_MS,
  HISTORY_RETRY_MS_MAX,
  HISTORY_RETRY_MS_MIN,
  HISTORY_STALE_MS,
} from '../limits-history.js';
import type { Log } from '../log/log.js';
import type { Pace } from '../pace.js';
import { Filling, type FillingParts } from './filling.js';
import { Fenced, HistoryLog, type HistoryTail, isTaken } from './history-log.js';

export interface FillerParts extends Omit<FillingParts, 'history' | 'signal'> {
  log: Log;
  lookbackMs: number;
  /** No other process can write to this log. */
  isAlone: boolean;
  /** How long nothing may come before the history ends with what there is. */
  waitMs: number;
  /** Somebody looks on and will call again: what goes wrong, and that there is nothing, ends it without a fence. */
  isByHand?: boolean;
  logger: Logger;
  clock: () => number;
  pace: Pace;
}

export type FillerOutcome = HistoryEnding | 'stopped' | 'elsewhere';

export class Filler {
  /** What this process has read and written. */
  filling: Filling | undefined;
  /** Why it does not go on just now. */
  trouble: string | undefined;
  retries = 0;
  outcome: FillerOutcome | undefined;
  isResumed = false;
  range: HistoryRange | undefined;
  readonly #parts: FillerParts;
  readonly #history: HistoryLog;
  readonly #stopping = new AbortController();
  #claimed: HistoryTail | undefined;
  #running: Promise<FillerOutcome> | undefined;
  /** By the clock: when something came last. */
  #advancedMs = 0;

  constructor(parts: FillerParts) {
    this.#parts = parts;
    this.#history = new HistoryLog(parts.log);
  }

  /** Before the first sample is taken: afterwards nobody could tell whether they came before us. */
  async begin(): Promise<void> {
    const tail = await this.#history.look();
    const isFree = tail.isFenced || tail.high === 0 || this.#parts.isAlone;
    if (isFree) this.#claimed = await this.#tryClaim(tail);
  }

  /** Resolves when the history is over, or the filler was stopped. Rejects with what is no operating error. */
  run(): Promise<FillerOutcome> {
    this.#running ??= this.#run();
    return this.#running;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    // Whoever ran it hears of what went wrong.
    await this.#running?.catch(() => {});
  }

  /** 0 to 1. */
  get share(): number {
    if (this.outcome !== undefined) return 1;
    return this.range === undefined ? 0 : shareOf(this.range);
  }

  async #run(): Promise<FillerOutcome> {
    const { pace } = this.#parts;
    const { signal } = this.#stopping;
    for (let pause = HISTORY_RETRY_MS_MIN; !signal.aborted; ) {
      try {
        this.outcome ??= await this.#turn();
        if (this.outcome !== undefined) return this.outcome;
      } catch (error) {
        if (signal.aborted) break;
        const isPassing = error instanceof OperatingError && error.retryable;
        if (!isPassing || this.#parts.isByHand === true) throw error;
        // The log is away: of what cannot be written down, nobody can be told.
        this.#complain(error);
        await pace.sleep(pause, signal);
        pause = Math.min(2 * pause, HISTORY_RETRY_MS_MAX);
      }
    }
    return 'stopped';
  }

  /** Undefined when somebody else came between. */
  async #turn(): Promise<FillerOutcome | undefined> {
    const tail = this.#claimed ?? (await this.#tryClaim(await this.#history.look()));
    this.#claimed = undefined;
    if (this.outcome !== undefined) return this.outcome;
    if (tail === undefined) {
      if (this.#parts.isByHand === true) {
        const text = 'Another process fills the history of this log; let it finish';
        throw new OperatingError('state_present', text);
      }
      this.range = (await this.#watch()) ?? this.range;
      return undefined;
    }
    try {
      const end = await this.#fill();
      if (end === undefined) return 'stopped';
      await this.#history.fence(end, this.range);
      this.#tell(end);
      return end;
    } catch (error) {
      if (!isTaken(error)) throw error;
      if (!(error instanceof Fenced)) return undefined;
      await this.#history.fence('silent', this.range);
      return 'silent';
    }
  }

  /** The tail that was claimed; undefined when it is not ours, or there is nothing to do any more. */
  async #tryClaim(tail: HistoryTail): Promise<HistoryTail | undefined> {
    const { isAlone, isByHand = false, logger } = this.#parts;
    const history = this.#history;
    if (tail.isFenced) {
      this.outcome = 'elsewhere';
      return undefined;
    }
    if (tail.high === 0 && !isByHand && (await history.hasSamples())) {
      await history.fence('too_late');
      this.outcome = 'too_late';
      logger.warn(
        {},
        'Samples lie in the log already, and history would be late behind them; none is read',
      );
      return undefined;
    }
    if (tail.high > 0 && !isAlone && !(await this.#isSilent(tail.high))) return undefined;
    const range = this.#rangeBehind(tail);
    if (!(await history.claim(tail, range))) return undefined;
    this.range = range;
    return tail;
  }

  /** What was begun is finished, up to the same end; what brought nothing yet binds nobody. */
  #rangeBehind({ range }: HistoryTail): HistoryRange {
    const { clock, stepMs, lookbackMs } = this.#parts;
    if (range !== undefined && range.doneMs >= range.startMs && range.endMs > 0) {
      this.isResumed = true;
      const { startMs, endMs, doneMs } = range;
      return { startMs, endMs, doneMs };
    }
    const endMs = Math.floor(clock() / stepMs) * stepMs;
    const startMs = Math.ceil((endMs - lookbackMs) / stepMs) * stepMs;
    return { startMs, endMs, doneMs: startMs - stepMs };
  }

  /** Whether nobody has written for so long that whoever did must be dead. */
  async #isSilent(high: number): Promise<boolean> {
    const { pace } = this.#parts;
    for (let waited = 0; waited < HISTORY_STALE_MS; waited += HISTORY_ALIVE_MS) {
      await pace.sleep(HISTORY_ALIVE_MS, this.#stopping.signal);
      if (this.#stopping.signal.aborted) return false;
      if ((await this.#history.high()) !== high) return false;
    }
    return true;
  }

  /** The newest word of whoever fills. */
  async #watch(): Promise<HistoryRange | undefined> {
    this.trouble = undefined;
    await this.#parts.pace.sleep(HISTORY_ALIVE_MS, this.#stopping.signal);
    return this.#stopping.signal.aborted ? undefined : (await this.#history.look()).range;
  }

  /** Undefined when it was stopped. Rejects when somebody else is at it, or the log is away. */
  async #fill(): Promise<HistoryEnding | undefined> {
    const { clock, waitMs, pace, logger, isByHand = false } = this.#parts;
    const { signal } = this.#stopping;
    const range = this.range as HistoryRange;
    const fields = { start: iso(range.startMs), end: iso(range.endMs), resumed: this.isResumed };
    logger.info(fields, 'Reading history; live samples wait in the log behind it');
    const filling = new Filling({ ...this.#parts, history: this.#history, signal });
    this.filling = filling;
    this.#advancedMs = clock();
    const stopSaying = pace.every(HISTORY_ALIVE_MS, () => {
      // What it rejects with, the next append meets as well.
      void filling.sayProgress(range).catch(() => {});
    });
    try {
      let failures = 0;
      for (let pause = HISTORY_RETRY_MS_MIN; !signal.aborted; ) {
        try {
          const points = await filling.read(range, () => {
            this.#advancedMs = clock();
            failures = 0;
            this.trouble = undefined;
            pause = HISTORY_RETRY_MS_MIN;
          });
          if (points > 0 || this.isResumed) return 'complete';
          if (isByHand) throw this.#nothing(range);
          return 'empty';
        } catch (error) {
          if (signal.aborted) return undefined;
          if (isByHand) throw error;
          if (this.#history.taken !== undefined) throw this.#history.taken;
          if (!(error instanceof OperatingError)) throw error;
          this.#complain(error);
          // A large window may take as long to be read: its first failure ends nothing.
          if (++failures > 1 && clock() - this.#advancedMs >= waitMs) return 'given_up';
          await pace.sleep(Math.min(pause, waitMs), signal);
          pause = Math.min(2 * pause, HISTORY_RETRY_MS_MAX);
        }
      }
      return undefined;
    } finally {
      stopSaying();
    }
  }

  #nothing({ startMs, endMs }: HistoryRange): OperatingError {
    const { query, selectors } = this.#parts.wanted;
    const { histograms = 0 } = this.filling ?? {};
    const what = query === '' ? selectors.join(' or ') : query;
    const text =
      histograms > 0
        ? `${what} brings ${histograms} native histograms and no values; ask for histogram_quantile(0.99, …)`
        : `${what} matches nothing from ${iso(startMs)} to ${iso(endMs)}; look at its names and labels, and at how long Prometheus keeps its data`;
    return new OperatingError('input_invalid', text);
  }

  #complain(error: OperatingError): void {
    this.retries++;
    if (this.trouble === error.message) return;
    this.trouble = error.message;
    const { logger } = this.#parts;
    const fields = { code: error.code, reason: error.message };
    logger.warn(fields, 'The history cannot be filled now; trying again');
  }

  #tell(end: HistoryEnding): void {
    const { logger } = this.#parts;
    const { startMs, endMs, doneMs } = this.range as HistoryRange;
    const fields = { end, from: iso(startMs), until: iso(Math.min(doneMs, endMs)) };
    const { points = 0, series = 0, warnings, rejections } = this.filling ?? {};
    if (warnings !== undefined && warnings.size > 0) {
      const all = { warnings: [...warnings] };
      logger.warn(all, 'That Prometheus warned about its answers; the history may be partial');
    }
    if (rejections !== undefined && rejections.size > 0) {
      logger.warn({ rejections: [...rejections] }, 'Some of the history was not taken');
    }
    if (end === 'given_up') {
      logger.error(
        { ...fields, points, reason: this.trouble },
        'The history could not be read for as long as backfill.wait; detection begins with what there is',
      );
    } else logger.info({ ...fields, points, series }, 'The history is in the log');
  }
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
