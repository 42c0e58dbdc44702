// A run of zeros that chance and habit do not explain: no traffic, a dead exporter. Zero is the one
// value that means something by itself, so its runs are counted by themselves: how often one begins
// and how likely a zero is followed by another give the runs of this length to be expected per day.
// A sparse series has many and long ones, and sets its own measure. Speaks once per run.

import { exp2, log2 } from './logarithm';
import { towards } from './moving-mean';
import {
  HABIT_BITS,
  MOVES_MASK,
  PHASE_CLOCK,
  PHASE_MASK,
  QUIET_BITS,
  ZERO_BEGINS,
  ZERO_LEFT,
  ZERO_OCTAVE_SHIFT,
  ZERO_REPORTED,
  ZERO_RUN,
  ZERO_STAYS,
} from './record';

/** Runs like this one to be expected in a day. */
const EXPECTED_MAX: f32 = 0.05;
const DAY_SECONDS: f32 = 86400.0;
/** A series without any zero is credited with one run in 30 days. */
const PRIOR_SECONDS: f32 = 2592000.0;
const RUN_MIN: u32 = 2;
/** Where runs of zeros reach 4, only one at least twice as long as the longest is news. */
const USUAL_OCTAVE: u32 = 2;
const LONGEST_TIMES: u32 = 4;
const OCTAVE_MAX: u32 = 7;
const WARM_SAMPLES: u32 = 500;
const MOVES_NEEDED: u32 = 20;
const BEGINS_RATE_MIN: f32 = 1.0 / 16384.0;
const STAYS_RATE_MIN: f32 = 1.0 / 4096.0;
const COUNT_MAX: u32 = 65535;
/** Neither of the two likelihoods is taken for certain. */
const CERTAIN: f32 = 1e-6;
const EXPONENT_MIN: f32 = -100.0;

/** True at the one zero at which a run is noticed. `usual`: seconds between samples. */
export function learnZeros(record: usize, n: u32, young: f32, isZero: bool, usual: f32): bool {
  const run: u32 = load<u16>(record, ZERO_RUN);
  if (run > 0) learnStays(record, isZero);
  if (!isZero) {
    const begins = load<f32>(record, ZERO_BEGINS);
    if (run === 0 && begins === 0) return false;
    const began: f32 = run > 0 ? 1.0 : 0.0;
    store<f32>(record, towards(begins, began, max(BEGINS_RATE_MIN, young)), ZERO_BEGINS);
    if (run > 0) endRun(record, run);
    return false;
  }
  const length = min(run + 1, COUNT_MAX);
  store<u16>(record, <u16>length, ZERO_RUN);
  const bits: u32 = load<u8>(record, HABIT_BITS);
  const octave = <u32>load<u8>(record, PHASE_CLOCK) >> ZERO_OCTAVE_SHIFT;
  const moves = <u32>load<u8>(record, QUIET_BITS) & MOVES_MASK;
  if (length < RUN_MIN || (bits & ZERO_REPORTED) !== 0 || moves < MOVES_NEEDED) return false;
  if (n <= WARM_SAMPLES + length) return false;
  if (octave >= USUAL_OCTAVE && length <= LONGEST_TIMES << octave) return false;
  if (expectedPerDay(record, length, usual) >= EXPECTED_MAX) return false;
  store<u8>(record, <u8>(bits | ZERO_REPORTED), HABIT_BITS);
  return true;
}

function learnStays(record: usize, isZero: bool): void {
  const left = min(<u32>load<u16>(record, ZERO_LEFT) + 1, COUNT_MAX);
  const rate: f32 = max(STAYS_RATE_MIN, <f32>1.0 / (<f32>left + <f32>2.0));
  const stays = load<f32>(record, ZERO_STAYS);
  store<f32>(record, towards(stays, isZero ? 1.0 : 0.0, rate), ZERO_STAYS);
  store<u16>(record, <u16>left, ZERO_LEFT);
}

function endRun(record: usize, run: u32): void {
  const clock: u32 = load<u8>(record, PHASE_CLOCK);
  const octave = max(clock >> ZERO_OCTAVE_SHIFT, min(OCTAVE_MAX, 31 - clz(run)));
  store<u8>(record, <u8>((clock & PHASE_MASK) | (octave << ZERO_OCTAVE_SHIFT)), PHASE_CLOCK);
  store<u16>(record, 0, ZERO_RUN);
  const bits: u32 = load<u8>(record, HABIT_BITS);
  store<u8>(record, <u8>(bits & ~ZERO_REPORTED), HABIT_BITS);
}

function expectedPerDay(record: usize, length: u32, usual: f32): f32 {
  const begins: f32 = load<f32>(record, ZERO_BEGINS) + usual / PRIOR_SECONDS;
  const stays: f32 = max(CERTAIN, load<f32>(record, ZERO_STAYS));
  const perDay: f32 = begins * max(CERTAIN, <f32>1.0 - stays) * (DAY_SECONDS / usual);
  return perDay * exp2(max(EXPONENT_MIN, <f32>(length - 1) * log2(stays)));
}
