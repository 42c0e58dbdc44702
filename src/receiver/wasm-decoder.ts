// The host of decode.wasm: owns its memory, passes the limits in, turns its numbers into words. A
// request costs one call and a few small objects; strings are made only for new series, which
// `classify` sees once, and for the first few rejections. What a call returns, blocks above all, is
// valid until the next call.

import assert from 'node:assert/strict';
import {
  ANNOUNCE_INTERVAL_MS,
  BODY_BYTES_MAX,
  DECODED_BYTES_MAX,
  FUTURE_MS_MAX,
  LABEL_NAME_BYTES_MAX,
  LABEL_VALUE_BYTES_MAX,
  LABELS_PER_SERIES_MAX,
  REQUEST_SAMPLES_MAX,
  REQUEST_SERIES_MAX,
  SERIES_CACHE_ENTRIES,
  TENANT_BYTES_MAX,
} from '../limits.js';
import { type Label, seriesText } from '../series.js';

export interface DecoderSettings {
  partitions: number;
  partitionBy: readonly (readonly string[])[];
  stripLabels: readonly string[];
  /** Asked once per series, with its labels as they will be logged. */
  classify: (labels: readonly Label[]) => Disposition;
}

// The position is the number in the module: series-cache.ts.
export const DISPOSITIONS = ['keep', 'own_output', 'ignored', 'dropped'] as const;
export type Disposition = (typeof DISPOSITIONS)[number];

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
  'native_histogram',
  'no_samples',
] as const;
export type RejectReason = (typeof REJECT_REASONS)[number];

export interface Block {
  partition: number;
  samples: number;
  /** A SampleBlock, in linear memory: valid until the next decode. */
  bytes: Uint8Array;
}

export interface Decoded {
  /** Float samples and native histograms: those in the blocks, left out and rejected, together. */
  received: number;
  blocks: Block[];
  /** Samples of series that were told not to be kept. */
  leftOut: Record<Disposition, number>;
  /** Samples. */
  rejected: Record<RejectReason, number>;
  /** Samples, and series that had none. */
  rejectedCount: number;
  /** At most 5. */
  firstRejects: { reason: RejectReason; series: string }[];
  exemplars: number;
  metadata: number;
  newSeries: number;
}

/** A request of which nothing is taken. */
export class BadRequest extends Error {
  readonly status: 400 | 413;
  /** For a metric's label: bad_snappy, bad_protobuf or too_large. */
  readonly reason: string;

  constructor(reason: 'bad_snappy' | 'bad_protobuf' | 'too_large', message: string) {
    super(message);
    this.name = 'BadRequest';
    this.status = reason === 'too_large' ? 413 : 400;
    this.reason = reason;
  }
}

const SERIES_TEXT_CHARS_MAX = 200;
/** More of a name or value than this is not shown in a message. */
const SHOWN_BYTES_MAX = 256;
const PAGE_BYTES = 65_536;

// Both in the order of assembly/decode/results.ts, in u32.
const RESULT_LEFT_OUT = 8;
const RESULT_REJECTED = RESULT_LEFT_OUT + DISPOSITIONS.length;
const RESULT_FIRST_REJECTS = RESULT_REJECTED + 1 + REJECT_REASONS.length;
// PartitionRecord of assembly/decode/layout.ts, in u32.
const PARTITION_WORDS = 8;
const SPAN_WORDS = 4;

/** By failure code, from 1: assembly/decode/failure.ts. */
const FAILURES: readonly (readonly ['bad_snappy' | 'bad_protobuf' | 'too_large', string])[] = [
  ['bad_snappy', 'The body is empty'],
  ['bad_snappy', 'The body is in the framed snappy format, the block format is wanted'],
  ['bad_snappy', 'The body is not a snappy block: its declared length is malformed'],
  ['too_large', `The body declares more than ${DECODED_BYTES_MAX} decoded bytes`],
  ['bad_snappy', 'The body is not a snappy block: an element is cut off'],
  ['bad_snappy', 'The body is not a snappy block: it decodes to more than it declares'],
  ['bad_snappy', 'The body is not a snappy block: a copy reaches outside what is decoded'],
  ['bad_snappy', 'The body is not a snappy block: it decodes to less than it declares'],
  ['bad_protobuf', 'The request is not a WriteRequest: a field runs past the end of its message'],
  ['bad_protobuf', 'The request is not a WriteRequest: a varint is longer than 10 bytes'],
  ['bad_protobuf', 'The request is not a WriteRequest: a tag is invalid'],
  ['bad_protobuf', 'The request is not a WriteRequest: groups are nested too deep'],
  ['bad_protobuf', 'The request is not a WriteRequest: a group ends that was not begun'],
  ['too_large', `The request has more than ${REQUEST_SERIES_MAX} series`],
  ['too_large', `The request has more than ${REQUEST_SAMPLES_MAX} samples`],
];

