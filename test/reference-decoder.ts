// What decode.wasm computes, written to be read: plain TypeScript, BigInt for everything that has
// 64 bits, objects for everything else. The oracle of the tests, and the explanation for whoever
// writes the fingerprint in another language. It is a few hundred times slower and keeps every
// intermediate result.

import {
  ANNOUNCE_INTERVAL_MS,
  FUTURE_MS_MAX,
  LABEL_NAME_BYTES_MAX,
  REQUEST_LABEL_BYTES_MAX,
  UNIT_BYTES_MAX,
  UNITS_MAX,
} from '../src/limits.js';
import type {
  DecoderSettings,
  Disposition,
  RejectReason,
  Written,
} from '../src/receiver/wasm-decoder.js';
import { type Claims, judgeClaims } from './reference-claims.js';
import { finish, labelHash } from './reference-hash.js';
import { decodeText, isExemplar, isText, type Resolved, resolve } from './reference-labels.js';
import type { ByteLabel, RequestMessage, SeriesMessage } from './reference-messages.js';
import { Refused } from './reference-wire.js';

export interface Columns {
  announced: Announced[];
  fingerprint: bigint[];
  timestampMs: bigint[];
  valueBits: bigint[];
  /** Empty when no sample has one. */
  startTimestampMs: bigint[];
  histogram: {
    fingerprint: bigint;
    timestampMs: bigint;
    startTimestampMs: bigint;
    histogram: Uint8Array;
  }[];
}

interface Announced {
  fingerprint: bigint;
  label: { name: string; value: string }[];
  type: number;
  unit: string;
}

/** What is known of a metric: its type, and its unit. */
interface Kind {
  type: number;
  unit: string;
}

interface Known {
  disposition: Disposition;
  announcedSeconds: number;
  kind: Kind;
  /** How often a family had been learnt when the kind was last looked up. */
  lookedUpAt: number;
}

export interface Reference {
  received: number;
  written: Written;
  columns: Map<number, Columns>;
  leftOut: Partial<Record<Disposition | 'replica', number>>;
  isLeftOut: boolean;
  unclaimed: number;
  rejected: Partial<Record<RejectReason, number>>;
  rejectedOther: Partial<Record<RejectReason, number>>;
  rejectedCount: number;
  firstReasons: RejectReason[];
  exemplars: number;
  metadata: number;
  newSeries: number;
}

const FIRST_REJECTS_MAX = 5;

const PARTS: readonly (readonly [suffix: string, types: readonly number[]])[] = [
  ['_created', [1, 3, 5]],
  ['_bucket', [3, 4]],
  ['_count', [3, 5]],
  ['_total', [1]],
  ['_sum', [3, 5]],
  ['_info', [6]],
  ['_gcount', [4]],
  ['_gsum', [4]],
];

/**
 * A decoder with the same memory of what it has seen as WasmDecoder, except that it never fills up.
 */
export class ReferenceDecoder {
  readonly #settings: DecoderSettings;
  readonly #known = new Map<bigint, Known>();
  readonly #families = new Map<string, Kind>();
  readonly #units = new Set<string>();
  /** Counts what makes kinds be looked up again. */
  #learnt = 0;

  constructor(settings: DecoderSettings) {
    this.#settings = settings;
  }

