// The life of an anomaly: it begins when a sample is beyond its threshold, has a peak, and ends when
// the series has been calm for five samples in a row and for a minute. A series has at most one
// open. Each record holds such a life, by the threshold alone; where a rule says which of these
// anomalies are shown, rules.ts keeps a second one. So a life is named by the addresses of its three
// parts: the times (onset, and behind it the last anomalous sample), the peak, the bits.

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
/** From the onset on. */
const LAST: usize = LAST_ANOMALOUS - ONSET;

export function isOpen(record: usize): bool {
  return isOpenAt(record + PHASE_BITS);
}

export function isOpenAt(bitsAt: usize): bool {
  return (load<u8>(bitsAt) & IS_OPEN) !== 0;
}

export function causeAt(bitsAt: usize): u32 {
  return (load<u8>(bitsAt) & CAUSE_MASK) >> CAUSE_SHIFT;
}

/**
 * What this score changes in the record. At the end, onset and cause are still there: `closeAnomaly`
 * removes them.
 */
export function nextPhase(record: usize, timestamp: i64, score: f32, cause: u32): u32 {
  const times = record + ONSET;
  const bitsAt = record + PHASE_BITS;
  if (score > THRESHOLD) return rise(times, record + PEAK, bitsAt, timestamp, score, cause);
  return isOpenAt(bitsAt) ? calm(times, bitsAt, timestamp) : PHASE_NONE;
}

/** A sample that is not beyond, while the anomaly is open. */
export function calm(times: usize, bitsAt: usize, timestamp: i64): u32 {
  const bits: u32 = load<u8>(bitsAt);
  const count = min(((bits & CALM_MASK) >> CALM_SHIFT) + 1, CALM_SAMPLES);
  store<u8>(bitsAt, <u8>((bits & ~CALM_MASK) | (count << CALM_SHIFT)));
  const calmMs = <f64>timestamp - <f64>load<i64>(times, LAST);
  return count >= CALM_SAMPLES && calmMs >= CALM_MS ? PHASE_END : PHASE_NONE;
}

/** A sample that is beyond. */
export function rise(
  times: usize,
  peakAt: usize,
  bitsAt: usize,
  timestamp: i64,
  score: f32,
  cause: u32,
): u32 {
  const bits = <u32>load<u8>(bitsAt) & ~CALM_MASK;
  store<i64>(times, timestamp, LAST);
  const isNew = (bits & IS_OPEN) === 0;
  if (!isNew && score < PEAK_RATIO * load<f32>(peakAt)) {
    store<u8>(bitsAt, <u8>bits);
    return PHASE_NONE;
  }
  if (isNew) store<i64>(times, timestamp);
  store<f32>(peakAt, score);
  store<u8>(bitsAt, <u8>((bits & ~CAUSE_MASK) | IS_OPEN | (cause << CAUSE_SHIFT)));
  return isNew ? PHASE_ONSET : PHASE_PEAK;
}

export function closeAnomaly(record: usize): void {
  close(record + ONSET, record + PEAK, record + PHASE_BITS);
}

export function close(times: usize, peakAt: usize, bitsAt: usize): void {
  const bits: u32 = load<u8>(bitsAt);
  store<u8>(bitsAt, <u8>(bits & ~(CALM_MASK | CAUSE_MASK | IS_OPEN)));
  store<i64>(times, 0);
  store<i64>(times, 0, LAST);
  store<f32>(peakAt, 0.0);
}
