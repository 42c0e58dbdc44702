// What does a fleet in which nothing is wrong cost its operator, and what is found when something
// is? Nine kinds of generated background at three intervals, several structure seeds. Goals:
// onsets per calm series-day behind the first day and on it, and the share of faults found in time,
// at the defaults. No goals: labelled series (accuracy.bench.ts), speed. With --exporter, also the
// series that a node exporter really has, scraped for as long as one wants to wait.
//
//   node dist/bench/calm.bench.js [--series N] [--seeds N] [--smoke]
//   node dist/bench/calm.bench.js --exporter URL [--minutes M] [--step SECONDS]
//
// A fault is found when a score passes 1 within its time while none did on the sample before.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
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
import { watchExporter } from './exporter-watch.js';
import { loadForest, observeRows } from './forest-detector.js';

const { values: options } = parseArgs({
  options: {
    series: { type: 'string', default: '20' },
    seeds: { type: 'string', default: '3' },
    smoke: { type: 'boolean', default: false },
    exporter: { type: 'string' },
    minutes: { type: 'string', default: '60' },
    step: { type: 'string', default: '15' },
  },
});

const START_MS = 1_700_006_400_000;
const KINDS: readonly BackgroundKind[] = [
  ...(['gauss', 'daily', 'autoregressive', 'lognormal'] as const),
  ...(['hourly', 'integer', 'bursty', 'drifting', 'nightly'] as const),
];
/** Seconds between samples, and days of it: the finer, the fewer, so that all take as long. */
const SHAPES = options.smoke
  ? [{ stepSeconds: 300, days: 6 }]
  : [
      { stepSeconds: 15, days: 10 },
      { stepSeconds: 60, days: 20 },
      { stepSeconds: 300, days: 40 },
    ];
const SERIES_COUNT = options.smoke ? 4 : Number(options.series);
const SEED_COUNT = options.smoke ? 1 : Number(options.seeds);
/** Before the end, a little different in each series, so that faults meet all phases. */
const FAULT_BEFORE_END = 500;
const FIRST_SERIES_SEED = 1001;

/** Name, samples within which it must be found, the share that must be (none: only told). */
const FAULTS: [Fault | LongFault, number, number | undefined][] = [
  ['spike of 12', 3, 0.95],
  ['level shift of 8', 3, 0.95],
  ['drop to zero', 3, 0.95],
  ['flat line', STUCK_SAMPLES, 0.95],
  ['ramp', RAMP_SAMPLES, 0.95],
  ['spike of 8', 3, undefined],
];
const ONSETS_PER_DAY_MAX = 0.05;
const FIRST_DAY_ONSETS_MAX = 1;

interface Row {
  kind: string;
  stepSeconds: number;
  /** Per series-day behind the first day. */
  onsets: number;
  alarms: number;
  /** Of the onsets behind the first day, by cause. */
  causes: Record<string, number>;
  /** On the first day: per series, and the most that one series had. */
  firstDay: number;
  firstDayWorst: number;
  /** Share found of each fault. */
  found: Record<string, number>;
}

const date = new Date().toISOString().slice(0, 10);
const cpu = cpus()[0]?.model ?? 'unknown CPU';
const module = loadForest(new URL('../forest.wasm', import.meta.url));
const scoreHash = createHash('sha256');
console.log(
  `${date}, ${cpu}, Node ${process.version}, ` +
    `${SERIES_COUNT} series a kind, ${SEED_COUNT} structure seeds`,
);
if (options.exporter === undefined) judgeGenerated();
else await judgeExporter(options.exporter);

function judgeGenerated(): void {
  const rows: Row[] = [];
  printHead();
  for (const kind of KINDS) {
    for (const shape of SHAPES) {
      const row = judge(kind, shape);
      rows.push(row);
      printRow(row);
    }
  }
  printMisses(rows);
  console.log(`scores ${scoreHash.digest('hex').slice(0, 16)}`);
  const setting = { date, cpu, node: process.version, series: SERIES_COUNT, seeds: SEED_COUNT };
  console.log(JSON.stringify({ bench: 'calm', ...setting, rows }));
}

function judge(kind: BackgroundKind, shape: { stepSeconds: number; days: number }): Row {
  const sums = { onsets: 0, alarms: 0, firstDay: 0, firstDayWorst: 0 };
  const found: Record<string, number> = Object.fromEntries(FAULTS.map(([name]) => [name, 0]));
  const causes: Record<string, number> = {};
  for (let at = 0; at < SERIES_COUNT; at++) {
    const background = makeBackground(kind, { seed: FIRST_SERIES_SEED + at, ...shape });
    for (let seed = 1; seed <= SEED_COUNT; seed++) {
      const calm = judgeSeries(background, { seed, at, found });
      sums.onsets += calm.onsets;
      sums.alarms += calm.alarms;
      for (const cause of calm.causes) causes[cause] = (causes[cause] ?? 0) + 1;
      sums.firstDay += calm.firstDay;
      sums.firstDayWorst = Math.max(sums.firstDayWorst, calm.firstDay);
    }
  }
  const runs = SERIES_COUNT * SEED_COUNT;
  const seriesDays = runs * (shape.days - 1);
  return {
    kind,
    stepSeconds: shape.stepSeconds,
    onsets: sums.onsets / seriesDays,
    alarms: sums.alarms / seriesDays,
    causes,
    firstDay: sums.firstDay / runs,
    firstDayWorst: sums.firstDayWorst,
    found: Object.fromEntries(FAULTS.map(([name]) => [name, found[name]! / runs])),
  };
}

