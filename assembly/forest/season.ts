// The usual value per hour of the day, weekdays and weekends apart, in UTC: the trees need the same
// clock every day, not the right one. A bin's mean moves when its hour ends, by the mean of that
// hour, so that a value is never judged by itself. Where a bin has not been visited, the same hour
// of the other sort of day answers, else the level.

import { HOUR_SAMPLES, HOUR_SUM, SEASON_BIN, SEASON_MEANS, SEASON_VISITS } from './record';

const RATE_MIN: f32 = 0.1;
const HOURS: i32 = 24;
/** A count of four bits: from 10 visits on only RATE_MIN matters. */
const VISITS_MAX: u32 = 15;
const HOUR_SAMPLES_MAX: u32 = 65535;
const MINUTE_MS: f64 = 60000.0;
const WEEK_MINUTES: f64 = 10080.0;
const DAY_MINUTES: i32 = 1440;

/** Minute of the week within [0, 10080); the week begins on Thursday, as the epoch did. */
export function minuteOfWeek(timestamp: i64): i32 {
  const minute = floor(<f64>timestamp / MINUTE_MS);
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
  if (visitsOf(record, bin) > 0) return x - load<f32>(record + (bin << 2), SEASON_MEANS);
  const other = bin >= HOURS ? bin - HOURS : bin + HOURS;
  if (visitsOf(record, other) > 0) return x - load<f32>(record + (other << 2), SEASON_MEANS);
  return x - level;
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
  const at = record + (bin << 2);
  const mean = load<f32>(at, SEASON_MEANS);
  const hour: f32 = load<f32>(record, HOUR_SUM) / <f32>load<u16>(record, HOUR_SAMPLES);
  const rate: f32 = max(RATE_MIN, <f32>1.0 / <f32>visits);
  store<f32>(at, mean + rate * (hour - mean), SEASON_MEANS);
}
