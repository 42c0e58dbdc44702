// The demo's shop: 3 front ends, 3 checkouts, 3 catalogs, a database with a replica, and a worker with cron jobs, 12 pods
// and about 150 series, the same for the same seed. Traffic has a daily rhythm and runs through the shop: a front end
// asks checkout and catalog, both ask the database, and each waits for whom it asks. So a fault is felt where it would be.

import type { Label } from '../series.js';
import { DYING, type Faults, LEAKING, MISSED_JOB, SLOW } from './demo-faults.js';

export interface ShopSeries {
  labels: Label[];
  /** What would be scraped; undefined while the pod that would answer is dead. */
  next(moment: Moment): number | undefined;
}

/** The shop at one time, made once for all of its series. */
interface Moment {
  at: number;
  /** Since the moment before. */
  seconds: number;
  /** Requests per second of the whole shop. */
  traffic: number;
  faults: Faults;
}

export interface Shop {
  series: readonly ShopSeries[];
  /** Must be called in the order of time, and the series read once each after it. */
  momentAt(at: number, faults: Faults): Moment;
}

interface Pod {
  name: string;
  tier: Tier;
  index: number;
}

type Tier = 'frontend' | 'checkout' | 'catalog' | 'database' | 'worker';

const SIZES: Readonly<Record<Tier, number>> = {
  frontend: 3,
  checkout: 3,
  catalog: 3,
  database: 2,
  worker: 1,
};
/** Requests that one of the shop's is at each tier. */
const SHARES: Readonly<Record<Tier, number>> = {
  frontend: 1,
  checkout: 0.3,
  catalog: 0.9,
  database: 2.1,
  worker: 0.05,
};
/** What each tier adds of its own, in seconds. */
const OWN_SECONDS: Readonly<Record<Tier, number>> = {
  frontend: 0.03,
  checkout: 0.05,
  catalog: 0.02,
  database: 0.012,
  worker: 0.2,
};
/** How long after the database each feels that it waits: queues fill from below. */
const FELT_AFTER_MS: Readonly<Record<Tier, number>> = {
  database: 0,
  checkout: 5_000,
  catalog: 5_000,
  frontend: 10_000,
  worker: 10_000,
};
/** How often each runs, in seconds: no multiple of a step. */
const CRON_SECONDS: Readonly<Record<string, number>> = {
  [MISSED_JOB]: 61,
  'send-invoices': 107,
  'reindex-search': 131,
};
const NOISE = 0.03;

/** Who works together: what begins together in one namespace is one incident. */
const NAMESPACES: Readonly<Record<string, string>> = { worker: 'batch', cron: 'cron' };
const NAMESPACE = 'shop';
export function createShop(seed: number): Shop {
  const random = uniform(seed);
  const noise = () => gauss(random);
  const pods = (Object.keys(SIZES) as Tier[]).flatMap((tier) =>
    Array.from(
      { length: SIZES[tier] },
      (_, index): Pod => ({
        name: `${tier}-${index + 1}`,
        tier,
        index,
      }),
    ),
  );
  const series = [
    ...pods.flatMap((pod) => containerSeries(pod, noise)),
    ...pods.filter(({ tier }) => isWeb(tier)).flatMap((pod) => webSeries(pod, noise)),
    ...pods.filter(({ tier }) => tier === 'database').flatMap((pod) => databaseSeries(pod, noise)),
    ...workerSeries(noise),
  ];
  let before: number | undefined;
  let wander = 0;
  return {
    series,
    momentAt(at, faults) {
      const seconds = before === undefined ? 60 : (at - before) / 1000;
      before = at;
      wander = 0.95 * wander + 0.008 * noise();
      const surge = faults.since('traffic-surge', at) === undefined ? 1 : 2.5;
      return { at, seconds, faults, traffic: surge * (120 + 55 * dayWave(at)) * (1 + wander) };
    },
  };
}

