// The life of an anomaly: it begins when the score passes 1, has a peak, and ends when the series
// has been calm for five samples in a row and for a minute. A series has at most one open.

import {
  CALM_SHIFT,
  CAUSE_SHIFT,
  IS_OPEN,
  LAST_ANOMALOUS,
  ONSET,
  PEAK,
  PHASE_BITS,
} from './record';

export const PHASE_NONE: u32 = 0;
export const PHASE_ONSET: u32 = 1;
export const PHASE_PEAK: u32 = 2;
export const PHASE_END: u32 = 3;

const THRESHOLD: f32 = 1.0;
/** A higher score is worth another word when it is higher by a tenth. */
const PEAK_RATIO: f32 = 1.1;
const CALM_SAMPLES: u32 = 5;
const CALM_MS: f64 = 60000.0;
const CALM_MASK: u32 = 7 << CALM_SHIFT;
const CAUSE_MASK: u32 = 3 << CAUSE_SHIFT;

export function isOpen(record: usize): bool {
  return (load<u8>(record, PHASE_BITS) & IS_OPEN) !== 0;
}

export function causeOf(record: usize): u32 {
  return (load<u8>(record, PHASE_BITS) & CAUSE_MASK) >> CAUSE_SHIFT;
}

/**
 * What this score changes. At the end, onset and cause are still in the record: `closeAnomaly`
 * removes them.
 */
export function nextPhase(record: usize, timestamp: i64, score: f32, cause: u32): u32 {
  const bits: u32 = load<u8>(record, PHASE_BITS);
  if (score > THRESHOLD) return rise(record, timestamp, score, cause);
  if ((bits & IS_OPEN) === 0) return PHASE_NONE;
  const calm = min(((bits & CALM_MASK) >> CALM_SHIFT) + 1, CALM_SAMPLES);
  store<u8>(record, <u8>((bits & ~CALM_MASK) | (calm << CALM_SHIFT)), PHASE_BITS);
  const calmMs = <f64>timestamp - <f64>load<i64>(record, LAST_ANOMALOUS);
  return calm >= CALM_SAMPLES && calmMs >= CALM_MS ? PHASE_END : PHASE_NONE;
}

function rise(record: usize, timestamp: i64, score: f32, cause: u32): u32 {
  const bits = <u32>load<u8>(record, PHASE_BITS) & ~CALM_MASK;
  store<i64>(record, timestamp, LAST_ANOMALOUS);
  const isNew = (bits & IS_OPEN) === 0;
  if (!isNew && score < PEAK_RATIO * load<f32>(record, PEAK)) {
    store<u8>(record, <u8>bits, PHASE_BITS);
    return PHASE_NONE;
  }
  if (isNew) store<i64>(record, timestamp, ONSET);
  store<f32>(record, score, PEAK);
  store<u8>(record, <u8>((bits & ~CAUSE_MASK) | IS_OPEN | (cause << CAUSE_SHIFT)), PHASE_BITS);
  return isNew ? PHASE_ONSET : PHASE_PEAK;
}

export function closeAnomaly(record: usize): void {
  const bits: u32 = load<u8>(record, PHASE_BITS);
  store<u8>(record, <u8>(bits & ~(CALM_MASK | CAUSE_MASK | IS_OPEN)), PHASE_BITS);
  store<i64>(record, 0, ONSET);
  store<i64>(record, 0, LAST_ANOMALOUS);
  store<f32>(record, 0.0, PEAK);
}
