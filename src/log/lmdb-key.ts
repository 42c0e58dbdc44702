// The key of a record in the embedded log. It carries all that the log itself has to know of a
// record, so that opening, looking up bounds and deleting never touch a value, and the value is
// byte for byte what was appended.
//
//   0          6           12          18          24        28        32
//   ┌──────────┬───────────┬───────────┬───────────┬─────────┬─────────┐
//   │ offset   │ appended  │ samples   │ stored    │ length  │ crc32   │
//   │ u48      │ u48, ms   │ u48       │ u48       │ u32     │ u32     │
//   └──────────┴───────────┴───────────┴───────────┴─────────┴─────────┘
//
// Big-endian, so that lmdb's order of keys is the order of offsets.
// samples and stored are sums over this partition from its first record ever to this one: how many
// samples, and how many bytes of disk at most. The difference of two keys says what lies between
// them.

import { strict as assert } from 'node:assert';
import { crc32 } from 'node:zlib';

export const KEY_BYTES = 32;
const PAGE_BYTES = 4096;
/**
 * lmdb keeps a value in its tree page when two such nodes fit into one; else it gets pages of its
 * own.
 */
const INLINE_BYTES_MAX = PAGE_BYTES / 2 - KEY_BYTES - 32;
const NODE_BYTES = KEY_BYTES + 16;
const PAGE_HEADER_BYTES = 24;

export interface RecordKey {
  offset: number;
  appendedMs: number;
  samples: number;
  stored: number;
  length: number;
  crc: number;
}

export function encodeKey(key: RecordKey): Buffer {
  const bytes = Buffer.allocUnsafe(KEY_BYTES);
  bytes.writeUIntBE(key.offset, 0, 6);
  bytes.writeUIntBE(key.appendedMs, 6, 6);
  bytes.writeUIntBE(key.samples, 12, 6);
  bytes.writeUIntBE(key.stored, 18, 6);
  bytes.writeUInt32BE(key.length, 24);
  bytes.writeUInt32BE(key.crc, 28);
  return bytes;
}

export function decodeKey(bytes: Uint8Array): RecordKey {
  assert.equal(bytes.length, KEY_BYTES);
  const key = Buffer.from(bytes.buffer, bytes.byteOffset, KEY_BYTES);
  return {
    offset: key.readUIntBE(0, 6),
    appendedMs: key.readUIntBE(6, 6),
    samples: key.readUIntBE(12, 6),
    stored: key.readUIntBE(18, 6),
    length: key.readUInt32BE(24),
    crc: key.readUInt32BE(28),
  };
}

/** Sorts before the key of this offset and after all earlier ones. */
export function seekKey(offset: number): Buffer {
  const bytes = Buffer.alloc(6);
  bytes.writeUIntBE(offset, 0, 6);
  return bytes;
}

export function checksum(value: Uint8Array): number {
  return crc32(value);
}

/** Disk that a value of this length takes when it does not compress. */
export function storedBytes(length: number): number {
  if (length <= INLINE_BYTES_MAX) return NODE_BYTES + length;
  return NODE_BYTES + Math.ceil((PAGE_HEADER_BYTES + length) / PAGE_BYTES) * PAGE_BYTES;
}
