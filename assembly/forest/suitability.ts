// Series of which scores say little, told from what their records hold: a clock, whose value rises
// with time; an id or an offset, which only ever grows, by the same on average; and what has never
// moved at all. That the first two rise is no news while they go on like that; that one falls or
// stands still is, and where its growth changes it is suited again. A constant is scored all the
// same: its first move is news.

import { usualSeconds } from './interval';
import {
  INTERVAL,
  KIND_GAUGE,
  LAST_BITS,
  LAST_TIMESTAMP,
  LONGEST_RUN,
  MEANS,
  MOVES_MASK,
  PREVIOUS,
  QUIET_BITS,
  RUN,
  SAMPLES,
  STEP,
} from './record';
import { isNumber, kindOf } from './transform';

export const SUITED: u32 = 0;
export const IS_CLOCK: u32 = 1;
export const ONLY_GROWS: u32 = 2;
export const NEVER_MOVED: u32 = 3;

const CONSTANT_SAMPLES: u32 = 500;
const CLOCK_SAMPLES: u32 = 500;
/** So that the mean over 1,094 samples is that of growth alone. */
const GROWTH_SAMPLES: u32 = 4000;
/** How far a step may be off what it would be, growing evenly. */
const LEAST: f64 = 0.8;
const MOST: f64 = 1.25;
/** A value is a time when it is within a tenth of its own timestamp. */
const TIME_LEAST: f64 = 0.9;
const TIME_MOST: f64 = 1.1;
/** Samples in a row without a move: fewer than ever a value that is measured has. */
const RUN_MAX: f32 = 3.0;

export function suitabilityOf(record: usize): u32 {
  const n = load<u32>(record, SAMPLES);
  const bits = load<u64>(record, LAST_BITS);
  if (n >= CONSTANT_SAMPLES && (<u32>load<u8>(record, QUIET_BITS) & MOVES_MASK) === 0) {
    return NEVER_MOVED;
  }
  if (n < CLOCK_SAMPLES || kindOf(record) !== KIND_GAUGE || !isNumber(bits)) return SUITED;
  const value = reinterpret<f64>(bits);
  if (isClock(record, value)) return IS_CLOCK;
  return n >= GROWTH_SAMPLES && isGrowing(record, value) ? ONLY_GROWS : SUITED;
}

/** Seconds, or milli-, micro- or nanoseconds since 1970, that pass as time does. */
function isClock(record: usize, value: f64): bool {
  const seconds = <f64>load<i64>(record, LAST_TIMESTAMP) / 1000.0;
  let unit = 1.0;
  for (let i = 0; i < 4; i++, unit *= 1000.0) {
    if (value <= TIME_LEAST * unit * seconds || value >= TIME_MOST * unit * seconds) continue;
    const step = <f64>load<f32>(record, STEP);
    const elapsed = <f64>usualSeconds(load<f32>(record, INTERVAL)) * unit;
    return isAbout(step, elapsed) && isEven(record, 3, 40.5) && isEven(record, 4, 121.5);
  }
  return false;
}

/** Whole numbers, nearly every one of them new, and none less than the one before it. */
function isGrowing(record: usize, value: f64): bool {
  if (floor(value) !== value || load<f32>(record, STEP) <= 0) return false;
  if (load<f32>(record, LONGEST_RUN) > RUN_MAX || <f32>load<u16>(record, RUN) > RUN_MAX)
    return false;
  return isEven(record, 4, 121.5) && isEven(record, 5, 364.5) && isEven(record, 6, 1093.5);
}

/**
 * A mean over tau samples lies tau - 1 steps behind what grows by one step a sample. Where values
 * also fall, the steps cancel each other and it lies nearer.
 */
function isEven(record: usize, k: usize, tau: f64): bool {
  const behind = <f64>load<f32>(record, PREVIOUS) - <f64>load<f32>(record + (k << 2), MEANS);
  return isAbout(behind, (tau - 1.0) * <f64>load<f32>(record, STEP));
}

function isAbout(found: f64, wanted: f64): bool {
  return found >= LEAST * wanted && found <= MOST * wanted;
}
