import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import {
  durationMs,
  loadSettings,
  RELOADABLE,
  readSettings,
  SETTINGS,
  type SettingSources,
  sizeBytes,
} from '../src/config.js';
import { OperatingError } from '../src/errors.js';
import { listenAddress } from '../src/settings-rules.js';

const file = (text: string): SettingSources => ({ file: { name: 'treeline.yaml', text } });

function fault(sources: SettingSources): string {
  try {
    loadSettings(sources);
  } catch (error) {
    if (error instanceof OperatingError && error.code === 'config_invalid') return error.message;
    throw error;
  }
  return 'no fault';
}

test('without any source every setting has its default', () => {
  const settings = loadSettings({});
  expect(settings.listen).toBe('127.0.0.1:8275');
  expect(settings.log.partitions).toBe(4);
  expect(settings.ingest.partitionBy).toEqual([['namespace', 'pod'], ['instance']]);
  expect(settings.roles).toEqual(['receiver', 'scorer', 'deep-check', 'api']);
});

test('a flag wins over a variable, a variable over the file', () => {
  const sources = {
    ...file('log:\n  partitions: 8\ndataDir: /from/file\ningest: { maxSeries: 10 }\n'),
    environment: { TREELINE_LOG_PARTITIONS: '16', TREELINE_DATA_DIR: '/from/environment' },
    flags: { 'log-partitions': '32' },
  };
  const settings = loadSettings(sources);
  expect(settings.log.partitions).toBe(32);
  expect(settings.dataDir).toBe('/from/environment');
  expect(settings.ingest.maxSeries).toBe(10);
});

test('lists are written with commas or as YAML', () => {
  const roles = loadSettings({ environment: { TREELINE_ROLES: 'receiver, scorer' } }).roles;
  expect(roles).toEqual(['receiver', 'scorer']);
  const flags = { 'ingest-partition-by': '[[cluster, pod], [host]]' };
  expect(loadSettings({ flags }).ingest.partitionBy).toEqual([['cluster', 'pod'], ['host']]);
});

test('Kafka has partitions of its own by default, and its settings must fit together', () => {
  const kafka = (text: string) => file(`log:\n  kind: kafka\n${text}`);
  const brokers = '  kafka:\n    brokers: [127.0.0.1:9092]\n';
  const { settings, sources } = readSettings(kafka(brokers));
  expect(settings.log.partitions).toBe(64);
  expect(sources.get('log.partitions')).toBe('default of log.kind kafka');
  expect(loadSettings(kafka(`  partitions: 4\n${brokers}`)).log.partitions).toBe(4);
  expect(fault(kafka(''))).toContain('log.kafka.brokers: name at least one broker');
  expect(fault(kafka(`${brokers}    tls: {caFile: ca.pem}\n`))).toContain('log.kafka.tls.mode');
  expect(fault(kafka(`${brokers}    tls: {mode: on, certFile: c.pem}\n`))).toContain('keyFile');
  for (const sasl of ['{mechanism: plain}', '{username: me, passwordFile: p}']) {
    expect(fault(kafka(`${brokers}    sasl: ${sasl}\n`))).toContain('are set together');
  }
  expect(fault(file('roles: [scorer]\n'))).toContain('add receiver, or set log.kind to kafka');
  expect(loadSettings(kafka(`${brokers}roles: [scorer]\n`)).roles).toEqual(['scorer']);
  expect(fault(file('checkpoint: {store: topic}\n'))).toContain('needs log.kind kafka');
});

test('an unknown key names its line, its column and the nearest key', () => {
  expect(fault(file('log:\n  partitons: 8\n'))).toBe(
    'treeline.yaml:2:3: unknown key "log.partitons"; did you mean "log.partitions"?',
  );
  expect(fault(file('listn: 127.0.0.1:1\n'))).toContain('did you mean "listen"?');
  expect(fault(file('partitions: 8\n'))).toContain('did you mean "log.partitions"?');
  expect(fault(file('log:\n  zzzzzzzz: 8\n'))).toContain('known here: log.kind, log.prefix');
});