/** What assembly/decode/index.ts exports. Positions and counts; no call grows the memory. */
interface DecodeExports {
  placeRegions(): number;
  addName(start: number, bytes: number, stripped: boolean): number;
  addPartitionSet(bits: number): void;
  decode(bodyBytes: number, tenantBytes: number, nowMs: number): number;
  emit(): void;
  newSeries(index: number): number;
  settle(series: number, disposition: number): void;
  labelsOf(series: number, onlyKept: boolean): number;
  forgetAnnouncements(): void;
  bodyStart(): number;
  settingsStart(): number;
  tenantStart(): number;
  spansStart(): number;
  resultsAt(): number;
  partitionsStart(): number;
  cacheClears(): number;
  failureCode(): number;
  failurePosition(): number;
}

export class WasmDecoder {
  readonly #exports: DecodeExports;
  readonly #settings: DecoderSettings;
  /**
   * The whole memory, three times: bytes for the host, text, numbers. It never grows, so they stay
   * valid.
   */
  readonly #bytes: Uint8Array;
  readonly #text: Buffer;
  readonly #words: Uint32Array;
  readonly #encoder = new TextEncoder();

  constructor(module: WebAssembly.Module, settings: DecoderSettings) {
    // A first instance only says how much memory these settings need: a module cannot tell without
    // one.
    const probe = new WebAssembly.Memory({ initial: 1, maximum: 1 });
    const bytes = instantiate(module, { memory: probe, partitions: settings.partitions }).needed;
    const pages = Math.ceil(bytes / PAGE_BYTES);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const { exports, needed } = instantiate(module, { memory, partitions: settings.partitions });
    assert.equal(needed, bytes);
    this.#exports = exports;
    this.#settings = settings;
    this.#bytes = new Uint8Array(memory.buffer);
    this.#text = Buffer.from(memory.buffer);
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
  decode(bytes: number, options: { tenant: string; nowMs: number }): Decoded {
    const { tenant, nowMs } = options;
    const tenantStart = this.#exports.tenantStart();
    const room = this.#bytes.subarray(tenantStart, tenantStart + TENANT_BYTES_MAX);
    const tenantText = this.#encoder.encodeInto(tenant, room);
    assert.equal(tenantText.read, tenant.length, 'the tenant is longer than TENANT_BYTES_MAX');
    const newSeries = this.#exports.decode(bytes, tenantText.written, nowMs);
    if (newSeries < 0) throw this.#badRequest();
    for (let i = 0; i < newSeries; i++) this.#classify(this.#exports.newSeries(i));
    if (newSeries > 0) this.#exports.emit();
    return this.#decoded(newSeries);
  }

  /**
   * Makes the next request announce every series again: the blocks with the announcements were
   * lost.
   */
  forgetAnnouncements(): void {
    this.#exports.forgetAnnouncements();
  }

  #addNames(): void {
    const { partitionBy, stripLabels } = this.#settings;
    assert(!stripLabels.includes('__name__'), 'the metric name cannot be stripped');
    const indices = new Map<string, number>();
    for (const name of new Set([...stripLabels, ...partitionBy.flat()])) {
      const start = this.#exports.bodyStart();
      const text = this.#encoder.encode(name);
      assert(text.length > 0 && text.length <= LABEL_NAME_BYTES_MAX);
      this.#bytes.set(text, start);
      indices.set(name, this.#exports.addName(start, text.length, stripLabels.includes(name)));
    }
    for (const names of partitionBy) {
      this.#exports.addPartitionSet(
        names.reduce((bits, name) => bits | (1 << indices.get(name)!), 0),
      );
    }
  }

