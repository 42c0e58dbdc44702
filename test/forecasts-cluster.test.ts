// Forecasts in a cluster: one scorer keeps the values, two apis share a Redis and one of them makes the forecasts, with the
// model of a process of the role inference. Both answer the same; when the one is killed, the other shows what was made, and
// then goes on.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Member, openCluster } from './cluster.js';
import { type KafkaPeers, startKafka } from './kafka-peers.js';
import { endPrograms, eventually } from './programs.js';
import { randomOf } from './random.js';
import { type RedisServer, startRedis } from './redis-peers.js';
import { openSender, writeBody } from './remote-write-sender.js';
import { parseMetrics, readingOf, startTreeline } from './treeline-process.js';

const STEP_MS = 15_000;
const SAMPLES = 512;
const WAIT_MS = 90_000;
const NAME = 'anomaly_forecast';
const MEDIAN = { forecast: 'queue', quantile: '0.5', source_metric: 'queue_length' };

let kafka: KafkaPeers;
let redis: RedisServer;

beforeAll(async () => {
  kafka = await startKafka();
  redis = await startRedis();
}, 240_000);

afterAll(async () => {
  await kafka?.stop();
  await redis?.kill();
  await endPrograms();
});

interface Page {
  forecast: { series: number };
  series: { made: string; model: string; quantiles: Record<string, number[]> }[];
}

/** Undefined while it starts. */
const pageOf = ({ treeline }: Member) =>
  treeline?.json<Page>('/anomaly/v1/forecasts/queue').catch(() => undefined);
const gaugeOf = async ({ treeline }: Member) => {
  const text = await treeline?.text('/metrics/anomalies').catch(() => '');
  return readingOf(parseMetrics(text ?? ''), NAME, MEDIAN);
};
const madeBy = async ({ treeline }: Member) =>
  readingOf((await treeline?.metrics()) ?? [], 'treeline_forecasts_total', { outcome: 'made' }) ??
  0;

test('one api forecasts with the model of another process, all of them answer, and the next goes on', {
  timeout: 400_000,
}, async () => {
  const model = await startTreeline({ args: ['--roles', 'inference'] });
  const forecasts = [{ name: 'queue', match: ['queue_length'], horizon: '16m', interval: '10s' }];
  const args = ['--log-prefix', 'forecasts', '--redis-address', redis.address];
  args.push('--checkpoint-store', 'topic', '--forecasts', JSON.stringify(forecasts));
  const sizes = { partitions: 4, seriesMax: 1_000, replication: 1 };
  const cluster = openCluster({ brokers: kafka.brokers, ...sizes, args });
  await cluster.add('receiver', 1);
  await cluster.add('scorer', 1);
  const [receiver, scorer] = cluster.members as [Member, Member];
  const places = ['--api-scorers', scorer.url, '--deep-check-remote', model.url];
  await cluster.add('api', 2, { args: places });
  const apis = cluster.members.filter(({ role }) => role === 'api');

  const random = randomOf(11);
  const firstMs = Date.now() - (SAMPLES - 1) * STEP_MS;
  const points = Array.from({ length: SAMPLES }, (_, i) => {
    const value = 100 + 20 * Math.sin((2 * Math.PI * i) / 48) + 2 * (random() - 0.5);
    return [firstMs + i * STEP_MS, value] as const;
  });
  const labels = { __name__: 'queue_length', instance: 'a:1' };
  const sender = openSender(receiver.url);
  await eventually('an answer', WAIT_MS, async () => {
    const answer = await sender.send(writeBody([{ labels, points }])).catch(() => undefined);
    return answer?.status === 204 ? true : undefined;
  });
  sender.close();

  const maker = await eventually('one that forecasts', WAIT_MS, async () => {
    for (const api of apis) if ((await gaugeOf(api)) !== undefined) return api;
    return undefined;
  });
  const other = apis.find((api) => api !== maker) as Member;
  const told = await eventually('the other to answer', WAIT_MS, async () => {
    const page = await pageOf(other);
    return page?.forecast.series === 1 ? page : undefined;
  });
  expect(told.series[0]?.model).toBe('nano-2.0.0');
  const expected = 100 + 20 * Math.sin((2 * Math.PI * (SAMPLES + 63)) / 48);
  expect(Math.abs((told.series[0]?.quantiles['0.5']?.at(-1) ?? 0) - expected)).toBeLessThan(8);
  expect([await madeBy(other), await gaugeOf(other)]).toEqual([0, undefined]);
  const served = readingOf(await model.metrics(), 'treeline_inference_windows_total');
  expect(served).toBeGreaterThanOrEqual(1);

  await cluster.kill(maker);
  await eventually('the other to forecast', WAIT_MS, async () =>
    (await madeBy(other)) > 0 ? true : undefined,
  );
  // A pass may come between the two answers.
  await eventually('gauge and answer to be the same', WAIT_MS, async () => {
    const median = (await pageOf(other))?.series[0]?.quantiles['0.5']?.at(-1);
    return median !== undefined && median === (await gaugeOf(other)) ? true : undefined;
  });
  await cluster.stopAll();
  await model.stop();
});
