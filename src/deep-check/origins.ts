// What a forecaster is asked about one candidate: the window is cut before the suspicion, with a guard, so that the anomaly
// is neither in its own context nor in its own scale; and at earlier places of the same window, whose futures are known, so
// that the errors of this very series say what is usual. All go into one batch.
//
//   window     ├──────────────────────────────────────────────┤guard├suspicious┤
//   question   ├───────────────── context ────────────────────┤──── horizon ───┤
//   calibration├─────────── context ────────────┤── steps ────┤      origins are `steps` apart, the newest ends where the
//              ├──── context ───┤── steps ────┤                       question's context does
//
// They reach back over the whole window: how far off the forecaster was in the last quarter of an hour says less of what is
// usual than how far off it was all day, and what it knows of 56 steps costs no more than what it knows of 16.

import { ORIGINS_MAX } from '../limits-models.js';

/** Values between the context and the first suspicious one: a slow beginning is not learnt from. */
const GUARD = 8;
/** Steps that each calibration origin of a short window looks ahead at least. */
const CALIBRATION_STEPS_MIN = 16;
/** Of a calibration's steps at least this share must have been observed. */
const OBSERVED_SHARE = 0.5;

export interface CheckWindow {
  /** Oldest first; NaN where nothing arrived; the last is the candidate's. */
  values: Float64Array;
  suspiciousFrom: number;
  /** It is suspected of being too quiet, not of being too far out. */
  isQuiet: boolean;
}

export interface Question {
  /** The question's first, then the calibrations', newest first. */
  contexts: Float64Array[];
  /** What came after each context. */
  futures: Float64Array[];
  /** Steps of a future before the first that is judged. */
  guard: number;
  isQuiet: boolean;
}

export interface Limits {
  contextMax: number;
  observedMin: number;
  horizon: number;
}

/** What is missing when it cannot be asked, in words for a verdict. */
export function questionOf(window: CheckWindow, limits: Limits): Question | string {
  const { values, suspiciousFrom, isQuiet } = window;
  const guard = Math.min(GUARD, suspiciousFrom);
  const origin = suspiciousFrom - guard;
  const ahead = values.length - origin;
  if (Number.isNaN(values.at(-1) ?? Number.NaN)) return 'The window does not end with a value';
  if (ahead > limits.horizon) {
    return `The suspicion is ${ahead - guard} samples long, the model looks ${limits.horizon - guard} ahead`;
  }
  const contextAt = (end: number) => values.subarray(Math.max(0, end - limits.contextMax), end);
  const context = contextAt(origin);
  const observed = observedIn(context);
  if (observed < limits.observedMin) {
    return `${observed} samples before the suspicion, ${limits.observedMin} are needed`;
  }
  const contexts = [context];
  const futures = [values.subarray(origin)];
  const apart = Math.floor((origin - limits.observedMin) / ORIGINS_MAX);
  const spread = Math.min(apart, limits.horizon - guard);
  const steps = Math.min(limits.horizon, Math.max(CALIBRATION_STEPS_MIN, ahead, spread));
  for (let k = 1; k <= ORIGINS_MAX; k++) {
    const earlier = contextAt(origin - k * steps);
    if (origin - k * steps < 0 || observedIn(earlier) < limits.observedMin) break;
    const future = values.subarray(origin - k * steps, origin - (k - 1) * steps);
    if (observedIn(future) < OBSERVED_SHARE * future.length) continue;
    contexts.push(earlier);
    futures.push(future);
  }
  return { contexts, futures, guard, isQuiet };
}

export function observedIn(values: Float64Array): number {
  let count = 0;
  for (const value of values) if (!Number.isNaN(value)) count++;
  return count;
}
