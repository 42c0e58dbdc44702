// The roles on a real broker, each a process of its own: what a sample costs from HTTP to Kafka's acknowledgement and
// from the topic to its score, how long a scorer takes to be back, and beside it, on the same broker in the same run, the
// plain way: JSON, one message a sample. `node dist/bench/kafka.bench.js [--smoke] [--series 10000]`.

import { fork } from 'node:child_process';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startKafka } from '../test/kafka-peers.js';
import { eventually, temporaryDirectory } from '../test/programs.js';
import {
  type PartitionRow,
  readingOf,
  spawnTreeline,
  startTreeline,
  type Treeline,
} from '../test/treeline-process.js';
import type { BaselineOrder, BaselineReport } from './kafka-baseline.js';
import type { LoadOrder, LoadReport } from './load-sender.js';
import { cpuSecondsOf, memoryOf } from './process-readings.js';

const isSmoke = process.argv.includes('--smoke');
const SERIES = Number(argument('--series') ?? 10_000);
const PARTITIONS = 8;
const CONNECTIONS = 4;
const STEP_MS = 15_000;
const WARM_STEPS = 10;
const STEPS = isSmoke ? 10 : Math.ceil(3_000_000 / SERIES);
const FIRST_MS = Date.UTC(2026, 0, 5);
const REST_MS_MAX = 120_000;

const kafka = await startKafka();
const directory = temporaryDirectory('kafka-bench');
const shared = [
  ...['--log-kind', 'kafka', '--log-kafka-brokers', kafka.brokers.join(',')],
  ...['--log-kafka-replication', '1', '--log-partitions', String(PARTITIONS)],
  ...['--ingest-max-series', String(4 * SERIES), '--logging-level', 'warn'],
];
const processOf = (role: string, extra: readonly string[] = []) => ({
  dataDir: join(directory, role),
  args: ['--roles', role, ...shared, ...extra],
});

const receiver = await startTreeline(processOf('receiver'));
const sender = fork(fileURLToPath(new URL('load-sender.js', import.meta.url)));
await send(receiver, 0, WARM_STEPS);
const before = cpuSecondsOf(receiver.program.pid);
const load = await send(receiver, WARM_STEPS, STEPS);
const receiverCpu = cpuSecondsOf(receiver.program.pid) - before;
const receiverMemory = memoryOf(receiver.program.pid).rssMegabytes;

// Cold: everything is read and scored from the beginning.
const scorerOptions = processOf('scorer', ['--checkpoint-interval', '1h']);
const scorer = await spawnTreeline(scorerOptions);
const begun = performance.now();
const total = SERIES * (WARM_STEPS + STEPS);
await scored(scorer, total);
const catchUpSeconds = (performance.now() - begun) / 1000;
const scorerCpu = cpuSecondsOf(scorer.program.pid);
const scorerMemory = memoryOf(scorer.program.pid).rssMegabytes;
await scorer.stop();
// Warm: its checkpoint is there, nothing is to be replayed.
const restoring = performance.now();
const again = await startTreeline(scorerOptions);
await scored(again, total);
const restoreSeconds = (performance.now() - restoring) / 1000;

// One joins, one is killed: how long does a partition stand still?
const second = await startTreeline(processOf('scorer', ['--data-dir', join(directory, 'second')]));
await eventually('both to own partitions', REST_MS_MAX, async () => {
  const [mine, theirs] = await Promise.all([rowsOf(again), rowsOf(second)]);
  return mine.length > 0 && theirs.length > 0 ? true : undefined;
});
const killed = performance.now();
await second.kill();
await eventually('the other to own all of them', REST_MS_MAX, async () =>
  (await rowsOf(again)).length === PARTITIONS ? true : undefined,
);
const takeOverSeconds = (performance.now() - killed) / 1000;

const baseline = await plainWay();
sender.disconnect();
await Promise.all([receiver.stop(), again.stop()]);
await kafka.stop();

