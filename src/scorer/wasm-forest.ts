// The forest of one partition: one WebAssembly instance, one memory, one record per slot. The
// memory is made once, as large as `seriesMax` needs; it never grows, so the views below live as
// long as the forest (pages that no series has touched cost nothing). The caller fills the input
// columns, calls `observe`, and reads the output columns before the next call. A slot is opened
// before its first sample.

import assert from 'node:assert/strict';
import { Windows } from './windows.js';

/**
 * A guessed counter is one by its name only; when it falls as counters do not, it becomes a gauge.
 */
export type SeriesKind = 'gauge' | 'counter' | 'guessed-counter';
export type SeriesStage = 'warming' | 'active' | 'stale';
export const OUTCOMES = ['applied', 'duplicate', 'conflict', 'late'] as const;
export const PHASES = ['none', 'onset', 'peak', 'end'] as const;
export const CAUSES = ['none', 'novelty', 'magnitude', 'quiet'] as const;

export interface SeriesView {
  kind: SeriesKind;
  stage: SeriesStage;
  /** Samples scored, of which the first `warmSamples` cannot raise the flag. */
  samples: number;
  warmSamples: number;
  /** NaN before the first sample. */
  lastTimestampMs: number;
  /** As scored: a counter's rate per second. NaN when there was none. */
  lastValue: number;
  /** The usual time between samples; NaN before the second. */
  intervalMs: number;
  score: number;
  flag: boolean;
  /** Of the open anomaly: NaN, 0 and 'none' when there is none. */
  onsetMs: number;
  peakScore: number;
  cause: (typeof CAUSES)[number];
  /**
   * Prediction for the last value and the band outside which its size alone is anomalous. NaN when
   * there was none.
   */
  expected: number;
  lower: number;
  upper: number;
}

const KINDS: readonly SeriesKind[] = ['gauge', 'counter', 'guessed-counter'];
const PAGE_BYTES = 65536;
/** Tables and columns below the records; checked against the module below. */
const FIXED_BYTES_MAX = 256 * 1024;
/** A record may not be larger than this; the module says how large it is. */
const RECORD_BYTES_MAX = 832;
/** As asconfig.json declares it. */
const PAGES_MAX = 65536;

interface ForestExports extends WebAssembly.Exports {
  plant(seed: number, seriesMax: number): void;
  useZone(count: number): void;
  open(slot: number, kind: number): void;
  clear(slot: number): void;
  endAnomaly(slot: number): number;
  observe(count: number): number;
  describe(slot: number): void;
}

export interface ForestSettings {
  seriesMax: number;
  seed: number;
  zone?: Int32Array | undefined;
  /** Each slot keeps its newest values beside its record. */
  hasWindows?: boolean;
}

export class WasmForest {
  readonly batchMax: number;
  readonly recordBytes: number;
  readonly recordFormat: number;

  /**
   * Input columns; the byte ones hold 64-bit little-endian numbers, which spares a BigInt and
   * keeps every NaN.
   */
  readonly slots: Uint32Array;
  readonly timestampBytes: Uint8Array;
  readonly valueBytes: Uint8Array;

  /** Output columns, one entry per sample of the last `observe`. Outcomes index OUTCOMES. */
  readonly outcomes: Uint8Array;
  /** NaN where the sample was not scored. */
  readonly scores: Float32Array;
  /** The score at samples that begin or raise an event, else 0. */
  readonly alarms: Float32Array;
  readonly flags: Uint8Array;
  readonly values: Float64Array;
  readonly expected: Float64Array;
  readonly lower: Float64Array;
  readonly upper: Float64Array;

  /** Events of the last `observe`, in the order of the samples. They index PHASES and CAUSES. */
  readonly eventIndexes: Uint32Array;
  readonly eventPhases: Uint8Array;
  readonly eventCauses: Uint8Array;
  readonly eventOnsets: BigInt64Array;
  readonly eventTimestamps: BigInt64Array;

  /** The newest values of each slot, when they are kept; whoever calls `observe` tells them of its rows. */
  readonly windows: Windows | undefined;

  readonly #module: ForestExports;
  readonly #memory: WebAssembly.Memory;
  readonly #seriesMax: number;
  readonly #recordsAt: number;
  readonly #description: Float64Array;
  /** One more than the highest slot that may hold anything but zeros. */
  #slotEnd = 0;

