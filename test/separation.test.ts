// Does the forest tell faults from calm, on one scale for all series, and does it stay a detector
// when the unit, the zero or the sign of a series changes? Three shipped streaming forests were
// broken for months with green tests: scores inverted, trees that never split, a forest that stayed
// inert. Each of the three is made here on purpose and must fail the gate that the real one passes;
// and baselines of three lines must be beaten where they see nothing.

import { expect, test } from 'vitest';
import { rangeScores, zScores } from '../bench/baselines.js';
import { observeRows } from '../bench/forest-detector.js';
import { WasmForest } from '../src/scorer/wasm-forest.js';
import { loadModule } from './forest-runs.js';
import {
  type Case,
  faultySeriesOf,
  GATE,
  type Scorer,
  STEP_SECONDS,
  separation,
} from './separation.js';

const START_MS = 1_700_006_400_000;
const STRUCTURE_SEEDS = [1, 2] as const;
const RELEASE = loadModule('forest.wasm');

function forestScores(values: Float64Array, seed: number): Float64Array {
  const forest = new WasmForest(RELEASE, { seriesMax: 1, seed });
  forest.open(0, 'gauge');
  const timestampsMs = values.map((_, row) => START_MS + 1000 * STEP_SECONDS * row);
  const rows = { slot: 0, from: 0, to: values.length };
  return observeRows(forest, { timestampsMs, values }, rows).scores as Float64Array;
}

/** The mean over structure seeds, of values changed by `change` before they are scored. */
function forestSeparation(one: Case, change: (value: number) => number = (value) => value): number {
  const series = faultySeriesOf(one);
  const runs = STRUCTURE_SEEDS.map((seed) =>
    separation(series, (values) => forestScores(values.map(change), seed)),
  );
  return runs.reduce((sum, run) => sum + run, 0) / runs.length;
}

test.each(GATE)('$fault on $kind series stands out', (one, least) => {
  expect(forestSeparation(one), 'separation').toBeGreaterThanOrEqual(least);
});

test('what baselines of three lines do not see is seen, and what they see is not lost', () => {
  const baselines: [string, Scorer][] = [
    ['z-score', zScores],
    ['range', rangeScores],
  ];
  const ours = GATE.map(([one]) => forestSeparation(one));
  for (const [name, scorer] of baselines) {
    const ahead = GATE.map(([one], at) => ours[at]! - separation(faultySeriesOf(one), scorer));
    expect(Math.min(...ahead), `nowhere far behind the ${name}`).toBeGreaterThanOrEqual(-0.02);
    const mean = ahead.reduce((sum, one) => sum + one, 0) / ahead.length;
    expect(mean, `on average ahead of the ${name}`).toBeGreaterThanOrEqual(0.2);
  }
  const phaseError = faultySeriesOf({ fault: 'phase error', kind: 'daily' });
  for (const [, scorer] of baselines) expect(separation(phaseError, scorer)).toBeLessThan(0.7);
});

const UNITS: [string, (value: number) => number][] = [
  ['a thousandth of the unit', (value) => value / 1000],
  ['a billion times the unit', (value) => value * 1e9],
  ['another zero', (value) => value + 5000],
  ['degrees Fahrenheit', (value) => value * 1.8 + 32],
  ['upside down', (value) => -value],
];

test.each(UNITS)('a series in %s is separated as well', (_, change) => {
  for (const one of [
    { fault: 'level shift of 8', kind: 'daily' },
    { fault: 'flat line', kind: 'daily' },
    { fault: 'phase error', kind: 'daily' },
  ] satisfies Case[]) {
    const plain = forestSeparation(one);
    expect(Math.abs(forestSeparation(one, change) - plain), one.fault).toBeLessThanOrEqual(0.02);
  }
});

test('another unit or zero changes next to no score, and no flag but by rounding', () => {
  const { faulty } = faultySeriesOf({ fault: 'level shift of 8', kind: 'daily' })[0]!;
  const plain = forestScores(faulty, 1);
  for (const [name, change] of UNITS.slice(0, 4)) {
    const changed = forestScores(faulty.map(change), 1);
    const differs = (row: number): boolean => Math.abs(changed[row]! - plain[row]!) > 0.1;
    const different = plain.filter((_, row) => differs(row)).length / plain.length;
    expect(different, `share of scores that differ by 0.1 in ${name}`).toBeLessThan(0.01);
    const flips = plain.filter((score, row) => score > 1 !== changed[row]! > 1).length;
    expect(flips, `flags that differ in ${name}`).toBeLessThanOrEqual(2);
  }
});

