// The host of decode.wasm: owns its memory, passes the limits in, turns its numbers into words. A
// request costs one call and a few small objects; strings are made only for new series, which
// `classify` sees once, and for the first few rejections. What a call returns, blocks above all, is
// valid until the next call.

import assert from 'node:assert/strict';
import {
  BODY_BYTES_MAX,
  FAMILY_ENTRIES,
  LABEL_NAME_BYTES_MAX,
  TENANT_BYTES_MAX,
  UNIT_BYTES_MAX,
  UNITS_MAX,
} from '../limits.js';
import type { Label } from '../series.js';
import { badRequest, type Version } from './bad-request.js';
import { type DecodeExports, openDecodeModule } from './decode-module.js';
import { LabelTexts } from './label-texts.js';

export interface DecoderSettings {
  partitions: number;
  partitionBy: readonly (readonly string[])[];
  stripLabels: readonly string[];
  /** Asked once per series, with its labels as they will be logged. */
  classify: (labels: readonly Label[]) => Disposition;
  /** Without it replicas are not told apart. */
  replicas?: ReplicaRules | undefined;
}

/** docs/decisions/0007-replica-pairs.md. */
export interface ReplicaRules {
  /** Names of the labels that say which replica of which cluster sends; no partition, and not stripped. */
  clusterLabel: string;
  replicaLabel: string;
  /** Asked once per request and claim, before anything of it is emitted; true lets it in. */
  judge: (claim: ReplicaClaim) => boolean;
}

export interface ReplicaClaim {
  tenant: string;
  cluster: string;
  replica: string;
  /** Of its samples in the request that may be logged; undefined when there is none. */
  newestMs: number | undefined;
}

// The position is the number in the module: series-cache.ts.
export const DISPOSITIONS = ['keep', 'own_output', 'ignored', 'dropped'] as const;
export type Disposition = (typeof DISPOSITIONS)[number];
const LEFT_OUT = [...DISPOSITIONS, 'replica'] as const;
type LeftOut = (typeof LEFT_OUT)[number];

// The position, from 1, is the number in the module: reasons.ts.
export const REJECT_REASONS = [
  'no_metric_name',
  'duplicate_label',
  'empty_label_name',
  'invalid_utf8',
  'too_many_labels',
  'label_name_too_long',
  'label_value_too_long',
  'too_far_in_future',
  'no_samples',
  'odd_references',
  'reference_out_of_range',
  'histogram_malformed',
  'histogram_too_long',
  'histogram_schema',
  'histogram_span_offset',
  'histogram_span_mismatch',
  'histogram_negative_bucket',
  'histogram_count_mismatch',
  'histogram_custom_bounds',
  'histogram_custom_parts',
  'histogram_stray_bounds',
  'invalid_exemplar',
  'invalid_metadata',
] as const;
export type RejectReason = (typeof REJECT_REASONS)[number];

export interface Block {
  partition: number;
  /** Float samples and native histograms. */
  samples: number;
  /** Of them float samples, and whether they have a column of start timestamps. */
  floats: number;
  hasStarts: boolean;
  /** A SampleBlock, in linear memory: valid until the next decode. */
  bytes: Uint8Array;
}

/** What the sender may take for stored: what is in the blocks, and what a rule of ours leaves out. */
export interface Written {
  samples: number;
  histograms: number;
  exemplars: number;
}

export interface Decoded {
  /** Float samples and native histograms: those in the blocks, left out and rejected, together. */
  received: number;
  written: Written;
  blocks: Block[];
  /** Samples and histograms of series that were told not to be kept. */
  leftOut: Record<LeftOut, number>;
  /** The whole request comes from replicas that are not the elected ones. */
  isLeftOut: boolean;
  /** Samples let in although their replica could not be told apart: too many in one request. */
  unclaimed: number;
  /** Samples and histograms. */
  rejected: Record<RejectReason, number>;
  /** Series that had none, exemplars and metadata. */
  rejectedOther: Record<RejectReason, number>;
  /** Of both. */
  rejectedCount: number;
  /** At most 5. */
  firstRejects: { reason: RejectReason; series: string }[];
  exemplars: number;
  metadata: number;
  newSeries: number;
  /** The first symbol of a 2.0 request is not the empty string, as the specification wants it. */
  hasOddFirstSymbol: boolean;
  /** Families and units for which there was no room. */
  familiesLeftOut: number;
  /** Metadata said something that was not known: the types of series may be others now. */
  hasFamilyNews: boolean;
  unitsLeftOut: number;
}

