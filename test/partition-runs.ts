// One partition fed by a test: series by name, samples as minutes and values, control records as copies. What it shows is
// collected as it happens. Saved and restored at any point through a real checkpoint.

import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  ControlSchema,
  type FeedbackSchema,
  type MaintenanceSchema,
} from '../src/gen/control_pb.js';
import { SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import type { Logger } from '../src/http-server.js';
import {
  restoreCheckpoint,
  stateHash,
  takeSnapshot,
  writeCheckpoint,
} from '../src/scorer/checkpoint.js';
import type { NoiseRule } from '../src/scorer/noise-rules.js';
import { Partition } from '../src/scorer/partition.js';
import type { PhaseChange } from '../src/scorer/phase-change.js';
import { WasmForest } from '../src/scorer/wasm-forest.js';
import { loadWasm } from '../src/wasm-files.js';
import { MemoryStore } from './memory-store.js';

const SERIES_MAX = 200;
const { module } = loadWasm('forest');
export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
/** A Monday, 00:00 UTC. */
export const MONDAY = Date.UTC(2026, 0, 5);
const LINEAGE = { logId: 'l', partition: 0, partitions: 1, engineId: Buffer.alloc(32), seed: 1 };
const logger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

export interface Point {
  name: string;
  at: number;
  value: number;
}

export function fingerprintOf(name: string): bigint {
  const sum = Buffer.from(name).reduce((hash, byte) => hash * 257 + byte, 7);
  return BigInt.asUintN(64, BigInt(sum) * 0x9e3779b97f4a7c15n);
}

export function ruleOf(fields: Partial<NoiseRule>): NoiseRule {
  const open = { minDeviation: 0, minRelativeDeviation: 0, needed: 1, among: 1, threshold: 1 };
  return { match: ['{job="test"}'], side: 'both', ...open, isIgnored: false, ...fields };
}

export class PartitionRun {
  partition = new Partition(newForest(), SERIES_MAX);
  readonly changes: (PhaseChange & { name: string })[] = [];
  readonly #announced = new Set<string>();
  readonly #rules: readonly NoiseRule[];
  #controlOffset = 0;

  constructor(rules: readonly NoiseRule[] = []) {
    this.#rules = rules;
    this.#adopt();
  }

  /** One record. */
  send(points: readonly Point[]): void {
    const news = [...new Set(points.map(({ name }) => name))].filter(
      (name) => !this.#announced.has(name),
    );
    for (const name of news) this.#announced.add(name);
    const bits = new DataView(new ArrayBuffer(8));
    this.#apply({
      fingerprint: points.map(({ name }) => fingerprintOf(name)),
      timestampMs: points.map(({ at }) => BigInt(at)),
      valueBits: points.map(({ value }) => {
        bits.setFloat64(0, value);
        return bits.getBigUint64(0);
      }),
      series: news.map((name) => ({
        fingerprint: fingerprintOf(name),
        label: [
          { name: '__name__', value: name },
          { name: 'job', value: 'test' },
        ],
      })),
    });
  }

  /** One record a minute with this value of one series. */
  sendEach(name: string, fromMs: number, values: readonly number[]): void {
    for (const [i, value] of values.entries())
      this.send([{ name, at: fromMs + i * MINUTE, value }]);
  }

  say(id: string, what: MessageInitShape<typeof ControlSchema>['what']): void {
    const record = toBinary(ControlSchema, create(ControlSchema, { id, ...(what && { what }) }));
    this.#apply({ control: [{ offset: BigInt(this.#controlOffset++), record }] });
  }

  sayFeedback(id: string, value: MessageInitShape<typeof FeedbackSchema>): void {
    this.say(id, { case: 'feedback', value });
  }

  sayMaintenance(id: string, value: MessageInitShape<typeof MaintenanceSchema>): void {
    this.say(id, { case: 'maintenance', value });
  }

  undo(id: string): void {
    this.say(`undo-${id}`, { case: 'undo', value: { id } });
  }

  /** What is learnt, and the scores to come, depend on nothing else. */
  hash(): string {
    return Buffer.from(stateHash(takeSnapshot(this.partition, LINEAGE, 0))).toString('hex');
  }

  /** Through a checkpoint into a new partition. */
  async restart(rules: readonly NoiseRule[] = this.#rules): Promise<{ version: number }> {
    const store = new MemoryStore(new Map());
    const snapshot = takeSnapshot(this.partition, LINEAGE, 1);
    await writeCheckpoint(store, snapshot);
    this.partition = new Partition(newForest(), SERIES_MAX);
    await restoreCheckpoint(store, this.partition, { lineage: LINEAGE, high: 1, logger });
    this.#adopt(rules);
    return { version: snapshot.manifest.version };
  }

  entryOf(name: string): number {
    const fingerprint = fingerprintOf(name);
    return this.partition.slots.find(Number(fingerprint & 0xffffffffn), Number(fingerprint >> 32n));
  }

  slotOf(name: string): number {
    return this.partition.slots.slotOf(this.entryOf(name));
  }

  isFlagged(name: string): boolean {
    const { flag } = this.partition.forest.view(this.slotOf(name));
    if (flag !== this.partition.flagged.has(this.entryOf(name))) throw new Error('two truths');
    return flag;
  }

  record(name: string): Uint8Array {
    return this.partition.forest.record(this.slotOf(name));
  }

  /** Begins of anomalies since the last call. */
  onsets(): (PhaseChange & { name: string })[] {
    return this.changes.splice(0).filter(({ phase }) => phase === 'onset');
  }

  #adopt(rules: readonly NoiseRule[] = this.#rules): void {
    const { partition } = this;
    partition.noise.begin(rules);
    partition.listen({
      onPhase: (change) => {
        const name = partition.labels(change.entry)[0]?.value ?? '';
        this.changes.push({ ...change, name });
      },
      onOpened() {},
      onRemoved() {},
    });
  }

  #apply(fields: MessageInitShape<typeof SampleBlockSchema>): void {
    // As a log hands it out: a part of a buffer that is used again.
    const bytes = Buffer.from(toBinary(SampleBlockSchema, create(SampleBlockSchema, fields)));
    this.partition.apply(bytes);
    bytes.fill(0xff);
  }
}

function newForest(): WasmForest {
  return new WasmForest(module, { seriesMax: SERIES_MAX, seed: 1 });
}