const liveRate = SERIES / (STEP_MS / 1000);
const results = {
  series: SERIES,
  samples: total,
  receiverSamplesPerSecond: Math.round(load.samples / load.seconds),
  receiverPerCpuSecond: Math.round(load.samples / receiverCpu),
  answerMs: { p50: load.p50, p99: load.p99 },
  scorerPerCpuSecond: Math.round(total / scorerCpu),
  catchUpSamplesPerSecond: Math.round(total / catchUpSeconds),
  catchUpTimesLive: Math.round(total / catchUpSeconds / liveRate),
  restoreSeconds,
  takeOverSeconds,
  receiverMemory,
  scorerMemory,
  baselinePerCpuSecond: Math.round(baseline.samples / baseline.cpuSeconds),
  repeatedBodies: load.repeated,
};
const ratio = results.receiverPerCpuSecond / results.baselinePerCpuSecond;
console.log(
  `${new Date().toISOString()} ${cpus()[0]?.model} x ${cpus().length}, Node ${process.version}`,
);
console.log(`${total} samples of ${SERIES} series, one broker, ${PARTITIONS} partitions`);
const table: [what: string, value: string, target?: string][] = [
  ['HTTP to acknowledged', `${results.receiverPerCpuSecond} samples/CPU-s`, '>= 500000'],
  ['  on the clock', `${results.receiverSamplesPerSecond} samples/s`],
  ['  answer, p50 / p99', `${load.p50.toFixed(0)} / ${load.p99.toFixed(0)} ms`],
  ['topic to scored', `${results.scorerPerCpuSecond} samples/CPU-s`, '>= 500000'],
  ['  catching up', `${results.catchUpTimesLive} times live at 15 s`, '>= 20'],
  [
    'JSON, one message a sample',
    `${results.baselinePerCpuSecond} samples/CPU-s`,
    `ours is ${ratio.toFixed(1)}x`,
  ],
  ['restart of a scorer until scored', `${restoreSeconds.toFixed(1)} s`],
  ['partitions of a killed scorer taken over', `${takeOverSeconds.toFixed(1)} s`],
  ['memory of receiver / scorer', `${receiverMemory.toFixed(0)} / ${scorerMemory.toFixed(0)} MB`],
];
for (const [what, value, target = ''] of table) {
  console.log(`${what.padEnd(42)} ${value.padEnd(28)} ${target}`.trimEnd());
}
console.log(JSON.stringify(results));

function send(treeline: Treeline, from: number, steps: number): Promise<LoadReport> {
  const order: LoadOrder = {
    url: treeline.url,
    series: SERIES,
    connections: CONNECTIONS,
    firstMs: FIRST_MS + from * STEP_MS,
    stepMs: STEP_MS,
    steps,
    pauseMs: 0,
  };
  return new Promise((resolve, reject) => {
    sender.once('message', (message) => resolve(message as LoadReport));
    sender.once('exit', (code) => reject(new Error(`The sender ended with ${code}`)));
    sender.send(order);
  });
}

/** Resolves when so many samples have an outcome. */
async function scored(treeline: Treeline, samples: number): Promise<void> {
  let seen = 0;
  const all = eventually(`${samples} samples to be scored`, REST_MS_MAX, async () => {
    const readings = await treeline.metrics().catch(() => []);
    seen = readingOf(readings, 'treeline_samples_total') ?? seen;
    return seen >= samples ? true : undefined;
  });
  await all.catch((error: Error) => {
    const said = treeline.program.stderr().slice(-2_000);
    throw new Error(`${error.message}: ${seen} were\n${said}`);
  });
}

async function rowsOf(treeline: Treeline): Promise<PartitionRow[]> {
  const { partitions } = await treeline.json<{ partitions: PartitionRow[] }>('/anomaly/v1/status');
  return partitions;
}

/** What adapters do that send a message per sample, in a process of its own. */
async function plainWay(): Promise<BaselineReport> {
  const child = fork(fileURLToPath(new URL('kafka-baseline.js', import.meta.url)));
  const order: BaselineOrder = { brokers: [...kafka.brokers], bodies: isSmoke ? 5 : 60 };
  const report = await new Promise<BaselineReport>((resolve, reject) => {
    child.once('message', (message) => resolve(message as BaselineReport));
    child.once('exit', (code) => reject(new Error(`The baseline ended with ${code}`)));
    child.send(order);
  });
  child.disconnect();
  await sleep(0);
  return report;
}

function argument(name: string): string | undefined {
  const at = process.argv.indexOf(name);
  return at < 0 ? undefined : process.argv[at + 1];
}
