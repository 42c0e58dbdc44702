// The usual value per hour of the day, weekdays and weekends apart, by the clock on the wall: that
// is UTC unless a time zone was chosen. A bin's mean moves when its hour ends, by the mean of that
// hour, so that a value is never judged by itself. Where a bin has not been visited, the same hour
// of the other sort of day answers, else the level.
//
// A mean is 16 bits: steps of a power of two from the middle of all 48, so that a rhythm keeps its
// shape on any level. Where a mean no longer fits, and every midnight, middle and step are chosen
// anew.
//
//   means ──●─────●───●──────●──   steps -16384 ..... 0 ..... 16384
//           low      middle  high        │ the step is the power of two that fits

import {
  HOUR_SAMPLES,
  HOUR_SUM,
  NO_MEAN,
  SEASON_BIN,
  SEASON_MEANS,
  SEASON_MIDDLE,
  SEASON_STEP,
  SEASON_VISITS,
} from './record';
import { wallMinute } from './wall-clock';

const RATE_MIN: f32 = 0.1;
const HOURS: i32 = 24;
/** A count of four bits: from 10 visits on only RATE_MIN matters. */
const VISITS_MAX: u32 = 15;
const HOUR_SAMPLES_MAX: u32 = 65535;
const MINUTE_MS: f64 = 60000.0;
const WEEK_MINUTES: f64 = 10080.0;
const DAY_MINUTES: i32 = 1440;
const HOUR_MINUTES: i32 = 60;
const BINS: i32 = 48;
/** Means reach over so many steps when the step is chosen, and may move out to so many. */
const STEPS: f32 = 16384.0;
const STEPS_MAX: f32 = 32000.0;
/** The least distance that has a step: 0 would have none. */
const LEAST: f32 = 1e-30;
const FRACTION_BITS: u32 = 23;
/** Biased exponents of x and 1/x add up to this, for powers of two. */
const INVERSE: u32 = 254;
const PER_MINUTE: f32 = 1.0 / 60.0;

/** Minute of the week within [0, 10080); the week begins on Thursday, as the epoch did. */
export function minuteOfWeek(timestamp: i64): i32 {
  const minute = wallMinute(floor(<f64>timestamp / MINUTE_MS));
  return <i32>(minute - WEEK_MINUTES * floor(minute / WEEK_MINUTES));
}

export function minuteOfDay(minute: i32): i32 {
  return minute % DAY_MINUTES;
}

/** Hour of the day on weekdays, 24 more at weekends. */
export function binOf(minute: i32): i32 {
  const day = minute / DAY_MINUTES;
  const hour = (minute - day * DAY_MINUTES) / 60;
  return day === 2 || day === 3 ? hour + HOURS : hour;
}

/** How far the value is from what this hour usually has; then the hour takes it in. */
export function seasonalResidual(record: usize, bin: i32, x: f32, level: f32): f32 {
  const kept = <i32>load<u8>(record, SEASON_BIN) - 1;
  if (bin !== kept) {
    if (kept >= 0) closeHour(record, kept);
    store<u8>(record, <u8>(bin + 1), SEASON_BIN);
    store<f32>(record, x, HOUR_SUM);
    store<u16>(record, 1, HOUR_SAMPLES);
  } else {
    const samples: u32 = load<u16>(record, HOUR_SAMPLES);
    if (samples < HOUR_SAMPLES_MAX) {
      store<f32>(record, load<f32>(record, HOUR_SUM) + x, HOUR_SUM);
      store<u16>(record, <u16>(samples + 1), HOUR_SAMPLES);
    }
  }
  const known = knownSteps(record, bin);
  return known === NO_MEAN ? x - level : x - meanOf(record, known);
}

/**
 * How far the value is from what this minute usually has: the hour's mean, or the line to the next
 * nearer hour's, whichever is nearer. A rhythm bends between hours, a job jumps. NaN when the hour
 * is not known.
 */
export function minuteResidual(record: usize, bin: i32, inHour: i32, x: f32): f32 {
  const known = knownSteps(record, bin);
  if (known === NO_MEAN) return NaN;
  const mean = meanOf(record, known);
  const off: f32 = x - mean;
  const next = knownSteps(record, inHour < HOUR_MINUTES / 2 ? before(bin) : after(bin));
  if (next === NO_MEAN) return off;
  const part: f32 = <f32>abs(inHour - HOUR_MINUTES / 2) * PER_MINUTE;
  const bent: f32 = x - (mean + (meanOf(record, next) - mean) * part);
  return abs(bent) < abs(off) ? bent : off;
}

