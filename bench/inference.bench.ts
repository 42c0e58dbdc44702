// What a second opinion costs: windows per CPU-second of each runtime at batches of 1, 8, 32 and 128, the delay that runs add
// to the event loop of this process, how long a check takes under load from candidate to verdict, and whether memory stays
// where it is over many runs. CPU time of the child is counted, as it is what a machine has less of. No goal: whether the
// answers are any good (forecast.bench.ts, detect.bench.ts).
//
//   node dist/bench/inference.bench.js [--smoke] [--runs N] [--runtime native|wasm|both]

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { create } from '@bufbuild/protobuf';
import { Checker } from '../src/deep-check/checker.js';
import { CandidateSchema, Phase, WindowSchema } from '../src/gen/candidate_pb.js';
import { ModelForecaster } from '../src/inference/forecaster.js';
import { inputTensors } from '../src/inference/layout.js';
import { loadModel } from '../src/inference/manifest.js';
import { createNativeRuntime } from '../src/inference/native-runtime.js';
import type { Runtime } from '../src/inference/tensor.js';
import { createWasmRuntime } from '../src/inference/wasm-runtime.js';

const { values: options } = parseArgs({
  options: {
    smoke: { type: 'boolean', default: false },
    runs: { type: 'string' },
    runtime: { type: 'string', default: 'both' },
  },
});
const BATCHES = options.smoke ? [1, 32] : [1, 8, 32, 128];
const WINDOWS = options.smoke ? 64 : 6_400;
const RUNS = Number(options.runs ?? (options.smoke ? 50 : 2_000));
const CHECKS = options.smoke ? 32 : 800;
/** Checks per second while the time of one is measured. */
const RATE = 100;
const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK']).toString());

const model = loadModel('nano');
const report: Record<string, object> = {};
console.log(
  `${new Date().toISOString().slice(0, 10)}, ${cpus()[0]?.model}, Node ${process.version}`,
);
const idle = await loopDelay(() => sleep(options.smoke ? 200 : 2_000));
console.log(`event loop, idle: p50 ${idle.p50.toFixed(2)} ms, p99 ${idle.p99.toFixed(2)} ms`);
for (const kind of ['native', 'wasm'] as const) {
  if (options.runtime === 'both' || options.runtime === kind) report[kind] = await measure(kind);
}
console.log(JSON.stringify({ bench: 'inference', report }));

async function measure(kind: 'native' | 'wasm'): Promise<object> {
  const make = kind === 'native' ? createNativeRuntime : createWasmRuntime;
  const runtime = make(model, { clock: Date.now });
  const began = performance.now();
  await runtime.run(windows(1));
  const firstMs = performance.now() - began;
  console.log(`\n${kind}: first answer after ${firstMs.toFixed(0)} ms`);
  // WebAssembly is compiled while it runs.
  for (let i = 0; i < 20; i++) await runtime.run(windows(32));
  const throughput: Record<number, object> = {};
  for (const batch of BATCHES) throughput[batch] = await throughputAt(runtime, batch);
  const memory = await memoryOver(runtime);
  const checks = await checkTimes(runtime);
  await runtime.close();
  return { firstMs, throughput, memory, checks };
}

async function throughputAt(runtime: Runtime, batch: number): Promise<object> {
  const inputs = windows(batch);
  const runs = Math.max(4, Math.round(WINDOWS / batch));
  let took = 0;
  const cpu = cpuSeconds();
  const delay = await loopDelay(async () => {
    const began = performance.now();
    for (let i = 0; i < runs; i++) await runtime.run(inputs);
    took = performance.now() - began;
  });
  const perCpuSecond = (runs * batch) / (cpuSeconds() - cpu);
  const perSecond = (1000 * runs * batch) / took;
  console.log(
    `  batch ${String(batch).padStart(3)}: ${perCpuSecond.toFixed(0).padStart(6)} windows/CPU-s, ` +
      `${perSecond.toFixed(0).padStart(6)} windows/s, ${(took / runs).toFixed(2)} ms a run; ` +
      `event loop p50 ${delay.p50.toFixed(2)} ms, p99 ${delay.p99.toFixed(2)} ms`,
  );
  return { perCpuSecond, perSecond, runMs: took / runs, loopP99Ms: delay.p99 };
}

