// Turns what Helm renders into a Kustomize base and overlays, pure: objects in, files out. The base is one rendering; an
// overlay is what another rendering has in addition, what it lacks, and a JSON patch (RFC 6902) of each object that
// differs, so that building an overlay gives exactly the objects of its rendering. ConfigMaps become generators: their
// names then end in a hash of their content, and pods restart when settings change without Helm's checksums.

import { strict as assert } from 'node:assert';
import { stringify } from 'yaml';

export interface KubernetesObject {
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  [field: string]: unknown;
}

export interface PatchOperation {
  op: 'add' | 'remove' | 'replace';
  path: string;
  value?: unknown;
}

/** Path in the folder → text. */
export type FolderFiles = Map<string, string>;

const SETTINGS_FOLDER = 'settings';
const MADE =
  '# Made of charts/treeline by dist/src/cli/kustomize-files.js; what is yours goes into a kustomization of your own.\n';

/** Without what only Helm knows: its labels, its namespace, and hosts that have the namespace in them. */
export function withoutRelease(
  objects: readonly KubernetesObject[],
  { namespace, domain }: { namespace: string; domain: string },
): KubernetesObject[] {
  return objects.map((object) => {
    const text = JSON.stringify(object)
      .replaceAll(`.${namespace}.svc.${domain}`, '')
      .replaceAll(`.${namespace}.svc`, '');
    const short = withoutHelm(JSON.parse(text)) as KubernetesObject;
    const { namespace: _namespace, ...metadata } = short.metadata;
    return { ...short, metadata };
  });
}

export function baseFiles(objects: readonly KubernetesObject[]): FolderFiles {
  const files: FolderFiles = new Map();
  const [maps, others] = split(objects);
  files.set('treeline.yaml', MADE + documents(others));
  const kustomization = {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    resources: ['treeline.yaml'],
    configMapGenerator: maps.map((map) => generator(map, files)),
  };
  files.set('kustomization.yaml', MADE + yaml(kustomization));
  return files;
}

/** What makes `objects` of `base`, whose folder lies at `basePath` from the overlay. */
export function overlayFiles(
  base: readonly KubernetesObject[],
  objects: readonly KubernetesObject[],
  basePath: string,
): FolderFiles {
  const files: FolderFiles = new Map();
  const before = new Map(base.map((object) => [keyOf(object), object]));
  const after = new Map(objects.map((object) => [keyOf(object), object]));
  const [maps, others] = split(objects);
  const added = others.filter((object) => !before.has(keyOf(object)));
  const removed = base.filter((object) => !after.has(keyOf(object)));
  assert(removed.every(({ kind }) => kind !== 'ConfigMap'));
  const patches: unknown[] = removed.map((object) => ({ patch: yaml(deletion(object)) }));
  for (const object of others) {
    const operations = differences(before.get(keyOf(object)) ?? object, object);
    if (operations.length === 0) continue;
    const path = `patches/${keyOf(object).toLowerCase().replace('/', '-')}.yaml`;
    files.set(path, MADE + yaml(operations));
    patches.push({ target: { kind: object.kind, name: object.metadata.name }, path });
  }
  const generators = maps.flatMap((map) => {
    const old = before.get(keyOf(map));
    if (old !== undefined && differences(old, map).length === 0) return [];
    const behavior = old === undefined ? {} : { behavior: 'replace' };
    return [{ ...generator(map, files), ...behavior }];
  });
  if (added.length > 0) files.set('treeline.yaml', MADE + documents(added));
  const kustomization = {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    resources: [basePath, ...(added.length > 0 ? ['treeline.yaml'] : [])],
    ...(generators.length > 0 && { configMapGenerator: generators }),
    ...(patches.length > 0 && { patches }),
  };
  files.set('kustomization.yaml', MADE + yaml(kustomization));
  return files;
}

/** Lists of one length are compared place by place, others replaced whole. */
export function differences(before: unknown, after: unknown, path = ''): PatchOperation[] {
  if (Array.isArray(before) && Array.isArray(after) && before.length === after.length) {
    return after.flatMap((value, at) => differences(before[at], value, `${path}/${at}`));
  }
  if (isMap(before) && isMap(after)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
    return keys.flatMap((key): PatchOperation[] => {
      const at = `${path}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`;
      if (!(key in after)) return [{ op: 'remove', path: at }];
      if (!(key in before)) return [{ op: 'add', path: at, value: after[key] }];
      return differences(before[key], after[key], at);
    });
  }
  if (JSON.stringify(before) === JSON.stringify(after)) return [];
  return [{ op: 'replace', path, value: after }];
}

function withoutHelm(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(withoutHelm);
  if (!isMap(node)) return node;
  const kept = Object.entries(node).flatMap(([key, value]): [string, unknown][] => {
    if (key.startsWith('helm.sh/')) return [];
    if (key === 'app.kubernetes.io/managed-by') return [[key, 'kustomize']];
    const inner = withoutHelm(value);
    const isEmptied = key === 'annotations' && isMap(inner) && Object.keys(inner).length === 0;
    return isEmptied ? [] : [[key, inner]];
  });
  return Object.fromEntries(kept);
}

function split(
  objects: readonly KubernetesObject[],
): [maps: KubernetesObject[], others: KubernetesObject[]] {
  const isConfigMap = ({ kind }: KubernetesObject) => kind === 'ConfigMap';
  return [objects.filter(isConfigMap), objects.filter((object) => !isConfigMap(object))];
}

/** Of one ConfigMap, whose texts become files; all but these and the labels is lost, so there may be nothing else. */
function generator(map: KubernetesObject, files: FolderFiles): Record<string, unknown> {
  const { kind: _kind, apiVersion: _version, metadata, data, ...rest } = map;
  assert.deepEqual([rest, metadata.annotations], [{}, undefined], `ConfigMap/${metadata.name}`);
  const names = Object.entries(data as Record<string, string>).map(([key, text]) => {
    const extension = key.slice(key.lastIndexOf('.') + 1);
    const path = `${SETTINGS_FOLDER}/${metadata.name}.${extension}`;
    files.set(path, text);
    return `${key}=${path}`;
  });
  return { name: metadata.name, files: names, options: { labels: metadata.labels } };
}

function deletion({ apiVersion, kind, metadata }: KubernetesObject): unknown {
  return { $patch: 'delete', apiVersion, kind, metadata: { name: metadata.name } };
}

function keyOf({ kind, metadata }: KubernetesObject): string {
  return `${kind}/${metadata.name}`;
}

function documents(objects: readonly KubernetesObject[]): string {
  return [...objects]
    .sort((a, b) => keyOf(a).localeCompare(keyOf(b), 'en'))
    .map(yaml)
    .join('---\n');
}

function yaml(value: unknown): string {
  return stringify(value, { lineWidth: 0 });
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
