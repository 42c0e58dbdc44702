// Rules as the file that Prometheus reads (rule_files). Only the form is made here; what the rules say is rules.ts. The
// text is the same for the same rules, so that a difference in the committed file is a difference in the rules.

import { stringify } from 'yaml';
import type { RuleGroup } from './rules.js';

const HEAD = `# Recording and alert rules of Treeline. Made from src/observability/rules.ts: change them there.
# Needs both scrapes, /metrics and /metrics/anomalies; see docs/operations.md, "Rules and dashboards".
`;

export function ruleFile(groups: readonly RuleGroup[]): string {
  // Expressions stay on one line: a folded one is hard to copy into a query field.
  return HEAD + stringify({ groups }, { lineWidth: 0, blockQuote: false });
}
