// Where in its log the learnt state of a partition begins, when that is not the log's beginning: an import brought what
// was learnt elsewhere. A replay from the log alone cannot arrive at such a state, so what compares the two has to know.
//
//   imported/<partition, 3 digits>     "<log id> <offset>"

import type { StateStore } from '../state/state-store.js';

const IMPORTED = 'imported/';

export function writeOrigin(
  store: StateStore,
  place: { logId: string; partition: number; offset: number },
): Promise<void> {
  const { logId, partition, offset } = place;
  return store.put(keyOf(partition), Buffer.from(`${logId} ${offset}`));
}

/** Offset at which the imported state was put; undefined when everything was learnt from this log. */
export async function originOf(
  store: StateStore,
  { logId, partition }: { logId: string; partition: number },
): Promise<number | undefined> {
  const bytes = await store.get(keyOf(partition));
  if (bytes === undefined) return undefined;
  const [id, offset] = Buffer.from(bytes).toString().split(' ');
  return id === logId ? Number(offset) : undefined;
}

/** All of them, before an import and after one that failed. */
export function forgetOrigins(store: StateStore): Promise<void> {
  return store.deleteAll(IMPORTED);
}

function keyOf(partition: number): string {
  return IMPORTED + String(partition).padStart(3, '0');
}
