// The windows of a partition in the state store, beside its checkpoints: one value per block of slots, written over. They
// decide no score, so they need not agree with a checkpoint: what is newer than it passes replayed samples over, what is
// older has a gap. So they are saved at every stop and hand-over, and in between ten times less often than the state, which
// spares the disk 2 KB a series and minute. Only a block in which a series began or left is saved with the next checkpoint
// and before it, for its old values would be taken for the new series'. A block that is damaged, of another log or of
// another layout costs the windows, never the state.
//
//   checkpoint/<partition>/windows/<block, 6 digits>      WindowBlock (proto/checkpoint.proto)

import { crc32 } from 'node:zlib';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { WindowBlockSchema } from '../gen/checkpoint_pb.js';
import type { StateStore } from '../state/state-store.js';
import type { Lineage } from './checkpoint.js';
import { WINDOW_FORMAT, type Windows } from './windows.js';

export type WindowPlace = Pick<Lineage, 'partition' | 'logId'>;

/** Each block is copied when its turn comes, so that nothing waits for 50 MB of copies. */
export async function writeWindows(
  store: StateStore,
  { partition, logId }: WindowPlace,
  { windows, blocks }: { windows: Windows; blocks: Iterable<number> },
): Promise<void> {
  for (const index of blocks) {
    windows.disturbed.delete(index);
    const block = windows.block(index);
    const message = create(WindowBlockSchema, {
      format: WINDOW_FORMAT,
      logId,
      crc32: crc32(block),
      block,
    });
    try {
      await store.put(keyOf(partition, index), toBinary(WindowBlockSchema, message));
    } catch (error) {
      windows.disturbed.add(index);
      throw error;
    }
  }
}

/** How many blocks could not be used; the others have been taken. */
export async function readWindows(
  store: StateStore,
  { partition, logId }: WindowPlace,
  windows: Windows,
): Promise<number> {
  let unusable = 0;
  for (const key of await store.list(prefixOf(partition))) {
    const bytes = await store.get(key);
    if (bytes === undefined) continue;
    const block = soundBlock(bytes, logId);
    if (block !== undefined) windows.restoreBlock(Number(key.split('/')[3]), block);
    else unusable++;
  }
  return unusable;
}

/** Where windows are not kept any more nobody says which series has left its slot: what is saved must not be found later. */
export function forgetWindows(store: StateStore, partition: number): Promise<void> {
  return store.deleteAll(prefixOf(partition));
}

function soundBlock(bytes: Uint8Array, logId: string): Uint8Array | undefined {
  try {
    const saved = fromBinary(WindowBlockSchema, bytes);
    const isOurs = saved.format === WINDOW_FORMAT && saved.logId === logId;
    return isOurs && crc32(saved.block) === saved.crc32 ? saved.block : undefined;
  } catch {
    // Damaged so much that it is no message.
    return undefined;
  }
}

function keyOf(partition: number, index: number): string {
  return prefixOf(partition) + String(index).padStart(6, '0');
}

function prefixOf(partition: number): string {
  return `checkpoint/${String(partition).padStart(3, '0')}/windows/`;
}
