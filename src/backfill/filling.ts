// The work itself: from the queries of a plan to steps in the log, window by window in the order of time. It remembers what
// it has learnt of the series between tries, and nothing of a window that failed: the range says what is done.

import { OperatingError } from '../errors.js';
import type { HistoryRange } from '../history-mark.js';
import {
  LOGGED_BYTES_PER_SAMPLE,
  PROMETHEUS_WARNINGS_MAX,
  RANGE_POINTS_MAX,
  RANGE_REQUEST_MS_MIN,
  RANGE_STEPS_MAX,
} from '../limits.js';
import { HISTORY_STEPS_PER_MARK, HISTORY_WINDOW_POINTS } from '../limits-history.js';
import type { Pace } from '../pace.js';
import type { PrometheusApi } from '../prometheus-api.js';
import { readRange } from '../prometheus-range.js';
import type { Label } from '../series.js';
import { externalLabels } from './external-labels.js';
import type { HistoryLog } from './history-log.js';
import { type HistoryQuery, type HistoryWanted, planHistory } from './history-plan.js';
import { HistoryWindow } from './history-window.js';
import { metricTypes } from './metric-types.js';

/** What lets history in by the rules for live samples; src/receiver/ has it. */
export interface Intake {
  take(
    bodies: readonly Uint8Array[],
    tenant: string,
  ): Promise<{ samples: number; rejections: string[] }>;
  /** Types and units, in a body without samples. */
  learn(body: Uint8Array, tenant: string): void;
}

export interface FillingParts {
  api: PrometheusApi;
  wanted: HistoryWanted;
  stepMs: number;
  tenant: string;
  /** Given to every series; those of that Prometheus' own configuration too, unless they are not wanted. */
  labels: readonly Label[];
  hasExternalLabels: boolean;
  /** More of it than this is refused before its first sample. */
  logBytesMax: number;
  /** The same as it stands in the settings. */
  logRetention: string;
  intakeOn: (
    append: (partition: number, record: Uint8Array, samples: number) => Promise<unknown>,
  ) => Intake;
  /** Told of each window that is durable. */
  onProgress?: (range: HistoryRange) => void;
  onWord?: (word: string) => void;
  history: HistoryLog;
  pace: Pace;
  signal: AbortSignal;
}

/** Different words about samples that were not taken. */
const REJECTIONS_TOLD = 10;

export class Filling {
  points = 0;
  requests = 0;
  retries = 0;
  histograms = 0;
  /** Added to each series. */
  labels: readonly Label[] = [];
  readonly warnings = new Set<string>();
  readonly rejections = new Set<string>();
  readonly #parts: FillingParts;
  readonly #api: PrometheusApi;
  readonly #intake: Intake;
  /** Something lies in the log: its range binds whoever goes on. */
  #hasWritten = false;
  #queries: HistoryQuery[] | undefined;
  #window: HistoryWindow | undefined;

