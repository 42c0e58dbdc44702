// The one loop of every stage: restore → read → apply → settle. A stage owns its partitions one by one; nothing is
// shared between them, and a batch is settled (its outputs durable) before the next one of that partition is read. A
// partition may be taken away at any time, with or without a word: that is treated as a crash of this one partition,
// because what was not settled is read again by whoever owns it next. It may also come back before its old loop has
// ended; the new loop waits for that. Each time of owning a partition is a tenure (tenure.ts).

import { setMaxListeners } from 'node:events';
import type { Logger } from './http-server.js';
import type { Log, Topic } from './log/log.js';
import { type Pace, REAL_PACE } from './pace.js';
import { Tenure } from './tenure.js';

export interface Stage {
  topic: Topic;
  /** Who shares the partitions out among themselves; without it all of them are this process's. */
  group?: string;
  /** How the loop waits; a simulation brings its own. */
  pace?: Pace;
  /**
   * Brings a partition's state back, replacing what there was of it; resolves with the offset to read from. It may be
   * called again after it failed, and after the log was truncated.
   */
  restore(partition: number, signal: AbortSignal): Promise<number>;
  /**
   * One record, applied at once. Records come in order, each offset once per restore. An OperatingError
   * `record_unreadable` stops this partition at this record; anything else that it throws ends the process.
   */
  apply(partition: number, record: Uint8Array, offset: number): void;
  /**
   * Retention deleted what was to be read from `from` on. Resolves with a later offset when a newer state, saved by
   * another owner, was loaded; undefined when the records are lost, which `onGap` then hears.
   */
  resume?(partition: number, from: number): Promise<number | undefined>;
  /** Retention deleted records before they were read. */
  onGap(partition: number, records: number): void;
  /** The log ends before what was read already; the partition is restored next. */
  onTruncated?(partition: number, from: number): void;
  /** After a batch: resolves when everything that the batch led to is durable. */
  settle(partition: number, next: number): Promise<void>;
  /** The partition was lost and its loop has ended: everything about it is forgotten. */
  drop?(partition: number): void;
  /** It was heard which partitions are this process's. */
  onShared?(partitions: readonly number[]): void;
  /** The stage stops: every loop has ended, and the partitions are still ours while this runs. */
  leave?(): Promise<void>;
}

/** A partition that stands still until somebody does something about a record. */
export interface Standstill {
  partition: number;
  offset: number;
  reason: string;
}

export interface Running {
  /** Partitions owned now, ascending. */
  owned(): number[];
  /** True once a first round of sharing out partitions is over, even when it left nothing for this process. */
  isShared(): boolean;
  /** Records still to read, of an owned partition that has been restored; undefined before, and while the log is away. */
  lag(partition: number): Promise<number | undefined>;
  position(partition: number): number | undefined;
  /** True once an owned partition has reached what the log held when its loop began. */
  hasCaughtUp(partition: number): boolean;
  standstills(): Standstill[];
  /** Resolves once every loop has ended and the partitions are given back; the batch in work is finished first. */
  stop(): Promise<void>;
  /** Rejects when a loop cannot go on. Never resolves otherwise before stop. */
  failed: Promise<void>;
}

export async function runStage(log: Log, stage: Stage, logger: Logger): Promise<Running> {
  const stopping = new AbortController();
  // One for each partition; Node would warn of a leak from the eleventh on.
  setMaxListeners(0, stopping.signal);
  const tenures = new Map<number, Tenure>();
  /** Of every partition whose last loop has not ended yet. */
  const endings = new Map<number, Promise<void>>();
  let isShared = false;
  let fail: (error: unknown) => void = () => {};
  const failed = new Promise<void>((_resolve, reject) => {
    fail = reject;
  });
  failed.catch(() => {}); // whoever awaits it hears of it; nobody does in tests that stop in time

  function begin(partition: number): void {
    // There may have been no word that it was lost.
    tenures.get(partition)?.lose();
    if (stopping.signal.aborted) return;
    const pace = stage.pace ?? REAL_PACE;
    const parts = { log, stage, logger, pace, subscription: subscribed, stopping: stopping.signal };
    const tenure = new Tenure(partition, parts);
    tenures.set(partition, tenure);
    const before = endings.get(partition);
    const ending = tenure.run(before).catch((error: unknown) => fail(error));
    endings.set(partition, ending);
    void ending.finally(() => {
      if (endings.get(partition) === ending) endings.delete(partition);
    });
  }

  const subscribed = log.subscribe(
    stage.topic,
    {
      onAssigned: begin,
      onLost(partition) {
        tenures.get(partition)?.lose();
        tenures.delete(partition);
      },
      onShared() {
        isShared = true;
        stage.onShared?.(owned());
      },
    },
    stage.group,
  );
  const subscription = await subscribed;

  /** Undefined of a partition that is not, or no longer, ours. */
  function tenureOf(partition: number): Tenure | undefined {
    const tenure = tenures.get(partition);
    return tenure?.isLost === false ? tenure : undefined;
  }

  function owned(): number[] {
    return [...tenures.keys()]
      .filter((partition) => tenureOf(partition) !== undefined)
      .sort((a, b) => a - b);
  }

  return {
    failed,
    owned,
    isShared: () => isShared,
    lag: async (partition) => tenureOf(partition)?.lag(),
    position: (partition) => tenureOf(partition)?.position,
    hasCaughtUp: (partition) => tenureOf(partition)?.hasCaughtUp ?? false,
    standstills: () => owned().flatMap((partition) => tenureOf(partition)?.standstill ?? []),
    async stop() {
      stopping.abort();
      await Promise.all(endings.values());
      // Only now may others take the partitions over: they find everything saved.
      await stage.leave?.();
      await subscription.close();
    },
  };
}