  /** `zone`: what the clock on the wall does, as zoneChanges tells it; absent: UTC. */
  constructor(module: WebAssembly.Module, settings: ForestSettings) {
    const { seriesMax, seed, zone } = settings;
    assert(Number.isInteger(seriesMax) && seriesMax > 0, `seriesMax is ${seriesMax}`);
    const pages = Math.ceil((FIXED_BYTES_MAX + seriesMax * RECORD_BYTES_MAX) / PAGE_BYTES);
    assert(pages <= PAGES_MAX, `${seriesMax} series do not fit into one memory`);
    this.#memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const env = { memory: this.#memory, abort };
    this.#module = new WebAssembly.Instance(module, { env }).exports as ForestExports;
    this.#seriesMax = seriesMax;
    this.batchMax = this.#constant('BATCH_MAX');
    this.recordBytes = this.#constant('RECORD_BYTES');
    this.recordFormat = this.#constant('RECORD_FORMAT');
    this.#recordsAt = this.#constant('RECORDS');
    assert(this.recordBytes <= RECORD_BYTES_MAX && this.#recordsAt <= FIXED_BYTES_MAX);

    const { buffer } = this.#memory;
    const count = this.batchMax;
    const at = (name: string): number => this.#constant(name);
    this.slots = new Uint32Array(buffer, at('SLOTS'), count);
    this.timestampBytes = new Uint8Array(buffer, at('TIMESTAMPS'), 8 * count);
    this.valueBytes = new Uint8Array(buffer, at('VALUE_BITS'), 8 * count);
    this.outcomes = new Uint8Array(buffer, at('OUTCOMES'), count);
    this.scores = new Float32Array(buffer, at('SCORES'), count);
    this.alarms = new Float32Array(buffer, at('ALARMS'), count);
    this.flags = new Uint8Array(buffer, at('FLAGS'), count);
    this.values = new Float64Array(buffer, at('VALUES'), count);
    this.expected = new Float64Array(buffer, at('EXPECTATIONS'), count);
    this.lower = new Float64Array(buffer, at('LOWERS'), count);
    this.upper = new Float64Array(buffer, at('UPPERS'), count);
    this.eventIndexes = new Uint32Array(buffer, at('EVENT_INDEXES'), count);
    this.eventPhases = new Uint8Array(buffer, at('EVENT_PHASES'), count);
    this.eventCauses = new Uint8Array(buffer, at('EVENT_CAUSES'), count);
    this.eventOnsets = new BigInt64Array(buffer, at('EVENT_ONSETS'), count);
    this.eventTimestamps = new BigInt64Array(buffer, at('EVENT_TIMESTAMPS'), count);
    this.#description = new Float64Array(buffer, at('DESCRIPTION'), 14);
    this.windows = settings.hasWindows === true ? new Windows(this) : undefined;
    this.#module.plant(seed, seriesMax);
    if (zone === undefined) return;
    new Int32Array(buffer, at('ZONE'), zone.length).set(zone);
    this.#module.useZone(zone.length / 2);
  }

  /**
   * Scores, then learns, the first `count` samples of the input columns, in order. Returns the
   * number of events.
   */
  observe(count: number): number {
    return this.#module.observe(count);
  }

  /**
   * A series begins in this slot. On a used slot it begins anew; only the guard against duplicates
   * stays.
   */
  open(slot: number, kind: SeriesKind): void {
    this.#module.open(slot, KINDS.indexOf(kind) + 1);
    this.windows?.clear(slot);
    this.#slotEnd = Math.max(this.#slotEnd, slot + 1);
  }

  /** The slot is free again. */
  clear(slot: number): void {
    this.#module.clear(slot);
    this.windows?.clear(slot);
  }

  /** The series fell silent: true when an anomaly was open, which is closed now. */
  endAnomaly(slot: number): boolean {
    return this.#module.endAnomaly(slot) !== 0;
  }

  view(slot: number): SeriesView {
    this.#module.describe(slot);
    const [kind, isStale, samples, warmSamples, lastTimestampMs, lastValue, octaves, ...rest] = this
      .#description as unknown as Description;
    const [score, onsetMs, peakScore, expected, lower, upper, cause] = rest;
    return {
      kind: KINDS[kind - 1]!,
      stage: isStale ? 'stale' : samples < warmSamples ? 'warming' : 'active',
      samples,
      warmSamples,
      lastTimestampMs,
      lastValue,
      intervalMs: 1000 * 2 ** octaves,
      score,
      flag: !Number.isNaN(onsetMs),
      onsetMs,
      peakScore,
      expected,
      lower,
      upper,
      cause: CAUSES[cause]!,
    };
  }

  /** NaN before the first sample. */
  lastTimestampMs(slot: number): number {
    this.#module.describe(slot);
    return this.#description[4]!;
  }

  /** The bytes of the slots below `count`: a view, which the next `observe` changes. */
  records(count: number): Uint8Array {
    assert(count <= this.#seriesMax, `${count} records of ${this.#seriesMax}`);
    return new Uint8Array(this.#memory.buffer, this.#recordsAt, count * this.recordBytes);
  }

  /** Puts back what `records` gave, from slot 0 on; the slots behind it are free. */
  restore(bytes: Uint8Array): void {
    const count = bytes.length / this.recordBytes;
    assert(Number.isInteger(count), `${bytes.length} bytes are no whole number of records`);
    this.records(Math.max(count, this.#slotEnd)).fill(0, bytes.length);
    this.records(count).set(bytes);
    this.#slotEnd = count;
  }

  #constant(name: string): number {
    const constant = this.#module[name];
    assert(constant instanceof WebAssembly.Global, `The module has no constant ${name}`);
    return constant.value as number;
  }
}

/** DESCRIPTION of the module, in its order. */
type Description = [
  kind: number,
  isStale: number,
  samples: number,
  warmSamples: number,
  lastTimestampMs: number,
  lastValue: number,
  octaves: number,
  score: number,
  onsetMs: number,
  peakScore: number,
  expected: number,
  lower: number,
  upper: number,
  cause: number,
];

/**
 * An assert of the module failed: a programmer error. Text and file name are pointers into it, so
 * only the line tells.
 */
function abort(_message: number, _file: number, line: number, column: number): never {
  throw new Error(`The forest stopped itself at ${line}:${column}`);
}
