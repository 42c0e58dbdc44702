// History in the background: a new service reads it from a real Prometheus while it takes live samples, is killed twice in
// the middle, and knows its series from the first live minute.

import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { type History, serveHistory } from './history-blocks.js';
import type { Prometheus } from './peers.js';
import { endPrograms, eventually, temporaryDirectory } from './programs.js';
import { openSender, writeBody } from './remote-write-sender.js';
import {
  identityFaults,
  partitionsAtRest,
  readingOf,
  runTreeline,
  spawnTreeline,
  startTreeline,
  type Treeline,
} from './treeline-process.js';

const PODS = 20;
const DAYS = 4;
const MINUTE = 60_000;
const directory = temporaryDirectory('backfill-service');
let history: History;
let prometheus: Prometheus;

beforeAll(async () => {
  const wanted = { seed: 12, days: DAYS, pods: PODS };
  ({ history, prometheus } = await serveHistory(directory, wanted));
}, 180_000);

afterAll(async () => {
  await prometheus?.stop();
  await endPrograms();
});

const argsOf = (...more: string[]) => [
  // Flags go up at once.
  ...['--verdicts', 'off'],
  ...['--backfill-prometheus', prometheus.url, '--backfill-lookback', '5d'],
  ...['--checkpoint-interval', '1s', '--logging-level', 'warn', ...more],
];

/** The line of a check, when it has one. */
async function lineOf(treeline: Treeline, check: string): Promise<string | undefined> {
  try {
    const answer = await fetch(`${treeline.url}/-/ready`);
    const line = (await answer.text()).split('\n').find((text) => text.startsWith(`${check}: `));
    return line === undefined ? undefined : `${answer.status} ${line}`;
  } catch {
    return undefined; // it does not listen yet
  }
}

const historyAt = (treeline: Treeline, percent: number) =>
  eventually(`${percent} % of the history`, 60_000, async () => {
    const line = await lineOf(treeline, 'history');
    const [, share = '0'] = /^503 history: (\d+) %/.exec(line ?? '') ?? [];
    return Number(share) >= percent ? line : undefined;
  });

/** A minute of the queues, as they went on all the time; of one pod something else. */
function queuesAt(ms: number, odd?: { pod: number; by: number }): Uint8Array {
  const step = (ms - history.startMs) / MINUTE;
  return writeBody(
    Array.from({ length: PODS }, (_, pod) => {
      const value = 100 + 20 * Math.sin((2 * Math.PI * step) / 1440 + pod);
      const labels = {
        __name__: 'queue_length',
        cluster: 'eu',
        namespace: 'shop',
        pod: `pod-${pod}`,
      };
      return { labels, points: [[ms, value + (odd?.pod === pod ? odd.by : 0)] as const] };
    }),
  );
}

