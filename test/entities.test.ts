// Entities as the scorer gathers them: which series are one, when a vector is complete, what its distance says, and that
// nothing of it is lost or mixed by a restart.

import { expect, test } from 'vitest';
import type { Logger } from '../src/http-server.js';
import { restoreCheckpoint, takeSnapshot, writeCheckpoint } from '../src/scorer/checkpoint.js';
import type { Partition } from '../src/scorer/partition.js';
import type { PhaseChange } from '../src/scorer/phase-change.js';
import { hashOf, lineage, record, rowsOf, type Sample } from './histogram-scrapes.js';
import { MemoryStore, type Versioned } from './memory-store.js';
import { at, type DetectorText, detectorSet, entityOf, Pod, partitionWith } from './pods.js';
import { contentsOf, Installation } from './state-installation.js';

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };

const STEPS: DetectorText =
  '[{name: steps, by: [instance], features: [{name: a, match: [a]}, {name: b, match: [b]}, {name: slow, match: [slow]}]}]';

/** A gauge of one instance. */
const gauge = (name: string, ms: number, value: number, instance = 'x', more = {}): Sample => ({
  labels: { __name__: name, instance, ...more },
  at: ms,
  value,
});

function vectorsOf(partition: Partition, instance = 'x'): { vectors: () => (number | null)[][] } {
  const seen: (number | null)[][] = [];
  let last = Number.NEGATIVE_INFINITY;
  return {
    vectors() {
      const entity = entityOf(partition, instance);
      if (entity !== undefined && entity.vectorMs > last) {
        last = entity.vectorMs;
        const values = [...entity.vector].map((value) => (Number.isNaN(value) ? null : value));
        seen.push([(entity.vectorMs - at(0)) / 1000, ...values]);
      }
      return seen;
    },
  };
}

function onsetsOf(partition: Partition): { metric: string; pod: string; step: number }[] {
  const onsets: { metric: string; pod: string; step: number }[] = [];
  partition.listen({
    onPhase({ phase, entry, timestampMs }: PhaseChange) {
      if (phase !== 'onset') return;
      const labels = Object.fromEntries(
        partition.labels(entry).map(({ name, value }) => [name, value]),
      );
      const step = (timestampMs - at(0)) / 15_000;
      onsets.push({ metric: labels['__name__']!, pod: labels['pod'] ?? '', step });
    },
    onOpened() {},
    onRemoved() {},
  });
  return onsets;
}

test('containers of a pod add up, and its sum and its sandbox are no containers', () => {
  const partition = partitionWith(detectorSet());
  const of = (container: string, ms: number, value: number): Sample => ({
    labels: {
      __name__: 'container_memory_usage_bytes',
      namespace: 'n',
      pod: 'p',
      ...(container !== '' && { container }),
    },
    at: ms,
    value,
  });
  for (let i = 0; i < 4; i++) {
    const rows = ['app', 'side', 'POD', ''].map((name, k) => of(name, at(i), 10 ** k + i));
    partition.apply(record(rows));
  }
  const entity = entityOf(partition, 'n', 'p')!;
  expect([...entity.vector]).toEqual([Number.NaN, 1 + 3 + (10 + 3), Number.NaN]);
  expect(entity.links.length).toBe(2);
});

test('each way of aggregating', () => {
  const ok = (aggregate: string, want: number) => {
    const detectors = `[{name: d, by: [instance], features: [{name: f, match: ['m'], aggregate: ${aggregate}}]}]`;
    const partition = partitionWith(detectorSet(detectors));
    for (let i = 0; i < 4; i++) {
      const rows = [5, 1, 3].map((value, k) => gauge('m', at(i) + k, value, 'x', { k: `${k}` }));
      partition.apply(record(rows));
    }
    expect([aggregate, entityOf(partition, 'x')!.vector[0]]).toEqual([aggregate, want]);
  };
  ok('sum', 9);
  ok('max', 5);
  ok('mean', 3);
  ok('last', 3);
});

