// Which queries bring a history: the user's own, or one for each group of metric names that the selectors match, so that
// no single answer holds all series of a large installation. Names that are left out on arrival are not asked for.

import { OperatingError } from '../errors.js';
import { RANGE_SERIES_MAX } from '../limits.js';
import {
  HISTORY_NAMES_MAX,
  HISTORY_QUERY_CHARACTERS,
  HISTORY_QUERY_SERIES,
  HISTORY_SERIES_MAX,
} from '../limits-history.js';
import type { ApiReply, PrometheusApi } from '../prometheus-api.js';
import { numberOf, pointsOf } from '../prometheus-matrix.js';

export interface HistoryWanted {
  /** PromQL; when it is empty, the selectors are asked for. */
  query: string;
  /** Series selectors, at least one. */
  selectors: readonly string[];
  /** Whether series of this name are let in. */
  isKept: (name: string) => boolean;
}

export interface HistoryQuery {
  query: string;
  /** The most at one time, as far as was seen; more come up over a range. */
  series: number;
}

/** Asked for here: series come and go over weeks. */
const LOOKS = 4;

/** Empty when nothing matches. Rejects with `prometheus_refused`, `prometheus_unreachable` or `input_invalid`. */
export async function planHistory(
  api: PrometheusApi,
  wanted: HistoryWanted,
  { startMs, endMs }: { startMs: number; endMs: number },
): Promise<HistoryQuery[]> {
  const times = Array.from({ length: LOOKS + 1 }, (_, look) =>
    Math.round(endMs - (look / LOOKS) * (endMs - startMs)),
  );
  const { query } = wanted;
  const queries =
    query === ''
      ? await queriesOfSelectors(api, wanted, times)
      : [{ query, series: await most(api, query, times) }];
  const total = queries.reduce((sum, { series }) => sum + series, 0);
  if (total > HISTORY_SERIES_MAX) {
    const text =
      `The history has ${total} series, at most ${HISTORY_SERIES_MAX} are read; ` +
      'name fewer in ingest.keep, or set backfill.query';
    throw new OperatingError('input_invalid', text);
  }
  const wide = queries.find(({ series }) => series > RANGE_SERIES_MAX);
  if (wide !== undefined) {
    const text =
      `${wide.query.slice(0, 120)} brings ${wide.series} series, at most ${RANGE_SERIES_MAX} are read at once; ` +
      'select fewer by labels, or aggregate: sum by (namespace) (…)';
    throw new OperatingError('input_invalid', text);
  }
  return queries;
}

async function queriesOfSelectors(
  api: PrometheusApi,
  { selectors, isKept }: HistoryWanted,
  times: readonly number[],
): Promise<HistoryQuery[]> {
  const queries: HistoryQuery[] = [];
  for (const selector of selectors) {
    const counts = new Map<string, number>();
    for (const ms of times) {
      const counted = await count(api, { of: selector, by: 'by (__name__) ' }, ms);
      for (const [name, series] of counted) {
        if (isKept(name)) counts.set(name, Math.max(series, counts.get(name) ?? 0));
      }
    }
    if (counts.size > HISTORY_NAMES_MAX) {
      const text = `${selector} matches ${counts.size} metric names, at most ${HISTORY_NAMES_MAX} are read; select fewer`;
      throw new OperatingError('input_invalid', text);
    }
    for (const { names, series } of groupsOf(counts)) {
      queries.push({ query: narrowed(selector, names), series });
    }
  }
  return queries;
}

function groupsOf(counts: ReadonlyMap<string, number>): { names: string[]; series: number }[] {
  const groups: { names: string[]; series: number; characters: number }[] = [];
  for (const [name, series] of [...counts].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const last = groups.at(-1);
    const isFull =
      last === undefined ||
      last.series + series > HISTORY_QUERY_SERIES ||
      last.characters + name.length > HISTORY_QUERY_CHARACTERS;
    if (isFull) groups.push({ names: [name], series, characters: name.length });
    else {
      last.names.push(name);
      last.series += series;
      last.characters += name.length + 1;
    }
  }
  return groups;
}

/** The same selector, of these names alone. Names outside the classic characters are quoted like any other value. */
function narrowed(selector: string, names: readonly string[]): string {
  const at = selector.indexOf('{');
  // With a name in front of it there is only that one.
  if (at < 0 || selector.slice(0, at).trim() !== '') return selector;
  const pattern = names.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|');
  return `{__name__=~${JSON.stringify(pattern)},${selector.slice(at + 1)}`;
}

async function most(api: PrometheusApi, query: string, times: readonly number[]): Promise<number> {
  let series = 0;
  for (const ms of times) {
    for (const counted of (await count(api, { of: query, by: '' }, ms)).values()) {
      series = Math.max(series, counted);
    }
  }
  return series;
}

/** Metric name → series of it at that time. */
async function count(
  api: PrometheusApi,
  { of, by }: { of: string; by: string },
  ms: number,
): Promise<ReadonlyMap<string, number>> {
  // In lines of its own, as the query may end in a comment.
  const query = `count ${by}(\n${of}\n)`;
  const reply = await api.ask('query', { query, time: (ms / 1000).toFixed(3) });
  const rows = reply.kind === 'answer' ? pointsOf(reply.value) : undefined;
  if (rows === undefined) throw refusal(api, of, reply);
  return new Map(
    rows.map(({ labels, points }) => [
      labels.find(({ name }) => name === '__name__')?.value ?? '',
      numberOf(points[0]?.[1] ?? '0'),
    ]),
  );
}

function refusal(api: PrometheusApi, query: string, reply: ApiReply): OperatingError {
  const what = `Cannot count the series of ${query.replace(/\s+/g, ' ').slice(0, 120)} at ${api.address}`;
  if (reply.kind === 'answer') {
    return new OperatingError(
      'prometheus_refused',
      `${what}: its answer is no vector as query gives it; is the path right?`,
    );
  }
  const code = reply.kind === 'away' ? 'prometheus_unreachable' : 'prometheus_refused';
  return new OperatingError(code, `${what}: ${reply.reason}`);
}
