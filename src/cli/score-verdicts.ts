// `treeline score --deep-check on`: what begins an anomaly is judged as the service judges it (the same window, cut, judge
// and rest of a series between two checks), but at once and without a budget: a file can wait. Of a suppressed anomaly the
// flags and alarms go down from its onset to its end, in the forest's output columns, before any row is written.

import { strict as assert } from 'node:assert';
import { type Checked, rests } from '../deep-check/admission.js';
import { MAGNITUDE_MAX } from '../deep-check/checker.js';
import { judge } from '../deep-check/judge.js';
import { type CheckWindow, type Question, questionOf } from '../deep-check/origins.js';
import { OperatingError } from '../errors.js';
import type { Forecast, Forecaster } from '../inference/forecaster.js';
import { openForecaster } from '../inference/open-forecaster.js';
import { CAUSES, PHASES, type WasmForest } from '../scorer/wasm-forest.js';

/** What a thread needs of a forecaster that lies in another one. */
export type OnsetForecaster = Pick<
  Forecaster,
  'contextMax' | 'observedMin' | 'horizon' | 'rowsMax' | 'forecast'
>;

/** What is kept with an anomaly. */
export interface OnsetVerdict {
  verdict: 'confirmed' | 'suppressed' | 'abstained' | 'unchecked';
  /** Why it abstained or could not check; else empty. */
  reason: string;
}

interface Onset {
  /** Of the event. */
  place: number;
  question: Question;
}

const ONSET = PHASES.indexOf('onset');
const END = PHASES.indexOf('end');
const QUIET = CAUSES.indexOf('quiet');

/** The shipped model where this machine runs it best. Rejects with `model_invalid` when it does not run at all. */
export async function openOnsetForecaster(): Promise<Forecaster> {
  const quiet = { debug() {}, info() {}, warn() {}, error() {} };
  const choice = { model: 'nano', runtime: 'auto', remote: '' } as const;
  const forecaster = await openForecaster(choice, { logger: quiet, clock: Date.now });
  await forecaster.prepare();
  const trouble = forecaster.trouble();
  if (trouble === undefined) return forecaster;
  await forecaster.close();
  throw new OperatingError('model_invalid', `--deep-check on: ${trouble}`);
}

/** Of one series. */
export class OnsetVerdicts {
  readonly #forecaster: OnsetForecaster;
  #last: Checked | undefined;
  /** The open anomaly is suppressed: it may have begun in an earlier batch. */
  #isDown = false;

  constructor(forecaster: OnsetForecaster) {
    this.#forecaster = forecaster;
  }

  /**
   * Judges the onsets of the forest's last `observe` and takes down what is suppressed. Returns the verdicts by their place
   * among the events. The columns must not change until it has resolved.
   */
  async apply(
    forest: WasmForest,
    { eventCount, used }: { eventCount: number; used: number },
  ): Promise<ReadonlyMap<number, OnsetVerdict>> {
    const verdicts = new Map<number, OnsetVerdict>();
    const onsets: Onset[] = [];
    for (let place = 0; place < eventCount; place++) {
      if (forest.eventPhases[place] !== ONSET) continue;
      const question = this.#questionAt(forest, place);
      if (typeof question === 'string') verdicts.set(place, unchecked(question));
      else onsets.push({ place, question });
    }
    windowsOf(forest).finish(used);
    const forecasts = await this.#forecastsOf(onsets);
    for (const { place, question } of onsets) {
      const own = forecasts.splice(0, question.contexts.length);
      const { outcome: verdict, reason } = judge(question, own);
      verdicts.set(place, { verdict, reason });
    }
    this.#takeDown(forest, { eventCount, used, verdicts });
    return verdicts;
  }

  /** A sentence when it is not asked. */
  #questionAt(forest: WasmForest, place: number): Question | string {
    const index = forest.eventIndexes[place] as number;
    const timestampMs = Number(forest.eventTimestamps[place]);
    const windows = windowsOf(forest);
    windows.observeTo(index + 1);
    const { stepMs, values } = windows.recent(forest.slots[index] as number, timestampMs);
    if (values.length < 2) return 'There is no window';
    const sinceMs = timestampMs - Number(forest.eventOnsets[place]);
    const suspicious = Math.round(sinceMs / stepMs) + 1;
    const window: CheckWindow = {
      values: values.map((value) => (Math.abs(value) <= MAGNITUDE_MAX ? value : Number.NaN)),
      suspiciousFrom: Math.max(values.length - suspicious, 0),
      isQuiet: forest.eventCauses[place] === QUIET,
    };
    const question = questionOf(window, this.#forecaster);
    if (typeof question === 'string') return question;
    const check = { timestampMs, score: forest.scores[index] as number };
    if (this.#last !== undefined && rests(check, this.#last)) {
      return 'The series was checked less than a minute before';
    }
    this.#last = check;
    return question;
  }

  async #forecastsOf(onsets: readonly Onset[]): Promise<Forecast[]> {
    const { rowsMax } = this.#forecaster;
    const contexts = onsets.flatMap(({ question }) => question.contexts);
    const lengths = onsets.flatMap(({ question }) => question.futures.map(({ length }) => length));
    const steps = Math.max(0, ...lengths);
    const forecasts: Forecast[] = [];
    for (let from = 0; from < contexts.length; from += rowsMax) {
      const part = contexts.slice(from, from + rowsMax);
      forecasts.push(...(await this.#forecaster.forecast(part, steps)));
    }
    return forecasts;
  }

  #takeDown(
    { flags, alarms, eventIndexes, eventPhases }: WasmForest,
    of: { eventCount: number; used: number; verdicts: ReadonlyMap<number, OnsetVerdict> },
  ): void {
    let row = 0;
    const upTo = (end: number) => {
      if (this.#isDown) {
        flags.fill(0, row, end);
        alarms.fill(0, row, end);
      }
      row = end;
    };
    for (let place = 0; place < of.eventCount; place++) {
      const phase = eventPhases[place];
      if (phase !== ONSET && phase !== END) continue;
      upTo(eventIndexes[place] as number);
      this.#isDown = phase === ONSET && of.verdicts.get(place)?.verdict === 'suppressed';
    }
    upTo(of.used);
  }
}

function windowsOf({ windows }: WasmForest) {
  assert(windows !== undefined, 'the forest keeps windows where onsets are judged');
  return windows;
}

function unchecked(reason: string): OnsetVerdict {
  return { verdict: 'unchecked', reason };
}
