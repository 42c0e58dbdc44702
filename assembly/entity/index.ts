// One vector of one entity: how far it is from everything its features usually do together, and
// what each feature has to do with it. The host copies a record to RECORD and the values to VALUES,
// calls `observe`, and copies the record back. Pure: the imports are the memory and abort; after
// `plant` there is no randomness, no clock, no allocation. A vector is judged by what was known
// before it, then learnt.

import { log2 } from '../forest/logarithm';
import { PARTS, residuals, standardise } from './conditional';
import * as layout from './record';
import { descend, plantTrees } from './trees';

export { bytesOf, ENTITY_FORMAT, FEATURES_MAX, TREES_MAX } from './record';

/** 16 values, and room for the largest record. */
export const VALUES: usize = memory.data(16 * 8, 16);
export const RECORD: usize = memory.data(3584, 16);
const RECORD_BYTES_MAX: i32 = 3584;
/** Of the last vector: the share of each feature in its distance; all 0 while there is none. No part of a record. */
export const SHARES: usize = memory.data(16 * 8, 16);

/** Vectors before the first distance is told, and after a hand-over: until then its scales are guesses. */
export const SETTLE_VECTORS: u32 = 20;
/** A distance after so many vectors counts half. */
const YOUNG_VECTORS: u32 = 150;
const SLOW_RATE: f64 = 1.0 / 4000.0;
const FAST_RATE: f64 = 1.0 / 6.0;
const STEP_RATE: f64 = 1.0 / 1440.0;
/** Weights of the first vectors of an heir rise with the square of their age. */
const HEIR_GAIN: f64 = 3.0;
const USUAL_RATE: f64 = 1.0 / 1000.0;
const LEAF_RATE: f64 = 1.0 / 1000.0;
/** Beyond it a deviation says no more; while learning, it must not spoil what is known. */
const UNITS_MAX: f64 = 1000.0;
const LEARNT_UNITS_MAX: f64 = 6.0;
/** From then on one wild value cannot widen a scale by much. */
const CLAMP_FROM: u32 = 30;
/**
 * What a residual rarely exceeds rises half-way to the highest of so many vectors, when they are over: until then a
 * fault goes on being one, and a long one counts once. It falls by half in 14,000 vectors.
 */
const FAR_RISE: f64 = 0.5;
const FAR_PAUSE: u32 = 20;
const FAR_FALL: f64 = 1.0 - 0.00005;
const FAR_BEGIN: f64 = 3.3;
const FAR_MIN: f64 = 1.0;
const LEAF_FAR_BEGIN: f64 = 1.0;
const LEAF_FAR_MIN: f64 = 0.6;
const QUANTILE_RATE: f64 = 0.05;
const QUANTILE_MIN: f64 = 0.01;
const DISTANCE_MAX: f64 = 64.0;
/** Beyond it a distance is told by its logarithm, or who judges them would not forget a fault for days. */
const STRAIGHT_MAX: f64 = 4.0;
/** Below it a distance is ordinary: such come every few days on noise alone. */
const REMARKABLE: f64 = 2.5;
const VALUE_MAX: f64 = 1e30;
/** Differences in the last bits of a sum are none. */
const RELATIVE_MIN: f64 = 1e-9;

const LEVELS: usize = memory.data(16 * 8, 16);
const STEPS: usize = memory.data(16 * 8, 16);
const UNITS: usize = memory.data(16 * 8, 16);

/** Has a residual of this vector gone beyond what it rarely exceeds? */
let isFar: bool = false;

export function plant(seed: u32): void {
  plantTrees(seed);
}

function featureAt(i: i32): usize {
  return RECORD + layout.HEAD_BYTES + <usize>i * layout.FEATURE_BYTES;
}

/**
 * Scores, then learns, the vector at VALUES, of which the features in `mask` are known. NaN while
 * the entity settles. `remember`: vectors between two halvings of the leaf counters. `share`: how
 * many of the vectors the quantile is to stand below, 0 for none. The record keeps the distance itself.
 */
