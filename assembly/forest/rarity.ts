// Two calibrated sub-scores of one sample, joined by maximum to its rarity: novelty (a rare leaf,
// or a value beyond the range) and magnitude (a large residual). Each is compared with the usual
// highest value of its own past blocks, so that 15 is about equally rare on every series. A block of
// magnitude lasts as long at 15 seconds as at a minute, and how far its highest and its lowest
// values lie apart tells a noise with heavy tails from one without. Also what a series must do
// before it is believed on its first day, and the fading record that makes one alarm of one cause.

import { isOpen } from './anomaly';
import { log2 } from './logarithm';
import {
  HABIT_BITS,
  HIGHEST_RARITY,
  INTERVAL,
  LEFT_OUT,
  MAGNITUDE_BLOCKS,
  MAGNITUDE_FILL,
  MAGNITUDE_LOW,
  MAGNITUDE_MAX,
  MAGNITUDE_USUAL,
  NOVELTY_BLOCKS,
  NOVELTY_FILL,
  NOVELTY_MAX,
  NOVELTY_USUAL,
  RARITY_AGE,
  YOUNG_MAX,
} from './record';
import { inSixteenths, loadSize, storeSize } from './recurrence';

const MIDDLE: f32 = 10.0;

const NOVELTY_WEIGHT: f32 = 3.0;
const NOVELTY_USUAL_WEIGHT: f32 = 0.4;
const NOVELTY_BLOCK: u32 = 80;
const NOVELTY_RATE_MIN: f32 = 0.1;
const BEYOND_WEIGHT: f32 = 3.0;
const DEAD_ZONE: f32 = 4.0;
const DEAD_ZONE_PER_OCTAVE: f32 = 1.5;
/** A new extreme that the noise explains must be newer than one which it does not. */
const DEAD_ZONE_OF_NOISE: f32 = 2.0;
const OCTAVES_MAX: f32 = 5.0;
const RARITY_PER_OCTAVE: f32 = 0.5;

const MAGNITUDE_USUAL_WEIGHT: f32 = 1.2;
const MAGNITUDE_OFFSET: f32 = 0.4;
const MAGNITUDE_GAIN: f32 = 160.0;
const MAGNITUDE_CAP: f32 = 20.0;
/** A block of magnitude: so many samples, and so many seconds. */
const MAGNITUDE_BLOCK: u32 = 200;
const MAGNITUDE_BLOCK_SECONDS: f32 = 12000.0;
const MAGNITUDE_RATE_MIN: f32 = 0.02;
/** Until then the spread is a guess, and the sizes measured by it would deafen a young series. */
const CALIBRATE_FROM: u32 = 30;
/**
 * Steps up and down in proportion 7 : 3 settle at the expectile 0.7 of the blocks' highest values,
 * in proportion 2 : 8 at the expectile 0.2.
 */
const STEP_UP: f32 = 1.4;
const STEP_DOWN: f32 = 0.6;
const LOW_STEP_UP: f32 = 0.4;
const LOW_STEP_DOWN: f32 = 1.6;
/** The least step down after a block that left a regular job out: it had been taken for noise. */
const LEFT_OUT_RATE: f32 = 0.1;
/** Two expectiles further apart than this are those of a series that bursts. */
const APART: f32 = 0.6;
const APART_WEIGHT: f32 = 0.6;
/**
 * log2 of the 60 s at which a block of 200 samples lasts long enough. A finer series has more of
 * them in a block, so its highest value is higher by itself; where no tail is heavy the margin may be less.
 */
const LONG_ENOUGH: f32 = 5.906890595608519;
const FINE_OCTAVES_MAX: f32 = 2.0;
const MARGIN_PER_OCTAVE: f32 = 0.2;

/** On the first 18 hours a second alarm must be twice as large as the first, or wait. */
const YOUNG_SECONDS: f32 = 64800.0;
const YOUNG_OCTAVES: f32 = 1.0;
const YOUNG_DISCOUNT: f32 = 20.0;
/** Two and a half days: until then novelty counts for less, an octave of age for one. */
const NEW_SECONDS: f32 = 216000.0;
const RECURRENT_DISCOUNT: f32 = 3.0;

export const RARITY_ALARM: f32 = 15.0;
const RECORD_MARGIN: f32 = 0.8;
const RECORD_FADE: f32 = 0.03;
const RECORD_SAMPLES_MAX: u32 = 120;
const BLOCKS_MAX: u32 = 255;

