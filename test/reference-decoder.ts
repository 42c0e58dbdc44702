// What decode.wasm computes, written to be read: plain TypeScript, BigInt for everything that has
// 64 bits, objects for everything else. The oracle of the tests, and the explanation for whoever
// writes the fingerprint in another language. It is a few hundred times slower and keeps every
// intermediate result.

import {
  ANNOUNCE_INTERVAL_MS,
  FUTURE_MS_MAX,
  LABEL_NAME_BYTES_MAX,
  LABEL_VALUE_BYTES_MAX,
  LABELS_PER_SERIES_MAX,
} from '../src/limits.js';
import type { DecoderSettings, Disposition, RejectReason } from '../src/receiver/wasm-decoder.js';
import type { ByteLabel, RequestMessage, SeriesMessage } from './reference-wire.js';

export interface Columns {
  announced: { fingerprint: bigint; label: { name: string; value: string }[] }[];
  fingerprint: bigint[];
  timestampMs: bigint[];
  valueBits: bigint[];
}

export interface Reference {
  received: number;
  columns: Map<number, Columns>;
  leftOut: Partial<Record<Disposition, number>>;
  rejected: Partial<Record<RejectReason, number>>;
  rejectedCount: number;
  firstReasons: RejectReason[];
  exemplars: number;
  metadata: number;
  newSeries: number;
}

const U64 = (1n << 64n) - 1n;
const P1 = 0x9e3779b185ebca87n;
const P2 = 0xc2b2ae3d27d4eb4fn;
const P3 = 0x165667b19e3779f9n;
const P4 = 0x85ebca77c2b2ae63n;
const P5 = 0x27d4eb2f165667c5n;
const FINGERPRINT_SEED = 0xa54ff53a5f1d36f1n;
const FIRST_REJECTS_MAX = 5;

const rotate = (x: bigint, bits: bigint): bigint => ((x << bits) | (x >> (64n - bits))) & U64;
const stripe = (lane: bigint, input: bigint): bigint =>
  (rotate((lane + input * P2) & U64, 31n) * P1) & U64;

/** XXH64 with seed 0. */
export function xxh64(bytes: Uint8Array): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  let hash = P5;
  if (bytes.length >= 32) {
    const lanes = [(P1 + P2) & U64, P2, 0n, -P1 & U64];
    for (; at + 32 <= bytes.length; at += 32) {
      for (let i = 0; i < 4; i++) {
        lanes[i] = stripe(lanes[i]!, view.getBigUint64(at + 8 * i, true));
      }
    }
    hash = [1n, 7n, 12n, 18n].reduce((sum, bits, i) => sum + rotate(lanes[i]!, bits), 0n) & U64;
    for (const lane of lanes) hash = ((hash ^ stripe(0n, lane)) * P1 + P4) & U64;
  }
  hash = (hash + BigInt(bytes.length)) & U64;
  for (; at + 8 <= bytes.length; at += 8) {
    hash = (rotate(hash ^ stripe(0n, view.getBigUint64(at, true)), 27n) * P1 + P4) & U64;
  }
  for (; at + 4 <= bytes.length; at += 4) {
    const input = (BigInt(view.getUint32(at, true)) * P1) & U64;
    hash = (rotate(hash ^ input, 23n) * P2 + P3) & U64;
  }
  for (; at < bytes.length; at++) {
    hash = (rotate(hash ^ ((BigInt(bytes[at]!) * P5) & U64), 11n) * P1) & U64;
  }
  hash = ((hash ^ (hash >> 33n)) * P2) & U64;
  hash = ((hash ^ (hash >> 29n)) * P3) & U64;
  return hash ^ (hash >> 32n);
}

export function labelHash(name: Uint8Array, value: Uint8Array): bigint {
  const pair = new Uint8Array(16);
  const view = new DataView(pair.buffer);
  view.setBigUint64(0, xxh64(name), true);
  view.setBigUint64(8, xxh64(value), true);
  return xxh64(pair);
}

/** A sum of label hashes (bigints of any size) to a fingerprint. */
export function finish(sum: bigint): bigint {
  let hash = (sum + FINGERPRINT_SEED) & U64;
  hash = ((hash ^ (hash >> 33n)) * 0xff51afd7ed558ccdn) & U64;
  hash = ((hash ^ (hash >> 33n)) * 0xc4ceb9fe1a85ec53n) & U64;
  return hash ^ (hash >> 33n);
}

/**
 * A decoder with the same memory of what it has seen as WasmDecoder, except that it never fills up.
 */
export class ReferenceDecoder {
  readonly #settings: DecoderSettings;
  readonly #known = new Map<bigint, { disposition: Disposition; announcedSeconds: number }>();

  constructor(settings: DecoderSettings) {
    this.#settings = settings;
  }

