// Gauges written to databases by remote-write: to a real Prometheus, value for value as a scrape shows them; and what
// becomes of them when the database is away, slow, answers 5xx or 429, or refuses.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromBinary } from '@bufbuild/protobuf';
import { uncompress } from 'snappy';
import { afterAll, afterEach, expect, test } from 'vitest';
import { WriteRequestSchema } from '../src/gen/remote_write_v1_pb.js';
import { OUTPUT_BATCH_SAMPLES } from '../src/limits-outputs.js';
import { bitsOf, STALE_BITS } from '../src/outputs/remote-write-body.js';
import { type GaugeFeed, RemoteWriteOutput } from '../src/outputs/remote-write-output.js';
import { RemoteWriteTarget } from '../src/outputs/remote-write-target.js';
import { quiet } from './api-site.js';
import { startPrometheus } from './peers.js';
import { endPrograms, eventually, freePort } from './programs.js';
import { randomOf } from './random.js';
import { openSender, writeBody } from './remote-write-sender.js';
import { partitionsAtRest, readingOf, startTreeline } from './treeline-process.js';

const MINUTE = 60_000;
let closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.reverse()) await close();
  closing = [];
});
afterAll(endPrograms);

interface Row {
  labels: string;
  value: number;
  /** Of the value: a stale marker is a NaN among others. */
  bits: bigint;
  at: number;
}

interface Target {
  url: string;
  /** Bodies in the order in which they came, whatever they were answered. */
  bodies: Row[][];
  headers: IncomingMessage['headers'][];
}

type Answer = (response: ServerResponse, count: number) => void;

/** A server of ours that decodes what it is sent with the generated code. */
async function listen(answer: Answer, port = 0): Promise<Target> {
  const bodies: Row[][] = [];
  const headers: IncomingMessage['headers'][] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', async () => {
      headers.push(request.headers);
      bodies.push(rowsOf((await uncompress(Buffer.concat(chunks))) as Buffer));
      answer(response, bodies.length);
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  closing.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  const { port: taken } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${taken}/api/v1/write`, bodies, headers };
}

function rowsOf(message: Uint8Array): Row[] {
  const { timeseries } = fromBinary(WriteRequestSchema, message);
  return timeseries.flatMap(({ labels, samples }) => {
    const names = labels.map(({ name }) => name);
    expect(names).toEqual([...new Set(names)].sort());
    const text = labels.map(({ name, value }) => `${name}=${value}`).join(',');
    return samples.map(({ value, timestamp }) => ({
      labels: text,
      value,
      bits: bitsIn(message, value),
      at: Number(timestamp),
    }));
  });
}

/** The generated decoder keeps no bits of a NaN: they are looked for in the message itself. */
function bitsIn(message: Uint8Array, value: number): bigint {
  if (!Number.isNaN(value)) return bitsOf(value);
  const stale = Buffer.alloc(8);
  stale.writeBigUInt64LE(STALE_BITS);
  return Buffer.from(message).includes(stale) ? STALE_BITS : bitsOf(value);
}

const ok: Answer = (response) => response.writeHead(204).end();
const status =
  (code: number, headers: Record<string, string> = {}): Answer =>
  (response) =>
    response.writeHead(code, headers).end('no');

function targetOf(url: string, options: { queueBytesMax?: number } = {}): RemoteWriteTarget {
  const target = new RemoteWriteTarget({
    ...{ name: url, url, headers: () => ({}), logger: quiet },
    ...options,
  });
  closing.push(() => target.stop(0));
  return target;
}

const request = (samples = 10, size = 100) => ({ bytes: new Uint8Array(bodyOf(size)), samples });

/** Any compressed request of about this size. */
function bodyOf(size: number): Uint8Array {
  const random = randomOf(size);
  const value = Array.from({ length: size }, () => Math.floor(random() * 36).toString(36)).join('');
  return writeBody([{ labels: { __name__: 'x', value }, points: [[1, 1]] }]);
}

const counted = (target: RemoteWriteTarget, wanted: Partial<RemoteWriteTarget['counts']>) =>
  eventually(JSON.stringify(wanted), 20_000, async () => {
    const isThere = Object.entries(wanted).every(
      ([key, value]) => target.counts[key as keyof typeof wanted] === value,
    );
    return isThere ? true : undefined;
  });

test('5xx, 429 and no answer are tried again with growing pauses, other 4xx are dropped and counted', {
  timeout: 60_000,
}, async () => {
  const answers = [500, 503, 429, 204, 400, 204, 404];
  const server = await listen((response, count) =>
    status(answers[count - 1] as number)(response, count),
  );
  const target = targetOf(server.url);
  for (let i = 0; i < 4; i++) target.add(request());
  await counted(target, { accepted: 20, refused: 20, dropped: 0 });
  expect([server.bodies.length, target.retries, target.waitingSamples]).toEqual([7, 3, 0]);
  expect(target.problem).toMatch(/^answers 404: no/);
});

test('a Retry-After is kept, and one that asks for too much is not', async () => {
  const times: number[] = [];
  const server = await listen((response, count) => {
    times.push(performance.now());
    return count === 1 ? status(503, { 'Retry-After': '2' })(response, count) : ok(response, count);
  });
  const target = targetOf(server.url);
  target.add(request());
  await counted(target, { accepted: 10 });
  const [first = 0, second = 0] = times;
  expect(second - first).toBeGreaterThan(1_900);
});

test('a target that is away is caught up with in order, and one that answers slowly gets one request at a time', {
  timeout: 60_000,
}, async () => {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/api/v1/write`;
  const target = targetOf(url);
  const feed = feedOf(1);
  let now = 1_000_000;
  const output = outputOf(feed, target, () => now);
  for (let i = 0; i < 5; i++) {
    await output.look();
    now += 15_000;
  }
  await eventually('a failure', 10_000, async () => (target.retries > 0 ? true : undefined));
  expect(target.waitingSamples).toBe(25);
  let underWay = 0;
  const server = await listen(async (response, count) => {
    expect(++underWay).toBe(1);
    await sleep(100);
    underWay--;
    ok(response, count);
  }, port);
  await counted(target, { accepted: 25, dropped: 0 });
  expect(target.problem).toBeUndefined();
  const times = server.bodies.map(([row]) => row?.at);
  expect(times).toEqual([0, 1, 2, 3, 4].map((i) => 1_000_000 + 15_000 * i));
});

