// What queries name: the metrics in a PromQL expression, and the queries in a dashboard. No parser of PromQL: what can
// hold other words (strings, matchers, lists of labels, durations) is taken out, and what is left are metrics.

import type { Dashboard } from '../src/observability/panels.js';

const KEYWORDS = new Set(['and', 'or', 'unless', 'offset', 'bool', 'group_left', 'group_right']);

/** Each once, in the order in which they appear. */
export function metricsOf(query: string): string[] {
  const bare = withinLabelValues(query)
    .replace(/"(?:[^"\\]|\\.)*"/g, '')
    .replace(/\{[^}]*\}/g, '')
    .replace(/\[[^\]]*\]/g, '')
    .replace(/\b(?:by|without|on|ignoring)\s*\([^)]*\)/g, '');
  const words = bare.match(/(?<![\w:.$])[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])/g) ?? [];
  return [...new Set(words.filter((word) => !KEYWORDS.has(word)))];
}

/** Of panels, as they are asked, and of variables. */
export function queriesOf(boards: Record<string, Dashboard> | readonly Dashboard[]): string[] {
  return Object.values(boards).flatMap(({ panels, templating }) => [
    ...panels.flatMap(({ targets }) => (targets ?? []).map(({ expr }) => expr)),
    ...templating.list.flatMap(({ type, query }) =>
      type === 'query' ? [(query as { query: string }).query] : [],
    ),
  ]);
}

/** A query as Prometheus gets it: with everything chosen in the variables of the dashboard, but for `chosen`. */
export function asked(query: string, chosen: Record<string, string> = {}): string {
  return withinLabelValues(query)
    .replace(/\$__rate_interval/g, '5m')
    .replace(/\$__range/g, '1h')
    .replace(/\$(\w+)/g, (_, name: string) => chosen[name] ?? '.*');
}

function withinLabelValues(query: string): string {
  return /^label_values\((.+), \w+\)$/.exec(query)?.[1] ?? query;
}