  decode(request: RequestMessage, options: { tenant: string; nowMs: number }): Reference {
    const result: Reference = {
      received: 0,
      columns: new Map(),
      leftOut: {},
      rejected: {},
      rejectedCount: 0,
      firstReasons: [],
      exemplars: 0,
      metadata: request.metadata,
      newSeries: 0,
    };
    for (const series of request.series) this.#take(result, series, options);
    return result;
  }

  forgetAnnouncements(): void {
    for (const known of this.#known.values()) known.announcedSeconds = Number.NEGATIVE_INFINITY;
  }

  #take(
    result: Reference,
    series: SeriesMessage,
    options: { tenant: string; nowMs: number },
  ): void {
    const points = series.samples.length + series.histograms;
    const reject = (reason: RejectReason, samples: number): void => {
      result.rejected[reason] = (result.rejected[reason] ?? 0) + samples;
      result.rejectedCount += Math.max(1, samples);
      if (result.firstReasons.length < FIRST_REJECTS_MAX) result.firstReasons.push(reason);
    };
    result.received += points;
    result.exemplars += series.exemplars;
    const isBare = points + series.exemplars === 0;
    const reason = judgeLabels(series.labels) ?? (isBare ? 'no_samples' : undefined);
    if (reason) {
      reject(reason, points);
      return;
    }

    const labels = this.#keptLabels(series.labels);
    const { fingerprint, partition } = this.#identify(labels, options.tenant);
    let known = this.#known.get(fingerprint);
    const texts = labels.map(({ name, value }) => ({
      name: decodeText(name),
      value: decodeText(value),
    }));
    if (!known) {
      const disposition = this.#settings.classify(texts);
      known = { disposition, announcedSeconds: Number.NEGATIVE_INFINITY };
      this.#known.set(fingerprint, known);
      result.newSeries++;
    }
    if (known.disposition !== 'keep') {
      result.leftOut[known.disposition] = (result.leftOut[known.disposition] ?? 0) + points;
      return;
    }
    const last = BigInt(options.nowMs + FUTURE_MS_MAX);
    const kept = series.samples.filter(({ timestamp }) => timestamp <= last);
    const futures = series.samples.length - kept.length;
    if (futures > 0) reject('too_far_in_future', futures);
    if (series.histograms > 0) reject('native_histogram', series.histograms);
    if (kept.length === 0) return;

    const columns: Columns = result.columns.get(partition) ?? emptyColumns();
    result.columns.set(partition, columns);
    const nowSeconds = Math.floor(options.nowMs / 1000);
    const age = nowSeconds - known.announcedSeconds;
    if (age < 0 || age >= ANNOUNCE_INTERVAL_MS / 1000) {
      known.announcedSeconds = nowSeconds;
      columns.announced.push({ fingerprint, label: texts });
    }
    for (const { timestamp, bits } of kept) {
      columns.fingerprint.push(fingerprint);
      columns.timestampMs.push(timestamp);
      columns.valueBits.push(bits);
    }
  }

  #keptLabels(labels: readonly ByteLabel[]): ByteLabel[] {
    const { stripLabels } = this.#settings;
    return labels.filter(
      ({ name, value }) => value.length > 0 && !stripLabels.includes(decodeText(name)),
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
    const hash = set ? finish(sumOf(new Set(set))) : fingerprint;
    const partition = Number(((hash >> 32n) * BigInt(this.#settings.partitions)) >> 32n);
    return { fingerprint, partition };
  }
}

/**
 * The first thing wrong, label by label; of one label its number, its name, its value, its name
 * again.
 */
function judgeLabels(labels: readonly ByteLabel[]): RejectReason | undefined {
  const seen = new Set<string>();
  for (const [i, { name, value }] of labels.entries()) {
    if (i === LABELS_PER_SERIES_MAX) return 'too_many_labels';
    if (name.length === 0) return 'empty_label_name';
    if (name.length > LABEL_NAME_BYTES_MAX) return 'label_name_too_long';
    if (!isText(name)) return 'invalid_utf8';
    if (value.length > LABEL_VALUE_BYTES_MAX) return 'label_value_too_long';
    if (!isText(value)) return 'invalid_utf8';
    const text = decodeText(name);
    if (seen.has(text)) return 'duplicate_label';
    seen.add(text);
  }
  const metric = labels.find(({ name }) => decodeText(name) === '__name__');
  return metric === undefined || metric.value.length === 0 ? 'no_metric_name' : undefined;
}

const strictText = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function isText(bytes: Uint8Array): boolean {
  try {
    strictText.decode(bytes);
    return true;
  } catch {
    // The only thing a fatal TextDecoder throws for is malformed UTF-8.
    return false;
  }
}

function decodeText(bytes: Uint8Array): string {
  return strictText.decode(bytes);
}

function emptyColumns(): Columns {
  return { announced: [], fingerprint: [], timestampMs: [], valueBits: [] };
}
