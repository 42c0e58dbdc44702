// Scores one value of one series, then learns it; what every other file here is for. The value
// arrives as f32 relative to the series' origin. The features are residuals between neighbouring
// moving averages, each over its own typical size, the place within the range, the time of day and
// the volatility, as bytes 0..254. No float that is stored can become NaN or infinite: the value
// lies within ±1e30, and no divisor below is smaller than 1e-30.

import { fineness, isGap, learnInterval, rangeRate, usualSeconds } from './interval';
import { exp2, log2, log2x4 } from './logarithm';
import { DAY } from './memory-map';
import { learnQuiet } from './quiet';
import {
  isNewRecord,
  MAGNITUDE_OFFSET,
  MAGNITUDE_USUAL_WEIGHT,
  magnitudeRarity,
  noveltyRarity,
} from './rarity';
import {
  CENTRE,
  EXPECTED,
  HALF_WIDTH,
  HIGH,
  INTERVAL,
  IS_BACK,
  LEVEL,
  LOW,
  MAGNITUDE_USUAL,
  MEANS,
  QUIET_BITS,
  SAMPLES,
  SCALES,
  SCORE,
  SEASONAL_RESIDUAL,
} from './record';
import { binOf, minuteOfDay, minuteOfWeek, seasonalResidual } from './season';
import { descend } from './trees';

export const WARM_SAMPLES: u32 = 100;
export const CAUSE_NONE: u32 = 0;
export const CAUSE_NOVELTY: u32 = 1;
export const CAUSE_MAGNITUDE: u32 = 2;
export const CAUSE_QUIET: u32 = 3;

/** Score = (rarity - 10) / 5: 1 at a rarity of 15. */
const RARITY_MIDDLE: f32 = 10.0;
const RARITY_PER_SCORE: f32 = 5.0;
const RARITY_ALARM: f32 = 15.0;
const QUIET_SCORE: f32 = 1.2;
/**
 * The size at which magnitude alone reaches the score 1 lies this far above its usual highest: 0.5
 * + 5/160.
 */
const BAND_OFFSET: f32 = MAGNITUDE_OFFSET + 0.03125;
const HALF_WIDTH_MAX: f64 = 3e38;

/**
 * Scales learn over 4,000 samples; from the 31st on, one residual counts for at most 8 times the
 * usual.
 */
const SCALE_RATE_MIN: f32 = 1.0 / 4000.0;
const CLIP: f32 = 8.0;
const CLIP_FROM: u32 = 30;
const SQUASH: f32 = 4.0;
const SEASONAL_RATE: f32 = 1.0 / 24.0;
/**
 * Floors of a scale as parts of the range, different on purpose: features are coarse, magnitude is
 * not.
 */
const FEATURE_FLOOR: f32 = 1e-3;
const SPREAD_FLOOR: f32 = 1e-6;
const VOLATILITY_FLOOR: f32 = 1e-9;
/** Smaller values become 0 before they become denormal, which processors compute slowly. */
const VANISHING: f32 = 1e-30;
const ALL: f32 = 3e38;
/**
 * Beyond these a residual says no more, and its logarithm must not spoil the calibration for
 * months.
 */
const SIZE_MAX: f32 = 16777216.0;
const EXCEED_MAX: f32 = 1e6;
const EXCEED_WEIGHT: f32 = 30.0;

/**
 * Of the last value scored: why its score is what it is, and is it the one sample that speaks for
 * its cause?
 */
export let cause: u32 = CAUSE_NONE;
export let isAlarm: bool = false;

export function scoreValue(record: usize, x: f32, timestamp: i64, elapsedMs: f64): f32 {
  const n = load<u32>(record, SAMPLES);
  // Wraps to 2^31, not to 0: only "the first" is special.
  store<u32>(record, n === u32.MAX_VALUE ? 0x80000000 : n + 1, SAMPLES);
  const young: f32 = <f32>1.0 / (<f32>n + <f32>1.0);
  const bits: u32 = load<u8>(record, QUIET_BITS);
  const seconds: f32 = max<f32>(1.0, <f32>(elapsedMs / 1000.0));
  const usual = usualSeconds(load<f32>(record, INTERVAL));
  if (isGap(n, seconds, usual) || (bits & IS_BACK) !== 0) {
    takeLevel(record, x);
    store<u8>(record, <u8>(bits & ~IS_BACK), QUIET_BITS);
  }
  if (n === 0) startAt(record, x);
  const isStuck = learnQuiet(record, n, young, x);
  const low = load<f32>(record, LOW);
  const high = load<f32>(record, HIGH);
  const range: f32 = high - low;
  const logarithms = log2x4(learnCentre(record, x, young, range, seconds));
  learnInterval(record, n, young, f32x4.extract_lane(logarithms, 3));
  const features = learnFeatures(record, x, n, young, minuteOfWeek(timestamp), logarithms);
  const shrink: f32 = range * rangeRate(usual);
  store<f32>(record, min(x, low + shrink), LOW);
  store<f32>(record, max(x, high - shrink), HIGH);

  const rarity = descend(record, features, n);
  const novelty = noveltyRarity(record, rarity, beyondRange(x, low, high), fineness(record));
  const magnitude = magnitudeRarity(record, f32x4.extract_lane(logarithms, 0), n);
  return conclude(record, n, novelty, magnitude, isStuck);
}

