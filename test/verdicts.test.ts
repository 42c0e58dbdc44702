// Verdicts in the api: part of their anomaly whatever is read first, stored, shown, and heeded before somebody is told.

import { fromBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import type { Anomaly } from '../src/api/anomalies.js';
import { explain } from '../src/api/explain.js';
import { Timeline, type TimelineSettings } from '../src/api/timeline.js';
import { EarlyVerdicts, verdictOf } from '../src/api/verdicts.js';
import { type Candidate, Phase } from '../src/gen/candidate_pb.js';
import { Direction, Judgement, VerdictSchema } from '../src/gen/verdict_pb.js';
import { EARLY_VERDICTS_MAX, REFRESH_MS } from '../src/limits.js';
import { type ApiSite, openApiSite } from './api-site.js';
import { anomalyId, candidatesOf, type Told } from './candidates.js';
import { randomOf } from './random.js';
import { type VerdictFields, verdictOn } from './suspect-site.js';

const MINUTE = 60_000;
const WAIT_MS = 1000;
const { CONFIRMED, SUPPRESSED, ABSTAINED, UNCHECKED } = Judgement;
const FORECAST: VerdictFields = {
  ...{ expected: 10.25, lower: 8, upper: 12.5, p: 0.004 },
  direction: Direction.ABOVE,
};

const fault = (host: number, fields: Partial<Told> = {}): Told => ({
  labels: { __name__: 'queue_depth', instance: `host-${host}`, job: 'shop' },
  onset: (100 + host) * 60 * MINUTE,
  peak: (100 + host) * 60 * MINUTE + MINUTE,
  end: (100 + host) * 60 * MINUTE + 9 * MINUTE,
  score: 5,
  ...fields,
});

function onsetOf(told: Told): Candidate {
  const onset = candidatesOf(told).find(({ phase }) => phase === Phase.ONSET);
  if (onset === undefined) throw new Error('no onset');
  return onset;
}

async function say(site: ApiSite, told: Told, outcome: Judgement, fields: VerdictFields = {}) {
  await site.log.append('verdicts', 0, verdictOn(onsetOf(told), outcome, fields), 0);
}

const rowOf = async (site: ApiSite, told: Told) =>
  (await site.get(`/anomalies/${anomalyId(told)}`)).body;
const untilVerdict = (site: ApiSite, told: Told, verdict: string) =>
  site.until(
    () => rowOf(site, told),
    (row) => row.verdict === verdict && row.state === 'closed',
  );
const live: Partial<TimelineSettings> = { alerts: { mode: 'live', budget: 5 } };

test('a verdict becomes part of its anomaly: row, sentence, event stream', async () => {
  const site = await openApiSite({});
  await site.append(0, candidatesOf(fault(1)));
  await site.start();
  const before = await rowOf(site, fault(1));
  expect([before.verdict, before.deepCheck]).toEqual(['unchecked', null]);
  await say(site, fault(1), CONFIRMED, FORECAST);
  const row = await untilVerdict(site, fault(1), 'confirmed');
  expect(row.deepCheck).toEqual({
    ...{ model: 'nano', at: new Date(fault(1).onset).toISOString(), reason: '' },
    ...{ expected: 10.25, lower: 8, upper: 12.5, direction: 'above', p: 0.004 },
  });
  expect(row.explanation).toMatch(
    /; the deep check \(nano\) confirms it, having expected 8 to 12.5$/,
  );
  expect({ ...row, verdict: 0, deepCheck: 0, explanation: 0 }).toEqual({
    ...{ ...before, verdict: 0, deepCheck: 0, explanation: 0 },
  });
  // Whoever follows the stream hears of it.
  const streamed = await new Promise<string>((resolve, reject) => {
    const inject = site.server.inject({
      url: '/anomaly/v1/stream',
      headers: { 'last-event-id': 'none' },
      payloadAsStream: true,
    });
    void inject.then(async (answer) => {
      let text = '';
      for await (const chunk of answer.stream()) {
        text += chunk;
        if (text.includes('"verdict":"suppressed"')) return resolve(text);
      }
      reject(new Error(`the stream ended: ${text}`));
    }, reject);
    void site.append(0, candidatesOf(fault(2))).then(() => say(site, fault(2), SUPPRESSED));
  });
  expect(streamed).toContain(`"id":"${anomalyId(fault(2))}"`);
  await site.stop();
});

test('a sentence has as many digits as tell its numbers apart', () => {
  const ok = (told: Partial<Told>, forecast: VerdictFields, want: RegExp) => {
    const timeline = timelineOf({});
    for (const candidate of candidatesOf(fault(1, told))) timeline.apply(candidate);
    const verdict = verdictOn(onsetOf(fault(1)), CONFIRMED, forecast);
    timeline.judge(fromBinary(VerdictSchema, verdict), { partition: 0, offset: 0 });
    expect(explain(timeline.anomalies.get(anomalyId(fault(1)), '') as Anomaly)).toMatch(want);
  };
  ok(
    { value: 1_000_000_349, expected: 1_000_000_050, band: [1_000_000_041, 1_000_000_062] },
    { lower: 1_000_000_043.25, upper: 1_000_000_057.5 },
    /rose to 1000000350, 299 above the expected 1000000050 \(usual 1000000040 to 1000000060\).*expected 1000000043 to 1000000058/,
  );
  ok(
    { value: 1e12, expected: 2.34567, band: [1.23456, 3.45678] },
    { lower: 1.23456, upper: 3.45678 },
    /rose to 1000000000000, .* times the expected 2.346 \(usual 1.235 to 3.457\).*expected 1.235 to 3.457/,
  );
  ok(
    { value: 5, expected: 5, band: [5, 5] },
    { lower: 5, upper: 5 },
    /is at 5, within what is usual \(usual 5 to 5\)/,
  );
});

test('each verdict has its sentence', () => {
  const anomaly = { ...sample(), verdict: undefined };
  const ok = (outcome: Judgement, fields: VerdictFields, want: string) => {
    const verdict = fromBinary(VerdictSchema, verdictOn(onsetOf(fault(1)), outcome, fields));
    const told = explain({ ...anomaly, verdict: verdictOf(verdict) });
    expect(told).toBe(`${explain(anomaly)}${want}`);
  };
  ok(CONFIRMED, {}, '; the deep check (nano) confirms it');
  ok(CONFIRMED, FORECAST, '; the deep check (nano) confirms it, having expected 8 to 12.5');
  ok(SUPPRESSED, FORECAST, '; the deep check (nano) finds it to be expected, 8 to 12.5');
  ok(
    ABSTAINED,
    { reason: 'too few values' },
    '; the deep check (nano) cannot tell: too few values',
  );
  ok(UNCHECKED, { reason: 'the queue is full' }, '; not checked a second time: the queue is full');
  ok(UNCHECKED, {}, '; not checked a second time');
});

function sample(): Anomaly {
  const timeline = timelineOf({});
  for (const candidate of candidatesOf(fault(1))) timeline.apply(candidate);
  return timeline.anomalies.get(anomalyId(fault(1)), '') as Anomaly;
}

function timelineOf(settings: Partial<TimelineSettings>, clock = () => 0): Timeline {
  const alerts = { mode: 'live' as const, budget: 5 };
  const retentionMs = 90 * 864e5;
  return new Timeline({ retentionMs, partitionBy: [['instance']], alerts, ...settings }, clock);
}

test('in whatever order candidates and verdicts are read, the same comes out', () => {
  const faults = [1, 2, 3, 4].map((host) => fault(host));
  const verdicts = faults.flatMap((told) => {
    const at = BigInt(told.onset);
    return [
      [SUPPRESSED, at + 60_000n, 'of a later sample'],
      [CONFIRMED, at, 'the first'],
      [SUPPRESSED, at, 'the second of the same sample'],
      [CONFIRMED, at, 'the first'],
    ].map(([outcome, timestampMs, reason]) =>
      fromBinary(
        VerdictSchema,
        verdictOn(onsetOf(told), outcome as Judgement, {
          timestampMs: timestampMs as bigint,
          reason: reason as string,
        }),
      ),
    );
  });
  const candidates = faults.flatMap(candidatesOf);
  const viewOf = (seed: number) => {
    const random = randomOf(seed);
    const timeline = timelineOf({});
    let [c, v] = [0, 0];
    while (c < candidates.length || v < verdicts.length) {
      const candidate = candidates[c];
      const verdict = verdicts[v];
      const isCandidate = verdict === undefined || (candidate !== undefined && random() < 0.5);
      if (isCandidate && candidate !== undefined) {
        timeline.apply(candidate);
        c++;
      } else if (verdict !== undefined) {
        timeline.judge(verdict, { partition: 0, offset: v++ });
      }
      if (random() < 0.3) timeline.refresh();
    }
    timeline.refresh();
    return timeline.anomalies.ordered('').map(({ id, verdict, endMs, score }) => ({
      ...{ id, endMs, score },
      verdict: [verdict?.outcome, verdict?.reason, verdict?.timestampMs],
    }));
  };
  const want = viewOf(0);
  expect(want.map(({ verdict }) => verdict[1])).toEqual(Array(4).fill('the first'));
  for (let seed = 1; seed <= 50; seed++) expect([seed, viewOf(seed)]).toEqual([seed, want]);
});

test('a verdict is kept with its anomaly, and one that came too early is read again', async () => {
  const first = await openApiSite({});
  await say(first, fault(1), ABSTAINED, { reason: 'the band is wide', ...FORECAST });
  await say(first, fault(2), SUPPRESSED);
  await first.append(0, candidatesOf(fault(1)));
  await first.start();
  const want = await untilVerdict(first, fault(1), 'abstained');
  await first.stop();
  const second = await openApiSite({ after: first });
  second.log.deleteBelow('verdicts', 0, 1);
  await second.start();
  expect(await rowOf(second, fault(1))).toEqual(want);
  // Its candidate comes only now.
  await second.append(0, candidatesOf(fault(2)));
  const late = await second.until(
    () => rowOf(second, fault(2)),
    (row) => row.id !== undefined,
  );
  expect(late.verdict).toBe('suppressed');
  await second.stop();
});

test('everything that was read is a function of the logs alone', async () => {
  const first = await openApiSite({ settings: live });
  await first.append(0, candidatesOf(fault(1)));
  await first.start();
  await say(first, fault(1), CONFIRMED, FORECAST);
  await untilVerdict(first, fault(1), 'confirmed');
  await first.append(0, candidatesOf(fault(2)));
  await say(first, fault(2), SUPPRESSED);
  const want = await untilVerdict(first, fault(2), 'suppressed');
  await first.stop();
  // The store is lost, the logs are not.
  const second = await openApiSite({ after: { ...first, entries: new Map() }, settings: live });
  await second.start();
  expect(await untilVerdict(second, fault(2), 'suppressed')).toEqual(want);
  await second.stop();
});

test('a suppressed anomaly is notified to nobody and spends nothing', async () => {
  const site = await openApiSite({ settings: { alerts: { mode: 'live', budget: 1 } } });
  for (let host = 1; host <= 3; host++) {
    // One after another, so that each could be notified when its turn comes.
    await say(site, fault(host), host === 3 ? CONFIRMED : SUPPRESSED);
    await site.append(0, candidatesOf(fault(host, { score: 10 - host })));
  }
  await site.start();
  const decided = async () =>
    (await site.get('/incidents')).body.incidents.map(
      ({ id, notification }: { id: string; notification: string }) => [id, notification],
    );
  const ids = [3, 2, 1].map((host) => `i-${anomalyId(fault(host))}`);
  expect(await decided()).toEqual([
    [ids[0], 'notified'],
    [ids[1], 'suppressed'],
    [ids[2], 'suppressed'],
  ]);
  expect((await site.get('/status')).body.alerts.notifiedLastDay).toBe(1);
  expect((await site.get('/incidents?notification=suppressed')).body.incidents.length).toBe(2);
  await site.stop();
});

test('an incident with something loud in it is notified by what is loud', () => {
  const timeline = timelineOf({});
  const together = { onset: 100 * MINUTE, end: 110 * MINUTE };
  const labels = (name: string) => ({ __name__: name, instance: 'host-1' });
  const [loud, quiet] = ['a', 'b'].map((name) => fault(1, { labels: labels(name), ...together }));
  for (const told of [loud, quiet]) {
    for (const candidate of candidatesOf(told as Told)) timeline.apply(candidate);
  }
  const verdict = verdictOn(onsetOf(quiet as Told), SUPPRESSED);
  timeline.judge(fromBinary(VerdictSchema, verdict), { partition: 0, offset: 0 });
  timeline.refresh();
  const [incident] = timeline.list('');
  expect(incident?.members.length).toBe(2);
  expect(incident && timeline.notices.loud(incident, timeline.nowMs).length).toBe(1);
});

test('a notice waits for the verdict, and no longer than it was told to', () => {
  const ok = (outcome: Judgement | undefined, afterMs: number, want: readonly string[]) => {
    let now = 0;
    const timeline = timelineOf({ verdictWaitMs: WAIT_MS }, () => now);
    const seen: string[] = [];
    const look = () => {
      if (!timeline.isStale) return;
      timeline.refresh();
      const [incident] = timeline.list('');
      const notice = incident && timeline.notices.of(incident);
      seen.push(notice === undefined ? 'pending' : String(notice.outcome));
    };
    // It is over before anything is decided.
    for (const candidate of candidatesOf(fault(1))) timeline.apply(candidate);
    look();
    now = afterMs;
    if (outcome !== undefined) {
      const verdict = verdictOn(onsetOf(fault(1)), outcome);
      timeline.judge(fromBinary(VerdictSchema, verdict), { partition: 0, offset: 0 });
      timeline.collect();
    }
    look();
    look();
    expect(seen).toEqual(want);
  };
  const [NOTIFIED, QUIET] = ['1', '6'];
  ok(CONFIRMED, 10, ['pending', NOTIFIED]);
  ok(SUPPRESSED, 10, ['pending', QUIET]);
  ok(undefined, WAIT_MS - 1, ['pending', 'pending', 'pending']);
  ok(undefined, WAIT_MS, ['pending', NOTIFIED]);
  // What has been notified stays notified.
  ok(SUPPRESSED, WAIT_MS + 1, ['pending', QUIET]);
});

test('the api decides by itself when nothing more is heard', async () => {
  let now = 0;
  const site = await openApiSite({
    settings: { ...live, verdictWaitMs: WAIT_MS },
    clock: () => now,
  });
  await site.start();
  await site.append(0, candidatesOf(fault(1)));
  const outcome = async () => (await site.get('/incidents')).body.incidents[0]?.notification;
  await site.until(outcome, (value) => value === 'pending');
  // What was read has been followed up; nothing else comes.
  await new Promise((done) => setTimeout(done, 2 * REFRESH_MS));
  expect(await outcome()).toBe('pending');
  now = WAIT_MS;
  await site.until(
    async () => site.api.timeline.notices.notifiedWithin(1, site.api.timeline.nowMs),
    (count) => count === 1,
  );
  expect(await outcome()).toBe('notified');
  await site.stop();
});

test('a record that is no verdict is counted, and the next one is read', async () => {
  const site = await openApiSite({});
  await site.append(0, candidatesOf(fault(1)));
  await site.log.append('verdicts', 0, Buffer.from('no message of ours'), 0);
  await site.log.append('verdicts', 0, Buffer.alloc(100_000, 1), 0);
  await say(site, fault(1), CONFIRMED);
  await site.start();
  await untilVerdict(site, fault(1), 'confirmed');
  const labels = { topic: 'verdicts', partition: '0' };
  expect(await site.metric('treeline_log_unreadable_records_total', labels)).toBe(2);
  await site.stop();
});

test('verdicts that fit no anomaly are kept up to a bound, and counted beyond it', async () => {
  const early = new EarlyVerdicts();
  const verdict = verdictOf(fromBinary(VerdictSchema, verdictOn(onsetOf(fault(1)), CONFIRMED)));
  const count = EARLY_VERDICTS_MAX + 7;
  for (let i = 0; i < count; i++) early.put(`a-${i}`, verdict, { partition: i % 2, offset: i });
  expect(early.droppedCount).toBe(7);
  expect(early.take('a-6')).toBeUndefined();
  expect(early.take('a-7')).toBe(verdict);
  expect(early.restartAt(0, count)).toBe(8);
  expect(early.restartAt(1, count)).toBe(9);
  expect(early.restartAt(2, count)).toBe(count);
  const site = await openApiSite({});
  await site.start();
  expect(await site.metric('treeline_verdicts_unmatched_total')).toBe(0);
  await site.stop();
});
