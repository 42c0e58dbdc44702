// Looks into the data directory of a program that has just been killed, through the same adapters, and
// changes nothing. Every record that is there must be whole and at its offset, counted as the log
// counts it, and none may have been trimmed before it was looked at. Of the learnt state: chunks of a
// checkpoint whose manifest was never written, or is gone already, say that the kill came in between.

import { fromBinary } from '@bufbuild/protobuf';
import { openDataDir } from '../src/data-dir.js';
import { SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import { type LmdbLog, openLmdbLog } from '../src/log/lmdb-log.js';
import { openLmdbStore } from '../src/state/lmdb-store.js';
import type { SeenSamples } from '../test/kill-load.js';

export interface Look {
  faults: string[];
  /** Records that retention has taken since the last look. */
  trimmed: number;
  /** Checkpoints that are there in part, and were not at the last look. */
  interruptedCheckpoints: number;
  /** Chunks of all that are there in part. */
  strayChunks: number;
}

const READ_BYTES = 8 * 1024 * 1024;
const KEEP_ALL = { bytesMax: Number.MAX_SAFE_INTEGER, ageMsMax: Number.MAX_SAFE_INTEGER };

export class DirectoryWatch {
  recordsRead = 0;
  recordsTrimmed = 0;
  readonly #path: string;
  readonly #partitions: number;
  readonly #seen: SeenSamples;
  /** By partition: where it began, and how far it was read, at the last look; samples read so far. */
  readonly #low: number[];
  readonly #next: number[];
  readonly #samples: number[];
  #partial = new Set<string>();

  constructor(path: string, options: { partitions: number; seen: SeenSamples }) {
    this.#path = path;
    this.#partitions = options.partitions;
    this.#seen = options.seen;
    const zeros = () => new Array<number>(options.partitions).fill(0);
    [this.#low, this.#next, this.#samples] = [zeros(), zeros(), zeros()];
  }

  async look(): Promise<Look> {
    const look: Look = { faults: [], trimmed: 0, interruptedCheckpoints: 0, strayChunks: 0 };
    const dir = await openDataDir(this.#path);
    const log = await openLmdbLog(dir, {
      partitions: this.#partitions,
      retention: { samples: KEEP_ALL, candidates: KEEP_ALL },
      clock: Date.now,
    });
    try {
      await this.#readLog(log, look);
      this.#countParts(await openLmdbStore(dir).list('checkpoint/'), look);
    } finally {
      await log.close();
      await dir.close();
    }
    return look;
  }

  async #readLog(log: LmdbLog, look: Look): Promise<void> {
    const subscription = await log.subscribe('samples', { onAssigned() {}, onLost() {} });
    const { signal } = new AbortController();
    for (let partition = 0; partition < this.#partitions; partition++) {
      const { low, high, samples } = await log.bounds('samples', partition);
      const read = this.#next[partition] as number;
      if (low > read)
        look.faults.push(`partition ${partition}: trimmed to ${low}, read to ${read}`);
      if (high < read) look.faults.push(`partition ${partition}: ends at ${high}, was at ${read}`);
      for (let from = low; from < high; ) {
        // Rejects when a record does not have its checksum, or an offset is not there.
        const batch = await subscription.read(partition, from, READ_BYTES, signal);
        if (batch.gap > 0) look.faults.push(`partition ${partition}: a gap at ${from}`);
        for (const { offset, value } of batch.records) {
          if (offset >= read) this.#note(partition, value);
        }
        from = batch.next;
      }
      look.trimmed += low - (this.#low[partition] as number);
      this.#low[partition] = low;
      this.#next[partition] = high;
      const counted = this.#samples[partition] as number;
      if (counted !== samples) {
        look.faults.push(`partition ${partition}: ${samples} logged, ${counted} read`);
      }
    }
    this.recordsTrimmed += look.trimmed;
    await subscription.close();
  }

  #note(partition: number, value: Uint8Array): void {
    const block = fromBinary(SampleBlockSchema, value);
    this.#seen.add(block);
    this.recordsRead++;
    this.#samples[partition] = (this.#samples[partition] as number) + block.fingerprint.length;
  }

  #countParts(all: readonly string[], look: Look): void {
    // Windows lie beside the checkpoints and belong to none.
    const keys = all.filter((key) => !key.includes('/windows/'));
    const placeOf = (key: string) => key.slice(0, key.lastIndexOf('/'));
    const whole = new Set(keys.filter((key) => key.endsWith('/manifest')).map(placeOf));
    const stray = keys.map(placeOf).filter((place) => !whole.has(place));
    const partial = new Set(stray);
    look.strayChunks = stray.length;
    for (const place of partial) if (!this.#partial.has(place)) look.interruptedCheckpoints++;
    this.#partial = partial;
  }
}
