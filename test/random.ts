// Seeded pseudo-random numbers for tests: the same seed gives the same run, and a failing test
// prints its seed.

/**
 * Uniform in [0, 1): mulberry32, a 32-bit generator by Tommy Ettinger, good enough to choose test
 * cases.
 */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function randomBytes(random: () => number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at++) bytes[at] = Math.floor(random() * 256);
  return bytes;
}
