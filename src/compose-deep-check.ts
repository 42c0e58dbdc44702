// The part of the composition root that knows the deep check: settings to a forecaster and the role. WebAssembly is loaded
// in the background as soon as the process runs, because its first runs are slow; a child process at the first candidate.

import type { Settings } from './config.js';
import { DeepCheck } from './deep-check/deep-check.js';
import type { ForecastDesk } from './inference/forecast-desk.js';
import type { Forecaster } from './inference/forecaster.js';
import { openForecaster } from './inference/open-forecaster.js';
import { LATE_RATIO } from './limits-models.js';
import { authorizationOf } from './prometheus-credential.js';
import type { Site } from './site.js';

const PREPARE_MS = 1_000;

export async function addDeepCheck(site: Site): Promise<ForecastDesk> {
  const { settings, log, metrics, logger, clock, checks, failures, undo } = site;
  const forecaster = await forecasterOf(site);
  const deepCheck = new DeepCheck({
    ...{ log, forecaster, metrics, logger, clock },
    settings: batchSettings(settings),
  });
  await deepCheck.start();
  undo.push(() => deepCheck.stop());
  failures.push(deepCheck.failed);
  checks.push({
    name: 'deep-check',
    missing: () => deepCheck.unready(),
    note: () => deepCheck.note(),
  });
  prepareSoon(forecaster, undo);
  return deepCheck.desk;
}

/** As the settings of the deep check have it. */
export function forecasterOf({
  settings,
  logger,
  clock,
}: Pick<Site, 'settings' | 'logger' | 'clock'>): Promise<Forecaster> {
  const { model, runtime, remote, remoteTokenFile } = settings.deepCheck;
  const authorization =
    remoteTokenFile === '' ? undefined : authorizationOf({ tokenFile: remoteTokenFile });
  return openForecaster({ model, runtime, remote, authorization }, { logger, clock });
}

export function batchSettings({ deepCheck }: Settings) {
  const { batch, budget, waitMs } = deepCheck;
  return { batch, windowsPerSecond: budget, waitMsMax: LATE_RATIO * Math.max(1, waitMs) };
}

export function prepareSoon(forecaster: Forecaster, undo: Site['undo']): void {
  if (forecaster.runtime !== 'wasm') return;
  const timer = setTimeout(() => void forecaster.prepare(), PREPARE_MS);
  timer.unref();
  undo.push(async () => clearTimeout(timer));
}
