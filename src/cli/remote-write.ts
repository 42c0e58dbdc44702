// A remote-write 1.0 sender: what a Prometheus puts on the wire, for the demo over real HTTP.

import { create, toBinary } from '@bufbuild/protobuf';
import { compress } from 'snappy';
import { OperatingError } from '../errors.js';
import { WriteRequestSchema } from '../gen/remote_write_v1_pb.js';
import type { Label } from '../series.js';

export interface SeriesSamples {
  labels: Label[];
  samples: { timestampMs: number; value: number }[];
}

/** Rejects with the receiver's own words when it does not take everything. */
export async function remoteWrite(url: string, series: readonly SeriesSamples[]): Promise<void> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/x-protobuf',
      'Content-Encoding': 'snappy',
      'X-Prometheus-Remote-Write-Version': '0.1.0',
    },
    body: await writeRequestBody(series),
  });
  const text = await answer.text();
  if (answer.status !== 204) {
    throw new OperatingError('log_unavailable', `${url} answered ${answer.status}: ${text.trim()}`);
  }
}

/** As it goes over the wire: a WriteRequest in one snappy block. */
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