test('a wrong value names its line, what was expected and what was found', () => {
  expect(fault(file('log:\n\n  partitions: many\n'))).toBe(
    'treeline.yaml:3:3: log.partitions: expected integer, found "many"',
  );
  expect(fault(file('log: { partitions: 65 }\n'))).toContain('less or equal to 64, found 65');
  expect(fault(file('roles: [receiver, cook]\n'))).toContain(
    'expected some of receiver, scorer, deep-check, api, inference, found ["receiver","cook"]',
  );
  expect(fault(file('log: 3\n'))).toContain('log: expected settings below it, found 3');
  expect(fault(file('checkpoint: { interval: soon }\n'))).toContain('for example 1m');
  expect(fault({ flags: { 'gauges-scores': 'some' } })).toBe(
    '--gauges-scores: expected one of flagged, all, top-k, found "some"',
  );
});

test('every fault of a file is named at once', () => {
  const lines = fault(file('listn: x\nlog: { partitions: 0 }\n')).split('\n');
  expect(lines).toHaveLength(2);
});

test('text that is no YAML, and YAML that is no mapping, are refused with their place', () => {
  expect(fault(file('log: [\n'))).toMatch(/^treeline\.yaml:\d+:\d+: /);
  expect(fault(file('- 1\n'))).toContain('the file must hold settings');
});

test('an empty file is a file without settings', () => {
  expect(loadSettings(file('')).listen).toBe('127.0.0.1:8275');
  expect(loadSettings(file('# nothing yet\n')).listen).toBe('127.0.0.1:8275');
});

test('a key may be written with dots, as messages write it, but not twice', () => {
  expect(loadSettings(file('auth.mode: none\nlog.partitions: 8\n')).auth.mode).toBe('none');
  expect(loadSettings(file('log.partitions: 8\nlog: { kind: embedded }\n')).log.partitions).toBe(8);
  expect(fault(file('log.partitions: 8\nlog: { partitions: 8 }\n'))).toBe(
    'treeline.yaml:2:8: log.partitions is set twice',
  );
  expect(fault(file('log.partitons: 8\n'))).toContain('did you mean "log.partitions"?');
  expect(fault(file('listen.x: 8\n'))).toContain('unknown key "listen.x"');
  expect(fault(file('constructor: 1\n'))).toContain('unknown key "constructor"');
});

test('a fault inside a list names the line of the entry, and the key that was meant', () => {
  const text = (second: string) =>
    `auth:\n  credentials:\n    - name: a\n      tokenFile: /t\n    - name: b\n      ${second}\n`;
  expect(fault(file(text('tokenFil: /t')))).toBe(
    'treeline.yaml:6:7: auth.credentials[1].tokenFil: unknown key; did you mean "tokenFile"?',
  );
  expect(fault(file(text('allow: [write, everything]')))).toMatch(
    /^treeline\.yaml:6:7: auth\.credentials\[1\]\.allow: expected some of write, read, admin/,
  );
  expect(fault(file(text('tokenFile: /t\n      passwordFile: /p')))).toBe(
    'treeline.yaml:2:3: auth.credentials[1]: exactly one of tokenFile and passwordFile must be given',
  );
  expect(fault(file('auth: { credentials: [{ tokenFile: /t }] }'))).toContain('name is missing');
  const settings = loadSettings(file(text('passwordFile: /p')));
  expect(settings.auth.credentials.map(({ allow }) => allow)).toEqual([['write'], ['write']]);
});

test('settings that do not fit together are refused with the place of one of them', () => {
  const ok = (text: string, want: string) => expect(fault(file(text))).toContain(want);
  const credentials = 'auth.credentials: [{ name: a, tokenFile: /t }]\n';
  ok(`${credentials}auth.mode: none\n`, 'treeline.yaml:2:1: auth.mode: none lets everybody in');
  ok('auth.credentials: [{name: a, tokenFile: /t}, {name: a, tokenFile: /u}]', 'given twice');
  ok('auth.credentials: [{name: a, tokenFile: /t, tenant: x}]', 'while tenancy is off');
  ok(
    'tenancy: header\nauth.credentials: [{name: a, tokenFile: /t, tenant: a/b}]',
    'letters, digits',
  );
  ok('tls.certFile: /c\n', 'treeline.yaml:1:1: tls.certFile and tls.keyFile are set together');
  ok('ingest:\n  drop: ["up{"]\n', 'treeline.yaml:2:3: ingest.drop[0]: Cannot read the selector');
  ok('ingest.keep: ["{}"]', 'ingest.keep[0]: Cannot read the selector');
  ok('ingest.stripLabels: [__name__]', 'without its __name__');
  ok('listen: 127.0.0.1:70000', 'no port 70000');
  ok('limits.memory: 0%', 'limits.memory');
  ok('limits.memory: 101%', 'limits.memory');
});

