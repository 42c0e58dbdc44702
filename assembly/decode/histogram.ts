// Walks one native histogram (proto/remote_write_v2.proto; version 1.0 has the same message without
// the start timestamp) and judges it as Prometheus' model/histogram validates what it is sent:
// https://prometheus.io/docs/specs/native_histograms/. Spans, deltas and counts are folded into a
// few sums while they are read, in whatever pieces they come; nothing ever loops over the length of
// a span. A valid histogram goes into the log as it was sent, so one whose known fields have a wire
// type that a generated decoder would stumble over is rejected here.

import { FIELD_OVERRUN, fail } from './failure';
import { HistogramRecord, settings } from './layout';
import {
  HISTOGRAM_COUNT_MISMATCH,
  HISTOGRAM_CUSTOM_BOUNDS,
  HISTOGRAM_CUSTOM_PARTS,
  HISTOGRAM_MALFORMED,
  HISTOGRAM_NEGATIVE_BUCKET,
  HISTOGRAM_SCHEMA,
  HISTOGRAM_SPAN_MISMATCH,
  HISTOGRAM_SPAN_OFFSET,
  HISTOGRAM_STRAY_BOUNDS,
  HISTOGRAM_TOO_LONG,
} from './reasons';
import { readLength, readTag, readVarint, skipField, varint } from './wire';

const LENGTH_DELIMITED: u32 = 2;
/** TimeSeries is at 2, so that is Histogram, then BucketSpan. */
const HISTOGRAM_DEPTH: i32 = 3;
const SPAN_DEPTH: i32 = 4;

const COUNT_INT: u32 = 1;
const COUNT_FLOAT: u32 = 2;
const SUM: u32 = 3;
const SCHEMA: u32 = 4;
const ZERO_THRESHOLD: u32 = 5;
const ZERO_COUNT_INT: u32 = 6;
const ZERO_COUNT_FLOAT: u32 = 7;
const NEGATIVE_SPANS: u32 = 8;
const NEGATIVE_DELTAS: u32 = 9;
const NEGATIVE_COUNTS: u32 = 10;
const POSITIVE_SPANS: u32 = 11;
const POSITIVE_DELTAS: u32 = 12;
const POSITIVE_COUNTS: u32 = 13;
const RESET_HINT: u32 = 14;
const TIMESTAMP: u32 = 15;
const CUSTOM_VALUES: u32 = 16;
const START_TIMESTAMP: u32 = 17;
const SPAN_OFFSET: u32 = 1;
const SPAN_LENGTH: u32 = 2;

/** Relative; float histograms come of rates and sums over thousands of summands. */
const FLOAT_SLACK: f64 = 1e-6;
const CUSTOM_SCHEMA: i32 = -53;
const EXPONENTIAL_SCHEMA_MIN: i32 = -4;
/** Above 8 Prometheus lowers the resolution itself. */
const EXPONENTIAL_SCHEMA_MAX: i32 = 52;
/** Beyond this a bucket's bounds are no numbers at any schema, and 32-bit arithmetic goes wrong. */
const INDEX_MAX: i64 = 1 << 30;

/** The buckets on one side of zero, folded. */
@unmanaged
class Side {
  /** Sum of the span lengths. */
  spanBuckets: u64;
  /** Index behind the last bucket: sum of offsets and lengths. */
  reach: i64;
  spans: u32;
  /** The first offset is negative; a later one is, or an index is absurd. */
  startsBelow: u32;
  goesBack: u32;
  /** Of the integer form: how many, the last bucket, all together, and whether one is below 0. */
  deltas: u32;
  current: i64;
  total: u64;
  isBelowZero: u32;
  /** The total does not fit into 64 bits. */
  overflows: u32;
  /** Of the float form. */
  counts: u32;
  hasNegative: u32;
  sum: f64;
}

const positive = changetype<Side>(memory.data(offsetof<Side>(), 8));
const negative = changetype<Side>(memory.data(offsetof<Side>(), 8));

export let histogramTimestamp: i64 = 0;
export let histogramStart: i64 = 0;
let isMalformed: bool = false;
let isFloat: bool = false;
let countInt: u64 = 0;
let countFloat: f64 = 0;
let zeroIsFloat: bool = false;
let zeroInt: u64 = 0;
let zeroFloat: f64 = 0;
let zeroThreshold: f64 = 0;
let sum: f64 = 0;
let schema: i32 = 0;
let bounds: u32 = 0;
let lastBound: f64 = 0;
let hasBadBound: bool = false;

/** Sets the record's reason. Returns the end, or 0 after `fail`. */
export function walkHistogram(record: HistogramRecord, start: usize, end: usize): usize {
  begin();
  let at = start;
  while (at < end) {
    const read = readTag(at, end);
    if (read === 0) return 0;
    at = <usize>(read >> 32);
    at = walkField(<u32>read, at, end);
    if (at === 0) return 0;
  }
  record.reason = judge(<u32>(end - start));
  return end;
}

