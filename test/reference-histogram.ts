// When a native histogram is valid, as lists of buckets and spans, after Prometheus'
// model/histogram (Validate) and https://prometheus.io/docs/specs/native_histograms/. The twin of
// assembly/decode/histogram.ts, which never holds a list. Wire types come first: a histogram goes
// into the log as it was sent, so what a generated decoder would misread must not get there.

import { HISTOGRAM_BYTES_MAX } from '../src/limits.js';
import type { RejectReason } from '../src/receiver/wasm-decoder.js';
import { doubleOf, doublesOf, type Field, varintsOf } from './reference-wire.js';

export interface HistogramMessage {
  bytes: Uint8Array;
  timestamp: bigint;
  start: bigint;
  reason: RejectReason | undefined;
}

interface Side {
  spans: { offset: number; length: number }[];
  deltas: bigint[];
  counts: number[];
}

type Fields = (kind: 'histogram' | 'span', field: Field, onOdd: () => void) => Iterable<Field>;

const INDEX_MAX = 2 ** 30;

export function parseHistogram(
  bytes: Uint8Array,
  message: Field,
  fields: Fields,
): HistogramMessage {
  const sides: [Side, Side] = [
    { spans: [], deltas: [], counts: [] },
    { spans: [], deltas: [], counts: [] },
  ];
  const [negative, positive] = sides;
  let isMalformed = false;
  const onOdd = (): void => {
    isMalformed = true;
  };
  const scalars = new Map<number, bigint>();
  let bounds: number[] = [];
  for (const field of fields('histogram', message, onOdd)) {
    const side = field.number <= 10 ? negative : positive;
    switch (field.number) {
      case 1:
      case 2:
        scalars.delete(3 - field.number);
        scalars.set(field.number, field.value);
        break;
      case 6:
      case 7:
        scalars.delete(13 - field.number);
        scalars.set(field.number, field.value);
        break;
      case 8:
      case 11: {
        const span = { offset: 0, length: 0 };
        for (const part of fields('span', field, onOdd)) {
          if (part.number === 1) span.offset = Number(unzigzag(BigInt.asUintN(32, part.value)));
          else span.length = Number(BigInt.asUintN(32, part.value));
        }
        side.spans.push(span);
        break;
      }
      case 9:
      case 12:
        side.deltas.push(...varintsOf(bytes, field).map(unzigzag));
        break;
      case 10:
      case 13:
        side.counts.push(...doublesOf(bytes, field));
        break;
      case 16:
        bounds = bounds.concat(doublesOf(bytes, field));
        break;
      default:
        scalars.set(field.number, field.value);
    }
  }
  const signed = (number: number): bigint => BigInt.asIntN(64, scalars.get(number) ?? 0n);
  const judged = isMalformed
    ? 'histogram_malformed'
    : judge(scalars, { negative, positive, bounds });
  const length = message.end - message.start;
  const isTooLong = !isMalformed && length > HISTOGRAM_BYTES_MAX;
  return {
    bytes: bytes.slice(message.start, message.end),
    timestamp: signed(15),
    start: signed(17),
    reason: isTooLong ? 'histogram_too_long' : judged,
  };
}

function judge(
  scalars: ReadonlyMap<number, bigint>,
  { negative, positive, bounds }: { negative: Side; positive: Side; bounds: number[] },
): RejectReason | undefined {
  const isFloat = scalars.has(2);
  const schema = Number(unzigzag(BigInt.asUintN(32, scalars.get(4) ?? 0n)));
  const double = (number: number): number => doubleOf(scalars.get(number) ?? 0n);
  const bucketsOf = (side: Side): number => (isFloat ? side.counts : side.deltas).length;
  const judgeSpans = (side: Side): RejectReason | undefined => {
    const total = side.spans.reduce((sum, { length }) => sum + length, 0);
    if (total !== bucketsOf(side)) return 'histogram_span_mismatch';
    let index = 0;
    for (const [i, { offset, length }] of side.spans.entries()) {
      index += offset;
      if ((i > 0 && offset < 0) || Math.abs(index) > INDEX_MAX) return 'histogram_span_offset';
      index += length;
    }
    return undefined;
  };
  if (schema !== -53 && (schema < -4 || schema > 52)) return 'histogram_schema';
  const wrong = judgeSpans(positive);
  if (wrong) return wrong;
  const zero = isFloat ? double(7) : Number(scalars.get(6) ?? 0n);
  if (schema === -53) {
    const reach = positive.spans.reduce((sum, { offset, length }) => sum + offset + length, 0);
    if ((positive.spans[0]?.offset ?? 0) < 0) return 'histogram_span_offset';
    const areFine = bounds.every(
      (bound, i) => Number.isFinite(bound) && (i === 0 || bound > bounds[i - 1]!),
    );
    if (!areFine || reach > bounds.length + 1) return 'histogram_custom_bounds';
    const below = negative.spans.length + bucketsOf(negative);
    if (zero !== 0 || double(5) !== 0 || below > 0) return 'histogram_custom_parts';
  } else {
    const wrongBelow = judgeSpans(negative);
    if (wrongBelow) return wrongBelow;
    if (bounds.length > 0) return 'histogram_stray_bounds';
  }
  return isFloat
    ? judgeFloat({ count: double(2), zero, sum: double(3) }, [
        ...negative.counts,
        ...positive.counts,
      ])
    : judgeInteger(scalars, [...running(negative.deltas), ...running(positive.deltas)]);
}

function judgeInteger(
  scalars: ReadonlyMap<number, bigint>,
  buckets: readonly bigint[],
): RejectReason | undefined {
  if (buckets.some((bucket) => bucket < 0n)) return 'histogram_negative_bucket';
  const zero = scalars.get(6) ?? 0n;
  const all = buckets.reduce((sum, bucket) => sum + bucket, zero);
  const count = scalars.get(1) ?? 0n;
  if (all >= 1n << 64n) return 'histogram_count_mismatch';
  const isFine = Number.isNaN(doubleOf(scalars.get(3) ?? 0n)) ? all <= count : all === count;
  return isFine ? undefined : 'histogram_count_mismatch';
}

function judgeFloat(
  { count, zero, sum }: { count: number; zero: number; sum: number },
  buckets: readonly number[],
): RejectReason | undefined {
  const isCount = (value: number): boolean => value >= 0 && value < Number.POSITIVE_INFINITY;
  if (![count, zero, ...buckets].every(isCount)) return 'histogram_negative_bucket';
  const all = buckets.reduce((total, bucket) => total + bucket, 0) + zero;
  const slack = (all + count) * 1e-6;
  const isFine = all <= count + slack && (Number.isNaN(sum) || all >= count - slack);
  return isFine ? undefined : 'histogram_count_mismatch';
}

/** The buckets that the differences lead to, in 64 bits: one beyond them comes out below zero. */
function running(deltas: readonly bigint[]): bigint[] {
  let bucket = 0n;
  return deltas.map((delta) => {
    bucket = BigInt.asIntN(64, bucket + delta);
    return bucket;
  });
}

function unzigzag(value: bigint): bigint {
  return (value >> 1n) ^ -(value & 1n);
}
