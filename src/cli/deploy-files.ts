// Writes the rules and dashboards that come with Treeline: deploy/prometheus and deploy/grafana. No command of `treeline`;
// `node dist/src/cli/deploy-files.js` is for whoever changes them, and test/observability.test.ts fails until it was run.

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { dashboards } from '../observability/dashboards.js';
import { ruleFile } from '../observability/rule-file.js';
import { ruleGroups } from '../observability/rules.js';

/** Path in the repository → text. */
export function deployFiles(): Map<string, string> {
  const files = new Map([['deploy/prometheus/treeline-rules.yaml', ruleFile(ruleGroups())]]);
  for (const [name, content] of Object.entries(dashboards())) {
    files.set(`deploy/grafana/${name}.json`, `${JSON.stringify(content, null, 2)}\n`);
  }
  return files;
}

const isProgram = process.argv[1] === fileURLToPath(import.meta.url);
if (isProgram) {
  for (const [path, text] of deployFiles()) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
}
