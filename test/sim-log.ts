// The log port in a simulated world: one log that several processes share, and a group that shares out its partitions.
// It does what a log on a network does: answers late, refuses, appends and loses the answer, appends after it has given
// up, reads any number of records, forgets what retention no longer keeps, and tells a process late or never that a
// partition is somebody else's now. It never loses what it has acknowledged.

import { OperatingError } from '../src/errors.js';
import type { Assignment, Batch, Bounds, Log, Subscription, Topic } from '../src/log/log.js';
import type { Host, World } from './sim-world.js';

export interface LogFaults {
  /** Of an append that is refused, appended with its answer lost, appended after it was given up. */
  refused: number;
  answerLost: number;
  late: number;
  /** Of a request that takes seconds. */
  slow: number;
  /** Of any other request that fails. */
  failing: number;
  /** Of a death at each named place. */
  killing: number;
  /** Of a word about partitions that comes seconds late, and of a partition that is lost and got again at once. */
  lateWord: number;
  flip: number;
}

export interface Lane {
  low: number;
  /** Ever appended: what retention deletes is below `low`. */
  records: Uint8Array[];
  waiting: (() => void)[];
}

interface Member {
  host: Host;
  assignment: Assignment;
  /** As it was told, or will have been when every word has arrived. */
  owned: Set<number>;
  /** Words arrive in order. */
  lastWordMs: number;
  isExpelled: boolean;
  isClosed: boolean;
  /** Reads that wait, by partition. */
  refuse: Map<number, () => void>;
}

export class SimLog {
  readonly id: string;
  readonly partitions: number;
  readonly lanes = new Map<string, Lane>();
  onCommit: (partition: number, next: number) => void = () => {};
  /** Topics that cannot be written now. */
  readonly away = new Set<Topic>();
  readonly #world: World;
  readonly #faults: () => LogFaults;
  readonly #members: Member[] = [];

  constructor(world: World, partitions: number, faults: () => LogFaults) {
    this.#world = world;
    this.#faults = faults;
    this.partitions = partitions;
    this.id = 'sim-log';
  }

  lane(topic: Topic, partition: number): Lane {
    const key = `${topic}/${partition}`;
    const lane = this.lanes.get(key) ?? { low: 0, records: [], waiting: [] };
    this.lanes.set(key, lane);
    return lane;
  }

  /** Who owns a partition as the group sees it. */
  ownerOf(partition: number): Host | undefined {
    return this.#members.find(({ owned, isClosed }) => !isClosed && owned.has(partition))?.host;
  }

  expel(host: Host): void {
    for (const member of this.#members) if (member.host === host) member.isExpelled = true;
    this.#world.note(`${host.name} expelled`);
  }

  takeBack(): void {
    for (const member of this.#members) member.isExpelled = false;
  }

  /** Shares the partitions out among the members that the group can see. */
  rebalance(): void {
    const world = this.#world;
    const members = this.#members.filter(
      ({ host, isExpelled, isClosed }) =>
        !isClosed && !isExpelled && !host.isDead && !host.isFrozen,
    );
    for (const member of this.#members)
      if (member.host.isDead || member.isClosed) member.owned.clear();
    if (members.length === 0) return;
    world.count('rebalanced');
    const share = new Map(members.map((member) => [member, new Set<number>()]));
    for (let partition = 0; partition < this.partitions; partition++) {
      const staying = members.find(({ owned }) => owned.has(partition));
      const stays = staying !== undefined && world.chance(0.4);
      const owner = stays ? staying : members[world.int(members.length)];
      share.get(owner as Member)?.add(partition);
    }
    for (const [member, partitions] of share) this.#tell(member, partitions);
    const shares = [...share].map(([{ host }, owned]) => `${host.name}: ${[...owned].join(' ')}`);
    world.note(`rebalanced, ${shares.join('; ')}`);
  }

  #tell(member: Member, partitions: Set<number>): void {
    const { assignment } = member;
    for (const partition of member.owned) {
      const isFlip = partitions.has(partition) && this.#world.chance(this.#faults().flip);
      if (partitions.has(partition) && !isFlip) continue;
      if (isFlip) this.#world.count('flipped');
      this.#word(member, () => {
        // Some adapters find out at a read.
        if (this.#world.chance(0.5)) member.refuse.get(partition)?.();
        assignment.onLost(partition);
      });
      if (isFlip) this.#word(member, () => assignment.onAssigned(partition));
    }
    for (const partition of partitions) {
      if (!member.owned.has(partition)) this.#word(member, () => assignment.onAssigned(partition));
    }
    this.#word(member, () => assignment.onShared?.());
    member.owned = partitions;
  }

