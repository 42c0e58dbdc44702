// The built program under load over real HTTP: samples a second and per CPU-second of its own
// process, from the socket to the durable log and the learnt state; memory, disk, time to ready;
// beside it what `snappy` and the generated decoder cost on the same bodies in the same run. `node
// dist/bench/end-to-end.bench.js [--smoke]`.

import { execFileSync, fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fromBinary } from '@bufbuild/protobuf';
import { compressSync, uncompressSync } from 'snappy';
import { WriteRequestSchema } from '../src/gen/remote_write_v1_pb.js';
import { removeDirectory, temporaryDirectory } from '../test/programs.js';
import {
  identityFaults,
  partitionsAtRest,
  startTreeline,
  type Treeline,
} from '../test/treeline-process.js';
import {
  type LoadOrder,
  type LoadReport,
  SERIES_PER_BODY,
  templateOf,
  writeStep,
} from './load-sender.js';

const isSmoke = process.argv.includes('--smoke');
const SERIES = 10_000;
const CONNECTIONS = 4;
const STEP_MS = 15_000;
const STEPS = isSmoke ? 20 : 600;
const PACED_STEPS = isSmoke ? 2 : 10;
const PACED_MS = 1_000;
/** Weeks ago, so that every timestamp of the run lies in the past. */
const FIRST_MS = Math.floor((Date.now() - 21 * 864e5) / STEP_MS) * STEP_MS;
const READY_MS_TARGET = 3_000;
const BYTES_PER_SAMPLE_TARGET = 20;

const directory = temporaryDirectory('bench');
const dataDir = join(directory, 'data');
const args = ['--logging-level', 'warn'];
const sender = fork(fileURLToPath(new URL('load-sender.js', import.meta.url)));

const first = await startTreeline({ dataDir, args });
const full = await measure(first, { steps: STEPS, pauseMs: 0, from: 0 });
const rest = { rss: residentBytes(first), peak: residentBytes(first, 'VmHWM') };
// At 10,000 series a second: what a usual installation of 150,000 series at 15 s sends.
const paced = await measure(first, { steps: PACED_STEPS, pauseMs: PACED_MS, from: STEPS });
const faults = identityFaults(await first.metrics());
const states = await partitionsAtRest(first);
await first.stop();
const onDisk = diskBytes(dataDir);
const again = await startTreeline({ dataDir, args });
await again.stop();
sender.disconnect();
removeDirectory(directory);

const samples = full.load.samples + paced.load.samples;
const results = {
  samples,
  samplesPerSecond: Math.round(full.load.samples / full.seconds),
  samplesPerCpuSecond: Math.round(full.load.samples / full.cpuSeconds),
  naiveDecodePerCpuSecond: Math.round(naiveDecodeRate()),
  answerMs: { p50: full.load.p50, p99: full.load.p99 },
  pacedCpuShare: paced.cpuSeconds / paced.seconds,
  pacedAnswerMs: { p50: paced.load.p50, p99: paced.load.p99 },
  refusedBodies: full.load.repeated,
  rssMegabytes: rest.rss / 1e6,
  rssPeakMegabytes: rest.peak / 1e6,
  diskBytesPerSample: onDisk / samples,
  wireBytesPerSample: full.load.bodyBytes / full.load.samples,
  readyMs: first.readyMs,
  readyAgainMs: again.readyMs,
  identityFaults: faults,
  // Equal for equal sizes only when every sample was scored alike; the times of the run are part of
  // it.
  stateHash: createHash('sha256')
    .update(states.map(({ stateHash }) => stateHash).join())
    .digest('hex'),
};
report(results);
const isSlow = Math.max(results.readyMs, results.readyAgainMs) > READY_MS_TARGET;
// A short run does not fill the pages and the checkpoints that the log is spread over.
const isFat = !isSmoke && results.diskBytesPerSample > BYTES_PER_SAMPLE_TARGET;
if (faults.length > 0 || isSlow || isFat) process.exitCode = 1;

interface Measured {
  load: LoadReport;
  /** Until everything sent is scored. */
  seconds: number;
  cpuSeconds: number;
}

