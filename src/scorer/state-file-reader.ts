// Reads a state file from front to end and gives it back piece by piece. Nothing is given that was not checksummed, and
// the end is given only when everything before it was what its writer wrote: a file that is cut short, damaged, or of a
// newer Treeline is refused with one sentence that says where and what to do.

import { AssertionError, strict as assert } from 'node:assert';
import { createHash } from 'node:crypto';
import { fromBinary } from '@bufbuild/protobuf';
import { OperatingError } from '../errors.js';
import {
  type StateFileEnd,
  StateFileEndSchema,
  type StateFileHead,
  StateFileHeadSchema,
  type StateFilePartition,
  StateFilePartitionSchema,
} from '../gen/state_file_pb.js';
import { STATE_BLOCK_BYTES_MAX } from '../limits.js';
import { decodeHistogram, type HistogramState } from './histogram-state.js';
import { StateReader } from './state-bytes.js';
import {
  BLOCK_HEAD_BYTES,
  BLOCKS,
  blockCrc,
  LearntDigest,
  ROW_BYTES,
  ROW_SCORED,
  STATE_FILE_HEAD_BYTES,
  STATE_FILE_MAGIC,
  STATE_FILE_VERSION,
  type StateFileCounts,
  type StateRow,
} from './state-file.js';

/** Rows are views that are valid until the next piece is asked for. */
export type StatePiece =
  | { kind: 'head'; head: StateFileHead }
  | { kind: 'partition'; partition: StateFilePartition }
  | { kind: 'rows'; rows: StateRow[] }
  | { kind: 'histograms'; histograms: HistogramState[] }
  | { kind: 'end'; end: StateFileEnd; bytes: number };

export interface StateFileSource {
  name: string;
  /** The bytes from the beginning, anew on each call. */
  read(): AsyncIterable<Uint8Array>;
}

export async function* readStateFile(source: StateFileSource): AsyncGenerator<StatePiece> {
  const input = new Input(source);
  try {
    yield* readPieces(source, input);
  } finally {
    await input.close();
  }
}

async function* readPieces(source: StateFileSource, input: Input): AsyncGenerator<StatePiece> {
  const opening = await input.take(STATE_FILE_HEAD_BYTES, 'its first bytes');
  if (!STATE_FILE_MAGIC.equals(opening.subarray(0, STATE_FILE_MAGIC.length))) {
    throw invalid(source, 'it is not a state file of Treeline');
  }
  const version = opening.readUInt32LE(STATE_FILE_MAGIC.length);
  if (version > STATE_FILE_VERSION) throw newer(source, `state file ${version}`);
  const contents = new Contents();
  for (let before: number = 0; before !== BLOCKS.end; ) {
    const sha256 = input.sha256();
    const at = input.at;
    const block = await input.block();
    if (!mayFollow(before, block.kind)) {
      throw invalid(source, `a block of kind ${block.kind} cannot stand at byte ${at}`);
    }
    before = block.kind;
    let piece: StatePiece;
    try {
      piece = contents.take(block, { sha256, bytes: input.at });
    } catch (error) {
      // What the checksum vouches for was written by us. Something else knows our checksums and not our format.
      if (!(error instanceof AssertionError || error instanceof RangeError)) throw error;
      throw invalid(source, `the block at byte ${at} cannot be understood: ${error.message}`);
    }
    yield piece;
  }
  await input.expectEnd();
}

/** Turns blocks into pieces, and adds up what the end must say. */
class Contents {
  readonly #counts: StateFileCounts = { series: 0, scored: 0, histograms: 0 };
  readonly #learnt = new LearntDigest();
  #recordBytes = 0;

