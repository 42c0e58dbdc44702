// Writes what the chart holds of other sources: the schema and the table of its values from values.yaml, rules and
// dashboards from src/observability/. No command of `treeline`; `node dist/src/cli/chart-files.js` is for whoever changes
// values, settings or rules, and test/chart.test.ts fails until it was run.

import { readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readValues } from '../chart/values-file.js';
import { valuesSchema } from '../chart/values-schema.js';
import { withTable } from '../chart/values-table.js';
import { deployFiles } from './deploy-files.js';

const CHART = 'charts/treeline';

/** Path in the repository → text. `read` gives the text of a path that is there. */
export function chartFiles(read: (path: string) => string): Map<string, string> {
  const values = readValues(read(`${CHART}/values.yaml`));
  const files = new Map([
    [`${CHART}/values.schema.json`, `${JSON.stringify(valuesSchema(values), null, 1)}\n`],
    [`${CHART}/README.md`, withTable(read(`${CHART}/README.md`), values)],
  ]);
  for (const [path, text] of deployFiles()) {
    files.set(`${CHART}/files/${basename(path)}`, text);
  }
  return files;
}

const isProgram = process.argv[1] === fileURLToPath(import.meta.url);
if (isProgram) {
  for (const [path, text] of chartFiles((name) => readFileSync(name, 'utf8'))) {
    writeFileSync(path, text);
  }
}
