// A slow walk away from where the series usually is at this time of day: a leak, a ramp. No step of
// it is large, so neither the short mean nor a rare leaf tells it. Two means of the distance from
// the season, a short and a long one, part when it walks; how far they have parted is measured
// and calibrated like a magnitude. Speaks once per walk, and not of what has been said already.

import { towards } from './moving-mean';
import { usualRate } from './rarity';
import {
  DRIFT_FAST,
  DRIFT_MAX,
  DRIFT_REPORTED,
  DRIFT_SLOW,
  DRIFT_SPREAD,
  DRIFT_USUAL,
  HABIT_BITS,
  SEASON_KNOWN,
} from './record';
import { inSixteenths, loadSize, storeSize } from './recurrence';
import { minuteResidual } from './season';

const FAST_RATE: f32 = 1.0 / 8.0;
const SLOW_RATE: f32 = 1.0 / 120.0;
/** One distance counts for at most 8 times the usual, from the 31st on. */
const CLIP: f32 = 8.0;
const CLIP_FROM: u32 = 30;
/** A part of the range below which nobody walks. */
const SPREAD_FLOOR: f32 = 1e-3;
const SIZE_MAX: f32 = 16777216.0;
const CALIBRATE_FROM: u32 = 100;
const WARM_SAMPLES: u32 = 200;
/** The season is not known before, and every morning walks. */
const WARM_SECONDS: f32 = 172800.0;
const USUAL_WEIGHT: f32 = 1.45;
const OFFSET: f32 = 0.5;
const USUAL_AT_FIRST: f32 = 3.0;
/** A walk is over when its size is an octave below the bar. */
const OVER_OCTAVES: f32 = 1.0;

/**
 * 1 + z of the distance z between the two means, which learn the value. `isJob`: a regular
 * job's value, which is left out. `isAway`: the series comes back from a gap.
 */
export function driftDistance(
  record: usize,
  bin: i32,
  inHour: i32,
  x: f32,
  n: u32,
  young: f32,
  spreadRate: f32,
  range: f32,
  isJob: bool,
  isAway: bool,
): f32 {
  const off = minuteResidual(record, bin, inHour, x);
  const isKnown = !F32.isNaN(off);
  const distance: f32 = isKnown ? off : x;
  const bits: u32 = load<u8>(record, HABIT_BITS);
  let fast = load<f32>(record, DRIFT_FAST);
  let slow = load<f32>(record, DRIFT_SLOW);
  if (n === 0 || isAway || isKnown !== ((bits & SEASON_KNOWN) !== 0)) {
    const known: u32 = isKnown ? SEASON_KNOWN : 0;
    store<u8>(record, <u8>((bits & ~SEASON_KNOWN) | known), HABIT_BITS);
    fast = distance;
    slow = distance;
  } else if (!isJob) {
    fast = towards(fast, distance, max(FAST_RATE, young));
    slow = towards(slow, distance, max(SLOW_RATE, young));
  }
  store<f32>(record, fast, DRIFT_FAST);
  store<f32>(record, slow, DRIFT_SLOW);
  const parted: f32 = abs(fast - slow);
  const kept = load<f32>(record, DRIFT_SPREAD);
  const spread: f32 = max(kept, SPREAD_FLOOR * range);
  const aim: f32 = n < CLIP_FROM ? parted : min(parted, CLIP * spread);
  store<f32>(record, towards(kept, aim, spreadRate), DRIFT_SPREAD);
  return spread > 0 ? <f32>1.0 + min(SIZE_MAX, parted / spread) : <f32>1.0;
}

/**
 * `size`: log2 of the distance. True at the one sample at which a walk is noticed. `isSaid`: the sample is
 * anomalous anyway, or a habit.
 */
export function learnDrift(record: usize, size: f32, n: u32, age: f32, isSaid: bool): bool {
  const bar: f32 = USUAL_WEIGHT * loadSize(record + DRIFT_USUAL) + OFFSET;
  const bits: u32 = load<u8>(record, HABIT_BITS);
  if (size < bar - OVER_OCTAVES) {
    store<u8>(record, <u8>(bits & ~DRIFT_REPORTED), HABIT_BITS);
    return false;
  }
  const isNoticed =
    size > bar && (bits & DRIFT_REPORTED) === 0 && n >= WARM_SAMPLES && age > WARM_SECONDS;
  if (isSaid || isNoticed) store<u8>(record, <u8>(bits | DRIFT_REPORTED), HABIT_BITS);
  return isNoticed && !isSaid;
}

/** `isHabit`: a clock knows the sample's size; it is left out of the calibration. */
export function calibrateDrift(record: usize, size: f32, n: u32, isHabit: bool): void {
  if (n < CALIBRATE_FROM || isHabit) return;
  const highest = max(<u32>load<u8>(record, DRIFT_MAX), inSixteenths(size));
  store<u8>(record, <u8>highest, DRIFT_MAX);
}

/** At the end of a block of magnitude, whose number `blocks` is. */
export function closeDrift(record: usize, blocks: u32): void {
  const usual = loadSize(record + DRIFT_USUAL);
  const highest: f32 = <f32>load<u8>(record, DRIFT_MAX) * <f32>0.0625;
  const off: f32 = highest - usual;
  const next: f32 =
    blocks === 0 ? max(USUAL_AT_FIRST, highest) : usual + usualRate(blocks, off) * off;
  storeSize(record + DRIFT_USUAL, next);
  store<u8>(record, 0, DRIFT_MAX);
}
