// What rules would have shown of a series, several at once, from its scores alone: for each of them an anomaly begins,
// goes on and ends as the forest has it (assembly/forest/rules.ts), and is counted. Only rules that look at scores can be
// tried so, N of M and threshold; a test compares the counts with the forest's own.

import type { DetectionRule } from '../config-detection.js';
import { needOf } from '../config-detection.js';

export type TrialRule = Pick<DetectionRule, 'of' | 'threshold'>;

/** From the mildest to the one that leaves only what is far out and lasts. */
export const TRIAL_RULES: readonly TrialRule[] = [
  { of: '2/3', threshold: 1 },
  { of: '3/5', threshold: 1 },
  { of: '1/1', threshold: 1.5 },
  { of: '1/1', threshold: 2 },
  { of: '2/3', threshold: 2 },
  { of: '1/1', threshold: 3 },
  { of: '3/5', threshold: 3 },
];

/** Of a run of silence and of a walk, which are told once and need no further samples. */
const PLAIN_SCORE = Math.fround(1.2);
const CALM_SAMPLES = 5;
const CALM_MS = 60_000;
const NEEDS = TRIAL_RULES.map(({ of, threshold }) => ({ ...needOf({ of }), threshold }));
const LOWEST = Math.min(...NEEDS.map(({ threshold }) => threshold));

interface Trial {
  count: number;
  isOpen: boolean;
  calm: number;
  lastMs: number;
  /** Numbers of the newest samples that were beyond, while none is open. */
  beyond: number[];
}

export class RuleTrials {
  readonly #trials: Trial[] = NEEDS.map(() => ({
    ...{ count: 0, isOpen: false, calm: 0, lastMs: 0 },
    beyond: [],
  }));
  #sample = 0;
  #openCount = 0;

  /** Anomalies by each of TRIAL_RULES. */
  get counts(): number[] {
    return this.#trials.map(({ count }) => count);
  }

  /** The next scored sample. */
  add(atMs: number, score: number): void {
    this.#sample++;
    if (score <= LOWEST && this.#openCount === 0) return;
    for (const [i, trial] of this.#trials.entries()) {
      const need = NEEDS[i]!;
      if (score > need.threshold) this.#rise(trial, need, { atMs, isPlain: score === PLAIN_SCORE });
      else if (trial.isOpen) this.#calm(trial, atMs);
    }
  }

  #rise(
    trial: Trial,
    { needed, among }: { needed: number; among: number },
    { atMs, isPlain }: { atMs: number; isPlain: boolean },
  ): void {
    trial.calm = 0;
    trial.lastMs = atMs;
    if (trial.isOpen) return;
    trial.beyond.push(this.#sample);
    if (trial.beyond.length > needed) trial.beyond.shift();
    const isEnough = trial.beyond.length === needed && this.#sample - trial.beyond[0]! < among;
    if (!isEnough && !isPlain) return;
    trial.isOpen = true;
    trial.count++;
    trial.beyond = [];
    this.#openCount++;
  }

  #calm(trial: Trial, atMs: number): void {
    trial.calm++;
    if (trial.calm < CALM_SAMPLES || atMs - trial.lastMs < CALM_MS) return;
    trial.isOpen = false;
    trial.calm = 0;
    this.#openCount--;
  }
}