/** By how much this time of day usually climbs in two hours; 0 when that is not known. */
export function climb(record: usize, bin: i32): f32 {
  const to = stepsOf(record, after(bin));
  const from = stepsOf(record, before(bin));
  if (to === NO_MEAN || from === NO_MEAN) return 0.0;
  return meanOf(record, to) - meanOf(record, from);
}

/** The next hour of the same sort of day. */
function after(bin: i32): i32 {
  return bin === HOURS - 1 ? 0 : bin === 2 * HOURS - 1 ? HOURS : bin + 1;
}

function before(bin: i32): i32 {
  return bin === 0 ? HOURS - 1 : bin === HOURS ? 2 * HOURS - 1 : bin - 1;
}

/** Of the bin, or of that of the other sort of day. */
function knownSteps(record: usize, bin: i32): i32 {
  const steps = stepsOf(record, bin);
  return steps !== NO_MEAN ? steps : stepsOf(record, bin >= HOURS ? bin - HOURS : bin + HOURS);
}

function stepsOf(record: usize, bin: i32): i32 {
  return load<i16>(record + (bin << 1), SEASON_MEANS);
}

function visitsOf(record: usize, bin: i32): u32 {
  return (<u32>load<u8>(record + (bin >> 1), SEASON_VISITS) >> ((bin & 1) << 2)) & 15;
}

function closeHour(record: usize, bin: i32): void {
  let visits = visitsOf(record, bin);
  if (visits < VISITS_MAX) {
    visits++;
    const at = record + (bin >> 1);
    const step: u32 = 1 << ((bin & 1) << 2);
    store<u8>(at, <u8>(<u32>load<u8>(at, SEASON_VISITS) + step), SEASON_VISITS);
  }
  const kept = stepsOf(record, bin);
  const mean: f32 = kept === NO_MEAN ? 0.0 : meanOf(record, kept);
  const hour: f32 = load<f32>(record, HOUR_SUM) / <f32>load<u16>(record, HOUR_SAMPLES);
  const rate: f32 = max(RATE_MIN, <f32>1.0 / <f32>visits);
  const next: f32 = mean + rate * (hour - mean);
  const distance: f32 = (next - load<f32>(record, SEASON_MIDDLE)) * inverseStep(record);
  const isMidnight = bin === 0 || bin === HOURS;
  if (isMidnight || kept === NO_MEAN || abs(distance) > STEPS_MAX) chooseSteps(record, bin, next);
  else storeSteps(record, bin, distance);
}

/** Middle and step anew, for all means and the next one of `bin`. */
function chooseSteps(record: usize, bin: i32, next: f32): void {
  let low = next;
  let high = next;
  for (let other = 0; other < BINS; other++) {
    const steps = stepsOf(record, other);
    if (steps === NO_MEAN || other === bin) continue;
    const mean = meanOf(record, steps);
    low = min(low, mean);
    high = max(high, mean);
  }
  const middle: f32 = low + <f32>0.5 * (high - low);
  const reach: f32 = max(LEAST, max(high - middle, middle - low) / STEPS);
  const exponent = (reinterpret<u32>(reach) >> FRACTION_BITS) + 1;
  const inverse = reinterpret<f32>((INVERSE - exponent) << FRACTION_BITS);
  for (let other = 0; other < BINS; other++) {
    const steps = stepsOf(record, other);
    if (steps === NO_MEAN && other !== bin) continue;
    const mean: f32 = other === bin ? next : meanOf(record, steps);
    storeSteps(record, other, (mean - middle) * inverse);
  }
  store<f32>(record, middle, SEASON_MIDDLE);
  store<u8>(record, <u8>exponent, SEASON_STEP);
}

function storeSteps(record: usize, bin: i32, distance: f32): void {
  store<i16>(record + (bin << 1), <i16>floor(distance + 0.5), SEASON_MEANS);
}

function inverseStep(record: usize): f32 {
  return reinterpret<f32>((INVERSE - <u32>load<u8>(record, SEASON_STEP)) << FRACTION_BITS);
}

function meanOf(record: usize, steps: i32): f32 {
  const step = reinterpret<f32>((<u32>load<u8>(record, SEASON_STEP)) << FRACTION_BITS);
  return load<f32>(record, SEASON_MIDDLE) + <f32>steps * step;
}
