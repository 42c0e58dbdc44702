// What the deep check says, laid over the flags that this process shows. It is no part of any state: a verdict changes what
// gauges and series show, never a score, and after a restart the verdicts of what is still open are read again.
//
//   an anomaly opens ──▶ waiting ──verdict: suppressed──▶ suppressed, until it ends
//                           ├─────verdict: any other────▶ up
//                           └─────no verdict in time────▶ up (counted) ──verdict: suppressed──▶ suppressed
//
// The verdict of an anomaly is that of its earliest judged sample, and of several of the same sample the first in the log.
// Time is the wall clock: a person waits. Nothing here has a timer; what is due is found when somebody looks.

import { fromBinary } from '@bufbuild/protobuf';
import { Judgement, type Verdict, VerdictSchema } from '../gen/verdict_pb.js';
import { VERDICT_BYTES_MAX, VERDICTS_KNOWN_MAX, VERDICTS_READ_BACK } from '../limits.js';
import { fingerprintText } from '../series.js';
import type { Partition } from './partition.js';
import type { PhaseChange } from './phase-change.js';
import { type TailParts, TopicTail } from './topic-tail.js';

/** Who is asked whether a flag may be shown. */
export interface FlagView {
  /** Of a series whose anomaly is open. */
  isUp(index: number, entry: number): boolean;
  /** Open anomalies of a partition whose flag is down. */
  down(index: number): Iterable<number>;
}

/** Where nothing checks a second time. */
export const EVERY_FLAG_UP: FlagView = { isUp: () => true, down: () => [] };

interface Known {
  /** The sample that was judged. */
  timestampMs: number;
  outcome: Judgement;
}

interface Open {
  key: string;
  verdict: Known | undefined;
  /** Wall clock; until then it waits for a verdict. */
  untilMs: number;
  isLate: boolean;
}

export type VerdictOutcome = 'confirmed' | 'suppressed' | 'abstained' | 'unchecked';

export class VerdictOverlay implements FlagView {
  readonly #clock: () => number;
  readonly #parts: TailParts;
  readonly #tail: TopicTail;
  /** By series and onset, the longest known first; also of what is not open, or not yet. */
  readonly #known = new Map<string, Known>();
  /** Of each owned partition, by entry; and the same by series and onset. */
  readonly #open = new Map<number, Map<number, Open>>();
  readonly #openByKey = new Map<string, Open>();
  readonly #partitions = new Map<number, Partition>();
  readonly counts: Record<VerdictOutcome, number> = {
    confirmed: 0,
    suppressed: 0,
    abstained: 0,
    unchecked: 0,
  };
  /** Flags that went up because no verdict came in time. */
  lateCount = 0;
  /** Verdicts forgotten because there were too many. */
  forgottenCount = 0;
  /** How long a flag waits; for those that open from now on. */
  waitMs: number;

