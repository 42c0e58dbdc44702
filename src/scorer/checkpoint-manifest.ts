// The manifest of a checkpoint as bytes. It vouches for the chunks by their checksums and for the state by its hash; nothing
// else vouches for the manifest, so it begins with a checksum of its own. One that an older program wrote has none, begins
// with its version and is believed; an older program passes over the field, wherever it stands.
//
//   dd 01 CRC-32 of all that follows, u32 little-endian ‖ Checkpoint without `checksum`

import { crc32 } from 'node:zlib';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type Checkpoint, CheckpointSchema } from '../gen/checkpoint_pb.js';

const CHECKSUM_BYTES = 6;
/** First bytes of the tags of `version` and of `checksum`: no bit that is wrong makes one the other. */
const [VERSION_TAG, CHECKSUM_TAG] = [0x08, 0xdd];

export function encodeManifest(manifest: Checkpoint): Uint8Array {
  const bytes = toBinary(CheckpointSchema, { ...manifest, checksum: 0 });
  const checksum = create(CheckpointSchema, { checksum: crc32(bytes) });
  return Buffer.concat([toBinary(CheckpointSchema, checksum), bytes]);
}

/** Undefined when it is not what was written. */
export function decodeManifest(bytes: Uint8Array): Checkpoint | undefined {
  let manifest: Checkpoint;
  try {
    manifest = fromBinary(CheckpointSchema, bytes);
  } catch {
    // A RangeError or TypeError of the decoder: these bytes are no message.
    return undefined;
  }
  if (bytes[0] === VERSION_TAG) return manifest;
  const isSound =
    bytes[0] === CHECKSUM_TAG && crc32(bytes.subarray(CHECKSUM_BYTES)) === manifest.checksum;
  return isSound ? manifest : undefined;
}
