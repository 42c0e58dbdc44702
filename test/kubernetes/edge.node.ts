// The edge on a real node, from an image built of the Dockerfile: installed by Helm, written to and scraped through its
// Service, its pod deleted, and upgraded to another image. What was acknowledged stays, and what was learnt is the same.

import { chmodSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../programs.js';
import { type RealCluster, Release, startRealCluster } from './real-cluster.js';
import { appliedBy, flaggedIn, scoredBy } from './scored.js';

const SERIES = 20;
const WARM_SAMPLES = 130;
const DISTURBED_SAMPLES = 5;
const LATER_SAMPLES = 100;
const SEEN_MS_MAX = 120_000;

let real: RealCluster;
beforeAll(async () => {
  real = await startRealCluster();
});
afterAll(async () => {
  await real?.stop();
});

/** Folders stand for volumes here, and no driver gives them to the pod's group. */
async function openVolumes(): Promise<void> {
  const path = 'jsonpath={.items[*].spec.hostPath.path}';
  const folders = await eventually('a volume', SEEN_MS_MAX, async () => {
    const text = await real.cluster.kubectl('get', 'pv', '-o', path);
    return text.trim() === '' ? undefined : text.trim().split(' ');
  });
  for (const folder of folders) chmodSync(folder, 0o777);
}

test('the edge runs on a real node, flags, survives its pod and an upgrade', async () => {
  const release = new Release(real, 'edge', ['--set', 'mode=edge']);
  await release.install();
  await openVolumes();
  await release.ready();
  for (let index = 0; index < WARM_SAMPLES + DISTURBED_SAMPLES; index++) {
    const disturbed = index < WARM_SAMPLES ? -1 : 3;
    await release.write('edge', { index, series: SERIES, disturbed });
  }
  let acknowledged = (WARM_SAMPLES + DISTURBED_SAMPLES) * SERIES;
  const allApplied = async () =>
    (await appliedBy(release, 'edge')) === acknowledged ? true : undefined;
  await eventually('every sample to be applied', SEEN_MS_MAX, allApplied);
  const before = await scoredBy(release, 'edge');
  expect(flaggedIn(before)).toEqual([expect.stringContaining('instance="host-3"')]);

  const pod = 'treeline-edge-0';
  await release.kubectl('delete', 'pod', pod, '--wait=true');
  await eventually('another pod', SEEN_MS_MAX, () =>
    release.kubectl('get', 'pod', pod).catch(() => undefined),
  );
  await release.ready();
  const after = await eventually('the Service to answer again', SEEN_MS_MAX, () =>
    scoredBy(release, 'edge').catch(() => undefined),
  );
  expect(after).toEqual(before);

  const upgrade = release.upgrade('next');
  const first = WARM_SAMPLES + DISTURBED_SAMPLES;
  for (let index = first; index < first + LATER_SAMPLES; index++) {
    await release.write('edge', { index, series: SERIES });
    acknowledged += SERIES;
  }
  await upgrade;
  await release.ready();
  const image = ['get', 'pod', pod, '-o', 'jsonpath={.spec.containers[0].image}'];
  expect(await release.kubectl(...image)).toBe('localhost/treeline:next');
  await eventually('what was acknowledged to be applied', SEEN_MS_MAX, () =>
    allApplied().catch(() => undefined),
  );
  expect(await release.test()).toContain('Succeeded');
  const lines = (await release.kubectl('logs', pod)).trim().split('\n');
  const messages = lines
    .filter((line) => line.startsWith('{'))
    .map((line) => (JSON.parse(line) as { msg: string }).msg);
  expect(messages.length).toBeGreaterThan(0);
  await release.remove();
});
