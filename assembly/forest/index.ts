// The forest as the host sees it: addresses of columns, sizes, and its functions. Pure: the imports
// are the memory and abort, there is no clock and no growth, and after `plant` no randomness. What
// a sample does depends on its series' record and on itself only, so batches may be cut anywhere;
// what is shown of it also on what rules.ts knows of the series.

import {
  causeAt,
  close,
  closeAnomaly,
  isOpen,
  isOpenAt,
  nextPhase,
  PHASE_END,
  PHASE_NONE,
  PHASE_ONSET,
} from './anomaly';
import * as level from './level';
import * as columns from './memory-map';
import * as layout from './record';
import * as rules from './rules';
import { cause, isAlarm, scoreValue, WARM_SAMPLES } from './score';
import { checkSlot, laySlots, recordOf } from './slots';
import { suitabilityOf } from './suitability';
import { plantTrees } from './table';
import * as transform from './transform';

export {
  ALARMS,
  BATCH_MAX,
  DESCRIPTION,
  EVENT_CAUSES,
  EVENT_INDEXES,
  EVENT_ONSETS,
  EVENT_PHASES,
  EVENT_TIMESTAMPS,
  EXPECTATIONS,
  FLAGS,
  LIFE_BYTES,
  LOWERS,
  OUTCOMES,
  RECORDS,
  RULES_MAX,
  SCORES,
  SET_ASIDE,
  SLOTS,
  TIMESTAMPS,
  UPPERS,
  VALUE_BITS,
  VALUES,
  ZONE,
} from './memory-map';
export { RECORD_BYTES, RECORD_FORMAT } from './record';
export { assignRule, differs, writeRule } from './rules';
export { useZone } from './wall-clock';

const NONE: f64 = NaN;

let eventCount: i32 = 0;
/** 6.5 KiB: they stay in the nearest cache beside the columns. */
const FETCHED_TOGETHER: i32 = 8;
/** Keeps the reads of fetchRecord from being taken for useless. */
let touched: u64 = 0;

/** Once, before anything else. The memory must reach to the end of what belongs to slot `seriesMax` - 1. */
export function plant(seed: u32, seriesMax: u32): void {
  laySlots(seriesMax);
  columns.checkMap();
  const bytes = <u64>layout.RECORD_BYTES + columns.LIFE_BYTES + 1;
  const end = <u64>columns.RECORDS + <u64>seriesMax * bytes;
  assert(end <= (<u64>memory.size()) << 16);
  rules.layRules(columns.RECORDS + <usize>seriesMax * layout.RECORD_BYTES, seriesMax);
  plantTrees(seed);
}

/**
 * The series in `slot` begins, or begins anew as another kind; what it last sent is still a
 * duplicate.
 */
export function open(slot: u32, kind: u32): void {
  assert(kind >= layout.KIND_GAUGE && kind <= layout.KIND_GUESSED_COUNTER);
  layout.startRecord(recordOf(slot), kind);
  const life = rules.lifeOf(slot);
  if (life !== 0) rules.closeLife(life);
}

/** The slot is free again: zeros, and no rule. */
export function clear(slot: u32): void {
  memory.fill(recordOf(slot), 0, layout.RECORD_BYTES);
  rules.forgetRule(slot);
}

/** The series fell silent. True when an anomaly was shown. */
export function endAnomaly(slot: u32): bool {
  const record = recordOf(slot);
  const wasOpen = isOpen(record);
  if (wasOpen) closeAnomaly(record);
  const life = rules.lifeOf(slot);
  if (life === 0) return wasOpen;
  const wasShown = rules.isShown(life);
  rules.closeLife(life);
  return wasShown;
}

/** 0: none was ever assigned. */
export function ruleOf(slot: u32): u32 {
  checkSlot(slot);
  return rules.ruleOf(slot);
}

/** Where the LIFE_BYTES of a slot that has a rule lie. */
export function lifeOf(slot: u32): usize {
  checkSlot(slot);
  return rules.lifeAt(slot);
}

/** Deviations up to these are not shown. The slot must have a rule. */
export function dismiss(
  slot: u32,
  above: f64,
  below: f64,
  bandsAbove: f32,
  bandsBelow: f32,
  isQuietFalse: u32,
): void {
  assert(rules.lifeOf(slot) !== 0);
  rules.dismiss(slot, above, below, bandsAbove, bandsBelow, isQuietFalse !== 0);
}

/** Why the series is not suited, by its record: 0 when it is. */
export function suitability(slot: u32): u32 {
  return suitabilityOf(recordOf(slot));
}

/** While `why` is not 0, only falls and standstills are shown of it. The slot must have a rule. */
export function markUnsuited(slot: u32, why: u32): void {
  assert(rules.lifeOf(slot) !== 0);
  rules.markUnsuited(slot, why);
}

/** How far the series is from its usual level. */
export function shift(slot: u32): f64 {
  return level.shiftOf(recordOf(slot));
}

export function acceptShift(slot: u32, shift: f64): void {
  level.acceptShift(recordOf(slot), shift);
}

