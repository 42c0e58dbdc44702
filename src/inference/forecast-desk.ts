// Where a forecast of one series is asked for: in the batches and the budget of the deep check. The
// deep check's own checker is such a desk; a process without that role opens one of its own (src/compose-forecasts.ts).

import type { Forecast, Forecaster } from './forecaster.js';

export interface ForecastQuestion {
  /** One question of a key waits at a time; a newer one replaces it. */
  key: string;
  /** Whose turns it takes. */
  group: string;
  /** Oldest first, in equal steps; NaN where nothing was observed. */
  context: Float64Array;
  /** At most the forecaster's horizon. */
  steps: number;
}

export interface ForecastDesk {
  readonly forecaster: Pick<
    Forecaster,
    'id' | 'contextMax' | 'observedMin' | 'horizon' | 'trouble'
  >;
  /** At least as many steps as were asked for. Rejects with `inference_unavailable` when it is shed, late, or nothing runs. */
  forecast(question: ForecastQuestion): Promise<Forecast>;
}
