// Does a vector find what its features do not show, does it lose what one of many shows, and what does it cost? Cases are
// generated, the features of each are scored by a forest of their own beside the vector. Goals: found of each kind and
// flags of calm entities, at the defaults; time and memory of 30,000 pods of three features. No goals: the log, decoding.
//
//   node dist/bench/entities.bench.js [--cases N] [--pods N] [--smoke]
//
// A fault is found when an onset falls into its 20 steps of 15 s.

import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { create, toBinary } from '@bufbuild/protobuf';
import { loadSettings } from '../src/config.js';
import { detectorSpecs } from '../src/detector-rules.js';
import { SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import { createDetector, type DetectorSet } from '../src/scorer/detectors.js';
import { EntityKernel } from '../src/scorer/entity-kernel.js';
import { Partition } from '../src/scorer/partition.js';
import { WasmForest } from '../src/scorer/wasm-forest.js';
import { loadWasm } from '../src/wasm-files.js';
import {
  CASE_KINDS,
  type CaseKind,
  type EntityCase,
  entityCase,
  FAULT_STEPS,
  STEPS_PER_DAY,
} from './entity-cases.js';

const { values: options } = parseArgs({
  options: {
    cases: { type: 'string', default: '40' },
    pods: { type: 'string', default: '30000' },
    smoke: { type: 'boolean', default: false },
  },
});
const CASES = options.smoke ? 2 : Number(options.cases);
const PODS = options.smoke ? 300 : Number(options.pods);
const STEP_MS = 15_000;
const START_MS = 1_763_683_200_000;
const SETTINGS = { trees: 48, remember: 4096, share: 0 };
/** Slot of the distance; the features have those before it. */
const DISTANCE = 16;

const NAMES = [
  'container_cpu_usage_seconds_total',
  'container_memory_usage_bytes',
  'kube_pod_container_status_restarts_total',
];

const forestModule = loadWasm('forest').module;
const entityModule = loadWasm('entity').module;

console.log(`${cpus()[0]?.model ?? 'unknown CPU'}, Node ${process.version}`);
judgeCases();
measureLoad();

function judgeCases(): void {
  console.log(
    '\n| case | cases | found by the vector | by any feature of its own | right feature blamed | flags before it: first day, a later day |',
  );
  console.log('|---|--:|--:|--:|--:|--:|');
  for (const kind of CASE_KINDS) {
    const seen = { vector: 0, single: 0, isBlamed: 0, firstDay: 0, later: 0, days: 0 };
    for (let seed = 1; seed <= CASES; seed++) {
      const judged = judge(entityCase(kind, 7919 * seed + kind.length));
      for (const what of ['vector', 'single', 'isBlamed'] as const) if (judged[what]) seen[what]++;
      for (const what of ['firstDay', 'later', 'days'] as const) seen[what] += judged[what];
    }
    const found = kind === 'calm' ? ['', '', ''] : [seen.vector, seen.single, seen.isBlamed];
    const early = (seen.firstDay / CASES).toFixed(2);
    const later = (seen.later / seen.days).toFixed(3);
    console.log(`| ${named(kind)} | ${CASES} | ${found.join(' | ')} | ${early}, ${later} |`);
  }
}

function named(kind: CaseKind): string {
  return {
    proportion: 'processor time up, memory and requests as before',
    relief: 'processor time down, requests as before',
    restart: 'a restart without the usual start-up',
    'among 16': 'one of 16 features off',
    spike: 'one of three features far out',
    calm: 'nothing',
  }[kind];
}

function judge(one: EntityCase) {
  const { features, steps, faultAt } = one;
  const kernel = new EntityKernel(entityModule, 1);
  const settings = { ...SETTINGS, features };
  const bytes = new Uint8Array(kernel.recordBytes(settings));
  const forest = new WasmForest(forestModule, { seriesMax: DISTANCE + 1, seed: 1 });
  for (let slot = 0; slot <= DISTANCE; slot++) forest.open(slot, 'gauge');
  const judged = {
    vector: false,
    single: false,
    isBlamed: false,
    firstDay: 0,
    later: 0,
    days: faultAt / STEPS_PER_DAY - 1,
  };
  for (let step = 0; step < steps; step++) {
    one.next(kernel.values);
    const row = [...kernel.values.subarray(0, features)].map((value, slot) => ({ slot, value }));
    const distance = kernel.observe(bytes, (1 << features) - 1, settings);
    if (!Number.isNaN(distance)) row.push({ slot: DISTANCE, value: distance });
    for (const slot of onsetsOf(forest, row, START_MS + step * STEP_MS)) {
      const isVector = slot === DISTANCE;
      if (step >= faultAt && step < faultAt + FAULT_STEPS) {
        if (!isVector) judged.single = true;
        else if (!judged.vector) {
          const shares = [...kernel.shares.subarray(0, features)];
          judged.vector = true;
          judged.isBlamed = shares.indexOf(Math.max(...shares)) === one.blamed;
        }
      } else if (isVector && step < faultAt) {
        if (step < STEPS_PER_DAY) judged.firstDay++;
        else judged.later++;
      }
    }
  }
  return judged;
}

/** Slots whose anomaly begins with this row. */
function onsetsOf(
  forest: WasmForest,
  row: { slot: number; value: number }[],
  ms: number,
): number[] {
  const timestamps = new DataView(forest.timestampBytes.buffer, forest.timestampBytes.byteOffset);
  const values = new DataView(forest.valueBytes.buffer, forest.valueBytes.byteOffset);
  for (const [i, { slot, value }] of row.entries()) {
    forest.slots[i] = slot;
    timestamps.setBigInt64(8 * i, BigInt(ms), true);
    values.setFloat64(8 * i, value, true);
  }
  const events = forest.observe(row.length);
  const onsets: number[] = [];
  for (let event = 0; event < events; event++) {
    if (forest.eventPhases[event] === 1) onsets.push(row[forest.eventIndexes[event]!]!.slot);
  }
  return onsets;
}

function detectors(): DetectorSet {
  const file = { name: 'bench', text: 'detectors: [{preset: kubernetes-pods}]\n' };
  const settings = loadSettings({ file });
  const specs = detectorSpecs(settings);
  return {
    detectors: specs.map((spec) => createDetector(spec, settings.ingest.partitionBy)),
    kernel: new EntityKernel(entityModule, 1),
  };
}

/** One partition takes scrapes of all pods, as records of the log; with and without the detector. */
function measureLoad(): void {
  const steps = options.smoke ? 30 : 60;
  const plain = load(undefined, steps);
  const whole = load(detectors(), steps);
  const perVector = (whole.ms - plain.ms) / PODS;
  console.log(
    `\n${PODS} pods x 3 features at 15 s, one core, after the first ${steps / 2} scrapes:`,
  );
  console.log(
    `  a scrape without the detector ${plain.ms.toFixed(0)} ms, with it ${whole.ms.toFixed(0)} ms`,
  );
  console.log(
    `  ${(1000 * perVector).toFixed(2)} µs a vector; head-room ${(STEP_MS / whole.ms).toFixed(1)} times`,
  );
  console.log(
    `  ${((whole.bytes - plain.bytes) / PODS).toFixed(0)} bytes an entity beside its series, of which record ` +
      `${whole.recordBytes}, distance ${whole.forestBytes}`,
  );
}

function load(set: DetectorSet | undefined, steps: number) {
  globalThis.gc?.();
  const seriesMax = 4 * PODS + 16;
  const forest = new WasmForest(forestModule, { seriesMax, seed: 1 });
  const before = heldBytes();
  const partition = new Partition(forest, seriesMax, set);
  const spent: number[] = [];
  for (let step = 0; step < steps; step++) {
    const records = recordsOf(step);
    // Of the processor, so that others on the machine do not count.
    const begin = process.cpuUsage();
    for (const record of records) partition.apply(record);
    const { user, system } = process.cpuUsage(begin);
    spent.push((user + system) / 1e3);
  }
  globalThis.gc?.();
  const late = spent.slice(steps / 2).sort((a, b) => a - b);
  // The forest's memory is one piece from the beginning; of it, the part in use counts.
  const bytes = heldBytes() - before + partition.slots.slotEnd * forest.recordBytes;
  const recordBytes = set === undefined ? 0 : set.kernel.recordBytes(set.detectors[0]!.vector);
  return { ms: late[late.length >> 1]!, bytes, recordBytes, forestBytes: forest.recordBytes };
}

function heldBytes(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** One scrape of all pods, 4,000 pods a record. */
function recordsOf(step: number): Uint8Array[] {
  const records: Uint8Array[] = [];
  const view = new DataView(new ArrayBuffer(8));
  for (let from = 0; from < PODS; from += 4000) {
    const pods = Array.from({ length: Math.min(4000, PODS - from) }, (_, i) => from + i);
    const rows = pods.flatMap((pod) => NAMES.map((name, feature) => ({ pod, name, feature })));
    const fingerprintOf = (pod: number, feature: number) =>
      BigInt.asUintN(64, BigInt(3 * pod + feature + 1) * 0x9e3779b97f4a7c15n);
    const bitsOf = (pod: number, feature: number): bigint => {
      const load = 1 + 0.5 * Math.sin(step / 7 + pod) + 0.05 * Math.sin(step * pod);
      view.setFloat64(0, [step * 15 * load, 2e8 + 1e8 * load, 0][feature]!);
      return view.getBigUint64(0);
    };
    const block = create(SampleBlockSchema, {
      fingerprint: rows.map(({ pod, feature }) => fingerprintOf(pod, feature)),
      timestampMs: rows.map(() => BigInt(START_MS + step * STEP_MS)),
      valueBits: rows.map(({ pod, feature }) => bitsOf(pod, feature)),
      series:
        step > 0
          ? []
          : rows.map(({ pod, name, feature }) => ({
              fingerprint: fingerprintOf(pod, feature),
              label: [
                { name: '__name__', value: name },
                { name: 'namespace', value: `team-${pod % 50}` },
                { name: 'pod', value: `service-${pod % 997}-5d9f7c6b8-${pod}` },
                { name: 'container', value: 'app' },
              ],
            })),
    });
    records.push(toBinary(SampleBlockSchema, block));
  }
  return records;
}