test('what waits is bounded: the oldest is dropped and counted, and the newest arrives', {
  timeout: 60_000,
}, async () => {
  let isBack = false;
  const server = await listen((response, count) =>
    isBack ? ok(response, count) : status(503)(response, count),
  );
  const target = targetOf(server.url, { queueBytesMax: 20_000 });
  for (let i = 1; i <= 100; i++) target.add(request(i, 1_000));
  expect(target.counts.dropped).toBeGreaterThan(1_000);
  const waiting = target.waitingSamples;
  expect(waiting + target.counts.dropped).toBe(5_050);
  isBack = true;
  await counted(target, { accepted: waiting });
});

test('at the end what waits is sent within its time, and what then still waits is counted as dropped', async () => {
  const slow = await listen(async (response, count) => {
    await sleep(50);
    ok(response, count);
  });
  const target = targetOf(slow.url);
  for (let i = 0; i < 4; i++) target.add(request());
  await target.stop(5_000);
  expect(target.counts).toEqual({ accepted: 40, refused: 0, dropped: 0 });
  const silent = targetOf((await listen(() => {})).url);
  for (let i = 0; i < 4; i++) silent.add(request());
  const begun = performance.now();
  await silent.stop(200);
  expect(performance.now() - begun).toBeLessThan(1_000);
  expect(silent.counts).toEqual({ accepted: 0, refused: 0, dropped: 40 });
  silent.add(request());
  expect(silent.counts.dropped).toBe(50);
});

test('a request that comes in the moment in which the last one is done is sent as well', async () => {
  const server = await listen(ok);
  const target = targetOf(server.url);
  let accepted = 0;
  // Between the answer and the end of the sending nothing but such a callback has its turn.
  Object.defineProperty(target.counts, 'accepted', {
    get: () => accepted,
    set: (samples: number) => {
      if (accepted === 0) queueMicrotask(() => target.add(request(7)));
      accepted = samples;
    },
  });
  target.add(request(10));
  await counted(target, { accepted: 17 });
  expect(server.bodies).toHaveLength(2);
});

