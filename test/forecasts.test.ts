// Forecasts of named series on a source of series and a store in memory: what is made, what waits and why, what several apis
// make of it, and what becomes of it when somebody does not answer.

import { expect, test } from 'vitest';
import { forecastLines } from '../src/api/forecast-lines.js';
import { type ForecastParts, type ForecastSpec, Forecasts } from '../src/api/forecasts.js';
import type { SeriesSource } from '../src/api/rest-series.js';
import { Checker } from '../src/deep-check/checker.js';
import { OperatingError } from '../src/errors.js';
import { createOneLiner } from '../src/inference/one-liners.js';
import { FORECAST_RECORD_BYTES_MAX, FORECAST_SERIES_MAX } from '../src/limits-forecasts.js';
import { anyOf } from '../src/matchers.js';
import { labelText } from '../src/scorer/gauge-text.js';
import { quiet } from './api-site.js';
import { MemoryStore, type Versioned } from './memory-store.js';
import { parseMetrics, readingOf } from './treeline-process.js';

const NOW = 1_763_683_200_000;
const STEP_MS = 15_000;
const MINUTE = 60_000;

/** One value every 15 s, the last one `behindMs` before now: a wave of 48 values. */
function points(count: number, behindMs = 0) {
  return Array.from({ length: count }, (_, i) => ({
    timestamp: new Date(NOW - behindMs - (count - 1 - i) * STEP_MS).toISOString(),
    value: 100 + 20 * Math.sin((2 * Math.PI * (i - count + 1)) / 48),
  }));
}

interface KnownRow {
  name: string;
  labels?: Record<string, string>;
  state?: string;
  scoredAs?: string;
  window?: { timestamp: string; value: number | null }[];
}

interface World {
  rows: KnownRow[];
  nowMs: number;
  /** Instead of an answer. */
  trouble: OperatingError | undefined;
}

const fingerprintAt = (index: number) => (index + 1).toString(16).padStart(16, '0');

function sourceOf(world: World): SeriesSource {
  const rowAt = (index: number) => {
    const { name, labels = {}, state = 'active', scoredAs = 'value', window } = world.rows[index]!;
    const all = { __name__: name, ...labels };
    return {
      ...{ fingerprint: fingerprintAt(index), series: name, labels: all, state, scoredAs },
      ...(window !== undefined && { window }),
    };
  };
  return {
    isCursor: () => true,
    async page({ matches, limit, cursor }) {
      const rows: object[] = [];
      for (let index = Number(cursor ?? 0); index < world.rows.length; index++) {
        const { window: _, ...row } = rowAt(index);
        const labels = Object.entries(row.labels).map(([name, value]) => ({ name, value }));
        if (!matches(labels)) continue;
        if (rows.length === limit) return { rows, next: String(index) };
        rows.push(row);
      }
      return { rows };
    },
    async find({ fingerprint }) {
      if (world.trouble !== undefined) throw world.trouble;
      const index = Number.parseInt(fingerprint, 16) - 1;
      return world.rows[index] === undefined ? undefined : rowAt(index);
    },
    count: async () => ({}),
    status: async () => ({ partitions: [] }),
  };
}

function specOf(fields: Partial<ForecastSpec> = {}): ForecastSpec {
  const match = fields.match ?? ['{__name__=~".+"}'];
  return {
    ...{ name: 'near', horizon: '16m', horizonMs: 16 * MINUTE, interval: '5m' },
    ...{ intervalMs: 5 * MINUTE, quantiles: [0.01, 0.5, 0.99], seriesMax: 50, tenant: '' },
    ...{ ...fields, match, matches: anyOf(match) },
  };
}

function openForecasts(
  world: World,
  specs: readonly ForecastSpec[] = [specOf()],
  parts: Partial<ForecastParts> = {},
) {
  const clock = () => world.nowMs;
  const desk = new Checker({
    ...{ forecaster: createOneLiner('seasonal-naive'), clock: Date.now },
    settings: { batch: 32, windowsPerSecond: 1000, waitMsMax: 5_000 },
    onVerdict() {},
    onShed() {},
  });
  const series = sourceOf(world);
  const forecasts = new Forecasts({ ...{ specs, series, desk, clock, logger: quiet }, ...parts });
  return {
    forecasts,
    entries: async (at = 0) => [...(await forecasts.entriesOf(forecasts.books[at]!))],
    gauges(match: string[] = []) {
      const shown = forecasts.books.map(({ spec, entries }) => ({
        ...spec,
        entries: entries.values(),
      }));
      const scrape = { isUtf8: false, matches: anyOf(match), tenant: '', nowMs: world.nowMs };
      return parseMetrics([...forecastLines(shown, { ...scrape, labelText })].join(''));
    },
  };
}

const worldOf = (rows: KnownRow[]): World => ({ rows, nowMs: NOW, trouble: undefined });

