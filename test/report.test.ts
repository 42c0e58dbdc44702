// `treeline report`: first the comparison by itself, on hand-made firings and anomalies, then the command in front of a
// real Prometheus that holds ALERTS in blocks made by promtool, and a running Treeline that found a fault.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { Report } from '../src/cli/report.js';
import { compare, type Episode, type Firing, isSameEntity } from '../src/cli/report-compare.js';
import { peerBinary, startPrometheus } from './peers.js';
import { endPrograms, eventually, runProgram, temporaryDirectory } from './programs.js';
import { randomOf } from './random.js';
import { openSender, writeBody } from './remote-write-sender.js';
import { partitionsAtRest, runTreeline, startTreeline } from './treeline-process.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

afterAll(endPrograms);

test('an alert and a series are of one entity by the labels that both have', () => {
  const ok = (alert: Record<string, string>, series: Record<string, string>, want: boolean) =>
    expect([alert, series, isSameEntity(alert, series)]).toEqual([alert, series, want]);
  const pod = { namespace: 'shop', pod: 'db-0', job: 'db', __name__: 'queue' };
  ok({ namespace: 'shop', pod: 'db-0' }, pod, true);
  ok({ namespace: 'shop', pod: 'db-1' }, pod, false);
  ok({ namespace: 'other', pod: 'db-0' }, pod, false);
  ok({ job: 'db', severity: 'page' }, pod, true);
  // Nothing but the namespace is shared: of a pod it says too little, of an alert on the namespace all.
  ok({ namespace: 'shop', instance: 'a' }, pod, false);
  ok({ namespace: 'shop' }, pod, true);
  ok({ severity: 'page' }, pod, false);
  ok({ instance: '' }, { instance: 'a' }, false);
});

test('firings are counted by what came before them, with a lead of at most the window', () => {
  const range = { startMs: 0, endMs: 100 * HOUR, windowMs: HOUR };
  const firing = (pod: string, startMs: number): Firing => ({
    alert: 'A',
    labels: { pod },
    startMs,
    endMs: startMs + 10 * MINUTE,
  });
  const episode = (pod: string, onsetMs: number, endMs?: number): Episode => ({
    id: `${pod}/${onsetMs}`,
    series: pod,
    labels: { pod },
    onsetMs,
    score: 2,
    incident: `of ${pod}`,
    ...(endMs !== undefined && { endMs }),
  });
  const found = compare(
    [
      firing('a', 50 * HOUR),
      firing('b', 50 * HOUR),
      firing('c', 50 * HOUR),
      firing('d', 50 * HOUR),
      firing('e', 50 * HOUR),
      { alert: 'Watchdog', labels: {}, startMs: HOUR, endMs: 2 * HOUR },
    ],
    [
      episode('a', 50 * HOUR - 7 * MINUTE, 50 * HOUR),
      // Long open: the lead is the window.
      episode('b', HOUR),
      episode('c', 50 * HOUR + 5 * MINUTE, 51 * HOUR),
      // Over before the window.
      episode('d', 40 * HOUR, 48 * HOUR),
      episode('f', 50 * HOUR),
    ],
    range,
  );
  expect(found.all).toMatchObject({ firings: 5, before: 2, after: 1, none: 2 });
  expect(found.all.leadSeconds).toMatchObject({ p10: 420, p90: 3600 });
  expect(found.withoutEntity).toBe(1);
  expect([...found.incidentsAlerted].sort()).toEqual(['of a', 'of b', 'of c']);
  // Seven other times each: b is open at all but the one that wraps to before its onset; d at two, 12.5 h apart.
  const chance = found.all.byChance ?? Number.NaN;
  const times = Array.from({ length: 7 }, (_, k) => (50 + 12.5 * (k + 1)) % 100);
  const covered =
    times.filter((hour) => hour >= 1).length +
    times.filter((hour) => hour >= 40 && hour <= 49).length;
  expect(chance).toBeCloseTo(covered / 35, 10);
});

