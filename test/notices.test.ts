// Who is told of what: the budget over weeks of noise and faults, shadow and live, what is news, and that a decision is
// never made twice.

import { expect, test } from 'vitest';
import { chanceLine } from '../src/api/chance.js';
import { incidentId } from '../src/api/incidents.js';
import type { NoticeSettings } from '../src/api/notices.js';
import { Timeline } from '../src/api/timeline.js';
import { Outcome } from '../src/gen/anomaly_pb.js';
import { BUDGET_DAY_RATIO, BUDGET_WEEK_RATIO, SHADOW_MS } from '../src/limits.js';
import { openApiSite } from './api-site.js';
import { anomalyId, candidatesOf, type Told } from './candidates.js';
import { randomOf } from './random.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const WEEK = 7 * DAY;

function timelineOf(alerts: NoticeSettings, clock = () => 0): Timeline {
  return new Timeline({ retentionMs: 90 * DAY, partitionBy: [['instance']], alerts }, clock);
}

function apply(timeline: Timeline, told: Told): void {
  for (const candidate of candidatesOf(told)) timeline.apply(candidate);
  timeline.refresh();
}

function fault(host: number, onset: number, score: number): Told {
  return {
    labels: { __name__: 'm', instance: `host-${host}` },
    onset,
    end: onset + 10 * 60_000,
    score,
  };
}

/**
 * Scores of chance lie just above the threshold, their excess halves again and again; faults lie well above. Two weeks of
 * noise, forty faults in each week that is named.
 */
function twoWeeks(seed: number, noiseADay: number, faulty: readonly number[]) {
  const random = randomOf(seed);
  const told: { told: Told; isFault: boolean }[] = [];
  for (let i = 0; i < noiseADay * 14; i++) {
    const onset = Math.floor(random() * 2 * WEEK);
    told.push({ told: fault(i, onset, 1 - 0.35 * Math.log(random())), isFault: false });
  }
  for (const week of faulty) {
    for (let i = 0; i < 40; i++) {
      const onset = Math.floor((week + random()) * WEEK);
      const host = 1e6 + 100 * week + i;
      told.push({ told: fault(host, onset, 3.5 + 3 * random()), isFault: true });
    }
  }
  return told.sort((a, b) => a.told.onset - b.told.onset);
}

function simulate(mode: NoticeSettings['mode'], all: ReturnType<typeof twoWeeks>) {
  const timeline = timelineOf({ mode, budget: 5 });
  for (const { told } of all) apply(timeline, told);
  const times = [...timeline.notices.notified()].map(({ atMs }) => Number(atMs));
  const faults = all.filter(({ isFault }) => isFault);
  const heard = faults.filter(({ told }) => {
    const incident = timeline.incidentOf(anomalyId(told), '');
    return incident !== undefined && timeline.outcomeOf(incident) === Outcome.NOTIFIED;
  });
  return { times, recall: heard.length / faults.length };
}

test('in a noisy week after a shadow one the budget is kept, and nine of ten faults are told of', () => {
  const results = [1, 2, 3].map((seed) => {
    const { times, recall } = simulate('auto', twoWeeks(seed, 250, [1]));
    return { ratio: times.length / 35, recall };
  });
  const texts = results.map(
    ({ ratio, recall }) => `${ratio.toFixed(2)} of the budget, ${recall.toFixed(3)} of the faults`,
  );
  console.log(texts.join('; '));
  for (const { ratio, recall } of results) {
    expect(ratio).toBeGreaterThanOrEqual(0.3);
    expect(ratio).toBeLessThanOrEqual(1.2);
    expect(recall).toBeGreaterThanOrEqual(0.9);
  }
});

test('where chance brings three times the budget it does not spend what faults need', () => {
  const results = [1, 2, 3, 4, 5, 6].map((seed) => {
    const { times, recall } = simulate('auto', twoWeeks(seed, 15, [1]));
    return { ratio: times.length / 35, recall };
  });
  console.log(results.map(({ ratio, recall }) => `${ratio.toFixed(2)}: ${recall}`).join('; '));
  for (const { ratio, recall } of results) {
    expect(ratio).toBeLessThanOrEqual(1.2);
    // On some days there are more faults than two budgets.
    expect(recall).toBeGreaterThanOrEqual(0.8);
  }
  const mean = results.reduce((sum, { recall }) => sum + recall, 0) / results.length;
  expect(mean).toBeGreaterThanOrEqual(0.9);
});

