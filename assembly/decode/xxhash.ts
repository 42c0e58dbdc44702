// XXH64 with seed 0, and the two mixes that make a fingerprint of it. Written from the
// specification (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md); the finaliser is
// fmix64 of MurmurHash3.
//
//   hash(label)  = XXH64(the 16 bytes: XXH64(name) little-endian, XXH64(value) little-endian)
//   sum          = hash(label) of every kept label, added modulo 2^64, in any order;
//                  with a tenant also hash of the label ("", tenant), a name that no label can have
//   fingerprint  = fmix64(sum + FINGERPRINT_SEED)
//   partition    = ((h >> 32) * partitions) >> 32, where h is made like the fingerprint, but of the
//                  labels of the first partition set that the series has whole; without one of all
//                  but "le", and of the metric's name without _bucket, _count or _sum
//
// A sum, because it needs no sorting; XXH64 over the two halves, because a sum of weaker mixes
// would let labels cancel out; the finaliser, because partitions and cache slots are taken from the
// high and from the low bits.

const P1: u64 = 0x9e3779b185ebca87;
const P2: u64 = 0xc2b2ae3d27d4eb4f;
const P3: u64 = 0x165667b19e3779f9;
const P4: u64 = 0x85ebca77c2b2ae63;
const P5: u64 = 0x27d4eb2f165667c5;
/** Any odd number would do; these are the first 64 bits of the fraction of the square root of 7. */
const FINGERPRINT_SEED: u64 = 0xa54ff53a5f1d36f1;

export function xxh64(start: usize, bytes: u32): u64 {
  let at = start;
  const end = start + bytes;
  let hash: u64;
  if (bytes >= 32) {
    let a: u64 = P1 + P2;
    let b: u64 = P2;
    let c: u64 = 0;
    let d: u64 = 0 - P1;
    do {
      a = stripe(a, load<u64>(at));
      b = stripe(b, load<u64>(at, 8));
      c = stripe(c, load<u64>(at, 16));
      d = stripe(d, load<u64>(at, 24));
      at += 32;
    } while (at + 32 <= end);
    hash = rotl<u64>(a, 1) + rotl<u64>(b, 7) + rotl<u64>(c, 12) + rotl<u64>(d, 18);
    hash = (hash ^ stripe(0, a)) * P1 + P4;
    hash = (hash ^ stripe(0, b)) * P1 + P4;
    hash = (hash ^ stripe(0, c)) * P1 + P4;
    hash = (hash ^ stripe(0, d)) * P1 + P4;
  } else {
    hash = P5;
  }
  hash += bytes;
  while (at + 8 <= end) {
    hash = rotl<u64>(hash ^ stripe(0, load<u64>(at)), 27) * P1 + P4;
    at += 8;
  }
  if (at + 4 <= end) {
    hash = rotl<u64>(hash ^ (<u64>load<u32>(at) * P1), 23) * P2 + P3;
    at += 4;
  }
  while (at < end) {
    hash = rotl<u64>(hash ^ (<u64>load<u8>(at) * P5), 11) * P1;
    at++;
  }
  return avalanche(hash);
}

/** XXH64 of the 16 bytes that are `first` and `second`, little-endian. */
export function xxh64Pair(first: u64, second: u64): u64 {
  return joinHalves(firstHalf(first), secondHalf(second));
}

/** What of `xxh64Pair` depends on the first alone: a bijection, so it stands for the hash. */
export function firstHalf(first: u64): u64 {
  return rotl<u64>((P5 + 16) ^ stripe(0, first), 27) * P1 + P4;
}

export function secondHalf(second: u64): u64 {
  return stripe(0, second);
}

export function joinHalves(first: u64, second: u64): u64 {
  return avalanche(rotl<u64>(first ^ second, 27) * P1 + P4);
}

/** From a sum of label hashes to a fingerprint or to the hash that chooses a partition. */
export function finish(sum: u64): u64 {
  let hash = sum + FINGERPRINT_SEED;
  hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccd;
  hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53;
  return hash ^ (hash >> 33);
}

function stripe(lane: u64, input: u64): u64 {
  return rotl<u64>(lane + input * P2, 31) * P1;
}

function avalanche(hash: u64): u64 {
  hash = (hash ^ (hash >> 33)) * P2;
  hash = (hash ^ (hash >> 29)) * P3;
  return hash ^ (hash >> 32);
}