test('without firings nothing is claimed', () => {
  const range = { startMs: 0, endMs: HOUR, windowMs: MINUTE };
  expect(compare([], [], range).all).toEqual({
    firings: 0,
    before: 0,
    after: 0,
    none: 0,
    byChance: null,
    leadSeconds: null,
  });
});

test('the report of a real Prometheus and a running Treeline', { timeout: 120_000 }, async () => {
  const now = Math.floor(Date.now() / MINUTE) * MINUTE;
  const treeline = await startTreeline();
  const sender = openSender(treeline.url);
  const faultMs = now - 3 * HOUR;
  const body = writeBody([
    faulty({ pod: 'db-0', seed: 3, now, faultMs }),
    faulty({ pod: 'web-0', seed: 4, now, faultMs: now - 90 * MINUTE }),
    faulty({ pod: 'api-0', seed: 5, now, faultMs: Number.POSITIVE_INFINITY }),
  ]);
  expect((await sender.send(body)).status).toBe(204);
  sender.close();
  await partitionsAtRest(treeline);
  type Rows = { anomalies: { id: string; onset: string; labels: Record<string, string> }[] };
  const { anomalies } = await eventually('both faults', 20_000, async () => {
    const rows = await treeline.json<Rows>('/anomaly/v1/anomalies');
    return new Set(rows.anomalies.map(({ labels }) => labels['pod'])).size >= 2 ? rows : undefined;
  });
  const onset = Math.min(
    ...anomalies.flatMap(({ labels, onset: text }) =>
      labels['pod'] === 'db-0' && Date.parse(text) >= faultMs ? [Date.parse(text)] : [],
    ),
  );
  const tsdb = await alertBlocks([
    { labels: 'alertname="QueueLong",namespace="shop",pod="db-0"', from: faultMs + 12 * MINUTE },
    { labels: 'alertname="QueueLong",namespace="shop",pod="api-0"', from: now - 50 * HOUR },
    { labels: 'alertname="Watchdog"', from: now - 5 * HOUR },
    { labels: 'alertname="TreelineMemory",pod="db-0"', from: now - 6 * HOUR },
    // Since before the range began.
    { labels: 'alertname="Old",pod="db-0"', from: now - 73 * HOUR, minutes: 120 },
  ]);
  const prometheus = await startPrometheus('global: {}\n', { tsdb });
  const args = [
    'report',
    '--last',
    '3d',
    '--prometheus',
    prometheus.url,
    '--anomalies',
    treeline.url,
  ];
  const ran = await runTreeline([...args, '-o', 'json']);
  expect(ran).toMatchObject({ code: 0, stderr: '' });
  const report = JSON.parse(ran.stdout) as Report;
  expect(report.firings).toMatchObject({
    firings: 2,
    before: 1,
    after: 0,
    none: 1,
    withoutEntity: 1,
    beganEarlier: 1,
  });
  expect(report.alerts).toMatchObject([{ alert: 'QueueLong', firings: 2, before: 1 }]);
  // Exact to a minute, in which the alert was looked for.
  const lead = (faultMs + 12 * MINUTE - onset) / 1000;
  expect(Math.abs((report.firings.leadSeconds?.median ?? 0) - lead)).toBeLessThanOrEqual(60);
  expect(report.incidents.total).toBeGreaterThanOrEqual(2);
  expect(report.incidents.withoutAlert).toBe(report.incidents.total - 1);
  expect(report.incidents.unalerted.some(({ explanation }) => /web-0/.test(explanation))).toBe(
    true,
  );
  expect(report.incidents.unalerted.some(({ explanation }) => /db-0/.test(explanation))).toBe(
    false,
  );
  expect(Object.values(report.incidents.byNotification).reduce((a, b) => a + b)).toBe(
    report.incidents.total,
  );
  const [noisy] = report.noisiest;
  expect(anomalies.map(({ id }) => id)).toContain(noisy?.highest);

  const text = await runTreeline(args);
  expect(text.code).toBe(0);
  expect(text.stdout).toContain('1 of 2 firings (50 %) had an anomaly on the same entity before');
  expect(text.stdout).toContain('incidents were held back by alerts.budget');
  // What it proposes is something that Treeline takes.
  const [, proposed = ''] = /-d '(\{.*\})'/.exec(text.stdout) ?? [];
  const said = await fetch(`${treeline.url}/anomaly/v1/feedback`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: proposed,
  });
  expect(said.status).toBe(201);
  const config = join(temporaryDirectory('report-config'), 'treeline.yaml');
  writeFileSync(config, /^ {2}(ingest: .*)$/m.exec(text.stdout)?.[1] ?? 'nothing: 1');
  expect(await runTreeline(['config', 'check', config])).toMatchObject({ code: 0 });
  await prometheus.stop();
  const away = await runTreeline(args);
  expect(away).toMatchObject({ code: 1, stdout: '' });
  expect(away.stderr).toContain(`Cannot ask ${prometheus.url}`);
  await treeline.stop();
});

