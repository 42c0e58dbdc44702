// Base-2 logarithm and power in f32, made of additions, multiplications and one division in a fixed
// order: the same bits on every processor and in the reference. Four lanes at once, because a
// sample needs four of them at one place. The logarithm is the series of the inverse hyperbolic
// tangent, log2(m) = 2/ln 2 · (s + s³/3 + s⁵/5 + s⁷/7) with s = (m - 1)/(m + 1) and m within [sqrt
// 1/2, sqrt 2], where the next term is below 4e-8. log2(1) is exactly 0.

const SQRT_HALF_BITS: i32 = 0x3f3504f3;
const L1: f32 = 2.8853900817779268;
const L3: f32 = 0.9617966939259756;
const L5: f32 = 0.5770780163555854;
const L7: f32 = 0.4121985831111324;

/** Of four positive, normal, finite numbers. */
export function log2x4(x: v128): v128 {
  const exponent = i32x4.shr_s(i32x4.sub(x, i32x4.splat(SQRT_HALF_BITS)), 23);
  const m = i32x4.sub(x, i32x4.shl(exponent, 23));
  const one = f32x4.splat(1.0);
  const s = f32x4.div(f32x4.sub(m, one), f32x4.add(m, one));
  const q = f32x4.mul(s, s);
  let sum = f32x4.add(f32x4.splat(L5), f32x4.mul(q, f32x4.splat(L7)));
  sum = f32x4.add(f32x4.splat(L3), f32x4.mul(q, sum));
  sum = f32x4.add(f32x4.splat(L1), f32x4.mul(q, sum));
  return f32x4.add(f32x4.convert_i32x4_s(exponent), f32x4.mul(s, sum));
}

/** Of one positive, normal, finite number: the same steps. */
export function log2(x: f32): f32 {
  const bits = reinterpret<i32>(x);
  const exponent = (bits - SQRT_HALF_BITS) >> 23;
  const m = reinterpret<f32>(bits - (exponent << 23));
  const s: f32 = (m - 1.0) / (m + 1.0);
  const q: f32 = s * s;
  return <f32>exponent + s * (L1 + q * (L3 + q * (L5 + q * L7)));
}

// 2^f as the exponential series of f · ln 2, |f| <= 1/2: the next term is below 2e-7.
const P1: f32 = <f32>Math.LN2;
const P2: f32 = 0.2402265069591007;
const P3: f32 = 0.05550410866482158;
const P4: f32 = 0.009618129107628477;
const P5: f32 = 0.0013333558146428443;
const P6: f32 = 0.0001540353039338161;

/** 2^x for x within [-100, 100]. */
export function exp2(x: f32): f32 {
  const whole: f32 = floor(x + 0.5);
  const f: f32 = x - whole;
  const part: f32 = 1.0 + f * (P1 + f * (P2 + f * (P3 + f * (P4 + f * (P5 + f * P6)))));
  return part * reinterpret<f32>((<i32>whole + 127) << 23);
}