test('a gauge that is a counter in truth becomes a rate when the detector says so', () => {
  const set = detectorSet(
    '[{name: d, by: [instance], features: [{name: f, match: [m], as: rate}]}]',
  );
  const partition = partitionWith(set);
  for (const [i, value] of [100, 130, 160, 15, 45].entries()) {
    partition.apply(record([gauge('m', at(i), value)]));
  }
  partition.apply(record([gauge('m', at(5), 75)]));
  const entity = entityOf(partition, 'x')!;
  expect([entity.vector[0], entity.received[0]]).toEqual([2, 75]);
});

test('a vector is complete with the last series of a scrape, and what is scraped apart is one vector still', () => {
  const partition = partitionWith(detectorSet(STEPS));
  const { vectors } = vectorsOf(partition);
  for (let i = 0; i < 8; i++) {
    partition.apply(record([gauge('a', at(i), i)]));
    vectors();
    partition.apply(record([gauge('b', at(i) + 7_000, 10 * i)]));
    vectors();
    partition.apply(record([gauge('slow', at(i) + 9_000, 100 * i)]));
    vectors();
  }
  const steady = vectors().slice(-4);
  expect(steady).toEqual([4, 5, 6, 7].map((i) => [15 * i + 9, i, 10 * i, 100 * i]));
});

test('a feature that is scraped less often stands until it comes again, and is masked when it does not', () => {
  const partition = partitionWith(detectorSet(STEPS));
  const { vectors } = vectorsOf(partition);
  for (let i = 0; i < 24; i++) {
    const rows = [gauge('a', at(i), i), gauge('b', at(i), 10 * i)];
    if (i % 4 === 0 && i <= 12) rows.push(gauge('slow', at(i), 100 * i));
    partition.apply(record(rows));
    vectors();
  }
  const slow = new Map(vectors().map(([second, , , value]) => [second! / 15, value]));
  expect([13, 14, 15].map((i) => slow.get(i))).toEqual([1200, 1200, 1200]);
  // One and a half of its intervals of 60 s after its last word.
  expect([18, 20, 22].map((i) => slow.get(i))).toEqual([1200, null, null]);
});

test('a series that is late is waited for until others speak again, and the vector goes on without it', () => {
  const partition = partitionWith(detectorSet(STEPS));
  const { vectors } = vectorsOf(partition);
  for (let i = 0; i < 12; i++) {
    const rows = [gauge('a', at(i), i)];
    if (i < 8) rows.push(gauge('b', at(i), 10 * i));
    partition.apply(record(rows));
    vectors();
  }
  const byStep = new Map(vectors().map(([second, a, b]) => [second! / 15, [a, b]]));
  expect(byStep.get(7)).toEqual([7, 70]);
  expect(byStep.get(8)).toEqual([8, 70]);
  expect(byStep.get(10)).toEqual([10, null]);
  expect(byStep.size).toBeGreaterThanOrEqual(9);
});

test('a stale marker takes its series out of the next vector', () => {
  const partition = partitionWith(detectorSet(STEPS));
  const { vectors } = vectorsOf(partition);
  for (let i = 0; i < 6; i++) {
    partition.apply(record([gauge('a', at(i), i), gauge('b', at(i), 10 * i)]));
  }
  const gone = { ...gauge('b', at(6), 0), value: 0x7ff0000000000002n };
  partition.apply(record([gauge('a', at(6), 6), gone]));
  expect(vectors().at(-1)).toEqual([90, 6, null, null]);
});

