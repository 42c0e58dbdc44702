// The messages of remote-write 1.0 and 2.0 in plain TypeScript, written to be read: fields become
// objects, and nothing is judged yet but what makes the whole request unreadable or too large.

import {
  REQUEST_EXEMPLARS_MAX,
  REQUEST_METADATA_MAX,
  REQUEST_REFERENCES_MAX,
  REQUEST_SAMPLES_MAX,
  REQUEST_SERIES_MAX,
  REQUEST_SYMBOLS_MAX,
} from '../src/limits.js';
import type { Version } from '../src/receiver/bad-request.js';
import { type HistogramMessage, parseHistogram } from './reference-histogram.js';
import { type Field, Refused, readFields, varintsOf } from './reference-wire.js';

export interface ByteLabel {
  name: Uint8Array;
  value: Uint8Array;
}

export interface Metadata {
  type: number;
  family: Uint8Array;
  unit: Uint8Array;
  /** Of 2.0: indices of symbols. */
  helpRef: bigint;
  unitRef: bigint;
}

export interface SeriesMessage {
  /** Of 1.0. */
  labels: ByteLabel[];
  /** Of 2.0. */
  refs: bigint[];
  samples: { timestamp: bigint; bits: bigint; start: bigint }[];
  histograms: HistogramMessage[];
  exemplars: { labels: ByteLabel[]; refs: bigint[] }[];
  metadata: Metadata;
  created: bigint;
}

export interface RequestMessage {
  version: Version;
  symbols: Uint8Array[];
  series: SeriesMessage[];
  /** Of 1.0. */
  metadata: Metadata[];
  metadataCount: number;
  /** True when a known field came with another wire type: then fromBinary reads something else. */
  hasOddWireType: boolean;
}

type Known = Record<string, Record<number, readonly number[]>>;

const HISTOGRAM = {
  ...{ 1: [0], 2: [1], 3: [1], 4: [0], 5: [1], 6: [0], 7: [1], 8: [2], 9: [0, 2], 10: [1, 2] },
  ...{ 11: [2], 12: [0, 2], 13: [1, 2], 14: [0], 15: [0], 16: [1, 2], 17: [0] },
};
/** Field numbers and wire types of all that is known: what comes otherwise is an unknown field. */
const KNOWN: Record<Version, Known> = {
  1: {
    request: { 1: [2], 3: [2] },
    series: { 1: [2], 2: [2], 3: [2], 4: [2] },
    label: { 1: [2], 2: [2] },
    sample: { 1: [1], 2: [0] },
    exemplar: { 1: [2], 2: [1], 3: [0] },
    metadata: { 1: [0], 2: [2], 4: [2], 5: [2] },
    span: { 1: [0], 2: [0] },
    histogram: HISTOGRAM,
  },
  2: {
    request: { 4: [2], 5: [2] },
    series: { 1: [0, 2], 2: [2], 3: [2], 4: [2], 5: [2], 6: [0] },
    sample: { 1: [1], 2: [0], 3: [0] },
    exemplar: { 1: [0, 2], 2: [1], 3: [0] },
    metadata: { 1: [0], 3: [0], 4: [0] },
    span: { 1: [0], 2: [0] },
    histogram: HISTOGRAM,
  },
};
const DEPTHS: Record<string, number> = {
  ...{ request: 1, series: 2, metadata: 2, label: 3, sample: 3, exemplar: 3, histogram: 3 },
  ...{ span: 4 },
};

export function parseRequest(bytes: Uint8Array, version: Version = 1): RequestMessage {
  const request: RequestMessage = {
    version,
    symbols: [],
    series: [],
    metadata: [],
    metadataCount: 0,
    hasOddWireType: false,
  };
  try {
    new Parser(request, bytes).parse();
  } catch (error) {
    // A decoder that ignores wire types was somewhere else by now, so nothing can be said of what
    // it meets.
    if (error instanceof Refused && request.hasOddWireType) error.isStrict = true;
    throw error;
  }
  return request;
}

class Parser {
  readonly #request: RequestMessage;
  readonly #bytes: Uint8Array;
  readonly #counts = { samples: 0, exemplars: 0, references: 0 };
  /** Fields of the request that only the other version has. */
  #others = 0;

  constructor(request: RequestMessage, bytes: Uint8Array) {
    this.#request = request;
    this.#bytes = bytes;
  }

