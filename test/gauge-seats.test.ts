// `gauges.scores: top-k`: the so many highest series have gauges and no others, chosen alike whatever the order in which
// they are looked at; a flag that goes up has a seat at once, and who is seated is not pushed about by noise.

import { create, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import { GAUGE_SEATING_MS } from '../src/limits.js';
import { type Claim, Seats } from '../src/scorer/gauge-seats.js';
import { Gauges } from '../src/scorer/gauges.js';
import { Partition } from '../src/scorer/partition.js';
import { WasmForest } from '../src/scorer/wasm-forest.js';
import { loadWasm } from '../src/wasm-files.js';
import { randomOf } from './random.js';
import { normalFrom } from './realistic-series.js';

const BEGIN = 1_760_000_000_000;
const MINUTE = 60_000;
const LINGER_MS = 15 * MINUTE;
const { module } = loadWasm('forest');

const claims = fc.uniqueArray(
  fc.record({
    standing: fc.integer({ min: 0, max: 2 }),
    // Few different ones: most claims are equals.
    score: fc.constantFrom(0, 0.5, 1, 2, Number.POSITIVE_INFINITY),
    high: fc.constantFrom(0, 1, 0xffff_ffff),
    low: fc.nat(),
    partition: fc.constant(0),
    entry: fc.nat(),
  }),
  { selector: ({ high, low }) => `${high} ${low}`, maxLength: 60 },
);

/** The same choice by sorting everything. */
function highestOf(all: readonly Claim[], count: number): Claim[] {
  const ordered = [...all].sort((a, b) => {
    const differences = [b.standing - a.standing, a.high - b.high, a.low - b.low];
    if (differences[0] !== 0) return differences[0] as number;
    if (a.score !== b.score) return a.score > b.score ? -1 : 1;
    return (differences[1] || differences[2]) as number;
  });
  return ordered.slice(0, count);
}

test('the highest claims have the seats, in whatever order they are made', () => {
  fc.assert(
    fc.property(claims, fc.integer({ min: 1, max: 20 }), fc.nat(), (all, count, seed) => {
      const random = randomOf(seed);
      const shuffled = all.map((claim) => ({ claim, at: random() })).sort((a, b) => a.at - b.at);
      const seats = new Seats(count);
      for (const { claim } of shuffled) seats.offer(claim);
      expect(seats.taken()).toEqual(highestOf(all, count));
    }),
  );
});

/** Noise of 20 series at 15 seconds; `disturb` are the numbers of those that jump in the steps that follow. */
function site(topK: number, count = 20) {
  let now = 0;
  const partition = new Partition(new WasmForest(module, { seriesMax: count, seed: 1 }), count);
  const gauges = new Gauges({ scores: 'top-k', topK, lingerMs: LINGER_MS }, () => now);
  gauges.adopt(0, partition);
  partition.listen({
    onPhase: (change) => gauges.onPhase(0, change),
    onOpened: (entry) => gauges.onOpened(0, entry),
    onRemoved: (entry) => gauges.onRemoved(0, entry),
  });
  const normal = normalFrom(randomOf(7));
  let step = 0;
  const values = new DataView(new ArrayBuffer(8));
  const run = (steps: number, disturb: Readonly<Record<number, number>> = {}) => {
    for (let i = 0; i < steps; i++, step++) {
      const valueBits = Array.from({ length: count }, (_, at) => {
        values.setFloat64(0, 10 + normal() + (disturb[at] ?? 0));
        return values.getBigUint64(0);
      });
      const at = BigInt(BEGIN + step * 15_000);
      const fingerprint = valueBits.map((_, one) => BigInt(one + 1));
      const series = (step === 0 ? fingerprint : []).map((one) => ({
        fingerprint: one,
        label: [{ name: '__name__', value: `s${one - 1n}` }],
      }));
      const timestampMs = fingerprint.map(() => at);
      const block = create(SampleBlockSchema, { fingerprint, timestampMs, valueBits, series });
      partition.apply(toBinary(SampleBlockSchema, block));
    }
  };
  const text = () => [...gauges.lines({ isUtf8: false, matches: () => true, tenant: '' })].join('');
  return {
    gauges,
    partition,
    run,
    shown: () =>
      [...text().matchAll(/^anomaly_score\{source_metric="s(\d+)"/gm)]
        .map((found) => Number(found[1]))
        .sort((a, b) => a - b),
    flagOf: (series: number) =>
      new RegExp(`^anomaly_flag\\{source_metric="s${series}".*\\} (\\d)`, 'm').exec(text())?.[1],
    pass: (ms: number) => {
      now += ms;
    },
  };
}

test('what does not stand out has no gauges, however many seats there are', () => {
  const { run, shown, gauges, pass } = site(3);
  run(50);
  expect(shown(), 'in warm-up').toEqual([]);
  run(950);
  pass(GAUGE_SEATING_MS);
  expect(shown()).toEqual([]);
  run(3, { 4: 60, 9: 60 });
  expect(shown()).toEqual([4, 9]);
  expect([gauges.shownCount, gauges.hidden]).toEqual([2, 0]);
});

test('what stands out without a flag has a seat until its time is over, though it is calm again', () => {
  const { run, shown, flagOf, pass } = site(3);
  run(1000);
  const isSeated = () => {
    // Of three deviations some samples score, and hardly any is flagged.
    run(1, { 2: 3 });
    pass(GAUGE_SEATING_MS);
    return shown().includes(2);
  };
  for (let tries = 0; !isSeated(); tries++) {
    expect(tries).toBeLessThan(200);
    run(60);
  }
  expect(flagOf(2)).toBe('0');
  for (let minutes = 1; minutes < 15; minutes++) {
    run(4);
    pass(MINUTE);
    expect(shown(), `after ${minutes} minutes`).toContain(2);
  }
  pass(MINUTE);
  expect(shown()).not.toContain(2);
});

test('a flag that goes up has a seat at once, keeps it at 0, and what has none is counted', () => {
  const { run, shown, flagOf, gauges, pass } = site(2);
  run(1000);
  run(3, { 8: 60 });
  expect([shown(), flagOf(8)]).toEqual([[8], '1']);
  run(3, { 8: 60, 12: 60, 3: 60 });
  // The third comes too late, and has to wait for the next choice: of equals the lowest fingerprint is chosen.
  expect([shown().length, gauges.hidden]).toEqual([2, 1]);
  pass(GAUGE_SEATING_MS);
  expect([shown(), gauges.hidden]).toEqual([[3, 8], 1]);
  run(60);
  expect([flagOf(3), flagOf(8), gauges.hidden]).toEqual(['0', '0', 0]);
  pass(LINGER_MS / 2);
  expect(shown()).toEqual([3, 8]);
  // A flag takes the seat of one that is calm.
  run(3, { 15: 60 });
  expect([shown().length, flagOf(15), gauges.hidden]).toEqual([2, '1', 0]);
  pass(LINGER_MS);
  expect([shown(), gauges.shownCount]).toEqual([[15], 1]);
});

test('a partition that leaves in the middle of a choice takes its seats along', () => {
  const { run, gauges } = site(3, 2_500);
  run(110);
  const lines = gauges.lines({ isUtf8: false, matches: () => true, tenant: '' });
  expect(lines.next().value, 'the turn of others').toHaveLength(0);
  gauges.drop(0);
  const rest = [...lines].join('');
  expect(rest).not.toContain('source_metric');
  expect([gauges.shownCount, gauges.hidden]).toEqual([0, 0]);
});
