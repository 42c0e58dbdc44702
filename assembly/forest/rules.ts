// What is shown of the anomalies that the records know: rules that users set against noise, what they
// said of single series, and series that are not suited. Beside the records, so that neither scores
// nor what is learnt depend on any of it. A byte per slot names its rule, 0: nothing was ever set, and
// the record's own anomaly is what is shown. A slot with a rule has a life of its own for that:
//
//        0        4        8        12       16
//      0 ┌─────────────────┬─────────────────┐ when the shown anomaly began, its last sample beyond
//        │ onset           │ last anomalous  │ the rule (i64)
//     16 ├────────┬────────┼─┬─┬─────────────┤ its highest score; the last 32 samples, beyond or not,
//        │  peak  │history │a│b│  zeros      │ while none is shown. a: phase bits as in a record
//     32 ├────────┴────────┼─┴─┴─────────────┤ deviations that were said to be false alarms, up to
//        │ false above f64 │ false below f64 │ these; 0 when none was
//     48 ├────────┬────────┼─────────────────┤ the same in halves of the band
//        │above ƒ │below ƒ │      zeros      │
//     64 └────────┴────────┴─────────────────┘
//
// b: 1 too quiet was said to be a false alarm; the bits above it why the series is not suited, or 0:
// then its rises are not shown; a fall, or that it stands still, is.
// The first 32 bytes but b are kept in checkpoints, all else follows from settings and control.

import { calm, close, isOpenAt, PHASE_NONE, PHASE_ONSET, rise } from './anomaly';
import { LIFE_BYTES, RULE_BYTES, RULES, RULES_MAX } from './memory-map';
import {
  DRIFT_FAST,
  DRIFT_SLOW,
  EXPECTED,
  HALF_WIDTH,
  KIND_MASK,
  ONSET,
  ORIGIN,
  PEAK,
  PHASE_BITS,
} from './record';
import { CAUSE_QUIET, cause, isPlain } from './score';
import { recordOf } from './slots';

/** Fields of a life. */
const LIFE_PEAK: usize = 16;
const HISTORY: usize = 20;
const LIFE_BITS: usize = 24;
const MARKS: usize = 25;
const FALSE_ABOVE: usize = 32;
const FALSE_BELOW: usize = 40;
const BANDS_ABOVE: usize = 48;
const BANDS_BELOW: usize = 52;
const QUIET_IS_FALSE: u32 = 1;
const UNSUITED_SHIFT: u32 = 1;

/** Fields of a rule. */
const MIN_DEVIATION: usize = 0;
const MIN_RELATIVE: usize = 8;
const OVER: usize = 16;
const SIDES: usize = 20;
const NEEDED: usize = 21;
const AMONG: usize = 22;
const IGNORED: usize = 23;
const ABOVE: u32 = 1;
const BELOW: u32 = 2;

let livesAt: usize = 0;
let rulesAt: usize = 0;
/** Until the first rule is given to a slot, no sample asks for one. */
let hasRules: bool = false;
/** Of the last sample that was judged. */
export let isBeyond: bool = false;

/** Behind the records: lives, then the bytes. */
export function layRules(end: usize, slotsMax: u32): usize {
  livesAt = end;
  rulesAt = end + <usize>slotsMax * LIFE_BYTES;
  return rulesAt + slotsMax;
}

export function lifeAt(slot: u32): usize {
  return livesAt + <usize>slot * LIFE_BYTES;
}

/** The life that is shown; 0 where it is the record's own. */
export function lifeOf(slot: u32): usize {
  return hasRules && load<u8>(rulesAt + slot) !== 0 ? lifeAt(slot) : 0;
}

export function ruleOf(slot: u32): u32 {
  return load<u8>(rulesAt + slot);
}

