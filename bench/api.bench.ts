// How fast the api answers when there is much to answer about: 100,000 series and 10,000 anomalies in the real program, which
// takes live samples of all of them meanwhile. Each route is asked over one connection kept alive, and the event loop is
// watched by the program itself; then all gauges of all series are scraped. Last, as many anomalies are read from a real
// broker by an api that is a process of its own, for its memory. Targets: p99 50 ms, a scrape 200 ms without holding
// the event loop for 20 ms, 400 MB for the api.
// `node dist/bench/api.bench.js [--series 100000] [--requests 300] [--roles receiver,scorer,api] [--smoke]`.

import assert from 'node:assert';
import { Agent, get } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { toBinary } from '@bufbuild/protobuf';
import { CandidateSchema } from '../src/gen/candidate_pb.js';
import type { Log } from '../src/log/log.js';
import { candidatesOf } from '../test/candidates.js';
import { openClusterLog } from '../test/cluster.js';
import { startKafka } from '../test/kafka-peers.js';
import { type Fleet, fleetSender } from '../test/noisy-fleet.js';
import { endPrograms, eventually, removeDirectory, temporaryDirectory } from '../test/programs.js';
import { randomOf } from '../test/random.js';
import {
  partitionsAtRest,
  readingOf,
  startTreeline,
  type Treeline,
} from '../test/treeline-process.js';
import { cpuSecondsOf, memoryOf } from './process-readings.js';

const { values: flags } = parseArgs({
  options: {
    series: { type: 'string' },
    requests: { type: 'string' },
    roles: { type: 'string', default: 'receiver,scorer,api' },
    smoke: { type: 'boolean', default: false },
  },
});
const SERIES = Number(flags.series ?? (flags.smoke ? 2_000 : 100_000));
const REQUESTS = Number(flags.requests ?? (flags.smoke ? 20 : 300));
const SCRAPES = flags.smoke ? 2 : 10;
const STEP_SECONDS = 15;
/** 100 of them are warm-up. */
const STEPS = 180;
const FAULTY_FROM = 120;
/** One series in so many; of about half of the faults of young series an anomaly is told. */
const FAULTY_EVERY = 4;
/** A request of live samples, as large as Prometheus makes them. */
const LIVE_SERIES = 2_000;
const SEED = 7;
const PARTITIONS = 4;
const APPENDS_AT_ONCE = 200;

interface Taken {
  p50: number;
  p99: number;
  slowest: number;
  /** Of the program, on average: what a machine that is busy with other things does not change. */
  cpuMs: number;
  kilobytes: number;
}

const fleet = fleetOf();
const directory = temporaryDirectory('api-bench');
const dataDir = join(directory, 'data');
const args = ['--roles', flags.roles, '--mode', 'live', '--logging-level', 'warn'];
const treeline = await startTreeline({
  dataDir,
  args: [...args, '--gauges-scores', 'all', '--ingest-max-series', String(2 * SERIES)],
});
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const sender = fleetSender(treeline.url, fleet);
const begun = performance.now();
const perBody = Math.max(1, Math.floor(200_000 / SERIES));
for (let from = 0; from < STEPS; from += perBody) {
  const to = Math.min(from + perBody, STEPS);
  await sender.send({ from: 0, to: SERIES }, { from, to });
}
await partitionsAtRest(treeline);
const fillSeconds = Math.round((performance.now() - begun) / 1000);
const anomalies = await eventually('the anomalies to be folded', 60_000, async () => {
  const { anomalies: count } = await treeline.json<{ anomalies: number }>('/anomaly/v1/status');
  return count >= fleet.faults.length / 3 ? count : undefined;
});
const live = sendLive();
const routes = await askAll(treeline);
const loopAsking = await loopDelay(treeline);
const liveSteps = await live.stop();
const scrape = await scrapeAll(treeline);
const own = memoryOf(treeline.program.pid);
const cpuSeconds = Math.round(cpuSecondsOf(treeline.program.pid));
await treeline.stop();
agent.destroy();
const alone = await startAlone();

const outcome = {
  series: SERIES,
  anomalies,
  roles: flags.roles,
  requestsPerRoute: REQUESTS,
  fillSeconds,
  liveSamples: liveSteps * LIVE_SERIES,
  milliseconds: routes,
  slowestP99: Math.max(...Object.values(routes).map(({ p99 }) => p99)),
  mostCpuMs: Math.max(...Object.values(routes).map(({ cpuMs }) => cpuMs)),
  loopMsWhileAsking: loopAsking,
  scrape,
  megabytes: rounded({ rss: own.rssMegabytes, own: own.ownMegabytes }),
  apiAlone: alone,
  cpuSeconds,
};
console.log(JSON.stringify(outcome, null, 2));
removeDirectory(directory);
await endPrograms();

