// Asks a Prometheus, or what speaks its API (https://prometheus.io/docs/prometheus/latest/querying/api/), read-only. Each
// answer is bounded in time and size, because it comes from a machine that is not ours. What an older or another server
// does not know is undefined, not an error; only a server that cannot be reached at all is one.

import { OperatingError } from './errors.js';
import { PROMETHEUS_ANSWER_BYTES_MAX, PROMETHEUS_ANSWER_MS_MAX } from './limits.js';
import { withoutSecrets } from './secret-file.js';

export interface Sample {
  metric: Record<string, string>;
  value: number;
}

export interface RangeSeries {
  metric: Record<string, string>;
  /** Seconds since 1970, and the value as text. */
  values: [number, string][];
}

export interface NameCount {
  name: string;
  value: number;
}

export interface HeadStatus {
  headStats?: { numSeries: number; numLabelPairs: number };
  seriesCountByMetricName: NameCount[];
  labelValueCountByLabelName: NameCount[];
  seriesCountByLabelValuePair: NameCount[];
}

export interface Target {
  labels: Record<string, string>;
  health: string;
  scrapeInterval?: string;
}

export interface PrometheusClient {
  /** Without user and password. */
  readonly address: string;
  version(): Promise<string | undefined>;
  /** When it was started, in milliseconds since 1970. */
  startedAt(): Promise<number | undefined>;
  /** An instant query with a vector as its result; undefined when the server refuses it. */
  query(promql: string): Promise<Sample[] | undefined>;
  /** Values on a grid, by one request; undefined when the server refuses it or the answer is too large. */
  range(
    promql: string,
    grid: { startMs: number; endMs: number; stepMs: number },
  ): Promise<RangeSeries[] | undefined>;
  head(): Promise<HeadStatus | undefined>;
  targets(): Promise<Target[] | undefined>;
  /** The text of its prometheus.yml. */
  config(): Promise<string | undefined>;
}

/** Rejects on first use with `prometheus_unreachable` when nobody answers; `url` may hold user and password. */
export function openPrometheus(url: string): PrometheusClient {
  const { origin, pathname, username, password } = parsed(url);
  const root = `${origin}${pathname.replace(/\/+$/, '')}`;
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (username !== '') {
    const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
    headers['Authorization'] = `Basic ${Buffer.from(pair).toString('base64')}`;
  }

  async function ask<T>(path: string, query: Record<string, string> = {}): Promise<T | undefined> {
    const search = new URLSearchParams(query).toString();
    const signal = AbortSignal.timeout(PROMETHEUS_ANSWER_MS_MAX);
    const address = `${root}/api/v1/${path}${search === '' ? '' : `?${search}`}`;
    try {
      const answer = await fetch(address, { headers, signal, redirect: 'error' });
      const text = await bounded(answer);
      if (answer.status === 401 || answer.status === 403) throw refusedBy(root, answer.status);
      if (!answer.ok || text === undefined) return undefined;
      const body = JSON.parse(text) as { status?: string; data?: T };
      return body.status === 'success' ? body.data : undefined;
    } catch (error) {
      if (error instanceof OperatingError) throw error;
      // A SyntaxError: something answers that is no such API.
      if (error instanceof SyntaxError) return undefined;
      throw unreachable(root, error);
    }
  }

  return {
    address: root,
    version: async () => (await ask<{ version?: string }>('status/buildinfo'))?.version,
    async startedAt() {
      const started = Date.parse(
        (await ask<{ startTime?: string }>('status/runtimeinfo'))?.startTime ?? '',
      );
      return Number.isNaN(started) ? undefined : started;
    },
    async query(promql) {
      type Vector = {
        resultType?: string;
        result: { metric: Record<string, string>; value: [number, string] }[];
      };
      const found = await ask<Vector>('query', { query: promql });
      if (found?.resultType !== 'vector') return undefined;
      return found.result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
    },
    async range(query, { startMs, endMs, stepMs }) {
      const [start, end, step] = [startMs, endMs, stepMs].map((ms) => String(ms / 1000));
      const wanted = { query, start: start ?? '', end: end ?? '', step: step ?? '' };
      type Matrix = { resultType?: string; result: RangeSeries[] };
      const found = await ask<Matrix>('query_range', wanted);
      return found?.resultType === 'matrix' ? found.result : undefined;
    },
    head: () => ask<HeadStatus>('status/tsdb', { limit: '20' }),
    targets: async () =>
      (await ask<{ activeTargets: Target[] }>('targets', { state: 'active' }))?.activeTargets,
    config: async () => (await ask<{ yaml: string }>('status/config'))?.yaml,
  };
}

function parsed(url: string): URL {
  const found = URL.canParse(url) ? new URL(url) : undefined;
  if (found !== undefined && /^https?:$/.test(found.protocol)) return found;
  const shown = JSON.stringify(withoutSecrets(url));
  throw new OperatingError('config_invalid', `${shown} is no address; write http://HOST:PORT`);
}

/** Undefined when it is larger than we read. */
async function bounded(answer: Response): Promise<string | undefined> {
  if (answer.body === null) return '';
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of answer.body as unknown as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > PROMETHEUS_ANSWER_BYTES_MAX) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function unreachable(root: string, error: unknown): OperatingError {
  const { cause, message } = error as {
    cause?: { code?: string; message?: string };
    message: string;
  };
  const why = cause?.code ?? cause?.message ?? message;
  const text = `Cannot ask ${root}: ${why}; is Prometheus there, and may this machine reach it?`;
  return new OperatingError('prometheus_unreachable', text, error);
}

function refusedBy(root: string, status: number): OperatingError {
  const text = `${root} answers ${status}; give user and password in the address: http://USER:PASSWORD@HOST`;
  return new OperatingError('prometheus_unreachable', text);
}