function conclude(record: usize, n: u32, novelty: f32, magnitude: f32, isStuck: bool): f32 {
  const rarity: f32 = n < WARM_SAMPLES ? 0.0 : max(novelty, magnitude);
  let score: f32 = max<f32>(0.0, (rarity - RARITY_MIDDLE) / RARITY_PER_SCORE);
  cause = novelty >= magnitude ? CAUSE_NOVELTY : CAUSE_MAGNITUDE;
  isAlarm = n >= WARM_SAMPLES && isNewRecord(record, rarity) && rarity >= RARITY_ALARM;
  if (isStuck && score < QUIET_SCORE) {
    score = QUIET_SCORE;
    cause = CAUSE_QUIET;
    isAlarm = true;
  }
  store<f32>(record, score, SCORE);
  return score;
}

/** The first value is the origin, so x is 0 here; everything else begins at 0 too. */
function startAt(record: usize, x: f32): void {
  v128.store(record, f32x4.splat(x), MEANS);
  v128.store(record, f32x4.splat(x), MEANS + 16);
  store<f32>(record, x, CENTRE);
  store<f32>(record, x, LOW);
  store<f32>(record, x, HIGH);
}

/**
 * After a gap the short means begin at the new value: coming back is no news. The long ones still
 * judge it.
 */
function takeLevel(record: usize, x: f32): void {
  store<f32>(record, x, MEANS);
  store<f32>(record, x, MEANS + 4);
  store<f32>(record, x, MEANS + 8);
  store<f32>(record, x, CENTRE);
}

/**
 * log2(1 + 30 ex), ex = distance outside the range over its width; the first move of a constant
 * counts as one width.
 */
function beyondRange(x: f32, low: f32, high: f32): f32 {
  const range: f32 = high - low;
  const outside: f32 = max(x - high, low - x);
  if (outside <= 0) return 0.0;
  const exceed: f32 = range > 0 ? min(EXCEED_MAX, outside / range) : <f32>1.0;
  return log2(<f32>1.0 + EXCEED_WEIGHT * exceed);
}

/**
 * Prediction, residual and volatilities; writes the band, then learns. Answers what logarithms are
 * wanted of: 1 + z, fast and slow volatility before this value, the seconds since the one before.
 */
function learnCentre(record: usize, x: f32, young: f32, range: f32, seconds: f32): v128 {
  const kept = v128.load(record, CENTRE);
  const centre = f32x4.extract_lane(kept, 0);
  const residual: f32 = abs(x - centre);
  // Until the series has moved there is no spread, and nothing is large. Never a division by
  // nothing.
  const spread: f32 = max(f32x4.extract_lane(kept, 1), SPREAD_FLOOR * range);
  const size: f32 = spread > 0 ? min(SIZE_MAX, residual / spread) : <f32>0.0;
  const usual = load<f32>(record, MAGNITUDE_USUAL);
  const reach: f32 = exp2(MAGNITUDE_USUAL_WEIGHT * usual + BAND_OFFSET) - 1.0;
  store<f32>(record, centre, EXPECTED);
  store<f32>(record, <f32>min(HALF_WIDTH_MAX, <f64>spread * <f64>reach), HALF_WIDTH);

  const rates = f32x4.max(
    f32x4(<f32>1.0 / <f32>6.0, <f32>1.0 / <f32>1440.0, <f32>1.0 / <f32>20.0, SCALE_RATE_MIN),
    f32x4.splat(young),
  );
  const aims = f32x4.replace_lane(f32x4.splat(residual), 0, x);
  v128.store(record, towards(kept, aims, rates), CENTRE);

  const floor: f32 = VOLATILITY_FLOOR * range + VANISHING;
  const volatilities = f32x4.add(kept, f32x4.splat(floor));
  const logged = f32x4.replace_lane(
    v128.shuffle<f32>(volatilities, volatilities, 0, 2, 3, 0),
    3,
    seconds,
  );
  return f32x4.replace_lane(logged, 0, <f32>1.0 + size);
}

/** kept + rates · (aims - kept), where that is not next to nothing. */
function towards(kept: v128, aims: v128, rates: v128): v128 {
  const next = f32x4.add(kept, f32x4.mul(rates, f32x4.sub(aims, kept)));
  return v128.and(next, f32x4.ge(f32x4.abs(next), f32x4.splat(VANISHING)));
}

