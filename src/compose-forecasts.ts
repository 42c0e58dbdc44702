// The part of the composition root that knows `forecasts`: settings to what is forecast, whose series they are, and where a
// forecast is asked for: in the batches of the deep check where this process runs one, else at a desk of its own with the same
// settings. Nothing of it is loaded where no forecast is set.

import { strict as assert } from 'node:assert';
import type { ForecastSpec, Forecasts } from './api/forecasts.js';
import type { ApiSide } from './compose-api.js';
import { durationMs, type Settings } from './config.js';
import type { ForecastDesk } from './inference/forecast-desk.js';
import { API_LEASE } from './lease.js';
import { anyOf } from './matchers.js';
import type { Metrics } from './metrics.js';
import { labelText } from './scorer/gauge-text.js';
import type { GaugeSource } from './scrape.js';
import type { Site } from './site.js';
import { ONLY_TENANT } from './tenant.js';

/** Returns their gauges; undefined in a process that makes none. */
export async function addForecasts(
  site: Site,
  { api, desk }: { api: ApiSide | undefined; desk: ForecastDesk | undefined },
): Promise<GaugeSource | undefined> {
  const { settings, server, clock, logger, metrics } = site;
  if (api === undefined || settings.forecasts.length === 0) return undefined;
  const { series } = api;
  assert(series !== undefined, 'the rules of the settings want somebody who can be asked');
  const { Forecasts } = await import('./api/forecasts.js');
  const { forecastRoutes } = await import('./api/rest-forecasts.js');
  const { forecastLines } = await import('./api/forecast-lines.js');
  const { answerError } = await import('./api/query.js');
  const forecasts = new Forecasts({
    ...{ series, clock, logger },
    specs: settings.forecasts.map(specOf),
    desk: desk ?? (await ownDesk(site)),
    ...sharingOf(api),
  });
  void server.register(
    async (scope) => {
      scope.setErrorHandler((error: Parameters<typeof answerError>[0], request, reply) =>
        answerError(error, { route: request.routeOptions.url, reply, logger }),
      );
      forecastRoutes(scope, { forecasts, clock });
    },
    { prefix: '/anomaly/v1' },
  );
  observe(metrics, forecasts, clock);
  site.views.push(() => ({ forecasts: forecasts.summary(clock()) }));
  site.checks.push({
    name: 'forecasts',
    missing: () => undefined,
    note: () => forecasts.note(),
  });
  site.failures.push(new Promise((_resolve, reject) => forecasts.start(reject)));
  site.undo.push(() => forecasts.stop());
  const shown = () =>
    forecasts.books.map(({ spec, entries }) => ({ ...spec, entries: entries.values() }));
  return {
    lines: (scrape) => forecastLines(shown(), { ...scrape, nowMs: clock(), labelText }),
  };
}

/** Gauges of several parts of the process at one address. */
export function gaugesOf(...parts: (GaugeSource | undefined)[]): GaugeSource | undefined {
  const sources = parts.filter((one) => one !== undefined);
  if (sources.length < 2) return sources[0];
  return {
    *lines(scrape) {
      for (const source of sources) yield* source.lines(scrape);
    },
  };
}

function specOf(entry: Settings['forecasts'][number]): ForecastSpec {
  const { name, match, horizon, interval, quantiles, seriesMax, tenant } = entry;
  return {
    ...{ name, match, horizon, interval, seriesMax },
    matches: anyOf(match),
    horizonMs: durationMs(horizon),
    intervalMs: durationMs(interval),
    quantiles: quantiles.toSorted((a, b) => a - b),
    tenant: tenant ?? ONLY_TENANT,
  };
}

function sharingOf({ shared, permit }: ApiSide) {
  if (shared === undefined) return {};
  const { store, lease } = shared;
  return {
    sharing: {
      permit,
      store,
      writable() {
        const token = lease.term?.token;
        return token === undefined ? undefined : store.fenced({ name: API_LEASE, token });
      },
    },
  };
}

/** An api without the role deep-check forecasts as that role would, candidates aside. */
async function ownDesk(site: Site): Promise<ForecastDesk> {
  const { settings, clock, undo } = site;
  const { batchSettings, forecasterOf, prepareSoon } = await import('./compose-deep-check.js');
  const { Checker } = await import('./deep-check/checker.js');
  const forecaster = await forecasterOf(site);
  undo.push(() => forecaster.close());
  prepareSoon(forecaster, undo);
  const parts = { forecaster, clock, settings: batchSettings(settings) };
  return new Checker({ ...parts, onVerdict() {}, onShed() {} });
}

function observe(metrics: Metrics, forecasts: Forecasts, clock: () => number): void {
  const total = {
    name: 'treeline_forecasts_total',
    help: 'Forecasts of a series, by what became of them',
    labels: ['outcome'],
  };
  metrics.observe('counter', total, () =>
    Object.entries(forecasts.counts).map(([outcome, value]) => ({ labels: { outcome }, value })),
  );
  const series = {
    name: 'treeline_forecast_series',
    help: 'Series that have a forecast now',
    labels: ['forecast'],
  };
  metrics.observe('gauge', series, () =>
    forecasts.summary(clock()).map(({ name, series: value }) => ({
      labels: { forecast: name },
      value,
    })),
  );
  const passes = {
    name: 'treeline_forecast_pass_timestamp_seconds',
    help: 'When all series of a forecast were last looked at',
    labels: ['forecast'],
  };
  metrics.observe('gauge', passes, () =>
    forecasts.books.flatMap(({ spec, passedMs }) =>
      passedMs === undefined ? [] : [{ labels: { forecast: spec.name }, value: passedMs / 1000 }],
    ),
  );
}
