// Remote-write 2.0 messages for tests, written field by field with the wire format's own writer and
// not with the code generated from our proto/: what the receiver makes of them is checked against a
// second reading of the specification. Everything may be overridden with what no sender would write:
// references, symbols, both kinds of counts in one histogram, the field 6 that older senders use.
// https://github.com/prometheus/docs/blob/main/docs/specs/prw/remote_write_spec_2_0.md

import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

export const METRIC_TYPES = {
  unspecified: 0,
  counter: 1,
  gauge: 2,
  histogram: 3,
  gaugeHistogram: 4,
  summary: 5,
  info: 6,
  stateset: 7,
} as const;
export type MetricTypeName = keyof typeof METRIC_TYPES;

export type LabelPairs = Readonly<Record<string, string>> | readonly (readonly [string, string])[];

export interface SampleV2 {
  timestampMs: number | bigint;
  /** A number, or the 64 bits of one. */
  value: number | bigint;
  startMs?: number | bigint;
}

export interface BucketsV2 {
  spans: readonly (readonly [offset: number, length: number])[];
  /** Integer histograms: differences between neighbours. */
  deltas?: readonly (number | bigint)[];
  /** Float histograms: the counts themselves. */
  counts?: readonly number[];
}

export interface HistogramV2 {
  timestampMs: number | bigint;
  startMs?: number | bigint;
  schema?: number;
  sum?: number | bigint;
  count?: number | bigint;
  countFloat?: number;
  zeroThreshold?: number;
  zeroCount?: number | bigint;
  zeroCountFloat?: number;
  positive?: BucketsV2;
  negative?: BucketsV2;
  customValues?: readonly number[];
  resetHint?: number;
}

export interface ExemplarV2 {
  labels?: LabelPairs;
  refs?: readonly number[];
  value: number | bigint;
  timestampMs: number | bigint;
}

export interface SeriesV2 {
  labels?: LabelPairs;
  /** Instead of labels. */
  refs?: readonly number[];
  samples?: readonly SampleV2[];
  histograms?: readonly HistogramV2[];
  exemplars?: readonly ExemplarV2[];
  metadata?: {
    type: MetricTypeName;
    help?: string;
    unit?: string;
    helpRef?: number;
    unitRef?: number;
  };
  /** Field 6 of the specification before rc.4. */
  createdMs?: number | bigint;
}

export interface RequestShape {
  /** The whole table instead of what the series need. */
  symbols?: readonly string[];
  /** References one by one, as a proto2 encoder writes them. */
  isUnpacked?: boolean;
  /** Series before symbols. */
  isReversed?: boolean;
}

/** A message before it is compressed. */
export function writeRequestV2(series: readonly SeriesV2[], shape: RequestShape = {}): Uint8Array {
  const table = new SymbolTable();
  const encoded = series.map((one) => seriesBytes(one, { table, shape }));
  const symbols = new BinaryWriter();
  for (const symbol of shape.symbols ?? table.symbols) symbols.tag(4, DELIMITED).string(symbol);
  const body = new BinaryWriter();
  for (const bytes of encoded) body.tag(5, DELIMITED).bytes(bytes);
  const parts = [symbols.finish(), body.finish()];
  return Buffer.concat(shape.isReversed === true ? parts.reverse() : parts);
}

const DELIMITED = WireType.LengthDelimited;

class SymbolTable {
  readonly symbols: string[] = [''];
  readonly #places = new Map([['', 0]]);

  refOf(text: string): number {
    const known = this.#places.get(text);
    if (known !== undefined) return known;
    const place = this.symbols.push(text) - 1;
    this.#places.set(text, place);
    return place;
  }

  refsOf(labels: LabelPairs): number[] {
    const pairs = isPairs(labels) ? labels : Object.entries(labels);
    return pairs.flatMap(([name, value]) => [this.refOf(name), this.refOf(value)]);
  }
}

function isPairs(labels: LabelPairs): labels is readonly (readonly [string, string])[] {
  return Array.isArray(labels);
}

