// `treeline model inspect`: reads a model and its manifest, compares what it answers with what its makers wrote down, and
// runs it once as the deep check would, where this machine can.

import { ModelForecaster, parityError } from '../inference/forecaster.js';
import { invalid, loadModel } from '../inference/manifest.js';
import { openRuntime } from '../inference/open-forecaster.js';

export interface InspectOptions {
  runtime: string;
  output?: string;
}

/** As many as one check has. */
const ROWS = 8;

/** Rejects with `model_invalid` and the one thing that does not fit. */
export async function inspectModel(path: string, options: InspectOptions): Promise<void> {
  const model = loadModel(path);
  const { manifest } = model;
  const choice = { runtime: options.runtime as 'auto', remote: '' };
  const quiet = { debug() {}, info() {}, warn() {}, error() {} };
  const runtime = await openRuntime(model, choice, { logger: quiet, clock: Date.now });
  try {
    const worst = await parityError(model, runtime);
    const { tolerance } = manifest.parity;
    if (worst > tolerance) {
      throw invalid(
        model.path,
        `its answers differ by ${worst.toPrecision(2)} from ${manifest.parity.file}`,
      );
    }
    const forecaster = new ModelForecaster(model, runtime);
    const { max } = manifest.context;
    const waves = Array.from({ length: ROWS }, (_, row) =>
      Float64Array.from({ length: max }, (_value, i) => 100 * row + 10 * Math.sin(i / 8)),
    );
    await forecaster.prepare();
    const began = performance.now();
    await forecaster.forecast(waves);
    const runMs = performance.now() - began;
    const { id, version, license, file, outputs, horizon, scaling, context } = manifest;
    const report = {
      ...{ id, version, license, runtime: runtime.kind },
      file: { path: file.path, bytes: file.bytes, sha256: file.sha256 },
      context: { max: context.max, minObserved: context.minObserved },
      horizon: horizon.native,
      ...{ levels: outputs.levels, layout: outputs.layout, scaling: scaling.pre },
      parity: { rows: model.parity.length, error: worst, tolerance },
      run: { windows: ROWS, milliseconds: runMs },
    };
    process.stdout.write(
      options.output === 'json' ? `${JSON.stringify(report, null, 2)}\n` : textOf(report),
    );
  } finally {
    await runtime.close();
  }
}

function textOf(report: {
  id: string;
  version: string;
  license: string;
  runtime: string;
  file: { path: string; bytes: number; sha256: string };
  context: { max: number; minObserved: number };
  horizon: number;
  levels: readonly number[];
  layout: string;
  scaling: string;
  parity: { rows: number; error: number; tolerance: number };
  run: { windows: number; milliseconds: number };
}): string {
  const { file, context, parity, run, levels } = report;
  const rows = [
    ['model', `${report.id} ${report.version}, ${report.license}`],
    ['file', `${file.path}, ${file.bytes} bytes, SHA-256 ${file.sha256}`],
    [
      'context',
      `${context.max} samples, at least ${context.minObserved} observed, ${report.scaling}`,
    ],
    [
      'forecast',
      `${report.horizon} steps, ${levels.length} quantiles ${levels[0]} to ${levels.at(-1)}, ${report.layout}`,
    ],
    [
      'parity',
      `${parity.rows} answers as its makers wrote down, within ${parity.error.toExponential(1)} (${parity.tolerance} is allowed)`,
    ],
    ['run', `${run.windows} windows in ${run.milliseconds.toFixed(1)} ms, ${report.runtime}`],
  ];
  return rows.map(([name = '', text]) => `${name.padEnd(10)}${text}\n`).join('');
}