interface FakeSeries {
  name: string;
  isOurs: boolean;
}

/** As many series as are in the list, five gauges each. */
function feedOf(count: number): GaugeFeed & { shown: FakeSeries[] } {
  const shown = Array.from({ length: count }, (_, i) => ({ name: `s${i}`, isOurs: true }));
  return {
    shown,
    *shownTo() {
      for (const one of shown) {
        yield {
          key: one.name,
          labels: [
            { name: 'source_metric', value: one.name },
            { name: 'empty', value: '' },
            { name: 'Upper', value: 'é' },
          ],
          values: ['a', 'b', 'c', 'd', 'e'].map((gauge, i) => [gauge, i] as const),
          isOurs: () => one.isOurs,
        };
      }
    },
  };
}

function outputOf(feed: GaugeFeed, target: RemoteWriteTarget, clock: () => number) {
  return new RemoteWriteOutput({ feed, target, tenant: '', everyMs: 1, clock, logger: quiet });
}

test('what is no longer shown gets a stale marker, unless another process shows it', async () => {
  const server = await listen(ok);
  const target = targetOf(server.url);
  const feed = feedOf(3);
  const output = outputOf(feed, target, () => 5_000);
  await output.look();
  const [, moved] = feed.shown.splice(1, 2);
  if (moved !== undefined) moved.isOurs = false;
  await output.look();
  await output.look();
  await counted(target, { accepted: 15 + 10 + 5 });
  const [first = [], second = [], third = []] = server.bodies;
  expect(first).toHaveLength(15);
  expect(first[0]?.labels).toBe('Upper=é,__name__=a,source_metric=s0');
  // The clock stood still, and still no two samples of a series have the same time.
  expect([first[0]?.at, second[0]?.at, third[0]?.at]).toEqual([5_000, 5_001, 5_002]);
  const stale = second.filter(({ bits }) => bits === STALE_BITS);
  expect(stale.map(({ labels }) => labels.split(',').at(-1))).toEqual(
    Array(5).fill('source_metric=s1'),
  );
  expect(third).toHaveLength(5);
});

test('a series that was hidden and is shown again between two looks goes on, and is not ended', async () => {
  const server = await listen(ok);
  const target = targetOf(server.url);
  const feed = feedOf(1);
  let now = 5_000;
  const output = outputOf(feed, target, () => now++);
  await output.look();
  // Another showing of the same series, of a partition that came back: an end of the old one would end the new one.
  feed.shown.splice(0, 1, { name: 's0', isOurs: true });
  await output.look();
  await counted(target, { accepted: 10 });
  expect(server.bodies.flat().filter(({ bits }) => bits === STALE_BITS)).toEqual([]);
  feed.shown.splice(0, 1);
  await output.look();
  await counted(target, { accepted: 15 });
  expect(server.bodies.at(-1)?.every(({ bits }) => bits === STALE_BITS)).toBe(true);
});

test('a feed that chooses who is shown is asked to before each look', async () => {
  const server = await listen(ok);
  const target = targetOf(server.url);
  const feed = feedOf(0);
  const seats: string[] = [];
  feed.seat = async () => {
    feed.shown.push({ name: `s${seats.length}`, isOurs: true });
    seats.push('asked');
  };
  const output = outputOf(feed, target, () => 5_000);
  await output.look();
  await output.look();
  await counted(target, { accepted: 5 + 10 });
  expect(seats).toHaveLength(2);
});

test('thousands of series go in requests of bounded size, and the event loop comes round between them', {
  timeout: 60_000,
}, async () => {
  const server = await listen(ok);
  const target = targetOf(server.url);
  const feed = feedOf(20_000);
  const output = outputOf(feed, target, () => 1);
  let turns = 0;
  const ticking = setInterval(() => turns++, 1);
  const begun = performance.now();
  await output.look();
  const firstMs = performance.now() - begun;
  const again = performance.now();
  await output.look();
  console.log(
    `100,000 samples: ${Math.round(firstMs)} ms, again ${Math.round(performance.now() - again)} ms, ${turns} turns`,
  );
  clearInterval(ticking);
  await counted(target, { accepted: 200_000 });
  expect(Math.max(...server.bodies.map((rows) => rows.length))).toBeLessThanOrEqual(
    OUTPUT_BATCH_SAMPLES,
  );
  expect(turns).toBeGreaterThan(20);
});

