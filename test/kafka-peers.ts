// Real Kafka brokers for the length of a test: one or three, each broker and controller (KRaft), on free ports of
// 127.0.0.1, with data of their own that is removed afterwards. They can be killed, ended, started again, frozen and
// thawed. With `proxied` each has a second listener whose advertised port is that of a fault proxy: a client that starts
// there stays there, while brokers talk to each other directly. With `secured` there is a listener with TLS and SASL, and
// whoever comes in there needs an ACL; the plain listener may do everything.

import { execFile } from 'node:child_process';
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { openKafka } from '../src/log/kafka-client.js';
import { kafkaJars } from './kafka-jars.js';
import {
  freePort,
  type Program,
  removeDirectory,
  startProgram,
  temporaryDirectory,
} from './programs.js';

const CLUSTER_ID = 'VHJlZWxpbmVUZXN0cw0000'; // any 16 bytes in base64url
const READY_MS_MAX = 90_000;
const READY_POLL_MS = 100;
/** Small and quick to start: no second compiler, no threads for a collector. */
const JVM = ['-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Djava.awt.headless=true'];

const execute = promisify(execFile);

export interface SecuredUser {
  name: string;
  password: string;
}

export interface KafkaOptions {
  brokers?: 1 | 3;
  proxied?: boolean;
  secured?: { cert: string; key: string; users: readonly SecuredUser[] };
  /** Broker settings beside or instead of ours. */
  settings?: Readonly<Record<string, string | number | boolean>>;
}

interface Node {
  id: number;
  port: number;
  controllerPort: number;
  behindPort: number;
  proxyPort: number;
  securedPort: number;
  properties: string;
  program?: Program;
}

export interface KafkaPeers {
  /** HOST:PORT of every broker, by the plain listener. */
  readonly brokers: readonly string[];
  readonly securedBrokers: readonly string[];
  /** Broker i listens on `behindPort` for the proxy that has to listen on `proxyPort`. */
  readonly proxies: readonly { id: number; proxyPort: number; behindPort: number }[];
  readonly ids: readonly number[];
  /** As a crash: nothing is flushed, nothing is said. */
  kill(id: number): Promise<void>;
  /** In order: leadership is handed over first. */
  end(id: number): Promise<void>;
  /** Resolves when it answers. */
  start(id: number): Promise<void>;
  freeze(id: number): void;
  thaw(id: number): void;
  /** Resolves when every replica of every partition of these topics is in sync. */
  untilInSync(topics: readonly string[]): Promise<void>;
  stop(): Promise<void>;
}

export async function startKafka(options: KafkaOptions = {}): Promise<KafkaPeers> {
  const jars = await kafkaJars();
  const directory = temporaryDirectory('kafka');
  const nodes: Node[] = [];
  for (let id = 1; id <= (options.brokers ?? 1); id++) {
    nodes.push({
      id,
      port: await freePort(),
      controllerPort: await freePort(),
      behindPort: await freePort(),
      proxyPort: await freePort(),
      securedPort: await freePort(),
      properties: join(directory, `broker-${id}.properties`),
    });
  }
  const logging = join(directory, 'log4j2.properties');
  writeFileSync(logging, LOGGING);
  for (const node of nodes) {
    mkdirSync(join(directory, `${node.id}`));
    const text = settingsOf(nodes, node, { ...options, directory });
    writeFileSync(node.properties, text.map(([key, value]) => `${key}=${value}\n`).join(''));
  }
  const javaArgs = (heap: readonly string[], ...rest: string[]) => [
    ...heap,
    ...JVM,
    `-Dlog4j2.configurationFile=file:${logging}`,
    '-cp',
    join(jars, '*'),
    ...rest,
  ];
  const scram = (options.secured?.users ?? []).flatMap(({ name, password }) =>
    ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => [
      '--add-scram',
      `${mechanism}=[name=${name},password=${password}]`,
    ]),
  );
  await Promise.all(
    nodes.map(({ properties }) => {
      const format = ['format', '-t', CLUSTER_ID, '-c', properties, ...scram];
      const args = javaArgs(['-Xmx128m'], 'kafka.tools.StorageTool', ...format);
      return execute('java', args, { timeout: READY_MS_MAX });
    }),
  );
  const find = (id: number) => nodes.find((node) => node.id === id) as Node;
  const start = async (id: number) => {
    const node = find(id);
    const heap = ['-Xms64m', '-Xmx512m', '-XX:+ExitOnOutOfMemoryError'];
    node.program = await startProgram('java', javaArgs(heap, 'kafka.Kafka', node.properties), {
      directory,
    });
    await untilReady(node, nodes.length);
  };
  const signal = (id: number, name: NodeJS.Signals) => {
    const { program } = find(id);
    if (program !== undefined && !program.hasExited()) process.kill(program.pid, name);
  };
  const stop = async (id: number, name: NodeJS.Signals) => {
    await find(id).program?.stop(name);
  };
  const peers: KafkaPeers = {
    brokers: nodes.map(({ port }) => `127.0.0.1:${port}`),
    securedBrokers: nodes.map(({ securedPort }) => `127.0.0.1:${securedPort}`),
    proxies: nodes.map(({ id, proxyPort, behindPort }) => ({ id, proxyPort, behindPort })),
    ids: nodes.map(({ id }) => id),
    kill: (id) => stop(id, 'SIGKILL'),
    end: (id) => stop(id, 'SIGTERM'),
    start,
    freeze: (id) => signal(id, 'SIGSTOP'),
    thaw: (id) => signal(id, 'SIGCONT'),
    untilInSync: (topics) => untilInSync(peers.brokers, topics),
    async stop() {
      await Promise.all(nodes.map(({ id }) => stop(id, 'SIGKILL')));
      removeDirectory(directory);
    },
  };
  try {
    await Promise.all(nodes.map(({ id }) => start(id)));
  } catch (error) {
    await peers.stop();
    throw error;
  }
  return peers;
}