/**
 * The debug build, with a part of it broken: it walks the same trees as the release, and says where
 * they lie.
 */
const DEBUG = loadModule('forest.debug.wasm');
/** Of a tree table: per group of 16 trees and level, 16 features and then 16 cuts. */
const TREES_BYTES = 3 * 4 * 32;
const places = placesOf(DEBUG);

function placesOf(module: WebAssembly.Module): { trees: number; steps: number } {
  const memory = new WebAssembly.Memory({ initial: 16, maximum: 16 });
  const abort = (): never => {
    throw new Error('The forest stopped itself');
  };
  const { exports } = new WebAssembly.Instance(module, { env: { memory, abort } });
  const at = (name: string): number => (exports[name] as WebAssembly.Global).value as number;
  return { trees: at('TREES'), steps: at('STEPS') };
}

type Break = (memory: ArrayBufferLike) => void;

const unbroken: Break = () => undefined;
/** Every cut is 0: every value falls on the same side of it, and so into the same leaf. */
const neverSplit: Break = (memory) => {
  const table = new Uint8Array(memory, places.trees, TREES_BYTES);
  for (let at = 16; at < TREES_BYTES; at += 32) table.fill(0, at, at + 16);
};

/** No draw reaches the step to the next value: counters stay at zero, and every leaf is new. */
const neverLearn: Break = (memory) => {
  new Uint8Array(memory, places.steps, 16).fill(99);
};

function brokenScores(values: Float64Array, breakIt: Break): Float64Array {
  const forest = new WasmForest(DEBUG, { seriesMax: 1, seed: STRUCTURE_SEEDS[0] });
  breakIt(forest.slots.buffer);
  forest.open(0, 'gauge');
  const timestampsMs = values.map((_, row) => START_MS + 1000 * STEP_SECONDS * row);
  const rows = { slot: 0, from: 0, to: values.length };
  return observeRows(forest, { timestampsMs, values }, rows).scores as Float64Array;
}

/** Those of the gate that a forest needs its trees for; the others its bars find without. */
const TELLING = GATE.filter(([{ fault, kind }]) =>
  [
    'level shift of 8 drifting',
    'ramp autoregressive',
    'drift daily',
    'missed job nightly',
  ].includes(`${fault} ${kind}`),
).map(([one, least]) => ({ ...one, least, series: faultySeriesOf(one) }));

/** What the gate does not find by these scores. */
function missed(scorer: Scorer): string[] {
  return TELLING.flatMap(({ fault, kind, least, series }) =>
    separation(series, scorer) >= least ? [] : [`${fault} ${kind}`],
  );
}

test('broken on purpose, the forest fails the gate, and unbroken it does not', () => {
  expect(TELLING).toHaveLength(4);
  const all = TELLING.map(({ fault, kind }) => `${fault} ${kind}`);
  const scored = new Map<ArrayBufferLike, Float64Array>();
  const sound: Scorer = (values) => {
    const scores = scored.get(values.buffer) ?? brokenScores(values, unbroken);
    scored.set(values.buffer, scores);
    return scores;
  };
  expect(missed(sound), 'of the same build').toEqual([]);
  const inverted: Scorer = (values) => Array.from(sound(values), (score) => -score);
  expect(missed(inverted), 'upside down').toEqual(all);
  expect(
    missed((values) => values.map(() => 0)),
    'always silent',
  ).toEqual(all);
  const unsplit = missed((values) => brokenScores(values, neverSplit));
  const needTrees = ['level shift of 8 drifting', 'ramp autoregressive'];
  expect(unsplit, 'trees that never split').toEqual(expect.arrayContaining(needTrees));
  const inert = missed((values) => brokenScores(values, neverLearn));
  expect(inert, 'leaves that never learn').toEqual(all);
});
