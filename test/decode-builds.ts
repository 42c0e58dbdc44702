// What the tests of decode.wasm share: the release and the debug build as one decoder that insists
// on one answer, and the simplest series there is.

import { readFileSync } from 'node:fs';
import { fromBinary } from '@bufbuild/protobuf';
import { expect } from 'vitest';
import { type SampleBlock, SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import { BadRequest, type Version } from '../src/receiver/bad-request.js';
import {
  type Decoded,
  type DecoderSettings,
  REJECT_REASONS,
  WasmDecoder,
} from '../src/receiver/wasm-decoder.js';
import { label, literalBlock, sample, series } from './wire-bytes.js';

export const NOW_MS = 1_763_680_000_000;
export const MODULES = ['dist/decode.wasm', 'dist/decode.debug.wasm'].map(
  (file) => new WebAssembly.Module(readFileSync(file)),
);
export const SETTINGS: DecoderSettings = {
  partitions: 4,
  partitionBy: [['namespace', 'pod'], ['instance']],
  stripLabels: [],
  classify: () => 'keep',
};
export const UP = label('__name__', 'up');
export const POINT = sample(NOW_MS);

export interface Options {
  tenant?: string;
  nowMs?: number;
  version?: Version;
}

/** A decoder of each build; each method runs on all and insists on one answer. */
export class Builds {
  readonly #decoders: WasmDecoder[];

  constructor(settings: Partial<DecoderSettings> = {}) {
    this.#decoders = MODULES.map((module) => new WasmDecoder(module, { ...SETTINGS, ...settings }));
  }

  body(body: Uint8Array, options: Options = {}): Decoded {
    const answers = this.#decoders.map((decoder) => {
      decoder.input(body.length).set(body);
      const decoded = decoder.decode(body.length, { tenant: '', nowMs: NOW_MS, ...options });
      const blocks = decoded.blocks.map((block) => ({ ...block, bytes: block.bytes.slice() }));
      return { ...decoded, blocks };
    });
    const [first] = answers;
    for (const { blocks, ...rest } of answers) {
      expect(rest).toEqual({ ...first!, blocks: undefined });
      expect(blocks.length).toBe(first!.blocks.length);
      // Blocks can be megabytes: compared as buffers, not value by value.
      blocks.forEach((block, i) => {
        const other = first!.blocks[i]!;
        expect({ ...block, bytes: 0 }).toEqual({ ...other, bytes: 0 });
        expect(Buffer.compare(block.bytes, other.bytes)).toBe(0);
      });
    }
    expect(identityOf(first!)).toBe(first!.received);
    return first!;
  }

  request(parts: number[][], options: Options = {}): Decoded {
    return this.body(literalBlock(parts.flat()), options);
  }

  refused(body: Uint8Array | number[], version: Version = 1): BadRequest {
    const errors = this.#decoders.map((decoder) => {
      decoder.input(body.length).set(body);
      try {
        decoder.decode(body.length, { tenant: '', nowMs: NOW_MS, version });
      } catch (error) {
        if (error instanceof BadRequest) return error;
        throw error;
      }
      return expect.fail('the request was taken');
    });
    for (const error of errors) expect(error.message).toBe(errors[0]!.message);
    return errors[0]!;
  }

  adoptFamilies(other: Builds): void {
    for (const [i, decoder] of this.#decoders.entries()) decoder.adoptFamilies(other.#decoders[i]!);
  }

  forgetAnnouncements(): void {
    for (const decoder of this.#decoders) decoder.forgetAnnouncements();
  }
}

function identityOf(decoded: Decoded): number {
  const sum = (counters: Record<string, number>): number =>
    Object.values(counters).reduce((total, count) => total + count, 0);
  const kept = decoded.blocks.reduce((total, block) => total + block.samples, 0);
  return kept + sum(decoded.leftOut) + sum(decoded.rejected);
}

/** Nothing rejected. */
export function none(): Record<string, number> {
  return Object.fromEntries(REJECT_REASONS.map((reason) => [reason, 0]));
}

export function messages(decoded: Decoded): SampleBlock[] {
  return decoded.blocks.map((block) => fromBinary(SampleBlockSchema, block.bytes));
}

/** Fingerprint and partition of the only series of a request. */
export function identify(builds: Builds, labels: number[][], tenant = ''): string {
  const { blocks } = builds.request([series(UP, ...labels, POINT)], { tenant });
  const message = fromBinary(SampleBlockSchema, blocks[0]!.bytes);
  return `${message.fingerprint[0]!.toString(16).padStart(16, '0')}/${blocks[0]!.partition}`;
}