  #classify(series: number): void {
    const disposition = this.#settings.classify(this.#keptLabels(series));
    this.#exports.settle(series, DISPOSITIONS.indexOf(disposition));
  }

  /** The labels of a valid series that make it. */
  #keptLabels(series: number): Label[] {
    const count = this.#exports.labelsOf(series, true);
    const words = this.#words;
    const first = this.#exports.spansStart() >> 2;
    const last = first + count * SPAN_WORDS;
    let start = Number.POSITIVE_INFINITY;
    let end = 0;
    for (let at = first; at < last; at += SPAN_WORDS) {
      start = Math.min(start, words[at]!, words[at + 2]!);
      end = Math.max(end, words[at]! + words[at + 1]!, words[at + 2]! + words[at + 3]!);
    }
    // One string for all, cut into labels, takes a third of the time of a string for each; if all
    // is ASCII.
    const text = this.#text.toString('latin1', start, end);
    const isAscii = !/[\x80-\xff]/.test(text);
    const labels: Label[] = [];
    for (let at = first; at < last; at += SPAN_WORDS) {
      const name = words[at]!;
      const value = words[at + 2]!;
      const nameEnd = name + words[at + 1]!;
      const valueEnd = value + words[at + 3]!;
      if (isAscii) {
        labels.push({
          name: text.slice(name - start, nameEnd - start),
          value: text.slice(value - start, valueEnd - start),
        });
      } else {
        labels.push({
          name: this.#text.toString('utf8', name, nameEnd),
          value: this.#text.toString('utf8', value, valueEnd),
        });
      }
    }
    return labels;
  }

  /** The labels of a rejected series as they were sent, long ones cut. */
  #shownLabels(series: number): Label[] {
    const count = this.#exports.labelsOf(series, false);
    const labels: Label[] = [];
    let at = this.#exports.spansStart() >> 2;
    for (let i = 0; i < count; i++, at += SPAN_WORDS) {
      labels.push({
        name: this.#shownText(this.#words[at]!, this.#words[at + 1]!),
        value: this.#shownText(this.#words[at + 2]!, this.#words[at + 3]!),
      });
    }
    return labels;
  }

  #shownText(start: number, bytes: number): string {
    if (bytes <= SHOWN_BYTES_MAX) return this.#text.toString('utf8', start, start + bytes);
    // Cut before a character, not within one: a continuation byte is 10xxxxxx.
    let end = start + SHOWN_BYTES_MAX;
    while (end > start && (this.#bytes[end]! & 0xc0) === 0x80) end--;
    return `${this.#text.toString('utf8', start, end)}…`;
  }

  #decoded(newSeries: number): Decoded {
    const words = this.#words;
    const at = this.#exports.resultsAt() >> 2;
    const firstRejects: Decoded['firstRejects'] = [];
    for (let i = 0; i < words[at + 7]!; i++) {
      const reject = at + RESULT_FIRST_REJECTS + 2 * i;
      const labels = this.#shownLabels(words[reject + 1]!);
      firstRejects.push({
        reason: REJECT_REASONS[words[reject]! - 1]!,
        series: shown(seriesText(labels)),
      });
    }
    return {
      received: words[at]!,
      blocks: this.#blocks(),
      leftOut: countersOf(DISPOSITIONS, words, at + RESULT_LEFT_OUT),
      rejected: countersOf(REJECT_REASONS, words, at + RESULT_REJECTED + 1),
      rejectedCount: words[at + 6]!,
      firstRejects,
      exemplars: words[at + 3]!,
      metadata: words[at + 4]!,
      newSeries,
    };
  }

  #blocks(): Block[] {
    const blocks: Block[] = [];
    let at = this.#exports.partitionsStart() >> 2;
    for (let partition = 0; partition < this.#settings.partitions; partition++) {
      const samples = this.#words[at]!;
      const start = this.#words[at + 2]!;
      if (samples > 0) {
        const bytes = this.#bytes.subarray(start, start + this.#words[at + 3]!);
        blocks.push({ partition, samples, bytes });
      }
      at += PARTITION_WORDS;
    }
    return blocks;
  }

  #badRequest(): BadRequest {
    const [reason, sentence] = FAILURES[this.#exports.failureCode() - 1]!;
    const unit = reason === 'bad_snappy' ? 'byte' : 'decoded byte';
    const where = reason === 'too_large' ? '' : `, at ${unit} ${this.#exports.failurePosition()}`;
    return new BadRequest(reason, `${sentence}${where}`);
  }
}

function instantiate(
  module: WebAssembly.Module,
  options: { memory: WebAssembly.Memory; partitions: number },
): { exports: DecodeExports; needed: number } {
  const { memory, partitions } = options;
  const abort = (_message: number, _file: number, line: number): never => {
    throw new Error(`decode.wasm: assertion failed in line ${line}`);
  };
  const instance = new WebAssembly.Instance(module, { env: { memory, abort } });
  const exports = instance.exports as unknown as DecodeExports;
  // In the order of Settings in assembly/decode/layout.ts.
  const limits = [
    BODY_BYTES_MAX,
    DECODED_BYTES_MAX,
    REQUEST_SERIES_MAX,
    REQUEST_SAMPLES_MAX,
    LABELS_PER_SERIES_MAX,
    LABEL_NAME_BYTES_MAX,
    LABEL_VALUE_BYTES_MAX,
    TENANT_BYTES_MAX,
    SERIES_CACHE_ENTRIES,
    partitions,
    FUTURE_MS_MAX,
    ANNOUNCE_INTERVAL_MS,
  ];
  new Uint32Array(memory.buffer, exports.settingsStart(), limits.length).set(limits);
  return { exports, needed: exports.placeRegions() };
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

/**
 * For one line of a message: no control or format character that could break it, and no more than
 * fits.
 */
function shown(text: string): string {
  const escaped = text.replace(
    /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  if (escaped.length <= SERIES_TEXT_CHARS_MAX) return escaped;
  return `${escaped.slice(0, SERIES_TEXT_CHARS_MAX - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}
