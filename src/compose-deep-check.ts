// The part of the composition root that knows the deep check: settings to a forecaster and the role. WebAssembly is loaded
// in the background as soon as the process runs, because its first runs are slow; a child process at the first candidate.

import { DeepCheck } from './deep-check/deep-check.js';
import { openForecaster } from './inference/open-forecaster.js';
import { LATE_RATIO } from './limits-models.js';
import { authorizationOf } from './prometheus-credential.js';
import type { Site } from './site.js';

const PREPARE_MS = 1_000;

export async function addDeepCheck(site: Site): Promise<void> {
  const { settings, log, metrics, logger, clock, checks, failures, undo } = site;
  const { model, runtime, remote, remoteTokenFile, batch, budget, waitMs } = settings.deepCheck;
  const authorization =
    remoteTokenFile === '' ? undefined : authorizationOf({ tokenFile: remoteTokenFile });
  const choice = { model, runtime, remote, authorization };
  const forecaster = await openForecaster(choice, { logger, clock });
  const deepCheck = new DeepCheck({
    ...{ log, forecaster, metrics, logger, clock },
    settings: { batch, windowsPerSecond: budget, waitMsMax: LATE_RATIO * Math.max(1, waitMs) },
  });
  await deepCheck.start();
  undo.push(() => deepCheck.stop());
  failures.push(deepCheck.failed);
  checks.push({
    name: 'deep-check',
    missing: () => deepCheck.unready(),
    note: () => deepCheck.note(),
  });
  if (forecaster.runtime !== 'wasm') return;
  const timer = setTimeout(() => void forecaster.prepare(), PREPARE_MS);
  timer.unref();
  undo.push(async () => clearTimeout(timer));
}
