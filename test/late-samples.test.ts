// What comes late, twice or contradicts what came is counted and changes nothing that is learnt: every series is as if
// only the samples that were newer than all before had come. (docs/decisions/0011-late-samples.md)

import { create, toBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import { Partition } from '../src/scorer/partition.js';
import { WasmForest } from '../src/scorer/wasm-forest.js';
import { loadWasm } from '../src/wasm-files.js';
import { randomOf } from './random.js';

const BEGIN = 1_760_000_000_000;
const STEP_MS = 15_000;
const SAMPLES = 2_000;
const SERIES = ['queue_length', 'requests_total'];
const { module } = loadWasm('forest');

type Point = readonly [series: number, atMs: number, value: number];

function record(points: readonly Point[]): Uint8Array {
  const bits = new DataView(new ArrayBuffer(8));
  return toBinary(
    SampleBlockSchema,
    create(SampleBlockSchema, {
      fingerprint: points.map(([series]) => BigInt(series + 1)),
      timestampMs: points.map(([, at]) => BigInt(at)),
      valueBits: points.map(([, , value]) => {
        bits.setFloat64(0, value);
        return bits.getBigUint64(0);
      }),
      series: SERIES.map((name, i) => ({
        fingerprint: BigInt(i + 1),
        label: [{ name: '__name__', value: name }],
      })),
    }),
  );
}

function states(records: readonly Uint8Array[]): { views: object[]; counts: object } {
  const partition = new Partition(new WasmForest(module, { seriesMax: 10, seed: 1 }), 10);
  for (const one of records) partition.apply(one);
  const views = SERIES.map((_, i) => {
    const slot = partition.slots.slotOf(partition.slots.find(i + 1, 0));
    return { ...partition.forest.view(slot) };
  });
  return { views, counts: { ...partition.counts } };
}

test('late samples, repetitions and contradictions leave every series as it was (scenario 27)', () => {
  const random = randomOf(11);
  const history = Array.from({ length: SAMPLES }, (_, i): Point[] =>
    SERIES.map(
      (_, series) =>
        [
          ...[series, BEGIN + i * STEP_MS],
          series === 0 ? 20 + random() : 3 * i + random(),
        ] as unknown as Point,
    ),
  );
  const [inOrder, disturbed] = [[] as Uint8Array[], [] as Uint8Array[]];
  const expected = { late: 0, duplicate: 0, conflict: 0 };
  for (const [i, points] of history.entries()) {
    inOrder.push(record(points));
    const more: Point[] = [...points];
    for (const [series, at, value] of points) {
      const kind = i === 0 ? 1 : random();
      if (kind < 0.1) {
        more.push([series, at - Math.ceil(random() * 100 * STEP_MS), value + 1e6]);
        expected.late++;
      } else if (kind < 0.2) {
        more.push([series, at, value]);
        expected.duplicate++;
      } else if (kind < 0.3) {
        more.push([series, at, -value]);
        expected.conflict++;
      }
    }
    disturbed.push(record(more));
  }
  const clean = states(inOrder);
  const got = states(disturbed);
  expect(expected.late).toBeGreaterThan(100);
  expect(got.views).toEqual(clean.views);
  expect(clean.counts).toMatchObject({ applied: 2 * SAMPLES, late: 0, duplicate: 0, conflict: 0 });
  expect(got.counts).toMatchObject({ applied: 2 * SAMPLES, ...expected });
});

test('a counter that misses a late sample loses no rate: the next one spans it', () => {
  const at = (i: number): Point => [1, BEGIN + i * STEP_MS, 150 * i];
  const begin = Array.from({ length: 500 }, (_, i) => record([at(i)]));
  // 501 comes before 500, and 500 is late.
  const swapped = states([...begin, record([at(501)]), record([at(500)]), record([at(502)])]);
  expect(swapped.counts).toMatchObject({ applied: 502, late: 1 });
  expect(swapped.views[1]).toMatchObject({ flag: false, lastValue: 10 });
});
