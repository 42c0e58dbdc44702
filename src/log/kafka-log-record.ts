// The log's record of itself (proto/log.proto): written and read in partition 0 of the control topic, where messages with
// the key "log" are its own and no reader of the topic sees them. Which log is in force follows from their order alone,
// so everybody who reads them says the same, whoever else is writing.

import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { OperatingError } from '../errors.js';
import { type LogRecord, LogRecordSchema } from '../gen/log_pb.js';
import { KAFKA_REPLICATION_MS_MAX } from '../limits.js';
import type { KafkaClient } from './kafka-client.js';
import { readToEnd } from './kafka-read.js';

export const LOG_RECORD_KEY = 'log';

export interface PlacedLogRecord {
  offset: number;
  record: LogRecord;
}

export async function readLogRecords(
  client: KafkaClient,
  controlTopic: string,
): Promise<PlacedLogRecord[]> {
  const placed: PlacedLogRecord[] = [];
  await readToEnd(client, { topic: controlTopic, partition: 0 }, ({ key, value, offset }) => {
    if (key?.toString() !== LOG_RECORD_KEY || value === null) return;
    placed.push({ offset: Number(offset), record: fromBinary(LogRecordSchema, value) });
  });
  return placed;
}

/**
 * The first that is not `creating` behind the last one that is. Undefined while a log is being created, and before there
 * is any.
 */
export function logInForce(records: readonly PlacedLogRecord[]): PlacedLogRecord | undefined {
  const lastCreating = records.findLastIndex(({ record }) => record.creating);
  return records[lastCreating + 1];
}

export async function writeLogRecord(
  client: KafkaClient,
  controlTopic: string,
  record: MessageInitShape<typeof LogRecordSchema>,
): Promise<void> {
  const producer = client.producer();
  await producer.connect();
  try {
    const value = toBinary(LogRecordSchema, create(LogRecordSchema, record));
    const [answer] = await producer.send({
      topic: controlTopic,
      acks: -1,
      timeout: KAFKA_REPLICATION_MS_MAX,
      messages: [{ partition: 0, key: LOG_RECORD_KEY, value: Buffer.from(value) }],
    });
    if (answer?.partition !== 0 || answer.errorCode !== 0 || answer.baseOffset === undefined) {
      throw new OperatingError('log_unavailable', `${controlTopic} did not take the log's record`);
    }
  } finally {
    await producer.disconnect();
  }
}
