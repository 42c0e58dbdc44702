// Judges texts of Kubernetes objects as an API server of a minor release would, unknown fields too: kubeconform with the
// strict schemas of that release. Custom resources are left out; chart-custom-resources.ts judges those.

import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CUSTOM_KINDS } from './chart-custom-resources.js';
import { kubernetesSchemas } from './chart-programs.js';
import { kubeconformBinary } from './go-peers/kubeconform.js';
import { removeDirectory, temporaryDirectory } from './programs.js';

const execute = promisify(execFile);

/** kubeconform's words about each object of these texts that is not valid. */
export async function conform(texts: readonly string[], minor: string): Promise<string[]> {
  const directory = temporaryDirectory('objects');
  const files = texts.map((text, index) => {
    const file = join(directory, `${index}.yaml`);
    writeFileSync(file, text);
    return file;
  });
  const template =
    '{{.NormalizedKubernetesVersion}}{{.StrictSuffix}}/{{.ResourceKind}}{{.KindSuffix}}.json';
  const location = join(await kubernetesSchemas(), template);
  const options = ['-strict', '-output', 'json', '-skip', CUSTOM_KINDS.join(',')];
  const args = [...options, '-kubernetes-version', `${minor}.0`, '-schema-location', location];
  try {
    const { stdout } = await execute(await kubeconformBinary(), [...args, ...files]).catch(
      (error: { stdout?: string; message: string }) => ({ stdout: error.stdout ?? error.message }),
    );
    const { resources } = JSON.parse(stdout) as {
      resources?: { kind: string; name: string; msg: string }[];
    };
    return (resources ?? []).map(({ kind, name, msg }) => `${minor} ${kind}/${name}: ${msg}`);
  } finally {
    removeDirectory(directory);
  }
}