async function measure(
  treeline: Treeline,
  range: { steps: number; pauseMs: number; from: number },
): Promise<Measured> {
  const order: LoadOrder = {
    url: treeline.url,
    series: SERIES,
    connections: CONNECTIONS,
    firstMs: FIRST_MS + range.from * STEP_MS,
    stepMs: STEP_MS,
    steps: range.steps,
    pauseMs: range.pauseMs,
  };
  const cpuBefore = cpuSeconds(treeline);
  const begun = performance.now();
  const load = await new Promise<LoadReport>((resolve, reject) => {
    sender.once('message', (message) => resolve(message as LoadReport));
    sender.once('exit', (code) => reject(new Error(`The sender ended with ${code}`)));
    sender.send(order);
  });
  await partitionsAtRest(treeline);
  return {
    load,
    seconds: (performance.now() - begun) / 1000,
    cpuSeconds: cpuSeconds(treeline) - cpuBefore,
  };
}

/** User and system time of all threads: fields 14 and 15 of /proc/<pid>/stat, see proc(5). */
function cpuSeconds({ program }: Treeline): number {
  const stat = readFileSync(`/proc/${program.pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
  return (Number(fields[11]) + Number(fields[12])) / ticks;
}

function residentBytes({ program }: Treeline, field: 'VmRSS' | 'VmHWM' = 'VmRSS'): number {
  const status = readFileSync(`/proc/${program.pid}/status`, 'utf8');
  const kilobytes = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
  return Number(kilobytes) * 1024;
}

/** Blocks in use: the file of the database is longer than what it holds. */
function diskBytes(path: string): number {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.blocks * 512;
  return readdirSync(path).reduce((sum, name) => sum + diskBytes(join(path, name)), 0);
}

/**
 * What the usual way costs: decompress, decode every label and sample into objects. Samples per
 * CPU-second.
 */
function naiveDecodeRate(): number {
  const template = templateOf(0, SERIES_PER_BODY);
  writeStep(template, { first: 0, at: 1, ms: FIRST_MS });
  const body = compressSync(template.message);
  const rounds = isSmoke ? 5 : 60;
  let decoded = 0;
  for (let round = 0; round < 3; round++) decoded += decodeOnce(body);
  const before = process.cpuUsage();
  decoded = 0;
  for (let round = 0; round < rounds; round++) decoded += decodeOnce(body);
  const { user, system } = process.cpuUsage(before);
  return decoded / ((user + system) / 1e6);
}

function decodeOnce(body: Uint8Array): number {
  const message = uncompressSync(Buffer.from(body)) as Buffer;
  return fromBinary(WriteRequestSchema, message).timeseries.length;
}

function report(found: typeof results): void {
  const fixed = (value: number, digits: number) => value.toFixed(digits);
  const rows: [string, string, string][] = [
    ['durable and scored', `${found.samplesPerSecond} samples/s`, ''],
    ['per CPU-second of the program', `${found.samplesPerCpuSecond} samples`, ''],
    [
      'snappy + fromBinary, decoding alone',
      `${found.naiveDecodePerCpuSecond} samples/CPU-s`,
      `${fixed(found.samplesPerCpuSecond / found.naiveDecodePerCpuSecond, 1)}x`,
    ],
    ['answer at full load, p50 / p99', pair(found.answerMs), ''],
    ['CPU at 10,000 samples/s', `${fixed(100 * found.pacedCpuShare, 1)} % of a core`, ''],
    ['answer at 10,000 samples/s, p50 / p99', pair(found.pacedAnswerMs), ''],
    [
      'RSS at 10,000 series, now / peak',
      `${fixed(found.rssMegabytes, 0)} / ${fixed(found.rssPeakMegabytes, 0)} MB`,
      '',
    ],
    [
      'disk, all in',
      `${fixed(found.diskBytesPerSample, 1)} B/sample`,
      `<= ${BYTES_PER_SAMPLE_TARGET}`,
    ],
    ['body on the wire', `${fixed(found.wireBytesPerSample, 1)} B/sample`, ''],
    [
      'ready, empty / again',
      `${fixed(found.readyMs, 0)} / ${fixed(found.readyAgainMs, 0)} ms`,
      `<= ${READY_MS_TARGET}`,
    ],
  ];
  console.log(
    `${new Date().toISOString()} ${cpus()[0]?.model} x ${cpus().length}, Node ${process.version}`,
  );
  console.log(
    `${found.samples} samples of ${SERIES} series, 12 labels, ${CONNECTIONS} connections`,
  );
  for (const [what, value, target] of rows)
    console.log(`${what.padEnd(40)} ${value.padEnd(26)} ${target}`);
  console.log(JSON.stringify(found));
}

function pair({ p50, p99 }: { p50: number; p99: number }): string {
  return `${p50.toFixed(1)} / ${p99.toFixed(1)} ms`;
}
