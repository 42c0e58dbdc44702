// What was found out about a label, kept under its own bytes. Of the dozen labels of a series most
// are shared with many others (cluster, namespace, job), and the same labels come again with every
// request; comparing at most 96 bytes is a fifth of the work of hashing and judging them. A
// direct-mapped table: a label that does not match byte for byte takes the slot over. Only labels
// that nothing is wrong with are kept, so an entry stays true for good.
//
//   0          8           16      20          22          24       28           30           32
//   nameHash | labelHash | bytes | nameStart | nameBytes | traits | valueStart | valueBytes | label

import {
  MEMO_ENTRIES,
  MEMO_ENTRY_BYTES,
  MEMO_LABEL_BYTES_MAX,
  MemoEntry,
  memoRegion,
} from './layout';

/** Shorter ones are hashed as fast as they are looked up. */
const MEMO_LABEL_BYTES_MIN: u32 = 8;
const MIX_A: u64 = 0x9e3779b97f4a7c15;
const MIX_B: u64 = 0xc2b2ae3d27d4eb4f;

/** The slot for a label of this length, or 0 when labels of this length are not kept. */
export function memoSlot(start: usize, bytes: u32): usize {
  if (bytes - MEMO_LABEL_BYTES_MIN > MEMO_LABEL_BYTES_MAX - MEMO_LABEL_BYTES_MIN) return 0;
  // Four samples, not a hash: a slot that two labels dispute costs time, never a wrong answer.
  const end = start + bytes;
  const ends = load<u64>(end - 8) ^ rotl<u64>(load<u64>(start), 29);
  const middle =
    load<u64>(start + (bytes >> 1) - 4) + rotl<u64>(load<u64>(start + (bytes >> 2)), 17);
  const mixed = (ends * MIX_A) ^ (middle * MIX_B) ^ bytes;
  const index = <u32>(((mixed ^ (mixed >> 29)) * MIX_A) >> 40) & (MEMO_ENTRIES - 1);
  return memoRegion + <usize>index * MEMO_ENTRY_BYTES;
}

export function memoHolds(slot: usize, start: usize, bytes: u32): bool {
  if (changetype<MemoEntry>(slot).bytes !== bytes) return false;
  const kept = slot + offsetof<MemoEntry>();
  if (bytes < 16) {
    return (
      load<u64>(kept) === load<u64>(start) &&
      load<u64>(kept + bytes - 8) === load<u64>(start + bytes - 8)
    );
  }
  // Two overlapping vectors cover 32 bytes, four 64, so that most labels take no loop and one
  // branch.
  let unlike = v128.or(unlikeAt(kept, start, 0), unlikeAt(kept, start, bytes - 16));
  if (bytes > 32) {
    unlike = v128.or(unlike, unlikeAt(kept, start, 16));
    unlike = v128.or(unlike, unlikeAt(kept, start, bytes - 32));
  }
  if (bytes > 64) {
    unlike = v128.or(unlike, unlikeAt(kept, start, 32));
    unlike = v128.or(unlike, unlikeAt(kept, start, bytes - 48));
  }
  return !v128.any_true(unlike);
}

export function memoKeep(slot: usize, start: usize, bytes: u32): void {
  changetype<MemoEntry>(slot).bytes = bytes;
  memory.copy(slot + offsetof<MemoEntry>(), start, bytes);
}

function unlikeAt(kept: usize, start: usize, offset: u32): v128 {
  return v128.xor(v128.load(kept + offset), v128.load(start + offset));
}