test('a broken proportion is found by the vector, missed by its features, and a calm pod is left alone', () => {
  const partition = partitionWith(detectorSet());
  const onsets = onsetsOf(partition);
  const [faulty, calm] = [new Pod('a', { seed: 1 }), new Pod('b', { seed: 2 })];
  const faultAt = 1500;
  for (let i = 0; i < faultAt + 30; i++) {
    const state = i >= faultAt ? { extraCores: 0.35 } : {};
    partition.apply(record([...faulty.scrape(at(i), state), ...calm.scrape(at(i))]));
  }
  const found = onsets.filter(({ metric }) => metric === 'treeline_entity_distance');
  expect(found.map(({ pod }) => pod)).toEqual(['a']);
  expect(found[0]!.step - faultAt).toBeLessThanOrEqual(2);
  expect(onsets.filter(({ step, metric }) => step >= faultAt && !/entity/.test(metric))).toEqual(
    [],
  );
}, 120_000);

test('what stands behind a distance is told with its series', async () => {
  const partition = partitionWith(detectorSet());
  const pod = new Pod('web-0', { containers: ['app', 'side'] });
  for (let i = 0; i < 60; i++) partition.apply(record(pod.scrape(at(i))));
  const rows = (await rowsOf(partition)).filter(({ entity }) => entity !== undefined);
  expect(rows.map(({ labels }) => labels)).toEqual([
    {
      __name__: 'treeline_entity_distance',
      detector: 'kubernetes-pods',
      namespace: 'shop',
      pod: 'web-0',
    },
  ]);
  const { features, stepSeconds, learnt } = rows[0]!.entity!;
  expect(features.map(({ name, value }) => [name, value !== null])).toEqual([
    ['cpu', true],
    ['memory', true],
    ['restarts', true],
  ]);
  expect([stepSeconds, learnt]).toEqual([15, 59]);
});

test('pods of one name in two namespaces are two, and so are those of two detectors', () => {
  const two = '[{preset: kubernetes-pods}, {preset: kubernetes-pods, name: other}]';
  const partition = partitionWith(detectorSet(two));
  const pods = ['x', 'y'].map((namespace, i) => new Pod('db-0', { namespace, seed: i }));
  for (let i = 0; i < 40; i++) partition.apply(record(pods.flatMap((pod) => pod.scrape(at(i)))));
  const names = [...partition.entities.all()].map(({ detector, values }) =>
    [detector.spec.name, ...values].join('/'),
  );
  expect(names.sort()).toEqual([
    'kubernetes-pods/x/db-0',
    'kubernetes-pods/y/db-0',
    'other/x/db-0',
    'other/y/db-0',
  ]);
  const memories = [...partition.entities.all()].map(({ vector }) => vector[1]);
  expect(new Set(memories).size).toBe(2);
});

test('a series whose partition other labels have chosen is left out and counted', () => {
  const partition = partitionWith(detectorSet('[{preset: node}]'));
  partition.apply(record([gauge('node_load1', at(0), 1)]));
  expect([partition.entities.count, partition.entities.refused]).toEqual([1, 0]);
  partition.apply(
    record([gauge('node_load1', at(0), 1, 'y', { namespace: 'monitoring', pod: 'exporter' })]),
  );
  expect([partition.entities.count, partition.entities.refused]).toEqual([1, 1]);
});

test('a restart anywhere leads to the same bytes', async () => {
  const whole = partitionWith(detectorSet());
  const records = fleet(160);
  for (const one of records) whole.apply(one);
  for (const cut of [1, 37, 100]) {
    const first = partitionWith(detectorSet());
    for (const one of records.slice(0, cut)) first.apply(one);
    const second = partitionWith(detectorSet());
    await restoreInto(second, first, cut);
    expect(hashOf(second)).toBe(hashOf(first));
    for (const one of records.slice(cut)) second.apply(one);
    expect([cut, hashOf(second)]).toEqual([cut, hashOf(whole)]);
  }
});

