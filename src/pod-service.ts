// The environment of the pod service, for whoever starts Treeline in its place: PROMETHEUS_URL alone makes it ask that
// Prometheus for the pods' processor time, memory and restarts, and judge each pod by all three. What a file, a
// TREELINE_ variable or a flag says goes before; where PROMETHEUS_URL is not set, none of these variables means anything.

import type { TSchema } from '@sinclair/typebox';
import { faultsOf } from './config-file.js';
import { POD_CPU } from './detector-presets.js';

export interface PodSetting {
  key: string;
  value: unknown;
  /** The variable that it comes from. */
  source: string;
}

export interface PodEnvironment {
  settings: PodSetting[];
  /** Said at start: what was rounded, and what is not used. */
  notes: string[];
  /** What a variable holds and cannot be used. */
  faults: string[];
}

export const POD_VARIABLES = [
  'PROMETHEUS_URL',
  'NAMESPACE_REGEX',
  'POD_LABEL',
  'TRAINING_LOOKBACK_MINUTES',
  'QUERY_STEP_SECONDS',
  'REQUEST_TIMEOUT_SECONDS',
  'IFOREST_N_ESTIMATORS',
  'IFOREST_MAX_SAMPLES',
  'IFOREST_CONTAMINATION',
] as const;
type Variable = (typeof POD_VARIABLES)[number];

const STEP_SECONDS = 60;
const LOOKBACK_MINUTES = 60;
/** A rate needs two samples of the slowest usual scrape interval, and is asked for each step. */
const RATE_SECONDS_MIN = 120;
const TREES_STEP = 16;
const TREES_MAX = 64;
const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

export function podEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
): PodEnvironment {
  const found: PodEnvironment = { settings: [], notes: [], faults: [] };
  const read = new Reader(environment, found);
  const prometheus = environment['PROMETHEUS_URL'] ?? '';
  if (prometheus === '') {
    const set = POD_VARIABLES.filter((name) => (environment[name] ?? '') !== '');
    for (const name of set) found.notes.push(`${name} sets nothing without PROMETHEUS_URL`);
    return found;
  }
  const podLabel = read.text('POD_LABEL') ?? 'pod';
  if (!LABEL_NAME.test(podLabel)) read.fault('POD_LABEL', 'is no name of a label');
  const namespaces = read.text('NAMESPACE_REGEX');
  const step = read.number('QUERY_STEP_SECONDS', { least: 1, most: 86_400, isWhole: true });
  const timeout = read.number('REQUEST_TIMEOUT_SECONDS', { least: 0.001, most: 30 });
  const every = `${step ?? STEP_SECONDS}s`;
  const queries = podQueries(podLabel, namespaces, step ?? STEP_SECONDS);
  const sources = Object.entries(queries).map(([name, query]) => ({
    ...{ name, prometheus, query, every },
    ...(timeout !== undefined && { timeout: `${Math.ceil(timeout * 1000)}ms` }),
  }));
  const set = (key: string, value: unknown, source: Variable): void => {
    found.settings.push({ key, value, source });
  };
  set('sources', sources, 'PROMETHEUS_URL');
  set('gauges.profile', 'pod-service', 'PROMETHEUS_URL');
  set('detectors', [detectorOf(read, podLabel)], 'PROMETHEUS_URL');
  if (podLabel !== 'pod') {
    set('ingest.partitionBy', [['namespace', podLabel], ['instance']], 'POD_LABEL');
  }
  if (namespaces !== undefined) {
    set('ingest.keep', [`{namespace=~${quoted(namespaces)}}`], 'NAMESPACE_REGEX');
  }
  const lookback = read.number('TRAINING_LOOKBACK_MINUTES', { least: 0, most: 43_200 });
  set('backfill.prometheus', prometheus, 'PROMETHEUS_URL');
  // Matched by name: else `or` takes series that differ by their name alone for one.
  set('backfill.query', Object.values(queries).join(' or on(__name__) '), 'PROMETHEUS_URL');
  const source = lookback === undefined ? 'PROMETHEUS_URL' : 'TRAINING_LOOKBACK_MINUTES';
  set('backfill.lookback', `${Math.ceil(lookback ?? LOOKBACK_MINUTES)}m`, source);
  set('backfill.step', every, step === undefined ? 'PROMETHEUS_URL' : 'QUERY_STEP_SECONDS');
  return found;
}

