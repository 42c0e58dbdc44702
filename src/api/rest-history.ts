// The route of a series' older values. Treeline keeps a window of them and no more: what was before is read through from a
// Prometheus that the settings name, for one series at a time, in steps that keep the answer small, and nothing of it is
// kept here. So a page needs to reach nobody but us. That none is named is an answer, with the reason; that it is away is
// an error that passes.

import { Type } from '@sinclair/typebox';
import { type HttpServer, tenantOf } from '../http-server.js';
import type { KnownSeries } from '../known-series.js';
import { PAST_SPAN_MS_MAX } from '../limits.js';
import { HistoryAnswer, HistoryQuery } from './history-answer.js';
import { BadRequest, NotFound, timeOf } from './query.js';
import { FAILURES, Failure, NOT_FOUND, OWNER_UNREACHABLE } from './rest-schemas.js';
import type { SeriesSource } from './rest-series.js';

export interface PastWanted {
  tenant: string;
  labels: Readonly<Record<string, string>>;
  /** Of a counter its rate per second is wanted, as it is scored. */
  isRate: boolean;
  /** As far as it is known, else 0. */
  intervalMs: number;
  startMs: number;
  endMs: number;
  stepMs: number;
}

export interface Past {
  /** Address of the Prometheus, without a secret. */
  prometheus: string;
  /** As it was asked. */
  query: string;
  points: { atMs: number; value: number }[];
  /** What the Prometheus said beside. */
  warnings: readonly string[];
}

/** Values from before what a scorer keeps. */
export interface PastSource {
  /**
   * Undefined: no Prometheus is named for this tenant. Rejects with `prometheus_unreachable`, `prometheus_refused` or
   * `overloaded`, within PAST_ANSWER_MS_MAX.
   */
  read(wanted: PastWanted): Promise<Past | undefined>;
}

const SPAN_MS = 6 * 60 * 60 * 1000;
/** Steps that people count in, in seconds; above the last whole hours. */
const STEPS = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600];
const HOUR_MS = 3_600_000;

const Params = Type.Object({ fingerprint: Type.String({ minLength: 1, maxLength: 100 }) });

export function historyRoute(
  server: HttpServer,
  parts: { series: SeriesSource; past: PastSource; clock: () => number },
): void {
  const { series, past, clock } = parts;
  server.get<{ Params: { fingerprint: string }; Querystring: HistoryQuery }>(
    '/series/:fingerprint/history',
    {
      schema: {
        tags: ['series'],
        summary: 'Older values of one series, read through from the Prometheus of the settings',
        params: Params,
        querystring: HistoryQuery,
        response: {
          200: HistoryAnswer,
          ...FAILURES,
          ...NOT_FOUND,
          502: { ...Failure, description: 'The Prometheus is away, or refuses' },
          ...OWNER_UNREACHABLE,
        },
      },
    },
    async (request): Promise<HistoryAnswer> => {
      const { fingerprint } = request.params;
      const tenant = tenantOf(request);
      const span = spanOf(request.query, clock());
      const isOne = /^[0-9a-f]{16}$/.test(fingerprint);
      const found = isOne ? await series.find({ fingerprint, tenant }) : undefined;
      if (found === undefined) throw new NotFound('No such series is known here');
      const { labels, scoredAs = 'value', intervalSeconds = 0 } = found as KnownSeries;
      const intervalMs = 1000 * intervalSeconds;
      const stepMs = stepOf((span.endMs - span.startMs) / request.query.points, intervalMs);
      // Multiples of the step: the same points whoever asks when.
      const startMs = Math.ceil(span.startMs / stepMs) * stepMs;
      const isRate = scoredAs === 'rate';
      const wanted = { tenant, labels, isRate, intervalMs, stepMs, startMs, endMs: span.endMs };
      return answerOf(await past.read(wanted), { scoredAs, stepSeconds: stepMs / 1000 });
    },
  );
}

function spanOf(
  query: { start?: string; end?: string },
  nowMs: number,
): { startMs: number; endMs: number } {
  const endMs = query.end === undefined ? nowMs : timeOf('end', query.end);
  const startMs = query.start === undefined ? endMs - SPAN_MS : timeOf('start', query.start);
  if (startMs >= endMs) throw new BadRequest('start is not before end');
  if (endMs - startMs > PAST_SPAN_MS_MAX) {
    const days = PAST_SPAN_MS_MAX / 864e5;
    throw new BadRequest(`start and end are more than ${days} days apart`);
  }
  return { startMs, endMs };
}

/** The next step of those that people count in. */
function stepOf(leastMs: number, intervalMs: number): number {
  const needed = Math.max(leastMs, intervalMs, 1000);
  const seconds = STEPS.find((step) => 1000 * step >= needed);
  return seconds === undefined ? Math.ceil(needed / HOUR_MS) * HOUR_MS : 1000 * seconds;
}

function answerOf(
  past: Past | undefined,
  of: Pick<HistoryAnswer, 'scoredAs' | 'stepSeconds'>,
): HistoryAnswer {
  if (past === undefined) {
    const reason =
      'No Prometheus is named to read older values from; backfill.prometheus or sources name one';
    return { ...of, prometheus: null, query: '', points: [], reason, warnings: [] };
  }
  const { prometheus, query, warnings } = past;
  const points = past.points.map(({ atMs, value }) => ({
    timestamp: new Date(atMs).toISOString(),
    value: Number.isFinite(value) ? value : null,
  }));
  const reason = points.length > 0 ? '' : `${prometheus} has no values of this series then`;
  return { ...of, prometheus, query, points, reason, warnings: [...warnings] };
}