/** Faults of some series, each at a moment of its own: incidents of all sizes. */
function fleetOf(): Fleet {
  const random = randomOf(SEED);
  const beginMs = Math.floor(Date.now() / 1000 / STEP_SECONDS - STEPS) * STEP_SECONDS * 1000;
  const faults = Array.from({ length: SERIES / FAULTY_EVERY }, (_, i) => ({
    series: FAULTY_EVERY * i + Math.floor(FAULTY_EVERY * random()),
    from: FAULTY_FROM + Math.floor(random() * (STEPS - FAULTY_FROM - 20)),
    size: 20 + 20 * random(),
  }));
  return {
    ...{ series: SERIES, stepSeconds: STEP_SECONDS, steps: STEPS, beginMs, faults, random },
    faultyFrom: FAULTY_FROM,
  };
}

/** All series once in 15 seconds, evenly spread. */
function sendLive(): { stop(): Promise<number> } {
  let isOver = false;
  let bodies = 0;
  const pauseMs = (1000 * STEP_SECONDS * LIVE_SERIES) / SERIES;
  const sending = (async () => {
    for (let step = STEPS; !isOver; step++) {
      for (let from = 0; from < SERIES && !isOver; from += LIVE_SERIES) {
        const due = performance.now() + pauseMs;
        const to = Math.min(from + LIVE_SERIES, SERIES);
        await sender.send({ from, to }, { from: step, to: step + 1 });
        bodies++;
        await sleep(Math.max(0, due - performance.now()));
      }
    }
  })();
  return {
    async stop() {
      isOver = true;
      await sending;
      sender.close();
      return bodies;
    },
  };
}

async function askAll(of: Treeline): Promise<Record<string, Taken>> {
  const first = async <T>(path: string, list: string) =>
    (await of.json<Record<string, T[]>>(`/anomaly/v1/${path}`))[list] as T[];
  const anomaliesShown = await first<{ id: string }>('anomalies?limit=1000', 'anomalies');
  const incidents = await first<{ id: string }>('incidents?limit=1000', 'incidents');
  const series = await first<{ fingerprint: string }>('series?limit=1000', 'series');
  const any = <T>(from: readonly T[], at: number) => from[(at * 17) % from.length] as T;
  const select = (text: string) => `match[]=${encodeURIComponent(text)}`;
  const ns = (at: number) => select(`{namespace="ns-${at % 25}"}`);
  const pod = (at: number) => select(`{pod="p-${(at * 97) % (SERIES / 2)}"}`);
  const paths: Record<string, (at: number) => string> = {
    anomalies: () => 'anomalies',
    'anomalies, 1,000 rows': () => 'anomalies?limit=1000',
    'anomalies of a namespace': (at) => `anomalies?${ns(at)}`,
    'anomalies of a pod': (at) => `anomalies?${pod(at)}`,
    'open anomalies': () => 'anomalies?state=open',
    'one anomaly': (at) => `anomalies/${any(anomaliesShown, at).id}`,
    incidents: () => 'incidents',
    'incidents by rank': () => 'incidents?order=rank',
    'one incident': (at) => `incidents/${any(incidents, at).id}`,
    series: () => 'series',
    'series of a pod': (at) => `series?${pod(at)}`,
    'one series': (at) => `series/${any(series, at).fingerprint}`,
    feedback: () => 'feedback',
    maintenance: () => 'maintenance',
    status: () => 'status',
  };
  const taken: Record<string, Taken> = {};
  await of.text('/metrics'); // begins the watch on the event loop anew
  for (const [name, path] of Object.entries(paths)) taken[name] = await ask(of, path);
  return taken;
}

async function ask(of: Treeline, path: (at: number) => string): Promise<Taken> {
  const times: number[] = [];
  let bytes = 0;
  const { pid } = of.program;
  const cpuBefore = cpuSecondsOf(pid);
  for (let at = 0; at < REQUESTS; at++) {
    const answer = await read(`${of.url}/anomaly/v1/${path(at)}`);
    times.push(answer.ms);
    bytes += answer.bytes;
  }
  const cpuMs = Number(((1000 * (cpuSecondsOf(pid) - cpuBefore)) / REQUESTS).toFixed(1));
  times.sort((a, b) => a - b);
  const quantile = (q: number) =>
    Number((times[Math.floor(q * (times.length - 1))] ?? 0).toFixed(1));
  const kilobytes = Number((bytes / REQUESTS / 1000).toFixed(1));
  return { p50: quantile(0.5), p99: quantile(0.99), slowest: quantile(1), cpuMs, kilobytes };
}

