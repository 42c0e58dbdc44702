// Around the passes of `treeline score`: the progress bar, the list of anomalies, outputs that appear when they are
// complete, and the plot of a real run.

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, expect, test } from 'vitest';
import { AnomalyList } from '../src/cli/score-events.js';
import { openOutput } from '../src/cli/score-output.js';
import { plotFormat, writePlot } from '../src/cli/score-plot.js';
import { createProgress, lineOf } from '../src/cli/score-progress.js';
import { runHere } from '../src/cli/score-run.js';
import { LISTED_ANOMALIES_MAX } from '../src/limits.js';
import { CAUSES, PHASES, WasmForest } from '../src/scorer/wasm-forest.js';
import { loadWasm } from '../src/wasm-files.js';
import { removeDirectory, temporaryDirectory } from './programs.js';

const folder = temporaryDirectory('score-run');
const { module } = loadWasm('forest');
afterAll(() => removeDirectory(folder));

test('the progress bar is written over in place, ten times a second at most, on a terminal only', () => {
  const written: string[] = [];
  const terminal = (isTTY: boolean) => ({ isTTY, write: (text: string) => written.push(text) > 0 });
  let ms = 0;
  const draw = (isTTY: boolean) => {
    const progress = createProgress(terminal(isTTY), { bytesTotal: 4e6, now: () => ms });
    for (; ms < 950; ms += 50) progress.add(1e5);
    progress.end();
    ms = 0;
  };
  draw(false);
  expect(written).toEqual([]);
  draw(true);
  expect(written).toHaveLength(10);
  for (const line of written.slice(0, -1)) {
    expect(line).toMatch(/^\r\[#*-+\] \d+ %, /);
    expect(line.endsWith('\u001b[K')).toBe(true);
  }
  expect(written.at(-1)).toBe('\r\u001b[K');
  expect(lineOf(1e6, 4e6, 3000)).toBe('[########----------------------] 25 %, 1 MB read, 9 s left');
  expect(lineOf(0, 0, 0)).toContain('100 %');
});

test('of more anomalies than are listed, the highest are; all are counted', () => {
  const forest = new WasmForest(module, { seriesMax: 1, seed: 1 });
  const list = new AnomalyList();
  const total = LISTED_ANOMALIES_MAX + 500;
  for (let at = 0; at < total; at++) {
    const say = (phase: (typeof PHASES)[number], ms: number, score: number): void => {
      forest.eventIndexes[0] = 0;
      forest.eventPhases[0] = PHASES.indexOf(phase);
      forest.eventCauses[0] = CAUSES.indexOf('magnitude');
      forest.eventOnsets[0] = BigInt(1000 * at);
      forest.eventTimestamps[0] = BigInt(ms);
      forest.scores[0] = score;
      forest.values[0] = at;
      list.add(forest, 1);
    };
    say('onset', 1000 * at, 1.5);
    say('peak', 1000 * at + 100, 2 + (at % total));
    say('end', 1000 * at + 200, 1.2);
  }
  expect(list.count).toBe(total);
  const kept = list.list();
  expect(kept).toHaveLength(LISTED_ANOMALIES_MAX);
  expect(Math.min(...kept.map(({ peakScore }) => peakScore))).toBeGreaterThan(500);
  expect(kept.at(-1)).toEqual({
    onsetMs: 1000 * (total - 1),
    peakMs: 1000 * (total - 1) + 100,
    endMs: 1000 * (total - 1) + 200,
    peakValue: total - 1,
    peakScore: 1 + total,
    cause: 'magnitude',
  });
});

test('a file has its name when it is complete, and none before; gzipped where the name says so', async () => {
  for (const name of ['a.csv', 'deep/er/b.csv.gz']) {
    const path = join(folder, name);
    const output = openOutput(path);
    await output.write(Buffer.from('rows\n'));
    expect(existsSync(path)).toBe(false);
    await output.complete();
    const bytes = readFileSync(path);
    expect((name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString()).toBe('rows\n');
    const other = openOutput(path);
    await other.write(Buffer.from('half a r'));
    other.discard();
    expect(readFileSync(path).equals(bytes)).toBe(true);
  }
  expect(
    readdirSync(folder, { recursive: true }).filter((name) => /part/.test(String(name))),
  ).toEqual([]);
  writeFileSync(join(folder, 'file'), '');
  expect(() => openOutput(join(folder, 'file/c.csv'))).toThrow(
    /Cannot write .*c\.csv: (ENOTDIR|EEXIST)/,
  );
});

test('a plot shows what the run found', async () => {
  const file = join(folder, 'spike.csv');
  const rows = Array.from({ length: 3000 }, (_, at) => {
    const wave = 10 * (((at * 7) % 1440) / 720 - 1) ** 2;
    return `${1_767_225_600 + 60 * at},${at === 2000 ? 500 : (wave + (at % 13) / 10).toFixed(2)}`;
  });
  writeFileSync(file, `timestamp,value\n${rows.join('\n')}\n`);
  const settings = { column: 'timestamp', seed: 1, isPlotted: true, isQuiet: true };
  const standardOutput = openOutput(join(folder, 'unused.csv'));
  const context = { module, standardOutput, onBytes() {} };
  const results = await runHere([{ file, values: ['value'], outs: undefined }], settings, context);
  expect(results[0]?.anomalies.map(({ peakValue }) => peakValue)).toContain(500);
  for (const [name, format] of [
    ['plot.svg', 'svg'],
    ['plot.html', 'html'],
  ] as const) {
    expect(plotFormat(name)).toBe(format);
    await writePlot(join(folder, name), results);
    const text = readFileSync(join(folder, name), 'utf8');
    expect(text).toContain('spike.csv');
    // 1 Jan 2026 and 2000 minutes.
    expect(text).toContain('peak 500 at 2026-01-02 09:20:00');
  }
  expect(plotFormat('plot.png')).toBeUndefined();
});