/** The 13 features of the value as bytes; then means, scales and season learn it. */
function learnFeatures(
  record: usize,
  x: f32,
  n: u32,
  young: f32,
  minute: i32,
  logarithms: v128,
): v128 {
  const low = load<f32>(record, LOW);
  const range: f32 = load<f32>(record, HIGH) - low;
  const seasonal = seasonalResidual(record, binOf(minute), x, load<f32>(record, LEVEL));

  const value = f32x4.splat(x);
  const youth = f32x4.splat(young);
  const rates0 = f32x4(
    <f32>1.0 / <f32>1.5,
    <f32>1.0 / <f32>4.5,
    <f32>1.0 / <f32>13.5,
    <f32>1.0 / <f32>40.5,
  );
  const rates1 = f32x4(
    <f32>1.0 / <f32>121.5,
    <f32>1.0 / <f32>364.5,
    <f32>1.0 / <f32>1093.5,
    SCALE_RATE_MIN,
  );
  const means0 = towards(v128.load(record, MEANS), value, f32x4.max(rates0, youth));
  const means1 = towards(v128.load(record, MEANS + 16), value, f32x4.max(rates1, youth));
  v128.store(record, means0, MEANS);
  v128.store(record, means1, MEANS + 16);
  let smooth = load<f32>(record, SEASONAL_RESIDUAL);
  smooth = smooth + SEASONAL_RATE * (seasonal - smooth);
  if (abs(smooth) < VANISHING) smooth = 0.0;
  store<f32>(record, smooth, SEASONAL_RESIDUAL);

  // Residual k: mean k - 1 (the value itself for k = 0) minus mean k.
  const residuals0 = f32x4.sub(v128.shuffle<f32>(value, means0, 0, 4, 5, 6), means0);
  const between = f32x4.sub(v128.shuffle<f32>(means0, means1, 3, 4, 5, 6), means1);
  const residuals1 = f32x4.replace_lane(between, 3, seasonal);
  const floor: f32 = max(FEATURE_FLOOR * range, VANISHING);
  const scaleRate: f32 = max(SCALE_RATE_MIN, young);
  const clipAbove: f32 = n >= CLIP_FROM ? 0.0 : ALL;
  const at = record + SCALES;
  const bytes0 = learnScales(at, residuals0, floor, scaleRate, clipAbove);
  const bytes1 = learnScales(at + 16, residuals1, floor, scaleRate, clipAbove);
  const place: f32 = range > 0 ? (x - low) / range : 0.5;
  const inRange: f32 = 0.25 + 0.5 * max<f32>(-0.5, min<f32>(1.5, place));
  const fast = f32x4.extract_lane(logarithms, 1);
  const slow = f32x4.extract_lane(logarithms, 2);
  const volatility: f32 = 0.25 * (fast - slow);
  const scale8 = load<f32>(record, SCALES + 32);
  store<f32>(record, learnScale(scale8, smooth, floor, scaleRate, clipAbove), SCALES + 32);
  const unit8: f32 = SQUASH * max(scale8, floor);
  const last = bend(f32x4(smooth, 0.0, volatility, 0.0), f32x4(unit8, 1.0, 1.0, 1.0));
  const bytes2 = i32x4.trunc_sat_f32x4_s(f32x4.replace_lane(last, 1, inRange * 254.5));

  // Lanes 0-7 residuals, 8 mean seasonal residual, 9 place in the range, 10 volatility, 11-12 time
  // of day.
  let features = i8x16.narrow_i16x8_u(
    i16x8.narrow_i32x4_s(bytes0, bytes1),
    i16x8.narrow_i32x4_s(bytes2, bytes2),
  );
  const clock = DAY + ((<usize>minuteOfDay(minute)) << 1);
  features = i8x16.replace_lane(features, 11, load<i8>(clock));
  return i8x16.replace_lane(features, 12, load<i8>(clock, 1));
}

/**
 * 127.25 + 127.25 q / (1 + |q|) with q = residual / unit, as one division: any size becomes a
 * byte.
 */
function bend(residuals: v128, units: v128): v128 {
  const half = f32x4.splat(127.25);
  const bent = f32x4.div(f32x4.mul(half, residuals), f32x4.add(units, f32x4.abs(residuals)));
  return f32x4.add(half, bent);
}

/** Four residuals as bytes; then the four scales at `at` learn them. */
function learnScales(at: usize, residuals: v128, floor: f32, rate: f32, clipAbove: f32): v128 {
  const kept = v128.load(at);
  const scales = f32x4.max(kept, f32x4.splat(floor));
  const sizes = f32x4.abs(residuals);
  const isClipped = f32x4.gt(kept, f32x4.splat(clipAbove));
  const most = f32x4.mul(f32x4.splat(CLIP), scales);
  const aims = v128.bitselect(f32x4.min(sizes, most), sizes, isClipped);
  v128.store(at, towards(kept, aims, f32x4.splat(rate)));
  return i32x4.trunc_sat_f32x4_s(bend(residuals, f32x4.mul(f32x4.splat(SQUASH), scales)));
}

/** The next scale, for the ninth one, which stands alone. */
function learnScale(kept: f32, residual: f32, floor: f32, rate: f32, clipAbove: f32): f32 {
  const size: f32 = abs(residual);
  const aim: f32 = kept > clipAbove ? min<f32>(size, CLIP * max(kept, floor)) : size;
  const next: f32 = kept + rate * (aim - kept);
  return next < VANISHING ? <f32>0.0 : next;
}
