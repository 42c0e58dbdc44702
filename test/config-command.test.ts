// `treeline config` as a user calls it: what it prints, where, and with which exit code.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fastify from 'fastify';
import { afterAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { loadSettings, SETTINGS } from '../src/config.js';
import { withoutSecrets } from '../src/secret-file.js';
import { runTreeline } from './treeline-process.js';

const directory = mkdtempSync(join(tmpdir(), 'treeline-config-'));
afterAll(() => rmSync(directory, { recursive: true }));

function file(text: string): string {
  const path = join(directory, 'treeline.yaml');
  writeFileSync(path, text);
  return path;
}

test('check names every fault with its place and exits 1; a good file is said to be one', async () => {
  const path = file('log:\n  partitons: 8\nlisten: 0.0.0.0:1\n');
  const bad = await runTreeline(['config', 'check', path]);
  expect(bad).toMatchObject({
    code: 1,
    stdout: '',
    stderr: `${path}:2:3: unknown key "log.partitons"; did you mean "log.partitions"?\n`,
  });
  const json = await runTreeline(['config', 'check', path, '-o', 'json']);
  expect(json.code).toBe(1);
  expect(JSON.parse(json.stdout)).toEqual({
    valid: false,
    faults: [
      {
        file: path,
        line: 2,
        column: 3,
        message: 'unknown key "log.partitons"; did you mean "log.partitions"?',
      },
    ],
  });
  const good = file('log.partitions: 8\n');
  expect(await runTreeline(['config', 'check', good])).toMatchObject({
    code: 0,
    stdout: `${good}: valid\n`,
  });
});

test('a missing file fails, a missing argument and an unknown command are misuse', async () => {
  const missing = await runTreeline(['config', 'check', join(directory, 'none')]);
  expect(missing).toMatchObject({ code: 1 });
  expect(missing.stderr).toContain('ENOENT');
  expect(await runTreeline(['config', 'check'])).toMatchObject({ code: 2 });
  expect(await runTreeline(['config', 'chekc'])).toMatchObject({ code: 2 });
});

test('print says where each value came from, and is a settings file again', async () => {
  const path = file('log:\n  partitions: 8\nauth.credentials: [{ name: a, tokenFile: /t }]\n');
  const args = ['config', 'print', '--config', path, '--data-dir', '/x'];
  const environment = { TREELINE_LOGGING_LEVEL: 'debug' };
  const { stdout, code } = await runTreeline(args, environment);
  expect(code).toBe(0);
  const ok = (pattern: RegExp) => expect(stdout).toMatch(pattern);
  ok(/^log\.partitions: 8 +# .*treeline\.yaml:2:3$/m);
  ok(/^dataDir: \/x +# --data-dir$/m);
  ok(/^logging\.level: debug +# TREELINE_LOGGING_LEVEL$/m);
  ok(/^gauges\.scores: flagged +# default$/m);
  const again = loadSettings({ file: { name: 'printed', text: stdout } });
  expect(again.log.partitions).toBe(8);
  expect(again.auth.credentials).toEqual([{ name: 'a', tokenFile: '/t', allow: ['write'] }]);
  const json = JSON.parse((await runTreeline([...args, '-o', 'json'])).stdout) as {
    settings: object[];
  };
  expect(json.settings).toHaveLength(SETTINGS.length);
  expect(json.settings).toContainEqual({
    key: 'log.partitions',
    value: 8,
    source: `${path}:2:3`,
    reload: false,
  });
});

test('user and password of an address are hidden wherever it stands', () => {
  const ok = (value: unknown, want: unknown) => expect(withoutSecrets(value)).toEqual(want);
  ok('http://me:secret@host:9090/x', 'http://<hidden>@host:9090/x');
  ok('http://host/?a=b@c', 'http://host/?a=b@c');
  ok({ a: ['https://token@h', 7, null] }, { a: ['https://<hidden>@h', 7, null] });
});

test('the schema is JSON Schema that a validator compiles, and it judges as we do', async () => {
  const { stdout } = await runTreeline(['config', 'schema']);
  const schema = JSON.parse(stdout) as { $schema: string };
  expect(schema.$schema).toBe('http://json-schema.org/draft-07/schema#');
  // Fastify judges bodies with Ajv, which nobody here wrote.
  const server = fastify({
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false } },
  });
  server.post('/', { schema: { body: { ...schema, required: [] } } }, () => 'valid');
  const judge = async (text: string) => {
    const payload = parse(text) as object;
    return (await server.inject({ method: 'POST', url: '/', payload })).statusCode;
  };
  expect(await judge('listen: 127.0.0.1:1')).toBe(200);
  expect(await judge('lisen: 127.0.0.1:1')).toBe(400);
  expect(await judge('listen: nowhere')).toBe(400);
  expect(await judge('tenancy: maybe')).toBe(400);
});
