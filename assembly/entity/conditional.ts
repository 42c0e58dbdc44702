// How surprising each feature is, given all the others. Of features that move together the mean
// products are known; the inverse of their correlations turns a vector of deviations into residuals
// of each feature from what the others make expected, in units of their own spread. A fault that
// breaks a habitual proportion is large here although every feature stays where it has often been;
// and as each feature keeps a residual of its own, fifteen calm ones do not drown it.
//
//   R + ridge = L Lᵀ      P = (R + ridge)⁻¹ = L⁻ᵀ L⁻¹      residual i = (P u)ᵢ / √Pᵢᵢ

import { FEATURES_MAX, pairAt } from './record';

/** Keeps the inverse finite where features are the same, or have been seen too few times. */
const RIDGE: f64 = 0.01;
const RIDGE_YOUNG: f64 = 3.0;
const LEVERAGE: f64 = 0.3;
const PIVOT_MIN: f64 = 1e-4;

const LOWER: usize = memory.data(16 * 16 * 8, 16);
const INVERSE: usize = memory.data(16 * 16 * 8, 16);
const ROWS: usize = memory.data(16 * 4, 16);
const UNITS: usize = memory.data(16 * 8, 16);
const SOLVED: usize = memory.data(16 * 8, 16);
/** Of each feature what it adds to the square of the last vector's distance, at least 0. */
export const PARTS: usize = memory.data(16 * 8, 16);

function cell(matrix: usize, i: i32, j: i32): usize {
  return matrix + ((<usize>(i * FEATURES_MAX + j)) << 3);
}

/**
 * The square of a distance is the sum of uᵢ (P u)ᵢ: a feature that stayed where it was has no part
 * in it, though its residual is as large as that of the one that left. So PARTS says who is to
 * blame, and residuals say how far it is.
 *
 * Replaces each of `deviations` (f64, one per feature) by its residual given the others. A feature
 * that is not in `mask`, or has never moved, takes no part and keeps what it has.
 */
export function residuals(
  deviations: usize,
  products: usize,
  features: i32,
  mask: u32,
  learnt: u32,
): void {
  memory.fill(PARTS, 0, 16 * 8);
  let count = 0;
  for (let i = 0; i < features; i++) {
    if ((mask & (1 << i)) === 0) continue;
    const spread = <f64>load<f32>(products + pairAt(i, i));
    if (spread <= 0) {
      const deviation = load<f64>(deviations + (i << 3));
      store<f64>(PARTS + (i << 3), deviation * deviation);
      continue;
    }
    store<i32>(ROWS + (count << 2), i);
    const unit = load<f64>(deviations + (i << 3)) / sqrt(spread);
    store<f64>(UNITS + (count << 3), unit);
    count++;
  }
  factorise(products, count, RIDGE + RIDGE_YOUNG / <f64>learnt);
  invert(count);
  solve(count);
  for (let row = 0; row < count; row++) {
    let diagonal: f64 = 0;
    for (let k = row; k < count; k++) {
      const part = load<f64>(cell(INVERSE, k, row));
      diagonal += part * part;
    }
    let leverage: f64 = 0;
    for (let other = 0; other < count; other++) {
      if (other !== row) leverage = max(leverage, abs(load<f64>(UNITS + (other << 3))));
    }
    const part = load<f64>(UNITS + (row << 3)) * load<f64>(SOLVED + (row << 3));
    store<f64>(PARTS + (load<i32>(ROWS + (row << 2)) << 3), max<f64>(0, part));
    const residual =
      load<f64>(SOLVED + (row << 3)) / (sqrt(diagonal) * (1.0 + LEVERAGE * leverage));
    store<f64>(deviations + (load<i32>(ROWS + (row << 2)) << 3), residual);
  }
}

/** Deviations in units of their mean square, so that trees can cut them; 0 where a feature has never moved. */
export function standardise(from: usize, to: usize, products: usize, features: i32): void {
  for (let i = 0; i < FEATURES_MAX; i++) {
    const spread = i < features ? <f64>load<f32>(products + pairAt(i, i)) : 0;
    const unit = spread > 0 ? load<f64>(from + (i << 3)) / sqrt(spread) : 0;
    store<f64>(to + (i << 3), unit);
  }
}

/** Lower triangle of the Cholesky factor of the correlations. */
function factorise(products: usize, count: i32, ridge: f64): void {
  for (let i = 0; i < count; i++) {
    const a = load<i32>(ROWS + (i << 2));
    const spreadA = <f64>load<f32>(products + pairAt(a, a));
    for (let j = 0; j <= i; j++) {
      const b = load<i32>(ROWS + (j << 2));
      const spreadB = <f64>load<f32>(products + pairAt(b, b));
      let sum = <f64>load<f32>(products + pairAt(a, b)) / sqrt(spreadA * spreadB);
      if (i === j) sum = 1.0 + ridge;
      for (let k = 0; k < j; k++)
        sum -= load<f64>(cell(LOWER, i, k)) * load<f64>(cell(LOWER, j, k));
      if (i === j) store<f64>(cell(LOWER, i, i), sqrt(max<f64>(PIVOT_MIN, sum)));
      else store<f64>(cell(LOWER, i, j), sum / load<f64>(cell(LOWER, j, j)));
    }
  }
}

/** L⁻¹, column by column. */
function invert(count: i32): void {
  for (let column = 0; column < count; column++) {
    for (let i = column; i < count; i++) {
      let sum: f64 = i === column ? 1.0 : 0.0;
      for (let k = column; k < i; k++) {
        sum -= load<f64>(cell(LOWER, i, k)) * load<f64>(cell(INVERSE, k, column));
      }
      store<f64>(cell(INVERSE, i, column), sum / load<f64>(cell(LOWER, i, i)));
    }
  }
}

/** P u = L⁻ᵀ (L⁻¹ u). */
function solve(count: i32): void {
  for (let i = 0; i < count; i++) store<f64>(SOLVED + (i << 3), 0);
  for (let k = 0; k < count; k++) {
    let half: f64 = 0;
    for (let j = 0; j <= k; j++)
      half += load<f64>(cell(INVERSE, k, j)) * load<f64>(UNITS + (j << 3));
    for (let i = 0; i <= k; i++) {
      const at = SOLVED + (i << 3);
      store<f64>(at, load<f64>(at) + load<f64>(cell(INVERSE, k, i)) * half);
    }
  }
}