function begin(): void {
  memory.fill(changetype<usize>(positive), 0, offsetof<Side>());
  memory.fill(changetype<usize>(negative), 0, offsetof<Side>());
  histogramTimestamp = 0;
  histogramStart = 0;
  isMalformed = false;
  isFloat = false;
  countInt = 0;
  countFloat = 0;
  zeroIsFloat = false;
  zeroInt = 0;
  zeroFloat = 0;
  zeroThreshold = 0;
  sum = 0;
  schema = 0;
  bounds = 0;
  lastBound = -Infinity;
  hasBadBound = false;
}

function walkField(tag: u32, start: usize, end: usize): usize {
  const field = tag >> 3;
  const wireType = tag & 7;
  if (wireType === LENGTH_DELIMITED && field >= NEGATIVE_SPANS && field <= CUSTOM_VALUES) {
    if (field === RESET_HINT || field === TIMESTAMP) isMalformed = true;
    const read = readLength(start, end);
    if (read === 0) return 0;
    const at = <usize>(read >> 32);
    return walkList(field, at, at + <u32>read);
  }
  // Read before what it says is used: it may be cut off, or an unknown field.
  const next = skipField(start, end, tag, HISTOGRAM_DEPTH);
  if (next === 0 || field > START_TIMESTAMP) return next;
  switch (field) {
    case COUNT_FLOAT:
    case SUM:
    case ZERO_THRESHOLD:
    case ZERO_COUNT_FLOAT:
    case NEGATIVE_COUNTS:
    case POSITIVE_COUNTS:
    case CUSTOM_VALUES:
      if (wireType === 1) takeDouble(field, load<f64>(start));
      else isMalformed = true;
      return next;
    case NEGATIVE_SPANS:
    case POSITIVE_SPANS:
      isMalformed = true;
      return next;
    default:
      if (wireType === 0) takeVarint(field, varint);
      else isMalformed = true;
      return next;
  }
}

/** A length-delimited field: a span, or values packed together. */
function walkList(field: u32, start: usize, end: usize): usize {
  let at = start;
  switch (field) {
    case NEGATIVE_SPANS:
      return walkSpan(negative, start, end);
    case POSITIVE_SPANS:
      return walkSpan(positive, start, end);
    case NEGATIVE_DELTAS:
    case POSITIVE_DELTAS:
      while (at < end) {
        at = readVarint(at, end);
        if (at === 0) return 0;
        takeVarint(field, varint);
      }
      return end;
    case NEGATIVE_COUNTS:
    case POSITIVE_COUNTS:
    case CUSTOM_VALUES:
      if (((end - start) & 7) !== 0) return fail(FIELD_OVERRUN, start);
      for (; at < end; at += 8) takeDouble(field, load<f64>(at));
      return end;
    default:
      return end;
  }
}

function walkSpan(side: Side, start: usize, end: usize): usize {
  let offset: i32 = 0;
  let length: u32 = 0;
  let at = start;
  while (at < end) {
    const read = readTag(at, end);
    if (read === 0) return 0;
    const tag = <u32>read;
    const next = skipField(<usize>(read >> 32), end, tag, SPAN_DEPTH);
    if (next === 0) return 0;
    const field = tag >> 3;
    if (field === SPAN_OFFSET || field === SPAN_LENGTH) {
      if ((tag & 7) !== 0) isMalformed = true;
      else if (field === SPAN_OFFSET) offset = unzigzag32(<u32>varint);
      else length = <u32>varint;
    }
    at = next;
  }
  if (offset < 0) {
    if (side.spans === 0) side.startsBelow = 1;
    else side.goesBack = 1;
  }
  side.spans++;
  side.spanBuckets += length;
  side.reach += <i64>offset + <i64>length;
  // Lengths are judged by the number of buckets, offsets by where they lead to.
  const first = side.reach - <i64>length;
  if (first < -INDEX_MAX || first > INDEX_MAX) side.goesBack = 1;
  return end;
}

function takeVarint(field: u32, value: u64): void {
  if (field === NEGATIVE_DELTAS) takeDelta(negative, unzigzag64(value));
  else if (field === POSITIVE_DELTAS) takeDelta(positive, unzigzag64(value));
  else if (field === COUNT_INT) {
    isFloat = false;
    countInt = value;
  } else if (field === ZERO_COUNT_INT) {
    zeroIsFloat = false;
    zeroInt = value;
  } else if (field === SCHEMA) schema = unzigzag32(<u32>value);
  else if (field === TIMESTAMP) histogramTimestamp = <i64>value;
  else if (field === START_TIMESTAMP) histogramStart = <i64>value;
}

function takeDelta(side: Side, delta: i64): void {
  // More than 2^63 - 1 comes out below zero.
  const bucket = side.current + delta;
  side.current = bucket;
  side.deltas++;
  if (bucket < 0) side.isBelowZero = 1;
  const total = side.total + <u64>bucket;
  if (total < side.total) side.overflows = 1;
  side.total = total;
}

