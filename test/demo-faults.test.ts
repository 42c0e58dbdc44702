// Each of the demo's faults becomes an incident that says what it is: days of the shop's history and then every fault in
// turn, by the demo's own feed and over real remote-write, as fast as it is taken. The shop and its days are always the
// same, so the same faults are met on every run.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { FAULTS, type FaultName } from '../src/cli/demo-faults.js';
import { Feed } from '../src/cli/demo-feed.js';
import { endPrograms } from './programs.js';
import { partitionsAtRest, startTreeline, type Treeline } from './treeline-process.js';

const MINUTE_MS = 60_000;
/** A Monday afternoon; the newest sample of history. */
const BEGIN_MS = Date.UTC(2026, 0, 19, 15, 30);
/** The demo's two weeks would find the same, and take three times as long. */
const HISTORY_MS = 5 * 864e5;
/** How long each fault lasts, and how long the shop is left alone after it. */
const FAULT_MS = 4 * MINUTE_MS;
const CALM_MS = 20 * MINUTE_MS;

interface Story {
  id: string;
  start: string;
  firstMover: { series: string; onset: string };
  explanation: string;
  members: { series: string; onset: string; explanation: string }[];
}

let treeline: Treeline;
const begun = new Map<FaultName, number>();
let stories: Story[] = [];

beforeAll(async () => {
  treeline = await startTreeline({ args: ['--mode', 'live'] });
  const feed = new Feed();
  const replayed = { lengthMs: HISTORY_MS, untilMs: BEGIN_MS };
  await feed.replay(`${treeline.url}/api/v1/write`, replayed);
  let at = BEGIN_MS;
  // The first runs already when history ends.
  begun.set('latency-step', BEGIN_MS - 30_000);
  for (const { name } of FAULTS) {
    if (name !== 'latency-step') {
      feed.faults.set(name, true, at);
      begun.set(name, at);
    }
    at += FAULT_MS;
    await feed.forward(at);
    feed.faults.set(name, false, at);
    at += CALM_MS;
    await feed.forward(at);
  }
  await partitionsAtRest(treeline);
  const list = await treeline.json<{ incidents: { id: string }[] }>(
    `/anomaly/v1/incidents?limit=1000&start=${BEGIN_MS / 1000 - 60}`,
  );
  for (const { id } of list.incidents) {
    stories.push(await treeline.json<Story>(`/anomaly/v1/incidents/${id}`));
  }
  stories = stories.toSorted((a, b) => Date.parse(a.start) - Date.parse(b.start));
}, 180_000);

afterAll(async () => {
  await treeline?.stop();
  await endPrograms();
});

/** Of the incidents that began during the fault the one that tells of these series. */
function storyOf(fault: FaultName, series: RegExp): Story | undefined {
  const from = begun.get(fault) ?? Number.NaN;
  return stories.find(({ members }) =>
    members.some(
      (member) =>
        series.test(member.series) &&
        Date.parse(member.onset) >= from &&
        Date.parse(member.onset) <= from + FAULT_MS,
    ),
  );
}

/** How long after the fault began the first of these series was anomalous. */
function secondsUntil(fault: FaultName, series: RegExp): number {
  const onsets = (storyOf(fault, series)?.members ?? [])
    .filter((member) => series.test(member.series))
    .map(({ onset }) => Date.parse(onset));
  return (Math.min(...onsets) - (begun.get(fault) ?? Number.NaN)) / 1000;
}

test('a slow database is where its incident began', () => {
  const story = storyOf('latency-step', /^db_query_duration_seconds\{.*pod="database-1"/);
  expect(story?.firstMover.series).toContain('database-1');
  expect(story?.members.some(({ series }) => series.includes('pod="frontend-'))).toBe(true);
});

test('a leak is found while the pod still runs', () => {
  const memory = /^container_memory_working_set_bytes\{.*pod="worker-1"/;
  expect(storyOf('memory-leak', memory)?.firstMover.series).toContain('worker-1');
  // It is killed after 100 seconds.
  expect(secondsUntil('memory-leak', memory)).toBeLessThan(60);
});

test('a dead pod is named by its own series, at once', () => {
  const up = /^up\{.*pod="catalog-3"/;
  expect(storyOf('dead-pod', up)?.firstMover.series).toMatch(/catalog/);
  expect(secondsUntil('dead-pod', up)).toBeLessThanOrEqual(10);
});

test('a cron job that is missing is found when it is missed for the first time', () => {
  const delay = /^cronjob_start_delay_seconds\{.*cronjob="stock-sync"/;
  expect(storyOf('cron-missing', delay)?.firstMover.series).toMatch(delay);
  // It runs every 61 seconds.
  expect(secondsUntil('cron-missing', delay)).toBeLessThan(61 + 20);
  // And the jobs that do run are not accused.
  const others = /cronjob="(send-invoices|reindex-search)"/;
  expect(storyOf('cron-missing', others)).toBeUndefined();
});

test('a surge of traffic is one incident of all that carry it', () => {
  const requests = /^http_requests_total\{/;
  const story = storyOf('traffic-surge', requests);
  const pods = new Set(
    (story?.members ?? [])
      .filter(({ series }) => requests.test(series))
      .map(({ series }) => /pod="([^"]+)"/.exec(series)?.[1]),
  );
  expect(pods.size).toBeGreaterThanOrEqual(3);
  expect(secondsUntil('traffic-surge', requests)).toBeLessThanOrEqual(30);
});

test('every fault of the list is met, and while nothing befalls the shop hardly anything is found', () => {
  expect([...begun.keys()].toSorted()).toEqual(FAULTS.map(({ name }) => name).toSorted());
  // Also that a fault ends is a change.
  const during = ({ start }: Story) =>
    [...begun.values()].some((at) => {
      const after = Date.parse(start) - at;
      return after >= 0 && after <= FAULT_MS + MINUTE_MS;
    });
  const others = stories.filter((story) => !during(story)).map(({ explanation }) => explanation);
  expect(others.length, others.join('\n')).toBeLessThanOrEqual(2);
});