test('a wave is forecast as a wave, and the gauges show the end of it', async () => {
  const labels = { job: 'shop', quantile: '0.9', forecast: 'mine' };
  const site = openForecasts(worldOf([{ name: 'latency', labels, window: points(480) }]));
  await site.forecasts.turn();
  const [entry] = await site.entries();
  const { made } = entry ?? {};
  expect(made).toMatchObject({ model: 'seasonal-naive', stepMs: STEP_MS, fromMs: NOW });
  const [, median = []] = made?.values ?? [];
  expect(median.length).toBe(64);
  for (const [step, value] of median.entries()) {
    expect(value).toBeCloseTo(100 + 20 * Math.sin((2 * Math.PI * (step + 1)) / 48), 6);
  }
  const readings = site.gauges();
  const of = { source_metric: 'latency', job: 'shop', forecast: 'near' };
  const kept = { exported_quantile: '0.9', exported_forecast: 'mine' };
  expect(readingOf(readings, 'anomaly_forecast', { ...of, ...kept, quantile: '0.5' })).toBeCloseTo(
    100 + 20 * Math.sin((2 * Math.PI * 64) / 48),
    6,
  );
  expect(readings.filter(({ name }) => name === 'anomaly_forecast').length).toBe(3);
  const moment = 'anomaly_forecast_timestamp_seconds';
  expect(readingOf(readings, moment, of)).toBe((NOW + 64 * STEP_MS) / 1000);
  expect(site.gauges(['other_metric'])).toEqual([]);
});

test('a pass comes once in the interval, and looks for series that were not there before', async () => {
  const world = worldOf([{ name: 'a', window: points(480) }]);
  const site = openForecasts(world);
  await site.forecasts.turn();
  await site.forecasts.turn();
  expect(site.forecasts.counts.made).toBe(1);
  world.rows.push({ name: 'b', window: points(480) });
  world.nowMs += 5 * MINUTE;
  await site.forecasts.turn();
  expect(site.forecasts.counts.made).toBe(3);
  expect((await site.entries()).map(({ series }) => series)).toEqual(['a', 'b']);
});

test('what cannot be forecast says why, and is tried again soon while nothing else is there', async () => {
  const world = worldOf([
    { name: 'young', window: points(40) },
    { name: 'bare' },
    { name: 'gone', state: 'stale', window: points(480) },
    { name: 'bucket', state: 'unscored' },
  ]);
  const site = openForecasts(world, [specOf(), specOf({ name: 'far', horizonMs: 864e5 })]);
  await site.forecasts.turn();
  expect((await site.entries()).map(({ reason }) => reason)).toEqual([
    '40 values are known, 64 are needed',
    'No values are known; the scorer keeps them where forecasts are set there, too',
    'Nothing arrives any more',
    'It is a part of a histogram, or of alerts',
  ]);
  expect((await site.entries(1))[0]?.reason).toContain('which tells 2 h ahead at most');
  expect(site.forecasts.counts).toMatchObject({ waiting: 8, made: 0 });
  expect(site.gauges()).toEqual([]);
  world.rows[0] = { name: 'young', window: points(64) };
  world.nowMs += 15_000;
  await site.forecasts.turn();
  expect(site.forecasts.counts.made).toBe(1);
});

test('no more series than were allowed are forecast, and that is said', async () => {
  const rows = Array.from({ length: 30 }, (_, i) => ({ name: `m${i}`, window: points(80) }));
  const site = openForecasts(worldOf(rows), [
    specOf({ seriesMax: 12 }),
    specOf({ name: 'all', seriesMax: 30 }),
    specOf({ name: 'one', match: ['m3'] }),
  ]);
  await site.forecasts.turn();
  const summary = site.forecasts.summary(NOW);
  expect(summary.map(({ series, limited }) => [series, limited])).toEqual([
    [12, true],
    [30, false],
    [1, false],
  ]);
});

test('a forecast outlives an owner that does not answer, and not the time that it is about', async () => {
  const world = worldOf([{ name: 'a', window: points(480) }]);
  const site = openForecasts(world);
  await site.forecasts.turn();
  world.trouble = new OperatingError('owner_unreachable', 'Owner unreachable: nobody answered');
  world.nowMs += 5 * MINUTE;
  await site.forecasts.turn();
  expect(site.forecasts.counts).toMatchObject({ made: 1, unreachable: 1 });
  expect(site.forecasts.note()).toBe('Owner unreachable: nobody answered');
  expect(readingOf(site.gauges(), 'anomaly_forecast', { quantile: '0.5' })).toBeGreaterThan(0);
  expect((await site.entries())[0]?.reason).toContain('nobody answered');
  world.nowMs = NOW + 17 * MINUTE;
  expect(site.gauges()).toEqual([]);
  world.trouble = undefined;
  world.rows[0] = { name: 'a', window: points(480, -17 * MINUTE) };
  await site.forecasts.turn();
  expect(site.gauges().length).toBe(4);
  expect(site.forecasts.note()).toBeUndefined();
});

