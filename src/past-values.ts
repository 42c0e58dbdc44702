// Older values of one series, from the Prometheus that the settings name: of several the first that knows the series, and
// of tenants only the one that is the tenant's own. Prometheus knows a series by other labels than what it sent us of it:
// without its external labels, with those that we strip on arrival, or only as the result of a query of `sources`. All
// that a reading takes is bounded: time, bytes, and how many there are at once.

import type { Past, PastSource, PastWanted } from './api/rest-history.js';
import { externalLabels } from './backfill/external-labels.js';
import { OperatingError } from './errors.js';
import {
  PAST_ANSWER_BYTES_MAX,
  PAST_ANSWER_MS_MAX,
  PAST_LABELS_MS,
  PAST_READS_MAX,
} from './limits.js';
import type { Metrics } from './metrics.js';
import type { ApiReply, PrometheusApi } from './prometheus-api.js';
import { type MatrixSeries, matrixOf, numberOf } from './prometheus-matrix.js';

export interface PastPlace {
  tenant: string;
  api: PrometheusApi;
  /** Queries that are pulled from it; `name` is the metric's where the result has none. */
  queries: readonly { name: string; query: string }[];
}

const OUTCOMES = ['answered', 'empty', 'unreachable', 'refused', 'busy'] as const;
type Outcome = (typeof OUTCOMES)[number];

/** A rate needs two samples; four intervals bear one that is missing. */
const RATE_INTERVALS = 4;
/** Where the interval is not known yet. */
const RATE_MS = 5 * 60_000;

type Labels = Readonly<Record<string, string>>;

export class PastValues implements PastSource {
  readonly #counts = Object.fromEntries(OUTCOMES.map((outcome) => [outcome, 0])) as Record<
    Outcome,
    number
  >;
  readonly #clock: () => number;
  /** Removed on arrival, so a series here may be several there. */
  readonly #stripped: ReadonlySet<string>;
  /** What each Prometheus adds to what it sends. */
  readonly #added = new Map<PrometheusApi, { untilMs: number; labels: Labels }>();
  #places: readonly PastPlace[] = [];
  #reading = 0;

