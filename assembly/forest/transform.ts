// From a sample to the value that is scored: the guard against what was seen before, counters as
// rates per second, and numbers that are none. All of it in f64, on the raw value; the forest then
// works on the distance from the first one.

import {
  IS_BACK,
  IS_STALE,
  KIND_GAUGE,
  KIND_GUESSED_COUNTER,
  KIND_MASK,
  LAST_BITS,
  LAST_TIMESTAMP,
  NO_TIMESTAMP,
  ORIGIN,
  PHASE_BITS,
  QUIET_BITS,
  SAMPLES,
} from './record';

export const APPLIED: u32 = 0;
export const DUPLICATE: u32 = 1;
export const CONFLICT: u32 = 2;
export const LATE: u32 = 3;

/** Prometheus' marker of a series that ended: one of the NaNs. */
const STALE_MARKER: u64 = ((<u64>0x7ff) << 52) | 2;
/** The exponent that only infinities and NaNs have. */
const NO_NUMBER: u64 = (<u64>0x7ff) << 52;
/** A counter may leap by 1e308 in a millisecond; its rate must stay a number. */
const RATE_MAX: f64 = 1e300;
/** f32 arithmetic on values within this never overflows. */
const DISTANCE_MAX: f64 = 1e30;
/** Smaller distances are 0, so that no state becomes denormal. */
const DISTANCE_MIN: f64 = 1e-30;

/**
 * What the guard says; an applied sample becomes the newest. Compare before calling `scoredValue`.
 */
export function admit(record: usize, timestamp: i64, bits: u64): u32 {
  const last = load<i64>(record, LAST_TIMESTAMP);
  if (timestamp > last) return APPLIED;
  if (timestamp < last) return LATE;
  return bits === load<u64>(record, LAST_BITS) ? DUPLICATE : CONFLICT;
}

/**
 * Milliseconds since the sample before, at least 1; 0 when there was none. As f64: i64 could
 * overflow.
 */
export function elapsedSince(record: usize, timestamp: i64): f64 {
  const last = load<i64>(record, LAST_TIMESTAMP);
  return last === NO_TIMESTAMP ? 0.0 : max(1.0, <f64>timestamp - <f64>last);
}

export function isStaleMarker(bits: u64): bool {
  return bits === STALE_MARKER;
}

export function isNumber(bits: u64): bool {
  return (bits & NO_NUMBER) !== NO_NUMBER;
}

/** Whatever comes next is not judged by the short means: the series was away. */
export function markStale(record: usize): void {
  store<u8>(record, <u8>(load<u8>(record, QUIET_BITS) | IS_STALE | IS_BACK), QUIET_BITS);
}

/** The same of a series that goes on without a number. */
export function markAway(record: usize): void {
  store<u8>(record, <u8>(load<u8>(record, QUIET_BITS) | IS_BACK), QUIET_BITS);
}

export function markAlive(record: usize): void {
  store<u8>(record, <u8>(load<u8>(record, QUIET_BITS) & ~IS_STALE), QUIET_BITS);
}

export function kindOf(record: usize): u32 {
  return load<u8>(record, PHASE_BITS) & KIND_MASK;
}

/**
 * A counter by its name only that falls, but not as a restart would make it fall, is no counter.
 */
export function isNoCounter(record: usize, bits: u64, previousBits: u64): bool {
  if (kindOf(record) !== KIND_GUESSED_COUNTER || !isNumber(previousBits)) return false;
  const value = reinterpret<f64>(bits);
  const previous = reinterpret<f64>(previousBits);
  return value < previous && (value >= 0.5 * previous || value < 0);
}

/** Is there a value to score? A counter has none until it has a predecessor. */
export function hasValue(record: usize, previousBits: u64, elapsedMs: f64): bool {
  return kindOf(record) === KIND_GAUGE || (elapsedMs > 0 && isNumber(previousBits));
}

/**
 * The value as scored: a gauge as it is, a counter as its rate per second; after a restart it
 * began at 0.
 */
export function scoredValue(record: usize, bits: u64, previousBits: u64, elapsedMs: f64): f64 {
  const value = reinterpret<f64>(bits);
  if (kindOf(record) === KIND_GAUGE) return value;
  const previous = reinterpret<f64>(previousBits);
  const growth = value >= previous ? value - previous : max<f64>(value, 0.0);
  return min(RATE_MAX, growth / (elapsedMs / 1000.0));
}

/** The distance from the first value, in which 8e9 ± 10 keeps its noise. */
export function distanceOf(record: usize, value: f64): f32 {
  if (load<u32>(record, SAMPLES) === 0) store<f64>(record, value, ORIGIN);
  const distance = value - load<f64>(record, ORIGIN);
  if (abs(distance) < DISTANCE_MIN) return 0.0;
  return <f32>max(-DISTANCE_MAX, min(DISTANCE_MAX, distance));
}
