// The deep-check role alone, on a log in memory, and candidates with windows as a scorer would hand them on.

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { DeepCheck, type DeepCheckParts } from '../src/deep-check/deep-check.js';
import { type Candidate, CandidateSchema, Phase, WindowSchema } from '../src/gen/candidate_pb.js';
import { type Verdict, VerdictSchema } from '../src/gen/verdict_pb.js';
import type { Forecaster } from '../src/inference/forecaster.js';
import { openForecaster } from '../src/inference/open-forecaster.js';
import { createMetrics } from '../src/metrics.js';
import { quiet } from './api-site.js';
import { type CandidateFields, candidate } from './candidates.js';
import { MemoryLog, type Remains } from './memory-log.js';
import { parseMetrics, readingOf } from './treeline-process.js';

export const INTERVAL_MS = 15_000;
/** When the first candidate of a test happened. */
export const AT_MS = 1_763_683_200_000;

export interface DeepSite {
  log: MemoryLog;
  role: DeepCheck;
  forecaster: Forecaster;
  append(candidates: readonly Candidate[], partition?: number): Promise<void>;
  /** Once there are so many of a partition. */
  verdicts(count: number, partition?: number): Promise<Verdict[]>;
  metric(name: string, labels?: Record<string, string>): Promise<number>;
  stop(): Promise<void>;
}

export async function openDeepSite(
  options: {
    forecaster?: Forecaster;
    remains?: Remains;
    partitions?: number;
    settings?: Partial<DeepCheckParts['settings']>;
  } = {},
): Promise<DeepSite> {
  const log = new MemoryLog(options.partitions ?? 1, options.remains);
  const metrics = createMetrics('0');
  const forecaster = options.forecaster ?? (await nano());
  const role = new DeepCheck({
    ...{ log, metrics, forecaster, logger: quiet, clock: Date.now },
    settings: { batch: 32, windowsPerSecond: 1000, waitMsMax: 5_000, ...options.settings },
  });
  await role.start();
  return {
    ...{ log, role, forecaster },
    async append(candidates, partition = 0) {
      const records = candidates.map((one) => toBinary(CandidateSchema, one));
      await Promise.all(records.map((bytes) => log.append('candidates', partition, bytes, 0)));
    },
    verdicts: (count, partition = 0) => readVerdicts(log, partition, count),
    async metric(name, labels) {
      return readingOf(parseMetrics(await metrics.text()), name, labels) ?? 0;
    },
    async stop() {
      await role.stop();
      await log.close();
    },
  };
}

export function nano(runtime: 'native' | 'wasm' = 'native'): Promise<Forecaster> {
  const choice = { model: 'nano', runtime, remote: '' };
  return openForecaster(choice, { logger: quiet, clock: Date.now });
}

async function readVerdicts(log: MemoryLog, partition: number, count: number): Promise<Verdict[]> {
  const subscription = await log.subscribe('verdicts', { onAssigned() {}, onLost() {} });
  const signal = AbortSignal.timeout(30_000);
  const verdicts: Verdict[] = [];
  for (let from = 0; verdicts.length < count; ) {
    const { records, next } = await subscription.read(partition, from, 1e9, signal);
    for (const { value } of records) verdicts.push(fromBinary(VerdictSchema, value));
    from = next;
  }
  await subscription.close();
  return verdicts;
}

/** An onset at the end of these values; by default only the last one is suspicious. */
export function suspicion(
  values: readonly number[],
  fields: CandidateFields & { suspicious?: number } = {},
): Candidate {
  const { suspicious = 1, ...rest } = fields;
  return candidate(Phase.ONSET, AT_MS, {
    onsetMs: BigInt(AT_MS),
    value: values.at(-1) ?? 0,
    window: create(WindowSchema, {
      intervalMs: BigInt(INTERVAL_MS),
      value: [...values],
      suspiciousFrom: values.length - suspicious,
    }),
    ...rest,
  });
}

/** A wave of 48 samples with a little noise, but for the last one. */
export function wave(
  count: number,
  options: { level?: number; size?: number; noise?: number } = {},
) {
  const { level = 100, size = 20, noise = 1 } = options;
  let state = 1;
  const uniform = () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647 - 0.5;
  };
  return Array.from(
    { length: count },
    (_, i) =>
      level +
      size * Math.sin((2 * Math.PI * i) / 48) +
      noise * 2 * (i === count - 1 ? 0 : uniform()),
  );
}
