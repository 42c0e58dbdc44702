// What happens around roles that are processes of their own, on a real broker: brokers that are away when they start or
// while they run, settings and topics that do not fit, a record that cannot be read, and a scorer that is frozen for so long
// that its partitions go to another. Whoever is killed and comes back is cluster.test.ts, who is replaced by another program
// or joined by more of them cluster-upgrade.test.ts.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { KAFKA_SESSION_MS } from '../src/limits.js';
import { ELECTIONS_SHARED_MS } from '../src/limits-outputs.js';
import { type Cluster, type Member, openCluster, openClusterLog, referenceRun } from './cluster.js';
import {
  ask,
  judge,
  loadOf,
  moreAnswers,
  ready,
  shares,
  statusOf,
  WAIT_MS_MAX,
} from './cluster-watch.js';
import { allow, RIGHTS, withAdmin } from './kafka-fixture.js';
import { type KafkaPeers, startKafka } from './kafka-peers.js';
import { endPrograms, eventually, freePort, temporaryDirectory } from './programs.js';
import { startRedis } from './redis-peers.js';
import { openSender, writeBody } from './remote-write-sender.js';
import { selfSigned } from './self-signed.js';
import { readingOf, runTreeline, spawnTreeline } from './treeline-process.js';

const PARTITIONS = 4;
const SERIES_MAX = 4_000;
const FIRST_MS = Math.floor((Date.now() - 30 * 864e5) / 15_000) * 15_000;
const POISON = Buffer.from('no block of samples at all');
const isPoison = (record: Uint8Array) => POISON.equals(record);
const tls = selfSigned('127.0.0.1');

let kafka: KafkaPeers;

beforeAll(async () => {
  const users = [{ name: 'treeline', password: 'right' }];
  kafka = await startKafka({ secured: { ...tls, users } });
}, 240_000);

afterAll(async () => {
  await kafka?.stop();
  await endPrograms();
});

test('without brokers a process waits and says so, and begins by itself when they come', {
  timeout: 240_000,
}, async () => {
  await kafka.kill(1);
  const cluster = open('away');
  await cluster.add('receiver', 1);
  await cluster.add('scorer', 1);
  for (const member of cluster.members) {
    const readiness = await eventually('the first words', WAIT_MS_MAX, async () => {
      const answer = await ask(member, '/-/ready');
      return answer?.text.includes('do not answer') ? answer : undefined;
    });
    expect(readiness.status).toBe(503);
    expect(readiness.text).toContain('brokers in log.kafka.brokers do not answer');
    expect((await ask(member, '/-/healthy'))?.status).toBe(200);
  }
  const sender = openSender(cluster.members[0]!.url);
  const body = writeBody([
    { labels: { __name__: 'up_and_down', instance: 'a:1' }, points: [[FIRST_MS, 1]] },
  ]);
  const refused = await sender.send(body);
  expect(refused.status).toBe(503);
  expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
  // Longer than a client's own patience with brokers.
  await sleep(3_000);
  for (const { treeline } of cluster.members) expect(treeline?.program.hasExited()).toBe(false);
  await kafka.start(1);
  await ready(...cluster.members);
  const accepted = await eventually('the write to be taken', WAIT_MS_MAX, async () => {
    const answer = await sender.send(body).catch(() => undefined);
    return answer?.status === 503 ? undefined : answer;
  });
  expect(accepted.status).toBe(204);
  sender.close();
  const rows = await cluster.atRest();
  expect(rows.reduce((sum, { outcomes }) => sum + (outcomes['applied'] ?? 0), 0)).toBe(1);
  for (const member of cluster.members) await cluster.stop(member);
});

