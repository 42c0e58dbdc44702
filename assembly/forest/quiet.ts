// Too quiet: a series that stands still for longer than it ever did. The run of (nearly) equal
// values must beat the longest run seen before three times over, so that sparse counters, slow
// gauges and silent nights set their own measure. Speaks once per run.

import { IS_REPORTED, LONGEST_RUN, MOVES_MASK, PREVIOUS, QUIET_BITS, RUN, STEP } from './record';

const TINY_STEPS: f32 = 0.02;
const STEP_RATE_MIN: f32 = 1.0 / 1000.0;
const STEPS_MAX: f32 = 1000.0;
const BOUNDED_FROM: u32 = 30;
const RUN_MIN: f32 = 30.0;
const RUN_TIMES: f32 = 3.0;
const RUN_PLUS: f32 = 10.0;
const KEEP: f32 = 1.0 - 1e-5;
const WARM_SAMPLES: u32 = 500;
const MOVES_NEEDED: u32 = 20;
const RUN_COUNT_MAX: u32 = 65535;
/** Smaller moving values become 0 before they become denormal, which processors compute slowly. */
const VANISHING: f32 = 1e-30;

/** True at the one sample at which a stuck series is noticed. */
export function learnQuiet(record: usize, n: u32, young: f32, x: f32): bool {
  const step = load<f32>(record, STEP);
  const move: f32 = n === 0 ? 0.0 : abs(x - load<f32>(record, PREVIOUS));
  const bits: u32 = load<u8>(record, QUIET_BITS);
  const moves = bits & MOVES_MASK;
  let run: u32 = load<u16>(record, RUN);
  let longest = load<f32>(record, LONGEST_RUN);
  let isStuck = false;
  if (move > TINY_STEPS * step) {
    longest = max(longest, <f32>run);
    run = 0;
    const moved = moves < MOVES_NEEDED ? bits + 1 : bits;
    store<u8>(record, <u8>(moved & ~IS_REPORTED), QUIET_BITS);
  } else {
    run = min(run + 1, RUN_COUNT_MAX);
    isStuck =
      (bits & IS_REPORTED) === 0 &&
      n > WARM_SAMPLES &&
      moves >= MOVES_NEEDED &&
      <f32>run >= max(RUN_MIN, RUN_TIMES * longest + RUN_PLUS);
    if (isStuck) store<u8>(record, <u8>(bits | IS_REPORTED), QUIET_BITS);
  }
  // One wild step at most doubles the usual one, or all that follow would count as none.
  const most: f32 = n >= BOUNDED_FROM && step > 0 ? STEPS_MAX * step : move;
  const nextStep: f32 = step + max(STEP_RATE_MIN, young) * (min(move, most) - step);
  const nextLongest: f32 = longest * KEEP;
  store<u16>(record, <u16>run, RUN);
  store<f32>(record, nextLongest < VANISHING ? <f32>0.0 : nextLongest, LONGEST_RUN);
  store<f32>(record, nextStep < VANISHING ? <f32>0.0 : nextStep, STEP);
  store<f32>(record, x, PREVIOUS);
  return isStuck;
}
