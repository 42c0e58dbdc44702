// Two receivers, three scorers, three brokers, at least 20,000 samples a second, and somebody is killed every 5 to 20 s:
// any process, and one broker at a time, which must be back in every set of in-sync replicas before the next one goes. At
// the end every acknowledged sample must be in the log, and states and candidates those of an uninterrupted run.
// `node dist/bench/cluster-kill.bench.js [--kills 60] [--seed N] [--smoke]`.

import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { openKafkaLog } from '../src/log/kafka-log.js';
import { TOPICS } from '../src/log/log.js';
import {
  loggedCandidates,
  type Member,
  missingSamples,
  openCluster,
  referenceRun,
} from '../test/cluster.js';
import { startLoad } from '../test/cluster-load.js';
import { startKafka } from '../test/kafka-peers.js';
import { endPrograms, eventually } from '../test/programs.js';
import { randomOf } from '../test/random.js';

const isSmoke = process.argv.includes('--smoke');
const KILLS = Number(argument('--kills') ?? (isSmoke ? 5 : 60));
const SEED = Number(argument('--seed') ?? Date.now() % 2 ** 31);
const PARTITIONS = 12;
const SERIES_MAX = 80_000;
const CONNECTIONS = 8;
const SERIES_PER_CONNECTION = 1_000;
/** Half of what Prometheus sends at once. */
const SERIES_PER_BODY = 1_000;
/** At the pace below it outlasts the kills. */
const STEPS_MAX = 12_000;
const PACE_MS = 20;
const FIRST_MS = Math.floor((Date.now() - 90 * 864e5) / 15_000) * 15_000;
const PREFIX = 'kills';
const SAMPLES_PER_SECOND_MIN = 20_000;

const kafka = await startKafka({ brokers: 3 });
const topics = [...TOPICS.map((topic) => `${PREFIX}.${topic}`), `${PREFIX}.checkpoints`];
const random = randomOf(SEED);
const cluster = openCluster({
  brokers: kafka.brokers,
  partitions: PARTITIONS,
  seriesMax: SERIES_MAX,
  replication: 3,
  args: ['--log-prefix', PREFIX, '--checkpoint-store', 'topic', '--checkpoint-interval', '5s'],
});
await cluster.add('receiver', 2);
await cluster.add('scorer', 3);
const receivers = cluster.members.filter(({ role }) => role === 'receiver');
const load = startLoad({
  urls: Array.from({ length: CONNECTIONS }, (_, index) => receivers[index % 2]!.url),
  seriesPerConnection: SERIES_PER_CONNECTION,
  seriesPerBody: SERIES_PER_BODY,
  stepsMax: STEPS_MAX,
  firstMs: FIRST_MS,
  paceMs: PACE_MS,
});
await eventually('the first answers', 60_000, async () => load.answers() > 100 || undefined);
const begun = performance.now();
const answersBefore = load.answers();
const killed = new Map<string, number>();
// Everybody in turn, in an order of its own each round: each is killed equally often.
let round: (Member | number)[] = [];
for (let kill = 0; kill < KILLS; kill++) {
  if (round.length === 0) {
    round = [...cluster.members, ...kafka.ids]
      .map((who) => ({ who, order: random() }))
      .sort((a, b) => a.order - b.order)
      .map(({ who }) => who);
  }
  const who = round.pop()!;
  const name = typeof who === 'number' ? `broker ${who}` : who.name;
  killed.set(name, (killed.get(name) ?? 0) + 1);
  if (typeof who === 'number') {
    await kafka.kill(who);
    await sleep(1_000 + 4_000 * random());
    await kafka.start(who);
    await kafka.untilInSync(topics);
  } else {
    await cluster.kill(who);
    await sleep(3_000 * random());
    await cluster.start(who);
  }
  await sleep(isSmoke ? 3_000 : 5_000 + 5_000 * random());
  console.log(`${((performance.now() - begun) / 1000).toFixed(0)} s: ${kill + 1}. ${name}`);
}
const seconds = (performance.now() - begun) / 1000;
const answers = load.answers() - answersBefore;
await load.stop();
const rows = await cluster.atRest();
const log = await openKafkaLog(
  {
    connection: { brokers: kafka.brokers },
    prefix: PREFIX,
    partitions: PARTITIONS,
    partitionBy: [['namespace', 'pod'], ['instance']],
    replication: 3,
    retentionMs: {
      samples: 864e5,
      backfill: 864e5,
      candidates: 864e5,
      verdicts: 864e5,
      anomalies: 864e5,
    },
  },
  { logger: { debug() {}, info() {}, warn() {}, error() {} }, clock: Date.now },
);
const sent = { acknowledged: load.acknowledged, series: load.series, firstMs: FIRST_MS };
const { missing, foreign, logged } = await missingSamples(log, sent);
const reference = await referenceRun(log, SERIES_MAX);
const candidates = await loggedCandidates(log);
await log.close();
await cluster.stopAll();
await kafka.stop();
await endPrograms();

const acknowledged = load.acknowledged.reduce((sum, one) => sum + one, 0);
const differing = rows.filter(({ stateHash }, index) => stateHash !== reference.hashes[index]);
const perSecond = Math.round((answers * SERIES_PER_BODY) / seconds);
const results = {
  seed: SEED,
  kills: Object.fromEntries([...killed].sort()),
  seconds: Math.round(seconds),
  samplesPerSecond: perSecond,
  acknowledged,
  logged,
  missing,
  foreign,
  partitionsThatDiffer: differing.length,
  candidates: candidates.length,
  candidatesAsReference: JSON.stringify(candidates) === JSON.stringify(reference.candidates),
  bodiesSentAgain: load.retries(),
  longestWaitMs: Math.round(load.longestMs()),
};
console.log(
  `${new Date().toISOString()} ${cpus()[0]?.model} x ${cpus().length}, Node ${process.version}`,
);
for (const [what, value] of Object.entries(results)) {
  console.log(`${what.padEnd(26)} ${typeof value === 'object' ? JSON.stringify(value) : value}`);
}
console.log(JSON.stringify(results));
const isRight =
  missing === 0 && foreign === 0 && differing.length === 0 && results.candidatesAsReference;
const isLoaded = isSmoke || perSecond >= SAMPLES_PER_SECOND_MIN;
if (!isRight || !isLoaded || candidates.length === 0) process.exitCode = 1;

function argument(name: string): string | undefined {
  const at = process.argv.indexOf(name);
  return at < 0 ? undefined : process.argv[at + 1];
}
