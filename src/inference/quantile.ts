// A quantile at any level of a forecast that has some: linear between two levels, and beyond the outermost an exponential
// tail whose scale the two outermost quantiles of that side give. So a model that knows the 10 and 90 % quantiles may be
// asked for 1 and 99 %.

import type { Forecast } from './forecaster.js';

export function quantileOf({ levels, steps, quantiles }: Forecast, step: number, level: number) {
  const at = (index: number) => quantiles[index * steps + step] as number;
  const levelAt = (index: number) => levels[index] as number;
  const last = levels.length - 1;
  if (last === 0) return at(0);
  if (level < levelAt(0)) {
    const scale = (at(1) - at(0)) / Math.log(levelAt(1) / levelAt(0));
    return at(0) - scale * Math.log(levelAt(0) / level);
  }
  if (level > levelAt(last)) {
    const beyond = 1 - levelAt(last);
    const scale = (at(last) - at(last - 1)) / Math.log((1 - levelAt(last - 1)) / beyond);
    return at(last) + scale * Math.log(beyond / (1 - level));
  }
  const right = levels.findIndex((one) => one >= level);
  if (levelAt(right) === level) return at(right);
  const share = (level - levelAt(right - 1)) / (levelAt(right) - levelAt(right - 1));
  return at(right - 1) + share * (at(right) - at(right - 1));
}
