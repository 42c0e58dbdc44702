// Whole numbers that look random and follow from a seed alone, for the tables that the forests are
// made of. One sequence per module, used while planting and never after. The reference forest has
// the same once more.

let state: u32 = 0;

export function beginRandom(seed: u32): void {
  state = seed;
}

/** A Weyl sequence through a two-round mix found by the "hash prospector" search. */
export function nextRandom(): u32 {
  state += 0x9e3779b9;
  let h = state;
  h ^= h >> 16;
  h *= 0x21f0aaad;
  h ^= h >> 15;
  h *= 0xd35a2d97;
  return h ^ (h >> 15);
}

/** Uniform within [0, 1). */
export function nextFraction(): f64 {
  return <f64>nextRandom() / 4294967296.0;
}