/** After everything else: what somebody has said for Treeline goes before what was said for another program. */
export function readPodEnvironment(
  settings: Record<string, unknown>,
  environment: Readonly<Record<string, string | undefined>>,
  into: {
    rows: readonly { key: string; schema: TSchema }[];
    sources: Map<string, string>;
    faults: string[];
  },
): void {
  const { rows, sources, faults } = into;
  const found = podEnvironment(environment);
  faults.push(...found.faults);
  for (const { key, value, source } of found.settings) {
    const row = rows.find((setting) => setting.key === key);
    if (row === undefined || sources.get(key) !== 'default') continue;
    for (const { path, message } of faultsOf(row.schema, value)) {
      faults.push(`${source}: ${key}${path}: ${message}`);
    }
    const names = key.split('.');
    let part = settings;
    for (const name of names.slice(0, -1)) part = part[name] as Record<string, unknown>;
    part[names.at(-1) as string] = value;
    sources.set(key, source);
  }
}

/** Each container has a series of its own; what a pod takes is added up by the detector. */
function podQueries(
  podLabel: string,
  namespaces: string | undefined,
  step: number,
): Record<string, string> {
  const where = [`${podLabel}!=""`];
  if (namespaces !== undefined) where.push(`namespace=~${quoted(namespaces)}`);
  const containers = ['container!=""', 'container!="POD"', ...where].join(',');
  const window = Math.max(RATE_SECONDS_MIN, 2 * step);
  // A name of its own: a rate is no total any more, and a query of several parts needs one.
  const rate = `rate(container_cpu_usage_seconds_total{${containers}}[${window}s])`;
  return {
    [POD_CPU]: `label_replace(${rate},"__name__","${POD_CPU}","","")`,
    pod_memory: `container_memory_usage_bytes{${containers}}`,
    pod_restarts: `kube_pod_container_status_restarts_total{${where.join(',')}}`,
  };
}

function detectorOf(read: Reader, podLabel: string): Record<string, unknown> {
  const wanted = read.number('IFOREST_N_ESTIMATORS', { least: 1, most: 100_000, isWhole: true });
  const remember = read.number('IFOREST_MAX_SAMPLES', { least: 1, most: 1_000_000, isWhole: true });
  const contamination = read.text('IFOREST_CONTAMINATION') ?? 'auto';
  const share =
    contamination === 'auto'
      ? undefined
      : read.number('IFOREST_CONTAMINATION', { least: 0.0001, most: 0.5 });
  return {
    preset: 'kubernetes-pods',
    ...(podLabel !== 'pod' && { podLabel }),
    ...(wanted !== undefined && { trees: treesOf(read, wanted) }),
    ...(remember !== undefined && { remember: read.atLeast('IFOREST_MAX_SAMPLES', remember, 64) }),
    ...(share !== undefined && { contamination: share }),
  };
}

function treesOf(read: Reader, wanted: number): number {
  const trees = Math.min(TREES_MAX, Math.ceil(wanted / TREES_STEP) * TREES_STEP);
  if (trees !== wanted) {
    read.note(
      'IFOREST_N_ESTIMATORS',
      `${wanted} trees are ${trees} here: a multiple of 16, at most 64`,
    );
  }
  return trees;
}

/** As a string in PromQL and in our selectors. */
function quoted(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;
}

class Reader {
  readonly #environment: Readonly<Record<string, string | undefined>>;
  readonly #found: PodEnvironment;

  constructor(environment: Readonly<Record<string, string | undefined>>, found: PodEnvironment) {
    this.#environment = environment;
    this.#found = found;
  }

  /** Undefined when it is not set, or empty. */
  text(name: Variable): string | undefined {
    const text = this.#environment[name]?.trim() ?? '';
    return text === '' ? undefined : text;
  }

  number(
    name: Variable,
    bounds: { least: number; most: number; isWhole?: boolean },
  ): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const number = Number(text);
    const { least, most, isWhole = false } = bounds;
    if (number >= least && number <= most && (!isWhole || Number.isInteger(number))) return number;
    const kind = isWhole ? 'a whole number' : 'a number';
    this.fault(name, `expected ${kind} from ${least} to ${most}, found ${JSON.stringify(text)}`);
    return undefined;
  }

  atLeast(name: Variable, number: number, least: number): number {
    if (number >= least) return number;
    this.note(name, `${number} is ${least} here, the least that can be remembered`);
    return least;
  }

  note(name: Variable, text: string): void {
    this.#found.notes.push(`${name}: ${text}`);
  }

  fault(name: Variable, text: string): void {
    this.#found.faults.push(`${name}: ${text}`);
  }
}
