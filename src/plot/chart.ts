// One series as a drawing: its values, the band that was expected around them, its scores below, and its anomalies as
// hatched spans with a numbered mark at the peak. Returns SVG elements without a document around them; a pure function
// of the series and a width, so that the same picture stands in a file, on a page and in a report.
//
//             1    2     numbers of the highest anomalies
//    label ┤  value, band, spans, marks
//          ├───────────────────────────  gap
//    score ┤  highest score per column, threshold 1
//          └──┬───────┬───────┬────────  times in UTC

import { CAUSE_WORDS, escapeMarkup, HATCH_ID, mark, round } from './look.js';
import { coarser, type PlotColumns } from './reduce.js';
import { momentText, spanText, type Tick, timeTicks, valueText, valueTicks } from './ticks.js';

export interface PlotAnomaly {
  onsetMs: number;
  peakMs: number;
  /** NaN while it is open. */
  endMs: number;
  peakValue: number;
  peakScore: number;
  cause: string;
}

export interface PlotSeries {
  title: string;
  columns: PlotColumns;
  anomalies: readonly PlotAnomaly[];
  /** All there were; the list may hold the highest only. */
  anomalyCount: number;
}

export interface ChartFrame {
  width: number;
  height: number;
}

/** As many anomalies of a chart are numbered, the highest. */
export const NUMBERED_MAX = 9;

const RIGHT = 14;
const TOP = 16;
const GAP = 8;
const NUMBER_WIDTH = 9;
const TIME_LABEL_WIDTH = 78;
const SCORE_HEIGHT = 26;
const AXIS_HEIGHT = 34;
/** Estimated width of a label's letter. */
const LETTER = 7.2;
const SPAN_WIDTH_MIN = 3;
/** A gap of so many usual gaps breaks the line. */
const GAPS_BROKEN = 4;
/** The band may widen the picture by so much of the values' range: a wild band must not flatten the values. */
const BAND_SHARE = 0.35;
const LONE_SAMPLE_MS = 60_000;

interface Area {
  left: number;
  right: number;
  top: number;
  bottom: number;
  startMs: number;
  endMs: number;
  low: number;
  high: number;
}

export function drawChart(series: PlotSeries, { width, height }: ChartFrame): string {
  if (series.columns.low.every((value) => Number.isNaN(value))) {
    const place = `x="${width / 2}" y="${height / 2}" text-anchor="middle"`;
    return `<text class="faint" ${place}>no values</text>`;
  }
  const values = valueRange(series.columns);
  const ticks = valueTicks(values.low, values.high, height > 200 ? 5 : 4);
  const left = Math.max(44, 12 + LETTER * Math.max(...ticks.map(({ label }) => label.length), 0));
  const bottom = height - AXIS_HEIGHT - SCORE_HEIGHT - GAP;
  const area = {
    left,
    right: width - RIGHT,
    top: TOP,
    bottom,
    ...timeRange(series.columns),
    ...values,
  };
  const columns = coarser(series.columns, Math.max(2, Math.floor(area.right - area.left)));
  const numbers = numbersOf(series.anomalies);
  const scoreArea = { ...area, top: bottom + GAP, bottom: bottom + GAP + SCORE_HEIGHT };
  return [
    ...ticks.map((tick) => valueGrid(tick, area)),
    drawTimes(area, scoreArea.bottom),
    drawBand(columns, area),
    ...series.anomalies.map((anomaly) => drawSpan(anomaly, area)),
    drawValues(columns, area),
    drawScores(columns, scoreArea),
    ...series.anomalies.map((anomaly) => drawAnomaly(anomaly, numbers.get(anomaly), area)),
    drawNumbers(numbers, area),
  ].join('');
}

/** The highest anomalies, numbered in the order of their peaks. */
export function numbersOf(anomalies: readonly PlotAnomaly[]): Map<PlotAnomaly, number> {
  const highest = [...anomalies].sort((a, b) => b.peakScore - a.peakScore).slice(0, NUMBERED_MAX);
  highest.sort((a, b) => a.peakMs - b.peakMs);
  return new Map(highest.map((anomaly, at) => [anomaly, at + 1]));
}

/** What a pointer over it, or a line under the chart, says. */
export function anomalyText(anomaly: PlotAnomaly): string {
  const { onsetMs, peakMs, endMs, peakValue, peakScore, cause } = anomaly;
  const lasted = Number.isNaN(endMs) ? 'not over' : `lasted ${spanText(endMs - onsetMs)}`;
  const words = CAUSE_WORDS[cause] ?? 'unusual';
  return (
    `onset ${momentText(onsetMs)}, ${lasted}; peak ${valueText(peakValue)} at ` +
    `${momentText(peakMs)}, score ${peakScore.toFixed(2)}; ${words}`
  );
}