/** The usual level is again where it was before a shift was accepted. */
export function undoShift(slot: u32, shift: f64): void {
  level.moveOrigin(recordOf(slot), -shift);
}

/** The record at SET_ASIDE takes the place of the slot's: false when it is of another kind. */
export function resume(slot: u32): bool {
  return level.resume(recordOf(slot));
}

/**
 * Takes in the first `count` samples of the input columns. Returns how many events the event
 * columns hold.
 */
export function observe(count: i32): i32 {
  assert(count >= 0 && count <= columns.BATCH_MAX);
  eventCount = 0;
  if (!isScattered(count)) {
    for (let i = 0; i < count; i++) observeSample(i);
    return eventCount;
  }
  for (let from = 0; from < count; from += FETCHED_TOGETHER) {
    const to = min(from + FETCHED_TOGETHER, count);
    for (let i = from; i < to; i++) {
      touched ^= fetchRecord(recordOf(load<u32>(columns.SLOTS + (i << 2))));
    }
    for (let i = from; i < to; i++) observeSample(i);
  }
  return eventCount;
}

/** Most records do not follow the one before: the processor cannot guess which one is next. */
function isScattered(count: i32): bool {
  let jumps: i32 = 0;
  let expected: u32 = 0;
  for (let i = 0; i < count; i++) {
    const slot = load<u32>(columns.SLOTS + (i << 2));
    jumps += i32(slot !== expected);
    expected = slot + 1;
  }
  return jumps > count >> 1;
}

/**
 * Reads every cache line of a record at once, so that what follows need not wait for each in turn;
 * of several records, so that they are on their way together.
 */
function fetchRecord(record: usize): u64 {
  let all: u64 = 0;
  for (let at: usize = 0; at < <usize>layout.RECORD_BYTES; at += 64) all ^= load<u64>(record + at);
  return all;
}

function observeSample(i: usize): void {
  const slot = load<u32>(columns.SLOTS + (i << 2));
  const record = recordOf(slot);
  const life = rules.lifeOf(slot);
  assert(transform.kindOf(record) !== 0);
  const timestamp = load<i64>(columns.TIMESTAMPS + (i << 3));
  const bits = load<u64>(columns.VALUE_BITS + (i << 3));
  const outcome = transform.admit(record, timestamp, bits);
  store<u8>(columns.OUTCOMES + i, <u8>outcome);
  if (outcome !== transform.APPLIED) {
    leaveEmpty(i, record, life);
    return;
  }
  const elapsedMs = transform.elapsedSince(record, timestamp);
  const previousBits = load<u64>(record, layout.LAST_BITS);
  store<i64>(record, timestamp, layout.LAST_TIMESTAMP);
  store<u64>(record, bits, layout.LAST_BITS);
  if (transform.isStaleMarker(bits)) {
    transform.markStale(record);
    endAt(i, record, life);
    leaveEmpty(i, record, life);
    return;
  }
  transform.markAlive(record);
  if (!transform.isNumber(bits)) {
    // One may be a slip; from the second on the series is away, as it would be in a gap.
    if (!transform.isNumber(previousBits)) transform.markAway(record);
    leaveEmpty(i, record, life);
    return;
  }
  if (transform.isNoCounter(record, bits, previousBits)) {
    endAt(i, record, life);
    layout.startRecord(record, layout.KIND_GAUGE);
  }
  if (!transform.hasValue(record, previousBits, elapsedMs)) {
    leaveEmpty(i, record, life);
    return;
  }
  const value = transform.scoredValue(record, bits, previousBits, elapsedMs);
  const distance = transform.distanceOf(record, value);
  const score = scoreValue(record, distance, value === 0, timestamp, elapsedMs);
  writeRow(i, record, value, score);
  const phase = nextPhase(record, timestamp, score, cause);
  if (life !== 0) {
    if (phase === PHASE_END) closeAnomaly(record);
    show(i, slot, life, record, timestamp, value, score);
    return;
  }
  if (phase !== PHASE_NONE) report(i, record, life, phase);
  store<u8>(columns.FLAGS + i, <u8>isOpen(record));
}

/** Alarm and flag of a series with a rule. An alarm is told at the samples that begin or raise what is shown. */
function show(
  i: usize,
  slot: u32,
  life: usize,
  record: usize,
  timestamp: i64,
  value: f64,
  score: f32,
): void {
  const phase = rules.nextShown(slot, life, record, timestamp, value, score);
  const isTold = phase === PHASE_ONSET || (isAlarm && rules.isBeyond && rules.isShown(life));
  store<f32>(columns.ALARMS + (i << 2), isTold ? score : <f32>0.0);
  if (phase !== PHASE_NONE) report(i, record, life, phase);
  store<u8>(columns.FLAGS + i, <u8>rules.isShown(life));
}

/** The series ends here, or begins anew. */
function endAt(i: usize, record: usize, life: usize): void {
  if (isOpenAt(bitsOf(record, life))) report(i, record, life, PHASE_END);
  if (life === 0) return;
  rules.closeLife(life);
  closeAnomaly(record);
}

