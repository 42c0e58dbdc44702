// The part of the composition root that knows whether flags are checked a second time: then series keep windows, and flags
// and notices wait a moment for their verdict. Where the deep check runs in another process, a setting has to say so.

import type { Settings } from './config.js';

export interface SuspectSettings {
  /** Series keep the newest values that the deep check looks at. */
  hasWindows: boolean;
  /** Absent where nothing checks a second time. */
  verdicts: { verdictWaitMs?: number };
}

const WAIT_MS = 1_000;

export function suspectSettings(
  settings: Settings & { deepCheck?: { waitMs: number } },
): SuspectSettings {
  const roles: readonly string[] = settings.roles;
  const { verdicts } = settings;
  const isChecked = verdicts === 'on' || (verdicts === 'auto' && roles.includes('deep-check'));
  const verdictWaitMs = settings.deepCheck?.waitMs ?? WAIT_MS;
  return { hasWindows: isChecked, verdicts: isChecked ? { verdictWaitMs } : {} };
}
