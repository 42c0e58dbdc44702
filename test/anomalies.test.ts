import { expect, test } from 'vitest';
import { Anomalies, type Anomaly } from '../src/api/anomalies.js';
import { explain, factorOf } from '../src/api/explain.js';
import { Timeline } from '../src/api/timeline.js';
import { type Candidate, Cause, Phase } from '../src/gen/candidate_pb.js';
import { ANOMALIES_MAX } from '../src/limits.js';
import { type CandidateFields, candidate, candidatesOf, type Told } from './candidates.js';

const DAY = 864e5;
const ID = 'fedcba9876543210-1000';

function fold(candidates: readonly Candidate[], retentionMs = 90 * DAY): Anomalies {
  const view = new Anomalies(retentionMs);
  for (const one of candidates) view.apply(one);
  return view;
}

test('onset, peak and end become one anomaly', () => {
  const view = fold([candidate(Phase.ONSET, 1000)]);
  expect(view.ordered('')).toMatchObject([{ id: ID, endMs: undefined, score: 2 }]);
  view.apply(candidate(Phase.PEAK, 2000, { score: 5, value: 99 }));
  view.apply(candidate(Phase.END, 3000, { score: 0.1, value: 10 }));
  expect(view.ordered('')).toMatchObject([
    { score: 5, value: 99, onsetMs: 1000, peakMs: 2000, endMs: 3000 },
  ]);
  expect(view.get(ID, '')?.labels).toEqual([
    { name: '__name__', value: 'up' },
    { name: 'job', value: 'node' },
  ]);
  expect(view.get(ID, 'other')).toBeUndefined();
});

test('a replayed log changes nothing, not even when a part of it is replayed', () => {
  const second = { onsetMs: 9000n };
  const log = [
    candidate(Phase.ONSET, 1000),
    candidate(Phase.PEAK, 2000, { score: 5 }),
    candidate(Phase.END, 3000),
    candidate(Phase.ONSET, 9000, second),
    candidate(Phase.PEAK, 9500, { ...second, score: 3 }),
  ];
  const once = fold(log);
  const twice = fold([...log, ...log, ...log.slice(2)]);
  expect(twice.ordered('')).toEqual(once.ordered(''));
  const other = fold(log);
  other.takeChanged();
  for (const one of log) other.apply(one);
  expect(other.takeChanged().size).toBe(0);
});

test('an end whose record was lost is told by the next onset of the series', () => {
  const view = fold([
    candidate(Phase.ONSET, 1000),
    candidate(Phase.PEAK, 2000, { score: 5 }),
    candidate(Phase.ONSET, 9000, { onsetMs: 9000n }),
  ]);
  expect(view.ordered('').map(({ endMs }) => endMs)).toEqual([2000, undefined]);
  expect(view.ordered('')[1]?.previousId).toBe(ID);
});

test('of an anomaly of which only the end is left nothing is told', () => {
  expect(fold([candidate(Phase.END, 3000)]).count).toBe(0);
  expect(fold([candidate(Phase.PEAK, 2000), candidate(Phase.END, 3000)]).count).toBe(1);
});

test('what ended before the retention is forgotten with its whole incident, and stays forgotten', () => {
  const settings = {
    retentionMs: 10 * DAY,
    partitionBy: [['instance']],
    alerts: { mode: 'live' as const, budget: 5 },
  };
  const timeline = new Timeline(settings, () => 0);
  const told: Told[] = [
    { labels: { __name__: 'old', instance: 'a' }, onset: DAY, end: DAY + 1 },
    { labels: { __name__: 'beside', instance: 'a' }, onset: DAY + 5, end: 9 * DAY },
    { labels: { __name__: 'alone', instance: 'b' }, onset: DAY, end: DAY + 1 },
    { labels: { __name__: 'open', instance: 'c' }, onset: DAY },
    { labels: { __name__: 'new', instance: 'd' }, onset: 13 * DAY, end: 13 * DAY + 1 },
  ];
  const candidates = told.flatMap(candidatesOf);
  for (const one of candidates) timeline.apply(one);
  expect(timeline.refresh().forgotten).toHaveLength(1);
  const names = () =>
    timeline.anomalies
      .ordered('')
      .map(({ labels }) => labels[0]?.value)
      .sort();
  expect(names()).toEqual(['beside', 'new', 'old', 'open']);
  for (const one of candidates) timeline.apply(one);
  timeline.refresh();
  expect(names()).toEqual(['beside', 'new', 'old', 'open']);
});

