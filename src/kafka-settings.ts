// From the settings to what the Kafka adapters want: brokers, TLS and SASL with the files read, and what topics have to be
// like. Certificates and the password are read once, at start.

import { durationMs, type Settings } from './config.js';
import { PEM_BYTES_MAX, SECRET_BYTES_MAX } from './limits.js';
import type { KafkaConnection, KafkaSasl } from './log/kafka-client.js';
import type { KafkaLogSettings } from './log/kafka-log.js';
import { readSecret } from './secret-file.js';

/** Candidates are small, and what they led to is looked at for weeks. */
const CANDIDATE_RETENTION_MS = 30 * 24 * 60 * 60 * 1000;

/** Throws `config_invalid` naming the file that cannot be used. */
export function kafkaLogSettings(settings: Settings): KafkaLogSettings {
  const { log, ingest } = settings;
  return {
    connection: kafkaConnection(settings),
    prefix: log.prefix,
    partitions: log.partitions,
    partitionBy: ingest.partitionBy,
    replication: log.kafka.replication,
    retentionMs: {
      samples: durationMs(log.retentionAge),
      backfill: durationMs(log.retentionAge),
      candidates: CANDIDATE_RETENTION_MS,
      verdicts: CANDIDATE_RETENTION_MS,
      anomalies: CANDIDATE_RETENTION_MS,
    },
  };
}

export function kafkaConnection({ log }: Settings): KafkaConnection {
  const { brokers, tls, sasl } = log.kafka;
  const pem = (path: string) => readSecret(path, PEM_BYTES_MAX);
  return {
    brokers,
    ...(tls.mode === 'on' && {
      tls: {
        ...(tls.caFile !== '' && { ca: pem(tls.caFile) }),
        ...(tls.certFile !== '' && { cert: pem(tls.certFile), key: pem(tls.keyFile) }),
      },
    }),
    ...(sasl.mechanism !== 'none' && {
      sasl: {
        mechanism: sasl.mechanism as KafkaSasl['mechanism'],
        username: sasl.username,
        password: readSecret(sasl.passwordFile, SECRET_BYTES_MAX),
      },
    }),
  };
}
