// What happens at this hour every day, or at these minutes of every hour, is no news: a nightly
// backup, a job on the hour. Two clocks remember the usual highest size of their time, one per hour
// of the day, one per two minutes of an hour. A size that its clock knows raises nothing, and does
// not deafen the series at other times either: it stays out of the calibration.
//
//   hour of the day   │▁▁▇▁▇▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁│   begins at two, ends at four, every night
//   minutes of hour   │▇▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁│   on the hour, every hour
//
// Sizes are kept in sixteenths of an octave. One that happened once is not yet a habit: a clock
// takes over a part of it, the whole only while the series is young and there is nothing to compare.

import {
  HOUR_MAX,
  HOUR_SIZES,
  HOUR_USUAL,
  PHASE_CLOCK,
  PHASE_MASK,
  PHASE_MAX,
  PHASE_SIZES,
  PHASE_USUAL,
  SEASON_BIN,
  SIZE_PARTS,
} from './record';

const HOURS: i32 = 24;
const PHASES: i32 = 30;
const PHASE_MINUTES: i32 = 2;
const HOUR_MINUTES: i32 = 60;
/** A job may begin a quarter of an hour early or late. */
const EARLY_MINUTES: i32 = 15;
const SIXTEENTHS: f32 = 16.0;
const SIXTEENTH: f32 = 0.0625;
const SIZE_MAX: f32 = 255.0;
const PER_DAY: f32 = 1.0 / 86400.0;

/** How far a size may lie above what its clock remembers; with few days seen, three times as far. */
const HOUR_MARGIN: f32 = 0.3;
const HOUR_MARGIN_YOUNG: f32 = 2.0;
const PHASE_MARGIN: f32 = 0.4;
/** A phase has a job when its sizes lie two octaves above those of all phases. */
const JOB_OCTAVES: f32 = 2.0;
/** In parts of 256: how much of a new highest size a clock takes over, up and down. */
const HOUR_UP: i32 = 153;
const HOUR_DOWN: i32 = 102;
const PHASE_UP: i32 = 128;
const PHASE_DOWN: i32 = 25;
const WHOLE: i32 = 256;
/** Until then a clock takes over all: every hour of the first day, and some of the second. */
const YOUNG_SECONDS: f32 = 96000.0;
const CLOCKS_FROM: u32 = 10;

/** Sizes up to this are known of this hour of the day, or of the nearest one. 0: of none. */
export function hourBar(record: usize, hour: i32, minute: i32, age: f32): f32 {
  let kept: u32 = load<u8>(record + hour, HOUR_SIZES);
  if (minute < EARLY_MINUTES) {
    kept = max(kept, <u32>load<u8>(record + (hour === 0 ? HOURS - 1 : hour - 1), HOUR_SIZES));
  } else if (minute >= HOUR_MINUTES - EARLY_MINUTES) {
    kept = max(kept, <u32>load<u8>(record + (hour === HOURS - 1 ? 0 : hour + 1), HOUR_SIZES));
  }
  if (kept === 0) return 0.0;
  const margin: f32 = <f32>1.0 + HOUR_MARGIN_YOUNG / (<f32>1.0 + age * PER_DAY);
  return <f32>kept * SIXTEENTH + HOUR_MARGIN * margin;
}

/** Sizes up to this are known of these minutes of an hour. 0: of none. */
export function phaseBar(record: usize, minute: i32): f32 {
  const kept: u32 = load<u8>(record + minute / PHASE_MINUTES, PHASE_SIZES);
  return kept === 0 ? <f32>0.0 : <f32>kept * SIXTEENTH + PHASE_MARGIN;
}

/** Is the size far above what the other phases of an hour have? */
export function isJobSize(record: usize, size: f32): bool {
  return size > <f32>load<u8>(record, PHASE_USUAL) * SIXTEENTH + JOB_OCTAVES;
}

/** Is the size well above what most hours of a day have? False until the first day is known. */
export function isLoudHour(record: usize, size: f32): bool {
  const usual: u32 = load<u8>(record, HOUR_USUAL);
  return usual > 0 && size > <f32>usual * SIXTEENTH + <f32>1.0;
}

