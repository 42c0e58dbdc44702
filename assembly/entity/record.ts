// What is kept of one entity: a record of a size that follows from its number of features, without
// pointers, so that a checkpoint is a copy of the bytes. The host keeps the records; the one in work
// lies at RECORD. A record of zeros is an entity that nothing is known of. A change of layout or of
// meaning is a new ENTITY_FORMAT.
//
//        0        4        8        12       16
//      0 ┌────────┬────────┬────────┬────────┐ vectors learnt; vectors since its levels began (both
//        │ learnt │ since  │leaf usu│leaf far│ u32); usual rarity of its leaves, and how far above it
//     16 ├────────┼────────┼────────┼────────┤ they rarely are; the distance that a share of the
//        │quantile│distance│ rarity │ share  │ vectors exceeds; last distance and rarity; that share
//     32 ├────────┼────────┼────────┼────────┤ vectors until what is far is learnt again (u32); the
//        │ pause  │ usual  │leaf pea│ mask   │ usual distance; highest of the leaves meanwhile;
//     48 ├────────┴────────┼────────┴────────┤ features of the last vector, a bit each (u32)
//        │ slow            │ fast            │ of each feature, 56 bytes: long mean and short mean
//     64 ├────────┬────────┼────────┬────────┤ (f64); usual distance from either; of the residuals of
//        │ level  │ step   │far leve│peak lev│ level and of step: what is rarely exceeded, the highest
//     80 ├────────┼────────┼────────┼────────┤ meanwhile, and that of the last vector in those units;
//        │last lev│far step│peak ste│last ste│
//     96 ├────────┼────────┼────────┴────────┘ vectors with it in all, and since its level began (u32)
//        │ seen   │ since  │
//        ├────────┴────────┴─────────────────┐ f (f + 1) / 2 mean products of levels, then as many of
//        │ products                      f32 │ steps: of features i ≥ j at i (i + 1) / 2 + j
//        ├───────────────────────────────────┤ 16 leaves of each tree
//        │ leaf counters                  u8 │
//        └───────────────────────────────────┘ filled up to a multiple of 8

export const ENTITY_FORMAT: i32 = 1;
export const FEATURES_MAX: i32 = 16;
export const TREES_MAX: i32 = 64;
export const LEAVES: i32 = 16;

export const LEARNT: usize = 0;
export const SINCE: usize = 4;
export const LEAF_USUAL: usize = 8;
export const LEAF_FAR: usize = 12;
export const QUANTILE: usize = 16;
export const DISTANCE: usize = 20;
export const RARITY: usize = 24;
export const SHARE: usize = 28;
export const PAUSE: usize = 32;
export const USUAL: usize = 36;
export const LEAF_PEAK: usize = 40;
export const MASK: usize = 44;
export const HEAD_BYTES: usize = 48;

export const SLOW: usize = 0;
export const FAST: usize = 8;
export const LEVEL_SCALE: usize = 16;
export const STEP_SCALE: usize = 20;
/** Followed by the peak, and by the last one. */
export const FAR_LEVEL: usize = 24;
export const LAST_LEVEL: usize = 32;
export const FAR_STEP: usize = 36;
export const LAST_STEP: usize = 44;
export const FEATURE_SEEN: usize = 48;
export const FEATURE_SINCE: usize = 52;
export const FEATURE_BYTES: usize = 56;

export function pairsOf(features: i32): i32 {
  return (features * (features + 1)) / 2;
}

/** Place of the mean product of features i and j, j not above i. */
export function pairAt(i: i32, j: i32): usize {
  return (<usize>((i * (i + 1)) / 2 + j)) << 2;
}

export function bytesOf(features: i32, trees: i32): i32 {
  const products = 8 * pairsOf(features);
  const whole = <i32>HEAD_BYTES + features * <i32>FEATURE_BYTES + products + trees * LEAVES;
  return (whole + 7) & ~7;
}