test('live from its first hour on, no day and no week is above its limit, and most faults are told of', () => {
  const { times, recall } = simulate('live', twoWeeks(9, 100, [0, 1]));
  for (const until of times) {
    const within = (ms: number) => times.filter((at) => at <= until && at > until - ms).length;
    expect(within(DAY)).toBeLessThanOrEqual(5 * BUDGET_DAY_RATIO);
    expect(within(WEEK)).toBeLessThanOrEqual(35 * BUDGET_WEEK_RATIO);
  }
  expect(recall).toBeGreaterThan(0.75);
});

test('the line of chance lies where a tenth of the budget is left above it', () => {
  const random = randomOf(4);
  const draws = (count: number) =>
    Array.from({ length: count }, () => 1 - 0.35 * Math.log(random())).sort((a, b) => a - b);
  const ranks = draws(5000);
  const line = chanceLine(ranks, { aDay: 250, budget: 5 });
  // Of 250 a day 0.5 shall be left: two of a thousand.
  expect(line).toBeCloseTo(1 - 0.35 * Math.log(0.5 / 250), 0);
  // A few real ones far above hardly move it.
  const real = Array.from({ length: 40 }, () => 6);
  expect(Math.abs(chanceLine([...ranks, ...real], { aDay: 252, budget: 5 }) - line)).toBeLessThan(
    0.1,
  );
  // With few incidents nothing can be told: all of them may be real.
  expect(chanceLine(ranks, { aDay: 12, budget: 5 })).toBe(Number.NEGATIVE_INFINITY);
  expect(chanceLine(draws(19), { aDay: 250, budget: 5 })).toBe(Number.NEGATIVE_INFINITY);
});

test('quiet installations hear of everything', () => {
  const timeline = timelineOf({ mode: 'live', budget: 5 });
  for (let day = 0; day < 10; day++) apply(timeline, fault(day, day * DAY, 1.2));
  expect([...timeline.notices.notified()]).toHaveLength(10);
  expect(timeline.notices.heldCount).toBe(0);
});

test('what was held back is told of when it grows', () => {
  const timeline = timelineOf({ mode: 'live', budget: 1 });
  for (let i = 0; i < 2; i++) apply(timeline, fault(i, DAY + i * HOUR, 3 + i));
  const late: Told = {
    labels: { __name__: 'm', instance: 'late' },
    onset: DAY + 5 * HOUR,
    score: 2,
  };
  apply(timeline, late);
  const outcome = () => {
    const incident = timeline.incidentOf(anomalyId(late), '');
    return incident && timeline.outcomeOf(incident);
  };
  expect(outcome()).toBe(Outcome.HELD);
  expect(timeline.notices.heldCount).toBe(1);
  apply(timeline, { ...late, onset: late.onset, peak: late.onset + 26 * HOUR, score: 9 });
  expect(outcome()).toBe(Outcome.NOTIFIED);
});

test('of a series that has hardly been seen only what is far out is told', () => {
  const timeline = timelineOf({ mode: 'live', budget: 5 });
  const young = (host: number, score: number) => ({
    ...fault(host, host * HOUR, score),
    isYoung: true,
  });
  const outcomeOf = (told: Told) => {
    const incident = timeline.incidentOf(anomalyId(told), '');
    return incident && timeline.outcomeOf(incident);
  };
  const all = [young(1, 1.9), young(2, 2.1), fault(3, 3 * HOUR, 1.1)];
  for (const told of all) apply(timeline, told);
  expect(all.map(outcomeOf)).toEqual([Outcome.HELD, Outcome.NOTIFIED, Outcome.NOTIFIED]);
  // What is known of another series of the same incident is no guess.
  const both = [
    young(4, 1.5),
    { ...fault(4, 4 * HOUR, 1.2), labels: { __name__: 'n', instance: 'host-4' } },
  ];
  for (const told of both) apply(timeline, told);
  expect(both.map(outcomeOf)).toEqual([Outcome.NOTIFIED, Outcome.NOTIFIED]);
});

test('with a budget of nothing nobody hears of anything', () => {
  const timeline = timelineOf({ mode: 'live', budget: 0 });
  apply(timeline, fault(1, DAY, 100));
  expect([...timeline.notices.notified()]).toEqual([]);
});

test('the first week of samples is shadow, unless the settings say otherwise', () => {
  const ok = (mode: NoticeSettings['mode'], at: number, want: Outcome) => {
    const timeline = timelineOf({ mode, budget: 5 });
    apply(timeline, fault(0, 0, 2));
    const told = fault(1, at, 2);
    apply(timeline, told);
    const incident = timeline.incidentOf(anomalyId(told), '');
    expect([mode, at, incident && timeline.outcomeOf(incident)]).toEqual([mode, at, want]);
  };
  ok('auto', SHADOW_MS - 1, Outcome.SHADOW);
  ok('auto', SHADOW_MS, Outcome.NOTIFIED);
  ok('live', 1, Outcome.NOTIFIED);
  ok('shadow', 2 * SHADOW_MS, Outcome.SHADOW);
});