export function observe(features: i32, mask: u32, trees: i32, remember: u32, share: f32): f64 {
  assert(features > 0 && features <= layout.FEATURES_MAX && trees <= layout.TREES_MAX);
  assert(layout.bytesOf(features, trees) <= RECORD_BYTES_MAX && remember > 0);
  const learnt = load<u32>(RECORD, layout.LEARNT);
  const since = load<u32>(RECORD, layout.SINCE);
  const isSettled = since >= SETTLE_VECTORS;
  /** After a hand-over only the levels are found at first; everything else is known. */
  const isLearning = learnt === since || isSettled;
  const levelProducts = featureAt(features);
  const stepProducts = levelProducts + ((<usize>layout.pairsOf(features)) << 2);
  const counters = stepProducts + ((<usize>layout.pairsOf(features)) << 2);
  let distance: f64 = NaN;
  let levelDistance: f64 = 0;
  let stepDistance: f64 = 0;
  measure(features, mask);
  memory.fill(SHARES, 0, 16 * 8);
  if (isLearning) {
    standardise(LEVELS, UNITS, levelProducts, features);
    const isHalved = learnt % remember === remember - 1;
    const rare = judgeLeaves(descend(counters, UNITS, features, trees, isHalved), learnt);
    if (isSettled) {
      memory.copy(UNITS, LEVELS, 128);
      residuals(UNITS, levelProducts, features, mask, learnt);
      levelDistance = judge(features, mask, layout.FAR_LEVEL);
      memory.copy(SHARES, PARTS, 128);
      memory.copy(UNITS, STEPS, 128);
      residuals(UNITS, stepProducts, features, mask, learnt);
      stepDistance = judge(features, mask, layout.FAR_STEP);
      if (stepDistance > levelDistance) memory.copy(SHARES, PARTS, 128);
      shareOut(features);
      distance = max(levelDistance, stepDistance);
      distance = min(DISTANCE_MAX, max(distance, rare)) * trust(learnt);
    }
    // A gap in one feature would leave its products older than the others', which then contradict each other.
    if ((load<u32>(RECORD, layout.MASK) & ~mask) === 0) {
      learnProducts(levelProducts, LEVELS, features, mask, learnt, levelDistance);
      learnProducts(stepProducts, STEPS, features, mask, learnt, stepDistance);
    }
  }
  learnFeatures(features, mask, isLearning, learnt === since);
  countPause();
  store<u32>(RECORD, mask, layout.MASK);
  if (isSettled && share > 0) learnQuantile(distance, share);
  store<u32>(RECORD, learnt === u32.MAX_VALUE ? learnt : learnt + 1, layout.LEARNT);
  store<u32>(RECORD, since === u32.MAX_VALUE ? since : since + 1, layout.SINCE);
  store<f32>(RECORD, isSettled ? <f32>distance : <f32>0, layout.DISTANCE);
  return isSettled ? told(distance, since, learnt === since) : NaN;
}

/**
 * Another entity takes over what this record has learnt: its scales and proportions, not its levels. It counts as
 * `learntMax` vectors at most, so that what was borrowed gives way to what is learnt.
 */
export function handOver(features: i32, learntMax: u32): void {
  store<u32>(RECORD, 0, layout.SINCE);
  store<f32>(RECORD, 0, layout.DISTANCE);
  // Learnt and since must differ, or the record would count as new.
  store<u32>(RECORD, max<u32>(1, min(learntMax, load<u32>(RECORD, layout.LEARNT))), layout.LEARNT);
  for (let i = 0; i < features; i++) {
    const seen = load<u32>(featureAt(i), layout.FEATURE_SEEN);
    store<u32>(featureAt(i), min(learntMax, seen), layout.FEATURE_SEEN);
    store<u32>(featureAt(i), 0, layout.FEATURE_SINCE);
    store<f32>(featureAt(i), 0, layout.LAST_LEVEL);
    store<f32>(featureAt(i), 0, layout.LAST_STEP);
  }
}

/** From parts of a sum to parts of one. */
function shareOut(features: i32): void {
  let sum: f64 = 0;
  for (let i = 0; i < features; i++) sum += load<f64>(SHARES + (i << 3));
  for (let i = 0; i < features && sum > 0; i++) {
    const at = SHARES + (i << 3);
    store<f64>(at, load<f64>(at) / sum);
  }
}

/** Bounded, so that no scale that is kept in 32 bits becomes infinite. */
function boundedValue(i: i32): f64 {
  return max(-VALUE_MAX, min(VALUE_MAX, load<f64>(VALUES + (i << 3))));
}

