// A series of any length as a fixed number of columns, about one per pixel: the lowest and highest value of each, so that
// no spike is lost, its highest score, and the mean of what was expected. Nothing need be known of the series beforehand:
// columns begin narrow, and when time runs out of them each two become one.

import { PLOT_COLUMNS } from '../limits.js';

/** One entry per column; NaN where nothing is known. Column i begins at `startMs + i * widthMs`. */
export interface PlotColumns {
  startMs: number;
  widthMs: number;
  low: Float64Array;
  high: Float64Array;
  expected: Float64Array;
  lower: Float64Array;
  upper: Float64Array;
  score: Float64Array;
}

/** What is summed up to be a mean: expectation, its band, and how many there were. */
const SUMS = ['expected', 'lower', 'upper', 'count'] as const;
const EXTREMES = ['low', 'high', 'score'] as const;
type Name = (typeof SUMS)[number] | (typeof EXTREMES)[number];

export class PlotReducer {
  readonly #columns = Object.fromEntries(
    [...SUMS, ...EXTREMES].map((name) => [name, new Float64Array(PLOT_COLUMNS)]),
  ) as Record<Name, Float64Array>;
  #startMs = Number.NaN;
  #widthMs = 1;
  #used = 0;

  constructor() {
    for (const name of EXTREMES) this.#columns[name].fill(Number.NaN);
  }

  /** Times do not fall; a sample before the first is left out. */
  add(timestampMs: number, value: number, score: number): void {
    const at = this.#at(timestampMs);
    if (at < 0 || Number.isNaN(value)) return;
    const { low, high, score: scores } = this.#columns;
    if (!(value >= low[at]!)) low[at] = value;
    if (!(value <= high[at]!)) high[at] = value;
    if (!(score <= scores[at]!)) scores[at] = score;
  }

  /** What was expected of the sample that was added at the same time. */
  expect(timestampMs: number, expected: number, lower: number, upper: number): void {
    const at = this.#at(timestampMs);
    if (at < 0 || !Number.isFinite(lower) || !Number.isFinite(upper)) return;
    const columns = this.#columns;
    columns.expected[at]! += expected;
    columns.lower[at]! += lower;
    columns.upper[at]! += upper;
    columns.count[at]!++;
  }

  columns(): PlotColumns {
    const { count, expected, lower, upper, low, high, score } = this.#columns;
    const mean = (sums: Float64Array): Float64Array =>
      sums.slice(0, this.#used).map((sum, at) => sum / count[at]!);
    return {
      startMs: this.#startMs,
      widthMs: this.#widthMs,
      low: low.slice(0, this.#used),
      high: high.slice(0, this.#used),
      score: score.slice(0, this.#used),
      expected: mean(expected),
      lower: mean(lower),
      upper: mean(upper),
    };
  }

  #at(timestampMs: number): number {
    if (Number.isNaN(this.#startMs)) this.#startMs = timestampMs;
    let at = Math.floor((timestampMs - this.#startMs) / this.#widthMs);
    while (at >= PLOT_COLUMNS) {
      this.#halve();
      at = Math.floor((timestampMs - this.#startMs) / this.#widthMs);
    }
    this.#used = Math.max(this.#used, at + 1);
    return at;
  }

  #halve(): void {
    const { low, high, score } = this.#columns;
    const lesser = (a: number, b: number): number => (b < a || Number.isNaN(a) ? b : a);
    const greater = (a: number, b: number): number => (b > a || Number.isNaN(a) ? b : a);
    const join = (column: Float64Array, unite: (a: number, b: number) => number, empty: number) => {
      for (let at = 0; at < PLOT_COLUMNS / 2; at++) {
        column[at] = unite(column[2 * at]!, column[2 * at + 1]!);
      }
      column.fill(empty, PLOT_COLUMNS / 2);
    };
    join(low, lesser, Number.NaN);
    join(high, greater, Number.NaN);
    join(score, greater, Number.NaN);
    for (const name of SUMS) join(this.#columns[name], (a, b) => a + b, 0);
    this.#used = Math.ceil(this.#used / 2);
    this.#widthMs *= 2;
  }
}

/** The same series in at most so many columns. */
export function coarser(columns: PlotColumns, columnsMax: number): PlotColumns {
  const times = Math.ceil(columns.low.length / columnsMax);
  if (times <= 1) return columns;
  const count = Math.ceil(columns.low.length / times);
  const joined = (column: Float64Array, unite: (values: Float64Array) => number): Float64Array =>
    Float64Array.from({ length: count }, (_, at) => {
      const known = column.slice(at * times, (at + 1) * times).filter((one) => !Number.isNaN(one));
      return known.length === 0 ? Number.NaN : unite(known);
    });
  const mean = (values: Float64Array): number =>
    values.reduce((sum, value) => sum + value / values.length, 0);
  const lowest = (values: Float64Array): number => Math.min(...values);
  const highest = (values: Float64Array): number => Math.max(...values);
  return {
    startMs: columns.startMs,
    widthMs: columns.widthMs * times,
    low: joined(columns.low, lowest),
    high: joined(columns.high, highest),
    score: joined(columns.score, highest),
    expected: joined(columns.expected, mean),
    lower: joined(columns.lower, mean),
    upper: joined(columns.upper, mean),
  };
}
