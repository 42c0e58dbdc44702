// The chart as a whole: both Helms take it, what is made of other sources is current, and each overlay renders what is
// committed under test/fixtures/chart. UPDATE=1 writes those anew; a person then reads the difference.

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { chartFiles } from '../src/cli/chart-files.js';
import { HELMS, type HelmMajor } from './chart-programs.js';
import { CHART, chartYaml, objectsIn, type Rendered, renderText, runHelm } from './chart-render.js';

const root = new URL('..', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), 'utf8');
const majors = Object.keys(HELMS).map(Number) as HelmMajor[];
const overlays = readdirSync(CHART).flatMap((name) => /^values-(.+)\.yaml$/.exec(name)?.[1] ?? []);

/** More than one file, as they are meant to be used. */
const COMBINATIONS = [
  ['production', 'large'],
  ['production', 'gpu'],
  ['production', 'inference'],
  ['production', 'overrides-example', 'region-example'],
  ['edge', 'small'],
];
const scenarios = [[], ...overlays.map((name) => [name]), ...COMBINATIONS];

test('what the chart holds of other sources is current', () => {
  for (const [path, text] of chartFiles(read)) {
    expect(read(path), `run node dist/src/cli/chart-files.js for ${path}`).toBe(text);
  }
});

test('chart, image and program have one version', () => {
  const { version } = JSON.parse(read('package.json')) as { version: string };
  expect(chartYaml()).toMatchObject({ version, appVersion: version });
});

test('both Helms lint the chart, with each overlay, as strictly as they can', async () => {
  for (const major of majors) {
    for (const names of scenarios) {
      const files = names.flatMap((name) => ['-f', `${CHART}values-${name}.yaml`]);
      const said = await runHelm(major, ['lint', '--strict', CHART, ...files]);
      expect(said).toContain('1 chart(s) linted, 0 chart(s) failed');
    }
  }
});

test('each overlay renders what is committed, by both Helms alike', async () => {
  for (const names of scenarios) {
    const [three, four] = await Promise.all(
      majors.map((major) => renderText({}, { major, overlays: names })),
    );
    const scenario = names.join('+') || 'none';
    const outline = outlined(objectsIn(four as string));
    expect(outlined(objectsIn(three as string)), scenario).toBe(outline);
    const golden = new URL(`test/fixtures/chart/${scenario}.yaml`, root);
    if (process.env['UPDATE'] === '1') {
      mkdirSync(new URL('.', golden), { recursive: true });
      writeFileSync(golden, outline);
    }
    expect(existsSync(golden), `no ${golden.pathname}; UPDATE=1 writes it`).toBe(true);
    expect(outline, scenario).toBe(readFileSync(golden, 'utf8'));
  }
});

test('no two objects of a rendering are the same, and all carry the release', async () => {
  for (const names of scenarios) {
    const objects = objectsIn(await renderText({}, { overlays: names }));
    const keys = objects.map(({ kind, metadata }) => `${kind}/${metadata.name}`);
    expect(new Set(keys).size, names.join('+')).toBe(keys.length);
    for (const { kind, metadata } of objects) {
      expect([kind, metadata.namespace]).toEqual([kind, 'obs']);
      expect(metadata.labels).toMatchObject({
        'app.kubernetes.io/instance': 'rel',
        'app.kubernetes.io/managed-by': 'Helm',
      });
    }
  }
});

/** Compact: without what every object has, and without the long texts that stand elsewhere in the repository. */
function outlined(objects: readonly Rendered[]): string {
  const short = objects
    .map((object) => {
      const { metadata, ...rest } = JSON.parse(JSON.stringify(object)) as Rendered;
      const { name, annotations } = metadata;
      const component = metadata.labels?.['app.kubernetes.io/component'];
      return prune({ name, component, annotations, ...rest }) as Rendered['metadata'];
    })
    .sort((a, b) => order(a).localeCompare(order(b), 'en'));
  return short
    .map((object) => stringify(object, { lineWidth: 0, flowCollectionPadding: false }))
    .join('---\n');
}

function order(object: { name: string }): string {
  return `${(object as unknown as Rendered).kind}/${object.name}`;
}

const LONG = /^(server\.properties|treeline-.*\.json|groups|securityContext|podAntiAffinity)$/;
const CONSTANT = /^(helm\.sh\/chart|app\.kubernetes\.io\/.*|checksum\/.*)$/;

function prune(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(prune);
  if (typeof node !== 'object' || node === null) return node;
  const kept = Object.entries(node).flatMap(([key, value]) => {
    if (CONSTANT.test(key)) return [];
    if (LONG.test(key)) return [[key, 'as everywhere']];
    const inner = prune(value);
    return isEmpty(inner) && !isEmpty(value) ? [] : [[key, inner]];
  });
  return Object.fromEntries(kept);
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}
