// Every metric of our own: name, help, labels. The anomaly gauges are not here: there may be 100,000 of them, and they
// are streamed by scorer/gauges.ts. Counters that are part of the state (they must survive a restart) are read from
// their owner when they are scraped.

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

export const REJECT_METRIC = 'treeline_samples_rejected_total';

export interface Reading {
  labels: Record<string, string>;
  value: number;
}

export interface Observed {
  name: string;
  help: string;
  labels?: readonly string[];
}

export type ReadMetric = () => Reading[] | Promise<Reading[]>;

export type Metrics = ReturnType<typeof createMetrics>;

export function createMetrics(version: string) {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const buildInfo = new Gauge({
    name: 'treeline_build_info',
    help: 'Always 1; the version is a label',
    labelNames: ['version'],
    registers,
  });
  buildInfo.set({ version }, 1);
  return {
    received: new Counter({
      name: 'treeline_samples_received_total',
      help: 'Samples in request bodies that could be read',
      registers,
    }),
    rejected: new Counter({
      name: REJECT_METRIC,
      help: 'Samples received and not logged',
      labelNames: ['reason'],
      registers,
    }),
    requests: new Counter({
      name: 'treeline_http_requests_total',
      help: 'HTTP requests answered',
      labelNames: ['route', 'code'],
      registers,
    }),
    requestSeconds: new Histogram({
      name: 'treeline_http_request_duration_seconds',
      help: 'From the first byte of a request to its answer',
      labelNames: ['route'],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers,
    }),
    exemplars: new Counter({
      name: 'treeline_exemplars_ignored_total',
      help: 'Exemplars in request bodies; they are not logged',
      registers,
    }),
    cacheClears: new Gauge({
      name: 'treeline_series_cache_clears',
      help: 'How often the cache of announced series overflowed; every series is then announced again',
      registers,
    }),
    visibleSeconds: new Histogram({
      name: 'treeline_visible_latency_seconds',
      help: 'From the timestamp of the newest sample of a record to its visible score',
      buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
      registers,
    }),
    gapRecords: new Counter({
      name: 'treeline_log_gap_records_total',
      help: 'Records that retention deleted before they were scored',
      labelNames: ['topic', 'partition'],
      registers,
    }),
    truncations: new Counter({
      name: 'treeline_log_truncations_total',
      help: 'How often a log ended before records that had been scored',
      labelNames: ['topic', 'partition'],
      registers,
    }),
    unreadable: new Counter({
      name: 'treeline_log_unreadable_records_total',
      help: 'Records left out because they cannot be read, by the policy quarantine',
      labelNames: ['topic', 'partition'],
      registers,
    }),
    candidates: new Counter({
      name: 'treeline_candidates_total',
      help: 'Suspicious samples handed on',
      registers,
    }),
    anomalies: new Counter({
      name: 'treeline_anomalies_total',
      help: 'Anomalies opened',
      registers,
    }),
    windowsLeftOut: new Counter({
      name: 'treeline_windows_left_out_total',
      help: 'Candidates without a window because too many came at once; the deep check cannot judge them',
      registers,
    }),
    ...modelMetrics(registers),
    checkpointFailures: new Counter({
      name: 'treeline_checkpoint_failures_total',
      help: 'Checkpoints that could not be written; the next one is tried at the next interval',
      registers,
    }),
    /** Registers a metric whose value somebody else keeps; `read` is called at each scrape. */
    observe: (kind: 'counter' | 'gauge', metric: Observed, read: ReadMetric): void => {
      observe(registry, { kind, metric, read });
    },
    contentType: registry.contentType,
    text: (): Promise<string> => registry.metrics(),
  };
}

/** Of the deep check and the role inference. */
function modelMetrics(registers: Registry[]) {
  return {
    verdicts: new Counter({
      name: 'treeline_verdicts_total',
      help: 'Verdicts of the deep check',
      labelNames: ['outcome'],
      registers,
    }),
    deepCheckShed: new Counter({
      name: 'treeline_deep_check_shed_total',
      help: 'Candidates that were not checked',
      labelNames: ['reason'],
      registers,
    }),
    deepCheckSeconds: new Histogram({
      name: 'treeline_deep_check_duration_seconds',
      help: 'From reading a candidate to its verdict, of those that were checked',
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
      registers,
    }),
    inferenceRows: new Counter({
      name: 'treeline_inference_windows_total',
      help: 'Windows forecast for others by the role inference',
      registers,
    }),
    inferenceErrors: new Counter({
      name: 'treeline_inference_errors_total',
      help: 'Requests of others whose run failed',
      registers,
    }),
  };
}

function observe(
  registry: Registry,
  { kind, metric, read }: { kind: 'counter' | 'gauge'; metric: Observed; read: ReadMetric },
): void {
  const { name, help } = metric;
  const options = { name, help, labelNames: [...(metric.labels ?? [])], registers: [registry] };
  if (kind === 'gauge') {
    new Gauge({
      ...options,
      async collect() {
        this.reset();
        for (const { labels, value } of await read()) this.set(labels, value);
      },
    });
    return;
  }
  new Counter({
    ...options,
    async collect() {
      this.reset();
      for (const { labels, value } of await read()) this.inc(labels, value);
    },
  });
}
