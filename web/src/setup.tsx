// What is shown before there is anything to see: the blocks to paste, and three steps that tick off as the first sample
// arrives, the series warm up, and are ready.

import { plural, visible } from './format.js';
import { hasCredential } from './rest.js';
import type { Status } from './rows.js';
import { Block, CopyButton, EquivalentCall, Name } from './text.js';

const EXAMPLE = 'http://127.0.0.1:9090';

export function Setup({ status }: { status: Status }) {
  const { origin, host, protocol } = location;
  // Who needs a token to look needs one to send; where its file lies is not ours to know.
  const authorization = hasCredential()
    ? ['    authorization: { credentials_file: YOUR-TOKEN-FILE }']
    : [];
  const blocks = [
    'remote_write:',
    `  - url: ${origin}/api/v1/write`,
    ...authorization,
    'scrape_configs:',
    '  - job_name: treeline',
    '    honor_labels: true',
    '    metrics_path: /metrics/anomalies',
    ...(protocol === 'https:' ? ['    scheme: https'] : []),
    ...authorization,
    `    static_configs: [{ targets: ["${host}"] }]`,
  ].join('\n');
  const rejected = Object.values(status.samples?.rejected ?? {}).reduce(
    (sum, count) => sum + count,
    0,
  );
  const prometheus = status.prometheus ?? EXAMPLE;
  const backfill = `npx treeline backfill --prometheus ${prometheus} --query '{job="node"}' --lookback 2w`;
  return (
    <>
      <h1 class="headline">Nothing has been received yet.</h1>
      <ol class="steps">
        <li class="current">
          <b>Send samples.</b> Add this to <code>prometheus.yml</code> and reload Prometheus; this
          page notices the first sample by itself.
          <Block text={`${blocks}\n`} label="Copy for prometheus.yml" />
          {rejected > 0 && (
            <p class="failure">
              {plural(rejected, 'sample was', 'samples were')} refused; System says why.
            </p>
          )}
          {status.prometheus !== undefined && (
            <p>
              The settings name <Name text={status.prometheus} /> already: what keeps it from
              bringing samples or history is said by <code>curl -s {origin}/-/ready</code>
            </p>
          )}
          <p class="faint">
            <code>honor_labels</code> matters: without it Prometheus renames the <code>job</code>{' '}
            and <code>instance</code> of the series that a gauge speaks about.
          </p>
        </li>
        <li>
          <b>Warm up.</b> A series may be flagged after 100 samples; the page then shows how far
          each is and when it will be ready. History shortens this, given before the first start:
          <p>
            <code>{visible(backfill)}</code> <CopyButton text={backfill} label="Copy" />
          </p>
        </li>
        <li>
          <b>Watch.</b> Anomalies appear here as they begin. For a week nobody is notified, unless{' '}
          <code>mode: live</code> says so.
        </li>
      </ol>
      <p class="faint">
        To see it work first: <code>npm run demo</code>
      </p>
      <EquivalentCall paths={['/anomaly/v1/status']} />
    </>
  );
}
