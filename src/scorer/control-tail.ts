// Follows the control log of the partitions that this process scores, and appends a copy of each record to the samples log
// of the same partition, from which it reaches the state. Nothing is applied here. Copies go in order, each until it is
// durable; what a crash or a second owner makes them come twice, the state drops.

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ControlSchema } from '../gen/control_pb.js';
import { SampleBlockSchema } from '../gen/sample_block_pb.js';
import { CONTROL_BYTES_MAX } from '../limits.js';
import { type TailParts, TopicTail } from './topic-tail.js';

/**
 * A partition is owned from the offset below which its state knows the control records; undefined while it is replayed,
 * when copies that it will meet would be made again.
 */
export function createControlTail(parts: TailParts): TopicTail {
  const { log, metrics, logger } = parts;
  return new TopicTail(parts, 'control', async (partition, { offset, value }) => {
    if (value.length > CONTROL_BYTES_MAX) {
      const labels = { topic: 'control', partition: String(partition) };
      metrics.unreadable.inc(labels);
      logger.error({ ...labels, offset }, 'A control record is too large; it is left out');
      return;
    }
    if (isForReceivers(value)) return;
    await log.append('samples', partition, copyOf(offset, value), 0);
  });
}

function copyOf(offset: number, record: Uint8Array): Uint8Array {
  const copy = create(SampleBlockSchema, { control: [{ offset: BigInt(offset), record }] });
  return toBinary(SampleBlockSchema, copy);
}

/** Types reach the state by the announcements of receivers. */
function isForReceivers(value: Uint8Array): boolean {
  try {
    return fromBinary(ControlSchema, value).what.case === 'types';
  } catch {
    // Whoever applies its copy says that it cannot be read.
    return false;
  }
}
