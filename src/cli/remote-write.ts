// A remote-write 1.0 sender: what a Prometheus puts on the wire, for the demo over real HTTP.

import { OperatingError } from '../errors.js';
import { type SeriesSamples, writeRequestBody } from '../write-request.js';

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
