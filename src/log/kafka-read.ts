// Reads one partition from its beginning to the end that it had when the reading began, without a group and without
// waiting: for what has to be known before anything else can start.

import { FETCH_BYTES_MAX, FETCH_PARTITION_BYTES_MAX, FETCH_WAIT_BUSY_MS } from '../limits.js';
import type { KafkaClient, KafkaCluster } from './kafka-client.js';
import type { FetchedMessage } from './kafka-fetcher.js';

/** Messages come in order; markers of transactions are left out. Rejects with kafkajs' error. */
export async function readToEnd(
  client: KafkaClient,
  { topic, partition }: { topic: string; partition: number },
  visit: (message: FetchedMessage) => void,
): Promise<void> {
  const cluster = client.cluster();
  await cluster.connect();
  try {
    await cluster.addTargetTopic(topic);
    const low = await offsetOf(cluster, { topic, partition, fromBeginning: true });
    const high = await offsetOf(cluster, { topic, partition, fromBeginning: false });
    for (let from = low; from < high; ) {
      const [leader] = Object.keys(cluster.findLeaderForPartitions(topic, [partition]));
      const broker = await cluster.findBroker({ nodeId: leader as string });
      const { responses } = await broker.fetch({
        maxWaitTime: FETCH_WAIT_BUSY_MS,
        maxBytes: FETCH_BYTES_MAX,
        isolationLevel: 0,
        topics: [
          {
            topic,
            partitions: [
              { partition, fetchOffset: String(from), maxBytes: FETCH_PARTITION_BYTES_MAX },
            ],
          },
        ],
      });
      const messages = responses[0]?.partitions[0]?.messages as FetchedMessage[];
      for (const message of messages) {
        const offset = Number(message.offset);
        if (offset < from) continue;
        from = offset + 1;
        if (offset < high && !message.isControlRecord) visit(message);
      }
    }
  } finally {
    await cluster.disconnect();
  }
}

async function offsetOf(
  cluster: KafkaCluster,
  wanted: { topic: string; partition: number; fromBeginning: boolean },
): Promise<number> {
  const { topic, partition, fromBeginning } = wanted;
  const answer = await cluster.fetchTopicsOffset([
    { topic, partitions: [{ partition }], fromBeginning },
  ]);
  const found = answer[0]?.partitions.find((one) => one.partition === partition);
  if (found === undefined) throw new Error(`no answer about ${topic}/${partition}`);
  return Number(found.offset);
}
