// The hashes that make fingerprints and choose partitions, in plain TypeScript and BigInt: the
// explanation for whoever writes them in another language. XXH64 with seed 0, written from
// https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md, and murmur3's finaliser.

const U64 = (1n << 64n) - 1n;
const P1 = 0x9e3779b185ebca87n;
const P2 = 0xc2b2ae3d27d4eb4fn;
const P3 = 0x165667b19e3779f9n;
const P4 = 0x85ebca77c2b2ae63n;
const P5 = 0x27d4eb2f165667c5n;
const FINGERPRINT_SEED = 0xa54ff53a5f1d36f1n;

const rotate = (x: bigint, bits: bigint): bigint => ((x << bits) | (x >> (64n - bits))) & U64;
const stripe = (lane: bigint, input: bigint): bigint =>
  (rotate((lane + input * P2) & U64, 31n) * P1) & U64;

/** XXH64 with seed 0. */
export function xxh64(bytes: Uint8Array): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  let hash = P5;
  if (bytes.length >= 32) {
    const lanes = [(P1 + P2) & U64, P2, 0n, -P1 & U64];
    for (; at + 32 <= bytes.length; at += 32) {
      for (let i = 0; i < 4; i++) {
        lanes[i] = stripe(lanes[i]!, view.getBigUint64(at + 8 * i, true));
      }
    }
    hash = [1n, 7n, 12n, 18n].reduce((sum, bits, i) => sum + rotate(lanes[i]!, bits), 0n) & U64;
    for (const lane of lanes) hash = ((hash ^ stripe(0n, lane)) * P1 + P4) & U64;
  }
  hash = (hash + BigInt(bytes.length)) & U64;
  for (; at + 8 <= bytes.length; at += 8) {
    hash = (rotate(hash ^ stripe(0n, view.getBigUint64(at, true)), 27n) * P1 + P4) & U64;
  }
  for (; at + 4 <= bytes.length; at += 4) {
    const input = (BigInt(view.getUint32(at, true)) * P1) & U64;
    hash = (rotate(hash ^ input, 23n) * P2 + P3) & U64;
  }
  for (; at < bytes.length; at++) {
    hash = (rotate(hash ^ ((BigInt(bytes[at]!) * P5) & U64), 11n) * P1) & U64;
  }
  hash = ((hash ^ (hash >> 33n)) * P2) & U64;
  hash = ((hash ^ (hash >> 29n)) * P3) & U64;
  return hash ^ (hash >> 32n);
}

export function labelHash(name: Uint8Array, value: Uint8Array): bigint {
  const pair = new Uint8Array(16);
  const view = new DataView(pair.buffer);
  view.setBigUint64(0, xxh64(name), true);
  view.setBigUint64(8, xxh64(value), true);
  return xxh64(pair);
}

/** A sum of label hashes (bigints of any size) to a fingerprint. */
export function finish(sum: bigint): bigint {
  let hash = (sum + FINGERPRINT_SEED) & U64;
  hash = ((hash ^ (hash >> 33n)) * 0xff51afd7ed558ccdn) & U64;
  hash = ((hash ^ (hash >> 33n)) * 0xc4ceb9fe1a85ec53n) & U64;
  return hash ^ (hash >> 33n);
}
