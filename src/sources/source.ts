// One PromQL query, asked again and again on a steady grid: its result enters as a remote-write request, through the same
// door as what is pushed. Ticks are multiples of `every` since 1970, so two runs ask for the same times. A Prometheus that
// is away is asked again for ever, with pauses; it is always the newest tick that is asked for, and the ones that went by
// are counted as missed, not made up for: what the flag says about an hour ago helps nobody.
//
//    tick        tick        tick        tick          every
//    │ask ok     │ask away   │           │ask ok
//                   └ pause ┴ ask away ┘               missed: 2

import { setTimeout as pause } from 'node:timers/promises';
import { OperatingError } from '../errors.js';
import type { Logger } from '../http-server.js';
import {
  PROMETHEUS_ANSWER_MS_MAX,
  PULL_BODY_SERIES_MAX,
  PULL_RETRY_MS_MAX,
  PULL_RETRY_MS_MIN,
  PULL_SERIES_MAX,
  RANGE_ANSWER_BYTES_MAX,
} from '../limits.js';
import type { ApiReply, PrometheusApi } from '../prometheus-api.js';
import { type MatrixSeries, numberOf, pointsOf } from '../prometheus-matrix.js';
import type { Label } from '../series.js';
import { type SeriesSamples, writeRequestBody } from '../write-request.js';

/** Where pulled samples enter: the receiver, as a remote-write 1.0 sender would reach it. */
export interface Taker {
  take(
    body: Uint8Array,
    origin: { tenant: string; version: 1 },
  ): Promise<{ status: number; message?: string }>;
}

export const PULL_OUTCOMES = [
  'ok',
  'empty',
  'away',
  'refused',
  'rejected',
  'unlogged',
  'missed',
] as const;
export type PullOutcome = (typeof PULL_OUTCOMES)[number];

export interface SourceQuery {
  /** Also the metric name of series that the query leaves without one. */
  name: string;
  query: string;
  everyMs: number;
  /** How long an answer may take; as long as until the next tick, unless set. */
  answerMs?: number;
  tenant: string;
  api: PrometheusApi;
}

export interface SourceParts {
  taker: Taker;
  logger: Logger;
  clock: () => number;
  /** Rejects when the signal is aborted; injected by tests. */
  sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
  count: (outcome: PullOutcome, ticks: number) => void;
}

export interface Source {
  readonly name: string;
  /** What keeps it from bringing samples; undefined when the last tick came in. */
  note(): string | undefined;
  /** Timestamp of the newest vector that is durable; NaN before the first. */
  lastMs(): number;
  stop(): Promise<void>;
}

interface Pulled {
  outcome: PullOutcome;
  /** False: the same tick is asked for again after a pause. */
  isFinal: boolean;
  reason?: string;
  retryAfterMs?: number;
}

/** Begins with the next tick. */
export function startSource(source: SourceQuery, parts: SourceParts): Source {
  const { name, everyMs, api } = source;
  const { logger, clock, count } = parts;
  const sleep = parts.sleep ?? ((ms, signal) => pause(ms, undefined, { signal }));
  const ending = new AbortController();
  let reason: string | undefined = 'not asked yet';
  let sinceMs = clock();
  let lastMs = Number.NaN;

  function settle(tickMs: number, pulled: Pulled): void {
    count(pulled.outcome, 1);
    if (pulled.outcome === 'ok') lastMs = tickMs;
    if (pulled.reason !== reason) {
      sinceMs = clock();
      const fields = { source: name, prometheus: api.address, reason: pulled.reason };
      if (pulled.reason !== undefined)
        logger.warn(fields, 'A source brings no samples, or not all');
      else logger.info({ source: name, prometheus: api.address }, 'A source brings samples');
    }
    reason = pulled.reason;
  }

  async function run(): Promise<void> {
    let next = Math.ceil(clock() / everyMs) * everyMs;
    let wait = PULL_RETRY_MS_MIN;
    for (;;) {
      const now = clock();
      if (now < next) {
        await sleep(next - now, ending.signal);
        continue;
      }
      const tick = Math.floor(now / everyMs) * everyMs;
      if (tick > next) count('missed', (tick - next) / everyMs);
      next = tick;
      const pulled = await pull(source, { taker: parts.taker, tick, signal: ending.signal });
      settle(tick, pulled);
      if (pulled.isFinal) {
        next += everyMs;
        wait = PULL_RETRY_MS_MIN;
      } else {
        await sleep(Math.max(pulled.retryAfterMs ?? 0, wait), ending.signal);
        wait = Math.min(2 * wait, PULL_RETRY_MS_MAX);
      }
    }
  }

  const running = run().catch((error: unknown) => {
    // Stopped: the sleep or the request in work was ended by our own signal.
    if (!ending.signal.aborted) throw error;
  });
  return {
    name,
    note: () => (reason === undefined ? undefined : `${name}: ${reason}, since ${iso(sinceMs)}`),
    lastMs: () => lastMs,
    async stop() {
      ending.abort();
      await running;
    },
  };
}

