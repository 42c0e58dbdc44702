// Everything that a small log holds, by series: values as bits, start timestamps, native histograms,
// types and units. Decoded with the generated code, so that what a test says of the log does not
// rest on our own reader of blocks; and it insists that the columns of every record are of one length.

import type { MetricType } from '../src/gen/sample_block_pb.js';
import type { Label } from '../src/series.js';
import { readSampleLog } from './log-reader.js';
import type { LabelPairs } from './write-request-v2.js';

export interface LoggedSeries {
  labels: readonly Label[];
  /** As last announced. */
  type: MetricType;
  unit: string;
  points: LoggedPoint[];
  histograms: LoggedHistogram[];
}

export type LoggedPoint = readonly [timestampMs: bigint, bits: bigint, startMs: bigint];

export interface LoggedHistogram {
  timestampMs: bigint;
  startMs: bigint;
  /** The Histogram message of remote-write 2.0. */
  bytes: Uint8Array;
}

/** The key of a series is `keyOf` its labels. The program must have been stopped. */
export async function readLogged(
  dataDir: string,
  partitions: number,
): Promise<Map<string, LoggedSeries>> {
  const series = new Map<string, LoggedSeries>();
  const known = new Map<bigint, LoggedSeries>();
  const places = new Map<bigint, number>();
  const seriesOf = (fingerprint: bigint, partition: number): LoggedSeries => {
    const found = known.get(fingerprint);
    if (found === undefined) throw new Error('Something comes before its series is announced');
    if ((places.get(fingerprint) ?? partition) !== partition) {
      throw new Error(`${keyOf(found.labels)} is in two partitions`);
    }
    places.set(fingerprint, partition);
    return found;
  };
  await readSampleLog(dataDir, partitions, (block, partition) => {
    const { fingerprint, timestampMs, valueBits, startTimestampMs } = block;
    for (const one of block.series) {
      const key = keyOf(one.label);
      const found = series.get(key) ?? { labels: [], points: [], histograms: [] };
      const merged = Object.assign(found, { labels: one.label, type: one.type, unit: one.unit });
      series.set(key, merged);
      known.set(one.fingerprint, merged);
    }
    const lengths = [fingerprint, timestampMs, valueBits, startTimestampMs].map((c) => c.length);
    const [count, ...others] = lengths as [number, number, number, number];
    if (others[0] !== count || others[1] !== count || (others[2] !== 0 && others[2] !== count)) {
      throw new Error(`The columns of a record are of different lengths: ${lengths.join(', ')}`);
    }
    for (let i = 0; i < count; i++) {
      seriesOf(fingerprint[i] as bigint, partition).points.push([
        timestampMs[i] as bigint,
        valueBits[i] as bigint,
        startTimestampMs[i] ?? 0n,
      ]);
    }
    for (const one of block.histogram) {
      seriesOf(one.fingerprint, partition).histograms.push({
        timestampMs: one.timestampMs,
        startMs: one.startTimestampMs,
        bytes: one.histogram,
      });
    }
  });
  return series;
}

/** One text for one series, whatever the order of its labels; labels without a value do not count. */
export function keyOf(labels: LabelPairs | readonly Label[]): string {
  const pairs = Array.isArray(labels)
    ? labels.map((label: Label | readonly [string, string]) =>
        'name' in label ? [label.name, label.value] : [label[0], label[1]],
      )
    : Object.entries(labels);
  const present = pairs.filter(([, value]) => value !== '') as [string, string][];
  return JSON.stringify(present.sort(([a], [b]) => (a < b ? -1 : 1)));
}

const cell = new DataView(new ArrayBuffer(8));

/** The bits of a number; bits stay what they are. */
export function bitsOf(value: number | bigint): bigint {
  if (typeof value === 'bigint') return value;
  cell.setFloat64(0, value);
  return cell.getBigUint64(0);
}
