// A level that people accept: everything that a record holds of values is counted from its origin, so
// to move the origin moves the season, the range and the long means at once, and back again. And a
// record that was set aside while nothing was to be learnt.

import { SET_ASIDE } from './memory-map';
import {
  CENTRE,
  EXPECTED,
  HIGH,
  HIGHEST_RARITY,
  IS_BACK,
  IS_STALE,
  LAST_BITS,
  LAST_TIMESTAMP,
  LEVEL,
  LOW,
  MEANS,
  ONSET,
  ORIGIN,
  PEAK,
  PHASE_BITS,
  PREVIOUS,
  QUIET_BITS,
  RECORD_BYTES,
  SAMPLES,
  SCORE,
  SEASON_BIN,
  SEASONAL_RESIDUAL,
} from './record';
import { binOf, minuteOfDay, minuteOfWeek, minuteResidual } from './season';
import { kindOf } from './transform';

/** Of the width of a range that was moved, at both ends. */
const MARGIN: f32 = 0.5;

/** The shortest mean where the prediction has arrived there, else the last value. */
function levelNow(record: usize): f32 {
  const mean = load<f32>(record, MEANS);
  const centre = load<f32>(record, CENTRE);
  return abs(mean - centre) <= load<f32>(record, CENTRE + 4) ? mean : load<f32>(record, PREVIOUS);
}

/** How far the series is now from where it usually is at this time: 0 until it has a value. */
export function shiftOf(record: usize): f64 {
  if (load<u32>(record, SAMPLES) === 0) return 0.0;
  const now = levelNow(record);
  const minute = minuteOfWeek(load<i64>(record, LAST_TIMESTAMP));
  const off = minuteResidual(record, binOf(minute), minuteOfDay(minute) % 60, now);
  return <f64>(F32.isNaN(off) ? now - load<f32>(record, LEVEL) : off);
}

/** The level that is `shift` away from the usual one is the usual one from now on. */
export function acceptShift(record: usize, shift: f64): void {
  const now: f32 = levelNow(record) - <f32>shift;
  moveOrigin(record, shift);
  for (let k: usize = 0; k < 8; k++) store<f32>(record + (k << 2), now, MEANS);
  store<f32>(record, now, CENTRE);
  store<f32>(record, now, EXPECTED);
  // One end of the range has gone to the new level already; the level is not known to a hair.
  const low: f32 = load<f32>(record, LOW) - <f32>min<f64>(0.0, shift);
  const high: f32 = load<f32>(record, HIGH) - <f32>max<f64>(0.0, shift);
  const margin: f32 = max<f32>(0.0, high - low) * MARGIN;
  store<f32>(record, min(now, low - margin), LOW);
  store<f32>(record, max(now, high + margin), HIGH);
  // The burst was the shift itself.
  store<f32>(record, load<f32>(record, CENTRE + 12), CENTRE + 8);
  store<f32>(record, 0.0, SEASONAL_RESIDUAL);
  // The next value takes the level, and a walk begins there.
  store<u8>(record, <u8>(<u32>load<u8>(record, QUIET_BITS) | IS_BACK), QUIET_BITS);
}

/** What is usual moves with it. The hour that is being summed up begins anew, and so does what is news. */
export function moveOrigin(record: usize, shift: f64): void {
  store<f64>(record, load<f64>(record, ORIGIN) + shift, ORIGIN);
  store<f32>(record, load<f32>(record, PREVIOUS) - <f32>shift, PREVIOUS);
  store<u8>(record, 0, SEASON_BIN);
  store<f32>(record, 0.0, HIGHEST_RARITY);
}

/**
 * Puts the record back that was set aside, with the guard and the open anomaly of the one that went
 * on. False when the series has begun anew as another kind meanwhile: then nothing is put back.
 */
export function resume(record: usize): bool {
  const kept = SET_ASIDE;
  if (kindOf(kept) !== kindOf(record)) return false;
  store<i64>(kept, load<i64>(record, LAST_TIMESTAMP), LAST_TIMESTAMP);
  store<u64>(kept, load<u64>(record, LAST_BITS), LAST_BITS);
  memory.copy(kept + ONSET, record + ONSET, 16);
  store<f32>(kept, load<f32>(record, SCORE), SCORE);
  store<f32>(kept, load<f32>(record, PEAK), PEAK);
  store<u8>(kept, load<u8>(record, PHASE_BITS), PHASE_BITS);
  const quiet = (<u32>load<u8>(kept, QUIET_BITS) & ~IS_STALE) | IS_BACK;
  const stale = <u32>load<u8>(record, QUIET_BITS) & IS_STALE;
  store<u8>(kept, <u8>(quiet | stale), QUIET_BITS);
  memory.copy(record, kept, RECORD_BYTES);
  return true;
}
