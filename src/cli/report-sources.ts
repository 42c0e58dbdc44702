// What `treeline report` reads: firings of alerts from a Prometheus, anomalies and incidents from the REST of a running
// Treeline. Both are read-only and bounded; an answer that is missing or refused ends the report with one sentence,
// because half of the firings would give a share that looks like a whole one.

import type { AnomalyRow, IncidentRow } from '../api/rest-schemas.js';
import { OperatingError } from '../errors.js';
import {
  PAGE_ROWS_MAX,
  PROMETHEUS_ANSWER_MS_MAX,
  REPORT_FIRINGS_MAX,
  REPORT_PAGES_MAX,
} from '../limits.js';
import type { PrometheusClient } from '../prometheus-client.js';
import type { Episode, Firing } from './report-compare.js';

/** Alerts that fire for less may not be seen, and a lead is exact to it. */
export const ALERT_STEP_MS = 60_000;
const CHUNK_STEPS = 1_440;
const QUERY = 'ALERTS{alertstate="firing"}';

export interface Firings {
  firings: Firing[];
  /** Left out because they were firing when the range began: when they started is not known. */
  beganEarlier: number;
}

/** `isOwn` tells alerts of Treeline's own, which are no judge of it. */
export async function readFirings(
  client: PrometheusClient,
  range: { startMs: number; endMs: number },
  isOwn: (alert: string) => boolean,
): Promise<Firings> {
  const open = new Map<string, Firing>();
  const firings: Firing[] = [];
  let beganEarlier = 0;
  const close = (firing: Firing) => {
    if (firing.startMs <= range.startMs) beganEarlier++;
    else firings.push(firing);
    if (firings.length <= REPORT_FIRINGS_MAX) return;
    const text = `More than ${REPORT_FIRINGS_MAX} firings; choose a shorter --last`;
    throw new OperatingError('input_invalid', text);
  };
  const chunkMs = CHUNK_STEPS * ALERT_STEP_MS;
  for (let from = range.startMs; from <= range.endMs; from += chunkMs) {
    const endMs = Math.min(range.endMs, from + chunkMs - ALERT_STEP_MS);
    const grid = { startMs: from, endMs, stepMs: ALERT_STEP_MS };
    const found = await client.range(QUERY, grid);
    if (found === undefined) {
      const text = `${client.address} does not answer ${QUERY} over a day; choose a shorter --last`;
      throw new OperatingError('prometheus_unreachable', text);
    }
    for (const { metric, values } of found) {
      const { __name__: _name, alertstate: _state, alertname = '', ...labels } = metric;
      if (isOwn(alertname)) continue;
      const key = JSON.stringify([alertname, Object.entries(labels).sort()]);
      for (const [seconds] of values) {
        const atMs = Math.round(seconds * 1000);
        const last = open.get(key);
        if (last !== undefined && atMs - last.endMs <= 2 * ALERT_STEP_MS) {
          last.endMs = atMs;
          continue;
        }
        if (last !== undefined) close(last);
        open.set(key, { alert: alertname, labels, startMs: atMs, endMs: atMs });
      }
    }
  }
  for (const firing of open.values()) close(firing);
  return { firings, beganEarlier };
}

export interface Found {
  episodes: Episode[];
  incidents: IncidentRow[];
}

/** `url` may hold user and password; a token goes first. */
export async function readFound(
  url: string,
  range: { startMs: number; endMs: number },
  token: string | undefined,
): Promise<Found> {
  const { origin, pathname, username, password } = addressOf(url);
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const basic = username === '' ? undefined : `Basic ${Buffer.from(pair).toString('base64')}`;
  const authorization = token === undefined ? basic : `Bearer ${token}`;
  const site = {
    root: `${origin}${pathname.replace(/\/+$/, '')}/anomaly/v1`,
    headers: { ...(authorization !== undefined && { Authorization: authorization }) },
    range,
  };
  const rows = await everyPage<AnomalyRow>(site, 'anomalies');
  return { episodes: rows.map(episodeOf), incidents: await everyPage(site, 'incidents') };
}

function episodeOf({ id, series, labels, onset, end, score, incident }: AnomalyRow): Episode {
  return {
    id,
    series,
    labels,
    onsetMs: Date.parse(onset),
    ...(end !== null && { endMs: Date.parse(end) }),
    score: score ?? Number.POSITIVE_INFINITY,
    ...(incident !== null && { incident }),
  };
}

interface Site {
  root: string;
  headers: Record<string, string>;
  range: { startMs: number; endMs: number };
}

async function everyPage<Row>(site: Site, name: string): Promise<Row[]> {
  const rows: Row[] = [];
  const { startMs, endMs } = site.range;
  const query = new URLSearchParams({
    start: String(startMs / 1000),
    end: String(endMs / 1000),
    limit: String(PAGE_ROWS_MAX),
  });
  for (let page = 0; page < REPORT_PAGES_MAX; page++) {
    const body = await askPage<Record<string, unknown>>(site, `${site.root}/${name}?${query}`);
    rows.push(...(body[name] as Row[]));
    if (typeof body['cursor'] !== 'string') return rows;
    query.set('cursor', body['cursor']);
  }
  const text = `More than ${REPORT_PAGES_MAX * PAGE_ROWS_MAX} ${name}; choose a shorter --last`;
  throw new OperatingError('input_invalid', text);
}

async function askPage<T>({ root, headers }: Site, address: string): Promise<T> {
  const signal = AbortSignal.timeout(PROMETHEUS_ANSWER_MS_MAX);
  let why: string;
  try {
    const answer = await fetch(address, { headers, signal, redirect: 'error' });
    if (answer.ok) return (await answer.json()) as T;
    why = `it answers ${answer.status}`;
  } catch (error) {
    // TypeError of fetch, TimeoutError, or a SyntaxError: nobody there, too slow, or something else there.
    const { cause, message } = error as { cause?: { code?: string }; message: string };
    why = cause?.code ?? message;
  }
  const text = `Cannot ask ${root}: ${why}; is a Treeline with the role api there? See --anomalies and --token-file`;
  throw new OperatingError('api_unreachable', text);
}

function addressOf(url: string): URL {
  if (URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)) return new URL(url);
  throw new OperatingError('config_invalid', '--anomalies is no address; write http://HOST:PORT');
}
