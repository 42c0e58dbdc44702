// Rows on their way through the forest: where their texts lie, their times, their values, and after the forest has seen
// them the rows that are written. All in columns made once: a row makes no object and no string.

import { OperatingError } from '../errors.js';
import { CSV_CHUNK_BYTES, CSV_ROW_BYTES_MAX } from '../limits.js';
import { type PlotColumns, PlotReducer } from '../plot/reduce.js';
import { OUTCOMES, type WasmForest } from '../scorer/wasm-forest.js';
import { AnomalyList, type ScoredAnomaly } from './score-events.js';
import type { FileOptions } from './score-file.js';
import { NUMBER_BYTES_MAX, parseNumber, writeDouble, writeFloat } from './score-number.js';
import type { RowOutput } from './score-output.js';
import type { CsvRows } from './score-rows.js';
import { parseTime } from './score-time.js';
import { type OnsetForecaster, OnsetVerdicts } from './score-verdicts.js';

/** One series of one file. Plain, as it goes from thread to thread. */
export interface SeriesResult {
  file: string;
  column: string;
  rows: number;
  /** Rows without a value, or with NaN. */
  missing: number;
  /** Rows whose value could not be used: not after the row before it, infinite. */
  unused: { duplicate: number; conflict: number; late: number; infinite: number };
  scored: number;
  flagged: number;
  anomalyCount: number;
  anomalies: ScoredAnomaly[];
  /** Of all anomalies, those that the deep check suppressed; absent where it was not asked. */
  suppressed?: number;
  plot: PlotColumns | undefined;
}

/** Texts of a batch: a piece of the file, and what was left of the piece before. */
export const BATCH_TEXT_BYTES_MAX = CSV_CHUNK_BYTES + CSV_ROW_BYTES_MAX;

const HEADER = Buffer.from('timestamp,value,score,flag,alarm,expected,lower,upper\n');
const EMPTY = Buffer.from(',,,,,,\n');
const COMMA = 44;
const ZERO = 48;
const LF = 10;
/** Score, flag, alarm, three of the band, their commas and the line end. */
const ROW_NUMBERS_BYTES = 5 * NUMBER_BYTES_MAX + 16;
const HIGH = 2 ** 32;
const APPLIED = OUTCOMES.indexOf('applied');
const UNUSED = OUTCOMES.filter((outcome) => outcome !== 'applied');

interface Series {
  slot: number;
  output: RowOutput;
  valueStarts: Int32Array;
  valueEnds: Int32Array;
  values: Float64Array;
  events: AnomalyList;
  verdicts: OnsetVerdicts | undefined;
  reducer: PlotReducer | undefined;
  result: SeriesResult;
}

export class RowBatch {
  readonly #forest: WasmForest;
  readonly #options: FileOptions;
  readonly #series: Series[];
  readonly #times: Float64Array;
  readonly #timeStarts: Int32Array;
  readonly #timeEnds: Int32Array;
  /** The forest's input columns: a timestamp as two halves. */
  readonly #timestampHalves: Int32Array;
  readonly #values: Float64Array;
  readonly #out: Buffer;
  #count = 0;