  constructor(parts: TailParts & { clock: () => number; waitMs: number }) {
    this.#parts = parts;
    this.#clock = parts.clock;
    this.waitMs = parts.waitMs;
    this.#tail = new TopicTail(parts, 'verdicts', (partition, { offset, value }) =>
      this.#take(partition, offset, value),
    );
  }

  get failed(): Promise<void> {
    return this.#tail.failed;
  }

  start(): Promise<void> {
    return this.#tail.start();
  }

  stop(): Promise<void> {
    return this.#tail.stop();
  }

  /** A partition was restored; what is open in it waits for its verdicts to be read again. */
  own(index: number, partition: Partition): void {
    const { log } = this.#parts;
    this.#partitions.set(index, partition);
    this.#open.set(index, new Map());
    for (const entry of partition.flagged) {
      const { onsetMs } = partition.forest.view(partition.slots.slotOf(entry));
      this.#rise(index, entry, onsetMs);
    }
    this.#tail.own(index, async () => {
      const { low, high } = await log.bounds('verdicts', index);
      return Math.max(low, high - VERDICTS_READ_BACK);
    });
  }

  disown(index: number): void {
    this.#tail.disown(index);
    this.#partitions.delete(index);
    for (const { key } of this.#open.get(index)?.values() ?? []) this.#openByKey.delete(key);
    this.#open.delete(index);
  }

  onPhase(index: number, { entry, phase, onsetMs }: PhaseChange): void {
    if (phase === 'onset') this.#rise(index, entry, onsetMs);
    if (phase !== 'end') return;
    const opened = this.#open.get(index);
    const one = opened?.get(entry);
    if (one === undefined) return;
    this.#lookAt(one);
    opened?.delete(entry);
    this.#openByKey.delete(one.key);
    this.#known.delete(one.key);
  }

  isUp(index: number, entry: number): boolean {
    const one = this.#open.get(index)?.get(entry);
    return one === undefined || this.#lookAt(one) === 'up';
  }

  *down(index: number): Generator<number> {
    for (const [entry, one] of this.#open.get(index) ?? []) {
      if (this.#lookAt(one) !== 'up') yield entry;
    }
  }

  /** Of a series whose anomaly is open; undefined before it has one. */
  verdictOf(index: number, entry: number): VerdictOutcome | undefined {
    const verdict = this.#open.get(index)?.get(entry)?.verdict;
    return verdict && outcomeOf(verdict.outcome);
  }

  /** Open anomalies by why their flag is down. */
  downCounts(): { waiting: number; suppressed: number } {
    const counts = { waiting: 0, suppressed: 0 };
    for (const opened of this.#open.values()) {
      for (const one of opened.values()) {
        const state = this.#lookAt(one);
        if (state !== 'up') counts[state]++;
      }
    }
    return counts;
  }

  #rise(index: number, entry: number, onsetMs: number): void {
    const partition = this.#partitions.get(index);
    if (partition === undefined) throw new RangeError(`Partition ${index} is not ours`);
    const { slots } = partition;
    const fingerprint = fingerprintText(slots.lowOf(entry), slots.highOf(entry));
    const key = `${fingerprint}-${onsetMs}`;
    const untilMs = this.#clock() + this.waitMs;
    const one = { key, verdict: this.#known.get(key), untilMs, isLate: false };
    this.#open.get(index)?.set(entry, one);
    this.#openByKey.set(key, one);
  }

  #lookAt(one: Open): 'up' | 'waiting' | 'suppressed' {
    const { verdict } = one;
    if (verdict !== undefined) {
      return verdict.outcome === Judgement.SUPPRESSED ? 'suppressed' : 'up';
    }
    if (one.isLate) return 'up';
    const left = one.untilMs - this.#clock();
    // A clock that is set back must not hold a flag down for longer than was promised.
    if (left > 0 && left <= this.waitMs) return 'waiting';
    one.isLate = true;
    this.lateCount++;
    return 'up';
  }

  #take(index: number, offset: number, record: Uint8Array): void {
    const verdict = this.#read(index, offset, record);
    if (verdict === undefined) return;
    const fingerprint = fingerprintText(
      Number(verdict.fingerprint & 0xffffffffn),
      Number(verdict.fingerprint >> 32n),
    );
    const key = `${fingerprint}-${verdict.onsetMs}`;
    const timestampMs = Number(verdict.timestampMs);
    const one = this.#openByKey.get(key);
    const before = one?.verdict ?? this.#known.get(key);
    if (before !== undefined && before.timestampMs <= timestampMs) return;
    this.counts[outcomeOf(verdict.outcome)]++;
    const known = { timestampMs, outcome: verdict.outcome };
    if (one !== undefined) {
      // Whether it was late is decided before it comes.
      this.#lookAt(one);
      one.verdict = known;
    }
    this.#known.set(key, known);
    if (this.#known.size > VERDICTS_KNOWN_MAX) this.#forgetOldest();
  }

  #read(index: number, offset: number, record: Uint8Array): Verdict | undefined {
    const { metrics, logger } = this.#parts;
    const labels = { topic: 'verdicts', partition: String(index) };
    try {
      if (record.length <= VERDICT_BYTES_MAX) return fromBinary(VerdictSchema, record);
    } catch {
      // Not a Verdict: whoever wrote it, the flag rises without it.
    }
    metrics.unreadable.inc(labels);
    logger.error({ ...labels, offset }, 'A verdict cannot be read; it is left out');
    return undefined;
  }

  #forgetOldest(): void {
    for (const key of this.#known.keys()) {
      this.#known.delete(key);
      this.forgottenCount++;
      return;
    }
  }
}

export function outcomeOf(judgement: Judgement): VerdictOutcome {
  if (judgement === Judgement.CONFIRMED) return 'confirmed';
  if (judgement === Judgement.SUPPRESSED) return 'suppressed';
  return judgement === Judgement.ABSTAINED ? 'abstained' : 'unchecked';
}
