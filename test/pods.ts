// Pods for tests of entities: what cAdvisor and kube-state-metrics say of them, scrape by scrape, and a partition with a
// detector over it. Processor time and memory follow the same load, each with its own noise, so that either may be
// anywhere while their proportion stays.

import { loadSettings } from '../src/config.js';
import { detectorSpecs } from '../src/detector-rules.js';
import { createDetector, type DetectorSet } from '../src/scorer/detectors.js';
import { EntityKernel } from '../src/scorer/entity-kernel.js';
import type { Entity } from '../src/scorer/entity-state.js';
import { Partition } from '../src/scorer/partition.js';
import { WasmForest } from '../src/scorer/wasm-forest.js';
import { loadWasm } from '../src/wasm-files.js';
import { BEGIN, type Sample, STEP } from './histogram-scrapes.js';
import { randomOf } from './random.js';

const forest = loadWasm('forest');
const entity = loadWasm('entity');

/** Settings of `detectors`, in YAML. */
export type DetectorText = string;

export function detectorsOf(
  detectors: DetectorText,
  partitionBy = '[[namespace, pod], [instance]]',
) {
  const text = `detectors: ${detectors}\ningest: {partitionBy: ${partitionBy}}\n`;
  const settings = loadSettings({ file: { name: 't.yaml', text } });
  return { specs: detectorSpecs(settings), partitionBy: settings.ingest.partitionBy };
}

export function detectorSet(
  detectors = '[{preset: kubernetes-pods}]',
  partitionBy?: string,
): DetectorSet {
  const { specs, partitionBy: sets } = detectorsOf(detectors, partitionBy);
  return {
    detectors: specs.map((spec) => createDetector(spec, sets)),
    kernel: new EntityKernel(entity.module, 1),
  };
}

export function partitionWith(detectors: DetectorSet | undefined, seriesMax = 400): Partition {
  return new Partition(new WasmForest(forest.module, { seriesMax, seed: 1 }), seriesMax, detectors);
}

export function entityOf(partition: Partition, ...values: string[]): Entity | undefined {
  return [...partition.entities.all()].find((one) => one.values.join() === values.join());
}

export interface PodState {
  /** Added to the processor cores of this step. */
  extraCores?: number;
  memoryFactor?: number;
  restarts?: number;
  isStale?: boolean;
}

export class Pod {
  readonly #random: () => number;
  readonly #names: { namespace: string; pod: string };
  readonly #containers: string[];
  #load = 0;
  #seconds = 0;
  #restarts = 0;
  #lastMs = Number.NaN;

  constructor(
    pod: string,
    options: { seed?: number; namespace?: string; containers?: string[] } = {},
  ) {
    this.#random = randomOf(options.seed ?? 1);
    this.#names = { namespace: options.namespace ?? 'shop', pod };
    this.#containers = options.containers ?? ['app'];
  }

  #normal(): number {
    const [u, v] = [this.#random(), this.#random()];
    return Math.sqrt(-2 * Math.log(1 - u)) * Math.cos(2 * Math.PI * v);
  }

  /** Cores that its load takes, without noise: between 0.3 and 1.7, higher at day. */
  scrape(at: number, state: PodState = {}): Sample[] {
    const day = Math.sin((2 * Math.PI * (at % 86_400_000)) / 86_400_000);
    this.#load = 0.95 * this.#load + 0.09 * this.#normal();
    const load = Math.max(0.1, 1 + 0.5 * day + this.#load);
    const cores = load * (1 + 0.03 * this.#normal()) * 0.5 + (state.extraCores ?? 0);
    const passed = Number.isNaN(this.#lastMs) ? 0 : (at - this.#lastMs) / 1000;
    this.#lastMs = at;
    this.#seconds += cores * passed;
    this.#restarts += state.restarts ?? 0;
    const memory = (2e8 + 1e8 * load * (1 + 0.02 * this.#normal())) * (state.memoryFactor ?? 1);
    const stale = 0x7ff0000000000002n;
    const share = this.#containers.length;
    const rows = this.#containers.flatMap((container) => [
      this.#row('container_cpu_usage_seconds_total', container, at, this.#seconds / share),
      this.#row('container_memory_usage_bytes', container, at, memory / share),
      this.#row('kube_pod_container_status_restarts_total', container, at, this.#restarts),
    ]);
    return state.isStale === true ? rows.map((one) => ({ ...one, value: stale })) : rows;
  }

  #row(name: string, container: string, at: number, value: number): Sample {
    return { labels: { __name__: name, ...this.#names, container }, at, value };
  }
}

export const at = (step: number): number => BEGIN + step * STEP;