function takeDouble(field: u32, value: f64): void {
  switch (field) {
    case COUNT_FLOAT:
      isFloat = true;
      countFloat = value;
      return;
    case SUM:
      sum = value;
      return;
    case ZERO_THRESHOLD:
      zeroThreshold = value;
      return;
    case ZERO_COUNT_FLOAT:
      zeroIsFloat = true;
      zeroFloat = value;
      return;
    case CUSTOM_VALUES:
      // Ascending and finite: false for NaN, for what is not above the one before, and for +Inf.
      if (!(value > lastBound && value < Infinity)) hasBadBound = true;
      lastBound = value;
      bounds++;
      return;
    default: {
      const side = field === NEGATIVE_COUNTS ? negative : positive;
      side.counts++;
      side.sum += value;
      if (!isCount(value)) side.hasNegative = 1;
    }
  }
}

function judge(bytes: u32): u32 {
  if (isMalformed) return HISTOGRAM_MALFORMED;
  if (bytes > settings().histogramBytesMax) return HISTOGRAM_TOO_LONG;
  const isCustom = schema === CUSTOM_SCHEMA;
  if (!isCustom && (schema < EXPONENTIAL_SCHEMA_MIN || schema > EXPONENTIAL_SCHEMA_MAX)) {
    return HISTOGRAM_SCHEMA;
  }
  const wrong = judgeSpans(positive);
  if (wrong !== 0) return wrong;
  if (isCustom) {
    // Custom buckets begin at the first bound, so there is nothing below it and nothing at zero.
    if (positive.startsBelow !== 0) return HISTOGRAM_SPAN_OFFSET;
    if (hasBadBound || positive.reach > <i64>bounds + 1) return HISTOGRAM_CUSTOM_BOUNDS;
    const hasZero = zeroThreshold !== 0 || (isFloat ? hasZeroFloat() : hasZeroInt());
    if (hasZero || negative.spans + bucketsOf(negative) !== 0) return HISTOGRAM_CUSTOM_PARTS;
  } else {
    const wrongBelow = judgeSpans(negative);
    if (wrongBelow !== 0) return wrongBelow;
    if (bounds !== 0) return HISTOGRAM_STRAY_BOUNDS;
  }
  return isFloat ? judgeFloat() : judgeInteger();
}

function judgeSpans(side: Side): u32 {
  if (side.spanBuckets !== <u64>bucketsOf(side)) return HISTOGRAM_SPAN_MISMATCH;
  return side.goesBack !== 0 ? HISTOGRAM_SPAN_OFFSET : 0;
}

function judgeInteger(): u32 {
  if ((positive.isBelowZero | negative.isBelowZero) !== 0) return HISTOGRAM_NEGATIVE_BUCKET;
  const both = positive.total + negative.total;
  const zero = zeroIsFloat ? 0 : zeroInt;
  const all = both + zero;
  const overflows = (positive.overflows | negative.overflows) !== 0;
  if (overflows || both < positive.total || all < both) return HISTOGRAM_COUNT_MISMATCH;
  // Observations of NaN are in the count and in no bucket, and make the sum NaN.
  if (isNumber(sum) ? all !== countInt : all > countInt) return HISTOGRAM_COUNT_MISMATCH;
  return 0;
}

/** As of integers, but sums of floats are rounded: only what rounding does not explain is wrong. */
function judgeFloat(): u32 {
  const zero = zeroIsFloat ? zeroFloat : 0;
  if (!isCount(zero) || !isCount(countFloat)) return HISTOGRAM_NEGATIVE_BUCKET;
  if ((positive.hasNegative | negative.hasNegative) !== 0) return HISTOGRAM_NEGATIVE_BUCKET;
  const all = positive.sum + negative.sum + zero;
  const slack = (all + countFloat) * FLOAT_SLACK;
  if (all > countFloat + slack) return HISTOGRAM_COUNT_MISMATCH;
  return isNumber(sum) && all < countFloat - slack ? HISTOGRAM_COUNT_MISMATCH : 0;
}

/** Not below zero, not NaN, not infinite. */
function isCount(value: f64): bool {
  return value >= 0 && value < Infinity;
}

function isNumber(value: f64): bool {
  return value <= Infinity;
}

function hasZeroFloat(): bool {
  return zeroIsFloat && zeroFloat !== 0;
}

function hasZeroInt(): bool {
  return !zeroIsFloat && zeroInt !== 0;
}

function bucketsOf(side: Side): u32 {
  return isFloat ? side.counts : side.deltas;
}

function unzigzag32(value: u32): i32 {
  return <i32>(value >> 1) ^ -(<i32>(value & 1));
}

function unzigzag64(value: u64): i64 {
  return <i64>(value >> 1) ^ -(<i64>(value & 1));
}
