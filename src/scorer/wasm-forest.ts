// The forest of one partition: one WebAssembly instance, one memory, one record per slot. The
// memory is made once, as large as `seriesMax` needs; it never grows, so the views below live as
// long as the forest (pages that no series has touched cost nothing). The caller fills the input
// columns, calls `observe`, and reads the output columns before the next call. A slot is opened
// before its first sample.

import assert from 'node:assert/strict';
import type { Description, ForestExports } from './forest-exports.js';
import { Windows } from './windows.js';

/**
 * A guessed counter is one by its name only; when it falls as counters do not, it becomes a gauge.
 */
export type SeriesKind = 'gauge' | 'counter' | 'guessed-counter';
export type SeriesStage = 'warming' | 'active' | 'stale';
export const OUTCOMES = ['applied', 'duplicate', 'conflict', 'late'] as const;
export const PHASES = ['none', 'onset', 'peak', 'end'] as const;
export const CAUSES = ['none', 'novelty', 'magnitude', 'quiet'] as const;
/** Why nothing is to be learnt from a series; `never-moved` is scored all the same. */
export const SUITABILITIES = ['suited', 'clock', 'only-grows', 'never-moved'] as const;
export type Suitability = (typeof SUITABILITIES)[number];

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
  /** Why nothing is shown of it, as it was marked. */
  unsuited: Suitability;
}

/** What a sample must be for its anomaly to be shown. */
export interface ShownRule {
  side: 'above' | 'below' | 'both';
  /** Distance from what was expected: at least so much, and so much of what was expected. */
  minDeviation: number;
  minRelativeDeviation: number;
  /** `needed` of the last `among` samples, at most 32; an open anomaly goes on by any one. */
  needed: number;
  among: number;
  /** The score must be higher. */
  threshold: number;
  isIgnored: boolean;
}

/** Deviations that are not shown, up to these: in the series' own unit, and in halves of the band. */
export interface Dismissal {
  above: number;
  below: number;
  bandsAbove: number;
  bandsBelow: number;
  /** Nor that it is too quiet. */
  isQuietFalse: boolean;
}