test('a broker that dies and comes back costs 503s, and nothing that was acknowledged', {
  timeout: 240_000,
}, async () => {
  const cluster = open('broker');
  await cluster.add('receiver', 1);
  await cluster.add('scorer', 1);
  await ready(...cluster.members);
  const load = loadOf(cluster);
  await moreAnswers(load, 100);
  await kafka.kill(1);
  await eventually('a 503', WAIT_MS_MAX, async () => load.retries() > 0 || undefined);
  const unready = await eventually('readiness to say it', WAIT_MS_MAX, async () => {
    const answer = await ask(cluster.members[0]!, '/-/ready');
    return answer?.status === 503 ? answer : undefined;
  });
  expect(unready.text).toMatch(/^log: /m);
  for (const member of cluster.members) {
    expect((await ask(member, '/-/healthy'))?.status).toBe(200);
    // What the brokers would have to be asked for is left out, or as it was; all else is told.
    const names = (await member.treeline!.metrics()).map(({ name }) => name);
    expect(names).toContain('treeline_kafka_troubles_total');
    const own = member.role === 'receiver' ? 'treeline_samples_logged_total' : 'treeline_series';
    expect(names).toContain(own);
  }
  await kafka.start(1);
  await moreAnswers(load, 100);
  await ready(...cluster.members);
  for (const { treeline } of cluster.members) expect(treeline?.program.hasExited()).toBe(false);
  await judge(cluster, load, site('broker'));
});

test('settings and topics that do not fit end the start with one sentence that names them', {
  timeout: 120_000,
}, async () => {
  const port = await freePort();
  const plain = ['--log-kafka-brokers', kafka.brokers.join(','), '--log-kafka-replication', '1'];
  const always = [
    '--log-kind',
    'kafka',
    '--listen',
    `127.0.0.1:${port}`,
    '--logging-level',
    'warn',
  ];
  const say = (command: string, args: readonly string[]) =>
    runTreeline([
      ...command.split(' '),
      ...always,
      ...['--data-dir', join(temporaryDirectory('refused'), 'data'), ...args],
    ]);
  const refused = async (args: readonly string[], words: RegExp) => {
    const { code, signal, stdout, stderr } = await say('run --roles receiver,scorer', args);
    const lines = stderr.split('\n').filter((line) => line.startsWith('treeline: '));
    expect({ code, signal, stdout, count: lines.length }, stderr).toEqual({
      ...{ code: 1, signal: null, stdout: '', count: 1 },
    });
    expect(lines[0]).toMatch(words);
    expect(stderr).not.toContain('    at ');
  };
  const log = ['--log-prefix', 'unfit', '--log-partitions', String(PARTITIONS)];
  const created = await say('topics', [...plain, ...log]);
  expect(created, created.stderr).toMatchObject({ code: 0 });
  await refused(
    [...plain, '--log-prefix', 'unfit', '--log-partitions', '5'],
    /has 4 partitions and log\.partitions says 5.*set log\.partitions to 4/,
  );

  const folder = temporaryDirectory('secrets');
  const files = { ca: join(folder, 'ca.pem'), right: join(folder, 'a'), wrong: join(folder, 'b') };
  writeFileSync(files.ca, tls.cert);
  writeFileSync(files.right, 'right\n', { mode: 0o600 });
  writeFileSync(files.wrong, 'mistyped\n', { mode: 0o600 });
  const as = (passwordFile: string) => [
    ...['--log-kafka-brokers', kafka.securedBrokers.join(','), '--log-kafka-replication', '1'],
    ...['--log-kafka-tls-mode', 'on', '--log-kafka-tls-ca-file', files.ca, ...log],
    ...['--log-kafka-sasl-mechanism', 'scram-sha-256', '--log-kafka-sasl-username', 'treeline'],
    ...['--log-kafka-sasl-password-file', passwordFile],
  ];
  await refused(as(files.wrong), /do not accept who we are.*log\.kafka\.sasl\.passwordFile/);
  // The password is what was wrong with it: with the right one it is the rights that are missing.
  await refused(as(files.right), /an ACL is missing/);

  await withAdmin(kafka.brokers, (admin) =>
    admin.alterConfigs({
      validateOnly: false,
      resources: [
        {
          type: 2,
          name: 'unfit.samples',
          configEntries: [{ name: 'cleanup.policy', value: 'compact' }],
        },
      ],
    }),
  );
  await refused(
    [...plain, ...log],
    /Topic unfit\.samples has cleanup\.policy=compact where delete is needed/,
  );
});

