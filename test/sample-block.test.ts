import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { expect, test } from 'vitest';
import {
  HistogramSampleSchema,
  type SampleBlock,
  SampleBlockSchema,
} from '../src/gen/sample_block_pb.js';
import {
  type BlockLayout,
  countSamples,
  readBlock,
  splitBlock,
  startsOfNone,
} from '../src/sample-block.js';

const STALE = 0x7ff0000000000002n;

function block(samples: number, from = 0, series = 0): SampleBlock {
  const rows = Array.from({ length: samples }, (_, index) => BigInt(from + index));
  return create(SampleBlockSchema, {
    fingerprint: rows.map((row) => (row << 40n) + 7n),
    timestampMs: rows.map((row) => -5n + row),
    valueBits: rows.map((row) => (row % 3n === 0n ? STALE : row)),
    series: Array.from({ length: series }, (_, index) => ({
      fingerprint: BigInt(index),
      label: [{ name: '__name__', value: `m${index}` }],
    })),
  });
}

function columnsOf(layout: BlockLayout): {
  fingerprint: bigint[];
  timestampMs: bigint[];
  valueBits: bigint[];
} {
  const view = new DataView(layout.bytes.buffer, layout.bytes.byteOffset);
  const columns = {
    fingerprint: [] as bigint[],
    timestampMs: [] as bigint[],
    valueBits: [] as bigint[],
  };
  for (const { count, fingerprintAt, timestampAt, valueAt } of layout.runs) {
    for (let i = 0; i < count; i++) {
      columns.fingerprint.push(view.getBigUint64(fingerprintAt + 8 * i, true));
      columns.timestampMs.push(view.getBigInt64(timestampAt + 8 * i, true));
      columns.valueBits.push(view.getBigUint64(valueAt + 8 * i, true));
    }
  }
  return columns;
}

test('columns are read in place with every bit of their values', () => {
  const wanted = block(1000, 0, 3);
  const bytes = toBinary(SampleBlockSchema, wanted);
  const layout = readBlock(bytes);
  expect(layout.bytes).toBe(bytes);
  expect(layout.series).toHaveLength(3);
  const { fingerprint, timestampMs, valueBits } = wanted;
  expect(columnsOf(layout)).toEqual({ fingerprint, timestampMs, valueBits });
});

test('concatenated blocks are one block with the samples of both, in order', () => {
  const [a, b] = [block(3, 0, 1), block(5, 100, 2)];
  const layout = readBlock(Buffer.concat([a, b].map((part) => toBinary(SampleBlockSchema, part))));
  expect(layout.runs).toHaveLength(2);
  expect(countSamples(layout)).toBe(8);
  expect(layout.series).toHaveLength(3);
  expect(columnsOf(layout).fingerprint).toEqual([...a.fingerprint, ...b.fingerprint]);
});

test('a legal encoding that no writer of ours makes is read the same', () => {
  const wanted = block(4);
  const writer = new BinaryWriter();
  // Unpacked fingerprints, values before timestamps in two chunks, an unknown field of every wire type.
  for (const one of wanted.fingerprint) writer.tag(2, WireType.Bit64).fixed64(one);
  writer.tag(99, WireType.Varint).uint32(3).tag(98, WireType.Bit32).fixed32(1);
  for (const chunk of [wanted.valueBits.slice(0, 1), wanted.valueBits.slice(1)]) {
    writer.tag(4, WireType.LengthDelimited).fork();
    for (const one of chunk) writer.fixed64(one);
    writer.join();
  }
  writer.tag(3, WireType.LengthDelimited).fork();
  for (const one of wanted.timestampMs) writer.sfixed64(one);
  writer.join();
  const { fingerprint, timestampMs, valueBits } = wanted;
  expect(columnsOf(readBlock(writer.finish()))).toEqual({ fingerprint, timestampMs, valueBits });
});

test('bytes that are no block, or whose columns differ in length, are refused loudly', () => {
  expect(() => readBlock(Uint8Array.from([0x12, 0x08, 1]))).toThrow();
  const uneven = create(SampleBlockSchema, {
    fingerprint: [1n, 2n],
    timestampMs: [1n],
    valueBits: [1n],
  });
  expect(() => readBlock(toBinary(SampleBlockSchema, uneven))).toThrow(/columns/);
});

