// Forecasts in the units of the series: scaling, layout and a runtime put together. Whoever asks hands in contexts of any
// length with NaN where nothing was observed, and gets quantiles. Before the first forecast the model's answers to known
// contexts are compared with those that its makers wrote down; a model that answers otherwise is never used.

import { strict as assert } from 'node:assert';
import { OperatingError } from '../errors.js';
import { RUNTIME_REST_MS_MAX } from '../limits-models.js';
import { inputTensors, outputFault, quantilesOf } from './layout.js';
import { invalid, type Model } from './manifest.js';
import { type Scale, scaledAll, scaleOf, unscaled } from './scaling.js';
import type { Runtime } from './tensor.js';
import { Turn } from './turn.js';

export interface Forecast {
  levels: readonly number[];
  steps: number;
  /** levels.length times steps, level by level, ascending at each step. */
  quantiles: Float64Array;
}

export interface Forecaster {
  /** Goes into verdicts. */
  readonly id: string;
  readonly contextMax: number;
  /** Fewer observed values are no context. */
  readonly observedMin: number;
  readonly horizon: number;
  /** Contexts of one call at most. */
  readonly rowsMax: number;
  /** What runs it; `arithmetic` for what needs no runtime. */
  readonly runtime: string;
  /** Why it cannot forecast just now. */
  trouble(): string | undefined;
  prepare(): Promise<void>;
  /** One forecast of so many steps per context. Rejects with `inference_unavailable` or `model_invalid`. */
  forecast(contexts: readonly Float64Array[], steps?: number): Promise<Forecast[]>;
  close(): Promise<void>;
  readonly failures: number;
}

export class ModelForecaster implements Forecaster {
  readonly #model: Model;
  readonly #runtime: Runtime;
  #proof: Promise<void> | undefined;
  #refusal: OperatingError | undefined;

  constructor(model: Model, runtime: Runtime) {
    this.#model = model;
    this.#runtime = runtime;
  }

  get id(): string {
    const { id, version } = this.#model.manifest;
    return `${id}-${version}`;
  }

  get contextMax(): number {
    return this.#model.manifest.context.max;
  }

  get observedMin(): number {
    return this.#model.manifest.context.minObserved;
  }

  get horizon(): number {
    return this.#model.manifest.horizon.native;
  }

  get rowsMax(): number {
    return this.#model.manifest.batch.max;
  }

  get runtime(): string {
    return this.#runtime.kind;
  }

  get failures(): number {
    return this.#runtime.failures;
  }

  trouble(): string | undefined {
    return this.#refusal?.message ?? this.#runtime.trouble();
  }

  async prepare(): Promise<void> {
    await this.#runtime.prepare();
    // What is wrong is told by the first forecast that is asked for.
    await this.#proven().catch(() => {});
  }

  async forecast(
    contexts: readonly Float64Array[],
    steps: number = this.horizon,
  ): Promise<Forecast[]> {
    await this.#proven();
    return this.#forecast(contexts, steps);
  }

  close(): Promise<void> {
    return this.#runtime.close();
  }

  async #forecast(contexts: readonly Float64Array[], steps: number): Promise<Forecast[]> {
    const { manifest } = this.#model;
    const { levels } = manifest.outputs;
    const { pre } = manifest.scaling;
    assert(steps <= manifest.horizon.native, `${steps} steps are more than the model forecasts`);
    const scales: Scale[] = [];
    const rows: Float64Array[] = [];
    const before = new Turn();
    for (const context of contexts) {
      const newest = context.subarray(-manifest.context.max);
      const scale = scaleOf(newest, pre);
      scales.push(scale);
      rows.push(scaledAll(newest, scale, pre));
      await before.pass();
    }
    const output = await this.#runtime.run(inputTensors(manifest, rows));
    const fault = outputFault(manifest, output, rows.length);
    if (fault !== undefined) {
      const text = `The model ${this.id} on ${this.#runtime.kind} does not answer: ${fault}`;
      throw new OperatingError('inference_unavailable', text);
    }
    const forecasts: Forecast[] = [];
    const after = new Turn();
    for (const [row, scale] of scales.entries()) {
      const quantiles = quantilesOf(manifest, output, { row, steps });
      for (let i = 0; i < quantiles.length; i++) {
        quantiles[i] = unscaled(quantiles[i] as number, scale, pre);
      }
      forecasts.push({ levels, steps, quantiles });
      await after.pass();
    }
    return forecasts;
  }

  /** Proven once; a runtime that could not run is asked again, a model that answered wrongly is not. */
  #proven(): Promise<void> {
    this.#proof ??= this.#prove().catch((error: unknown) => {
      if (error instanceof OperatingError && error.code === 'model_invalid') this.#refuse(error);
      else this.#proof = undefined;
      throw error;
    });
    return this.#proof;
  }

  #refuse(error: OperatingError): void {
    this.#refusal = error;
    if (this.#runtime.kind !== 'remote') return;
    // Somebody may put the right model there: it is looked at again.
    const again = setTimeout(() => {
      this.#refusal = undefined;
      this.#proof = undefined;
    }, RUNTIME_REST_MS_MAX);
    again.unref();
  }

  async #prove(): Promise<void> {
    const { manifest, parity, path } = this.#model;
    const worst = await parityError(this.#model, this.#runtime);
    const { tolerance } = manifest.parity;
    if (worst > tolerance) {
      const text = `its answers differ by ${worst.toPrecision(2)} from the ${parity.length} in ${manifest.parity.file}, at most ${tolerance} is allowed`;
      throw invalid(path, text);
    }
  }
}

/**
 * The largest difference between what the model answers and what its makers wrote down, relative to 1 or to the value.
 * Rejects with `model_invalid` when it answers in another shape.
 */
export async function parityError(model: Model, runtime: Runtime): Promise<number> {
  const { manifest, parity, path } = model;
  const rows = parity.map(({ context, mask }) =>
    Float64Array.from(context, (value, index) =>
      mask[index] === '1' && value !== null ? value : Number.NaN,
    ),
  );
  let worst = 0;
  for (let from = 0; from < rows.length; from += manifest.batch.max) {
    const part = rows.slice(from, from + manifest.batch.max);
    const output = await runtime.run(inputTensors(manifest, part));
    const fault = outputFault(manifest, output, part.length);
    if (fault !== undefined) throw invalid(path, fault);
    for (let row = 0; row < part.length; row++) {
      const wanted = sortedSteps(parity[from + row]?.quantiles ?? []);
      const got = quantilesOf(manifest, output, { row, steps: manifest.horizon.native });
      for (const [index, value] of wanted.entries()) {
        const scale = Math.max(1, Math.abs(value));
        worst = Math.max(worst, Math.abs((got[index] as number) - value) / scale);
      }
    }
  }
  return worst;
}

function sortedSteps(levels: readonly (readonly number[])[]): number[] {
  const steps = levels[0]?.length ?? 0;
  const columns = Array.from({ length: steps }, (_, step) =>
    levels.map((level) => level[step] as number).sort((a, b) => a - b),
  );
  return levels.flatMap((_, level) => columns.map((column) => column[level] as number));
}
