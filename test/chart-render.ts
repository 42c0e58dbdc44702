// Renders the chart with a real Helm and reads what came out. Values are given as objects and reach Helm as a file, as
// people give them; tokens are given unless a test gives its own, so that the same values render the same text.

import { execFile } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parse, parseAllDocuments } from 'yaml';
import { type HelmMajor, helmPrograms } from './chart-programs.js';
import { temporaryDirectory } from './programs.js';

const execute = promisify(execFile);

export const CHART = new URL('../charts/treeline/', import.meta.url).pathname;
const OUTPUT_BYTES_MAX = 32 * 1024 * 1024;
const RENDER_MS_MAX = 60_000;

export type Values = Record<string, unknown>;

/** Of any kind: tests look at what they expect to be there. */
export interface Rendered {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  // biome-ignore lint/suspicious/noExplicitAny: whatever Kubernetes allows.
  [field: string]: any;
}

export interface RenderOptions {
  major?: HelmMajor;
  release?: string;
  namespace?: string;
  /** Overlays below the values, by the middle of their names: `production`. */
  overlays?: readonly string[];
  apis?: readonly string[];
}

const TOKENS = {
  writeToken: 'W'.repeat(40),
  readToken: 'R'.repeat(40),
  adminToken: 'A'.repeat(40),
};

/** Text of all objects. Rejects with Helm's own words. */
export async function renderText(values: Values, options: RenderOptions = {}): Promise<string> {
  const { release = 'rel', namespace = 'obs', overlays = [], apis = [] } = options;
  return withValues(values, async (file) => {
    const files = overlays.map((name) => `${CHART}values-${name}.yaml`);
    return runHelm(options.major ?? 4, [
      'template',
      release,
      CHART,
      '--namespace',
      namespace,
      ...[...files, file].flatMap((path) => ['-f', path]),
      ...apis.flatMap((api) => ['--api-versions', api]),
    ]);
  });
}

export async function render(values: Values, options: RenderOptions = {}): Promise<Rendered[]> {
  return objectsIn(await renderText(values, options));
}

export function objectsIn(text: string): Rendered[] {
  return parseAllDocuments(text)
    .map((document) => {
      if (document.errors.length > 0) throw document.errors[0];
      return document.toJSON() as Rendered | null;
    })
    .filter((object) => object !== null);
}

/** What Helm prints after an install with these values. */
export async function notes(values: Values, options: RenderOptions = {}): Promise<string> {
  const { release = 'rel', namespace = 'obs', overlays = [] } = options;
  const text = await withValues(values, (file) => {
    const files = [...overlays.map((name) => `${CHART}values-${name}.yaml`), file];
    return runHelm(options.major ?? 4, [
      'install',
      release,
      CHART,
      '--namespace',
      namespace,
      '--dry-run=client',
      ...files.flatMap((path) => ['-f', path]),
    ]);
  });
  return text.slice(text.indexOf('NOTES:\n') + 'NOTES:\n'.length);
}

/** What Helm says of values that it does not take; fails when it takes them. */
export async function refusal(values: Values, options: RenderOptions = {}): Promise<string> {
  try {
    await renderText(values, options);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error(`Helm takes ${JSON.stringify(values)}`);
}

export async function runHelm(major: HelmMajor, args: readonly string[]): Promise<string> {
  const { helm } = await helmPrograms(major);
  const options = {
    timeout: RENDER_MS_MAX,
    maxBuffer: OUTPUT_BYTES_MAX,
    // Nothing of the user's own: no plugins, no cluster.
    env: { PATH: process.env['PATH'], HOME: '/nonexistent', KUBECONFIG: '/nonexistent' },
  };
  try {
    return (await execute(helm, args, options)).stdout;
  } catch (error) {
    const { stderr, stdout, message } = error as { stderr?: string; stdout?: string } & Error;
    throw new Error(`${stderr ?? ''}${stdout ?? ''}` || message);
  }
}

/** The one object of a kind and a name's end; fails when there is none, or more than one. */
export function one(objects: readonly Rendered[], kind: string, end = ''): Rendered {
  const found = objects.filter(
    (object) => object.kind === kind && object.metadata.name.endsWith(end),
  );
  if (found.length !== 1) {
    const names = objects.map((object) => `${object.kind}/${object.metadata.name}`).join(' ');
    throw new Error(`${found.length} of ${kind} …${end} in ${names}`);
  }
  return found[0] as Rendered;
}

/** Objects within objects; what is not there is made. `path`: `scorer.persistence.size`. */
export function valueAt(path: string, value: unknown): Values {
  return path
    .split('.')
    .reverse()
    .reduce<unknown>((inner, key) => ({ [key]: inner }), value) as Values;
}

export function merged(...all: readonly Values[]): Values {
  const into: Values = {};
  for (const values of all) {
    for (const [key, value] of Object.entries(values)) {
      const before = into[key];
      into[key] = isValues(before) && isValues(value) ? merged(before, value) : value;
    }
  }
  return into;
}

export function chartYaml(): { version: string; appVersion: string; kubeVersion: string } {
  return parse(readFileSync(`${CHART}Chart.yaml`, 'utf8'));
}

function isValues(value: unknown): value is Values {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

async function withValues<T>(values: Values, use: (file: string) => Promise<T>): Promise<T> {
  const directory = temporaryDirectory('values');
  const file = join(directory, 'values.json');
  writeFileSync(file, JSON.stringify(merged({ auth: TOKENS }, values)));
  try {
    return await use(file);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
