import { request } from 'node:http';
import { fromBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { OperatingError } from '../src/errors.js';
import { SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import { createHttpServer, type Logger } from '../src/http-server.js';
import { APPEND_BYTES_MAX } from '../src/limits.js';
import type { Topic } from '../src/log/log.js';
import { createMetrics } from '../src/metrics.js';
import { createReceiver } from '../src/receiver/receiver.js';
import { classify } from '../src/receiver/rules.js';
import { WasmDecoder } from '../src/receiver/wasm-decoder.js';
import { loadWasm } from '../src/wasm-files.js';
import { MemoryLog } from './memory-log.js';
import {
  type Series,
  WRITE_HEADERS,
  WRITE_HEADERS_V2,
  writeBody,
  writeBodyV2,
} from './remote-write-sender.js';
import type { SeriesV2 } from './write-request-v2.js';

const NOW = 1_760_000_000_000;
const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** A log that waits for a word before each append, and fails once when told so. */
class GatedLog extends MemoryLog {
  #gate: Promise<void> | undefined;
  #open: () => void = () => {};
  failing: OperatingError | undefined;
  appends = 0;

  hold(): void {
    this.#gate = new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  release(): void {
    this.#gate = undefined;
    this.#open();
  }

  override async append(
    topic: Topic,
    partition: number,
    value: Uint8Array,
    samples: number,
  ): Promise<number> {
    this.appends++;
    await this.#gate;
    const failure = this.failing;
    this.failing = undefined;
    if (failure !== undefined) throw failure;
    return super.append(topic, partition, value, samples);
  }
}

function receiver(partitions = 2) {
  const log = new GatedLog(partitions);
  const metrics = createMetrics('0');
  const settings = { partitions, partitionBy: [['instance']], stripLabels: [], classify };
  const decoder = new WasmDecoder(loadWasm('decode').module, settings);
  const server = createHttpServer({ metrics, logger: quiet });
  createReceiver({ log, decoder, metrics, logger: quiet, clock: () => NOW }).routes(server);
  const write = (body: Uint8Array | string, headers: Record<string, string> = {}) =>
    server.inject({
      method: 'POST',
      url: '/api/v1/write',
      headers: { ...WRITE_HEADERS, ...headers },
      payload: Buffer.from(body as Uint8Array),
    });
  const rejected = async () => {
    const { values } = await metrics.rejected.get();
    return Object.fromEntries(
      values.map(({ labels, value }) => [String(labels.reason), value]),
    ) as Record<string, number>;
  };
  return { log, metrics, server, write, rejected };
}

function blocksOf(log: MemoryLog) {
  return [...log.remains.lanes.values()].flatMap(({ records }) =>
    records.map((record) => fromBinary(SampleBlockSchema, record)),
  );
}

function series(name: string, instance: string, value = 1, timestampMs = NOW): Series {
  return { labels: { __name__: name, instance }, points: [[timestampMs, value]] };
}

/** Turns of the event loop: enough for everything in memory to come to rest. */
async function rest(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

test('204 is answered only after every record of the request is durable', async () => {
  const { log, write } = receiver();
  log.hold();
  let answered = false;
  const answer = write(writeBody([series('up', 'a'), series('up', 'b'), series('up', 'c')]));
  void answer.then(() => {
    answered = true;
  });
  await rest();
  expect(log.appends).toBeGreaterThan(0);
  expect(answered).toBe(false);
  log.release();
  expect((await answer).statusCode).toBe(204);
  const samples = blocksOf(log).reduce((count, block) => count + block.fingerprint.length, 0);
  expect(samples).toBe(3);
});

test('requests that come while a record is being flushed share the next one', async () => {
  const { log, write } = receiver(1);
  log.hold();
  const first = write(writeBody([series('up', 'a')]));
  await rest();
  const others = Array.from({ length: 50 }, (_, i) => write(writeBody([series('up', `i${i}`)])));
  await rest();
  expect(log.appends).toBe(1);
  log.release();
  const answers = await Promise.all([first, ...others]);
  expect(new Set(answers.map(({ statusCode }) => statusCode))).toEqual(new Set([204]));
  expect(log.appends).toBe(2);
  const [, merged] = blocksOf(log);
  expect(merged?.fingerprint).toHaveLength(50);
  expect(merged?.series).toHaveLength(50);
});

test('a failed append is 503 with Retry-After, counted, and nothing relies on what was lost with it', async () => {
  const { log, write, rejected, metrics } = receiver(1);
  log.hold();
  // Three requests, one after another in one partition; all name the same series, only the first announces it.
  const body = (at: number) => writeBody([series('up', 'a', 1, NOW + at)]);
  const first = write(body(0));
  await rest();
  const second = write(body(1));
  await rest();
  log.failing = new OperatingError('disk_full', 'Cannot append to samples/0: no space left');
  log.release();
  await first;
  const third = await write(body(2));
  expect((await first).statusCode).toBe(503);
  expect((await first).headers['retry-after']).toBe('1');
  expect((await first).body).toContain('no space left');
  // Durable, and yet not acknowledged: its series was announced by the record that is lost.
  expect((await second).statusCode).toBe(503);
  expect(log.appends).toBe(3);
  expect(third.statusCode).toBe(204);
  expect(await rejected()).toMatchObject({ unavailable: expect.any(Number) });
  // Every answered 204 can be understood from the log alone.
  const known = new Set<bigint>();
  for (const block of blocksOf(log)) {
    for (const { fingerprint } of block.series) known.add(fingerprint);
    const times = block.timestampMs;
    block.fingerprint.forEach((fingerprint, i) => {
      if (times[i] === BigInt(NOW + 2)) expect(known.has(fingerprint)).toBe(true);
    });
  }
  expect(known.size).toBe(1);
  const received = (await metrics.received.get()).values[0]?.value ?? 0;
  const logged = log.remains.lanes.get('samples/0')?.samples ?? 0;
  const lost = Object.values(await rejected()).reduce((sum, count) => sum + count, 0);
  expect(received).toBe(logged + lost);
});

test('our own output coming back is dropped and counted, never answered 400', async () => {
  const { log, write, rejected } = receiver();
  const answer = await write(
    writeBody([
      series('anomaly_score', 'a'),
      series('treeline_series', 'a'),
      { labels: { __name__: 'y', source_metric: 'up', instance: 'a' }, points: [[NOW, 1]] },
      series('scrape_duration_seconds', 'a'),
      series('node_uname_info', 'a'),
      series('up', 'a'),
    ]),
  );
  expect(answer.statusCode).toBe(204);
  expect(await rejected()).toEqual({ own_output: 3, ignored: 2 });
  expect(blocksOf(log).flatMap((block) => block.fingerprint)).toHaveLength(1);
});

test('bad samples are named and the good ones of the same request are logged', async () => {
  const { log, write, rejected } = receiver();
  const answer = await write(
    writeBody([
      series('up', 'a'),
      { labels: { instance: 'b' }, points: [[NOW, 1]] },
      series('up', 'c', 1, NOW + 11 * 60_000),
      {
        labels: [
          ['__name__', 'x'],
          ['a', '1'],
          ['a', '2'],
        ],
        points: [
          [NOW, 1],
          [NOW + 1, 2],
        ],
      },
    ]),
  );
  expect(answer.statusCode).toBe(400);
  expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8');
  expect(answer.headers['x-content-type-options']).toBe('nosniff');
  expect(answer.body).toMatch(/^4 of 5 samples rejected: /);
  expect(answer.body).toContain('no metric name: {instance="b"}');
  expect(answer.body).toContain('too far in future: up{instance="c"}');
  expect(answer.body).toContain('duplicate label: x{');
  expect(await rejected()).toEqual({ no_metric_name: 1, too_far_in_future: 1, duplicate_label: 2 });
  expect(blocksOf(log).flatMap((block) => block.fingerprint)).toHaveLength(1);
});

function seriesV2(name: string, more: SeriesV2 = {}): SeriesV2 {
  const samples = [{ timestampMs: NOW, value: 1 }];
  return { labels: { __name__: name, instance: 'a' }, samples, ...more };
}

/** Samples, histograms, exemplars of an answer. */
function writtenOf({ headers }: { headers: Record<string, unknown> }): unknown[] {
  const kinds = ['samples', 'histograms', 'exemplars'];
  return kinds.map((kind) => headers[`x-prometheus-remote-write-${kind}-written`]);
}

test('a 2.0 answer says exactly what was written, a 1.0 answer never', async () => {
  const { write, rejected, metrics } = receiver();
  const writeV2 = (series: SeriesV2[], headers = {}) =>
    write(writeBodyV2(series), { ...WRITE_HEADERS_V2, ...headers });
  const exemplars = [{ labels: { trace_id: 'x' }, value: 1, timestampMs: NOW }];
  const histogram = {
    timestampMs: NOW,
    count: 2,
    positive: { spans: [[0, 1]], deltas: [2] },
  } as const;
  const taken = await writeV2([
    seriesV2('up', { exemplars }),
    seriesV2('latency', { samples: [], histograms: [histogram, histogram] }),
    seriesV2('scrape_x'),
  ]);
  expect([taken.statusCode, taken.body, ...writtenOf(taken)]).toEqual([204, '', '2', '2', '1']);
  const nothing = await write(Uint8Array.of(0), WRITE_HEADERS_V2);
  expect([nothing.statusCode, ...writtenOf(nothing)]).toEqual([204, '0', '0', '0']);
  const partly = await writeV2([
    seriesV2('up'),
    { labels: { job: 'x' }, samples: [{ timestampMs: NOW, value: 1 }], exemplars },
    seriesV2('latency', { samples: [], histograms: [{ ...histogram, count: 9 }], exemplars }),
    seriesV2('up', { exemplars: [...exemplars, { refs: [1], value: 1, timestampMs: NOW }] }),
  ]);
  expect([partly.statusCode, ...writtenOf(partly)]).toEqual([400, '2', '0', '2']);
  expect(partly.body).toBe(
    '2 of 4 samples rejected: 1 no metric name, 1 histogram count mismatch, 1 invalid exemplar; ' +
      'first: no metric name: {job="x"}; histogram count mismatch: latency{instance="a"}; ' +
      'invalid exemplar: up{instance="a"}\n',
  );
  expect(await rejected()).toEqual({
    ...{ ignored: 1, no_metric_name: 1, histogram_count_mismatch: 1 },
  });
  expect(await metrics.text()).toContain(
    'treeline_parts_rejected_total{reason="invalid_exemplar"} 1',
  );
  const old = await write(writeBody([series('up', 'a')]));
  expect([old.statusCode, ...writtenOf(old)]).toEqual([204, undefined, undefined, undefined]);
  for (const bad of ['', 'garbage']) {
    const refused = await write(bad, WRITE_HEADERS_V2);
    expect([refused.statusCode, ...writtenOf(refused)]).toEqual([400, '0', '0', '0']);
  }
  const type = await write('x', { ...WRITE_HEADERS_V2, 'Content-Encoding': 'zstd' });
  expect([type.statusCode, ...writtenOf(type)]).toEqual([415, undefined, undefined, undefined]);
});

test('what a 2.0 sender is told when the log fails is 503 with zeros, bad samples or not', async () => {
  const { log, write } = receiver(1);
  log.failing = new OperatingError('disk_full', 'Cannot append to samples/0: no space left');
  const body = writeBodyV2([
    seriesV2('up'),
    { labels: {}, samples: [{ timestampMs: NOW, value: 1 }] },
  ]);
  const failed = await write(body, WRITE_HEADERS_V2);
  expect([failed.statusCode, ...writtenOf(failed)]).toEqual([503, '0', '0', '0']);
  const again = await write(body, WRITE_HEADERS_V2);
  expect([again.statusCode, ...writtenOf(again)]).toEqual([400, '1', '0', '0']);
});

test('a body of the other version is refused with the type to send it as', async () => {
  const { write } = receiver();
  const newer = await write(writeBodyV2([seriesV2('up')]));
  expect([newer.statusCode, newer.body]).toEqual([
    415,
    expect.stringMatching(/looks like remote-write 2\.0; send it as .*v2\.Request/),
  ]);
  const older = await write(writeBody([series('up', 'a')]), WRITE_HEADERS_V2);
  expect([older.statusCode, ...writtenOf(older)]).toEqual([400, '0', '0', '0']);
});

test('requests with and without start timestamps share a record, and its columns stay whole', async () => {
  const { log, write } = receiver(1);
  log.hold();
  const first = write(writeBody([series('up', 'a')]));
  await rest();
  const started = seriesV2('x', { samples: [{ timestampMs: NOW, value: 1, startMs: NOW - 5 }] });
  const answers = [
    write(writeBody([series('up', 'b'), series('up', 'c')])),
    write(writeBodyV2([started]), WRITE_HEADERS_V2),
    write(writeBody([series('up', 'd')])),
    write(
      writeBodyV2([seriesV2('h', { samples: [], histograms: [{ timestampMs: NOW }] })]),
      WRITE_HEADERS_V2,
    ),
  ];
  await rest();
  log.release();
  const codes = (await Promise.all([first, ...answers])).map(({ statusCode }) => statusCode);
  expect(codes).toEqual([204, 204, 204, 204, 204]);
  const [, merged, ...more] = blocksOf(log);
  expect(more).toEqual([]);
  expect(merged?.startTimestampMs).toEqual([0n, 0n, BigInt(NOW - 5), 0n]);
  expect(merged?.histogram).toHaveLength(1);
  expect(log.remains.lanes.get('samples/0')?.samples).toBe(6);
});

test('a body that waits for a word is asked for when its headers are good, and refused unread when not', async () => {
  const { server } = receiver();
  const address = new URL(await server.listen({ host: '127.0.0.1', port: 0 }));
  const body = Buffer.from(writeBody([series('up', 'a')]));
  const ask = (path: string, type: string) =>
    new Promise<{ status: number; asked: boolean }>((resolve, reject) => {
      let asked = false;
      const headers = {
        ...{ 'Content-Type': type, 'Content-Encoding': 'snappy' },
        ...{ Expect: '100-continue', 'Content-Length': body.length },
      };
      const outgoing = request(new URL(path, address), { method: 'POST', headers });
      outgoing.on('continue', () => {
        asked = true;
        outgoing.end(body);
      });
      outgoing.on('response', (incoming) => {
        incoming.resume();
        outgoing.destroy();
        resolve({ status: incoming.statusCode ?? 0, asked });
      });
      outgoing.on('error', reject);
      outgoing.flushHeaders();
    });
  expect(await ask('/api/v1/write', 'application/x-protobuf')).toEqual({
    status: 204,
    asked: true,
  });
  expect(await ask('/api/v1/write', 'application/json')).toEqual({ status: 415, asked: false });
  expect(await ask('/nowhere', 'text/plain')).toEqual({ status: 404, asked: true });
  await server.close();
});

test('headers alone refuse; other methods are 405', async () => {
  const { write, server } = receiver();
  expect((await write('x', { 'Content-Type': 'application/json' })).statusCode).toBe(415);
  expect((await write('x', { 'Content-Encoding': 'gzip' })).statusCode).toBe(415);
  const get = await server.inject({ method: 'GET', url: '/api/v1/write' });
  expect([get.statusCode, get.headers['allow']]).toEqual([405, 'POST']);
  expect((await write('')).statusCode).toBe(400);
  expect((await write('garbage')).statusCode).toBe(400);
  const alias = await server.inject({ method: 'POST', url: '/api/v1/push', payload: Buffer.of(0) });
  expect(alias.statusCode).toBe(204);
});

test('when too many bytes wait for the log, requests are refused before their body is read', async () => {
  const { log, write } = receiver(1);
  log.hold();
  // Each request announces long labels, so that a few make many bytes.
  const big = (i: number) =>
    writeBody(
      Array.from({ length: 1000 }, (_, k) => ({
        labels: { __name__: 'm', instance: 'a', k: `${i}-${k}`, long: 'x'.repeat(8000) },
        points: [[NOW, 1] as [number, number]],
      })),
    );
  const answers = [];
  for (let i = 0; i < APPEND_BYTES_MAX / 8e6 + 4; i++) {
    answers.push(write(big(i)));
    await rest();
  }
  const refused = await answers.at(-1);
  expect(refused?.statusCode).toBe(503);
  expect(refused?.body).toContain('Too many bytes wait for the log');
  expect(refused?.headers['retry-after']).toBe('1');
  log.release();
  expect((await answers[0])?.statusCode).toBe(204);
  await Promise.all(answers);
});