/** Resident bytes of this process and its child after a quarter of the runs and after all of them. */
async function memoryOver(runtime: Runtime): Promise<object> {
  const sizes = [8, 32, 1, 24].map(windows);
  const at: number[] = [];
  for (let i = 0; i < RUNS; i++) {
    if (i === Math.floor(RUNS / 4)) at.push(residentBytes());
    await runtime.run(sizes[i % sizes.length] as ReturnType<typeof windows>);
  }
  at.push(residentBytes());
  const [early = 0, late = 0] = at.map((bytes) => bytes / 1e6);
  console.log(
    `  memory over ${RUNS} runs: ${early.toFixed(0)} MB after a quarter, ${late.toFixed(0)} MB at the end`,
  );
  return { runs: RUNS, earlyMb: early, lateMb: late };
}

/** From a candidate to its verdict, at RATE candidates a second. */
async function checkTimes(runtime: Runtime): Promise<object> {
  const forecaster = new ModelForecaster(model, runtime);
  const took: number[] = [];
  const checker = new Checker({
    ...{ forecaster, clock: performance.now.bind(performance) },
    settings: { batch: 32, windowsPerSecond: 1e6, waitMsMax: 5_000 },
    onVerdict: (_outcome, seconds) => {
      if (seconds !== undefined) took.push(1000 * seconds);
    },
    onShed: () => {},
  });
  const pending: Promise<unknown>[] = [];
  const began = performance.now();
  const delay = await loopDelay(async () => {
    for (let i = 0; i < CHECKS; i++) {
      pending.push(checker.check(candidate(i)));
      const due = began + (1000 * (i + 1)) / RATE;
      if (due > performance.now()) await sleep(due - performance.now());
    }
    await Promise.all(pending);
  });
  took.sort((a, b) => a - b);
  const [p50 = 0, p99 = 0] = [0.5, 0.99].map((share) => took[Math.floor(share * took.length)]);
  console.log(
    `  ${RATE} checks/s: p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms from candidate to verdict; ` +
      `event loop p50 ${delay.p50.toFixed(2)} ms, p99 ${delay.p99.toFixed(2)} ms`,
  );
  return { checks: took.length, p50, p99, loopP99Ms: delay.p99 };
}

function candidate(index: number) {
  const value = Array.from({ length: 512 }, (_, i) => 50 + 10 * Math.sin((i + index) / 8));
  return create(CandidateSchema, {
    fingerprint: BigInt(index + 1),
    phase: Phase.ONSET,
    score: 2,
    window: create(WindowSchema, { intervalMs: 15_000n, value, suspiciousFrom: 511 }),
  });
}

function windows(count: number) {
  const rows = Array.from({ length: count }, (_, row) =>
    Float64Array.from({ length: 512 }, (_value, i) => Math.sin((i * (row + 3)) / 40)),
  );
  return inputTensors(model.manifest, rows);
}

async function loopDelay(work: () => Promise<unknown>): Promise<{ p50: number; p99: number }> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await work();
  delay.disable();
  return { p50: delay.percentile(50) / 1e6, p99: delay.percentile(99) / 1e6 };
}

/** Of this process, its threads and its children that are alive. */
function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  const own = (user + system) / 1e6;
  return childPids().reduce((sum, pid) => sum + ticksOf(pid) / TICKS_PER_SECOND, own);
}

function residentBytes(): number {
  const pages = childPids().map((pid) =>
    Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]),
  );
  return process.memoryUsage().rss + 4096 * pages.reduce((sum, one) => sum + one, 0);
}

function childPids(): number[] {
  const path = `/proc/${process.pid}/task/${process.pid}/children`;
  return readFileSync(path, 'utf8').trim().split(' ').filter(Boolean).map(Number);
}

function ticksOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return Number(fields[11]) + Number(fields[12]);
}
