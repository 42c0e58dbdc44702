// How the page puts things into words, and what its lanes draw: pure functions, without a browser.

import { expect, test } from 'vitest';
import type { HistoryAnswer } from '../src/api/history-answer.js';
import { anyOf } from '../src/matchers.js';
import {
  begun,
  bytes,
  clock,
  duration,
  number,
  plural,
  scoreText,
  selectorOf,
  severity,
  shortened,
  shortSelectorOf,
  tick,
  visible,
} from '../web/src/format.js';
import { CELLS, labelNames, lanesOf, runsOf } from '../web/src/lane-cells.js';
import { pointsOf } from '../web/src/observed.js';
import type { Series } from '../web/src/rows.js';

test('numbers have four digits, and no more zeros than a reader counts', () => {
  const ok = (value: number | null | undefined, want: string) =>
    expect([value, number(value)]).toEqual([value, want]);
  ok(0, '0');
  ok(1.33713, '1.337');
  ok(-12.5, '−12.5');
  ok(9999, '9999');
  ok(10_000, '10 k');
  ok(165_812_345, '165.8 M');
  ok(1e21, '1000 E');
  ok(0.00001234, '1.23e-5');
  ok(null, '–');
  ok(Number.POSITIVE_INFINITY, '–');
  expect(bytes(0)).toBe('0 B');
  expect(bytes(203 * 2 ** 20)).toBe('203 MiB');
  expect(plural(1, 'anomaly', 'anomalies')).toBe('1 anomaly');
  expect(plural(12_345, 'anomaly', 'anomalies')).toBe('12,345 anomalies');
});

test('a score that is past its threshold is never shown as the threshold', () => {
  const ok = (score: number | null, want: string) =>
    expect([score, scoreText(score)]).toEqual([score, want]);
  ok(0, '0.0');
  ok(0.94, '0.9');
  ok(0.996, '0.99');
  ok(1, '1.00');
  ok(1.0001, '1.01');
  ok(1.012, '1.01');
  ok(1.07, '1.1');
  ok(6.705, '6.7');
  ok(null, '–');
  expect([0.2, 1.2, 1.5, 2.9, 3, 40, null].map(severity)).toEqual([1, 1, 2, 2, 3, 3, 1]);
});

test('durations and times are as coarse as they are long', () => {
  const ok = (seconds: number, want: string) =>
    expect([seconds, duration(1000 * seconds)]).toEqual([seconds, want]);
  ok(-3, '0 s');
  ok(89, '89 s');
  ok(90, '2 min');
  ok(3600, '60 min');
  ok(3 * 3600 + 300, '3 h 5 min');
  ok(47 * 3600, '47 h');
  ok(52 * 3600, '2 d 4 h');
  const noon = new Date(2026, 10, 21, 12, 0, 5).getTime();
  expect(clock(noon, noon + 3600e3)).toBe('12:00:05');
  expect(clock(noon, noon + 86400e3)).toBe('21 Nov 12:00:05');
  expect(clock(noon, new Date(2027, 1, 1).getTime())).toBe('21 Nov 2026 12:00:05');
  expect(tick(noon, 5)).toBe('12:00:05');
  expect(tick(noon, 3600)).toBe('12:00');
  expect(tick(noon, 86_400)).toBe('21 Nov');
  expect(tick(new Date(2026, 10, 22).getTime(), 60)).toBe('22 Nov');
  expect(clock('not a time')).toBe('not a time');
});

test('what would turn or hide the text around it is shown by its code, and nothing else is touched', () => {
  const ok = (text: string, want: string) => expect(visible(text)).toBe(want);
  ok('plain <b>&amp;', 'plain <b>&amp;');
  ok('a\u202eb', 'a⟨U+202E⟩b');
  ok('a\nb\u0000', 'a⟨U+000A⟩b⟨U+0000⟩');
  ok('\u2066\u200f\ufeff', '⟨U+2066⟩⟨U+200F⟩⟨U+FEFF⟩');
  // Words of right-to-left scripts and joined emoji are what they are.
  ok('מחיר', 'מחיר');
  ok('👩‍👩‍👧', '👩‍👩‍👧');
});

/** No half of a pair. */
const WHOLE = /^\P{Surrogate}*$/u;