const LOGGING = `status=error
appender.c.type=Console
appender.c.name=c
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=%d %p %c{1} %m%n
rootLogger.level=warn
rootLogger.appenderRef.c.ref=c
`;

function settingsOf(
  nodes: readonly Node[],
  node: Node,
  options: KafkaOptions & { directory: string },
): [string, unknown][] {
  const { directory, proxied = false, secured } = options;
  const copies = Math.min(3, nodes.length);
  const inSync = Math.max(1, copies - 1);
  const listeners = { PLAIN: node.port, CONTROLLER: node.controllerPort };
  const advertised = { PLAIN: node.port };
  if (proxied) {
    Object.assign(listeners, { PROXIED: node.behindPort });
    Object.assign(advertised, { PROXIED: node.proxyPort });
  }
  if (secured !== undefined) {
    Object.assign(listeners, { SECURED: node.securedPort });
    Object.assign(advertised, { SECURED: node.securedPort });
  }
  const settings: Record<string, unknown> = {
    'process.roles': 'broker,controller',
    'node.id': node.id,
    'controller.quorum.voters': nodes
      .map(({ id, controllerPort }) => `${id}@127.0.0.1:${controllerPort}`)
      .join(','),
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAIN',
    'listener.security.protocol.map':
      'PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT,SECURED:SASL_SSL',
    listeners: addresses(listeners),
    'advertised.listeners': addresses(advertised),
    'log.dirs': join(directory, `${node.id}`),
    'auto.create.topics.enable': false,
    'default.replication.factor': copies,
    'min.insync.replicas': inSync,
    'offsets.topic.num.partitions': 3,
    'offsets.topic.replication.factor': copies,
    'transaction.state.log.num.partitions': 1,
    'transaction.state.log.replication.factor': copies,
    'transaction.state.log.min.isr': inSync,
    'share.coordinator.state.topic.num.partitions': 1,
    'share.coordinator.state.topic.replication.factor': copies,
    'share.coordinator.state.topic.min.isr': inSync,
    'num.network.threads': 2,
    'num.io.threads': 2,
    'background.threads': 2,
    'num.recovery.threads.per.data.dir': 1,
    'group.initial.rebalance.delay.ms': 0,
    'log.cleaner.dedupe.buffer.size': 8 * 1024 * 1024, // 128 MiB of heap unless set
    'log.retention.check.interval.ms': 2_000,
    'log.segment.delete.delay.ms': 500,
    'broker.heartbeat.interval.ms': 1_000,
    'broker.session.timeout.ms': 6_000,
    ...(secured !== undefined && securedSettings(secured, node, directory)),
    ...options.settings,
  };
  return Object.entries(settings);
}

function securedSettings(
  { cert, key, users }: NonNullable<KafkaOptions['secured']>,
  node: Node,
  directory: string,
): Record<string, unknown> {
  const pem = join(directory, `broker-${node.id}.pem`);
  writeFileSync(pem, key);
  appendFileSync(pem, cert);
  const module = 'org.apache.kafka.common.security';
  const names = users.map(({ name, password }) => `user_${name}="${password}"`).join(' ');
  return {
    'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
    'super.users': 'User:ANONYMOUS',
    'listener.name.secured.ssl.keystore.type': 'PEM',
    'listener.name.secured.ssl.keystore.location': pem,
    'listener.name.secured.sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
    'listener.name.secured.plain.sasl.jaas.config': `${module}.plain.PlainLoginModule required ${names};`,
    'listener.name.secured.scram-sha-256.sasl.jaas.config': `${module}.scram.ScramLoginModule required;`,
    'listener.name.secured.scram-sha-512.sasl.jaas.config': `${module}.scram.ScramLoginModule required;`,
  };
}

function addresses(ports: Record<string, number>): string {
  return Object.entries(ports)
    .map(([name, port]) => `${name}://127.0.0.1:${port}`)
    .join(',');
}

const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** This broker itself answers, and knows all the others and a controller. */
async function untilReady(node: Node, count: number): Promise<void> {
  const { port, id } = node;
  const program = node.program as Program;
  const client = openKafka({ brokers: [`127.0.0.1:${port}`] }, silent);
  const until = performance.now() + READY_MS_MAX;
  let last: unknown = 'no answer';
  while (performance.now() < until && !program.hasExited()) {
    const admin = client.admin();
    try {
      await admin.connect();
      const { brokers, controller } = await admin.describeCluster();
      if (brokers.length === count && controller !== null) return;
      last = `${brokers.length} brokers, controller ${controller}`;
    } catch (error) {
      last = error; // not listening yet
    } finally {
      await admin.disconnect();
    }
    await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS));
  }
  const output = `${program.stdout().slice(-4_000)}\n${program.stderr().slice(-4_000)}`;
  throw new Error(`Broker ${id} is not ready; last: ${last}\n${output}`);
}

async function untilInSync(brokers: readonly string[], topics: readonly string[]): Promise<void> {
  const admin = openKafka({ brokers }, silent).admin();
  await admin.connect();
  try {
    const until = performance.now() + READY_MS_MAX;
    for (;;) {
      const seen = await admin.fetchTopicMetadata({ topics: [...topics] }).catch(() => undefined);
      const partitions = seen?.topics.flatMap((topic) => topic.partitions) ?? [];
      const isInSync = partitions.every(({ isr, replicas }) => isr.length === replicas.length);
      if (partitions.length > 0 && isInSync) return;
      if (performance.now() > until) throw new Error(`Not in sync: ${JSON.stringify(partitions)}`);
      await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS));
    }
  } finally {
    await admin.disconnect();
  }
}
