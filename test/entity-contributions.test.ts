// Who is to blame for the distance of an entity: the feature that a fault was put into, in the candidate, in what is kept
// of the anomaly, and in the sentence, whose numbers are read back here.

import { fromBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { Anomalies, type Anomaly } from '../src/api/anomalies.js';
import { loadAnomalies, save } from '../src/api/archive.js';
import { explain } from '../src/api/explain.js';
import { CandidateSchema } from '../src/gen/candidate_pb.js';
import { encodeCandidate } from '../src/scorer/candidate.js';
import { record, rowsOf } from './histogram-scrapes.js';
import { MemoryStore, type Versioned } from './memory-store.js';
import { at, detectorSet, Pod, type PodState, partitionWith } from './pods.js';

/** The anomalies of a pod that something happens to in its last five scrapes. */
async function after(state: PodState, seed: number) {
  const partition = partitionWith(detectorSet());
  const anomalies = new Anomalies(86_400_000);
  partition.listen({
    onPhase: (change) =>
      anomalies.apply(fromBinary(CandidateSchema, encodeCandidate(partition, change, undefined))),
    onOpened() {},
    onRemoved() {},
  });
  const pod = new Pod('web-0', { seed });
  for (let i = 0; i < 800; i++) partition.apply(record(pod.scrape(at(i))));
  for (let i = 800; i < 805; i++) {
    partition.apply(
      record(pod.scrape(at(i), i === 800 ? { ...state } : { ...state, restarts: 0 })),
    );
  }
  const entity = (await rowsOf(partition)).find((row) => row.entity !== undefined)!.entity!;
  const of = (isEntity: boolean) =>
    anomalies
      .ordered('')
      .filter(({ onsetMs }) => onsetMs >= at(800))
      .filter(({ features }) => features.length > 0 === isEntity);
  return { entity, whole: of(true), single: of(false) };
}

/** `name contributes 80 % (at 5)`, as read from a sentence. */
function toldIn(sentence: string): Map<string, { percent: number; value: number }> {
  const parts = sentence.matchAll(/(\w+) contributes (\d+) % \(at (\S+)\)/g);
  return new Map(
    [...parts].map(([, name, percent, value]) => [
      name as string,
      { percent: Number(percent), value: Number(value) },
    ]),
  );
}

test('the feature that a fault was put into contributes most, and the sentence says how much', async () => {
  const ok = async (state: PodState, blamed: string) => {
    for (const seed of [1, 2]) {
      const { whole } = await after(state, seed);
      expect([blamed, seed, whole.length]).toEqual([blamed, seed, 1]);
      const { features, upper, value } = whole[0]!;
      const [first] = features.toSorted((a, b) => b.share - a.share);
      expect([first!.name, seed]).toEqual([blamed, seed]);
      expect(first!.share).toBeGreaterThan(0.6);
      expect(features.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 9);
      const sentence = explain(whole[0]!);
      expect(sentence).toMatch(
        /^kubernetes-pods of namespace=shop pod=web-0: .* contributes .*; together cpu, memory and restarts are /,
      );
      expect(sentence).toContain(`are ${Number(value.toPrecision(4))} from what is usual`);
      expect(sentence).toContain(`(up to ${Number(upper.toPrecision(4))})`);
      const told = toldIn(sentence);
      for (const one of features.filter(({ share }) => share >= 0.05)) {
        const { percent, value: said } = told.get(one.name)!;
        expect(Math.abs(percent - 100 * one.share)).toBeLessThanOrEqual(0.5);
        expect(Math.abs(said / one.value! - 1)).toBeLessThan(0.001);
      }
      expect(told.keys().next().value).toBe(blamed);
    }
  };
  await ok({ extraCores: 0.6 }, 'cpu');
  await ok({ memoryFactor: 1.6 }, 'memory');
  await ok({ memoryFactor: 0.6 }, 'memory');
  await ok({ restarts: 5 }, 'restarts');
}, 120_000);

test('what is to blame is kept with the anomaly, and told of the last vector', async () => {
  const { whole, single, entity } = await after({ memoryFactor: 2.5 }, 4);
  const store = new MemoryStore(new Map<string, Versioned>());
  await save(store, { anomalies: [...whole, ...single], notices: new Map(), forgotten: [] });
  const kept: Anomaly[] = [];
  await loadAnomalies(store, (anomaly) => kept.push(anomaly));
  const shown = (all: readonly Anomaly[]) =>
    all.map(({ id, features }) => ({ id, features })).sort((a, b) => (a.id < b.id ? -1 : 1));
  expect(shown(kept)).toEqual(shown([...whole, ...single]));
  // Memory by itself is far out too, and has no features.
  expect(single.map(({ features }) => features)).toContainEqual([]);
  const shares = entity.features.map(({ share }) => share ?? 0);
  expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 9);
  expect(entity.features[shares.indexOf(Math.max(...shares))]!.name).toBe('memory');
}, 60_000);