/** Deviations of the values from their long and short mean, in units of their usual size; 0 where unknown. */
function measure(features: i32, mask: u32): void {
  for (let i = 0; i < layout.FEATURES_MAX; i++) {
    let level: f64 = 0;
    let step: f64 = 0;
    if (i < features && (mask & (1 << i)) !== 0) {
      const feature = featureAt(i);
      const value = boundedValue(i);
      if (load<u32>(feature, layout.FEATURE_SINCE) === 0) {
        store<f64>(feature, value, layout.SLOW);
        store<f64>(feature, value, layout.FAST);
      }
      const levelScale = <f64>load<f32>(feature, layout.LEVEL_SCALE);
      const stepScale = <f64>load<f32>(feature, layout.STEP_SCALE);
      level = inUnits(
        value - load<f64>(feature, layout.SLOW),
        levelScale,
        RELATIVE_MIN * abs(value),
      );
      step = inUnits(value - load<f64>(feature, layout.FAST), stepScale, RELATIVE_MIN * abs(value));
    }
    store<f64>(LEVELS + (i << 3), level);
    store<f64>(STEPS + (i << 3), step);
  }
}

function inUnits(deviation: f64, scale: f64, floor: f64): f64 {
  if (abs(deviation) <= floor) return 0;
  return max(-UNITS_MAX, min(UNITS_MAX, deviation / max(scale, floor)));
}

/**
 * The largest residual of UNITS, each in units of what it rarely exceeds. `at`: in a feature's record, of that, its
 * peak and the last one.
 */
function judge(features: i32, mask: u32, at: usize): f64 {
  let distance: f64 = 0;
  for (let i = 0; i < features; i++) {
    const feature = featureAt(i);
    let ratio: f64 = 0;
    // A feature that has just come knows neither level nor scale.
    if ((mask & (1 << i)) !== 0 && load<u32>(feature, layout.FEATURE_SINCE) >= SETTLE_VECTORS) {
      const size = abs(load<f64>(UNITS + (i << 3)));
      const far = learnFar(feature + at, feature + at + 4, size, FAR_BEGIN, FAR_MIN);
      ratio = min(DISTANCE_MAX, size / far);
    }
    store<f32>(feature + at + 8, <f32>ratio);
    distance = max(distance, ratio);
  }
  return distance;
}

/** Proportions of few vectors are guesses, and what is rarely exceeded has not been seen yet. */
function trust(learnt: u32): f64 {
  return <f64>learnt / <f64>(learnt + YOUNG_VECTORS);
}

/**
 * An ordinary distance is told by its place beside the usual one, between 0 and 1 and around a half, whatever the
 * entity: then who judges the distances sees the same calm series in everybody, from the beginning.
 */
function told(distance: f64, since: u32, isOwn: bool): f64 {
  const usual = <f64>load<f32>(RECORD, layout.USUAL);
  // An heir knows it.
  const rate = isOwn ? max(USUAL_RATE, 1.0 / <f64>(since - SETTLE_VECTORS + 1)) : USUAL_RATE;
  const counted = min(REMARKABLE, distance);
  store<f32>(RECORD, <f32>(usual + rate * (counted - usual)), layout.USUAL);
  if (distance > STRAIGHT_MAX) return STRAIGHT_MAX * (1.0 + logarithmOf(distance / STRAIGHT_MAX));
  if (distance >= REMARKABLE) return distance;
  return distance <= 0 ? 0 : distance / (distance + usual);
}

/** To the base of e. */
function logarithmOf(ratio: f64): f64 {
  return <f64>log2(<f32>ratio) * Math.LN2;
}

/** How much rarer than usual the leaves are, in units of what that rarely exceeds. */
function judgeLeaves(rarity: f32, learnt: u32): f64 {
  const usual = <f64>load<f32>(RECORD, layout.LEAF_USUAL);
  const off = <f64>rarity - usual;
  const rate = max(LEAF_RATE, 1.0 / <f64>(learnt + 1));
  store<f32>(RECORD, <f32>(usual + rate * off), layout.LEAF_USUAL);
  store<f32>(RECORD, rarity, layout.RARITY);
  const farAt = RECORD + layout.LEAF_FAR;
  return off / learnFar(farAt, RECORD + layout.LEAF_PEAK, off, LEAF_FAR_BEGIN, LEAF_FAR_MIN);
}

/** What is rarely exceeded, and beside it the highest that did within this pause. Returns the former as it was. */
function learnFar(farAt: usize, peakAt: usize, size: f64, begin: f64, least: f64): f64 {
  const before = <f64>load<f32>(farAt);
  const far = before > 0 ? before : begin;
  const peak = <f64>load<f32>(peakAt);
  const isOver = load<u32>(RECORD, layout.PAUSE) === 1;
  let next = max(least, far * FAR_FALL);
  if (size > far) isFar = true;
  if (isOver && peak > far) next = far + FAR_RISE * (peak - far);
  store<f32>(farAt, <f32>next);
  store<f32>(peakAt, <f32>(isOver ? 0 : max(peak, size > far ? size : 0)));
  return far;
}

