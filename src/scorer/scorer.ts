// Samples in, candidates out, for the partitions this process owns. Each partition is one forest, one dictionary, one
// checkpoint. A checkpoint is written only after every candidate that earlier records led to is durable, so a crash
// repeats outputs and never loses one.

import { create, toBinary } from '@bufbuild/protobuf';
import { CandidateSchema, Cause, Phase } from '../gen/candidate_pb.js';
import type { Logger } from '../http-server.js';
import type { Log } from '../log/log.js';
import type { Metrics, Reading } from '../metrics.js';
import { type Running, runStage } from '../stage.js';
import type { StateStore } from '../state/state-store.js';
import {
  type Lineage,
  listCheckpoints,
  restoreCheckpoint,
  stateHash,
  takeSnapshot,
  writeCheckpoint,
} from './checkpoint.js';
import { type GaugeSettings, Gauges } from './gauges.js';
import { OUTCOMES, Partition, type PhaseChange } from './partition.js';
import type { WasmForest } from './wasm-forest.js';

export interface ScorerParts {
  log: Log;
  store: StateStore;
  createForest: (seriesMax: number) => WasmForest;
  engineId: Uint8Array;
  metrics: Metrics;
  logger: Logger;
  clock: () => number;
  /** Deletes what retention no longer keeps; never called for records that no checkpoint covers. */
  trim: (partition: number, keepFrom: number) => Promise<void>;
  settings: {
    seriesMax: number;
    seed: number;
    checkpointMs: number;
    gauges: GaugeSettings;
  };
}

export interface PartitionStatus {
  partition: number;
  offset: number;
  high: number;
  lag: number;
  series: number;
  scored: number;
  streamTimeMs: number | null;
  stateHash: string | null;
  checkpoint: { offset: number; ageSeconds: number; stateHash: string } | null;
  outcomes: Record<string, number>;
}

interface Owned {
  index: number;
  partition: Partition;
  /** Candidates of the batch in work, not yet in the log. */
  outputs: Uint8Array[];
  /** Offset that the state stands at; undefined while a batch is in work, when state and outputs are ahead of it. */
  settled: number | undefined;
  saved?: { offset: number; at: number; hash: string };
  saving?: Promise<void>;
}

