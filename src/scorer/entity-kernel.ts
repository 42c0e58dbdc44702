// The host of entity.wasm: one instance for all entities of a process. It holds no state of any entity: a record is
// copied in, judged with one vector, and copied back, so that the entities of a partition lie beside its other state and
// no further WebAssembly memory, which would reserve gigabytes of address space, is needed for each.

import { strict as assert } from 'node:assert';

export interface VectorSettings {
  features: number;
  /** A multiple of 16. */
  trees: number;
  /** Vectors between two halvings of the leaf counters. */
  remember: number;
  /** Share of the vectors that the quantile is to stand below; 0: none is kept. */
  share: number;
}

export interface EntityView {
  /** Vectors learnt, and since the levels began: here, or at the hand-over. */
  learnt: number;
  since: number;
  /** What a share of the distances exceeds; 0 when no share is set. */
  quantile: number;
  /** Of the last vector; 0 while the entity settles. */
  distance: number;
  /** Rarity of the leaves of the isolation forest, about 0 to 5.7. */
  rarity: number;
  /** Of the last vector, per feature: its surprise given the others, in units of what is usual for it. */
  surprises: number[];
}

interface EntityExports extends WebAssembly.Exports {
  plant(seed: number): void;
  observe(features: number, mask: number, trees: number, remember: number, share: number): number;
  handOver(features: number, learntMax: number): void;
  bytesOf(features: number, trees: number): number;
}

const HEAD_BYTES = 48;
const FEATURE_BYTES = 56;
const MEMORY_PAGES = 2;

export class EntityKernel {
  /** Decides who may read a record. */
  readonly format: number;
  readonly featuresMax: number;
  readonly treesMax: number;
  /** Vectors without a distance, at the beginning and after a hand-over. */
  readonly settleVectors: number;
  /** Input: the values of a vector; where its mask has no bit, anything. */
  readonly values: Float64Array;
  /** Of the last vector judged: the share of each feature in its distance; all 0 when it has none. */
  readonly shares: Float64Array;
  readonly #module: EntityExports;
  readonly #record: Uint8Array;

  constructor(module: WebAssembly.Module, seed: number) {
    const memory = new WebAssembly.Memory({ initial: MEMORY_PAGES, maximum: MEMORY_PAGES });
    const env = { memory, abort };
    this.#module = new WebAssembly.Instance(module, { env }).exports as EntityExports;
    this.format = this.#constant('ENTITY_FORMAT');
    this.featuresMax = this.#constant('FEATURES_MAX');
    this.treesMax = this.#constant('TREES_MAX');
    this.settleVectors = this.#constant('SETTLE_VECTORS');
    this.values = new Float64Array(memory.buffer, this.#constant('VALUES'), this.featuresMax);
    this.shares = new Float64Array(memory.buffer, this.#constant('SHARES'), this.featuresMax);
    const bytes = this.recordBytes({ features: this.featuresMax, trees: this.treesMax });
    this.#record = new Uint8Array(memory.buffer, this.#constant('RECORD'), bytes);
    this.#module.plant(seed);
  }

  recordBytes({ features, trees }: Pick<VectorSettings, 'features' | 'trees'>): number {
    return this.#module.bytesOf(features, trees);
  }

  /** Judges `values`, of which the features in `mask` are known, then learns them. NaN while the entity settles. */
  observe(record: Uint8Array, mask: number, settings: VectorSettings): number {
    const { features, trees, remember, share } = settings;
    assert(mask > 0 && mask < 1 << features);
    this.#record.set(record);
    const distance = this.#module.observe(features, mask, trees, remember, share);
    record.set(this.#record.subarray(0, record.length));
    return distance;
  }

  /**
   * Scales and proportions stay, levels begin anew: the record of a successor. What was learnt counts as `learntMax`
   * vectors at most.
   */
  handOver(record: Uint8Array, features: number, learntMax = 0xffffffff): void {
    this.#record.set(record);
    this.#module.handOver(features, learntMax);
    record.set(this.#record.subarray(0, record.length));
  }

  #constant(name: string): number {
    const constant = this.#module[name];
    assert(constant instanceof WebAssembly.Global, `The module has no constant ${name}`);
    return constant.value as number;
  }
}

/** Vectors that a record has learnt. */
export function learntOf(record: Uint8Array): number {
  return new DataView(record.buffer, record.byteOffset, record.byteLength).getUint32(0, true);
}

/** Of these, since its levels began: its own. */
export function sinceOf(record: Uint8Array): number {
  return new DataView(record.buffer, record.byteOffset, record.byteLength).getUint32(4, true);
}

/** The furthest that it takes for rare and no more: a fault stays in it for weeks. */
export function farthestOf(record: Uint8Array, features: number): number {
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  let farthest = 0;
  for (let at = HEAD_BYTES; at < HEAD_BYTES + features * FEATURE_BYTES; at += FEATURE_BYTES) {
    for (const far of [24, 36]) farthest = Math.max(farthest, view.getFloat32(at + far, true));
  }
  return farthest;
}

/** What people want to know of a record. */
export function viewOf(record: Uint8Array, features: number): EntityView {
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  const surprises = Array.from({ length: features }, (_, i) => {
    const at = HEAD_BYTES + i * FEATURE_BYTES;
    return Math.max(view.getFloat32(at + 32, true), view.getFloat32(at + 44, true));
  });
  return {
    learnt: learntOf(record),
    since: sinceOf(record),
    quantile: view.getFloat32(16, true),
    distance: view.getFloat32(20, true),
    rarity: view.getFloat32(24, true),
    surprises,
  };
}

/** An assert of the module failed: a programmer error. */
function abort(_message: number, _file: number, line: number, column: number): never {
  throw new Error(`The entity kernel stopped itself at ${line}:${column}`);
}
