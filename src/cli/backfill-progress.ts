// How far a backfill has come, kept in the data directory beside the log, so that one that was interrupted goes on where
// it was. It also says whether history may still come: behind live samples it would be late, every sample of it, so a log
// that anything else has written to is refused.

import { OperatingError } from '../errors.js';
import type { Log } from '../log/log.js';
import { REJECTED_KEY } from '../receiver-state.js';
import { listCheckpoints } from '../scorer/checkpoint.js';
import type { StateStore } from '../state/state-store.js';

export interface BackfillProgress {
  prometheus: string;
  query: string;
  stepMs: number;
  startMs: number;
  /** Everything up to this step is in the log. */
  doneMs: number;
  isComplete: boolean;
}

const KEY = 'backfill/progress';

/**
 * The start to read from, and where an earlier call with the same wishes had begun and stopped. Throws `state_present`
 * when history would lie behind other samples.
 */
export async function beginBackfill(
  { log, store }: { log: Log; store: StateStore },
  wanted: Pick<BackfillProgress, 'prometheus' | 'query' | 'stepMs' | 'startMs'>,
): Promise<{ startMs: number; resumed: BackfillProgress | undefined }> {
  const saved = await store.get(KEY);
  const before =
    saved === undefined
      ? undefined
      : (JSON.parse(Buffer.from(saved).toString()) as BackfillProgress);
  let records = 0;
  // Kept by the service itself.
  let hasLearnt = (await store.get(REJECTED_KEY)) !== undefined;
  for (let partition = 0; partition < log.partitions; partition++) {
    records += (await log.bounds('samples', partition)).high;
    if ((await listCheckpoints(store, partition)).length > 0) hasLearnt = true;
  }
  if (hasLearnt) throw present('The service has run on this data directory already');
  // Nothing came of an earlier call: it does not bind this one.
  if (records === 0) return { startMs: wanted.startMs, resumed: undefined };
  if (before === undefined) throw present(`The log has taken ${records} records already`);
  if (before.isComplete) {
    const until = new Date(before.doneMs).toISOString();
    throw present(`The history of ${before.query} is in the log already, up to ${until}`);
  }
  const isSame =
    before.prometheus === wanted.prometheus &&
    before.query === wanted.query &&
    before.stepMs === wanted.stepMs;
  if (!isSame) {
    const other = `${before.query} of ${before.prometheus} every ${before.stepMs / 1000} s`;
    throw present(`A backfill of ${other} was interrupted`, 'finish it with the same arguments');
  }
  return { startMs: before.doneMs + before.stepMs, resumed: before };
}

export async function saveProgress(store: StateStore, progress: BackfillProgress): Promise<void> {
  await store.put(KEY, Buffer.from(JSON.stringify(progress)));
}

function present(what: string, way = 'name them all in one query'): OperatingError {
  const text = `${what}; history comes before all other samples, or it would be late: ${way}, or use a new data directory`;
  return new OperatingError('state_present', text);
}
