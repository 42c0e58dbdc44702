// `treeline score`: CSV in, CSV out, through the same forest as the service. One output row per input row, in order:
// timestamp,value,score,flag,alarm,expected,lower,upper. An empty value is a missing sample: its row stays, unscored. This
// file reads the options and says what came out; the work is done in score-run.ts and below.

import { rmSync } from 'node:fs';
import type { Forecaster } from '../inference/forecaster.js';
import { SCORE_JOBS_MAX } from '../limits.js';
import { zoneOption } from '../time-zone.js';
import { loadWasm } from '../wasm-files.js';
import { ruleOf } from './rule-options.js';
import type { SeriesResult } from './score-batch.js';
import { planTasks, type ScoreTask } from './score-inputs.js';
import { partOf, ReaderGone, statOf, streamOutput } from './score-output.js';
import { plotFormat, writePlot } from './score-plot.js';
import { createProgress } from './score-progress.js';
import { fieldsOf } from './score-rows.js';
import { type RunSettings, runHere, runOnThreads } from './score-run.js';

export interface ScoreOptions {
  column: string;
  value: string;
  out?: string;
  seed: string;
  timezone: string;
  plot?: string;
  jobs: string;
  shard: string;
  deepCheck: string;
  output?: string;
  direction?: string;
  minDeviation?: string;
  of?: string;
}

/** `refuse` ends the call: the arguments are not understood. */
export async function score(
  files: readonly string[],
  options: ScoreOptions,
  refuse: (message: string) => never,
): Promise<void> {
  const seed = integerOf('--seed', options.seed, { min: 0, max: 2 ** 32 - 1, refuse });
  const jobs = integerOf('--jobs', options.jobs, { min: 1, max: SCORE_JOBS_MAX, refuse });
  const values = fieldsOf(options.value);
  if (values.includes('')) refuse(`--value is ${options.value}, expected names of columns`);
  if (options.plot !== undefined && plotFormat(options.plot) === undefined) {
    refuse(`--plot ${options.plot} must end in .svg or .html`);
  }
  const { deepCheck } = options;
  if (deepCheck !== 'on' && deepCheck !== 'off') {
    refuse(`--deep-check is ${deepCheck}, expected on or off`);
  }
  const rule = ruleOf(options, refuse);
  const isJson = options.output === 'json';
  const shard = shardOf(options.shard, refuse);
  const tasks = planTasks(files, { values, out: options.out, shard, jobs, refuse });
  const settings: RunSettings = {
    column: options.column,
    seed,
    zone: zoneOption(options.timezone, refuse),
    isPlotted: options.plot !== undefined,
    // Standard output then holds one JSON document, or nothing: rows are for whoever names a place.
    isQuiet: isJson,
    rule,
    hasWindows: deepCheck === 'on',
  };
  const results = await run(tasks, settings, jobs);
  if (results === undefined) return;
  if (options.plot !== undefined) await writePlot(options.plot, results);
  sayUnused(results);
  saySuppressed(results);
  if (isJson) process.stdout.write(`${JSON.stringify(summaryOf(results, tasks))}\n`);
}

/** Undefined when nobody reads standard output any more. */
async function run(
  tasks: ScoreTask[],
  settings: RunSettings,
  jobs: number,
): Promise<SeriesResult[] | undefined> {
  const { module } = loadWasm('forest');
  const bytesTotal = tasks.reduce((sum, { file }) => sum + bytesOf(file), 0);
  const progress = createProgress(process.stderr, { bytesTotal, now: () => performance.now() });
  const standardOutput = streamOutput(process.stdout);
  const interrupted = removePartsOnSignal(tasks);
  let forecaster: Forecaster | undefined;
  try {
    if (settings.hasWindows === true) {
      const { openOnsetForecaster } = await import('./score-verdicts.js');
      forecaster = await openOnsetForecaster();
    }
    const context = { module, standardOutput, forecaster, onBytes: progress.add };
    return jobs > 1 && tasks.length > 1
      ? await runOnThreads(tasks, settings, { ...context, jobs })
      : await runHere(tasks, settings, context);
  } catch (error) {
    if (error instanceof ReaderGone) return undefined;
    throw error;
  } finally {
    interrupted.forget();
    progress.end();
    await forecaster?.close();
  }
}

/** Files that are not complete are taken away when the call is interrupted, and the signal then does what it does. */
function removePartsOnSignal(tasks: readonly ScoreTask[]): { forget(): void } {
  const parts = tasks.flatMap(({ outs }) => (outs ?? []).filter((out) => partOf(out) !== out));
  const remove = (signal: NodeJS.Signals): void => {
    for (const part of parts) rmSync(partOf(part), { force: true });
    process.kill(process.pid, signal);
  };
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.once(signal, remove);
  return {
    forget() {
      for (const signal of signals) process.removeListener(signal, remove);
    },
  };
}

function integerOf(
  flag: string,
  text: string,
  { min, max, refuse }: { min: number; max: number; refuse: (message: string) => never },
): number {
  const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(number >= min && number <= max)) refuse(`${flag} is ${text}, expected ${min} to ${max}`);
  return number;
}

function shardOf(
  text: string,
  refuse: (message: string) => never,
): { index: number; count: number } {
  const [, index, count] = /^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? [];
  const shard = { index: Number(index), count: Number(count) };
  if (!(shard.index >= 1 && shard.index <= shard.count)) {
    refuse(`--shard is ${text}, expected i/n with i from 1 to n`);
  }
  return shard;
}

/** Of a file that is not there, nothing: reading it will say so. */
function bytesOf(file: string): number {
  return statOf(file)?.size ?? 0;
}

/** Rows whose values could not be used are not passed over in silence. */
function sayUnused(results: readonly SeriesResult[]): void {
  const words = {
    duplicate: 'repeat the row before them',
    conflict: 'have the time of the row before them and another value',
    late: 'are older than a row before them',
    infinite: 'are infinite',
  };
  for (const { file, column, unused } of results) {
    const kinds = Object.entries(unused).filter(([, count]) => count > 0);
    if (kinds.length === 0) continue;
    const reasons = kinds.map(([kind, count]) => `${count} ${words[kind as keyof typeof words]}`);
    process.stderr.write(
      `treeline: ${file}: not scored in column ${column}: rows of which ${reasons.join(', ')}\n`,
    );
  }
}

/** What is not flagged although its score is above 1. */
function saySuppressed(results: readonly SeriesResult[]): void {
  for (const { file, column, suppressed = 0, anomalyCount } of results) {
    if (suppressed === 0) continue;
    process.stderr.write(
      `treeline: ${file}: of ${anomalyCount} anomalies in column ${column} the deep check suppressed ${suppressed}\n`,
    );
  }
}

function summaryOf(results: readonly SeriesResult[], tasks: readonly ScoreTask[]): unknown {
  const outs = tasks.flatMap(({ values, outs: paths }) => values.map((_, at) => paths?.[at]));
  const iso = (ms: number): string | null => (Number.isNaN(ms) ? null : new Date(ms).toISOString());
  return {
    series: results.map(({ plot: _, anomalies, ...result }, at) => ({
      ...result,
      out: outs[at] ?? null,
      anomalies: anomalies.map(({ onsetMs, peakMs, endMs, ...anomaly }) => ({
        onset: iso(onsetMs),
        peak: iso(peakMs),
        end: iso(endMs),
        ...anomaly,
      })),
    })),
  };
}