/** The output row of a sample that was not scored. */
function leaveEmpty(i: usize, record: usize, life: usize): void {
  store<f32>(columns.SCORES + (i << 2), <f32>NONE);
  store<f32>(columns.ALARMS + (i << 2), 0.0);
  store<u8>(columns.FLAGS + i, <u8>isOpenAt(bitsOf(record, life)));
  store<f64>(columns.VALUES + (i << 3), NONE);
  store<f64>(columns.EXPECTATIONS + (i << 3), NONE);
  store<f64>(columns.LOWERS + (i << 3), NONE);
  store<f64>(columns.UPPERS + (i << 3), NONE);
}

function writeRow(i: usize, record: usize, value: f64, score: f32): void {
  const expected = expectedOf(record);
  const half = <f64>load<f32>(record, layout.HALF_WIDTH);
  store<f32>(columns.SCORES + (i << 2), score);
  store<f32>(columns.ALARMS + (i << 2), isAlarm ? score : <f32>0.0);
  store<f64>(columns.VALUES + (i << 3), value);
  store<f64>(columns.EXPECTATIONS + (i << 3), expected);
  store<f64>(columns.LOWERS + (i << 3), expected - half);
  store<f64>(columns.UPPERS + (i << 3), expected + half);
}

function expectedOf(record: usize): f64 {
  return load<f64>(record, layout.ORIGIN) + <f64>load<f32>(record, layout.EXPECTED);
}

/** The parts of the anomaly that is shown, see anomaly.ts. */
function timesOf(record: usize, life: usize): usize {
  return life === 0 ? record + layout.ONSET : life;
}

function peakOf(record: usize, life: usize): usize {
  return life === 0 ? record + layout.PEAK : rules.peakPlace(life);
}

function bitsOf(record: usize, life: usize): usize {
  return life === 0 ? record + layout.PHASE_BITS : rules.bitsPlace(life);
}

/**
 * Adds a row to the event columns; an end is dated by the last anomalous sample and closes the
 * anomaly.
 */
function report(i: usize, record: usize, life: usize, phase: u32): void {
  const at: usize = eventCount++;
  const isEnd = phase === PHASE_END;
  const times = timesOf(record, life);
  const bits = bitsOf(record, life);
  store<u32>(columns.EVENT_INDEXES + (at << 2), <u32>i);
  store<u8>(columns.EVENT_PHASES + at, <u8>phase);
  store<u8>(columns.EVENT_CAUSES + at, <u8>causeAt(bits));
  store<i64>(columns.EVENT_ONSETS + (at << 3), load<i64>(times));
  const last = isEnd ? load<i64>(times, 8) : load<i64>(record, layout.LAST_TIMESTAMP);
  store<i64>(columns.EVENT_TIMESTAMPS + (at << 3), last);
  if (isEnd) close(times, peakOf(record, life), bits);
}

/**
 * Writes what people want to know of a series to DESCRIPTION, as doubles, in the order of the
 * host's reading.
 */
export function describe(slot: u32): void {
  const record = recordOf(slot);
  const life = rules.lifeOf(slot);
  const isShown = isOpenAt(bitsOf(record, life));
  const samples = load<u32>(record, layout.SAMPLES);
  const quiet: u32 = load<u8>(record, layout.QUIET_BITS);
  const timestamp = load<i64>(record, layout.LAST_TIMESTAMP);
  const expected = samples > 0 ? expectedOf(record) : NONE;
  const half = <f64>load<f32>(record, layout.HALF_WIDTH);
  let at = put(columns.DESCRIPTION, <f64>transform.kindOf(record));
  at = put(at, (quiet & layout.IS_STALE) !== 0 ? 1.0 : 0.0);
  at = put(at, <f64>samples);
  at = put(at, <f64>WARM_SAMPLES);
  at = put(at, timestamp === layout.NO_TIMESTAMP ? NONE : <f64>timestamp);
  at = put(at, lastValueOf(record, samples));
  at = put(at, samples > 1 ? <f64>load<f32>(record, layout.INTERVAL) : NONE);
  at = put(at, <f64>load<f32>(record, layout.SCORE));
  at = put(at, isShown ? <f64>load<i64>(timesOf(record, life)) : NONE);
  at = put(at, <f64>load<f32>(peakOf(record, life)));
  at = put(at, expected);
  at = put(at, expected - half);
  at = put(at, expected + half);
  at = put(at, <f64>causeAt(bitsOf(record, life)));
  put(at, life === 0 ? 0.0 : <f64>rules.unsuitedWhy(life));
}

function put(at: usize, value: f64): usize {
  store<f64>(at, value);
  return at + 8;
}

/** The last value scored: a gauge's exactly, a counter's rate to about seven digits. */
function lastValueOf(record: usize, samples: u32): f64 {
  if (samples === 0) return NONE;
  const bits = load<u64>(record, layout.LAST_BITS);
  const isGauge = transform.kindOf(record) === layout.KIND_GAUGE;
  if (isGauge && transform.isNumber(bits)) return reinterpret<f64>(bits);
  return load<f64>(record, layout.ORIGIN) + <f64>load<f32>(record, layout.PREVIOUS);
}
