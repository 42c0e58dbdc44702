// The part of the composition root that knows whether flags are checked a second time: then series keep windows, and flags
// and notices wait a moment for their verdict. Where the deep check runs in another process, a setting has to say so.

import type { Settings } from './config.js';

export interface SuspectSettings {
  /** Series keep the newest values that the deep check looks at. */
  hasWindows: boolean;
  /** Absent where nothing checks a second time. */
  verdicts: { verdictWaitMs?: number };
}

export function suspectSettings({ roles, verdicts, deepCheck }: Settings): SuspectSettings {
  const isChecked = verdicts === 'on' || (verdicts === 'auto' && roles.includes('deep-check'));
  return { hasWindows: isChecked, verdicts: isChecked ? { verdictWaitMs: deepCheck.waitMs } : {} };
}
