// The isolation forest over an entity's vector. A level of a tree asks on which side of a cut a
// random slanting projection lies: one feature's deviation, or the sum or difference of two. The
// table of levels is made once from the seed and shared; an entity owns only counters of leaves,
// which are halved every `remember` vectors. Every sum is of whole numbers, or in a fixed order.

import { log2 } from '../forest/logarithm';
import { beginRandom, nextFraction, nextRandom } from '../forest/random';
import { LEAVES, TREES_MAX } from './record';

const DEPTH: i32 = 4;
/** Of a level: two draws of a feature (u16), how they are joined (u8), the cut (f32). */
const LEVEL_BYTES: usize = 12;
const LEVELS: usize = memory.data(64 * 4 * 12, 16);
const COUNTER_MAX: u32 = 255;
/** Cuts lie within this many usual deviations: beyond it nearly every leaf would stay empty. */
const CUT_MAX: f64 = 2.0;
const HALF_ROOT: f64 = Math.SQRT1_2;
/** Rarity 0 where every leaf is full; about 5.7 where none has been reached before. */
const RARITY_UNIT: f32 = 0.02;

export function plantTrees(seed: u32): void {
  beginRandom(seed);
  for (let at = LEVELS; at < LEVELS + <usize>(TREES_MAX * DEPTH) * LEVEL_BYTES; at += LEVEL_BYTES) {
    store<u16>(at, <u16>(nextRandom() >> 16));
    store<u16>(at + 2, <u16>(nextRandom() >> 16));
    store<u8>(at + 4, <u8>(nextRandom() >> 30));
    store<f32>(at + 8, <f32>((2.0 * nextFraction() - 1.0) * CUT_MAX));
  }
}

/**
 * Rarity of the leaves that the deviations at `deviations` (f64, 0 where a feature is missing) fall
 * into; then the leaves learn.
 */
export function descend(
  counters: usize,
  deviations: usize,
  features: i32,
  trees: i32,
  isHalved: bool,
): f32 {
  let sum: u32 = 0;
  for (let tree = 0; tree < trees; tree++) {
    const at = counters + <usize>(tree * LEAVES + leafOf(tree, deviations, features));
    const count: u32 = load<u8>(at);
    sum += 65535 / (1 + count);
    if (count < COUNTER_MAX) store<u8>(at, <u8>(count + 1));
  }
  if (isHalved) {
    for (let at = counters; at < counters + <usize>(trees * LEAVES); at++) {
      store<u8>(at, <u8>((<u32>load<u8>(at) + 1) >> 1));
    }
  }
  const mean: f32 = <f32>sum / (<f32>65535.0 * <f32>trees);
  return log2(<f32>1.0 + mean / RARITY_UNIT);
}

function leafOf(tree: i32, deviations: usize, features: i32): i32 {
  let leaf = 0;
  let level = LEVELS + <usize>tree * DEPTH * LEVEL_BYTES;
  for (let depth = 0; depth < DEPTH; depth++) {
    const i: i32 = (<i32>load<u16>(level) * features) >> 16;
    const j: i32 = (<i32>load<u16>(level, 2) * features) >> 16;
    const joined: u32 = load<u8>(level, 4);
    let projection = load<f64>(deviations + (i << 3));
    if (joined !== 0 && i !== j) {
      const other = load<f64>(deviations + (j << 3));
      projection = (joined === 1 ? projection + other : projection - other) * HALF_ROOT;
    }
    leaf = (leaf << 1) | (projection >= <f64>load<f32>(level, 8) ? 1 : 0);
    level += LEVEL_BYTES;
  }
  return leaf;
}
