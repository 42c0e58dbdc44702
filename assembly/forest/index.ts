// The forest as the host sees it: addresses of columns, sizes, and six functions. Pure: the imports
// are the memory and abort, there is no clock and no growth, and after `plant` no randomness. What
// a sample does depends on its series' record and on itself only, so batches may be cut anywhere.

import { causeOf, closeAnomaly, isOpen, nextPhase, PHASE_END, PHASE_NONE } from './anomaly';
import * as columns from './memory-map';
import * as layout from './record';
import { cause, isAlarm, scoreValue, WARM_SAMPLES } from './score';
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
  LOWERS,
  OUTCOMES,
  RECORDS,
  SCORES,
  SLOTS,
  TIMESTAMPS,
  UPPERS,
  VALUE_BITS,
  VALUES,
  ZONE,
} from './memory-map';
export { RECORD_BYTES, RECORD_FORMAT } from './record';
export { useZone } from './wall-clock';

const NONE: f64 = NaN;

let slotsMax: u32 = 0;
let eventCount: i32 = 0;

/** Once, before anything else. The memory must reach to the end of record `seriesMax` - 1. */
export function plant(seed: u32, seriesMax: u32): void {
  assert(slotsMax === 0 && seriesMax > 0);
  slotsMax = seriesMax;
  columns.checkMap();
  const end = <u64>columns.RECORDS + <u64>seriesMax * layout.RECORD_BYTES;
  assert(end <= (<u64>memory.size()) << 16);
  plantTrees(seed);
}

function recordOf(slot: u32): usize {
  assert(slot < slotsMax);
  return columns.RECORDS + slot * layout.RECORD_BYTES;
}

/**
 * The series in `slot` begins, or begins anew as another kind; what it last sent is still a
 * duplicate.
 */
export function open(slot: u32, kind: u32): void {
  assert(kind >= layout.KIND_GAUGE && kind <= layout.KIND_GUESSED_COUNTER);
  layout.startRecord(recordOf(slot), kind);
}

/** The slot is free again: zeros. */
export function clear(slot: u32): void {
  memory.fill(recordOf(slot), 0, layout.RECORD_BYTES);
}

/** The series fell silent. True when an anomaly was open. */
export function endAnomaly(slot: u32): bool {
  const record = recordOf(slot);
  if (!isOpen(record)) return false;
  closeAnomaly(record);
  return true;
}

/**
 * Takes in the first `count` samples of the input columns. Returns how many events the event
 * columns hold.
 */
export function observe(count: i32): i32 {
  assert(count >= 0 && count <= columns.BATCH_MAX);
  eventCount = 0;
  for (let i = 0; i < count; i++) observeSample(i);
  return eventCount;
}

function observeSample(i: usize): void {
  const record = recordOf(load<u32>(columns.SLOTS + (i << 2)));
  assert(transform.kindOf(record) !== 0);
  const timestamp = load<i64>(columns.TIMESTAMPS + (i << 3));
  const bits = load<u64>(columns.VALUE_BITS + (i << 3));
  const outcome = transform.admit(record, timestamp, bits);
  store<u8>(columns.OUTCOMES + i, <u8>outcome);
  if (outcome !== transform.APPLIED) {
    leaveEmpty(i, record);
    return;
  }
  const elapsedMs = transform.elapsedSince(record, timestamp);
  const previousBits = load<u64>(record, layout.LAST_BITS);
  store<i64>(record, timestamp, layout.LAST_TIMESTAMP);
  store<u64>(record, bits, layout.LAST_BITS);
  if (transform.isStaleMarker(bits)) {
    transform.markStale(record);
    if (isOpen(record)) report(i, record, PHASE_END);
    leaveEmpty(i, record);
    return;
  }
  transform.markAlive(record);
  if (!transform.isNumber(bits)) {
    leaveEmpty(i, record);
    return;
  }
  if (transform.isNoCounter(record, bits, previousBits)) {
    if (isOpen(record)) report(i, record, PHASE_END);
    layout.startRecord(record, layout.KIND_GAUGE);
  }
  if (!transform.hasValue(record, previousBits, elapsedMs)) {
    leaveEmpty(i, record);
    return;
  }
  const value = transform.scoredValue(record, bits, previousBits, elapsedMs);
  const distance = transform.distanceOf(record, value);
  const score = scoreValue(record, distance, value === 0, timestamp, elapsedMs);
  writeRow(i, record, value, score);
  const phase = nextPhase(record, timestamp, score, cause);
  if (phase !== PHASE_NONE) report(i, record, phase);
  store<u8>(columns.FLAGS + i, <u8>isOpen(record));
}

/** The output row of a sample that was not scored. */
function leaveEmpty(i: usize, record: usize): void {
  store<f32>(columns.SCORES + (i << 2), <f32>NONE);
  store<f32>(columns.ALARMS + (i << 2), 0.0);
  store<u8>(columns.FLAGS + i, <u8>isOpen(record));
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

/**
 * Adds a row to the event columns; an end is dated by the last anomalous sample and closes the
 * anomaly.
 */
function report(i: usize, record: usize, phase: u32): void {
  const at: usize = eventCount++;
  const isEnd = phase === PHASE_END;
  store<u32>(columns.EVENT_INDEXES + (at << 2), <u32>i);
  store<u8>(columns.EVENT_PHASES + at, <u8>phase);
  store<u8>(columns.EVENT_CAUSES + at, <u8>causeOf(record));
  store<i64>(columns.EVENT_ONSETS + (at << 3), load<i64>(record, layout.ONSET));
  const from = isEnd ? layout.LAST_ANOMALOUS : layout.LAST_TIMESTAMP;
  store<i64>(columns.EVENT_TIMESTAMPS + (at << 3), load<i64>(record + from));
  if (isEnd) closeAnomaly(record);
}

/**
 * Writes what people want to know of a series to DESCRIPTION, as doubles, in the order of the
 * host's reading.
 */
export function describe(slot: u32): void {
  const record = recordOf(slot);
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
  at = put(at, isOpen(record) ? <f64>load<i64>(record, layout.ONSET) : NONE);
  at = put(at, <f64>load<f32>(record, layout.PEAK));
  at = put(at, expected);
  at = put(at, expected - half);
  at = put(at, expected + half);
  put(at, <f64>causeOf(record));
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
