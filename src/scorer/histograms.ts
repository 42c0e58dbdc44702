// The histograms of one partition. Bucket series that differ only in `le`, and the native series of the same name and
// labels, are one histogram; its quantiles and its shape are scored as gauges of their own, its buckets are not. Which
// histogram a series belongs to is looked up at its first sample and kept by entry. Part of the partition's state:
// a function of the samples in their order, written to checkpoints, bounded by the series that the partition may know.

import { strict as assert } from 'node:assert';
import { createHash } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { MetricType, type SeriesInfo, SeriesInfoSchema } from '../gen/sample_block_pb.js';
import { HISTOGRAM_BUCKETS_MAX, SILENCE_MS } from '../limits.js';
import type { Label } from '../series.js';
import { BucketSet, STALE } from './bucket-set.js';
import {
  decodeHistograms,
  encodeHistograms,
  type HistogramState as Histogram,
} from './histogram-state.js';
import { Interval } from './interval.js';
import { NativeReader } from './native-histogram.js';
import { type NativeOutcome, NativeSet } from './native-set.js';
import { NO_ENTRY } from './slots.js';
import { SparseCounts } from './sparse-counts.js';

/** The series that are scored in place of a histogram's buckets: its labels without `le`, and one of these. */
export const DERIVED: readonly Label[] = [
  { name: 'quantile', value: '0.5' },
  { name: 'quantile', value: '0.99' },
  { name: 'shape', value: 'distance' },
];
const KEY_BYTES = 16;

/** What the partition does for histograms. */
export interface DerivedSeries {
  announcement(entry: number): Uint8Array;
  /** How many new ones can be opened. */
  room(): number;
  /** The entry of a derived series, old or new; NO_ENTRY when there is no room. */
  open(fingerprint: { low: number; high: number }, announcement: Uint8Array): number;
  observe(entry: number, timestampMs: number, value: number): void;
  markStale(entry: number, timestampMs: number): void;
}

/** Null: looked at, and left out. */
type Member = Histogram | null | undefined;

export class Histograms {
  readonly #derived: DerivedSeries;
  readonly #byKey = new Map<string, Histogram>();
  /** By entry: the histogram of a bucket series, of a native one, or of a derived one. */
  readonly #members: Member[] = [];
  #rows = new Uint16Array(256);
  readonly #interval = new Interval(HISTOGRAM_BUCKETS_MAX);
  readonly #reader = new NativeReader();
  readonly #counts = new SparseCounts();
  readonly #scratch = new SparseCounts();

  constructor(derived: DerivedSeries) {
    this.#derived = derived;
  }

  /** Histograms known now. */
  get count(): number {
    return this.#byKey.size;
  }

  /** A sample of a series that is not scored itself. */
  observeBucket(entry: number, timestampMs: number, value: number, startMs: number): void {
    const isCount = value >= 0 && value < Number.POSITIVE_INFINITY;
    if (isCount) this.#observeCell(entry, timestampMs, value, startMs);
  }

  /** The stale marker of such a series. */
  observeStale(entry: number, timestampMs: number): void {
    const member = this.#members[entry];
    if (!member) return;
    if (member.native?.entry === entry) this.#endNative(member, timestampMs);
    else this.#observeCell(entry, timestampMs, STALE, 0);
  }