test('a right that is missing for the group alone is named while the process waits for it', {
  timeout: 120_000,
}, async () => {
  const prefix = 'rights';
  const { groupRead, ...ofTopics } = RIGHTS;
  const rights = Object.values(ofTopics);
  await allow(kafka.brokers, prefix, { user: 'treeline', rights });
  const folder = temporaryDirectory('rights');
  const [ca, password] = [join(folder, 'ca.pem'), join(folder, 'password')];
  writeFileSync(ca, tls.cert);
  writeFileSync(password, 'right\n', { mode: 0o600 });
  const treeline = await spawnTreeline({
    dataDir: join(folder, 'data'),
    args: [
      ...['--roles', 'scorer', '--log-kind', 'kafka', '--log-prefix', prefix],
      ...['--log-kafka-brokers', kafka.securedBrokers.join(','), '--log-kafka-replication', '1'],
      ...['--log-partitions', String(PARTITIONS), '--logging-level', 'warn'],
      ...['--log-kafka-tls-mode', 'on', '--log-kafka-tls-ca-file', ca],
      ...['--log-kafka-sasl-mechanism', 'scram-sha-256', '--log-kafka-sasl-username', 'treeline'],
      ...['--log-kafka-sasl-password-file', password],
    ],
  });
  const readiness = () =>
    fetch(`${treeline.url}/-/ready`).then(
      (answer) => answer.text(),
      () => '',
    );
  const text = await eventually('readiness to say it', WAIT_MS_MAX, async () => {
    const said = await readiness();
    return said.includes('GROUP_AUTHORIZATION_FAILED') ? said : undefined;
  });
  expect(text).toMatch(/^Not ready$/m);
  expect(text).toMatch(/^log: .*allow the user of log\.kafka\.sasl\.username Read on groups/m);
  expect(text).toContain('scorer: waiting for its share of the partitions');
  expect((await fetch(`${treeline.url}/-/healthy`)).status).toBe(200);
  await allow(kafka.brokers, prefix, { user: 'treeline', rights: [groupRead] });
  await eventually('it to be ready', WAIT_MS_MAX, async () => {
    return (await readiness()).startsWith('Ready') || undefined;
  });
  expect(await treeline.program.stop('SIGTERM')).toMatchObject({ code: 0 });
});

test('a record that cannot be read stops its partition alone, or is left out and counted', {
  timeout: 240_000,
}, async () => {
  const args = ['--log-poison', 'stop'];
  const cluster = open('poison', args);
  await cluster.add('receiver', 1);
  await cluster.add('scorer', 1);
  await ready(...cluster.members);
  const scorer = cluster.members[1]!;
  const load = loadOf(cluster);
  await moreAnswers(load, 50);
  const log = await openClusterLog(site('poison'));
  const poisoned = await log.append('samples', 1, POISON, 0);
  await moreAnswers(load, 50);
  await load.stop();

  const partitions = await eventually('all others to be at rest', WAIT_MS_MAX, async () => {
    const rows = (await statusOf(scorer)) ?? [];
    const others = rows.filter(({ partition }) => partition !== 1);
    const isDone = others.length === 3 && others.every(({ offset, high }) => offset === high);
    return isDone && rows[1]?.stopped ? rows : undefined;
  });
  expect(partitions[1]!.stopped).toMatchObject({ offset: poisoned });
  expect(partitions[1]!.offset).toBeLessThan(partitions[1]!.high);
  for (const row of [0, 2, 3]) expect(partitions[row]).not.toHaveProperty('stopped');
  const readiness = await ask(scorer, '/-/ready');
  expect(readiness?.status).toBe(503);
  expect(readiness?.text).toContain(`partition 1 at ${poisoned} stands still`);
  expect(readiness?.text).toContain('log.poison');
  const stopped = readingOf(await scorer.treeline!.metrics(), 'treeline_partition_stopped_offset', {
    partition: '1',
  });
  expect(stopped).toBe(poisoned);
  expect(scorer.treeline!.program.hasExited()).toBe(false);

  await cluster.stop(scorer);
  scorer.args = ['--log-poison', 'quarantine'];
  await cluster.start(scorer);
  const rows = await cluster.atRest();
  await ready(scorer);
  const metrics = await scorer.treeline!.metrics();
  expect(
    readingOf(metrics, 'treeline_log_unreadable_records_total', {
      topic: 'samples',
      partition: '1',
    }),
  ).toBe(1);
  const reference = await referenceRun(log, SERIES_MAX, isPoison);
  expect(rows.map(({ stateHash }) => stateHash)).toEqual(reference.hashes);
  await cluster.kill(scorer);
  await cluster.start(scorer);
  expect((await cluster.atRest()).map(({ stateHash }) => stateHash)).toEqual(reference.hashes);
  await cluster.stop(scorer);
  const verified = await runTreeline([
    ...['run', '--verify-replay', '--log-kind', 'kafka', '--log-kafka-brokers', kafka.brokers[0]!],
    ...['--log-kafka-replication', '1', '--log-partitions', String(PARTITIONS)],
    ...['--log-prefix', 'poison', '--checkpoint-store', 'topic', ...scorer.args],
  ]);
  expect(verified, verified.stderr).toMatchObject({ code: 0 });
  expect(verified.stdout).toMatch(/partition 1: equal/);
  await log.close();
  await cluster.stopAll();
});

