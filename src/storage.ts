// Where the log and what was learnt lie. Embedded: one lmdb environment in the data directory holds both. On Kafka: the
// topics hold the log; what was learnt lies on this process's volume (`dataDir`) or in a compacted topic, and a process
// that learns nothing keeps nothing.

import { durationMs, type Settings, sizeBytes } from './config.js';
import { hasRedis } from './config-outputs.js';
import { type DataDir, openDataDir } from './data-dir.js';
import type { Check } from './health.js';
import type { Logger } from './http-server.js';
import type { KafkaCounters } from './log/kafka-counters.js';
import { openLmdbLog } from './log/lmdb-log.js';
import type { Log } from './log/log.js';
import type { Metrics } from './metrics.js';
import { openLmdbStore } from './state/lmdb-store.js';
import type { StateStore } from './state/state-store.js';

const CANDIDATE_RETENTION = { bytesMax: 256e6, ageMsMax: 30 * 864e5 };

export interface Storage {
  log: Log;
  /** For checkpoints. Absent when this process learns nothing. */
  checkpoints?: StateStore;
  /** For small things of this process that must survive its restart. Absent when it has no volume. */
  own?: StateStore;
  /** Deletes what retention no longer keeps, except what a restart from these offsets reads again. */
  trim(partition: number, keepFrom: number, historyFrom: number): Promise<void>;
  checks: Check[];
  /** Scorers that are at work on this log now; on an embedded one there can be no other. */
  scorersAtWork(): Promise<number>;
  /** Rejects when nothing can be written any more. */
  failed: Promise<void>;
  close(): Promise<void>;
}

export interface Around {
  logger: Logger;
  clock: () => number;
  metrics: Metrics;
  /** Told what is waited for, again and again, while the log is away at the start. */
  onWait?: (reason: string) => void;
  /** Ends that waiting. */
  signal?: AbortSignal;
}

/** Rejects with an OperatingError that names cause and fix; then nothing is left open. */
export async function openStorage(settings: Settings, around: Around): Promise<Storage> {
  return settings.log.kind === 'kafka'
    ? openOnKafka(settings, around)
    : openEmbedded(settings, around);
}

async function openEmbedded(settings: Settings, around: Around): Promise<Storage> {
  const dir = await openVolume(settings, around);
  try {
    const kept = {
      bytesMax: sizeBytes(settings.log.retentionSize),
      ageMsMax: durationMs(settings.log.retentionAge),
    };
    const log = await openLmdbLog(dir, {
      partitions: settings.log.partitions,
      retention: {
        samples: kept,
        backfill: kept,
        candidates: CANDIDATE_RETENTION,
        verdicts: CANDIDATE_RETENTION,
      },
      clock: around.clock,
    });
    const store = openLmdbStore(dir);
    return {
      log,
      checkpoints: store,
      own: store,
      checks: [],
      scorersAtWork: async () => 0,
      failed: dir.failed,
      async trim(partition, keepFrom, historyFrom) {
        await log.trim('backfill', partition, historyFrom);
        const { passed } = await log.trim('samples', partition, keepFrom);
        // Candidates and verdicts are read from wherever they begin: only retention says how many are kept.
        for (const topic of ['candidates', 'verdicts'] as const) {
          await log.trim(topic, partition, (await log.bounds(topic, partition)).high);
        }
        if (passed === 0) return;
        const fields = { partition, passed };
        around.logger.error(fields, 'Retention passed the checkpoint; raise log.retentionSize');
      },
      async close() {
        await log.close();
        await dir.close();
      },
    };
  } catch (error) {
    await dir.close();
    throw error;
  }
}

async function openVolume(settings: Settings, { metrics }: Around): Promise<DataDir> {
  const dir = await openDataDir(settings.dataDir);
  metrics.observe(
    'gauge',
    { name: 'treeline_disk_free_bytes', help: 'Free bytes where the data directory lies' },
    async () => [{ labels: {}, value: await dir.freeBytes() }],
  );
  return dir;
}

async function openOnKafka(settings: Settings, around: Around): Promise<Storage> {
  const { logger, clock, metrics, onWait, signal } = around;
  const { kafkaConnection, kafkaLogSettings } = await import('./kafka-settings.js');
  const { openKafkaLog } = await import('./log/kafka-log.js');
  const { SCORER_GROUP } = await import('./scorer/scorer.js');
  const closing: (() => Promise<void>)[] = [];
  const close = async () => {
    for (const step of closing.reverse()) await step();
  };
  try {
    const log = await openKafkaLog(kafkaLogSettings(settings), {
      logger,
      clock,
      ...(onWait !== undefined && { onWaiting: onWait }),
      ...(signal !== undefined && { signal }),
    });
    closing.push(() => log.close());
    observeTroubles(metrics, log.counters);
    const checks: Check[] = [{ name: 'log', missing: () => log.unready() }];
    const inTopic = settings.checkpoint.store === 'topic';
    const learns = settings.roles.includes('scorer');
    let checkpoints: StateStore | undefined;
    if (learns && inTopic) {
      const { openKafka } = await import('./log/kafka-client.js');
      const { openKafkaStore } = await import('./state/kafka-store.js');
      const { prefix, partitions, kafka } = settings.log;
      const client = openKafka(kafkaConnection(settings), logger);
      const topic = { prefix, partitions, replication: kafka.replication };
      const store = await openKafkaStore(client, topic);
      closing.push(() => store.close());
      checks.push({ name: 'checkpoints', missing: () => store.unready() });
      metrics.observe(
        'counter',
        {
          name: 'treeline_checkpoint_topic_retries_total',
          help: 'Calls of the checkpoint topic that failed and were tried again',
        },
        () => [{ labels: {}, value: store.retries }],
      );
      checkpoints = store;
    }
    // What is learnt on a volume, and what an api keeps that has its store to itself.
    const isVolumeNeeded =
      (learns && !inTopic) || (settings.roles.includes('api') && !hasRedis(settings.redis));
    const dir = isVolumeNeeded ? await openVolume(settings, around) : undefined;
    if (dir !== undefined) closing.push(() => dir.close());
    const own = dir === undefined ? undefined : openLmdbStore(dir);
    checkpoints ??= learns ? own : undefined;
    return {
      log,
      ...(checkpoints !== undefined && { checkpoints }),
      ...(own !== undefined && { own }),
      checks,
      scorersAtWork: () => log.membersOf(SCORER_GROUP),
      failed: dir?.failed ?? new Promise<void>(() => {}),
      // The brokers delete what is older than log.retentionAge, read or not.
      trim: async () => {},
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function observeTroubles(metrics: Metrics, counters: KafkaCounters): void {
  const kinds: [kind: string, key: keyof KafkaCounters][] = [
    ['append_failed', 'appendsFailed'],
    ['append_repeated', 'appendsRepeated'],
    ['append_late', 'appendsLate'],
    ['rejoin', 'rejoins'],
    ['crash', 'crashes'],
    ['commit_refused', 'offsetsRefused'],
    ['fetch_failed', 'fetchesFailed'],
    ['foreign_record', 'foreignRecords'],
  ];
  metrics.observe(
    'counter',
    {
      name: 'treeline_kafka_troubles_total',
      help: 'What went wrong with Kafka and was mended, or refused',
      labels: ['kind'],
    },
    () => kinds.map(([kind, key]) => ({ labels: { kind }, value: counters[key] })),
  );
}
