// `treeline topics`: creates the topics of the log on Kafka, or checks those that are there, as the service does when it
// starts. For whoever may create topics where the service may not, and to see beforehand whether it would start.

import { loadSettings } from '../config.js';
import { OperatingError } from '../errors.js';
import { kafkaLogSettings } from '../kafka-settings.js';
import { createLogger } from '../logger.js';
import { type Options, sourcesOf } from './config.js';

/** Rejects with an OperatingError whose sentence names what to mend. */
export async function topics(options: Options): Promise<void> {
  const settings = loadSettings(sourcesOf(options));
  if (settings.log.kind !== 'kafka') {
    const text = 'Topics are for a log on Kafka; set log.kind to kafka and log.kafka.brokers';
    throw new OperatingError('config_invalid', text);
  }
  const { level, format } = settings.logging;
  const logger = createLogger({ level, format });
  const { openLogTopics } = await import('../log/kafka-log.js');
  const { TOPICS } = await import('../log/log.js');
  const { topicName } = await import('../log/kafka-topics.js');
  const wanted = kafkaLogSettings(settings);
  const { id, created } = await openLogTopics(wanted, { logger, clock: Date.now });
  const rows = TOPICS.map((topic) => topicName(wanted.prefix, topic)).map((name) => ({
    name,
    created: created.includes(name),
  }));
  if (options['output'] === 'json') {
    const report = { logId: id, partitions: wanted.partitions, topics: rows };
    process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
    return;
  }
  const lines = rows.map(
    ({ name, created: isNew }) => `${name}: ${isNew ? 'created' : 'as it should be'}`,
  );
  process.stdout.write(`${lines.join('\n')}\nlog ${id}, ${wanted.partitions} partitions\n`);
}
