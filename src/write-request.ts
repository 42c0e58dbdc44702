// Series and samples as a remote-write 1.0 body: a WriteRequest in one snappy block, as it goes over the wire. For what we
// send ourselves; it makes an object per sample, which the way in never does.

import { create, toBinary } from '@bufbuild/protobuf';
import { compress } from 'snappy';
import { WriteRequestSchema } from './gen/remote_write_v1_pb.js';
import type { Label } from './series.js';

export interface SeriesSamples {
  labels: Label[];
  samples: { timestampMs: number; value: number }[];
}

export async function writeRequestBody(
  series: readonly SeriesSamples[],
): Promise<Uint8Array<ArrayBuffer>> {
  const request = create(WriteRequestSchema, {
    timeseries: series.map(({ labels, samples }) => ({
      labels,
      samples: samples.map(({ timestampMs, value }) => ({ value, timestamp: BigInt(timestampMs) })),
    })),
  });
  return new Uint8Array(await compress(Buffer.from(toBinary(WriteRequestSchema, request))));
}
