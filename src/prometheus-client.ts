// What `treeline doctor` asks a Prometheus, or what speaks its API, read-only. What an older or another server does not
// know is undefined, not an error; only a server that cannot be reached at all, does not let us in, or sends us elsewhere
// is one. How one request goes is prometheus-api.ts; history is read by prometheus-range.ts.

import { OperatingError } from './errors.js';
import { openPrometheusApi } from './prometheus-api.js';

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
  const api = openPrometheusApi(url);
  const root = api.address;

  async function ask<T>(path: string, query: Record<string, string> = {}): Promise<T | undefined> {
    const reply = await api.ask(path, query);
    if (reply.kind === 'answer') return reply.value as T;
    if (reply.kind === 'away' && reply.status === 0) throw unreachable(root, reply.reason);
    if (reply.kind === 'refused') {
      if (reply.status === 401 || reply.status === 403) throw refusedBy(root, reply.status);
      if (reply.status >= 300 && reply.status < 400) throw unreachable(root, reply.reason);
    }
    return undefined;
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

function unreachable(root: string, why: string): OperatingError {
  const text = `Cannot ask ${root}: ${why}; is Prometheus there, and may this machine reach it?`;
  return new OperatingError('prometheus_unreachable', text);
}

function refusedBy(root: string, status: number): OperatingError {
  const text = `${root} answers ${status}; give user and password in the address: http://USER:PASSWORD@HOST`;
  return new OperatingError('prometheus_unreachable', text);
}
