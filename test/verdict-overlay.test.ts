// Verdicts over flags: what is suppressed never flags, what waits flags late at most, and a restart shows the same again.

import { expect, test } from 'vitest';
import { Phase } from '../src/gen/candidate_pb.js';
import { Judgement } from '../src/gen/verdict_pb.js';
import { candidatesIn, fleet, openSuspects, type SuspectSite, verdictOn } from './suspect-site.js';

const WAIT_MS = 1000;
const { CONFIRMED, SUPPRESSED, ABSTAINED, UNCHECKED } = Judgement;

/** One anomaly of g0 is open among four series, and nobody has said anything of it. */
async function openAnomaly(options: { waitMs?: number } = { waitMs: WAIT_MS }) {
  const site = openSuspects(options);
  const series = fleet(4);
  await series.run(site.log, 1000);
  await series.run(site.log, 3, { g0: 500 });
  await site.scorer.start();
  await site.untilRead();
  const [onset] = candidatesIn(site.log).filter(({ phase }) => phase === Phase.ONSET);
  if (onset === undefined) throw new Error('no candidate was written');
  const say = async (outcome: Judgement, fields = {}, of = onset) => {
    await site.log.append('verdicts', 0, verdictOn(of, outcome, fields), 0);
    await site.untilRead();
  };
  return { ...site, site, series, onset, say };
}

const shown = ({ flag, rate, row }: SuspectSite) => ({
  flag: flag('g0'),
  rate: rate(),
  row: row('g0')?.flag,
  verdict: row('g0')?.verdict,
});

test('a flag waits for its verdict and rises with it, or without it when it does not come', async () => {
  const ok = async (outcome: Judgement, verdict: string) => {
    const { site, say, passMs, scorer } = await openAnomaly();
    passMs(WAIT_MS - 1);
    expect(shown(site)).toEqual({ flag: 0, rate: 0, row: 0, verdict: undefined });
    await say(outcome);
    expect(shown(site)).toEqual({ flag: 1, rate: 0.25, row: 1, verdict });
    expect(await site.metric('treeline_verdicts_read_total', { outcome: verdict })).toBe(1);
    passMs(10 * WAIT_MS);
    expect(await site.metric('treeline_flags_unjudged_total')).toBe(0);
    await scorer.stop();
  };
  await ok(CONFIRMED, 'confirmed');
  await ok(ABSTAINED, 'abstained');
  await ok(UNCHECKED, 'unchecked');

  const { site, passMs, scorer, metric } = await openAnomaly();
  expect(await metric('treeline_flags_down', { reason: 'waiting' })).toBe(1);
  passMs(WAIT_MS);
  expect(shown(site)).toEqual({ flag: 1, rate: 0.25, row: 1, verdict: undefined });
  expect(await metric('treeline_flags_unjudged_total')).toBe(1);
  expect(await metric('treeline_flags_down', { reason: 'waiting' })).toBe(0);
  await scorer.stop();
});

test('what is suppressed never flags, though its score is shown', async () => {
  const { site, series, say, passMs, log, scorer, untilRead } = await openAnomaly();
  await say(SUPPRESSED);
  passMs(10 * WAIT_MS);
  const down = { flag: 0, rate: 0, row: 0, verdict: 'suppressed' };
  expect(shown(site)).toEqual(down);
  expect(site.row('g0')?.score).toBeGreaterThan(1);
  expect(await site.metric('treeline_flags_down', { reason: 'suppressed' })).toBe(1);
  // It goes on, and so does the verdict; the next anomaly of the series waits for its own.
  await series.run(log, 3, { g0: 900 });
  await untilRead();
  expect(shown(site)).toEqual(down);
  await series.run(log, 200);
  await untilRead();
  expect(site.row('g0')?.verdict).toBeUndefined();
  await series.run(log, 3, { g0: 5000 });
  await untilRead();
  expect(site.flag('g0')).toBe(0);
  passMs(WAIT_MS);
  expect(shown(site)).toMatchObject({ flag: 1, rate: 0.25, verdict: undefined });
  await scorer.stop();
});

test('a late suppression takes the flag down again', async () => {
  const { site, say, passMs, scorer } = await openAnomaly();
  passMs(WAIT_MS);
  expect(site.flag('g0')).toBe(1);
  await say(SUPPRESSED);
  expect(shown(site)).toEqual({ flag: 0, rate: 0, row: 0, verdict: 'suppressed' });
  expect(await site.metric('treeline_flags_unjudged_total')).toBe(1);
  await scorer.stop();
});

test('of several verdicts the first of the earliest sample counts', async () => {
  const { site, onset, say, scorer } = await openAnomaly();
  const later = { timestampMs: onset.timestampMs + 60_000n };
  await say(SUPPRESSED, later);
  expect(site.row('g0')?.verdict).toBe('suppressed');
  await say(CONFIRMED);
  await say(SUPPRESSED);
  await say(SUPPRESSED, later);
  expect(shown(site)).toEqual({ flag: 1, rate: 0.25, row: 1, verdict: 'confirmed' });
  await scorer.stop();
});

test('verdicts of other series and other anomalies change nothing', async () => {
  const { site, onset, say, passMs, scorer } = await openAnomaly();
  passMs(WAIT_MS);
  await say(SUPPRESSED, {}, { ...onset, fingerprint: onset.fingerprint + 1n });
  await say(SUPPRESSED, {}, { ...onset, onsetMs: onset.onsetMs - 60_000n });
  expect(site.flag('g0')).toBe(1);
  await scorer.stop();
});

test('where nothing checks, flags go up at once and no verdict is read', async () => {
  const { site, say, scorer } = await openAnomaly({});
  expect(site.flag('g0')).toBe(1);
  await say(SUPPRESSED);
  expect(shown(site)).toEqual({ flag: 1, rate: 0.25, row: 1, verdict: undefined });
  await scorer.stop();
});

test('a restart reads the verdict of what is still open again, also one it has not seen', async () => {
  const ok = async (leave: (scorer: SuspectSite['scorer']) => Promise<void>) => {
    const first = await openAnomaly();
    await first.say(SUPPRESSED);
    await leave(first.scorer);
    const second = openSuspects({ after: first, waitMs: WAIT_MS });
    await second.scorer.start();
    await second.untilRead();
    second.passMs(10 * WAIT_MS);
    expect(shown(second)).toEqual({ flag: 0, rate: 0, row: 0, verdict: 'suppressed' });
    await second.scorer.stop();
  };
  await ok((scorer) => scorer.stop());
  // Killed: there is no checkpoint, and the onset is replayed after its verdict has been read.
  await ok(async () => {});
});

test('a record that is no verdict is counted and passed over', async () => {
  const { site, log, say, metric, scorer, warnings } = await openAnomaly();
  await log.append('verdicts', 0, Buffer.from('no message of ours'), 0);
  await log.append('verdicts', 0, Buffer.alloc(100_000, 1), 0);
  await say(CONFIRMED);
  expect(site.flag('g0')).toBe(1);
  const labels = { topic: 'verdicts', partition: '0' };
  expect(await metric('treeline_log_unreadable_records_total', labels)).toBe(2);
  expect(warnings).toContain('A verdict cannot be read; it is left out');
  await scorer.stop();
});
