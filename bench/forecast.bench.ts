// How good the forecasts of the deep check are, on real series, beside simple rules: MASE and CRPS relative to seasonal
// naive, set by set, and how often values fall into the bands. The model runs as it does in the product: manifest, scaling
// in float64, onnxruntime in its process. Without --data a small set of made series is forecast, which the gate also holds
// against its reference (test/forecast-quality.test.ts). No goal: detection (detect.bench.ts), speed (inference.bench.ts).
//
//   node dist/bench/forecast.bench.js [--data DIR | --labelled DIR] [--model nano ...] [--runtime auto|native|wasm] [--smoke]
//
// --data: Arrow files of the BOOM benchmark, whose names end in the sampling step; Python with pyarrow reads them, which
// the bench installs into its cache. --labelled: the folders that the other benches take, as series to forecast: a set of
// those of 1 minute and one of those of 5 minutes from each; labels and rows without a value are left out.

import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Forecaster } from '../src/inference/forecaster.js';
import { openForecaster } from '../src/inference/open-forecaster.js';
import { projectRoot } from '../test/project-root.js';
import { pythonWith } from '../test/python-home.js';
import { bandsOf, decilesOf } from './forecast-model.js';
import {
  type Deciles,
  type ForecastSet,
  geometricMean,
  RULES,
  scoreOf,
  windowsOf,
} from './forecast-score.js';
import { madeForecastSets } from './forecast-series.js';
import { presentRows, readCorpora } from './labelled-series.js';

const { values: options } = parseArgs({
  options: {
    data: { type: 'string' },
    labelled: { type: 'string' },
    model: { type: 'string', multiple: true, default: ['nano'] },
    runtime: { type: 'string', default: 'auto' },
    smoke: { type: 'boolean', default: false },
  },
});
const SEASONS: Readonly<Record<string, number>> = { T: 1440, '5T': 288, '10S': 360 };
const HORIZONS: Readonly<Record<string, number>> = { T: 48, '5T': 48, '10S': 60 };

console.log(
  `${new Date().toISOString().slice(0, 10)}, ${cpus()[0]?.model}, Node ${process.version}`,
);
const made = madeForecastSets();
const sets = await chosenSets();
const naive = new Map(sets.map((set) => [set.name, scoreOf(set, byRule('seasonal naive', set))]));
const report: Record<string, object> = {};
for (const rule of Object.keys(RULES)) {
  if (rule !== 'seasonal naive') print(rule, (set) => ({ deciles: byRule(rule, set), bands: '' }));
}
for (const model of options.model) {
  const around = { logger: { debug() {}, info() {}, warn() {}, error() {} }, clock: Date.now };
  const choice = { model, runtime: options.runtime as 'auto', remote: '' };
  const forecaster = await openForecaster(choice, around);
  const told = new Map<string, { deciles: Deciles[]; bands: string }>();
  for (const set of sets) told.set(set.name, await byModel(forecaster, set));
  print(model, (set) => told.get(set.name) as { deciles: Deciles[]; bands: string });
  await forecaster.close();
}
console.log(JSON.stringify({ bench: 'forecast', report }));

async function byModel(
  forecaster: Forecaster,
  set: ForecastSet,
): Promise<{ deciles: Deciles[]; bands: string }> {
  const windows = windowsOf(set);
  const forecasts = [];
  for (let from = 0; from < windows.length; from += 32) {
    const contexts = windows
      .slice(from, from + 32)
      .map(([past]) => past.slice(-forecaster.contextMax));
    forecasts.push(...(await forecaster.forecast(contexts, set.horizon)));
  }
  const bands = bandsOf(
    forecasts,
    windows.map(([, future]) => future),
  );
  const shares = [bands.inside80, bands.inside90, bands.inside98].map((share) => share.toFixed(3));
  return { deciles: forecasts.map(decilesOf), bands: shares.join(' / ') };
}

function byRule(rule: string, set: ForecastSet): Deciles[] {
  const made = RULES[rule] as (typeof RULES)[string];
  return windowsOf(set).map(([past]) => made(past, set.horizon, set.season));
}

function print(
  label: string,
  forecast: (set: ForecastSet) => { deciles: Deciles[]; bands: string },
): void {
  const rows: { mase: number; crps: number; inside80: number }[] = [];
  console.log(`\n${label}`);
  for (const set of sets) {
    const { deciles, bands } = forecast(set);
    const { mase, crps, inside80 } = scoreOf(set, deciles);
    const base = naive.get(set.name) as { mase: number; crps: number };
    const row = { mase: mase / base.mase, crps: crps / base.crps, inside80 };
    rows.push(row);
    const inside = bands === '' ? inside80.toFixed(3) : bands;
    console.log(
      `  ${set.name.padEnd(16)}MASE ${row.mase.toFixed(3)}  CRPS ${row.crps.toFixed(3)}  inside ${inside}`,
    );
  }
  const mase = geometricMean(rows.map((row) => row.mase));
  const crps = geometricMean(rows.map((row) => row.crps));
  const inside80 = rows.reduce((sum, row) => sum + row.inside80, 0) / rows.length;
  report[label] = { mase, crps, inside80 };
  console.log(
    `  ${'all'.padEnd(16)}MASE ${mase.toFixed(3)}  CRPS ${crps.toFixed(3)}  inside ${inside80.toFixed(3)}`,
  );
}

async function chosenSets(): Promise<ForecastSet[]> {
  if (options.data !== undefined) return realSets(options.data);
  if (options.labelled !== undefined) return labelledSets(options.labelled);
  return made.slice(0, options.smoke ? 2 : made.length);
}

function labelledSets(folder: string): ForecastSet[] {
  const found: ForecastSet[] = [];
  for (const { name, series } of readCorpora(folder)) {
    const present = series.map(presentRows);
    for (const step of ['T', '5T']) {
      const [season, horizon] = [SEASONS[step] as number, HORIZONS[step] as number];
      const stepMs = (24 * 3_600_000) / season;
      const fitting = present.filter(
        ({ timestampsMs, values }) =>
          medianStep(timestampsMs) === stepMs && values.length > 2 * season,
      );
      if (fitting.length === 0) continue;
      const values = fitting.map((one) => one.values);
      found.push({ name: `${name}-${step}`, series: values, horizon, season });
    }
  }
  return found;
}

function medianStep(timestampsMs: Float64Array): number {
  const steps = timestampsMs.slice(1).map((at, i) => at - (timestampsMs[i] as number));
  return steps.sort()[steps.length >> 1] as number;
}

async function realSets(folder: string): Promise<ForecastSet[]> {
  const tools = join(projectRoot(), 'bench', 'arrow');
  const python = await pythonWith(join(tools, 'requirements.txt'));
  const files = readdirSync(folder).filter((name) => name.endsWith('.arrow'));
  return files.sort().map((file) => {
    const name = file.slice(0, -'.arrow'.length);
    const step = name.split('-').at(-1) ?? '';
    const [season, horizon] = [SEASONS[step], HORIZONS[step]];
    if (season === undefined || horizon === undefined)
      throw new Error(`${file}: no step ${step} is known`);
    const bytes = execFileSync(python, [join(tools, 'series.py'), join(folder, file)], {
      maxBuffer: 1e9,
    });
    return { name, series: seriesIn(bytes), horizon, season };
  });
}

function seriesIn(bytes: Buffer): Float64Array[] {
  const series: Float64Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigInt64LE(at));
    const values = Float64Array.from({ length }, (_, i) => bytes.readDoubleLE(at + 8 + 8 * i));
    series.push(values);
    at += 8 + 8 * length;
  }
  return series;
}
