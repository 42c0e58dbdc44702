// Windows on their way: from the forest's output to the candidate and the series view, through checkpoints and restarts.

import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { type Candidate, Phase } from '../src/gen/candidate_pb.js';
import { type WindowBlock, WindowBlockSchema } from '../src/gen/checkpoint_pb.js';
import {
  BATCH_WINDOWS_MAX,
  WINDOW_BYTES_PER_SERIES,
  WINDOW_STEPS,
  WINDOWS_SAVED_MS,
} from '../src/limits.js';
import { seriesCeiling } from '../src/memory-limit.js';
import type { Versioned } from './memory-store.js';
import {
  BEGIN,
  candidatesIn,
  fleet,
  MINUTE,
  openSuspects,
  type SuspectSite,
} from './suspect-site.js';

const nameOf = ({ label }: Candidate) => label.find(({ name }) => name === '__name__')?.value;
const onsetsOf = (site: SuspectSite) =>
  candidatesIn(site.log).filter(({ phase }) => phase === Phase.ONSET);

async function scored(site: SuspectSite, stop = true): Promise<string | null> {
  await site.scorer.start();
  const { stateHash } = await site.untilRead();
  if (stop) await site.scorer.stop();
  return stateHash;
}

test('an onset carries the values up to it, as they were scored; other phases carry none', async () => {
  const site = openSuspects({});
  const series = fleet(3, 1);
  await series.run(site.log, 700);
  await series.run(site.log, 3, { g1: 500, c0_total: 500 });
  await series.run(site.log, 100);
  await scored(site);
  const onsets = onsetsOf(site);
  expect(new Set(onsets.map(nameOf))).toEqual(new Set(['g1', 'c0_total']));
  for (const { window, value, timestampMs, onsetMs } of onsets) {
    expect(timestampMs).toBe(onsetMs);
    expect(timestampMs).toBe(BigInt(BEGIN + 700 * MINUTE));
    expect(window?.intervalMs).toBe(BigInt(MINUTE));
    expect(window?.value.length).toBe(WINDOW_STEPS);
    expect(window?.suspiciousFrom).toBe(WINDOW_STEPS - 1);
    expect(window?.value.at(-1)).toBeCloseTo(value, 3);
  }
  // A gauge's own values; a counter's rates per second.
  const valuesOf = (name: string) =>
    onsets.find((one) => nameOf(one) === name)?.window?.value ?? [];
  const between = (name: string, low: number, high: number) =>
    expect(
      valuesOf(name)
        .slice(0, -1)
        .every((value) => value >= low && value <= high),
    ).toBe(true);
  between('g1', 50, 53);
  between('c0_total', 50 / 60, 53 / 60);
  const others = candidatesIn(site.log).filter(({ phase }) => phase !== Phase.ONSET);
  expect(others.length).toBeGreaterThan(0);
  expect(others.filter(({ window }) => window !== undefined)).toEqual([]);
});

test('the series view shows the window with times, and score and band where they are known', async () => {
  const site = openSuspects({});
  const series = fleet(2);
  await series.run(site.log, 600);
  await scored(site, false);
  const row = site.row('g0');
  const window = row?.window ?? [];
  expect(window.length).toBe(WINDOW_STEPS);
  const { score, expected, lower, upper, lastValue, lastTimestamp } = row ?? {};
  expect(window.at(-1)).toEqual({
    ...{ timestamp: lastTimestamp, value: lastValue },
    ...{ score, expected, lower, upper },
  });
  expect(window[0]).toEqual({
    timestamp: new Date(BEGIN + (600 - WINDOW_STEPS) * MINUTE).toISOString(),
    value: expect.closeTo(51.5, -1),
  });
  await site.scorer.stop();
});

test('without windows nothing is kept, and the state is the same', async () => {
  const [kept, none] = [openSuspects({}), openSuspects({ hasWindows: false })];
  for (const site of [kept, none]) {
    const series = fleet(3);
    await series.run(site.log, 600);
    await series.run(site.log, 3, { g1: 500 });
  }
  const hash = await scored(kept, false);
  expect(await scored(none, false)).toBe(hash);
  expect(onsetsOf(none).map(({ window }) => window)).toEqual([undefined]);
  expect(none.row('g1')).toBeDefined();
  expect(none.row('g1')?.window).toBeUndefined();
  const bytes = async (site: SuspectSite) => site.metric('treeline_series_bytes');
  expect((await bytes(kept)) - (await bytes(none))).toBe(WINDOW_BYTES_PER_SERIES);
  await Promise.all([kept.scorer.stop(), none.scorer.stop()]);
});

