// The blocks for prometheus.yml that commands print: where to send samples and where to scrape gauges. honor_labels is
// always there: without it Prometheus renames the job and instance of the series that a gauge speaks about.

import type { Settings } from '../config.js';
import type { CredentialSettings } from '../config-auth.js';
import type { PathGroup } from '../path-groups.js';

export interface Queue {
  capacity: number;
  maxShards: number;
  maxSamplesPerSend: number;
}

/** `metricsUrl`: where the gauges are, if not where samples go. */
export function prometheusBlocks(
  url: string,
  settings: Settings,
  { queue, metricsUrl = url }: { queue?: Queue; metricsUrl?: string } = {},
): string {
  const { protocol, host } = new URL(metricsUrl);
  const isTls = protocol === 'https:';
  const lines = [
    'remote_write:',
    `  - url: ${url}/api/v1/write`,
    ...credentialLines(settings, 'write'),
    ...(needsTenant(settings, 'write') ? ['    headers: { X-Scope-OrgID: YOUR-TENANT }'] : []),
    ...(queue === undefined ? [] : queueLines(queue)),
    'scrape_configs:',
    '  - job_name: treeline',
    '    honor_labels: true',
    '    metrics_path: /metrics/anomalies',
    ...(isTls ? ['    scheme: https'] : []),
    ...credentialLines(settings, 'read'),
    // Prometheus 2.55 and newer; older ones need a credential that is bound to the tenant.
    ...(needsTenant(settings, 'read')
      ? ['    http_headers: { X-Scope-OrgID: { values: [YOUR-TENANT] } }']
      : []),
    `    static_configs: [{ targets: ["${host}"] }]`,
  ];
  return `${lines.join('\n')}\n`;
}

function queueLines({ capacity, maxShards, maxSamplesPerSend }: Queue): string[] {
  return [
    '    queue_config:',
    `      capacity: ${capacity}`,
    `      max_shards: ${maxShards}`,
    `      max_samples_per_send: ${maxSamplesPerSend}`,
    '      batch_send_deadline: 5s',
  ];
}

/** With the files of the first credential that opens the group; the secret itself is never shown. */
function credentialLines(settings: Settings, group: PathGroup): string[] {
  const credential = credentialOf(settings, group);
  if (credential === undefined) return [];
  const { name, tokenFile, passwordFile } = credential;
  return tokenFile === undefined
    ? [`    basic_auth: { username: ${name}, password_file: ${passwordFile} }`]
    : [`    authorization: { credentials_file: ${tokenFile} }`];
}

/** A credential that is bound to a tenant speaks for it without a header. */
function needsTenant(settings: Settings, group: PathGroup): boolean {
  return settings.tenancy === 'header' && credentialOf(settings, group)?.tenant === undefined;
}

function credentialOf({ auth }: Settings, group: PathGroup): CredentialSettings | undefined {
  if (auth.open.includes(group)) return undefined;
  return auth.credentials.find(({ allow }) => allow.includes(group));
}
