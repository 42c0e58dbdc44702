// The label names that are looked for: those of the partition sets, those to strip, and those with a
// role of their own, at most NAMES_MAX. An ordinary name is turned away by one AND with a 64-bit mask
// of the names' hashes.

import {
  NAMES_MAX,
  NamedLabel,
  namesRegion,
  nameTextRegion,
  PARTITION_SETS_MAX,
  setsRegion,
  settings,
} from './layout';
import { xxh64 } from './xxhash';

/** What `findName` says of a name that is not in the table. */
export const NO_NAME: i32 = -1;

// Roles. The bit of each in `present`, 0 when the name is not looked for, and its index.
const BUCKET_BOUND: u32 = 0;
const CLUSTER: u32 = 1;
const REPLICA: u32 = 2;

let names: u32 = 0;
let sets: u32 = 0;
let bloom: u64 = 0;
export let stripsAny: bool = false;
export let boundBit: u64 = 0;
/** Of cluster and replica together. */
export let claimBits: u64 = 0;
let boundIndex: u32 = 0;
let clusterIndex: u32 = 0;
let replicaIndex: u32 = 0;

export function namedLabel(index: u32): NamedLabel {
  return changetype<NamedLabel>(namesRegion + <usize>(index + 1) * offsetof<NamedLabel>());
}

/** In the current series; `index` counts from 1, and what is kept under 0 is never read. */
export function keepLabelHash(index: u32, labelHash: u64): void {
  const named = namesRegion + <usize>index * offsetof<NamedLabel>();
  changetype<NamedLabel>(named).labelHash = labelHash;
}

/** Copies the name and returns its index; only while starting, before any label is read. */
export function addName(start: usize, bytes: u32, stripped: bool): u32 {
  assert(names < NAMES_MAX && bytes <= settings().nameBytesMax);
  const text = nameTextRegion + <usize>names * settings().nameBytesMax;
  memory.copy(text, start, bytes);
  const named = namedLabel(names);
  named.nameHash = xxh64(text, bytes);
  named.name = <u32>text;
  named.nameBytes = bytes;
  named.stripped = stripped ? 1 : 0;
  bloom |= (<u64>1) << (named.nameHash & 63);
  if (stripped) stripsAny = true;
  return names++;
}

/** Gives a name that is not stripped a role: 0 bound of a bucket, 1 cluster, 2 replica. */
export function addRole(index: u32, role: u32): void {
  assert(index < names && namedLabel(index).stripped === 0 && role <= REPLICA);
  const bit = (<u64>1) << index;
  if (role === BUCKET_BOUND) {
    boundIndex = index;
    boundBit = bit;
    return;
  }
  if (role === CLUSTER) clusterIndex = index;
  else replicaIndex = index;
  claimBits |= bit;
}

/** A set of names by their bits; sets are tried in the order in which they were added. */
export function addPartitionSet(bits: u32): void {
  assert(sets < PARTITION_SETS_MAX && bits !== 0);
  store<u32>(setsRegion + <usize>sets * sizeof<u32>(), bits);
  sets++;
}

export function findName(hash: u64, start: usize, bytes: u32): i32 {
  if ((bloom & ((<u64>1) << (hash & 63))) === 0) return NO_NAME;
  for (let i: u32 = 0; i < names; i++) {
    const named = namedLabel(i);
    if (named.nameHash !== hash || named.nameBytes !== bytes) continue;
    if (memory.compare(named.name, start, bytes) === 0) return <i32>i;
  }
  return NO_NAME;
}

export function isReplicaName(index: i32): bool {
  return claimBits !== 0 && index === <i32>replicaIndex;
}

// Hashes of labels of the current series, each only when its bit is in `present`.

export function boundHash(): u64 {
  return namedLabel(boundIndex).labelHash;
}

export function clusterHash(): u64 {
  return namedLabel(clusterIndex).labelHash;
}

export function replicaHash(): u64 {
  return namedLabel(replicaIndex).labelHash;
}

/**
 * The bits of the first set whose labels are all in `present`; 0 when there is none. Names of sets
 * are added first, so that their bits are in the lower half.
 */
export function partitionSet(present: u64): u32 {
  for (let i: u32 = 0; i < sets; i++) {
    const bits = load<u32>(setsRegion + <usize>i * sizeof<u32>());
    if ((<u32>present & bits) === bits) return bits;
  }
  return 0;
}

/** The sum of the hashes of these labels, and of `own`. */
export function sumOf(bits: u32, own: u64): u64 {
  let sum = own;
  while (bits !== 0) {
    sum += namedLabel(ctz<u32>(bits)).labelHash;
    bits &= bits - 1;
  }
  return sum;
}