/** From the lowest to the highest value, the band as far as it fits, and some air. */
function valueRange({ low, high, lower, upper }: PlotColumns): { low: number; high: number } {
  const least = lowestOf(low);
  const most = -lowestOf(high.map((value) => -value));
  if (!(least <= most)) return { low: 0, high: 1 };
  const room = BAND_SHARE * (most - least);
  const bandLeast = Math.max(lowestOf(lower), least - room);
  const bandMost = Math.min(-lowestOf(upper.map((value) => -value)), most + room);
  const bottom = Math.min(least, Number.isNaN(bandLeast) ? least : bandLeast);
  const top = Math.max(most, Number.isNaN(bandMost) ? most : bandMost);
  const span = top - bottom;
  const isWide = span > 1e-300 && Number.isFinite(span);
  const air = isWide ? 0.04 * span : Math.abs(top) * 0.1 || 1;
  return {
    low: Math.max(bottom - air, -Number.MAX_VALUE),
    high: Math.min(top + air, Number.MAX_VALUE),
  };
}

function lowestOf(values: Float64Array): number {
  let lowest = Number.POSITIVE_INFINITY;
  for (const value of values) if (value < lowest) lowest = value;
  return lowest;
}

function timeRange({ startMs, widthMs, low }: PlotColumns): { startMs: number; endMs: number } {
  if (low.length > 1) return { startMs, endMs: startMs + low.length * widthMs };
  return { startMs: startMs - LONE_SAMPLE_MS / 2, endMs: startMs + LONE_SAMPLE_MS / 2 };
}

function xOf(ms: number, { left, right, startMs, endMs }: Area): number {
  const share = (ms - startMs) / (endMs - startMs);
  return left + Math.min(1, Math.max(0, share)) * (right - left);
}

/** Halved first: the range of a value may be wider than a double. */
function yOf(value: number, { top, bottom, low, high }: Area): number {
  const share = (value / 2 - low / 2) / (high / 2 - low / 2);
  return bottom - Math.min(1, Math.max(0, share)) * (bottom - top);
}

function valueGrid({ at, label }: Tick, area: Area): string {
  const y = round(yOf(at, area));
  return (
    `<path class="grid" d="M${round(area.left)} ${y}H${round(area.right)}"/>` +
    `<text class="faint" x="${round(area.left - 6)}" y="${y}" dy="4" text-anchor="end">${escapeMarkup(label)}</text>`
  );
}

function drawTimes(area: Area, axisY: number): string {
  const ticks = timeTicks(
    area.startMs,
    area.endMs,
    Math.max(2, (area.right - area.left) / TIME_LABEL_WIDTH),
  );
  const left = round(area.left);
  const parts = [`<path class="axis" d="M${left} ${round(axisY)}H${round(area.right)}"/>`];
  const contexts = ticks.filter(({ context }) => context !== undefined);
  for (const { at, label, context } of ticks) {
    const exact = xOf(at, area);
    const x = round(exact);
    parts.push(`<path class="axis" d="M${x} ${round(axisY)}v4"/>`);
    const anchor = exact > area.right - 16 ? ' text-anchor="end"' : ' text-anchor="middle"';
    parts.push(`<text class="faint" x="${x}" y="${round(axisY + 16)}"${anchor}>${label}</text>`);
    const next = contexts.find((other) => other.at > at);
    const isCrowded = next !== undefined && xOf(next.at, area) - exact < 80;
    if (context === undefined || isCrowded) continue;
    const begin = exact > area.right - 70 ? ' text-anchor="end"' : '';
    const place = begin === '' ? Math.max(area.left, exact - 14) : area.right;
    parts.push(
      `<text class="faint small" x="${round(place)}" y="${round(axisY + 30)}"${begin}>${context}</text>`,
    );
  }
  return parts.join('');
}

/** Runs of columns between which nothing is missing, as pairs of first and last. */
function runsOf(isKnown: (column: number) => boolean, count: number): number[][] {
  const known = Array.from({ length: count }, (_, column) => column).filter(isKnown);
  const gaps = known.slice(1).map((column, at) => column - known[at]!);
  const usual = [...gaps].sort((a, b) => a - b)[gaps.length >> 1] ?? 1;
  const runs: number[][] = [];
  for (const [at, column] of known.entries()) {
    if (at > 0 && gaps[at - 1]! <= GAPS_BROKEN * usual) runs.at(-1)!.push(column);
    else runs.push([column]);
  }
  return runs;
}

function middleOf(column: number, { startMs, widthMs }: PlotColumns, area: Area): number {
  return xOf(startMs + (column + (widthMs > 1 ? 0.5 : 0)) * widthMs, area);
}

