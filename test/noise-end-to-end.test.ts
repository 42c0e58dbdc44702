// Rules, words and windows on the running program, over HTTP alone: from the settings file and the REST routes to the
// gauges; and a replay of its log, by other settings, arrives at the same learnt state.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { endPrograms, eventually, temporaryDirectory } from './programs.js';
import { randomOf } from './random.js';
import { openSender, type Series, writeBody } from './remote-write-sender.js';
import {
  identityFaults,
  parseMetrics,
  readingOf,
  runTreeline,
  startTreeline,
  type Treeline,
} from './treeline-process.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** A Monday, 00:00 UTC. */
const BEGIN = Date.UTC(2026, 0, 5);
const NAMES = ['plain', 'upward', 'job', 'level', 'tested', 'unix'];

afterAll(() => endPrograms());

const random = randomOf(11);
const noise = () => 100 + 2 * (random() + random() + random() - 1.5);

/** What is sent to one program, minute by minute. */
class Feed {
  readonly #treeline: Treeline;
  readonly #sender;
  minute = 0;

  constructor(treeline: Treeline) {
    this.#treeline = treeline;
    this.#sender = openSender(treeline.url);
  }

  /** `change`: what one series has instead of noise, by the minute since now. */
  async send(minutes: number, change: Record<string, (i: number) => number> = {}): Promise<void> {
    for (let from = 0; from < minutes; from += 240) {
      const count = Math.min(240, minutes - from);
      const series: Series[] = NAMES.map((name) => ({
        labels: { __name__: name, instance: 'a', job: 'noise' },
        points: Array.from({ length: count }, (_, i) => {
          const at = BEGIN + (this.minute + from + i) * MINUTE;
          const usual = name === 'unix' ? at / 1000 : noise();
          return [at, change[name]?.(from + i) ?? usual] as const;
        }),
      }));
      expect((await this.#sender.send(writeBody(series))).status).toBe(204);
    }
    this.minute += minutes;
    await eventually('everything to be scored', 20_000, async () => {
      const lag = readingOf(await this.#treeline.metrics(), 'treeline_partition_lag_records');
      return lag === 0 ? true : undefined;
    });
  }

  close(): void {
    this.#sender.close();
  }
}

async function flagOf(treeline: Treeline, name: string): Promise<number> {
  const readings = parseMetrics(await treeline.text('/metrics/anomalies'));
  return readingOf(readings, 'anomaly_flag', { source_metric: name }) ?? 0;
}

async function post(treeline: Treeline, path: string, body: object): Promise<{ id: string }> {
  const headers = { 'Content-Type': 'application/json' };
  const init = { method: 'POST', headers, body: JSON.stringify(body) };
  const answer = await fetch(`${treeline.url}/anomaly/v1${path}`, init);
  expect(answer.status, await answer.clone().text()).toBe(201);
  return (await answer.json()) as { id: string };
}

/** Until the scorer has obeyed so many words. */
const obeyed = (treeline: Treeline, count: number) =>
  eventually(`${count} words to be obeyed`, 10_000, async () => {
    const applied = { outcome: 'applied' };
    const name = 'treeline_control_records_total';
    const seen = readingOf(await treeline.metrics(), name, applied) ?? 0;
    return seen >= count ? true : undefined;
  });

const spike =
  (height: number, at = 30) =>
  (i: number) =>
    i === at ? 100 + height : noise();

test('rules, false alarms, accepted shifts and windows hold on the running program', async () => {
  const directory = temporaryDirectory('noise');
  const file = join(directory, 'treeline.yaml');
  writeFileSync(file, 'detection: { rules: [{ match: [upward], direction: above }] }\n');
  const options = {
    dataDir: join(directory, 'data'),
    args: ['--config', file, '--log-partitions', '1', '--verdicts', 'off'],
  };
  const treeline = await startTreeline(options);
  const feed = new Feed(treeline);
  await feed.send(2 * 1440);

  await feed.send(31, { plain: spike(-30), upward: spike(-30), job: spike(30) });
  const flags = async () =>
    Object.fromEntries(
      await Promise.all(NAMES.map(async (name) => [name, await flagOf(treeline, name)] as const)),
    );
  expect(await flags()).toMatchObject({
    plain: 1,
    upward: 0,
    job: 1,
    level: 0,
    tested: 0,
    unix: 0,
  });

  // A reload: no rule any more.
  writeFileSync(file, 'detection: { rules: [] }\n');
  const reload = await fetch(`${treeline.url}/-/reload`, { method: 'POST' });
  expect(await reload.json()).toEqual({ changed: ['detection.rules'], needRestart: [] });
  await feed.send(60);
  await feed.send(31, { upward: spike(-40) });
  expect(await flagOf(treeline, 'upward')).toBe(1);

  // A false alarm.
  type Listed = { anomalies: { id: string }[] };
  const { anomalies } = await treeline.json<Listed>('/anomaly/v1/anomalies?match[]=job');
  const [{ id: anomaly }] = anomalies as [{ id: string }];
  const said = await post(treeline, '/feedback', { kind: 'false-alarm', anomaly });
  await obeyed(treeline, 1);
  await feed.send(1440 - 91);
  await feed.send(31, { job: spike(30) });
  expect(await flagOf(treeline, 'job')).toBe(0);
  await feed.send(240);
  await feed.send(31, { job: spike(62) });
  expect(await flagOf(treeline, 'job')).toBe(1);

  // A level that is accepted.
  await feed.send(30, { level: () => noise() + 80 });
  await post(treeline, '/feedback', { kind: 'accept-shift', match: ['level'] });
  await obeyed(treeline, 2);
  await feed.send(2, { level: () => noise() + 80 });
  expect(await flagOf(treeline, 'level')).toBe(0);
  const level = await treeline.json<{ series: { expected: number }[] }>(
    '/anomaly/v1/series?match[]=level',
  );
  expect(Math.abs((level.series[0]?.expected ?? 0) - 180)).toBeLessThan(10);

  // A test that is no habit.
  const start = new Date(BEGIN + feed.minute * MINUTE).toISOString();
  const end = new Date(BEGIN + feed.minute * MINUTE + 2 * HOUR).toISOString();
  await post(treeline, '/maintenance', {
    match: ['tested'],
    noLearn: true,
    mute: true,
    start,
    end,
  });
  await obeyed(treeline, 3);
  await feed.send(120, { tested: () => 900, level: () => noise() + 80 });
  expect(readingOf(await treeline.metrics(), 'treeline_no_learn_series')).toBe(1);
  await feed.send(60, { level: () => noise() + 80 });
  expect(readingOf(await treeline.metrics(), 'treeline_no_learn_series')).toBe(0);
  await feed.send(31, { tested: spike(40), level: () => noise() + 80 });
  expect(await flagOf(treeline, 'tested')).toBe(1);

  // A clock.
  const unix = await treeline.json<{ series: object[] }>('/anomaly/v1/series?match[]=unix');
  expect(unix.series).toMatchObject([{ state: 'unsuited', reason: expect.stringMatching(/time/) }]);
  const readings = await treeline.metrics();
  expect(readingOf(readings, 'treeline_series', { state: 'unsuited' })).toBe(1);
  expect(readingOf(readings, 'treeline_samples_total', { outcome: 'unscored' })).toBeGreaterThan(0);
  expect(identityFaults(readings)).toEqual([]);

  const before = await flags();
  feed.close();
  expect((await treeline.stop()).code).toBe(0);
  writeFileSync(file, 'detection: { rules: [{ match: [plain], ignore: true }] }\n');
  const replay = await runTreeline([
    'run',
    '--verify-replay',
    '--data-dir',
    options.dataDir,
    ...options.args,
  ]);
  expect(replay.stdout, replay.stderr).toMatch(/^partition 0: equal: /);
  const again = await startTreeline(options);
  for (const name of NAMES) expect([name, await flagOf(again, name)]).toEqual([name, before[name]]);
  const undone = await fetch(`${again.url}/anomaly/v1/feedback/${said.id}`, { method: 'DELETE' });
  expect(undone.status).toBe(204);
  await again.stop();
}, 120_000);