/** Rule `index`, from 1 on. `sides`: 1 above what was expected, 2 below, 3 both. */
export function writeRule(
  index: u32,
  minDeviation: f64,
  minRelative: f64,
  over: f32,
  sides: u32,
  needed: u32,
  among: u32,
  isIgnored: u32,
): void {
  assert(index > 0 && index < RULES_MAX && needed > 0 && needed <= among && among <= 32);
  const rule = RULES + <usize>index * RULE_BYTES;
  store<f64>(rule, minDeviation, MIN_DEVIATION);
  store<f64>(rule, minRelative, MIN_RELATIVE);
  store<f32>(rule, over, OVER);
  store<u8>(rule, <u8>sides, SIDES);
  store<u8>(rule, <u8>needed, NEEDED);
  store<u8>(rule, <u8>among, AMONG);
  store<u8>(rule, <u8>isIgnored, IGNORED);
}

/**
 * What is shown of the series follows this rule from its next sample on. Where there was none, the
 * anomaly that the record knows goes on being shown.
 */
export function assignRule(slot: u32, index: u32): void {
  assert(index > 0 && index < RULES_MAX);
  const record = recordOf(slot);
  hasRules = true;
  if (load<u8>(rulesAt + slot) === 0) {
    const life = lifeAt(slot);
    store<i64>(life, load<i64>(record, ONSET));
    store<i64>(life, load<i64>(record, ONSET + 8), 8);
    store<f32>(life, load<f32>(record, PEAK), LIFE_PEAK);
    store<u8>(life, <u8>(<u32>load<u8>(record, PHASE_BITS) & ~KIND_MASK), LIFE_BITS);
  }
  store<u8>(rulesAt + slot, <u8>index);
}

/** The slot is free: no rule, no life. */
export function forgetRule(slot: u32): void {
  if (!hasRules) return;
  memory.fill(lifeAt(slot), 0, LIFE_BYTES);
  store<u8>(rulesAt + slot, 0);
}

/** The series begins anew: nothing is shown. What was said of it stays said. */
export function closeLife(life: usize): void {
  close(life, life + LIFE_PEAK, life + LIFE_BITS);
  store<u32>(life, 0, HISTORY);
}

export function isShown(life: usize): bool {
  return isOpenAt(life + LIFE_BITS);
}

export function peakPlace(life: usize): usize {
  return life + LIFE_PEAK;
}

export function bitsPlace(life: usize): usize {
  return life + LIFE_BITS;
}

/** Up to these a deviation is a false alarm, by its own unit and by halves of the band. */
export function dismiss(
  slot: u32,
  above: f64,
  below: f64,
  bandsAbove: f32,
  bandsBelow: f32,
  isQuietFalse: bool,
): void {
  const life = lifeAt(slot);
  store<f64>(life, above, FALSE_ABOVE);
  store<f64>(life, below, FALSE_BELOW);
  store<f32>(life, bandsAbove, BANDS_ABOVE);
  store<f32>(life, bandsBelow, BANDS_BELOW);
  const marks = <u32>load<u8>(life, MARKS) & ~QUIET_IS_FALSE;
  store<u8>(life, <u8>(isQuietFalse ? marks | QUIET_IS_FALSE : marks), MARKS);
}

/** `why`: a code of suitability.ts; 0 suits it again. */
export function markUnsuited(slot: u32, why: u32): void {
  const life = lifeAt(slot);
  const kept = <u32>load<u8>(life, MARKS) & QUIET_IS_FALSE;
  store<u8>(life, <u8>(kept | (why << UNSUITED_SHIFT)), MARKS);
}

export function unsuitedWhy(life: usize): u32 {
  return <u32>load<u8>(life, MARKS) >> UNSUITED_SHIFT;
}

