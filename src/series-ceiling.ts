// The ceiling on series that a data directory lives under. It decides which samples are refused, so the state depends on
// it: it is written down where the state lies, a replay uses what is written, and it never falls below what has been
// learnt already, because then no checkpoint would fit any more. See docs/decisions/0006-series-ceiling.md.

import { fromBinary } from '@bufbuild/protobuf';
import { CheckpointSchema } from './gen/checkpoint_pb.js';
import type { StateStore } from './state/state-store.js';

const CEILING_KEY = 'scorer/series-ceiling';

/** Per partition, as the last start left it; undefined in a new directory. */
export async function writtenCeiling(store: StateStore): Promise<number | undefined> {
  const bytes = await store.get(CEILING_KEY);
  return bytes === undefined ? undefined : Number(Buffer.from(bytes).toString());
}

/**
 * The ceiling to use when `wanted` is what settings and memory allow; it is written down. In a store that several
 * processes share it is never lowered: what each of them has learnt cannot be looked up at every start.
 */
export async function settleCeiling(
  store: StateStore,
  wanted: number,
  isShared = false,
): Promise<number> {
  const written = await writtenCeiling(store);
  const ceiling = Math.max(wanted, isShared ? (written ?? 0) : await slotsLearnt(store));
  if (ceiling !== written) {
    await store.put(CEILING_KEY, Buffer.from(String(ceiling)));
  }
  return ceiling;
}

/** The most records that any saved checkpoint has. */
async function slotsLearnt(store: StateStore): Promise<number> {
  let most = 0;
  for (const key of await store.list('checkpoint/')) {
    if (!key.endsWith('/manifest')) continue;
    const bytes = await store.get(key);
    if (bytes !== undefined) most = Math.max(most, fromBinary(CheckpointSchema, bytes).slotEnd);
  }
  return most;
}
