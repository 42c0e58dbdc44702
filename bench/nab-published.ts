// Is our reading of NAB's rules theirs? Two answers. Where the folder also holds what NAB publishes
// (results/ and config/thresholds.json of its repository), every published detector is scored anew
// from its published anomaly scores: at its published threshold the three scores must be those of
// NAB's scoreboard, and our sweep must find at least as much. Without these files only the ends of
// the scale can be checked: nobody speaks, somebody speaks perfectly, somebody speaks at random.

import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { LabelledSeries } from './labelled-series.js';
import { type NabFile, nabScore, PROFILES, type ProfileName } from './nab-score.js';

export interface Check {
  readonly name: string;
  readonly line: string;
  readonly isSound: boolean;
}

const PROFILE_KEYS = {
  standard: 'standard',
  lowFalsePositive: 'reward_low_FP_rate',
  lowFalseNegative: 'reward_low_FN_rate',
} satisfies Record<ProfileName, string>;
const NAMES = Object.keys(PROFILES) as ProfileName[];
/** Points of 100: published scores have all their digits. */
const TOLERANCE = 1e-6;
/** NAB's README: the spread over seeds of a detector that draws its scores at random. */
const RANDOM_SPREAD: Record<ProfileName, [number, number]> = {
  standard: [7.95, 16.83],
  lowFalsePositive: [-1.56, 2.14],
  lowFalseNegative: [11.34, 23.68],
};
const RANDOM_SEEDS = 8;

export function checkScorer(
  folder: string,
  series: readonly LabelledSeries[],
  files: readonly NabFile[],
): Check[] {
  const published = join(folder, 'results', 'final_results.json');
  const ends = checkEnds(series, files);
  return existsSync(published) ? [...ends, ...checkPublished(folder, series, files)] : ends;
}

export function checkEnds(series: readonly LabelledSeries[], files: readonly NabFile[]): Check[] {
  const silent = series.map(({ values }) => new Float64Array(values.length));
  const perfect = series.map(({ values, segments }) => {
    const alarms = new Float64Array(values.length);
    for (const { from } of segments) alarms[from] = 1;
    return alarms;
  });
  const scoresOf = (alarms: readonly Float64Array[]): number[] =>
    NAMES.map((name) => nabScore(files, alarms, { profile: PROFILES[name], atLeast: 1 }).score);
  const expectAll = (name: string, scores: number[], wanted: number): Check => ({
    name,
    line: `${name}: ${shown(scores)}, published ${wanted}`,
    isSound: scores.every((score) => Math.abs(score - wanted) < TOLERANCE),
  });
  return [
    expectAll('no alarm at all', scoresOf(silent), 0),
    expectAll('one alarm on the first row of every window', scoresOf(perfect), 100),
    checkRandom(series, files),
  ];
}

function checkRandom(series: readonly LabelledSeries[], files: readonly NabFile[]): Check {
  const means = NAMES.map(() => 0);
  for (let seed = 1; seed <= RANDOM_SEEDS; seed++) {
    let state = seed;
    const random = (): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 32;
    };
    const alarms = series.map(({ values }) => values.map(random));
    NAMES.forEach((name, at) => {
      means[at]! += nabScore(files, alarms, { profile: PROFILES[name] }).score / RANDOM_SEEDS;
    });
  }
  const isSound = NAMES.every((name, at) => {
    const [low, high] = RANDOM_SPREAD[name];
    return means[at]! >= low && means[at]! <= high;
  });
  const spread = NAMES.map((name) => RANDOM_SPREAD[name].join(' to ')).join(' / ');
  const name = `random scores, mean of ${RANDOM_SEEDS} seeds`;
  return { name, line: `${name}: ${shown(means)}, published ${spread}`, isSound };
}

function checkPublished(
  folder: string,
  series: readonly LabelledSeries[],
  files: readonly NabFile[],
): Check[] {
  type Table<T> = Record<string, Record<string, T>>;
  const read = (path: string): unknown => JSON.parse(readFileSync(join(folder, path), 'utf8'));
  const board = read('results/final_results.json') as Table<number>;
  const thresholds = read('config/thresholds.json') as Table<{ threshold: number }>;
  return Object.keys(board)
    .filter((detector) => existsSync(join(folder, 'results', detector)))
    .map((detector) => {
      const alarms = series.map(({ name }) => publishedScores(folder, detector, name));
      const columns = NAMES.map((name) => {
        const key = PROFILE_KEYS[name];
        const atLeast = thresholds[detector]?.[key]?.threshold ?? Number.NaN;
        const profile = PROFILES[name];
        return {
          published: board[detector]?.[key] ?? Number.NaN,
          atTheirs: nabScore(files, alarms, { profile, atLeast }).score,
          swept: nabScore(files, alarms, { profile }).score,
        };
      });
      const line =
        `${detector}: ${shown(columns.map(({ atTheirs }) => atTheirs))} at its threshold, ` +
        `${shown(columns.map(({ swept }) => swept))} swept, ` +
        `published ${shown(columns.map(({ published }) => published))}`;
      const isSound = columns.every(
        ({ published, atTheirs, swept }) =>
          Math.abs(atTheirs - published) < TOLERANCE && swept > published - TOLERANCE,
      );
      return { name: detector, line, isSound };
    });
}

function publishedScores(folder: string, detector: string, name: string): Float64Array {
  const file = join(folder, 'results', detector, dirname(name), `${detector}_${basename(name)}`);
  const [header = '', ...lines] = readFileSync(file, 'utf8').trim().split(/\r?\n/);
  const column = header.split(',').indexOf('anomaly_score');
  return Float64Array.from(lines, (line) => Number(line.split(',')[column]));
}

function shown(scores: readonly number[]): string {
  return scores.map((score) => score.toFixed(2)).join(' / ');
}