function seriesBytes(
  series: SeriesV2,
  { table, shape }: { table: SymbolTable; shape: RequestShape },
): Uint8Array {
  const out = new BinaryWriter();
  const refs = series.refs ?? table.refsOf(series.labels ?? {});
  if (shape.isUnpacked === true) for (const ref of refs) out.tag(1, WireType.Varint).uint32(ref);
  else packed(out, 1, (to) => refs.forEach((ref) => void to.uint32(ref)));
  for (const sample of series.samples ?? []) {
    out.tag(2, DELIMITED).fork();
    double(out, 1, sample.value);
    int64(out, 2, sample.timestampMs);
    if (sample.startMs !== undefined) int64(out, 3, sample.startMs);
    out.join();
  }
  for (const histogram of series.histograms ?? []) {
    out.tag(3, DELIMITED).bytes(histogramBytes(histogram));
  }
  for (const exemplar of series.exemplars ?? []) {
    const own = exemplar.refs ?? table.refsOf(exemplar.labels ?? {});
    out.tag(4, DELIMITED).fork();
    packed(out, 1, (to) => own.forEach((ref) => void to.uint32(ref)));
    double(out, 2, exemplar.value);
    int64(out, 3, exemplar.timestampMs);
    out.join();
  }
  if (series.metadata !== undefined) {
    const { type, help = '', unit = '', helpRef, unitRef } = series.metadata;
    out.tag(5, DELIMITED).fork();
    out.tag(1, WireType.Varint).int32(METRIC_TYPES[type]);
    out.tag(3, WireType.Varint).uint32(helpRef ?? table.refOf(help));
    out.tag(4, WireType.Varint).uint32(unitRef ?? table.refOf(unit));
    out.join();
  }
  if (series.createdMs !== undefined) int64(out, 6, series.createdMs);
  return out.finish();
}

/** One Histogram message; fields in the order of the specification. */
export function histogramBytes(histogram: HistogramV2): Uint8Array {
  const out = new BinaryWriter();
  const { count, countFloat, zeroCount, zeroCountFloat } = histogram;
  if (count !== undefined) out.tag(1, WireType.Varint).uint64(count);
  if (countFloat !== undefined) double(out, 2, countFloat);
  double(out, 3, histogram.sum ?? 0);
  out.tag(4, WireType.Varint).sint32(histogram.schema ?? 0);
  double(out, 5, histogram.zeroThreshold ?? 0);
  if (zeroCount !== undefined) out.tag(6, WireType.Varint).uint64(zeroCount);
  if (zeroCountFloat !== undefined) double(out, 7, zeroCountFloat);
  buckets(out, 8, histogram.negative);
  buckets(out, 11, histogram.positive);
  if (histogram.resetHint !== undefined) out.tag(14, WireType.Varint).int32(histogram.resetHint);
  int64(out, 15, histogram.timestampMs);
  packed(out, 16, (to) => histogram.customValues?.forEach((bound) => void to.double(bound)));
  if (histogram.startMs !== undefined) int64(out, 17, histogram.startMs);
  return out.finish();
}

/** Spans in field `first`, deltas in the next, counts in the one after. */
function buckets(out: BinaryWriter, first: number, side: BucketsV2 | undefined): void {
  if (side === undefined) return;
  for (const [offset, length] of side.spans) {
    out.tag(first, DELIMITED).fork();
    out.tag(1, WireType.Varint).sint32(offset);
    out.tag(2, WireType.Varint).uint32(length);
    out.join();
  }
  packed(out, first + 1, (to) => side.deltas?.forEach((delta) => void to.sint64(delta)));
  packed(out, first + 2, (to) => side.counts?.forEach((count) => void to.double(count)));
}

/** Nothing at all when there is nothing to pack, as encoders do. */
function packed(out: BinaryWriter, field: number, write: (to: BinaryWriter) => void): void {
  const inner = new BinaryWriter();
  write(inner);
  const bytes = inner.finish();
  if (bytes.length > 0) out.tag(field, DELIMITED).bytes(bytes);
}

function double(out: BinaryWriter, field: number, value: number | bigint): void {
  out.tag(field, WireType.Bit64);
  if (typeof value === 'number') out.double(value);
  else out.fixed64(value);
}

function int64(out: BinaryWriter, field: number, value: number | bigint): void {
  out.tag(field, WireType.Varint).int64(value);
}
