// An api that scores nothing asks those who do: all of their series are there once, who does not answer is named, and
// nobody is told that a series is unknown while its owner may just be silent.

import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer as createPlainServer, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { ScorerPeers, type ScorerPeersParts } from '../src/api/scorer-peers.js';
import { readSettings } from '../src/config.js';
import { SCORER_ANSWER_BYTES_MAX, SCORER_NAMES_MS, SCORERS_MAX } from '../src/limits.js';
import { createMetrics } from '../src/metrics.js';
import { openPeers } from '../src/scorer-access.js';
import { type ApiSite, openApiSite, quiet } from './api-site.js';
import { MemoryLog } from './memory-log.js';
import { removeDirectory, runProgram, temporaryDirectory } from './programs.js';
import { projectRoot } from './project-root.js';
import { type FleetOptions, type KnownSeries, startFleetScorer } from './scorer-fleet.js';
import { selfSigned } from './self-signed.js';
import { mainFile, parseMetrics, readingOf } from './treeline-process.js';

const PARTITIONS = 4;
const KAFKA_API = { 'log-kind': 'kafka', 'log-kafka-brokers': 'a:9092', roles: 'api' };
const ends: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const fingerprint = (n: number) => n.toString(16).padStart(16, '0');
const some = (from: number, count: number, rest: Partial<KnownSeries> = {}): KnownSeries[] =>
  Array.from({ length: count }, (_, i) => ({ fingerprint: fingerprint(from + i), ...rest }));
const fingerprintsOf = (rows: { fingerprint: string }[]) =>
  rows.map((row) => row.fingerprint).sort();

async function scorer(options: FleetOptions) {
  const started = await startFleetScorer(options);
  ends.push(() => started.stop());
  return started;
}

/** The real api, which asks these. */
async function apiOf(
  urls: readonly string[],
  parts: Partial<ScorerPeersParts> = {},
  judge?: Parameters<typeof openApiSite>[0]['judge'],
): Promise<ApiSite & { asked(outcome: string): Promise<number> }> {
  const metrics = createMetrics('0');
  const peers = new ScorerPeers({
    ...{ urls, metrics, logger: quiet, clock: () => 0, partitions: PARTITIONS },
    token: () => undefined,
    resolve: () => Promise.reject(new Error('no names here')),
    ...parts,
  });
  const site = await openApiSite({ series: peers, ...(judge && { judge }) });
  await site.start();
  ends.push(async () => {
    await site.stop();
    peers.close();
  });
  const asked = async (outcome: string) =>
    readingOf(parseMetrics(await metrics.text()), 'treeline_scorer_requests_total', { outcome }) ??
    0;
  return { ...site, asked };
}