  #word(member: Member, say: () => void): void {
    const world = this.#world;
    const isLate = world.chance(this.#faults().lateWord);
    if (isLate) world.count('word came late');
    const at = world.nowMs + (isLate ? world.between(1000, 8000) : world.between(0, 40));
    member.lastWordMs = Math.max(at, member.lastWordMs + 0.001);
    world.after(member.lastWordMs - world.nowMs, () =>
      member.host.deliver(() => {
        if (!member.isClosed) say();
      }),
    );
  }

  /** The port, as one process has it. */
  of(host: Host): Log {
    const world = this.#world;
    const queues = new Map<string, Promise<unknown>>();
    const latency = () => this.#latency();
    const failing = () => {
      if (world.chance(this.#faults().failing)) throw unavailable('asked');
    };
    return {
      id: this.id,
      partitions: this.partitions,
      append: (topic, partition, value) => {
        const copy = value.slice();
        if (topic === 'candidates') this.#perhapsKill(host, 'before candidates are appended');
        const before = queues.get(`${topic}/${partition}`) ?? Promise.resolve();
        // One at a time for each partition, as an adapter has to do that keeps the order of the calls.
        const append = () => host.ask(() => this.#append(host, topic, partition, copy), latency);
        const appended = before.then(append, append);
        queues.set(`${topic}/${partition}`, appended);
        return appended;
      },
      bounds: (topic, partition): Promise<Bounds> =>
        host.ask(() => {
          failing();
          const { low, records } = this.lane(topic, partition);
          return { low, high: records.length, samples: 0 };
        }, latency),
      subscribe: (topic, assignment, group) =>
        host.ask(() => this.#join(host, topic, { assignment, group }), latency),
      async close() {},
    };
  }

  /** Retention, as the scorer of one process asks for it. */
  trimOf(host: Host): (partition: number, keepFrom: number) => Promise<void> {
    return (partition, keepFrom) => {
      this.#perhapsKill(host, 'before the log is trimmed');
      const trim = () => this.deleteBelow(partition, keepFrom);
      return host.ask(trim, () => this.#world.between(0, 20));
    };
  }

  deleteBelow(partition: number, offset: number): void {
    const lane = this.lane('samples', partition);
    lane.low = Math.min(Math.max(lane.low, offset), lane.records.length);
  }

  #append(host: Host, topic: Topic, partition: number, value: Uint8Array): number {
    const world = this.#world;
    const { refused, answerLost, late } = this.#faults();
    if (this.away.has(topic)) throw unavailable('append');
    const fate = world.random();
    if (fate < refused) throw unavailable('append');
    if (fate < refused + late) {
      world.count('appended after it was given up');
      world.after(world.between(500, 5000), () => this.#push(topic, partition, value));
      throw unavailable('append in time');
    }
    const offset = this.#push(topic, partition, value);
    if (topic === 'candidates') this.#perhapsKill(host, 'between candidates and settling');
    if (fate < refused + late + answerLost) {
      world.count('answer lost');
      throw unavailable('hear the answer to append');
    }
    return offset;
  }

  #push(topic: Topic, partition: number, value: Uint8Array): number {
    const lane = this.lane(topic, partition);
    lane.records.push(value);
    for (const wake of lane.waiting.splice(0)) wake();
    return lane.records.length - 1;
  }

  #join(
    host: Host,
    topic: Topic,
    wanted: { assignment: Assignment; group: string | undefined },
  ): Subscription {
    const world = this.#world;
    const { assignment, group } = wanted;
    const member: Member = {
      ...{ host, assignment, owned: new Set(), refuse: new Map() },
      ...{ lastWordMs: 0, isExpelled: false, isClosed: false },
    };
    if (group === undefined) {
      for (let partition = 0; partition < this.partitions; partition++) {
        this.#word(member, () => assignment.onAssigned(partition));
      }
    } else {
      this.#members.push(member);
      world.after(world.between(0, 500), () => this.rebalance());
    }
    const lent = new Map<number, Uint8Array[]>();
    const latency = () => this.#latency();
    return {
      read: async (partition, from, _bytesMax, signal) => {
        for (const value of lent.get(partition) ?? []) value.fill(0xdd);
        signal.throwIfAborted();
        const lane = this.lane(topic, partition);
        const refused = refusal(member, partition, signal);
        const reading = host.ask(() => this.#read(lane, from), latency);
        const batch = await Promise.race([reading, refused.promise]).finally(refused.forget);
        lent.set(
          partition,
          batch.records.map(({ value }) => value),
        );
        return batch;
      },
      commit: async (partition, next) => {
        if (topic !== 'samples') return;
        // There are many of them.
        if (world.chance(0.2)) this.#perhapsKill(host, 'before a commit');
        return host.ask(() => this.onCommit(partition, next), latency);
      },
      close: () =>
        host.ask(() => {
          member.isClosed = true;
          member.owned.clear();
          if (group !== undefined) this.rebalance();
        }, latency),
    };
  }

  async #read(lane: Lane, from: number): Promise<Batch> {
    const world = this.#world;
    if (world.chance(this.#faults().failing)) throw unavailable('read');
    for (;;) {
      const high = lane.records.length;
      if (from > high) throw new OperatingError('log_truncated', `Cannot read from ${from}`);
      const first = Math.max(from, lane.low);
      if (first < high) {
        // Mostly what is there, sometimes one, sometimes anything between.
        world.count('read');
        const most = [1, 1 + world.int(7), high - first][world.int(3)] as number;
        const next = Math.min(high, first + most);
        const records = lane.records
          .slice(first, next)
          .map((value, index) => ({ offset: first + index, value: value.slice() }));
        return { records, next, gap: first - from };
      }
      await new Promise<void>((wake) => lane.waiting.push(wake));
    }
  }

  #latency(): number {
    const world = this.#world;
    const isSlow = world.chance(this.#faults().slow);
    if (isSlow) world.count('slow');
    return isSlow ? world.between(200, 3000) : world.between(0, 20);
  }

  #perhapsKill(host: Host, where: string): void {
    if (this.#world.chance(this.#faults().killing)) host.kill(where);
  }
}

/** Rejects when the signal is aborted or the partition is found to be lost. */
function refusal(
  { refuse }: Member,
  partition: number,
  signal: AbortSignal,
): { promise: Promise<never>; forget: () => void } {
  let reject: (reason: unknown) => void = () => {};
  const promise = new Promise<never>((_resolve, refused) => {
    reject = refused;
  });
  promise.catch(() => {}); // the reader that races with it hears of it
  const abort = () => reject(signal.reason);
  signal.addEventListener('abort', abort);
  const text = `Partition ${partition} is another's`;
  refuse.set(partition, () => reject(new OperatingError('partition_lost', text)));
  return {
    promise,
    forget: () => {
      signal.removeEventListener('abort', abort);
      refuse.delete(partition);
    },
  };
}

function unavailable(what: string): OperatingError {
  return new OperatingError('log_unavailable', `The simulated log cannot ${what}`);
}