/** What this sample, which has been scored, changes in what is shown. */
export function nextShown(
  slot: u32,
  life: usize,
  record: usize,
  timestamp: i64,
  value: f64,
  score: f32,
): u32 {
  const rule = RULES + <usize>load<u8>(rulesAt + slot) * RULE_BYTES;
  isBeyond = beyond(rule, life, record, value, score);
  const bitsAt = life + LIFE_BITS;
  if (isOpenAt(bitsAt)) {
    if (!isBeyond) return calm(life, bitsAt, timestamp);
    return rise(life, life + LIFE_PEAK, bitsAt, timestamp, score, cause);
  }
  const history: u32 = (load<u32>(life, HISTORY) << 1) | <u32>isBeyond;
  store<u32>(life, history, HISTORY);
  if (!isBeyond || !isEnough(rule, history)) return PHASE_NONE;
  store<u32>(life, 0, HISTORY);
  rise(life, life + LIFE_PEAK, bitsAt, timestamp, score, cause);
  return PHASE_ONSET;
}

/** N of the last M. What is said only once of its cause (too quiet, a walk) has lasted already. */
function isEnough(rule: usize, history: u32): bool {
  if (isPlain) return true;
  const among: u32 = load<u8>(rule, AMONG);
  return popcnt<u32>(history << (32 - among)) >= <u32>load<u8>(rule, NEEDED);
}

function beyond(rule: usize, life: usize, record: usize, value: f64, score: f32): bool {
  const marks: u32 = load<u8>(life, MARKS);
  const isQuiet = cause === CAUSE_QUIET && score > 0;
  const expected = load<f64>(record, ORIGIN) + <f64>load<f32>(record, EXPECTED);
  const deviation = isPlain && !isQuiet ? walkOf(record) : value - expected;
  // An unsuited series rises: that is all it does.
  const isMute = marks >> UNSUITED_SHIFT !== 0 && !isQuiet && deviation >= 0;
  if (isMute || !(score > load<f32>(rule, OVER)) || load<u8>(rule, IGNORED) !== 0) return false;
  // Silence has no side and no size.
  if (isQuiet) return (marks & QUIET_IS_FALSE) === 0;
  const size = abs(deviation);
  const sides: u32 = load<u8>(rule, SIDES);
  const side: u32 = deviation > 0 ? ABOVE : deviation < 0 ? BELOW : ABOVE | BELOW;
  if ((sides & side) !== side || size < load<f64>(rule, MIN_DEVIATION)) return false;
  if (size < load<f64>(rule, MIN_RELATIVE) * abs(expected)) return false;
  return !isDismissed(life, record, deviation, size);
}

/** Of a walk, no value of which is far from the one before it, how far it has come. */
function walkOf(record: usize): f64 {
  return <f64>load<f32>(record, DRIFT_FAST) - <f64>load<f32>(record, DRIFT_SLOW);
}

function isDismissed(life: usize, record: usize, deviation: f64, size: f64): bool {
  const isBelow = deviation < 0;
  const most = load<f64>(life + (isBelow ? FALSE_BELOW : FALSE_ABOVE));
  if (most > 0 && size <= most) return true;
  const mostBands = <f64>load<f32>(life + (isBelow ? BANDS_BELOW : BANDS_ABOVE));
  if (mostBands === 0) return false;
  const half = <f64>load<f32>(record, HALF_WIDTH);
  return half > 0 ? size <= mostBands * half : mostBands >= 1.0;
}

/** Is what is shown something else than what the record knows? Then a checkpoint must keep it. */
export function differs(slot: u32): bool {
  const record = recordOf(slot);
  const life = lifeOf(slot);
  if (life === 0) return false;
  const bits = <u32>load<u8>(record, PHASE_BITS) & ~KIND_MASK;
  return (
    load<i64>(life) !== load<i64>(record, ONSET) ||
    load<i64>(life, 8) !== load<i64>(record, ONSET + 8) ||
    load<f32>(life, LIFE_PEAK) !== load<f32>(record, PEAK) ||
    <u32>load<u8>(life, LIFE_BITS) !== bits ||
    load<u32>(life, HISTORY) !== 0
  );
}
