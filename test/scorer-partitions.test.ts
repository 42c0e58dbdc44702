// The scorer while partitions come and go, and when its log is not what it was: nothing of a partition that left stays
// behind, and what cannot be read, was deleted or was cut off is seen and counted.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { OperatingError } from '../src/errors.js';
import { HistogramSampleSchema, SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import type { Logger } from '../src/http-server.js';
import type { Assignment, Subscription, Topic } from '../src/log/log.js';
import { createMetrics } from '../src/metrics.js';
import { REAL_PACE } from '../src/pace.js';
import { stateHash, takeSnapshot } from '../src/scorer/checkpoint.js';
import { Partition } from '../src/scorer/partition.js';
import { Scorer } from '../src/scorer/scorer.js';
import type { PartitionStatus } from '../src/scorer/scorer-parts.js';
import { WasmForest } from '../src/scorer/wasm-forest.js';
import { loadWasm } from '../src/wasm-files.js';
import { MemoryLog, type Remains } from './memory-log.js';
import { MemoryStore, type Versioned } from './memory-store.js';
import { randomOf } from './random.js';
import { blockOf } from './sim-load.js';

const { module } = loadWasm('forest');
const BEGIN = 1_760_000_000_000;
const POISON = Uint8Array.from([0x12, 0x08, 1]);

/** A log that shares its partitions out as the test says, and gives so many records a read at most. */
class SharedLog extends MemoryLog {
  assignment: Assignment = { onAssigned() {}, onLost() {} };
  recordsMax = Number.POSITIVE_INFINITY;
  onClose = (): void => {};

  constructor(partitions: number, remains?: Remains) {
    super(partitions, remains);
  }

  override async subscribe(topic: Topic, assignment: Assignment): Promise<Subscription> {
    // Control is everybody's.
    if (topic === 'control') return super.subscribe(topic, assignment);
    this.assignment = assignment;
    const subscription = await super.subscribe(topic, { onAssigned() {}, onLost() {} });
    return {
      commit: (partition, next) => subscription.commit(partition, next),
      read: async (partition, from, bytesMax, signal) => {
        const batch = await subscription.read(partition, from, bytesMax, signal);
        const records = batch.records.slice(0, this.recordsMax);
        return { ...batch, records, next: (records.at(-1)?.offset ?? from) + 1 };
      },
      close: async () => {
        this.onClose();
        await subscription.close();
      },
    };
  }

  assign(...partitions: number[]): void {
    for (const partition of partitions) this.assignment.onAssigned(partition);
    this.assignment.onShared?.();
  }
}

/** Two hours of four series, one of which leaves its range for some minutes; a record for each half minute. */
function history(seed = 1, partition = 0): Uint8Array[] {
  const random = randomOf(seed);
  const series = [0, 1, 2, 3].map((index) => {
    const number = 10 * partition + index;
    return { number, name: index === 1 ? `s${number}_total` : `s${number}` };
  });
  return Array.from({ length: 240 }, (_, tick) => {
    const rows = series.map((one) => {
      const noise = 50 + random() + random();
      const value = one.name.endsWith('_total') ? 100 * tick + noise : noise;
      const spike = one.number % 10 === 2 && tick >= 180 && tick < 186 ? 500 : 0;
      return {
        one,
        point: { series: one.number, at: BEGIN + 30_000 * tick, value: value + spike },
      };
    });
    return blockOf(rows, tick % 20 === 0 ? rows : []);
  });
}

function scorerOn(
  log: MemoryLog,
  options: {
    entries?: Map<string, Versioned>;
    poison?: 'stop' | 'quarantine';
    checkpointMs?: number;
    createForest?: (seriesMax: number) => WasmForest;
    store?: MemoryStore;
  } = {},
) {
  const { entries = new Map<string, Versioned>(), checkpointMs = 3_600_000 } = options;
  const said: string[] = [];
  const say = (_fields: object, message: string) => said.push(message);
  const logger: Logger = { debug() {}, info: say, warn: say, error: say };
  const metrics = createMetrics('0');
  const planted = (seriesMax: number) => new WasmForest(module, { seriesMax, seed: 1 });
  const scorer = new Scorer({
    ...{ log, metrics, logger, clock: Date.now },
    store: options.store ?? new MemoryStore(entries),
    // Nobody waits out the seconds in which brokers may disagree.
    pace: { ...REAL_PACE, sleep: () => REAL_PACE.turn() },
    createForest: options.createForest ?? planted,
    engineId: Buffer.alloc(32),
    trim: async () => {},
    settings: {
      ...{ seriesMax: 32, seed: 1, checkpointMs },
      gauges: { scores: 'all', lingerMs: 0 },
      ...(options.poison !== undefined && { poison: options.poison }),
    },
  });
  return { scorer, metrics, said, entries };
}

async function untilRead(scorer: Scorer, partitions = 1): Promise<PartitionStatus[]> {
  for (;;) {
    const rows = await scorer.status(true);
    const isRead = rows.every(
      ({ lag, stateHash: hash, stopped }) => (lag === 0 || stopped !== undefined) && hash !== null,
    );
    if (isRead && rows.length === partitions) return rows;
    await new Promise((turn) => setTimeout(turn, 2));
  }
}

async function filled(...lanes: (readonly Uint8Array[])[]): Promise<SharedLog> {
  const log = new SharedLog(lanes.length);
  for (const [partition, records] of lanes.entries()) {
    for (const record of records) await log.append('samples', partition, record, 4);
  }
  return log;
}

function hashOf(records: readonly Uint8Array[], log: MemoryLog, index = 0): string {
  const partition = new Partition(new WasmForest(module, { seriesMax: 32, seed: 1 }), 32);
  for (const record of records) partition.apply(record);
  const engineId = Buffer.alloc(32);
  const lineage = {
    ...{ logId: log.id, partition: index, partitions: log.partitions, engineId, seed: 1 },
  };
  const snapshot = takeSnapshot(partition, lineage, records.length);
  return Buffer.from(stateHash(snapshot)).toString('hex');
}

const linesOf = (scorer: Scorer) =>
  [...scorer.gauges.lines({ isUtf8: false, matches: () => true, tenant: '' })].join('');

async function metricOf(metrics: ReturnType<typeof createMetrics>, name: string) {
  const text = await metrics.text();
  return text.split('\n').filter((line) => line.startsWith(name));
}

test('a partition that leaves takes its gauges, its series and its metrics along', async () => {
  const log = await filled(history(1, 0), history(2, 1));
  const { scorer, metrics } = scorerOn(log);
  await scorer.start();
  log.assign(0, 1);
  await untilRead(scorer, 2);
  expect([...linesOf(scorer).matchAll(/^anomaly_score\{/gm)]).toHaveLength(8);
  expect(await metricOf(metrics, 'treeline_partitions_owned ')).toEqual([
    'treeline_partitions_owned 2',
  ]);
  log.assignment.onLost(1);
  const rows = await untilRead(scorer, 1);
  expect(rows.map(({ partition }) => partition)).toEqual([0]);
  const lines = linesOf(scorer);
  expect([lines.includes('"s1_total"'), lines.includes('"s12"')]).toEqual([true, false]);
  expect([...lines.matchAll(/^anomaly_score\{/gm)]).toHaveLength(4);
  expect(await metrics.text()).not.toMatch(/partition="1"/);
  expect(await metricOf(metrics, 'treeline_partitions_owned ')).toEqual([
    'treeline_partitions_owned 1',
  ]);
  log.assign(1);
  await untilRead(scorer, 2);
  expect([...linesOf(scorer).matchAll(/^anomaly_score\{/gm)]).toHaveLength(8);
  await scorer.stop();
});

test('a partition that leaves while its flag is up leaves no flag behind in its group', async () => {
  const log = await filled(history(1, 0).slice(0, 184), history(2, 1));
  const { scorer } = scorerOn(log);
  await scorer.start();
  log.assign(0, 1);
  await untilRead(scorer, 2);
  const rate = () => linesOf(scorer).match(/^anomaly_rate\{.*job="job-0"\} (.*)$/m)?.[1];
  expect(Number(rate())).toBeGreaterThan(0);
  log.assignment.onLost(0);
  await untilRead(scorer, 1);
  expect(rate()).toBe('0');
  await scorer.stop();
});

test('scenario 17: the memory of a partition that left is given back', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const forests: WeakRef<WasmForest>[] = [];
  const log = await filled(history());
  const { scorer } = scorerOn(log, {
    createForest: (seriesMax) => {
      const forest = new WasmForest(module, { seriesMax, seed: 1 });
      forests.push(new WeakRef(forest));
      return forest;
    },
  });
  await scorer.start();
  for (let round = 0; round < 100; round++) {
    log.assign(0);
    await untilRead(scorer, 1);
    log.assignment.onLost(0);
    await untilRead(scorer, 0);
  }
  await new Promise((turn) => setTimeout(turn, 5));
  collect();
  await new Promise((turn) => setTimeout(turn, 5));
  collect();
  expect(forests).toHaveLength(100);
  expect(forests.filter((forest) => forest.deref() !== undefined).length).toBeLessThan(3);
  await scorer.stop();
});

test('ready: when its share is known and read; owning nothing is ready, and says so', async () => {
  const log = await filled(history(), []);
  const { scorer, said } = scorerOn(log);
  expect(scorer.unready()).toBe('not started');
  await scorer.start();
  expect(scorer.unready()).toBe('waiting for its share of the partitions');
  log.assign();
  expect([scorer.unready(), scorer.note()]).toEqual([undefined, 'owns no partition']);
  expect(said).toEqual(['No partition is left for this process']);
  log.assign(0);
  expect([scorer.unready(), scorer.note()]).toEqual(['replaying partition 0', undefined]);
  await untilRead(scorer, 1);
  expect(scorer.unready()).toBeUndefined();
  await scorer.stop();
});

test('a graceful leave saves before it gives back: the next owner replays nothing', async () => {
  const records = history();
  const log = await filled(records);
  const { scorer, entries } = scorerOn(log);
  await scorer.start();
  log.assign(0);
  await untilRead(scorer);
  for (const record of history(5).slice(0, 3)) await log.append('samples', 0, record, 4);
  await untilRead(scorer);
  let savedAtClose: string[] = [];
  log.onClose = () => {
    savedAtClose = [...entries.keys()].filter((key) => key.endsWith('/manifest'));
  };
  await scorer.stop();
  expect(savedAtClose.at(-1)).toContain(String(records.length + 3).padStart(16, '0'));
});

test('scenario 35: by the policy stop a partition stands still at a record that cannot be read', async () => {
  const [good, other] = [history(1, 0), history(2, 1)];
  const log = await filled([...good.slice(0, 100), POISON, ...good.slice(100)], other);
  const { scorer, metrics, said, entries } = scorerOn(log);
  await scorer.start();
  log.assign(0, 1);
  const [first, second] = await untilRead(scorer, 2);
  expect(first).toMatchObject({ offset: 100, lag: 141, stopped: { offset: 100 } });
  expect(first?.stopped?.reason).toMatch(/^Cannot read a record of 3 bytes: /);
  expect(second).toMatchObject({ offset: 240, lag: 0 });
  expect(scorer.unready()).toMatch(/^partition 0 at 100 stands still/);
  const stopped = await metricOf(metrics, 'treeline_partition_stopped_offset{');
  expect(stopped).toEqual(['treeline_partition_stopped_offset{partition="0"} 100']);
  expect(said).toContain('A record cannot be read; its partition stands still, others go on');
  await scorer.stop();
  // With the other policy the same state goes on behind it.
  const again = scorerOn(log, { entries, poison: 'quarantine' });
  await again.scorer.start();
  log.assign(0);
  const [row] = await untilRead(again.scorer);
  expect(row).toMatchObject({ offset: 241, lag: 0 });
  expect(row?.outcomes['applied']).toBe(4 * 240);
  const left = await metricOf(again.metrics, 'treeline_log_unreadable_records_total{');
  expect(left).toEqual(['treeline_log_unreadable_records_total{topic="samples",partition="0"} 1']);
  expect(again.said).toContain('A record cannot be read; it is left out');
  await again.scorer.stop();
});

test('a record that cannot be read changes nothing, wherever it is damaged', () => {
  const random = randomOf(77);
  const good = history().slice(0, 20);
  const withHistogram = fromBinary(SampleBlockSchema, good[0] as Uint8Array);
  const message = Uint8Array.from([0x0a, 0x02, 0x08, 0x01, 0x21, 1, 2, 3, 4, 5, 6, 7, 8]);
  withHistogram.histogram = [1, 2].map((count) =>
    create(HistogramSampleSchema, { fingerprint: 7n, histogram: message.slice(0, 6 * count) }),
  );
  withHistogram.tenant = 'team-a';
  const whole = toBinary(SampleBlockSchema, withHistogram);
  const partition = new Partition(new WasmForest(module, { seriesMax: 32, seed: 1 }), 32);
  for (const record of good) partition.apply(record);
  const engineId = Buffer.alloc(32);
  const lineage = { logId: '', partition: 0, partitions: 1, engineId, seed: 1 };
  const hash = () => Buffer.from(stateHash(takeSnapshot(partition, lineage, 0))).toString('hex');
  let [refused, taken] = [0, 0];
  for (let round = 0; round < 20_000; round++) {
    const record = whole.slice(0, random() < 0.2 ? Math.floor(random() * whole.length) : undefined);
    for (let flips = 1 + Math.floor(random() * 3); flips > 0 && record.length > 0; flips--) {
      record[Math.floor(random() * record.length)] = Math.floor(random() * 256);
    }
    const before = round % 20 === 0 ? hash() : undefined;
    try {
      partition.apply(record);
      taken++;
    } catch (error) {
      expect(error, `round ${round}`).toBeInstanceOf(OperatingError);
      expect((error as OperatingError).code).toBe('record_unreadable');
      if (before !== undefined) expect(hash(), `round ${round}`).toBe(before);
      refused++;
    }
  }
  expect(Math.min(refused, taken)).toBeGreaterThan(2000);
});

test('scenario 35: a section that only a newer version knows is not passed over', () => {
  const partition = new Partition(new WasmForest(module, { seriesMax: 32, seed: 1 }), 32);
  const [record] = history() as [Uint8Array];
  const ok = (more: number[], isTaken: boolean) => {
    const apply = () => partition.apply(Buffer.concat([record, Uint8Array.from(more)]));
    if (isTaken) apply();
    else expect(apply).toThrow(/field (9|11), which only a newer version knows/);
  };
  ok([0x4a, 1, 0], false);
  // As a number, where the general decoder is asked.
  ok([0x58, 1], false);
  ok([0x82, 0x01, 1, 0], true);
  expect(partition.counts.applied + partition.counts.duplicate).toBe(4);
});

test('a control record enters the state when its copy is read back, once, and a replay finds it there', async () => {
  const log = await filled(history());
  const { scorer, metrics, entries } = scorerOn(log);
  await scorer.start();
  log.assign(0);
  await untilRead(scorer);
  const say = (text: string) => log.append('control', 0, Buffer.from(text), 0);
  const known = async (of: Scorer, offset: number) => {
    for (;;) {
      const [row] = await untilRead(of);
      if (row?.controlOffset === offset) return row;
      await new Promise((turn) => setTimeout(turn, 2));
    }
  };
  await say('mute');
  await say('unmute');
  expect((await known(scorer, 2)).offset).toBe(242);
  // A second owner's copy of the first, and one that is too large to be copied.
  const lane = log.remains.lanes.get('samples/0') as { records: Uint8Array[] };
  await log.append('samples', 0, lane.records[240] as Uint8Array, 0);
  await log.append('control', 0, new Uint8Array(65 * 1024), 0);
  await say('again');
  const row = await known(scorer, 4);
  expect(row.offset).toBe(244);
  expect(await metricOf(metrics, 'treeline_control_records_total{')).toEqual([
    'treeline_control_records_total{partition="0",outcome="applied"} 0',
    'treeline_control_records_total{partition="0",outcome="elsewhere"} 0',
    'treeline_control_records_total{partition="0",outcome="unknown"} 3',
    'treeline_control_records_total{partition="0",outcome="refused"} 0',
    'treeline_control_records_total{partition="0",outcome="repeated"} 1',
    'treeline_control_records_total{partition="0",outcome="missed"} 1',
  ]);
  expect(await metricOf(metrics, 'treeline_log_unreadable_records_total{')).toEqual([
    'treeline_log_unreadable_records_total{topic="control",partition="0"} 1',
  ]);
  expect(row.stateHash).toBe(hashOf(lane.records, log));
  expect(row.stateHash).not.toBe(hashOf([...lane.records.slice(0, 243)], log));
  await scorer.stop();
  // Restored from the checkpoint, and replayed from the beginning: nothing is copied again.
  for (const saved of [entries, new Map<string, Versioned>()]) {
    const again = scorerOn(log, { entries: saved });
    await again.scorer.start();
    log.assign(0);
    const same = await known(again.scorer, 4);
    expect([same.offset, same.stateHash]).toEqual([244, row.stateHash]);
    await again.scorer.stop();
  }
  expect(lane.records).toHaveLength(244);
});

test('scenario 19: records deleted below a checkpoint are a counted gap, and the rest is scored', async () => {
  const records = history();
  const log = await filled(records.slice(0, 100));
  const first = scorerOn(log);
  await first.scorer.start();
  log.assign(0);
  await untilRead(first.scorer);
  await first.scorer.stop();
  for (const record of records.slice(100)) await log.append('samples', 0, record, 4);
  log.deleteBelow('samples', 0, 150);
  const { scorer, metrics, said } = scorerOn(log, { entries: first.entries });
  await scorer.start();
  log.assign(0);
  const [row] = await untilRead(scorer);
  expect(row).toMatchObject({ offset: 240, outcomes: { applied: 4 * 190 } });
  const gap = await metricOf(metrics, 'treeline_log_gap_records_total{');
  expect(gap).toEqual(['treeline_log_gap_records_total{topic="samples",partition="0"} 50']);
  expect(said).toContain('Retention deleted records before they were scored');
  await scorer.stop();
});

/** What it holds when a call comes is up to the test. */
class ChangingStore extends MemoryStore {
  before: (call: 'get' | 'list', key: string) => void = () => {};

  override get(key: string): Promise<Uint8Array | undefined> {
    this.before('get', key);
    return super.get(key);
  }

  override list(prefix: string): Promise<string[]> {
    this.before('list', prefix);
    return super.list(prefix);
  }
}

test('scenario 19: checkpoints that another owner replaces while they are read are looked for again, and no record is lost', async () => {
  const records = history();
  const log = await filled(records);
  const lane = log.remains.lanes.get('samples/0') as { records: Uint8Array[] };
  const saved = new Map<number, Map<string, Versioned>>();
  const entries = new Map<string, Versioned>();
  for (const until of [100, 150, 190, 220, 240]) {
    lane.records = records.slice(0, until);
    const owner = scorerOn(log, { entries });
    await owner.scorer.start();
    log.assign(0);
    await untilRead(owner.scorer);
    await owner.scorer.stop();
    saved.set(until, new Map(entries));
  }
  log.deleteBelow('samples', 0, 200);
  const shown = new Map(saved.get(150));
  const show = (until: number) => {
    shown.clear();
    for (const [key, entry] of saved.get(until) ?? []) shown.set(key, entry);
  };
  const store = new ChangingStore(shown);
  const keyOf = (offset: number) => `checkpoint/000/${String(offset).padStart(16, '0')}/manifest`;
  let isRestored = false;
  store.before = (call, key) => {
    // It restores from 150. Then 190 is there, as it looks for what another has saved, and two more while it reads that.
    if (call === 'get' && key === keyOf(150)) isRestored = true;
    else if (call === 'list' && isRestored && shown.has(keyOf(100))) show(190);
    else if (call === 'get' && key === keyOf(190)) show(240);
  };
  const { scorer, metrics, said } = scorerOn(log, { store });
  await scorer.start();
  log.assign(0);
  const [row] = await untilRead(scorer);
  expect(row?.stateHash).toBe(hashOf(records, log));
  expect(await metricOf(metrics, 'treeline_log_gap_records_total{')).toEqual([]);
  expect(said).toContain('Cannot resume now; trying again');
  expect([...shown.keys()].filter((key) => key.endsWith('/manifest'))).toContain(keyOf(220));
  await scorer.stop();
});

test('scenario 21: a checkpoint beyond the end of its log is deleted, and is not believed when the log has grown again', async () => {
  const records = history();
  const log = await filled(records.slice(0, 100));
  const entries = new Map<string, Versioned>();
  for (const until of [150, 200]) {
    const { scorer } = scorerOn(log, { entries });
    await scorer.start();
    log.assign(0);
    await untilRead(scorer);
    await scorer.stop();
    if (until === 200) break;
    for (const record of records.slice(100, 200)) await log.append('samples', 0, record, 4);
  }
  expect([...entries.keys()].filter((key) => key.endsWith('manifest'))).toHaveLength(2);
  // What was behind 120 is gone, and other records come in its place.
  const lane = log.remains.lanes.get('samples/0') as { records: Uint8Array[] };
  lane.records.length = 120;
  const cut = scorerOn(log, { entries });
  await cut.scorer.start();
  log.assign(0);
  await untilRead(cut.scorer);
  const cuts = await metricOf(cut.metrics, 'treeline_log_truncations_total{');
  expect(cuts).toEqual(['treeline_log_truncations_total{topic="samples",partition="0"} 1']);
  expect(cut.said.some((text) => text.startsWith('The log ends before these checkpoints'))).toBe(
    true,
  );
  for (const record of history(9).slice(120)) await log.append('samples', 0, record, 4);
  const { scorer } = scorerOn(log, { entries });
  const [before] = await untilRead(cut.scorer);
  await scorer.start();
  log.assign(0);
  const [row] = await untilRead(scorer);
  const want = hashOf([...records.slice(0, 120), ...history(9).slice(120)], log);
  expect([row?.offset, before?.stateHash, row?.stateHash]).toEqual([240, want, want]);
  await scorer.stop();
});

test('scenario 20: checkpoints of another log are neither taken nor taken for a cut', async () => {
  const [first, entries] = [await filled(history()), new Map<string, Versioned>()];
  const before = scorerOn(first, { entries });
  await before.scorer.start();
  first.assign(0);
  await untilRead(before.scorer);
  await before.scorer.stop();
  const records = history(4).slice(0, 50);
  const log = await filled(records);
  const { scorer, metrics } = scorerOn(log, { entries });
  await scorer.start();
  log.assign(0);
  const [row] = await untilRead(scorer);
  expect(row?.stateHash).toBe(hashOf(records, log));
  expect(await metricOf(metrics, 'treeline_log_truncations_total{')).toEqual([]);
  await scorer.stop();
  // What is saved now is kept, although its offset is lower than theirs.
  const next = scorerOn(log, { entries });
  await next.scorer.start();
  log.assign(0);
  expect((await untilRead(next.scorer))[0]?.checkpoint?.offset).toBe(50);
  await next.scorer.stop();
});

test('scenario 39: batches of one record, of 7, of 100 and of all lead to the same state', async () => {
  const records = history();
  const want = hashOf(records, await filled([]));
  for (const recordsMax of [1, 7, 100, 1000]) {
    const log = await filled(records);
    log.recordsMax = recordsMax;
    const { scorer } = scorerOn(log, { checkpointMs: 1 });
    await scorer.start();
    log.assign(0);
    const [row] = await untilRead(scorer);
    expect([recordsMax, row?.stateHash]).toEqual([recordsMax, want]);
    await scorer.stop();
  }
});
