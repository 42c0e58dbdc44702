// Kustomize's base and overlays: the committed files are those that the chart makes, what a real kubectl builds of them is
// what Helm renders, an API server would take it, and the things that people change in a kustomization of their own do
// what they should.

import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { differences, type KubernetesObject } from '../src/chart/kustomize.js';
import { kustomizeFiles, kustomizeObjects, renderedBy } from '../src/cli/kustomize-files.js';
import { conform } from './chart-conform.js';
import { CUSTOM_KINDS, customFaults } from './chart-custom-resources.js';
import { helmPrograms, KUBERNETES_MINORS } from './chart-programs.js';
import { objectsIn, one, type Rendered } from './chart-render.js';
import { removeDirectory, temporaryDirectory } from './programs.js';
import { projectRoot } from './project-root.js';

const execute = promisify(execFile);
const FOLDER = join(projectRoot(), 'deploy/kustomize');
const OVERLAYS = ['dev', 'staging', 'production'];
const PLACES = ['base', ...OVERLAYS.map((name) => `overlays/${name}`)];
const BUILD_MS_MAX = 60_000;

const rendered = async () => renderedBy((await helmPrograms(4)).helm);

async function build(folder: string): Promise<string> {
  const { kubectl } = await helmPrograms(4);
  const { stdout } = await execute(kubectl, ['kustomize', folder], { timeout: BUILD_MS_MAX });
  return stdout;
}

/** Kustomize ends names of ConfigMaps in a hash, where they are used, too. */
function withoutHashes(objects: readonly Rendered[]): KubernetesObject[] {
  const names = objects.flatMap(({ kind, metadata }) =>
    kind === 'ConfigMap' ? [metadata.name] : [],
  );
  let text = JSON.stringify(objects);
  for (const name of names) {
    expect(name).toMatch(/^treeline-[a-z-]+-[a-z0-9]{10}$/);
    text = text.replaceAll(`"${name}"`, `"${name.slice(0, -11)}"`);
  }
  return JSON.parse(text) as KubernetesObject[];
}

const byKey = (objects: readonly KubernetesObject[]) =>
  new Map(objects.map((object) => [`${object.kind}/${object.metadata.name}`, object]));

test('differences are operations of a JSON patch', () => {
  const ok = (before: unknown, after: unknown, want: unknown[]) =>
    expect(differences(before, after)).toEqual(want);
  ok({ a: 1 }, { a: 1 }, []);
  ok({ a: 1, b: 2 }, { b: 3, c: [] }, [
    { op: 'remove', path: '/a' },
    { op: 'replace', path: '/b', value: 3 },
    { op: 'add', path: '/c', value: [] },
  ]);
  ok({ list: [{ x: 1 }, 2] }, { list: [{ x: 2 }, 2] }, [
    { op: 'replace', path: '/list/0/x', value: 2 },
  ]);
  ok({ list: [1] }, { list: [1, 2] }, [{ op: 'replace', path: '/list', value: [1, 2] }]);
  ok({ 'a/b~c': 1 }, {}, [{ op: 'remove', path: '/a~1b~0c' }]);
  ok({ a: {} }, { a: null }, [{ op: 'replace', path: '/a', value: null }]);
});

test('the committed files are what the chart makes of them, by both Helms', {
  timeout: 120_000,
}, async () => {
  const files = await kustomizeFiles(await rendered());
  for (const [path, text] of files) {
    const file = join(projectRoot(), path);
    expect([path, existsSync(file)]).toEqual([path, true]);
    expect(readFileSync(file, 'utf8'), `run node dist/src/cli/kustomize-files.js`).toBe(text);
  }
  const there = PLACES.flatMap((place) =>
    readdirSync(join(FOLDER, place), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(projectRoot(), join(entry.parentPath, entry.name))),
  );
  expect(there.sort()).toEqual([...files.keys()].sort());
  const three = await kustomizeFiles(renderedBy((await helmPrograms(3)).helm));
  expect([...three]).toEqual([...files]);
});

