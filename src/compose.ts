// The only composition root: settings → adapters → chosen roles → ordered stop. Everything that a role needs is handed
// to it here; no role reads a setting, knows an adapter or meets another role.

import { addApi } from './compose-api.js';
import { addPodRoutes } from './compose-detectors.js';
import { addForecasts, gaugesOf } from './compose-forecasts.js';
import { addModelRoles, startModelAlone } from './compose-models.js';
import { addOutputs } from './compose-outputs.js';
import { addReceiver } from './compose-receiver.js';
import { addSeriesRoutes, createScorer } from './compose-scorer.js';
import type { Settings } from './config.js';
import { Guard } from './guard.js';
import { healthRoutes } from './health.js';
import type { HttpServer, Logger } from './http-server.js';
import { createListeners } from './listeners.js';
import { memoryAllowance, observeMemory } from './memory-limit.js';
import { createMetrics } from './metrics.js';
import { createReloader, type Reloaded } from './reload.js';
import { scrapeRoutes } from './scrape.js';
import { isLoopback, listenAddress } from './settings-rules.js';
import type { Site } from './site.js';
import { openStorage, type Storage } from './storage.js';
import { version } from './version.js';
import { openWaitingRoom } from './waiting-room.js';

const GUARD_KEYS = ['auth.mode', 'auth.credentials', 'auth.open', 'tls.certFile', 'tls.keyFile'];

export interface Treeline {
  /** `http://127.0.0.1:8275`, with the port that was taken. */
  url: string;
  /** Where the gauges are: the same, unless they have a listener of their own. */
  metricsUrl: string;
  /** Rejects when a stage cannot go on; the process should end, and its supervisor start it again. */
  failed: Promise<void>;
  /** Reads the settings again. Throws `config_invalid`; then the old ones stay in force. */
  reload(): Reloaded;
  stop(): Promise<void>;
}

export interface Surroundings {
  logger: Logger;
  clock?: () => number;
  /** Reads the settings again, for a reload. Throws `config_invalid`. */
  read?: () => Settings;
  /** Routes beside those of the roles. */
  addRoutes?: (server: HttpServer) => void;
}

/** Rejects with an OperatingError whose message names cause and fix; then nothing is left running. */
export async function startTreeline(
  settings: Settings,
  surroundings: Surroundings,
): Promise<Treeline> {
  const undo: (() => Promise<void>)[] = [];
  try {
    const { clock = Date.now, read = () => settings } = surroundings;
    const around = { ...surroundings, clock, read, undo };
    return (await startModelAlone(settings, around)) ?? (await compose(settings, around));
  } catch (error) {
    for (const step of undo.reverse()) await step();
    throw error;
  }
}

async function compose(
  settings: Settings,
  around: Surroundings & Pick<Site, 'clock' | 'undo'> & { read: () => Settings },
): Promise<Treeline> {
  const { logger, undo } = around;
  const guard = new Guard(settings, around);
  const metrics = createMetrics(version());
  observeMemory(metrics, await memoryAllowance());
  const storage = await storageOf(settings, { ...around, metrics, guard });
  const { judge, tls } = guard;
  const parts = { metrics, logger, judge, ...(tls !== undefined && { tls }) };
  const listeners = createListeners(settings, parts);
  const { main: server } = listeners;
  if (settings.roles.includes('api')) {
    // Before any route: it describes those that are added after it.
    await (await import('./openapi.js')).openApi(server, version());
  }
  const lists = { checks: [...storage.checks], failures: [storage.failed], steps: [], views: [] };
  const { log } = storage;
  const site: Site = { ...around, ...lists, log, storage, settings, metrics, server };
  // The first: it is the one whose files may turn out to be unusable.
  site.steps.push({ keys: GUARD_KEYS, isAlways: true, apply: (next) => guard.apply(next) });
  site.steps.push({ keys: ['logging.level'], apply: (next) => setLevel(logger, next) });
  if (settings.roles.includes('receiver')) await addReceiver(site);
  const scorer = settings.roles.includes('scorer') ? await createScorer(site) : undefined;
  const api = settings.roles.includes('api') ? await addApi(site, scorer) : undefined;
  if (api === undefined && scorer !== undefined) await addSeriesRoutes(site, scorer);
  const forecasts = await addForecasts(site, { api, desk: await addModelRoles(site) });
  around.addRoutes?.(server);
  for (const one of listeners.all) healthRoutes(one, site.checks);
  const gauges = gaugesOf(scorer?.gauges, forecasts);
  scrapeRoutes(listeners.metrics, metrics, gauges, addPodRoutes(site, scorer));
  if (scorer !== undefined) {
    await addOutputs(site, scorer.gauges);
    await scorer.start();
    undo.push(() => scorer.stop());
    site.failures.push(scorer.failed);
  }
  const { steps } = site;
  const reloader = createReloader({ settings, read: around.read, steps, metrics, logger });
  reloader.routes(listeners.admin);
  const urls = await listeners.listen();
  guard.start(listeners.all);
  // The listeners close first: every request in work ends before what it needs is closed.
  undo.push(async () => {
    guard.stop();
    await listeners.close();
  });
  warnOfPlainSecrets(settings, logger);
  let stopping: Promise<void> | undefined;
  const stop = async () => {
    for (const step of undo.reverse()) await step();
  };
  return {
    url: urls.main,
    metricsUrl: urls.metrics,
    failed: Promise.race([new Promise<void>(() => {}), ...site.failures]),
    reload: () => reloader.reload(),
    stop: () => {
      stopping ??= stop();
      return stopping;
    },
  };
}

function setLevel(logger: Logger, settings: Settings): () => void {
  const before = logger.level;
  logger.level = settings.logging.level;
  return () => {
    if (before !== undefined) logger.level = before;
  };
}

/** Not an error: a proxy in front may speak TLS. */
function warnOfPlainSecrets({ auth, tls, listen: address }: Settings, logger: Logger): void {
  if (auth.credentials.length === 0 || tls.certFile !== '') return;
  if (isLoopback(listenAddress(address).host)) return;
  logger.warn(
    { listen: address },
    'Tokens and passwords arrive unencrypted; set tls.certFile and tls.keyFile, or a proxy in front',
  );
}

/** A log that is away is waited for, and the process says so meanwhile; one that refuses us ends the start. */
async function storageOf(
  settings: Settings,
  around: Pick<Site, 'logger' | 'clock' | 'undo' | 'metrics'> & { guard: Guard },
): Promise<Storage> {
  const { logger, metrics, guard, undo } = around;
  let storage: Storage;
  if (settings.log.kind === 'embedded') storage = await openStorage(settings, around);
  else {
    const parts = { metrics, logger, judge: guard.judge, ...(guard.tls && { tls: guard.tls }) };
    const room = await openWaitingRoom(parts, listenAddress(settings.listen));
    try {
      storage = await openStorage(settings, { ...around, onWait: (reason) => room.say(reason) });
    } finally {
      await room.close();
    }
  }
  undo.push(() => storage.close());
  return storage;
}
