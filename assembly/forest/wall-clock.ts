// The clock on the wall of a time zone, as a table that the host writes once: what the clock is ahead
// of UTC, and since when. Without one it is UTC. Neighbouring samples lie between the same two
// changes, which are therefore kept at hand.
//
//   ZONE │ since, ahead │ since, ahead │ …   i32 each, in minutes; `since` from 1970, ascending

import { ZONE, ZONE_CHANGES_MAX } from './memory-map';

let changes: i32 = 0;
let since: f64 = -Infinity;
let until: f64 = Infinity;
let ahead: f64 = 0;

/** The table holds so many changes now; the first one holds from the beginning of time. */
export function useZone(count: i32): void {
  assert(count > 0 && count <= ZONE_CHANGES_MAX);
  changes = count;
  seek(0);
}

/** Minutes since 1970 in UTC → those that the clock on the wall has counted. */
export function wallMinute(minute: f64): f64 {
  if (minute < since || minute >= until) seek(minute);
  return minute + ahead;
}

function seek(minute: f64): void {
  let low: i32 = 1;
  let high = changes;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sinceAt(middle) <= minute) low = middle + 1;
    else high = middle;
  }
  since = low === 1 ? -Infinity : sinceAt(low - 1);
  until = low === changes ? Infinity : sinceAt(low);
  ahead = <f64>load<i32>(ZONE + ((low - 1) << 3), 4);
}

function sinceAt(index: i32): f64 {
  return <f64>load<i32>(ZONE + (index << 3));
}
