// The sending side of the end-to-end bench: a process of its own, so that its CPU is not counted as
// the program's. It writes remote-write 1.0 bodies of 2,000 series, one sample each, with the
// labels of a usual Kubernetes series; only timestamps and values change from body to body, so they
// are written into the bytes where they lie, and what is left to do per body is snappy. Told by
// messages of its parent when to send, how fast and how much.

import { create, toBinary } from '@bufbuild/protobuf';
import { compressSync } from 'snappy';
import { TimeSeriesSchema } from '../src/gen/remote_write_v1_pb.js';
import { openSender } from '../test/remote-write-sender.js';

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
/**
 * A sample at the end of its series: 09 value(8) 10 timestamp(6), in the message of
 * remote_write_v1.proto.
 */
const SAMPLE_BYTES = 16;

export interface Template {
  message: Uint8Array;
  /** Where each sample begins. */
  samples: number[];
}

/** The series from `first` on, as a message whose samples can be overwritten in place. */
export function templateOf(first: number, count: number): Template {
  const chunks: Uint8Array[] = [];
  const samples: number[] = [];
  let at = 0;
  for (let series = first; series < first + count; series++) {
    const labels = Object.entries(labelsOf(series)).map(([name, value]) => ({ name, value }));
    const sample = { value: 1, timestamp: 1_700_000_000_000n };
    const bytes = toBinary(
      TimeSeriesSchema,
      create(TimeSeriesSchema, { labels, samples: [sample] }),
    );
    const head = [0x0a, ...varint(bytes.length)];
    chunks.push(Uint8Array.from(head), bytes);
    at += head.length + bytes.length;
    samples.push(at - SAMPLE_BYTES);
  }
  return { message: Buffer.concat(chunks), samples };
}

/** Overwrites every sample: a daily swing with noise for gauges, ever growing for counters. */
export function writeStep(
  template: Template,
  step: { first: number; at: number; ms: number },
): void {
  const { message, samples } = template;
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  for (let i = 0; i < samples.length; i++) {
    const series = step.first + i;
    const noise = ((Math.imul(series + 1, 2654435761) ^ Math.imul(step.at + 1, 40503)) & 1023) / 64;
    const value =
      series % 3 === 0 ? 100 * step.at + noise : 50 + noise + 10 * Math.sin(step.at / 240);
    const from = samples[i] as number;
    view.setFloat64(from + 1, value, true);
    let rest = step.ms;
    for (let byte = 0; byte < 6; byte++) {
      message[from + 10 + byte] = (rest % 128) + (byte < 5 ? 128 : 0);
      rest = Math.floor(rest / 128);
    }
  }
}

/** Twelve labels, 330 bytes: what a container's series has in a usual cluster. */
function labelsOf(series: number): Record<string, string> {
  const pod = Math.floor(series / 20);
  const kind = series % 3 === 0 ? 'requests_total' : 'working_bytes';
  return {
    __name__: `container_${series % 20}_${kind}`,
    cluster: 'production-eu-west-1',
    container: `server-${pod % 5}`,
    endpoint: 'https-metrics',
    id: `/kubepods/burstable/pod${String(pod).padStart(8, '0')}-7a1b-4c55-9e0d-3f2a41c6b9aa`,
    image: 'registry.internal/team/server:1.27.3',
    instance: `10.42.${pod % 250}.17:10250`,
    job: 'kubelet',
    metrics_path: '/metrics/cadvisor',
    namespace: `team-${pod % 40}`,
    node: `worker-${pod % 250}.internal`,
    pod: `server-${pod}-6d5f8c9b7-x${String(pod % 1000).padStart(3, '0')}`,
  };
}

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

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)];
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
