// The part of the reference forest that no series owns: the table of trees, made from the seed,
// what counters stand for, and the few functions that would differ between engines if the library's
// were used.

const f = Math.fround;
/** Moving values below this become 0. */
export const VANISHING = f(1e-30);
const TREES = 48;
const FEATURES = 13;

/**
 * What a 4-bit counter stands for, how rarely it steps on (as a power of two), and how novel its
 * leaf is.
 */
const VALUES = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192];
export const STEPS = VALUES.map((value, c) => (c < 15 ? Math.log2(VALUES[c + 1]! - value) : 99));
export const NOVELTIES = VALUES.map((value) => Math.floor(65535 / (1 + value)));
export const HALVED = [0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13];

/** The table that all series share: per tree four features and four cuts. */
export interface Trees {
  features: number[][];
  cuts: number[][];
}

export function plantTrees(seed: number): Trees {
  let state = seed;
  const fraction = (): number => {
    state = (state + 0x9e3779b9) | 0;
    let h = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    h = Math.imul(h ^ (h >>> 15), 0xd35a2d97);
    return ((h ^ (h >>> 15)) >>> 0) / 2 ** 32;
  };
  const shuffled = (count: number): number[] => {
    const order = Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
      const k = Math.floor(fraction() * (i + 1));
      [order[i], order[k]] = [order[k]!, order[i]!];
    }
    return order;
  };
  const deck: number[] = [];
  const features: number[][] = [];
  for (let tree = 0; tree < TREES; tree++) {
    const dealt: number[] = [];
    while (dealt.length < 4) {
      let k = 0;
      for (; ; k++) {
        if (k >= deck.length) deck.push(...shuffled(FEATURES));
        if (!dealt.includes(deck[k]!)) break;
      }
      dealt.push(...deck.splice(k, 1));
    }
    features.push(shuffled(4).map((k) => dealt[k]!));
  }
  const cuts = features.map(() => [0, 0, 0, 0]);
  for (let feature = 0; feature < FEATURES; feature++) {
    const places = features.flatMap((four, tree) =>
      four.flatMap((used, level) => (used === feature ? [{ tree, level }] : [])),
    );
    const order = shuffled(places.length);
    for (const [i, { tree, level }] of places.entries()) {
      const part = (order[i]! + fraction()) / places.length;
      cuts[tree]![level] = Math.ceil((0.115 + (0.885 - 0.115) * part) * 254.5);
    }
  }
  return { features, cuts };
}

/**
 * Trailing zeros of a hash of the sample's number and the tree's group: k or more with probability
 * 2^-k.
 */
export function drawLevel(n: number, group: number): number {
  let h = (Math.imul(n, 0x9e3779b1) + Math.imul(group, 0x85ebca6b)) | 0;
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  h ^= h >>> 12;
  return h === 0 ? 32 : 31 - Math.clz32(h & -h);
}

/** The week begins on a Thursday, as the epoch did. `ahead`: what the clock on the wall is ahead of UTC, in minutes. */
export function minuteOfWeek(timestamp: bigint, ahead: (timestamp: bigint) => number): number {
  const minute = Math.floor(Number(timestamp) / 60000) + ahead(timestamp);
  return minute - 10080 * Math.floor(minute / 10080);
}

/** Sine and cosine of the time of day as bytes, by Bhaskara's half waves, one up and one down. */
export function timeOfDay(minute: number): number[] {
  return [0, 360].map((shift) => {
    const at = (minute + shift) % 1440;
    const turn = (at % 720) / 720;
    const product = turn * (1 - turn);
    const height = (16 * product) / (5 - 4 * product);
    return Math.trunc((0.5 + 0.5 * (at < 720 ? height : -height)) * 254.5);
  });
}

const FLOAT = new Float32Array(1);
const BITS = new Int32Array(FLOAT.buffer);

/**
 * x = 2^e · m, m within [sqrt 1/2, sqrt 2]; then four terms of the series in s = (m - 1) / (m +
 * 1).
 */
export function log2(x: number): number {
  FLOAT[0] = x;
  const exponent = (BITS[0]! - 0x3f3504f3) >> 23;
  BITS[0] = BITS[0]! - (exponent << 23);
  const m = FLOAT[0]!;
  const s = f(f(m - 1) / f(m + 1));
  const q = f(s * s);
  let sum = f(0.4121985831111324);
  for (const term of [0.5770780163555854, 0.9617966939259756, 2.8853900817779268]) {
    sum = f(f(term) + f(q * sum));
  }
  return f(exponent + f(s * sum));
}

/** 2^x as straight lines between the powers of two. */
export function usualSeconds(interval: number): number {
  BITS[0] = Math.trunc(f(f(interval + 127) * 8388608));
  return FLOAT[0]!;
}

/** 2^whole times six terms of the exponential series. */
export function exp2(x: number): number {
  const whole = Math.floor(f(x + 0.5));
  const part = f(x - whole);
  let sum = f(0.0001540353039338161);
  for (const term of [
    0.0013333558146428443,
    0.009618129107628477,
    0.05550410866482158,
    0.2402265069591007,
    Math.LN2,
    1,
  ]) {
    sum = f(f(term) + f(part * sum));
  }
  return f(sum * 2 ** whole);
}

export function numberOf(bits: bigint): number {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, bits);
  return view.getFloat64(0);
}

/** One step of a moving mean. */
export function towards(kept: number, aim: number, rate: number): number {
  const next = f(kept + f(f(rate) * f(aim - kept)));
  return Math.abs(next) < VANISHING ? 0 : next;
}

/** 127.25 + 127.25 q / (1 + |q|), q = residual / unit: any size becomes a byte. */
export function squash(residual: number, unit: number): number {
  const bent = f(f(127.25 * residual) / f(unit + Math.abs(residual)));
  return Math.trunc(f(127.25 + bent));
}