test('stopped or killed at any record, windows are what they would have been', async () => {
  const series = fleet(3, 1);
  const whole = openSuspects({});
  await series.run(whole.log, 620);
  await series.run(whole.log, 3, { g1: 500, c0_total: 700 });
  await scored(whole, false);
  const records = whole.log.remains.lanes.get('samples/0')?.records ?? [];
  const names = ['g0', 'g1', 'g2', 'c0_total'];
  const want = names.map((name) => whole.row(name));
  await whole.scorer.stop();
  const lengths = [1, 17, 300, 600, 621, 622];
  let site = openSuspects({});
  for (const [i, until] of lengths.entries()) {
    const done = site.log.remains.lanes.get('samples/0')?.records.length ?? 0;
    for (const bytes of records.slice(done, until)) await site.log.append('samples', 0, bytes, 0);
    await scored(site, i % 2 === 0); // every second time it is killed, without a checkpoint
    site = openSuspects({ after: site });
  }
  for (const bytes of records.slice(622)) await site.log.append('samples', 0, bytes, 0);
  await scored(site, false);
  expect(names.map((name) => site.row(name))).toEqual(want);
  await site.scorer.stop();
  const windowsOf = (one: SuspectSite) =>
    new Map(onsetsOf(one).map((onset) => [`${nameOf(onset)} ${onset.timestampMs}`, onset.window]));
  expect(windowsOf(site)).toEqual(windowsOf(whole));
});

test('state without windows, or with damaged ones, gives windows that fill again', async () => {
  const ok = async (
    damage: (saved: Versioned, entries: Map<string, Versioned>) => void,
    want: { warning: boolean; length: number },
    hasWindows = true,
  ) => {
    const series = fleet(3);
    const first = openSuspects({ hasWindows });
    await series.run(first.log, 600);
    const hash = await scored(first);
    const key = [...first.entries.keys()].find((one) => one.includes('/windows/'));
    damage(first.entries.get(key ?? '') as Versioned, first.entries);
    const second = openSuspects({ after: first });
    expect(await scored(second, false)).toBe(hash);
    const warning = 'Windows are damaged or of another log; they fill again';
    expect(second.warnings.includes(warning)).toBe(want.warning);
    expect(second.row('g0')?.window?.length ?? 0).toBe(want.length);
    await series.run(second.log, 30);
    await second.untilRead();
    const { length } = second.row('g0')?.window ?? [];
    expect(length).toBe(Math.min(want.length + 30, WINDOW_STEPS));
    await second.scorer.stop();
  };
  const change = (how: (block: WindowBlock) => void) => (saved: Versioned) => {
    const block = fromBinary(WindowBlockSchema, saved.value);
    how(block);
    saved.value = toBinary(WindowBlockSchema, block);
  };
  const none = { warning: true, length: 0 };
  await ok(() => {}, { warning: false, length: WINDOW_STEPS });
  await ok(() => {}, { warning: false, length: 0 }, false);
  await ok(
    (saved, entries) => {
      for (const [key, value] of entries) if (value === saved) entries.delete(key);
    },
    { warning: false, length: 0 },
  );
  await ok((saved) => {
    saved.value[500]! ^= 1;
  }, none);
  await ok((saved) => saved.value.fill(0xff), none);
  await ok(
    change((block) => block.format++),
    none,
  ); // of a program to come
  await ok(
    change((block) => {
      block.logId = 'another log';
    }),
    none,
  );
});

test('windows that are kept no more are not found later', async () => {
  const series = fleet(3);
  let site = openSuspects({});
  await series.run(site.log, 300);
  await scored(site);
  site = openSuspects({ after: site, hasWindows: false });
  await scored(site);
  expect([...site.entries.keys()].filter((key) => key.includes('/windows/'))).toEqual([]);
  site = openSuspects({ after: site });
  await scored(site, false);
  expect(site.row('g0')?.window).toBeUndefined();
  await site.scorer.stop();
});

