// Is a second opinion worth anything? The forest's onsets on labelled series, at the defaults a user gets, are shown to the
// deep check as its own path sees them: the newest 512 values, the same cut, the same judgement. Goals: false alarms removed
// and detections lost by what it suppresses, for the shipped model and for each one-liner in the same slot, beside the forest
// alone; and what each could remove at most while it loses 1 % of the detections. No goal: speed (inference.bench.ts), the
// forest's own accuracy (accuracy.bench.ts). Labels go to the count only.
//
//   node dist/bench/detect.bench.js --data DIR [--model nano ...] [--half first|second] [--smoke]

import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { type Judged, judge } from '../src/deep-check/judge.js';
import { questionOf } from '../src/deep-check/origins.js';
import { type Forecaster, ModelForecaster } from '../src/inference/forecaster.js';
import { loadModel } from '../src/inference/manifest.js';
import { createNativeRuntime } from '../src/inference/native-runtime.js';
import { ONE_LINERS } from '../src/inference/one-liners.js';
import { openForecaster } from '../src/inference/open-forecaster.js';
import { scrambled } from '../test/scrambled-weights.js';
import { FORGIVEN_ROWS, UNJUDGED_SHARE } from './event-f1.js';
import { faultySeries } from './faulty-series.js';
import { type ForestRun, forestDetector, loadForest } from './forest-detector.js';
import {
  halfNamed,
  halfOf,
  type LabelledSeries,
  presentRows,
  readCorpora,
} from './labelled-series.js';

const { values: options } = parseArgs({
  options: {
    data: { type: 'string' },
    model: { type: 'string', multiple: true, default: ['nano'] },
    half: { type: 'string' },
    smoke: { type: 'boolean', default: false },
  },
});
const WINDOW = 512;
const LOST_SHARE = 0.01;
const DAY_MS = 864e5;
const SMOKE_SERIES = 4;
const SHUFFLED = 'nano, shuffled';

/** One onset of the forest. */
interface Onset {
  series: number;
  /** Of the segments of its series; undefined: a false alarm. */
  segment: number | undefined;
  window: { values: Float64Array; suspiciousFrom: number; isQuiet: boolean };
}

interface Opinion {
  onset: Onset;
  judged: Judged | undefined;
}

const half = halfNamed(options.half);
const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const module = loadForest(new URL('../forest.wasm', import.meta.url));
console.log(
  `${new Date().toISOString().slice(0, 10)}, ${cpus()[0]?.model}, Node ${process.version}`,
);
const report: Record<string, Record<string, object>> = {};
const corpora = options.smoke
  ? [{ name: 'generated', series: faultySeries(SMOKE_SERIES) }]
  : readCorpora(options.data);
for (const { name, series } of corpora) await judgeCorpus(name, halfOf(series, half));
console.log(JSON.stringify({ bench: 'detect', report }));

async function judgeCorpus(name: string, series: readonly LabelledSeries[]): Promise<void> {
  const present = series.map(presentRows);
  const runs = (await forestDetector(module, 1).detect(present)) as ForestRun[];
  const onsets = present.flatMap((one, index) => onsetsOf(one, index, runs[index] as ForestRun));
  const days = present.reduce((sum, { timestampsMs: t }) => {
    const judged = t.slice(Math.floor(UNJUDGED_SHARE * t.length));
    return sum + ((judged.at(-1) ?? 0) - (judged[0] ?? 0)) / DAY_MS;
  }, 0);
  const detected = new Set(onsets.flatMap(keyOf)).size;
  const falseAlarms = onsets.filter(({ segment }) => segment === undefined).length;
  console.log(
    `\n${name}: ${series.length} series, ${days.toFixed(0)} series-days, ${onsets.length} onsets, ` +
      `${detected} segments detected, ${falseAlarms} false alarms, ${(onsets.length / days).toFixed(3)} onsets per series-day`,
  );
  console.log(
    `${'second opinion'.padEnd(20)}false removed  detections lost  confirmed  suppressed  abstained  unchecked  at most, losing 1 %`,
  );
  report[name] = { forest: { onsets: onsets.length, detected, falseAlarms, days } };
  for (const model of [...options.model, SHUFFLED, ...ONE_LINERS]) {
    const forecaster = model === SHUFFLED ? shuffledModel() : await opened(model);
    const opinions = await opinionsOf(forecaster, onsets);
    await forecaster.close();
    const figures = figuresOf(opinions);
    (report[name] as Record<string, object>)[model] = figures;
    const { removed, lost, outcomes, atMost } = figures;
    const share = (value: number) => `${(100 * value).toFixed(1)} %`;
    console.log(
      [
        model.slice(-19).padEnd(20),
        share(removed).padEnd(15),
        share(lost).padEnd(17),
        ...['confirmed', 'suppressed', 'abstained', 'unchecked'].map((outcome) =>
          String(outcomes[outcome] ?? 0).padEnd(11),
        ),
        share(atMost),
      ].join(''),
    );
  }
}

