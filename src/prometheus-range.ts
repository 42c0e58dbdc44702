// History from a Prometheus: one `query_range` after the other, each as long as its answer stays small, handed on chunk by
// chunk so that weeks of many series never lie in memory together. A series is its labels, whichever chunk it comes in.
// What may succeed later is tried again with pauses; what will not ends the reading with one sentence that names the fix.
// Values are handed on as they came: a NaN is a NaN, a gap is a gap.
//
//    start ──chunk──┬──chunk──┬── … ──┬──▶ end      on the grid of `step`: multiples of it since 1970
//                   └ 11,000 steps at most; fewer the more series there are; a quarter after an answer that was too large

import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { OperatingError } from './errors.js';
import {
  PROMETHEUS_WARNINGS_MAX,
  RANGE_ANSWER_BYTES_MAX,
  RANGE_ANSWER_MS_MAX,
  RANGE_ANSWER_POINTS,
  RANGE_FIRST_TRIES_MAX,
  RANGE_POINTS_MAX,
  RANGE_REQUEST_MS_MIN,
  RANGE_RETRY_MS_MAX,
  RANGE_RETRY_MS_MIN,
  RANGE_SERIES_MAX,
  RANGE_STEPS_MAX,
  RANGE_TRIES_MAX,
} from './limits.js';
import type { ApiReply, PrometheusApi } from './prometheus-api.js';
import { type MatrixSeries, matrixOf, numberOf } from './prometheus-matrix.js';
import type { Label } from './series.js';

export interface RangeWanted {
  query: string;
  startMs: number;
  endMs: number;
  stepMs: number;
}

export interface RangeProgress {
  /** Of the whole range, 0 to 1. */
  share: number;
  /** The last step of the chunk. */
  untilMs: number;
  series: number;
  points: number;
}

export interface RangeTaker {
  /** A series met for the first time. Series are numbered from 0 in this order. */
  series(labels: Label[]): void;
  /** Points of one series, in order and after those before. The columns are used again. */
  points(series: number, times: Float64Array, values: Float64Array, count: number): void;
  /** A chunk has been handed on; the next is asked for when this has resolved. */
  chunk?(done: RangeProgress): void | Promise<void>;
}

export interface RangeSummary {
  series: number;
  points: number;
  requests: number;
  /** Requests that had to be made again. */
  retries: number;
  /** Series that are native histograms, which have no values. */
  histograms: number;
  /** Prometheus' own words, each once. */
  warnings: string[];
}

export interface RangeOptions {
  seriesMax?: number;
  /** How many there will be, where that is known: then they are not counted first. */
  expectedSeries?: number;
  /** Nothing at all is an answer like any other. */
  mayBeEmpty?: boolean;
  /** Injected by tests; else the process' own. */
  clock?: () => number;
  sleep?: (ms: number) => Promise<void>;
}

interface Reading {
  api: PrometheusApi;
  wanted: RangeWanted;
  seriesMax: number;
  /** Series text → its number. */
  known: Map<string, number>;
  histograms: Set<string>;
  warnings: Set<string>;
  summary: { points: number; requests: number; retries: number };
  clock: () => number;
  sleep: (ms: number) => Promise<void>;
  triesMax: number;
  /** When the last request began. */
  askedAt: number;
  times: Float64Array;
  values: Float64Array;
}

/** Rejects with `prometheus_refused`, `prometheus_unreachable` or `input_invalid`, and with what the taker throws. */
export async function readRange(
  api: PrometheusApi,
  wanted: RangeWanted,
  taker: RangeTaker,
  options: RangeOptions = {},
): Promise<RangeSummary> {
  const { seriesMax = RANGE_SERIES_MAX, clock = Date.now, sleep = (ms) => pause(ms) } = options;
  const reading: Reading = {
    api,
    wanted: onGrid(wanted),
    seriesMax,
    known: new Map(),
    histograms: new Set(),
    warnings: new Set(),
    summary: { points: 0, requests: 0, retries: 0 },
    clock,
    sleep,
    triesMax: RANGE_FIRST_TRIES_MAX,
    askedAt: Number.NEGATIVE_INFINITY,
    times: new Float64Array(RANGE_STEPS_MAX),
    values: new Float64Array(RANGE_STEPS_MAX),
  };
  await readChunks(reading, taker, options);
  const { known, histograms, warnings, summary } = reading;
  return { ...summary, series: known.size, histograms: histograms.size, warnings: [...warnings] };
}