  take(
    { kind, payload }: { kind: number; payload: Buffer },
    { sha256, bytes }: { sha256: Buffer; bytes: number },
  ): StatePiece {
    if (kind === BLOCKS.head) {
      const head = fromBinary(StateFileHeadSchema, payload);
      this.#recordBytes = head.recordBytes;
      return { kind: 'head', head };
    }
    if (kind === BLOCKS.partition) {
      const partition = fromBinary(StateFilePartitionSchema, payload);
      assert(partition.manifest !== undefined, 'A partition has a manifest');
      return { kind: 'partition', partition };
    }
    if (kind === BLOCKS.rows) return { kind: 'rows', rows: this.#rows(payload) };
    if (kind === BLOCKS.histograms) {
      return { kind: 'histograms', histograms: this.#histograms(payload) };
    }
    const end = fromBinary(StateFileEndSchema, payload);
    assert(sha256.equals(end.sha256), 'The hash of all blocks is not what the last one says');
    for (const name of ['series', 'scored', 'histograms'] as const) {
      assert.equal(this.#counts[name], end[name], `The number of ${name} is not what the end says`);
    }
    assert(this.#learnt.digest().equals(end.learnt), 'The digest of the series is another one');
    return { kind: 'end', end, bytes };
  }

  #rows(payload: Buffer): StateRow[] {
    const rows: StateRow[] = [];
    for (let at = 0; at < payload.length; ) {
      const flags = payload.readUInt32LE(at + 8);
      const recordAt = at + ROW_BYTES + payload.readUInt32LE(at + 12);
      const next = recordAt + ((flags & ROW_SCORED) === 0 ? 0 : this.#recordBytes);
      assert(next <= payload.length && recordAt > at + ROW_BYTES, 'A row fits into its block');
      const row = {
        low: payload.readUInt32LE(at),
        high: payload.readUInt32LE(at + 4),
        flags,
        seen: payload.readDoubleLE(at + 16),
        announcement: payload.subarray(at + ROW_BYTES, recordAt),
        record: payload.subarray(recordAt, next),
      };
      this.#learnt.addRow(row);
      if (row.record.length > 0) this.#counts.scored++;
      rows.push(row);
      at = next;
    }
    this.#counts.series += rows.length;
    return rows;
  }

  #histograms(payload: Buffer): HistogramState[] {
    const histograms: HistogramState[] = [];
    const forDigest = new StateReader(payload);
    for (const from = new StateReader(payload); !from.isAtEnd; ) {
      histograms.push(decodeHistogram(from));
      this.#learnt.addHistogram(decodeHistogram(forDigest));
    }
    this.#counts.histograms += histograms.length;
    return histograms;
  }
}

function mayFollow(before: number, kind: number): boolean {
  if (before === 0) return kind === BLOCKS.head;
  if (kind === BLOCKS.end || kind === BLOCKS.partition) return true;
  if (kind === BLOCKS.rows) return before === BLOCKS.partition || before === BLOCKS.rows;
  return kind === BLOCKS.histograms && before !== BLOCKS.head;
}

/** The bytes of the file, as many at a time as are asked for. */
class Input {
  at = 0;
  readonly #source: StateFileSource;
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #hash = createHash('sha256');
  #rest: Buffer = Buffer.alloc(0);

  constructor(source: StateFileSource) {
    this.#source = source;
    this.#chunks = source.read()[Symbol.asyncIterator]();
  }

  /** Of everything taken so far. */
  sha256(): Buffer {
    return this.#hash.copy().digest();
  }

  async block(): Promise<{ kind: number; payload: Buffer }> {
    const { at } = this;
    const head = await this.take(BLOCK_HEAD_BYTES, 'the head of a block');
    const length = head.readUInt32LE(4);
    if (length > STATE_BLOCK_BYTES_MAX) {
      throw invalid(this.#source, `it is damaged at byte ${at}: a block of ${length} bytes`);
    }
    const payload = await this.take(length, 'a block');
    if (blockCrc(head, payload) !== head.readUInt32LE(8)) {
      throw invalid(this.#source, `it is damaged between bytes ${at} and ${this.at}`);
    }
    return { kind: head.readUInt32LE(0), payload };
  }

  /** `what`: of which the file has only a part when it ends too soon. */
  async take(size: number, what: string): Promise<Buffer> {
    const parts = [this.#rest];
    let held = this.#rest.length;
    while (held < size) {
      const next = await this.#chunks.next();
      if (next.done) {
        const why = `it was cut short: it ends at byte ${this.at + held}, within ${what}`;
        throw invalid(this.#source, why);
      }
      parts.push(Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength));
      held += next.value.byteLength;
    }
    const all = parts.length === 1 ? this.#rest : Buffer.concat(parts);
    const taken = all.subarray(0, size);
    this.#rest = all.subarray(size);
    this.#hash.update(taken);
    this.at += size;
    return taken;
  }

  /** Also where nothing more is wanted: the file behind it is closed. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  async expectEnd(): Promise<void> {
    const next = this.#rest.length > 0 ? { done: false } : await this.#chunks.next();
    if (!next.done) throw invalid(this.#source, `it goes on behind its end at byte ${this.at}`);
  }
}

export function newer({ name }: StateFileSource, what: string): OperatingError {
  const text = `Cannot read ${name}: it was written by a newer Treeline (${what}); use that version`;
  return new OperatingError('data_dir_newer', text);
}

export function invalid({ name }: StateFileSource, why: string): OperatingError {
  return new OperatingError('input_invalid', `Cannot read ${name}: ${why}`);
}