  constructor(
    forest: WasmForest,
    {
      options,
      outputs,
      forecaster,
    }: {
      options: FileOptions;
      outputs: readonly RowOutput[];
      /** Judges onsets, where the forest keeps windows. */
      forecaster?: OnsetForecaster | undefined;
    },
  ) {
    const max = forest.batchMax;
    this.#forest = forest;
    this.#options = options;
    this.#times = new Float64Array(max);
    this.#timeStarts = new Int32Array(max);
    this.#timeEnds = new Int32Array(max);
    const { buffer, byteOffset } = forest.timestampBytes;
    this.#timestampHalves = new Int32Array(buffer, byteOffset, 2 * max);
    this.#values = new Float64Array(buffer, forest.valueBytes.byteOffset, max);
    this.#out = Buffer.allocUnsafe(BATCH_TEXT_BYTES_MAX + max * ROW_NUMBERS_BYTES);
    this.#series = outputs.map((output, slot) =>
      newSeries(output, { slot, max, options, forecaster }),
    );
    const { rule } = options;
    if (rule !== undefined) forest.writeRule(1, rule);
    for (const { slot } of this.#series) {
      forest.clear(slot);
      forest.open(slot, 'gauge');
      if (rule !== undefined) forest.assignRule(slot, 1);
    }
  }

  async begin(): Promise<void> {
    for (const { output } of this.#series) await output.write(HEADER);
  }

  /** Takes in the row that the reader stands at. True when the batch is full. */
  add(bytes: Buffer, rows: CsvRows): boolean {
    const at = this.#count;
    const { starts, ends } = rows;
    const time = parseTime(bytes, starts[0]!, ends[0]!);
    if (Number.isNaN(time)) {
      const kind = 'ISO 8601 or epoch seconds or milliseconds';
      throw this.#invalid(rows.line, this.#options.column, textOf(bytes, rows, 0), kind);
    }
    this.#times[at] = time;
    this.#timeStarts[at] = starts[0]!;
    this.#timeEnds[at] = ends[0]!;
    for (let column = 0; column < this.#series.length; column++) {
      const series = this.#series[column]!;
      const start = starts[column + 1]!;
      const end = ends[column + 1]!;
      series.valueStarts[at] = start;
      series.valueEnds[at] = end;
      let value = start === end ? Number.NaN : parseNumber(bytes, start, end);
      if (Number.isNaN(value) && start !== end) {
        const word = wordOf(textOf(bytes, rows, column + 1));
        if (word === undefined) {
          const name = this.#options.values[column]!;
          const text = textOf(bytes, rows, column + 1);
          throw this.#invalid(rows.line, name, text, 'a number or nothing');
        }
        value = word;
      }
      series.values[at] = value;
    }
    this.#count++;
    return this.#count === this.#times.length;
  }

  /** Scores what there is and writes its rows. The bytes are those that were added from. */
  async flush(bytes: Buffer): Promise<void> {
    if (this.#count === 0) return;
    for (const series of this.#series) {
      const used = this.#fill(series);
      const eventCount = this.#forest.observe(used);
      const verdicts = await series.verdicts?.apply(this.#forest, { eventCount, used });
      series.events.add(this.#forest, eventCount, verdicts);
      const end = this.#writeRows(series, bytes);
      const written = series.output.write(this.#out.subarray(0, end));
      if (written !== undefined) await written;
    }
    this.#count = 0;
  }

  results(): SeriesResult[] {
    return this.#series.map(({ result, events, reducer, verdicts }) => ({
      ...result,
      ...(verdicts !== undefined && { suppressed: events.suppressedCount }),
      anomalyCount: events.count,
      anomalies: events.list(),
      plot: reducer?.columns(),
    }));
  }

  /** The forest's input columns, from the rows that have a value. */
  #fill({ slot, values }: Series): number {
    const halves = this.#timestampHalves;
    let used = 0;
    for (let at = 0; at < this.#count; at++) {
      const value = values[at]!;
      if (Number.isNaN(value)) continue;
      const time = this.#times[at]!;
      const high = Math.floor(time / HIGH);
      halves[2 * used] = time - high * HIGH;
      halves[2 * used + 1] = high;
      this.#values[used] = value;
      used++;
    }
    this.#forest.slots.fill(slot, 0, used);
    return used;
  }

  #writeRows(series: Series, bytes: Buffer): number {
    const forest = this.#forest;
    const out = this.#out;
    const { result, reducer, valueStarts, valueEnds } = series;
    let at = 0;
    let used = 0;
    for (let row = 0; row < this.#count; row++) {
      at = copy(out, at, bytes, this.#timeStarts[row]!, this.#timeEnds[row]!);
      out[at++] = COMMA;
      at = copy(out, at, bytes, valueStarts[row]!, valueEnds[row]!);
      const isThere = !Number.isNaN(series.values[row]!);
      const score = isThere ? forest.scores[used]! : Number.NaN;
      if (Number.isNaN(score)) {
        EMPTY.copy(out, at);
        at += EMPTY.length;
        if (isThere) countUnused(result, forest.outcomes[used]!);
      } else {
        at = writeScores(out, at, forest, used);
        result.scored++;
        result.flagged += forest.flags[used]!;
        if (reducer !== undefined) this.#reduce(reducer, row, used);
      }
      if (isThere) used++;
    }
    result.rows += this.#count;
    result.missing += this.#count - used;
    return at;
  }

  #reduce(reducer: PlotReducer, row: number, used: number): void {
    const { values, scores, expected, lower, upper } = this.#forest;
    reducer.add(this.#times[row]!, values[used]!, scores[used]!);
    reducer.expect(this.#times[row]!, expected[used]!, lower[used]!, upper[used]!);
  }

  #invalid(line: number, column: string, text: string, expected: string): OperatingError {
    const place = `${this.#options.file}:${line}`;
    const shown = JSON.stringify(text.slice(0, 80));
    return new OperatingError(
      'input_invalid',
      `${place}: ${column} is ${shown}; expected ${expected}`,
    );
  }
}