/** Accepts connections and says nothing, as a frozen process does. */
async function silent(): Promise<string> {
  const server = createTcpServer(() => {}).listen(0, '127.0.0.1');
  await once(server, 'listening');
  ends.push(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function odd(answer: (reply: ServerResponse) => void): Promise<string> {
  const server = createPlainServer((_request, reply) => answer(reply)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  ends.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('a walk over pages finds every series of every scorer once, whatever the limit', async () => {
  const [first, second] = [
    await scorer({ owned: [0, 1], known: some(1, 7) }),
    await scorer({ owned: [2, 3], known: [...some(100, 5), ...some(200, 3, { name: 'y' })] }),
  ];
  const site = await apiOf([first.url, second.url]);
  const walk = async (limit: number, query = '') => {
    const seen: string[] = [];
    for (let cursor = ''; ; ) {
      const { statusCode, body } = await site.get(`/series?limit=${limit}${query}${cursor}`);
      expect(statusCode).toBe(200);
      expect(body.series.length).toBeLessThanOrEqual(limit);
      expect(body.unreachable).toBe(undefined);
      seen.push(...body.series.map((row: KnownSeries) => row.fingerprint));
      if (body.cursor === undefined) return seen.sort();
      cursor = `&cursor=${body.cursor}`;
    }
  };
  const all = fingerprintsOf([...first.known, ...second.known]);
  for (const limit of [1, 3, 5, 7, 8, 14, 15, 16, 1000]) expect(await walk(limit)).toEqual(all);
  const query = `&match[]=${encodeURIComponent('{__name__=~"y|z"}')}`;
  expect(await walk(2, query)).toEqual(fingerprintsOf(some(200, 3)));
  const strange = ['1.2', 'x', '0123456789abcdef-', '0123456789abcdef-1.2', '0123456789abcdef-1'];
  const answers = await Promise.all(strange.map((cursor) => site.get(`/series?cursor=${cursor}`)));
  expect(answers.map(({ statusCode }) => statusCode)).toEqual([400, 400, 200, 200, 400]);
});

test('one series is found wherever it is, and unknown only when all partitions have been asked', async () => {
  const first = await scorer({ owned: [0, 1], known: some(1, 1) });
  const second = await scorer({ owned: [2, 3], known: some(2, 1) });
  const site = await apiOf([first.url, second.url]);
  const get = (n: number) => site.get(`/series/${fingerprint(n)}`);
  expect((await get(1)).body).toEqual({ fingerprint: fingerprint(1) });
  expect((await get(2)).body).toEqual({ fingerprint: fingerprint(2) });
  expect((await get(3)).statusCode).toBe(404);
  await second.stop();
  expect((await get(1)).statusCode).toBe(200);
  const unsure = await get(2);
  expect(unsure.statusCode).toBe(503);
  expect(unsure.body.error).toMatch(/^Owner unreachable: .* partitions 2, 3; not heard: http/);
  expect(unsure.body.error).toContain(`${second.url} (ECONNREFUSED)`);
  // The partitions have moved: what is not known now is not known at all.
  first.owned.push(2, 3);
  expect((await get(2)).statusCode).toBe(404);
  first.owned.splice(3);
  expect((await get(2)).body.error).toMatch(/partitions 3; not heard/);
});

test('counts are summed, partitions listed, and who is missing is named', async () => {
  const known = [...some(1, 3, { tenant: 'a' }), ...some(1, 2, { tenant: 'b' })];
  const first = await scorer({ owned: [0, 1], known, tenancy: 'header' });
  const second = await scorer({ owned: [3], known, tenancy: 'header' });
  const peers = new ScorerPeers({
    ...{ urls: [first.url, second.url], logger: quiet, clock: () => 0, partitions: PARTITIONS },
    ...{ metrics: createMetrics('0'), token: () => undefined, resolve: async () => [] },
  });
  ends.push(() => peers.close());
  expect(await peers.count('a')).toEqual({ series: 6, scored: 6 });
  expect(await peers.count('b')).toEqual({ series: 4, scored: 4 });
  const row = (partition: number, { url }: { url: string }, stateHash: string | null = null) => ({
    ...{ partition, stateHash, scorer: url },
  });
  expect(await peers.status(false)).toEqual({
    partitions: [row(0, first), row(1, first), row(3, second)],
    partitionsUnanswered: [2],
  });
  await first.stop();
  const unreachable = [{ scorer: first.url, reason: 'ECONNREFUSED' }];
  expect(await peers.status(true)).toEqual({
    partitions: [row(3, second, 'h')],
    partitionsUnanswered: [0, 1, 2],
    unreachable,
  });
  expect(await peers.count('a')).toEqual({ series: 3, scored: 3, unreachable });
});

test('who is silent costs a second, is named, and holds nobody else up', async () => {
  const heard = await scorer({ owned: [0, 1, 2], known: some(1, 2) });
  const frozen = await silent();
  const site = await apiOf([heard.url, frozen]);
  const begin = performance.now();
  const page = await site.get('/series');
  expect(performance.now() - begin).toBeGreaterThan(900);
  expect(performance.now() - begin).toBeLessThan(2_500);
  expect(page.body).toEqual({
    series: some(1, 2),
    unreachable: [{ scorer: frozen, reason: 'no answer within 1000 ms' }],
  });
  const found = performance.now();
  expect((await site.get(`/series/${fingerprint(1)}`)).statusCode).toBe(200);
  expect(performance.now() - found).toBeLessThan(500);
  expect((await site.get(`/series/${fingerprint(9)}`)).statusCode).toBe(503);
  expect(await site.asked('late')).toBeGreaterThanOrEqual(2);
});

test('many silent scorers make a page short, not long', { timeout: 30_000 }, async () => {
  const heard = await scorer({ owned: [0], known: some(1, 1) });
  const frozen = [await silent(), await silent(), await silent(), await silent(), await silent()];
  const site = await apiOf([heard.url, ...frozen]);
  const named: string[] = [];
  const seen: object[] = [];
  for (let cursor = ''; ; ) {
    const begin = performance.now();
    const { body } = await site.get(`/series${cursor}`);
    expect(performance.now() - begin).toBeLessThan(4_000);
    seen.push(...body.series);
    named.push(...(body.unreachable ?? []).map((one: { scorer: string }) => one.scorer));
    if (body.cursor === undefined) break;
    cursor = `?cursor=${body.cursor}`;
  }
  expect(seen).toEqual(some(1, 1));
  expect(named.sort()).toEqual([...frozen].sort());
});

test('a tenant sees its own, and nothing of a scorer that tells no tenants apart', async () => {
  const known = [...some(1, 1, { tenant: 'a' }), ...some(2, 1, { tenant: 'b' }), ...some(3, 1)];
  const directory = temporaryDirectory('scorer-peers');
  ends.push(() => removeDirectory(directory));
  const tokenFile = join(directory, 'token');
  writeFileSync(tokenFile, 'right');
  const strict = await scorer({ owned: [0, 1], known, tenancy: 'header', tokenFile });
  const lax = await scorer({ owned: [2, 3], known });
  let token = 'right';
  const judge = ({ headers }: { headers: Record<string, unknown> }) => ({
    tenant: headers['x-scope-orgid'] as string | undefined,
    spend() {},
  });
  const site = await apiOf([strict.url, lax.url], { token: () => token }, judge);
  const page = async (tenant: string) =>
    (await site.get('/series', { 'x-scope-orgid': tenant })).body;
  const unreachable = [
    { scorer: lax.url, reason: 'it answers for another tenant; tenancy must be set as here' },
  ];
  expect(await page('a')).toMatchObject({ series: [{ fingerprint: fingerprint(1) }], unreachable });
  expect(await page('b')).toMatchObject({ series: [{ fingerprint: fingerprint(2) }], unreachable });
  expect(await page('c')).toEqual({ series: [], unreachable });
  expect(strict.asked.map(({ tenant }) => tenant)).toEqual(['a', 'b', 'c']);
  const one = (n: number) => site.get(`/series/${fingerprint(n)}`, { 'x-scope-orgid': 'a' });
  expect((await one(1)).statusCode).toBe(200);
  // Of another tenant and of nobody: the strict one does not know them, and the lax one is not believed.
  expect([(await one(2)).statusCode, (await one(3)).statusCode]).toEqual([503, 503]);
  expect((await site.get('/status', { 'x-scope-orgid': 'a' })).body).toEqual({
    ...{ tenant: 'a', anomalies: 0, series: 1, scored: 1, unreachable },
  });
  token = 'wrong';
  expect((await page('a')).unreachable).toContainEqual({
    scorer: strict.url,
    reason: 'it answers 401; look at api.scorersTokenFile',
  });
  token = 'right';
  expect((await page('a')).series).toHaveLength(1);
  expect(await site.asked('refused')).toBeGreaterThanOrEqual(6);
});

test('a name is all of its addresses, which are looked up again', async () => {
  const first = await scorer({ owned: [0, 1], known: some(1, 1), host: '127.0.0.1' });
  const { port } = first;
  const second = await scorer({ owned: [2], known: some(2, 1), host: '127.0.0.2', port });
  let addresses: string[] | undefined = ['127.0.0.2', '127.0.0.1', '::1'];
  let now = 0;
  let lookups = 0;
  const resolve = async (name: string) => {
    expect(name).toBe('scorers.test');
    lookups++;
    if (addresses === undefined) throw Object.assign(new Error('gone'), { code: 'ENOTFOUND' });
    return addresses;
  };
  const urls = [`http://scorers.test:${port}`];
  const site = await apiOf(urls, { resolve, clock: () => now });
  const page = async () => {
    const { body } = await site.get('/series');
    return { found: fingerprintsOf(body.series), unreachable: body.unreachable };
  };
  const both = fingerprintsOf(some(1, 2));
  expect(await page()).toEqual({ found: both, unreachable: undefined });
  const third = await scorer({ owned: [3], known: some(3, 1), host: '127.0.0.3', port });
  addresses = ['127.0.0.1', '127.0.0.3', '127.0.0.3'];
  now = SCORER_NAMES_MS - 1;
  expect(await page()).toEqual({ found: both, unreachable: undefined });
  expect(lookups).toBe(1);
  now = SCORER_NAMES_MS;
  expect((await page()).found).toEqual([fingerprint(1), fingerprint(3)]);
  expect(second.asked).toHaveLength(2);
  // Without an answer the addresses stay, and that is counted.
  addresses = undefined;
  now = 3 * SCORER_NAMES_MS;
  expect((await page()).found).toEqual([fingerprint(1), fingerprint(3)]);
  expect([lookups, await site.asked('unresolved')]).toEqual([3, 1]);
  expect(third.asked).toHaveLength(2);
  const lost = await apiOf(urls, { resolve, clock: () => now });
  const unreachable = [{ scorer: urls[0], reason: 'its name is not known: ENOTFOUND' }];
  expect((await lost.get('/series')).body).toEqual({ series: [], unreachable });
  expect((await lost.get(`/series/${fingerprint(1)}`)).statusCode).toBe(503);
});

test('more addresses than are asked are named', async () => {
  const resolve = async () => Array.from({ length: SCORERS_MAX + 1 }, (_, i) => `127.1.0.${i + 1}`);
  const site = await apiOf(['http://many.test:1'], { resolve });
  const { body } = await site.get('/status');
  expect(body.unreachable).toHaveLength(SCORERS_MAX + 1);
  expect(body.unreachable).toContainEqual({
    scorer: expect.stringContaining('http://127.1.0.'),
    reason: `not asked: ${SCORERS_MAX} others are`,
  });
});

test('an answer that is too large, no JSON, or of something else is refused and counted', async () => {
  const ok = async (answer: (reply: ServerResponse) => void, outcome: string, reason: string) => {
    const url = await odd(answer);
    const site = await apiOf([url]);
    const { statusCode, body } = await site.get('/series');
    expect([statusCode, body.series, body.unreachable]).toEqual([
      ...[200, [], [{ scorer: url, reason: expect.stringContaining(reason) }]],
    ]);
    expect(await site.asked(outcome)).toBe(1);
  };
  const sign = (reply: ServerResponse) => reply.setHeader('x-treeline-partitions', '0,1,2,3');
  const endless = (reply: ServerResponse) => {
    const chunk = Buffer.alloc(1 << 16, ' ');
    let sent = 0;
    const more = () => {
      while (!reply.destroyed && sent++ < 1e4) if (!reply.write(chunk)) return;
    };
    sign(reply).on('drain', more);
    more();
  };
  await ok(endless, 'oversized', `more than ${SCORER_ANSWER_BYTES_MAX} bytes`);
  await ok((reply) => sign(reply).end('<html>'), 'unreadable', 'not JSON');
  await ok((reply) => sign(reply).end('{"series":3}'), 'unreadable', 'of another version');
  await ok((reply) => reply.end('{"series":[]}'), 'unreadable', 'no scorer of this version');
  await ok(
    (reply) => reply.writeHead(302, { Location: 'http://127.0.0.1:1/' }).end(),
    'refused',
    '302',
  );
  await ok((reply) => reply.writeHead(404).end('{}'), 'refused', '404');
  await ok((reply) => reply.writeHead(500).end('{}'), 'refused', '500');
  await ok((reply) => reply.socket?.destroy(), 'unreachable', 'ECONNRESET');
  const halved = (reply: ServerResponse) => {
    sign(reply).setHeader('Content-Length', '100');
    reply.write('{"series":[');
    setImmediate(() => reply.destroy());
  };
  await ok(halved, 'unreachable', 'ECONNRESET');
});

test('a scorer that was started again is asked over a new connection', async () => {
  const before = await scorer({ owned: [0, 1, 2, 3], known: some(1, 1) });
  const site = await apiOf([before.url]);
  const get = async () => (await site.get(`/series/${fingerprint(1)}`)).statusCode;
  expect(await get()).toBe(200);
  await before.stop();
  expect(await get()).toBe(503);
  await scorer({ owned: [0, 1, 2, 3], known: some(1, 1), port: before.port });
  expect(await get()).toBe(200);
});

test('a kept connection that breaks when it is used again costs no answer', async () => {
  const used = new Set<unknown>();
  const connections = new Set<unknown>();
  const url = await odd((reply) => {
    connections.add(reply.socket);
    if (used.has(reply.socket)) return void reply.socket?.destroy();
    used.add(reply.socket);
    reply.setHeader('x-treeline-partitions', '0,1,2,3').end('{"series":[]}');
  });
  const site = await apiOf([url]);
  for (let i = 1; i <= 4; i++) {
    expect((await site.get('/series')).body).toEqual({ series: [] });
    expect([connections.size, await site.asked('answered')]).toEqual([i, i]);
  }
  expect(await site.asked('unreachable')).toBe(0);
});

test('HTTPS is checked against the name that was given, not the address behind it', async () => {
  const tls = selfSigned('scorer');
  const directory = temporaryDirectory('scorer-tls');
  ends.push(() => removeDirectory(directory));
  const trusted = join(directory, 'cert.pem');
  writeFileSync(trusted, tls.cert); // it is for 127.0.0.1
  const { url, port } = await scorer({ owned: [0], tls });
  // Who is trusted is decided when a process starts, so these are asked by others.
  const ask = async (base: string, environment: Record<string, string>) => {
    const module = new URL('api/scorer-client.js', pathToFileURL(mainFile()));
    const scorerAsked = `{ id: '', shown: '', base: new URL('${base}'), address: '127.0.0.1' }`;
    const script = `
      const { ScorerClient } = await import('${module}');
      const client = new ScorerClient(() => undefined);
      const { Type } = await import('@sinclair/typebox');
      const question = { schema: Type.Object({}), path: '/status', tenant: '', deadlineMs: 10_000 };
      const { outcome, reason } = await client.ask(${scorerAsked}, question);
      console.log(outcome, reason);
      client.close();`;
    const args = ['--input-type=module', '--eval', script];
    const options = { environment, timeoutMs: 30_000, directory: projectRoot() };
    return (await runProgram(process.execPath, args, options)).stdout.trim();
  };
  const trusting = { NODE_EXTRA_CA_CERTS: trusted };
  expect(await ask(url, trusting)).toBe('answered undefined');
  expect(await ask(url, {})).toBe('unreachable DEPTH_ZERO_SELF_SIGNED_CERT');
  expect(await ask(`https://scorers.test:${port}`, trusting)).toBe(
    'unreachable ERR_TLS_CERT_ALTNAME_INVALID',
  );
});

test('apis that were told to ask each other do not', async () => {
  const inner = await apiOf(['http://127.0.0.1:1']);
  const url = await inner.server.listen({ host: '127.0.0.1', port: 0 });
  const outer = await apiOf([url]);
  for (const path of ['/series', '/status']) {
    const { body } = await outer.get(path);
    expect(body.unreachable).toEqual([{ scorer: url, reason: 'it answers 400' }]);
  }
  expect(await inner.asked('unreachable')).toBe(0);
});

test('the document of the routes says that an owner may be unreachable', async () => {
  const site = await apiOf(['http://127.0.0.1:1']);
  const { paths } = JSON.parse((await site.server.inject('/openapi.json')).body);
  expect(paths['/anomaly/v1/series/{fingerprint}'].get.responses).toHaveProperty('503');
  const page = paths['/anomaly/v1/series'].get.responses['200'].content['application/json'].schema;
  expect(page.properties.unreachable.items.required).toEqual(['scorer', 'reason']);
});

test('settings that cannot be meant are refused', () => {
  const read = (flags: Record<string, string>) =>
    readSettings({ flags: { ...KAFKA_API, ...flags } });
  const { api } = read({ 'api-scorers': 'http://a:1,https://b/base' }).settings;
  expect(api.scorers).toEqual(['http://a:1', 'https://b/base']);
  const bad = (flags: Record<string, string>, reason: string) =>
    expect(() => read(flags)).toThrow(reason);
  bad({ 'api-scorers': 'http://user:secret@a' }, 'api-scorers');
  bad({ 'api-scorers': 'http://a:b' }, 'is no address');
  bad({ 'api-scorers': 'http://a', roles: 'api,scorer' }, 'answers for that one alone');
  bad({ 'api-scorers-token-file': '/t' }, 'means nothing without api.scorers');
});

test('a token file is read at the start, and one that holds no token ends it', async () => {
  const directory = temporaryDirectory('scorer-token');
  ends.push(() => removeDirectory(directory));
  const tokenFile = join(directory, 'token');
  writeFileSync(tokenFile, 'right\n');
  const strict = await scorer({ owned: [0], known: some(1, 1), tokenFile });
  const open = async (file: string, undo: (() => Promise<void>)[] = []) => {
    const flags = { 'api-scorers': strict.url, 'api-scorers-token-file': file };
    const { settings } = readSettings({ flags: { ...KAFKA_API, ...flags } });
    ends.push(async () => {
      for (const step of undo) await step();
    });
    const parts = { log: new MemoryLog(1), metrics: createMetrics('0'), logger: quiet };
    return openPeers({ ...parts, settings, clock: Date.now, undo });
  };
  const peers = await open(tokenFile);
  const question = { tenant: '', match: [], matches: () => true, limit: 10 };
  expect(await peers?.page(question)).toEqual({ rows: some(1, 1), unreachable: [] });
  expect(strict.asked[0]?.authorization).toBe('Bearer right');
  await expect(open(join(directory, 'none'))).rejects.toThrow('Cannot read');
  for (const text of ['two\nlines', 'a b', 'schlüssel']) {
    writeFileSync(tokenFile, text);
    await expect(open(tokenFile)).rejects.toThrow('holds no token');
  }
});
