// Runs the planned passes, here or on threads, and hands back the results in the order of the plan. What threads write
// for standard output is passed on in that order too: the first unfinished pass writes through, those behind it wait
// when they have a few pieces ready. So the output is the same whatever the number of threads.

import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { type MessagePort, Worker } from 'node:worker_threads';
import { type ErrorCode, OperatingError } from '../errors.js';
import type { Forecast } from '../inference/forecaster.js';
import { SCORE_BACKLOG_MAX } from '../limits.js';
import { type ShownRule, WasmForest } from '../scorer/wasm-forest.js';
import type { SeriesResult } from './score-batch.js';
import { scoreFile } from './score-file.js';
import type { ScoreTask } from './score-inputs.js';
import { openOutput, type RowOutput } from './score-output.js';
import type { OnsetForecaster } from './score-verdicts.js';

export interface RunSettings {
  column: string;
  seed: number;
  /** What the clock on the wall does; absent: UTC. */
  zone?: Int32Array | undefined;
  isPlotted: boolean;
  /** Rows are not wanted where they have no file to go to. */
  isQuiet: boolean;
  /** What a sample must be to be flagged; undefined: its score above 1. */
  rule?: ShownRule | undefined;
  /** What begins an anomaly is judged: series keep the values that this takes. */
  hasWindows?: boolean;
}

export interface RunContext {
  module: WebAssembly.Module;
  /** Where rows without a file go; stays open. */
  standardOutput: RowOutput;
  /** There where the settings have windows. */
  forecaster?: OnsetForecaster | undefined;
  onBytes(count: number): void;
}

/** What a thread is told, and what it says. */
export type ToWorker =
  | { task: ScoreTask }
  | { taken: number }
  | { forecasts: Forecast[] | { code: ErrorCode; message: string } };
export type FromWorker =
  | { kind: 'rows'; bytes: Uint8Array }
  | { kind: 'progress'; bytes: number }
  | { kind: 'onsets'; contexts: Float64Array[]; steps: number }
  | { kind: 'done'; results: SeriesResult[] }
  | { kind: 'failed'; code: ErrorCode | undefined; message: string };

export interface WorkerStart {
  settings: RunSettings;
  module: WebAssembly.Module;
  slots: number;
  /** The model itself runs beside the main thread, one for all. */
  limits?: Omit<OnsetForecaster, 'forecast'>;
}

const NOWHERE: RowOutput = { write() {}, complete() {}, discard() {} };

/** One pass with a forest that has room for it; outputs are complete, or gone. */
export async function runTask(
  task: ScoreTask,
  settings: RunSettings,
  context: {
    forest: WasmForest;
    rows: RowOutput;
    forecaster?: OnsetForecaster | undefined;
    onBytes: (count: number) => void;
  },
): Promise<SeriesResult[]> {
  const outputs: RowOutput[] = [];
  try {
    for (const at of task.values.keys()) {
      const path = task.outs?.[at];
      const unnamed = settings.isQuiet ? NOWHERE : context.rows;
      outputs.push(path === undefined ? unnamed : openOutput(path));
    }
    const options = { file: task.file, values: task.values, ...settings };
    const results = await scoreFile(options, { ...context, outputs });
    for (const output of outputs) await output.complete();
    return results;
  } catch (error) {
    for (const output of outputs) output.discard();
    throw error;
  }
}

export function slotsFor(tasks: readonly ScoreTask[]): number {
  return Math.max(1, ...tasks.map(({ values }) => values.length));
}

export async function runHere(
  tasks: readonly ScoreTask[],
  settings: RunSettings,
  { module, standardOutput: rows, ...context }: RunContext,
): Promise<SeriesResult[]> {
  const forest = new WasmForest(module, { ...settings, seriesMax: slotsFor(tasks) });
  const results: SeriesResult[] = [];
  for (const task of tasks) {
    results.push(...(await runTask(task, settings, { ...context, forest, rows })));
  }
  return results;
}

interface Pass {
  task: ScoreTask;
  /** Rows that wait for the passes before this one. */
  waiting: { bytes: Uint8Array; port: Pick<MessagePort, 'postMessage'> }[];
  results?: SeriesResult[];
  failure?: Error;
}

