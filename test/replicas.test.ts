// Who of a pair is listened to: the election alone, in stream time.

import { expect, test } from 'vitest';
import {
  REPLICA_CLUSTERS_MAX,
  REPLICA_FORGET_MS,
  REPLICA_RHYTHM_MS_MAX,
  REPLICA_TAKEOVER_MS,
  REPLICA_TEXT_CHARS_MAX,
} from '../src/limits.js';
import { Replicas, type Takeover } from '../src/receiver/replicas.js';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const START = 1_763_680_000_000;

/** Judges requests of cluster c as they come: replica, seconds since the start. */
function judging(replicas = new Replicas()) {
  const judge = (replica: string, seconds: number | undefined, more = {}) =>
    replicas.judge({
      ...{ tenant: '', cluster: 'c', replica },
      newestMs: seconds === undefined ? undefined : START + seconds * SECOND,
      ...more,
    });
  return { replicas, judge };
}

test('of two that interleave, the first is listened to and the other never', () => {
  const { replicas, judge } = judging();
  for (let scrape = 0; scrape < 1000; scrape++) {
    expect(judge('a', scrape * 15)).toBe(true);
    expect(judge('b', scrape * 15 + 14.9)).toBe(false);
  }
  expect([replicas.clusters, replicas.takeovers]).toEqual([1, 0]);
});

test('when the elected one falls silent the other takes over after 30 s, and keeps it', () => {
  const heard: (Takeover | undefined)[] = [];
  const { judge } = judging(new Replicas((takeover) => heard.push(takeover)));
  judge('a', 0);
  expect([judge('b', 7), judge('b', 22), judge('b', 30)]).toEqual([false, false, false]);
  expect(judge('b', REPLICA_TAKEOVER_MS / SECOND + 0.001)).toBe(true);
  // Back again, and as new as the other: not enough.
  expect([judge('a', 31), judge('b', 45), judge('a', 46), judge('a', 60)]).toEqual([
    ...[false, true, false, false],
  ]);
  expect(heard).toEqual([
    undefined,
    { tenant: '', cluster: 'c', from: 'a', to: 'b', gapMs: 30_001 },
  ]);
});

test('one that catches up after an outage cannot take over, however much it sends', () => {
  const { judge } = judging();
  judge('a', 3600);
  for (let seconds = 0; seconds <= 3630; seconds += 5) expect(judge('b', seconds)).toBe(false);
});

test('older requests of the elected one are let in, and take nothing from its lead', () => {
  const { judge } = judging();
  judge('a', 100);
  expect([judge('a', 40), judge('a', 100), judge('b', 129)]).toEqual([true, true, false]);
  // The same again, as a retry sends it: the answers are the same.
  expect([judge('a', 40), judge('a', 100), judge('b', 129)]).toEqual([true, true, false]);
});

test('a pair that scrapes every two minutes does not take turns', () => {
  const { replicas, judge } = judging();
  for (let scrape = 0; scrape < 500; scrape++) {
    judge('a', scrape * 120);
    judge('b', scrape * 120 + 60);
  }
  // Once at the beginning, before a rhythm was known.
  expect(replicas.takeovers).toBe(1);
});

test('a rhythm is forgotten with time, and an outage is none', () => {
  const { judge } = judging();
  judge('a', 0);
  judge('a', 120);
  expect(judge('b', 120 + 100)).toBe(false);
  let now = 120;
  for (; now < 120 + 3 * (REPLICA_RHYTHM_MS_MAX / SECOND); now += 15) judge('a', now);
  judge('a', now + 3600);
  expect([judge('b', now + 3630), judge('b', now + 3631)]).toEqual([false, true]);
});

test('tenants and clusters elect for themselves', () => {
  const { replicas, judge } = judging();
  expect([judge('a', 0), judge('b', 0)]).toEqual([true, false]);
  expect([judge('b', 0, { tenant: 't' }), judge('a', 0, { tenant: 't' })]).toEqual([true, false]);
  expect([judge('b', 0, { cluster: 'd' }), judge('a', 0, { cluster: 'd' })]).toEqual([true, false]);
  expect(replicas.clusters).toBe(3);
});

test('what has no sample elects nobody and is judged by who is elected', () => {
  const { replicas, judge } = judging();
  expect([judge('b', undefined), replicas.clusters]).toEqual([true, 0]);
  judge('a', 0);
  expect([judge('b', undefined), judge('a', undefined)]).toEqual([false, true]);
});

test('the table is bounded: what does not fit is let in and counted', () => {
  const { replicas, judge } = judging();
  for (let i = 0; i < REPLICA_CLUSTERS_MAX; i++) judge('a', 0, { cluster: `c${i}` });
  expect(judge('a', 0, { cluster: 'more' })).toBe(true);
  expect(judge('b', 0, { cluster: 'more' })).toBe(true);
  expect([replicas.clusters, replicas.unelected]).toEqual([REPLICA_CLUSTERS_MAX, 2]);
  expect(judge('b', 0, { cluster: 'c7' })).toBe(false);
  // One that has been silent for a day makes room.
  const later = REPLICA_FORGET_MS / SECOND + 1;
  expect([judge('a', later, { cluster: 'new' }), judge('b', later, { cluster: 'new' })]).toEqual([
    ...[true, false],
  ]);
  expect([replicas.clusters, replicas.unelected]).toEqual([REPLICA_CLUSTERS_MAX, 2]);
});

test('a name that is too long is not kept', () => {
  const { replicas, judge } = judging();
  const long = 'x'.repeat(REPLICA_TEXT_CHARS_MAX + 1);
  expect([judge(long, 0), judge('a', 0, { cluster: long })]).toEqual([true, true]);
  judge('a', 0);
  expect([judge(long, 60), judge('b', 20)]).toEqual([true, false]);
  expect([replicas.clusters, replicas.unelected]).toEqual([1, 3]);
});

test('saved and restored, the same one is elected', () => {
  const { replicas, judge } = judging();
  judge('a', 0);
  judge('a', 2 * (MINUTE / SECOND));
  const restored = new Replicas();
  restored.restore(JSON.parse(JSON.stringify(replicas.save())));
  const after = judging(restored);
  expect(after.judge('b', 120 + 100)).toBe(false);
  expect(after.judge('a', 120 + 15)).toBe(true);
  expect(restored.save()).toEqual(
    [{ ...replicas.save()[0], newestMs: START + 135 * SECOND }].map((elected) => ({
      ...elected,
      rhythmMs: 120_000 * (1 - 15 / 600),
    })),
  );
});