test('without a runtime nothing is made, and everybody who asks hears why', async () => {
  const forecaster = { ...createOneLiner('zscore'), trouble: () => 'the native runtime rests' };
  const settings = { batch: 32, windowsPerSecond: 1000, waitMsMax: 5_000 };
  const desk = new Checker({ forecaster, clock: Date.now, settings, onVerdict() {}, onShed() {} });
  const world = worldOf([{ name: 'a', window: points(480) }]);
  const site = openForecasts(world, [specOf()], { desk });
  await site.forecasts.turn();
  expect(site.forecasts.counts.failed).toBe(1);
  expect((await site.entries())[0]?.reason).toBe('the native runtime rests');
  expect(site.forecasts.note()).toBe('the native runtime rests');
});

test('what the budget has no room for waits, and is given up with a reason', async () => {
  const rows = Array.from({ length: 30 }, (_, i) => ({ name: `m${i}`, window: points(80) }));
  const forecaster = createOneLiner('zscore');
  const settings = { batch: 32, windowsPerSecond: 2, waitMsMax: 100 };
  const desk = new Checker({ forecaster, clock: Date.now, settings, onVerdict() {}, onShed() {} });
  const site = openForecasts(worldOf(rows), [specOf()], { desk });
  await site.forecasts.turn();
  const { made, failed } = site.forecasts.counts;
  // Ten seconds of budget at once, and what flowed in meanwhile.
  expect(made).toBeGreaterThanOrEqual(20);
  expect(failed).toBeGreaterThan(0);
  expect(made + failed).toBe(30);
  const reasons = new Set((await site.entries()).map(({ reason }) => reason));
  expect(reasons.has('It was not its turn in time')).toBe(true);
});

test('of several apis one makes them, all show them, and the next one goes on with what is there', async () => {
  const shelf = new Map<string, Versioned>();
  const world = worldOf([{ name: 'a', window: points(480) }]);
  const permit = new AbortController().signal;
  let holder = 'first';
  const member = (name: string, specs?: readonly ForecastSpec[]) => {
    const store = new MemoryStore(shelf);
    const isOurs = () => holder === name;
    return openForecasts(world, specs, {
      sharing: {
        permit: () => (isOurs() ? permit : undefined),
        store,
        writable: () => (isOurs() ? store : undefined),
      },
    });
  };
  const [first, second] = [member('first', [specOf(), specOf({ name: 'old' })]), member('second')];
  await first.forecasts.turn();
  await second.forecasts.turn();
  expect(second.forecasts.counts.made).toBe(0);
  expect(second.gauges()).toEqual([]);
  expect(await second.entries()).toEqual(await first.entries());
  expect((await second.entries())[0]?.made?.model).toBe('seasonal-naive');
  expect([...shelf.keys()]).toEqual(['forecasts/near/0', 'forecasts/old/0']);
  holder = 'second';
  world.trouble = new OperatingError('owner_unreachable', 'The scorer starts again');
  await second.forecasts.turn();
  await first.forecasts.turn();
  expect(first.gauges()).toEqual([]);
  expect(readingOf(second.gauges(), 'anomaly_forecast', { quantile: '0.5' })).toBeGreaterThan(0);
  // What is not set any more is taken away.
  expect([...shelf.keys()]).toEqual(['forecasts/near/0']);
});

test('a shelf holds what one record cannot, and a shorter list leaves nothing of a longer one', async () => {
  const shelf = new Map<string, Versioned>();
  const quantiles = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99];
  const rows = Array.from({ length: FORECAST_SERIES_MAX }, (_, i) => ({
    name: `m${i}`,
    window: points(200),
  }));
  const world = worldOf(rows);
  const store = new MemoryStore(shelf);
  const spec = specOf({ quantiles, seriesMax: FORECAST_SERIES_MAX });
  const permit = new AbortController().signal;
  const sharing = { permit: () => permit, store, writable: () => store };
  await openForecasts(world, [spec], { sharing }).forecasts.turn();
  expect(shelf.size).toBeGreaterThan(2);
  for (const { value } of shelf.values()) {
    expect(value.length).toBeLessThan(FORECAST_RECORD_BYTES_MAX + 1_000);
  }
  const reader = openForecasts(world, [spec], { sharing: { ...sharing, permit: () => undefined } });
  expect((await reader.entries()).map(({ series }) => series)).toEqual(
    rows.map(({ name }) => name),
  );
  await store.put('forecasts/near/1', Buffer.from('not ours'));
  expect((await reader.entries()).length).toBeLessThan(FORECAST_SERIES_MAX);
  world.rows.length = 3;
  await openForecasts(world, [spec], { sharing }).forecasts.turn();
  expect((await reader.entries()).map(({ series }) => series)).toEqual(['m0', 'm1', 'm2']);
});
