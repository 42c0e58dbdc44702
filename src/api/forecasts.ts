// Forecasts of series that the settings name, made again and again by the one api that sends; the others, where several
// share a store, show what it has put there.
//
//   selectors ─▶ who owns the series: fingerprints ─▶ its window ─▶ context ─▶ desk ─▶ quantiles ─▶ gauges, REST
//
// Nothing is learnt and nothing must survive: after a restart the next pass makes them anew. A series that cannot be asked
// for or forecast just now keeps its last forecast until the end of that has passed.

import { OperatingError } from '../errors.js';
import type { Logger } from '../http-server.js';
import type { ForecastDesk } from '../inference/forecast-desk.js';
import { PAGE_ROWS_MAX } from '../limits.js';
import {
  FORECAST_LOOKUP_MS,
  FORECAST_PAGES_MAX,
  FORECAST_RETRY_MS,
  FORECAST_RETRY_REST,
  FORECASTS_AT_ONCE,
} from '../limits-forecasts.js';
import type { Label } from '../series.js';
import type { StateStore } from '../state/state-store.js';
import { contextOf } from './forecast-context.js';
import { currentOf, isFound, madeOf, type SeriesEntry, windowIn } from './forecast-entries.js';
import { readShelf, tidyShelf, writeShelf } from './forecast-shelf.js';
import type { SeriesSource } from './rest-series.js';

export interface ForecastSpec {
  name: string;
  match: readonly string[];
  matches: (labels: readonly Label[]) => boolean;
  /** As the settings have it. */
  horizon: string;
  horizonMs: number;
  interval: string;
  intervalMs: number;
  /** Ascending. */
  quantiles: readonly number[];
  seriesMax: number;
  tenant: string;
}

export interface ForecastParts {
  specs: readonly ForecastSpec[];
  series: SeriesSource;
  desk: ForecastDesk;
  clock: () => number;
  logger: Logger;
  /** Absent in an api that has its store to itself. */
  sharing?: {
    /** Undefined while another api makes them. */
    permit(): AbortSignal | undefined;
    /** For reading, and for writing as long as the permit holds. */
    store: StateStore;
    writable(): StateStore | undefined;
  };
}

/** made; waiting: too young, silent, or without a window; unreachable: its scorer did not answer; failed: nothing ran. */
export const FORECAST_OUTCOMES = ['made', 'waiting', 'unreachable', 'failed'] as const;
export type ForecastOutcome = (typeof FORECAST_OUTCOMES)[number];

export interface Book {
  spec: ForecastSpec;
  entries: ReadonlyMap<string, SeriesEntry>;
  fingerprints: readonly string[];
  lookedUpMs: number;
  /** When the next pass is due. */
  dueMs: number;
  /** When the last one ended. */
  passedMs: number | undefined;
  /** More series match than are forecast. */
  isCut: boolean;
  /** What stood in the way of the last pass. */
  problem: string | undefined;
}

const TURN_MS = 500;
const ALWAYS = new AbortController().signal;

export class Forecasts {
  readonly books: readonly Book[];
  readonly counts = Object.fromEntries(FORECAST_OUTCOMES.map((one) => [one, 0])) as Record<
    ForecastOutcome,
    number
  >;
  readonly #parts: ForecastParts;
  #isMaking = false;
  #timer: NodeJS.Timeout | undefined;
  #turn: Promise<void> = Promise.resolve();
  readonly #stopping = new AbortController();
  #told: string | undefined;

  constructor(parts: ForecastParts) {
    this.#parts = parts;
    this.books = parts.specs.map(emptyBook);
  }

  /** `fail` hears of programmer errors. */
  start(fail: (error: unknown) => void): void {
    const next = () => {
      if (this.#stopping.signal.aborted) return;
      this.#timer = setTimeout(() => {
        this.#turn = this.turn().then(next, fail);
      }, TURN_MS);
      this.#timer.unref();
    };
    next();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    clearTimeout(this.#timer);
    await this.#turn;
  }

