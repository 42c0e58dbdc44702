// What one subscription holds of one partition: where its reader stands, what was read ahead for it, and the read that
// waits. Records are in order and belong together: the first one is what the reader wants next, or stands behind a gap
// that has been counted.
//
//   position ─▶ │ record │ record │ … │ ◀─ fetchFrom
//               └───── buffer ────────┘
//
// Offsets without a record (ends of transactions, the log's own records) lie between: they are passed over, not counted.

import type { Batch, LogRecord } from './log.js';

export interface Read {
  bytesMax: number;
  resolve: (batch: Batch) => void;
  reject: (reason: unknown) => void;
}

export class ReaderLane {
  readonly partition: number;
  /** What the reader will be given next; undefined until it has said where to begin. */
  position: number | undefined;
  fetchFrom = 0;
  /** Bytes of values in the buffer. */
  bytes = 0;
  read: Read | undefined;
  /** Nothing is fetched for it until somebody has found out whether its offsets mean what they did. */
  isHeld = false;
  /** Looks at an offset that the brokers say is not there. */
  looks = 0;
  #buffer: LogRecord[] = [];
  /** Records deleted between the wanted offset and `position`. */
  #gap = 0;

  constructor(partition: number) {
    this.partition = partition;
  }

  get isEmpty(): boolean {
    return this.#buffer.length === 0;
  }

  /** Forgets what was read ahead. */
  seek(from: number): void {
    this.position = from;
    this.fetchFrom = from;
    this.bytes = 0;
    this.isHeld = false;
    this.looks = 0;
    this.#buffer = [];
    this.#gap = 0;
  }

  /** Retention was here: goes on at `low`. Only while nothing is buffered. */
  skipTo(low: number): void {
    this.#gap += low - this.fetchFrom;
    this.fetchFrom = low;
  }

  put(offset: number, value: Uint8Array): void {
    this.#buffer.push({ offset, value });
    this.bytes += value.length;
    this.fetchFrom = offset + 1;
  }

  pass(offset: number): void {
    this.fetchFrom = offset + 1;
  }

  /** Undefined while there is nothing to give: a gap alone is given with the first record behind it. */
  take(bytesMax: number): Batch | undefined {
    const { position } = this;
    if (position === undefined) return undefined;
    const gap = this.#gap;
    if (this.isEmpty) {
      if (this.fetchFrom === position + gap) return undefined;
      return this.#give([], this.fetchFrom);
    }
    let bytes = 0;
    let count = 0;
    for (const { value } of this.#buffer) {
      if (count > 0 && bytes + value.length > bytesMax) break;
      bytes += value.length;
      count++;
    }
    const records = this.#buffer.splice(0, count);
    this.bytes -= bytes;
    const last = records.at(-1) as LogRecord;
    return this.#give(records, this.isEmpty ? this.fetchFrom : last.offset + 1);
  }

  #give(records: LogRecord[], next: number): Batch {
    const batch = { records, next, gap: this.#gap };
    this.position = next;
    this.#gap = 0;
    return batch;
  }
}