/** What every pod has. */
function containerSeries(pod: Pod, noise: () => number): ShopSeries[] {
  const { name, tier } = pod;
  const labelled = (metric: string, more: Record<string, string> = {}) =>
    labelsOf(metric, { pod: name, job: tier, ...more });
  const alive = (next: ShopSeries['next']): ShopSeries['next'] => {
    return (moment) => (isDead(name, moment) ? undefined : next(moment));
  };
  const usual = 1.5e8 + 5e7 * pod.index + (tier === 'database' ? 9e8 : 0);
  let drift = 0;
  const memory = (moment: Moment) => {
    drift = 0.9 * drift + 0.002 * noise();
    const leak = name === LEAKING ? moment.faults.since('memory-leak', moment.at) : undefined;
    // 1 % a second; killed at twice its usual size, and again from there.
    const leaked = leak === undefined ? 0 : (0.01 * (moment.at - leak)) / 1000;
    return usual * (1 + drift + (leaked % 1));
  };
  const kills = (moment: Moment) => {
    const leak = name === LEAKING ? moment.faults.since('memory-leak', moment.at) : undefined;
    return leak === undefined ? 0 : Math.floor((0.01 * (moment.at - leak)) / 1000);
  };
  const load = (moment: Moment) => loadOf(pod, moment);
  const counted = (perSecond: (moment: Moment) => number) => alive(counter(perSecond, noise));
  return [
    { labels: labelled('up'), next: (moment) => (isDead(name, moment) ? 0 : 1) },
    {
      labels: labelled('container_cpu_usage_seconds_total'),
      next: counted((moment) => 0.05 + 0.006 * load(moment)),
    },
    { labels: labelled('container_memory_working_set_bytes'), next: alive(memory) },
    {
      labels: labelled('container_network_receive_bytes_total'),
      next: counted((moment) => 4_000 + 1_800 * load(moment)),
    },
    {
      labels: labelled('container_network_transmit_bytes_total'),
      next: counted((moment) => 6_000 + 7_500 * load(moment)),
    },
    {
      labels: labelled('process_open_fds'),
      next: alive((moment) => Math.round(60 + load(moment) + 1.5 * noise())),
    },
    { labels: labelled('kube_pod_container_status_restarts_total'), next: alive(kills) },
  ];
}

/** What answers requests over HTTP. */
function webSeries(pod: Pod, noise: () => number): ShopSeries[] {
  const labelled = (metric: string, more: Record<string, string>) =>
    labelsOf(metric, { pod: pod.name, job: pod.tier, ...more });
  const alive = (next: ShopSeries['next']): ShopSeries['next'] => {
    return (moment) => (isDead(pod.name, moment) ? undefined : next(moment));
  };
  const seconds = (moment: Moment) => secondsOf(pod, moment);
  const measured = (read: (moment: Moment) => number) =>
    alive((moment) => read(moment) * (1 + NOISE * noise()));
  return [
    {
      labels: labelled('http_requests_total', { code: '200' }),
      next: alive(counter((moment) => 0.99 * loadOf(pod, moment), noise)),
    },
    {
      labels: labelled('http_requests_total', { code: '500' }),
      next: alive(counter((moment) => 0.01 * loadOf(pod, moment), noise)),
    },
    {
      labels: labelled('http_request_duration_seconds', { quantile: '0.5' }),
      next: measured(seconds),
    },
    {
      labels: labelled('http_request_duration_seconds', { quantile: '0.99' }),
      next: measured((moment) => 3.5 * seconds(moment)),
    },
    // As many as arrive in the time that one takes (Little's law).
    {
      labels: labelled('http_requests_in_flight', {}),
      next: measured((moment) => loadOf(pod, moment) * seconds(moment)),
    },
  ];
}

function databaseSeries(pod: Pod, noise: () => number): ShopSeries[] {
  const labelled = (metric: string, more: Record<string, string> = {}) =>
    labelsOf(metric, { pod: pod.name, job: 'database', ...more });
  const seconds = (moment: Moment) => secondsOf(pod, moment);
  const load = (moment: Moment) => loadOf(pod, moment);
  const measured = (read: (moment: Moment) => number) => (moment: Moment) =>
    read(moment) * (1 + NOISE * noise());
  let bytes = 4e10;
  return [
    {
      labels: labelled('db_query_duration_seconds', { quantile: '0.99' }),
      next: measured((moment) => 3 * seconds(moment)),
    },
    {
      labels: labelled('db_connections'),
      next: (moment) => Math.round(40 + 4 * load(moment) * seconds(moment) + noise()),
    },
    { labels: labelled('db_transactions_total'), next: counter(load, noise) },
    { labels: labelled('db_cache_hit_ratio'), next: () => 0.97 + 0.003 * noise() },
    {
      labels: labelled('db_size_bytes'),
      next: (moment) => {
        bytes += 300 * load(moment) * moment.seconds;
        return bytes;
      },
    },
    {
      labels: labelled('db_replication_lag_seconds'),
      next: measured((moment) => (pod.index === 0 ? 0.001 : 0.4 + 2 * seconds(moment))),
    },
  ];
}