test('a noise rule has defaults of its own, and what it cannot mean is refused with its place', () => {
  const text = 'detection:\n  rules:\n    - match: [up]\n      direction: above\n      of: 3/5\n';
  const { detection } = loadSettings(file(text));
  expect(detection.rules).toEqual([
    {
      ...{ match: ['up'], direction: 'above', minDeviation: 0, minRelativeDeviation: 0 },
      ...{ of: '3/5', threshold: 1, ignore: false },
    },
  ]);
  const rule = (fields: string) => file(`detection: { rules: [{ match: [up], ${fields} }] }\n`);
  const ok = (fields: string, want: RegExp) => expect(fault(rule(fields)), fields).toMatch(want);
  ok('of: 5/3', /^treeline\.yaml:1:14: detection\.rules\[0\]\.of: 5\/3 is not N\/M/);
  ok('of: 2/40', /M up to 32/);
  ok('of: 0/3', /rules\[0\]\.of: /);
  ok('minDeviation: -1', /rules\[0\]\.minDeviation: /);
  ok('direction: up', /expected one of above, below, both, found "up"/);
  ok('treshold: 2', /unknown key.*threshold/);
  ok('threshold: 0', /rules\[0\]\.threshold: /);
  expect(fault(file('detection: { rules: [{ match: ["{"] }] }\n'))).toMatch(/match\[0\]: Cannot/);
  expect(fault(file('detection: { rules: [{ direction: above }] }\n'))).toMatch(/match is missing/);
  const many = Array.from({ length: 65 }, () => '{ match: [up] }').join();
  expect(fault(file(`detection: { rules: [${many}] }\n`))).toMatch(/64/);
});

test('what does not fit a pattern is told what belongs there', () => {
  expect(fault(file('redis: { address: x }\n'))).toContain('HOST:PORT of a Redis');
  expect(fault(file('redis: { sentinels: [x] }\n'))).toContain('HOST:PORT of the Sentinels');
});

test('selectors on the command line are separated by commas that are not their own', () => {
  const keep = (text: string) => loadSettings({ flags: { 'ingest-keep': text } }).ingest.keep;
  expect(keep('up')).toEqual(['up']);
  expect(keep('{a="1,2",b="}"}, up')).toEqual(['{a="1,2",b="}"}', 'up']);
  expect(keep('["{a=\'1\'}", up]')).toEqual(["{a='1'}", 'up']);
  expect(keep('')).toEqual([]);
});

test('each value knows where it came from', () => {
  const { sources } = readSettings({
    ...file('log:\n  partitions: 8\nauth.mode: none\n'),
    environment: { TREELINE_TENANCY: 'header' },
    flags: { 'data-dir': '/x' },
  });
  const ok = (key: string, want: string) => expect(sources.get(key)).toBe(want);
  ok('log.partitions', 'treeline.yaml:2:3');
  ok('auth.mode', 'treeline.yaml:3:1');
  ok('tenancy', 'TREELINE_TENANCY');
  ok('dataDir', '--data-dir');
  ok('log.kind', 'default');
});

test('a file that would fill the memory is refused', () => {
  expect(fault(file(`# ${'x'.repeat(2 ** 20)}`))).toContain('more than 1048576 characters');
  const layers = Array.from(
    { length: 9 },
    (_, i) => `l${i + 1}: &l${i + 1} [*l${i},*l${i},*l${i}]`,
  );
  expect(fault(file(`l0: &l0 [x]\n${layers.join('\n')}\n`))).toContain('alias');
});

