// The event stream over a real socket: what changes arrives, what was missed comes first, a reader who does not read is
// let go, and closing the server does not wait for readers.

import { type IncomingMessage, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { EventStream } from '../src/api/stream.js';
import { STREAM_BYTES_MAX, STREAM_CLIENTS_MAX, STREAM_EVENTS_MAX } from '../src/limits.js';
import { type ApiSite, openApiSite } from './api-site.js';
import { anomalyId, candidatesOf } from './candidates.js';

const site: { now?: ApiSite } = {};
afterEach(async () => {
  await site.now?.stop();
  delete site.now;
});

interface Event {
  id?: string;
  event?: string;
  // biome-ignore lint/suspicious/noExplicitAny: what it holds is what the test is about
  data?: any;
}

async function open(): Promise<{ site: ApiSite; url: string }> {
  const opened = await openApiSite({});
  site.now = opened;
  await opened.start();
  const url = await opened.server.listen({ port: 0, host: '127.0.0.1' });
  return { site: opened, url: `${url}/anomaly/v1/stream` };
}

/** Reads so many events and goes away. */
async function read(url: string, count: number, lastEventId?: string): Promise<Event[]> {
  const headers = lastEventId === undefined ? {} : { 'Last-Event-ID': lastEventId };
  // Not fetch: it keeps a connection of its own open beside the one that is closed.
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    request(url, { headers, agent: false }, resolve).on('error', reject).end();
  });
  expect(answer.headers['content-type']).toBe('text/event-stream; charset=utf-8');
  const events: Event[] = [];
  let text = '';
  for await (const chunk of answer as AsyncIterable<Uint8Array>) {
    text += Buffer.from(chunk).toString();
    const parts = text.split('\n\n');
    text = parts.pop() as string;
    for (const part of parts) {
      const event: Event = {};
      for (const line of part.split('\n')) {
        const [, name = '', value = ''] = /^(\w*): ?(.*)$/.exec(line) ?? [];
        if (name === 'id' || name === 'event') event[name] = value;
        if (name === 'data') event.data = JSON.parse(value);
      }
      if (event.event !== undefined) events.push(event);
    }
    if (events.length >= count) break;
  }
  answer.destroy();
  return events.slice(0, count);
}

const told = (i: number) => ({ labels: { __name__: `m${i}`, instance: `${i}` }, onset: 1000 * i });

test('anomalies and incidents arrive as they change, as rows of the lists', async () => {
  const { site, url } = await open();
  const reading = read(url, 3);
  await site.until(
    () => site.metric('treeline_stream_readers'),
    (count) => count === 1,
  );
  await site.append(0, candidatesOf(told(1)).slice(0, 1));
  const [hello, anomaly, incident] = await reading;
  expect(hello).toMatchObject({ event: 'hello', id: expect.stringMatching(/^[0-9a-f]{8}-0$/) });
  expect(anomaly?.event).toBe('anomaly');
  expect(anomaly?.data).toEqual((await site.get(`/anomalies/${anomalyId(told(1))}`)).body);
  const { members, ...row } = (await site.get(`/incidents/i-${anomalyId(told(1))}`)).body;
  expect(members).toHaveLength(1);
  expect(incident).toMatchObject({ event: 'incident', data: row });
  await site.until(
    () => site.metric('treeline_stream_readers'),
    (count) => count === 0,
  );
});

test('who comes back hears what was missed; of another process, everything is to be read anew', async () => {
  const { site, url } = await open();
  for (const i of [1, 2, 3]) await site.append(0, candidatesOf(told(i)));
  await site.until(
    () => site.get('/incidents'),
    ({ body }) => body.incidents.length === 3,
  );
  const [hello] = await site.until(
    () => read(url, 1),
    ([event]) => Number(event?.id?.split('-')[1]) >= 6,
  );
  const [epoch, sequence] = (hello?.id ?? '').split('-');
  const back = await read(url, 3, `${epoch}-${Number(sequence) - 2}`);
  expect(back.map(({ event }) => event)).toEqual(['hello', expect.any(String), expect.any(String)]);
  expect(back.map(({ id }) => Number(id?.split('-')[1])).slice(1)).toEqual([
    Number(sequence) - 1,
    Number(sequence),
  ]);
  for (const id of ['00000000-1', `${epoch}-${Number(sequence) + 1}`, 'nonsense', `${epoch}-x`]) {
    expect((await read(url, 1, id))[0]?.event).toBe('reset');
  }
});

test('a tenant hears of its own only', () => {
  const stream = new EventStream();
  const a = stream.open('a', undefined);
  stream.publish({ name: 'anomaly', tenant: 'b', row: () => ({ id: 'of b' }) });
  stream.publish({ name: 'anomaly', tenant: 'a', row: () => ({ id: 'of a' }) });
  const text = String(a.read());
  expect(text).toContain('of a');
  expect(text).not.toContain('of b');
  const id = /id: (\w+-)0/.exec(text)?.[1];
  const missed = String(stream.open('b', `${id}0`).read());
  expect(missed).toContain('of b');
  expect(missed).not.toContain('of a');
  stream.close();
});

test('only the last events are kept for those who come back', () => {
  const stream = new EventStream();
  const id = /id: (\w+-)/.exec(String(stream.open('', undefined).read()))?.[1];
  for (let i = 0; i < STREAM_EVENTS_MAX + 10; i++) {
    stream.publish({ name: 'anomaly', tenant: 't', row: () => ({ i }) });
  }
  const first = (from: number) => String(stream.open('t', `${id}${from}`).read());
  expect(first(9)).toContain('event: reset');
  expect(first(10)).toContain('event: hello');
  stream.close();
});

test('there are only so many readers, and one who does not read is let go', async () => {
  const { site, url } = await open();
  const { hostname, port, pathname } = new URL(url);
  const sockets: Socket[] = [];
  const follow = () =>
    new Promise<string>((resolve, reject) => {
      const socket = connect({ host: hostname, port: Number(port) });
      sockets.push(socket);
      socket.on('error', reject);
      socket.write(`GET ${pathname} HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`);
      socket.once('data', (bytes) => {
        socket.pause();
        resolve(bytes.toString());
      });
    });
  const answers = await Promise.all(Array.from({ length: STREAM_CLIENTS_MAX }, follow));
  expect(answers.every((text) => text.startsWith('HTTP/1.1 200'))).toBe(true);
  expect(await follow()).toContain('HTTP/1.1 503');
  // More than what kernels keep of a connection and we keep besides.
  const labels = { __name__: 'wide', instance: 'x', text: 'y'.repeat(8000) };
  const bytes = 8 * 1024 * 1024 + 2 * STREAM_BYTES_MAX;
  for (let i = 0; i * 8000 < bytes; i++) {
    const onset = 1000 * i;
    await site.append(0, candidatesOf({ labels: { ...labels, i: String(i) }, onset }).slice(0, 1));
  }
  await site.until(
    () => site.metric('treeline_stream_dropped_total'),
    (count) => count === STREAM_CLIENTS_MAX,
  );
  expect(await site.metric('treeline_stream_readers')).toBe(0);
  for (const socket of sockets) socket.destroy();
});
