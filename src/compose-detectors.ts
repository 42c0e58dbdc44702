// The part of the composition root that knows `detectors`: settings to what all partitions of a process share, and the
// answers about pods that are made of their entities.

import type { Settings } from './config.js';
import { detectRoute, healthzRoute, type PodSource, podLines } from './detect.js';
import { detectorSpecs } from './detector-rules.js';
import type { Check } from './health.js';
import type { HttpServer } from './http-server.js';
import type { Metrics } from './metrics.js';
import { createDetector, type DetectorSet } from './scorer/detectors.js';
import { EntityKernel } from './scorer/entity-kernel.js';
import { pagePods, podDetector } from './scorer/entity-view.js';
import type { Scorer } from './scorer/scorer.js';
import type { ProfileLines } from './scrape.js';
import { ONLY_TENANT } from './tenant.js';
import { loadWasm } from './wasm-files.js';

/** Seed of the table of slanting cuts. Part of what a record of an entity means. */
const ENTITY_SEED = 1;

/** Undefined where no detector is set: nothing is paid for then. */
export function detectorSetOf(settings: Settings): DetectorSet | undefined {
  const specs = detectorSpecs(settings);
  if (specs.length === 0) return undefined;
  const { partitionBy } = settings.ingest;
  return {
    detectors: specs.map((spec) => createDetector(spec, partitionBy)),
    kernel: new EntityKernel(loadWasm('entity').module, ENTITY_SEED),
  };
}

interface PodSite {
  settings: Settings;
  server: HttpServer;
  metrics: Metrics;
  clock: () => number;
  checks: readonly Check[];
}

/** Of a process with the role scorer; of any other nothing is known here. Returns what `/metrics` shows besides. */
export function addPodRoutes(site: PodSite, scorer: Scorer | undefined): ProfileLines | undefined {
  const { settings, server } = site;
  const prometheus = () => settings.sources[0]?.prometheus;
  if (scorer === undefined) {
    healthzRoute(server, { trained: async () => false, prometheus });
    return undefined;
  }
  observeEntities(site.metrics, scorer);
  const source = podSource(site, scorer);
  detectRoute(server, source);
  // What is learnt stays learnt: probes ask often, and a page of all pods is not made for each.
  let isTrained = false;
  const trained = async () => {
    isTrained ||=
      source === undefined ? isAnyActive(scorer) : (await source.pods(ONLY_TENANT)).warm > 0;
    return isTrained;
  };
  healthzRoute(server, { trained, prometheus });
  if (source === undefined || settings.gauges.profile !== 'pod-service') return undefined;
  return async (tenant) => {
    const { rows, warm } = await source.pods(tenant);
    return warm === 0 ? [] : podLines(rows);
  };
}

function podSource({ settings, clock, checks }: PodSite, scorer: Scorer): PodSource | undefined {
  const spec = podDetector(detectorSpecs(settings));
  if (spec === undefined) return undefined;
  return {
    pods: (tenant) =>
      pagePods(scorer.partitions(), { detector: spec.name, tenant, nowMs: clock() }),
    hindrance: () =>
      checks
        .flatMap(({ missing, note }) => [missing(), note?.()])
        .find((reason) => reason !== undefined),
    isInverted: settings.gauges.profile === 'pod-service',
  };
}

/** Slots are taken lowest first: the oldest series are among these. */
const OLDEST_SLOTS = 1000;

/** Has any series learnt enough? */
function isAnyActive(scorer: Scorer): boolean {
  for (const [, { slots, forest }] of scorer.partitions()) {
    for (let slot = 0; slot < Math.min(slots.slotEnd, OLDEST_SLOTS); slot++) {
      const { samples, warmSamples } = forest.view(slot);
      if (samples >= warmSamples) return true;
    }
  }
  return false;
}

function observeEntities(metrics: Metrics, scorer: Scorer): void {
  const total = (of: (entities: { count: number; refused: number }) => number) => () => [
    {
      labels: {},
      value: [...scorer.partitions()].reduce((sum, [, { entities }]) => sum + of(entities), 0),
    },
  ];
  const known = { name: 'treeline_entities', help: 'Entities known to the detectors' };
  metrics.observe(
    'gauge',
    known,
    total(({ count }) => count),
  );
  const refused = {
    name: 'treeline_entity_series_refused',
    help: 'Series that a detector matches and leaves out: other labels chose their partition, or their entity is full',
  };
  metrics.observe(
    'gauge',
    refused,
    total((entities) => entities.refused),
  );
  observeHeritage(metrics, scorer);
}

function observeHeritage(metrics: Metrics, scorer: Scorer): void {
  const { heritage } = scorer;
  if (heritage === undefined) return;
  const words = {
    name: 'treeline_heritage_words_total',
    help: 'What scorers told each other so that new pods begin with what their siblings have learnt, by what became of it',
    labels: ['outcome'],
  };
  metrics.observe('counter', words, () =>
    Object.entries(heritage.counts).map(([outcome, value]) => ({ labels: { outcome }, value })),
  );
  const bequests = {
    name: 'treeline_heritage_bequests',
    help: 'Bequests read by the partitions of this process since it has them, by what became of them',
    labels: ['outcome'],
  };
  metrics.observe('gauge', bequests, () => {
    const sums = { taken: 0, declined: 0 };
    for (const [, { entities }] of scorer.partitions()) {
      sums.taken += entities.bequests.taken;
      sums.declined += entities.bequests.declined;
    }
    return Object.entries(sums).map(([outcome, value]) => ({ labels: { outcome }, value }));
  });
}
