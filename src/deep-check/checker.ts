// From candidates to verdicts: admission, batches by count or age, one forecast per batch, a judgement each. Every candidate
// that comes in gets exactly one verdict. When it was not checked (shed, nothing to look at, no runtime, a run that failed)
// the verdict says so, and the forest's word stands. Forecasts that people asked for are one more group whose turn comes
// in the same batches and budget; where there is no room they are shed before the first candidate.

import { setTimeout as sleep } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { OperatingError } from '../errors.js';
import { type Candidate, Cause } from '../gen/candidate_pb.js';
import { Direction, Judgement, type Verdict, VerdictSchema } from '../gen/verdict_pb.js';
import type { ForecastDesk, ForecastQuestion } from '../inference/forecast-desk.js';
import type { Forecast, Forecaster } from '../inference/forecaster.js';
import { Turn } from '../inference/turn.js';
import { BATCH_MS, SENTENCE_LENGTH_MAX, WINDOW_VALUES_MAX } from '../limits-models.js';
import { Admission, type ShedReason, type Waiting } from './admission.js';
import { type Judged, judge } from './judge.js';
import { type CheckWindow, questionOf } from './origins.js';

export interface CheckerParts {
  forecaster: Forecaster;
  clock: () => number;
  settings: {
    /** Windows of one batch. */
    batch: number;
    windowsPerSecond: number;
    waitMsMax: number;
  };
  /** Told once per verdict; `seconds` of those that were checked. */
  onVerdict(outcome: Judgement, seconds: number | undefined): void;
  onShed(reason: ShedReason | UncheckedReason): void;
}

/** Why a candidate is not even offered, or comes back from a run without a judgement. */
export const UNCHECKED_REASONS = ['no_window', 'no_runtime', 'failed'] as const;
export type UncheckedReason = (typeof UNCHECKED_REASONS)[number];

const SHED_SENTENCES: Readonly<Record<ShedReason, string>> = {
  cooldown: 'The series was checked less than a minute before',
  replaced: 'A newer candidate of the series took its place',
  queue_full: 'Too many checks were waiting',
  late: 'It was not its turn in time',
};
/** Larger values are as good as infinite: differences of them overflow. */
export const MAGNITUDE_MAX = 1e300;

/** Waits for a batch: contexts, and what is to become of their forecasts. */
interface Check extends Waiting {
  contexts: readonly Float64Array[];
  steps: number;
  settle(forecasts: readonly Forecast[]): void;
  fail(error: OperatingError): void;
}

export class Checker implements ForecastDesk {
  readonly #parts: CheckerParts;
  readonly #admission: Admission<Check>;
  #pumping: Promise<void> | undefined;
  readonly #full = { resolve: () => {}, windows: Number.POSITIVE_INFINITY };

  constructor(parts: CheckerParts) {
    const { windowsPerSecond, waitMsMax } = parts.settings;
    this.#parts = parts;
    this.#admission = new Admission({ windowsPerSecond, waitMsMax }, parts.clock);
  }

  /** Checks that wait. */
  get length(): number {
    return this.#admission.length;
  }

