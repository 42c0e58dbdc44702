// The forecaster of a model that cannot be used: it says why to whoever asks.

import { OperatingError } from '../errors.js';
import { CONTEXT_MAX, HORIZON_MAX } from '../limits-models.js';
import type { Forecaster } from './forecaster.js';

export function refusing(id: string, reason: string): Forecaster {
  return {
    id,
    contextMax: CONTEXT_MAX,
    observedMin: 1,
    horizon: HORIZON_MAX,
    rowsMax: 1,
    runtime: 'none',
    failures: 0,
    trouble: () => reason,
    prepare: async () => {},
    forecast: async () => {
      throw new OperatingError('model_invalid', reason);
    },
    close: async () => {},
  };
}
