// What a Prometheus would send to Treeline, and what that would cost on both sides: the arithmetic of `treeline doctor`.
// Measured where the API tells it, estimated where it does not; each figure that is an estimate rests on a named constant
// of limits.ts.

import {
  BYTES_PER_SERIES,
  LOGGED_BYTES_PER_SAMPLE,
  PROCESS_BYTES,
  SAMPLES_PER_CORE_SECOND,
  SENT_BYTES_PER_SAMPLE,
} from '../limits.js';
import type { NameCount, PrometheusClient, Target } from '../prometheus-client.js';
import type { Queue } from './blocks.js';

const HOUR_MS = 36e5;

export interface Survey {
  address: string;
  version: string | null;
  series: number;
  samplesPerSecond: number;
  /** Targets by scrape interval, most frequent first. */
  intervals: { interval: string; targets: number }[];
  targetsDown: number;
  /** New series in the last hour; null when it has not been up for one, or does not tell. */
  newSeriesPerHour: number | null;
  /** Milliseconds by which its clock is ahead of ours. */
  clockAheadMs: number | null;
  topLabels: NameCount[];
  topMetrics: NameCount[];
  unscored: UnscoredSeries;
  estimate: Estimate;
  queue: Queue;
}

/** Series that Treeline would not score by themselves. */
export interface UnscoredSeries {
  buckets: number;
  /** Left out on arrival: scrape_*, *_info, *_created. */
  ignored: number;
}

export interface Estimate {
  memoryBytes: number;
  cores: number;
  diskBytesPerDay: number;
  /** What remote_write costs the sender. */
  sentBytesPerSecond: number;
  requestsPerSecond: number;
  senderMemoryBytes: number;
}

export interface SurveyOptions {
  clock: () => number;
}

export async function survey(client: PrometheusClient, { clock }: SurveyOptions): Promise<Survey> {
  const version = await client.version();
  const before = clock();
  const time = await client.query('vector(time())');
  const after = clock();
  const head = await client.head();
  const targets = await client.targets();
  const series = head?.headStats?.numSeries ?? (await number(client, 'count({__name__!=""})')) ?? 0;
  const perInterval = intervalsOf(targets ?? []);
  const unscored = await unscoredSeries(client);
  const samplesPerSecond = await rateOf(client, { targets: targets ?? [], series });
  const queue = queueOf(samplesPerSecond);
  const at = time?.[0]?.value;
  return {
    address: client.address,
    version: version ?? null,
    series,
    samplesPerSecond,
    intervals: perInterval,
    targetsDown: (targets ?? []).filter(({ health }) => health === 'down').length,
    newSeriesPerHour: await churn(client, after),
    // Half of the round trip is the way there.
    clockAheadMs: at === undefined ? null : Math.round(at * 1000 - (before + after) / 2),
    topLabels: (head?.labelValueCountByLabelName ?? []).slice(0, 10),
    topMetrics: (head?.seriesCountByMetricName ?? []).slice(0, 10),
    unscored,
    estimate: estimateOf({ series, samplesPerSecond, unscored, queue }),
    queue,
  };
}

/** Drop rules that pay: each takes away at least a hundredth of all series, and nothing that is scored by itself. */
export function proposedRules({ series, topMetrics, unscored }: Survey): {
  selector: string;
  series: number;
  why: string;
}[] {
  const worth = Math.max(1, series / 100);
  const rules = [];
  if (unscored.buckets >= worth) {
    rules.push({
      selector: '{__name__=~".+_bucket",le!=""}',
      series: unscored.buckets,
      why: 'histogram buckets; without them _count and _sum are scored, quantiles and shape are not',
    });
  }
  for (const { name, value } of topMetrics) {
    if (value < worth || !/^(go_|process_|promhttp_|prometheus_sd_)/.test(name)) continue;
    if (name.endsWith('_bucket')) continue;
    rules.push({ selector: name, series: value, why: 'about the inside of a program' });
  }
  return rules;
}

/** To a Prometheus that has just been started every series is new. */
async function churn(client: PrometheusClient, nowMs: number): Promise<number | null> {
  const startedAt = await client.startedAt();
  if (startedAt !== undefined && nowMs - startedAt < HOUR_MS) return null;
  return (await number(client, 'sum(sum_over_time(scrape_series_added[1h]))')) ?? null;
}

