// Weekly windows on the clock of a time zone: "Saturday 22:00 to 04:00 in Berlin". Both ends are read off the wall, so a
// window that spans a change to or from daylight saving time is an hour shorter or longer, as people mean it. A time
// that the change skips is an hour later; of one that comes twice the first is meant. The zones are those of Node's ICU.

const DAY_MS = 864e5;
const MINUTE_MS = 60_000;

export interface WeeklyWindow {
  /** 0 is Sunday; the days on which it begins. */
  days: readonly number[];
  /** Minutes since midnight. `to` not after `from` is on the next day. */
  from: number;
  to: number;
  timeZone: string;
}

export interface Span {
  startMs: number;
  /** Exclusive. */
  endMs: number;
}

const formats = new Map<string, Intl.DateTimeFormat>();
/** Zones in use at once; there are about 450. */
const FORMATS_MAX = 64;

export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en-US', { timeZone: name });
    return true;
  } catch {
    return false; // RangeError: not one that ICU knows
  }
}

/** The window that is open at this time, or else the next one that opens; undefined when it never does. */
export function windowAt(window: WeeklyWindow, atMs: number): Span | undefined {
  if (!(Math.abs(atMs) < 8e15)) return undefined;
  const today = Math.floor((atMs + offsetMs(window.timeZone, atMs)) / DAY_MS);
  // Yesterday's may still be open, today's may be over: then it is a week to the next one.
  for (let day = today - 1; day <= today + 8; day++) {
    if (!window.days.includes((((day + 4) % 7) + 7) % 7)) continue;
    const nextDay = window.to <= window.from ? day + 1 : day;
    const span = {
      startMs: instantOf(day * DAY_MS + window.from * MINUTE_MS, window.timeZone),
      endMs: instantOf(nextDay * DAY_MS + window.to * MINUTE_MS, window.timeZone),
    };
    if (atMs < span.endMs) return span;
  }
  return undefined;
}

/** The instant at which the clock of a zone shows this, given as if the clock showed UTC. */
function instantOf(wallMs: number, timeZone: string): number {
  // A zone changes its offset at most once within two days: one of these two is in force.
  const before = wallMs - offsetMs(timeZone, wallMs - DAY_MS);
  const after = wallMs - offsetMs(timeZone, wallMs + DAY_MS);
  const candidates = [Math.min(before, after), Math.max(before, after)];
  const found = candidates.find((at) => at + offsetMs(timeZone, at) === wallMs);
  // A time that was skipped: as far behind the change as it was ahead of the hour that is missing.
  return found ?? before;
}

/** What the clock of the zone is ahead of UTC at this instant. */
export function offsetMs(timeZone: string, atMs: number): number {
  const parts: Record<string, number> = {};
  for (const { type, value } of formatOf(timeZone).formatToParts(atMs)) {
    parts[type] = Number(value);
  }
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = parts;
  const shown = Date.UTC(year, month - 1, day, hour, minute, second);
  return shown - Math.floor(atMs / 1000) * 1000;
}

function formatOf(timeZone: string): Intl.DateTimeFormat {
  let format = formats.get(timeZone);
  if (format === undefined) {
    if (formats.size >= FORMATS_MAX) formats.clear();
    format = new Intl.DateTimeFormat('en-US', {
      timeZone,
      calendar: 'gregory',
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
    formats.set(timeZone, format);
  }
  return format;
}
