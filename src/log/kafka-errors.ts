// What Kafka and its client complain of, as the project's own errors: one sentence each, which names the setting that
// mends it. Judged by the error's protocol type or class name, innermost first; what nobody has a word for is taken to be
// a broker that is away, since that heals by itself or is looked into.

import { OperatingError } from '../errors.js';

/** The fields that kafkajs' errors may have. */
interface Complaint extends Error {
  type?: string;
  cause?: unknown;
  /** Of an aggregate, one per topic. */
  errors?: unknown[];
  topic?: string;
  partition?: number;
}

export function kafkaComplaint(error: unknown): Complaint {
  let complaint = error as Complaint;
  for (let depth = 0; depth < 8; depth++) {
    const inner =
      complaint.type === undefined ? (complaint.cause ?? complaint.errors?.[0]) : undefined;
    if (!(inner instanceof Error)) break;
    complaint = inner;
  }
  return complaint;
}

/** Whether the brokers say that there is no such topic or partition; they may say so for a moment while they start. */
export function isUnknownTopic(error: unknown): boolean {
  return kafkaComplaint(error).type === 'UNKNOWN_TOPIC_OR_PARTITION';
}

/** Whether a broker is not the leader that the metadata says it is: for a moment after a topic was created, or moved. */
export function isLeaderUnsettled(error: unknown): boolean {
  const { type } = kafkaComplaint(error);
  return type === 'NOT_LEADER_FOR_PARTITION' || type === 'LEADER_NOT_AVAILABLE';
}

/** `doing` is what was tried, to what: `append to treeline.samples/3`. */
export function kafkaError(error: unknown, doing: string): OperatingError {
  if (error instanceof OperatingError) return error;
  const complaint = kafkaComplaint(error);
  const { name, type, message } = complaint;
  const said = (text: string) => `Cannot ${doing}: ${text}`;
  if (name === 'KafkaJSSASLAuthenticationError' || type?.includes('SASL') === true) {
    const text =
      `the brokers do not accept who we are (${message}); look at log.kafka.sasl.mechanism, ` +
      'log.kafka.sasl.username and log.kafka.sasl.passwordFile';
    return new OperatingError('log_denied', said(text), error);
  }
  if (type?.endsWith('_AUTHORIZATION_FAILED') === true) {
    return new OperatingError('log_denied', said(aclText(type)), error);
  }
  if (type === 'MESSAGE_TOO_LARGE' || type === 'RECORD_LIST_TOO_LARGE') {
    const text =
      'the record is larger than the topic takes; raise its max.message.bytes to 1048576';
    return new OperatingError('log_other', said(text), error);
  }
  if (type === 'INVALID_REPLICATION_FACTOR') {
    const text = 'there are fewer brokers than copies wanted; lower log.kafka.replication';
    return new OperatingError('log_other', said(text), error);
  }
  if (isTls(complaint)) {
    const text = `TLS failed (${message}); look at log.kafka.tls.mode and log.kafka.tls.caFile`;
    return new OperatingError('log_denied', said(text), error);
  }
  const text = `the brokers in log.kafka.brokers do not answer as they should (${type ?? message})`;
  return new OperatingError('log_unavailable', said(text), error);
}

function aclText(type: string): string {
  const kind = type.slice(0, type.indexOf('_')).toLowerCase();
  const rights: Record<string, string> = {
    topic:
      'Describe, DescribeConfigs, Read, Write and, unless they exist already, Create on topics',
    group: 'Read on groups',
    cluster: 'Create on the cluster, or create the topics yourself',
  };
  const right = rights[kind] ?? `what ${type} asks for`;
  return `an ACL is missing (${type}); allow the user of log.kafka.sasl.username ${right} whose names begin with log.prefix`;
}

/** Node's own words for a certificate that is not trusted, not for this host, or for a peer that does not speak TLS. */
function isTls({ message }: Complaint): boolean {
  return /certificate|altnames|SSL routines|wrong version number|ERR_TLS/i.test(message);
}