/** In sixteenths of an octave, as the record keeps sizes. */
export function inSixteenths(size: f32): u32 {
  return <u32>min(SIZE_MAX, size * SIXTEENTHS);
}

/** A calibrated size in 16 bits: rounded to parts of an octave, since it moves by small steps. */
export function storeSize(at: usize, size: f32): void {
  store<u16>(at, <u16>min<f32>(65535.0, floor(size * SIZE_PARTS + 0.5)));
}

export function loadSize(at: usize): f32 {
  return <f32>load<u16>(at) / SIZE_PARTS;
}

/** `isJob`: the size belongs to a job of these minutes; the hour is not to blame. */
export function learnClocks(
  record: usize,
  n: u32,
  hour: i32,
  minute: i32,
  size: f32,
  isJob: bool,
  age: f32,
): void {
  if (n < CLOCKS_FROM) return;
  const sixteenths = inSixteenths(size);
  // The season has not yet taken in this value, so its bin tells the hour of the one before.
  const last = (<i32>load<u8>(record, SEASON_BIN) - 1) % HOURS;
  let hourMax: u32 = load<u8>(record, HOUR_MAX);
  if (hour !== last) {
    const at = record + last;
    const kept: i32 = load<u8>(at, HOUR_SIZES);
    const rate = age < YOUNG_SECONDS ? WHOLE : <i32>hourMax > kept ? HOUR_UP : HOUR_DOWN;
    store<u8>(at, stepped(kept, hourMax, rate), HOUR_SIZES);
    store<u8>(record, meanOf(record + HOUR_SIZES, HOURS), HOUR_USUAL);
    hourMax = 0;
  }
  if (!isJob) hourMax = max(hourMax, sixteenths);
  store<u8>(record, <u8>hourMax, HOUR_MAX);

  const phase = minute / PHASE_MINUTES;
  const clock: u32 = load<u8>(record, PHASE_CLOCK);
  const before = <i32>(clock & PHASE_MASK) - 1;
  let phaseMax: u32 = load<u8>(record, PHASE_MAX);
  if (phase !== before) {
    if (before >= 0) closePhase(record, before, phaseMax);
    store<u8>(record, <u8>((clock & ~PHASE_MASK) | (phase + 1)), PHASE_CLOCK);
    phaseMax = 0;
  }
  store<u8>(record, <u8>max(phaseMax, sixteenths), PHASE_MAX);
}

function closePhase(record: usize, phase: i32, highest: u32): void {
  const at = record + phase;
  const kept: i32 = load<u8>(at, PHASE_SIZES);
  const rate = kept === 0 ? WHOLE : <i32>highest > kept ? PHASE_UP : PHASE_DOWN;
  store<u8>(at, stepped(kept, highest, rate), PHASE_SIZES);
  store<u8>(record, meanOf(record + PHASE_SIZES, PHASES), PHASE_USUAL);
}

function stepped(kept: i32, highest: u32, rate: i32): u8 {
  return <u8>(kept + (((<i32>highest - kept) * rate) >> 8));
}

/** Of those that are known. Two overlapping vectors hold 17 to 32 bytes. */
function meanOf(sizes: usize, count: i32): u8 {
  const lanes = i8x16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const isFresh = i8x16.ge_u(lanes, i8x16.splat(<i8>(32 - count)));
  const head = v128.load(sizes);
  const tail = v128.and(v128.load(sizes + count - 16), isFresh);
  const known = popcnt(bitsOf(head)) + popcnt(bitsOf(tail));
  const pairs = i16x8.add(i16x8.extadd_pairwise_i8x16_u(head), i16x8.extadd_pairwise_i8x16_u(tail));
  const fours = i32x4.extadd_pairwise_i16x8_u(pairs);
  const sum =
    i32x4.extract_lane(fours, 0) +
    i32x4.extract_lane(fours, 1) +
    (i32x4.extract_lane(fours, 2) + i32x4.extract_lane(fours, 3));
  return <u8>(known > 0 ? sum / known : 0);
}

function bitsOf(sizes: v128): i32 {
  return i8x16.bitmask(i8x16.ne(sizes, i8x16.splat(0)));
}
