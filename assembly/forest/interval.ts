// The usual time between two samples of a series, as log2 of seconds, so that one long gap moves it by one step at most.
// Three things ask for it: how rare an alarm per sample must be, how fast the range forgets, and what a gap is.

import { exp2, log2 } from './logarithm';
import { INTERVAL } from './record';

const RATE_MIN: f32 = 1.0 / 64.0;
/** log2(5): a pause longer than five usual intervals is a gap. */
const GAP_OCTAVES: f32 = 2.321928094887362;
/** log2 of 300 s, the interval at which the octave terms are zero, and of one hour. */
const REFERENCE: f32 = 8.228818690495881;
const LONGEST: f32 = 11.813781191217037;

/** True when the sample comes after a gap. `n`: samples scored before this one. */
export function learnInterval(record: usize, n: u32, young: f32, elapsedMs: f64): bool {
  if (n == 0) return false;
  const elapsed = log2(max<f32>(1.0, <f32>(elapsedMs / 1000.0)));
  const interval = load<f32>(record, INTERVAL);
  if (n == 1) {
    store<f32>(record, elapsed, INTERVAL);
    return false;
  }
  const step: f32 = max<f32>(-1.0, min<f32>(1.0, elapsed - interval));
  store<f32>(record, interval + max(RATE_MIN, young) * step, INTERVAL);
  return elapsed - interval > GAP_OCTAVES;
}

/** The interval within [1 s, 1 h], as log2 of seconds. */
export function clampedInterval(record: usize): f32 {
  return min(LONGEST, max<f32>(0.0, load<f32>(record, INTERVAL)));
}

/** Octaves by which the series is sampled more finely than every 5 minutes. */
export function fineness(interval: f32): f32 {
  return REFERENCE - interval;
}

const RANGE_SECONDS: f32 = 6e7;
const RANGE_SAMPLES_MIN: f32 = 20000.0;

/** The part of its width by which the range shrinks per sample: 694 days in time, at least 20,000 samples. */
export function rangeRate(interval: f32): f32 {
  return min<f32>(1.0 / RANGE_SAMPLES_MIN, exp2(interval) / RANGE_SECONDS);
}
