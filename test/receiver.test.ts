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
import { type Series, WRITE_HEADERS, writeBody } from './remote-write-sender.js';

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
