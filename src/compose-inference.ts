// The part of the composition root that knows the role inference: a model, a runtime on this machine, and the routes. A
// process that runs this role alone needs neither log nor state, and opens none: `startInference` is all of it.

import type { Treeline } from './compose.js';
import type { Settings } from './config.js';
import { OperatingError } from './errors.js';
import { Guard } from './guard.js';
import { type Check, healthRoutes } from './health.js';
import type { Logger } from './http-server.js';
import { loadModel } from './inference/manifest.js';
import { OipServer } from './inference/oip-server.js';
import { isOneLiner } from './inference/one-liners.js';
import { openRuntime } from './inference/open-forecaster.js';
import { createListeners } from './listeners.js';
import { createMetrics } from './metrics.js';
import { createReloader } from './reload.js';
import { scrapeRoutes } from './scrape.js';
import type { Site } from './site.js';
import { version } from './version.js';

/** A process that does nothing else has no log. */
export type InferenceSite = Omit<Site, 'log' | 'storage' | 'steps' | 'views'>;

/** Adds the routes; the model is loaded meanwhile, and readiness says so. Throws `model_invalid`. */
export async function addInference(site: InferenceSite): Promise<void> {
  const { settings, metrics, logger, clock, server, checks, failures, undo } = site;
  const { runtime, model: name } = settings.deepCheck;
  if (isOneLiner(name) || runtime === 'remote' || runtime === 'none') {
    const text = `The role inference serves a model on this machine; deepCheck.model is ${name}, deepCheck.runtime ${runtime}`;
    throw new OperatingError('config_invalid', text);
  }
  const model = loadModel(name);
  const here = await openRuntime(model, { runtime, remote: '' }, { logger, clock });
  undo.push(() => here.close());
  const rows = metrics.inferenceRows;
  const oip = new OipServer({
    ...{ model, runtime: here, version: version() },
    onInfer: (count) => {
      if (count === undefined) metrics.inferenceErrors.inc();
      else rows.inc(count);
    },
  });
  oip.routes(server);
  checks.push({ name: 'inference', missing: () => oip.unready() });
  // What a restart can mend is not what ends a process: readiness says it, and orders a retry.
  const stopping = new AbortController();
  undo.push(async () => stopping.abort());
  const loading = oip.start(stopping.signal).catch((error: unknown) => {
    if (!(error instanceof OperatingError)) throw error;
    logger.error({ reason: error.message }, 'The model cannot be served');
  });
  failures.push(loading.then(() => new Promise<void>(() => {})));
}

/** The whole process of the one role. Rejects with an OperatingError. */
export async function startInference(
  settings: Settings,
  around: {
    logger: Logger;
    clock: () => number;
    read: () => Settings;
    undo: (() => Promise<void>)[];
  },
): Promise<Treeline> {
  const { logger, undo } = around;
  const guard = new Guard(settings, around);
  const metrics = createMetrics(version());
  const { judge, tls } = guard;
  const parts = { metrics, logger, judge, ...(tls !== undefined && { tls }) };
  const listeners = createListeners(settings, parts);
  const { main: server } = listeners;
  const checks: Check[] = [];
  const failures: Promise<void>[] = [];
  await addInference({ ...around, settings, metrics, server, checks, failures });
  for (const one of listeners.all) healthRoutes(one, checks);
  scrapeRoutes(listeners.metrics, metrics);
  const steps = [
    {
      keys: ['auth.mode', 'auth.credentials', 'auth.open', 'tls.certFile', 'tls.keyFile'],
      isAlways: true,
      apply: (next: Settings) => guard.apply(next),
    },
  ];
  const reloader = createReloader({ settings, read: around.read, steps, metrics, logger });
  reloader.routes(listeners.admin);
  const urls = await listeners.listen();
  guard.start(listeners.all);
  undo.push(async () => {
    guard.stop();
    await listeners.close();
  });
  let stopping: Promise<void> | undefined;
  const stop = async () => {
    for (const step of undo.reverse()) await step();
  };
  return {
    url: urls.main,
    metricsUrl: urls.metrics,
    failed: Promise.race(failures),
    reload: () => reloader.reload(),
    stop: () => {
      stopping ??= stop();
      return stopping;
    },
  };
}
