// Samples in, candidates out, for the partitions this process owns. Each partition is one forest, one dictionary, one
// checkpoint. A checkpoint is written only after every candidate that earlier records led to is durable, so a crash
// repeats outputs and never loses one. Partitions come and go: one that is lost is forgotten whole, with its memory, its
// gauges and its metrics.

import { OperatingError } from '../errors.js';
import type { Window } from '../gen/candidate_pb.js';
import { BATCH_WINDOWS_MAX } from '../limits.js';
import { HISTORY_SILENCE_MS } from '../limits-history.js';
import { type Pace, REAL_PACE } from '../pace.js';
import { type Running, runStage, type Stage } from '../stage.js';
import { encodeCandidate, windowOf } from './candidate.js';
import { type Lineage, listCheckpoints, stateHash, takeSnapshot } from './checkpoint.js';
import { createControlTail } from './control-tail.js';
import { Gauges } from './gauges.js';
import { HeritageCarrier } from './heritage-carrier.js';
import { HistoryReader } from './history.js';
import { type Loaded, type LoadParts, loadPartition } from './load.js';
import type { NoiseRule } from './noise-rules.js';
import type { Partition } from './partition.js';
import type { PhaseChange } from './phase-change.js';
import { type Owned, Saver } from './saver.js';
import { observeOverlay, observeScorer } from './scorer-metrics.js';
import type { PartitionStatus, ScorerParts } from './scorer-parts.js';
import type { TopicTail } from './topic-tail.js';
import { VerdictOverlay } from './verdict-overlay.js';

/** All scorers of one installation share the partitions out among themselves under this name. */
export const SCORER_GROUP = 'scorer';

export class Scorer {
  readonly gauges: Gauges;
  /** Absent where nothing checks a second time. */
  readonly overlay: VerdictOverlay | undefined;
  /** Absent without detectors. */
  readonly heritage: HeritageCarrier | undefined;
  readonly #parts: ScorerParts;
  readonly #pace: Pace;
  readonly #owned = new Map<number, Owned>();
  readonly #saver: Saver;
  readonly #control: TopicTail;
  readonly #history: HistoryReader;
  #rules: readonly NoiseRule[];
  #starting: Promise<Running> | undefined;
  #running: Running | undefined;
  #stopTimer: () => void = () => {};

