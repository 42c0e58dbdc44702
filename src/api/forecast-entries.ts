// What is known of one series that is forecast: the newest forecast, or why there is none. The same shape lies in memory
// and, where several apis share a store, in it.

import { type Static, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import type { Forecast } from '../inference/forecaster.js';
import { quantileOf } from '../inference/quantile.js';
import type { ForecastContext, RecentWindow } from './forecast-context.js';

export const Made = Type.Object({
  model: Type.String(),
  madeMs: Type.Number(),
  /** Of the newest sample that was looked at. */
  fromMs: Type.Number(),
  stepMs: Type.Number({ exclusiveMinimum: 0 }),
  /** One list per quantile of the entry in the settings, in their order: the values at the first step, the second … */
  values: Type.Array(Type.Array(Type.Number(), { minItems: 1 }), { minItems: 1 }),
});
export type Made = Static<typeof Made>;

export const SeriesEntry = Type.Object({
  fingerprint: Type.String(),
  series: Type.String(),
  labels: Type.Record(Type.String(), Type.String()),
  scoredAs: Type.String(),
  /** Why there is no forecast, or no newer one. */
  reason: Type.Optional(Type.String()),
  made: Type.Optional(Made),
});
export type SeriesEntry = Static<typeof SeriesEntry>;

/** Of an answer about one series, from here or from a scorer of this version. */
const Found = Type.Object({
  fingerprint: Type.String(),
  series: Type.String(),
  labels: Type.Record(Type.String(), Type.String()),
  state: Type.String(),
  scoredAs: Type.Optional(Type.String()),
  window: Type.Optional(Type.Array(Type.Unknown())),
});
export type Found = Static<typeof Found>;

export function isFound(row: object | undefined): row is Found {
  return Value.Check(Found, row);
}

export function windowIn({ window = [] }: Found): RecentWindow | undefined {
  const points = window as { timestamp?: unknown; value?: unknown }[];
  if (points.length < 2) return undefined;
  const values = Float64Array.from(points, ({ value }) =>
    typeof value === 'number' ? value : Number.NaN,
  );
  const firstMs = Date.parse(String(points[0]?.timestamp));
  const endMs = Date.parse(String(points.at(-1)?.timestamp));
  const stepMs = (endMs - firstMs) / (values.length - 1);
  return stepMs > 0 ? { endMs, stepMs, values } : undefined;
}

/** Undefined when the forecast overflows: it would be shown as infinite. */
export function madeOf(
  forecast: Forecast,
  { context, levels, ...rest }: MadeFrom,
): Made | undefined {
  const values = levels.map((level) =>
    Array.from({ length: context.steps }, (_, step) => quantileOf(forecast, step, level)),
  );
  if (!values.flat().every(Number.isFinite)) return undefined;
  return { ...rest, stepMs: context.stepMs, values };
}

interface MadeFrom extends Pick<Made, 'model' | 'madeMs' | 'fromMs'> {
  context: ForecastContext;
  levels: readonly number[];
}

/** Of the last step, which is what the gauges show. */
export function endOf({ fromMs, stepMs, values }: Made): number {
  return fromMs + stepMs * (values[0] as readonly number[]).length;
}

/** Undefined when its last step has passed: then it is no forecast any more. */
export function currentOf({ made }: SeriesEntry, nowMs: number): Made | undefined {
  return made !== undefined && endOf(made) > nowMs ? made : undefined;
}
