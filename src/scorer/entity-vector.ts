// How a vector comes out of the series of an entity: how long a value stands, and how several series become one feature.

import type { Aggregate } from './detectors.js';
import type { Entity, Link } from './entity-state.js';

/** A value stands for so many of its own intervals. */
const HELD_INTERVALS = 1.5;
/** So much older than the newest of its entity, a value is of the scrape before. */
const BEHIND_INTERVALS = 0.75;
/** An interval between two samples counts as at most so many usual ones: a gap is no rhythm. */
const GAP = 4;
const INTERVAL_RATE = 1 / 8;

export function isHeld({ lastMs, intervalMs }: Link, newestMs: number): boolean {
  return newestMs - lastMs <= HELD_INTERVALS * intervalMs;
}

/** Will it be heard of before the next vector? What is scraped less often is not waited for. */
export function isDue({ lastMs, intervalMs }: Link, { newestMs, stepMs }: Entity): boolean {
  return intervalMs > 0 && lastMs + intervalMs <= newestMs + 1.5 * stepMs;
}

/** Others have been scraped again, and it is about to be: together they are one vector, apart they would be two halves. */
export function isBehind({ lastMs, intervalMs }: Link, { newestMs, stepMs }: Entity): boolean {
  const isPaced = intervalMs > 0 && intervalMs <= 1.5 * stepMs;
  return isPaced && newestMs - lastMs >= BEHIND_INTERVALS * intervalMs;
}

export function nextInterval({ lastMs, intervalMs }: Link, timestampMs: number): number {
  const passed = timestampMs - lastMs;
  if (!Number.isFinite(passed)) return 0;
  if (intervalMs === 0) return passed;
  return intervalMs + INTERVAL_RATE * (Math.min(passed, GAP * intervalMs) - intervalMs);
}

/** Of a counter that the forest takes for a gauge. NaN at the first sample; after a reset it counts from 0. */
export function rateOf(link: Link, timestampMs: number, raw: number): number {
  const risen = raw >= link.raw ? raw - link.raw : raw;
  return risen / ((timestampMs - link.lastMs) / 1000);
}

/**
 * One feature of the vector, from the series whose values stand; NaN when there is none. What was received for it, a
 * counter's count in place of its rate, is kept beside it.
 */
export function aggregateInto(entity: Entity, feature: number, how: Aggregate): void {
  let value = Number.NaN;
  let received = Number.NaN;
  let newestMs = Number.NEGATIVE_INFINITY;
  let count = 0;
  for (const link of entity.links) {
    if (link.feature !== feature || !(link.isFresh || link.isLive)) continue;
    count++;
    if (count === 1 || (how === 'last' && link.lastMs >= newestMs)) {
      value = link.value;
      received = link.raw;
    } else if (how === 'max') {
      value = Math.max(value, link.value);
      received = Math.max(received, link.raw);
    } else if (how !== 'last') {
      value += link.value;
      received += link.raw;
    }
    newestMs = Math.max(newestMs, link.lastMs);
  }
  const share = how === 'mean' && count > 0 ? count : 1;
  entity.vector[feature] = value / share;
  entity.received[feature] = received / share;
}
