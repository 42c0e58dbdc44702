// What could be set so that the flags of a backtest meet their budget: for the series that bring most of them, the mildest
// noise rule that quiets them, as entries of `detection.rules`; and for what the query computes, the entry of `sources`
// that has the service watch it. A proposal, not a verdict: a series that is often anomalous may be one that often fails,
// so it says to look first. What it says is left is what the same backtest finds with these settings. Pure.

import { stringify } from 'yaml';
import { MATCHER_LENGTH_MAX, SUGGESTED_SELECTORS_MAX } from '../limits.js';
import { BadMatcher, parseSelector } from '../matchers.js';
import { seriesText } from '../series.js';
import { type BacktestReport, daysWatched } from './backtest-report.js';
import type { BacktestSeries } from './backtest-run.js';
import { TRIAL_RULES, type TrialRule } from './rule-trial.js';

/** Flags per series-day that gauges are meant to stay below. */
export const FLAGS_PER_SERIES_DAY = 0.05;
/** A series is noisy that is flagged so many times and so often; a few flags in a few days are chance, or faults. */
const NOISY_FLAGS_MIN = 5;
const NOISY_FLAGS_PER_DAY = 10 * FLAGS_PER_SERIES_DAY;
/** A metric of which so many of so many series would be quieted is named as a whole. */
const FAMILY_MIN = 3;
const FAMILY_SHARE = 0.5;

export interface SuggestedRule {
  selector: string;
  /** An entry of detection.rules, less what is the default. */
  rule: { match: string[]; of?: string; threshold?: number; ignore?: true };
  series: number;
  anomalies: number;
  /** By that rule. */
  left: number;
}

export interface Suggestion {
  goal: number;
  /** Flags per series-day as it is; null when nothing was watched. */
  before: number | null;
  /** And with these rules. */
  after: number | null;
  rules: SuggestedRule[];
  /** Noisy series that the query computes: no rule can name them. */
  computed: { series: string; anomalies: number }[];
  /** The block for treeline.yaml; empty when nothing need be changed. */
  settings: string;
}

interface Row {
  text: string;
  metric: string;
  anomalies: number;
  /** By each of TRIAL_RULES. */
  tried: number[];
  days: number;
}

export function suggest(report: BacktestReport, results: readonly BacktestSeries[]): Suggestion {
  const rows = results.map(
    (series): Row => ({
      text: seriesText(series.labels),
      metric: series.labels.find(({ name }) => name === '__name__')?.value ?? '',
      anomalies: series.events.count,
      tried: series.trials?.counts ?? [],
      days: daysWatched(series, report.stepMs),
    }),
  );
  const noisy = noisiest(rows);
  const computed = noisy.filter(({ metric }) => metric === '');
  const rules = rulesFor(
    noisy.filter(({ metric }) => metric !== ''),
    rows,
  );
  const isComputed = rows.length > 0 && rows.every(({ metric }) => metric === '');
  const settings = {
    ...(rules.length > 0 && { detection: { rules: rules.map(({ rule }) => rule) } }),
    ...(isComputed && { sources: [sourceOf(report)] }),
  };
  const quieted = rules.reduce((sum, { anomalies, left }) => sum + anomalies - left, 0);
  return {
    goal: FLAGS_PER_SERIES_DAY,
    before: rateOf(rows, 0),
    after: rateOf(rows, quieted),
    rules,
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
  rules,
  computed,
  settings,
}: Suggestion): string {
  const lines: string[] = [];
  if (before === null)
    return 'Nothing was watched for longer than its warm-up: there is nothing to suggest';
  if (before <= goal) {
    lines.push(
      `${shown(before)} anomalies a series-day are within ${goal}: nothing need be quieted`,
    );
  } else if (rules.length > 0) {
    const series = rules.reduce((sum, one) => sum + one.series, 0);
    const anomalies = rules.reduce((sum, one) => sum + one.anomalies, 0);
    const left = rules.reduce((sum, one) => sum + one.left, 0);
    lines.push(
      `${series} series bring ${anomalies} of the anomalies; by the rules below they bring ${left}, and ` +
        `${shown(after ?? 0)} a series-day are left in all, where ${goal} is the goal.`,
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
  const days = rows.reduce((sum, row) => sum + row.days, 0);
  const found: Row[] = [];
  for (const row of order) {
    if (anomalies <= FLAGS_PER_SERIES_DAY * days) break;
    found.push(row);
    anomalies -= row.anomalies;
  }
  return found;
}

function rulesFor(noisy: readonly Row[], rows: readonly Row[]): SuggestedRule[] {
  const rules: SuggestedRule[] = [];
  const families = new Map<string, Row[]>();
  for (const row of noisy) families.set(row.metric, [...(families.get(row.metric) ?? []), row]);
  for (const [metric, members] of families) {
    const all = rows.filter((row) => row.metric === metric);
    if (members.length >= FAMILY_MIN && members.length > FAMILY_SHARE * all.length) {
      rules.push(ruleFor(seriesText([{ name: '__name__', value: metric }]), all));
    } else {
      for (const row of members) rules.push(ruleFor(row.text, [row]));
    }
  }
  return rules
    .filter(({ selector }) => isReadable(selector))
    .sort((a, b) => b.anomalies - a.anomalies)
    .slice(0, SUGGESTED_SELECTORS_MAX);
}

/** The mildest of the rules that were tried by which these series meet the goal; where none does, they are ignored. */
function ruleFor(selector: string, rows: readonly Row[]): SuggestedRule {
  const sum = (of: (row: Row) => number) => rows.reduce((total, row) => total + of(row), 0);
  const goal = FLAGS_PER_SERIES_DAY * sum(({ days }) => days);
  const place = TRIAL_RULES.findIndex((_, i) => sum(({ tried }) => tried[i] ?? 0) <= goal);
  const told = { selector, series: rows.length, anomalies: sum(({ anomalies }) => anomalies) };
  const chosen = TRIAL_RULES[place];
  if (chosen === undefined) return { ...told, rule: { match: [selector], ignore: true }, left: 0 };
  const left = sum(({ tried }) => tried[place] ?? 0);
  return { ...told, rule: { match: [selector], ...withoutDefaults(chosen) }, left };
}

function withoutDefaults({ of, threshold }: TrialRule): { of?: string; threshold?: number } {
  return { ...(of !== '1/1' && { of }), ...(threshold !== 1 && { threshold }) };
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

function rateOf(rows: readonly Row[], quieted: number): number | null {
  const days = rows.reduce((sum, row) => sum + row.days, 0);
  const anomalies = rows.reduce((sum, row) => sum + row.anomalies, 0);
  return days > 0 ? (anomalies - quieted) / days : null;
}

function shown(rate: number): string {
  return String(Number(rate.toPrecision(2)));
}
