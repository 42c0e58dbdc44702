// What could be set so that the flags of a backtest meet their budget: which series bring most of them, as selectors for
// `ingest.drop`, and for what the query computes, the entry of `sources` that has the service watch it. A proposal, not a
// verdict: a series that is often anomalous may be one that often fails, so it says to look first. Pure.

import { stringify } from 'yaml';
import { MATCHER_LENGTH_MAX, SUGGESTED_SELECTORS_MAX } from '../limits.js';
import { BadMatcher, parseSelector } from '../matchers.js';
import { seriesText } from '../series.js';
import { type BacktestReport, daysWatched } from './backtest-report.js';
import type { BacktestSeries } from './backtest-run.js';

/** Flags per series-day that gauges are meant to stay below. */
export const FLAGS_PER_SERIES_DAY = 0.05;
/** A series is noisy that is flagged so many times and so often; a few flags in a few days are chance, or faults. */
const NOISY_FLAGS_MIN = 5;
const NOISY_FLAGS_PER_DAY = 10 * FLAGS_PER_SERIES_DAY;
/** A metric of which so many of so many series would go is named as a whole. */
const FAMILY_MIN = 3;
const FAMILY_SHARE = 0.5;

export interface Suggestion {
  goal: number;
  /** Flags per series-day as it is; null when nothing was watched. */
  before: number | null;
  /** And without what `drop` leaves out. */
  after: number | null;
  drop: { selector: string; series: number; anomalies: number }[];
  /** Noisy series that the query computes: no setting can leave them out. */
  computed: { series: string; anomalies: number }[];
  /** The block for treeline.yaml; empty when nothing need be changed. */
  settings: string;
}

interface Row {
  text: string;
  metric: string;
  anomalies: number;
  days: number;
}

export function suggest(report: BacktestReport, results: readonly BacktestSeries[]): Suggestion {
  const rows = results.map(
    (series): Row => ({
      text: seriesText(series.labels),
      metric: series.labels.find(({ name }) => name === '__name__')?.value ?? '',
      anomalies: series.events.count,
      days: daysWatched(series, report.stepMs),
    }),
  );
  const noisy = noisiest(rows);
  const stored = noisy.filter(({ metric }) => metric !== '');
  const computed = noisy.filter(({ metric }) => metric === '');
  const drop = selectorsOf(stored, rows);
  const left = rows.filter(({ text, metric }) =>
    drop.every(({ covers }) => covers !== text && covers !== metric),
  );
  const isComputed = rows.length > 0 && rows.every(({ metric }) => metric === '');
  const settings = {
    ...(drop.length > 0 && { ingest: { drop: drop.map(({ selector }) => selector) } }),
    ...(isComputed && { sources: [sourceOf(report)] }),
  };
  return {
    goal: FLAGS_PER_SERIES_DAY,
    before: rateOf(rows),
    after: rateOf(left),
    drop: drop.map(({ selector, series, anomalies }) => ({ selector, series, anomalies })),
    computed: computed
      .slice(0, SUGGESTED_SELECTORS_MAX)
      .map(({ text, anomalies }) => ({ series: text, anomalies })),
    settings: Object.keys(settings).length > 0 ? stringify(settings, { lineWidth: 0 }) : '',
  };
}

export function suggestionText({
  goal,
  before,
  after,
  drop,
  computed,
  settings,
}: Suggestion): string {
  const lines: string[] = [];
  if (before === null)
    return 'Nothing was watched for longer than its warm-up: there is nothing to suggest';
  if (before <= goal) {
    lines.push(
      `${shown(before)} anomalies a series-day are within ${goal}: nothing need be left out`,
    );
  } else if (drop.length > 0) {
    const series = drop.reduce((sum, one) => sum + one.series, 0);
    const anomalies = drop.reduce((sum, one) => sum + one.anomalies, 0);
    const rest = after === null ? 'nothing is left' : `${shown(after)} a series-day are left`;
    lines.push(
      `${series} series bring ${anomalies} of the anomalies; without them ${rest}, where ${goal} is the goal.`,
      'Look at them first (--plot): what is often anomalous may be what often fails.',
    );
  } else if (computed.length === 0) {
    lines.push(
      `${shown(before)} anomalies a series-day, where ${goal} is the goal, but no series stands out: ` +
        `none has ${NOISY_FLAGS_MIN} and more than ${NOISY_FLAGS_PER_DAY} a day. These may be faults; a longer range tells`,
    );
  }
  for (const { series, anomalies } of computed) {
    lines.push(`${series} brings ${anomalies}: the query computes it, so exclude it in the query`);
  }
  if (settings !== '') lines.push('', 'For treeline.yaml, if you like:', '', settings.trimEnd());
  return lines.join('\n');
}

/** As few of the noisy ones as it takes for the others to meet the goal. */
function noisiest(rows: readonly Row[]): Row[] {
  const order = rows
    .filter(({ anomalies, days }) => {
      return anomalies >= NOISY_FLAGS_MIN && anomalies > NOISY_FLAGS_PER_DAY * days;
    })
    .sort((a, b) => b.anomalies - a.anomalies || (a.text < b.text ? -1 : 1));
  let anomalies = rows.reduce((sum, row) => sum + row.anomalies, 0);
  let days = rows.reduce((sum, row) => sum + row.days, 0);
  const found: Row[] = [];
  for (const row of order) {
    if (anomalies <= FLAGS_PER_SERIES_DAY * days) break;
    found.push(row);
    anomalies -= row.anomalies;
    days -= row.days;
  }
  return found;
}

interface Selector {
  selector: string;
  /** The series' text, or the metric's name. */
  covers: string;
  series: number;
  anomalies: number;
}

function selectorsOf(noisy: readonly Row[], rows: readonly Row[]): Selector[] {
  const selectors: Selector[] = [];
  const families = new Map<string, Row[]>();
  for (const row of noisy) families.set(row.metric, [...(families.get(row.metric) ?? []), row]);
  for (const [metric, members] of families) {
    const all = rows.filter((row) => row.metric === metric);
    if (members.length >= FAMILY_MIN && members.length > FAMILY_SHARE * all.length) {
      const anomalies = all.reduce((sum, row) => sum + row.anomalies, 0);
      const selector = seriesText([{ name: '__name__', value: metric }]);
      selectors.push({ selector, covers: metric, series: all.length, anomalies });
    } else {
      for (const { text, anomalies } of members) {
        selectors.push({ selector: text, covers: text, series: 1, anomalies });
      }
    }
  }
  return selectors
    .filter(({ selector }) => isReadable(selector))
    .sort((a, b) => b.anomalies - a.anomalies)
    .slice(0, SUGGESTED_SELECTORS_MAX);
}

/** A name that is no word, or labels without end, cannot stand in the settings. */
function isReadable(selector: string): boolean {
  if (selector.length > MATCHER_LENGTH_MAX) return false;
  try {
    parseSelector(selector);
    return true;
  } catch (error) {
    if (error instanceof BadMatcher) return false;
    throw error;
  }
}

function sourceOf({ prometheus, query, stepMs }: BacktestReport): Record<string, string> {
  const every = stepMs % 1000 === 0 ? `${stepMs / 1000}s` : `${stepMs}ms`;
  return { name: 'backtested', prometheus, query, every };
}

function rateOf(rows: readonly Row[]): number | null {
  const days = rows.reduce((sum, row) => sum + row.days, 0);
  return days > 0 ? rows.reduce((sum, row) => sum + row.anomalies, 0) / days : null;
}

function shown(rate: number): string {
  return String(Number(rate.toPrecision(2)));
}
