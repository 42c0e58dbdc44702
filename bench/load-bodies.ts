// Remote-write 1.0 bodies for benches: series with the labels of a usual Kubernetes cluster, one
// sample each. Only timestamps and values change from body to body, so they are written into the
// bytes where they lie, and what is left to do per body is snappy. Where even that is too much, for
// a crowd of senders on the machine of the program, a snappy block is made so that the samples stand
// in it as they are.

import assert from 'node:assert/strict';
import { create, toBinary } from '@bufbuild/protobuf';
import { TimeSeriesSchema } from '../src/gen/remote_write_v1_pb.js';

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

/**
 * Several steps of the same series as one body, compressed once: the labels stand in it at the first
 * step and are copied from step to step, and each sample is a literal, to be overwritten. The template
 * of each step shares the body as its message; all steps must be written before it is sent.
 *
 *   length of the message ‖ step 0: literal(labels) literal(sample) … ‖ step 1: copy(labels) literal(sample) …
 *
 * (https://github.com/google/snappy/blob/main/format_description.txt)
 */
export function blockOf(first: number, count: number, steps: number): Template[] {
  const { message, samples } = templateOf(first, count);
  assert(message.length <= COPY_OFFSET_MAX, 'a copy reaches back one whole step');
  const parts: Uint8Array[] = [Uint8Array.from(varint(message.length * steps))];
  let length = parts[0]?.length ?? 0;
  const push = (bytes: Uint8Array): void => {
    parts.push(bytes);
    length += bytes.length;
  };
  const places: number[][] = [];
  for (let step = 0; step < steps; step++) {
    const own: number[] = [];
    let from = 0;
    for (const at of samples) {
      const labels = message.subarray(from, at);
      push(step === 0 ? literal(labels) : copies(labels.length, message.length));
      push(literal(message.subarray(at, at + SAMPLE_BYTES)));
      own.push(length - SAMPLE_BYTES);
      from = at + SAMPLE_BYTES;
    }
    places.push(own);
  }
  const body = Buffer.concat(parts);
  return places.map((own) => ({ message: body, samples: own }));
}

/** Of a copy with an offset of two bytes. */
const COPY_OFFSET_MAX = 65_535;
const COPY_BYTES_MAX = 64;

function literal(bytes: Uint8Array): Uint8Array {
  const last = bytes.length - 1;
  const head = last < 60 ? [last << 2] : [61 << 2, last & 255, last >> 8];
  return Buffer.concat([Uint8Array.from(head), bytes]);
}

function copies(bytes: number, offset: number): Uint8Array {
  const out: number[] = [];
  for (let left = bytes; left > 0; left -= COPY_BYTES_MAX) {
    const length = Math.min(left, COPY_BYTES_MAX);
    out.push(((length - 1) << 2) | 2, offset & 255, offset >> 8);
  }
  return Uint8Array.from(out);
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

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)];
}
