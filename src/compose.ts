// The only composition root: settings → adapters → chosen roles → ordered stop. Everything that a role needs is handed
// to it here; no role reads a setting, knows an adapter or meets another role.

import { strict as assert } from 'node:assert';
import { createHash } from 'node:crypto';
import type { SeriesSource } from './api/rest-series.js';
import { addSources } from './compose-sources.js';
import { durationMs, type Settings, sizeBytes } from './config.js';
import { Guard } from './guard.js';
import { type Check, healthRoutes } from './health.js';
import type { HttpServer, Logger } from './http-server.js';
import { createListeners } from './listeners.js';
import type { Log } from './log/log.js';
import { memoryAllowance, observeMemory, seriesCeiling } from './memory-limit.js';
import { createMetrics, type Metrics } from './metrics.js';
import type { FamilySharing } from './receiver/family-sharing.js';
import type { DecoderSettings, ReplicaClaim } from './receiver/wasm-decoder.js';
import { keepReceiverState } from './receiver-state.js';
import { createReloader, type Reloaded, type Step } from './reload.js';
import type { Scorer } from './scorer/scorer.js';
import { scrapeRoutes } from './scrape.js';
import { settleCeiling } from './series-ceiling.js';
import { isLoopback, listenAddress } from './settings-rules.js';
import type { StateStore } from './state/state-store.js';
import { openStorage, type Storage } from './storage.js';
import { ONLY_TENANT } from './tenant.js';
import { zoneChanges } from './time-zone.js';
import { version } from './version.js';
import { openWaitingRoom } from './waiting-room.js';
import { loadWasm } from './wasm-files.js';

/** Seed of the one table of trees. Part of what a checkpoint must fit. */
export const FOREST_SEED = 1;

const INGEST_KEYS = [
  'ingest.keep',
  'ingest.drop',
  'ingest.stripLabels',
  'ingest.replicas',
  'ingest.clusterLabel',
  'ingest.replicaLabel',
];
const GUARD_KEYS = ['auth.mode', 'auth.credentials', 'auth.open', 'tls.certFile', 'tls.keyFile'];
const TELL_EVERY_MS = 10_000;

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
}

/** Rejects with an OperatingError whose message names cause and fix; then nothing is left running. */
export async function startTreeline(
  settings: Settings,
  surroundings: Surroundings,
): Promise<Treeline> {
  const { logger } = surroundings;
  const undo: (() => Promise<void>)[] = [];
  try {
    const { clock = Date.now, read = () => settings } = surroundings;
    return await compose(settings, { logger, clock, read, undo });
  } catch (error) {
    for (const step of undo.reverse()) await step();
    throw error;
  }
}

/** What every role is composed from. */
interface Site {
  settings: Settings;
  logger: Logger;
  clock: () => number;
  metrics: Metrics;
  log: Log;
  storage: Storage;
  server: HttpServer;
  checks: Check[];
  failures: Promise<void>[];
  /** How a reload takes what has changed to where it matters. */
  steps: Step[];
  /** What has been opened, for an ordered stop. */
  undo: (() => Promise<void>)[];
}

