// History on its way into the log, through the receiver: the same rules, fingerprints, partitions and announcements as if
// it had been pushed. Chunks come series by series; live samples come scrape by scrape, and so they must lie in the log,
// because the scorer's clock is the newest timestamp it has seen, and silent series are looked for between records. Each
// chunk is therefore gathered and handed on by time:
//
//    chunk       a: ▪▪▪▪▪▪    b: ▪▪▪▪▪▪    c: ▪▪▪▪▪▪           columns, one per series
//    requests    abc abc abc abc abc abc                        a step each

import { OperatingError } from '../errors.js';
import { BACKFILL_CHUNK_POINTS_MAX, PULL_BODY_SERIES_MAX } from '../limits.js';
import type { RangeProgress, RangeTaker } from '../prometheus-range.js';
import type { Label } from '../series.js';
import { type SeriesSamples, writeRequestBody } from '../write-request.js';

/** The receiver, as far as it is needed here. */
export interface HistoryTaker {
  take(
    body: Uint8Array,
    origin: { tenant: string; version: 1 },
  ): Promise<{ status: number; message?: string }>;
}

export interface BackfillOptions {
  taker: HistoryTaker;
  tenant: string;
  /** Added where a series has no label of that name. */
  labels: readonly Label[];
  /** Before a chunk is handed on; throws when it should not be. */
  judge: (progress: RangeProgress) => void;
  /** All samples up to this step are durable. */
  onDurable: (progress: RangeProgress) => Promise<void>;
}

/** Different words about samples that were not taken. */
const REJECTIONS_TOLD = 10;

interface Column {
  labels: Label[];
  times: number[];
  values: number[];
  /** The first that has not been handed on. */
  next: number;
}

export class BackfillRun implements RangeTaker {
  /** The receiver's words about requests that it took in part, each once. */
  readonly rejections = new Set<string>();
  readonly #options: BackfillOptions;
  readonly #columns: Column[] = [];
  #points = 0;

  constructor(options: BackfillOptions) {
    this.#options = options;
  }

  series(labels: Label[]): void {
    const added = this.#options.labels.filter(({ name }) =>
      labels.every((label) => label.name !== name),
    );
    this.#columns.push({ labels: [...labels, ...added], times: [], values: [], next: 0 });
  }

  points(series: number, times: Float64Array, values: Float64Array, count: number): void {
    const column = this.#columns[series]!;
    this.#points += count;
    if (this.#points > BACKFILL_CHUNK_POINTS_MAX) {
      const text = `One answer holds more than ${BACKFILL_CHUNK_POINTS_MAX} points; select fewer series`;
      throw new OperatingError('input_invalid', text);
    }
    for (let at = 0; at < count; at++) {
      column.times.push(times[at]!);
      column.values.push(values[at]!);
    }
  }

  async chunk(progress: RangeProgress): Promise<void> {
    this.#options.judge(progress);
    for (let ms = this.#earliestMs(); ms < Number.POSITIVE_INFINITY; ms = this.#earliestMs()) {
      await this.#send(ms);
    }
    for (const column of this.#columns) {
      column.times.length = 0;
      column.values.length = 0;
      column.next = 0;
    }
    this.#points = 0;
    await this.#options.onDurable(progress);
  }

  #earliestMs(): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const { times, next } of this.#columns) {
      if (next < times.length && times[next]! < earliest) earliest = times[next]!;
    }
    return earliest;
  }

  /** Hands on the samples of one step, and waits until they are durable: steps never share a record. */
  async #send(timestampMs: number): Promise<void> {
    const { taker, tenant } = this.#options;
    const taken: ReturnType<HistoryTaker['take']>[] = [];
    let series: SeriesSamples[] = [];
    const flush = async (): Promise<void> => {
      const body = await writeRequestBody(series);
      taken.push(taker.take(body, { tenant, version: 1 }));
      series = [];
    };
    for (const column of this.#columns) {
      if (column.times[column.next] !== timestampMs) continue;
      const value = column.values[column.next++]!;
      series.push({ labels: column.labels, samples: [{ timestampMs, value }] });
      if (series.length === PULL_BODY_SERIES_MAX) await flush();
    }
    if (series.length > 0) await flush();
    for (const { status, message = '' } of await Promise.all(taken)) {
      if (status >= 500) throw new OperatingError('log_unavailable', message);
      if (status >= 400 && this.rejections.size < REJECTIONS_TOLD) this.rejections.add(message);
    }
  }
}
