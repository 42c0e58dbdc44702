// Scores one value of one series, then learns it; what every other file here is for. The value
// arrives as f32 relative to the series' origin. Here are the prediction and the residual from it,
// the bar that a residual must pass, and the order of things: everything is judged by what was
// known before the value, then learns it. No float that is stored can become NaN or infinite: the
// value lies within ±1e30, and no divisor is smaller than 1e-30.

import { calibrateDrift, closeDrift, driftDistance, learnDrift } from './drift';
import { learnFeatures } from './features';
import { fineness, isGap, learnInterval, rangeRate, usualSeconds } from './interval';
import { exp2, log2, log2x4 } from './logarithm';
import { towards4, VANISHING } from './moving-mean';
import { learnQuiet } from './quiet';
import {
  isNewRecord,
  isUsualSize,
  learnMagnitude,
  learnYoung,
  magnitudeRarity,
  noveltyDiscount,
  noveltyRarity,
  RARITY_ALARM,
  usualBar,
  youngBar,
} from './rarity';
import {
  CENTRE,
  EXPECTED,
  HABIT_BITS,
  HALF_WIDTH,
  HELD_MASK,
  HIGH,
  INTERVAL,
  IS_BACK,
  LOW,
  MAGNITUDE_BLOCKS,
  MEANS,
  QUIET_BITS,
  SAMPLES,
  SCORE,
  SEASON_BIN,
  SPREAD,
} from './record';
import { hourBar, isJobSize, isLoudHour, learnClocks, phaseBar } from './recurrence';
import { binOf, climb, minuteOfDay, minuteOfWeek } from './season';
import { descend } from './trees';
import { learnZeros } from './zeros';

export const WARM_SAMPLES: u32 = 100;
export const CAUSE_NONE: u32 = 0;
export const CAUSE_NOVELTY: u32 = 1;
export const CAUSE_MAGNITUDE: u32 = 2;
export const CAUSE_QUIET: u32 = 3;

/** Score = (rarity - 10) / 5: 1 at a rarity of 15. */
const RARITY_MIDDLE: f32 = 10.0;
const RARITY_PER_SCORE: f32 = 5.0;
/** The one sample of a cause is told from a score of 0.8 on, so that a threshold may be lower. */
const RARITY_TOLD: f32 = 14.0;
/** Of what has no scale: a run that is too quiet, a walk. */
const PLAIN_SCORE: f32 = 1.2;
/** The size at which magnitude alone reaches the score 1 lies this far above its bar: 5/160. */
const BAND_OFFSET: f32 = 0.03125;
const HALF_WIDTH_MAX: f64 = 3e38;

/** The spread is that of 1,440 samples and of a day at least. */
const SPREAD_RATE: f32 = 1.0 / 1440.0;
const PER_DAY: f32 = 1.0 / 86400.0;
/** One sample changes the spread by a 1,440th of its residual: at this many spreads it doubles it. */
const LEARNT_SPREADS: f32 = 1440.0;
const LEARNT_FROM: u32 = 30;
/** The centre lags by six samples behind a climb, which is known per two hours. */
const LAG_SECONDS: f32 = 6.0 / 7200.0;
/** A young series whose first values were wild: its spread is no spread, and falls fast. */
const INFLATED: f32 = 8.0;
const INFLATED_FROM: u32 = 30;
const INFLATED_TO: u32 = 600;
const INFLATED_RATE: f32 = 1.0 / 32.0;
const VOLATILITY_RATE: f32 = 1.0 / 4000.0;
/** The centre does not follow a regular job, unless it lasts. */
const HELD_MAX: u32 = 3;
/** Floors of the spread and of the volatilities as parts of the range. */
const SPREAD_FLOOR: f32 = 1e-6;
const VOLATILITY_FLOOR: f32 = 1e-9;
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
/** It is said of a run or of a walk, which has no scale, and once. */
export let isPlain: bool = false;