  /** Every pass that is due. */
  async turn(): Promise<void> {
    const { sharing } = this.#parts;
    const permit = sharing === undefined ? ALWAYS : sharing.permit();
    if (permit === undefined) {
      if (this.#isMaking) for (const book of this.books) Object.assign(book, emptyBook(book.spec));
      this.#isMaking = false;
      return;
    }
    const over = AbortSignal.any([permit, this.#stopping.signal]);
    try {
      if (!this.#isMaking) await this.#takeOver();
      this.#isMaking = true;
      for (const book of this.books) {
        if (this.#parts.clock() >= book.dueMs && !over.aborted) await this.#pass(book, over);
      }
    } catch (error) {
      // The shared store is away: what could not be put there is by a later pass.
      if (!(error instanceof OperatingError)) throw error;
      this.#tell(error.message);
      return;
    }
    this.#tell(this.books.find(({ problem }) => problem !== undefined)?.problem);
  }

  /** Of this process or of the one that makes them. Rejects with `store_unavailable`. */
  async entriesOf({ spec, entries }: Book): Promise<Iterable<SeriesEntry>> {
    const { sharing } = this.#parts;
    if (sharing === undefined || sharing.permit() !== undefined) return entries.values();
    return shelved(sharing.store, spec);
  }

  /** Who is asked. */
  get model(): string {
    return this.#parts.desk.forecaster.id;
  }

  /** For the status of this process. */
  summary(nowMs: number) {
    return this.books.map(({ spec, entries, isCut, problem }) => {
      let series = 0;
      for (const entry of entries.values()) if (currentOf(entry, nowMs) !== undefined) series++;
      const waiting = entries.size - series;
      return { name: spec.name, series, waiting, limited: isCut, problem: problem ?? null };
    });
  }

  /** What a person should know. */
  note(): string | undefined {
    return this.#parts.desk.forecaster.trouble() ?? this.#told;
  }

  /** What the one before us has made is shown until the first pass. */
  async #takeOver(): Promise<void> {
    const { sharing, specs } = this.#parts;
    const store = sharing?.writable();
    if (store === undefined) return;
    for (const book of this.books) {
      const entries = await shelved(store, book.spec);
      book.entries = new Map(entries.map((entry) => [entry.fingerprint, entry]));
    }
    await tidyShelf(store, new Set(specs.map(({ name }) => name)));
  }

  async #pass(book: Book, over: AbortSignal): Promise<void> {
    const { clock, sharing } = this.#parts;
    const beginMs = clock();
    const begin = performance.now();
    book.problem = undefined;
    const isNew = ![...book.entries.values()].some(({ made }) => made !== undefined);
    if (isNew || beginMs - book.lookedUpMs >= FORECAST_LOOKUP_MS) await this.#lookUp(book);
    const entries = new Map<string, SeriesEntry>();
    const waiting = book.fingerprints.values();
    const work = async (place: number) => {
      for (const fingerprint of waiting) {
        if (over.aborted) return;
        const entry = await this.#entryOf(book, fingerprint, place);
        if (entry !== undefined) entries.set(fingerprint, entry);
      }
    };
    await Promise.all(Array.from({ length: FORECASTS_AT_ONCE }, (_, place) => work(place)));
    if (over.aborted) return;
    book.entries = new Map(
      book.fingerprints.flatMap((fingerprint) => {
        const entry = entries.get(fingerprint);
        return entry === undefined ? [] : [[fingerprint, entry] as const];
      }),
    );
    book.passedMs = clock();
    const hasAny = [...entries.values()].some(({ made }) => made !== undefined);
    const { intervalMs, name } = book.spec;
    const retryMs = Math.max(FORECAST_RETRY_MS, FORECAST_RETRY_REST * (performance.now() - begin));
    book.dueMs = beginMs + (hasAny ? intervalMs : Math.min(intervalMs, retryMs));
    const store = sharing?.writable();
    if (store !== undefined) await writeShelf(store, name, book.entries.values());
  }

  /** Fingerprints of the series that match, as many as are forecast. */
  async #lookUp(book: Book): Promise<void> {
    const { series, clock } = this.#parts;
    const { tenant, match, matches, seriesMax } = book.spec;
    const found: string[] = [];
    let cursor: string | undefined;
    let isCut = false;
    for (let page = 0; page < FORECAST_PAGES_MAX; page++) {
      const limit = Math.min(seriesMax - found.length, PAGE_ROWS_MAX);
      const question = { tenant, match, matches, limit, ...(cursor !== undefined && { cursor }) };
      const { rows, next, unreachable = [] } = await series.page(question);
      for (const row of rows) if (isFound(row)) found.push(row.fingerprint);
      const [first] = unreachable;
      if (first !== undefined) {
        book.problem = `Scorer ${first.scorer} does not answer (${first.reason}); its series are not looked for`;
      }
      cursor = next;
      isCut = next !== undefined && found.length >= seriesMax;
      if (next === undefined || isCut) break;
    }
    // Those of a scorer that does not answer just now are not forgotten.
    const kept = book.problem === undefined ? [] : book.fingerprints;
    book.fingerprints = [...new Set([...found, ...kept])].slice(0, seriesMax);
    book.isCut = isCut;
    book.lookedUpMs = clock();
  }

  /** Undefined when the series is gone. */
  async #entryOf(book: Book, fingerprint: string, place: number): Promise<SeriesEntry | undefined> {
    const { series, desk, clock } = this.#parts;
    const { tenant, horizonMs, quantiles } = book.spec;
    const before = book.entries.get(fingerprint);
    let found: object | undefined;
    try {
      found = await series.find({ fingerprint, tenant });
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.counts.unreachable++;
      book.problem = error.message;
      return before === undefined ? undefined : { ...before, reason: error.message };
    }
    if (!isFound(found)) return undefined;
    const { labels, scoredAs = 'value', state } = found;
    const entry = { fingerprint, series: found.series, labels, scoredAs };
    const wait = (reason: string): SeriesEntry => {
      this.counts.waiting++;
      return { ...entry, reason, ...madeBefore(before, clock()) };
    };
    if (state === 'stale') return wait('Nothing arrives any more');
    if (state === 'unscored') return wait('It is a part of a histogram, or of alerts');
    const window = windowIn(found);
    if (window === undefined) {
      return wait('No values are known; the scorer keeps them where forecasts are set there, too');
    }
    const context = contextOf(window, { horizonMs, limits: desk.forecaster });
    if (typeof context === 'string') return wait(context);
    try {
      const { values, steps } = context;
      const group = `${tenant}/forecasts`;
      const forecast = await desk.forecast({
        ...{ key: `forecast ${place}`, group, steps },
        context: values,
      });
      const made = madeOf(forecast, {
        ...{ context, levels: quantiles, model: desk.forecaster.id },
        ...{ madeMs: clock(), fromMs: window.endMs },
      });
      if (made === undefined) return wait('The forecast is beyond all numbers');
      this.counts.made++;
      return { ...entry, made };
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.counts.failed++;
      book.problem = error.message;
      return { ...entry, reason: error.message, ...madeBefore(before, clock()) };
    }
  }

  /** Once when it begins and once when it is over. */
  #tell(problem: string | undefined): void {
    const { logger } = this.#parts;
    const before = this.#told;
    this.#told = problem;
    if ((problem === undefined) === (before === undefined)) return;
    if (problem === undefined) logger.info({}, 'All series are forecast again');
    else logger.warn({ reason: problem }, 'Not every series can be forecast now');
  }
}

/** Of the same quantiles: another api may have other settings for a while. */
async function shelved(store: StateStore, spec: ForecastSpec): Promise<SeriesEntry[]> {
  const { length } = spec.quantiles;
  const entries = await readShelf(store, spec.name);
  return entries.filter(({ made }) => made === undefined || made.values.length === length);
}

function madeBefore(before: SeriesEntry | undefined, nowMs: number): Pick<SeriesEntry, 'made'> {
  const made = before === undefined ? undefined : currentOf(before, nowMs);
  return made === undefined ? {} : { made };
}

function emptyBook(spec: ForecastSpec): Book {
  return {
    ...{ spec, entries: new Map(), fingerprints: [], isCut: false, problem: undefined },
    ...{ lookedUpMs: Number.NEGATIVE_INFINITY, dueMs: Number.NEGATIVE_INFINITY },
    passedMs: undefined,
  };
}