export class Scorer {
  readonly gauges: Gauges;
  readonly #parts: ScorerParts;
  readonly #owned = new Map<number, Owned>();
  #running: Running | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: ScorerParts) {
    this.#parts = parts;
    this.gauges = new Gauges(parts.settings.gauges, parts.clock);
    this.#observe();
  }

  async start(): Promise<void> {
    const { log, logger } = this.#parts;
    this.#running = await runStage(
      log,
      {
        topic: 'samples',
        restore: (partition) => this.#restore(partition),
        apply: (partition, record) => this.#apply(partition, record),
        onGap: (partition, records) => this.#onGap(partition, records),
        settle: (partition, next) => this.#settle(partition, next),
      },
      logger,
    );
    // A partition to which nothing is added any more is saved all the same.
    this.#timer = setInterval(() => {
      for (const owned of this.#owned.values()) this.#saveWhenDue(owned);
    }, this.#parts.settings.checkpointMs);
    this.#timer.unref();
  }

  get failed(): Promise<void> {
    return this.#running?.failed ?? Promise.resolve();
  }

  /** The batch in work is finished and everything is saved, so that the next start has nothing to replay. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#running?.stop();
    for (const owned of this.#owned.values()) {
      await owned.saving;
      const { settled, saved } = owned;
      if (settled !== undefined && settled !== saved?.offset) await this.#save(owned, settled);
    }
  }

  /** Undefined when ready, else what is missing. */
  unready(): string | undefined {
    const running = this.#running;
    if (running === undefined) return 'not started';
    const behind = Array.from({ length: this.#parts.log.partitions }, (_, index) => index).filter(
      (index) => !running.hasCaughtUp(index),
    );
    return behind.length === 0 ? undefined : `replaying partition ${behind.join(', ')}`;
  }

  partitions(): Iterable<[number, Partition]> {
    return [...this.#owned].map(
      ([index, { partition }]) => [index, partition] as [number, Partition],
    );
  }

  /** `withHash`: also of the state at `offset`, null while a batch is in work. It takes a copy of the state. */
  async status(withHash: boolean): Promise<PartitionStatus[]> {
    const { log, clock } = this.#parts;
    const rows: PartitionStatus[] = [];
    for (const owned of this.#owned.values()) {
      const { index, partition, saved, settled } = owned;
      const { high } = await log.bounds('samples', index);
      const offset = this.#running?.position(index) ?? 0;
      const isHashed = withHash && settled !== undefined;
      rows.push({
        partition: index,
        offset,
        high,
        lag: Math.max(0, high - offset),
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
                ageSeconds: (clock() - saved.at) / 1000,
                stateHash: saved.hash,
              },
        outcomes: { ...partition.counts },
      });
    }
    return rows.sort((a, b) => a.partition - b.partition);
  }

  #lineage(partition: number): Lineage {
    const { log, engineId, settings } = this.#parts;
    const { id: logId, partitions } = log;
    return { logId, partition, partitions, engineId, seed: settings.seed };
  }

  async #restore(index: number): Promise<number> {
    const { log, store, logger, clock, settings } = this.#parts;
    const partition = new Partition(
      this.#parts.createForest(settings.seriesMax),
      settings.seriesMax,
    );
    const { low, high } = await log.bounds('samples', index);
    const manifest = await restoreCheckpoint(store, partition, {
      lineage: this.#lineage(index),
      high,
      logger,
    });
    const owned: Owned = { index, partition, outputs: [], settled: undefined };
    if (manifest !== undefined) {
      const offset = Number(manifest.offset);
      owned.saved = { offset, at: clock(), hash: hex(manifest.stateHash) };
    }
    this.#owned.set(index, owned);
    this.gauges.adopt(index, partition);
    partition.listen({
      onPhase: (change) => this.#onPhase(owned, change),
      onOpened: (entry) => this.gauges.onOpened(index, entry),
      onRemoved: (entry) => this.gauges.onRemoved(index, entry),
    });
    const from = manifest === undefined ? 0 : Number(manifest.offset);
    owned.settled = from;
    const replay = high - Math.max(from, low);
    logger.info(
      { partition: index, from, replay, series: partition.slots.count },
      'Partition restored',
    );
    return from;
  }

  #apply(index: number, record: Uint8Array): void {
    const owned = this.#get(index);
    const { partition } = owned;
    owned.settled = undefined;
    partition.apply(record);
    const age = (this.#parts.clock() - partition.streamTimeMs) / 1000;
    // Only of live samples: weeks of history have no latency that anybody waits for.
    if (age >= 0 && age < 600) this.#parts.metrics.visibleSeconds.observe(age);
  }

  #onGap(index: number, records: number): void {
    const { logger, metrics } = this.#parts;
    this.#get(index).partition.gapRecords += records;
    metrics.gapRecords.inc({ topic: 'samples', partition: String(index) }, records);
    logger.error(
      { partition: index, records },
      'Retention deleted records before they were scored',
    );
  }

  #onPhase(owned: Owned, change: PhaseChange): void {
    const { metrics } = this.#parts;
    const { partition, index } = owned;
    this.gauges.onPhase(index, change);
    metrics.candidates.inc();
    if (change.phase === 'onset') metrics.anomalies.inc();
    const { entry, timestampMs, onsetMs, phase, cause, ...measures } = change;
    const candidate = create(CandidateSchema, {
      ...measures,
      tenant: partition.tenant(entry),
      fingerprint:
        (BigInt(partition.slots.highOf(entry)) << 32n) | BigInt(partition.slots.lowOf(entry)),
      timestampMs: BigInt(timestampMs),
      onsetMs: BigInt(onsetMs),
      phase: Phase[phase.toUpperCase() as keyof typeof Phase],
      cause:
        cause === 'none' ? Cause.UNSPECIFIED : Cause[cause.toUpperCase() as keyof typeof Cause],
      label: partition.labels(entry),
    });
    owned.outputs.push(toBinary(CandidateSchema, candidate));
  }

  /** May be called again after a failure: what was appended then is appended twice, and readers know it by its key. */
  async #settle(index: number, next: number): Promise<void> {
    const { log } = this.#parts;
    const owned = this.#get(index);
    await Promise.all(owned.outputs.map((output) => log.append('candidates', index, output, 0)));
    owned.outputs = [];
    owned.settled = next;
    this.#saveWhenDue(owned);
  }

  #saveWhenDue(owned: Owned): void {
    const { clock, settings } = this.#parts;
    const { settled, saved } = owned;
    if (settled === undefined || settled === saved?.offset || owned.saving !== undefined) return;
    if (saved !== undefined && clock() - saved.at < settings.checkpointMs) return;
    // Not awaited: the state is copied at once, and the next batch need not wait for the disk.
    owned.saving = this.#save(owned, settled).finally(() => {
      delete owned.saving;
    });
  }

  /** Never rejects: without a checkpoint the next start replays more, and nothing is lost. */
  async #save(owned: Owned, offset: number): Promise<void> {
    const { store, clock, logger, metrics, trim } = this.#parts;
    const snapshot = takeSnapshot(owned.partition, this.#lineage(owned.index), offset);
    try {
      await writeCheckpoint(store, snapshot);
      owned.saved = { offset, at: clock(), hash: hex(snapshot.manifest.stateHash) };
      // The log must reach back to the oldest checkpoint that may have to be fallen back to.
      const oldest = (await listCheckpoints(store, owned.index)).at(-1) ?? 0;
      await trim(owned.index, oldest);
    } catch (error) {
      metrics.checkpointFailures.inc();
      const fields = { partition: owned.index, offset, err: error as Error };
      logger.error(fields, 'Checkpoint failed; the next one is tried at the next interval');
    }
  }

  #get(index: number): Owned {
    const owned = this.#owned.get(index);
    if (owned === undefined) throw new RangeError(`Partition ${index} is not ours`);
    return owned;
  }

  #observe(): void {
    const { metrics, clock, settings } = this.#parts;
    const perPartition = (value: (owned: Owned) => number | undefined) => (): Reading[] =>
      [...this.#owned.values()].flatMap((owned) => {
        const reading = value(owned);
        return reading === undefined
          ? []
          : [{ labels: { partition: String(owned.index) }, value: reading }];
      });
    const labels = ['partition'];
    metrics.observe(
      'counter',
      {
        name: 'treeline_samples_total',
        help: 'Logged samples by what became of them; part of the learnt state, so they survive a restart',
        labels: ['partition', 'outcome'],
      },
      () =>
        [...this.#owned.values()].flatMap(({ index, partition }) =>
          OUTCOMES.map((outcome) => ({
            labels: { partition: String(index), outcome },
            value: partition.counts[outcome],
          })),
        ),
    );
    metrics.observe(
      'gauge',
      { name: 'treeline_partition_lag_records', help: 'Records logged and not yet scored', labels },
      async () => {
        const readings: Reading[] = [];
        for (const { index } of this.#owned.values()) {
          const lag = await this.#running?.lag(index);
          if (lag !== undefined)
            readings.push({ labels: { partition: String(index) }, value: lag });
        }
        return readings;
      },
    );
    metrics.observe(
      'gauge',
      { name: 'treeline_checkpoint_age_seconds', help: 'Since the newest checkpoint', labels },
      perPartition(({ settled, saved }) => {
        if (saved === undefined) return undefined;
        // A partition to which nothing has been added needs no newer one.
        return saved.offset === settled ? 0 : (clock() - saved.at) / 1000;
      }),
    );
    metrics.observe(
      'gauge',
      { name: 'treeline_series', help: 'Series known, by state', labels: ['state'] },
      () => {
        let [scored, known] = [0, 0];
        for (const { partition } of this.#owned.values()) {
          scored += partition.slots.scored;
          known += partition.slots.count;
        }
        return [
          { labels: { state: 'scored' }, value: scored },
          { labels: { state: 'unscored' }, value: known - scored },
        ];
      },
    );
    metrics.observe(
      'gauge',
      { name: 'treeline_series_limit', help: 'Series scored per partition at most' },
      () => [{ labels: {}, value: settings.seriesMax }],
    );
    metrics.observe(
      'gauge',
      {
        name: 'treeline_gauges_hidden',
        help: 'Series left without anomaly gauges because there are too many',
      },
      () => [{ labels: {}, value: this.gauges.hidden }],
    );
    metrics.observe(
      'gauge',
      { name: 'treeline_series_bytes', help: 'Bytes held per scored series, labels included' },
      () => {
        let [bytes, scored] = [0, 0];
        for (const { partition } of this.#owned.values()) {
          const { slots, forest } = partition;
          bytes += slots.bytes + slots.slotEnd * forest.recordBytes;
          scored += slots.scored;
        }
        return scored === 0 ? [] : [{ labels: {}, value: bytes / scored }];
      },
    );
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