/** `isZero`: the value itself is 0, wherever the origin lies. */
export function scoreValue(
  record: usize,
  x: f32,
  isZero: bool,
  timestamp: i64,
  elapsedMs: f64,
): f32 {
  const n = load<u32>(record, SAMPLES);
  // Wraps to 2^31, not to 0: only "the first" is special.
  store<u32>(record, n === u32.MAX_VALUE ? 0x80000000 : n + 1, SAMPLES);
  const young: f32 = <f32>1.0 / (<f32>n + <f32>1.0);
  const bits: u32 = load<u8>(record, QUIET_BITS);
  const seconds: f32 = max<f32>(1.0, <f32>(elapsedMs / 1000.0));
  const usual = usualSeconds(load<f32>(record, INTERVAL));
  const age: f32 = <f32>n * usual;
  const isAway = isGap(n, seconds, usual) || (bits & IS_BACK) !== 0;
  const learnt = learntOf(record, n, x);
  if (isAway) {
    takeLevel(record, learnt);
    store<u8>(record, <u8>(bits & ~IS_BACK), QUIET_BITS);
  }
  if (n === 0) startAt(record, x);
  // The first value may be anything (a process that begins at 0): its hour begins with the second.
  if (n === 1) store<u8>(record, 0, SEASON_BIN);
  const isStuck = learnQuiet(record, n, young, x);
  const isSilent = learnZeros(record, n, young, isZero, usual);

  const low = load<f32>(record, LOW);
  const high = load<f32>(record, HIGH);
  const range: f32 = high - low;
  const minute = minuteOfWeek(timestamp);
  const bin = binOf(minute);
  const clock = minuteOfDay(minute);
  const hour = clock / 60;
  const inHour = clock - 60 * hour;
  const lag: f32 = LAG_SECONDS * usual * climb(record, bin);
  const kept = v128.load(record, CENTRE);
  const centre = f32x4.extract_lane(kept, 0);
  const straight: f32 = abs(x - centre);
  const bent: f32 = abs(x - (centre + lag));
  const residual: f32 = min(straight, bent);
  // Until the series has moved there is no spread, and nothing is large. Never a division by
  // nothing.
  const spread: f32 = max(f32x4.extract_lane(kept, 1), SPREAD_FLOOR * range);
  const z: f32 = spread > 0 ? min(SIZE_MAX, residual / spread) : <f32>0.0;
  const logarithms = logarithmsOf(kept, z, range, seconds);
  const size = f32x4.extract_lane(logarithms, 0);

  const usualSize = usualBar(record);
  const ofHour = hourBar(record, hour, inHour, age);
  const ofPhase = phaseBar(record, inHour);
  const bar: f32 = max(max(usualSize, youngBar(record, age)), max(ofHour, ofPhase));
  const isJob = size <= ofPhase && isJobSize(record, size);
  const isHabit = isJob || (size > usualSize && size <= ofHour);
  const isRecurrent = isHabit || (size <= ofHour && isLoudHour(record, size));
  storeBand(record, centre, <f32>0.5 * lag, spread, bar);

  learnClocks(record, n, hour, inHour, size, isJob, age);
  const spreadRate: f32 = max(young, min(SPREAD_RATE, usual * PER_DAY));
  const isInflated =
    n >= INFLATED_FROM && n < INFLATED_TO && spread > INFLATED * f32x4.extract_lane(kept, 2);
  const moved: f32 = learnt === x ? residual : abs(learnt - centre);
  const counted: f32 = isHabit ? min(moved, spread) : moved;
  const ownRate: f32 = isInflated ? INFLATED_RATE : spreadRate;
  learnCentre(record, learnt, moved, counted, young, ownRate, hold(record, isJob));
  learnInterval(record, n, young, f32x4.extract_lane(logarithms, 3));
  const parted = driftDistance(
    record,
    bin,
    inHour,
    learnt,
    n,
    young,
    spreadRate,
    range,
    isJob,
    isAway,
  );
  const fast = f32x4.extract_lane(logarithms, 1);
  const slow = f32x4.extract_lane(logarithms, 2);
  const volatility: f32 = 0.25 * (fast - slow);
  const features = learnFeatures(record, learnt, n, young, bin, clock, volatility);
  const shrink: f32 = range * rangeRate(usual);
  store<f32>(record, min(learnt, low + shrink), LOW);
  store<f32>(record, max(learnt, high - shrink), HIGH);

  const isNoise = isUsualSize(record, size, bar);
  const rare = log2x4(f32x4(descend(record, features, n), parted, 1.0, 1.0));
  const leaf = f32x4.extract_lane(rare, 0);
  const drift = f32x4.extract_lane(rare, 1);
  const beyond = beyondRange(x, low, high);
  const novelty: f32 =
    noveltyRarity(record, leaf, beyond, fineness(record), isNoise) -
    noveltyDiscount(record, age, isRecurrent);
  const magnitude = magnitudeRarity(size, bar);
  const isSaid = max(novelty, magnitude) >= RARITY_ALARM;
  const isWalking = learnDrift(record, drift, n, age, isSaid || isHabit);
  calibrateDrift(record, drift, n, isHabit);
  const blocks: u32 = load<u8>(record, MAGNITUDE_BLOCKS);
  if (learnMagnitude(record, size, n, usual, isHabit)) closeDrift(record, blocks);
  if (n >= WARM_SAMPLES && isSaid) learnYoung(record, age, size, usualSize);
  return conclude(record, n, novelty, magnitude, isStuck || isSilent, isWalking);
}

