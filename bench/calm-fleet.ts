// A fleet in which nothing is wrong, and then one thing is: generated backgrounds at three
// intervals, each series once calm to its end and then again from before the end with one fault.
// Counts onsets per series-day behind the first day and on it, and the faults that are found in
// time, at the defaults. calm.bench.ts prints it at a size that tells rates apart;
// test/calm-fleet.test.ts asks it of a small one. A fault is found when a score passes 1 within its
// time while none did on the sample before.

import { WasmForest } from '../src/scorer/wasm-forest.js';
import {
  type Background,
  type BackgroundKind,
  type Fault,
  type LongFault,
  makeBackground,
  RAMP_SAMPLES,
  STUCK_SAMPLES,
  withFault,
  withLongFault,
} from '../test/realistic-series.js';
import { observeRows } from './forest-detector.js';

type CalmFault = Fault | LongFault;

export interface CalmShape {
  readonly stepSeconds: number;
  readonly days: number;
}

/** How many series of each kind, of which seeds, by how many tables of trees. */
interface CalmSize {
  readonly series: number;
  readonly firstSeed: number;
  readonly structureSeeds: number;
}

export interface CalmRow {
  readonly kind: BackgroundKind;
  readonly stepSeconds: number;
  /** Per series-day behind the first day. */
  readonly onsets: number;
  readonly alarms: number;
  /** Of the onsets behind the first day, by cause. */
  readonly causes: Record<string, number>;
  /** On the first day: per series, and the most that one series had. */
  readonly firstDay: number;
  readonly firstDayWorst: number;
  /** Share found of each fault. */
  readonly found: Record<string, number>;
}

export const CALM_KINDS: readonly BackgroundKind[] = [
  ...(['gauss', 'daily', 'autoregressive', 'lognormal'] as const),
  ...(['hourly', 'integer', 'bursty', 'drifting', 'nightly'] as const),
];
/** Name, samples within which it must be found, the share that must be (none: only told). */
export const CALM_FAULTS: readonly [CalmFault, number, number | undefined][] = [
  ['spike of 12', 3, 0.95],
  ['level shift of 8', 3, 0.95],
  ['drop to zero', 3, 0.95],
  ['flat line', STUCK_SAMPLES, 0.95],
  ['ramp', RAMP_SAMPLES, 0.95],
  ['spike of 8', 3, undefined],
];
export const ONSETS_PER_DAY_MAX = 0.05;
export const FIRST_DAY_ONSETS_MAX = 1;

const START_MS = 1_700_006_400_000;
const DAY_SECONDS = 86_400;
/** Before the end, a little different in each series, so that faults meet all phases. */
const FAULT_BEFORE_END = 500;

/** `onScores` is given what is scored before the fault, for a hash of all. */
export function judgeCalm(
  module: WebAssembly.Module,
  { kind, shape, size }: { kind: BackgroundKind; shape: CalmShape; size: CalmSize },
  onScores: (scores: Float64Array) => void = () => undefined,
): CalmRow {
  const sums = { onsets: 0, alarms: 0, firstDay: 0, firstDayWorst: 0 };
  const found: Record<string, number> = Object.fromEntries(CALM_FAULTS.map(([name]) => [name, 0]));
  const causes: Record<string, number> = {};
  for (let at = 0; at < size.series; at++) {
    const background = makeBackground(kind, { seed: size.firstSeed + at, ...shape });
    for (let seed = 1; seed <= size.structureSeeds; seed++) {
      const calm = judgeSeries(module, background, { seed, at, found, onScores });
      sums.onsets += calm.onsets;
      sums.alarms += calm.alarms;
      for (const cause of calm.causes) causes[cause] = (causes[cause] ?? 0) + 1;
      sums.firstDay += calm.firstDay;
      sums.firstDayWorst = Math.max(sums.firstDayWorst, calm.firstDay);
    }
  }
  const runs = size.series * size.structureSeeds;
  const seriesDays = runs * (shape.days - 1);
  return {
    kind,
    stepSeconds: shape.stepSeconds,
    onsets: sums.onsets / seriesDays,
    alarms: sums.alarms / seriesDays,
    causes,
    firstDay: sums.firstDay / runs,
    firstDayWorst: sums.firstDayWorst,
    found: Object.fromEntries(CALM_FAULTS.map(([name]) => [name, found[name]! / runs])),
  };
}

/** One series: calm to its end, then again from before the end with each fault. */
function judgeSeries(
  module: WebAssembly.Module,
  background: Background,
  options: {
    seed: number;
    at: number;
    found: Record<string, number>;
    onScores: (scores: Float64Array) => void;
  },
): { onsets: number; alarms: number; firstDay: number; causes: string[] } {
  const { seed, at, found, onScores } = options;
  const { values, stepSeconds } = background;
  const timestampsMs = values.map((_, row) => START_MS + row * stepSeconds * 1000);
  const forest = new WasmForest(module, { seriesMax: 1, seed });
  forest.open(0, 'gauge');
  const faultAt = values.length - FAULT_BEFORE_END + 7 * at;
  const observe = (rows: Float64Array, from: number, to: number) =>
    observeRows(forest, { timestampsMs, values: rows }, { slot: 0, from, to });
  const before = observe(values, 0, faultAt);
  const records = forest.records(1).slice();
  const after = observe(values, faultAt, values.length);
  onScores(before.scores);
  const wasOpen = before.scores.at(-1)! > 1;
  for (const [fault, withinSamples] of CALM_FAULTS) {
    forest.restore(records);
    const faulty = isLong(fault)
      ? withLongFault(background, fault, faultAt).values
      : withFault(background, fault, faultAt);
    const { scores } = observe(faulty, faultAt, faultAt + withinSamples);
    if (!wasOpen && scores.some((score) => score > 1)) found[fault]!++;
  }
  const day = Math.round(DAY_SECONDS / stepSeconds);
  const onsets = [...before.onsets, ...after.onsets];
  const firstDay = onsets.filter((row) => row < day).length;
  const alarms = [...before.alarms, ...after.alarms].slice(day).filter((alarm) => alarm > 0).length;
  const causes = [...before.causes, ...after.causes].slice(firstDay);
  return { onsets: onsets.length - firstDay, alarms, firstDay, causes };
}

function isLong(fault: CalmFault): fault is LongFault {
  return fault === 'flat line' || fault === 'ramp';
}