test('a real Prometheus has what a scrape shows, for every profile, and what it sends back is left out', {
  timeout: 180_000,
}, async () => {
  const prometheus = await startPrometheus('global: {scrape_interval: 1s}\n', {
    args: ['--web.enable-remote-write-receiver'],
  });
  closing.push(() => prometheus.stop());
  for (const profile of ['default', 'vmanomaly']) {
    const targets = [{ url: `${prometheus.url}/api/v1/write`, interval: '1s' }];
    // A flag that waits for its verdict would be another one at the next look.
    const args = ['--verdicts', 'off', '--gauges-profile', profile];
    args.push('--outputs-remote-write', JSON.stringify(targets));
    const treeline = await startTreeline({ args });
    closing.push(() => treeline.stop());
    const sender = openSender(treeline.url);
    const random = randomOf(8);
    const begin = Math.floor(Date.now() / MINUTE - 300) * MINUTE;
    const points = Array.from(
      { length: 300 },
      (_, i) => [begin + i * MINUTE, 10 + random() + (i >= 297 ? 90 : 0)] as const,
    );
    const labels = { __name__: `queue_${profile}`, namespace: 'shop', pod: 'db-0' };
    expect((await sender.send(writeBody([{ labels, points }]))).status).toBe(204);
    await partitionsAtRest(treeline);
    const scraped = (await treeline.text('/metrics/anomalies'))
      .split('\n')
      .filter((line) => /^[a-z_]+\{.*source_metric=/.test(line))
      .map((line) => /^([a-z_]+)\{(.*)\} (\S+)$/.exec(line)?.slice(1) as string[]);
    const names = {
      default: 'anomaly_score,anomaly_flag,anomaly_expected',
      vmanomaly: 'anomaly_score,y,yhat',
    };
    expect(scraped.map(([name]) => name).join()).toContain(names[profile as keyof typeof names]);
    expect(scraped).toHaveLength(5);
    for (const [name, texts = '', value] of scraped) {
      const found = await eventually(`${name} in Prometheus`, 20_000, async () => {
        const rows = await prometheus.query(`${name}{source_metric="queue_${profile}"}`);
        return rows.length === 1 ? rows[0] : undefined;
      });
      // A scrape has fifteen digits.
      const shown = Number(value);
      expect(Math.abs(Number(found.value[1]) - shown)).toBeLessThanOrEqual(1e-14 * Math.abs(shown));
      const { __name__: _, ...kept } = found.metric;
      expect(
        Object.entries(kept)
          .map(([key, text]) => `${key}="${text}"`)
          .sort(),
      ).toEqual(texts.split(',').sort());
      if (profile === 'vmanomaly') expect(found.metric['for']).toBe(labels.__name__);
    }
    if (profile === 'vmanomaly') {
      const [y] = await prometheus.query(`y{for="queue_vmanomaly"}`);
      expect(Number(y?.value[1])).toBe(points.at(-1)?.[1]);
    }
    // Back to us, as a Prometheus that writes everything would send it.
    const own = scraped.map(([name = '', texts = '', value]) => ({
      labels: {
        __name__: name,
        ...Object.fromEntries(texts.split(',').map((text) => text.replaceAll('"', '').split('='))),
      },
      points: [[Date.now(), Number(value)]] as [number, number][],
    }));
    const before = await treeline.metrics();
    expect((await sender.send(writeBody(own))).status).toBe(204);
    const after = await treeline.metrics();
    const rejected = (readings: typeof before) =>
      readingOf(readings, 'treeline_samples_rejected_total') ?? 0;
    expect(rejected(after) - rejected(before)).toBe(own.length);
    const accepted = readingOf(after, 'treeline_remote_write_samples_total', {
      outcome: 'accepted',
    });
    expect(accepted).toBeGreaterThan(0);
    sender.close();
  }
});
