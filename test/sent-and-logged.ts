// What a test of a sender asks of the running program: that it has received so much, and what its log
// holds once it is at rest, with both identities checked on the way.

import { expect } from 'vitest';
import { type LoggedSeries, readLogged } from './logged-series.js';
import { eventually } from './programs.js';
import { identityFaults, partitionsAtRest, readingOf, type Treeline } from './treeline-process.js';

const RECEIVED_MS_MAX = 120_000;

/** Stops the program; what its log holds, by series. */
export async function stopAndRead(
  treeline: Treeline,
  partitions: number,
): Promise<Map<string, LoggedSeries>> {
  await partitionsAtRest(treeline);
  expect.soft(identityFaults(await treeline.metrics())).toEqual([]);
  await treeline.stop();
  return readLogged(treeline.dataDir, partitions);
}

export async function received(treeline: Treeline, samples: number): Promise<void> {
  await eventually(`${samples} samples to be received`, RECEIVED_MS_MAX, async () => {
    const count = readingOf(await treeline.metrics(), 'treeline_samples_received_total') ?? 0;
    return count >= samples ? true : undefined;
  });
}
