// Writes deploy/kustomize: a base and the overlays dev, staging and production, for those who use Kustomize and not Helm,
// made of what the chart renders. No command of `treeline`; `node dist/src/cli/kustomize-files.js [HELM]` is for whoever
// changes the chart, needs Helm 3 or 4, and test/chart-kustomize.test.ts fails until it was run.

import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';
import {
  baseFiles,
  type KubernetesObject,
  overlayFiles,
  withoutRelease,
} from '../chart/kustomize.js';

const execute = promisify(execFile);

const OUTPUT_BYTES_MAX = 32 * 1024 * 1024;
const CHART = 'charts/treeline';
const FOLDER = 'deploy/kustomize';
/** Stands in host names, from which it is taken out: pods find Services of their own namespace by their names alone. */
const NAMESPACE = 'namespace-of-the-release';
const DOMAIN = 'cluster.local';

type Values = Record<string, unknown>;

/** Of every rendering: nothing that only Helm can make or run, and brokers and a Secret by the names that staging has. */
const BASE: Values = {
  auth: { existingSecret: 'treeline-tokens' },
  kafka: { brokers: ['kafka-bootstrap.kafka:9092'], prefix: 'treeline' },
  configReload: 'manual',
  tests: { enabled: false },
  global: { clusterDomain: DOMAIN },
};

/** Overlay of the chart → what differs from its file: dashboards lie in deploy/grafana already. */
const OVERLAYS: Record<string, Values> = {
  dev: { kafka: { brokers: [] } },
  staging: {},
  production: { monitoring: { dashboards: { enabled: false } } },
};

export interface Rendering {
  release: string;
  namespace: string;
  /** Merged from left to right: values, or the path of a file of them. */
  values: readonly (Values | string)[];
}

/** Path in the repository → text. `render` gives what Helm makes of the chart. */
export async function kustomizeFiles(
  render: (rendering: Rendering) => Promise<string>,
): Promise<Map<string, string>> {
  const base = await kustomizeObjects(render);
  const files = prefixed(`${FOLDER}/base`, baseFiles(base));
  for (const name of Object.keys(OVERLAYS)) {
    const overlay = overlayFiles(base, await kustomizeObjects(render, name), '../../base');
    for (const [path, text] of prefixed(`${FOLDER}/overlays/${name}`, overlay)) {
      files.set(path, text);
    }
  }
  return files;
}

/** What building the base, or an overlay, gives; but for the hashes in names of ConfigMaps. */
export async function kustomizeObjects(
  render: (rendering: Rendering) => Promise<string>,
  overlay?: string,
): Promise<KubernetesObject[]> {
  const own =
    overlay === undefined ? [] : [`${CHART}/values-${overlay}.yaml`, OVERLAYS[overlay] ?? {}];
  const release = { release: 'treeline', namespace: NAMESPACE };
  const text = await render({ ...release, values: [BASE, ...own] });
  const objects = parseAllDocuments(text).flatMap((document) => {
    const object = document.toJSON() as KubernetesObject | null;
    return object === null ? [] : [object];
  });
  return withoutRelease(objects, { namespace: NAMESPACE, domain: DOMAIN });
}

function prefixed(folder: string, files: Map<string, string>): Map<string, string> {
  return new Map([...files].map(([path, text]) => [`${folder}/${path}`, text]));
}

/** By a Helm of either major version. */
export function renderedBy(helm: string): (rendering: Rendering) => Promise<string> {
  return async ({ release, namespace, values }) => {
    const directory = mkdtempSync(join(tmpdir(), 'treeline-kustomize-'));
    try {
      const files = values.map((value, at) => {
        if (typeof value === 'string') return value;
        const file = join(directory, `${at}.json`);
        writeFileSync(file, JSON.stringify(value));
        return file;
      });
      const args = ['template', release, CHART, '--namespace', namespace];
      const { stdout } = await execute(helm, [...args, ...files.flatMap((file) => ['-f', file])], {
        maxBuffer: OUTPUT_BYTES_MAX,
      });
      return stdout;
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  };
}

const isProgram = process.argv[1] === fileURLToPath(import.meta.url);
if (isProgram) {
  const files = await kustomizeFiles(renderedBy(process.argv[2] ?? 'helm'));
  for (const folder of ['base', 'overlays'])
    rmSync(`${FOLDER}/${folder}`, { recursive: true, force: true });
  for (const [path, text] of files) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
}
