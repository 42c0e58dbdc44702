// How a log on Kafka is created, named, checked and refused, on a real broker that also has a listener with TLS, SASL and
// ACLs; and what happens while there is no broker.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { topics } from '../src/cli/topics.js';
import { OperatingError } from '../src/errors.js';
import type { Logger } from '../src/http-server.js';
import { openKafka } from '../src/log/kafka-client.js';
import { type KafkaLogSettings, openKafkaLog } from '../src/log/kafka-log.js';
import { logInForce, readLogRecords, writeLogRecord } from '../src/log/kafka-log-record.js';
import { topicName } from '../src/log/kafka-topics.js';
import { TOPICS, type Topic } from '../src/log/log.js';
import {
  allow,
  clock,
  joined,
  kafkaSettings,
  open,
  RIGHTS,
  silent,
  valuesOf,
  withAdmin,
} from './kafka-fixture.js';
import { type KafkaPeers, startKafka } from './kafka-peers.js';
import { endPrograms, temporaryDirectory } from './programs.js';
import { selfSigned } from './self-signed.js';

const HOUR_MS = 3_600_000;
const tls = selfSigned('kafka');
const nobody = { onAssigned() {}, onLost() {} };
const forever = new AbortController().signal;
let kafka: KafkaPeers;

beforeAll(async () => {
  const users = [
    { name: 'entitled', password: 'one secret' },
    { name: 'stranger', password: 'another secret' },
  ];
  kafka = await startKafka({ secured: { ...tls, users } });
}, 300_000);

afterAll(async () => {
  await kafka.stop();
  await endPrograms();
});

function bytes(text: string): Uint8Array {
  return Buffer.from(text);
}

async function refused(settings: KafkaLogSettings, code: string, words: RegExp): Promise<void> {
  const opening = openKafkaLog(settings, { logger: silent, clock });
  await expect(opening).rejects.toBeInstanceOf(OperatingError);
  await expect(opening).rejects.toMatchObject({ code, retryable: false });
  await expect(opening).rejects.toThrow(words);
}

test('of several who find no log, one creates it and all agree which it is', async () => {
  for (let round = 0; round < 3; round++) {
    const settings = kafkaSettings(kafka.brokers);
    const logs = await Promise.all(Array.from({ length: 5 }, () => open(settings)));
    expect(new Set(logs.map(({ id }) => id)).size).toBe(1);
    await Promise.all(logs.map((log) => log.close()));
    const again = await open(settings);
    expect(again.id).toBe(logs[0]?.id);
    await again.close();
  }
});

test('topics are created with what a log needs', async () => {
  const settings = kafkaSettings(kafka.brokers, { retentionMs: { samples: 48 * HOUR_MS } });
  await (await open(settings)).close();
  const ok = async (topic: Topic, wanted: object) => {
    const name = topicName(settings.prefix, topic);
    const { resources } = await withAdmin(kafka.brokers, (admin) =>
      admin.describeConfigs({ includeSynonyms: false, resources: [{ type: 2, name }] }),
    );
    const entries = resources[0]?.configEntries ?? [];
    const found = entries.map(({ configName, configValue }) => [configName, configValue]);
    expect(Object.fromEntries(found)).toMatchObject(wanted);
  };
  const all = {
    'cleanup.policy': 'delete',
    'max.message.bytes': '1048576',
    'message.timestamp.type': 'LogAppendTime',
    'min.insync.replicas': '1',
  };
  await ok('samples', { ...all, 'retention.ms': String(48 * HOUR_MS) });
  await ok('candidates', { ...all, 'retention.ms': '-1' });
  await ok('anomalies', { ...all, 'retention.ms': '-1' });
  await ok('control', { ...all, 'retention.ms': '-1', 'retention.bytes': '-1' });
});

test('another number of partitions, or other ones by label, is refused and nothing is changed', async () => {
  const settings = kafkaSettings(kafka.brokers);
  const log = await open(settings);
  await log.append('samples', 2, bytes('a'), 1);
  await log.close();
  await refused(
    { ...settings, partitions: 6 },
    'log_other',
    /has 3 partitions and log\.partitions says 6.*set log\.partitions to 3/,
  );
  await refused(
    { ...settings, partitionBy: [['instance']] },
    'log_other',
    /made with ingest\.partitionBy \[\["namespace","pod"\],\["instance"\]\]/,
  );
  const again = await open(settings);
  expect(again.id).toBe(log.id);
  expect(await again.bounds('samples', 2)).toMatchObject({ low: 0, high: 1 });
  await again.close();
});

