// One step of exponentially weighted means, four at once or one, and the size below which a moving
// value becomes 0: smaller ones would become denormal, which processors compute slowly.

export const VANISHING: f32 = 1e-30;

/** kept + rates · (aims - kept), where that is not next to nothing. */
export function towards4(kept: v128, aims: v128, rates: v128): v128 {
  const next = f32x4.add(kept, f32x4.mul(rates, f32x4.sub(aims, kept)));
  return v128.and(next, f32x4.ge(f32x4.abs(next), f32x4.splat(VANISHING)));
}

/** The same of one mean. */
export function towards(kept: f32, aim: f32, rate: f32): f32 {
  const next: f32 = kept + rate * (aim - kept);
  return abs(next) < VANISHING ? <f32>0.0 : next;
}
