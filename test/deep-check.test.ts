// The deep-check role from candidates to verdicts, with the shipped model in a real child process.

import { execFileSync } from 'node:child_process';
import { cpSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { Phase } from '../src/gen/candidate_pb.js';
import { Direction, Judgement } from '../src/gen/verdict_pb.js';
import { loadModel } from '../src/inference/manifest.js';
import { ONE_LINERS } from '../src/inference/one-liners.js';
import { openForecaster } from '../src/inference/open-forecaster.js';
import { quiet } from './api-site.js';
import { candidate } from './candidates.js';
import { AT_MS, type DeepSite, openDeepSite, suspicion, wave } from './deep-check-site.js';
import { temporaryDirectory } from './programs.js';
import { projectRoot } from './project-root.js';

let site: DeepSite | undefined;

afterEach(async () => {
  await site?.stop();
  site = undefined;
});

test('a value far off is confirmed, one where it was to be expected is suppressed', async () => {
  site = await openDeepSite();
  const usual = wave(410);
  const far = [...usual.slice(0, -1), 260];
  await site.append([suspicion(usual), suspicion(far, { fingerprint: 2n })]);
  const [calm, spike] = await site.verdicts(2);
  expect(calm?.outcome).toBe(Judgement.SUPPRESSED);
  expect(calm?.p).toBeGreaterThan(0.3);
  expect(spike?.outcome).toBe(Judgement.CONFIRMED);
  expect(spike?.direction).toBe(Direction.ABOVE);
  expect(spike?.p).toBeLessThan(1e-3);
  expect(spike?.model).toBe('nano-2.0.0');
  expect(Math.abs((spike?.expected ?? 0) - (usual.at(-1) ?? 0))).toBeLessThan(8);
  expect(spike?.lower).toBeLessThan(spike?.expected ?? 0);
  expect(spike?.upper).toBeGreaterThan(spike?.expected ?? 0);
  expect(spike?.timestampMs).toBe(BigInt(AT_MS));
  expect(await site.metric('treeline_verdicts_total', { outcome: 'confirmed' })).toBe(1);
});

test('only onsets are judged, each once, in their order, with the offset of its candidate', async () => {
  site = await openDeepSite({ partitions: 2 });
  const values = wave(300);
  const onset = (fingerprint: bigint) => suspicion(values, { fingerprint });
  await site.append([onset(1n), candidate(Phase.PEAK, AT_MS), onset(2n)], 1);
  await site.append([candidate(Phase.END, AT_MS), onset(3n)], 1);
  const verdicts = await site.verdicts(3, 1);
  expect(verdicts.map(({ fingerprint }) => fingerprint)).toEqual([1n, 2n, 3n]);
  expect(verdicts.map(({ candidateOffset }) => candidateOffset)).toEqual([0n, 2n, 4n]);
  expect((await site.log.bounds('verdicts', 0)).high).toBe(0);
});

test('a series that was just checked rests, and others are checked after it', async () => {
  site = await openDeepSite();
  const onset = (fingerprint: bigint, afterMs: number, score = 2) => {
    const timestampMs = BigInt(AT_MS + afterMs);
    return suspicion(wave(300), { fingerprint, timestampMs, score });
  };
  await site.append([onset(1n, 0)]);
  await site.verdicts(1);
  await site.append([onset(1n, 30_000)]);
  const [, rested] = await site.verdicts(2);
  expect(rested?.outcome).toBe(Judgement.UNCHECKED);
  expect(rested?.reason).toBe('The series was checked less than a minute before');
  await site.append([onset(2n, 0), onset(1n, 45_000, 4), onset(1n, 120_000)]);
  const later = (await site.verdicts(5)).slice(2);
  for (const { outcome } of [later[0], later[2]] as typeof later) {
    expect(outcome).not.toBe(Judgement.UNCHECKED);
  }
});

test('after a restart it goes on behind the last verdict, without state of its own', async () => {
  site = await openDeepSite();
  const onset = (fingerprint: bigint) => suspicion(wave(300), { fingerprint });
  await site.append([onset(1n), onset(2n)]);
  await site.verdicts(2);
  await site.stop();
  const { remains } = site.log;
  const writer = await openDeepSite({ remains });
  await writer.append([onset(3n), candidate(Phase.PEAK, AT_MS), onset(4n)]);
  await writer.verdicts(4);
  await writer.stop();
  site = await openDeepSite({ remains });
  await site.append([onset(5n)]);
  const verdicts = await site.verdicts(5);
  expect(verdicts.map(({ fingerprint }) => fingerprint)).toEqual([1n, 2n, 3n, 4n, 5n]);
  expect((await site.log.bounds('verdicts', 0)).high).toBe(5);
});

test('what cannot be checked is unchecked with the reason', async () => {
  site = await openDeepSite();
  const values = wave(300);
  const gone = suspicion([...values.slice(0, -1), Number.NaN], { fingerprint: 3n });
  const beyond = suspicion(values, { fingerprint: 4n });
  if (beyond.window !== undefined) beyond.window.suspiciousFrom = 300;
  await site.append([
    candidate(Phase.ONSET, AT_MS, { fingerprint: 1n }),
    suspicion(values.slice(0, 50), { fingerprint: 2n }),
    gone,
    beyond,
  ]);
  const verdicts = await site.verdicts(4);
  expect(verdicts.map(({ outcome }) => outcome)).toEqual(new Array(4).fill(Judgement.UNCHECKED));
  expect(verdicts.map(({ reason }) => reason)).toEqual([
    'The candidate has no window',
    '41 samples before the suspicion, 64 are needed',
    'The window does not end with a value',
    'The candidate has no window',
  ]);
  expect(verdicts[0]?.expected).toBeUndefined();
  expect(verdicts[0]?.p).toBeUndefined();
  expect(await site.metric('treeline_verdicts_total', { outcome: 'unchecked' })).toBe(4);
  expect(await site.metric('treeline_deep_check_shed_total', { reason: 'no_window' })).toBe(4);
});

/** Suppressed or abstained. */
const CALM = 'calm';

test('odd windows are judged: gaps, constants, offsets of 1e12, values that overflow', async () => {
  site = await openDeepSite();
  const values = wave(410);
  const last = values.length - 1;
  const far = (level: number, size: number) => [
    ...wave(399, { level, size, noise: size / 100 }),
    level + 10 * size,
  ];
  const shapes: [name: string, values: number[], want: Judgement | typeof CALM][] = [
    ['gaps', values.map((v, i) => (i % 4 === 1 && i !== last ? Number.NaN : v)), CALM],
    ['constant then a step', [...new Array(399).fill(5), 6], Judgement.CONFIRMED],
    ['constant', new Array(400).fill(5), Judgement.ABSTAINED],
    ['1e12', far(1e12, 1e5), Judgement.CONFIRMED],
    ['1e-12', far(1e-12, 1e-13), Judgement.CONFIRMED],
    ['infinite before', values.map((v, i) => (i % 50 === 7 ? Number.POSITIVE_INFINITY : v)), CALM],
    ['largest doubles before', values.map((v, i) => (i === 100 ? 1.7e308 : v)), CALM],
  ];
  await site.append(shapes.map(([, one], i) => suspicion(one, { fingerprint: BigInt(i + 1) })));
  const verdicts = await site.verdicts(shapes.length);
  for (const [index, [name, , want]] of shapes.entries()) {
    const { outcome, p = Number.NaN, expected = Number.NaN } = verdicts[index] ?? {};
    if (want === CALM) expect([name, outcome]).not.toEqual([name, Judgement.CONFIRMED]);
    else expect([name, outcome]).toEqual([name, want]);
    expect(p).toBeGreaterThanOrEqual(0);
    expect(p).toBeLessThanOrEqual(1);
    expect(Number.isFinite(expected)).toBe(true);
  }
});

test('a child that is killed under load costs a batch, and the journey goes on', async () => {
  site = await openDeepSite({ settings: { windowsPerSecond: 1e6 } });
  const onsets = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) =>
      suspicion(wave(400), { fingerprint: BigInt(from + i) }),
    );
  await site.append(onsets(1, 8));
  await site.verdicts(8);
  const pids = () =>
    execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(process.pid)])
      .toString()
      .split('\n')
      .filter((line) => line.includes('native-place'))
      .map((line) => Number.parseInt(line, 10));
  const appended = site.append(onsets(101, 200));
  for (const pid of pids()) process.kill(pid, 'SIGKILL');
  await appended;
  const during = (await site.verdicts(208)).slice(8);
  const unchecked = during.filter(({ outcome }) => outcome === Judgement.UNCHECKED);
  expect(unchecked.length).toBeGreaterThan(0);
  for (const { reason } of unchecked) expect(reason).toContain('its process ended with SIGKILL');
  expect(await site.metric('treeline_inference_failures_total', { runtime: 'native' })).toBe(1);
  await expect.poll(() => site?.role.note(), { timeout: 20_000 }).toBeUndefined();
  await site.append(onsets(1001, 8));
  const after = (await site.verdicts(216)).slice(208);
  expect(after.every(({ outcome }) => outcome !== Judgement.UNCHECKED)).toBe(true);
});