test('settings of a topic that would lose samples are refused with the one to mend', async () => {
  const ok = async (key: string, value: string, words: RegExp) => {
    const settings = kafkaSettings(kafka.brokers, { retentionMs: { samples: 48 * HOUR_MS } });
    await (await open(settings)).close();
    const name = topicName(settings.prefix, 'samples');
    await withAdmin(kafka.brokers, (admin) =>
      admin.alterConfigs({
        validateOnly: false,
        resources: [{ type: 2, name, configEntries: [{ name: key, value }] }],
      }),
    );
    await refused(settings, 'log_other', words);
  };
  await ok('retention.ms', String(47 * HOUR_MS), /retention\.ms=169200000.*log\.retentionAge/);
  await ok('cleanup.policy', 'compact', /cleanup\.policy=compact where delete is needed/);
  await ok('max.message.bytes', '900000', /max\.message\.bytes=900000 where 1048576/);
  await ok('message.timestamp.type', 'CreateTime', /message\.timestamp\.type=.* LogAppendTime/);
});

test('partitions that somebody adds are not used, and their number is said (scenario 23)', async () => {
  const settings = kafkaSettings(kafka.brokers);
  const log = await open(settings);
  await withAdmin(kafka.brokers, (admin) =>
    admin.createPartitions({
      topicPartitions: [{ topic: topicName(settings.prefix, 'samples'), count: 5 }],
    }),
  );
  const warnings: string[] = [];
  const logger: Logger = {
    ...silent,
    warn: (fields, message) => warnings.push(`${message} ${JSON.stringify(fields)}`),
  };
  const later = await open(settings, logger);
  expect(warnings.join()).toMatch(/added partitions.*"partitions":5,"used":3/);
  const assigned: number[] = [];
  const reader = { onAssigned: (one: number) => void assigned.push(one), onLost() {} };
  const subscription = await later.subscribe('samples', reader, 'scorer');
  await expect.poll(() => assigned.toSorted(), { timeout: 20_000 }).toEqual([0, 1, 2]);
  for (const partition of [0, 1, 2]) {
    expect(await log.append('samples', partition, bytes('a'), 1)).toBe(0);
    expect((await subscription.read(partition, 0, 1, forever)).next).toBe(1);
  }
  expect(() => log.append('samples', 3, bytes('a'), 1)).toThrow(/no partition 3/);
  await log.close();
  await later.close();
});

test('a samples topic that was deleted makes another log, and who has the old one is told to end (scenario 20)', async () => {
  const settings = kafkaSettings(kafka.brokers);
  const old = await open(settings);
  for (const text of ['a', 'b', 'c']) await old.append('samples', 0, bytes(text), 1);
  await old.append('control', 1, bytes('stays'), 0);
  const subscription = await old.subscribe('samples', nobody);
  const reading = subscription.read(0, 3, 1, forever).catch((error: OperatingError) => error.code);
  await withAdmin(kafka.brokers, (admin) =>
    admin.deleteTopics({ topics: [topicName(settings.prefix, 'samples')] }),
  );
  const fresh = await open(settings);
  expect(fresh.id).not.toBe(old.id);
  expect(await fresh.append('samples', 0, bytes('A'), 1)).toBe(0);
  expect(await reading).toBe('log_replaced');
  expect(old.unready()).toMatch(/has to start again/);
  await expect(old.append('samples', 0, bytes('d'), 1)).rejects.toMatchObject({
    code: 'log_replaced',
    retryable: false,
  });
  await expect(old.bounds('samples', 0)).rejects.toMatchObject({ code: 'log_replaced' });
  expect(await valuesOf(settings, { topic: 'samples', partition: 0 })).toEqual(['A']);
  expect(await valuesOf(settings, { topic: 'control', partition: 1 })).toEqual(['stays']);
  await Promise.all([old.close(), fresh.close()]);
});

test('an appender that only appends finds out that its log was replaced', async () => {
  const settings = kafkaSettings(kafka.brokers);
  const old = await open(settings);
  for (const text of ['a', 'b', 'c']) await old.append('samples', 0, bytes(text), 1);
  await withAdmin(kafka.brokers, (admin) =>
    admin.deleteTopics({ topics: [topicName(settings.prefix, 'samples')] }),
  );
  const fresh = await open(settings);
  // What is appended now is in the new log, with the old id: nobody loses it, and the appender ends.
  const outcome = () => old.append('samples', 0, bytes('d'), 1).catch(({ code }) => code);
  await expect.poll(outcome, { timeout: 20_000, interval: 100 }).toBe('log_replaced');
  const strays = await valuesOf(settings, { topic: 'samples', partition: 0 });
  const subscription = await fresh.subscribe('samples', nobody);
  for (let at = 0; at < strays.length; ) {
    at = (await subscription.read(0, at, 1, forever)).next;
  }
  expect(fresh.counters.foreignRecords).toBe(strays.length);
  await Promise.all([old.close(), fresh.close()]);
});