test('what is too long is cut between letters, never within one', () => {
  const long = `${'😀'.repeat(50)}end`;
  const short = shortened(long, 20);
  expect([...short]).toHaveLength(20);
  expect(short.endsWith('end')).toBe(true);
  expect(short).toMatch(WHOLE);
  expect(begun(long, 10)).toMatch(WHOLE);
  expect([...begun(long, 10)]).toHaveLength(10);
  expect(shortened('short', 20)).toBe('short');
});

test('the selector of a series is one that the server reads, and matches it', () => {
  const ok = (labels: Record<string, string>) => {
    const list = Object.entries(labels).map(([name, value]) => ({ name, value }));
    for (const selector of [selectorOf(labels), shortSelectorOf(labels)]) {
      expect([selector, anyOf([selector])(list)]).toEqual([selector, true]);
      expect(anyOf([selector])([{ name: 'other', value: 'x' }])).toBe(false);
    }
  };
  ok({ __name__: 'up', job: 'node' });
  ok({ __name__: 'a', quoted: `a"}\\' or 1=1\n\t` });
  ok({ 'http.status': '200', unicode: '👩‍👩‍👧 מחיר' });
  const long = { __name__: 'a', job: 'b', path: 'x'.repeat(3_000) };
  expect(shortSelectorOf(long)).toBe('{__name__="a",job="b"}');
});

test('what a Prometheus has lies before what is our own, joined to it, and ends where something is missing', () => {
  const at = (seconds: number) => new Date(1000 * seconds).toISOString();
  const row: Series = {
    fingerprint: 'f1',
    series: 'a',
    labels: { __name__: 'a' },
    type: 'gauge',
    partition: 0,
    state: 'active',
    intervalSeconds: 10,
    window: [100, 110, 120].map((time) => ({ timestamp: at(time), value: time })),
  };
  const history = (...times: number[]): HistoryAnswer => ({
    prometheus: 'http://p',
    query: 'a',
    scoredAs: 'value',
    stepSeconds: 10,
    points: times.map((time) => ({ timestamp: at(time), value: -time })),
    reason: '',
    warnings: [],
  });
  const none = pointsOf(row, undefined);
  expect([none.times, none.past]).toEqual([
    [100, 110, 120],
    [null, null, null],
  ]);
  // What both have is ours.
  const joined = pointsOf(row, history(80, 90, 100, 110));
  expect(joined.times).toEqual([80, 90, 100, 110, 120]);
  expect(joined.past).toEqual([-80, -90, 100, null, null]);
  expect(joined.values).toEqual([null, null, 100, 110, 120]);
  expect(joined.ownFrom).toBe(100);
  const broken = pointsOf(row, history(10, 20, 40));
  expect(broken.times).toEqual([10, 20, 30, 40, 100, 110, 120]);
  expect(broken.past).toEqual([-10, -20, null, -40, null, null, null]);
  const { window: _window, ...alone } = row;
  expect(pointsOf({ ...alone, fingerprint: 'f2' }, history(10, 20)).past).toEqual([-10, -20]);
});

test('a cell holds the highest score of its time, and neighbours of one incident are one', () => {
  const bar = (pod: string, from: number, until: number | undefined, score: number) => ({
    incident: `i-${pod}`,
    labels: { pod },
    onsetMs: from,
    endMs: until,
    score,
  });
  const drawn = { by: 'pod', fromMs: 0, untilMs: CELLS * 10, cellMs: 10 };
  const bars = [
    bar('a', 5, 25, 2),
    bar('a', 12, 12, 5),
    bar('b', -500, 3, 1.1),
    bar('b', 950, undefined, 1.2),
  ];
  const [a, b] = lanesOf(bars, drawn);
  expect([a?.value, a?.count, a?.top]).toEqual(['a', 2, 5]);
  expect(a?.cells.slice(0, 4).map(({ score }) => score)).toEqual([2, 5, 2, 0]);
  expect(a && runsOf(a).map(({ index, length, score }) => [index, length, score])).toEqual([
    [0, 1, 2],
    [1, 1, 5],
    [2, 1, 2],
  ]);
  // What began before the span begins with it, what is open lasts to its end.
  expect(b && runsOf(b).map(({ index, length }) => [index, length])).toEqual([
    [0, 1],
    [95, 1],
  ]);
  const [none] = lanesOf(bars, { ...drawn, by: 'constructor' });
  expect([none?.value, none?.count]).toEqual(['', 4]);
  expect(labelNames(bars).get('pod')?.size).toBe(2);
});