async function pull(
  source: SourceQuery,
  { taker, tick, signal }: { taker: Taker; tick: number; signal: AbortSignal },
): Promise<Pulled> {
  const { query, everyMs, api, name, tenant } = source;
  const answerMs = source.answerMs ?? Math.max(everyMs, 1000);
  const answerMsMax = Math.min(answerMs, PROMETHEUS_ANSWER_MS_MAX);
  const reply = await ask(api, {
    parameters: { query, time: (tick / 1000).toFixed(3), timeout: `${answerMsMax}ms` },
    options: { answerMsMax, answerBytesMax: RANGE_ANSWER_BYTES_MAX, signal },
  });
  if (reply.kind !== 'answer') return failure(api, reply);
  const found = pointsOf(reply.value);
  if (found === undefined) return refused(api, 'its answer is no vector; is the path right?');
  if (found.length > PULL_SERIES_MAX) {
    const many = `the query brings ${found.length} series, at most ${PULL_SERIES_MAX} are pulled`;
    return refused(api, `${many}; select fewer, or aggregate`);
  }
  const series = found.flatMap((one) => samplesOf(one, name));
  if (series.length === 0) {
    return { outcome: 'empty', isFinal: true, reason: `${api.address}: the query matches nothing` };
  }
  let rejected: string | undefined;
  for (let from = 0; from < series.length; from += PULL_BODY_SERIES_MAX) {
    const body = await writeRequestBody(series.slice(from, from + PULL_BODY_SERIES_MAX));
    const { status, message = `answered ${status}` } = await taker.take(body, {
      tenant,
      version: 1,
    });
    if (status >= 500) return { outcome: 'unlogged', isFinal: false, reason: message };
    if (status >= 400) rejected ??= message;
  }
  if (rejected !== undefined) return { outcome: 'rejected', isFinal: true, reason: rejected };
  const [warning] = reply.warnings;
  return warning === undefined
    ? { outcome: 'ok', isFinal: true }
    : { outcome: 'ok', isFinal: true, reason: `${api.address} warns: ${warning}` };
}

/** A token file that cannot be read just now is a reason like others: it may be in the middle of being replaced. */
async function ask(
  api: PrometheusApi,
  {
    parameters,
    options,
  }: {
    parameters: Record<string, string>;
    options: Parameters<PrometheusApi['ask']>[2];
  },
): Promise<ApiReply> {
  try {
    return await api.ask('query', parameters, options);
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return { kind: 'away', status: 0, reason: error.message, isLate: false, retryAfterMs: 0 };
  }
}

function failure(api: PrometheusApi, reply: Exclude<ApiReply, { kind: 'answer' }>): Pulled {
  const reason = `Cannot ask ${api.address}: ${reply.reason}`;
  if (reply.kind !== 'away') return { outcome: 'refused', isFinal: true, reason };
  return { outcome: 'away', isFinal: false, reason, retryAfterMs: reply.retryAfterMs };
}

function refused(api: PrometheusApi, why: string): Pulled {
  return { outcome: 'refused', isFinal: true, reason: `Cannot use ${api.address}: ${why}` };
}

/** None where it is a native histogram, which has no value. */
function samplesOf({ labels, points }: MatrixSeries, name: string): SeriesSamples[] {
  const [point] = points;
  if (point === undefined) return [];
  const isNamed = labels.some((label) => label.name === '__name__');
  const named: Label[] = isNamed ? labels : [{ name: '__name__', value: name }, ...labels];
  const timestampMs = Math.round(1000 * point[0]);
  return [{ labels: named, samples: [{ timestampMs, value: numberOf(point[1]) }] }];
}

function iso(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