// All in the order of assembly/decode/results.ts, in u32.
const RESULT_LEFT_OUT = 22;
const RESULT_REJECTED = RESULT_LEFT_OUT + LEFT_OUT.length;
const RESULT_REJECTED_OTHER = RESULT_REJECTED + 1 + REJECT_REASONS.length;
const RESULT_FIRST_REJECTS = RESULT_REJECTED_OTHER + 1 + REJECT_REASONS.length;
/** In place of a series: what is rejected belongs to none. */
const NO_SERIES = 0xffff_ffff;
/** In place of a number of new series: the claims are to be judged. */
const CLAIMED = -2;
// Roles of names: assembly/decode/names.ts.
const ROLE_BUCKET_BOUND = 0;
const ROLE_CLUSTER = 1;
const ROLE_REPLICA = 2;
/** FamilyEntry of assembly/decode/layout.ts. */
const FAMILY_ENTRY_BYTES = 16;
// PartitionRecord of assembly/decode/layout.ts, in u32.
const PARTITION_WORDS = 13;

export class WasmDecoder {
  readonly #exports: DecodeExports;
  readonly #settings: DecoderSettings;
  /**
   * The whole memory, twice: as bytes and as numbers. It never grows, so they stay valid.
   */
  readonly #bytes: Uint8Array;
  readonly #words: Uint32Array;
  readonly #encoder = new TextEncoder();
  readonly #texts: LabelTexts;

  constructor(module: WebAssembly.Module, settings: DecoderSettings) {
    const { exports, memory } = openDecodeModule(module, settings.partitions);
    this.#exports = exports;
    this.#settings = settings;
    this.#bytes = new Uint8Array(memory.buffer);
    this.#texts = new LabelTexts(memory.buffer);
    this.#words = new Uint32Array(memory.buffer);
    this.#addNames();
  }

  /**
   * Times the table of known series was full; every series is then classified and announced again.
   */
  get cacheClears(): number {
    return this.#exports.cacheClears();
  }

  /** Where the compressed body goes; `bytes` of it, at most BODY_BYTES_MAX. */
  input(bytes: number): Uint8Array {
    assert(bytes <= BODY_BYTES_MAX);
    const start = this.#exports.bodyStart();
    return this.#bytes.subarray(start, start + BODY_BYTES_MAX);
  }

  /** Throws BadRequest when nothing of the request can be taken. */
  decode(bytes: number, options: { tenant: string; nowMs: number; version?: Version }): Decoded {
    const { tenant, nowMs, version = 1 } = options;
    const tenantStart = this.#exports.tenantStart();
    const room = this.#bytes.subarray(tenantStart, tenantStart + TENANT_BYTES_MAX);
    const tenantText = this.#encoder.encodeInto(tenant, room);
    assert.equal(tenantText.read, tenant.length, 'the tenant is longer than TENANT_BYTES_MAX');
    let newSeries = this.#exports.decode(bytes, tenantText.written, nowMs, version);
    if (newSeries === CLAIMED) {
      this.#judgeClaims(tenant);
      newSeries = this.#exports.proceed();
    }
    if (newSeries < 0) {
      const [code, at] = [this.#exports.failureCode(), this.#exports.failurePosition()];
      throw badRequest(version, { code, at });
    }
    for (let i = 0; i < newSeries; i++) this.#classify(this.#exports.newSeries(i), version);
    if (newSeries > 0) this.#exports.emit();
    this.#texts.clear();
    return this.#decoded(newSeries);
  }

  /**
   * Makes the next request announce every series again: the blocks with the announcements were
   * lost.
   */
  forgetAnnouncements(): void {
    this.#exports.forgetAnnouncements();
  }

  /** Names of partition sets first: the module keeps those in 32 bits. */
  #addNames(): void {
    const { partitionBy, stripLabels, replicas } = this.#settings;
    assert(!stripLabels.includes('__name__'), 'the metric name cannot be stripped');
    const indices = new Map<string, number>();
    const add = (name: string): number => {
      const start = this.#exports.bodyStart();
      const text = this.#encoder.encode(name);
      assert(text.length > 0 && text.length <= LABEL_NAME_BYTES_MAX);
      this.#bytes.set(text, start);
      const index = this.#exports.addName(start, text.length, stripLabels.includes(name));
      indices.set(name, index);
      return index;
    };
    for (const name of new Set([...partitionBy.flat(), ...stripLabels])) add(name);
    for (const names of partitionBy) {
      const bits = names.reduce((sum, name) => sum | (1 << indices.get(name)!), 0);
      this.#exports.addPartitionSet(bits);
    }
    const role = (name: string, is: number): void =>
      this.#exports.addRole(indices.get(name) ?? add(name), is);
    if (!stripLabels.includes('le')) role('le', ROLE_BUCKET_BOUND);
    if (replicas === undefined) return;
    role(replicas.clusterLabel, ROLE_CLUSTER);
    role(replicas.replicaLabel, ROLE_REPLICA);
  }