function newSeries(
  output: RowOutput,
  {
    slot,
    max,
    options,
    forecaster,
  }: {
    slot: number;
    max: number;
    options: FileOptions;
    forecaster: OnsetForecaster | undefined;
  },
): Series {
  return {
    slot,
    output,
    valueStarts: new Int32Array(max),
    valueEnds: new Int32Array(max),
    values: new Float64Array(max),
    events: new AnomalyList(),
    verdicts: forecaster && new OnsetVerdicts(forecaster),
    reducer: options.isPlotted ? new PlotReducer() : undefined,
    result: {
      file: options.file,
      column: options.values[slot]!,
      rows: 0,
      missing: 0,
      unused: { duplicate: 0, conflict: 0, late: 0, infinite: 0 },
      scored: 0,
      flagged: 0,
      anomalyCount: 0,
      anomalies: [],
      plot: undefined,
    },
  };
}

function writeScores(out: Buffer, start: number, forest: WasmForest, row: number): number {
  let at = start;
  out[at++] = COMMA;
  at = writeFloat(out, at, forest.scores[row]!);
  out[at++] = COMMA;
  out[at++] = ZERO + forest.flags[row]!;
  out[at++] = COMMA;
  at = writeFloat(out, at, forest.alarms[row]!);
  at = writeEdge(out, at, forest.expected[row]!);
  at = writeEdge(out, at, forest.lower[row]!);
  at = writeEdge(out, at, forest.upper[row]!);
  out[at++] = LF;
  return at;
}

/** Left empty where nothing was expected. */
function writeEdge(out: Buffer, at: number, value: number): number {
  out[at] = COMMA;
  return Number.isFinite(value) ? writeDouble(out, at + 1, value) : at + 1;
}

/** A dozen or two of bytes: the loop beats a call. */
function copy(out: Buffer, at: number, bytes: Buffer, start: number, end: number): number {
  const shift = at - start;
  for (let from = start; from < end; from++) out[from + shift] = bytes[from]!;
  return at + end - start;
}

/** Why the forest did not score a value that was there. */
function countUnused({ unused }: SeriesResult, outcome: number): void {
  if (outcome === APPLIED) unused.infinite++;
  else unused[UNUSED[outcome - 1]!]++;
}

/** What Prometheus and most languages write for what is no decimal number; undefined when it is none of these. */
function wordOf(text: string): number | undefined {
  const word = /^([+-]?)(nan|inf|infinity)$/i.exec(text);
  if (word === null) return undefined;
  if (/nan/i.test(text)) return Number.NaN;
  return word[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
}

function textOf(bytes: Buffer, { starts, ends }: CsvRows, index: number): string {
  return bytes.toString('utf8', starts[index]!, ends[index]!);
}
