import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { Access, type Admission, type Knock, type Refusal } from '../src/auth.js';
import { sizeBytes } from '../src/config.js';
import type { CredentialSettings } from '../src/config-auth.js';
import { OperatingError } from '../src/errors.js';
import { createHttpServer, type Logger } from '../src/http-server.js';
import { createMetrics } from '../src/metrics.js';
import type { PathGroup } from '../src/path-groups.js';
import { readSecret, watchSecrets } from '../src/secret-file.js';
import { tenantFault } from '../src/tenant.js';

const directory = mkdtempSync(join(tmpdir(), 'treeline-auth-'));
afterAll(() => rmSync(directory, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

const SENDER: CredentialSettings = {
  name: 'sender',
  tokenFile: file('sender', 'token-of-sender\n'),
  allow: ['write'],
};
const READER: CredentialSettings = {
  name: 'reader',
  passwordFile: file('reader', 'pass:word'),
  allow: ['read', 'admin'],
};

interface Site {
  credentials?: CredentialSettings[];
  open?: PathGroup[];
  tenancy?: 'off' | 'header';
}

let now = 1_000_000;
function access({ credentials = [SENDER, READER], open = [], tenancy = 'off' }: Site = {}): Access {
  return new Access({ credentials, open, tenancy, sizeBytes }, () => now);
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const basic = (user: string, password: string) => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
});
const knock = (group: PathGroup, headers: Knock['headers'] = {}): Knock => ({
  group,
  headers,
  scope: 'tenant',
});
const status = (verdict: Admission | Refusal) => ('status' in verdict ? verdict.status : 'in');

test('a token or a password opens the groups it is allowed, and nothing else', () => {
  const guarded = access();
  const ok = (group: PathGroup, headers: Knock['headers'], want: unknown) =>
    expect([group, headers, status(guarded.judge(knock(group, headers)))]).toEqual([
      group,
      headers,
      want,
    ]);
  ok('write', bearer('token-of-sender'), 'in');
  ok('write', { authorization: 'bearer  token-of-sender' }, 'in');
  ok('read', bearer('token-of-sender'), 403);
  ok('read', basic('reader', 'pass:word'), 'in');
  ok('admin', basic('reader', 'pass:word'), 'in');
  ok('write', basic('reader', 'pass:word'), 403);
  ok('write', {}, 401);
  ok('write', bearer('token-of-sende'), 401);
  ok('write', bearer('token-of-sender2'), 401);
  ok('write', bearer(''), 401);
  ok('read', basic('other', 'pass:word'), 401);
  ok('read', basic('reader', 'pass'), 401);
  // A secret counts only in the way it is meant to be sent.
  ok('write', basic('sender', 'token-of-sender'), 401);
  ok('read', bearer('pass:word'), 401);
  ok('read', { authorization: 'Negotiate x' }, 401);
  ok('read', { authorization: `Basic ${Buffer.from('reader').toString('base64')}` }, 401);
  ok('write', bearer('x'.repeat(100_000)), 401);
});

test('a refusal names the ways in, and never a secret', () => {
  const { headers, message } = access().judge(knock('write', bearer('wrong-one'))) as Refusal;
  expect(headers['WWW-Authenticate']).toBe(
    'Bearer realm="treeline", Basic realm="treeline", charset="UTF-8"',
  );
  expect(message).not.toMatch(/wrong-one|token-of|pass:/);
});

test('without credentials everybody is in, and with them an open group stays open', () => {
  expect(status(access({ credentials: [] }).judge(knock('admin')))).toBe('in');
  const half = access({ open: ['read'] });
  expect(status(half.judge(knock('read')))).toBe('in');
  expect(status(half.judge(knock('admin')))).toBe(401);
});

test('a changed file changes who is in; an unusable one changes nothing', () => {
  const path = file('changing', 'first');
  const guarded = access({ credentials: [{ name: 'a', tokenFile: path, allow: ['write'] }] });
  const is = (token: string) => status(guarded.judge(knock('write', bearer(token))));
  expect(guarded.reread()).toBe(false);
  writeFileSync(path, 'second\n');
  expect([is('first'), guarded.reread(), is('first'), is('second')]).toEqual([
    'in',
    true,
    401,
    'in',
  ]);
  writeFileSync(path, '');
  expect(() => guarded.reread()).toThrow(OperatingError);
  rmSync(path);
  expect(() => guarded.reread()).toThrow(`Cannot read ${path}: ENOENT`);
  expect(is('second')).toBe('in');
});

test('a watch complains once about the same fault, and goes on', () => {
  const path = file('watched', 'one');
  const lines: object[] = [];
  const logger = { error: (fields: object) => lines.push(fields) } as unknown as Logger;
  let found = '';
  const read = () => {
    found = readSecret(path, 10);
  };
  const watch = watchSecrets('token', read, logger);
  watch.check();
  writeFileSync(path, 'x'.repeat(11));
  watch.check();
  watch.check();
  expect([found, lines.length]).toEqual(['one', 1]);
  expect(JSON.stringify(lines)).not.toContain('xxx');
  writeFileSync(path, 'two');
  watch.check();
  watch.stop();
  expect(found).toBe('two');
});

test('a rate is answered 429 with the seconds to wait, and only then', () => {
  const limited = { ...SENDER, samplesPerSecond: 100, requestsPerSecond: 5 };
  const guarded = access({ credentials: [limited] });
  const send = (samples: number) => {
    const verdict = guarded.judge(knock('write', bearer('token-of-sender')));
    if ('status' in verdict) return [verdict.status, Number(verdict.headers['Retry-After'])];
    verdict.spend(samples);
    return 'in';
  };
  // A burst of 10 seconds of samples, and into debt: what was let in is taken whole.
  expect([send(900), send(600)]).toEqual(['in', 'in']);
  expect(send(1)).toEqual([429, 6]);
  now += 4_000;
  expect(send(1)).toEqual([429, 2]);
  now += 2_000;
  expect(send(1)).toBe('in');
  // 50 requests at once, then 5 a second.
  now += 60_000;
  expect(Array.from({ length: 51 }, () => send(0)).indexOf('in')).toBe(0);
  expect(send(0)).toEqual([429, 1]);
  now += 1_000;
  expect(send(0)).toBe('in');
  now -= 3_600_000; // the clock is set back: nothing breaks and nothing is given away
  expect(Array.from({ length: 6 }, () => send(0)).at(-1)).toEqual([429, 1]);
});

test('a reload does not fill the purse of somebody who has emptied it', () => {
  const limited = { ...SENDER, samplesPerSecond: 100 };
  const settings = { credentials: [limited], open: [], tenancy: 'off' as const, sizeBytes };
  const before = new Access(settings, () => now);
  const headers = bearer('token-of-sender');
  (before.judge(knock('write', headers)) as Admission).spend(5_000);
  const after = new Access(settings, () => now, before);
  expect(status(after.judge(knock('write', headers)))).toBe(429);
  const raised = { ...settings, credentials: [{ ...limited, samplesPerSecond: 1_000 }] };
  expect(status(new Access(raised, () => now, after).judge(knock('write', headers)))).toBe('in');
});

test('a body larger than the credential may send is refused by its declared length', () => {
  const guarded = access({ credentials: [{ ...SENDER, bodySize: '1KB' }] });
  const of = (length?: string) =>
    status(
      guarded.judge(
        knock('write', {
          ...bearer('token-of-sender'),
          ...(length !== undefined && { 'content-length': length }),
        }),
      ),
    );
  expect([of('1000'), of('1001'), of()]).toEqual(['in', 413, 411]);
});

test('with tenants a request names its own, and a bound token no other', () => {
  const bound = { ...SENDER, tenant: 'team-a', allow: ['write', 'read'] as PathGroup[] };
  const free = { ...READER, allow: ['read'] as PathGroup[] };
  const guarded = access({ credentials: [bound, free], tenancy: 'header' });
  const a = bearer('token-of-sender');
  const b = basic('reader', 'pass:word');
  const ok = (headers: Knock['headers'], scope: Knock['scope'], want: unknown) => {
    const verdict = guarded.judge({ group: 'read', headers, scope });
    expect('status' in verdict ? verdict.status : verdict.tenant).toBe(want);
  };
  ok({ ...a }, 'tenant', 'team-a');
  ok({ ...a, 'x-scope-orgid': 'team-a' }, 'tenant', 'team-a');
  ok({ ...a, 'x-scope-orgid': 'team-b' }, 'tenant', 403);
  ok({ ...a, 'x-scope-orgid': 'team-b' }, 'operator', 403);
  ok({ ...a }, 'operator', 'team-a');
  ok({ ...b, 'x-scope-orgid': 'team-b' }, 'tenant', 'team-b');
  ok({ ...b }, 'tenant', 400);
  ok({ ...b }, 'operator', undefined);
  ok({ ...b, 'x-scope-orgid': 'team-b' }, 'operator', 'team-b');
  ok({ ...b, 'x-scope-orgid': 'a|b' }, 'tenant', 400);
  ok({ ...b, 'x-scope-orgid': '' }, 'tenant', 400);
  expect((access().judge(knock('write', { ...a, 'x-scope-orgid': 'x' })) as Admission).tenant).toBe(
    '',
  );
});

test('the names of tenants are those of Mimir', () => {
  const ok = (name: string, isGood: boolean) =>
    expect([name, tenantFault(name) === undefined]).toEqual([name, isGood]);
  ok("a-Z0_9.!*'()", true);
  ok('x'.repeat(150), true);
  for (const bad of ['x'.repeat(151), '', '.', '..', 'a/b', 'a b', 'ä', 'a\n']) ok(bad, false);
});

test('the listener judges every route but health, by the route and not by how it is spelt', async () => {
  const guarded = access({ credentials: [SENDER, READER] });
  const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };
  const server = createHttpServer({
    metrics: createMetrics('0'),
    logger: quiet,
    judge: (seen) => guarded.judge(seen),
  });
  for (const path of ['/-/healthy', '/ready', '/metrics', '/anomaly/v1/series/:id']) {
    server.get(path, (request) => ({ tenant: request.admission.tenant }));
  }
  server.post('/api/v1/write', () => 'ok');
  server.post('/-/reload', () => 'ok');
  const of = async (method: 'GET' | 'POST' | 'DELETE', url: string, headers = {}) =>
    (await server.inject({ method, url, headers })).statusCode;
  expect([await of('GET', '/-/healthy'), await of('GET', '/ready')]).toEqual([200, 200]);
  for (const url of [
    '/metrics',
    '/metrics?all=1',
    '/%6detrics',
    '/anomaly/v1/series/x',
    '/nothing',
  ]) {
    expect([url, await of('GET', url)]).toEqual([url, 401]);
    expect([url, await of('GET', url, bearer('token-of-sender'))]).toEqual([url, 403]);
    const want = url === '/nothing' ? 404 : 200;
    expect([url, await of('GET', url, basic('reader', 'pass:word'))]).toEqual([url, want]);
  }
  expect(await of('POST', '/-/reload', bearer('token-of-sender'))).toBe(403);
  expect(await of('POST', '/-/reload', basic('reader', 'pass:word'))).toBe(200);
  expect(await of('DELETE', '/metrics', bearer('token-of-sender'))).toBe(403);
  expect(await of('POST', '/api/v1/write', bearer('token-of-sender'))).toBe(200);
  const refused = await server.inject({ method: 'POST', url: '/api/v1/write', payload: 'x' });
  expect(refused.statusCode).toBe(401);
  expect(refused.headers).toMatchObject({ connection: 'close' });
  expect(refused.headers['www-authenticate']).toContain('Bearer');
});
