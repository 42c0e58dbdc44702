// Charts: that no spike is lost on the way to a pixel, that axes say round things, that names stay text, and that what
// comes out is well-formed, whatever went in.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PLOT_COLUMNS } from '../src/limits.js';
import { drawChart, NUMBERED_MAX, type PlotAnomaly, type PlotSeries } from '../src/plot/chart.js';
import { htmlPage, svgDocument } from '../src/plot/document.js';
import { clip, escapeMarkup } from '../src/plot/look.js';
import { coarser, PlotReducer } from '../src/plot/reduce.js';
import { momentText, spanText, timeTicks, valueText, valueTicks } from '../src/plot/ticks.js';

const BEGIN = Date.UTC(2026, 0, 4);
const MINUTE = 60_000;
const FRAME = { width: 600, height: 236 };

function seriesOf(values: readonly number[], anomalies: PlotAnomaly[] = []): PlotSeries {
  const reducer = new PlotReducer();
  values.forEach((value, at) => {
    reducer.add(BEGIN + at * MINUTE, value, 0.1);
    if (!Number.isNaN(value)) reducer.expect(BEGIN + at * MINUTE, value, value - 1, value + 1);
  });
  return { title: 'cpu', columns: reducer.columns(), anomalies, anomalyCount: anomalies.length };
}

function anomalyAt(row: number, more: Partial<PlotAnomaly> = {}): PlotAnomaly {
  const ms = BEGIN + row * MINUTE;
  return {
    ...{ onsetMs: ms, peakMs: ms + MINUTE, endMs: ms + 3 * MINUTE },
    ...{ peakValue: 9, peakScore: 2, cause: 'magnitude', ...more },
  };
}