async function unscoredSeries(client: PrometheusClient): Promise<UnscoredSeries> {
  const buckets = await number(client, 'count({__name__=~".+_bucket",le!=""})');
  const ignored = await number(
    client,
    'count({__name__=~"scrape_.+|.+_info|.+_created|ALERTS_FOR_STATE"})',
  );
  return { buckets: buckets ?? 0, ignored: ignored ?? 0 };
}

/** From what each target's last scrape had and how often it is scraped; without targets, one sample a minute. */
async function rateOf(
  client: PrometheusClient,
  { targets, series }: { targets: readonly Target[]; series: number },
): Promise<number> {
  const scraped = await client.query('scrape_samples_post_metric_relabeling');
  const secondsOf = new Map(
    targets.map(({ labels, scrapeInterval }) => [keyOf(labels), seconds(scrapeInterval ?? '1m')]),
  );
  let perSecond = 0;
  for (const { metric, value } of scraped ?? []) {
    // Five more are made of each scrape: up and scrape_*.
    perSecond += (value + 5) / (secondsOf.get(keyOf(metric)) ?? 60);
  }
  return perSecond > 0 ? perSecond : series / 60;
}

function keyOf({ job = '', instance = '' }: Record<string, string>): string {
  return JSON.stringify([job, instance]);
}

function intervalsOf(targets: readonly Target[]): Survey['intervals'] {
  const counts = new Map<string, number>();
  for (const { scrapeInterval } of targets) {
    if (scrapeInterval === undefined) continue;
    counts.set(scrapeInterval, (counts.get(scrapeInterval) ?? 0) + 1);
  }
  return [...counts]
    .map(([interval, count]) => ({ interval, targets: count }))
    .sort((a, b) => b.targets - a.targets);
}

/** Prometheus' durations: `1m30s`. */
function seconds(text: string): number {
  const unit: Record<string, number> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };
  let sum = 0;
  for (const [, count, name = ''] of text.matchAll(/(\d+)(ms|[smhdwy])/g)) {
    sum += Number(count) * (unit[name] ?? 0);
  }
  return sum > 0 ? sum : 60;
}

/**
 * Shards so that one of them carries 20,000 samples a second (2,000 samples in 100 ms), and twice that to catch up after
 * an outage; capacity as Prometheus recommends, a few sends (https://prometheus.io/docs/practices/remote_write/).
 */
function queueOf(samplesPerSecond: number): Queue {
  const maxSamplesPerSend = 2_000;
  const maxShards = Math.min(50, Math.max(4, Math.ceil((2 * samplesPerSecond) / 20_000)));
  return { capacity: 5 * maxSamplesPerSend, maxShards, maxSamplesPerSend };
}

function estimateOf(found: {
  series: number;
  samplesPerSecond: number;
  unscored: UnscoredSeries;
  queue: Queue;
}): Estimate {
  const { series, samplesPerSecond, unscored, queue } = found;
  const { buckets, ignored } = unscored;
  const scored = Math.max(0, series - buckets - ignored);
  const arriving = series === 0 ? 0 : samplesPerSecond * (1 - ignored / series);
  return {
    // A series that is known and not scored has no record: a quarter of the cost.
    memoryBytes: Math.round(PROCESS_BYTES + BYTES_PER_SERIES * (scored + buckets / 4)),
    cores: samplesPerSecond / SAMPLES_PER_CORE_SECOND,
    diskBytesPerDay: Math.round(arriving * LOGGED_BYTES_PER_SAMPLE * 86_400),
    sentBytesPerSecond: Math.round(samplesPerSecond * SENT_BYTES_PER_SAMPLE),
    requestsPerSecond: samplesPerSecond / queue.maxSamplesPerSend,
    // Its cache of series (labels as references, about 250 B), and a full queue of samples of about 100 B.
    senderMemoryBytes: Math.round(250 * series + 100 * queue.capacity * queue.maxShards),
  };
}

/** Of a query with one result. */
async function number(client: PrometheusClient, promql: string): Promise<number | undefined> {
  const found = await client.query(promql);
  const value = found?.[0]?.value;
  return value !== undefined && Number.isFinite(value)
    ? value
    : found === undefined
      ? undefined
      : 0;
}