async function compose(
  settings: Settings,
  around: Pick<Site, 'logger' | 'clock' | 'undo'> & { read: () => Settings },
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
  const lists = { checks: [...storage.checks], failures: [storage.failed], steps: [] };
  const { log } = storage;
  const site: Site = { ...around, ...lists, log, storage, settings, metrics, server };
  // The first: it is the one whose files may turn out to be unusable.
  site.steps.push({ keys: GUARD_KEYS, isAlways: true, apply: (next) => guard.apply(next) });
  site.steps.push({ keys: ['logging.level'], apply: (next) => setLevel(logger, next) });
  if (settings.roles.includes('receiver')) await addReceiver(site);
  const scorer = settings.roles.includes('scorer') ? await createScorer(site) : undefined;
  if (settings.roles.includes('api')) await addApi(site, scorer);
  else if (scorer !== undefined) await addSeriesRoutes(site, scorer);
  for (const one of listeners.all) healthRoutes(one, site.checks);
  scrapeRoutes(listeners.metrics, metrics, scorer?.gauges);
  if (scorer !== undefined) {
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

async function addReceiver(site: Site): Promise<void> {
  const { log, settings, metrics, logger, clock, storage } = site;
  const { createReceiver } = await import('./receiver/receiver.js');
  const { Replicas } = await import('./receiver/replicas.js');
  const { classifier } = await import('./receiver/rules.js');
  const { WasmDecoder } = await import('./receiver/wasm-decoder.js');
  const { module } = loadWasm('decode');
  let toldAt = 0;
  const replicas = new Replicas((takeover) => {
    state.changed();
    if (takeover === undefined || clock() - toldAt < TELL_EVERY_MS) return;
    toldAt = clock();
    logger.info(takeover, 'Another replica of a cluster is elected');
  });
  const state = await keepReceiverState({ log, store: storage.own, metrics, replicas });
  site.undo.push(() => state.stop());
  const decoderOf = ({ ingest }: Settings) => {
    const { clusterLabel, replicaLabel } = ingest;
    const judge = (claim: ReplicaClaim) => replicas.judge(claim);
    const decoderSettings: DecoderSettings = {
      partitions: log.partitions,
      partitionBy: settings.ingest.partitionBy,
      stripLabels: ingest.stripLabels,
      classify: classifier(ingest),
      replicas: ingest.replicas === 'elect' ? { clusterLabel, replicaLabel, judge } : undefined,
    };
    return new WasmDecoder(module, decoderSettings);
  };
  let decoder = decoderOf(settings);
  let sharing: FamilySharing | undefined;
  const receiver = createReceiver({
    ...{ log, decoder, metrics, logger, clock, replicas },
    onFamilyNews: (body, tenant) => sharing?.tell(body, tenant),
  });
  receiver.routes(site.server);
  if (settings.log.kind === 'kafka') {
    const { FamilySharing } = await import('./receiver/family-sharing.js');
    const learn = (body: Uint8Array, tenant: string) => receiver.learnFamilies(body, tenant);
    sharing = new FamilySharing({ log, logger, clock, learn });
    await sharing.start();
    site.undo.push(() => sharing?.stop() ?? Promise.resolve());
  }
  site.steps.push({
    keys: INGEST_KEYS,
    // A new decoder knows no series: each is judged by the new rules, and announced again.
    apply: (next) => {
      const before = decoder;
      decoder = decoderOf(next);
      decoder.adoptFamilies(before);
      receiver.useDecoder(decoder);
      return () => {
        decoder = before;
        receiver.useDecoder(before);
      };
    },
  });
  addSources(site, receiver);
}

async function createScorer(site: Site): Promise<Scorer> {
  const { log, storage, settings, metrics, logger, clock } = site;
  const store = storage.checkpoints;
  assert(store !== undefined, 'a scorer has a store for its checkpoints');
  const { Scorer } = await import('./scorer/scorer.js');
  const { WasmForest } = await import('./scorer/wasm-forest.js');
  const forest = loadWasm('forest');
  const zone = zoneChanges(settings.timezone);
  const seriesMax = await seriesMaxOf(site, store);
  const scorer = new Scorer({
    log,
    store,
    createForest: (seriesMax) =>
      new WasmForest(forest.module, { seriesMax, seed: FOREST_SEED, zone }),
    engineId: createHash('sha256').update(forest.bytes).digest(),
    metrics,
    logger,
    clock,
    trim: (partition, keepFrom) => storage.trim(partition, keepFrom),
    settings: {
      seriesMax,
      seed: FOREST_SEED,
      checkpointMs: durationMs(settings.checkpoint.interval),
      gauges: { scores: settings.gauges.scores, lingerMs: durationMs(settings.gauges.linger) },
      poison: settings.log.poison,
    },
  });
  site.checks.push({
    name: 'scorer',
    missing: () => scorer.unready(),
    note: () => scorer.note(),
  });
  site.steps.push({
    keys: ['gauges.linger'],
    apply: (next) => {
      const before = scorer.gauges.lingerMs;
      scorer.gauges.lingerMs = durationMs(next.gauges.linger);
      return () => {
        scorer.gauges.lingerMs = before;
      };
    },
  });
  return scorer;
}

/** Series that one partition scores at most. */
async function seriesMaxOf({ log, settings, logger }: Site, store: StateStore): Promise<number> {
  const allowance = await memoryAllowance();
  const ceiling = seriesCeiling(allowance, {
    memory: settings.limits.memory,
    maxSeries: settings.ingest.maxSeries,
    partitions: log.partitions,
    isShared: settings.log.kind === 'kafka',
    sizeBytes,
  });
  const isShared = settings.checkpoint.store === 'topic';
  const perPartition = await settleCeiling(store, ceiling.perPartition, isShared);
  const { boundBy, memoryBytes } = ceiling;
  const total = perPartition * log.partitions;
  const fields = { total, perPartition, boundBy, memoryBytes, memoryFrom: allowance.source };
  logger.info(fields, 'Ceiling on scored series; samples of further ones are refused and counted');
  if (settings.log.kind === 'kafka' && total > ceiling.fitting) {
    logger.warn(
      { total, fitting: ceiling.fitting },
      'One scorer alone could not hold all of them; run several, or lower ingest.maxSeries',
    );
  }
  if (perPartition > ceiling.perPartition) {
    logger.warn(
      { perPartition, wanted: ceiling.perPartition },
      'More series are learnt than memory and settings allow; the ceiling stays at what is learnt',
    );
  }
  return perPartition;
}

async function seriesOf(scorer: Scorer): Promise<SeriesSource> {
  const { countSeries, findSeries, pageOfSeries } = await import('./scorer/series-view.js');
  const { isEntryCursor } = await import('./api/rest-series.js');
  return {
    partitions: () => scorer.knownPartitions(),
    isCursor: isEntryCursor,
    page: (query) => pageOfSeries(scorer.partitions(), query),
    find: (wanted) => findSeries(scorer.partitions(), wanted),
    count: (tenant) => countSeries(scorer.partitions(), tenant),
    status: async (withHash) => ({ partitions: await scorer.status(withHash) }),
  };
}

/** A scorer without an api beside it answers for its own series: nobody else can. */
async function addSeriesRoutes({ server, settings, logger }: Site, scorer: Scorer): Promise<void> {
  const { seriesRoutes, statusRoute } = await import('./api/rest-series.js');
  const { answerError } = await import('./api/query.js');
  const series = await seriesOf(scorer);
  void server.register(
    async (scope) => {
      scope.setErrorHandler((error: Parameters<typeof answerError>[0], request, reply) =>
        answerError(error, { route: request.routeOptions.url, reply, logger }),
      );
      seriesRoutes(scope, series);
      const status = async (tenant: string | undefined, withHash: boolean) =>
        tenant === undefined || tenant === ONLY_TENANT
          ? { version: version(), roles: settings.roles, ...(await series.status(withHash)) }
          : { tenant, ...(await series.count(tenant)) };
      statusRoute(scope, status, series);
    },
    { prefix: '/anomaly/v1' },
  );
}

async function addApi(site: Site, scorer: Scorer | undefined): Promise<void> {
  const { Api } = await import('./api/api.js');
  const { log, storage, metrics, logger, clock, settings } = site;
  const store = storage.own;
  assert(store !== undefined, 'an api has a volume for its anomalies');
  const { openPeers } = await import('./scorer-access.js');
  const series = scorer === undefined ? await openPeers(site) : await seriesOf(scorer);
  const alertsOf = ({ mode, alerts }: Settings) => ({ mode, budget: alerts.budget });
  const api = new Api({
    ...{ log, store, metrics, logger, clock },
    settings: {
      retentionMs: durationMs(settings.anomalies.retention),
      partitionBy: settings.ingest.partitionBy,
      alerts: alertsOf(settings),
      alertmanagers: settings.alerts.alertmanagers,
    },
    ...(series !== undefined && { series }),
    describe: () => ({
      version: version(),
      roles: settings.roles,
      memoryBytes: process.memoryUsage().rss,
      uptimeSeconds: process.uptime(),
    }),
  });
  api.routes(site.server);
  site.steps.push({
    keys: ['mode', 'alerts.budget'],
    apply: (next) => api.reconfigure(alertsOf(next)),
  });
  site.checks.push({ name: 'api', missing: () => api.unready() });
  await api.start();
  site.undo.push(() => api.stop());
  site.failures.push(api.failed);
}
