// `treeline report`: the last days of anomalies beside the alerts that somebody wrote by hand. It answers whether
// Treeline saw coming what the alerts fired for, what it saw that no alert did, and which series make the noise. It
// reads from a Prometheus and from a running Treeline, and changes neither.

import type { IncidentRow } from '../api/rest-schemas.js';
import { durationMs } from '../config.js';
import { REPORT_LAST_MS_MAX } from '../limits.js';
import { ruleGroups } from '../observability/rules.js';
import { openPrometheus } from '../prometheus-client.js';
import { readSecret } from '../secret-file.js';
import { type Coverage, compare, type Episode } from './report-compare.js';
import { ALERT_STEP_MS, readFirings, readFound } from './report-sources.js';
import { reportText } from './report-text.js';

export interface ReportOptions {
  last: string;
  before: string;
  prometheus: string;
  anomalies: string;
  tokenFile?: string;
  output?: string;
}

export interface Noisy {
  series: string;
  anomalies: number;
  /** Of all anomalies in the range. */
  share: number;
  /** The highest of them: a false alarm said of it silences all that are no larger. */
  highest: string;
  /** For `ingest.drop`. */
  drop: string;
}

export interface Report {
  start: string;
  end: string;
  windowSeconds: number;
  firings: Coverage & { withoutEntity: number; beganEarlier: number };
  alerts: ({ alert: string } & Omit<Coverage, 'byChance'>)[];
  incidents: {
    total: number;
    /** Held back by the budget. */
    held: number;
    byNotification: Record<string, number>;
    withoutAlert: number;
    /** The highest ranked of them. */
    unalerted: Pick<IncidentRow, 'id' | 'start' | 'rank' | 'notification' | 'explanation'>[];
  };
  anomalies: number;
  noisiest: Noisy[];
}

const ROWS_SHOWN = 10;
const TOKEN_BYTES_MAX = 64 * 1024;
const DURATION = /^[1-9][0-9]{0,5}(m|h|d|w)$/;

/** `refuse` ends the program: the command line is wrong. */
export async function report(
  options: ReportOptions,
  refuse: (message: string) => never,
): Promise<void> {
  const { tokenFile, output } = options;
  const lastMs = duration('--last', options.last, refuse);
  if (lastMs > REPORT_LAST_MS_MAX)
    refuse('--last is more than 90 days; anomalies are not kept longer');
  const windowMs = duration('--before', options.before, refuse);
  const endMs = Math.floor(Date.now() / ALERT_STEP_MS) * ALERT_STEP_MS;
  const range = { startMs: endMs - lastMs, endMs, windowMs };
  const token = tokenFile === undefined ? undefined : readSecret(tokenFile, TOKEN_BYTES_MAX);
  const own = new Set(ruleGroups().flatMap(({ rules }) => rules.map(({ alert }) => alert)));
  const client = openPrometheus(options.prometheus);
  const { firings, beganEarlier } = await readFirings(client, range, (alert) => own.has(alert));
  // An anomaly that ended in the window of the first firing covers it.
  const wider = { startMs: range.startMs - windowMs, endMs };
  const { episodes, incidents } = await readFound(options.anomalies, wider, token);
  const { all, alerts, withoutEntity, incidentsAlerted } = compare(firings, episodes, range);
  const found: Report = {
    start: new Date(range.startMs).toISOString(),
    end: new Date(endMs).toISOString(),
    windowSeconds: windowMs / 1000,
    firings: { ...all, withoutEntity, beganEarlier },
    alerts,
    incidents: incidentsOf(within(incidents, range.startMs), incidentsAlerted),
    anomalies: episodes.length,
    noisiest: noisiest(episodes),
  };
  const text =
    output === 'json'
      ? `${JSON.stringify(found, null, 2)}\n`
      : reportText(found, options.anomalies);
  process.stdout.write(text);
}

function duration(name: string, text: string, refuse: (message: string) => never): number {
  return DURATION.test(text)
    ? durationMs(text)
    : refuse(`${name} is ${JSON.stringify(text)}; write 90m, 12h, 7d or 4w`);
}

function within(incidents: readonly IncidentRow[], startMs: number): IncidentRow[] {
  return incidents.filter(({ end }) => end === null || Date.parse(end) >= startMs);
}

function incidentsOf(incidents: readonly IncidentRow[], alerted: Set<string>): Report['incidents'] {
  const byNotification: Record<string, number> = {};
  for (const { notification } of incidents) {
    byNotification[notification] = (byNotification[notification] ?? 0) + 1;
  }
  const unalerted = incidents
    .filter(({ id }) => !alerted.has(id))
    .sort((a, b) => (b.rank ?? Number.POSITIVE_INFINITY) - (a.rank ?? Number.POSITIVE_INFINITY));
  return {
    total: incidents.length,
    held: byNotification['held'] ?? 0,
    byNotification,
    withoutAlert: unalerted.length,
    unalerted: unalerted
      .slice(0, ROWS_SHOWN)
      .map(({ id, start, rank, notification, explanation }) => ({
        id,
        start,
        rank,
        notification,
        explanation,
      })),
  };
}

function noisiest(episodes: readonly Episode[]): Noisy[] {
  const bySeries = new Map<string, Noisy & { score: number }>();
  for (const { series, id, score } of episodes) {
    const known = bySeries.get(series);
    const anomalies = (known?.anomalies ?? 0) + 1;
    const isHigher = known === undefined || score > known.score;
    bySeries.set(series, {
      series,
      anomalies,
      share: anomalies / episodes.length,
      highest: isHigher ? id : known.highest,
      drop: series,
      score: isHigher ? score : known.score,
    });
  }
  return [...bySeries.values()]
    .sort((a, b) => b.anomalies - a.anomalies || (a.series < b.series ? -1 : 1))
    .slice(0, ROWS_SHOWN)
    .map(({ score: _score, ...noisy }) => noisy);
}