/** A line down and up each column's range; where a sample has no neighbours, a dot. */
function drawValues(columns: PlotColumns, area: Area): string {
  const { low, high } = columns;
  const parts: string[] = [];
  const dots: string[] = [];
  for (const run of runsOf((column) => !Number.isNaN(low[column]!), low.length)) {
    let before = Number.NaN;
    for (const column of run) {
      const x = round(middleOf(column, columns, area));
      // Beginning with the end that is nearer to where the line comes from.
      const ends = [yOf(low[column]!, area), yOf(high[column]!, area)];
      if (Math.abs(ends[1]! - before) < Math.abs(ends[0]! - before)) ends.reverse();
      const [first, second] = ends.map(round);
      parts.push(`${Number.isNaN(before) ? 'M' : 'L'}${x} ${first}`);
      if (second !== first) parts.push(`V${second}`);
      else if (run.length === 1) dots.push(`M${x} ${first}h0`);
      before = ends[1]!;
    }
  }
  const lone = dots.length > 0 ? `<path class="lone" d="${dots.join('')}"/>` : '';
  return `<path class="value" d="${parts.join('')}"/>${lone}`;
}

function drawBand(columns: PlotColumns, area: Area): string {
  const { lower, upper, expected } = columns;
  const bands: string[] = [];
  const middles: string[] = [];
  const isKnown = (column: number): boolean =>
    Number.isFinite(lower[column]!) && Number.isFinite(upper[column]!);
  for (const run of runsOf(isKnown, lower.length)) {
    const line = (edge: Float64Array, order: readonly number[]): string =>
      order
        .map((at) => `${round(middleOf(at, columns, area))} ${round(yOf(edge[at]!, area))}`)
        .join('L');
    bands.push(`M${line(upper, run)}L${line(lower, [...run].reverse())}Z`);
    middles.push(`M${line(expected, run)}`);
  }
  return (
    `<path class="band" d="${bands.join('')}"/>` +
    `<path class="expected" d="${middles.join('')}"/>`
  );
}

function drawScores({ score, ...columns }: PlotColumns, area: Area): string {
  const highest = Math.max(1, ...score.filter((one) => one > 0));
  // One high score must not hide the others: heights grow by the logarithm.
  const heightOf = (one: number): number =>
    (Math.log1p(Math.max(0, one)) / Math.log1p(highest)) * (area.bottom - area.top);
  const bars = { calm: '', loud: '' };
  score.forEach((one, column) => {
    const height = heightOf(one);
    if (!(height >= 0.5)) return;
    const x = round(middleOf(column, { score, ...columns }, area));
    bars[one > 1 ? 'loud' : 'calm'] += `M${x} ${round(area.bottom)}v${round(-height)}`;
  });
  const y = round(area.bottom - heightOf(1));
  const label = round(area.left - 6);
  return (
    `<path class="calm" d="${bars.calm}"/><path class="loud" d="${bars.loud}"/>` +
    `<path class="threshold" d="M${round(area.left)} ${y}H${round(area.right)}"/>` +
    `<text class="faint small" x="${label}" y="${round(area.bottom - 4)}" text-anchor="end">score</text>`
  );
}

function drawSpan({ onsetMs, endMs }: PlotAnomaly, area: Area): string {
  const from = xOf(onsetMs, area);
  const to = Number.isNaN(endMs) ? area.right : xOf(endMs, area);
  const width = Math.max(SPAN_WIDTH_MIN, to - from);
  const x = Math.min(from - Math.max(0, (SPAN_WIDTH_MIN - (to - from)) / 2), area.right - width);
  const place = `x="${round(x)}" y="${area.top}" width="${round(width)}" height="${round(area.bottom - area.top)}"`;
  return `<rect class="span" ${place}/><rect ${place} fill="url(#${HATCH_ID})"/>`;
}

function drawAnomaly(anomaly: PlotAnomaly, number: number | undefined, area: Area): string {
  const sign = mark(anomaly.cause, xOf(anomaly.peakMs, area), yOf(anomaly.peakValue, area));
  const name = number === undefined ? 'Anomaly' : `Anomaly ${number}`;
  return `<g><title>${escapeMarkup(`${name}: ${anomalyText(anomaly)} (UTC)`)}</title>${sign}</g>`;
}

/** Above the spans, where no line runs; moved apart where they would touch. */
function drawNumbers(numbers: Map<PlotAnomaly, number>, area: Area): string {
  const places = [...numbers.keys()].map(({ peakMs }) => xOf(peakMs, area));
  for (let at = 1; at < places.length; at++) {
    places[at] = Math.max(places[at]!, places[at - 1]! + NUMBER_WIDTH);
  }
  for (let at = places.length - 1; at >= 0; at--) {
    const room = at + 1 < places.length ? places[at + 1]! - NUMBER_WIDTH : area.right;
    places[at] = Math.min(places[at]!, room);
  }
  return [...numbers.values()]
    .map(
      (number, at) =>
        `<text class="alarm small" x="${round(places[at]!)}" y="${area.top - 4}" ` +
        `text-anchor="middle">${number}</text>`,
    )
    .join('');
}
