// Which anomalies become one incident: the rule on its own, case by case, and that nothing but the set of anomalies
// decides it.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { firstOf, incidentId, isOpen, weightOf } from '../src/api/incidents.js';
import { Timeline } from '../src/api/timeline.js';
import { COMMON_STARTS_MAX } from '../src/limits.js';
import { candidatesOf, type Told } from './candidates.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const settings = {
  retentionMs: 1000 * 24 * HOUR,
  partitionBy: [['namespace', 'pod'], ['instance']],
  alerts: { mode: 'live' as const, budget: 5 },
};

function timelineOf(told: readonly Told[]): Timeline {
  const timeline = new Timeline(settings, () => 0);
  for (const one of told) for (const candidate of candidatesOf(one)) timeline.apply(candidate);
  timeline.refresh();
  return timeline;
}

/** Names of the metrics of each incident, first mover first, oldest incident first. */
function grouped(told: readonly Told[]): string[] {
  return namesOf(timelineOf(told));
}

function namesOf(timeline: Timeline): string[] {
  return timeline
    .list('')
    .toReversed()
    .map(({ members }) => members.map(({ labels }) => labels[0]?.value).join(' '));
}

function at(minutes: number, name: string, labels: Record<string, string>, length = 5): Told {
  const onset = minutes * MINUTE;
  return { labels: { __name__: name, ...labels }, onset, end: onset + length * MINUTE };
}

test('a cascade through a namespace is one incident, an unrelated fault of the same minute another', () => {
  const told = [
    at(1, 'db', { namespace: 'shop', pod: 'db-0' }),
    at(1.4, 'mail', { namespace: 'mail', pod: 'mail-0' }),
    at(1.5, 'api', { namespace: 'shop', pod: 'api-0' }),
    at(2, 'web', { namespace: 'shop', pod: 'web-0' }),
  ];
  expect(grouped(told)).toEqual(['db api web', 'mail']);
  const timeline = timelineOf(told);
  const [, cascade] = timeline.list('');
  expect(cascade && firstOf(cascade).labels[0]?.value).toBe('db');
});

test('without a namespace a service, job or instance is what they share', () => {
  const ok = (a: Record<string, string>, b: Record<string, string>, isOne: boolean) =>
    expect([a, b, grouped([at(1, 'a', a), at(2, 'b', b)]).length === 1]).toEqual([a, b, isOne]);
  ok({ service: 'x' }, { service: 'x' }, true);
  ok({ job: 'x', instance: '1' }, { job: 'x', instance: '2' }, true);
  ok({ job: 'x', instance: '1' }, { job: 'y', instance: '1' }, true);
  ok({ job: 'x' }, { job: 'y' }, false);
  ok({}, {}, false);
  ok({ cluster: 'x' }, { cluster: 'x' }, false);
  ok({ cluster: 'x', job: 'j' }, { cluster: 'y', job: 'j' }, false);
  // The exporter that reports all pods of a cluster is nothing that they share.
  ok({ namespace: 'a', job: 'ksm' }, { namespace: 'b', job: 'ksm' }, false);
  ok({ namespace: 'a', cluster: 'x' }, { namespace: 'a', cluster: 'y' }, false);
  ok({ namespace: 'a', job: 'x' }, { job: 'x' }, false);
});

test('they begin within two minutes of each other, of one entity within five', () => {
  const pod = { namespace: 'shop', pod: 'db-0' };
  const other = { namespace: 'shop', pod: 'web-0' };
  expect(grouped([at(1, 'a', pod), at(3, 'b', other)])).toEqual(['a b']);
  expect(grouped([at(1, 'a', pod), at(3.01, 'b', other)])).toEqual(['a', 'b']);
  expect(grouped([at(1, 'a', pod), at(6, 'b', pod)])).toEqual(['a b']);
  expect(grouped([at(1, 'a', pod), at(6.01, 'b', pod)])).toEqual(['a', 'b']);
});

test('a chain ends a quarter of an hour after its first onset', () => {
  const told = Array.from({ length: 20 }, (_, i) =>
    at(1 + i, `m${i}`, { namespace: 'shop', pod: `p-${i}` }),
  );
  const groups = grouped(told);
  expect(groups).toHaveLength(2);
  expect(groups[0]?.split(' ')).toHaveLength(16);
});

test('a series that flaps stays one incident, for a day', () => {
  const labels = { instance: 'a' };
  const flaps = Array.from({ length: 5 }, (_, i) => at(1 + 20 * i, 'flap', labels));
  expect(grouped(flaps)).toEqual(['flap flap flap flap flap']);
  expect(grouped([at(1, 'flap', labels), at(22, 'flap', labels)])).toEqual(['flap', 'flap']);
  const days = Array.from({ length: 200 }, (_, i) => at(1 + 20 * i, 'flap', labels));
  expect(grouped(days).length).toBe(Math.ceil(200 / 73));
  const [open] = timelineOf([
    ...flaps,
    { ...at(101, 'flap', labels), end: undefined } as never,
  ]).list('');
  expect(open && isOpen(open)).toBe(true);
});