test('the oldest closed incidents make room, an open one only when there is nothing else', () => {
  const settings = {
    retentionMs: 90 * DAY,
    partitionBy: [['instance']],
    alerts: { mode: 'live' as const, budget: 5 },
  };
  const timeline = new Timeline(settings, () => 0);
  const apply = (told: Told) => {
    for (const one of candidatesOf(told)) timeline.apply(one);
  };
  apply({ labels: { __name__: 'open' }, onset: 1 });
  for (let at = 2; at <= ANOMALIES_MAX + 1; at++) {
    // An hour apart: each an incident of its own.
    const onset = at * 60_000;
    apply({ labels: { __name__: `m${at % 50}` }, onset, end: onset + 1 });
  }
  const { forgotten } = timeline.refresh();
  expect(forgotten.length).toBeGreaterThan(0);
  expect(timeline.anomalies.count).toBe(ANOMALIES_MAX + 1 - forgotten.length);
  expect(timeline.anomalies.ordered('')[0]?.onsetMs).toBe(1);
  expect(timeline.anomalies.ordered('').at(-1)?.onsetMs).toBe((ANOMALIES_MAX + 1) * 60_000);
});

function one(told: Partial<Told>): Anomaly {
  const labels = { __name__: 'queue_depth', job: 'x' };
  return fold(candidatesOf({ labels, onset: 1000, ...told })).ordered('')[0] as Anomaly;
}

test('the sentence says what was seen, how far from what, when and by which measure', () => {
  const ok = (told: Partial<Told>, want: string) => expect(explain(one(told))).toBe(want);
  ok(
    { value: 118, expected: 12, band: [9, 15] },
    'queue_depth of job=x rose to 118, 9.8 times the expected 12 (usual 9 to 15), ' +
      'at 1970-01-01T00:00:01.000Z; unusual by magnitude',
  );
  ok(
    { value: 130, expected: 100, band: [95, 105], cause: Cause.NOVELTY },
    'queue_depth of job=x rose to 130, 30 above the expected 100 (usual 95 to 105), ' +
      'at 1970-01-01T00:00:01.000Z; unusual by novelty',
  );
  ok(
    { value: -3, expected: 12, band: [9, 15] },
    'queue_depth of job=x fell to -3, 15 below the expected 12 (usual 9 to 15), ' +
      'at 1970-01-01T00:00:01.000Z; unusual by magnitude',
  );
  ok(
    { value: 5, expected: 0, band: [-1, 1], labels: { __name__: 'errors_total' } },
    'errors_total rose to 5 per second, 5 above the expected 0 (usual -1 to 1), ' +
      'at 1970-01-01T00:00:01.000Z; unusual by magnitude',
  );
  ok(
    { value: 12, expected: 12, band: [9, 15], cause: Cause.NOVELTY },
    'queue_depth of job=x is at 12, within what is usual (usual 9 to 15) around the expected 12, ' +
      'but in a pattern not seen before, at 1970-01-01T00:00:01.000Z; unusual by novelty',
  );
  ok(
    { value: 12, expected: 12, band: [9, 15], cause: Cause.QUIET },
    'queue_depth of job=x has stood still at 12 longer than ever before, ' +
      'at 1970-01-01T00:00:01.000Z; unusual by quiet',
  );
});

test('the numbers of the sentence are those of the anomaly', () => {
  const pattern =
    /(?:rose|fell) to (\S+), (\S+) (times|above|below) the expected (\S+) \(usual (\S+) to (\S+)\), at (\S+);/;
  for (const [value, expected, lower, upper] of [
    [118.25, 12.0625, 9, 15],
    [0.00123, 0.5, 0.25, 0.75],
    [-7.5e9, 2e9, 1e9, 3e9],
    [3.5, 3, 2.9, 3.1],
  ] as const) {
    const anomaly = one({ value, expected, band: [lower, upper] });
    const found = pattern.exec(explain(anomaly));
    const close = (text: string | undefined, want: number, digits = 4) =>
      expect(Math.abs(Number(text) - want)).toBeLessThanOrEqual(
        Math.abs(want) * 10 ** (1 - digits),
      );
    close(found?.[1], value);
    if (found?.[3] === 'times') close(found[2], factorOf(anomaly) as number, 2);
    else close(found?.[2], Math.abs(value - expected));
    expect(found?.[3] === 'below').toBe(value < expected);
    close(found?.[4], expected);
    close(found?.[5], lower);
    close(found?.[6], upper);
    expect(Date.parse(found?.[7] ?? '')).toBe(anomaly.peakMs);
  }
});

test('the factor says nothing where the expected value is zero or of another sign', () => {
  const ok = (value: number, expected: number, want: number | undefined) =>
    expect(factorOf({ value, expected })).toBe(want);
  ok(30, 10, 3);
  ok(5, 10, 0.5);
  ok(-30, -10, 3);
  ok(0, 10, 0);
  ok(30, 0, undefined);
  ok(-30, 10, undefined);
  ok(Number.POSITIVE_INFINITY, 10, undefined);
});

const fields: CandidateFields = { tenant: 'a' };
test('tenants have lists of their own', () => {
  const view = fold([candidate(Phase.ONSET, 1000, fields)]);
  expect([view.ordered('a').length, view.ordered('').length, [...view.tenants()]]).toEqual([
    1,
    0,
    ['a'],
  ]);
});
