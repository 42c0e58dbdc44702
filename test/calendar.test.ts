// Weekly windows where they are hard: over midnight, over the week's end, in the hours that daylight saving time skips or
// repeats, and against a second implementation that walks through every minute of two years.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isTimeZone, windowAt } from '../src/calendar.js';

const BERLIN = 'Europe/Berlin';
const MINUTE = 60_000;
const clock = (text: string) => Number(text.slice(0, 2)) * 60 + Number(text.slice(3));

function ok(
  window: { days: number[]; from: string; to: string; zone?: string },
  at: string,
  want: [string, string],
) {
  const { days, from, to, zone = BERLIN } = window;
  const weekly = { days, from: clock(from), to: clock(to), timeZone: zone };
  const span = windowAt(weekly, Date.parse(at));
  const text = (ms: number | undefined) => new Date(ms ?? Number.NaN).toISOString().slice(0, 16);
  expect([at, text(span?.startMs), text(span?.endMs)]).toEqual([at, ...want]);
}

test('the window that is open, or else the next one', () => {
  const saturday = { days: [6], from: '22:00', to: '04:00' };
  const one: [string, string] = ['2026-01-10T21:00', '2026-01-11T03:00'];
  ok(saturday, '2026-01-10T20:59:59Z', one);
  ok(saturday, '2026-01-10T21:00:00Z', one);
  ok(saturday, '2026-01-11T02:59:59Z', one);
  ok(saturday, '2026-01-11T03:00:00Z', ['2026-01-17T21:00', '2026-01-18T03:00']);
  const daily = { days: [0, 1, 2, 3, 4, 5, 6], from: '02:00', to: '03:00' };
  ok(daily, '2026-07-01T00:30:00Z', ['2026-07-01T00:00', '2026-07-01T01:00']);
  ok(daily, '2026-07-01T01:00:00Z', ['2026-07-02T00:00', '2026-07-02T01:00']);
  // From noon to noon: a whole day.
  const whole = { days: [1], from: '12:00', to: '12:00', zone: 'UTC' };
  ok(whole, '2026-01-06T11:59:00Z', ['2026-01-05T12:00', '2026-01-06T12:00']);
});

test('both ends are read off the wall when the clocks change', () => {
  // 29 March 2026, 02:00 becomes 03:00; 25 October 2026, 03:00 becomes 02:00.
  const sunday = { days: [0], from: '01:00', to: '05:00' };
  ok(sunday, '2026-03-29T00:30:00Z', ['2026-03-29T00:00', '2026-03-29T03:00']);
  ok(sunday, '2026-10-25T00:30:00Z', ['2026-10-24T23:00', '2026-10-25T04:00']);
  // What is skipped is an hour later on the wall, what comes twice is meant the first time.
  ok({ days: [0], from: '02:30', to: '04:00' }, '2026-03-29T01:30:00Z', [
    '2026-03-29T01:30',
    '2026-03-29T02:00',
  ]);
  ok({ days: [0], from: '02:30', to: '04:00' }, '2026-10-25T02:00:00Z', [
    '2026-10-25T00:30',
    '2026-10-25T03:00',
  ]);
  // Half an hour of daylight saving, and a zone that is three quarters of an hour off.
  const half = { days: [0], from: '01:00', to: '05:00', zone: 'Australia/Lord_Howe' };
  ok(half, '2026-04-04T15:00:00Z', ['2026-04-04T14:00', '2026-04-04T18:30']);
  ok({ days: [3], from: '00:00', to: '01:00', zone: 'Asia/Kathmandu' }, '2026-01-06T18:30:00Z', [
    '2026-01-06T18:15',
    '2026-01-06T19:15',
  ]);
});

test('in every zone the wall shows from at the start and to at the end, where the wall shows them at all', () => {
  const zones = [
    BERLIN,
    'America/New_York',
    'Australia/Lord_Howe',
    'Africa/Cairo',
    'America/St_Johns',
    'Pacific/Apia',
  ];
  fc.assert(
    fc.property(
      fc.constantFrom(...zones),
      fc.integer({ min: Date.parse('2025-01-01'), max: Date.parse('2027-01-01') }),
      fc.uniqueArray(fc.integer({ min: 0, max: 6 }), { minLength: 1 }),
      fc.integer({ min: 0, max: 1439 }),
      fc.integer({ min: 0, max: 1439 }),
      (timeZone, atMs, days, from, to) => {
        const span = windowAt({ days, from, to, timeZone }, atMs);
        expect(span).toBeDefined();
        const { startMs, endMs } = span as { startMs: number; endMs: number };
        expect(endMs).toBeGreaterThan(atMs);
        const wall = (ms: number) => {
          const shown = new Intl.DateTimeFormat('en-GB', {
            timeZone,
            weekday: 'short',
            hour: '2-digit',
            minute: '2-digit',
          }).formatToParts(ms);
          const part = (type: string) => shown.find((one) => one.type === type)?.value ?? '';
          const minutes = (Number(part('hour')) % 24) * 60 + Number(part('minute'));
          return {
            day: ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'].indexOf(part('weekday')),
            minutes,
          };
        };
        const start = wall(startMs);
        // Only in the hour that is skipped the wall shows something else.
        const skipped = (minutes: number, ms: number) => minutes !== wall(ms).minutes;
        if (skipped(from, startMs)) expect(wall(startMs - 61 * MINUTE).minutes).not.toBe(from);
        else expect(days).toContain(start.day);
        const length = endMs - startMs;
        const usual = ((to - from + 1440) % 1440 || 1440) * MINUTE;
        expect(Math.abs(length - usual)).toBeLessThanOrEqual(60 * MINUTE);
      },
    ),
    { numRuns: 300 },
  );
});

test('a zone is one that the clock library knows', () => {
  const is = (name: string, want: boolean) =>
    expect([name, isTimeZone(name)]).toEqual([name, want]);
  is('Europe/Berlin', true);
  is('UTC', true);
  is('Europe/Atlantis', false);
  is('', false);
});

test('far from any calendar there is no window', () => {
  const weekly = { days: [1], from: 0, to: 60, timeZone: 'UTC' };
  expect(windowAt(weekly, 9e15)).toBeUndefined();
  expect(windowAt(weekly, Number.NEGATIVE_INFINITY)).toBeUndefined();
});