function opened(model: string): Promise<Forecaster> {
  const around = { logger: quiet, clock: Date.now };
  return openForecaster({ model, runtime: 'auto', remote: '' }, around);
}

/** The same graph with weights that know nothing: what it does has not been learnt. */
function shuffledModel(): Forecaster {
  const model = loadModel('nano');
  const other = { ...model, bytes: scrambled(model.bytes, 1), parity: [] };
  return new ModelForecaster(other, createNativeRuntime(other, { clock: Date.now }));
}

function onsetsOf(series: LabelledSeries, index: number, run: ForestRun): Onset[] {
  const start = Math.floor(UNJUDGED_SHARE * series.values.length);
  return run.onsets.flatMap((row, event) => {
    if (row < start) return [];
    const segment = series.segments.findIndex(
      ({ from, to }) => row >= from && row < to + FORGIVEN_ROWS,
    );
    const values = series.values.slice(Math.max(0, row + 1 - WINDOW), row + 1);
    const window = {
      values,
      suspiciousFrom: values.length - 1,
      isQuiet: run.causes[event] === 'quiet',
    };
    return [{ series: index, segment: segment < 0 ? undefined : segment, window }];
  });
}

async function opinionsOf(forecaster: Forecaster, onsets: readonly Onset[]): Promise<Opinion[]> {
  const opinions: Opinion[] = [];
  for (const onset of onsets) {
    const question = questionOf(onset.window, forecaster);
    if (typeof question === 'string') {
      opinions.push({ onset, judged: undefined });
      continue;
    }
    const forecasts = await forecaster.forecast(question.contexts);
    opinions.push({ onset, judged: judge(question, forecasts) });
  }
  return opinions;
}

function keyOf({ series, segment }: Onset): string[] {
  return segment === undefined ? [] : [`${series}/${segment}`];
}

function figuresOf(opinions: readonly Opinion[]) {
  const outcomes: Record<string, number> = {};
  for (const { judged } of opinions) {
    const outcome = judged?.outcome ?? 'unchecked';
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  }
  const isKept = ({ judged }: Opinion) => judged?.outcome !== 'suppressed';
  const { removed, lost } = effect(opinions, isKept);
  // The lowest p from which on suppressing would lose no more than this share, whatever the rule makes of the rest.
  let atMost = 0;
  const levels = [...new Set(opinions.flatMap(({ judged }) => judged?.p ?? []))].sort(
    (a, b) => b - a,
  );
  for (const level of levels) {
    const swept = effect(opinions, ({ judged }) => judged === undefined || judged.p < level);
    if (swept.lost > LOST_SHARE) break;
    atMost = swept.removed;
  }
  return { removed, lost, outcomes, atMost };
}

function effect(opinions: readonly Opinion[], isKept: (opinion: Opinion) => boolean) {
  const all = new Set(opinions.flatMap(({ onset }) => keyOf(onset)));
  const kept = opinions.filter(isKept);
  const left = new Set(kept.flatMap(({ onset }) => keyOf(onset)));
  const falseOf = (some: readonly Opinion[]) =>
    some.filter(({ onset }) => onset.segment === undefined).length;
  const total = falseOf(opinions);
  return {
    removed: total === 0 ? 0 : 1 - falseOf(kept) / total,
    lost: all.size === 0 ? 0 : 1 - left.size / all.size,
  };
}
