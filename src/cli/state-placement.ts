// In which partition a series belongs, as the receiver decides it: its decoder is asked. Each series is put into a
// remote-write request with one sample whose timestamp is its number, and the blocks that come out say where it went and
// what its fingerprint is. So there is one rule, and not a second one that has to agree with it.

import { fromBinary } from '@bufbuild/protobuf';
import { SeriesInfoSchema } from '../gen/sample_block_pb.js';
import { WasmDecoder } from '../receiver/wasm-decoder.js';
import { readBlock } from '../sample-block.js';
import type { Placed, PlaceSeries } from '../scorer/state-survey.js';
import { loadWasm } from '../wasm-files.js';
import { type SeriesSamples, writeRequestBody } from '../write-request.js';

/** Any time later than the samples: nothing may be in its future. */
const NOW_MS = 1e12;

export function seriesPlacement(
  partitions: number,
  partitionBy: readonly (readonly string[])[],
): PlaceSeries {
  const { module } = loadWasm('decode');
  // Labels that are stripped on arrival are not in an announcement any more.
  const settings = { partitions, partitionBy, stripLabels: [], classify: () => 'keep' as const };
  const decoder = new WasmDecoder(module, settings);
  return async (announcements) => {
    const byTenant = new Map<string, SeriesSamples[]>();
    for (const [number, bytes] of announcements.entries()) {
      const { tenant, label } = fromBinary(SeriesInfoSchema, bytes);
      const series = byTenant.get(tenant) ?? [];
      series.push({ labels: label, samples: [{ timestampMs: number, value: 0 }] });
      byTenant.set(tenant, series);
    }
    const placed = new Array<Placed | undefined>(announcements.length).fill(undefined);
    for (const [tenant, series] of byTenant) {
      const body = await writeRequestBody(series);
      decoder.input(body.length).set(body);
      const { blocks } = decoder.decode(body.length, { tenant, nowMs: NOW_MS });
      for (const { partition, bytes } of blocks) readPlaces(bytes, partition, placed);
    }
    return placed;
  };
}

function readPlaces(block: Uint8Array, partition: number, placed: (Placed | undefined)[]): void {
  const { bytes, runs } = readBlock(block);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const { count, fingerprintAt, timestampAt } of runs) {
    for (let i = 0; i < count; i++) {
      placed[view.getUint32(timestampAt + 8 * i, true)] = {
        low: view.getUint32(fingerprintAt + 8 * i, true),
        high: view.getUint32(fingerprintAt + 8 * i + 4, true),
        partition,
      };
    }
  }
}