  constructor(parts: ScorerParts) {
    const { store, metrics, logger, clock, trim, settings } = parts;
    this.#parts = parts;
    this.#pace = parts.pace ?? REAL_PACE;
    this.#rules = settings.rules ?? [];
    const tail = { log: parts.log, logger, metrics, pace: this.#pace };
    const { verdictWaitMs: waitMs } = settings;
    this.overlay =
      waitMs === undefined ? undefined : new VerdictOverlay({ ...tail, clock, waitMs });
    this.gauges = new Gauges(settings.gauges, clock, this.overlay);
    this.#saver = new Saver({
      ...{ store, metrics, logger, clock, trim },
      lineage: (partition) => this.#lineage(partition),
      owned: () => this.#owned.values(),
      intervalMs: settings.checkpointMs,
    });
    this.#control = createControlTail(tail);
    this.heritage =
      parts.detectors === undefined ? undefined : new HeritageCarrier(parts.log, clock);
    this.#history = new HistoryReader({
      ...tail,
      settings: settings.history ?? { isExpected: false, silenceMs: HISTORY_SILENCE_MS },
      settle: (partition, next) => this.#settle(partition, next),
    });
    observeScorer(metrics, {
      clock,
      owned: () => this.#owned.values(),
      lag: async (partition) => this.#running?.lag(partition),
      standstills: () => this.#running?.standstills() ?? [],
      seriesMax: settings.seriesMax,
      gauges: this.gauges,
    });
    if (this.overlay !== undefined) observeOverlay(metrics, this.overlay);
  }

  async start(): Promise<void> {
    const { log, logger, settings } = this.#parts;
    // A partition to which nothing is added any more is saved all the same.
    this.#stopTimer = this.#pace.every(settings.checkpointMs, () => this.#saver.saveWhenDue());
    this.#starting = runStage(log, this.#stage(), logger);
    const following = Promise.all([this.#control.start(), this.overlay?.start()]);
    this.#running = await this.#starting;
    await following;
  }

  get failed(): Promise<void> {
    if (this.#running === undefined) return Promise.resolve();
    const failures = [this.#running.failed, this.#control.failed];
    if (this.overlay !== undefined) failures.push(this.overlay.failed);
    if (this.heritage !== undefined) failures.push(this.heritage.failed);
    return Promise.race(failures);
  }

  /**
   * The batches in work are finished and everything is saved, so that the next start, or the next owner, has nothing to
   * replay; only then are the partitions given back.
   */
  async stop(): Promise<void> {
    this.#stopTimer();
    await Promise.all([this.#control.stop(), this.overlay?.stop()]);
    // It may be told to stop before it has started; why it could not start, whoever started it has heard.
    const running = await this.#starting?.catch(() => undefined);
    await running?.stop();
    await this.heritage?.stop();
  }

  /** Undefined when ready, else what is missing. A process that owns no partition is ready. */
  unready(): string | undefined {
    const running = this.#running;
    if (running === undefined) return 'not started';
    if (!running.isShared()) return 'waiting for its share of the partitions';
    const stopped = running
      .standstills()
      .map(({ partition, offset }) => `${partition} at ${offset}`);
    if (stopped.length > 0) {
      return `partition ${stopped.join(', ')} stands still: a record cannot be read; see log.poison`;
    }
    const history = this.#history.unready();
    if (history !== undefined) return history;
    const behind = running.owned().filter((index) => !running.hasCaughtUp(index));
    return behind.length === 0 ? undefined : `replaying partition ${behind.join(', ')}`;
  }

  /** What a person should know although it is ready. */
  note(): string | undefined {
    return this.#running?.owned().length === 0 ? 'owns no partition' : undefined;
  }

  /** From now on; series that are known follow them within seconds. */
  useRules(rules: readonly NoiseRule[]): void {
    this.#rules = rules;
    for (const { partition } of this.#owned.values()) void partition.noise.change(rules);
  }

  partitions(): Iterable<[number, Partition]> {
    return [...this.#owned].map(([index, { partition }]) => [index, partition]);
  }

  /** Those of which all is read that was logged when we got them: what they do not know, there is not. */
  knownPartitions(): number[] {
    const running = this.#running;
    return [...this.#owned.keys()].filter((index) => running?.hasCaughtUp(index) ?? false);
  }

  /** `withHash`: also of the state at `offset`, null while a batch is in work. It takes a copy of the state. */
  async status(withHash: boolean): Promise<PartitionStatus[]> {
    const { clock } = this.#parts;
    const rows: PartitionStatus[] = [];
    const standstills = this.#running?.standstills() ?? [];
    for (const owned of [...this.#owned.values()]) {
      const { index, partition } = owned;
      const lag = (await this.#running?.lag(index)) ?? null;
      const offset = this.#running?.position(index) ?? 0;
      const { saved, settled } = owned;
      const standstill = standstills.find(({ partition }) => partition === index);
      const isHashed = withHash && settled !== undefined;
      rows.push({
        partition: index,
        offset,
        high: lag === null ? null : offset + lag,
        lag,
        series: partition.slots.count,
        scored: partition.slots.scored,
        streamTimeMs: Number.isFinite(partition.streamTimeMs) ? partition.streamTimeMs : null,
        stateHash: isHashed
          ? hex(stateHash(takeSnapshot(partition, this.#lineage(index), settled)))
          : null,
        checkpoint:
          saved === undefined
            ? null
            : {
                offset: saved.offset,
                ageSeconds: Math.max(0, clock() - saved.at) / 1000,
                stateHash: saved.hash,
              },
        outcomes: { ...partition.counts },
        controlOffset: partition.control.next,
        ...(standstill !== undefined && {
          stopped: { offset: standstill.offset, reason: standstill.reason },
        }),
      });
    }
    return rows.sort((a, b) => a.partition - b.partition);
  }

  #lineage(partition: number): Lineage {
    const { log, engineId, settings } = this.#parts;
    const { id: logId, partitions } = log;
    return { logId, partition, partitions, engineId, seed: settings.seed };
  }

  #stage(): Stage {
    const { logger, metrics } = this.#parts;
    return {
      topic: 'samples',
      group: SCORER_GROUP,
      pace: this.#pace,
      restore: (partition, signal) => this.#restore(partition, signal),
      apply: (partition, record, offset) => this.#apply(partition, record, offset),
      resume: (partition, from) => this.#resume(partition, from),
      onGap: (partition, records) => this.#onGap(partition, records),
      onTruncated: (partition, from) => {
        metrics.truncations.inc({ topic: 'samples', partition: String(partition) });
        logger.error(
          { partition, from },
          'The log ends before what was scored: it was cut off; going back to an older checkpoint',
        );
      },
      settle: (partition, next) => this.#settle(partition, next),
      drop: (partition) => {
        this.#forget(partition);
        logger.info({ partition }, 'Partition given up');
      },
      onShared: (partitions) => {
        if (partitions.length === 0) logger.info({}, 'No partition is left for this process');
      },
      leave: () => this.#saver.saveAll(),
    };
  }

  async #restore(index: number, signal: AbortSignal): Promise<number> {
    this.#forget(index);
    const loaded = await loadPartition(this.#loadParts(), this.#lineage(index), signal);
    // Whoever aborted does not want to know the offset.
    if (loaded === undefined) return 0;
    const from = this.#adopt(index, loaded);
    if (loaded.isCold) await this.#history.follow(this.#get(index), signal);
    return from;
  }

  /** Somebody else went on while we could not: what retention has deleted since may be part of what it saved. */
  async #resume(index: number, from: number): Promise<number | undefined> {
    const newest = (await listCheckpoints(this.#parts.store, index))[0];
    if (newest === undefined || newest <= from) return undefined;
    const { signal } = new AbortController();
    const loaded = await loadPartition(this.#loadParts(), this.#lineage(index), signal);
    if (loaded === undefined || loaded.from <= from) return undefined;
    this.#parts.logger.warn(
      { partition: index, from, resumed: loaded.from },
      'Retention went past us; what another owner has saved since is taken instead',
    );
    this.#forget(index);
    return this.#adopt(index, loaded);
  }

  #loadParts(): LoadParts {
    const { log, store, createForest, metrics, logger, settings, detectors } = this.#parts;
    const { seriesMax } = settings;
    const parts = { log, store, createForest, metrics, logger, pace: this.#pace, seriesMax };
    return detectors === undefined ? parts : { ...parts, detectors };
  }

  #adopt(index: number, { partition, from, hash, low, high }: Loaded): number {
    const { clock, logger } = this.#parts;
    const settled = partition.history.isReading ? partition.history.next : from;
    const owned: Owned = { index, partition, outputs: [], windowCount: 0, settled };
    if (hash !== undefined) {
      owned.saved = { offset: settled, at: clock(), hash };
      owned.triedAt = clock();
    }
    this.#owned.set(index, owned);
    this.overlay?.own(index, partition);
    this.heritage?.own(index, partition);
    partition.noise.begin(this.#rules);
    this.gauges.adopt(index, partition);
    this.#control.own(index, () =>
      this.#running?.hasCaughtUp(index) ? partition.control.next : undefined,
    );
    partition.listen({
      onPhase: (change) => this.#onPhase(owned, change),
      onOpened: (entry) => this.gauges.onOpened(index, entry),
      onRemoved: (entry) => this.gauges.onRemoved(index, entry),
    });
    logger.info(
      { partition: index, from, replay: high - Math.max(from, low), series: partition.slots.count },
      'Partition restored',
    );
    return from;
  }

  #forget(index: number): void {
    if (!this.#owned.delete(index)) return;
    this.gauges.drop(index);
    this.#control.disown(index);
    this.overlay?.disown(index);
  }

  #apply(index: number, record: Uint8Array, offset: number): void {
    const { clock, logger, metrics, settings } = this.#parts;
    const owned = this.#get(index);
    const { partition } = owned;
    owned.settled = undefined;
    try {
      partition.apply(record);
    } catch (error) {
      // A record that cannot be read has changed nothing. Whatever else it throws is our fault, and ends the process.
      const isUnreadable = error instanceof OperatingError && error.code === 'record_unreadable';
      if (!isUnreadable || settings.poison !== 'quarantine') throw error;
      metrics.unreadable.inc({ topic: 'samples', partition: String(index) });
      logger.error(
        { partition: index, offset, err: error },
        'A record cannot be read; it is left out',
      );
      return;
    }
    const age = (clock() - partition.streamTimeMs) / 1000;
    // Only of live samples: weeks of history have no latency that anybody waits for.
    if (age >= 0 && age < 600) metrics.visibleSeconds.observe(age);
  }

  #onGap(index: number, records: number): void {
    const { logger, metrics } = this.#parts;
    const owned = this.#get(index);
    // The count is part of the state, which is therefore ahead of its offset until the batch is settled.
    owned.settled = undefined;
    owned.partition.gapRecords += records;
    metrics.gapRecords.inc({ topic: 'samples', partition: String(index) }, records);
    logger.error(
      { partition: index, records },
      'Retention deleted records before they were scored',
    );
  }

  #onPhase(owned: Owned, change: PhaseChange): void {
    const { metrics } = this.#parts;
    const { partition, index } = owned;
    this.overlay?.onPhase(index, change);
    this.gauges.onPhase(index, change);
    metrics.candidates.inc();
    if (change.phase === 'onset') metrics.anomalies.inc();
    const window = change.phase === 'onset' ? this.#windowOf(owned, change) : undefined;
    owned.outputs.push(encodeCandidate(partition, change, window));
  }

  /** So many in one batch at most: half the series of a partition may begin an anomaly in the same second. */
  #windowOf(owned: Owned, change: PhaseChange): Window | undefined {
    if (owned.partition.forest.windows === undefined) return undefined;
    if (owned.windowCount >= BATCH_WINDOWS_MAX) {
      this.#parts.metrics.windowsLeftOut.inc();
      return undefined;
    }
    owned.windowCount++;
    return windowOf(owned.partition, change);
  }

  /** May be called again after a failure: what was appended then is appended twice, and readers know it by its key. */
  async #settle(index: number, next: number): Promise<void> {
    const { log } = this.#parts;
    const owned = this.#get(index);
    await Promise.all(owned.outputs.map((output) => log.append('candidates', index, output, 0)));
    owned.outputs = [];
    owned.windowCount = 0;
    owned.settled = next;
    this.heritage?.send();
    this.#saver.saveWhenDue();
  }

  #get(index: number): Owned {
    const owned = this.#owned.get(index);
    if (owned === undefined) throw new RangeError(`Partition ${index} is not ours`);
    return owned;
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
