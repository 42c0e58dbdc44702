import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import {
  durationMs,
  listenAddress,
  loadSettings,
  SETTINGS,
  type SettingSources,
  sizeBytes,
} from '../src/config.js';
import { OperatingError } from '../src/errors.js';

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
  expect(settings.roles).toEqual(['receiver', 'scorer', 'api']);
});

test('a flag wins over a variable, a variable over the file', () => {
  const sources = {
    ...file('log:\n  partitions: 8\ndataDir: /from/file\nlimits: { series: 10 }\n'),
    environment: { TREELINE_LOG_PARTITIONS: '16', TREELINE_DATA_DIR: '/from/environment' },
    flags: { 'log-partitions': '32' },
  };
  const settings = loadSettings(sources);
  expect(settings.log.partitions).toBe(32);
  expect(settings.dataDir).toBe('/from/environment');
  expect(settings.limits.series).toBe(10);
});

test('lists are written with commas or as YAML', () => {
  const roles = loadSettings({ environment: { TREELINE_ROLES: 'receiver, scorer' } }).roles;
  expect(roles).toEqual(['receiver', 'scorer']);
  const flags = { 'ingest-partition-by': '[[cluster, pod], [host]]' };
  expect(loadSettings({ flags }).ingest.partitionBy).toEqual([['cluster', 'pod'], ['host']]);
});

test('an unknown key names its line, its column and the nearest key', () => {
  expect(fault(file('log:\n  partitons: 8\n'))).toBe(
    'treeline.yaml:2:3: unknown key "log.partitons"; did you mean "log.partitions"?',
  );
  expect(fault(file('listn: 127.0.0.1:1\n'))).toContain('did you mean "listen"?');
  expect(fault(file('partitions: 8\n'))).toContain('did you mean "log.partitions"?');
  expect(fault(file('log:\n  zzzzzzzz: 8\n'))).toContain('known here: log.kind, log.partitions');
});

test('a wrong value names its line, what was expected and what was found', () => {
  expect(fault(file('log:\n\n  partitions: many\n'))).toBe(
    'treeline.yaml:3:3: log.partitions: expected integer, found "many"',
  );
  expect(fault(file('log: { partitions: 65 }\n'))).toContain('less or equal to 64, found 65');
  expect(fault(file('roles: [receiver, cook]\n'))).toContain(
    'expected some of receiver, scorer, api, found ["receiver","cook"]',
  );
  expect(fault(file('log: 3\n'))).toContain('log: expected settings below it, found 3');
  expect(fault(file('checkpoint: { interval: soon }\n'))).toContain('for example 1m');
  expect(fault({ flags: { 'gauges-scores': 'some' } })).toBe(
    '--gauges-scores: expected one of flagged, all, found "some"',
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

test('an address that others can reach needs a word about authentication', () => {
  expect(fault({ flags: { listen: '0.0.0.0:8275' } })).toContain('auth.mode: none');
  expect(fault({ flags: { listen: '[::]:8275' } })).toContain('auth.mode: none');
  for (const listen of ['127.0.0.1:0', '[::1]:8275', 'localhost:1']) {
    expect(loadSettings({ flags: { listen } }).listen).toBe(listen);
  }
  const open = loadSettings({ flags: { listen: '0.0.0.0:8275', 'auth-mode': 'none' } });
  expect(open.auth.mode).toBe('none');
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
    expect(readme).toContain(`| \`${key}\` | \`${shown}\` | ${schema.description} |`);
  }
});