test('what is not understood exits 2, a Treeline that is away 1', async () => {
  const wrong = await runTreeline(['report', '--last', 'week']);
  expect(wrong).toMatchObject({ code: 2, stdout: '' });
  expect(wrong.stderr).toContain('--last is "week"; write 90m, 12h, 7d or 4w');
  expect(await runTreeline(['report', '--last', '20w'])).toMatchObject({ code: 2 });
  const prometheus = await startPrometheus('global: {}\n');
  const args = ['--prometheus', prometheus.url, '--anomalies', 'http://127.0.0.1:1'];
  const away = await runTreeline(['report', ...args]);
  expect(away).toMatchObject({ code: 1, stdout: '' });
  expect(away.stderr).toContain('Cannot ask http://127.0.0.1:1/anomaly/v1');
  await prometheus.stop();
});

/** Ten hours, a sample a minute; ten minutes of them are far off from `faultMs` on. */
function faulty(of: { pod: string; seed: number; now: number; faultMs: number }) {
  const random = randomOf(of.seed);
  const points = Array.from({ length: 600 }, (_, i) => {
    const atMs = of.now - (600 - i) * MINUTE;
    const isFault = atMs >= of.faultMs && atMs < of.faultMs + 10 * MINUTE;
    return [atMs, 10 + random() + (isFault ? 400 : 0)] as const;
  });
  const labels = { __name__: 'queue', namespace: `of-${of.pod}`, pod: of.pod };
  if (of.pod !== 'web-0') labels.namespace = 'shop';
  return { labels, points };
}

interface Firings {
  /** Besides the alert's state, as OpenMetrics writes labels. */
  labels: string;
  from: number;
  minutes?: number;
}

/** Directory of blocks that hold these alerts as Prometheus records them, a sample every 15 s. */
async function alertBlocks(firings: readonly Firings[]): Promise<string> {
  const directory = temporaryDirectory('alert-blocks');
  const lines = firings.flatMap(({ labels, from, minutes = 20 }) =>
    Array.from(
      { length: minutes * 4 },
      (_, i) => `ALERTS{${labels},alertstate="firing"} 1 ${from / 1000 + i * 15}`,
    ),
  );
  const text = join(directory, 'alerts.om');
  writeFileSync(text, `${lines.join('\n')}\n# EOF\n`);
  const tsdb = join(directory, 'tsdb');
  mkdirSync(tsdb);
  const args = ['tsdb', 'create-blocks-from', 'openmetrics', text, tsdb];
  const made = await runProgram(await peerBinary('promtool'), args, { timeoutMs: 60_000 });
  expect(made).toMatchObject({ code: 0 });
  return tsdb;
}