/** Until the last byte; what it says is left unread. */
function read(url: string): Promise<{ ms: number; bytes: number }> {
  const sentAt = performance.now();
  return new Promise((resolve, reject) => {
    get(url, { agent }, (answer) => {
      let bytes = 0;
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      answer.on('error', reject);
      answer.on('end', () => {
        assert.equal(answer.statusCode, 200, url);
        resolve({ ms: performance.now() - sentAt, bytes });
      });
    }).on('error', reject);
  });
}

/** Since the last time that the program was asked; it looks every 10 ms. */
async function loopDelay(of: Treeline): Promise<{ p99: number; longest: number }> {
  const readings = await of.metrics();
  const ms = (name: string) => {
    const seconds = readingOf(readings, `nodejs_eventloop_lag_${name}_seconds`) ?? Number.NaN;
    return Math.round(1000 * seconds);
  };
  return { p99: ms('p99'), longest: ms('max') };
}

async function scrapeAll(of: Treeline): Promise<object> {
  await of.text('/metrics');
  const url = `${of.url}/metrics/anomalies`;
  const answers: { ms: number; bytes: number }[] = [];
  const cpuBefore = cpuSecondsOf(of.program.pid);
  for (let i = 0; i < SCRAPES; i++) answers.push(await read(url));
  const cpuMs = Math.round((1000 * (cpuSecondsOf(of.program.pid) - cpuBefore)) / SCRAPES);
  const loopMs = await loopDelay(of);
  const times = answers.map(({ ms }) => Math.round(ms)).sort((a, b) => a - b);
  const shown = readingOf(await of.metrics(), 'treeline_gauges_shown');
  const megabytes = Math.round((answers.at(-1)?.bytes ?? 0) / 1e6);
  return { series: shown, megabytes, ms: times, cpuMs, loopMs };
}

/** The role api as a process of its own, as in a cluster: it reads as many anomalies from a real broker. */
async function startAlone(): Promise<object> {
  const kafka = await startKafka();
  const place = { brokers: kafka.brokers, partitions: PARTITIONS, prefix: 'alone' };
  // It makes the topics.
  const api = await startTreeline({
    args: [
      ...['--roles', 'api', '--mode', 'live', '--logging-level', 'warn', '--log-kind', 'kafka'],
      ...['--log-kafka-brokers', kafka.brokers.join(','), '--log-prefix', place.prefix],
      ...['--log-partitions', String(PARTITIONS), '--log-kafka-replication', '1'],
    ],
  });
  const log = await openClusterLog(place);
  const count = SERIES / 10;
  for (let from = 0; from < count; from += APPENDS_AT_ONCE) {
    const length = Math.min(APPENDS_AT_ONCE, count - from);
    await Promise.all(Array.from({ length }, (_, i) => appendAnomaly(log, from + i)));
  }
  await log.close();
  const kept = await eventually('all anomalies to be folded', 120_000, async () => {
    const { anomalies: folded } = await api.json<{ anomalies: number }>('/anomaly/v1/status');
    return folded === count ? folded : undefined;
  });
  const asked = {
    anomalies: await ask(api, () => 'anomalies?limit=1000'),
    incidents: await ask(api, () => 'incidents?limit=1000'),
  };
  const { rssMegabytes, ownMegabytes, peakMegabytes } = memoryOf(api.program.pid);
  const megabytes = { rss: rssMegabytes, own: ownMegabytes, peak: peakMegabytes };
  const readyMs = Math.round(api.readyMs);
  await api.stop();
  await kafka.stop();
  return { anomalies: kept, readyMs, milliseconds: asked, megabytes: rounded(megabytes) };
}

async function appendAnomaly(log: Log, one: number): Promise<void> {
  const onset = Date.now() - 3_600_000 + one * 200;
  const labels = {
    __name__: `load_${one % 10}`,
    namespace: `ns-${one % 25}`,
    pod: `p-${one}`,
    job: 'pods',
  };
  const told = candidatesOf({ labels, onset, end: onset + 120_000, score: 1 + (one % 50) / 10 });
  for (const candidate of told) {
    await log.append('candidates', one % PARTITIONS, toBinary(CandidateSchema, candidate), 0);
  }
}

function rounded<K extends string>(numbers: Record<K, number>): Record<K, number> {
  const pairs = Object.entries<number>(numbers).map(([key, value]) => [key, Math.round(value)]);
  return Object.fromEntries(pairs) as Record<K, number>;
}