  /** Resolves with its verdict, always: within the waiting time and a run. Rejects only for a programmer error. */
  check(candidate: Candidate): Promise<Verdict> {
    const { forecaster, clock } = this.#parts;
    const unchecked = (why: UncheckedReason, reason: string) => {
      this.#parts.onShed(why);
      return Promise.resolve(this.#verdict(candidate, { reason }));
    };
    const window = windowOf(candidate);
    if (window === undefined) return unchecked('no_window', 'The candidate has no window');
    const { contextMax, observedMin, horizon } = forecaster;
    const question = questionOf(window, { contextMax, observedMin, horizon });
    if (typeof question === 'string') return unchecked('no_window', question);
    const trouble = forecaster.trouble();
    if (trouble !== undefined) return unchecked('no_runtime', trouble);
    return new Promise((resolve, reject) => {
      const sinceMs = clock();
      const check: Check = {
        contexts: question.contexts,
        steps: Math.max(...question.futures.map(lengthOf)),
        key: `${candidate.tenant}/${candidate.fingerprint.toString(16)}`,
        group: groupOf(candidate),
        score: candidate.score,
        timestampMs: Number(candidate.timestampMs),
        windows: question.contexts.length,
        settle: (forecasts) =>
          resolve(this.#verdict(candidate, { judged: judge(question, forecasts), sinceMs })),
        fail: ({ message: reason }) => {
          this.#parts.onShed('failed');
          resolve(this.#verdict(candidate, { reason }));
        },
        shed: (reason) => {
          this.#parts.onShed(reason);
          resolve(this.#verdict(candidate, { reason: SHED_SENTENCES[reason] }));
        },
      };
      this.#offer(check)?.catch(reject);
    });
  }

  get forecaster(): Forecaster {
    return this.#parts.forecaster;
  }

  forecast({ key, group, context, steps }: ForecastQuestion): Promise<Forecast> {
    const { forecaster, clock } = this.#parts;
    const trouble = forecaster.trouble();
    const unavailable = (reason: string) => new OperatingError('inference_unavailable', reason);
    if (trouble !== undefined) return Promise.reject(unavailable(trouble));
    return new Promise((resolve, reject) => {
      const check: Check = {
        ...{ key, group, steps, contexts: [context], windows: 1 },
        // The first to make room.
        score: 0,
        timestampMs: clock(),
        settle: ([forecast]) => resolve(forecast as Forecast),
        fail: reject,
        shed: (reason) => reject(unavailable(SHED_SENTENCES[reason])),
      };
      this.#offer(check)?.catch(reject);
    });
  }

  /** Rejects for a programmer error. Undefined when it was shed at once: then there is nothing to pump, and nothing that ends. */
  #offer(check: Check): Promise<void> | undefined {
    this.#admission.offer(check);
    if (this.#admission.windows >= this.#full.windows) this.#full.resolve();
    if (this.#admission.length > 0) this.#pumping ??= this.#pump();
    return this.#pumping;
  }

  async #pump(): Promise<void> {
    const { settings, forecaster, clock } = this.#parts;
    try {
      while (this.#admission.length > 0) {
        await this.#untilDue(settings.batch);
        // A runtime is opened at the first check of a while, in seconds on a busy machine: that is nobody's turn missed.
        const askedMs = clock();
        await forecaster.prepare();
        this.#admission.excuse(clock() - askedMs);
        this.#admission.expire();
        const batch = this.#admission.take(settings.batch);
        if (batch.length > 0) await this.#run(batch);
        else if (this.#admission.length > 0) await sleep(BATCH_MS);
      }
    } finally {
      // In the same turn as the last look at the queue: whoever comes next starts another.
      this.#pumping = undefined;
    }
  }

  /** Until a batch is full, or the first of it has waited long enough. */
  async #untilDue(windows: number): Promise<void> {
    const rest = BATCH_MS - this.#admission.oldestMs();
    if (this.#admission.windows >= windows || rest <= 0) return;
    const due = new AbortController();
    this.#full.windows = windows;
    this.#full.resolve = () => due.abort();
    await sleep(rest, undefined, { signal: due.signal }).catch(() => {}); // full before its time
    this.#full.windows = Number.POSITIVE_INFINITY;
  }

  async #run(batch: readonly Check[]): Promise<void> {
    const forecasts: Forecast[] = [];
    try {
      const contexts = batch.flatMap((check) => check.contexts);
      const { forecaster } = this.#parts;
      const steps = Math.max(...batch.map((check) => check.steps));
      for (let from = 0; from < contexts.length; from += forecaster.rowsMax) {
        const part = contexts.slice(from, from + forecaster.rowsMax);
        forecasts.push(...(await forecaster.forecast(part, steps)));
      }
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      for (const { fail } of batch) fail(error);
      return;
    }
    let at = 0;
    const turn = new Turn();
    for (const { contexts, settle } of batch) {
      await turn.pass();
      const own = forecasts.slice(at, at + contexts.length);
      at += contexts.length;
      settle(own);
    }
  }

  #verdict(
    { tenant, fingerprint, timestampMs, onsetMs }: Candidate,
    said: { judged: Judged; sinceMs: number } | { reason: string },
  ): Verdict {
    const { forecaster, clock, onVerdict } = this.#parts;
    const key = { tenant, fingerprint, timestampMs, onsetMs, model: forecaster.id };
    if ('reason' in said) {
      onVerdict(Judgement.UNCHECKED, undefined);
      const reason = said.reason.slice(0, SENTENCE_LENGTH_MAX);
      return create(VerdictSchema, { ...key, outcome: Judgement.UNCHECKED, reason });
    }
    const { outcome, direction, reason, p, expected, lower, upper } = said.judged;
    const judgement = Judgement[outcome.toUpperCase() as keyof typeof Judgement];
    onVerdict(judgement, (clock() - said.sinceMs) / 1000);
    return create(VerdictSchema, {
      ...key,
      ...{ reason, p, expected, lower, upper },
      outcome: judgement,
      direction: direction === 'above' ? Direction.ABOVE : Direction.BELOW,
    });
  }
}

function windowOf({ window, cause }: Candidate): CheckWindow | undefined {
  if (window === undefined || window.value.length === 0) return undefined;
  const values = Float64Array.from(window.value.slice(-WINDOW_VALUES_MAX), (value) =>
    Math.abs(value) <= MAGNITUDE_MAX ? value : Number.NaN,
  );
  const from = window.suspiciousFrom - (window.value.length - values.length);
  if (from < 0 || from >= values.length) return undefined;
  return { values, suspiciousFrom: from, isQuiet: cause === Cause.QUIET };
}

/** A job of a tenant; series without one share a group. */
function groupOf({ tenant, label }: Candidate): string {
  return `${tenant}/${label.find(({ name }) => name === 'job')?.value ?? ''}`;
}

function lengthOf(values: Float64Array): number {
  return values.length;
}
