// What a backtest found, as figures and as text: the anomalies by their scores, how many began on each day (UTC), and how
// often that is per series and day behind the warm-up, which is what makes two queries comparable. Pure.

import { BACKTEST_ROWS_MAX } from '../limits.js';
import type { RangeSummary, RangeWanted } from '../prometheus-range.js';
import { seriesText } from '../series.js';
import type { BacktestSeries, Unscored } from './backtest-run.js';
import type { ScoredAnomaly } from './score-events.js';

export interface FoundAnomaly extends ScoredAnomaly {
  series: string;
  labels: Record<string, string>;
}

export interface BacktestReport {
  prometheus: string;
  query: string;
  startMs: number;
  endMs: number;
  stepMs: number;
  read: RangeSummary;
  scored: number;
  /** Scored series that were seen for longer than their warm-up. */
  warm: number;
  unscored: Record<Unscored, number>;
  /** Time that series were watched behind their warm-up, in days, all together. */
  seriesDays: number;
  anomalyCount: number;
  anomalousSeries: number;
  /** NaN when nothing was watched. */
  perSeriesDay: number;
  days: { day: string; anomalies: number; series: number }[];
  /** The highest score first. */
  anomalies: FoundAnomaly[];
}

const DAY_MS = 86_400_000;

export function reportOf(
  wanted: RangeWanted & { prometheus: string },
  {
    read,
    results,
    unscored,
  }: {
    read: RangeSummary;
    results: readonly BacktestSeries[];
    unscored: Record<Unscored, number>;
  },
): BacktestReport {
  const anomalies = results.flatMap(({ labels, events }) => {
    const list = events.list();
    if (list.length === 0) return [];
    const series = seriesText(labels);
    const byName = Object.fromEntries(labels.map(({ name, value }) => [name, value]));
    return list.map((anomaly) => ({ ...anomaly, series, labels: byName }));
  });
  anomalies.sort((a, b) => b.peakScore - a.peakScore || a.onsetMs - b.onsetMs);
  const anomalyCount = results.reduce((sum, { events }) => sum + events.count, 0);
  const seriesDays = results.reduce((sum, series) => sum + daysWatched(series, wanted.stepMs), 0);
  return {
    ...wanted,
    read,
    scored: results.length,
    warm: results.filter(({ watched }) => watched > 0).length,
    unscored,
    seriesDays,
    anomalyCount,
    anomalousSeries: results.filter(({ events }) => events.count > 0).length,
    perSeriesDay: seriesDays > 0 ? anomalyCount / seriesDays : Number.NaN,
    days: byDay(anomalies),
    anomalies,
  };
}

export function daysWatched({ watched }: BacktestSeries, stepMs: number): number {
  return (watched * stepMs) / DAY_MS;
}

function byDay(anomalies: readonly FoundAnomaly[]): BacktestReport['days'] {
  const days = new Map<string, { anomalies: number; series: Set<string> }>();
  for (const { onsetMs, series } of anomalies) {
    const day = new Date(onsetMs).toISOString().slice(0, 10);
    const entry = days.get(day) ?? { anomalies: 0, series: new Set() };
    entry.anomalies++;
    entry.series.add(series);
    days.set(day, entry);
  }
  return [...days]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([day, { anomalies: count, series }]) => ({ day, anomalies: count, series: series.size }));
}

export function reportJson(report: BacktestReport): Record<string, unknown> {
  const { startMs, endMs, stepMs, perSeriesDay, anomalies, ...rest } = report;
  return {
    ...rest,
    start: iso(startMs),
    end: iso(endMs),
    stepSeconds: stepMs / 1000,
    perSeriesDay: Number.isNaN(perSeriesDay) ? null : perSeriesDay,
    anomalies: anomalies.map(
      ({ onsetMs, peakMs, endMs: lastMs, peakValue, peakScore, ...kept }) => ({
        series: kept.series,
        labels: kept.labels,
        onset: iso(onsetMs),
        peak: iso(peakMs),
        end: Number.isNaN(lastMs) ? null : iso(lastMs),
        score: peakScore,
        value: peakValue,
        cause: kept.cause,
      }),
    ),
  };
}

export function reportText(report: BacktestReport): string {
  const { anomalies, anomalyCount, days } = report;
  const lines = [];
  if (anomalies.length > 0) {
    const shown = anomalies.slice(0, BACKTEST_ROWS_MAX);
    lines.push(...table(shown.map(rowOf)));
    if (anomalyCount > shown.length) {
      lines.push(`and ${anomalyCount - shown.length} with lower scores; -o json lists them`);
    }
    lines.push('');
    for (const { day, anomalies: count, series } of days) {
      lines.push(
        `${day}  ${plural(count, 'anomaly', 'anomalies')} of ${plural(series, 'series', 'series')}`,
      );
    }
    lines.push('');
  }
  return [...lines, ...totals(report)].join('\n');
}

function totals(report: BacktestReport): string[] {
  const { scored, warm, seriesDays, anomalyCount, anomalousSeries, read, unscored } = report;
  const days = (report.endMs - report.startMs) / DAY_MS;
  const lines = [];
  if (seriesDays > 0) {
    const rate = `${number(report.perSeriesDay)} a series-day, ${number(anomalyCount / days)} a day in all`;
    lines.push(
      `${plural(anomalyCount, 'anomaly', 'anomalies')} of ${anomalousSeries} of ${scored} series ` +
        `in ${number(seriesDays)} series-days after warm-up: ${rate}`,
    );
  }
  if (warm < scored) {
    lines.push(`${scored - warm} series were too short to be judged: warm-up takes 100 samples`);
  }
  const words: Record<Unscored, string> = {
    bucket:
      'buckets of histograms, which the service scores as quantiles and shape; ask for histogram_quantile(0.99, …)',
    alerts: 'ALERTS',
    ignored: 'of the kinds that the service ignores on arrival',
    own_output: 'our own output',
  };
  for (const [reason, count] of Object.entries(unscored)) {
    if (count > 0)
      lines.push(
        `${plural(count, 'series is', 'series are')} not scored: ${words[reason as Unscored]}`,
      );
  }
  if (read.histograms > 0) {
    lines.push(
      `${plural(read.histograms, 'series is', 'series are')} not scored: native histograms have no values here`,
    );
  }
  lines.push(`${read.points} points read in ${read.requests} requests`);
  return lines;
}

function rowOf(anomaly: FoundAnomaly): string[] {
  const { peakScore, onsetMs, peakMs, endMs, peakValue, cause, series } = anomaly;
  const end = Number.isNaN(endMs) ? 'open' : iso(endMs);
  return [number(peakScore), iso(onsetMs), iso(peakMs), end, number(peakValue), cause, series];
}

function table(rows: readonly string[][]): string[] {
  const all = [['score', 'onset', 'peak', 'end', 'value', 'cause', 'series'], ...rows];
  const widths = all[0]!.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  return all.map((row) =>
    row
      .map((text, column) => text.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
}

function plural(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}

function number(value: number): string {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(3)));
}

function iso(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z');
}
