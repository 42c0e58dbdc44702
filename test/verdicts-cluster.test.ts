// Scorer and api as processes on a real broker, and this test in the place of the deep check: it reads candidates with their
// windows and writes verdicts. What it suppresses never flags, also after the scorer was killed, and the api says why.

import { fromBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Candidate, CandidateSchema, Phase } from '../src/gen/candidate_pb.js';
import { Judgement } from '../src/gen/verdict_pb.js';
import { WINDOW_STEPS } from '../src/limits.js';
import { openCluster, openClusterLog, readWholeLog } from './cluster.js';
import { type KafkaPeers, startKafka } from './kafka-peers.js';
import { endPrograms, eventually } from './programs.js';
import { randomOf } from './random.js';
import { openSender, writeBody } from './remote-write-sender.js';
import { verdictOn } from './suspect-site.js';
import { parseMetrics, readingOf, type Treeline } from './treeline-process.js';

const PARTITIONS = 4;
const PREFIX = 'verdicts';
const MINUTE = 60_000;
const SAMPLES = 600;
const NAMES = ['usual_backup', 'real_fault'] as const;

let kafka: KafkaPeers;

beforeAll(async () => {
  kafka = await startKafka();
}, 240_000);

afterAll(async () => {
  await kafka?.stop();
  await endPrograms();
});

interface AnomalyRow {
  series: string;
  fingerprint: string;
  verdict: string;
  explanation: string;
}

const nameOf = ({ label }: Candidate) => label.find(({ name }) => name === '__name__')?.value;

test('what the deep check says on Kafka reaches flags and anomalies', {
  timeout: 240_000,
}, async () => {
  const { brokers } = kafka;
  const args = ['--log-prefix', PREFIX, '--verdicts', 'on', '--mode', 'live'];
  const sizes = { brokers, partitions: PARTITIONS, seriesMax: 1000, replication: 1 };
  const cluster = openCluster({ ...sizes, args });
  await cluster.add('receiver', 1);
  await cluster.add('scorer', 1);
  const [receiver, scorer] = cluster.members;
  if (receiver === undefined || scorer === undefined) return expect.fail('two were started');
  args.push('--api-scorers', scorer.url);
  await cluster.add('api', 1);
  const api = cluster.members.at(-1)?.treeline as Treeline;

  const random = randomOf(3);
  const begin = Math.floor(Date.now() / MINUTE - SAMPLES) * MINUTE;
  const series = NAMES.map((name, i) => ({
    labels: { __name__: name, instance: `host-${i}:1` },
    points: Array.from({ length: SAMPLES }, (_, at) => {
      const fault = at >= SAMPLES - 4 ? 90 : 0;
      return [begin + at * MINUTE, 1e9 + 10 + random() + fault] as const;
    }),
  }));
  const sender = openSender(receiver.url);
  await eventually('an answer', 60_000, async () => {
    const answer = await sender.send(writeBody(series)).catch(() => undefined);
    return answer?.status === 204 ? true : undefined;
  });
  sender.close();
  await cluster.atRest();

  const log = await openClusterLog({ brokers, partitions: PARTITIONS, prefix: PREFIX });
  const onsets = new Map<string, { candidate: Candidate; partition: number }>();
  await readWholeLog(log, 'candidates', (value, partition) => {
    const candidate = fromBinary(CandidateSchema, value);
    if (candidate.phase !== Phase.ONSET) return;
    if (candidate.timestampMs < BigInt(begin + (SAMPLES - 4) * MINUTE)) return;
    onsets.set(nameOf(candidate) ?? '', { candidate, partition });
  });
  expect([...onsets.keys()].sort()).toEqual([...NAMES].sort());
  for (const { candidate, partition } of onsets.values()) {
    const { window, value } = candidate;
    expect(window?.value.length).toBe(WINDOW_STEPS);
    expect(window?.value.at(-1)).toBeCloseTo(value, 3);
    const isUsual = nameOf(candidate) === 'usual_backup';
    const outcome = isUsual ? Judgement.SUPPRESSED : Judgement.CONFIRMED;
    await log.append('verdicts', partition, verdictOn(candidate, outcome), 0);
  }
  await log.close();

  const flags = async () => {
    const text = await (await fetch(`${scorer.url}/metrics/anomalies`)).text();
    const readings = parseMetrics(text);
    return NAMES.map((name) => readingOf(readings, 'anomaly_flag', { source_metric: name }));
  };
  const untilFlagged = () =>
    eventually('the flags to follow the verdicts', 30_000, async () => {
      const seen = await flags().catch(() => []);
      return seen[0] === 0 && seen[1] === 1 ? seen : undefined;
    });
  await untilFlagged();
  const rows = await eventually('both verdicts at the api', 30_000, async () => {
    const { anomalies } = await api.json<{ anomalies: AnomalyRow[] }>('/anomaly/v1/anomalies');
    const found = NAMES.map((name) =>
      anomalies.find((row) => row.series.startsWith(name) && row.verdict !== 'unchecked'),
    );
    return found.every((row) => row !== undefined) ? found : undefined;
  });
  expect(rows.map((row) => row?.verdict)).toEqual(['suppressed', 'confirmed']);
  expect(rows[0]?.explanation).toContain('the deep check (nano) finds it to be expected');
  const windowOf = (row: AnomalyRow | undefined) =>
    api.json<{ flag: number; window: { value: number }[] }>(
      `/anomaly/v1/series/${row?.fingerprint}`,
    );
  const before = await windowOf(rows[0]);
  expect(before.window.length).toBe(WINDOW_STEPS);
  await cluster.kill(scorer);
  await cluster.start(scorer);
  await cluster.atRest();
  await untilFlagged();
  expect(await windowOf(rows[0])).toEqual(before);
  await cluster.stopAll();
});
