// How the listener and the api's routes behave when things end or fail: connections at a stop, lines in the log while a
// scorer or the log is away, and a record that reached some partitions and not others.

import { Agent, get } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromBinary } from '@bufbuild/protobuf';
import { afterEach, expect, test } from 'vitest';
import { answerError } from '../src/api/query.js';
import { OperatingError } from '../src/errors.js';
import { ControlSchema } from '../src/gen/control_pb.js';
import { createHttpServer, type Logger, listen } from '../src/http-server.js';
import type { Topic } from '../src/log/log.js';
import { createMetrics } from '../src/metrics.js';
import { type ApiSite, openApiSite, quiet } from './api-site.js';
import { MemoryLog } from './memory-log.js';

let closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.reverse()) await close();
  closing = [];
});

test('at a stop a request under way is answered, and no idle connection holds the listener', {
  timeout: 30_000,
}, async () => {
  const server = createHttpServer({ metrics: createMetrics('0'), logger: quiet });
  server.get('/slow', async () => {
    await sleep(600);
    return 'done';
  });
  server.get('/quick', async () => 'done');
  const url = await listen(server, { host: '127.0.0.1', port: 0 });
  const agent = new Agent({ keepAlive: true });
  closing.push(async () => agent.destroy());
  const ask = (path: string) =>
    new Promise<string>((resolve, reject) => {
      const request = get(`${url}${path}`, { agent }, (answer) => {
        let text = '';
        answer.on('data', (chunk: Buffer) => {
          text += chunk.toString();
        });
        answer.on('end', () => resolve(text));
      });
      request.on('error', reject);
    });
  expect(await ask('/quick')).toBe('done');
  const silent = connect(Number(new URL(url).port), '127.0.0.1');
  await new Promise((resolve) => silent.once('connect', resolve));
  closing.push(async () => silent.destroy());
  const slow = ask('/slow');
  await sleep(100);
  const begun = performance.now();
  await Promise.all([server.close(), slow]);
  expect(await slow).toBe('done');
  // Its connection is kept alive by the client, and idle only after the listener began to close.
  expect(performance.now() - begun).toBeLessThan(2_000);
});

test('what is away is logged once a minute with its count, what is broken each time', async () => {
  const lines: [level: string, fields: object][] = [];
  const write = (level: string) => (fields: object) => void lines.push([level, fields]);
  const logger: Logger = { debug() {}, info() {}, warn: write('warn'), error: write('error') };
  const server = createHttpServer({ metrics: createMetrics('0'), logger });
  closing.push(() => server.close());
  void server.register(async (scope) => {
    scope.setErrorHandler((error: Parameters<typeof answerError>[0], request, reply) =>
      answerError(error, { route: request.routeOptions.url, reply, logger }),
    );
    scope.get('/away', async () => {
      throw new OperatingError('owner_unreachable', 'Owner unreachable: it is away');
    });
    scope.get('/broken', async () => {
      throw new Error('broken');
    });
  });
  for (let i = 0; i < 50; i++) {
    const { statusCode, headers } = await server.inject({ url: '/away' });
    expect([statusCode, headers['retry-after']]).toEqual([503, '1']);
  }
  expect(lines).toEqual([
    ['warn', { route: '/away', reason: 'Owner unreachable: it is away', leftOut: 0 }],
  ]);
  for (let i = 0; i < 3; i++)
    expect((await server.inject({ url: '/broken' })).statusCode).toBe(500);
  expect(lines.filter(([level]) => level === 'error')).toHaveLength(3);
});

/** Refuses to append to one partition of control, while it is told to. */
class HalfLog extends MemoryLog {
  refused: number | undefined;

  override append(topic: Topic, partition: number, value: Uint8Array, samples: number) {
    if (topic === 'control' && partition === this.refused) {
      return Promise.reject(new OperatingError('log_unavailable', 'Cannot append now'));
    }
    return super.append(topic, partition, value, samples);
  }

  idsIn(partition: number): string[] {
    const records = this.remains.lanes.get(`control/${partition}`)?.records ?? [];
    return records.map((bytes) => fromBinary(ControlSchema, bytes).id);
  }
}

async function openHalf(): Promise<{ site: ApiSite; log: HalfLog }> {
  const log = new HalfLog(3);
  const site = await openApiSite({ log });
  closing.push(async () => {
    await site.stop();
    await log.close();
  });
  await site.start();
  return { site, log };
}

const FEEDBACK = { kind: 'missed', match: ['up'], start: '1' };
const WINDOW = { match: ['up'], end: '4102444800' };

test('what was said to some partitions only is said whole by the same key again, as one record', async () => {
  const bodies = { '/feedback': FEEDBACK, '/maintenance': WINDOW };
  for (const [path, body] of Object.entries(bodies)) {
    const { site, log } = await openHalf();
    const post = async (headers: Record<string, string>) => {
      const { statusCode, body: text } = await site.server.inject({
        ...{ method: 'POST' as const, url: `/anomaly/v1${path}`, payload: body },
        headers,
      });
      return { statusCode, body: JSON.parse(text) as { error?: string; id?: string } };
    };
    log.refused = 2;
    const failed = await post({});
    expect(failed.statusCode).toBe(503);
    const key = /send it again with Idempotency-Key: (\S+)$/.exec(failed.body.error ?? '')?.[1];
    if (key === undefined) return expect.fail(`no advice: ${failed.body.error}`);
    expect([log.idsIn(0), log.idsIn(1).length, log.idsIn(2)]).toEqual([[], 1, []]);
    log.refused = undefined;
    const again = await post({ 'Idempotency-Key': key });
    expect(again.statusCode).toBe(201);
    expect(again.body.id).toBe(log.idsIn(1)[0]);
    for (const partition of [0, 1, 2]) {
      expect([...new Set(log.idsIn(partition))]).toEqual([again.body.id]);
    }
    // Whoever had no answer sends it once more.
    expect((await post({ 'Idempotency-Key': key })).body).toEqual(again.body);
    const { body: list } = await site.get(path);
    expect(Object.values(list as Record<string, object[]>)[0]).toHaveLength(1);
    expect((await post({})).body.id).not.toBe(again.body.id);
    expect((await post({ 'Idempotency-Key': 'x'.repeat(201) })).statusCode).toBe(400);
  }
});
