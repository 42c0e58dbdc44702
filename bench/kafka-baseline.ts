// The plain way from remote-write to Kafka, as adapters go it: decode into objects, one JSON message a sample with its
// labels, acknowledged by all replicas. A process of its own, so that its CPU is counted alone.

import { fromBinary } from '@bufbuild/protobuf';
import { compressSync, uncompressSync } from 'snappy';
import { WriteRequestSchema } from '../src/gen/remote_write_v1_pb.js';
import { openKafka } from '../src/log/kafka-client.js';
import { templateOf, writeStep } from './load-bodies.js';

export interface BaselineOrder {
  brokers: string[];
  bodies: number;
}

export interface BaselineReport {
  samples: number;
  cpuSeconds: number;
}

const TOPIC = 'baseline';
const SERIES_PER_BODY = 2_000;
const PARTITIONS = 8;
const FIRST_MS = Date.UTC(2026, 0, 5);
const silent = { debug() {}, info() {}, warn() {}, error() {} };

async function run({ brokers, bodies }: BaselineOrder): Promise<BaselineReport> {
  const client = openKafka({ brokers }, silent);
  const admin = client.admin();
  await admin.connect();
  const topics = [{ topic: TOPIC, numPartitions: PARTITIONS, replicationFactor: 1 }];
  await admin.createTopics({ topics, waitForLeaders: false });
  await admin.disconnect();
  const producer = client.producer();
  await producer.connect();
  const template = templateOf(0, SERIES_PER_BODY);
  const requests = Array.from({ length: bodies }, (_, at) => {
    writeStep(template, { first: 0, at, ms: FIRST_MS + at * 15_000 });
    return compressSync(template.message);
  });
  const before = process.cpuUsage();
  let samples = 0;
  for (const [index, body] of requests.entries()) {
    const request = fromBinary(WriteRequestSchema, uncompressSync(body) as Buffer);
    const messages = request.timeseries.flatMap(({ labels, samples: points }) => {
      const named = Object.fromEntries(labels.map(({ name, value }) => [name, value]));
      const key = labels.map(({ name, value }) => `${name}=${value}`).join(',');
      return points.map(({ timestamp, value }) => ({
        key,
        value: JSON.stringify({
          timestamp: new Date(Number(timestamp)).toISOString(),
          value: String(value),
          name: named['__name__'],
          labels: named,
        }),
      }));
    });
    for (let tries = 0; ; tries++) {
      try {
        await producer.send({ topic: TOPIC, acks: -1, messages });
        break;
      } catch (error) {
        // The leaders of a new topic take a moment to be known.
        if (index > 0 || tries > 50) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
    samples += messages.length;
  }
  const { user, system } = process.cpuUsage(before);
  await producer.disconnect();
  return { samples, cpuSeconds: (user + system) / 1e6 };
}

process.on('message', (order: BaselineOrder) => {
  run(order).then(
    (report) => process.send?.(report),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
process.on('disconnect', () => process.exit());
