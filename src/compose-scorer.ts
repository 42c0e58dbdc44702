// The scorer's part of the composition root: the forest, the ceiling on series, and how others look at its series.

import { strict as assert } from 'node:assert';
import { createHash } from 'node:crypto';
import type { SeriesSource } from './api/rest-series.js';
import { historySettings } from './compose-backfill.js';
import { addDetectionStep, noiseRulesOf } from './compose-detection.js';
import { detectorSetOf } from './compose-detectors.js';
import { suspectSettings } from './compose-suspects.js';
import { durationMs, sizeBytes } from './config.js';
import { memoryAllowance, seriesCeiling } from './memory-limit.js';
import type { Scorer } from './scorer/scorer.js';
import { settleCeiling } from './series-ceiling.js';
import type { Site } from './site.js';
import type { StateStore } from './state/state-store.js';
import { ONLY_TENANT } from './tenant.js';
import { zoneChanges } from './time-zone.js';
import { version } from './version.js';
import { loadWasm } from './wasm-files.js';

/** Seed of the one table of trees. Part of what a checkpoint must fit. */
export const FOREST_SEED = 1;

export async function createScorer(site: Site): Promise<Scorer> {
  const { log, storage, settings, metrics, logger, clock } = site;
  const store = storage.checkpoints;
  assert(store !== undefined, 'a scorer has a store for its checkpoints');
  const { Scorer } = await import('./scorer/scorer.js');
  const { WasmForest } = await import('./scorer/wasm-forest.js');
  const forest = loadWasm('forest');
  const zone = zoneChanges(settings.timezone);
  const seriesMax = await seriesMaxOf(site, store);
  const { hasWindows, verdicts } = suspectSettings(settings);
  const planted = { seed: FOREST_SEED, zone, hasWindows };
  const detectors = detectorSetOf(settings);
  const scorer = new Scorer({
    ...(detectors !== undefined && { detectors }),
    log,
    store,
    createForest: (seriesMax) => new WasmForest(forest.module, { seriesMax, ...planted }),
    engineId: createHash('sha256').update(forest.bytes).digest(),
    metrics,
    logger,
    clock,
    trim: (partition, keepFrom, historyFrom) => storage.trim(partition, keepFrom, historyFrom),
    settings: {
      ...{ seriesMax, seed: FOREST_SEED, ...verdicts },
      checkpointMs: durationMs(settings.checkpoint.interval),
      gauges: { ...settings.gauges, lingerMs: durationMs(settings.gauges.linger) },
      poison: settings.log.poison,
      history: historySettings(settings),
      rules: noiseRulesOf(settings),
    },
  });
  addDetectionStep(site, scorer);
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
    ...{ sizeBytes, hasWindows: suspectSettings(settings).hasWindows },
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

export async function seriesOf(scorer: Scorer): Promise<SeriesSource> {
  const { countSeries, findSeries, pageOfSeries } = await import('./scorer/series-view.js');
  const { isEntryCursor } = await import('./api/rest-series.js');
  return {
    partitions: () => scorer.knownPartitions(),
    isCursor: isEntryCursor,
    page: (query) => pageOfSeries(scorer.partitions(), query, scorer.overlay),
    find: (wanted) => findSeries(scorer.partitions(), wanted, scorer.overlay),
    count: (tenant) => countSeries(scorer.partitions(), tenant),
    status: async (withHash) => ({ partitions: await scorer.status(withHash) }),
  };
}

/** A scorer without an api beside it answers for its own series: nobody else can. */
export async function addSeriesRoutes(
  { server, settings, logger }: Site,
  scorer: Scorer,
): Promise<void> {
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
