// One seed: senders, a receiver, a few scorer processes that share one log and one store, and faults until the last
// sample is acknowledged; then peace. Afterwards the accounts are made (the invariants I1 to I6 and I9 of this
// simulation are spelled out at each check), and the state must be the one of an uninterrupted run.

import { strict as assert } from 'node:assert';
import { fromBinary } from '@bufbuild/protobuf';
import { CandidateSchema } from '../src/gen/candidate_pb.js';
import { type Checkpoint, CheckpointSchema } from '../src/gen/checkpoint_pb.js';
import { SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import type { Logger } from '../src/http-server.js';
import { createMetrics, type Metrics } from '../src/metrics.js';
import type { Lineage } from '../src/scorer/checkpoint.js';
import { Scorer } from '../src/scorer/scorer.js';
import type { PartitionStatus } from '../src/scorer/scorer-parts.js';
import { WasmForest } from '../src/scorer/wasm-forest.js';
import { loadWasm } from '../src/wasm-files.js';
import { type LoadFaults, SimLoad } from './sim-load.js';
import { type LogFaults, SimLog } from './sim-log.js';
import { referenceOf, textOfCandidate } from './sim-reference.js';
import { SimStore, type StoreFaults } from './sim-store.js';
import { SIM_RULES } from './sim-words.js';
import { Host, World } from './sim-world.js';

export interface Profile extends LogFaults, StoreFaults, LoadFaults {
  /** Something happens to a process every so many ms of the world's time, on average. */
  troubleMs: number;
  troubles: readonly Trouble[];
}

export type Trouble = 'kill' | 'freeze' | 'expel' | 'rebalance' | 'clock' | 'outage' | 'leave';

export interface Outcome {
  happened: ReadonlyMap<string, number>;
  candidates: number;
  samples: number;
  simulatedMs: number;
  /** The same for every run of the same seed. */
  digest: string;
}

const PEACE: Omit<Profile, 'troubleMs' | 'troubles'> = {
  ...{ slow: 0, refused: 0, answerLost: 0, late: 0, failing: 0, killing: 0, lateWord: 0, flip: 0 },
  ...{ unanswered: 0, repeated: 0, poison: 0, control: 0 },
};
const { module } = loadWasm('forest');
const SERIES_MAX = 16;
const ENGINE = Buffer.alloc(32);
const counters = createMetrics('0');

interface Process {
  host: Host;
  scorer: Scorer;
  isLeaving: boolean;
}

interface Saved {
  partition: number;
  offset: number;
  hash: string;
  /** Candidates in the log when it was written. */
  candidates: number;
}

export class Simulation {
  readonly world: World;
  readonly log: SimLog;
  readonly store: SimStore;
  readonly load: SimLoad;
  #faults: Omit<Profile, 'troubleMs' | 'troubles'>;
  readonly #profile: Profile;
  readonly #processes: Process[] = [];
  readonly #saved: Saved[] = [];
  readonly #commits: { partition: number; next: number; candidates: number }[] = [];
  readonly #processCount: number;
  #isPeace = false;
  #started = 0;

  constructor(seed: number, profile: Profile) {
    const world = new World(seed);
    this.world = world;
    this.#profile = profile;
    this.#faults = profile;
    const partitions = 1 + world.int(3);
    this.#processCount = 1 + world.int(3);
    this.log = new SimLog(world, partitions, () => this.#faults);
    this.store = new SimStore(world, () => this.#faults);
    const receiver = new Host(world, 'receiver');
    this.load = new SimLoad(world, this.log.of(receiver), () => this.#faults);
    this.store.onPut = (key, value) => {
      if (key.endsWith('/manifest')) this.#onCheckpoint(fromBinary(CheckpointSchema, value));
    };
    this.log.onCommit = (partition, next) => {
      const candidates = this.log.lane('candidates', partition).records.length;
      this.#commits.push({ partition, next, candidates });
    };
  }

  async run(): Promise<Outcome> {
    const { world, load } = this;
    for (let i = 0; i < this.#processCount; i++) this.#startProcess();
    load.start(1 + world.int(2), { series: 5, ticks: 135, everyMs: 150 });
    this.#plan();
    await world.until(() => load.sendersLeft === 0, 3_600_000, 'every sample is acknowledged');
    await this.#makePeace();
    const rows = await this.#untilScored();
    const result = this.#check(rows);
    await this.#leaveAndComeBack(rows);
    return result;
  }

  #startProcess(): void {
    const { world, log, store } = this;
    const host = new Host(world, `scorer-${++this.#started}`);
    const logger: Logger = {
      ...{ debug() {}, info() {} },
      warn: (fields, message) => this.#logged(host, fields, message),
      error: (fields, message) => this.#logged(host, fields, message),
    };
    const scorer = new Scorer({
      ...{ log: log.of(host), store: store.of(host), logger, trim: log.trimOf(host) },
      ...{ engineId: ENGINE, clock: () => host.clock(), pace: host.pace },
      createForest: (seriesMax) => new WasmForest(module, { seriesMax, seed: 1 }),
      metrics: metricsOf(),
      settings: {
        ...{ seriesMax: SERIES_MAX, seed: 1, checkpointMs: 1000 + world.int(5000) },
        ...{ poison: 'quarantine', rules: SIM_RULES },
        gauges: { scores: 'flagged', lingerMs: 0 },
      },
    });
    const process = { host, scorer, isLeaving: false };
    this.#processes.push(process);
    world.note(`${host.name} starts`);
    const fail = (error: unknown) => {
      if (!host.isDead) world.failures.push(error);
    };
    scorer
      .start()
      .then(() => scorer.failed, fail)
      .catch(fail);
  }

  #logged(host: Host, fields: object, message: string): void {
    const { partition, offset, code } = fields as Record<string, unknown>;
    this.world.note(`${host.name} says: ${message} ${partition ?? ''} ${offset ?? code ?? ''}`);
    this.world.count(`said: ${message}`);
  }

  #living(): Process[] {
    return this.#processes.filter(({ host, isLeaving }) => !host.isDead && !isLeaving);
  }

  /** The next trouble, until there is peace. */
  #plan(): void {
    const { world } = this;
    const { troubleMs, troubles } = this.#profile;
    if (troubles.length === 0) return;
    world.after(world.between(0, 2 * troubleMs), () => {
      if (this.#isPeace) return;
      this.#trouble(troubles[world.int(troubles.length)] as Trouble);
      // Whoever died is started again, and the group finds out.
      if (this.#living().length < this.#processCount) {
        world.after(world.between(100, 3000), () => this.#replace());
      }
      this.#plan();
    });
  }

  #replace(): void {
    if (this.#living().length >= this.#processCount) return;
    this.#startProcess();
  }

  #trouble(trouble: Trouble): void {
    const { world, log } = this;
    const living = this.#living();
    const one = living[world.int(living.length)];
    if (one === undefined) return;
    world.count(trouble);
    if (trouble === 'kill') one.host.kill('at any instant');
    else if (trouble === 'rebalance') log.rebalance();
    else if (trouble === 'clock') one.host.skewMs += world.between(-86_400_000, 86_400_000);
    else if (trouble === 'leave') {
      one.isLeaving = true;
      world.note(`${one.host.name} leaves`);
      one.scorer.stop().catch((error: unknown) => world.failures.push(error));
    } else if (trouble === 'outage') {
      log.away.add('candidates');
      world.after(world.between(500, 10_000), () => log.away.delete('candidates'));
    } else {
      if (trouble === 'freeze') one.host.freeze(world.between(1000, 20_000));
      // Frozen or cut off from the group: it does not know that its partitions are given to others.
      if (trouble === 'expel') {
        log.expel(one.host);
        world.after(world.between(2000, 15_000), () => log.takeBack());
      }
      world.after(world.between(200, 2000), () => log.rebalance());
    }
  }

  async #makePeace(): Promise<void> {
    const { world, log } = this;
    this.#isPeace = true;
    this.#faults = PEACE;
    world.note('peace');
    log.away.clear();
    log.takeBack();
    for (const { host } of this.#processes) host.thaw();
    while (this.#living().length < this.#processCount) this.#startProcess();
    // Whatever was still on its way arrives: late appends, late words, thawing processes.
    await this.#pause(25_000);
    log.rebalance();
    await this.#pause(1000);
  }

  async #pause(ms: number): Promise<void> {
    let isOver = false;
    this.world.after(ms, () => {
      isOver = true;
    });
    await this.world.until(() => isOver, ms + 1, 'a pause');
  }

  /** I9: once the faults have ended, everything is scored within a minute. */
  async #untilScored(): Promise<PartitionStatus[]> {
    const { world, log } = this;
    const deadline = world.nowMs + 60_000;
    for (;;) {
      const rows = await this.#statuses();
      // I2 for control: whatever was said, in whatever order processes died, is in the state, or is on its way.
      const said = (partition: number) => log.lane('control', partition).records.length;
      const isDone =
        rows.length === log.partitions &&
        rows.every(({ lag, stateHash }) => lag === 0 && stateHash !== null) &&
        rows.every(({ partition, controlOffset }) => controlOffset === said(partition)) &&
        this.#living().every(({ scorer }) => scorer.unready() === undefined);
      if (isDone) return rows;
      const missing = this.#living().map(({ host, scorer }) => `${host.name}: ${scorer.unready()}`);
      const text = `${missing.join(', ')}; ${JSON.stringify(rows)}`;
      assert(world.nowMs < deadline, `Not scored within a minute: ${text}`);
      await this.#pause(200);
    }
  }

  async #statuses(): Promise<PartitionStatus[]> {
    const { world } = this;
    const all = this.#living().map(({ scorer }) => scorer.status(true));
    return (await world.done(Promise.all(all), 10_000, 'a status')).flat();
  }

  #onCheckpoint({ partition, offset, stateHash }: Checkpoint): void {
    const hash = Buffer.from(stateHash).toString('hex');
    const candidates = this.log.lane('candidates', partition).records.length;
    this.#saved.push({ partition, offset: Number(offset), hash, candidates });
    this.world.count('checkpoint');
    this.world.note(`checkpoint of ${partition} at ${offset}`);
  }

  #lineage(partition: number): Lineage {
    const { id: logId, partitions } = this.log;
    return { logId, partitions, partition, engineId: ENGINE, seed: 1 };
  }

  #check(rows: PartitionStatus[]): Outcome {
    const { world, log, load } = this;
    // I1 and I7: no acknowledged sample is missing; and each one sent has been acknowledged by now.
    assert.equal(load.acknowledged.size, load.sent.length, 'acknowledged samples');
    this.#checkOwners();
    let [applied, candidateCount] = [0, 0];
    let digest = '';
    for (let partition = 0; partition < log.partitions; partition++) {
      const row = rows.find((one) => one.partition === partition);
      assert(row !== undefined, `Nobody owns partition ${partition}`);
      const { records } = log.lane('samples', partition);
      assert.equal(row.offset, records.length, 'the end of the log');
      const saved = this.#saved.filter((one) => one.partition === partition);
      const reference = referenceOf(records, {
        createForest: (seriesMax) => new WasmForest(module, { seriesMax, seed: 1 }),
        seriesMax: SERIES_MAX,
        lineage: this.#lineage(partition),
        offsets: new Set([records.length, ...saved.map(({ offset }) => offset)]),
      });
      // I3: the state is that of an uninterrupted run, now and in every checkpoint that anybody ever wrote.
      assert.equal(row.stateHash, reference.hashes.get(records.length), 'the state');
      for (const { offset, hash } of saved) {
        assert.equal(hash, reference.hashes.get(offset), `the checkpoint at ${offset}`);
      }
      assert.deepEqual(row.outcomes, reference.counts);
      this.#checkControl(partition);
      this.#checkCandidates(partition, reference.candidates);
      applied += row.outcomes['applied'] ?? 0;
      assert.equal(row.outcomes['refused'], 0, 'every series was announced before its samples');
      candidateCount += reference.candidates.length;
      digest += `${row.stateHash} `;
    }
    // I2: every sample was applied exactly once, however often it was sent.
    assert.equal(applied, load.sent.length, 'applied samples');
    const { happened, nowMs } = world;
    digest += `${nowMs} ${[...happened].join(' ')}`;
    const samples = load.sent.length;
    return { happened, candidates: candidateCount, samples, simulatedMs: nowMs, digest };
  }

  /** I8: nobody holds on to a partition that is not its own any more. */
  #checkOwners(): void {
    for (const { host, scorer } of this.#living()) {
      for (const [partition] of scorer.partitions()) {
        assert.equal(
          this.log.ownerOf(partition),
          host,
          `${host.name} holds partition ${partition}`,
        );
      }
    }
  }

  /** Every control record was copied, and each first copy comes after the first copies of all before it. */
  #checkControl(partition: number): void {
    const firsts = new Set<number>();
    for (const record of this.log.lane('samples', partition).records) {
      // A copy comes alone: it begins with its section. So does none of the unreadable records.
      if (record[0] !== 0x42) continue;
      for (const { offset } of fromBinary(SampleBlockSchema, record).control) {
        firsts.add(Number(offset));
      }
    }
    const said = this.log.lane('control', partition).records.map((_, offset) => offset);
    assert.deepEqual([...firsts], said, 'copies of control records');
  }

  #checkCandidates(partition: number, wanted: readonly { offset: number; text: string }[]): void {
    const { records } = this.log.lane('candidates', partition);
    const texts = records.map((bytes) => textOfCandidate(fromBinary(CandidateSchema, bytes)));
    const firstAt = new Map<string, number>();
    for (const [index, text] of texts.entries()) if (!firstAt.has(text)) firstAt.set(text, index);
    // I4: without repetitions, the candidates are those of an uninterrupted run.
    assert.deepEqual([...firstAt.keys()].sort(), wanted.map(({ text }) => text).sort());
    // I6: what is behind a checkpoint, or a committed offset, had been written before.
    const marks = [
      ...this.#saved.map(({ offset, ...rest }) => ({ ...rest, next: offset })),
      ...this.#commits,
    ].filter((mark) => mark.partition === partition);
    for (const { offset, text } of wanted) {
      const index = firstAt.get(text) as number;
      for (const { next, candidates } of marks) {
        assert(next <= offset || index < candidates, `A candidate of ${offset} came after ${next}`);
      }
    }
  }

  /** A graceful end saves everything: the next process begins where the last has ended, with the same state. */
  async #leaveAndComeBack(rows: PartitionStatus[]): Promise<void> {
    const { world, log } = this;
    for (const process of this.#living()) {
      await world.done(process.scorer.stop(), 60_000, 'a graceful end');
      process.isLeaving = true;
      // The shares of the others may change with each that leaves: what moves is read again, and then saved as well.
      if (this.#living().length > 0) await this.#untilScored();
    }
    const before = world.happened.get('read') ?? 0;
    this.#startProcess();
    const again = await this.#untilScored();
    assert.equal(world.happened.get('read') ?? 0, before, 'nothing is replayed');
    const hashes = (all: PartitionStatus[]) =>
      all.map(({ partition, stateHash }) => `${partition} ${stateHash}`).sort();
    assert.deepEqual(hashes(again), hashes(rows));
    assert.equal(again.length, log.partitions);
    for (const { scorer } of this.#living()) await world.done(scorer.stop(), 60_000, 'the end');
  }
}

/** Counters are shared by all processes; what is read from a scorer is not asked for here. */
function metricsOf(): Metrics {
  return { ...counters, observe() {} };
}