  /** Throws Refused for what only the labels' sizes show to be too large. */
  decode(request: RequestMessage, options: { tenant: string; nowMs: number }): Reference {
    const result: Reference = {
      received: 0,
      written: { samples: 0, histograms: 0, exemplars: 0 },
      columns: new Map(),
      leftOut: {},
      isLeftOut: false,
      unclaimed: 0,
      rejected: {},
      rejectedOther: {},
      rejectedCount: 0,
      firstReasons: [],
      exemplars: request.series.reduce((sum, series) => sum + series.exemplars.length, 0),
      metadata: request.metadataCount,
      newSeries: 0,
    };
    const resolved = request.series.map((series) => resolve(request, series));
    const bytes = resolved.reduce((sum, { labelBytes }) => sum + labelBytes, 0);
    if (bytes > REQUEST_LABEL_BYTES_MAX) throw new Refused('too_large', 'label bytes');
    this.#learn(request, result, options.tenant);
    const all = request.series.map((series, i) => ({ series, ...resolved[i]! }));
    const claims = judgeClaims(all, this.#settings.replicas, options);
    result.unclaimed = claims.unclaimed;
    if (claims.isAllOut) return leaveAllOut(result, request);
    for (const one of all) this.#take(result, { request, claims, ...one }, options);
    for (const columns of result.columns.values()) {
      if (columns.startTimestampMs.every((start) => start === 0n)) columns.startTimestampMs = [];
    }
    return result;
  }

  forgetAnnouncements(): void {
    for (const known of this.#known.values()) known.announcedSeconds = Number.NEGATIVE_INFINITY;
    this.#learnt++;
  }

  /** All metadata of a 1.0 request, before its series. */
  #learn({ metadata }: RequestMessage, result: Reference, tenant: string): void {
    let isNews = false;
    for (const { type, family, unit } of metadata) {
      const isNamed = family.length > 0 && family.length <= LABEL_NAME_BYTES_MAX;
      if (!isNamed || !isText(family) || !isText(unit)) {
        this.#reject(result, 'invalid_metadata', { others: 1 });
        continue;
      }
      const kind = this.#kindOf(type, unit);
      if (isSilent(kind)) continue;
      const key = `${tenant} ${decodeText(family)}`;
      const before = this.#families.get(key);
      if (before?.type !== kind.type || before.unit !== kind.unit) isNews = true;
      this.#families.set(key, kind);
    }
    if (isNews) this.#learnt++;
  }

  #kindOf(type: number, unit: Uint8Array): Kind {
    const kind = { type: type > 7 ? 0 : type, unit: '' };
    if (unit.length === 0 || unit.length > UNIT_BYTES_MAX) return kind;
    const text = decodeText(unit);
    if (!this.#units.has(text) && this.#units.size === UNITS_MAX) return kind;
    this.#units.add(text);
    return { ...kind, unit: text };
  }

  #kindOfFamily(metric: string, tenant: string): Kind | undefined {
    const own = this.#families.get(`${tenant} ${metric}`);
    if (own) return own;
    for (const [suffix, types] of PARTS) {
      if (!metric.endsWith(suffix) || metric.length === suffix.length) continue;
      const family = this.#families.get(`${tenant} ${metric.slice(0, -suffix.length)}`);
      if (family && types.includes(family.type)) return family;
    }
    return undefined;
  }