test('topics made by other hands are taken, and the log is named in them', async () => {
  const settings = kafkaSettings(kafka.brokers);
  const { prefix } = settings;
  await withAdmin(kafka.brokers, (admin) =>
    admin.createTopics({
      waitForLeaders: false, // its own waiting may reject although the topics are there
      topics: (['samples', 'candidates', 'verdicts', 'control'] as const).map((topic) => ({
        topic: topicName(prefix, topic),
        numPartitions: 3,
        configEntries: [
          { name: 'message.timestamp.type', value: 'LogAppendTime' },
          { name: 'retention.ms', value: '-1' },
        ],
      })),
    }),
  );
  const logs = await Promise.all([open(settings), open(settings)]);
  expect(logs[0].id).toBe(logs[1].id);
  await Promise.all(logs.map((log) => log.close()));
});

test('who dies while creating a log leaves none, and the next one names it', async () => {
  const settings = kafkaSettings(kafka.brokers);
  const control = topicName(settings.prefix, 'control');
  const first = await open(settings);
  await first.close();
  const client = openKafka(settings.connection, silent);
  await writeLogRecord(client, control, { creating: true, partitions: 3 });
  expect(logInForce(await readLogRecords(client, control))).toBeUndefined();
  const logs = await Promise.all([open(settings), open(settings)]);
  expect(logs[0].id).toBe(logs[1].id);
  expect(logs[0].id).not.toBe(first.id);
  await Promise.all(logs.map((log) => log.close()));
});

test('which log is in force follows from the order of the records alone', () => {
  const ok = (text: string, wanted: string | undefined) => {
    const records = [...text].map((logId, offset) => ({
      offset,
      record: { logId, creating: logId === '*' } as never,
    }));
    expect(logInForce(records)?.record.logId).toBe(wanted);
  };
  ok('', undefined);
  ok('*', undefined);
  ok('*a', 'a');
  ok('a', 'a');
  ok('ab', 'a');
  ok('*a*', undefined);
  ok('*a*bc', 'b');
  ok('***a*a', 'a');
});

test('TLS and every SASL mechanism open a log; who we are decides what we may', async () => {
  const connectionOf = (
    mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512',
    username: string,
  ) => ({
    brokers: kafka.securedBrokers,
    tls: { ca: tls.cert },
    sasl: {
      mechanism,
      username,
      password: username === 'entitled' ? 'one secret' : 'another secret',
    },
  });
  for (const mechanism of ['plain', 'scram-sha-256', 'scram-sha-512'] as const) {
    const settings = kafkaSettings(kafka.brokers);
    await allow(kafka.brokers, settings.prefix, { user: 'entitled' });
    const log = await open({ ...settings, connection: connectionOf(mechanism, 'entitled') });
    expect(await log.append('samples', 0, bytes('a'), 1)).toBe(0);
    const subscription = await joined(log, 'scorer');
    expect((await subscription.read(0, 0, 1, forever)).next).toBe(1);
    await log.close();
    const stranger = { ...settings, connection: connectionOf(mechanism, 'stranger') };
    await refused(stranger, 'log_denied', /an ACL is missing.*log\.kafka\.sasl\.username/);
    const wrong = connectionOf(mechanism, 'entitled');
    wrong.sasl.password = 'wrong';
    await refused(
      { ...settings, connection: wrong },
      'log_denied',
      /log\.kafka\.sasl\.passwordFile/,
    );
    expect(String(await open({ ...settings, connection: wrong }).catch(String))).not.toMatch(
      /wrong/,
    );
  }
  const untrusted = { brokers: kafka.securedBrokers, tls: {} };
  await refused(
    kafkaSettings(kafka.brokers, { connection: untrusted }),
    'log_denied',
    /TLS failed.*log\.kafka\.tls\.caFile/,
  );
});

test('a right to write that is missing is named at the append, and the next one goes on when it is given', async () => {
  const settings = kafkaSettings(kafka.brokers);
  await (await open(settings)).close();
  const { topicWrite, topicCreate: _, ...some } = RIGHTS;
  await allow(kafka.brokers, settings.prefix, { user: 'entitled', rights: Object.values(some) });
  const sasl = { mechanism: 'plain', username: 'entitled', password: 'one secret' } as const;
  const connection = { brokers: kafka.securedBrokers, tls: { ca: tls.cert }, sasl };
  const log = await open({ ...settings, connection });
  const appended = log.append('samples', 0, bytes('a'), 1);
  await expect(appended).rejects.toMatchObject({ code: 'log_denied', retryable: false });
  await expect(appended).rejects.toThrow(/TOPIC_AUTHORIZATION_FAILED.*Write/);
  expect(log.unready()).toMatch(/an ACL is missing/);
  await allow(kafka.brokers, settings.prefix, { user: 'entitled', rights: [topicWrite] });
  const again = () => log.append('samples', 0, bytes('b'), 1).catch(() => -1);
  await expect.poll(again, { timeout: 20_000 }).toBe(0);
  expect(log.unready()).toBeUndefined();
  await log.close();
});

