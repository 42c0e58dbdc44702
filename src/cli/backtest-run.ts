// History on its way through the forest: each series of the range has a slot, each piece of it goes through in one call,
// in order, exactly as the service would have seen it. What the service would not score (raw buckets, ALERTS, what it
// ignores on arrival) is not scored here either, and counted. Only events are kept, never the history.

import { OperatingError } from '../errors.js';
import { MetricType } from '../gen/sample_block_pb.js';
import { BACKTEST_ANOMALIES_MAX, BACKTEST_PLOT_SERIES_MAX, RANGE_SERIES_MAX } from '../limits.js';
import { PlotReducer } from '../plot/reduce.js';
import type { RangeProgress, RangeTaker } from '../prometheus-range.js';
import { classify } from '../receiver/rules.js';
import { type NoiseRule, NoiseRules } from '../scorer/noise-rules.js';
import { scoringOf } from '../scorer/scoring.js';
import { OUTCOMES, WasmForest } from '../scorer/wasm-forest.js';
import type { Label } from '../series.js';
import { RuleTrials } from './rule-trial.js';
import { AnomalyList } from './score-events.js';

export interface BacktestSeries {
  labels: readonly Label[];
  events: AnomalyList;
  reducer: PlotReducer | undefined;
  /** What other rules would have shown. */
  trials: RuleTrials | undefined;
  /** Samples applied, NaN among them. */
  samples: number;
  /** Of these, behind the warm-up: those that could have raised a flag. */
  watched: number;
}

/** Why a series is not scored. */
export type Unscored = 'bucket' | 'alerts' | 'ignored' | 'own_output';

const HIGH = 2 ** 32;
const APPLIED = OUTCOMES.indexOf('applied');

export class BacktestRun implements RangeTaker {
  readonly unscored: Record<Unscored, number> = { bucket: 0, alerts: 0, ignored: 0, own_output: 0 };
  readonly #forest: WasmForest;
  readonly #rules: NoiseRules;
  readonly #isTried: boolean;
  readonly #isPlotted: boolean;
  readonly #onShare: (share: number) => void;
  readonly #halves: Int32Array;
  readonly #values: Float64Array;
  /** By the number of the series; undefined where it is not scored. */
  readonly #series: (BacktestSeries | undefined)[] = [];
  #anomalies = 0;

  constructor(
    module: WebAssembly.Module,
    options: {
      seed: number;
      zone?: Int32Array | undefined;
      isPlotted: boolean;
      onShare: (share: number) => void;
      /** Which anomalies are shown: the first that matches a series holds for it. */
      rules?: readonly NoiseRule[];
      /** Count what other rules would have shown. */
      isTried?: boolean;
    },
  ) {
    this.#rules = new NoiseRules(options.rules ?? []);
    this.#isTried = options.isTried ?? false;
    const { seed, zone } = options;
    this.#forest = new WasmForest(module, { seriesMax: RANGE_SERIES_MAX, seed, zone });
    for (const [place, rule] of this.#rules.rules.entries()) {
      this.#forest.writeRule(place + 1, rule);
    }
    this.#isPlotted = options.isPlotted;
    this.#onShare = options.onShare;
    const { timestampBytes, valueBytes, batchMax } = this.#forest;
    this.#halves = new Int32Array(timestampBytes.buffer, timestampBytes.byteOffset, 2 * batchMax);
    this.#values = new Float64Array(valueBytes.buffer, valueBytes.byteOffset, batchMax);
  }

  series(labels: Label[]): void {
    const slot = this.#series.length;
    const disposition = classify(labels);
    const kind = scoringOf(labels, MetricType.UNSPECIFIED);
    if (disposition === 'ignored' || disposition === 'own_output') this.unscored[disposition]++;
    else if (kind === undefined) this.unscored[isAlerts(labels) ? 'alerts' : 'bucket']++;
    else {
      if (this.#isPlotted && slot >= BACKTEST_PLOT_SERIES_MAX) throw tooManyToPlot();
      this.#forest.open(slot, kind);
      const place = this.#rules.placeOf(labels);
      if (place >= 0) this.#forest.assignRule(slot, place + 1);
      const reducer = this.#isPlotted ? new PlotReducer() : undefined;
      const trials = this.#isTried ? new RuleTrials() : undefined;
      const events = new AnomalyList();
      this.#series.push({ labels, events, reducer, trials, samples: 0, watched: 0 });
      return;
    }
    this.#series.push(undefined);
  }

  points(slot: number, times: Float64Array, values: Float64Array, count: number): void {
    const series = this.#series[slot];
    if (series === undefined) return;
    const { batchMax } = this.#forest;
    for (let from = 0; from < count; from += batchMax) {
      const size = Math.min(batchMax, count - from);
      for (let at = 0; at < size; at++) {
        const time = times[from + at]!;
        const high = Math.floor(time / HIGH);
        this.#halves[2 * at] = time - high * HIGH;
        this.#halves[2 * at + 1] = high;
      }
      this.#values.set(values.subarray(from, from + size));
      this.#observe(series, slot, times.subarray(from, from + size));
    }
  }

  chunk({ share }: Pick<RangeProgress, 'share'>): void {
    this.#onShare(share);
  }

  /** What was scored, in the order in which it was met. */
  results(): BacktestSeries[] {
    return this.#series.flatMap((series, slot) => {
      if (series === undefined) return [];
      const { samples, warmSamples } = this.#forest.view(slot);
      return [{ ...series, watched: Math.max(0, samples - warmSamples) }];
    });
  }

  #observe(series: BacktestSeries, slot: number, times: Float64Array): void {
    const forest = this.#forest;
    const count = times.length;
    forest.slots.fill(slot, 0, count);
    const before = series.events.count;
    series.events.add(forest, forest.observe(count));
    this.#anomalies += series.events.count - before;
    if (this.#anomalies > BACKTEST_ANOMALIES_MAX) throw tooManyAnomalies();
    const { outcomes, scores, values, expected, lower, upper } = forest;
    for (let at = 0; at < count; at++) {
      if (outcomes[at] === APPLIED) series.samples++;
      if (Number.isNaN(scores[at]!)) continue;
      series.trials?.add(times[at]!, scores[at]!);
      if (series.reducer === undefined) continue;
      series.reducer.add(times[at]!, values[at]!, scores[at]!);
      series.reducer.expect(times[at]!, expected[at]!, lower[at]!, upper[at]!);
    }
  }
}

function isAlerts(labels: readonly Label[]): boolean {
  return labels.some(({ name, value }) => name === '__name__' && value === 'ALERTS');
}

function tooManyToPlot(): OperatingError {
  const text = `--plot chooses from at most ${BACKTEST_PLOT_SERIES_MAX} series; select fewer, or leave --plot out`;
  return new OperatingError('input_invalid', text);
}

function tooManyAnomalies(): OperatingError {
  const text = `More than ${BACKTEST_ANOMALIES_MAX} anomalies; select series that somebody would be alerted on`;
  return new OperatingError('input_invalid', text);
}