test('without detectors a checkpoint is what it always was, and another detector begins anew', async () => {
  const records = fleet(60);
  const plain = partitionWith(undefined);
  for (const one of records) plain.apply(one);
  expect(takeSnapshot(plain, lineage, 1).manifest).toMatchObject({ version: 2, entityBytes: 0 });

  const first = partitionWith(detectorSet());
  for (const one of records) first.apply(one);
  expect(takeSnapshot(first, lineage, 1).manifest.version).toBe(4);
  const same = partitionWith(detectorSet());
  await restoreInto(same, first, 60);
  expect(same.entities.count).toBe(2);
  const changed = partitionWith(detectorSet('[{preset: kubernetes-pods, trees: 16}]'));
  await restoreInto(changed, first, 60);
  expect(changed.entities.count).toBe(0);
  const next = new Pod('db-0', { namespace: 'x', seed: 9 });
  for (let i = 60; i < 64; i++) changed.apply(record(next.scrape(at(i))));
  expect(entityOf(changed, 'x', 'db-0')).toMatchObject({ detector: { vector: { trees: 16 } } });
  const none = partitionWith(undefined);
  await restoreInto(none, first, 60);
  expect(none.slots.count).toBe(first.slots.count);
});

test('a move to another number of partitions keeps the series of distances, and entities gather anew', async () => {
  const detectors = detectorSet();
  const first = new Installation(4, { detectors });
  const pods = Array.from({ length: 6 }, (_, i) => new Pod(`db-${i}`, { seed: i }));
  const send = async (to: Installation, from: number, until: number) => {
    for (let i = from; i < until; i++) {
      const samples = pods.flatMap((pod) => pod.scrape(at(i)));
      await to.send(
        samples.map(({ labels, value }) => ({
          labels,
          samples: [{ value: value as number, timestampMs: at(i) }],
        })),
      );
    }
    await to.learn();
  };
  await send(first, 0, 60);
  const file = await first.export();
  const rowsIn = async (bytes: Buffer) =>
    [...(await contentsOf(bytes)).rows.values()].filter(({ announcement }) =>
      Buffer.from(announcement).includes('treeline_entity_distance'),
    );
  expect((await rowsIn(file)).length).toBe(6);
  const second = new Installation(3, { detectors });
  expect((await second.import(file)).leftOut).toBe(0);
  await send(second, 60, 130);
  const moved = await rowsIn(await second.export());
  // The same six, with what was scored before and since: 39 distances and then, after another 20 vectors, about 49.
  expect(moved.length).toBe(6);
  for (const { record: bytes } of moved) {
    expect(new DataView(bytes.buffer, bytes.byteOffset).getUint32(40, true)).toBeGreaterThan(80);
  }
});

test('an entity is forgotten with the last of its series, and takes nobody else along', () => {
  const partition = partitionWith(detectorSet());
  const [left, stays] = [new Pod('left'), new Pod('stays', { seed: 2 })];
  for (let i = 0; i < 40; i++) {
    partition.apply(record([...left.scrape(at(i)), ...stays.scrape(at(i))]));
  }
  expect(partition.entities.count).toBe(2);
  const hours = 24 * 5;
  for (let hour = 1; hour <= hours; hour++) partition.apply(record(stays.scrape(at(hour * 240))));
  expect([...partition.entities.all()].map(({ values }) => values[1])).toEqual(['stays']);
  expect(partition.slots.count).toBe(4);
});

/** Two pods of one name, some scrapes cut in the middle. */
function fleet(steps: number): Uint8Array[] {
  const pods = ['x', 'y'].map((namespace, i) => new Pod('db-0', { namespace, seed: i }));
  return Array.from({ length: steps }, (_, i) => {
    const samples = pods.flatMap((pod) => pod.scrape(at(i)));
    return record(i % 7 === 3 ? samples.slice(0, 4) : samples);
  });
}

async function restoreInto(into: Partition, from: Partition, offset: number): Promise<void> {
  const store = new MemoryStore(new Map<string, Versioned>());
  await writeCheckpoint(store, takeSnapshot(from, lineage, offset));
  const options = { lineage, high: offset, logger: quiet };
  expect(await restoreCheckpoint(store, into, options)).toBeDefined();
}
