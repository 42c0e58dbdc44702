// Learnt state as one file, to be carried to another installation: series by series, named by fingerprint and labels
// and not by the place where they lay. It is written and read from front to end with one block in memory. Every block
// has a checksum, the last one a hash of all others, so that whatever is missing or flipped is refused. The same state
// gives the same bytes. Opening and naming files is the caller's part.
//
//   magic 8 B | version u32 | blocks
//   block      kind u32 | length u32 | crc32 u32 of kind, length and payload | payload
//
//   head, then for each partition: partition, its rows, its histograms; then end. Drawn in docs/formats.md.

import { createHash, type Hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { create, toBinary } from '@bufbuild/protobuf';
import {
  StateFileEndSchema,
  type StateFileHead,
  StateFileHeadSchema,
  type StateFilePartition,
  StateFilePartitionSchema,
} from '../gen/state_file_pb.js';
import { STATE_BLOCK_BYTES } from '../limits.js';
import { encodeHistogram, type HistogramState, renumberHistogram } from './histogram-state.js';
import { StateWriter } from './state-bytes.js';

export const STATE_FILE_MAGIC = Buffer.from('TLSTATE\n');
export const STATE_FILE_VERSION = 1;
export const STATE_FILE_HEAD_BYTES = 12;
export const BLOCK_HEAD_BYTES = 12;
export const ROW_BYTES = 24;
/** Kinds of blocks, in the order in which they may first come. */
export const BLOCKS = { head: 1, partition: 2, rows: 3, histograms: 4, end: 5 } as const;
export type BlockKind = keyof typeof BLOCKS;

/** Of a row: it has a record; it was looked at and is part of no histogram; it is what a histogram is scored by. */
export const ROW_SCORED = 1;
export const ROW_LEFT_OUT = 2;
export const ROW_DERIVED = 4;

export interface StateRow {
  low: number;
  high: number;
  flags: number;
  /** Stream time of the last sample. */
  seen: number;
  /** A serialised SeriesInfo. */
  announcement: Uint8Array;
  /** As it lies in the forest's memory; empty when the series is known and not scored. */
  record: Uint8Array;
}

export interface StateFileCounts {
  series: number;
  scored: number;
  histograms: number;
}

/** What is learnt, whatever the order and the partitions it comes in: exclusive or of one digest each. */
export class LearntDigest {
  readonly #sum = Buffer.alloc(32);
  readonly #fingerprint = Buffer.alloc(8);

  addRow({ low, high, announcement, record }: StateRow): void {
    this.#fingerprint.writeUInt32LE(low, 0);
    this.#fingerprint.writeUInt32LE(high, 4);
    this.#add(createHash('sha256').update(this.#fingerprint).update(announcement).update(record));
  }

  /** Its series are in the rows: of their numbers only counts whether there are any. */
  addHistogram(histogram: HistogramState): void {
    renumberHistogram(histogram, () => 0);
    const bytes = new StateWriter();
    encodeHistogram(bytes, histogram);
    this.#add(createHash('sha256').update(bytes.written()));
  }

  digest(): Buffer {
    return Buffer.from(this.#sum);
  }

  #add(hash: Hash): void {
    const digest = hash.digest();
    for (let i = 0; i < digest.length; i++) this.#sum[i]! ^= digest[i]!;
  }
}

/** Takes a state in the order of the file. */
export class StateFileWriter {
  readonly counts: StateFileCounts = { series: 0, scored: 0, histograms: 0 };
  readonly #write: (bytes: Uint8Array) => Promise<void>;
  readonly #hash = createHash('sha256');
  readonly #learnt = new LearntDigest();
  #rows = new StateWriter();
  #histograms = new StateWriter();
  bytes = 0;

  /** `write` resolves when more may come. */
  constructor(write: (bytes: Uint8Array) => Promise<void>) {
    this.#write = write;
  }

  async head(head: StateFileHead): Promise<void> {
    const version = Buffer.alloc(4);
    version.writeUInt32LE(STATE_FILE_VERSION);
    await this.#put(Buffer.concat([STATE_FILE_MAGIC, version]));
    await this.#block('head', toBinary(StateFileHeadSchema, head));
  }

  async partition(partition: StateFilePartition): Promise<void> {
    await this.#flush();
    await this.#block('partition', toBinary(StateFilePartitionSchema, partition));
  }

  /** Number of the series in the file, from 0. All rows of a partition come before its histograms. */
  async row(row: StateRow): Promise<number> {
    const to = this.#rows;
    to.u32(row.low);
    to.u32(row.high);
    to.u32(row.flags);
    to.u32(row.announcement.length);
    to.f64(row.seen);
    to.bytes(row.announcement);
    to.bytes(row.record);
    this.#learnt.addRow(row);
    if (row.record.length > 0) this.counts.scored++;
    if (to.length >= STATE_BLOCK_BYTES) await this.#flush();
    return this.counts.series++;
  }

  /** Its series are named by their numbers in the file; the writer keeps it. */
  async histogram(histogram: HistogramState): Promise<void> {
    encodeHistogram(this.#histograms, histogram);
    this.#learnt.addHistogram(histogram);
    this.counts.histograms++;
    if (this.#histograms.length >= STATE_BLOCK_BYTES) await this.#flush();
  }

  /** Resolves with the digest of what is learnt. */
  async end(): Promise<Buffer> {
    await this.#flush();
    const learnt = this.#learnt.digest();
    const sha256 = this.#hash.copy().digest();
    const end = create(StateFileEndSchema, { ...this.counts, sha256, learnt });
    await this.#block('end', toBinary(StateFileEndSchema, end));
    return learnt;
  }

  async #flush(): Promise<void> {
    const [rows, histograms] = [this.#rows, this.#histograms];
    this.#rows = new StateWriter();
    this.#histograms = new StateWriter();
    if (rows.length > 0) await this.#block('rows', rows.written());
    if (histograms.length > 0) await this.#block('histograms', histograms.written());
  }

  async #block(kind: BlockKind, payload: Uint8Array): Promise<void> {
    const head = Buffer.alloc(BLOCK_HEAD_BYTES);
    head.writeUInt32LE(BLOCKS[kind], 0);
    head.writeUInt32LE(payload.length, 4);
    head.writeUInt32LE(blockCrc(head, payload), 8);
    await this.#put(head);
    await this.#put(payload);
  }

  async #put(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    this.bytes += bytes.length;
    await this.#write(bytes);
  }
}

/** `head` holds kind and length. */
export function blockCrc(head: Uint8Array, payload: Uint8Array): number {
  return crc32(payload, crc32(head.subarray(0, 8)));
}
