// The label names that the settings mention: those of the partition sets and those to strip, at
// most NAMES_MAX. An ordinary name is turned away by one AND with a 64-bit mask of the names'
// hashes.

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

let names: u32 = 0;
let sets: u32 = 0;
let bloom: u64 = 0;
export let stripsAny: bool = false;

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

/**
 * The sum that chooses the partition: of the first set whose labels are all in `present` (their
 * hashes are in the table), or `otherwise`.
 */
export function partitionSum(present: u32, own: u64, otherwise: u64): u64 {
  for (let i: u32 = 0; i < sets; i++) {
    let bits = load<u32>(setsRegion + <usize>i * sizeof<u32>());
    if ((present & bits) !== bits) continue;
    let sum = own;
    while (bits !== 0) {
      sum += namedLabel(ctz<u32>(bits)).labelHash;
      bits &= bits - 1;
    }
    return sum;
  }
  return otherwise;
}
