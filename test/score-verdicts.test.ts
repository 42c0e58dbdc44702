// `treeline score --deep-check on`: what begins an anomaly gets the verdict that the service would have given it, and of what
// is suppressed flags and alarms are gone, and nothing else.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Checker } from '../src/deep-check/checker.js';
import { Phase } from '../src/gen/candidate_pb.js';
import { SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import { Judgement } from '../src/gen/verdict_pb.js';
import { nano } from './deep-check-site.js';
import { removeDirectory, temporaryDirectory } from './programs.js';
import { randomOf } from './random.js';
import { BEGIN, candidatesIn, fingerprintOf, MINUTE, openSuspects } from './suspect-site.js';
import { runTreeline } from './treeline-process.js';

const ROWS = 2_400;
/** From here on something happens that the forest has not seen. */
const NEWS = 1_500;
const COLUMNS = Array.from({ length: 10 }, (_, i) => `c${i}`);
const folder = temporaryDirectory('score-verdicts');
const input = join(folder, 'values.csv');
let values: number[][];

interface Anomaly {
  onset: string;
  end: string | null;
  peakScore: number;
  verdict?: string;
  verdictReason?: string;
}

interface Summary {
  series: { column: string; suppressed?: number; flagged: number; anomalies: Anomaly[] }[];
}

/** Calm, and then: a level that stays, a pair of high values every hour, or a wave. */
function valuesOf(column: number): number[] {
  const random = randomOf(31 + column);
  const calm = () => 100 + 2 * (random() + random() + random() - 1.5);
  return Array.from({ length: ROWS }, (_, i) => {
    if (i < NEWS) return calm();
    if (column === 0) return calm() + 80;
    if (column % 2 === 1) return calm() + (i % 60 < 2 ? 40 : 0);
    return calm() + 30 * Math.sin((2 * Math.PI * i) / 64);
  });
}

beforeAll(() => {
  values = COLUMNS.map((_, column) => valuesOf(column));
  const rows = Array.from(
    { length: ROWS },
    (_, i) => `${BEGIN + i * MINUTE},${values.map((one) => one[i]).join(',')}`,
  );
  writeFileSync(input, `${['timestamp', ...COLUMNS].join()}\n${rows.join('\n')}\n`);
});

afterAll(() => removeDirectory(folder));

async function scored(name: string, ...args: string[]) {
  const out = join(folder, name);
  const all = [
    'score',
    input,
    '--value',
    COLUMNS.join(),
    '--out',
    `${out}/`,
    '-o',
    'json',
    ...args,
  ];
  const { code, stdout, stderr } = await runTreeline(all);
  expect(code, stderr).toBe(0);
  const rows = COLUMNS.map((column) =>
    readFileSync(join(out, `values.${column}.csv`), 'utf8')
      .trimEnd()
      .split('\n'),
  );
  return { summary: JSON.parse(stdout) as Summary, rows, stderr };
}

let on: ReturnType<typeof scored> | undefined;

/** The same for several tests. */
function judged() {
  on ??= scored('on', '--deep-check', 'on');
  return on;
}

test('a suppressed anomaly is neither flagged nor alarmed, a confirmed one as before', {
  timeout: 120_000,
}, async () => {
  const off = await scored('off');
  const on = await judged();
  expect(off.summary.series.every(({ suppressed }) => suppressed === undefined)).toBe(true);
  let suppressed = 0;
  for (const [at, { anomalies, ...series }] of on.summary.series.entries()) {
    const before = off.summary.series[at]?.anomalies ?? [];
    expect(anomalies.map(({ onset }) => onset)).toEqual(before.map(({ onset }) => onset));
    const down = anomalies.filter(({ verdict }) => verdict === 'suppressed');
    expect(series.suppressed).toBe(down.length);
    suppressed += down.length;
    const isWithin = (ms: number) =>
      down.some(
        ({ onset, end }) => ms >= Date.parse(onset) && (end === null || ms <= Date.parse(end)),
      );
    let isDown = false;
    for (const [row, text] of (off.rows[at] ?? []).entries()) {
      const cells = text.split(',');
      // A flag stays up for some calm samples after the last anomalous one.
      isDown = row > 0 && (isWithin(Number(cells[0])) || (isDown && cells[3] === '1'));
      if (isDown) for (const column of [3, 4]) cells[column] = '0';
      expect(on.rows[at]?.[row]?.split(',')).toEqual(cells);
    }
  }
  expect(suppressed).toBeGreaterThanOrEqual(1);
  expect(on.stderr).toContain('the deep check suppressed');
  const [shift] = on.summary.series;
  const known = shift?.anomalies.find(({ onset }) => Date.parse(onset) >= BEGIN + NEWS * MINUTE);
  expect(known).toMatchObject({ verdict: 'confirmed', verdictReason: '' });
  expect(on.rows[0]?.[NEWS + 2]?.split(',')[3]).toBe('1');
});

test('on two threads it is the same', { timeout: 120_000 }, async () => {
  const one = await judged();
  const two = await scored('two', '--deep-check', 'on', '--jobs', '2');
  expect(two.rows).toEqual(one.rows);
  expect(two.summary.series.map(({ anomalies }) => anomalies)).toEqual(
    one.summary.series.map(({ anomalies }) => anomalies),
  );
});

test('the service says the same of the same values', { timeout: 120_000 }, async () => {
  const { summary } = await judged();
  const site = openSuspects({});
  const bits = new DataView(new ArrayBuffer(8));
  for (let i = 0; i < ROWS; i++) {
    const valueBits = values.map((one) => {
      bits.setFloat64(0, one[i] as number);
      return bits.getBigUint64(0);
    });
    const series = COLUMNS.map((name) => ({
      fingerprint: fingerprintOf(name),
      label: [{ name: '__name__', value: name }],
    }));
    const block = create(SampleBlockSchema, {
      fingerprint: COLUMNS.map(fingerprintOf),
      timestampMs: COLUMNS.map(() => BigInt(BEGIN + i * MINUTE)),
      valueBits,
      series: i === 0 ? series : [],
    });
    await site.log.append('samples', 0, toBinary(SampleBlockSchema, block), 0);
  }
  await site.scorer.start();
  await site.untilRead();
  await site.scorer.stop();
  const forecaster = await nano();
  const settings = { batch: 32, windowsPerSecond: 1e6, waitMsMax: 60_000 };
  const parts = { forecaster, clock: Date.now, settings, onVerdict() {}, onShed() {} };
  const checker = new Checker(parts);
  const live = new Map<string, string>();
  for (const candidate of candidatesIn(site.log)) {
    if (candidate.phase !== Phase.ONSET) continue;
    const { outcome } = await checker.check(candidate);
    const name = candidate.label.find((label) => label.name === '__name__')?.value;
    const onset = new Date(Number(candidate.onsetMs)).toISOString();
    live.set(`${name} ${onset}`, (Judgement[outcome] ?? '').toLowerCase());
  }
  await forecaster.close();
  const offline = summary.series.flatMap(({ column, anomalies }) =>
    anomalies.map(({ onset, verdict }) => [`${column} ${onset}`, verdict] as const),
  );
  expect(offline.length).toBeGreaterThan(COLUMNS.length);
  expect(Object.fromEntries(offline)).toEqual(Object.fromEntries(live));
});

test('anything but on and off is refused', async () => {
  const { code, stderr } = await runTreeline(['score', input, '--deep-check', 'maybe']);
  expect([code, stderr]).toEqual([2, expect.stringContaining('expected on or off')]);
});
