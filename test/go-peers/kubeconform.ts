// kubeconform, built from its Go module: says of a Kubernetes object whether an API server would take it, by JSON schemas
// and without a cluster. `tool` in kubeconform/go.mod names the program, so that there is no Go file of ours.

import { fileURLToPath } from 'node:url';
import { goProgram } from './go-program.js';

/** Seconds the first time, nothing afterwards. */
export function kubeconformBinary(): Promise<string> {
  return goProgram({
    name: 'kubeconform',
    source: fileURLToPath(new URL('kubeconform', import.meta.url)),
    target: 'github.com/yannh/kubeconform/cmd/kubeconform',
    flags: ['-ldflags', '-s -w'],
  });
}
