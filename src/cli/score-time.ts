// Timestamps as files write them: ISO 8601 with or without a time and a zone (without one it is UTC), or seconds or
// milliseconds since 1970. Read from bytes; the day is remembered, as neighbouring rows usually share it. Anything else,
// local formats included, is refused rather than guessed.

import { parseNumber } from './score-number.js';

/** A bare number above this is milliseconds: as seconds it would be the year 5138. */
const SECONDS_MAX = 1e11;
/** And above this neither: micro- and nanoseconds are not guessed. */
const MILLISECONDS_MAX = 1e14;
const DASH = 45;
const COLON = 58;

let knownDay = -1;
let knownDayMs = 0;

/** Milliseconds since 1970, NaN when it is no timestamp. */
export function parseTime(bytes: Buffer, start: number, end: number): number {
  if (end - start < 8 || bytes[start + 4] !== DASH) return parseEpoch(bytes, start, end);
  if (end - start < 10 || bytes[start + 7] !== DASH) return Number.NaN;
  const date = dateOf(bytes, start);
  if (end - start === 10 || Number.isNaN(date)) return date;
  const separator = bytes[start + 10]!;
  if ((separator | 32) !== 116 && separator !== 32) return Number.NaN;
  return date + parseClock(bytes, start + 11, end);
}

function parseEpoch(bytes: Buffer, start: number, end: number): number {
  const number = parseNumber(bytes, start, end);
  const size = Math.abs(number);
  if (!(size <= MILLISECONDS_MAX)) return Number.NaN;
  return Math.round(size > SECONDS_MAX ? number : number * 1000);
}

/** Ten bytes, YYYY-MM-DD. */
function dateOf(bytes: Buffer, at: number): number {
  const year = 100 * two(bytes, at) + two(bytes, at + 2);
  const month = two(bytes, at + 5);
  const day = two(bytes, at + 8);
  const key = (year * 100 + month) * 100 + day;
  if (key === knownDay) return knownDayMs;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  // A day that does not exist runs over into the next month.
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return Number.NaN;
  knownDay = key;
  knownDayMs = date.getTime();
  return knownDayMs;
}

/** HH:MM[:SS[.fraction]][zone]; NaN when it is none. Digits behind the milliseconds are cut off. */
function parseClock(bytes: Buffer, start: number, end: number): number {
  if (end - start < 5 || bytes[start + 2] !== COLON) return Number.NaN;
  const hour = two(bytes, start);
  const minute = two(bytes, start + 3);
  let ms = hour * 3_600_000 + minute * 60_000;
  let at = start + 5;
  if (!(hour < 24 && minute < 60)) return Number.NaN;
  if (at < end && bytes[at] === COLON) {
    if (end - at < 3) return Number.NaN;
    const second = two(bytes, at + 1);
    if (!(second < 60)) return Number.NaN;
    ms += second * 1000;
    at += 3;
    if (at < end && (bytes[at] === 46 || bytes[at] === 44)) {
      const fraction = ++at;
      for (let unit = 100; at < end && isDigit(bytes[at]!); at++, unit /= 10) {
        if (unit >= 1) ms += (bytes[at]! - 48) * unit;
      }
      if (at === fraction) return Number.NaN;
    }
  }
  return ms - parseZone(bytes, at, end);
}

/** Milliseconds ahead of UTC: nothing, Z, +HH, +HHMM or +HH:MM, with or without a space before it. */
function parseZone(bytes: Buffer, start: number, end: number): number {
  let at = start;
  if (at === end) return 0;
  if (bytes[at] === 32) at++;
  const sign = bytes[at]!;
  if ((sign | 32) === 122 && end === at + 1) return 0;
  if (sign !== 43 && sign !== DASH) return Number.NaN;
  const length = end - at - 1;
  const hours = length >= 2 ? two(bytes, at + 1) : Number.NaN;
  const hasColon = length === 5 && bytes[at + 3] === COLON;
  const minutes = length === 2 ? 0 : length === 4 || hasColon ? two(bytes, end - 2) : Number.NaN;
  if (!(hours < 24 && minutes < 60)) return Number.NaN;
  return (sign === 43 ? 1 : -1) * (hours * 60 + minutes) * 60_000;
}

/** Two digits; NaN when they are none. */
function two(bytes: Buffer, at: number): number {
  const tens = bytes[at]!;
  const ones = bytes[at + 1]!;
  return isDigit(tens) && isDigit(ones) ? 10 * (tens - 48) + ones - 48 : Number.NaN;
}

function isDigit(byte: number): boolean {
  return byte >= 48 && byte <= 57;
}