/** Multiples of the step, as recording rules and dashboards have them: the same chunk is the same whoever asks when. */
function onGrid({ query, startMs, endMs, stepMs }: RangeWanted): RangeWanted {
  assert(Number.isInteger(stepMs) && stepMs > 0, `stepMs is ${stepMs}`);
  const first = Math.ceil(startMs / stepMs) * stepMs;
  const last = Math.floor(endMs / stepMs) * stepMs;
  if (first > last) {
    const span = `${iso(startMs)} to ${iso(endMs)}`;
    throw new OperatingError('input_invalid', `From ${span} there is no step of ${stepMs} ms`);
  }
  const steps = (last - first) / stepMs + 1;
  if (steps > RANGE_POINTS_MAX) {
    const text = `${steps} steps from ${iso(first)} to ${iso(last)}, at most ${RANGE_POINTS_MAX}; choose a longer --step or a later --start`;
    throw new OperatingError('input_invalid', text);
  }
  return { query, startMs: first, endMs: last, stepMs };
}

async function readChunks(
  reading: Reading,
  taker: RangeTaker,
  { expectedSeries, mayBeEmpty = false }: RangeOptions,
): Promise<void> {
  const { wanted, known, summary } = reading;
  const { startMs, endMs, stepMs } = wanted;
  const expected = expectedSeries ?? (await countSeries(reading));
  let stepsMax = RANGE_STEPS_MAX;
  let steps = stepsFor(expected);
  for (let from = startMs; from <= endMs; ) {
    const count = Math.min(steps, stepsMax, (endMs - from) / stepMs + 1);
    const reply = await askChunk(reading, from, count);
    if (reply.kind !== 'answer') {
      if (count === 1) throw refusal(reading, reply);
      stepsMax = Math.max(1, Math.floor(count / 4));
      continue;
    }
    const matrix = matrixOf(reply.value);
    if (matrix === undefined) {
      const reason = 'its answer is no matrix as query_range gives it; is the path right?';
      throw refusal(reading, { kind: 'refused', status: 200, reason });
    }
    for (const warning of reply.warnings) {
      if (reading.warnings.size < PROMETHEUS_WARNINGS_MAX) reading.warnings.add(warning);
    }
    for (const series of matrix) takeSeries(reading, taker, series);
    from += count * stepMs;
    const share = (from - startMs) / (endMs - startMs + stepMs);
    const untilMs = from - stepMs;
    await taker.chunk?.({ share, untilMs, series: known.size, points: summary.points });
    steps = stepsFor(matrix.length);
  }
  if (known.size === 0 && !mayBeEmpty) throw emptiness(reading);
}

/** So many that the answer stays small. */
function stepsFor(series: number): number {
  const fitting = Math.floor(RANGE_ANSWER_POINTS / Math.max(1, series));
  return Math.min(RANGE_STEPS_MAX, Math.max(1, fitting));
}

/** How many series to expect: counted where the range begins, in its middle and at its end. Refuses too many. */
async function countSeries(reading: Reading): Promise<number> {
  const { query, startMs, endMs } = reading.wanted;
  let most = 0;
  for (const ms of new Set([endMs, startMs, Math.round((startMs + endMs) / 2)])) {
    // In lines of its own, as the query may end in a comment.
    const parameters = { query: `count(\n${query}\n)`, time: seconds(ms) };
    const reply = await askPatiently(reading, 'query', parameters);
    // What cannot be counted (a scalar, a query that is wrong) the range itself will tell.
    if (
      reply.kind === 'refused' &&
      reply.status >= 400 &&
      reply.status !== 401 &&
      reply.status !== 403
    )
      return most;
    if (reply.kind !== 'answer') throw refusal(reading, reply);
    const [found] =
      (reply.value as { result?: { value?: [number, string] }[] } | null)?.result ?? [];
    const count = numberOf(found?.value?.[1] ?? '0');
    if (count > reading.seriesMax) throw tooMany(reading, String(count));
    if (count > most) most = count;
  }
  return most;
}

/** `answer`, or what a shorter chunk may mend: too large, too slow, over a limit of the server. Throws the rest. */
async function askChunk(reading: Reading, from: number, count: number): Promise<ApiReply> {
  const { query, stepMs } = reading.wanted;
  const parameters = {
    query,
    start: seconds(from),
    end: seconds(from + (count - 1) * stepMs),
    step: seconds(stepMs),
    timeout: `${RANGE_ANSWER_MS_MAX / 1000}s`,
  };
  const reply = await askPatiently(reading, 'query_range', parameters);
  const isOverLimit =
    reply.kind === 'refused' && /too many|exceed|limit|max[A-Z -]/.test(reply.reason);
  const isLate = reply.kind === 'away' && reply.isLate;
  if (reply.kind === 'answer' || reply.kind === 'too_large' || isLate || isOverLimit) return reply;
  throw refusal(reading, reply);
}