test('history comes in the background, survives two kills, and flags are right from the first live minute', {
  timeout: 240_000,
}, async () => {
  const dataDir = join(directory, 'killed');
  const first = await spawnTreeline({ dataDir, args: argsOf() });
  const line = await historyAt(first, 20);
  expect(line).toMatch(/^503 history: \d+ %, \d{4}-\d\d-\d\dT\d\d:\d\d of .* to .*Z?$/);
  expect(await lineOf(first, 'scorer')).toMatch(/^503 scorer: reading history of partition /);
  // Live samples are taken meanwhile, and wait.
  const sender = openSender(first.url);
  const nowMs = Math.floor(Date.now() / MINUTE) * MINUTE;
  const answer = await sender.send(queuesAt(nowMs + MINUTE));
  expect([answer.status, answer.text]).toEqual([204, '']);
  sender.close();
  await first.kill();

  const second = await spawnTreeline({ dataDir, args: argsOf() });
  await historyAt(second, 60);
  await second.kill();

  const third = await spawnTreeline({ dataDir, args: argsOf() });
  onTestFinished(async () => {
    await third.stop();
  });
  await eventually('the rest of the history', 120_000, async () =>
    (await lineOf(third, 'history')) === '200 history: ready' ? true : undefined,
  );
  const rest = await partitionsAtRest(third);
  const readings = await third.metrics();
  expect(identityFaults(readings)).toEqual([]);
  const outcome = (name: string) =>
    readingOf(readings, 'treeline_samples_total', { outcome: name }) ?? 0;
  // After its last sample a series goes on for the five minutes that Prometheus looks back.
  const points = (2 * PODS + 1) * DAYS * 1440;
  expect(outcome('applied')).toBeGreaterThanOrEqual(points + PODS);
  expect(outcome('applied')).toBeLessThan(points + PODS + (2 * PODS + 1) * 6);
  // Each kill costs at most the steps since the last word, which come again and change nothing.
  const again = outcome('duplicate') + outcome('late');
  expect(again).toBeLessThanOrEqual(2 * 251 * (2 * PODS + 1));
  expect(readingOf(readings, 'treeline_history_ends_total', { end: 'complete' })).toBeGreaterThan(
    0,
  );
  expect(await lineOf(third, 'history')).toBe('200 history: ready');
  expect(rest.reduce((sum, { offset }) => sum + offset, 0)).toBeGreaterThan(0);

  const { anomalies } = await third.json<{
    anomalies: { onset: string; labels: Record<string, string> }[];
  }>('/anomaly/v1/anomalies?limit=1000');
  for (const { metric, pod, fromMs } of history.faults) {
    const hits = anomalies.filter(({ onset, labels }) => {
      const lateMs = Date.parse(onset) - fromMs;
      return (
        labels['__name__'] === metric &&
        labels['pod'] === pod &&
        lateMs >= 0 &&
        lateMs <= 3 * MINUTE
      );
    });
    expect([metric, hits.length]).toEqual([metric, 1]);
  }

  // The second live minute: one queue jumps, the others go on.
  const live = openSender(third.url);
  const sent = await live.send(queuesAt(nowMs + 2 * MINUTE, { pod: 3, by: 60 }));
  expect(sent.status).toBe(204);
  live.close();
  await partitionsAtRest(third);
  const flags = (await third.text('/metrics/anomalies'))
    .split('\n')
    .filter((text) => text.startsWith('anomaly_flag{') && text.endsWith(' 1'))
    // The counters of this history stand still behind its end, for the minutes that Prometheus looks back.
    .filter((text) => text.includes('source_metric="queue_length"'));
  expect(flags.length).toBe(1);
  expect(flags[0]).toContain('pod="pod-3"');

  await third.stop();
  const replayed = await runTreeline(['run', '--verify-replay', '--data-dir', dataDir]);
  expect(replayed.code, replayed.stderr).toBe(0);
  expect(replayed.stdout).toMatch(/partition \d: equal: history to \d+, records 0 to \d+/);
  expect(replayed.stdout).not.toContain('DIFFERENT');

  // Nothing is left to do, whoever asks: that Prometheus is not asked any more.
  const fourth = await startTreeline({ dataDir, args: argsOf('--backfill-lookback', '6d') });
  expect(await lineOf(fourth, 'history')).toBe('200 history: ready');
  const after = await fourth.metrics();
  expect(identityFaults(after)).toEqual([]);
  await fourth.stop();
});

test('a Prometheus that is not there costs the wait, and detection begins without history', {
  timeout: 60_000,
}, async () => {
  const args = ['--backfill-prometheus', 'http://127.0.0.1:9', '--backfill-wait', '3s'];
  const treeline = await startTreeline({ args: [...args, '--logging-level', 'error'] });
  onTestFinished(async () => {
    await treeline.stop();
  });
  const readings = await treeline.metrics();
  expect(readingOf(readings, 'treeline_history_ends_total', { end: 'given_up' })).toBe(4);
  expect(readingOf(readings, 'treeline_history_retries_total')).toBeGreaterThan(1);
  expect(treeline.program.stderr() + treeline.program.stdout()).toContain(
    'detection begins with what there is',
  );
  const sender = openSender(treeline.url);
  expect((await sender.send(queuesAt(Math.floor(Date.now() / MINUTE) * MINUTE))).status).toBe(204);
  sender.close();
  await partitionsAtRest(treeline);
});

test('settings that make no sense are refused with a sentence', async () => {
  const ok = async (args: string[], text: string) => {
    const dataDir = join(directory, 'settings');
    const ended = await runTreeline(['run', '--data-dir', dataDir, ...args]);
    expect([ended.code, ended.stdout]).toEqual([1, '']);
    expect(ended.stderr).toContain(text);
  };
  const at = ['--backfill-prometheus', 'http://127.0.0.1:9'];
  await ok(
    [...at, '--backfill-lookback', '1m', '--backfill-step', '1h'],
    'less than one step of 1h',
  );
  await ok([...at, '--backfill-username', 'me'], 'user name and password file are given together');
  await ok([...at, '--backfill-tenant', 'a'], 'a tenant means nothing while tenancy is off');
  await ok(['--backfill-prometheus', 'http://a:b@c'], 'a password in an address is soon seen');
  await ok([...at, '--backfill-token-file', join(directory, 'none')], 'none');
});