/** One series: calm to its end, then again from before the end with each fault. */
function judgeSeries(
  background: Background,
  { seed, at, found }: { seed: number; at: number; found: Record<string, number> },
): { onsets: number; alarms: number; firstDay: number; causes: string[] } {
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
  scoreHash.update(new Uint8Array(before.scores.buffer));
  const wasOpen = before.scores.at(-1)! > 1;
  for (const [fault, withinSamples] of FAULTS) {
    forest.restore(records);
    const faulty = isLong(fault)
      ? withLongFault(background, fault, faultAt).values
      : withFault(background, fault, faultAt);
    const { scores } = observe(faulty, faultAt, faultAt + withinSamples);
    if (!wasOpen && scores.some((score) => score > 1)) found[fault]!++;
  }
  const day = Math.round(86400 / stepSeconds);
  const onsets = [...before.onsets, ...after.onsets];
  const firstDay = onsets.filter((row) => row < day).length;
  const alarms = [...before.alarms, ...after.alarms].slice(day).filter((alarm) => alarm > 0).length;
  const causes = [...before.causes, ...after.causes].slice(firstDay);
  return { onsets: onsets.length - firstDay, alarms, firstDay, causes };
}

function isLong(fault: Fault | LongFault): fault is LongFault {
  return fault === 'flat line' || fault === 'ramp';
}

async function judgeExporter(url: string): Promise<void> {
  const [minutes, stepSeconds] = [Number(options.minutes), Number(options.step)];
  assert(minutes > 0 && stepSeconds > 0, 'Both --minutes and --step are above 0');
  const seen = await watchExporter(module, { url, minutes, stepSeconds });
  console.log(
    `${url}: ${seen.series} series, ${seen.rounds} scrapes at ${stepSeconds} s, ` +
      `${seen.refused} series left out; ${seen.onsets} onsets on ${seen.seriesWithOnsets} series, ` +
      `${(seen.onsets / seen.warmSeriesDays).toFixed(3)} a series-day behind warm-up`,
  );
  for (const { name, onsets } of seen.loudest) console.log(`  ${onsets}  ${name}`);
  console.log(JSON.stringify({ bench: 'calm-exporter', date, cpu, minutes, stepSeconds, ...seen }));
}

function printHead(): void {
  const columns = [
    ...[
      'background',
      'step',
      'onsets a day',
      'by cause',
      'alarms a day',
      'first day',
      'worst first day',
    ],
    ...FAULTS.map(([name, within]) => `${name}, ${within}`),
  ];
  console.log(`| ${columns.join(' | ')} |`);
  console.log(`|${'---|'.repeat(columns.length)}`);
}

function printRow(row: Row): void {
  const cells = [
    row.kind,
    `${row.stepSeconds} s`,
    row.onsets.toFixed(3),
    shares(row.causes),
    row.alarms.toFixed(3),
    row.firstDay.toFixed(2),
    String(row.firstDayWorst),
    ...FAULTS.map(([name]) => `${(100 * row.found[name]!).toFixed(0)} %`),
  ];
  console.log(`| ${cells.join(' | ')} |`);
}

function shares(causes: Readonly<Record<string, number>>): string {
  const total = Object.values(causes).reduce((sum, count) => sum + count, 0);
  return Object.entries(causes)
    .map(([cause, count]) => `${cause} ${((100 * count) / total).toFixed(0)} %`)
    .join(', ');
}

/** What the issue asks for and this forest does not do. */
function printMisses(rows: readonly Row[]): void {
  const misses = rows.flatMap((row) => {
    const where = `${row.kind} at ${row.stepSeconds} s`;
    const wrong: string[] = [];
    if (row.onsets > ONSETS_PER_DAY_MAX) wrong.push(`${row.onsets.toFixed(3)} onsets a day`);
    if (row.firstDayWorst > FIRST_DAY_ONSETS_MAX) {
      wrong.push(`up to ${row.firstDayWorst} onsets on a first day`);
    }
    for (const [name, , share] of FAULTS) {
      if (share !== undefined && row.found[name]! < share) {
        wrong.push(`${name} ${(100 * row.found[name]!).toFixed(0)} %`);
      }
    }
    return wrong.length > 0 ? [`  ${where}: ${wrong.join(', ')}`] : [];
  });
  console.log(`Not reached, ${misses.length} of ${rows.length} rows:`);
  for (const line of misses) console.log(line);
}