test('what kubectl builds is what Helm renders', { timeout: 120_000 }, async () => {
  const render = await rendered();
  for (const place of PLACES) {
    const overlay = place === 'base' ? undefined : place.split('/')[1];
    const built = byKey(withoutHashes(objectsIn(await build(join(FOLDER, place)))));
    const wanted = byKey(await kustomizeObjects(render, overlay));
    expect([place, [...built.keys()].sort()]).toEqual([place, [...wanted.keys()].sort()]);
    expect(wanted.size).toBeGreaterThan(8);
    for (const [key, object] of wanted) expect([place, built.get(key)]).toEqual([place, object]);
  }
});

test('what is built is valid on six minor releases, unknown fields and custom resources too', {
  timeout: 180_000,
}, async () => {
  const texts = await Promise.all(PLACES.map((place) => build(join(FOLDER, place))));
  for (const minor of KUBERNETES_MINORS) expect(await conform(texts, minor)).toEqual([]);
  const custom = texts.flatMap(objectsIn).filter(({ kind }) => CUSTOM_KINDS.includes(kind));
  expect(custom.length).toBeGreaterThan(3);
  for (const object of custom) {
    expect([object.kind, object.metadata.name, await customFaults(object)]).toEqual([
      object.kind,
      object.metadata.name,
      [],
    ]);
  }
});

test('nothing of a release is in them: no namespace, no token, no mark of Helm', async () => {
  for (const place of PLACES) {
    const text = await build(join(FOLDER, place));
    expect([place, /namespace-of|helm|\bsvc\b/i.exec(text)?.[0]]).toEqual([place, undefined]);
    const objects = objectsIn(text);
    expect(objects.filter(({ kind }) => kind === 'Secret')).toEqual([]);
    for (const { metadata } of objects) expect(metadata.namespace).toBeUndefined();
  }
});

test('a kustomization of one’s own gives namespace, image, brokers and number', async () => {
  const directory = temporaryDirectory('kustomize');
  const base = relative(directory, join(FOLDER, 'overlays/production'));
  const settings = join(FOLDER, 'overlays/production/settings/treeline-receiver.yaml');
  const own = readFileSync(settings, 'utf8').replace('kafka-0.kafka.example.com', 'mine');
  const files: Record<string, string> = {
    'settings/receiver.yaml': own,
    'kustomization.yaml': `namespace: observability
resources: [${base}]
images: [{ name: docker.io/treeline/treeline, newName: registry.example.com/treeline, newTag: 1.2.3 }]
replicas: [{ name: treeline-scorer, count: 7 }]
configMapGenerator:
  - { name: treeline-receiver, behavior: replace, files: [treeline.yaml=settings/receiver.yaml] }
`,
  };
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), text);
  }
  const before = objectsIn(await build(join(FOLDER, 'overlays/production')));
  const objects = objectsIn(await build(directory));
  removeDirectory(directory);
  expect(objects).toHaveLength(before.length);
  for (const { kind, metadata } of objects) {
    expect([kind, metadata.namespace]).toEqual([kind, 'observability']);
  }
  expect(one(objects, 'StatefulSet', '-scorer')['spec'].replicas).toBe(7);
  const map = (all: readonly Rendered[]) => {
    const { template } = one(all, 'Deployment', '-receiver')['spec'];
    const [container] = template.spec.containers;
    const volume = template.spec.volumes.find(({ name }: { name: string }) => name === 'config');
    return { image: container.image, name: volume.configMap.name as string };
  };
  expect(map(objects).image).toBe('registry.example.com/treeline:1.2.3');
  // Another name is another pod template: settings that change restart whoever reads them.
  expect(map(objects).name).not.toBe(map(before).name);
  expect(one(objects, 'ConfigMap', map(objects).name)['data']['treeline.yaml']).toContain('mine');
});