  constructor(parts: FillingParts) {
    this.#parts = parts;
    const { api, signal, history } = parts;
    const { address } = api;
    this.#api = {
      address,
      ask: (path, parameters, options) => api.ask(path, parameters, { ...options, signal }),
    };
    this.#intake = parts.intakeOn((partition, record, samples) =>
      history.append(partition, record, samples),
    );
  }

  get series(): number {
    return this.#window?.series ?? 0;
  }

  /**
   * Goes on behind `range.doneMs`, which it advances with each step, up to the end; resolves with the points so far.
   * `onAdvance` hears of each step that is durable: what was read may still not be taken. Rejects with an OperatingError, and with what the signal and the log throw.
   */
  async read(range: HistoryRange, onAdvance: () => void): Promise<number> {
    const { stepMs } = this.#parts;
    this.#hasWritten ||= range.doneMs >= range.startMs;
    this.#judgeSteps(range);
    const queries = await this.#plan(range);
    if (queries.length === 0) return this.points;
    this.#window ??= await this.#openWindow();
    const expected = queries.reduce((sum, { series }) => sum + series, 0);
    while (range.doneMs < range.endMs) {
      const series = Math.max(1, expected, this.#window.series);
      const steps = Math.min(RANGE_STEPS_MAX, Math.ceil(HISTORY_WINDOW_POINTS / series));
      const from = range.doneMs + stepMs;
      const until = Math.min(range.endMs, range.doneMs + steps * stepMs);
      if (from > until) break; // the end is not on the grid of this step
      await this.#readWindow(this.#window, { queries, from, until });
      this.#judgeSize(range, until, this.#window.points);
      await this.#write(this.#window, range, onAdvance);
      range.doneMs = until;
      await this.sayProgress(range);
      this.#parts.onProgress?.(range);
    }
    range.doneMs = range.endMs;
    return this.points;
  }

  /** To all who wait. */
  sayProgress(range: HistoryRange): Promise<void> {
    const doneMs = this.#hasWritten ? range.doneMs : range.startMs - this.#parts.stepMs;
    return this.#parts.history.sayProgress({ ...range, doneMs });
  }

  #judgeSteps({ startMs, endMs }: HistoryRange): void {
    const { stepMs } = this.#parts;
    const steps = (endMs - startMs) / stepMs;
    if (steps <= RANGE_POINTS_MAX) return;
    const text = `The history has ${Math.ceil(steps)} steps, at most ${RANGE_POINTS_MAX}; choose a longer step or a shorter lookback`;
    throw new OperatingError('input_invalid', text);
  }

  async #plan(range: HistoryRange): Promise<HistoryQuery[]> {
    this.#queries ??= await planHistory(this.#api, this.#parts.wanted, range);
    return this.#queries;
  }

  async #openWindow(): Promise<HistoryWindow> {
    const types = await metricTypes(this.#api);
    if (types !== undefined) this.#intake.learn(types, this.#parts.tenant);
    return new HistoryWindow(await this.#labelsToAdd());
  }

  async #labelsToAdd(): Promise<readonly Label[]> {
    const { labels: own, hasExternalLabels, onWord } = this.#parts;
    const found = hasExternalLabels ? await externalLabels(this.#api) : [];
    if (found === undefined) {
      onWord?.('its external_labels cannot be asked for; if it has any, name each');
    }
    const others = (found ?? []).filter(({ name }) => own.every((label) => label.name !== name));
    this.labels = [...own, ...others];
    return this.labels;
  }

  async #readWindow(
    window: HistoryWindow,
    wanted: {
      queries: readonly HistoryQuery[];
      from: number;
      until: number;
    },
  ): Promise<void> {
    const { stepMs, pace, signal } = this.#parts;
    window.clear();
    let histograms = 0;
    const sleep = (ms: number) => pace.sleep(ms, signal);
    for (const { query, series } of wanted.queries) {
      const range = { query, startMs: wanted.from, endMs: wanted.until, stepMs };
      const options = { expectedSeries: series, mayBeEmpty: true, sleep };
      const read = await readRange(this.#api, range, window.taker(), options);
      this.requests += read.requests;
      this.retries += read.retries;
      histograms += read.histograms;
      for (const warning of read.warnings) {
        if (this.warnings.size < PROMETHEUS_WARNINGS_MAX) this.warnings.add(warning);
      }
      await sleep(RANGE_REQUEST_MS_MIN);
    }
    this.histograms = Math.max(this.histograms, histograms);
  }

  /** What does not fit would be refused halfway. */
  #judgeSize({ startMs, endMs }: HistoryRange, untilMs: number, windowPoints: number): void {
    const { logBytesMax, logRetention, stepMs } = this.#parts;
    const share = (untilMs - startMs + stepMs) / (endMs - startMs + stepMs);
    const expected = Math.round(((this.points + windowPoints) / share) * LOGGED_BYTES_PER_SAMPLE);
    if (expected <= logBytesMax) return;
    const text =
      `The whole history takes about ${Math.ceil(expected / 1e6)} MB of log, and log.retentionSize is ` +
      `${logRetention}; raise it, select fewer series, or choose a longer step or a shorter lookback`;
    throw new OperatingError('input_invalid', text);
  }

  /** Step by step, each durable in every partition before the next: no partition ever has a step and not one before it. */
  async #write(window: HistoryWindow, range: HistoryRange, onAdvance: () => void): Promise<void> {
    const { signal, tenant } = this.#parts;
    let steps = 0;
    for (let ms = window.earliestMs(); ms < Number.POSITIVE_INFINITY; ms = window.earliestMs()) {
      signal.throwIfAborted();
      const { rejections } = await this.#intake.take(await window.bodiesAt(ms), tenant);
      for (const words of rejections) {
        if (this.rejections.size < REJECTIONS_TOLD) this.rejections.add(words);
      }
      this.points += window.pass(ms);
      this.#hasWritten = true;
      range.doneMs = Math.max(range.doneMs, ms);
      onAdvance();
      if (++steps % HISTORY_STEPS_PER_MARK === 0) await this.sayProgress(range);
    }
  }
}