  /** A native histogram; 'refused' when it cannot be read or there is no room for its derived series. */
  observeNative(
    entry: number,
    timestampMs: number,
    startMs: number,
    bytes: Uint8Array,
  ): NativeOutcome | 'refused' {
    const histogram = this.#nativeOf(entry);
    if (histogram === undefined) {
      this.#setMember(entry, null);
      return 'refused';
    }
    const { native } = histogram;
    assert(native !== undefined);
    if (!this.#reader.read(bytes, this.#counts)) return 'refused';
    const outcome = native.admit(timestampMs, bytes);
    if (outcome !== 'applied') return outcome;
    if (this.#reader.isStale) {
      native.markStale();
      this.#markStale(histogram, timestampMs);
      return outcome;
    }
    const interval = this.#interval;
    if (native.measure(this.#reader, { counts: this.#counts, startMs, interval })) {
      const shape = native.compareAndLearn(interval, interval.schema, this.#scratch);
      this.#score(histogram, timestampMs, shape);
    }
    return outcome;
  }

  /** Announced again: what could not be taken up before may be now. */
  announce(entry: number, type: MetricType): void {
    const member = this.#members[entry];
    if (member === null) this.#members[entry] = undefined;
    else if (member?.classic !== undefined && member.native?.entry !== entry) {
      member.classic.isGauge = type === MetricType.GAUGE_HISTOGRAM;
    }
  }

  /** The series of this entry is forgotten. */
  remove(entry: number): void {
    const member = this.#members[entry];
    this.#members[entry] = undefined;
    if (!member) return;
    const derived = member.derived.indexOf(entry);
    if (derived >= 0) member.derived[derived] = NO_ENTRY;
    else if (member.native?.entry === entry) member.native = undefined;
    else if (member.classic !== undefined) this.#removeRow(member, this.#rows[entry]!);
    this.#dropWhenEmpty(member);
  }

  encode(): Uint8Array {
    const histograms = new Set<Histogram>();
    const leftOut: number[] = [];
    for (let entry = 0; entry < this.#members.length; entry++) {
      const member = this.#members[entry];
      if (member === null) leftOut.push(entry);
      else if (member !== undefined) histograms.add(member);
    }
    return encodeHistograms({ leftOut, histograms: [...histograms] });
  }

  /** What `encode` gave; there must be no histogram yet. */
  restore(bytes: Uint8Array): void {
    assert(this.#byKey.size === 0);
    const { leftOut, histograms } = decodeHistograms(bytes);
    for (const entry of leftOut) this.#setMember(entry, null);
    for (const histogram of histograms) {
      this.#byKey.set(histogram.key, histogram);
      const { derived, native } = histogram;
      for (const entry of derived) if (entry !== NO_ENTRY) this.#setMember(entry, histogram);
      if (native !== undefined) this.#setMember(native.entry, histogram);
      this.#renumber(histogram);
    }
  }

  #observeCell(entry: number, timestampMs: number, cell: number, startMs: number): void {
    let histogram = this.#members[entry];
    if (histogram === undefined) {
      histogram = this.#join(entry, timestampMs);
      this.#setMember(entry, histogram);
    }
    if (histogram === null) return;
    const { classic } = histogram;
    // Single values of a native series, between histograms, are nothing to us.
    if (classic === undefined || histogram.native?.entry === entry) return;
    classic.observe(this.#rows[entry]!, timestampMs, cell, startMs);
    const closing = classic.close(this.#interval);
    const { closedMs } = classic;
    if (closing === 'interval') this.#closeInterval(histogram, classic);
    else if (closing === 'stale' && !isNative(histogram, closedMs)) {
      this.#markStale(histogram, closedMs);
    }
    if (classic.hasEnded) this.#removeEnded(histogram, classic);
  }

  #removeEnded(histogram: Histogram, classic: BucketSet): void {
    for (const row of classic.takeEnded()) {
      this.#members[classic.entries[row]!] = undefined;
      this.#removeRow(histogram, row);
    }
    this.#dropWhenEmpty(histogram);
  }

  #closeInterval(histogram: Histogram, classic: BucketSet): void {
    const shape = classic.compareAndLearn(this.#interval);
    if (!isNative(histogram, classic.closedMs)) this.#score(histogram, classic.closedMs, shape);
  }

  /** The histogram that this bucket series is part of from now on. */
  #join(entry: number, timestampMs: number): Histogram | null {
    const announced = fromBinary(SeriesInfoSchema, this.#derived.announcement(entry));
    const bound = boundOf(announced.label);
    if (bound === undefined) return null;
    const key = keyOf(announced);
    const histogram = this.#byKey.get(key) ?? this.#create(key);
    histogram.classic ??= new BucketSet();
    const { classic } = histogram;
    classic.isGauge = announced.type === MetricType.GAUGE_HISTOGRAM;
    // A bucket that always comes too late would only be waited for in vain.
    const isLate = timestampMs < classic.closedMs;
    const row = isLate || classic.find(bound) >= 0 ? -1 : classic.insert(bound, entry);
    if (row < 0) {
      this.#dropWhenEmpty(histogram);
      return null;
    }
    this.#renumber(histogram);
    return histogram;
  }

  #nativeOf(entry: number): Histogram | undefined {
    const member = this.#members[entry];
    if (member?.native?.entry === entry) return member;
    if (member !== undefined) return undefined;
    const announced = fromBinary(SeriesInfoSchema, this.#derived.announcement(entry));
    const key = keyOf(announced);
    const histogram = this.#byKey.get(key) ?? this.#create(key);
    // Derived series are opened first: there are never more native histograms than records for them.
    if (histogram.native !== undefined || !this.#openDerived(histogram, announced)) {
      this.#dropWhenEmpty(histogram);
      return undefined;
    }
    histogram.native = new NativeSet(entry);
    this.#setMember(entry, histogram);
    return histogram;
  }

  #create(key: string): Histogram {
    const derived: Histogram['derived'] = [NO_ENTRY, NO_ENTRY, NO_ENTRY];
    const histogram: Histogram = { key, derived, classic: undefined, native: undefined };
    this.#byKey.set(key, histogram);
    return histogram;
  }

  /** Scores what is in the interval. */
  #score(histogram: Histogram, timestampMs: number, shape: number): void {
    if (histogram.derived.includes(NO_ENTRY)) {
      if (this.#derived.room() === 0) return;
      const member = histogram.native?.entry ?? histogram.classic?.entries[0];
      assert(member !== undefined);
      const announced = fromBinary(SeriesInfoSchema, this.#derived.announcement(member));
      if (!this.#openDerived(histogram, announced)) return;
    }
    const { derived } = histogram;
    this.#derived.observe(derived[0], timestampMs, this.#interval.quantile(0.5));
    this.#derived.observe(derived[1], timestampMs, this.#interval.quantile(0.99));
    if (!Number.isNaN(shape)) this.#derived.observe(derived[2], timestampMs, shape);
  }

  #openDerived(histogram: Histogram, member: SeriesInfo): boolean {
    // All or none: a part of them would be of no use to anybody.
    const missing = histogram.derived.filter((entry) => entry === NO_ENTRY).length;
    if (this.#derived.room() < missing) return false;
    for (const [i, label] of DERIVED.entries()) {
      if (histogram.derived[i] !== NO_ENTRY) continue;
      const digest = createHash('sha256').update(histogram.key).update(seriesTextOf(label));
      const hash = digest.digest();
      const fingerprint = { low: hash.readUInt32LE(0), high: hash.readUInt32LE(4) };
      const announcement = create(SeriesInfoSchema, {
        fingerprint: hash.readBigUInt64LE(0),
        label: derivedLabels(member.label, label),
        type: MetricType.GAUGE,
        unit: label.name === 'quantile' ? member.unit : '',
        tenant: member.tenant,
      });
      const entry = this.#derived.open(fingerprint, toBinary(SeriesInfoSchema, announcement));
      if (entry === NO_ENTRY) return false;
      histogram.derived[i] = entry;
      this.#setMember(entry, histogram);
    }
    return true;
  }

  #endNative(histogram: Histogram, timestampMs: number): void {
    const { native } = histogram;
    assert(native !== undefined);
    if (timestampMs <= native.lastMs) return;
    native.markStale();
    this.#markStale(histogram, timestampMs);
  }

  #markStale(histogram: Histogram, timestampMs: number): void {
    for (const entry of histogram.derived) {
      if (entry !== NO_ENTRY) this.#derived.markStale(entry, timestampMs);
    }
  }

  #removeRow(histogram: Histogram, row: number): void {
    histogram.classic?.remove(row);
    this.#renumber(histogram);
  }

  /** Nobody is left who could bring samples; its derived series fall idle by themselves. */
  #dropWhenEmpty(histogram: Histogram): void {
    if (histogram.classic?.count === 0) histogram.classic = undefined;
    if (histogram.classic !== undefined || histogram.native !== undefined) return;
    this.#byKey.delete(histogram.key);
    for (const entry of histogram.derived) {
      if (entry !== NO_ENTRY) this.#members[entry] = undefined;
    }
  }

  #renumber(histogram: Histogram): void {
    const { classic } = histogram;
    for (let row = 0; row < (classic?.count ?? 0); row++) {
      const entry = classic!.entries[row]!;
      this.#setMember(entry, histogram);
      this.#rows[entry] = row;
    }
  }

