// How long until a score can be seen: one sample of one series is sent, and its series asked for again
// and again until the answer is about that sample. Measured from before the request is made to when
// the answer is read, as somebody outside would, up to a poll too late; one probe at a time, each
// with a sample of its own, while others send.

import { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { exchange, openSender, writeBody } from '../test/remote-write-sender.js';
import type { Reading } from '../test/treeline-process.js';

export interface Visible {
  /** From the request to the score, milliseconds. */
  p50: number;
  p99: number;
  slowest: number;
  probes: number;
}

const POLL_MS = 4;
const VISIBLE_MS_MAX = 60_000;
const LABELS = { __name__: 'probe_value', instance: 'probe', job: 'bench' };

interface Row {
  fingerprint: string;
  lastTimestamp?: string;
  score?: number;
}

/** `count` probes, the first of which only makes the series known; at least `pauseMs` from one to the next. */
export async function probeVisible(
  url: string,
  options: { count: number; pauseMs: number },
): Promise<Visible> {
  const sender = openSender(url);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ask = async (path: string): Promise<unknown> => {
    const { status, text } = await exchange(new URL(path, url), { method: 'GET', agent });
    return status === 200 ? JSON.parse(text) : undefined;
  };
  const match = encodeURIComponent(`{__name__="${LABELS.__name__}"}`);
  let path = '';
  let newestMs = 0;
  const probe = async (): Promise<number> => {
    const begun = performance.now();
    newestMs = Math.max(newestMs + 1, Date.now());
    const body = writeBody([{ labels: LABELS, points: [[newestMs, newestMs % 100]] }]);
    while ((await sender.send(body)).status === 503) await sleep(POLL_MS);
    while (performance.now() - begun < VISIBLE_MS_MAX) {
      const page = (await ask(path || `/anomaly/v1/series?match[]=${match}`)) as
        | { series?: Row[] }
        | undefined;
      const row = path === '' ? page?.series?.[0] : (page as Row | undefined);
      if (row !== undefined) path = `/anomaly/v1/series/${row.fingerprint}`;
      const seenMs = Date.parse(row?.lastTimestamp ?? '');
      if (seenMs === newestMs && row?.score !== undefined) return performance.now() - begun;
      await sleep(POLL_MS);
    }
    throw new Error(`A sample is not scored within ${VISIBLE_MS_MAX} ms`);
  };
  const waits: number[] = [];
  for (let i = 0; i < options.count; i++) {
    const due = performance.now() + options.pauseMs;
    const waited = await probe();
    if (i > 0) waits.push(waited);
    await sleep(Math.max(0, due - performance.now()));
  }
  sender.close();
  agent.destroy();
  waits.sort((a, b) => a - b);
  const quantile = (q: number) => waits[Math.floor(q * (waits.length - 1))] ?? Number.NaN;
  return { p50: quantile(0.5), p99: quantile(0.99), slowest: quantile(1), probes: waits.length };
}

/**
 * Of the records scored between two scrapes, the share whose newest sample was visible within so many
 * seconds of its own timestamp; `le` must be a bucket of the histogram.
 */
export function visibleWithin(
  le: string,
  readings: { before: readonly Reading[]; after: readonly Reading[] },
): number {
  const count = (of: readonly Reading[], bucket: string) =>
    of.find(
      ({ name, labels }) =>
        name === 'treeline_visible_latency_seconds_bucket' && labels['le'] === bucket,
    )?.value ?? Number.NaN;
  const grown = (bucket: string) => count(readings.after, bucket) - count(readings.before, bucket);
  return grown(le) / grown('+Inf');
}
