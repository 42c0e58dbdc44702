// The sending side of the end-to-end bench: a process of its own, so that its CPU is not counted as
// the program's. It writes remote-write 1.0 bodies of 2,000 series, one sample each, with the
// labels of a usual Kubernetes series; only timestamps and values change from body to body, so they
// are written into the bytes where they lie, and what is left to do per body is snappy. Told by
// messages of its parent when to send, how fast and how much.

import { compressSync } from 'snappy';
import { openSender } from '../test/remote-write-sender.js';
import { templateOf, writeStep } from './load-bodies.js';

export interface LoadOrder {
  url: string;
  series: number;
  connections: number;
  /** Stream time of the first step, and of each step after it. */
  firstMs: number;
  stepMs: number;
  steps: number;
  /** Every step takes at least this long; 0 is as fast as the answers come. */
  pauseMs: number;
}

export interface LoadReport {
  samples: number;
  seconds: number;
  bodyBytes: number;
  /** Answers other than 204, which were sent again. */
  repeated: number;
  /** From sending a body to its answer, milliseconds. */
  p50: number;
  p99: number;
}

export const SERIES_PER_BODY = 2_000;
const REPEAT_MS = 30;
async function runLoad(order: LoadOrder): Promise<LoadReport> {
  const sender = openSender(order.url, order.connections);
  const report = { samples: 0, bodyBytes: 0, repeated: 0 };
  const waits: number[] = [];
  const firsts: number[] = [];
  for (let first = 0; first < order.series; first += SERIES_PER_BODY) firsts.push(first);
  // As Prometheus' shards do: a series always goes over the same connection, one body at a time.
  const lanes = Array.from({ length: order.connections }, (_, lane) =>
    firsts
      .filter((_first, index) => index % order.connections === lane)
      .map((first) => ({
        first,
        template: templateOf(first, Math.min(SERIES_PER_BODY, order.series - first)),
      })),
  );
  const begun = performance.now();
  await Promise.all(
    lanes.map(async (bodies) => {
      for (let at = 0; at < order.steps; at++) {
        const early = at * order.pauseMs - (performance.now() - begun);
        if (early > 0) await pause(early);
        for (const { first, template } of bodies) {
          writeStep(template, { first, at, ms: order.firstMs + at * order.stepMs });
          const body = compressSync(template.message);
          const sent = performance.now();
          for (;;) {
            const { status, text } = await sender.send(body);
            if (status === 204) break;
            if (status !== 503) throw new Error(`A body is answered ${status}: ${text}`);
            report.repeated++;
            await pause(REPEAT_MS);
          }
          waits.push(performance.now() - sent);
          report.samples += template.samples.length;
          report.bodyBytes += body.length;
        }
      }
    }),
  );
  const left = order.steps * order.pauseMs - (performance.now() - begun);
  if (left > 0) await pause(left);
  sender.close();
  waits.sort((a, b) => a - b);
  const quantile = (q: number) => waits[Math.floor(q * (waits.length - 1))] ?? Number.NaN;
  const seconds = (performance.now() - begun) / 1000;
  return { ...report, seconds, p50: quantile(0.5), p99: quantile(0.99) };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

process.on('message', (order: LoadOrder) => {
  runLoad(order).then(
    (report) => process.send?.(report),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
// The bench has ended, one way or another.
process.on('disconnect', () => process.exit());
