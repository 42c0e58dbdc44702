// What people are told of entities: the features behind a distance, and the latest vector of every pod. Read-only, made
// on demand, nothing kept.

import { LOAN_VECTORS } from '../limits-detectors.js';
import type { PodPage, PodRow } from '../pod-page.js';
import type { Detector, DetectorSpec } from './detectors.js';
import type { EntityView } from './entity-kernel.js';
import type { Entity } from './entity-state.js';
import type { Partition } from './partition.js';
import { NO_ENTRY } from './slots.js';

/** A pod that was silent for so many of its own steps is gone. */
const SILENT_STEPS = 5;
const ENTITIES_PER_TURN = 500;

export interface EntityRow {
  detector: string;
  labels: Record<string, string>;
  vector: string | null;
  stepSeconds: number | null;
  /**
   * `surprise`: its residual given the other features, in units that 1 of 1,000 of its own exceed. `share`: its part in the
   * distance, of all together 1; null while there is none.
   */
  features: {
    name: string;
    value: number | null;
    surprise: number | null;
    share: number | null;
  }[];
  /** Vectors learnt, here or by who it inherited from. */
  learnt: number;
  inheritedFrom?: string;
  /** A sibling, in place of `inheritedFrom`, until its own vectors weigh more than what was borrowed. */
  borrowedFrom?: string;
}

/** Of the series that carries the distance of an entity; nothing of any other. */
export function entityFields(partition: Partition, entry: number): { entity?: EntityRow } {
  const found = partition.entities.of(entry);
  if (found === undefined) return {};
  const { entity, view } = found;
  const { name, by, features } = entity.detector.spec;
  const isTold = entity.shares.some((share) => share > 0);
  return {
    entity: {
      detector: name,
      labels: Object.fromEntries(by.map((label, i) => [label, entity.values[i]!])),
      vector: Number.isFinite(entity.vectorMs) ? new Date(entity.vectorMs).toISOString() : null,
      stepSeconds: entity.stepMs > 0 ? entity.stepMs / 1000 : null,
      features: features.map((feature, i) => {
        const isKnown = (entity.mask & (1 << i)) !== 0;
        const value = isKnown ? entity.vector[i]! : null;
        const surprise = isKnown ? view.surprises[i]! : null;
        return { name: feature.name, value, surprise, share: isTold ? entity.shares[i]! : null };
      }),
      learnt: view.learnt,
      ...originOf(entity, view),
    },
  };
}

function originOf({ inheritedFrom, isBorrower }: Entity, { since }: EntityView) {
  if (inheritedFrom === '') return {};
  if (!isBorrower) return { inheritedFrom };
  return since < LOAN_VECTORS ? { borrowedFrom: inheritedFrom } : {};
}

/** For the candidate of an entity's distance; of any other series nothing. */
export function featureShares(partition: Partition, entry: number) {
  const entity = partition.entities.of(entry)?.entity;
  if (entity === undefined) return [];
  return entity.detector.spec.features.map(({ name }, i) => ({
    name,
    share: entity.shares[i]!,
    ...((entity.mask & (1 << i)) !== 0 && { value: entity.vector[i]! }),
  }));
}

/** The detector that the answers about pods are of: the first whose entities are pods. */
export function podDetector(detectors: readonly DetectorSpec[]): DetectorSpec | undefined {
  return detectors.find(({ workload }) => workload?.isPod === true);
}

/** Lets the event loop turn in between. */
export async function pagePods(
  partitions: Iterable<[number, Partition]>,
  query: { detector: string; tenant: string; nowMs: number },
): Promise<PodPage> {
  const page: PodPage = { rows: [], warm: 0, progress: undefined };
  let seen = 0;
  for (const [, partition] of partitions) {
    for (const entity of partition.entities.all()) {
      if (++seen % ENTITIES_PER_TURN === 0) await new Promise((turn) => setImmediate(turn));
      if (entity.detector.spec.name !== query.detector || entity.tenant !== query.tenant) continue;
      const ageMs = query.nowMs - entity.vectorMs;
      if (entity.stepMs === 0 || ageMs > SILENT_STEPS * entity.stepMs) continue;
      page.rows.push(podRow(partition, entity, ageMs));
      const vectors = vectorsOf(partition, entity);
      const needed = neededOf(partition);
      if (vectors >= needed) page.warm++;
      if (page.progress === undefined || vectors > page.progress.vectors) {
        const leftMs = Math.max(0, needed - vectors) * entity.stepMs;
        const readyAt = new Date(entity.vectorMs + leftMs).toISOString();
        page.progress = { vectors: Math.min(vectors, needed), needed, readyAt };
      }
    }
  }
  page.rows.sort((a, b) => compare(a.namespace, b.namespace) || compare(a.pod, b.pod));
  return page;
}

function podRow(partition: Partition, entity: Entity, ageMs: number): PodRow {
  const { spec } = entity.detector;
  const { score, isFlagged } = verdictOf(partition, entity, entity.detector);
  return {
    pod: labelOf(entity, spec.workload?.label ?? ''),
    namespace: labelOf(entity, 'namespace'),
    cpu: featureOf(entity, 'cpu', entity.vector),
    memory: featureOf(entity, 'memory', entity.vector),
    restarts: featureOf(entity, 'restarts', entity.received),
    isFlagged,
    score,
    ageSeconds: Math.max(0, ageMs) / 1000,
    shares: Object.fromEntries(spec.features.map(({ name }, i) => [name, entity.shares[i]!])),
  };
}

/** By the threshold; or where a share of the vectors is to be flagged, by what that share exceeds. */
function verdictOf(
  partition: Partition,
  entity: Entity,
  { vector }: Detector,
): { score: number; isFlagged: boolean } {
  const slot = entity.entry === NO_ENTRY ? undefined : partition.slots.slotOf(entity.entry);
  if (slot === undefined) return { score: 0, isFlagged: false };
  const series = partition.forest.view(slot);
  if (vector.share === 0 || series.stage === 'warming') {
    return { score: series.score, isFlagged: series.flag };
  }
  const { distance, quantile } = partition.entities.view(entity);
  const score = quantile > 0 ? distance / quantile : 0;
  return { score, isFlagged: score > 1 };
}

function labelOf({ detector, values }: Entity, name: string): string {
  return values[detector.spec.by.indexOf(name)] ?? '';
}

function featureOf(entity: Entity, name: string, values: Float64Array): number | null {
  const i = entity.detector.spec.features.findIndex((feature) => feature.name === name);
  return i >= 0 && (entity.mask & (1 << i)) !== 0 ? values[i]! : null;
}

/** Distances begin when the vector has settled; then they are judged like any series. */
function vectorsOf(partition: Partition, entity: Entity): number {
  const { since } = partition.entities.view(entity);
  if (entity.entry === NO_ENTRY) return Math.min(since, partition.entities.settleVectors);
  const { samples } = partition.forest.view(partition.slots.slotOf(entity.entry));
  return partition.entities.settleVectors + samples;
}

function neededOf({ entities }: Partition): number {
  return entities.settleVectors + WARM_SAMPLES;
}

/** As the forest warms up every series. */
const WARM_SAMPLES = 100;

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
