// A reference series as the bytes of its record, by the drawing in assembly/forest/record.ts.

import type { ReferenceSeries } from './reference-forest.js';

const BYTES = 832;

export function recordOf(series: ReferenceSeries): Uint8Array {
  const bytes = new Uint8Array(BYTES);
  const view = new DataView(bytes.buffer);
  const { novelty, magnitude, season, clocks, drift, zeros, quiet, highest } = series;
  const hour = season.open;
  view.setBigInt64(0, series.lastTimestamp, true);
  view.setBigUint64(8, series.lastBits, true);
  view.setFloat64(16, series.origin, true);
  view.setBigInt64(24, series.onset, true);
  view.setBigInt64(32, series.lastAnomalous, true);
  view.setUint32(40, series.samples, true);
  const floats = [
    [44, series.interval, series.centre, series.spread],
    [56, series.volatilityFast, series.volatilitySlow, ...series.means, ...series.scales],
    [132, series.low, series.high, series.smooth],
    [144, novelty.max, novelty.usual, magnitude.max, magnitude.usual],
    [160, hour.sum, highest.rarity, series.score, series.peak],
    [176, series.expected, series.halfWidth, quiet.previous, quiet.step, quiet.longest],
    [408, season.middle, zeros.begins, zeros.stays],
    [420, drift.fast, drift.slow, drift.spread],
  ];
  for (const [at, ...run] of floats) {
    for (const [i, float] of run.entries()) view.setFloat32(at! + 4 * i, float, true);
  }
  view.setUint16(196, quiet.run, true);
  view.setUint16(198, hour.samples, true);
  for (const [bin, steps] of season.steps.entries()) view.setInt16(256 + 2 * bin, steps, true);
  bytes.set([...clocks.hours, ...clocks.phases, clocks.hourMax, clocks.phaseMax], 352);
  view.setUint16(432, 2048 * magnitude.low, true);
  view.setUint16(434, 2048 * drift.usual, true);
  view.setUint16(436, zeros.run, true);
  view.setUint16(438, zeros.left, true);
  view.setUint16(440, magnitude.fill, true);
  const sizes = [
    (zeros.octave << 5) | (clocks.phase + 1),
    clocks.hourUsual,
    clocks.phaseUsual,
    series.youth.max,
  ];
  bytes.set([season.exponent, drift.max, ...sizes], 442);
  const habits =
    series.held |
    (Number(magnitude.isLeftOut) << 2) |
    (Number(zeros.isReported) << 3) |
    (Number(drift.isReported) << 4) |
    (Number(drift.isKnown) << 5);
  const fills = [novelty.fill, habits, novelty.blocks, magnitude.blocks];
  const phase =
    series.kind | (series.cause << 2) | (series.calm << 4) | (Number(series.isOpen) << 7);
  const silence =
    quiet.moves |
    (Number(series.isStale) << 5) |
    (Number(series.isBack) << 6) |
    (Number(quiet.isReported) << 7);
  bytes.set([...fills, hour.bin + 1, highest.age, phase, silence], 200);
  for (const [tree, leaf] of series.leaves.entries()) {
    const lane = tree & 15;
    bytes[208 + 8 * (tree >> 4) + (lane & 7)]! |= lane < 8 ? leaf : leaf << 4;
    for (let k = 0; k < 16; k++) {
      const at = 448 + 128 * (tree >> 4) + 16 * (k >> 1) + lane;
      bytes[at]! |= series.counters[16 * tree + k]! << (4 * (k & 1));
    }
  }
  for (const [bin, visits] of season.visits.entries()) {
    bytes[232 + (bin >> 1)]! |= visits << (4 * (bin & 1));
  }
  return bytes;
}