  /**
   * Takes over what another decoder has learnt from metadata, which come about once a minute: until
   * then the series of this one would have no types.
   */
  adoptFamilies(other: WasmDecoder): void {
    const copy = (place: 'familiesStart' | 'unitsStart', bytes: number): void => {
      const from = other.#exports[place]();
      this.#bytes.set(other.#bytes.subarray(from, from + bytes), this.#exports[place]());
    };
    copy('familiesStart', FAMILY_ENTRIES * FAMILY_ENTRY_BYTES);
    copy('unitsStart', UNITS_MAX * (4 + UNIT_BYTES_MAX));
    this.#exports.adoptTables(other.#exports.knownFamilies(), other.#exports.knownUnits());
  }

  #judgeClaims(tenant: string): void {
    const { judge, clusterLabel, replicaLabel } = this.#settings.replicas!;
    const claims = this.#words[(this.#exports.resultsAt() >> 2) + 18]!;
    for (let claim = 0; claim < claims; claim++) {
      const count = this.#exports.labelsOf(this.#exports.claimedBy(claim), false);
      const labels = this.#texts.ofSymbols(this.#exports.spansStart(), count);
      const labelled = (wanted: string) =>
        labels.find(({ name, value }) => name === wanted && value !== '')!.value;
      const newest = this.#exports.newestOf(claim);
      const isIn = judge({
        tenant,
        cluster: labelled(clusterLabel),
        replica: labelled(replicaLabel),
        newestMs: newest > -(2 ** 63) ? newest : undefined,
      });
      if (!isIn) this.#exports.leaveOutClaim(claim);
    }
  }

  #classify(series: number, version: Version): void {
    const count = this.#exports.labelsOf(series, true);
    const spansAt = this.#exports.spansStart();
    const labels =
      version === 1 ? this.#texts.sent(spansAt, count) : this.#texts.ofSymbols(spansAt, count);
    const disposition = this.#settings.classify(labels);
    this.#exports.settle(series, DISPOSITIONS.indexOf(disposition));
  }

  #shown(series: number): string {
    const count = this.#exports.labelsOf(series, false);
    return this.#texts.shown(this.#exports.spansStart(), count);
  }

  #decoded(newSeries: number): Decoded {
    const words = this.#words;
    const at = this.#exports.resultsAt() >> 2;
    const firstRejects: Decoded['firstRejects'] = [];
    for (let i = 0; i < words[at + 8]!; i++) {
      const reject = at + RESULT_FIRST_REJECTS + 2 * i;
      const series = words[reject + 1]!;
      firstRejects.push({
        reason: REJECT_REASONS[words[reject]! - 1]!,
        series: series === NO_SERIES ? '' : this.#shown(series),
      });
    }
    return {
      received: words[at]!,
      written: {
        samples: words[at + 9]!,
        histograms: words[at + 10]!,
        exemplars: words[at + 11]!,
      },
      blocks: this.#blocks(),
      leftOut: countersOf(LEFT_OUT, words, at + RESULT_LEFT_OUT),
      isLeftOut: words[at + 20] === 1,
      unclaimed: words[at + 19]!,
      rejected: countersOf(REJECT_REASONS, words, at + RESULT_REJECTED + 1),
      rejectedOther: countersOf(REJECT_REASONS, words, at + RESULT_REJECTED_OTHER + 1),
      rejectedCount: words[at + 7]!,
      firstRejects,
      exemplars: words[at + 4]!,
      metadata: words[at + 5]!,
      newSeries,
      hasOddFirstSymbol: words[at + 15] === 1,
      familiesLeftOut: words[at + 16]!,
      unitsLeftOut: words[at + 17]!,
      hasFamilyNews: words[at + 21] === 1,
    };
  }

  #blocks(): Block[] {
    const blocks: Block[] = [];
    let at = this.#exports.partitionsStart() >> 2;
    for (let partition = 0; partition < this.#settings.partitions; partition++) {
      const floats = this.#words[at]!;
      const samples = floats + this.#words[at + 1]!;
      if (samples > 0) {
        const hasStarts = this.#words[at + 2]! > 0;
        const start = this.#words[at + 3]!;
        const bytes = this.#bytes.subarray(start, start + this.#words[at + 4]!);
        blocks.push({ partition, samples, floats, hasStarts, bytes });
      }
      at += PARTITION_WORDS;
    }
    return blocks;
  }
}

function countersOf<Name extends string>(
  names: readonly Name[],
  words: Uint32Array,
  start: number,
): Record<Name, number> {
  const counters = {} as Record<Name, number>;
  for (let i = 0; i < names.length; i++) counters[names[i]!] = words[start + i]!;
  return counters;
}
