// The deep-check role on a real broker: partitions are shared out among processes, and whoever takes one over goes on behind
// its last verdict.

import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DeepCheck } from '../src/deep-check/deep-check.js';
import { CandidateSchema } from '../src/gen/candidate_pb.js';
import { Judgement, type Verdict, VerdictSchema } from '../src/gen/verdict_pb.js';
import { createOneLiner } from '../src/inference/one-liners.js';
import type { KafkaLog } from '../src/log/kafka-log.js';
import { createMetrics } from '../src/metrics.js';
import { suspicion, wave } from './deep-check-site.js';
import { kafkaSettings, open, silent } from './kafka-fixture.js';
import { type KafkaPeers, startKafka } from './kafka-peers.js';
import { endPrograms, eventually } from './programs.js';

const PARTITIONS = 2;
let kafka: KafkaPeers;

beforeAll(async () => {
  kafka = await startKafka();
}, 180_000);

afterAll(async () => {
  await kafka?.stop();
  await endPrograms();
});

async function start(log: KafkaLog): Promise<DeepCheck> {
  const role = new DeepCheck({
    ...{ log, metrics: createMetrics('0'), logger: silent, clock: Date.now },
    forecaster: createOneLiner('zscore'),
    settings: { batch: 32, windowsPerSecond: 1e6, waitMsMax: 30_000 },
  });
  await role.start();
  return role;
}

async function verdictsOf(log: KafkaLog, partition: number, count: number): Promise<Verdict[]> {
  await eventually('verdicts', 60_000, async () =>
    (await log.bounds('verdicts', partition)).high >= count ? true : undefined,
  );
  const subscription = await log.subscribe('verdicts', { onAssigned() {}, onLost() {} });
  const verdicts: Verdict[] = [];
  const signal = AbortSignal.timeout(30_000);
  for (let from = 0; verdicts.length < count; ) {
    const { records, next } = await subscription.read(partition, from, 1e9, signal);
    for (const { value } of records) verdicts.push(fromBinary(VerdictSchema, value));
    from = next;
  }
  await subscription.close();
  return verdicts;
}

test('each candidate has one verdict, whoever has its partition, also after a restart', {
  timeout: 120_000,
}, async () => {
  const settings = kafkaSettings(kafka.brokers, { partitions: PARTITIONS });
  const [first, second] = [await open(settings), await open(settings)];
  const append = (from: number, count: number) =>
    Promise.all(
      Array.from({ length: count }, (_, i) => {
        const bytes = toBinary(
          CandidateSchema,
          suspicion(wave(200), { fingerprint: BigInt(from + i) }),
        );
        return first.append('candidates', (from + i) % PARTITIONS, bytes, 0);
      }),
    );
  const one = await start(first);
  await append(0, 20);
  for (const partition of [0, 1]) await verdictsOf(first, partition, 10);
  const two = await start(second);
  await append(20, 20);
  for (const partition of [0, 1]) await verdictsOf(first, partition, 20);
  await one.stop();
  await append(40, 20);
  for (const partition of [0, 1]) await verdictsOf(first, partition, 30);
  await two.stop();
  await append(60, 20);
  const three = await start(second);
  for (const partition of [0, 1]) {
    const verdicts = await verdictsOf(first, partition, 40);
    expect(verdicts.map(({ candidateOffset }) => Number(candidateOffset))).toEqual(
      Array.from({ length: 40 }, (_, i) => i),
    );
    const fingerprints = verdicts.map(({ fingerprint }) => Number(fingerprint));
    expect(fingerprints.toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 40 }, (_, i) => PARTITIONS * i + partition),
    );
    for (const { outcome } of verdicts) expect(outcome).not.toBe(Judgement.UNCHECKED);
    expect((await first.bounds('verdicts', partition)).high).toBe(40);
  }
  await three.stop();
  await first.close();
  await second.close();
});
