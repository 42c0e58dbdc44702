// A piece of history in memory: answers come series by series, live samples come scrape by scrape, and so history must lie
// in its log, because the scorer's clock is the newest timestamp it has seen, and silent series are looked for between
// records. A window is gathered from all queries and handed on by time:
//
//    answers     a: ▪▪▪▪▪▪    b: ▪▪▪▪▪▪    c: ▪▪▪▪▪▪           columns, one per series, kept from window to window
//    steps       abc abc abc abc abc abc                        as bodies of remote-write 1.0

import { create, toBinary } from '@bufbuild/protobuf';
import { compress } from 'snappy';
import { OperatingError } from '../errors.js';
import { TimeSeriesSchema } from '../gen/remote_write_v1_pb.js';
import { BACKFILL_CHUNK_POINTS_MAX, PULL_BODY_SERIES_MAX } from '../limits.js';
import { HISTORY_SERIES_MAX } from '../limits-history.js';
import type { RangeTaker } from '../prometheus-range.js';
import type { Label } from '../series.js';

interface Column {
  /** Its labels, as they stand in a TimeSeries. */
  labels: Uint8Array;
  times: number[];
  values: number[];
  /** The first that has not been handed on. */
  next: number;
}

/** A sample in its field of a TimeSeries: tags, lengths, the value, and a timestamp of at most ten bytes. */
const SAMPLE_BYTES_MAX = 2 + 1 + 8 + 1 + 10;

export class HistoryWindow {
  /** The series in it, ever. */
  get series(): number {
    return this.#columns.size;
  }

  /** Points of this window. */
  get points(): number {
    return this.#points;
  }

  readonly #added: readonly Label[];
  readonly #columns = new Map<string, Column>();
  #points = 0;

  /** `added` are given to every series that has no label of that name. */
  constructor(added: readonly Label[]) {
    this.#added = added;
  }

  /** For one answer; another may bring the same series again, and the first one counts. */
  taker(): RangeTaker {
    const columns: Column[] = [];
    return {
      series: (labels) => {
        columns.push(this.#columnOf(labels));
      },
      points: (series, times, values, count) => {
        const column = columns[series] as Column;
        this.#points += count;
        if (this.#points > BACKFILL_CHUNK_POINTS_MAX) {
          const text = `One window of history holds more than ${BACKFILL_CHUNK_POINTS_MAX} points; select fewer series`;
          throw new OperatingError('input_invalid', text);
        }
        for (let at = 0; at < count; at++) {
          if (times[at]! <= (column.times.at(-1) ?? Number.NEGATIVE_INFINITY)) continue;
          column.times.push(times[at]!);
          column.values.push(values[at]!);
        }
      },
    };
  }

  /** The next step that has not been handed on; Infinity when there is none. */
  earliestMs(): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const { times, next } of this.#columns.values()) {
      if (next < times.length && times[next]! < earliest) earliest = times[next]!;
    }
    return earliest;
  }

  /** The samples of one step, in snappy blocks. They stay until `pass`. */
  async bodiesAt(timestampMs: number): Promise<Uint8Array[]> {
    const bodies: Promise<Uint8Array>[] = [];
    let series: Column[] = [];
    const flush = () => {
      bodies.push(bodyOf(series, timestampMs));
      series = [];
    };
    for (const column of this.#columns.values()) {
      if (column.times[column.next] !== timestampMs) continue;
      series.push(column);
      if (series.length === PULL_BODY_SERIES_MAX) flush();
    }
    if (series.length > 0) flush();
    return Promise.all(bodies);
  }

  /** The samples of this step. */
  pass(timestampMs: number): number {
    let samples = 0;
    for (const column of this.#columns.values()) {
      if (column.times[column.next] !== timestampMs) continue;
      column.next++;
      samples++;
    }
    return samples;
  }

  /** For the next window; what was not handed on is forgotten. */
  clear(): void {
    for (const column of this.#columns.values()) {
      column.times = [];
      column.values = [];
      column.next = 0;
    }
    this.#points = 0;
  }

  #columnOf(found: readonly Label[]): Column {
    const labels = [
      ...found,
      ...this.#added.filter(({ name }) => found.every((label) => label.name !== name)),
    ];
    const key = JSON.stringify(
      labels.map(({ name, value }) => [name, value]).sort(([a], [b]) => (a! < b! ? -1 : 1)),
    );
    const known = this.#columns.get(key);
    if (known !== undefined) return known;
    if (this.#columns.size === HISTORY_SERIES_MAX) {
      const text = `The history has more than ${HISTORY_SERIES_MAX} series; select fewer`;
      throw new OperatingError('input_invalid', text);
    }
    const bytes = toBinary(TimeSeriesSchema, create(TimeSeriesSchema, { labels }));
    const column = { labels: bytes, times: [], values: [], next: 0 };
    this.#columns.set(key, column);
    return column;
  }
}

/** A WriteRequest of one sample for each of these series, written by hand: their labels are the same at every step. */
async function bodyOf(series: readonly Column[], timestampMs: number): Promise<Uint8Array> {
  let bytesMax = 0;
  for (const { labels } of series) bytesMax += 6 + labels.length + SAMPLE_BYTES_MAX;
  const body = Buffer.allocUnsafe(bytesMax);
  const time = varint(BigInt.asUintN(64, BigInt(timestampMs)));
  const sampleBytes = 1 + 8 + 1 + time.length;
  let at = 0;
  for (const { labels, values, next } of series) {
    body[at++] = (1 << 3) | 2; // WriteRequest.timeseries
    at = writeVarint(body, at, labels.length + 2 + sampleBytes);
    body.set(labels, at);
    at += labels.length;
    body[at++] = (2 << 3) | 2; // TimeSeries.samples
    body[at++] = sampleBytes;
    body[at++] = (1 << 3) | 1; // Sample.value
    at = body.writeDoubleLE(values[next]!, at);
    body[at++] = (2 << 3) | 0; // Sample.timestamp
    body.set(time, at);
    at += time.length;
  }
  return new Uint8Array(await compress(body.subarray(0, at)));
}

function varint(value: bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}

function writeVarint(body: Buffer, from: number, value: number): number {
  let at = from;
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) body[at++] = (rest & 127) | 128;
  body[at++] = rest;
  return at;
}
