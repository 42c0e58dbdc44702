// examples/try-it.yaml: objects that an API server takes, in a namespace that enforces the restricted profile, and settings
// that the program takes from its environment.

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { loadSettings, SETTINGS } from '../src/config.js';
import { KUBERNETES_MINORS, kubernetesSchemas } from './chart-programs.js';
import { objectsIn, one } from './chart-render.js';
import { kubeconformBinary } from './go-peers/kubeconform.js';

const execute = promisify(execFile);
const file = new URL('../examples/try-it.yaml', import.meta.url).pathname;
const text = readFileSync(file, 'utf8');
const objects = objectsIn(text);

test('the objects are valid on six minor releases', async () => {
  const template =
    '{{.NormalizedKubernetesVersion}}{{.StrictSuffix}}/{{.ResourceKind}}{{.KindSuffix}}.json';
  const location = join(await kubernetesSchemas(), template);
  for (const minor of KUBERNETES_MINORS) {
    const args = [
      '-strict',
      '-summary',
      '-kubernetes-version',
      `${minor}.0`,
      '-schema-location',
      location,
    ];
    const { stdout } = await execute(await kubeconformBinary(), [...args, file]);
    expect(stdout).toContain('Valid: 2, Invalid: 0, Errors: 0, Skipped: 0');
  }
});

test('its environment is settings, and the Service finds the pod', () => {
  const { spec } = one(objects, 'StatefulSet')['spec'].template;
  const { metadata } = one(objects, 'StatefulSet')['spec'].template;
  const [container] = spec.containers;
  const environment = Object.fromEntries(
    container.env.map((entry: { name: string; value: string }) => [entry.name, entry.value]),
  );
  const known = new Set(SETTINGS.map(({ variable }) => variable));
  const named = Object.keys(environment).filter((name) => name.startsWith('TREELINE_'));
  expect(named.filter((name) => !known.has(name))).toEqual([]);
  expect(loadSettings({ environment }).listen).toBe('0.0.0.0:8275');
  expect(metadata.labels).toMatchObject(one(objects, 'Service')['spec'].selector);
});

test('it asks for no right that the restricted profile refuses', () => {
  const { spec } = one(objects, 'StatefulSet')['spec'].template;
  expect(spec.securityContext).toMatchObject({
    runAsNonRoot: true,
    seccompProfile: { type: 'RuntimeDefault' },
  });
  expect(spec.containers[0].securityContext).toEqual({
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
  });
});

test('what its head says to type is about the objects that it makes', () => {
  const named = [...text.matchAll(/^# .*?(?:pod\/|exec -i |service\/)([a-z0-9-]+)/gm)].map(
    ([, name]) => name,
  );
  expect(named.length).toBeGreaterThanOrEqual(4);
  for (const name of named) expect(name).toMatch(/^treeline-try-it(-0)?$/);
});