  parse(): void {
    const { version, series, symbols } = this.#request;
    const whole: Field = {
      ...{ number: 0, wireType: 2, value: 0n },
      ...{ start: 0, end: this.#bytes.length },
    };
    // Symbols may come after the series that refer to them.
    const later: Field[] = [];
    try {
      this.#outermost(whole, later);
    } catch (error) {
      if (error instanceof Refused && this.#isMisread(later)) error.isStrict = true;
      throw error;
    }
    const known = series.length + this.#request.metadataCount + symbols.length + later.length;
    if (known === 0 && this.#others > 0) {
      const verdict = version === 1 ? 'version_2_as_1' : 'wrong_version';
      throw new Refused(verdict, 'fields of the other version');
    }
    for (const field of later) series.push(this.#series(field));
  }

  /** Whether a decoder that is less strict was somewhere else when these series were over. */
  #isMisread(later: readonly Field[]): boolean {
    try {
      for (const field of later) this.#series(field);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      return true;
    }
    return this.#request.hasOddWireType;
  }

  #outermost(whole: Field, later: Field[]): void {
    const { version, series, symbols } = this.#request;
    for (const field of this.#fields('request', whole)) {
      if (version === 1 && field.number === 1) {
        this.#limit(series.length + 1, REQUEST_SERIES_MAX);
        series.push(this.#series(field));
      } else if (version === 1) {
        this.#request.metadata.push(this.#metadata(field));
      } else if (field.number === 4) {
        this.#limit(symbols.length + 1, REQUEST_SYMBOLS_MAX);
        symbols.push(this.#text(field));
      } else {
        this.#limit(later.length + 1, REQUEST_SERIES_MAX);
        later.push(field);
      }
    }
  }

  *#fields(kind: string, message: Field, onOdd?: () => void, deeper = 0): Generator<Field> {
    const { start, end } = message;
    const { version } = this.#request;
    const known = KNOWN[version][kind]!;
    // Metadata of 2.0 are in a series.
    const depth = DEPTHS[kind]! + deeper + (kind === 'metadata' ? version - 1 : 0);
    const onTag = (number: number, wireType: number): void => {
      if (known[number] && !known[number].includes(wireType)) {
        this.#request.hasOddWireType = true;
        onOdd?.();
      }
      // Version 1.0 knows nothing of start timestamps, but whoever reads the log does.
      const ofOther = version === 1 ? [4, 5] : [1, 3];
      if (kind === 'request' && wireType === 2 && ofOther.includes(number)) this.#others++;
    };
    for (const read of readFields(this.#bytes, { start, end, depth, onTag })) {
      if (known[read.number]?.includes(read.wireType)) yield read;
    }
  }

  #series(message: Field): SeriesMessage {
    const { version } = this.#request;
    const parsed: SeriesMessage = {
      ...{ labels: [], refs: [], samples: [], histograms: [], exemplars: [], created: 0n },
      metadata: noMetadata(),
    };
    const [histograms, exemplars] = version === 1 ? [4, 3] : [3, 4];
    for (const field of this.#fields('series', message)) {
      if (field.number === 1 && version === 1) parsed.labels.push(this.#label(field));
      else if (field.number === 1) parsed.refs.push(...this.#references(field));
      else if (field.number === 2) parsed.samples.push(this.#sample(field));
      else if (field.number === histograms) parsed.histograms.push(this.#histogram(field));
      else if (field.number === exemplars) parsed.exemplars.push(this.#exemplar(field));
      else if (field.number === 5) this.#metadata(field, parsed.metadata);
      else parsed.created = BigInt.asIntN(64, field.value);
    }
    return parsed;
  }

  #label(message: Field, deeper = 0): ByteLabel {
    const parsed: ByteLabel = { name: new Uint8Array(), value: new Uint8Array() };
    for (const field of this.#fields('label', message, undefined, deeper)) {
      if (field.number === 1) parsed.name = this.#text(field);
      else parsed.value = this.#text(field);
    }
    return parsed;
  }

  #sample(message: Field): SeriesMessage['samples'][number] {
    this.#limit(++this.#counts.samples, REQUEST_SAMPLES_MAX);
    const sample = { timestamp: 0n, bits: 0n, start: 0n };
    for (const part of this.#fields('sample', message)) {
      if (part.number === 1) sample.bits = part.value;
      else if (part.number === 2) sample.timestamp = BigInt.asIntN(64, part.value);
      else sample.start = BigInt.asIntN(64, part.value);
    }
    return sample;
  }

  #histogram(message: Field): HistogramMessage {
    this.#limit(++this.#counts.samples, REQUEST_SAMPLES_MAX);
    const parsed = parseHistogram(this.#bytes, message, (kind, field, onOdd) =>
      this.#fields(kind, field, onOdd),
    );
    return this.#request.version === 1 ? { ...parsed, start: 0n } : parsed;
  }

  #exemplar(message: Field): SeriesMessage['exemplars'][number] {
    this.#limit(++this.#counts.exemplars, REQUEST_EXEMPLARS_MAX);
    const parsed: SeriesMessage['exemplars'][number] = { labels: [], refs: [] };
    for (const field of this.#fields('exemplar', message)) {
      if (field.number !== 1) continue;
      if (this.#request.version === 1) parsed.labels.push(this.#label(field, 1));
      else parsed.refs.push(...this.#references(field));
    }
    return parsed;
  }

  #metadata(message: Field, merged = noMetadata()): Metadata {
    this.#limit(++this.#request.metadataCount, REQUEST_METADATA_MAX);
    const { version } = this.#request;
    for (const field of this.#fields('metadata', message)) {
      if (field.number === 1) merged.type = Number(BigInt.asUintN(32, field.value));
      else if (version === 1 && field.number === 2) merged.family = this.#text(field);
      else if (version === 1 && field.number === 5) merged.unit = this.#text(field);
      else if (version === 2 && field.number === 3) merged.helpRef = field.value;
      else if (version === 2) merged.unitRef = field.value;
    }
    return merged;
  }

  #references(field: Field): bigint[] {
    const refs = varintsOf(this.#bytes, field);
    this.#counts.references += refs.length;
    this.#limit(this.#counts.references, REQUEST_REFERENCES_MAX);
    return refs;
  }

  #text(field: Field): Uint8Array {
    return this.#bytes.slice(field.start, field.end);
  }

  #limit(count: number, max: number): void {
    if (count > max) throw new Refused('too_large', `more than ${max}`);
  }
}

function noMetadata(): Metadata {
  return {
    ...{ type: 0, family: new Uint8Array(), unit: new Uint8Array() },
    ...{ helpRef: 0n, unitRef: 0n },
  };
}
