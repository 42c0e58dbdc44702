// How a log is folded into the timeline: from where a stage reads on after a restart, and the stage that reads verdicts. A
// position is stored after what was read before it, so that a crash makes records come twice, which changes nothing.

import { fromBinary } from '@bufbuild/protobuf';
import type { FoldPosition } from '../gen/anomaly_pb.js';
import { type Verdict, VerdictSchema } from '../gen/verdict_pb.js';
import type { Logger } from '../http-server.js';
import { VERDICT_BYTES_MAX } from '../limits.js';
import type { Log, Topic } from '../log/log.js';
import type { Metrics } from '../metrics.js';
import type { Stage } from '../stage.js';
import { VERDICT_FOLD } from './archive.js';
import type { Timeline } from './timeline.js';

export type Positions = ReadonlyMap<number, FoldPosition>;

/** Offsets of another log mean nothing here, though what was folded from it stays true. */
export async function readOnFrom(
  log: Log,
  topic: Topic,
  { partition, positions }: { partition: number; positions: Positions },
): Promise<number> {
  const { low, high } = await log.bounds(topic, partition);
  const kept = positions.get(partition);
  const next = kept?.logId === log.id ? Number(kept.next) : low;
  return next > high ? low : next;
}

export interface VerdictStageParts {
  log: Log;
  metrics: Metrics;
  logger: Logger;
  timeline: Timeline;
  positions: Positions;
  /** Keeps what has changed in the timeline, and then how far it has been read. */
  keep: (key: string, next: number) => Promise<void>;
}

export function verdictStage(parts: VerdictStageParts): Stage {
  const { log, metrics, logger, timeline, positions, keep } = parts;
  return {
    topic: 'verdicts',
    restore: (partition) => readOnFrom(log, 'verdicts', { partition, positions }),
    apply: (partition, record, offset) => {
      const verdict = readVerdict(record);
      if (verdict !== undefined) {
        timeline.judge(verdict, { partition, offset });
        return;
      }
      const labels = { topic: 'verdicts', partition: String(partition) };
      metrics.unreadable.inc(labels);
      logger.error({ ...labels, offset }, 'A verdict cannot be read; it is left out');
    },
    onGap: (partition, records) => {
      metrics.gapRecords.inc({ topic: 'verdicts', partition: String(partition) }, records);
    },
    settle: async (partition, read) => {
      // One that was read before its candidate is read again.
      const next = timeline.anomalies.early.restartAt(partition, read);
      await keep(`${VERDICT_FOLD}${partition}`, next);
    },
  };
}

/** Whoever judges may be another program: an anomaly without a verdict is no reason to stop. */
function readVerdict(record: Uint8Array): Verdict | undefined {
  if (record.length > VERDICT_BYTES_MAX) return undefined;
  try {
    return fromBinary(VerdictSchema, record);
  } catch {
    // Not a Verdict.
    return undefined;
  }
}
