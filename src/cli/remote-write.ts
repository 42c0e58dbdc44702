// A remote-write 1.0 sender for the demo: what a Prometheus puts on the wire, over real HTTP.

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
  const request = create(WriteRequestSchema, {
    timeseries: series.map(({ labels, samples }) => ({
      labels,
      samples: samples.map(({ timestampMs, value }) => ({ value, timestamp: BigInt(timestampMs) })),
    })),
  });
  const answer = await fetch(url, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/x-protobuf',
      'Content-Encoding': 'snappy',
      'X-Prometheus-Remote-Write-Version': '0.1.0',
    },
    body: new Uint8Array(await compress(Buffer.from(toBinary(WriteRequestSchema, request)))),
  });
  const text = await answer.text();
  if (answer.status !== 204) {
    throw new OperatingError('log_unavailable', `${url} answered ${answer.status}: ${text.trim()}`);
  }
}
