// The usual time between two samples of a series, as log2 of seconds, so that one long gap moves it
// by one step at most. Three things ask for it: how rare an alarm per sample must be, how fast the
// range forgets, and what a gap is. The last two are content with 2^x drawn as straight lines
// between powers of two, at most 6 % too long.

import { INTERVAL } from './record';

const RATE_MIN: f32 = 1.0 / 64.0;
const GAP_INTERVALS: f32 = 5.0;
/** log2 of 300 s, the interval at which the octave terms are zero, and of one hour. */
const REFERENCE: f32 = 8.228818690495881;
const LONGEST: f32 = 11.813781191217037;
const EXPONENT_BIAS: f32 = 127.0;
const MANTISSA_STEPS: f32 = 8388608.0;

/** Seconds between samples, about: the integer part of x is the exponent, the rest the mantissa. */
export function usualSeconds(interval: f32): f32 {
  return reinterpret<f32>(<i32>((interval + EXPONENT_BIAS) * MANTISSA_STEPS));
}

/** `n`: samples scored before this one. */
export function isGap(n: u32, seconds: f32, usual: f32): bool {
  return n > 1 && seconds > GAP_INTERVALS * usual;
}

/** `elapsed`: log2 of the seconds since the sample before, which are at least 1. */
export function learnInterval(record: usize, n: u32, young: f32, elapsed: f32): void {
  if (n === 0) return;
  const interval = load<f32>(record, INTERVAL);
  const off: f32 = elapsed - interval;
  const step: f32 = max(RATE_MIN, young) * max<f32>(-1.0, min<f32>(1.0, off));
  store<f32>(record, n === 1 ? elapsed : interval + step, INTERVAL);
}

/**
 * Octaves by which the series is sampled more finely than every 5 minutes; intervals above 1 h
 * count as 1 h.
 */
export function fineness(record: usize): f32 {
  return REFERENCE - min(LONGEST, load<f32>(record, INTERVAL));
}

const RANGE_SECONDS: f32 = 6e7;
const RANGE_RATE_MAX: f32 = 1.0 / 20000.0;

/**
 * The part of its width by which the range shrinks per sample: 694 days in time, at least 20,000
 * samples.
 */
export function rangeRate(usual: f32): f32 {
  return min<f32>(RANGE_RATE_MAX, usual / RANGE_SECONDS);
}
