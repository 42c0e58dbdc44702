// The built program under load over real HTTP: samples a second and per CPU-second of its own
// process, from the socket to the durable log and the learnt state; at half of that, how long from a
// request to its visible score; memory, disk, time to ready; beside it what `snappy` and the generated
// decoder cost on the same bodies in the same run. `node dist/bench/end-to-end.bench.js [--smoke]`.

import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fromBinary } from '@bufbuild/protobuf';
import { compressSync, uncompressSync } from 'snappy';
import { openDataDir } from '../src/data-dir.js';
import { WriteRequestSchema } from '../src/gen/remote_write_v1_pb.js';
import { removeDirectory, temporaryDirectory } from '../test/programs.js';
import {
  identityFaults,
  partitionsAtRest,
  startTreeline,
  type Treeline,
} from '../test/treeline-process.js';
import { templateOf, writeStep } from './load-bodies.js';
import { type LoadOrder, type LoadReport, SERIES_PER_BODY } from './load-sender.js';
import { cpuSecondsOf, type Memory, memoryOf } from './process-readings.js';
import { probeVisible, visibleWithin } from './visible-probe.js';

const isSmoke = process.argv.includes('--smoke');
const SERIES = 10_000;
const CONNECTIONS = 4;
const STEP_MS = 15_000;
const WARM = { steps: 20, pauseMs: 0 };
/** As a scrape interval of 15 s sends them; the short run only shows that it works. */
const USUAL = isSmoke ? { steps: 2, pauseMs: 1_000 } : { steps: 3, pauseMs: STEP_MS };
const FULL = { steps: isSmoke ? 20 : 600, pauseMs: 0 };
/** At half of what full load reached; its timestamps are those of the clock. */
const HALF = { steps: isSmoke ? 20 : 600, probes: isSmoke ? 5 : 200 };
/**
 * The steps before half load end hours before it begins, and not days: series are not forgotten in
 * between. Runs of one size must come to the same outcomes.
 */
const FIRST_MS = Date.now() - 6 * 3_600_000;
const READY_MS_TARGET = 3_000;
const BYTES_PER_SAMPLE_TARGET = 20;
const RSS_MEGABYTES_TARGET = 200;
const VISIBLE_MS_TARGET = 1_000;

const directory = temporaryDirectory('bench');
const dataDir = join(directory, 'data');
const args = ['--logging-level', 'warn'];
const sender = fork(fileURLToPath(new URL('load-sender.js', import.meta.url)));

const first = await startTreeline({ dataDir, args });
await measure(first, { ...WARM, from: 0 });
const usual = await measure(first, { ...USUAL, from: WARM.steps });
const usualMemory = memoryOf(first.program.pid);
const full = await measure(first, { ...FULL, from: WARM.steps + USUAL.steps });
const fullMemory = memoryOf(first.program.pid);
const half = await measureHalf(first, full.load.samples / full.seconds);
const rows = await partitionsAtRest(first);
const faults = identityFaults(await first.metrics());
await first.stop();
const onDisk = diskBytes(dataDir);
const logBytes = await logPagesBytes(dataDir, rows.length);
const again = await startTreeline({ dataDir, args });
await again.stop();
sender.disconnect();
removeDirectory(directory);

const samples = SERIES * (WARM.steps + USUAL.steps + FULL.steps + HALF.steps) + HALF.probes;
const applied = rows.reduce((sum, { outcomes }) => sum + (outcomes['applied'] ?? 0), 0);
if (applied !== samples) faults.push(`sent ${samples} samples in order, applied ${applied}`);
const results = {
  samples,
  samplesPerSecond: Math.round(full.load.samples / full.seconds),
  samplesPerCpuSecond: Math.round(full.load.samples / full.cpuSeconds),
  naiveDecodePerCpuSecond: Math.round(naiveDecodeRate()),
  fullAnswerMs: { p50: full.load.p50, p99: full.load.p99 },
  halfSamplesPerSecond: Math.round(half.measured.load.samples / half.measured.seconds),
  halfAnswerMs: { p50: half.measured.load.p50, p99: half.measured.load.p99 },
  halfVisibleMs: half.visible,
  halfVisibleWithinSecond: half.withinSecond,
  usualCpuShare: usual.cpuSeconds / usual.seconds,
  usualAnswerMs: { p50: usual.load.p50, p99: usual.load.p99 },
  usualMemory,
  fullMemory,
  repeatedBodies: full.load.repeated,
  logBytesPerSample: logBytes / samples,
  diskBytesPerSample: onDisk / samples,
  wireBytesPerSample: full.load.bodyBytes / full.load.samples,
  readyMs: first.readyMs,
  readyAgainMs: again.readyMs,
  faults,
  outcomes: createHash('sha256')
    .update(JSON.stringify(rows.map(({ outcomes }) => outcomes)))
    .digest('hex'),
};
report(results);
const isSlow = Math.max(results.readyMs, results.readyAgainMs) > READY_MS_TARGET;
const isUnseen = !isSmoke && !(half.visible.p99 <= VISIBLE_MS_TARGET);
// A short run is mostly announcements.
const isFat = !isSmoke && results.logBytesPerSample > BYTES_PER_SAMPLE_TARGET;
if (faults.length > 0 || isSlow || isFat || isUnseen) process.exitCode = 1;

