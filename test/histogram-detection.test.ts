// The point of it all: a distribution that changes while rate and mean stay is flagged, and a calm one is not.

import { expect, test } from 'vitest';
import type { PhaseChange } from '../src/scorer/phase-change.js';
import { BEGIN, dayOf, partitionOf, record, STEP } from './histogram-scrapes.js';

test('slower requests at the same rate and mean are flagged, and calm ones are not', () => {
  const partition = partitionOf();
  const onsets: { labels: string; at: number }[] = [];
  partition.listen({
    onPhase({ phase, entry, timestampMs }: PhaseChange) {
      if (phase !== 'onset') return;
      const labels = partition.labels(entry).map(({ name, value }) => `${name}=${value}`);
      onsets.push({ labels: labels.join(), at: (timestampMs - BEGIN) / STEP });
    },
    onOpened() {},
    onRemoved() {},
  });
  const faultAt = 4000;
  for (const samples of dayOf({ seed: 5, faultAt, steps: faultAt + 40 })) {
    partition.apply(record(samples));
  }
  // 12 calm series for 16 hours and a tenfold night: at 0.05 flags per series-day, 0.4 are to be expected.
  const calm = onsets.filter(
    ({ at, labels }) => at < faultAt || /instance=(native-)?b/.test(labels),
  );
  expect(calm.length).toBeLessThanOrEqual(1);
  for (const target of ['a', 'native-a']) {
    const found = onsets.filter(
      ({ at, labels }) => at >= faultAt && labels.includes(`instance=${target},`),
    );
    expect(found.some(({ labels }) => labels.includes('quantile=0.99'))).toBe(true);
    expect(found.some(({ labels }) => labels.includes('shape='))).toBe(true);
    expect(Math.min(...found.map(({ at }) => at))).toBeLessThan(faultAt + 5);
  }
}, 60_000);
