// A cluster on a real node: the chart's development Kafka and Redis from images of the real programs, two scorers and two
// apis from an image built of the Dockerfile. Written to and scraped through its Services; a scorer's pod is deleted,
// and everything is upgraded to another image while a sender goes on. What was acknowledged is applied, once.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CHART } from '../chart-render.js';
import { eventually, temporaryDirectory } from '../programs.js';
import { DEVELOPMENT_IMAGES } from './node-images.js';
import { type RealCluster, Release, startRealCluster } from './real-cluster.js';
import { appliedBy, flaggedIn, scoredBy } from './scored.js';

const SERIES = 40;
const WARM_SAMPLES = 130;
const DISTURBED_SAMPLES = 5;
const LATER_SAMPLES = 60;
const SEEN_MS_MAX = 240_000;

const resources = (memory: string) => ({ requests: { cpu: '10m', memory }, limits: { memory } });
const VALUES = {
  partitions: 4,
  scorer: { replicas: 2, resources: resources('512Mi') },
  receiver: { resources: resources('384Mi') },
  api: { replicas: 2, resources: resources('384Mi') },
  config: { logging: { level: 'info', format: 'json' }, checkpoint: { interval: '5s' } },
  kafka: {
    development: {
      image: DEVELOPMENT_IMAGES['kafka'],
      heap: '300m',
      resources: resources('900Mi'),
    },
  },
  redis: { development: { enabled: true, image: DEVELOPMENT_IMAGES['redis'] } },
};

let real: RealCluster;
beforeAll(async () => {
  real = await startRealCluster();
});
afterAll(async () => {
  await real?.stop();
});

test('a cluster runs on a real node, flags, survives a scorer and an upgrade', async () => {
  const file = join(temporaryDirectory('pods'), 'values.json');
  writeFileSync(file, JSON.stringify(VALUES));
  const release = new Release(real, 'pods', ['-f', `${CHART}values-dev.yaml`, '-f', file]);
  await release.install();
  await release.ready();
  for (let index = 0; index < WARM_SAMPLES + DISTURBED_SAMPLES; index++) {
    const disturbed = index < WARM_SAMPLES ? -1 : 3;
    await release.write('receiver', { index, series: SERIES, disturbed });
  }
  const written = (WARM_SAMPLES + DISTURBED_SAMPLES) * SERIES;
  const settled = (count: number) =>
    eventually(`${count} samples to be applied`, SEEN_MS_MAX, async () => {
      const applied = await appliedBy(release, 'scorer').catch(() => undefined);
      return applied === count ? true : undefined;
    });
  await settled(written);
  const before = await scoredBy(release, 'scorer');
  expect(before.hashes).toHaveLength(4);
  expect(flaggedIn(before)).toEqual([expect.stringContaining('instance="host-3"')]);

  await release.kubectl('delete', 'pod', 'treeline-scorer-0', '--wait=true');
  await eventually('another pod', SEEN_MS_MAX, () =>
    release.kubectl('get', 'pod', 'treeline-scorer-0').catch(() => undefined),
  );
  await release.ready('scorer');
  await settled(written);
  const after = await eventually('both scorers to have a share again', SEEN_MS_MAX, async () => {
    const scored = await scoredBy(release, 'scorer').catch(() => undefined);
    return scored?.hashes.length === 4 ? scored : undefined;
  });
  expect(after).toEqual(before);

  const upgrade = release.upgrade('next');
  const first = WARM_SAMPLES + DISTURBED_SAMPLES;
  for (let index = first; index < first + LATER_SAMPLES; index++) {
    await release.write('receiver', { index, series: SERIES });
  }
  await upgrade;
  await release.ready();
  const path = 'jsonpath={.items[*].spec.containers[?(@.name=="scorer")].image}';
  expect(await release.kubectl('get', 'pods', '-o', path)).toBe(
    'localhost/treeline:next localhost/treeline:next',
  );
  await settled((first + LATER_SAMPLES) * SERIES);
  expect(await release.test()).toContain('Succeeded');
  const anomalies = (await release.get('api', '/anomaly/v1/anomalies')).map(
    (text) => (JSON.parse(text) as { anomalies: { labels: object }[] }).anomalies,
  );
  expect(anomalies[0]).toEqual([
    expect.objectContaining({ labels: expect.objectContaining({ instance: 'host-3' }) }),
  ]);
  for (const component of ['receiver', 'scorer', 'api']) {
    const label = `app.kubernetes.io/component=${component}`;
    const lines = (await release.kubectl('logs', '-l', label, '--tail=-1')).trim().split('\n');
    for (const line of lines.filter((text) => text.startsWith('{'))) {
      expect(JSON.parse(line)).toMatchObject({ msg: expect.any(String) });
    }
    expect([component, lines.some((line) => line.startsWith('{'))]).toEqual([component, true]);
  }
  await release.remove();
});