test('more copies than brokers are refused with the setting', async () => {
  const settings = kafkaSettings(kafka.brokers, { replication: 3 });
  await refused(settings, 'log_other', /fewer brokers than copies.*log\.kafka\.replication/);
});

test('a topic that takes less than we send says so at the append too', async () => {
  const settings = kafkaSettings(kafka.brokers);
  const log = await open(settings);
  await withAdmin(kafka.brokers, (admin) =>
    admin.alterConfigs({
      validateOnly: false,
      resources: [
        {
          type: 2,
          name: topicName(settings.prefix, 'samples'),
          configEntries: [{ name: 'max.message.bytes', value: '1000' }],
        },
      ],
    }),
  );
  const appended = log.append('samples', 0, new Uint8Array(2_000), 1);
  await expect(appended).rejects.toMatchObject({ code: 'log_other', retryable: false });
  await expect(appended).rejects.toThrow(/raise its max\.message\.bytes/);
  await log.close();
});

test('treeline topics creates, and the second time says that all is as it should be', async () => {
  const { prefix } = kafkaSettings(kafka.brokers);
  const file = join(temporaryDirectory('topics'), 'treeline.yaml');
  const write = (log: string) => writeFileSync(file, `log:\n${log}`);
  write(`  kind: kafka
  prefix: ${prefix}
  partitions: 2
  kafka: { brokers: [${kafka.brokers.map((one) => `"${one}"`).join(', ')}], replication: 1 }
`);
  const first = await printed(() => topics({ config: file }));
  expect(first).toMatch(new RegExp(`^${prefix}\\.samples: created$`, 'm'));
  const id = /^log ([0-9a-f-]{36}), 2 partitions$/m.exec(first)?.[1];
  const second = JSON.parse(await printed(() => topics({ config: file, output: 'json' })));
  const names = TOPICS.map((topic) => ({ name: `${prefix}.${topic}`, created: false }));
  expect(second).toEqual({ logId: id, partitions: 2, topics: names });
  write('  kind: embedded\n');
  await expect(topics({ config: file })).rejects.toThrow(/set log\.kind to kafka/);
});

/** What it writes to standard output. */
async function printed(body: () => Promise<void>): Promise<string> {
  const { write } = process.stdout;
  let text = '';
  process.stdout.write = ((chunk: string) => {
    text += chunk;
    return true;
  }) as typeof write;
  try {
    await body();
  } finally {
    process.stdout.write = write;
  }
  return text;
}

test('while no broker is there the log waits, says so once a minute, and opens when one comes', async () => {
  const [id] = kafka.ids as [number];
  const settings = kafkaSettings(kafka.brokers);
  const ending = new AbortController();
  const reasons: string[] = [];
  const warnings: string[] = [];
  const around = {
    clock,
    logger: { ...silent, warn: (_fields: object, message: string) => void warnings.push(message) },
    onWaiting: (reason: string) => void reasons.push(reason),
  };
  await kafka.kill(id);
  const given = openKafkaLog(kafkaSettings(kafka.brokers), { ...around, signal: ending.signal });
  const opening = openKafkaLog(settings, around);
  await expect.poll(() => reasons.length, { timeout: 30_000 }).toBeGreaterThan(2);
  expect(reasons[0]).toMatch(/brokers in log\.kafka\.brokers do not answer/);
  ending.abort(new Error('stopping'));
  await expect(given).rejects.toThrow('stopping');
  await kafka.start(id);
  const log = await opening;
  expect(warnings.filter((message) => message === 'Waiting for Kafka')).toHaveLength(2);
  // Of the client's own complaints one of each kind, however often it tried.
  expect(warnings.length).toBeLessThan(12);
  expect(await log.append('samples', 0, bytes('a'), 1)).toBe(0);
  expect(log.unready()).toBeUndefined();
  // Away once more, under a log that is open: it says so, and mends itself.
  const subscription = await joined(log, 'scorer');
  const reading = subscription.read(0, 1, 1, forever);
  await kafka.kill(id);
  await expect(log.append('samples', 0, bytes('b'), 1)).rejects.toMatchObject({
    code: 'log_unavailable',
    status: 503,
  });
  expect(log.unready()).toMatch(/brokers in log\.kafka\.brokers do not answer/);
  await kafka.start(id);
  const again = () => log.append('samples', 0, bytes('c'), 1).catch(() => -1);
  await expect.poll(again, { timeout: 30_000 }).toBeGreaterThan(0);
  expect((await reading).next).toBe(2);
  await expect.poll(() => log.unready(), { timeout: 30_000 }).toBeUndefined();
  await log.close();
}, 180_000);
