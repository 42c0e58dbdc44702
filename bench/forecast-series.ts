// A small set of made series for the gate: eight kinds that metrics are made of, from a seed, so that a model that got worse
// is noticed without any data from elsewhere. None of the code is shared with the generator that the model was trained on.

import { randomFrom } from '../test/realistic-series.js';
import type { ForecastSet } from './forecast-score.js';

const LENGTH = 1_440;
const DAY = 288;
const COUNT = 3;

type Kind = (i: number, draw: Draws) => number;

interface Draws {
  /** Uniform in [0, 1). */
  uniform(): number;
  normal(): number;
  /** A state of the series' own, 0 at its beginning. */
  state: Record<string, number>;
}

const wave = (i: number, period: number) => Math.sin((2 * Math.PI * i) / period);

const KINDS: Readonly<Record<string, Kind>> = {
  daily: (i, { normal }) => 100 + 30 * wave(i, DAY) + 8 * wave(i, DAY / 3) + 3 * normal(),
  hourly: (i, { normal }) => 50 + 10 * wave(i, 12) + 5 * wave(i, DAY) + 2 * normal(),
  walk: (_i, { normal, state }) => {
    state['at'] = 0.98 * (state['at'] ?? 0) + normal();
    return 20 + state['at'];
  },
  counts: (i, { uniform }) => {
    // Poisson by Knuth's product of uniforms.
    const limit = Math.exp(-(2 + 1.8 * wave(i, DAY)));
    let count = 0;
    for (let product = uniform(); product > limit; product *= uniform()) count++;
    return count;
  },
  latency: (i, { normal, uniform }) =>
    Math.exp(0.3 * normal() + 0.4 * wave(i, DAY)) * (uniform() < 0.01 ? 6 : 1),
  levels: (_i, { uniform, normal, state }) => {
    if (uniform() < 0.004) state['level'] = Math.round(8 * uniform());
    return 4 + (state['level'] ?? 0) + 0.1 * normal();
  },
  leak: (_i, { normal, state }) => {
    state['at'] = (state['at'] ?? 0) > 150 ? 0 : (state['at'] ?? 0) + 1;
    return 300 + 2 * (state['at'] ?? 0) + 4 * normal();
  },
  job: (i, { normal }) => 5 + (i % 24 < 4 ? 40 : 0) + normal(),
};

export function madeForecastSets(): ForecastSet[] {
  return Object.entries(KINDS).map(([name, kind], index) => ({
    name,
    series: Array.from({ length: COUNT }, (_, k) => made(kind, 100 * index + k + 1)),
    horizon: 48,
    season: DAY,
  }));
}

function made(kind: Kind, seed: number): Float64Array {
  const uniform = randomFrom(seed);
  const normal = () => {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    return radius * Math.cos(2 * Math.PI * uniform());
  };
  const draws = { uniform, normal, state: {} };
  return Float64Array.from({ length: LENGTH }, (_, i) => kind(i, draws));
}
