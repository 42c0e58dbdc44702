// The page as files: what is served of it, under which policy, how small, and to whom.

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { brotliDecompressSync, gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, expect, test } from 'vitest';
import { CONTENT_SECURITY_POLICY, loadPage, pageRoutes } from '../src/api/page.js';
import { createHttpServer, type Logger } from '../src/http-server.js';
import { createMetrics } from '../src/metrics.js';
import { placeOf } from '../src/path-groups.js';
import { projectRoot } from './project-root.js';

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const folder = mkdtempSync(join(tmpdir(), 'treeline-page-'));
afterAll(() => rmSync(folder, { recursive: true }));

const built = join(projectRoot(), 'dist', 'web');
/** All that a browser loads: the gate, in bytes as gzip sends them. */
const GZIP_BYTES_MAX = 60 * 1024;

function serverOf(path: string) {
  const server = createHttpServer({ metrics: createMetrics('0'), logger: quiet });
  pageRoutes(server, loadPage(pathToFileURL(`${path}/`)));
  return server;
}

test('the whole page is at most 60 KB, gzipped, and names nothing that is elsewhere', () => {
  const files = [
    'index.html',
    ...readdirSync(join(built, 'assets')).map((name) => `assets/${name}`),
  ];
  expect(files.length).toBeGreaterThanOrEqual(3);
  const bodies = files.map((name) => readFileSync(join(built, name)));
  const bytes = bodies.reduce((sum, body) => sum + gzipSync(body, { level: 9 }).length, 0);
  expect(bytes).toBeLessThanOrEqual(GZIP_BYTES_MAX);
  // A page that is only its frame would be small as well.
  expect(bytes).toBeGreaterThan(20 * 1024);
  const index = bodies[0]?.toString() ?? '';
  const names = [...index.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, name = '']) => name);
  expect(names.filter((name) => !/^(\/assets\/|data:image)/.test(name))).toEqual([]);
  // Nothing inline: the policy would refuse it.
  expect(index).not.toMatch(/<style|<script>|\son[a-z]+=|\sstyle=/);
});

test('the page comes with its policy, is asked for anew, and its assets are kept for ever', async () => {
  const server = serverOf(built);
  const index = await server.inject({ url: '/' });
  expect(index.statusCode).toBe(200);
  expect(index.headers['content-type']).toBe('text/html; charset=utf-8');
  expect(index.headers['cache-control']).toBe('no-cache');
  expect(index.headers['content-security-policy']).toBe(CONTENT_SECURITY_POLICY);
  expect(CONTENT_SECURITY_POLICY).toMatch(
    /^default-src 'none'; script-src 'self'; style-src 'self';/,
  );
  expect(CONTENT_SECURITY_POLICY).not.toContain('unsafe');
  const again = await server.inject({
    url: '/',
    headers: { 'if-none-match': String(index.headers.etag) },
  });
  expect([again.statusCode, again.body]).toEqual([304, '']);
  const name = /src="(\/assets\/[^"]+\.js)"/.exec(index.body)?.[1] ?? '';
  const script = await server.inject({ url: name });
  expect(script.headers['content-type']).toBe('text/javascript; charset=utf-8');
  expect(script.headers['cache-control']).toBe('public, max-age=31536000, immutable');
  expect(script.headers['x-content-type-options']).toBe('nosniff');
  await server.close();
});

test('what the browser accepts decides the coding, and every coding holds the same', async () => {
  const server = serverOf(built);
  const plain = (await server.inject({ url: '/' })).body;
  const ok = async (
    accepted: string,
    coding: string | undefined,
    decode: (body: Buffer) => Buffer,
  ) => {
    const answer = await server.inject({ url: '/', headers: { 'accept-encoding': accepted } });
    expect([accepted, answer.headers['content-encoding']]).toEqual([accepted, coding]);
    expect(answer.headers.vary).toBe('Accept-Encoding');
    expect(decode(answer.rawPayload).toString()).toBe(plain);
  };
  await ok('gzip, deflate, br, zstd', 'br', brotliDecompressSync);
  await ok('gzip', 'gzip', gunzipSync);
  await ok('br;q=0, GZIP;q=0.5', 'gzip', gunzipSync);
  await ok('identity', undefined, (body) => body);
  await ok('brotli', undefined, (body) => body);
  await server.close();
});

test('an asset is found by its name alone, and a page that was not built says so', async () => {
  const site = join(folder, 'site');
  mkdirSync(join(site, 'assets'), { recursive: true });
  writeFileSync(join(site, 'index.html'), '<!doctype html>');
  writeFileSync(join(site, 'assets', 'a-1.css'), 'a{}');
  writeFileSync(join(folder, 'secret.css'), 'not yours');
  const server = serverOf(site);
  const status = async (url: string) => (await server.inject({ url })).statusCode;
  expect(await status('/assets/a-1.css')).toBe(200);
  for (const url of [
    '/assets/b.css',
    '/assets/..%2f..%2fsecret.css',
    '/assets/',
    '/assets/__proto__',
  ]) {
    expect([url, await status(url)]).toEqual([url, 404]);
  }
  await server.close();
  const unbuilt = serverOf(join(folder, 'nowhere'));
  const answer = await unbuilt.inject({ url: '/' });
  expect([answer.statusCode, answer.body]).toEqual([404, expect.stringContaining('npm run build')]);
  await unbuilt.close();
});

test('the page itself is open to everybody, and what it shows is not', () => {
  expect(placeOf('GET', '/')).toBeUndefined();
  expect(placeOf('GET', '/assets/:name')).toBeUndefined();
  expect(placeOf('POST', '/')).toEqual({ group: 'admin', scope: 'nobody' });
  expect(placeOf('GET', '/anomaly/v1/incidents')?.group).toBe('read');
  expect(placeOf('POST', '/demo/faults')?.group).toBe('admin');
});
