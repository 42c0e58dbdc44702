// Bad inputs, rows 29 to 32, 66 and 70 to 72: what is wrong with a request before its body counts.
// Type and encoding are judged before the body is looked at: every body here would be a 400, so that
// a 415 shows that nobody tried to decompress it.

import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BODY_READ_MS_MAX } from '../src/limits.js';
import {
  type BadInputs,
  expectPlain,
  good,
  headersOf,
  messageOf,
  openBadInputs,
  VERSIONS,
} from './bad-inputs.js';
import { endPrograms } from './programs.js';
import { randomBytes, randomOf } from './random.js';
import {
  compress,
  exchange,
  WRITE_HEADERS,
  WRITE_HEADERS_V2,
  writtenOf,
} from './remote-write-sender.js';
import type { SeriesV2 } from './write-request-v2.js';

const V1 = 'prometheus.WriteRequest';
const V2 = 'io.prometheus.write.v2.Request';
const UNREADABLE = randomBytes(randomOf(7), 100);

let inputs: BadInputs;

beforeAll(async () => {
  inputs = await openBadInputs('bad-http');
});

afterAll(async () => {
  inputs.close();
  await endPrograms();
});

test('29-30: another type or message is 415, naming what is taken', async () => {
  const refuse = (value: string, why: RegExp) =>
    inputs.refuse(UNREADABLE, { status: 415, why, headers: { 'Content-Type': value } });
  await refuse('application/json', /"application\/json".*application\/x-protobuf/);
  await refuse('image/png', /"image\/png"/);
  await refuse('text/plain', /"text\/plain"/);
  await refuse('application/x-protobuf;proto=yolo', new RegExp(`"yolo".*${V1}.*${V2}`));
  await refuse('application/x-protobuf;proto=io.prometheus.write.v3.Request', /v3\.Request/);
  await refuse('application/x-protobuf;proto', /"proto".*no value/);
  await refuse(`application/x-protobuf;proto=${V2}x`, /v2\.Requestx/);
  await refuse(`application/x-protobuf;proto=${V1};proto=${V2}`, /names two messages/);
});

test('31: another encoding is 415 in both versions', async () => {
  for (const version of VERSIONS) {
    for (const encoding of ['gzip', 'deflate', 'br', 'identity', 'zstd', 'snappy, gzip']) {
      const headers = { 'Content-Encoding': encoding };
      const why = new RegExp(`"${encoding}".*snappy`);
      await inputs.refuse(UNREADABLE, { status: 415, why, version, headers });
    }
  }
});

test('the version is found however the type is spelt, and the version header is not believed', async () => {
  const untyped: Record<string, string> = { 'Content-Encoding': 'snappy' };
  const spelt = (type: string) => ({ ...untyped, 'Content-Type': type });
  for (const headers of [
    spelt(`application/x-protobuf;proto=${V2}`),
    spelt(`application/x-protobuf; proto=${V2}`),
    spelt(`Application/X-Protobuf ; PROTO=${V2}`),
    spelt(`application/x-protobuf;proto="${V2}"`),
    spelt(`application/x-protobuf; charset=utf-8; proto=${V2}`),
    { ...spelt(`application/x-protobuf;proto=${V2}`), 'Content-Encoding': 'Snappy' },
    { 'Content-Type': `application/x-protobuf;proto=${V2}` },
    { ...WRITE_HEADERS_V2, 'X-Prometheus-Remote-Write-Version': '0.1.0' },
  ]) {
    await takenWith(headers, 2);
  }
  for (const headers of [
    untyped,
    {},
    spelt(`application/x-protobuf;proto=${V1}`),
    spelt(`application/x-protobuf; proto=${V1}`),
    { ...WRITE_HEADERS, 'X-Prometheus-Remote-Write-Version': '2.0.0' },
    { ...WRITE_HEADERS, 'Transfer-Encoding': 'chunked' },
  ]) {
    await takenWith(headers, 1);
  }
});

test('32: only POST is allowed on the two write paths, and both take both versions', async () => {
  for (const path of ['/api/v1/write', '/api/v1/push']) {
    const url = new URL(path, inputs.treeline.url);
    for (const method of ['GET', 'PUT', 'DELETE', 'HEAD', 'PATCH']) {
      const answer = await exchange(url, { method });
      expect([method, answer.status, answer.headers['allow']]).toEqual([method, 405, 'POST']);
      if (method !== 'HEAD') expectPlain(answer);
    }
    for (const version of VERSIONS) {
      const series = good();
      const body = compress(messageOf(version, [series]).message);
      const answer = await exchange(url, { method: 'POST', headers: headersOf(version), body });
      expect([answer.status, answer.text]).toEqual([204, '']);
      inputs.keep(series);
    }
  }
});

