// Gathers the blocks of concurrent requests into records. While one record of a partition is being flushed, further
// blocks for it wait and then go out together: the busier the log, the bigger the records, without a timer. Blocks of
// one tenant are merged by concatenation, which is what protobuf means by merging two messages.

import { OperatingError } from '../errors.js';
import { APPEND_BYTES_MAX, RECORD_BYTES_MAX } from '../limits.js';
import type { Log } from '../log/log.js';
import { splitBlock, startsOfNone } from '../sample-block.js';

/** One SampleBlock and what is in it. */
export interface Appended {
  tenant: string;
  bytes: Uint8Array;
  /** Float samples and native histograms. */
  samples: number;
  floats: number;
  /** Whether the float samples have a column of start timestamps. */
  hasStarts: boolean;
}

interface Group {
  tenant: string;
  blocks: Appended[];
  bytes: number;
  samples: number;
  done: Promise<void>;
  resolve: () => void;
  reject: (error: unknown) => void;
}

interface Lane {
  partition: number;
  waiting: Group[];
  busy: boolean;
}

export class Appender {
  readonly #log: Log;
  readonly #lanes: Lane[];
  readonly #onFailure: () => void;
  #bytes = 0;

  /** `onFailure` is called for each failed record before anything behind it in its partition is appended. */
  constructor(log: Log, onFailure: () => void) {
    this.#log = log;
    this.#onFailure = onFailure;
    this.#lanes = Array.from({ length: log.partitions }, (_, partition) => ({
      partition,
      waiting: [],
      busy: false,
    }));
  }

  /** Bytes taken and not yet durable. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Resolves once the block is durable. `bytes` is copied before this returns.
   * Rejects with an OperatingError; `overloaded` when too much waits for the log already.
   */
  add(partition: number, block: Appended): Promise<void> {
    const lane = this.#lanes[partition];
    if (lane === undefined) throw new RangeError(`No partition ${partition}`);
    if (this.#bytes + block.bytes.length > APPEND_BYTES_MAX) {
      this.#onFailure();
      return Promise.reject(overloaded());
    }
    const copy = block.bytes.slice();
    this.#bytes += copy.length;
    let group = lane.waiting.at(-1);
    if (group?.tenant !== block.tenant || group.bytes + copy.length > RECORD_BYTES_MAX) {
      group = openGroup(block.tenant);
      lane.waiting.push(group);
    }
    group.blocks.push({ ...block, bytes: copy });
    group.bytes += copy.length;
    group.samples += block.samples;
    if (!lane.busy) void this.#drain(lane);
    return group.done;
  }

  async #drain(lane: Lane): Promise<void> {
    lane.busy = true;
    // One turn of the event loop lets requests that have already arrived join the first record.
    await new Promise((next) => setImmediate(next));
    for (let group = lane.waiting.shift(); group !== undefined; group = lane.waiting.shift()) {
      try {
        await this.#append(lane.partition, group);
        group.resolve();
      } catch (error) {
        this.#onFailure();
        group.reject(error);
      } finally {
        this.#bytes -= group.bytes;
      }
    }
    lane.busy = false;
  }

  async #append(partition: number, group: Group): Promise<void> {
    const merged = merge(group.blocks);
    if (merged.length <= RECORD_BYTES_MAX) {
      await this.#log.append('samples', partition, merged, group.samples);
      return;
    }
    for (const { bytes, samples } of splitBlock(merged)) {
      await this.#log.append('samples', partition, bytes, samples);
    }
  }
}

export function overloaded(): OperatingError {
  return new OperatingError('overloaded', 'Too many bytes wait for the log; try again later');
}

/** Columns are whole or not there, so a block without start timestamps beside one with them says that it has none. */
function merge(blocks: readonly Appended[]): Uint8Array {
  const [first] = blocks;
  if (blocks.length === 1) return (first as Appended).bytes;
  const hasStarts = blocks.some((block) => block.hasStarts);
  const chunks = blocks.flatMap((block) =>
    hasStarts && !block.hasStarts && block.floats > 0
      ? [block.bytes, startsOfNone(block.floats)]
      : [block.bytes],
  );
  return Buffer.concat(chunks);
}

function openGroup(tenant: string): Group {
  const group = { tenant, blocks: [], bytes: 0, samples: 0 } as unknown as Group;
  group.done = new Promise((resolve, reject) => {
    group.resolve = resolve;
    group.reject = reject;
  });
  // The sender's own await hears of a failure; without this line a group whose sender went away would end the process.
  group.done.catch(() => {});
  return group;
}
