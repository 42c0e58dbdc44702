// A time zone as the forest wants it: when its clock changed, and what it was ahead of UTC from then on, in minutes. Taken
// from Node's ICU once at the start, for the years in which there may be samples: before them the first offset holds, after
// them the last.

import assert from 'node:assert/strict';
import { isTimeZone, offsetMs } from './calendar.js';

const MINUTE_MS = 60_000;
/** No zone changes its clock twice within so short a time, but for a few weeks of some Ramadans, which are longer. */
const STEP_MS = 14 * 864e5;
const FIRST_MS = Date.UTC(1990, 0, 1);
const LAST_MS = Date.UTC(2090, 0, 1);
/** As the table in the forest's memory; two changes a year make 200. */
const CHANGES_MAX = 512;
const ALWAYS = -(2 ** 31);

/** Pairs (minutes since 1970 in UTC, minutes ahead of UTC), ascending; the first one holds from the beginning of time.
 * Undefined for UTC. */
export function zoneChanges(timeZone: string): Int32Array | undefined {
  if (timeZone === 'UTC') return undefined;
  const pairs = [ALWAYS, minutesAhead(timeZone, FIRST_MS)];
  for (let from = FIRST_MS; from < LAST_MS; from += STEP_MS) {
    const ahead = minutesAhead(timeZone, from + STEP_MS);
    if (ahead === pairs.at(-1)) continue;
    let [before, after] = [from, from + STEP_MS];
    while (after - before > MINUTE_MS) {
      const middle = MINUTE_MS * Math.floor((before + after) / 2 / MINUTE_MS);
      if (minutesAhead(timeZone, middle) === ahead) after = middle;
      else before = middle;
    }
    pairs.push(after / MINUTE_MS, ahead);
  }
  assert(
    pairs.length <= 2 * CHANGES_MAX,
    `${timeZone} changes its clock ${pairs.length / 2} times`,
  );
  return Int32Array.from(pairs);
}

/** Of the option --timezone of a command; `refuse` ends the call. */
export function zoneOption(
  name: string,
  refuse: (message: string) => never,
): Int32Array | undefined {
  if (!isTimeZone(name))
    refuse(`--timezone is ${name}, expected an IANA name such as Europe/Berlin`);
  return zoneChanges(name);
}

/** Local mean times have seconds; since 1972 no zone has. */
function minutesAhead(timeZone: string, atMs: number): number {
  return Math.round(offsetMs(timeZone, atMs) / MINUTE_MS);
}
