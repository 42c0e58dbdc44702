// What a write request is answered: the status, for 2.0 exactly how much of it was written, and of what
// was rejected the counts and the first few by name, on one line of at most 1 KiB (Prometheus reads no
// more of an error and logs its first line).

import { type HttpReply, PLAIN } from '../http-server.js';
import type { Decoded, Written } from './wasm-decoder.js';

export interface Answer {
  status: number;
  message?: string;
  /** Of a 2.0 request of which something was written. */
  written?: Written | undefined;
  close?: boolean;
}

export const NOTHING_WRITTEN: Written = { samples: 0, histograms: 0, exemplars: 0 };
const ANSWER_BYTES_MAX = 1024;

export function send(reply: HttpReply, answer: Answer): HttpReply {
  void reply.code(answer.status);
  if (answer.written !== undefined) sayWritten(reply, answer.written);
  if (answer.close === true) void reply.header('Connection', 'close');
  if (answer.status === 503) void reply.header('Retry-After', '1');
  if (answer.message === undefined) return reply.send();
  const text = Buffer.from(`${answer.message}\n`).subarray(0, ANSWER_BYTES_MAX).toString();
  // A character cut in two by the limit would otherwise become a replacement character.
  return reply.type(PLAIN).send(text.replace(/\ufffd+$/, ''));
}

/** 1.0 senders must not be told: https://github.com/prometheus/prometheus/issues/17683. */
export function sayWritten(reply: HttpReply, written: Written): void {
  void reply.headers({
    'X-Prometheus-Remote-Write-Samples-Written': String(written.samples),
    'X-Prometheus-Remote-Write-Histograms-Written': String(written.histograms),
    'X-Prometheus-Remote-Write-Exemplars-Written': String(written.exemplars),
  });
}

/** `3 of 2000 samples rejected: 2 no metric name, 1 duplicate label; first: no metric name: {...}` */
export function rejection(decoded: Decoded): string {
  const { received, rejected, rejectedOther, firstRejects } = decoded;
  const samples = Object.values(rejected).reduce((total, count) => total + count, 0);
  const counts = Object.entries(rejectedOther)
    .map(
      ([reason, others]) => [reason, others + rejected[reason as keyof typeof rejected]] as const,
    )
    .filter(([, count]) => count > 0)
    .map(([reason, count]) => `${count} ${words(reason)}`);
  const first = firstRejects.map(({ reason, series }) =>
    series === '' ? words(reason) : `${words(reason)}: ${series}`,
  );
  return `${samples} of ${received} samples rejected: ${counts.join(', ')}; first: ${first.join('; ')}`;
}

function words(reason: string): string {
  return reason.replaceAll('_', ' ');
}