/** Every element closed, in order; no bare < or &; attributes quoted. */
function expectWellFormed(markup: string): void {
  const open: string[] = [];
  const text = markup.replace(/<!doctype html>|<meta [^<>]*>|<style>[^<]*<\/style>/g, '');
  expect(text.replace(/<[^<>]*>/g, '')).not.toMatch(/[<>]|&(?!(amp|lt|gt|quot);)/);
  for (const [, slash, name, attributes, self] of text.matchAll(
    /<(\/?)([a-z]+)((?:\s[^<>]*?)?)(\/?)>/gi,
  )) {
    expect(attributes).toMatch(/^(\s+[a-zA-Z-]+="[^"<>]*")*\s*$/);
    if (slash) expect(open.pop()).toBe(name);
    else if (!self) open.push(name as string);
  }
  expect(open).toEqual([]);
}

/** Coordinates of every path and rectangle of a drawing. */
function numbersIn(drawing: string): number[] {
  const places = [...drawing.matchAll(/ (?:d|x|y|width|height|transform)="([^"]*)"/g)];
  return places.flatMap(([, text = '']) => (text.match(/-?[\d.]+/g) ?? []).map(Number));
}

test('reduced to columns, the extremes stay where they were, and means are means', () => {
  const at = fc.integer({ min: 0, max: 49_999 });
  fc.assert(
    fc.property(at, at, fc.integer({ min: 3, max: 50_000 }), (high, low, count) => {
      fc.pre(high < count && low < count && high !== low);
      const values = Array.from({ length: count }, (_, row) =>
        row === high ? 1000 : row === low ? -1000 : row % 7,
      );
      const { columns } = seriesOf(values);
      for (const one of [columns, coarser(columns, 300)]) {
        const columnOf = (row: number): number => Math.floor((row * MINUTE) / one.widthMs);
        expect(one.high[columnOf(high)]).toBe(1000);
        expect(one.low[columnOf(low)]).toBe(-1000);
        expect(one.low.length).toBeLessThanOrEqual(PLOT_COLUMNS);
        expect(one.high.filter((value) => value === 1000)).toHaveLength(1);
        const known = one.upper.filter((value) => !Number.isNaN(value));
        expect(Math.max(...known)).toBeLessThanOrEqual(1001);
      }
      expect(coarser(columns, 300).low.length).toBeLessThanOrEqual(300);
    }),
    { numRuns: 30 },
  );
});

test('a sample from before the first one is left out, not drawn in the wrong place', () => {
  const reducer = new PlotReducer();
  reducer.add(BEGIN, 1, 0);
  reducer.add(BEGIN - MINUTE, 99, 0);
  expect([...reducer.columns().high]).toEqual([1]);
});

test('times are marked at round moments of the day, the month and the year', () => {
  const labels = (start: string, end: string) =>
    timeTicks(Date.parse(start), Date.parse(end), 6).map(({ label, context }) =>
      context === undefined ? label : `${label} (${context})`,
    );
  const ok = (start: string, end: string, want: string) =>
    expect(labels(start, end).join(', ')).toBe(want);
  ok(
    '2026-01-04T00:00:00.1Z',
    '2026-01-04T00:00:00.3Z',
    '00:00:00.100 (4 Jan 2026), 00:00:00.150, 00:00:00.200, 00:00:00.250, 00:00:00.300',
  );
  ok(
    '2026-01-04T11:20:05Z',
    '2026-01-04T11:21:00Z',
    '11:20:10 (4 Jan 2026), 11:20:20, 11:20:30, 11:20:40, 11:20:50, 11:21:00',
  );
  ok(
    '2026-01-03T20:10:00Z',
    '2026-01-04T04:00:00Z',
    '22:00 (3 Jan 2026), 00:00 (4 Jan 2026), 02:00, 04:00',
  );
  ok('2025-12-30T10:00:00Z', '2026-01-03T10:00:00Z', '31 Dec (2025), 1 Jan (2026), 2 Jan, 3 Jan');
  // Weeks begin on Monday.
  ok('2026-01-03T00:00:00Z', '2026-02-03T00:00:00Z', '5 Jan (2026), 12 Jan, 19 Jan, 26 Jan, 2 Feb');
  ok('2025-10-10T00:00:00Z', '2026-03-10T00:00:00Z', 'Nov (2025), Dec, Jan (2026), Feb, Mar');
  ok('2019-06-01T00:00:00Z', '2026-06-01T00:00:00Z', '2020, 2022, 2024, 2026');
});

test('whatever the range, there are a few ticks, all within it', () => {
  const moment = fc.integer({ min: -6e13, max: 1e14 });
  fc.assert(
    fc.property(moment, fc.integer({ min: 1, max: 1e14 }), (start, span) => {
      const ticks = timeTicks(start, start + span, 6);
      expect(ticks.length).toBeLessThanOrEqual(8);
      for (const { at } of ticks) expect(at >= start && at <= start + span).toBe(true);
    }),
  );
  const value = fc.double({ noNaN: true, noDefaultInfinity: true });
  fc.assert(
    fc.property(value, value, (a, b) => {
      const ticks = valueTicks(Math.min(a, b), Math.max(a, b), 5);
      expect(ticks.length).toBeGreaterThan(0);
      expect(ticks.length).toBeLessThanOrEqual(9);
      for (const { label } of ticks) expect(label).not.toMatch(/NaN|Infinity/);
    }),
  );
});

test('values have SI prefixes, spans their two largest units', () => {
  const ok = (low: number, high: number, want: string) =>
    expect(
      valueTicks(low, high, 5)
        .map(({ label }) => label)
        .join(' '),
    ).toBe(want);
  ok(0, 1, '0 0.2 0.4 0.6 0.8 1.0');
  ok(-3, 9, '−2 0 2 4 6 8');
  ok(0, 45_000, '0 10k 20k 30k 40k');
  ok(1e9, 1.004e9, '1.000G 1.001G 1.002G 1.003G 1.004G');
  ok(0, 4e-6, '0 1µ 2µ 3µ 4µ');
  expect([0, 1234.5678, 0.05, 1.5e7, -2e-4, 1e300].map(valueText)).toEqual([
    '0',
    '1235',
    '0.05',
    '15M',
    '−200µ',
    '1.00e+300',
  ]);
  expect([0, 500, 40_000, 720_000, 12_000_000, 187_200_000, 30 * 864e5].map(spanText)).toEqual([
    'one sample',
    '500 ms',
    '40 s',
    '12 min',
    '3 h 20 min',
    '2 d 4 h',
    '30 d',
  ]);
  expect(momentText(BEGIN + 1500)).toBe('2026-01-04 00:00:01.500');
});

test('names of others are text, never markup', () => {
  const evil = `</title><script>alert('1')</script>&"<b>\u0000\ud800`;
  expect(escapeMarkup(evil)).toBe(
    `&lt;/title&gt;&lt;script&gt;alert('1')&lt;/script&gt;&amp;&quot;&lt;b&gt;\ufffd\ufffd`,
  );
  expect(clip('ab😀cd', 30, 14)).toBe('ab…');
  const series = { ...seriesOf([1, 2], [anomalyAt(1, { cause: evil })]), title: evil };
  for (const draw of [svgDocument, htmlPage]) {
    const text = draw({ title: evil, series: [series], hiddenCount: 0 });
    expectWellFormed(text);
    expect(text).not.toContain('<script');
  }
});

test('every drawing is well-formed and finite: none, one, equal, missing, huge and hostile values', () => {
  const many = Array.from({ length: 5000 }, (_, row) => (row === 4000 ? 1e6 : row % 100));
  const cases: number[][] = [
    [],
    [42],
    Array(500).fill(7),
    Array(50).fill(Number.NaN),
    [1, Number.NaN, 3],
    [1e308, -1e308, 1e308],
    [Number.MAX_VALUE, -Number.MAX_VALUE],
    [1e15, 1e15 + 0.125],
    [5e-324, 0],
    many,
  ];
  for (const values of cases) {
    const series = seriesOf(values, values.length > 0 ? [anomalyAt(0, { endMs: Number.NaN })] : []);
    for (const width of [344, 600, 1080]) {
      const drawing = drawChart(series, { ...FRAME, width });
      expect(drawing).not.toMatch(/NaN|Infinity|undefined/);
      for (const number of numbersIn(drawing)) expect(Math.abs(number)).toBeLessThanOrEqual(1200);
    }
    for (const draw of [svgDocument, htmlPage]) {
      expectWellFormed(draw({ title: 'x', series: [series], hiddenCount: 0 }));
    }
  }
});

test('the geometry is right: a spike reaches the top, a gap breaks the line, a mark stands on its peak', () => {
  const values = Array.from({ length: 2000 }, (_, row) => (row === 1000 ? 50 : row % 2));
  const spike = anomalyAt(999, { peakValue: 50 });
  const drawing = drawChart(seriesOf(values, [spike]), FRAME);
  const [, x = '', y = ''] = /translate\(([\d.]+) ([\d.]+)\)/.exec(drawing) ?? [];
  const path = /class="value" d="([^"]*)"/.exec(drawing)?.[1] ?? '';
  const heights = (path.match(/[ V][\d.]+/g) ?? []).map((text) => Number(text.slice(1)));
  expect(Math.min(...heights)).toBe(Number(y));
  expect(Math.abs(Number(x) - (44 + (1000 / 2000) * (600 - 14 - 44)))).toBeLessThan(4);
  expect(path.match(/M/g)).toHaveLength(1);
  const broken = values.map((value, row) => (row > 500 && row < 900 ? Number.NaN : value));
  const parts = /class="value" d="([^"]*)"/.exec(drawChart(seriesOf(broken), FRAME))?.[1] ?? '';
  expect(parts.match(/M/g)).toHaveLength(2);
});