const SIDES = { above: 1, below: 2, both: 3 } as const;
const KINDS: readonly SeriesKind[] = ['gauge', 'counter', 'guessed-counter'];
const PAGE_BYTES = 65536;
/** Tables and columns below the records; checked against the module below. */
const FIXED_BYTES_MAX = 256 * 1024;
/** A record and what lies beside it may not be larger than this; the module says how large they are. */
const RECORD_BYTES_MAX = 832;
const BESIDE_BYTES_MAX = 65;
/** Of what lies beside a record, what a checkpoint keeps: the anomaly that is shown. */
export const SHOWN_BYTES = 25;
/** As asconfig.json declares it. */
const PAGES_MAX = 65536;

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
  /** Was any slot ever given a rule? */
  hasRules = false;

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
  readonly #setAside: Uint8Array;
  /** One more than the highest slot that may hold anything but zeros. */
  #slotEnd = 0;

  /** `zone`: what the clock on the wall does, as zoneChanges tells it; absent: UTC. */
  constructor(module: WebAssembly.Module, settings: ForestSettings) {
    const { seriesMax, seed, zone } = settings;
    assert(Number.isInteger(seriesMax) && seriesMax > 0, `seriesMax is ${seriesMax}`);
    const bytes = FIXED_BYTES_MAX + seriesMax * (RECORD_BYTES_MAX + BESIDE_BYTES_MAX);
    const pages = Math.ceil(bytes / PAGE_BYTES);
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
    assert(this.#constant('LIFE_BYTES') < BESIDE_BYTES_MAX);

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
    this.#description = new Float64Array(buffer, at('DESCRIPTION'), 15);
    this.windows = settings.hasWindows === true ? new Windows(this) : undefined;
    this.#setAside = new Uint8Array(buffer, at('SET_ASIDE'), this.recordBytes);
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

  /** What is known of one series becomes what is known of another. */
  copy(from: number, to: number): void {
    const end = (Math.max(from, to) + 1) * this.recordBytes;
    const bytes = new Uint8Array(this.#memory.buffer, this.#recordsAt, end);
    const at = from * this.recordBytes;
    bytes.copyWithin(to * this.recordBytes, at, at + this.recordBytes);
  }

  /** The series fell silent: true when an anomaly was open, which is closed now. */
  endAnomaly(slot: number): boolean {
    return this.#module.endAnomaly(slot) !== 0;
  }

  view(slot: number): SeriesView {
    this.#module.describe(slot);
    const [kind, isStale, samples, warmSamples, lastTimestampMs, lastValue, octaves, ...rest] = this
      .#description as unknown as Description;
    const [score, onsetMs, peakScore, expected, lower, upper, cause, unsuited] = rest;
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
      unsuited: SUITABILITIES[unsuited]!,
    };
  }

  /** Writes rule `index`, from 1 on; slots that have it follow it from their next sample on. */
  writeRule(index: number, rule: ShownRule): void {
    const { minDeviation, minRelativeDeviation, threshold, needed, among } = rule;
    const sides = SIDES[rule.side];
    this.#module.writeRule(
      index,
      minDeviation,
      minRelativeDeviation,
      threshold,
      sides,
      needed,
      among,
      Number(rule.isIgnored),
    );
  }

  /** From now on what is shown of the series follows this rule; what it scores and learns does not change. */
  assignRule(slot: number, index: number): void {
    this.hasRules = true;
    this.#module.assignRule(slot, index);
  }

  /** 0 when none was ever assigned: every score above 1 is shown. */
  ruleOf(slot: number): number {
    return this.#module.ruleOf(slot);
  }

  /** The slot must have a rule, here and below. */
  dismiss(slot: number, dismissal: Dismissal): void {
    const { above, below, bandsAbove, bandsBelow, isQuietFalse } = dismissal;
    this.#module.dismiss(slot, above, below, bandsAbove, bandsBelow, Number(isQuietFalse));
  }

  markUnsuited(slot: number, why: Suitability): void {
    this.#module.markUnsuited(slot, SUITABILITIES.indexOf(why));
  }

  /** Is what is shown of it something else than what its record knows? */
  differs(slot: number): boolean {
    return this.#module.differs(slot) !== 0;
  }

  /** The anomaly that is shown of it, SHOWN_BYTES that can be set: a view. */
  shown(slot: number): Uint8Array {
    return new Uint8Array(this.#memory.buffer, this.#module.lifeOf(slot), SHOWN_BYTES);
  }

  /** What its record says now. */
  suitability(slot: number): Suitability {
    return SUITABILITIES[this.#module.suitability(slot)]!;
  }

  /** How far the series is from its usual level. */
  shift(slot: number): number {
    return this.#module.shift(slot);
  }

  /** The level that is `shift` from the usual one is the usual one from now on. */
  acceptShift(slot: number, shift: number): void {
    this.#module.acceptShift(slot, shift);
  }

  undoShift(slot: number, shift: number): void {
    this.#module.undoShift(slot, shift);
  }

  /** A copy of the slot's record. */
  record(slot: number): Uint8Array {
    assert(slot < this.#seriesMax);
    const from = this.#recordsAt + slot * this.recordBytes;
    return new Uint8Array(this.#memory.buffer, from, this.recordBytes).slice();
  }

  /**
   * Puts a record back that `record` gave, with the guard and the open anomaly of the one that is
   * there. False when the series has begun anew as another kind: then nothing changes.
   */
  resume(slot: number, record: Uint8Array): boolean {
    this.#setAside.set(record);
    return this.#module.resume(slot) !== 0;
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

/**
 * An assert of the module failed: a programmer error. Text and file name are pointers into it, so
 * only the line tells.
 */
function abort(_message: number, _file: number, line: number, column: number): never {
  throw new Error(`The forest stopped itself at ${line}:${column}`);
}
