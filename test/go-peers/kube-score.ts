// kube-score, built from its Go module: says what people who run clusters would object to in objects that an API server
// takes. `tool` in kube-score/go.mod names the program, so that there is no Go file of ours.

import { fileURLToPath } from 'node:url';
import { goProgram } from './go-program.js';

/** A minute the first time, nothing afterwards. */
export function kubeScoreBinary(): Promise<string> {
  return goProgram({
    name: 'kube-score',
    source: fileURLToPath(new URL('kube-score', import.meta.url)),
    target: 'github.com/zegl/kube-score/cmd/kube-score',
    flags: ['-ldflags', '-s -w'],
  });
}
