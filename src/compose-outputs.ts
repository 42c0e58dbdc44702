// The part of the composition root that knows `redis` and `outputs`: the store and the lease that several apis share, and
// the databases that each scorer writes its gauges to.

import { randomUUID } from 'node:crypto';
import { durationMs } from './config.js';
import { hasRedis } from './config-outputs.js';
import { API_LEASE, Lease } from './lease.js';
import type { Metrics } from './metrics.js';
import type { GaugeFeed, RemoteWriteOutput } from './outputs/remote-write-output.js';
import type { RemoteWriteTarget } from './outputs/remote-write-target.js';
import { authorizationOf } from './prometheus-credential.js';
import { redisConnection } from './redis-settings.js';
import type { Site } from './site.js';
import type { SharedStore } from './state/state-store.js';
import { ONLY_TENANT } from './tenant.js';

/** What the api says of its part in sharing. */
export interface SharingState {
  permit(): AbortSignal | undefined;
  note(): string;
  readonly waitingCount: number;
}

export interface Shared {
  store: SharedStore;
  lease: Lease;
  /** Makes it visible. */
  observe(sharing: SharingState): void;
}

/** Undefined without Redis: then the api has a store of its own. Throws `config_invalid` when a secret cannot be read. */
export async function openShared(site: Site): Promise<Shared | undefined> {
  const { settings, metrics, logger, checks, undo } = site;
  if (!hasRedis(settings.redis)) return undefined;
  const { openRedis } = await import('./state/redis-client.js');
  const { openRedisStore } = await import('./state/redis-store.js');
  const { redisLease } = await import('./state/redis-lease.js');
  const client = openRedis(redisConnection(settings.redis), logger);
  undo.push(() => client.close());
  const { prefix } = settings.redis;
  const lease = new Lease({
    book: redisLease(client, prefix, API_LEASE),
    owner: randomUUID(),
    logger,
    now: () => performance.now(),
  });
  metrics.observe(
    'counter',
    { name: 'treeline_redis_failures_total', help: 'Commands that Redis did not answer well' },
    () => [{ labels: {}, value: client.failures }],
  );
  return {
    store: openRedisStore(client, prefix),
    lease,
    observe(sharing) {
      const gauge = (name: string, help: string, read: () => number) =>
        metrics.observe('gauge', { name, help }, () => [{ labels: {}, value: read() }]);
      gauge('treeline_lease_held', '1 in the api that decides and sends', () =>
        sharing.permit() === undefined ? 0 : 1,
      );
      gauge(
        'treeline_shared_store_waiting',
        'Anomalies and decisions that wait to be stored in Redis',
        () => sharing.waitingCount,
      );
      checks.push({
        name: 'redis',
        missing: () => undefined,
        note: () => [client.problem(), sharing.note()].filter(Boolean).join('; '),
      });
    },
  };
}

/** Where the gauges are. Throws `config_invalid` when a secret cannot be read. */
export async function addOutputs(site: Site, feed: GaugeFeed): Promise<void> {
  const { settings, logger, clock, checks, undo, failures } = site;
  if (settings.outputs.remoteWrite.length === 0) return;
  const { RemoteWriteOutput } = await import('./outputs/remote-write-output.js');
  const { RemoteWriteTarget } = await import('./outputs/remote-write-target.js');
  const outputs: { target: RemoteWriteTarget; output: RemoteWriteOutput }[] = [];
  for (const entry of settings.outputs.remoteWrite) {
    const authorization = authorizationOf(entry);
    const { origin, pathname } = new URL(entry.url);
    const target = new RemoteWriteTarget({
      name: `${origin}${pathname}`,
      url: entry.url,
      headers: () => ({
        ...(authorization !== undefined && { Authorization: authorization() }),
        ...(entry.tenant !== undefined && { 'X-Scope-OrgID': entry.tenant }),
      }),
      logger,
    });
    const tenant = entry.tenant ?? ONLY_TENANT;
    const everyMs = durationMs(entry.interval);
    const output = new RemoteWriteOutput({ feed, target, tenant, everyMs, clock, logger });
    failures.push(new Promise((_resolve, reject) => output.start(reject)));
    undo.push(() => output.stop());
    outputs.push({ target, output });
  }
  const targets = outputs.map(({ target }) => target);
  observeTargets(site.metrics, targets);
  checks.push({ name: 'outputs', missing: () => undefined, note: () => noteOf(targets) });
}

function noteOf(targets: readonly RemoteWriteTarget[]): string | undefined {
  const notes = targets.flatMap(({ name, problem, waitingSamples }) =>
    problem === undefined ? [] : [`${name} ${problem}; ${waitingSamples} samples wait`],
  );
  return notes.length === 0 ? undefined : notes.join('; ');
}

function observeTargets(metrics: Metrics, targets: readonly RemoteWriteTarget[]): void {
  const labelled = (read: (target: RemoteWriteTarget) => number) => () =>
    targets.map((target) => ({ labels: { target: target.name }, value: read(target) }));
  metrics.observe(
    'counter',
    {
      name: 'treeline_remote_write_samples_total',
      help: 'Samples of gauges for outputs.remoteWrite, by what became of them',
      labels: ['target', 'outcome'],
    },
    () =>
      targets.flatMap(({ name, counts }) =>
        Object.entries(counts).map(([outcome, value]) => ({
          labels: { target: name, outcome },
          value,
        })),
      ),
  );
  const labels = ['target'];
  metrics.observe(
    'counter',
    {
      name: 'treeline_remote_write_retries_total',
      help: 'Requests that a target of outputs.remoteWrite did not take, and that were sent again',
      labels,
    },
    labelled(({ retries }) => retries),
  );
  metrics.observe(
    'gauge',
    {
      name: 'treeline_remote_write_waiting_samples',
      help: 'Samples that wait for a target of outputs.remoteWrite',
      labels,
    },
    labelled(({ waitingSamples }) => waitingSamples),
  );
}