test('scenario 26: two receivers, each of which hears one of a pair of servers, let in the same one', {
  timeout: 120_000,
}, async () => {
  const redis = await startRedis();
  const cluster = open('pair', ['--ingest-replicas', 'elect', '--redis-address', redis.address]);
  await cluster.add('receiver', 2);
  await ready(...cluster.members);
  const senders = cluster.members.map(({ url }) => openSender(url));
  /** One scrape, sent by the first or second server to its own receiver. */
  const scrape = async (replica: 'a' | 'b', seconds: number): Promise<number> => {
    const labels = { __name__: 'up', __replica__: replica, cluster: 'east', instance: 'i:1' };
    const body = writeBody([{ labels, points: [[FIRST_MS + 1000 * seconds, 1]] }]);
    return (await senders[replica === 'a' ? 0 : 1]!.send(body)).status;
  };
  expect(await scrape('a', 0)).toBe(204);
  await eventually('the second receiver to know', WAIT_MS_MAX, async () => {
    return (await scrape('b', 7)) === 202 || undefined;
  });
  expect(await scrape('a', 25)).toBe(204);
  // The second receiver hears of that by the first one alone, within a round of telling each other.
  await sleep(3 * ELECTIONS_SHARED_MS);
  expect(await scrape('b', 45)).toBe(202);
  // Nothing more comes of the first server: the second is 30 s ahead and takes over, at both.
  expect(await scrape('b', 57)).toBe(204);
  await eventually('the first receiver to know', WAIT_MS_MAX, async () => {
    return (await scrape('a', 60)) === 202 || undefined;
  });
  for (const sender of senders) sender.close();
  for (const { treeline } of cluster.members) {
    const failures = readingOf(
      await treeline!.metrics(),
      'treeline_election_sharing_failures_total',
    );
    expect(failures).toBe(0);
  }
  await cluster.stopAll();
  await redis.kill();
});

test('a scorer frozen for three sessions loses its partitions, comes back, and does no harm', {
  timeout: 240_000,
}, async () => {
  const cluster = open('frozen');
  await cluster.add('receiver', 1);
  await cluster.add('scorer', 2);
  await ready(...cluster.members);
  const [, first, second] = cluster.members as [Member, Member, Member];
  const load = loadOf(cluster);
  await shares([first, 2], [second, 2]);
  const { pid } = first.treeline!.program;
  process.kill(pid, 'SIGSTOP');
  const frozenAt = performance.now();
  await shares([second, PARTITIONS]);
  const takenMs = performance.now() - frozenAt;
  await sleep(Math.max(0, 3 * KAFKA_SESSION_MS - takenMs));
  process.kill(pid, 'SIGCONT');
  await shares([first, 2], [second, 2]);
  console.log(`frozen: taken over after ${(takenMs / 1000).toFixed(1)} s`);
  expect(takenMs).toBeGreaterThan(KAFKA_SESSION_MS / 2);
  expect(first.treeline!.program.hasExited()).toBe(false);
  await judge(cluster, load, site('frozen'));
});

function site(prefix: string) {
  return { brokers: kafka.brokers, partitions: PARTITIONS, prefix, seriesMax: SERIES_MAX };
}

function open(prefix: string, args: readonly string[] = []): Cluster {
  return openCluster({
    ...site(prefix),
    replication: 1,
    args: [
      ...['--log-prefix', prefix, '--checkpoint-store', 'topic', '--checkpoint-interval', '1s'],
      ...args,
    ],
  });
}