/** Tries again what may succeed later. A query that took too long comes back at once: it must be made shorter first. */
async function askPatiently(
  reading: Reading,
  path: string,
  parameters: Readonly<Record<string, string>>,
): Promise<ApiReply> {
  const { api, summary, clock, sleep } = reading;
  const bounds = { answerBytesMax: RANGE_ANSWER_BYTES_MAX, answerMsMax: RANGE_ANSWER_MS_MAX };
  for (let tries = 1, wait = RANGE_RETRY_MS_MIN; ; tries++, wait *= 2) {
    const early = reading.askedAt + RANGE_REQUEST_MS_MIN - clock();
    if (early > 0) await sleep(early);
    reading.askedAt = clock();
    summary.requests++;
    const reply = await api.ask(path, parameters, bounds);
    if (reply.kind !== 'away') reading.triesMax = RANGE_TRIES_MAX;
    if (reply.kind !== 'away' || tries === reading.triesMax) return reply;
    summary.retries++;
    if (reply.isLate) return reply;
    await sleep(Math.max(reply.retryAfterMs, Math.min(wait, RANGE_RETRY_MS_MAX)));
  }
}

function takeSeries(reading: Reading, taker: RangeTaker, series: MatrixSeries): void {
  const { known, histograms, seriesMax, times, values, summary } = reading;
  const { labels, key, points } = series;
  if (points.length === 0) {
    if (series.isHistogram && histograms.size < seriesMax) histograms.add(key);
    return;
  }
  let index = known.get(key);
  if (index === undefined) {
    index = known.size;
    if (index === seriesMax) throw tooMany(reading, `more than ${seriesMax}`);
    known.set(key, index);
    taker.series(labels);
  }
  // A server may give more points than were asked for; the columns are filled as often as it takes.
  for (let at = 0; at < points.length; at += times.length) {
    const count = Math.min(times.length, points.length - at);
    for (let i = 0; i < count; i++) {
      const [time, value] = points[at + i]!;
      times[i] = Math.round(1000 * time);
      values[i] = numberOf(value);
    }
    summary.points += count;
    taker.points(index, times, values, count);
  }
}

function refusal(
  { api, wanted }: Reading,
  reply: Exclude<ApiReply, { kind: 'answer' }>,
): OperatingError {
  const what = `Cannot read the history of ${clippedQuery(wanted.query)} from ${api.address}`;
  if (reply.kind === 'too_large') {
    const fix = 'even one step of it; select fewer series, or aggregate them';
    return new OperatingError('prometheus_refused', `${what}: ${reply.reason}, ${fix}`);
  }
  if (reply.kind === 'refused') {
    return new OperatingError('prometheus_refused', `${what}: ${reply.reason}`);
  }
  const fix = reply.isLate
    ? 'select fewer series, or a query that is cheaper'
    : 'is Prometheus there, and may this machine reach it?';
  return new OperatingError('prometheus_unreachable', `${what}: ${reply.reason}; ${fix}`);
}

function tooMany({ wanted, seriesMax }: Reading, count: string): OperatingError {
  const text =
    `${clippedQuery(wanted.query)} brings ${count} series, at most ${seriesMax} are read at once; ` +
    'select fewer by labels, or aggregate: sum by (namespace) (…)';
  return new OperatingError('input_invalid', text);
}

function emptiness({ wanted, histograms }: Reading): OperatingError {
  const span = `from ${iso(wanted.startMs)} to ${iso(wanted.endMs)}`;
  const query = clippedQuery(wanted.query);
  const text =
    histograms.size > 0
      ? `${query} brings ${histograms.size} native histograms and no values; ask for histogram_quantile(0.99, …)`
      : `${query} matches nothing ${span}; look at its names and labels, and at how long Prometheus keeps its data`;
  return new OperatingError('input_invalid', text);
}

function clippedQuery(query: string): string {
  const line = query.replace(/\s+/g, ' ').trim();
  return line.length > 120 ? `${line.slice(0, 120)}…` : line;
}

function iso(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z');
}

/** Seconds with milliseconds, without an exponent. */
function seconds(ms: number): string {
  return (ms / 1000).toFixed(3);
}
