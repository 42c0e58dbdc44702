// The deep-check role: candidates in, verdicts out, of the same partition. Verdicts are appended in the order of their
// candidates, and each names its candidate's offset: so the last verdict of a partition says where to go on, and the role
// keeps no state of its own. Whoever owns the partition next, on whatever machine, finds it in the log.

import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { OperatingError } from '../errors.js';
import { type Candidate, CandidateSchema, Phase } from '../gen/candidate_pb.js';
import { Judgement, type Verdict, VerdictSchema } from '../gen/verdict_pb.js';
import type { Logger } from '../http-server.js';
import type { ForecastDesk } from '../inference/forecast-desk.js';
import type { Forecaster } from '../inference/forecaster.js';
import type { Log } from '../log/log.js';
import type { Metrics } from '../metrics.js';
import { type Running, runStage, type Stage } from '../stage.js';
import { Checker } from './checker.js';
import { VerdictTail } from './verdict-tail.js';

export const DEEP_CHECK_GROUP = 'deep-check';

export interface DeepCheckParts {
  log: Log;
  forecaster: Forecaster;
  metrics: Metrics;
  logger: Logger;
  clock: () => number;
  settings: { batch: number; windowsPerSecond: number; waitMsMax: number };
}

/** A verdict on its way to the log. */
interface Pending {
  offset: number;
  verdict: Promise<Verdict>;
  isAppended: boolean;
}

export class DeepCheck {
  readonly #parts: DeepCheckParts;
  readonly #checker: Checker;
  readonly #tail: VerdictTail;
  readonly #pending = new Map<number, Pending[]>();
  #running: Running | undefined;
  #told: string | undefined;

  constructor(parts: DeepCheckParts) {
    const { metrics, settings, forecaster, clock } = parts;
    this.#parts = parts;
    this.#tail = new VerdictTail(parts.log);
    this.#checker = new Checker({
      ...{ forecaster, clock, settings },
      onVerdict(outcome, seconds) {
        metrics.verdicts.inc({ outcome: Judgement[outcome].toLowerCase() });
        if (seconds !== undefined) metrics.deepCheckSeconds.observe(seconds);
      },
      onShed: (reason) => metrics.deepCheckShed.inc({ reason }),
    });
    observe(metrics, { waiting: () => this.#checker.length, forecaster });
  }

  /** Where others ask for forecasts, in the same batches and budget. */
  get desk(): ForecastDesk {
    return this.#checker;
  }

  async start(): Promise<void> {
    const { log, logger } = this.#parts;
    this.#running = await runStage(log, this.#stage(), logger);
  }

  get failed(): Promise<void> {
    return this.#running?.failed ?? new Promise(() => {});
  }

  unready(): string | undefined {
    return this.#running?.isShared() === true ? undefined : 'joining';
  }

  /** That nothing can be checked makes the process no less ready: flags go up without it. */
  note(): string | undefined {
    return this.#parts.forecaster.trouble();
  }

  /** What is being checked is finished; at most the waiting time and a run. */
  async stop(): Promise<void> {
    await this.#running?.stop();
    await this.#parts.forecaster.close();
  }

  #stage(): Stage {
    const { log, metrics } = this.#parts;
    return {
      topic: 'candidates',
      group: DEEP_CHECK_GROUP,
      restore: async (partition, signal) => {
        this.#pending.set(partition, []);
        const { low, high } = await log.bounds('candidates', partition);
        const next = (await this.#tail.lastOffset(partition, signal)) ?? low - 1;
        return Math.min(Math.max(next + 1, low), high);
      },
      apply: (partition, record, offset) => {
        const candidate = readCandidate(record, partition, offset);
        if (candidate.phase !== Phase.ONSET) return;
        const verdict = this.#checker.check(candidate);
        verdict.catch(() => {}); // settle hears of it
        this.#pending.get(partition)?.push({ offset, verdict, isAppended: false });
      },
      onGap: (partition, records) => {
        metrics.gapRecords.inc({ topic: 'candidates', partition: String(partition) }, records);
      },
      settle: (partition) => this.#append(partition),
      drop: (partition) => {
        this.#pending.delete(partition);
      },
    };
  }

  /** In the order of the candidates, without waiting for each to be durable before the next one. */
  async #append(partition: number): Promise<void> {
    const pending = this.#pending.get(partition) ?? [];
    const appends: Promise<void>[] = [];
    for (const one of pending) {
      if (one.isAppended) continue;
      const verdict = await one.verdict;
      verdict.candidateOffset = BigInt(one.offset);
      const bytes = toBinary(VerdictSchema, verdict);
      const append = this.#parts.log.append('verdicts', partition, bytes, 0).then(() => {
        one.isAppended = true;
      });
      append.catch(() => {}); // heard of below
      appends.push(append);
    }
    await Promise.all(appends);
    pending.splice(0, pending.length);
    this.#tellTrouble();
  }

  /** Once when it begins and once when it is over. */
  #tellTrouble(): void {
    const { forecaster, logger } = this.#parts;
    const trouble = forecaster.trouble();
    if ((trouble === undefined) === (this.#told === undefined)) return;
    this.#told = trouble;
    if (trouble === undefined) logger.info({}, 'Candidates are checked again');
    else logger.warn({ reason: trouble }, 'Candidates are not checked; flags go up without it');
  }
}

function readCandidate(record: Uint8Array, partition: number, offset: number): Candidate {
  try {
    return fromBinary(CandidateSchema, record);
  } catch (error) {
    const text = `The record candidates/${partition} at ${offset} is no candidate: ${(error as Error).message}`;
    throw new OperatingError('record_unreadable', text, error);
  }
}

function observe(
  metrics: Metrics,
  { waiting, forecaster }: { waiting: () => number; forecaster: Forecaster },
): void {
  const length = { name: 'treeline_deep_check_queue_length', help: 'Checks that wait for a batch' };
  metrics.observe('gauge', length, () => [{ labels: {}, value: waiting() }]);
  const runtime = {
    name: 'treeline_deep_check_runtime',
    help: '1 while candidates can be checked, by what is asked and where it runs',
    labels: ['model', 'runtime'],
  };
  metrics.observe('gauge', runtime, () => [
    {
      labels: { model: forecaster.id, runtime: forecaster.runtime },
      value: forecaster.trouble() === undefined ? 1 : 0,
    },
  ]);
  const failures = {
    name: 'treeline_inference_failures_total',
    help: 'Times that a runtime crashed, hung or was away; it is opened again after a rest',
    labels: ['runtime'],
  };
  metrics.observe('counter', failures, () => [
    { labels: { runtime: forecaster.runtime }, value: forecaster.failures },
  ]);
}
