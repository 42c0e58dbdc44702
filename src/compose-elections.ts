// The part of the composition root that lets several receivers agree on who is elected of a pair of Prometheus servers:
// where there is a Redis and a log that several processes write.

import { hasRedis } from './config-outputs.js';
import { REAL_PACE } from './pace.js';
import type { ElectionSharing } from './receiver/election-sharing.js';
import type { Replicas } from './receiver/replicas.js';
import { redisConnection } from './redis-settings.js';
import type { Site } from './site.js';

/** Undefined where a receiver is alone with its pairs. Throws `config_invalid` when a secret cannot be read. */
export async function shareElections(
  { settings, logger, metrics, undo }: Site,
  replicas: Replicas,
): Promise<ElectionSharing | undefined> {
  const { redis, log, ingest } = settings;
  if (!hasRedis(redis) || log.kind !== 'kafka' || ingest.replicas === 'off') return undefined;
  const { openRedis } = await import('./state/redis-client.js');
  const { openRedisStore } = await import('./state/redis-store.js');
  const { ElectionSharing } = await import('./receiver/election-sharing.js');
  const client = openRedis(redisConnection(redis), logger);
  undo.push(() => client.close());
  const store = openRedisStore(client, redis.prefix);
  const sharing = new ElectionSharing({ store, replicas, logger, pace: REAL_PACE });
  const name = 'treeline_election_sharing_failures_total';
  const help = 'Times that receivers could not tell each other which replicas are elected';
  metrics.observe('counter', { name, help }, () => [{ labels: {}, value: sharing.failures }]);
  undo.push(() => sharing.stop());
  await sharing.start();
  return sharing;
}
