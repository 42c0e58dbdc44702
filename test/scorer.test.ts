// The scorer on a log: the state is a function of the records and nothing else, whatever is stopped, damaged or deleted
// in between.

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { Anomalies } from '../src/api/anomalies.js';
import { CandidateSchema } from '../src/gen/candidate_pb.js';
import type { Checkpoint } from '../src/gen/checkpoint_pb.js';
import { MetricType, SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import type { Logger } from '../src/http-server.js';
import { SERIES_IDLE_MS } from '../src/limits.js';
import { createMetrics } from '../src/metrics.js';
import { decodeManifest } from '../src/scorer/checkpoint-manifest.js';
import { Partition } from '../src/scorer/partition.js';
import { Scorer } from '../src/scorer/scorer.js';
import type { PartitionStatus } from '../src/scorer/scorer-parts.js';
import { scoringOf } from '../src/scorer/scoring.js';
import { findSeries, pageOfSeries } from '../src/scorer/series-view.js';
import { WasmForest } from '../src/scorer/wasm-forest.js';
import { loadWasm } from '../src/wasm-files.js';
import { MemoryLog } from './memory-log.js';
import { MemoryStore, type Versioned } from './memory-store.js';
import { randomOf } from './random.js';

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const BEGIN = 1_760_000_000_000;
const MINUTE = 60_000;
const { module } = loadWasm('forest');

interface Point {
  name: string;
  at: number;
  value: number;
}

const labelsOf = (name: string) => [
  { name: '__name__', value: name },
  { name: 'instance', value: 'a' },
  { name: 'job', value: 'test' },
];

function fingerprintOf(name: string): bigint {
  return BigInt.asUintN(
    64,
    BigInt(Buffer.from(name).reduce((sum, byte) => sum * 257 + byte, 7)) * 0x9e3779b97f4a7c15n,
  );
}

/** One record; `announced` are the series whose labels it carries. */
function record(points: readonly Point[], announced: readonly string[]): Uint8Array {
  const bits = new DataView(new ArrayBuffer(8));
  return toBinary(
    SampleBlockSchema,
    create(SampleBlockSchema, {
      fingerprint: points.map(({ name }) => fingerprintOf(name)),
      timestampMs: points.map(({ at }) => BigInt(at)),
      valueBits: points.map(({ value }) => {
        bits.setFloat64(0, value);
        return bits.getBigUint64(0);
      }),
      series: announced.map((name) => ({
        fingerprint: fingerprintOf(name),
        label: labelsOf(name),
      })),
    }),
  );
}

/** Two days of 30 series with a fault in one, as records of a few minutes each. */
function history(seed = 1): Uint8Array[] {
  const random = randomOf(seed);
  const names = Array.from({ length: 30 }, (_, i) => (i % 5 === 0 ? `c${i}_total` : `g${i}`));
  const totals = new Map<string, number>();
  const records = [];
  for (let minute = 0; minute < 2880; minute += 5) {
    const points: Point[] = [];
    for (let at = minute; at < minute + 5; at++) {
      for (const name of names) {
        const noise = random() + random() + random();
        let value = 50 + 10 * Math.sin((2 * Math.PI * at) / 1440) + noise;
        if (name === 'g7' && at >= 2500 && at < 2510) value += 200;
        if (name.endsWith('_total')) {
          value += totals.get(name) ?? 0;
          totals.set(name, at === 1000 ? 0 : value);
        }
        points.push({ name, at: BEGIN + at * MINUTE, value });
      }
    }
    // Announced at the first sight and again every 10 minutes, as a receiver does.
    records.push(record(points, minute % 10 === 0 ? names : []));
  }
  return records;
}

function scorerOn(
  log: MemoryLog,
  entries: Map<string, Versioned>,
  settings: { seriesMax?: number; checkpointMs?: number } = {},
) {
  const { seriesMax = 1000, checkpointMs = 3_600_000 } = settings;
  const metrics = createMetrics('0');
  const errors: string[] = [];
  const scorer = new Scorer({
    log,
    store: new MemoryStore(entries),
    createForest: (slots) => new WasmForest(module, { seriesMax: slots, seed: 1 }),
    engineId: Buffer.alloc(32),
    metrics,
    logger: { ...quiet, error: (_fields, message) => errors.push(message) },
    clock: Date.now,
    trim: async () => {},
    settings: { seriesMax, seed: 1, checkpointMs, gauges: { scores: 'flagged', lingerMs: 0 } },
  });
  return { scorer, metrics, errors };
}

async function untilRead(scorer: Scorer): Promise<PartitionStatus> {
  for (;;) {
    const [row] = await scorer.status(true);
    if (
      scorer.unready() === undefined &&
      row !== undefined &&
      row.lag === 0 &&
      row.stateHash !== null
    )
      return row;
    await new Promise((turn) => setTimeout(turn, 5));
  }
}

async function filledLog(records: readonly Uint8Array[]): Promise<MemoryLog> {
  const log = new MemoryLog(1);
  for (const bytes of records) await log.append('samples', 0, bytes, 0);
  return log;
}

/** State hash after reading the whole log without a stop. */
async function uninterrupted(log: MemoryLog): Promise<PartitionStatus> {
  const { scorer } = scorerOn(
    new MemoryLog(1, { ...log.remains, lanes: new Map(log.remains.lanes) }),
    new Map(),
  );
  await scorer.start();
  const row = await untilRead(scorer);
  await scorer.stop();
  return row;
}

test('stopped and started again at any record, it arrives at the same state', async () => {
  const records = history();
  const log = await filledLog(records);
  const want = await uninterrupted(log);
  const growing = new MemoryLog(1, { id: log.id, lanes: new Map() });
  const entries = new Map<string, Versioned>();
  const random = randomOf(3);
  for (let from = 0; from < records.length; ) {
    const count = 1 + Math.floor(random() * 200);
    for (const bytes of records.slice(from, from + count))
      await growing.append('samples', 0, bytes, 0);
    from += count;
    const { scorer } = scorerOn(growing, entries, { checkpointMs: 1 });
    await scorer.start();
    await untilRead(scorer);
    await scorer.stop();
  }
  const { scorer } = scorerOn(growing, entries);
  await scorer.start();
  const got = await untilRead(scorer);
  await scorer.stop();
  expect(got.offset).toBe(records.length);
  expect([got.stateHash, got.outcomes]).toEqual([want.stateHash, want.outcomes]);
  expect(want.outcomes['applied']).toBe(2880 * 30);
});

test('killed with an old checkpoint it replays, and repeats its candidates harmlessly', async () => {
  const records = history();
  const log = await filledLog(records.slice(0, 300));
  const entries = new Map<string, Versioned>();
  const first = scorerOn(log, entries);
  await first.scorer.start();
  await untilRead(first.scorer);
  await first.scorer.stop();
  for (const bytes of records.slice(300)) await log.append('samples', 0, bytes, 0);
  // This one reads to the end and is never stopped: as after kill -9 its last checkpoint is the one at 300.
  const killed = new Map(entries);
  const second = scorerOn(log, killed);
  await second.scorer.start();
  const want = await untilRead(second.scorer);
  const third = scorerOn(log, entries);
  await third.scorer.start();
  const got = await untilRead(third.scorer);
  expect(got.stateHash).toBe(want.stateHash);
  await Promise.all([second.scorer.stop(), third.scorer.stop()]);
  const view = new Anomalies(Number.POSITIVE_INFINITY);
  const candidates = log.remains.lanes.get('candidates/0')?.records ?? [];
  for (const bytes of candidates) view.apply(fromBinary(CandidateSchema, bytes));
  const found = view
    .ordered('')
    .filter(({ labels }) =>
      labels.some(({ name, value }) => name === '__name__' && value === 'g7'),
    );
  expect(found.filter(({ onsetMs }) => onsetMs === BEGIN + 2500 * MINUTE)).toHaveLength(1);
  expect(new Set(view.ordered('').map(({ id }) => id)).size).toBe(view.count);
});

test('scenario 4: a checkpoint damaged in a chunk or in its manifest is passed over for the one before it', async () => {
  const records = history();
  const log = await filledLog(records.slice(0, 200));
  const entries = new Map<string, Versioned>();
  for (const until of [200, 400]) {
    for (const bytes of records.slice(200, until)) await log.append('samples', 0, bytes, 0);
    const { scorer } = scorerOn(log, entries);
    await scorer.start();
    await untilRead(scorer);
    await scorer.stop();
  }
  const want = await uninterrupted(log);
  const ok = async (part: string) => {
    const copies = [...entries].map(
      ([key, { value, version }]) => [key, { value: Uint8Array.from(value), version }] as const,
    );
    const remains = new Map<string, Versioned>(copies);
    const key = `checkpoint/000/${'400'.padStart(16, '0')}/${part}`;
    (remains.get(key) as Versioned).value[100]! ^= 1;
    const { scorer, errors } = scorerOn(log, remains);
    await scorer.start();
    const got = await untilRead(scorer);
    await scorer.stop();
    expect([part, ...errors]).toEqual([part, 'A checkpoint cannot be used; trying an older one']);
    expect([part, got.stateHash]).toEqual([part, want.stateHash]);
  };
  await ok('000000');
  await ok('manifest');
});

test('scenario 4: a manifest is read as it was written or not at all, whichever bit of it is wrong', async () => {
  const log = await filledLog(history().slice(0, 50));
  const entries = new Map<string, Versioned>();
  const { scorer } = scorerOn(log, entries);
  await scorer.start();
  await untilRead(scorer);
  await scorer.stop();
  const key = [...entries.keys()].find((one) => one.endsWith('/manifest')) as string;
  const bytes = (entries.get(key) as Versioned).value;
  const sound = decodeManifest(bytes) as Checkpoint;
  expect(sound.offset).toBe(50n);
  for (let bit = 0; bit < 8 * bytes.length; bit++) {
    const damaged = Uint8Array.from(bytes);
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    expect([bit, decodeManifest(damaged)]).toEqual([bit, undefined]);
  }
  // One of an older program has no checksum.
  expect(decodeManifest(bytes.subarray(6))).toEqual({ ...sound, checksum: 0 });
});

test('a checkpoint of another log is not taken', async () => {
  const log = await filledLog(history().slice(0, 10));
  const entries = new Map<string, Versioned>();
  const first = scorerOn(log, entries);
  await first.scorer.start();
  await untilRead(first.scorer);
  await first.scorer.stop();
  const other = await filledLog(history(2).slice(0, 10));
  const second = scorerOn(other, entries);
  await second.scorer.start();
  const got = await untilRead(second.scorer);
  await second.scorer.stop();
  expect(got.stateHash).toBe((await uninterrupted(other)).stateHash);
});

test('records deleted before they were read are counted as a gap', async () => {
  const log = await filledLog(history().slice(0, 20));
  log.deleteBelow('samples', 0, 7);
  const { scorer, metrics, errors } = scorerOn(log, new Map());
  await scorer.start();
  const row = await untilRead(scorer);
  await scorer.stop();
  expect(row.offset).toBe(20);
  expect(errors).toContain('Retention deleted records before they were scored');
  const { values } = await metrics.gapRecords.get();
  expect(values).toMatchObject([{ labels: { topic: 'samples', partition: '0' }, value: 7 }]);
});

test('each logged sample has one outcome, retries and strangers included', async () => {
  const at = BEGIN;
  const records = [
    record([{ name: 'a', at, value: 1 }], ['a']),
    record([{ name: 'a', at, value: 1 }], []),
    record([{ name: 'a', at, value: 2 }], []),
    record([{ name: 'a', at: at - 1, value: 2 }], []),
    record([{ name: 'unknown', at, value: 2 }], []),
    record([{ name: 'ALERTS', at, value: 1 }], ['ALERTS']),
  ];
  const { scorer } = scorerOn(await filledLog(records), new Map());
  await scorer.start();
  const { outcomes } = await untilRead(scorer);
  expect(outcomes).toEqual({
    applied: 1,
    duplicate: 1,
    conflict: 1,
    late: 1,
    refused: 1,
    unscored: 1,
  });
  const page = await pageOfSeries(scorer.partitions(), {
    tenant: '',
    matches: () => true,
    limit: 1,
  });
  expect(page.rows).toMatchObject([{ state: 'warming', progress: { needed: 100 } }]);
  const rest = await pageOfSeries(scorer.partitions(), {
    tenant: '',
    matches: () => true,
    limit: 5,
    cursor: page.next as string,
  });
  expect(rest.rows).toMatchObject([
    { state: 'unscored', series: expect.stringContaining('ALERTS') },
  ]);
  const fingerprint = page.rows[0]?.fingerprint as string;
  expect(findSeries(scorer.partitions(), { fingerprint, tenant: '' })).toEqual(page.rows[0]);
  await scorer.stop();
});

test('beyond the limit series are refused and counted, until an idle one makes room', () => {
  const partition = new Partition(new WasmForest(module, { seriesMax: 2, seed: 1 }), 2);
  const one = (name: string, at: number) =>
    partition.apply(record([{ name, at, value: 1 }], [name]));
  one('a', BEGIN);
  one('b', BEGIN);
  one('c', BEGIN);
  expect(partition.counts).toMatchObject({ applied: 2, refused: 1 });
  one('a', BEGIN + 2 * 3_600_000);
  one('c', BEGIN + 2 * 3_600_000 + 1);
  expect(partition.counts).toMatchObject({ applied: 4, refused: 1 });
  expect([partition.slots.scored, partition.slots.slotEnd]).toEqual([2, 2]);
});

test('a series idle in stream time is forgotten, however old the timestamps are', () => {
  const partition = new Partition(new WasmForest(module, { seriesMax: 9, seed: 1 }), 9);
  const one = (name: string, at: number) =>
    partition.apply(record([{ name, at, value: 1 }], [name]));
  one('old', BEGIN);
  // Weeks of history of a second series: it is late in time but not idle.
  one('new', BEGIN - 100 * SERIES_IDLE_MS);
  expect(partition.slots.count).toBe(2);
  for (let day = 1; day < 10; day++) one('new', BEGIN + day * 864e5);
  expect(partition.slots.count).toBe(1);
});

test('idle series are forgotten under steady traffic too, and not because stream time jumps', () => {
  const partition = new Partition(new WasmForest(module, { seriesMax: 9, seed: 1 }), 9);
  const known = ['a', 'b', 'gone'];
  const at = (ms: number, names: readonly string[], announced: readonly string[] = []) =>
    partition.apply(
      record(
        names.map((name) => ({ name, at: ms, value: 1 })),
        announced,
      ),
    );
  at(BEGIN - 1, known, known);
  for (let ms = BEGIN; ms < BEGIN + 36e5; ms += 15_000) at(ms, known);
  // History ended here, and live samples begin weeks later: who is slow to come has not gone.
  const live = BEGIN + 30 * 864e5;
  at(live, ['a']);
  expect(partition.slots.count).toBe(3);
  for (let ms = live + 15_000; ms < live + 2 * 36e5; ms += 15_000) at(ms, ['a', 'b']);
  expect(partition.slots.count).toBe(2);
});

test('an open anomaly of a series that falls silent ends', () => {
  const partition = new Partition(new WasmForest(module, { seriesMax: 9, seed: 1 }), 9);
  const phases: string[] = [];
  partition.listen({
    onPhase: ({ phase }) => phases.push(phase),
    onOpened() {},
    onRemoved() {},
  });
  const random = randomOf(5);
  for (let minute = 0; minute < 1000; minute++) {
    const at = BEGIN + minute * MINUTE;
    const value = minute > 990 ? 1000 + 100 * minute : random() + random();
    const points = [{ name: 'other', at, value: random() }];
    if (minute < 993) points.push({ name: 'gone', at, value });
    partition.apply(record(points, ['gone', 'other']));
  }
  expect(phases.at(0)).toBe('onset');
  expect(phases.at(-1)).toBe('end');
  expect(partition.flagged.size).toBe(0);
});

test('type and name decide how a series is scored', () => {
  const ok = (name: string, type: MetricType, want: string | undefined, le?: string) => {
    const labels = [...labelsOf(name), ...(le === undefined ? [] : [{ name: 'le', value: le }])];
    expect([name, scoringOf(labels, type)]).toEqual([name, want]);
  };
  ok('node_load1', MetricType.UNSPECIFIED, 'gauge');
  ok('http_requests_total', MetricType.UNSPECIFIED, 'guessed-counter');
  ok('http_seconds_sum', MetricType.UNSPECIFIED, 'guessed-counter');
  ok('http_seconds_count', MetricType.HISTOGRAM, 'counter');
  ok('http_seconds_bucket', MetricType.UNSPECIFIED, undefined, '0.5');
  ok('leaky_bucket', MetricType.UNSPECIFIED, 'gauge');
  ok('queue_count', MetricType.GAUGE, 'gauge');
  ok('odd_name', MetricType.COUNTER, 'counter');
  ok('ALERTS', MetricType.UNSPECIFIED, undefined);
});