interface Measured {
  load: LoadReport;
  /** Until everything sent is scored. */
  seconds: number;
  cpuSeconds: number;
}

/** Requests one after another are probed while the others send at half of `capacity`, samples a second. */
async function measureHalf(treeline: Treeline, capacity: number) {
  // Whole milliseconds, as timestamps are: they keep up with the clock.
  const pauseMs = Math.ceil((SERIES * 1000) / (capacity / 2));
  const before = await treeline.metrics();
  const options = { count: HALF.probes, pauseMs: (0.8 * HALF.steps * pauseMs) / HALF.probes };
  const [measured, visible] = await Promise.all([
    measure(treeline, { steps: HALF.steps, pauseMs, from: 0, isNow: true }),
    probeVisible(treeline.url, options),
  ]);
  const withinSecond = visibleWithin('1', { before, after: await treeline.metrics() });
  return { measured, visible, withinSecond };
}

async function measure(
  treeline: Treeline,
  range: { steps: number; pauseMs: number; from: number; isNow?: boolean },
): Promise<Measured> {
  const order: LoadOrder = {
    url: treeline.url,
    series: SERIES,
    connections: CONNECTIONS,
    firstMs: range.isNow ? Date.now() : FIRST_MS + range.from * STEP_MS,
    stepMs: range.isNow ? range.pauseMs : STEP_MS,
    steps: range.steps,
    pauseMs: range.pauseMs,
  };
  const cpuBefore = cpuSecondsOf(treeline.program.pid);
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
    cpuSeconds: cpuSecondsOf(treeline.program.pid) - cpuBefore,
  };
}

/** Pages of the samples log, announcements and lmdb's own share included; checkpoints and free pages not. */
async function logPagesBytes(path: string, partitions: number): Promise<number> {
  const dir = await openDataDir(path);
  let bytes = 0;
  for (let partition = 0; partition < partitions; partition++) {
    const stats = dir.openDatabase(`samples/${partition}`, {}).getStats() as Record<string, number>;
    const pages = ['treeBranchPageCount', 'treeLeafPageCount', 'overflowPages'];
    bytes +=
      pages.reduce((sum, name) => sum + (stats[name] as number), 0) * (stats['pageSize'] as number);
  }
  await dir.close();
  return bytes;
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
  const naive = found.naiveDecodePerCpuSecond;
  const ratio = (found.samplesPerCpuSecond / naive).toFixed(1);
  const ready = `${found.readyMs.toFixed(0)} / ${found.readyAgainMs.toFixed(0)} ms`;
  const table: [what: string, value: string, target?: string][] = [
    ['durable and scored', `${found.samplesPerSecond} samples/s`],
    ['per CPU-second of the program', `${found.samplesPerCpuSecond} samples`],
    ['snappy + fromBinary, decoding alone', `${naive} samples/CPU-s`, `ours is ${ratio}x`],
    ['answer at full load, p50 / p99', pair(found.fullAnswerMs)],
    ['at half of that', `${found.halfSamplesPerSecond} samples/s`],
    ['answer at half load, p50 / p99', pair(found.halfAnswerMs)],
    [
      'request to visible score at half load, p50 / p99',
      pair(found.halfVisibleMs),
      `<= ${VISIBLE_MS_TARGET} ms`,
    ],
    ['records visible within 1 s', `${(100 * found.halfVisibleWithinSecond).toFixed(2)} %`],
    ['CPU at the usual rate', `${(100 * found.usualCpuShare).toFixed(1)} % of a core`],
    ['answer at the usual rate, p50 / p99', pair(found.usualAnswerMs)],
    ['memory at the usual rate', memory(found.usualMemory), `<= ${RSS_MEGABYTES_TARGET} MB`],
    ['memory after full load', memory(found.fullMemory)],
    [
      'log, announcements included',
      `${found.logBytesPerSample.toFixed(1)} B/sample`,
      `<= ${BYTES_PER_SAMPLE_TARGET}`,
    ],
    ['disk, all in', `${found.diskBytesPerSample.toFixed(1)} B/sample`],
    ['body on the wire', `${found.wireBytesPerSample.toFixed(1)} B/sample`],
    ['ready, empty / again', ready, `<= ${READY_MS_TARGET} ms`],
  ];
  const processor = `${cpus()[0]?.model} x ${cpus().length}`;
  console.log(`${new Date().toISOString()} ${processor}, Node ${process.version}`);
  console.log(`${found.samples} samples of ${SERIES} series, ${CONNECTIONS} connections`);
  for (const [what, value, target = ''] of table) {
    console.log(`${what.padEnd(50)} ${value.padEnd(30)} ${target}`.trimEnd());
  }
  console.log(JSON.stringify(found));
}

function memory({ rssMegabytes, ownMegabytes }: Memory): string {
  return `${rssMegabytes.toFixed(0)} MB, ${ownMegabytes.toFixed(0)} of them own`;
}

function pair({ p50, p99 }: { p50: number; p99: number }): string {
  return `${p50.toFixed(1)} / ${p99.toFixed(1)} ms`;
}