  constructor(parts: { clock: () => number; stripped: Iterable<string>; metrics: Metrics }) {
    this.#clock = parts.clock;
    this.#stripped = new Set(parts.stripped);
    const name = 'treeline_past_reads_total';
    const help = 'Older values read through from a Prometheus, by what became of it';
    parts.metrics.observe('counter', { name, help, labels: ['outcome'] }, () =>
      OUTCOMES.map((outcome) => ({ labels: { outcome }, value: this.#counts[outcome] })),
    );
  }

  /** Asks these from now on. Returns the way back. */
  use(places: readonly PastPlace[]): () => void {
    const before = this.#places;
    this.#places = places;
    this.#added.clear();
    return () => {
      this.#places = before;
    };
  }

  async read(wanted: PastWanted): Promise<Past | undefined> {
    const places = this.#places.filter(({ tenant }) => tenant === wanted.tenant);
    if (places.length === 0) return undefined;
    if (this.#reading >= PAST_READS_MAX) {
      this.#counts.busy++;
      const text = `Older values are being read for ${PAST_READS_MAX} others; try again`;
      throw new OperatingError('overloaded', text);
    }
    this.#reading++;
    try {
      const found = await this.#readFrom(places, wanted);
      this.#counts[found.points.length > 0 ? 'answered' : 'empty']++;
      return found;
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.#counts[error.code === 'prometheus_refused' ? 'refused' : 'unreachable']++;
      throw error;
    } finally {
      this.#reading--;
    }
  }

  /** Rejects with the first failure when nobody has values, and not everybody was heard. */
  async #readFrom(places: readonly PastPlace[], wanted: PastWanted): Promise<Past> {
    const untilMs = performance.now() + PAST_ANSWER_MS_MAX;
    let failure: unknown;
    let empty: Past | undefined;
    for (const place of places) {
      try {
        for await (const found of this.#answers(place, wanted, untilMs)) {
          if (found.points.length > 0) return found;
          empty ??= found;
        }
      } catch (error) {
        if (!(error instanceof OperatingError)) throw error;
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
    return empty as Past;
  }

  /** By all of its labels, without those that are only added on sending, and by the query that may have brought it. */
  async *#answers(place: PastPlace, wanted: PastWanted, untilMs: number): AsyncGenerator<Past> {
    const asked = boundedApi(place.api, untilMs);
    const { labels } = wanted;
    yield this.#answer(asked, wanted, { labels, query: selectorOf(labels) });
    const own = withoutAdded(labels, await this.#addedBy(place.api, asked));
    if (own !== undefined) {
      yield this.#answer(asked, wanted, { labels: own, query: selectorOf(own) });
    }
    for (const { name, query } of place.queries) {
      // Of a query's result the rate would be of what is a rate already.
      if (name !== labels['__name__'] || wanted.isRate) continue;
      yield this.#answer(asked, wanted, { labels, query, name });
    }
  }

  async #answer(
    api: PrometheusApi,
    wanted: PastWanted,
    question: { labels: Labels; query: string; name?: string },
  ): Promise<Past> {
    const { startMs, endMs, stepMs, isRate, intervalMs } = wanted;
    const query = isRate
      ? `rate(${question.query}[${rangeSeconds(intervalMs, stepMs)}s])`
      : question.query;
    const reply = await api.ask('query_range', {
      query,
      start: String(startMs / 1000),
      end: String(endMs / 1000),
      step: String(stepMs / 1000),
      timeout: `${PAST_ANSWER_MS_MAX}ms`,
    });
    if (reply.kind !== 'answer') throw failureOf(api, reply);
    const matrix = matrixOf(reply.value);
    if (matrix === undefined) {
      throw refusedBy(api, 'its answer is no matrix; is the path right?');
    }
    const same = matrix.filter((one) => this.#isSame(one, question));
    const [longest] = same.toSorted((a, b) => b.points.length - a.points.length);
    const points = (longest?.points ?? []).map(([time, value]) => ({
      atMs: Math.round(1000 * time),
      value: numberOf(value),
    }));
    return { prometheus: api.address, query, points, warnings: reply.warnings };
  }

  /** `name` stands in where a result has none; a rate has no name at all. */
  #isSame(one: MatrixSeries, { labels, name }: { labels: Labels; name?: string }): boolean {
    const theirs = new Map(one.labels.map((label) => [label.name, label.value]));
    for (const stripped of this.#stripped) {
      if (!Object.hasOwn(labels, stripped)) theirs.delete(stripped);
    }
    const metric = labels['__name__'];
    if (!theirs.has('__name__') && metric !== undefined && (name ?? metric) === metric) {
      theirs.set('__name__', metric);
    }
    const ours = Object.entries(labels);
    return ours.length === theirs.size && ours.every(([key, value]) => theirs.get(key) === value);
  }

  async #addedBy(api: PrometheusApi, asked: PrometheusApi): Promise<Labels> {
    const nowMs = this.#clock();
    const known = this.#added.get(api);
    if (known !== undefined && nowMs < known.untilMs) return known.labels;
    // What speaks the API without a configuration of this kind adds nothing that we could know.
    const found = (await externalLabels(asked)) ?? [];
    const labels = Object.fromEntries(found.map(({ name, value }) => [name, value]));
    this.#added.set(api, { untilMs: nowMs + PAST_LABELS_MS, labels });
    return labels;
  }
}

/** All questions of one reading share its time. */
function boundedApi(api: PrometheusApi, untilMs: number): PrometheusApi {
  return {
    address: api.address,
    async ask(path, parameters) {
      const answerMsMax = Math.max(1, Math.round(untilMs - performance.now()));
      const bounds = { answerMsMax, answerBytesMax: PAST_ANSWER_BYTES_MAX };
      try {
        return await api.ask(path, parameters, bounds);
      } catch (error) {
        // A token file that cannot be read just now; it may be in the middle of being replaced.
        if (!(error instanceof OperatingError)) throw error;
        return { kind: 'away', status: 0, reason: error.message, isLate: false, retryAfterMs: 0 };
      }
    },
  };
}

/** Undefined when none of them is among these. */
function withoutAdded(labels: Labels, added: Labels): Labels | undefined {
  const own = Object.entries(labels).filter(([name, value]) => added[name] !== value);
  return own.length === Object.keys(labels).length ? undefined : Object.fromEntries(own);
}

/** JSON writes strings as PromQL reads them. Names that only Prometheus 3 knows are quoted, as it wants them. */
function selectorOf(labels: Labels): string {
  const tests = Object.entries(labels)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => {
      const written = /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) ? name : JSON.stringify(name);
      return `${written}=${JSON.stringify(value)}`;
    });
  return `{${tests.join(',')}}`;
}

function rangeSeconds(intervalMs: number, stepMs: number): number {
  const least = intervalMs > 0 ? RATE_INTERVALS * intervalMs : RATE_MS;
  return Math.ceil(Math.max(least, stepMs) / 1000);
}

function failureOf(
  api: PrometheusApi,
  reply: Exclude<ApiReply, { kind: 'answer' }>,
): OperatingError {
  if (reply.kind !== 'away') return refusedBy(api, reply.reason);
  const text = `Cannot read older values from ${api.address}: ${reply.reason}`;
  return new OperatingError('prometheus_unreachable', text);
}

function refusedBy(api: PrometheusApi, why: string): OperatingError {
  const text = `${api.address} does not give older values: ${why}`;
  return new OperatingError('prometheus_refused', text);
}
