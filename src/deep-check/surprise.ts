// How surprising a value is under quantiles: the distribution is piecewise linear between them, with exponential tails
// whose scale comes from the two outermost quantiles on each side. A surprise is -ln of the two-sided tail: 0 at the median,
// 3 once in twenty, exponentially distributed where the forecast is right; it never underflows, however far out.

import type { Forecast } from '../inference/forecaster.js';

export interface Band {
  expected: number;
  lower: number;
  upper: number;
}

/** `floor`: the least scale of a tail that is believed, in units of the series; nothing is known more exactly. */
export function surpriseAt(
  forecast: Forecast,
  { step, value, floor }: { step: number; value: number; floor: number },
): number {
  const { levels } = forecast;
  const at = (index: number) => quantileAt(forecast, index, step);
  const last = levels.length - 1;
  const level = (index: number) => levels[index] as number;
  if (value < at(0)) {
    const scale = Math.max((at(1) - at(0)) / Math.log(level(1) / level(0)), floor);
    return -Math.log(2 * level(0)) + (at(0) - value) / scale;
  }
  if (value > at(last)) {
    const above = 1 - level(last);
    const scale = Math.max(
      (at(last) - at(last - 1)) / Math.log((1 - level(last - 1)) / above),
      floor,
    );
    return -Math.log(2 * above) + (value - at(last)) / scale;
  }
  const below = probabilityBelow(forecast, step, value);
  return -Math.log(Math.min(1, 2 * Math.min(below, 1 - below)));
}

/** Of a value between the outermost quantiles. Where several of them are that very value, the middle of them. */
function probabilityBelow(forecast: Forecast, step: number, value: number): number {
  const { levels } = forecast;
  let first = 0;
  while (quantileAt(forecast, first, step) < value) first++;
  const right = quantileAt(forecast, first, step);
  const level = levels[first] as number;
  if (right > value) {
    const left = quantileAt(forecast, first - 1, step);
    const before = levels[first - 1] as number;
    return before + ((level - before) * (value - left)) / (right - left);
  }
  let last = first;
  while (last + 1 < levels.length && quantileAt(forecast, last + 1, step) === value) last++;
  return (level + (levels[last] as number)) / 2;
}

/** In half-widths of the 90 % band on its side of the median: how far out, where surprise says how rare. */
export function exceedanceAt(
  forecast: Forecast,
  { step, value, floor }: { step: number; value: number; floor: number },
): number {
  const { expected, lower, upper } = bandAt(forecast, step);
  return value >= expected
    ? (value - expected) / Math.max(upper - expected, floor)
    : (expected - value) / Math.max(expected - lower, floor);
}

/** The median and the quantiles nearest to 5 % and 95 %. */
export function bandAt(forecast: Forecast, step: number): Band {
  const { levels } = forecast;
  const lower = Math.max(
    0,
    levels.findIndex((level) => level >= 0.05),
  );
  const upper = levels.findLastIndex((level) => level <= 0.95);
  return {
    expected: quantileAt(forecast, levels.indexOf(0.5), step),
    lower: quantileAt(forecast, lower, step),
    upper: quantileAt(forecast, upper, step),
  };
}

function quantileAt({ steps, quantiles }: Forecast, index: number, step: number): number {
  return quantiles[index * steps + step] as number;
}
