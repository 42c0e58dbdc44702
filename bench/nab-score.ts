// The score of the Numenta Anomaly Benchmark, written from its published rules (Lavin and Ahmad,
// "Evaluating Real-time Anomaly Detection Algorithms", ICMLA 2015). In each window the earliest
// alarm counts, the more the sooner it comes; an alarm outside costs, the more the longer after a
// window it comes; a window without an alarm costs most. 0 is the detector that never speaks, 100
// the one that speaks once, at the first row of every window. Rows of the probation (the first
// 15 %, at most 750 rows) are not judged.
//
//   weight   1 ┐  ________                         inside: position -1 .. 0, earliest alarm only
//              │ ╱window   ╲
//            0 ┼╱───────────╲───────────────       behind: position 0 .. 3, every alarm,
//              │             ╲                     times the profile's price of a false alarm
//           -1 ┘              ╲________________    before the first window: -1

import type { LabelledSeries } from './labelled-series.js';

export interface Profile {
  readonly falseAlarm: number;
  readonly missed: number;
}

/** As NAB's config/profiles.json has them; a find is worth 1 in each. */
export const PROFILES = {
  standard: { falseAlarm: 0.11, missed: 1 },
  lowFalsePositive: { falseAlarm: 0.22, missed: 1 },
  lowFalseNegative: { falseAlarm: 0.11, missed: 2 },
} satisfies Record<string, Profile>;

export type ProfileName = keyof typeof PROFILES;

export interface NabFile {
  readonly rowCount: number;
  readonly windowCount: number;
  readonly probation: number;
  /** Which window a row lies in, -1 for none. */
  readonly windows: Int32Array;
  /** What an alarm on this row is worth, before the profile's price. */
  readonly weights: Float64Array;
}

export interface NabScore {
  readonly score: number;
  /** Alarms of at least this were counted; infinite when none is best. */
  readonly threshold: number;
  readonly found: number;
  readonly falseAlarms: number;
}

const PROBATION_SHARE = 0.15;
const PROBATION_ROWS_MAX = 750;

export function prepareNab({ values, segments }: LabelledSeries): NabFile {
  const rowCount = values.length;
  const windows = new Int32Array(rowCount).fill(-1);
  const weights = new Float64Array(rowCount).fill(-1);
  segments.forEach(({ from, to }, window) => {
    const width = to - from;
    for (let row = from; row < to; row++) {
      windows[row] = window;
      weights[row] = fallOff(-(to - row) / width) / fallOff(-1);
    }
    const next = segments[window + 1]?.from ?? rowCount;
    for (let row = to; row < next; row++) weights[row] = fallOff((row - to + 1) / (width - 1));
  });
  const probation = Math.min(Math.floor(PROBATION_SHARE * rowCount), PROBATION_ROWS_MAX);
  return { rowCount, windowCount: segments.length, probation, windows, weights };
}

/**
 * `alarms`: one array per file, 0 where there is none. At the threshold `atLeast`, or, without it,
 * at the one threshold for all files that is best for this profile, as on NAB's own scoreboard.
 */
export function nabScore(
  files: readonly NabFile[],
  alarms: readonly ArrayLike<number>[],
  { profile, atLeast }: { profile: Profile; atLeast?: number },
): NabScore {
  const rows = rowsOf(files, alarms, atLeast ?? Number.MIN_VALUE);
  const windowTotal = files.reduce((sum, file) => sum + file.windowCount, 0);
  // Windows inside a probation can be neither found nor missed.
  const worth = new Map<number, number>();
  files.forEach((file, at) => {
    for (let row = file.probation; row < file.rowCount; row++) {
      if (file.windows[row]! >= 0) worth.set(windowKey(at, file.windows[row]!), -profile.missed);
    }
  });
  let sum = -profile.missed * worth.size;
  const counts = { found: 0, falseAlarms: 0 };
  let best = { sum, threshold: Number.POSITIVE_INFINITY, ...counts };
  for (let i = 0; i < rows.length; i++) {
    const { alarm, key, weight } = rows[i]!;
    if (key < 0) {
      sum += profile.falseAlarm * weight;
      counts.falseAlarms++;
    } else if (weight > worth.get(key)!) {
      if (worth.get(key) === -profile.missed) counts.found++;
      sum += weight - worth.get(key)!;
      worth.set(key, weight);
    }
    if (rows[i + 1]?.alarm === alarm) continue;
    if (atLeast === undefined && sum > best.sum) best = { sum, threshold: alarm, ...counts };
  }
  if (atLeast !== undefined) best = { sum, threshold: atLeast, ...counts };
  const score =
    (100 * (best.sum + profile.missed * windowTotal)) / (windowTotal * (1 + profile.missed));
  return { score, threshold: best.threshold, found: best.found, falseAlarms: best.falseAlarms };
}

/** Rows with an alarm, the highest first. */
function rowsOf(
  files: readonly NabFile[],
  alarms: readonly ArrayLike<number>[],
  atLeast: number,
): { alarm: number; key: number; weight: number }[] {
  const rows = files.flatMap((file, at) => {
    const ofFile = [];
    for (let row = file.probation; row < file.rowCount; row++) {
      const alarm = alarms[at]![row]!;
      if (!(alarm >= atLeast)) continue;
      const window = file.windows[row]!;
      const key = window < 0 ? -1 : windowKey(at, window);
      ofFile.push({ alarm, key, weight: file.weights[row]! });
    }
    return ofFile;
  });
  return rows.sort((a, b) => b.alarm - a.alarm);
}

/** A number for a window of a file; NAB has at most five in one. */
function windowKey(file: number, window: number): number {
  return file * 4096 + window;
}

/** NAB's scaled sigmoid: near 1 at -1, 0 at 0, near -1 from 1 on. */
function fallOff(position: number): number {
  return position > 3 ? -1 : 2 / (1 + Math.exp(5 * position)) - 1;
}
