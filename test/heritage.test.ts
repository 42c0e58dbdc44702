// What scorers tell each other of entities: a newcomer begins with what a sibling in another partition has learnt, says so,
// and a replay of its samples log alone comes to the same state. Nobody else is given anything, and what gets lost on the
// way is counted and costs nothing but a warm-up.

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { OperatingError } from '../src/errors.js';
import { type Heritage, HeritageSchema, SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import { HERITAGE_FRESH_MS, HERITAGE_WISHES_MAX, LOAN_VECTORS } from '../src/limits-detectors.js';
import { createMetrics } from '../src/metrics.js';
import { stateHash, takeSnapshot } from '../src/scorer/checkpoint.js';
import { HeritageCarrier } from '../src/scorer/heritage-carrier.js';
import type { Partition } from '../src/scorer/partition.js';
import { Scorer } from '../src/scorer/scorer.js';
import { WasmForest } from '../src/scorer/wasm-forest.js';
import { loadWasm } from '../src/wasm-files.js';
import { quiet } from './api-site.js';
import { record, rowsOf } from './histogram-scrapes.js';
import { MemoryLog } from './memory-log.js';
import { MemoryStore, type Versioned } from './memory-store.js';
import { at, detectorSet, entityOf, Pod, type PodState, partitionWith } from './pods.js';
import { eventually } from './programs.js';

const { module } = loadWasm('forest');
const OLD = 'web-5d9f7c6b8-bcd24';
const NEW = 'web-7c9fd45b6-xk2vz';

/** Partitions whose words are carried when the test says so. */
class Site {
  readonly partitions: Partition[];
  readonly mail: { partition: number; block: Uint8Array }[] = [];
  readonly carrier: HeritageCarrier;
  step = 0;
  clockMs: number | undefined;
  failure: Error | undefined;

  constructor(count: number) {
    this.partitions = Array.from({ length: count }, () => partitionWith(detectorSet()));
    const append = async (_topic: string, partition: number, block: Uint8Array) => {
      if (this.failure !== undefined) throw this.failure;
      this.mail.push({ partition, block });
      return 0;
    };
    this.carrier = new HeritageCarrier(
      { partitions: count, append },
      () => this.clockMs ?? at(this.step),
    );
    for (const [index, partition] of this.partitions.entries()) this.carrier.own(index, partition);
  }

  feed(partition: number, pod: Pod, steps: number, state: PodState = {}): void {
    for (let i = 0; i < steps; i++) {
      this.partitions[partition]!.apply(record(pod.scrape(at(this.step++), state)));
    }
  }

  /** Until nobody has anything to say; returns what was said. */
  async carry(): Promise<Heritage[]> {
    const said: Heritage[] = [];
    for (;;) {
      this.carrier.send();
      await this.carrier.stop();
      const mail = this.mail.splice(0);
      if (mail.length === 0) return said;
      for (const { partition, block } of mail) {
        said.push(...fromBinary(SampleBlockSchema, block).heritage);
        this.partitions[partition]!.apply(block);
      }
    }
  }
}

const heirOf = (partition: Partition, pod = NEW, namespace = 'shop') => {
  const { inheritedFrom, isBorrower } = entityOf(partition, namespace, pod)!;
  return [inheritedFrom, isBorrower];
};

test('a newcomer begins with what a sibling in another partition knows, is judged with it, and says so until it knows itself', async () => {
  const site = new Site(3);
  const fresh = new Pod(NEW, { seed: 2 });
  site.feed(0, new Pod(OLD, { seed: 1 }), 1500);
  await site.carry();
  site.feed(2, fresh, 1);
  const said = await site.carry();
  // One wish in each of three partitions, one answer.
  expect(said.map(({ what }) => what.case)).toEqual(['wish', 'wish', 'wish', 'bequest']);
  expect(heirOf(site.partitions[2]!)).toEqual([`shop/${OLD}`, true]);
  const rowOf = async () =>
    (await rowsOf(site.partitions[2]!)).find(({ entity }) => entity !== undefined)!;
  site.feed(2, fresh, 40);
  expect(await rowOf()).toMatchObject({
    state: 'active',
    entity: { borrowedFrom: `shop/${OLD}`, learnt: LOAN_VECTORS + 40 },
  });
  const onsets: string[] = [];
  site.partitions[2]!.listen({
    onPhase: ({ phase, entry }) => {
      if (phase === 'onset') onsets.push(site.partitions[2]!.labels(entry)[0]!.value);
    },
    onOpened() {},
    onRemoved() {},
  });
  site.feed(2, fresh, 20);
  expect(onsets).toEqual([]);
  site.feed(2, fresh, 10, { extraCores: 0.8 });
  expect(onsets).toEqual(['treeline_entity_distance']);
  site.feed(2, fresh, LOAN_VECTORS);
  const { entity } = await rowOf();
  expect([entity!.borrowedFrom, entity!.inheritedFrom]).toEqual([undefined, undefined]);
}, 60_000);

test('the state follows from the samples log alone: with nobody to carry words a replay comes to the same bytes', async () => {
  const log = new MemoryLog(2);
  let nowMs = at(0);
  const detectors = detectorSet();
  const scorer = new Scorer({
    ...{ log, logger: quiet, metrics: createMetrics('0'), detectors, clock: () => nowMs },
    store: new MemoryStore(new Map<string, Versioned>()),
    createForest: (seriesMax) => new WasmForest(module, { seriesMax, seed: 1 }),
    engineId: Buffer.alloc(32),
    trim: async () => {},
    settings: {
      ...{ seriesMax: 100, seed: 1, checkpointMs: 3_600_000 },
      gauges: { scores: 'all', lingerMs: 0 },
    },
  });
  await scorer.start();
  const [old, fresh] = [new Pod(OLD, { seed: 1 }), new Pod(NEW, { seed: 2 })];
  const rest = () =>
    eventually('rest', 60_000, async () => {
      const rows = await scorer.status(true);
      const isAtRest =
        rows.length === 2 && rows.every(({ lag, stateHash: hash }) => lag === 0 && hash);
      return isAtRest ? rows : undefined;
    });
  for (let i = 0; i < 200; i++) await log.append('samples', 0, record(old.scrape(at(i))), 3);
  await rest();
  nowMs = at(200);
  await log.append('samples', 1, record(fresh.scrape(at(200))), 3);
  await eventually('the loan', 60_000, async () => {
    const [, partition] = [...scorer.partitions()].find(([index]) => index === 1) ?? [];
    const entity = partition && entityOf(partition, 'shop', NEW);
    return entity?.isBorrower === true ? true : undefined;
  });
  for (let i = 201; i < 240; i++) await log.append('samples', 1, record(fresh.scrape(at(i))), 3);
  const rows = await rest();
  for (const { partition: index, stateHash: want, offset } of rows) {
    const replayed = partitionWith(detectors, 100);
    for (const value of log.remains.lanes.get(`samples/${index}`)!.records) replayed.apply(value);
    const engineId = Buffer.alloc(32);
    const lineage = { logId: log.id, partition: index, partitions: 2, engineId, seed: 1 };
    const hash = stateHash(takeSnapshot(replayed, lineage, offset));
    expect([index, Buffer.from(hash).toString('hex')]).toEqual([index, want]);
  }
  expect(scorer.heritage!.counts).toMatchObject({ asked: 2, answered: 1, lost: 0 });
  await scorer.stop();
}, 120_000);

test('another workload, namespace or tenant gives nothing, nor who knows too little, is in trouble or has long been gone', async () => {
  const ok = async (lender: Pod, steps: number, want: string, prepare?: (site: Site) => void) => {
    const site = new Site(2);
    site.feed(0, lender, steps);
    prepare?.(site);
    site.feed(1, new Pod(NEW, { seed: 9 }), 1);
    await site.carry();
    expect(heirOf(site.partitions[1]!)[0]).toBe(want);
  };
  await ok(new Pod(OLD), 200, `shop/${OLD}`);
  await ok(new Pod('api-5d9f7c6b8-bcd24'), 200, '');
  await ok(new Pod(OLD, { namespace: 'other' }), 200, '');
  await ok(new Pod(OLD), 100, '');
  const long = new Pod(OLD);
  await ok(long, 1500, '', (site) => site.feed(0, long, 3, { extraCores: 3 }));
  await ok(new Pod(OLD), 200, '', (site) => {
    site.step += 241;
  });
}, 60_000);

test('pods of stateful and daemon sets and of jobs do not ask', async () => {
  for (const [lender, newcomer] of [
    ['kafka-0', 'kafka-1'],
    ['fluentd-x7k2p', 'fluentd-bcd24'],
    ['backup-28391040-abcde', 'backup-28391100-fghij'],
  ] as const) {
    const site = new Site(2);
    site.feed(0, new Pod(lender), 200);
    site.feed(1, new Pod(newcomer, { seed: 2 }), 1);
    expect([newcomer, await site.carry()]).toEqual([newcomer, []]);
  }
});

test('who has borrowed does not lend before it knows itself, and of two answers the first counts', async () => {
  const site = new Site(3);
  const [first, second] = [new Pod(OLD, { seed: 1 }), new Pod('web-5d9f7c6b8-tq9xp', { seed: 2 })];
  site.feed(0, first, 200);
  site.feed(1, second, 30);
  await site.carry();
  site.feed(2, new Pod(NEW, { seed: 3 }), 1);
  const said = await site.carry();
  const givers = said.flatMap(({ what }) => (what.case === 'bequest' ? [what.value.from[1]] : []));
  expect(givers).toEqual([OLD]);
  site.feed(1, second, 130);
  const third = 'web-7c9fd45b6-zzd24';
  site.feed(2, new Pod(third, { seed: 4 }), 1);
  const again = await site.carry();
  expect(again.filter(({ what }) => what.case === 'bequest').length).toBe(2);
  expect(heirOf(site.partitions[2]!, third)).toEqual([`shop/${OLD}`, true]);
  expect(site.partitions[2]!.entities.bequests).toEqual({ taken: 2, declined: 1 });
});

test('a bequest in other formats, of another size, from the future or for nobody changes nothing', async () => {
  const site = new Site(2);
  site.feed(0, new Pod(OLD), 200);
  site.feed(1, new Pod(NEW, { seed: 2 }), 1);
  const heir = site.partitions[1]!;
  site.carrier.send();
  await site.carrier.stop();
  const [wish] = site.mail.splice(0).filter(({ partition }) => partition === 0);
  site.partitions[0]!.apply(wish!.block);
  site.carrier.send();
  await site.carrier.stop();
  const { block } = site.mail.splice(0)[0]!;
  const [word] = fromBinary(SampleBlockSchema, block).heritage as [Heritage];
  const before = Buffer.from(entityOf(heir, 'shop', NEW)!.record).toString('hex');
  const say = (change: (word: Heritage) => void) => {
    const copy = fromBinary(HeritageSchema, toBinary(HeritageSchema, word));
    change(copy);
    heir.apply(toBinary(SampleBlockSchema, create(SampleBlockSchema, { heritage: [copy] })));
  };
  const bequest = ({ what }: Heritage) => {
    if (what.case !== 'bequest') throw new Error('not a bequest');
    return what.value;
  };
  const changes: ((word: Heritage) => void)[] = [
    (one) => Object.assign(bequest(one), { entityFormat: 99 }),
    (one) => Object.assign(bequest(one), { recordFormat: 99 }),
    (one) => Object.assign(bequest(one), { entityRecord: new Uint8Array(8) }),
    (one) => Object.assign(bequest(one), { distanceRecord: new Uint8Array(8) }),
    (one) => Object.assign(bequest(one), { from: [] }),
    (one) => Object.assign(one, { detector: new Uint8Array(16) }),
    (one) => Object.assign(one, { entity: ['shop', 'nobody'] }),
    (one) => Object.assign(one, { tenant: 'other' }),
    (one) => {
      const distanceRecord = Uint8Array.from(bequest(one).distanceRecord);
      new DataView(distanceRecord.buffer).setBigInt64(0, BigInt(at(400)), true);
      Object.assign(bequest(one), { distanceRecord });
    },
  ];
  for (const change of changes) say(change);
  expect(heir.entities.bequests).toEqual({ taken: 0, declined: changes.length });
  const { record: bytes, entry } = entityOf(heir, 'shop', NEW)!;
  expect([Buffer.from(bytes).toString('hex') === before, entry]).toEqual([true, 0xffffffff]);
  say(() => {});
  expect(heirOf(heir)).toEqual([`shop/${OLD}`, true]);
});

test('nobody asks for pods of a replay, and a crowd asks only as often as a log can bear', async () => {
  const site = new Site(2);
  site.feed(0, new Pod(OLD), 200);
  await site.carry();
  site.clockMs = at(200) + HERITAGE_FRESH_MS + 1;
  site.feed(1, new Pod(NEW, { seed: 2 }), 1);
  expect(await site.carry()).toEqual([]);
  site.clockMs = undefined;
  const letters = 'bcdfghjklmnpqrstvwxz2456789';
  const crowd = Array.from(
    { length: HERITAGE_WISHES_MAX + 4 },
    (_, i) => new Pod(`web-7c9fd45b6-cccc${letters[i]}`, { seed: i }),
  );
  site.partitions[1]!.apply(record(crowd.flatMap((pod) => pod.scrape(at(site.step)))));
  const said = await site.carry();
  expect(said.filter(({ what }) => what.case === 'bequest').length).toBe(HERITAGE_WISHES_MAX);
  // The old pod itself had asked, when there was nobody yet.
  expect(site.carrier.counts).toMatchObject({ asked: 1 + HERITAGE_WISHES_MAX, crowded: 4 });
});

test('a log that is away loses words and holds up nothing; anything else ends the process', async () => {
  const site = new Site(2);
  site.failure = new OperatingError('log_unavailable', 'Cannot append to samples/1');
  site.feed(0, new Pod(OLD), 200);
  expect(await site.carry()).toEqual([]);
  expect(site.carrier.counts).toMatchObject({ asked: 1, lost: 2 });
  site.failure = new OperatingError('log_denied', 'Not allowed to write samples/1');
  site.feed(1, new Pod(NEW, { seed: 2 }), 1);
  await site.carry();
  await expect(site.carrier.failed).rejects.toThrow('Not allowed to write samples/1');
});
