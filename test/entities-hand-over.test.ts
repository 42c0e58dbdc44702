// Hand-over: a pod of a rollout begins with what the one that it replaces had learnt; siblings that live share nothing,
// another workload inherits nothing, and nobody is flagged for it.

import { expect, test } from 'vitest';
import { workloadName } from '../src/scorer/detectors.js';
import type { Partition } from '../src/scorer/partition.js';
import { hashOf, record, rowsOf } from './histogram-scrapes.js';
import { at, detectorSet, entityOf, Pod, partitionWith } from './pods.js';

const OLD = 'web-5d9f7c6b8-bcd24';
const NEW = 'web-7c9fd45b6-xk2vz';

/** Which pods were flagged, with the step of the onset. */
function flagsOf(partition: Partition): [pod: string, step: number][] {
  const flags: [string, number][] = [];
  partition.listen({
    onPhase({ phase, entry, timestampMs }) {
      const labels = partition.labels(entry);
      const isEntity = labels.some(({ value }) => value === 'treeline_entity_distance');
      if (phase !== 'onset' || !isEntity) return;
      const pod = labels.find(({ name }) => name === 'pod')?.value ?? '';
      flags.push([pod, (timestampMs - at(0)) / 15_000]);
    },
    onOpened() {},
    onRemoved() {},
  });
  return flags;
}

test('what Kubernetes adds to names is told from what people write', () => {
  const ok = (pod: string, want: string | undefined) =>
    expect([pod, workloadName(pod)]).toEqual([pod, want]);
  ok('web-5d9f7c6b8-bcd24', 'deployment/web');
  ok('web-api-66b6c48dd5-7vgkm', 'deployment/web-api');
  ok('fluentd-x7k2p', 'daemon/fluentd');
  ok('kafka-0', 'stateful/kafka');
  ok('kafka-12', 'stateful/kafka');
  ok('backup-28391040-abcde', 'job/backup');
  ok('redis-cache', undefined);
  ok('web', undefined);
  ok('', undefined);
});

test('within two scrapes of its silence a successor has what the old pod had learnt, and says so', async () => {
  const partition = partitionWith(detectorSet());
  const flags = flagsOf(partition);
  const [before, after] = [new Pod(OLD, { seed: 1 }), new Pod(NEW, { seed: 2 })];
  const rolloutAt = 400;
  for (let i = 0; i < rolloutAt; i++) partition.apply(record(before.scrape(at(i))));
  // As a rolling update does it: both live for a minute.
  for (let i = rolloutAt; i < rolloutAt + 4; i++) {
    partition.apply(record([...before.scrape(at(i)), ...after.scrape(at(i))]));
  }
  expect(entityOf(partition, 'shop', NEW)!.inheritedFrom).toBe('');
  let inheritedAt = -1;
  for (let i = rolloutAt + 4; i < rolloutAt + 200; i++) {
    partition.apply(record(after.scrape(at(i))));
    const isHeir = entityOf(partition, 'shop', NEW)!.inheritedFrom !== '';
    if (isHeir && inheritedAt < 0) inheritedAt = i;
  }
  // Two scrapes without the old one, and the one in which it shows.
  expect(inheritedAt - (rolloutAt + 4)).toBeLessThanOrEqual(2);
  const row = (await rowsOf(partition)).find(
    ({ entity, labels }) => entity !== undefined && labels['pod'] === NEW,
  );
  expect(row!.entity).toMatchObject({ inheritedFrom: `shop/${OLD}` });
  expect(row!.state).toBe('active');
  expect(flags).toEqual([]);
}, 60_000);

test('a fault of a pod that has inherited is found although it is younger than its warm-up', () => {
  const partition = partitionWith(detectorSet());
  const flags = flagsOf(partition);
  const [before, after] = [new Pod(OLD, { seed: 1 }), new Pod(NEW, { seed: 2 })];
  for (let i = 0; i < 1500; i++) partition.apply(record(before.scrape(at(i))));
  for (let i = 1500; i < 1580; i++) {
    partition.apply(record(after.scrape(at(i), i >= 1560 ? { extraCores: 0.6 } : {})));
  }
  expect(flags.map(([pod]) => pod)).toEqual([NEW]);
  expect(flags[0]![1]).toBeGreaterThanOrEqual(1560);
}, 60_000);

test('live siblings share nothing, and another workload does not inherit', () => {
  const partition = partitionWith(detectorSet());
  const [old, sibling, stranger, namesake] = [
    new Pod(OLD, { seed: 1 }),
    new Pod(NEW, { seed: 2 }),
    new Pod('api-7c9fd45b6-xk2vz', { seed: 3 }),
    new Pod('web-7c9fd45b6-tq9xp', { seed: 4, namespace: 'other' }),
  ];
  for (let i = 0; i < 200; i++) partition.apply(record(old.scrape(at(i))));
  for (let i = 200; i < 240; i++) {
    partition.apply(record([...old.scrape(at(i)), ...sibling.scrape(at(i))]));
  }
  const records = [OLD, NEW].map((pod) => entityOf(partition, 'shop', pod)!);
  expect(records.map(({ inheritedFrom }) => inheritedFrom)).toEqual(['', '']);
  expect(Buffer.from(records[0]!.record).equals(Buffer.from(records[1]!.record))).toBe(false);
  for (let i = 240; i < 280; i++) {
    partition.apply(record([...stranger.scrape(at(i)), ...namesake.scrape(at(i))]));
  }
  expect(entityOf(partition, 'shop', 'api-7c9fd45b6-xk2vz')!.inheritedFrom).toBe('');
  expect(entityOf(partition, 'other', 'web-7c9fd45b6-tq9xp')!.inheritedFrom).toBe('');
});

test('one silent pod has one heir', () => {
  const partition = partitionWith(detectorSet());
  const old = new Pod(OLD, { seed: 1 });
  const heirs = [NEW, 'web-7c9fd45b6-tq9xp'].map((name, i) => new Pod(name, { seed: i + 2 }));
  for (let i = 0; i < 200; i++) partition.apply(record(old.scrape(at(i))));
  for (let i = 200; i < 240; i++) {
    partition.apply(record(heirs.flatMap((pod) => pod.scrape(at(i)))));
  }
  const inherited = [...partition.entities.all()].filter(({ inheritedFrom }) => inheritedFrom);
  expect(inherited.map(({ inheritedFrom }) => inheritedFrom)).toEqual([`shop/${OLD}`]);
});

test('a week of rollouts, one every six hours, flags nobody, and two runs of it are the same', () => {
  const run = () => {
    const partition = partitionWith(detectorSet());
    const flags = flagsOf(partition);
    const letters = 'bcdfghjklmnpqrstvwxz2456789';
    let names = 0;
    const nameOf = () => {
      names++;
      const tail = [5, 7, 11, 13, 17].map((k) => letters[(names * k) % letters.length]).join('');
      return `web-7c9fd45b6-${tail}`;
    };
    let pod = new Pod(nameOf(), { seed: 1 });
    for (let i = 0; i < 28 * 360; i++) {
      // At a minute a step: six hours.
      if (i > 0 && i % 360 === 0) pod = new Pod(nameOf(), { seed: i });
      partition.apply(record(pod.scrape(at(4 * i))));
    }
    return { flags, names, hash: hashOf(partition) };
  };
  const first = run();
  expect([first.names, first.flags]).toEqual([28, []]);
  expect(run().hash).toBe(first.hash);
}, 120_000);