function countPause(): void {
  const pause = load<u32>(RECORD, layout.PAUSE);
  store<u32>(RECORD, pause > 0 ? pause - 1 : isFar ? FAR_PAUSE : 0, layout.PAUSE);
  isFar = false;
}

/**
 * `distance`: how far the vector was from these proportions. One that breaks them counts for little, or a fault would
 * be taken for a habit within a few vectors.
 */
function learnProducts(
  at: usize,
  units: usize,
  features: i32,
  mask: u32,
  learnt: u32,
  distance: f64,
): void {
  const rate = max(SLOW_RATE, 1.0 / <f64>(learnt + 1));
  // A wild vector is shortened whole: its features keep their proportions, which are what is learnt.
  let largest: f64 = LEARNT_UNITS_MAX;
  for (let i = 0; i < features; i++) largest = max(largest, abs(load<f64>(units + (i << 3))));
  const shorter = LEARNT_UNITS_MAX / (largest * max(1.0, distance));
  const weight = shorter * shorter;
  for (let i = 0; i < features; i++) {
    if ((mask & (1 << i)) === 0) continue;
    const a = weight * load<f64>(units + (i << 3));
    for (let j = 0; j <= i; j++) {
      if ((mask & (1 << j)) === 0) continue;
      const value = at + layout.pairAt(i, j);
      const old = <f64>load<f32>(value);
      store<f32>(value, <f32>(old + rate * (a * load<f64>(units + (j << 3)) - old)));
    }
  }
}

/**
 * Means and scales. `isLearning`: else only the levels are found, after a hand-over. Who `isOwn` had no hand-over; of an
 * heir the later of its first vectors count for more, or the work of its start would be taken for its level.
 */
function learnFeatures(features: i32, mask: u32, isLearning: bool, isOwn: bool): void {
  for (let i = 0; i < features; i++) {
    if ((mask & (1 << i)) === 0) continue;
    const feature = featureAt(i);
    const seen = load<u32>(feature, layout.FEATURE_SEEN);
    const since = load<u32>(feature, layout.FEATURE_SINCE);
    const value = boundedValue(i);
    const slow = load<f64>(feature, layout.SLOW);
    const fast = load<f64>(feature, layout.FAST);
    const young = isOwn ? 1.0 / <f64>(since + 1) : HEIR_GAIN / (<f64>since + HEIR_GAIN);
    const level = learnScale(
      feature + layout.LEVEL_SCALE,
      value - slow,
      seen,
      SLOW_RATE,
      isLearning,
    );
    learnScale(feature + layout.STEP_SCALE, value - fast, seen, STEP_RATE, isLearning);
    const move = since < SETTLE_VECTORS ? value - slow : level;
    store<f64>(feature, slow + max(SLOW_RATE, young) * move, layout.SLOW);
    store<f64>(feature, fast + max(FAST_RATE, young) * (value - fast), layout.FAST);
    store<u32>(feature, since === u32.MAX_VALUE ? since : since + 1, layout.FEATURE_SINCE);
    if (!isLearning) continue;
    store<u32>(feature, seen === u32.MAX_VALUE ? seen : seen + 1, layout.FEATURE_SEEN);
  }
}

/** Returns the deviation as far as it counts. */
function learnScale(at: usize, deviation: f64, seen: u32, slowest: f64, isLearning: bool): f64 {
  const scale = <f64>load<f32>(at);
  const most = LEARNT_UNITS_MAX * scale;
  const isBounded = seen >= CLAMP_FROM && scale > 0;
  const counted = isBounded ? max(-most, min(most, deviation)) : deviation;
  if (isLearning) {
    const rate = max(slowest, 1.0 / <f64>(seen + 1));
    store<f32>(at, <f32>(scale + rate * (abs(counted) - scale)));
  }
  return counted;
}

/** Steps up and down in proportion settle where `share` of the distances lies above. */
function nextQuantile(quantile: f64, distance: f64, share: f64): f64 {
  const factor = distance > quantile ? 1.0 - share : -share;
  return max(QUANTILE_MIN, quantile * (1.0 + QUANTILE_RATE * factor));
}

function learnQuantile(distance: f64, share: f32): void {
  const before = <f64>load<f32>(RECORD, layout.QUANTILE);
  // Of another share nothing is known.
  const isNew = before <= 0 || load<f32>(RECORD, layout.SHARE) !== share;
  const quantile = isNew ? max(1.0, distance) : nextQuantile(before, distance, <f64>share);
  store<f32>(RECORD, <f32>quantile, layout.QUANTILE);
  store<f32>(RECORD, share, layout.SHARE);
}
