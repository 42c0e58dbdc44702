// The routes about forecasts: which there are, and of each its series with every step and quantile.

import { type Static, Type } from '@sinclair/typebox';
import { type HttpServer, tenantOf } from '../http-server.js';
import { MATCHER_LENGTH_MAX, PAGE_ROWS_MAX } from '../limits.js';
import { FORECAST_MATCH_MAX } from '../limits-forecasts.js';
import { anyOf } from '../matchers.js';
import { currentOf, type SeriesEntry } from './forecast-entries.js';
import type { Book, Forecasts } from './forecasts.js';
import { BadRequest, NotFound } from './query.js';
import { FAILURES, Failure, NOT_FOUND } from './rest-schemas.js';

const Text = (description: string) => Type.String({ description });
const OrNull = (type: 'string' | 'number', description: string) =>
  Type.Unsafe<string | number | null>({ type: [type, 'null'], description });

const ForecastRow = Type.Object({
  name: Text('As the settings have it'),
  match: Type.Array(Type.String(), { description: 'Series selectors, any of them' }),
  horizon: Text('How far ahead'),
  interval: Text('How often a new one is made'),
  quantiles: Type.Array(Type.Number()),
  model: Text('Id of the model, or name of the rule'),
  series: Type.Integer({ description: 'Series with a forecast now' }),
  waiting: Type.Integer({ description: 'Series that match and have none; each says why' }),
  limited: Type.Boolean({ description: 'More series match than seriesMax' }),
  made: OrNull('string', 'When the newest of them was made'),
  problem: OrNull('string', 'What stood in the way of the last pass'),
});
type ForecastRow = Static<typeof ForecastRow>;

const ForecastSeries = Type.Object({
  fingerprint: Text('16 hexadecimal digits'),
  series: Text('Name and labels as a selector'),
  labels: Type.Record(Type.String(), Type.String()),
  scoredAs: Text('value, or rate: of a counter its rate per second is forecast'),
  state: Type.Unsafe<'forecast' | 'waiting'>({ type: 'string', enum: ['forecast', 'waiting'] }),
  reason: OrNull('string', 'Why there is no forecast, or no newer one'),
  model: OrNull('string', 'Id of the model, or name of the rule'),
  made: OrNull('string', 'When it was made'),
  from: OrNull('string', 'The newest sample that was looked at'),
  stepSeconds: OrNull('number', 'Between two steps'),
  timestamps: Type.Array(Type.String(), { description: 'Of each step; the last is the horizon' }),
  quantiles: Type.Record(Type.String(), Type.Array(Type.Number()), {
    description: 'Quantile → the value at each step',
  }),
});
type ForecastSeries = Static<typeof ForecastSeries>;

const List = Type.Object({ forecasts: Type.Array(ForecastRow) });
const Page = Type.Object({
  forecast: ForecastRow,
  series: Type.Array(ForecastSeries),
  cursor: Type.Optional(Text('Where the next page begins; absent on the last one')),
});
const PageQuery = Type.Object({
  'match[]': Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: MATCHER_LENGTH_MAX }), {
      maxItems: FORECAST_MATCH_MAX,
      description: 'Series selectors as PromQL writes them; any of them',
    }),
  ),
  limit: Type.Integer({ minimum: 1, maximum: PAGE_ROWS_MAX, default: 100 }),
  cursor: Type.Optional(Type.String({ pattern: '^[0-9a-f]{16}$', description: 'As before' })),
});
const Name = Type.Object({ name: Type.String({ minLength: 1, maxLength: 100 }) });
const STORE_AWAY = {
  503: { ...Failure, description: 'Another api makes them, and the store that it shares is away' },
};