test('killed between two savings, windows have a gap and nothing that is wrong', async () => {
  const series = fleet(3);
  const site = openSuspects({ checkpointMs: 1 });
  await series.run(site.log, 300);
  await scored(site, false);
  const saved = () => site.metric('treeline_checkpoint_age_seconds', { partition: '0' });
  for (let i = 0; i < 20; i++) {
    await series.run(site.log, 1);
    await site.untilRead();
    site.passMs(WINDOWS_SAVED_MS / 100);
    expect(await saved()).toBeDefined();
  }
  const hash = (await site.untilRead()).stateHash;
  const want = site.row('g0')?.window ?? [];
  const killed = openSuspects({ after: site });
  expect(await scored(killed, false)).toBe(hash);
  await series.run(killed.log, 1);
  await killed.untilRead();
  const got = killed.row('g0')?.window ?? [];
  const known = new Map(want.map(({ timestamp, value }) => [timestamp, value]));
  const gap = got.filter(({ value }) => value === null).length;
  expect(gap).toBeGreaterThan(5);
  expect(gap).toBeLessThanOrEqual(20);
  expect(got.length).toBe(want.length + 1);
  for (const { timestamp, value } of got.slice(0, -1)) {
    if (value !== null) expect([timestamp, value]).toEqual([timestamp, known.get(timestamp)]);
  }
  await killed.scorer.stop();
  await site.scorer.stop();
});

test('stopped between two savings, windows are whole', async () => {
  const ok = async (checkpointMs: number) => {
    const series = fleet(3);
    const site = openSuspects({ checkpointMs });
    await series.run(site.log, 300);
    await scored(site, false);
    for (let i = 0; i < 5; i++) {
      await series.run(site.log, 1);
      await site.untilRead();
      site.passMs(WINDOWS_SAVED_MS / 100);
    }
    const want = site.row('g0');
    await site.scorer.stop();
    const next = openSuspects({ after: site });
    await scored(next, false);
    expect(next.row('g0')).toEqual(want);
    await next.scorer.stop();
  };
  await ok(1); // the state is saved after each record
  await ok(3_600_000); // and only at the stop
});

test('a slot that another series has taken is saved with the next checkpoint', async () => {
  const site = openSuspects({ seriesMax: 2, checkpointMs: 1 });
  await fleet(1).run(site.log, 100);
  await fleet(1, 0, 3, { prefix: 'k', fromMinute: 100 }).run(site.log, 200);
  await scored(site, false);
  // So idle that another one takes its place, well before windows are due again.
  const next = fleet(1, 0, 2, { prefix: 'h', fromMinute: 300 });
  site.passMs(5);
  await next.run(site.log, 3);
  await site.untilRead();
  site.passMs(5);
  await next.run(site.log, 3);
  await site.untilRead();
  expect(site.row('g0')).toBeUndefined();
  const killed = openSuspects({ after: site, seriesMax: 2 });
  await scored(killed, false);
  const window = killed.row('h0')?.window ?? [];
  expect(window.length).toBeGreaterThan(0);
  expect(window.length).toBeLessThanOrEqual(6);
  await killed.scorer.stop();
  await site.scorer.stop();
});

test('when half a fleet begins an anomaly at once, so many windows are written and the rest is counted', async () => {
  const count = BATCH_WINDOWS_MAX + 50;
  const site = openSuspects({});
  const series = fleet(count);
  await series.run(site.log, 150);
  await scored(site, false);
  const lifted = Object.fromEntries(Array.from({ length: count }, (_, i) => [`g${i}`, 5000]));
  await series.run(site.log, 1, lifted);
  await site.untilRead();
  await series.run(site.log, 1, lifted);
  await site.untilRead();
  const onsets = onsetsOf(site).filter(
    ({ timestampMs }) => timestampMs === BigInt(BEGIN + 150 * MINUTE),
  );
  const withWindow = onsets.filter(({ window }) => window !== undefined);
  expect(onsets.length).toBeGreaterThan(BATCH_WINDOWS_MAX);
  expect(withWindow.length).toBe(BATCH_WINDOWS_MAX);
  expect(await site.metric('treeline_windows_left_out_total')).toBe(
    onsetsOf(site).filter(({ window }) => window === undefined).length,
  );
  await site.scorer.stop();
});

test('the ceiling on series counts windows', () => {
  const settings = { memory: '75%', maxSeries: 1e9, partitions: 4, sizeBytes: Number };
  const allowance = { bytes: 8e9, source: 'machine' };
  const [without, withThem] = [false, true].map(
    (hasWindows) => seriesCeiling(allowance, { ...settings, hasWindows }).fitting,
  );
  expect((without ?? 0) / (withThem ?? 0)).toBeCloseTo(1 + WINDOW_BYTES_PER_SERIES / 4096, 3);
});
