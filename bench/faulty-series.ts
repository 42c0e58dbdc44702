// Labelled series made from a seed, for the smoke sizes of the benches: backgrounds as monitoring
// sees them, one fault in each, and one series in three without any.

import { makeBackground, withFault, withLongFault } from '../test/realistic-series.js';
import type { LabelledSeries } from './labelled-series.js';

const START_MS = 1_700_006_400_000;
const STEP_SECONDS = 60;
const DAYS = 4;
const FAULT_ROWS = 60;

export function faultySeries(count: number): LabelledSeries[] {
  return Array.from({ length: count }, (_, at): LabelledSeries => {
    const kind = at % 2 === 0 ? 'daily' : 'nightly';
    const background = makeBackground(kind, {
      seed: at + 1,
      stepSeconds: STEP_SECONDS,
      days: DAYS,
    });
    const from = Math.floor((0.6 + 0.03 * at) * background.values.length);
    const timestampsMs = background.values.map(
      (_value, row) => START_MS + row * STEP_SECONDS * 1000,
    );
    const name = `${kind} ${at}`;
    if (at % 3 === 0) return { name, timestampsMs, values: background.values, segments: [] };
    if (at % 3 === 1) {
      const { values, at: start, length } = withLongFault(background, 'flat line', from);
      return { name, timestampsMs, values, segments: [{ from: start, to: start + length }] };
    }
    const values = withFault(background, 'level shift of 8', from);
    return { name, timestampsMs, values, segments: [{ from, to: from + FAULT_ROWS }] };
  });
}