export async function runOnThreads(
  tasks: readonly ScoreTask[],
  settings: RunSettings,
  context: RunContext & { jobs: number },
): Promise<SeriesResult[]> {
  const passes: Pass[] = tasks.map((task) => ({ task, waiting: [] }));
  const run = new ThreadRun(passes, context);
  const start: WorkerStart = {
    ...{ settings, module: context.module, slots: slotsFor(tasks) },
    ...(context.forecaster !== undefined && { limits: limitsOf(context.forecaster) }),
  };
  const jobs = Math.min(context.jobs, tasks.length);
  const workers = Array.from(
    { length: jobs },
    () => new Worker(new URL('./score-worker.js', import.meta.url), { workerData: start }),
  );
  try {
    await Promise.race([run.failed, Promise.all(workers.map((worker) => run.feed(worker)))]);
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  return passes.flatMap(({ results }) => results ?? []);
}

class ThreadRun {
  /** Rejects when rows cannot be written, or with what the first pass that fails in the order of the plan met. */
  readonly failed: Promise<never>;
  readonly #passes: Pass[];
  readonly #context: RunContext;
  #fail: (error: unknown) => void = () => {};
  #next = 0;
  /** The first pass that has not ended: its rows are written. */
  #head = 0;
  #writing: Promise<void> = Promise.resolve();

  constructor(passes: Pass[], context: RunContext) {
    this.#passes = passes;
    this.#context = context;
    this.failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
  }

  /** Gives the thread one pass after the other until there are none. */
  async feed(worker: Worker): Promise<void> {
    while (this.#next < this.#passes.length) {
      const pass = this.#passes[this.#next++]!;
      worker.postMessage({ task: pass.task } satisfies ToWorker);
      await this.#listen(worker, pass);
      await this.#write();
      // A later pass may fail sooner; what the first one met is what is told, as on one thread.
      const first = this.#passes.findIndex(({ results }) => results === undefined);
      if (this.#passes[first]?.failure !== undefined) this.#fail(this.#passes[first].failure);
      if (pass.failure !== undefined) await this.failed;
    }
  }

  async #listen(worker: Worker, pass: Pass): Promise<void> {
    for (;;) {
      // 'error' is what the thread did not catch: `once` rejects with it.
      const [message] = (await once(worker, 'message')) as [FromWorker];
      if (message.kind === 'progress') this.#context.onBytes(message.bytes);
      else if (message.kind === 'rows') {
        pass.waiting.push({ bytes: message.bytes, port: worker });
        void this.#write();
      } else if (message.kind === 'onsets') {
        void this.#forecast(worker, message);
      } else if (message.kind === 'done') {
        pass.results = message.results;
        return;
      } else {
        const { code, message: text } = message;
        pass.failure = code ? new OperatingError(code, text) : new Error(text);
        return;
      }
    }
  }

  /** Never rejects: a model that fails is the failure of the pass that asked. */
  async #forecast(
    worker: Worker,
    { contexts, steps }: { contexts: Float64Array[]; steps: number },
  ): Promise<void> {
    const { forecaster } = this.#context;
    assert(forecaster !== undefined, 'a thread that has the limits of a forecaster may ask it');
    const forecasts = await forecaster.forecast(contexts, steps).catch((error: unknown) => {
      if (!(error instanceof OperatingError)) throw error;
      return { code: error.code, message: error.message };
    });
    worker.postMessage({ forecasts } satisfies ToWorker);
  }

  /** Writes what the head has ready, and moves on where it has ended. One at a time, in order; never rejects. */
  #write(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#writeReady()).catch(this.#fail);
    return this.#writing;
  }

  async #writeReady(): Promise<void> {
    for (;;) {
      const head = this.#passes[this.#head];
      if (head === undefined) return;
      for (let ready = head.waiting.shift(); ready !== undefined; ready = head.waiting.shift()) {
        await this.#context.standardOutput.write(Buffer.from(ready.bytes.buffer as ArrayBuffer));
        ready.port.postMessage({ taken: 1 } satisfies ToWorker);
      }
      if (head.results === undefined) return;
      this.#head++;
    }
  }
}

/** A thread's output to the main thread: waits while too much of it is on its way. */
export function portOutput(port: MessagePort): RowOutput & { taken(count: number): void } {
  let onItsWay = 0;
  let wake: (() => void) | undefined;
  return {
    async write(bytes) {
      while (onItsWay >= SCORE_BACKLOG_MAX) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      onItsWay++;
      const copy = new Uint8Array(bytes);
      port.postMessage({ kind: 'rows', bytes: copy } satisfies FromWorker, [copy.buffer]);
    },
    taken(count) {
      onItsWay -= count;
      wake?.();
    },
    complete() {},
    discard() {},
  };
}

function limitsOf(forecaster: OnsetForecaster): Omit<OnsetForecaster, 'forecast'> {
  const { contextMax, observedMin, horizon, rowsMax } = forecaster;
  return { contextMax, observedMin, horizon, rowsMax };
}

/** The forecaster beside the main thread, as a thread sees it: it asks one thing at a time. */
export function portForecaster(
  port: MessagePort,
  limits: Omit<OnsetForecaster, 'forecast'>,
): OnsetForecaster & {
  answered(forecasts: Forecast[] | { code: ErrorCode; message: string }): void;
} {
  let settle: { resolve(forecasts: Forecast[]): void; reject(error: Error): void } | undefined;
  return {
    ...limits,
    forecast(contexts, steps = limits.horizon) {
      port.postMessage({ kind: 'onsets', contexts: [...contexts], steps } satisfies FromWorker);
      return new Promise((resolve, reject) => {
        settle = { resolve, reject };
      });
    },
    answered(forecasts) {
      if (Array.isArray(forecasts)) settle?.resolve(forecasts);
      else settle?.reject(new OperatingError(forecasts.code, forecasts.message));
    },
  };
}

export function failureOf(error: unknown): FromWorker {
  if (error instanceof OperatingError) {
    return { kind: 'failed', code: error.code, message: error.message };
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { kind: 'failed', code: undefined, message: text };
}
