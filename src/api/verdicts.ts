// What the deep check said of an anomaly, as the api keeps it, and two things that time brings about: verdicts that are read
// before their anomaly, and anomalies whose notice waits a moment for their verdict. Which verdict an anomaly has does not
// depend on the order of reading: it is that of its earliest judged sample, and of several of the same sample the first.

import { create } from '@bufbuild/protobuf';
import { Direction, Judgement, type Verdict, VerdictSchema } from '../gen/verdict_pb.js';
import { EARLY_VERDICTS_MAX } from '../limits.js';

export type VerdictName = 'confirmed' | 'suppressed' | 'abstained' | 'unchecked';

export interface AnomalyVerdict {
  outcome: VerdictName;
  /** The sample that was judged. */
  timestampMs: number;
  /** Why it is unchecked or abstained; may be empty. */
  reason: string;
  /** Forecast of the deep check for that sample; undefined when it made none. */
  expected: number | undefined;
  lower: number | undefined;
  upper: number | undefined;
  direction: 'above' | 'below' | undefined;
  p: number | undefined;
  model: string;
}

const NAMES: Record<Judgement, VerdictName> = {
  [Judgement.CONFIRMED]: 'confirmed',
  [Judgement.SUPPRESSED]: 'suppressed',
  [Judgement.ABSTAINED]: 'abstained',
  [Judgement.UNCHECKED]: 'unchecked',
  [Judgement.UNSPECIFIED]: 'unchecked',
};
const DIRECTIONS = { [Direction.ABOVE]: 'above', [Direction.BELOW]: 'below' } as const;

export function verdictOf(message: Verdict): AnomalyVerdict {
  const { reason, expected, lower, upper, p, model, direction } = message;
  return {
    outcome: NAMES[message.outcome] ?? 'unchecked',
    timestampMs: Number(message.timestampMs),
    ...{ reason, expected, lower, upper, p, model },
    direction: direction === Direction.UNSPECIFIED ? undefined : DIRECTIONS[direction],
  };
}

/** As it is stored within its anomaly, which has the rest. */
export function verdictMessage(verdict: AnomalyVerdict): Verdict {
  const { outcome, timestampMs, reason, expected, lower, upper, direction, p, model } = verdict;
  return create(VerdictSchema, {
    outcome: Judgement[outcome.toUpperCase() as Uppercase<VerdictName>],
    timestampMs: BigInt(timestampMs),
    ...{ reason, model },
    ...(expected !== undefined && { expected }),
    ...(lower !== undefined && { lower }),
    ...(upper !== undefined && { upper }),
    ...(p !== undefined && { p }),
    ...(direction !== undefined && {
      direction: direction === 'above' ? Direction.ABOVE : Direction.BELOW,
    }),
  });
}

/** Whether `fresh`, which was read later, takes the place of `known`. */
export function isEarlier(fresh: AnomalyVerdict, known: AnomalyVerdict | undefined): boolean {
  return known === undefined || fresh.timestampMs < known.timestampMs;
}

export interface Place {
  partition: number;
  offset: number;
}

/** Verdicts whose anomaly is not known yet. */
export class EarlyVerdicts {
  readonly #byId = new Map<string, { verdict: AnomalyVerdict; place: Place }>();
  droppedCount = 0;

  put(id: string, verdict: AnomalyVerdict, place: Place): void {
    const known = this.#byId.get(id);
    if (!isEarlier(verdict, known?.verdict)) return;
    // Read again from the first of both.
    const offset = Math.min(place.offset, known?.place.offset ?? place.offset);
    this.#byId.set(id, { verdict, place: { ...place, offset } });
    if (this.#byId.size <= EARLY_VERDICTS_MAX) return;
    for (const oldest of this.#byId.keys()) {
      this.#byId.delete(oldest);
      this.droppedCount++;
      return;
    }
  }

  take(id: string): AnomalyVerdict | undefined {
    const found = this.#byId.get(id);
    this.#byId.delete(id);
    return found?.verdict;
  }

  /** Where a restart has to read on, so that none of these is lost: `next`, or the first of them. */
  restartAt(partition: number, next: number): number {
    let from = next;
    for (const { place } of this.#byId.values()) {
      if (place.partition === partition) from = Math.min(from, place.offset);
    }
    return from;
  }
}

/** Which anomalies still wait for their verdict, by the wall clock; none where nothing is checked. */
export class VerdictWait {
  readonly #clock: () => number;
  /** Undefined: nobody waits. */
  readonly #waitMs: number | undefined;
  readonly #untilMs = new Map<string, number>();

  constructor(waitMs: number | undefined, clock: () => number) {
    this.#waitMs = waitMs;
    this.#clock = clock;
  }

  get isEmpty(): boolean {
    return this.#untilMs.size === 0;
  }

  begin(id: string): void {
    if (this.#waitMs !== undefined) this.#untilMs.set(id, this.#clock() + this.#waitMs);
  }

  end(id: string): void {
    this.#untilMs.delete(id);
  }

  has(id: string): boolean {
    return this.#untilMs.has(id);
  }

  /** Those that have waited long enough wait no more. */
  pass(): void {
    const now = this.#clock();
    for (const [id, untilMs] of this.#untilMs) {
      const left = untilMs - now;
      // A clock that is set back must not make anybody wait for longer.
      if (left <= 0 || left > (this.#waitMs ?? 0)) this.#untilMs.delete(id);
    }
  }
}