test('what belongs to two incidents makes them one, named by the first', () => {
  const told = [
    at(1, 'a', { job: 'x', instance: '1' }),
    at(2, 'b', { job: 'y', instance: '2' }),
    at(3, 'c', { job: 'y', instance: '1' }),
  ];
  expect(grouped(told.slice(0, 2))).toEqual(['a', 'b']);
  expect(grouped(told)).toEqual(['a b c']);
  const timeline = timelineOf(told);
  for (const { id } of timeline.anomalies.ordered('')) {
    const incident = timeline.incidentOf(id, '');
    const first = timeline.anomalies.ordered('')[0];
    expect(incident && incidentId(incident)).toBe(`i-${first?.id}`);
  }
});

test('a label that begins incidents all day says nothing any more', () => {
  const noisy = Array.from({ length: COMMON_STARTS_MAX + 1 }, (_, i) =>
    at(1 + 3 * i, `m${i}`, { namespace: 'noisy', pod: `p-${i}` }, 1),
  );
  const end = 3 * (COMMON_STARTS_MAX + 1);
  const pair = (minutes: number) => [
    at(minutes, 'a', { namespace: 'noisy', pod: 'a' }),
    at(minutes + 1, 'b', { namespace: 'noisy', pod: 'b' }),
  ];
  expect(grouped([...noisy.slice(2), ...pair(end + 5)]).slice(-1)).toEqual(['a b']);
  expect(grouped([...noisy, ...pair(end + 5)]).slice(-2)).toEqual(['a', 'b']);
  // A day later it is worth something again; a storm of one minute counts once.
  expect(grouped([...noisy, ...pair(end + 24 * 60)]).slice(-1)).toEqual(['a b']);
  const storm = Array.from({ length: 500 }, (_, i) =>
    at(1, `m${i}`, { namespace: 'noisy', pod: `p-${i}` }, 1),
  );
  expect(grouped([...storm, ...pair(60)]).slice(-1)).toEqual(['a b']);
});

test('rank is the highest score, once more with each doubling of the series', () => {
  const ok = (scores: number[], want: number) => {
    const told = scores.map((score, i) => ({ ...at(1, `m${i}`, { instance: 'a' }), score }));
    const [incident] = timelineOf(told).list('');
    expect(weightOf(incident?.members ?? []).rank).toBeCloseTo(want);
  };
  ok([3], 3);
  ok([3, 2], 6);
  ok([2, 5, 2, 2], 15);
});

const anyTold = fc.record({
  metric: fc.integer({ min: 0, max: 5 }),
  namespace: fc.constantFrom('a', 'b', undefined),
  pod: fc.integer({ min: 0, max: 3 }),
  minute: fc.integer({ min: 0, max: 400 }),
});

test('in whatever order the partitions are read, in whatever portions, the incidents are the same', () => {
  fc.assert(
    fc.property(
      fc.array(anyTold, { minLength: 1, maxLength: 60 }),
      fc.infiniteStream(fc.nat(2 ** 30)),
      (rows, random) => {
        const draw = (count: number) => (random.next().value as number) % count;
        // Each series lies in one partition and its candidates come in order; partitions interleave as they like.
        const partitions: Told[][] = [[], [], []];
        const seen = new Set<string>();
        for (const { metric, namespace, pod, minute } of rows.toSorted(
          (a, b) => a.minute - b.minute,
        )) {
          const labels: Record<string, string> = { pod: `p-${pod}`, instance: `i-${pod}` };
          if (namespace !== undefined) labels['namespace'] = namespace;
          const told = at(minute, `m${metric}`, labels, 3);
          const key = JSON.stringify([told.labels, minute]);
          if (seen.has(key)) continue;
          seen.add(key);
          partitions[(metric + pod) % 3]?.push(told);
        }
        const all = partitions.flat().toSorted((a, b) => a.onset - b.onset);
        const timeline = new Timeline(settings, () => 0);
        for (;;) {
          const filled = partitions.filter((list) => list.length > 0);
          if (filled.length === 0) break;
          const told = filled[draw(filled.length)]?.shift() as Told;
          for (const candidate of candidatesOf(told)) timeline.apply(candidate);
          if (draw(3) === 0) timeline.refresh();
        }
        timeline.refresh();
        const ids = (from: Timeline) =>
          from.list('').map(({ members }) => members.map(({ id }) => id));
        expect(ids(timeline)).toEqual(ids(timelineOf(all)));
      },
    ),
    { numRuns: 300 },
  );
});

test('tenants have incidents of their own', () => {
  const labels = { __name__: 'm', namespace: 'shop', pod: 'p' };
  const timeline = timelineOf([
    { labels, onset: MINUTE, tenant: 'a' },
    { labels, onset: MINUTE, tenant: 'b' },
  ]);
  expect(['a', 'b', ''].map((tenant) => timeline.list(tenant).length)).toEqual([1, 1, 0]);
  const [of] = timeline.list('a');
  const id = of?.members[0]?.id ?? '';
  expect(timeline.incidentOf(id, 'a')).toBe(of);
  expect(timeline.incidentOf(id, 'b')).toBeUndefined();
});