/** Queues and orders, and the cron jobs, of which each says how late it began. */
function workerSeries(noise: () => number): ShopSeries[] {
  const labelled = (metric: string, more: Record<string, string>) =>
    labelsOf(metric, { pod: 'worker-1', job: 'worker', ...more });
  const jobs = Object.entries(CRON_SECONDS).map(([cronjob, every]) =>
    cronSeries(cronjob, { everyMs: 1000 * every, noise }),
  );
  const queues = ['mail', 'thumbnails'].map(
    (queue): ShopSeries => ({
      labels: labelled('queue_length', { queue }),
      next: ({ traffic }) => Math.max(0, Math.round(traffic / 12 + 1.5 * noise())),
    }),
  );
  const orders = ['card', 'invoice'].map(
    (payment): ShopSeries => ({
      labels: labelled('orders_total', { payment }),
      next: counter(({ traffic }) => 0.02 * traffic, noise),
    }),
  );
  return [...jobs, ...queues, ...orders];
}

/** How long after its time its latest run began; of one that is due and has not, how long it has been waited for. */
function cronSeries(cronjob: string, of: { everyMs: number; noise: () => number }): ShopSeries {
  const { everyMs, noise } = of;
  const lastBefore = (at: number) => at - (at % everyMs);
  let [ran, delay] = [0, 0];
  return {
    labels: labelsOf('cronjob_start_delay_seconds', { job: 'cron', cronjob }),
    next: ({ at, faults }) => {
      const missed = cronjob === MISSED_JOB ? faults.since('cron-missing', at) : undefined;
      const due = lastBefore(missed ?? at);
      if (due !== ran) {
        ran = due;
        delay = 1.2 + 0.3 * Math.tanh(noise());
      }
      const waiting = missed === undefined ? 0 : (at - due - everyMs) / 1000;
      return Math.max(delay, waiting);
    },
  };
}

/** Requests per second at one pod; of a dead one the others take its part. */
function loadOf({ name, tier, index }: Pod, moment: Moment): number {
  if (isDead(name, moment)) return 0;
  const dead = DYING.startsWith(tier) && isDead(DYING, moment) ? 1 : 0;
  // A load balancer is never quite even.
  const skew = 1 + 0.06 * (index - (SIZES[tier] - 1) / 2);
  return (moment.traffic * SHARES[tier] * skew) / (SIZES[tier] - dead);
}

/** How long a request takes at one pod: its own time, more of it when busy, and that of whom it asks. */
function secondsOf({ tier, name }: Pod, moment: Moment): number {
  const { at, faults, traffic } = moment;
  const busy = 1 + (traffic / 400) ** 2;
  const slow = faults.since('latency-step', at - FELT_AFTER_MS[tier]) !== undefined;
  const database = OWN_SECONDS.database * busy * (slow ? 8 : 1);
  if (tier === 'database') return name === SLOW ? database : OWN_SECONDS.database * busy;
  const own = OWN_SECONDS[tier] * busy;
  return tier === 'frontend' ? own + OWN_SECONDS.catalog * busy + 2 * database : own + 2 * database;
}

function isDead(pod: string, { at, faults }: Moment): boolean {
  return pod === DYING && faults.since('dead-pod', at) !== undefined;
}

function isWeb(tier: Tier): boolean {
  return tier === 'frontend' || tier === 'checkout' || tier === 'catalog';
}

function counter(perSecond: (moment: Moment) => number, noise: () => number) {
  let total = 0;
  return (moment: Moment): number => {
    total += Math.max(0, perSecond(moment) * (1 + NOISE * noise())) * moment.seconds;
    return total;
  };
}

function labelsOf(metric: string, others: Readonly<Record<string, string>>): Label[] {
  const namespace = NAMESPACES[others['job'] ?? ''] ?? NAMESPACE;
  const all = { __name__: metric, namespace, ...others };
  return Object.entries(all)
    .map(([name, value]) => ({ name, value }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** -1 in the small hours, 1 in the afternoon. */
function dayWave(at: number): number {
  return -Math.cos((2 * Math.PI * (at % 864e5)) / 864e5);
}

/** splitmix32, uniform in [0, 1). */
function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 4294967296;
  };
}

/** Box-Muller. */
function gauss(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
