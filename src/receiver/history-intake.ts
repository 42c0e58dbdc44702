// History on its way into its log: by the same rules, fingerprints, partitions and announcements as what is pushed, so that
// it meets live samples in the same series. One step of all series goes in at once and becomes one record per partition,
// however many bodies it came in: where records end decides when silent series are looked for.

import { OperatingError } from '../errors.js';
import { BODY_BYTES_MAX } from '../limits.js';
import type { Metrics } from '../metrics.js';
import { splitBlock } from '../sample-block.js';
import { rejection } from './answer.js';
import { BadRequest } from './bad-request.js';
import type { WasmDecoder } from './wasm-decoder.js';

export interface HistoryIntakeParts {
  decoder: WasmDecoder;
  metrics: Metrics;
  clock: () => number;
  /** Resolves once the record is durable. */
  append: (partition: number, record: Uint8Array, samples: number) => Promise<unknown>;
}

export interface Taken {
  /** In the log now. */
  samples: number;
  /** The words about what was rejected. */
  rejections: string[];
}

interface Part {
  blocks: Uint8Array[];
  samples: number;
}

export class HistoryIntake {
  readonly #parts: HistoryIntakeParts;

  constructor(parts: HistoryIntakeParts) {
    this.#parts = parts;
  }

  /** Snappy blocks of remote-write 1.0. Rejects with an OperatingError when not all of it is durable. */
  async take(bodies: readonly Uint8Array[], tenant: string): Promise<Taken> {
    const { decoder, append } = this.#parts;
    const parts = new Map<number, Part>();
    const rejections: string[] = [];
    for (const body of bodies) this.#decode(body, { tenant, parts, rejections });
    let samples = 0;
    const appends = [...parts].map(async ([partition, { blocks, samples: count }]) => {
      const merged = blocks.length === 1 ? (blocks[0] as Uint8Array) : Buffer.concat(blocks);
      const records = splitBlock(merged);
      try {
        for (const { bytes, samples } of records) await append(partition, bytes, samples);
        samples += count;
      } catch (error) {
        this.#parts.metrics.rejected.inc({ reason: 'unavailable' }, count);
        throw error;
      }
    });
    const failed = (await Promise.allSettled(appends)).find(({ status }) => status === 'rejected');
    if (failed !== undefined) {
      // Announcements may have been lost with it.
      decoder.forgetAnnouncements();
      throw (failed as PromiseRejectedResult).reason;
    }
    return { samples, rejections };
  }

  /** Types and units are a help: what cannot be read of them is done without. */
  learn(body: Uint8Array, tenant: string): void {
    const { decoder, clock } = this.#parts;
    if (body.length > BODY_BYTES_MAX) return;
    decoder.input(body.length).set(body);
    try {
      decoder.decode(body.length, { tenant, nowMs: clock(), version: 1 });
    } catch (error) {
      if (!(error instanceof BadRequest)) throw error;
    }
  }

  #decode(
    body: Uint8Array,
    into: { tenant: string; parts: Map<number, Part>; rejections: string[] },
  ): void {
    const { decoder, metrics, clock } = this.#parts;
    const { tenant, parts, rejections } = into;
    decoder.input(body.length).set(body);
    try {
      const decoded = decoder.decode(body.length, { tenant, nowMs: clock(), version: 1 });
      metrics.received.inc(decoded.received);
      for (const [reason, count] of Object.entries({ ...decoded.rejected, ...decoded.leftOut })) {
        if (count > 0 && reason !== 'keep') metrics.rejected.inc({ reason }, count);
      }
      if (decoded.rejectedCount > 0) rejections.push(rejection(decoded));
      for (const { partition, bytes, samples } of decoded.blocks) {
        const part = parts.get(partition) ?? { blocks: [], samples: 0 };
        parts.set(partition, part);
        part.blocks.push(bytes.slice());
        part.samples += samples;
      }
    } catch (error) {
      if (!(error instanceof BadRequest)) throw error;
      throw new OperatingError('input_invalid', `History cannot be taken in: ${error.message}`);
    }
  }
}