test('the highest anomalies are numbered, all are marked, each says when, how much and why', () => {
  const anomalies = Array.from({ length: 20 }, (_, at) =>
    anomalyAt(100 * at, { peakScore: 2 + at, cause: ['novelty', 'magnitude', 'quiet'][at % 3]! }),
  );
  const series = { ...seriesOf(Array(2100).fill(1), anomalies), anomalyCount: 25 };
  const drawing = drawChart(series, FRAME);
  expect(drawing.match(/class="mark"/g)).toHaveLength(20);
  expect(drawing.match(/class="alarm small"/g)).toHaveLength(NUMBERED_MAX);
  expect(
    new Set(drawing.match(/class="mark"[^>]* d="[^"]*"/g)?.map((one) => one.slice(-20))).size,
  ).toBe(3);
  expect(drawing).toContain(
    '<title>Anomaly 9: onset 2026-01-05 07:40:00, lasted 3 min; peak 9 at 2026-01-05 07:41:00, ' +
      'score 21.00; further out than usual (UTC)</title>',
  );
  const page = htmlPage({ title: 'x', series: [series], hiddenCount: 3 });
  expect(page.match(/<tr><th>\d/g)).toHaveLength(NUMBERED_MAX);
  expect(page).toContain('and 16 more, less high');
  expect(page).toContain('25 anomalies; 3 more series with lower scores are not shown');
  expect(svgDocument({ title: 'x', series: [series], hiddenCount: 0 })).toContain('and 22 more');
});

test('what is drawn is styled, and nothing around it: a stroke would be inherited by all of a chart', () => {
  const series = [seriesOf([1, 2, Number.NaN, 3, Number.NaN, 1]), seriesOf([3, 2, 1])];
  for (const shown of [series.slice(0, 1), series]) {
    const page = htmlPage({ title: 'x', series: shown, hiddenCount: 0 });
    const css = /<style>([^<]*)<\/style>/.exec(page)?.[1] ?? '';
    const stroked = [...css.matchAll(/([^{}]*)\{[^{}]*stroke[:-][^{}]*\}/g)].flatMap(([, names]) =>
      [...(names ?? '').matchAll(/\.([a-z]+)/g)].map(([, name]) => name as string),
    );
    expect(stroked).toContain('lone');
    const around = [
      ...page.matchAll(/<(html|body|main|header|figure|svg|ul|li)[^>]* class="([^"]*)"/g),
    ];
    expect(around.length).toBeGreaterThan(2);
    for (const [, , names = ''] of around) {
      for (const name of names.split(' ')) expect(stroked).not.toContain(name);
    }
  }
});

test('the page asks for nothing: no script, no address, and a policy that forbids both', () => {
  const series = [seriesOf([1, 2, 3]), seriesOf([3, 2, 1])];
  const page = htmlPage({ title: 'two', series, hiddenCount: 0 });
  expect(page).toContain(`content="default-src 'none'; style-src 'sha256-`);
  expect(page).not.toMatch(/https?:|<script|<link|<img|@import|url\((?!#)| style="| on[a-z]+="/i);
  expect(page).toContain('prefers-color-scheme:dark');
  expect(page.match(/<figure>/g)).toHaveLength(2);
  const svg = svgDocument({ title: 'two', series, hiddenCount: 0 });
  expect(svg.replace('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:|<script| on[a-z]+="/i);
});