test('history brings many onsets of a series at once, and each of them has its verdict', async () => {
  const [SERIES, DAYS] = [12, 20];
  site = await openDeepSite();
  const onsets = Array.from({ length: SERIES * DAYS }, (_, i) => {
    const day = Math.floor(i / SERIES);
    const fields = {
      fingerprint: BigInt((i % SERIES) + 1),
      timestampMs: BigInt(AT_MS + day * 864e5),
    };
    return suspicion(wave(200), fields);
  });
  await site.append(onsets);
  const verdicts = await site.verdicts(onsets.length);
  const unchecked = verdicts.filter(({ outcome }) => outcome === Judgement.UNCHECKED);
  expect(unchecked.map(({ reason }) => reason)).toEqual([]);
});

test('a storm is shed, counted, and every candidate still has one verdict', async () => {
  const COUNT = 2_500;
  site = await openDeepSite({ settings: { windowsPerSecond: 40, waitMsMax: 2_000 } });
  await site.forecaster.prepare();
  const storm = Array.from({ length: COUNT }, (_, i) =>
    suspicion(wave(120), { fingerprint: BigInt(i + 1), score: 1 + i / 100 }),
  );
  await site.append(storm);
  const verdicts = await site.verdicts(COUNT);
  const checked = verdicts.filter(({ outcome }) => outcome !== Judgement.UNCHECKED);
  // Three windows each: a burst of ten seconds of budget, and a little of what flows in.
  expect(checked.length).toBeGreaterThanOrEqual(133);
  expect(checked.length).toBeLessThan(250);
  const shed = async (reason: string) => site?.metric('treeline_deep_check_shed_total', { reason });
  const [full = 0, late = 0] = [await shed('queue_full'), await shed('late')];
  expect(late).toBeGreaterThan(0);
  expect(full + late + checked.length).toBe(COUNT);
  expect(await site.metric('treeline_deep_check_queue_length')).toBe(0);
  expect(new Set(verdicts.map(({ fingerprint }) => fingerprint)).size).toBe(COUNT);
});

