// Novelty: has this combination of features ever happened in this series? 16 trees descend in the
// lanes of one vector, without a branch. The counters of a group lie so that one vector holds the
// same pair of leaves of all 16 trees; the masks that the descent yields then also choose, level by
// level, which of the eight vectors a lane reads.
//
//   feature >= cut per level   b0   b1   b2   b3         leaf = 8 b0 + 4 b1 + 2 b2 + b3
//   pairs 0..7 ─b0─▶ 4 left ─b1─▶ 2 left ─b2─▶ 1 byte ─b3─▶ low or high four bits = the counter
//
// A leaf counts the samples that enter it and one in sixteen of those that stay (a long stay is no
// news, and must not bury the rest). Counters are logarithmic: a step of 2^k is taken with
// probability 2^-k, drawn from a hash of the sample's number, which is the same everywhere. Every
// 16,384 samples all are halved, so that the past fades.

import { TREES } from './memory-map';
import { COUNTERS, COUNTERS_BYTES, LEAVES } from './record';
import { NOVELTY_HIGH, NOVELTY_LOW, STEPS } from './table';

const HALVE_EVERY: u32 = 16384;
/**
 * 65535 is the novelty of an empty leaf; 0.02 the level at which a mean novelty begins to matter.
 */
const NOVELTY_SCALE: f32 = 1.0 / (65535.0 * 48.0 * 0.02);
/** The leaves of eight trees, four bits each in the low half of a byte. */
const LOW_NIBBLES: u64 = ((<u64>0x0f0f0f0f) << 32) | 0x0f0f0f0f;
const DRAW_STEP: u32 = 0x9e3779b1;
const DRAW_GROUP_STEP: u32 = 0x85ebca6b;

const LEAF_SCRATCH: usize = memory.data(16, 16);

let isFrozen: bool = false;

/** For experiments in the debug build: counters stop learning, everything else goes on. */
export function freeze(on: bool): void {
  isFrozen = on;
}

/**
 * Mean novelty of the 48 leaves over 0.02, plus 1. Then the leaves learn. `n`: samples before this
 * one.
 */
export function descend(record: usize, features: v128, n: u32): f32 {
  // Lanes whose turn it is to count a sample that stays; the first sample enters every leaf.
  const lanes = i8x16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const turn = i8x16.eq(lanes, i8x16.splat(<i8>((0 - n) & 15)));
  const counted = n === 0 ? i8x16.splat(-1) : turn;
  const draw = n * DRAW_STEP;
  let sum = descendGroup(record, 0, features, counted, draw);
  sum = i32x4.add(sum, descendGroup(record, 1, features, counted, draw + DRAW_GROUP_STEP));
  sum = i32x4.add(sum, descendGroup(record, 2, features, counted, draw + 2 * DRAW_GROUP_STEP));
  const total =
    i32x4.extract_lane(sum, 0) +
    i32x4.extract_lane(sum, 1) +
    (i32x4.extract_lane(sum, 2) + i32x4.extract_lane(sum, 3));
  if ((n & (HALVE_EVERY - 1)) === HALVE_EVERY - 1) halve(record);
  return <f32>total * NOVELTY_SCALE + 1.0;
}

/**
 * Trees 16 · group to 16 · group + 15. Four partial sums of the novelties of their leaves, 16 bits
 * each.
 */
function descendGroup(record: usize, group: usize, features: v128, counted: v128, draw: u32): v128 {
  const table = TREES + (group << 7);
  const b0 = reach(table, features);
  const b1 = reach(table + 32, features);
  const b2 = reach(table + 64, features);
  const b3 = reach(table + 96, features);
  const upper = v128.or(v128.and(b0, i8x16.splat(8)), v128.and(b1, i8x16.splat(4)));
  const lower = v128.or(v128.and(b2, i8x16.splat(2)), v128.and(b3, i8x16.splat(1)));
  const leaves = v128.or(upper, lower);

  const counters = record + (group << 7);
  const p0 = choose(v128.load(counters, 512), v128.load(counters, 448), b0);
  const p1 = choose(v128.load(counters, 528), v128.load(counters, 464), b0);
  const p2 = choose(v128.load(counters, 544), v128.load(counters, 480), b0);
  const p3 = choose(v128.load(counters, 560), v128.load(counters, 496), b0);
  const pair = choose(choose(p3, p1, b1), choose(p2, p0, b1), b2);
  const counter = choose(i8x16.shr_u(pair, 4), v128.and(pair, i8x16.splat(15)), b3);

  const kept = record + (group << 3);
  const before = load<u64>(kept, LEAVES);
  const low = i64x2.extract_lane(leaves, 0);
  const high = i64x2.extract_lane(leaves, 1);
  store<u64>(kept, low | (high << 4), LEAVES);
  const last = i64x2.replace_lane(
    i64x2.splat(before & LOW_NIBBLES),
    1,
    (before >> 4) & LOW_NIBBLES,
  );
  const counts = v128.or(i8x16.ne(leaves, last), counted);
  const isDrawn = i8x16.le_u(
    i8x16.swizzle(v128.load(STEPS), counter),
    i8x16.splat(<i8>drawLevel(draw)),
  );
  learn(counters, leaves, i8x16.bitmask(v128.and(counts, isDrawn)));

  const highs = i16x8.extadd_pairwise_i8x16_u(i8x16.swizzle(v128.load(NOVELTY_HIGH), counter));
  const lows = i16x8.extadd_pairwise_i8x16_u(i8x16.swizzle(v128.load(NOVELTY_LOW), counter));
  return i32x4.add(
    i32x4.shl(i32x4.extadd_pairwise_i16x8_u(highs), 8),
    i32x4.extadd_pairwise_i16x8_u(lows),
  );
}

/** Per tree: is its feature at this level at or above its cut? */
function reach(level: usize, features: v128): v128 {
  return i8x16.ge_u(i8x16.swizzle(features, v128.load(level)), v128.load(level, 16));
}

function choose(yes: v128, no: v128, mask: v128): v128 {
  return v128.bitselect(yes, no, mask);
}

/** Trailing zeros of a hash: k or more with probability 2^-k. 32 when the hash is 0. */
function drawLevel(draw: u32): u32 {
  let h = draw ^ (draw >> 15);
  h *= 0x2c1b3c6d;
  h ^= h >> 12;
  return ctz(h);
}

/**
 * Steps the counters of the trees in `trees`. Rare once a series is known, so bits are walked, not
 * lanes computed.
 */
function learn(counters: usize, leaves: v128, trees: i32): void {
  if (isFrozen || trees === 0) return;
  v128.store(LEAF_SCRATCH, leaves);
  do {
    const lane: usize = ctz(trees);
    trees &= trees - 1;
    const leaf: usize = load<u8>(LEAF_SCRATCH + lane);
    const at = counters + ((leaf >> 1) << 4) + lane;
    store<u8>(at, load<u8>(at, COUNTERS) + ((<u8>1) << (<u8>((leaf & 1) << 2))), COUNTERS);
  } while (trees !== 0);
}

/**
 * Counter values stand for about half of what they stood for: 0 0 1 1 2 3 4 5 6 7 8 9 10 11 12 13.
 */
function halve(record: usize): void {
  const table = i8x16(0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13);
  for (let at = record; at < record + COUNTERS_BYTES; at += 16) {
    const pairs = v128.load(at, COUNTERS);
    const low = i8x16.swizzle(table, v128.and(pairs, i8x16.splat(15)));
    const high = i8x16.swizzle(table, i8x16.shr_u(pairs, 4));
    v128.store(at, v128.or(low, i8x16.shl(high, 4)), COUNTERS);
  }
}
