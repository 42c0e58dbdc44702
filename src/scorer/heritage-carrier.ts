// Carries words of heritage between the partitions of an installation, by their samples logs. It is no part of any state:
// what it asks and answers follows from partitions that are live, and a word that does not get through is counted and
// forgotten. Nobody waits for it, so a partition whose log is away holds up no other.

import { create, toBinary } from '@bufbuild/protobuf';
import { OperatingError } from '../errors.js';
import { type Heritage, HeritageSchema, SampleBlockSchema } from '../gen/sample_block_pb.js';
import {
  HERITAGE_FRESH_MS,
  HERITAGE_WISHES_MAX,
  HERITAGE_WORDS_MAX,
  HERITAGE_WORDS_PER_RECORD,
  WISHES_TURN_MS,
} from '../limits-detectors.js';
import type { Log } from '../log/log.js';
import type { Entity } from './entity-state.js';
import { digestOf, isOf, isReplica, wishOf } from './heritage.js';
import type { Partition } from './partition.js';

export class HeritageCarrier {
  /** Newcomers that asked, answers given; words left out because there were too many, and lost on their way. */
  readonly counts = { asked: 0, answered: 0, crowded: 0, lost: 0 };
  /** Rejects when something is wrong that waiting does not mend. */
  readonly failed: Promise<void>;
  readonly #log: Pick<Log, 'append' | 'partitions'>;
  readonly #clock: () => number;
  /** By the partition that they are for. */
  #words = new Map<number, Heritage[]>();
  #count = 0;
  /** By the partition that asks: since when, and how often. */
  readonly #turns = new Map<number, { sinceMs: number; wishes: number }>();
  #sending: Promise<void> | undefined;
  #fail: (error: unknown) => void = () => {};

  constructor(log: Pick<Log, 'append' | 'partitions'>, clock: () => number) {
    this.#log = log;
    this.#clock = clock;
    this.failed = new Promise((_resolve, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => {}); // whoever awaits it hears of it
  }

  own(index: number, partition: Partition): void {
    partition.entities.post = {
      born: (entity) => this.#born(entity, index, partition),
      asked: (word) => this.#asked(word, partition),
    };
  }

  /** Begins to send what has gathered, unless that is being done. */
  send(): void {
    if (this.#sending !== undefined || this.#count === 0) return;
    const ended = (error?: unknown) => {
      this.#sending = undefined;
      if (error !== undefined) this.#fail(error);
    };
    this.#sending = this.#sendAll().then(() => ended(), ended);
  }

  /** What is on its way is waited for. */
  async stop(): Promise<void> {
    await this.#sending;
  }

  /** Replayed and historical newcomers are nobody's any more. */
  #born(entity: Entity, index: number, partition: Partition): void {
    if (!isReplica(entity) || partition.history.isReading || !this.#isFresh(entity.createdMs)) {
      return;
    }
    const nowMs = this.#clock();
    let turn = this.#turns.get(index);
    if (turn === undefined || Math.abs(nowMs - turn.sinceMs) >= WISHES_TURN_MS) {
      turn = { sinceMs: nowMs, wishes: 0 };
      this.#turns.set(index, turn);
    }
    if (turn.wishes >= HERITAGE_WISHES_MAX) {
      this.counts.crowded++;
      return;
    }
    turn.wishes++;
    this.counts.asked++;
    const wish = wishOf(entity, index);
    for (let other = 0; other < this.#log.partitions; other++) this.#put(other, wish);
  }

  #asked(word: Heritage, partition: Partition): void {
    if (word.what.case !== 'wish' || !this.#isFresh(Number(word.what.value.atMs))) return;
    const found = answerOf(word, partition);
    if (found === undefined || found.partition >= this.#log.partitions) return;
    this.counts.answered++;
    this.#put(found.partition, found.answer);
  }

  #isFresh(ms: number): boolean {
    return Math.abs(this.#clock() - ms) <= HERITAGE_FRESH_MS;
  }

  #put(partition: number, word: Heritage): void {
    if (this.#count >= HERITAGE_WORDS_MAX) {
      this.counts.crowded++;
      return;
    }
    this.#count++;
    const words = this.#words.get(partition);
    if (words === undefined) this.#words.set(partition, [word]);
    else words.push(word);
  }

  async #sendAll(): Promise<void> {
    while (this.#count > 0) {
      const gathered = this.#words;
      this.#words = new Map();
      this.#count = 0;
      const appends: Promise<void>[] = [];
      for (const [partition, words] of gathered) {
        for (let from = 0; from < words.length; from += HERITAGE_WORDS_PER_RECORD) {
          const some = words.slice(from, from + HERITAGE_WORDS_PER_RECORD);
          appends.push(this.#append(partition, some));
        }
      }
      await Promise.all(appends);
    }
  }

  async #append(partition: number, heritage: Heritage[]): Promise<void> {
    const record = toBinary(SampleBlockSchema, create(SampleBlockSchema, { heritage }));
    try {
      await this.#log.append('samples', partition, record, 0);
    } catch (error) {
      // Expected: the log is away, full or closed. A newcomer that gets no answer learns by itself.
      if (!(error instanceof OperatingError && error.retryable)) throw error;
      this.counts.lost += heritage.length;
    }
  }
}

/** The answer to a wish; undefined where nobody here has anything to give. */
function answerOf(word: Heritage, { entities, forest, slots }: Partition) {
  const { what } = word;
  const detector = entities.detectors.find((one) => isOf(word, one));
  if (what.case !== 'wish' || detector === undefined) return undefined;
  const { workload, partition } = what.value;
  // Nobody lends while it is in trouble: its fault would be a habit of its sibling.
  const isCalm = ({ entry }: Entity) => !forest.view(slots.slotOf(entry)).flag;
  const asks = { detector, tenant: word.tenant, workload };
  const lender = entities.successions.lenderFor(asks, { atMs: Number(what.value.atMs), isCalm });
  if (lender === undefined) return undefined;
  const { entity: entityFormat, record: recordFormat } = entities.formats;
  const bequest = {
    ...{ from: lender.values, entityFormat, recordFormat },
    entityRecord: lender.record.slice(),
    distanceRecord: forest.record(slots.slotOf(lender.entry)),
  };
  const { tenant, entity } = word;
  const answer = create(HeritageSchema, {
    ...{ tenant, entity, detector: digestOf(detector) },
    what: { case: 'bequest', value: bequest },
  });
  return { partition, answer };
}
