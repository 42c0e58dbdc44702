// A detector says which series are one entity, and which of its features each series belongs to. Selectors are tried
// once per series, at its first sample. All series of an entity lie in one partition, because the labels that choose the
// partition are among those that name the entity; a series whose partition other labels have chosen is left out.

import { createHash } from 'node:crypto';
import { type Matcher, parseSelector } from '../matchers.js';
import type { Label } from '../series.js';
import type { EntityKernel, VectorSettings } from './entity-kernel.js';

/** Metric name of the series that carries an entity's distance. Nobody can send one: it is the name of our own output. */
export const ENTITY_METRIC = 'treeline_entity_distance';

export type Aggregate = 'sum' | 'max' | 'mean' | 'last';

export interface FeatureSpec {
  name: string;
  /** A series that any of them matches belongs to the feature. */
  match: readonly string[];
  aggregate: Aggregate;
  /** Also what looks like a gauge is taken as a counter. */
  as?: 'rate';
}

export interface DetectorSpec {
  name: string;
  /** What a series must match beside a feature's selectors; empty: nothing. */
  match: readonly string[];
  by: readonly string[];
  features: readonly FeatureSpec[];
  /** Label whose value is the name of a pod, or of the workload itself; entities of a workload inherit. */
  workload?: { label: string; isPod: boolean };
  trees: number;
  remember: number;
  /** Share of the vectors that are to be flagged in `/detect`; 0: what the threshold says. */
  share: number;
}

export interface Match {
  /** Values of the labels that name the entity, in the order of `by`. */
  values: string[];
  /** Places of the features that the series belongs to. */
  features: number[];
  /** Undefined where entities do not inherit. */
  workload: string | undefined;
}

export interface Detector {
  readonly spec: DetectorSpec;
  readonly vector: VectorSettings;
  /** Of all that decides what a record of it means. */
  readonly digest: string;
  /** Undefined: it is none of ours; 'elsewhere': it is, and its partition was chosen by other labels. */
  match(labels: readonly Label[]): Match | 'elsewhere' | undefined;
}

/** What all partitions of a process share. */
export interface DetectorSet {
  detectors: readonly Detector[];
  kernel: EntityKernel;
}

/** The first label set that lies within `by`: it chooses the partition of every series of an entity. */
export function partitionSetOf(
  by: readonly string[],
  partitionBy: readonly (readonly string[])[],
): readonly string[] | undefined {
  return partitionBy.find((names) => names.every((name) => by.includes(name)));
}

/** Throws BadMatcher. `partitionBy` has a set within `by`: the settings have been checked. */
export function createDetector(
  spec: DetectorSpec,
  partitionBy: readonly (readonly string[])[],
): Detector {
  const set = partitionSetOf(spec.by, partitionBy);
  const outer = spec.match.map(parseSelector);
  const inner = spec.features.map(({ match }) => match.map(parseSelector));
  const { trees, remember, share } = spec;
  return {
    spec,
    vector: { features: spec.features.length, trees, remember, share },
    digest: digestOf(spec),
    match(labels) {
      const byName = new Map(labels.map(({ name, value }) => [name, value]));
      if (byName.get('__name__') === ENTITY_METRIC) return undefined;
      if (outer.length > 0 && !isAny(outer, byName)) return undefined;
      const features = inner.flatMap((matchers, i) => (isAny(matchers, byName) ? [i] : []));
      const values = spec.by.map((name) => byName.get(name) ?? '');
      if (features.length === 0 || values.includes('')) return undefined;
      const chosen = partitionBy.find((names) => names.every((name) => byName.get(name)));
      if (chosen !== set) return 'elsewhere';
      return { values, features, workload: workloadOf(spec, values, byName) };
    },
  };
}

function isAny(matchers: readonly Matcher[], labels: ReadonlyMap<string, string>): boolean {
  return matchers.some((matches) => matches(labels));
}

/** The share is no part of what is learnt. */
function digestOf({ name, match, by, features, workload, trees, remember }: DetectorSpec): string {
  const text = JSON.stringify([name, match, by, features, workload ?? null, trees, remember]);
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}

function workloadOf(
  { by, workload }: DetectorSpec,
  values: readonly string[],
  labels: ReadonlyMap<string, string>,
): string | undefined {
  if (workload === undefined) return undefined;
  const value = labels.get(workload.label) ?? '';
  const name = workload.isPod ? workloadName(value) : value;
  if (name === undefined || name === '') return undefined;
  const others = values.filter((_, i) => !workload.isPod || by[i] !== workload.label);
  return JSON.stringify(workload.isPod ? [name, ...others] : [name]);
}

/** Letters and digits that Kubernetes makes random names of: no vowels, so that no words come out. */
const RANDOM = '[bcdfghjklmnpqrstvwxz2456789]';
const KINDS = [
  { kind: 'job', pattern: /^(.+)-[0-9]{7,10}-[a-z0-9]{5}$/ },
  { kind: 'deployment', pattern: new RegExp(`^(.+)-${RANDOM}{6,10}-${RANDOM}{5}$`) },
  { kind: 'daemon', pattern: new RegExp(`^(.+)-${RANDOM}{5}$`) },
  { kind: 'stateful', pattern: /^(.+)-[0-9]{1,5}$/ },
] as const;

/** What is left of a pod's name without what tells replicas apart; undefined when it has nothing of that kind. */
export function workloadName(pod: string): string | undefined {
  for (const { kind, pattern } of KINDS) {
    const name = pattern.exec(pod)?.[1];
    if (name !== undefined) return `${kind}/${name}`;
  }
  return undefined;
}
