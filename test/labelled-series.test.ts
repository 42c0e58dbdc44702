// The readers of labelled series on small folders of every layout they take, and the promise that
// no detector of the accuracy bench sees ahead: the verdicts on a prefix are the prefix of the
// verdicts.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, expect, test } from 'vitest';
import { BASELINES, recordsOf, withoutMissing } from '../bench/baselines.js';
import { samplesOf } from '../bench/exporter-watch.js';
import { faultySeries } from '../bench/faulty-series.js';
import { forestDetector } from '../bench/forest-detector.js';
import {
  findCorpora,
  halfNamed,
  halfOf,
  type LabelledSeries,
  presentRows,
  readCorpora,
  readLabelledFolder,
  readNab,
} from '../bench/labelled-series.js';
import { loadModule } from './forest-runs.js';
import { endPrograms, temporaryDirectory } from './programs.js';

afterAll(endPrograms);

function folderWith(files: Record<string, string | Uint8Array>): string {
  const folder = temporaryDirectory('labelled');
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(join(folder, path, '..'), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
  return folder;
}

const NAB = {
  'nab/labels/combined_windows.json': JSON.stringify({
    'real/b.csv': [['2014-04-10 00:05:00.000000', '2014-04-10 00:10:00.000000']],
    'real/a.csv': [],
  }),
  'nab/data/real/a.csv': 'timestamp,value\n2014-04-10 00:00:00,1.5\n',
  'nab/data/real/b.csv':
    'timestamp,value\r\n2014-04-10 00:00:00,1\r\n2014-04-10 00:05:00,2\r\n' +
    '2014-04-10 00:10:00,3\r\n2014-04-10 00:15:00,4\r\n',
};

test("NAB's layout: files by name, windows with both ends, times in UTC", () => {
  const [a, b, ...none] = readNab(join(folderWith(NAB), 'nab'));
  expect(none).toEqual([]);
  expect(a).toMatchObject({ name: 'real/a.csv', segments: [] });
  expect(b?.segments).toEqual([{ from: 1, to: 3 }]);
  expect([...b!.values]).toEqual([1, 2, 3, 4]);
  expect(b?.timestampsMs[0]).toBe(Date.UTC(2014, 3, 10));
});

test('a window that ends where the file has no row is an error, not a guess', () => {
  const labels = { 'real/a.csv': [['2014-04-10 00:00:00', '2014-04-10 07:00:00']] };
  const folder = folderWith({ ...NAB, 'nab/labels/combined_windows.json': JSON.stringify(labels) });
  expect(() => readNab(join(folder, 'nab'))).toThrow(/real\/a.csv has no row of 2014-04-10 07/);
});

test('labelled CSV: gzipped or not, seconds or milliseconds, numbers in their order', () => {
  const rows = 'timestamp,value,label\n60,1,0\n120,,1\n180,3,1\n240,4,1\n300,5,0\n';
  const folder = folderWith({
    '10.csv': 'label,timestamp,value\n0,1700000000000,7\n1,1700000060000,8\n',
    '9.csv.gz': gzipSync(rows),
  });
  const [nine, ten] = readLabelledFolder(folder);
  expect(nine?.name).toBe('9.csv.gz');
  // The empty value is a missing sample: its row and label stay, and nothing became 0.
  expect([...nine!.values]).toEqual([1, Number.NaN, 3, 4, 5]);
  expect([...nine!.timestampsMs]).toEqual([60_000, 120_000, 180_000, 240_000, 300_000]);
  expect(nine?.segments).toEqual([{ from: 1, to: 4 }]);
  expect([...ten!.timestampsMs]).toEqual([1_700_000_000_000, 1_700_000_060_000]);
  expect(ten?.segments).toEqual([{ from: 1, to: 2 }]);
});

test('what a folder of data sets holds is found, and what is neither is left alone', () => {
  const folder = folderWith({
    ...NAB,
    'kpis/1.csv': 'timestamp,value,label\n1,1,0\n',
    'unlabelled/1.csv': 'timestamp,value\n1,1\n',
    'notes/README.md': 'no series\n',
  });
  const nabFolder = join(folder, 'nab');
  expect(findCorpora(folder)).toEqual({ nabFolder, csvFolders: [join(folder, 'kpis')] });
  expect(findCorpora(nabFolder)).toEqual({ nabFolder, csvFolders: [] });
  expect(findCorpora(join(folder, 'kpis')).csvFolders).toEqual([join(folder, 'kpis')]);
});

test('corpora come by their names, NAB first, and halves share no series', () => {
  const folder = folderWith({ ...NAB, 'kpis/1.csv': 'timestamp,value,label\n1,1,0\n' });
  const corpora = [...readCorpora(folder)].map(({ name, isNab, series }) => ({
    ...{ name, isNab },
    count: series.length,
  }));
  expect(corpora).toEqual([
    { name: 'nab', isNab: true, count: 2 },
    { name: 'kpis', isNab: false, count: 1 },
  ]);
  expect(() => [...readCorpora(undefined)]).toThrow('--data DIR');
  expect(() => [...readCorpora(join(folder, 'nab', 'data'))]).toThrow('no labelled series');
  const series = faultySeries(5);
  const names = (half: string | undefined) =>
    halfOf(series, halfNamed(half)).map((one) => one.name);
  expect(names(undefined)).toEqual(series.map((one) => one.name));
  expect([...names('first'), ...names('second')].sort()).toEqual(names(undefined).sort());
  expect([names('first').length, names('second').length]).toEqual([3, 2]);
  expect(() => halfNamed('third')).toThrow('--half is third');
});

test('of the rows that have a value, segments keep theirs', () => {
  const { NaN: none } = Number;
  const { timestampsMs, values, segments } = presentRows({
    name: 'a',
    timestampsMs: Float64Array.of(0, 1, 2, 3, 4, 5, 6, 7),
    values: Float64Array.of(10, none, 12, 13, none, none, 16, 17),
    segments: [
      { from: 1, to: 3 },
      { from: 4, to: 6 },
      { from: 7, to: 8 },
    ],
  });
  expect([...timestampsMs]).toEqual([0, 2, 3, 6, 7]);
  expect([...values]).toEqual([10, 12, 13, 16, 17]);
  expect(segments).toEqual([
    { from: 1, to: 2 },
    { from: 4, to: 5 },
  ]);
});

test('a missing sample is shown to no detector, and its row has no score', async () => {
  const [whole] = faultySeries(1) as [LabelledSeries];
  const holes = [700, 701, 3000];
  const values = whole.values.filter((_, row) => !holes.includes(row));
  const timestampsMs = whole.timestampsMs.filter((_, row) => !holes.includes(row));
  const holed = whole.values.map((value, row) => (holes.includes(row) ? Number.NaN : value));
  const forest = forestDetector(loadModule('forest.wasm'), 1);
  const [shorter] = await forest.detect([{ ...whole, values, timestampsMs }]);
  const [judged] = await withoutMissing(forest).detect([{ ...whole, values: holed }]);
  expect(judged!.scores.filter((_, row) => !holes.includes(row))).toEqual(shorter!.scores);
  for (const row of holes) expect([judged!.scores[row], judged!.alarms[row]]).toEqual([0, 0]);
});

test('no detector sees ahead', async () => {
  const series = faultySeries(2);
  const rows = 2_500;
  const prefixes = series.map((one) => ({
    ...one,
    timestampsMs: one.timestampsMs.slice(0, rows),
    values: one.values.slice(0, rows),
  }));
  const forest = forestDetector(loadModule('forest.wasm'), 1);
  for (const detector of [forest, ...BASELINES]) {
    const whole = await detector.detect(series);
    const part = await detector.detect(prefixes);
    part.forEach(({ scores, alarms, own }, at) => {
      expect(scores, detector.name).toEqual(whole[at]!.scores.slice(0, rows));
      expect(alarms, detector.name).toEqual(whole[at]!.alarms.slice(0, rows));
      expect(own?.alarms, detector.name).toEqual(whole[at]!.own?.alarms.slice(0, rows));
    });
  }
});

test('records: a score counts when it is the highest of the 120 rows before it', () => {
  const scores = new Float64Array(300);
  for (const [row, score] of [
    [10, 2],
    [12, 1],
    [20, 3],
    [100, 2.5],
    [141, 1],
  ] as const) {
    scores[row] = score;
  }
  const alarms = recordsOf(scores);
  const heard = [...alarms.keys()].filter((row) => alarms[row]! > 0);
  expect(heard).toEqual([10, 20, 141]);
});

test('of an exporter, gauges and counters are taken, by their announced type', () => {
  const text = [
    '# TYPE node_load1 gauge',
    'node_load1 0.5',
    '# TYPE node_cpu_seconds_total counter',
    'node_cpu_seconds_total{cpu="0",mode="idle"} 1.5e+06',
    '# TYPE node_uname_info gauge',
    'node_uname_info{release="6"} 1',
    '# TYPE request_seconds histogram',
    'request_seconds_bucket{le="+Inf"} 3',
    'unannounced 4',
  ].join('\n');
  expect([...samplesOf(text)]).toEqual([
    { name: 'node_load1', type: 'gauge', value: 0.5 },
    { name: 'node_cpu_seconds_total{cpu="0",mode="idle"}', type: 'counter', value: 1.5e6 },
  ]);
});