test('without a model that can be used every verdict says why', async () => {
  const folder = temporaryDirectory('model');
  cpSync(join(projectRoot(), 'models'), folder, { recursive: true });
  truncateSync(join(folder, 'nano.onnx'), 1_000_000);
  const around = { logger: quiet, clock: Date.now };
  const model = join(folder, 'nano.onnx');
  const bytes = loadModel('nano').bytes.length;
  for (const [choice, want] of [
    [
      { model, runtime: 'native' as const, remote: '' },
      `nano.onnx has 1000000 bytes, not ${bytes}`,
    ],
    [{ model: 'nano', runtime: 'none' as const, remote: '' }, 'deepCheck.runtime is none'],
    [{ model: 'nano', runtime: 'auto' as const, remote: 'http://127.0.0.1:9' }, 'ECONNREFUSED'],
  ] as const) {
    const other = await openDeepSite({ forecaster: await openForecaster(choice, around) });
    await other.append([suspicion(wave(300))]);
    const [verdict] = await other.verdicts(1);
    expect(verdict?.outcome).toBe(Judgement.UNCHECKED);
    expect(verdict?.reason).toContain(want);
    expect(other.role.note()).toContain(want);
    await other.stop();
  }
});

test('one line of arithmetic takes the same place', async () => {
  const around = { logger: quiet, clock: Date.now };
  for (const model of ONE_LINERS) {
    const choice = { model, runtime: 'auto' as const, remote: '' };
    const other = await openDeepSite({ forecaster: await openForecaster(choice, around) });
    const values = wave(400);
    await other.append([
      suspicion(values),
      suspicion([...values.slice(0, -1), 400], { fingerprint: 2n }),
    ]);
    const [calm, spike] = await other.verdicts(2);
    expect(calm?.outcome).not.toBe(Judgement.CONFIRMED);
    expect([model, spike?.outcome]).toEqual([model, Judgement.CONFIRMED]);
    expect(spike?.model).toBe(model);
    await other.stop();
  }
});

test('a record that is no candidate stops its partition and no other', async () => {
  site = await openDeepSite({ partitions: 2 });
  await site.log.append('candidates', 0, Uint8Array.of(0xff, 0xff, 0xff), 0);
  await site.append([suspicion(wave(300))], 1);
  expect((await site.verdicts(1, 1)).length).toBe(1);
  expect((await site.log.bounds('verdicts', 0)).high).toBe(0);
});
