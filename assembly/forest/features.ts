// The 13 features of a value as bytes 0..254, and what they learn from it: residuals between
// neighbouring moving averages and from the season, each over its own typical size, the place within
// the range, the volatility and the time of day. No divisor below is smaller than 1e-30.

import { DAY } from './memory-map';
import { towards, towards4, VANISHING } from './moving-mean';
import { HIGH, LEVEL, LOW, MEANS, SCALES, SEASONAL_RESIDUAL } from './record';
import { seasonalResidual } from './season';

/**
 * Scales learn over 4,000 samples; from the 31st on, one residual counts for at most 8 times the
 * usual.
 */
const SCALE_RATE_MIN: f32 = 1.0 / 4000.0;
const CLIP: f32 = 8.0;
const CLIP_FROM: u32 = 30;
const SQUASH: f32 = 4.0;
const SEASONAL_RATE: f32 = 1.0 / 24.0;
/** Floor of a scale as a part of the range: features are coarse, magnitude is not. */
const FEATURE_FLOOR: f32 = 1e-3;
const ALL: f32 = 3e38;

/** The 13 features of the value as bytes; then means, scales and season learn it. */
export function learnFeatures(
  record: usize,
  x: f32,
  n: u32,
  young: f32,
  bin: i32,
  minuteOfDay: i32,
  volatility: f32,
): v128 {
  const low = load<f32>(record, LOW);
  const range: f32 = load<f32>(record, HIGH) - low;
  const seasonal = seasonalResidual(record, bin, x, load<f32>(record, LEVEL));

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
  const means0 = towards4(v128.load(record, MEANS), value, f32x4.max(rates0, youth));
  const means1 = towards4(v128.load(record, MEANS + 16), value, f32x4.max(rates1, youth));
  v128.store(record, means0, MEANS);
  v128.store(record, means1, MEANS + 16);
  const smooth = towards(load<f32>(record, SEASONAL_RESIDUAL), seasonal, SEASONAL_RATE);
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
  const clock = DAY + ((<usize>minuteOfDay) << 1);
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
  v128.store(at, towards4(kept, aims, f32x4.splat(rate)));
  return i32x4.trunc_sat_f32x4_s(bend(residuals, f32x4.mul(f32x4.splat(SQUASH), scales)));
}

/** The next scale, for the ninth one, which stands alone. */
function learnScale(kept: f32, residual: f32, floor: f32, rate: f32, clipAbove: f32): f32 {
  const size: f32 = abs(residual);
  const aim: f32 = kept > clipAbove ? min<f32>(size, CLIP * max(kept, floor)) : size;
  return towards(kept, aim, rate);
}
