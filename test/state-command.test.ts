// `treeline state` as a user calls it, on the data directories of the built program.

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { endPrograms, eventually, temporaryDirectory } from './programs.js';
import { openSender, writeBody } from './remote-write-sender.js';
import { mainFile, runTreeline, startTreeline, type Treeline } from './treeline-process.js';

afterAll(endPrograms);

const SERIES = 200;
const BEGIN = 1_760_000_000_000;

async function sendMinutes(treeline: Treeline, from: number, until: number): Promise<void> {
  const sender = openSender(treeline.url);
  for (let minute = from; minute < until; minute++) {
    const series = Array.from({ length: SERIES }, (_, i) => ({
      labels: { __name__: 'queue', instance: `host-${i}`, job: 'test' },
      points: [[BEGIN + minute * 60_000, 10 + ((i + minute) % 7)]] as const,
    }));
    expect((await sender.send(writeBody(series))).status).toBe(204);
  }
  sender.close();
}

interface SeriesPage {
  series: { fingerprint: string; progress?: { samples: number } }[];
}

function samplesPerSeries(treeline: Treeline): Promise<number[]> {
  return eventually('all series to be scored', 20_000, async () => {
    const { series } = await treeline.json<SeriesPage>('/anomaly/v1/series?limit=1000');
    return series.length === SERIES
      ? series.map(({ progress }) => progress?.samples ?? 0)
      : undefined;
  });
}

test('learnt with 4 partitions, exported, verified, imported into 3, and learnt on', {
  timeout: 120_000,
}, async () => {
  const folder = temporaryDirectory('state');
  const file = join(folder, 'learnt.tls');
  const first = await startTreeline({ dataDir: join(folder, 'four') });
  await sendMinutes(first, 0, 40);
  await samplesPerSeries(first);
  const held = await runTreeline(['state', 'export', file, '--data-dir', first.dataDir]);
  expect(held).toMatchObject({ code: 1, stdout: '' });
  expect(held.stderr).toContain(`is in use by process ${first.program.pid}`);
  await first.stop();

  const exported = await runTreeline(['state', 'export', file, '--data-dir', first.dataDir]);
  expect(exported).toMatchObject({ code: 0, stderr: '' });
  expect(exported.stdout).toMatch(
    /learnt\.tls: 200 series, 200 scored, 0 histograms of 4 of 4 partitions, \d+ bytes, learnt state [0-9a-f]{64}\n$/,
  );
  const verified = await runTreeline(['state', 'verify', file, '-o', 'json']);
  expect(verified).toMatchObject({ code: 0, stderr: '' });
  const said = JSON.parse(verified.stdout) as Record<string, unknown>;
  expect(said).toMatchObject({
    series: SERIES,
    scored: SERIES,
    partitions: 4,
    partitionBy: [['namespace', 'pod'], ['instance']],
    bytes: readFileSync(file).length,
  });
  expect(exported.stdout).toContain(said['learnt']);
  expect((await runTreeline(['state', 'verify', file])).stdout).toContain('sound, 200 series');

  const three = ['--data-dir', join(folder, 'three'), '--log-partitions', '3'];
  const imported = await runTreeline(['state', 'import', file, ...three, '-o', 'json']);
  expect(imported).toMatchObject({ code: 0, stderr: '' });
  const report = JSON.parse(imported.stdout) as { partitions: number[]; learnt: string };
  expect(report.partitions.length).toBe(3);
  expect(report.partitions.reduce((a, b) => a + b)).toBe(SERIES);
  expect(report.learnt).toBe(said['learnt']);
  const twice = await runTreeline(['state', 'import', file, ...three]);
  expect(twice).toMatchObject({ code: 1, stdout: '' });
  expect(twice.stderr).toContain('has learnt something already');

  const second = await startTreeline({
    dataDir: join(folder, 'three'),
    args: ['--log-partitions', '3'],
  });
  const before = await samplesPerSeries(second);
  expect(new Set(before)).toEqual(new Set([40]));
  await sendMinutes(second, 40, 50);
  await eventually('ten more minutes', 20_000, async () =>
    (await samplesPerSeries(second)).every((samples) => samples === 50) ? true : undefined,
  );
  await second.stop();
  const again = await runTreeline(['state', 'export', '-', ...three]);
  expect(again.stderr).toContain('-: 200 series, 200 scored');
  expect(again.stdout.startsWith('TLSTATE\n')).toBe(true);
});

test('standard output is the file, byte for byte', { timeout: 60_000 }, async () => {
  const folder = temporaryDirectory('state');
  const treeline = await startTreeline({ dataDir: join(folder, 'data') });
  await sendMinutes(treeline, 0, 5);
  await samplesPerSeries(treeline);
  await treeline.stop();
  const file = join(folder, 'learnt.tls');
  const args = ['--data-dir', treeline.dataDir];
  await runTreeline(['state', 'export', file, ...args]);
  const piped = execFileSync(process.execPath, [mainFile(), 'state', 'export', '-', ...args], {
    stdio: ['ignore', 'pipe', 'ignore'],
    maxBuffer: 64e6,
  });
  expect(piped.equals(readFileSync(file))).toBe(true);
});

test('what cannot be done is said in one sentence, and nothing is left behind', async () => {
  const folder = temporaryDirectory('state');
  const refused = async (args: string[], sentence: RegExp, code = 1) => {
    const result = await runTreeline(['state', ...args]);
    expect([args, result.code, result.stdout]).toEqual([args, code, '']);
    expect(result.stderr).toMatch(sentence);
    expect(result.stderr).not.toContain('    at ');
  };
  const nowhere = join(folder, 'nowhere');
  const file = join(folder, 'learnt.tls');
  await refused(['export', file, '--data-dir', nowhere], /is not a data directory of Treeline/);
  await refused(['verify', file], /Cannot read .*learnt\.tls: ENOENT/);
  await refused(['verify', folder], /Cannot read .*: EISDIR/);
  writeFileSync(file, 'timestamp,value\n1,2\n');
  await refused(['verify', file], /learnt\.tls: it is not a state file of Treeline/);
  await refused(['import', file, '--data-dir', join(folder, 'new')], /it is not a state file/);
  await refused(['import', '-', '--data-dir', join(folder, 'new')], /is read twice/);
  await refused(['export'], /missing required argument/, 2);
  const fresh = await startTreeline({ dataDir: join(folder, 'fresh') });
  await fresh.stop();
  const data = ['--data-dir', fresh.dataDir];
  const other = join(folder, 'none', 'learnt.tls');
  await refused(['export', other, ...data], /Cannot write .*ENOENT/);
  expect(readdirSync(folder).filter((name) => name.includes('partial'))).toEqual([]);
}, 60_000);
