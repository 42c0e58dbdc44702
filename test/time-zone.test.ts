// The clock on the wall in the forest: the table of changes against dates that were in the papers, and
// a forest in a zone against its reference, which asks ICU for every sample.

import { expect, test } from 'vitest';
import { offsetMs } from '../src/calendar.js';
import { loadSettings } from '../src/config.js';
import { WasmForest } from '../src/scorer/wasm-forest.js';
import { zoneChanges } from '../src/time-zone.js';
import { BUILDS, bitsOf, loadModule, observeAll } from './forest-runs.js';
import { normalFrom, randomFrom } from './realistic-series.js';
import { ReferenceSeries } from './reference-forest.js';
import { recordOf } from './reference-record.js';
import { plantTrees } from './reference-trees.js';

const MINUTE_MS = 60_000;
const SEED = 1;

/** Changes of a zone within a year, as times in UTC and minutes ahead. */
function changesIn(year: number, timeZone: string): [at: string, ahead: number][] {
  const table = zoneChanges(timeZone) ?? Int32Array.of();
  return Array.from({ length: table.length / 2 }, (_, i): [string, number] => [
    new Date(table[2 * i]! * MINUTE_MS).toISOString().slice(0, 16),
    table[2 * i + 1]!,
  ]).filter(([at]) => at.startsWith(`${year}-`));
}

test('the table of a zone has its changes to the minute', () => {
  const ok = (found: unknown, want: unknown) => expect(found).toEqual(want);
  ok(changesIn(2026, 'Europe/Berlin'), [
    ['2026-03-29T01:00', 120],
    ['2026-10-25T01:00', 60],
  ]);
  ok(changesIn(2026, 'Australia/Lord_Howe'), [
    ['2026-04-04T15:00', 630],
    ['2026-10-03T15:30', 660],
  ]);
  // Samoa went to the other side of the date line: a day is missing.
  ok(
    changesIn(2011, 'Pacific/Apia').filter(([, ahead]) => ahead > 0),
    [['2011-12-30T10:00', 840]],
  );
  // Back for Ramadan, and on again after it.
  ok(
    changesIn(2023, 'Africa/Casablanca').map(([, ahead]) => ahead),
    [0, 60],
  );
  ok([...(zoneChanges('Asia/Kolkata') ?? [])].slice(1), [330]);
  ok(zoneChanges('UTC'), undefined);
});

test.each(BUILDS)(
  '%s: a forest in a zone agrees with its reference through both changes of a year',
  (build) => {
    for (const [timeZone, startMs] of [
      ['Europe/Berlin', Date.UTC(2026, 2, 14)],
      ['America/New_York', Date.UTC(2026, 9, 18)],
      ['Asia/Kolkata', Date.UTC(1985, 0, 1)],
    ] as const) {
      const normal = normalFrom(randomFrom(9));
      const samples = Array.from({ length: 9_000 }, (_, i) => ({
        slot: 0,
        timestamp: BigInt(startMs) + 300_000n * BigInt(i),
        bits: bitsOf(50 + 20 * Math.sin(i / 46) + normal()),
      }));
      const settings = { seriesMax: 1, seed: SEED, zone: zoneChanges(timeZone) };
      const forest = new WasmForest(loadModule(build), settings);
      forest.open(0, 'gauge');
      const rows = observeAll(forest, samples);
      const ahead = (timestamp: bigint) => offsetMs(timeZone, Number(timestamp)) / MINUTE_MS;
      const reference = new ReferenceSeries(plantTrees(SEED), 'gauge', ahead);
      const wrong = samples.findIndex(({ timestamp, bits }, i) => {
        const { score, expected } = reference.observe(timestamp, bits);
        return !Object.is(score, rows[i]!.score) || !Object.is(expected, rows[i]!.expected);
      });
      expect(wrong, timeZone).toBe(-1);
      expect(forest.records(1), timeZone).toEqual(recordOf(reference));

      const inUtc = new WasmForest(loadModule(build), { seriesMax: 1, seed: SEED });
      inUtc.open(0, 'gauge');
      observeAll(inUtc, samples);
      expect(inUtc.records(1), timeZone).not.toEqual(forest.records(1));
    }
  },
);

test('what is no time zone is refused by name', () => {
  expect(() => loadSettings({ flags: { timezone: 'Europe/Bärlin' } })).toThrow(
    'timezone: "Europe/Bärlin" is no time zone',
  );
});
