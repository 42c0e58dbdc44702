// What one request came to, for the host: counters and the first rejections, in static memory.

import { REASONS } from './reasons';

/** What the host may say of a series, and that its replica is not the elected one. */
export const DISPOSITIONS: u32 = 5;
export const LEFT_OUT_REPLICA: u32 = 4;
export const FIRST_REJECTS_MAX: u32 = 5;
/** In place of a series, for what belongs to none. */
export const NO_SERIES: u32 = u32.MAX_VALUE;

/** All u32, in this order; wasm-decoder.ts reads them as one array. */
@unmanaged
export class Results {
  /** Float samples and native histograms. */
  received: u32;
  series: u32;
  samples: u32;
  histograms: u32;
  exemplars: u32;
  metadata: u32;
  newSeries: u32;
  rejectedCount: u32;
  firstRejects: u32;
  /** Accepted: in the blocks, or left out because a rule says so. */
  writtenSamples: u32;
  writtenHistograms: u32;
  writtenExemplars: u32;
  symbols: u32;
  references: u32;
  /** Bytes that the labels would take, were every series announced. */
  labelBytes: u32;
  /** 1 when the first symbol is not the empty string. */
  oddFirstSymbol: u32;
  familiesLeftOut: u32;
  unitsLeftOut: u32;
  /** Replicas of clusters that series name: see claims.ts. */
  claims: u32;
  /** Samples of series whose replica there was no room to tell apart. */
  unclaimed: u32;
  /** 1 when the whole request comes from replicas that are not the elected ones. */
  isAllOut: u32;
  /** 1 when metadata said something that was not known. */
  hasFamilyNews: u32;
}

const COUNTERS: usize = offsetof<Results>();
const BYTES: usize = COUNTERS + (DISPOSITIONS + (REASONS + 1) * 2 + FIRST_REJECTS_MAX * 2) * 4;
const at: usize = memory.data(<i32>BYTES, 8);
const leftOutAt: usize = at + COUNTERS;
const rejectedAt: usize = leftOutAt + DISPOSITIONS * 4;
const rejectedOtherAt: usize = rejectedAt + (REASONS + 1) * 4;
const firstRejectsAt: usize = rejectedOtherAt + (REASONS + 1) * 4;

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

/** Samples and histograms of one series, rejected for one reason; at least one. */
export function rejectSamples(reason: u32, samples: u32, series: u32): void {
  count(rejectedAt, reason, samples);
  remember(reason, series);
}

/** Things that are no samples: a series that has none, exemplars, metadata. */
export function rejectOther(reason: u32, things: u32, series: u32): void {
  count(rejectedOtherAt, reason, things);
  remember(reason, series);
}

function count(counters: usize, reason: u32, things: u32): void {
  const counter = counters + (reason << 2);
  store<u32>(counter, load<u32>(counter) + things);
  results().rejectedCount += things;
}

function remember(reason: u32, series: u32): void {
  const r = results();
  if (r.firstRejects === FIRST_REJECTS_MAX) return;
  const first = firstRejectsAt + (r.firstRejects << 3);
  store<u32>(first, reason);
  store<u32>(first, series, 4);
  r.firstRejects++;
}