  #setMember(entry: number, member: Member): void {
    while (this.#members.length <= entry) this.#members.push(undefined);
    this.#members[entry] = member;
    if (entry < this.#rows.length) return;
    const wider = new Uint16Array(Math.max(2 * this.#rows.length, entry + 1));
    wider.set(this.#rows);
    this.#rows = wider;
  }
}

/** Where both are sent, the native histogram is the finer one, and the classic one only learns. */
function isNative({ native }: Histogram, timestampMs: number): boolean {
  return native !== undefined && timestampMs - native.lastMs <= SILENCE_MS;
}

/** The upper bound of a classic histogram's bucket; undefined when the series is none. */
function boundOf(labels: readonly Label[]): number | undefined {
  const value = labels.find(({ name }) => name === 'le')?.value ?? '';
  if (!familyName(labels).isBucket) return undefined;
  if (/^\+?inf$/i.test(value)) return Number.POSITIVE_INFINITY;
  const bound = Number(value);
  return value === '' || !Number.isFinite(bound) ? undefined : bound;
}

function familyName(labels: readonly Label[]): { name: string; isBucket: boolean } {
  const name = labels.find((label) => label.name === '__name__')?.value ?? '';
  const isBucket = name.endsWith('_bucket') && labels.some((label) => label.name === 'le');
  return { name: isBucket ? name.slice(0, -'_bucket'.length) : name, isBucket };
}

/** One key for all bucket series of a histogram, and for its native one, whatever the order of their labels. */
function keyOf({ tenant, label }: SeriesInfo): string {
  const { name, isBucket } = familyName(label);
  const pairs = label
    .filter((one) => one.name !== '__name__' && !(isBucket && one.name === 'le'))
    .map((one) => [one.name, one.value])
    .sort(([a = ''], [b = '']) => (a < b ? -1 : 1));
  const text = JSON.stringify([tenant, name, pairs]);
  return createHash('sha256').update(text).digest().subarray(0, KEY_BYTES).toString('hex');
}

function derivedLabels(labels: readonly Label[], own: Label): { name: string; value: string }[] {
  const { name, isBucket } = familyName(labels);
  const kept = labels
    .filter((one) => !(isBucket && one.name === 'le'))
    .map((one) => {
      if (one.name === '__name__') return { name: one.name, value: name };
      // As with `detector`: the source's own label of that name steps aside.
      return { name: one.name === own.name ? `exported_${one.name}` : one.name, value: one.value };
    });
  return [...kept, { ...own }];
}

function seriesTextOf({ name, value }: Label): string {
  return `${name}=${value}`;
}
