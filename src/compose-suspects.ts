// The part of the composition root that knows whether flags are checked a second time: then series keep windows, and flags
// and notices wait a moment for their verdict. Where the deep check runs in another process, a setting has to say so.

import type { Settings } from './config.js';

export interface SuspectSettings {
  /** Series keep the newest values that the deep check and forecasts look at. */
  hasWindows: boolean;
  /** Absent where nothing checks a second time. */
  verdicts: { verdictWaitMs?: number };
}

export function suspectSettings(settings: Settings): SuspectSettings {
  const { roles, verdicts, deepCheck, forecasts } = settings;
  const isChecked = verdicts === 'on' || (verdicts === 'auto' && roles.includes('deep-check'));
  return {
    // What is forecast on request is forecast from them, too.
    hasWindows: isChecked || forecasts.length > 0,
    verdicts: isChecked ? { verdictWaitMs: deepCheck.waitMs } : {},
  };
}
