// The settings of detectors: what a preset stands for, what is refused and how it is said, and which series are taken.

import { expect, test } from 'vitest';
import { loadSettings } from '../src/config.js';
import { createDetector } from '../src/scorer/detectors.js';
import { detectorsOf } from './pods.js';

const fault = (detectors: string, more = ''): string => {
  try {
    loadSettings({ file: { name: 't.yaml', text: `detectors: ${detectors}\n${more}` } });
    return 'none';
  } catch (error) {
    return (error as Error).message;
  }
};

test('a preset fills in what is not written', () => {
  const { specs } = detectorsOf(
    '[{preset: kubernetes-pods}, {preset: node, name: host, trees: 16}, {preset: http-service, by: [instance]}]',
  );
  expect(specs.map(({ name, by, trees, features }) => [name, by, trees, features.length])).toEqual([
    ['kubernetes-pods', ['namespace', 'pod'], 48, 3],
    ['host', ['instance'], 16, 6],
    ['http-service', ['instance'], 48, 3],
  ]);
  expect(specs.map(({ workload }) => workload)).toEqual([
    { label: 'pod', isPod: true },
    undefined,
    undefined,
  ]);
  const { specs: relabelled } = detectorsOf(
    '[{preset: kubernetes-pods, podLabel: k8s_pod, workload: app}]',
    '[[namespace, k8s_pod]]',
  );
  expect(relabelled[0]).toMatchObject({
    by: ['namespace', 'k8s_pod'],
    workload: { label: 'app', isPod: false },
  });
});

test('a detector whose series would lie in several partitions is refused', () => {
  const features = "features: [{name: f, match: ['up']}]";
  const text = fault(`[{name: d, by: [namespace], ${features}}]`);
  expect(text).toContain(
    'detectors[0]: by [namespace]: the series of an entity would lie in several',
  );
  expect(text).toContain('[namespace, pod], [instance]');
  expect(fault(`[{name: d, by: [namespace, service], ${features}}]`)).toContain(
    'several partitions',
  );
  const ok = (by: string, partitionBy: string) =>
    expect(
      fault(`[{name: d, by: ${by}, ${features}}]`, `ingest: {partitionBy: ${partitionBy}}\n`),
    ).toBe('none');
  ok('[namespace]', '[[namespace]]');
  ok('[namespace, pod, container]', '[[namespace, pod], [instance]]');
  ok('[instance]', '[[namespace, pod], [instance]]');
});

test('each fault is named with its place', () => {
  const features = "features: [{name: f, match: ['up']}]";
  const ok = (detectors: string, want: string, more?: string) =>
    expect(fault(detectors, more)).toContain(want);
  ok('[{preset: pods}]', 'kubernetes-pods, node, http-service');
  ok(`[{by: [instance], ${features}}]`, 'detectors[0]: name is missing, or a preset that has one');
  ok(`[{name: d, ${features}}]`, 'by is missing');
  ok('[{name: d, by: [instance]}]', 'features are missing');
  ok(`[{name: series, by: [instance], ${features}}]`, 'the name series is that of');
  ok(`[{name: d, by: [instance, detector], ${features}}]`, 'by: detector cannot name an entity');
  ok('[{preset: node}, {preset: node}]', 'detectors[1]: the name node is given twice');
  ok('[{preset: node, trees: 20}]', 'detectors[0].trees');
  ok('[{preset: node, contamination: 0.9}]', 'contamination');
  ok(
    "[{name: d, by: [instance], features: [{name: f, match: ['{x']}]}]",
    'Cannot read the selector',
  );
  ok(
    "[{name: d, by: [instance], features: [{name: f, match: ['a']}, {name: f, match: ['b']}]}]",
    'the feature f is given twice',
  );
  ok(
    `[{name: d, by: [instance], features: [${Array.from({ length: 17 }, (_, i) => `{name: f${i}, match: [a]}`).join()}]}]`,
    'detectors[0].features',
  );
  ok('[{preset: node}]', 'instance is removed on arrival', 'ingest: {stripLabels: [instance]}\n');
});

test('selectors decide about series, the detector about entities', () => {
  const { specs, partitionBy } = detectorsOf('[{preset: http-service, match: [\'{env="prod"}\']}]');
  const detector = createDetector(specs[0]!, partitionBy);
  const of = (labels: Record<string, string>) => {
    const found = detector.match(
      Object.entries({ namespace: 'n', pod: 'web-0', ...labels })
        .filter(([, value]) => value !== '')
        .map(([name, value]) => ({ name, value })),
    );
    return typeof found === 'object' ? found.features : found;
  };
  const requests = { __name__: 'http_requests_total', env: 'prod' };
  expect(of({ ...requests, code: '200' })).toEqual([0]);
  expect(of({ ...requests, code: '503' })).toEqual([0, 1]);
  expect(of({ ...requests, code: '200', env: 'dev' })).toBe(undefined);
  expect(of({ ...requests, code: '200', pod: '' })).toBe(undefined);
  const p99 = { __name__: 'http_request_duration_seconds', quantile: '0.99', env: 'prod' };
  expect(of(p99)).toEqual([2]);
  expect(of({ __name__: 'treeline_entity_distance', env: 'prod' })).toBe(undefined);
});