test('going live tells of what is open, and not of what is over', () => {
  const timeline = timelineOf({ mode: 'shadow', budget: 5 });
  const over = fault(1, DAY, 3);
  const open: Told = { labels: { __name__: 'm', instance: 'open' }, onset: DAY };
  apply(timeline, over);
  apply(timeline, open);
  timeline.notices.settings = { mode: 'live', budget: 5 };
  timeline.refresh();
  const outcomes = [over, open].map((told) => {
    const incident = timeline.incidentOf(anomalyId(told), '');
    return incident && timeline.outcomeOf(incident);
  });
  expect(outcomes).toEqual([Outcome.SHADOW, Outcome.NOTIFIED]);
});

test('what began an hour ago is news, history that is being read is not', () => {
  const ok = (clock: number, isSent: boolean) => {
    const timeline = timelineOf({ mode: 'live', budget: 5 }, () => clock);
    apply(timeline, fault(1, DAY, 3));
    expect([...timeline.notices.notified()].map((notice) => notice.isSent)).toEqual([isSent]);
  };
  ok(DAY + HOUR, true);
  ok(DAY + HOUR + 1, false);
});

test('incidents that grow together are told of once, under the name that was told first', () => {
  const timeline = timelineOf({ mode: 'live', budget: 5 });
  const labels = (name: string, job: string, instance: string) => ({
    __name__: name,
    job,
    instance,
  });
  const a: Told = { labels: labels('a', 'x', '1'), onset: DAY };
  const b: Told = { labels: labels('b', 'y', '2'), onset: DAY + 30_000 };
  const c: Told = { labels: labels('c', 'y', '1'), onset: DAY + 60_000 };
  for (const told of [b, a, c]) apply(timeline, told);
  const [incident, ...others] = timeline.list('');
  expect(others).toEqual([]);
  expect(incident && incidentId(incident)).toBe(`i-${anomalyId(a)}`);
  expect([...timeline.notices.notified()]).toHaveLength(2);
  expect(incident && timeline.notices.of(incident)?.anomalyId).toBe(anomalyId(a));
});

test('a restart decides nothing again, and counts what it finds', async () => {
  const settings = { alerts: { mode: 'live' as const, budget: 1 } };
  const first = await openApiSite({ settings });
  for (let i = 0; i < 4; i++) await first.append(0, candidatesOf(fault(i, DAY + i * HOUR, 5 - i)));
  await first.start();
  const read = async (site: typeof first) => {
    const { body } = await site.get('/incidents');
    return body.incidents.map(({ notification }: { notification: string }) => notification);
  };
  await first.until(
    () => read(first),
    (outcomes) => outcomes.length === 4 && !outcomes.includes('pending'),
  );
  const before = await read(first);
  expect(before.toSorted()).toEqual(['held', 'held', 'notified', 'notified']);
  expect(await first.metric('treeline_alert_budget_held_total')).toBe(2);
  expect(await first.metric('treeline_alert_budget_ratio')).toBe(2);
  expect(await first.metric('treeline_incidents_total')).toBe(4);
  await first.stop();
  const second = await openApiSite({ settings, after: first });
  await second.start();
  expect(await read(second)).toEqual(before);
  expect(await second.metric('treeline_alert_budget_ratio')).toBe(2);
  await second.stop();
});

test('what happens first, after a week in which nothing did, is told; before that it is shadow', async () => {
  const notificationOf = async (days: number) => {
    let now = Date.UTC(2026, 4, 4);
    const clock = () => now;
    const settings = { alerts: { mode: 'auto' as const, budget: 5 } };
    const first = await openApiSite({ clock, settings });
    await first.start();
    await first.stop();
    now += days * DAY;
    // It is no younger for having started again.
    const second = await openApiSite({ clock, settings, after: first });
    await second.append(0, candidatesOf({ labels: { __name__: 'queue' }, onset: now - 60_000 }));
    await second.start();
    const [row] = await second.until(
      async () => (await second.get('/incidents')).body.incidents as { notification: string }[],
      (rows) => rows[0] !== undefined && rows[0].notification !== 'pending',
    );
    const { isShadow } = (await second.get('/status')).body.alerts;
    await second.stop();
    return [row?.notification, isShadow];
  };
  expect(await notificationOf(6.9)).toEqual(['shadow', true]);
  expect(await notificationOf(7)).toEqual(['notified', false]);
});
