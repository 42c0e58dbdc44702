// What Prometheus adds to what it sends and not to what it answers. Without these labels history would be of other series
// than the live samples that follow it.

import { parse } from 'yaml';
import type { PrometheusApi } from '../prometheus-api.js';
import type { Label } from '../series.js';

/** Undefined when it cannot be asked for them: others speak this API without a configuration of this kind. */
export async function externalLabels(api: PrometheusApi): Promise<Label[] | undefined> {
  const reply = await api.ask('status/config');
  const yaml =
    reply.kind === 'answer' ? (reply.value as { yaml?: unknown } | null)?.yaml : undefined;
  if (typeof yaml !== 'string') return undefined;
  const written = readable(yaml);
  return Object.entries(written?.global?.external_labels ?? {}).map(([name, value]) => ({
    name,
    value: String(value),
  }));
}

function readable(yaml: string) {
  try {
    return parse(yaml) as { global?: { external_labels?: Record<string, unknown> } } | null;
  } catch {
    return undefined; // expected: an error of the parser on what is not YAML
  }
}