/**
 * Rarity by leaf and range. `leaf`: log2 of what the trees answer; `beyond`: log2(1 + 30
 * ex) of the distance ex outside the range; `fine`: octaves below an interval of 5 minutes;
 * `isNoise`: the value's size is one that blocks usually reach. A finer series has more samples a
 * day, so that an alarm must be rarer per sample, and a new extreme by a hair's breadth is no news.
 */
export function noveltyRarity(
  record: usize,
  leaf: f32,
  beyond: f32,
  fine: f32,
  isNoise: bool,
): f32 {
  const leafRarity: f32 = NOVELTY_WEIGHT * leaf;
  const usual = load<f32>(record, NOVELTY_USUAL);
  const blocks: u32 = load<u8>(record, NOVELTY_BLOCKS);
  const excess: f32 = blocks > 0 ? leafRarity - NOVELTY_USUAL_WEIGHT * usual : 0.0;
  const rangeRarity: f32 = BEYOND_WEIGHT * beyond;
  const octaves: f32 = max<f32>(0.0, min(OCTAVES_MAX, fine));
  const wide: f32 = isNoise ? DEAD_ZONE_OF_NOISE : 0.0;
  const dead: f32 = DEAD_ZONE + DEAD_ZONE_PER_OCTAVE * octaves + wide;
  learnNovelty(record, leafRarity, usual, blocks);
  const news: f32 = rangeRarity < dead ? 0.0 : rangeRarity;
  return MIDDLE + excess + news - RARITY_PER_OCTAVE * fine;
}

/** What is taken off novelty because the hour is known for it, or the series is not known yet. */
export function noveltyDiscount(record: usize, age: f32, isRecurrent: bool): f32 {
  let discount: f32 = isRecurrent ? RECURRENT_DISCOUNT : 0.0;
  if (age < NEW_SECONDS) discount = discount + log2(NEW_SECONDS / max<f32>(1.0, age));
  return hasSpoken(record, age) ? discount + YOUNG_DISCOUNT : discount;
}

/** An alarm lies behind the series on its first day; while it lasts, it goes on. */
function hasSpoken(record: usize, age: f32): bool {
  return age < YOUNG_SECONDS && load<u8>(record, YOUNG_MAX) > 0 && !isOpen(record);
}

function learnNovelty(record: usize, leafRarity: f32, usual: f32, blocks: u32): void {
  let highest: f32 = max(load<f32>(record, NOVELTY_MAX), leafRarity);
  let fill = <u32>load<u8>(record, NOVELTY_FILL) + 1;
  if (fill >= NOVELTY_BLOCK) {
    const rate: f32 = max(NOVELTY_RATE_MIN, <f32>1.0 / <f32>(blocks + 1));
    store<f32>(record, usual + rate * (highest - usual), NOVELTY_USUAL);
    store<u8>(record, <u8>min(blocks + 1, BLOCKS_MAX), NOVELTY_BLOCKS);
    highest = 0.0;
    fill = 0;
  }
  store<f32>(record, highest, NOVELTY_MAX);
  store<u8>(record, <u8>fill, NOVELTY_FILL);
}

/** The size, log2(1 + z) of a residual z in units of its spread, from which on magnitude alarms. */
export function usualBar(record: usize): f32 {
  const usual = load<f32>(record, MAGNITUDE_USUAL);
  const octaves: f32 = max<f32>(
    0.0,
    min(FINE_OCTAVES_MAX, LONG_ENOUGH - load<f32>(record, INTERVAL)),
  );
  const bar: f32 = MAGNITUDE_USUAL_WEIGHT * usual + MAGNITUDE_OFFSET;
  if (load<u8>(record, MAGNITUDE_BLOCKS) === 0) return bar - MARGIN_PER_OCTAVE * octaves;
  const apart: f32 = usual - loadSize(record + MAGNITUDE_LOW);
  const tight: f32 = max<f32>(0.0, min<f32>(1.0, <f32>1.0 - apart));
  return bar + APART_WEIGHT * max<f32>(0.0, apart - APART) - MARGIN_PER_OCTAVE * octaves * tight;
}

/** On the first day: beyond what has raised an alarm already. */
export function youngBar(record: usize, age: f32): f32 {
  if (!hasSpoken(record, age)) return 0.0;
  return <f32>load<u8>(record, YOUNG_MAX) * <f32>0.0625 + YOUNG_OCTAVES;
}

