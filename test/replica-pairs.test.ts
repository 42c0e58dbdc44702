// Pairs of Prometheus servers through the receiver: what is answered, what is logged, what is counted, in both versions;
// and through the running program, that a restart does not change who is elected.

import { fromBinary } from '@bufbuild/protobuf';
import { afterAll, expect, test } from 'vitest';
import { SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import { createHttpServer, type Logger } from '../src/http-server.js';
import { createMetrics } from '../src/metrics.js';
import { createReceiver } from '../src/receiver/receiver.js';
import { Replicas } from '../src/receiver/replicas.js';
import { classify } from '../src/receiver/rules.js';
import { WasmDecoder } from '../src/receiver/wasm-decoder.js';
import { keepReceiverState } from '../src/receiver-state.js';
import { loadWasm } from '../src/wasm-files.js';
import { MemoryLog } from './memory-log.js';
import { MemoryStore } from './memory-store.js';
import { endPrograms } from './programs.js';
import {
  openSender,
  WRITE_HEADERS,
  WRITE_HEADERS_V2,
  writeBody,
  writeBodyV2,
} from './remote-write-sender.js';
import { identityFaults, partitionsAtRest, readingOf, startTreeline } from './treeline-process.js';

afterAll(endPrograms);

const NOW = 1_760_000_000_000;
const SECOND = 1000;
const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const PAIR = { clusterLabel: 'cluster', replicaLabel: '__replica__' };

interface Sent {
  version: 1 | 2;
  /** Labels beside the name, and seconds after NOW. */
  series: [labels: Record<string, string>, seconds: number][];
}

function receiver() {
  const log = new MemoryLog(2);
  const metrics = createMetrics('0');
  const replicas = new Replicas();
  const decoder = new WasmDecoder(loadWasm('decode').module, {
    ...{ partitions: 2, partitionBy: [['instance']], stripLabels: [], classify },
    replicas: { ...PAIR, judge: (claim) => replicas.judge(claim) },
  });
  const server = createHttpServer({ metrics, logger: quiet });
  createReceiver({
    ...{ log, decoder, metrics, logger: quiet, replicas },
    clock: () => NOW + 3600 * SECOND,
  }).routes(server);
  const send = async ({ version, series }: Sent) => {
    const body =
      version === 1
        ? writeBody(
            series.map(([labels, seconds]) => ({
              labels: { __name__: 'up', ...labels },
              points: [[NOW + seconds * SECOND, seconds]],
            })),
          )
        : writeBodyV2(
            series.map(([labels, seconds]) => ({
              labels: { __name__: 'up', ...labels },
              samples: [{ timestampMs: NOW + seconds * SECOND, value: seconds }],
              exemplars: [{ labels: { id: 'x' }, value: 1, timestampMs: NOW }],
            })),
          );
    const answer = await server.inject({
      ...{ method: 'POST', url: '/api/v1/write', payload: Buffer.from(body) },
      headers: version === 1 ? WRITE_HEADERS : WRITE_HEADERS_V2,
    });
    const kinds = ['samples', 'histograms', 'exemplars'];
    const written = kinds.map(
      (kind) => answer.headers[`x-prometheus-remote-write-${kind}-written`],
    );
    return { status: answer.statusCode, written, text: answer.body };
  };
  const rejected = async () =>
    Object.fromEntries(
      (await metrics.rejected.get()).values.map(({ labels, value }) => [labels.reason, value]),
    );
  return { log, metrics, send, rejected };
}

/** Labels without the name → seconds, in the order of the log. */
function logged(log: MemoryLog): Record<string, number[]> {
  const names = new Map<bigint, string>();
  const found: Record<string, number[]> = {};
  for (const { records } of log.remains.lanes.values()) {
    for (const block of records.map((record) => fromBinary(SampleBlockSchema, record))) {
      for (const { fingerprint, label } of block.series) {
        const texts = label.filter(({ name }) => name !== '__name__');
        names.set(fingerprint, texts.map(({ name, value }) => `${name}=${value}`).join(','));
      }
      block.fingerprint.forEach((fingerprint, i) => {
        const seconds = (Number(block.timestampMs[i]) - NOW) / SECOND;
        const name = names.get(fingerprint)!;
        found[name] = [...(found[name] ?? []), seconds];
      });
    }
  }
  return found;
}

const of = (replica: string, more: Record<string, string> = {}): Record<string, string> => ({
  ...{ __replica__: replica, cluster: 'east', instance: 'a' },
  ...more,
});

test.each([1, 2] as const)(
  'version %i: one of two is logged, without its replica label, the other is answered 2xx and left out whole',
  async (version) => {
    const { log, send, rejected, metrics } = receiver();
    for (const seconds of [0, 15, 30]) {
      const first = await send({ version, series: [[of('a'), seconds]] });
      const other = await send({
        version,
        // The second is a fault that the elected one is told of, and nobody else.
        series: [
          [of('b'), seconds + 7],
          [of('b', { __name__: '' }), seconds + 7],
        ],
      });
      expect([first.status, first.text]).toEqual([204, '']);
      expect([other.status, other.text]).toEqual([202, expect.stringMatching(/elected/)]);
      const counts = version === 1 ? [undefined, undefined, undefined] : ['2', '0', '2'];
      expect(other.written).toEqual(counts);
    }
    expect(logged(log)).toEqual({ 'cluster=east,instance=a': [0, 15, 30] });
    expect(await rejected()).toEqual({ replica: 6 });
    const late = await send({ version, series: [[of('b'), 61]] });
    expect(late.status).toBe(204);
    expect((await send({ version, series: [[of('a'), 45]] })).status).toBe(202);
    expect(logged(log)).toEqual({ 'cluster=east,instance=a': [0, 15, 30, 61] });
    const text = await metrics.text();
    expect(text).toContain('treeline_replica_clusters 1');
    expect(text).toContain('treeline_replica_takeovers_total 1');
    expect(text).toContain('treeline_replica_unelected_total 0');
  },
);

test.each([1, 2] as const)(
  'version %i: both labels make a pair, one alone makes none',
  async (version) => {
    const { log, send } = receiver();
    const place = { instance: 'a' };
    for (const replica of ['a', 'b']) {
      const series: Sent['series'] = [
        [{ __replica__: replica, ...place }, 1],
        [{ __replica__: replica, cluster: '', ...place }, 2],
        [{ cluster: 'east', ...place }, 3],
        [{ cluster: 'east', __replica__: '', job: replica, ...place }, 4],
      ];
      expect((await send({ version, series })).status).toBe(204);
    }
    expect(logged(log)).toEqual({
      '__replica__=a,instance=a': [1, 2],
      '__replica__=b,instance=a': [1, 2],
      'cluster=east,instance=a': [3, 3],
      'cluster=east,job=a,instance=a': [4],
      'cluster=east,job=b,instance=a': [4],
    });
  },
);

test.each([1, 2] as const)(
  'version %i: a relay may mix replicas, clusters and series without',
  async (version) => {
    const { log, send, rejected } = receiver();
    await send({ version, series: [[of('a'), 0]] });
    const mixed = await send({
      version,
      series: [
        [of('b'), 5],
        [of('a'), 15],
        [of('z', { cluster: 'west' }), 5],
        [{ instance: 'alone' }, 5],
      ],
    });
    expect([mixed.status, mixed.written[0]]).toEqual([204, version === 1 ? undefined : '4']);
    expect(logged(log)).toEqual({
      'cluster=east,instance=a': [0, 15],
      'cluster=west,instance=a': [5],
      'instance=alone': [5],
    });
    expect(await rejected()).toEqual({ replica: 1 });
  },
);

test('samples from far in the future elect nobody for good', async () => {
  const { send } = receiver();
  await send({ version: 1, series: [[of('a'), 0]] });
  const far = await send({ version: 1, series: [[of('b'), 1e9]] });
  expect([far.status, (await send({ version: 1, series: [[of('a'), 15]] })).status]).toEqual([
    202, 204,
  ]);
});

test('more replicas in one request than are told apart stay series of their own, and are counted', async () => {
  const { log, send, metrics } = receiver();
  const many = Array.from({ length: 70 }, (_, i): Sent['series'][number] => [
    of('a', { cluster: `c${i}` }),
    i,
  ]);
  expect((await send({ version: 2, series: many })).status).toBe(204);
  const names = Object.keys(logged(log));
  expect(names.filter((name) => name.includes('__replica__'))).toHaveLength(6);
  expect(names).toHaveLength(70);
  expect(await metrics.text()).toContain('treeline_replica_unelected_total 1');
});

test('an election is saved without waiting for the next time', async () => {
  const store = new MemoryStore();
  const parts = { log: new MemoryLog(1), store, metrics: createMetrics('0') };
  const replicas = new Replicas(() => state.changed());
  const state = await keepReceiverState({ ...parts, replicas });
  replicas.judge({ tenant: '', cluster: 'c', replica: 'a', newestMs: NOW });
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  const restored = new Replicas();
  const again = await keepReceiverState({
    ...parts,
    metrics: createMetrics('0'),
    replicas: restored,
  });
  expect(restored.save()).toEqual(replicas.save());
  expect(restored.clusters).toBe(1);
  await Promise.all([state.stop(), again.stop()]);
});

test('the running program: a restart, also a hard one, leaves elected who was, tenant by tenant', {
  timeout: 60_000,
}, async () => {
  const begin = Date.now() - 600 * SECOND;
  const body = (replica: string, seconds: number) =>
    writeBody([
      { labels: { __name__: 'up', ...of(replica) }, points: [[begin + seconds * SECOND, 1]] },
    ]);
  const args = ['--ingest-replicas', 'elect', '--tenancy', 'header', '--logging-level', 'warn'];
  let treeline = await startTreeline({ args });
  const { dataDir, port } = treeline;
  const send = async (tenant: string, replica: string, seconds: number) => {
    const sender = openSender(treeline.url);
    const headers = { ...WRITE_HEADERS, 'X-Scope-OrgID': tenant };
    const { status } = await sender.send(body(replica, seconds), headers);
    sender.close();
    return status;
  };
  expect([await send('t', 'a', 0), await send('u', 'b', 0)]).toEqual([204, 204]);
  for (const end of ['stop', 'kill'] as const) {
    const at = end === 'stop' ? 10 : 20;
    if (end === 'stop') await treeline.program.stop('SIGTERM');
    else await treeline.kill();
    treeline = await startTreeline({ args, dataDir, port });
    expect([await send('t', 'b', at), await send('u', 'a', at)]).toEqual([202, 202]);
    expect([await send('t', 'a', at), await send('u', 'b', at)]).toEqual([204, 204]);
  }
  expect(await send('t', 'b', 60)).toBe(204);
  await partitionsAtRest(treeline);
  const readings = await treeline.metrics();
  expect(identityFaults(readings)).toEqual([]);
  expect(
    readingOf(readings, 'treeline_samples_rejected_total', { reason: 'replica' }),
  ).toBeGreaterThan(0);
  expect(readingOf(readings, 'treeline_replica_clusters')).toBe(2);
  await treeline.stop();
});