test('an address that others can reach needs a word about authentication', () => {
  expect(fault({ flags: { listen: '0.0.0.0:8275' } })).toContain('auth.mode: none');
  expect(fault({ flags: { listen: '[::]:8275' } })).toContain('auth.mode: none');
  for (const listen of ['127.0.0.1:0', '[::1]:8275', 'localhost:1']) {
    expect(loadSettings({ flags: { listen } }).listen).toBe(listen);
  }
  const credential = 'auth.credentials: [{ name: a, tokenFile: /t }]\n';
  const abroad = 'listen: 0.0.0.0:8275\n';
  expect(loadSettings(file(abroad + credential)).auth.credentials).toHaveLength(1);
  expect(fault(file(`${abroad}${credential}auth.open: [write, read, admin]\n`))).toContain(
    'treeline.yaml:1:1: listen: "0.0.0.0:8275" is reachable',
  );
  const open = loadSettings({ flags: { listen: '0.0.0.0:8275', 'auth-mode': 'none' } });
  expect(open.auth.mode).toBe('none');
});

test('Redis is found in one way and only where several apis can be', () => {
  const kafka = (text: string) =>
    file(`log: {kind: kafka, kafka: {brokers: ['a:1']}}\nredis: {${text}}\n`);
  const ok = (text: string) => expect(fault(kafka(text))).toBe('no fault');
  ok('address: "redis:6379"');
  ok('sentinels: ["a:1", "b:2"], master: m, sentinelPasswordFile: s, passwordFile: p');
  ok('address: "redis:6379", tls: {mode: on, certFile: c, keyFile: k}');
  expect(fault(file('redis: {address: "redis:6379"}\n'))).toContain('which need log.kind kafka');
  expect(fault(kafka('address: "a:1", sentinels: ["b:1"]'))).toContain('remove one of them');
  expect(fault(kafka('address: "a:99999"'))).toContain('there is no port in a:99999');
  expect(fault(kafka('address: "me:secret@a:1"'))).toContain('redis.address');
  expect(fault(kafka('username: me'))).toContain('redis.username: it is set together');
  expect(fault(kafka('sentinelPasswordFile: s'))).toContain('without redis.sentinels');
  expect(fault(kafka('tls: {caFile: c}'))).toContain('redis.tls.mode: certificate files');
  expect(fault(kafka('tls: {mode: on, keyFile: k}'))).toContain('together with redis.tls.keyFile');
});

test('targets of the remote-write output are whole addresses without secrets', () => {
  const targets = (text: string) => file(`outputs: {remoteWrite: [{${text}}]}\n`);
  const ok = (text: string) => expect(fault(targets(text))).toBe('no fault');
  ok('url: "https://a/api/v1/write"');
  ok('url: "http://a:1/x", interval: 1m, username: me, passwordFile: p');
  const [one] = loadSettings(targets('url: "https://a/api/v1/write"')).outputs.remoteWrite;
  expect(one?.interval).toBe('15s');
  expect(fault(targets('url: a'))).toContain('outputs.remoteWrite[0]: url: expected an address');
  expect(fault(targets('url: "http://u:p@a/"'))).toContain('a password in an address');
  expect(fault(targets('url: "http://a/", username: me'))).toContain('given together');
  expect(fault(targets('url: "http://a/", tenant: shop'))).toContain('while tenancy is off');
  expect(fault({ ...targets('url: "http://a/"'), flags: { tenancy: 'header' } })).toContain(
    'whose gauges are sent must be said',
  );
});

test('durations, sizes and addresses are read with their units', () => {
  const ok = (found: unknown, want: unknown) => expect(found).toEqual(want);
  ok(durationMs('250ms'), 250);
  ok(durationMs('15m'), 900_000);
  ok(durationMs('2w'), 1_209_600_000);
  ok(sizeBytes('900KB'), 900_000);
  ok(sizeBytes('4GB'), 4e9);
  ok(listenAddress('[::1]:80'), { host: '::1', port: 80 });
});

test('every setting has a flag and a variable of its own, and the README lists it with its default', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  expect(new Set(SETTINGS.map(({ flag }) => flag)).size).toBe(SETTINGS.length);
  expect(new Set(SETTINGS.map(({ variable }) => variable)).size).toBe(SETTINGS.length);
  for (const { key, schema } of SETTINGS) {
    const value = schema['default'] as unknown;
    const shown = typeof value === 'string' ? value : JSON.stringify(value);
    const effect = RELOADABLE.has(key) ? 'reload' : 'restart';
    expect(readme).toContain(`| \`${key}\` | \`${shown}\` | ${schema.description} | ${effect} |`);
  }
  for (const key of RELOADABLE) expect(SETTINGS.map((row) => row.key)).toContain(key);
});
