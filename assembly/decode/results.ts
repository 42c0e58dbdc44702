// What one request came to, for the host: counters and the first rejections, in static memory.

import { REASONS } from './reasons';

export const DISPOSITIONS: u32 = 4;
export const FIRST_REJECTS_MAX: u32 = 5;

/** All u32, in this order; wasm-decoder.ts reads them as one array. */
@unmanaged
export class Results {
  /** Float samples and native histograms. */
  received: u32;
  series: u32;
  samples: u32;
  exemplars: u32;
  metadata: u32;
  newSeries: u32;
  rejectedCount: u32;
  firstRejects: u32;
}

const COUNTERS: usize = offsetof<Results>();
const BYTES: usize = COUNTERS + (DISPOSITIONS + REASONS + 1 + FIRST_REJECTS_MAX * 2) * 4;
const at: usize = memory.data(<i32>BYTES, 8);
const leftOutAt: usize = at + COUNTERS;
const rejectedAt: usize = leftOutAt + DISPOSITIONS * 4;
const firstRejectsAt: usize = rejectedAt + (REASONS + 1) * 4;

export function results(): Results {
  return changetype<Results>(at);
}

export function resultsStart(): usize {
  return at;
}

export function clearResults(): void {
  memory.fill(at, 0, BYTES);
}

export function leaveOut(disposition: u32, samples: u32): void {
  const counter = leftOutAt + (disposition << 2);
  store<u32>(counter, load<u32>(counter) + samples);
}

/**
 * Samples of one series rejected for one reason; a series without any counts as one rejection of 0
 * samples.
 */
export function reject(reason: u32, samples: u32, series: u32): void {
  const counter = rejectedAt + (reason << 2);
  store<u32>(counter, load<u32>(counter) + samples);
  const r = results();
  r.rejectedCount += samples === 0 ? 1 : samples;
  if (r.firstRejects === FIRST_REJECTS_MAX) return;
  const first = firstRejectsAt + (r.firstRejects << 3);
  store<u32>(first, reason);
  store<u32>(first, series, 4);
  r.firstRejects++;
}