function conclude(
  record: usize,
  n: u32,
  novelty: f32,
  magnitude: f32,
  isQuiet: bool,
  isWalking: bool,
): f32 {
  const rarity: f32 = n < WARM_SAMPLES ? 0.0 : max(novelty, magnitude);
  let score: f32 = max<f32>(0.0, (rarity - RARITY_MIDDLE) / RARITY_PER_SCORE);
  cause = novelty >= magnitude ? CAUSE_NOVELTY : CAUSE_MAGNITUDE;
  isAlarm = n >= WARM_SAMPLES && isNewRecord(record, rarity) && rarity >= RARITY_TOLD;
  isPlain = (isQuiet || isWalking) && score < PLAIN_SCORE;
  if (isPlain) {
    score = PLAIN_SCORE;
    cause = isQuiet ? CAUSE_QUIET : CAUSE_MAGNITUDE;
    isAlarm = true;
  }
  store<f32>(record, score, SCORE);
  return score;
}

/**
 * What is learnt of a value. It is judged as it is, but one that lies further out than all that was
 * seen, by as much again, and by so many spreads, is learnt as if it lay there: then it at most
 * doubles the spread and triples the range. A single wild value (1e308, an unlimited limit) would
 * otherwise deafen its series for years; a level that stays is known after some more samples.
 */
function learntOf(record: usize, n: u32, x: f32): f32 {
  const low = load<f32>(record, LOW);
  const high = load<f32>(record, HIGH);
  const range: f32 = high - low;
  const below: f32 = low - range;
  const above: f32 = high + range;
  if ((x >= below && x <= above) || n < LEARNT_FROM || range <= 0) return x;
  const centre = load<f32>(record, CENTRE);
  const most: f32 = LEARNT_SPREADS * max(load<f32>(record, SPREAD), SPREAD_FLOOR * range);
  return max(min(centre - most, below), min(max(centre + most, above), x));
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
 * Of 1 + z, of the fast and the slow volatility before this value, and of the seconds since the one
 * before.
 */
function logarithmsOf(kept: v128, z: f32, range: f32, seconds: f32): v128 {
  const floor: f32 = VOLATILITY_FLOOR * range + VANISHING;
  const volatilities = f32x4.add(kept, f32x4.splat(floor));
  const shuffled = v128.shuffle<f32>(volatilities, volatilities, 0, 2, 3, 0);
  return log2x4(f32x4.replace_lane(f32x4.replace_lane(shuffled, 3, seconds), 0, <f32>1.0 + z));
}

/**
 * The prediction, and how far from it a value may lie before its size alone raises an alarm. Of the
 * two predictions the middle is told, and a band around both: it does not depend on the value.
 */
function storeBand(record: usize, centre: f32, halfLag: f32, spread: f32, bar: f32): void {
  const reach: f32 = exp2(bar + BAND_OFFSET) - 1.0;
  const half: f64 = <f64>spread * <f64>reach + <f64>abs(halfLag);
  store<f32>(record, centre + halfLag, EXPECTED);
  store<f32>(record, <f32>min(HALF_WIDTH_MAX, half), HALF_WIDTH);
}

/** True where the centre stands still: at the first samples of a regular job. */
function hold(record: usize, isJob: bool): bool {
  const bits: u32 = load<u8>(record, HABIT_BITS);
  const held = bits & HELD_MASK;
  if (!isJob && held === 0) return false;
  const next = isJob ? min(HELD_MAX, held + 1) : 0;
  store<u8>(record, <u8>((bits & ~HELD_MASK) | next), HABIT_BITS);
  return isJob && held < HELD_MAX;
}

/** Prediction, spread and volatilities. `counted`: what the spread learns of the residual. */
function learnCentre(
  record: usize,
  x: f32,
  residual: f32,
  counted: f32,
  young: f32,
  spreadRate: f32,
  isHeld: bool,
): void {
  const rates = f32x4(
    isHeld ? <f32>0.0 : max(<f32>1.0 / <f32>6.0, young),
    spreadRate,
    max(<f32>1.0 / <f32>20.0, young),
    max(VOLATILITY_RATE, young),
  );
  const aims = f32x4(x, counted, residual, residual);
  v128.store(record, towards4(v128.load(record, CENTRE), aims, rates), CENTRE);
}