test('66: OTLP is not built, so that its paths do not exist', async () => {
  for (const path of ['/v1/metrics', '/api/v1/otlp/v1/metrics', '/api/v1/writ']) {
    const answer = await exchange(new URL(path, inputs.treeline.url), {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-protobuf' },
      body: UNREADABLE,
    });
    expect([path, answer.status]).toEqual([path, 404]);
    expectPlain(answer);
  }
});

test('70: a body of one byte a second is given up, and holds nobody else up', {
  timeout: BODY_READ_MS_MAX + 20_000,
}, async () => {
  const body = compress(messageOf(1, [good()]).message);
  const begun = performance.now();
  const slow = trickle(body);
  for (let i = 0; i < 3; i++) {
    const series = good();
    const sent = performance.now();
    await inputs.take(messageOf(2, [series]), { samples: 2 });
    inputs.keep(series);
    expect(performance.now() - sent).toBeLessThan(2_000);
  }
  const answer = await slow;
  // It is told, and then the connection ends; at the limit, not before and not long after.
  expect(answer).toMatch(/^HTTP\/1\.1 408 .*\r\nconnection: close\r\n/is);
  expect(answer).toMatch(/\r\n\r\nThe body did not arrive within 20000 ms\n$/);
  const elapsed = performance.now() - begun;
  expect(elapsed).toBeGreaterThan(BODY_READ_MS_MAX - 1_000);
  expect(elapsed).toBeLessThan(BODY_READ_MS_MAX + 5_000);
});

test('71: a header block above the limit is 431', async () => {
  const answer = await exchange(new URL('/api/v1/write', inputs.treeline.url), {
    method: 'POST',
    headers: { ...WRITE_HEADERS, 'X-Filler': 'x'.repeat(20_000) },
    body: new Uint8Array(1),
  });
  expect(answer.status).toBe(431);
});

test.each(VERSIONS)(
  '72: version %i: what is quoted in an answer adds no header and no line',
  async (version) => {
    const evil = 'x\r\nSet-Cookie: a=b\r\n\r\n<script>\u001b[31m';
    const bad = Array.from({ length: 300 }, (_, index) => ({
      labels: { job: `${index}${evil}${'é'.repeat(3_000)}` },
      samples: [{ timestampMs: Date.now(), value: index }],
    }));
    const series = good();
    const answer = await inputs.partly(messageOf(version, [...bad, series]), {
      why: /^300 of 302 samples rejected: 300 no metric name; first: /,
      reason: 'no_metric_name',
      rejected: 300,
      samples: 2,
    });
    expect(answer.headers['set-cookie']).toBeUndefined();
    expect(answer.text).not.toContain('\u001b');
    // No character is cut in two at the end of the answer.
    expect(answer.text).not.toContain('\ufffd');
    inputs.keep(series);
    await inputs.refuse(UNREADABLE, {
      status: 415,
      why: /"x\/y\\u001b\[31m|"x\/y/,
      headers: { 'Content-Type': 'x/y;a=\u00ff<script>' },
    });
  },
);

test('the log holds the good series, and nothing of all this', async () => {
  await inputs.expectLog();
});

async function takenWith(headers: Record<string, string>, version: 1 | 2): Promise<void> {
  const series: SeriesV2 = good();
  const body = compress(messageOf(version, [series]).message);
  const answer = await inputs.sender.send(body, headers);
  expect([JSON.stringify(headers), answer.status, answer.text]).toEqual([
    JSON.stringify(headers),
    204,
    '',
  ]);
  const written = { samples: 2, histograms: 0, exemplars: 0 };
  expect(writtenOf(answer)).toEqual(version === 2 ? written : undefined);
  inputs.keep(series);
}

/** Resolves with what was answered, when the other side has closed. */
function trickle(body: Uint8Array): Promise<string> {
  const { hostname, port } = new URL(inputs.treeline.url);
  return new Promise((resolve) => {
    let answer = '';
    let sent = 0;
    const socket = connect({ host: hostname, port: Number(port) });
    const timer = setInterval(() => {
      if (sent < body.length) socket.write(body.subarray(sent, ++sent));
    }, 1_000);
    socket.on('connect', () => {
      const head = Object.entries({ ...WRITE_HEADERS, 'Content-Length': String(body.length) })
        .map(([name, value]) => `${name}: ${value}\r\n`)
        .join('');
      socket.write(`POST /api/v1/write HTTP/1.1\r\nHost: ${hostname}\r\n${head}\r\n`);
    });
    socket.on('data', (text) => {
      answer += text.toString();
    });
    // A reset says as much as an end.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearInterval(timer);
      resolve(answer);
    });
  });
}
