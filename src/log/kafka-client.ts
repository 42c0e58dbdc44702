// The one place that knows kafkajs: brokers, TLS, SASL, time-outs, and where its log lines go. What it gives out are
// kafkajs' own clients, since its types are small and frozen (2.2.4 is its last release); the rules for living with them
// are in docs/decisions/0009-kafka-log.md. Errors are translated by kafka-errors.ts.
//
// kafkajs repeats itself while brokers are away. Each of its complaints is logged once a minute, with the number left out.

import { connect as connectPlain, isIP, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import {
  type Admin,
  type Assigner as AssignerOfKafkajs,
  AssignerProtocol,
  type Broker as BrokerOfKafkajs,
  type Cluster as ClusterOfKafkajs,
  type Consumer,
  type ISocketFactoryArgs,
  Kafka,
  type LogEntry,
  logLevel,
  Partitioners,
  type Producer,
  type RetryOptions,
} from 'kafkajs';
import type { Logger } from '../http-server.js';
import {
  FETCH_WAIT_MS,
  KAFKA_COMPLAINTS_MAX,
  KAFKA_CONNECT_MS_MAX,
  KAFKA_HEARTBEAT_MS,
  KAFKA_LOG_INTERVAL_MS,
  KAFKA_REBALANCE_MS_MAX,
  KAFKA_REQUEST_MS_MAX,
  KAFKA_SESSION_MS,
} from '../limits.js';

export interface KafkaSasl {
  mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512';
  username: string;
  password: string;
}

export interface KafkaConnection {
  /** HOST:PORT of some brokers; the others are learnt from them. */
  brokers: readonly string[];
  /** Without it the connections are not encrypted. Names and certificates are checked unless it says otherwise. */
  tls?: ConnectionOptions;
  sasl?: KafkaSasl;
}

export type KafkaAdmin = Admin;
export type KafkaProducer = Producer;
export type KafkaConsumer = Consumer;
export type KafkaAssigner = AssignerOfKafkajs;
/** Metadata, leaders and connections of one client: what its consumer stands on. */
export type KafkaCluster = ClusterOfKafkajs;
export type KafkaBroker = BrokerOfKafkajs;

/** How members and leader of a consumer group write what they tell each other. */
export const { MemberMetadata, MemberAssignment } = AssignerProtocol;

export interface KafkaClient {
  readonly brokers: readonly string[];
  admin(): KafkaAdmin;
  /** Tries once and says what happened: when to try again is the caller's business. */
  producer(): KafkaProducer;
  /**
   * A member-to-be of a group; `assigner` shares out the partitions when it leads the group. It is never to fetch: the
   * cluster beside it is for that.
   */
  member(
    groupId: string,
    assigner: KafkaAssigner,
  ): { consumer: KafkaConsumer; cluster: KafkaCluster };
  /** Connections for fetching, outside of any group. */
  cluster(): KafkaCluster;
  /** Ends every connection that is still open; what was made here is to be disconnected before. */
  close(): void;
}

/** Few and short: a caller who knows what is at stake tries again itself. */
const RETRY: RetryOptions = {
  initialRetryTime: 100,
  maxRetryTime: 1_000,
  factor: 0.2,
  multiplier: 2,
  retries: 5,
};
const KEEP_ALIVE_MS = 30_000;
/** How old the knowledge of leaders may be; a wrong leader says so at once. */
const METADATA_MS_MAX = 60_000;

export function openKafka(connection: KafkaConnection, logger: Logger): KafkaClient {
  const { brokers, tls, sasl } = connection;
  const complaints = complaintsTo(logger);
  const sockets = new Set<Socket>();
  const kafka = new Kafka({
    clientId: 'treeline',
    brokers: [...brokers],
    ...(tls !== undefined && { ssl: tls }),
    ...(sasl !== undefined && { sasl: saslOf(sasl) }),
    connectionTimeout: KAFKA_CONNECT_MS_MAX,
    authenticationTimeout: KAFKA_REQUEST_MS_MAX,
    requestTimeout: KAFKA_REQUEST_MS_MAX,
    enforceRequestTimeout: true,
    socketFactory: (place) => openSocket(sockets, place),
    // Each try takes another of the brokers that were named: all of them have their turn.
    retry: { ...RETRY, retries: Math.max(RETRY.retries as number, brokers.length) },
    logLevel: logLevel.WARN,
    logCreator: () => complaints,
  });
  const ofConsumer = (groupId: string, assigner?: KafkaAssigner) => {
    let cluster: KafkaCluster | undefined;
    const consumer = kafka.consumer({
      groupId,
      sessionTimeout: KAFKA_SESSION_MS,
      rebalanceTimeout: KAFKA_REBALANCE_MS_MAX,
      heartbeatInterval: KAFKA_HEARTBEAT_MS,
      maxWaitTimeInMs: FETCH_WAIT_MS,
      metadataMaxAge: METADATA_MS_MAX,
      allowAutoTopicCreation: false,
      readUncommitted: true,
      // Its owner starts a new one, later and later.
      retry: { ...RETRY, restartOnFailure: async () => false },
      partitionAssigners: [
        (around) => {
          cluster = around.cluster;
          return assigner ?? NO_ASSIGNER;
        },
      ],
    });
    if (cluster === undefined) throw new Error('kafkajs did not hand over the cluster');
    return { consumer, cluster };
  };
  return {
    brokers,
    admin: () => kafka.admin(),
    producer: () =>
      kafka.producer({
        allowAutoTopicCreation: false,
        idempotent: false,
        createPartitioner: Partitioners.DefaultPartitioner,
        metadataMaxAge: METADATA_MS_MAX,
        retry: { ...RETRY, retries: 0 },
      }),
    member: ofConsumer,
    cluster: () => ofConsumer('treeline-without-group').cluster,
    close() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

/**
 * Requests that find their connection gone at the same time each open one, and kafkajs remembers the last: the others are
 * kept here, to be closed with the client.
 */
function openSocket(
  sockets: Set<Socket>,
  { host, port, ssl, onConnect }: ISocketFactoryArgs,
): Socket {
  const socket =
    ssl === null
      ? connectPlain({ host, port }, onConnect)
      : connectTls(
          { host, port, ...(isIP(host) === 0 && { servername: host }), ...ssl },
          onConnect,
        );
  socket.setKeepAlive(true, KEEP_ALIVE_MS);
  // A request is written in one piece; waiting for more to send would only make it late.
  socket.setNoDelay(true);
  sockets.add(socket);
  socket.once('close', () => {
    sockets.delete(socket);
    // kafkajs lets go of a closed socket again at every try to connect, and each time node would leave a listener on it.
    socket.unref = () => socket;
  });
  return socket;
}

const NO_ASSIGNER: KafkaAssigner = {
  name: 'none',
  version: 0,
  protocol: ({ topics }) => ({
    name: 'none',
    metadata: MemberMetadata.encode({ version: 0, topics, userData: Buffer.alloc(0) }),
  }),
  assign: async () => [],
};

function saslOf({ mechanism, username, password }: KafkaSasl) {
  // One literal per mechanism: kafkajs' type wants to know which.
  if (mechanism === 'plain') return { mechanism, username, password } as const;
  if (mechanism === 'scram-sha-256') return { mechanism, username, password } as const;
  return { mechanism, username, password } as const;
}

/** Nothing here is worth more than a warning: whoever called the client hears of it and judges. */
function complaintsTo(logger: Logger): (entry: LogEntry) => void {
  const seen = new Map<string, { loggedMs: number; leftOut: number }>();
  return ({ namespace, level, log }) => {
    const { message, timestamp: _timestamp, logger: _logger, stack: _stack, ...fields } = log;
    // Without numbers and addresses the same complaint about another broker is the same complaint.
    const name = `${namespace}: ${message.replace(/[0-9]+/g, '#')}`;
    const nowMs = performance.now();
    const before = seen.get(name);
    if (before !== undefined && nowMs - before.loggedMs < KAFKA_LOG_INTERVAL_MS) {
      before.leftOut++;
      return;
    }
    if (seen.size >= KAFKA_COMPLAINTS_MAX) seen.clear();
    seen.set(name, { loggedMs: nowMs, leftOut: 0 });
    const said = { kafka: namespace, ...plain(fields), leftOut: before?.leftOut ?? 0 };
    if (level <= logLevel.WARN) logger.warn(said, message);
    else logger.debug(said, message);
  };
}

/** Names and numbers of a log line; whole objects of the client are left out. */
function plain(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => ['string', 'number'].includes(typeof value)),
  );
}
