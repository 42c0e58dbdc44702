// The newest verdict of a partition, which says up to which candidate there are verdicts. Read only when a partition is
// taken over; the subscription is shared by those that are taken over at the same time and closed after the last, for an
// open one would read ahead for nobody.

import { fromBinary } from '@bufbuild/protobuf';
import { VerdictSchema } from '../gen/verdict_pb.js';
import { READ_BYTES_MAX } from '../limits.js';
import type { Log, Subscription } from '../log/log.js';

/** Offsets before the end that may hold no record. */
const LOOKS_MAX = 16;

export class VerdictTail {
  readonly #log: Log;
  #subscription: Promise<Subscription> | undefined;
  #readers = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  /** The offset of the newest candidate with a verdict; undefined when there is no verdict. */
  async lastOffset(partition: number, signal: AbortSignal): Promise<number | undefined> {
    const { low, high } = await this.#log.bounds('verdicts', partition);
    if (low >= high) return undefined;
    this.#readers++;
    this.#subscription ??= this.#log.subscribe('verdicts', { onAssigned() {}, onLost() {} });
    const subscription = this.#subscription;
    try {
      const opened = await subscription;
      for (let from = high - 1; from >= Math.max(low, high - LOOKS_MAX); from--) {
        const { records } = await opened.read(partition, from, READ_BYTES_MAX, signal);
        const last = records.at(-1);
        if (last === undefined) continue;
        return Number(fromBinary(VerdictSchema, last.value).candidateOffset);
      }
      return undefined;
    } finally {
      this.#readers--;
      if (this.#readers === 0) {
        this.#subscription = undefined;
        // One that could not be opened has nothing to close.
        await subscription.then((opened) => opened.close()).catch(() => {});
      }
    }
  }
}