  #reject(
    result: Reference,
    reason: RejectReason,
    { samples = 0, others = 0 }: { samples?: number; others?: number },
  ): void {
    if (samples > 0) result.rejected[reason] = (result.rejected[reason] ?? 0) + samples;
    if (others > 0) result.rejectedOther[reason] = (result.rejectedOther[reason] ?? 0) + others;
    result.rejectedCount += samples + others;
    if (result.firstReasons.length < FIRST_REJECTS_MAX) result.firstReasons.push(reason);
  }

  #take(
    result: Reference,
    {
      request,
      series,
      claims,
      ...resolved
    }: Resolved & { request: RequestMessage; series: SeriesMessage; claims: Claims },
    options: { tenant: string; nowMs: number },
  ): void {
    const points = series.samples.length + series.histograms.length;
    result.received += points;
    if (resolved.reason) {
      this.#reject(result, resolved.reason, points > 0 ? { samples: points } : { others: 1 });
      return;
    }
    const good = series.exemplars.filter((exemplar) => isExemplar(request, exemplar)).length;
    result.written.exemplars += good;
    const bad = series.exemplars.length - good;
    if (bad > 0) this.#reject(result, 'invalid_exemplar', { others: bad });

    if (claims.isOut(series)) {
      result.leftOut.replica = (result.leftOut.replica ?? 0) + points;
      result.written.samples += series.samples.length;
      result.written.histograms += series.histograms.length;
      return;
    }
    const labels = this.#keptLabels(resolved.labels, claims.has(series));
    const { fingerprint, partition } = this.#identify(labels, options.tenant);
    let known = this.#known.get(fingerprint);
    const texts = labels.map(({ name, value }) => ({
      name: decodeText(name),
      value: decodeText(value),
    }));
    if (!known) {
      known = {
        disposition: this.#settings.classify(texts),
        announcedSeconds: Number.NEGATIVE_INFINITY,
        kind: { type: 0, unit: '' },
        lookedUpAt: -1,
      };
      this.#known.set(fingerprint, known);
      result.newSeries++;
    }
    if (known.disposition !== 'keep') {
      result.leftOut[known.disposition] = (result.leftOut[known.disposition] ?? 0) + points;
      result.written.samples += series.samples.length;
      result.written.histograms += series.histograms.length;
      return;
    }
    const last = BigInt(options.nowMs + FUTURE_MS_MAX);
    const samples = series.samples.filter(({ timestamp }) => timestamp <= last);
    const futures = series.samples.length - samples.length;
    if (futures > 0) this.#reject(result, 'too_far_in_future', { samples: futures });
    const histograms = series.histograms.filter(({ reason, timestamp }) => {
      const fault = reason ?? (timestamp > last ? 'too_far_in_future' : undefined);
      if (fault) this.#reject(result, fault, { samples: 1 });
      return fault === undefined;
    });
    if (samples.length + histograms.length === 0) return;
    result.written.samples += samples.length;
    result.written.histograms += histograms.length;

    const columns: Columns = result.columns.get(partition) ?? emptyColumns();
    result.columns.set(partition, columns);
    const kind = this.#resolveKind(known, { request, series, texts }, options.tenant);
    if (this.#announces(known, kind, options.nowMs)) {
      columns.announced.push({ fingerprint, label: texts, ...kind });
    }
    for (const { timestamp, bits, start } of samples) {
      columns.fingerprint.push(fingerprint);
      columns.timestampMs.push(timestamp);
      columns.valueBits.push(bits);
      columns.startTimestampMs.push(start === 0n ? series.created : start);
    }
    for (const { timestamp, start, bytes } of histograms) {
      const startTimestampMs = start === 0n ? series.created : start;
      columns.histogram.push({
        ...{ fingerprint, timestampMs: timestamp, startTimestampMs },
        histogram: bytes,
      });
    }
  }

  /** What the series says itself; else what is known of its family; else what was known before. */
  #resolveKind(
    known: Known,
    sent: {
      request: RequestMessage;
      series: SeriesMessage;
      texts: { name: string; value: string }[];
    },
    tenant: string,
  ): Kind {
    const { request, series, texts } = sent;
    const lookedUpAt = known.lookedUpAt;
    known.lookedUpAt = this.#learnt;
    if (request.version === 2) {
      const { type, unitRef } = series.metadata;
      const unit = unitRef === 0n ? new Uint8Array() : request.symbols[Number(unitRef)]!;
      const said = this.#kindOf(type, unit);
      if (!isSilent(said)) return said;
    }
    if (lookedUpAt === this.#learnt) return known.kind;
    const metric = texts.find(({ name }) => name === '__name__')!.value;
    return this.#kindOfFamily(metric, tenant) ?? known.kind;
  }

  #announces(known: Known, kind: Kind, nowMs: number): boolean {
    const nowSeconds = Math.floor(nowMs / 1000);
    const age = nowSeconds - known.announcedSeconds;
    const isSame = kind.type === known.kind.type && kind.unit === known.kind.unit;
    if (isSame && age >= 0 && age < ANNOUNCE_INTERVAL_MS / 1000) return false;
    known.announcedSeconds = nowSeconds;
    known.kind = kind;
    return true;
  }

  #keptLabels(labels: readonly ByteLabel[], hasClaim: boolean): ByteLabel[] {
    const { stripLabels, replicas } = this.#settings;
    const stripped = hasClaim ? [...stripLabels, replicas!.replicaLabel] : stripLabels;
    return labels.filter(
      ({ name, value }) => value.length > 0 && !stripped.includes(decodeText(name)),
    );
  }

  #identify(labels: ByteLabel[], tenant: string): { fingerprint: bigint; partition: number } {
    const own = tenant === '' ? 0n : labelHash(new Uint8Array(), new TextEncoder().encode(tenant));
    const hashes = new Map(
      labels.map(({ name, value }) => [decodeText(name), labelHash(name, value)]),
    );
    const sumOf = (names: Iterable<string>): bigint =>
      [...names].reduce((sum, name) => sum + hashes.get(name)!, own);
    const fingerprint = finish(sumOf(hashes.keys()));
    const set = this.#settings.partitionBy.find((names) => names.every((name) => hashes.has(name)));
    const hash = set ? finish(sumOf(new Set(set))) : finish(familySum(labels, own));
    const partition = Number(((hash >> 32n) * BigInt(this.#settings.partitions)) >> 32n);
    return { fingerprint, partition };
  }
}

/** Nothing of it is judged, and the sender may take all of it for stored. */
function leaveAllOut(result: Reference, { series }: RequestMessage): Reference {
  const { written } = result;
  for (const { samples, histograms, exemplars } of series) {
    written.samples += samples.length;
    written.histograms += histograms.length;
    written.exemplars += exemplars.length;
  }
  result.received = written.samples + written.histograms;
  result.leftOut.replica = result.received;
  result.isLeftOut = true;
  return result;
}

/** All labels but the bound of a bucket, and of the metric's name its stem. */
function familySum(labels: readonly ByteLabel[], own: bigint): bigint {
  return labels.reduce((sum, { name, value }) => {
    const text = decodeText(name);
    if (text === 'le') return sum;
    const stem = text === '__name__' ? stemOf(value) : value;
    return sum + labelHash(name, stem);
  }, own);
}

function stemOf(metric: Uint8Array): Uint8Array {
  const text = decodeText(metric);
  const suffix = ['_bucket', '_count', '_sum'].find((each) => text.endsWith(each)) ?? '';
  return new TextEncoder().encode(
    text === suffix ? text : text.slice(0, text.length - suffix.length),
  );
}

function isSilent(kind: Kind): boolean {
  return kind.type === 0 && kind.unit === '';
}

function emptyColumns(): Columns {
  return {
    ...{ announced: [], fingerprint: [], timestampMs: [], valueBits: [] },
    ...{ startTimestampMs: [], histogram: [] },
  };
}
