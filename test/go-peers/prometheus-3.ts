// A current Prometheus, built from its Go module: the sender of remote-write 2.0 that people will
// have, with native histograms and start timestamps per sample. Debian's is 2.42 and speaks 1.0 only.
// `tool` in prometheus-3/go.mod names the program, so that there is no Go file of ours; without the
// tag `builtinassets` it has no web page, and without the cloud's service discoveries (all but file,
// http and static ones) half of the modules need not be compiled.

import { fileURLToPath } from 'node:url';
import { goProgram } from './go-program.js';

/** As prometheus-3/go.mod requires it: v0.315.0 is how the module calls it. */
export const PROMETHEUS_3_VERSION = '3.15.0';
const MODULE = 'github.com/prometheus/prometheus';

/** 3 to 8 minutes of CPU and 1.1 GB of modules the first time, nothing afterwards. */
export function prometheus3Binary(): Promise<string> {
  const version = `github.com/prometheus/common/version.Version=${PROMETHEUS_3_VERSION}`;
  return goProgram({
    name: 'prometheus-3',
    source: fileURLToPath(new URL('prometheus-3', import.meta.url)),
    target: `${MODULE}/cmd/prometheus`,
    flags: ['-tags', 'netgo,remove_all_sd', '-ldflags', `-s -w -X ${version}`],
  });
}