export function forecastRoutes(
  server: HttpServer,
  { forecasts, clock }: { forecasts: Forecasts; clock: () => number },
): void {
  const tags = ['forecasts'];
  const view = () => ({ nowMs: clock(), model: forecasts.model });
  server.get(
    '/forecasts',
    {
      schema: {
        tags,
        summary: 'What is forecast, by the names of the settings',
        response: { 200: List, ...FAILURES, ...STORE_AWAY },
      },
    },
    async (request) => {
      const tenant = tenantOf(request);
      const ours = forecasts.books.filter(({ spec }) => spec.tenant === tenant);
      const rows = ours.map(async (book) =>
        forecastRow(book, { entries: [...(await forecasts.entriesOf(book))], ...view() }),
      );
      return { forecasts: await Promise.all(rows) };
    },
  );
  server.get<{ Params: Static<typeof Name>; Querystring: Static<typeof PageQuery> }>(
    '/forecasts/:name',
    {
      schema: {
        tags,
        summary: 'One forecast: its series with every step and quantile',
        params: Name,
        querystring: PageQuery,
        response: { 200: Page, ...FAILURES, ...NOT_FOUND, ...STORE_AWAY },
      },
    },
    async (request) => {
      const { name } = request.params;
      const tenant = tenantOf(request);
      const book = forecasts.books.find(({ spec }) => spec.name === name && spec.tenant === tenant);
      if (book === undefined) throw new NotFound('No forecast of this name is set');
      const { limit, cursor, 'match[]': match = [] } = request.query;
      const matches = anyOf(match);
      const entries = [...(await forecasts.entriesOf(book))];
      const from = cursor === undefined ? 0 : placeAfter(entries, cursor);
      const wanted = entries
        .slice(from)
        .filter(({ labels }) => matches(Object.entries(labels).map(labelOf)));
      const page = wanted.slice(0, limit);
      const more = wanted.length > limit ? page.at(-1)?.fingerprint : undefined;
      return {
        forecast: forecastRow(book, { entries, ...view() }),
        series: page.map((entry) => seriesRow(entry, book, clock())),
        ...(more !== undefined && { cursor: more }),
      };
    },
  );
}

function placeAfter(entries: readonly SeriesEntry[], cursor: string): number {
  const at = entries.findIndex(({ fingerprint }) => fingerprint === cursor);
  if (at < 0) throw new BadRequest('The series of the cursor is forecast no more; begin again');
  return at + 1;
}

function labelOf([name, value]: readonly [string, string]) {
  return { name, value };
}

function forecastRow(
  { spec, isCut, problem }: Book,
  { entries, nowMs, model }: { entries: readonly SeriesEntry[]; nowMs: number; model: string },
): ForecastRow {
  const { name, match, horizon, interval, quantiles } = spec;
  const current = entries.flatMap((entry) => currentOf(entry, nowMs) ?? []);
  const newestMs = current.reduce((newest, { madeMs }) => Math.max(newest, madeMs), 0);
  return {
    ...{ name, match: [...match], horizon, interval, quantiles: [...quantiles], model },
    series: current.length,
    waiting: entries.length - current.length,
    limited: isCut,
    made: newestMs === 0 ? null : iso(newestMs),
    problem: problem ?? null,
  };
}

function seriesRow(entry: SeriesEntry, { spec }: Book, nowMs: number): ForecastSeries {
  const { fingerprint, series, labels, scoredAs, reason } = entry;
  const made = currentOf(entry, nowMs);
  const shared = { fingerprint, series, labels, scoredAs };
  if (made === undefined) {
    return {
      ...shared,
      state: 'waiting',
      reason: reason ?? 'The time that it was about has passed, and no newer one could be made',
      ...{ model: null, made: null, from: null, stepSeconds: null, timestamps: [], quantiles: {} },
    };
  }
  const { model, madeMs, fromMs, stepMs, values } = made;
  const steps = values[0]?.length ?? 0;
  return {
    ...{ ...shared, state: 'forecast', reason: reason ?? null, model },
    made: iso(madeMs),
    from: iso(fromMs),
    stepSeconds: stepMs / 1000,
    timestamps: Array.from({ length: steps }, (_, step) => iso(fromMs + (step + 1) * stepMs)),
    quantiles: Object.fromEntries(
      spec.quantiles.map((level, index) => [String(level), values[index] as number[]]),
    ),
  };
}

function iso(ms: number): string {
  return new Date(Math.round(ms)).toISOString();
}