test('a block too large for a record is split, announcements before samples, nothing lost', () => {
  const whole = block(5000, 0, 400);
  whole.tenant = 'team-a';
  const parts = splitBlock(toBinary(SampleBlockSchema, whole), 10_000);
  expect(parts.length).toBeGreaterThan(10);
  const layouts = parts.map(({ bytes }) => readBlock(bytes));
  for (const [index, { bytes, samples }] of parts.entries()) {
    expect(bytes.length).toBeLessThanOrEqual(10_000);
    expect(countSamples(layouts[index] as BlockLayout)).toBe(samples);
    expect(layouts[index]?.tenant).toBe('team-a');
  }
  expect(layouts.flatMap((layout) => columnsOf(layout).fingerprint)).toEqual(whole.fingerprint);
  expect(layouts.reduce((count, { series }) => count + series.length, 0)).toBe(400);
  const lastSeries = layouts.findLastIndex(({ series }) => series.length > 0);
  expect(layouts.findIndex(({ runs }) => runs.length > 0)).toBeGreaterThan(lastSeries);
});

test('a block that fits is left as it is', () => {
  const bytes = toBinary(SampleBlockSchema, block(10));
  expect(splitBlock(bytes)).toEqual([{ bytes, samples: 10 }]);
});

test('start timestamps are a fourth column, of all runs or of none', () => {
  const wanted = block(5);
  wanted.startTimestampMs = wanted.timestampMs.map((at) => at - 10n);
  const bytes = toBinary(SampleBlockSchema, wanted);
  const [run] = readBlock(bytes).runs;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const starts = (from: number | undefined, count: number) =>
    Array.from({ length: count }, (_, i) => view.getBigInt64(Number(from) + 8 * i, true));
  expect(starts(run?.startAt, 5)).toEqual(wanted.startTimestampMs);
  expect(readBlock(toBinary(SampleBlockSchema, block(5))).runs[0]?.startAt).toBeUndefined();
  // A block without them beside one with them, as the appender merges them: read in place.
  const merged = Buffer.concat([toBinary(SampleBlockSchema, block(3)), startsOfNone(3), bytes]);
  const layout = readBlock(merged);
  expect(layout.bytes).toBe(merged);
  expect(layout.runs.map(({ startAt }) => startAt !== undefined)).toEqual([true, true]);
  const whole = fromBinary(SampleBlockSchema, merged);
  expect(whole.startTimestampMs).toEqual([0n, 0n, 0n, ...wanted.startTimestampMs]);
  const short = create(SampleBlockSchema, { ...wanted, startTimestampMs: [1n] });
  expect(() => readBlock(toBinary(SampleBlockSchema, short))).toThrow(/start timestamp/);
});

test('native histograms are found, counted and split like samples', () => {
  const histogram = Array.from({ length: 40 }, (_, i) =>
    create(HistogramSampleSchema, {
      fingerprint: BigInt(i),
      timestampMs: BigInt(i),
      histogram: new Uint8Array(500).fill(i),
    }),
  );
  const whole = create(SampleBlockSchema, { ...block(100, 0, 3), histogram });
  whole.startTimestampMs = whole.timestampMs.map((at) => at - 1n);
  const bytes = toBinary(SampleBlockSchema, whole);
  const layout = readBlock(bytes);
  expect([layout.histograms.length, countSamples(layout)]).toEqual([40, 140]);
  const { from, to } = layout.histograms[7]!;
  const message = fromBinary(HistogramSampleSchema, bytes.subarray(from, to));
  expect(message).toMatchObject({ fingerprint: 7n, timestampMs: 7n, startTimestampMs: 0n });
  const parts = splitBlock(bytes, 3_000);
  const blocks = parts.map((part) => fromBinary(SampleBlockSchema, part.bytes));
  for (const part of parts) expect(part.bytes.length).toBeLessThanOrEqual(3_000);
  expect(parts.reduce((sum, { samples }) => sum + samples, 0)).toBe(140);
  expect(blocks.flatMap((part) => part.histogram)).toEqual(whole.histogram);
  expect(blocks.flatMap((part) => part.startTimestampMs)).toEqual(whole.startTimestampMs);
  for (const part of blocks) {
    expect([0, part.fingerprint.length]).toContain(part.startTimestampMs.length);
  }
});