/** An alarm was raised; `size` is its size, `bar` the one it would have had to pass. */
export function learnYoung(record: usize, age: f32, size: f32, bar: f32): void {
  if (age >= YOUNG_SECONDS) return;
  const sixteenths = min<u32>(255, inSixteenths(max(size, bar)) + 1);
  store<u8>(record, <u8>max(<u32>load<u8>(record, YOUNG_MAX), sixteenths), YOUNG_MAX);
}

/** Does a block usually reach this size, and is it no alarm by itself? */
export function isUsualSize(record: usize, size: f32, bar: f32): bool {
  if (load<u8>(record, MAGNITUDE_BLOCKS) === 0) return false;
  return size > loadSize(record + MAGNITUDE_LOW) && size <= bar;
}

export function magnitudeRarity(size: f32, bar: f32): f32 {
  return MIDDLE + min(MAGNITUDE_CAP, MAGNITUDE_GAIN * (size - bar));
}

/** How far the usual highest value moves, as a part of the distance `off` to a new one. */
export function usualRate(blocks: u32, off: f32): f32 {
  const rate: f32 = max(MAGNITUDE_RATE_MIN, <f32>1.0 / <f32>(blocks + 1));
  return rate * (off > 0 ? STEP_UP : STEP_DOWN);
}

/**
 * Takes a size into the calibration, `n` samples scored before it; `isHabit`: a clock knows it, and it
 * stays out. True when a block has ended.
 */
export function learnMagnitude(
  record: usize,
  size: f32,
  n: u32,
  usualSeconds: f32,
  isHabit: bool,
): bool {
  let highest = load<f32>(record, MAGNITUDE_MAX);
  if (isHabit) {
    store<u8>(record, <u8>(<u32>load<u8>(record, HABIT_BITS) | LEFT_OUT), HABIT_BITS);
  } else if (n >= CALIBRATE_FROM) {
    highest = max(highest, size);
  }
  const fill = <u32>load<u16>(record, MAGNITUDE_FILL) + 1;
  const isOver = fill >= MAGNITUDE_BLOCK && <f32>fill * usualSeconds >= MAGNITUDE_BLOCK_SECONDS;
  if (isOver) closeBlock(record, highest);
  store<f32>(record, isOver ? <f32>0.0 : highest, MAGNITUDE_MAX);
  store<u16>(record, <u16>(isOver ? 0 : fill), MAGNITUDE_FILL);
  return isOver;
}

function closeBlock(record: usize, highest: f32): void {
  const blocks: u32 = load<u8>(record, MAGNITUDE_BLOCKS);
  const bits: u32 = load<u8>(record, HABIT_BITS);
  const usual = load<f32>(record, MAGNITUDE_USUAL);
  const low = loadSize(record + MAGNITUDE_LOW);
  const off: f32 = highest - usual;
  const lowOff: f32 = highest - low;
  const least: f32 = off < 0 && (bits & LEFT_OUT) !== 0 ? LEFT_OUT_RATE : 0.0;
  const rate: f32 = max(least, usualRate(blocks, off));
  const lowWeight: f32 = lowOff > 0 ? LOW_STEP_UP : LOW_STEP_DOWN;
  const lowRate: f32 = max(MAGNITUDE_RATE_MIN, <f32>1.0 / <f32>(blocks + 1)) * lowWeight;
  store<f32>(record, blocks === 0 ? highest : usual + rate * off, MAGNITUDE_USUAL);
  const nextLow: f32 = blocks === 0 ? highest : low + min<f32>(1.0, lowRate) * lowOff;
  storeSize(record + MAGNITUDE_LOW, nextLow);
  store<u8>(record, <u8>min(blocks + 1, BLOCKS_MAX), MAGNITUDE_BLOCKS);
  store<u8>(record, <u8>(bits & ~LEFT_OUT), HABIT_BITS);
}

/**
 * True when the rarity beats the fading record by a margin: the one sample that speaks for its
 * cause.
 */
export function isNewRecord(record: usize, rarity: f32): bool {
  const highest = load<f32>(record, HIGHEST_RARITY);
  if (rarity > highest + (highest > 0 ? RECORD_MARGIN : <f32>0.0)) {
    store<f32>(record, rarity, HIGHEST_RARITY);
    store<u8>(record, 0, RARITY_AGE);
    return true;
  }
  const age = <u32>load<u8>(record, RARITY_AGE) + 1;
  const isOver = age >= RECORD_SAMPLES_MAX || highest < RECORD_FADE;
  store<f32>(record, isOver ? <f32>0.0 : highest - RECORD_FADE, HIGHEST_RARITY);
  store<u8>(record, <u8>min(age, RECORD_SAMPLES_MAX), RARITY_AGE);
  return false;
}
