// `treeline backfill`: history from a Prometheus into the log of a new installation, before its first live sample, so that
// its first start scores weeks in seconds and is useful at once. The program must not run meanwhile; the lock of the data
// directory sees to that. Interrupted, the same call goes on where it was.

import { parse } from 'yaml';
import { durationMs, readSettings, type Settings, sizeBytes } from '../config.js';
import { OperatingError } from '../errors.js';
import { LOGGED_BYTES_PER_SAMPLE, SAMPLES_PER_CORE_SECOND } from '../limits.js';
import { createLogger } from '../logger.js';
import { createMetrics } from '../metrics.js';
import { openPrometheusApi, type PrometheusApi } from '../prometheus-api.js';
import { authorizationOf } from '../prometheus-credential.js';
import { type RangeProgress, type RangeSummary, readRange } from '../prometheus-range.js';
import { createReceiver } from '../receiver/receiver.js';
import { classifier } from '../receiver/rules.js';
import { WasmDecoder } from '../receiver/wasm-decoder.js';
import type { Label } from '../series.js';
import { ONLY_TENANT, tenantFault } from '../tenant.js';
import { version } from '../version.js';
import { loadWasm } from '../wasm-files.js';
import { beginBackfill, saveProgress } from './backfill-progress.js';
import { BackfillRun, type HistoryTaker } from './backfill-run.js';
import { type Options, sourcesOf } from './config.js';
import { DURATION, progressLine } from './history-arguments.js';
import { withStorage } from './state-storage.js';

export interface BackfillArguments extends Record<string, unknown> {
  prometheus: string;
  query: string;
  lookback: string;
  step: string;
  label: string[];
  externalLabels: boolean;
  tenant?: string;
  tokenFile?: string;
  username?: string;
  passwordFile?: string;
  output?: string;
}

/** `refuse` ends the call: the arguments are not understood. */
export async function backfill(
  given: BackfillArguments,
  refuse: (message: string) => never,
): Promise<void> {
  const { settings } = readSettings(sourcesOf(given as unknown as Options));
  const stepMs = DURATION.test(given.step) ? durationMs(given.step) : 0;
  if (stepMs < 1) refuse(`--step is ${given.step}, expected a duration such as 1m`);
  const lookbackMs = DURATION.test(given.lookback) ? durationMs(given.lookback) : 0;
  if (lookbackMs < stepMs) refuse(`--lookback is ${given.lookback}, expected such as 2w`);
  const own = given.label.map((text) => labelOf(text, refuse));
  const tenant = tenantOf(given.tenant, settings, refuse);
  if (settings.log.kind !== 'embedded') {
    const text = 'treeline backfill fills the embedded log of one process; log.kind is kafka';
    throw new OperatingError('config_invalid', text);
  }
  const endMs = Math.floor(Date.now() / stepMs) * stepMs;
  const api = openPrometheusApi(given.prometheus, authorizationOf(given));
  const labels = [...own, ...(given.externalLabels ? await externalLabels(api, own) : [])];
  const { query } = given;
  const wanted = { prometheus: api.address, query, stepMs, startMs: endMs - lookbackMs };
  const done = await withStorage(settings, async ({ log, store }) => {
    const { startMs, resumed } = await beginBackfill({ log, store }, wanted);
    const bar = progressLine();
    // Saved before the first sample: whatever ends this call, the next one knows whose samples lie there.
    const progress = { ...wanted, startMs: resumed?.startMs ?? startMs, doneMs: endMs };
    await saveProgress(store, { ...progress, doneMs: startMs - stepMs, isComplete: false });
    const run = new BackfillRun({
      taker: receiverOn(log, settings),
      tenant,
      labels,
      judge: (chunk) => judgeSize(chunk, settings),
      async onDurable(chunk) {
        await saveProgress(store, { ...progress, doneMs: chunk.untilMs, isComplete: false });
        bar.draw(chunk.share);
      },
    });
    try {
      const read = await readRange(api, { query, startMs, endMs, stepMs }, run);
      await saveProgress(store, { ...progress, isComplete: true });
      return { read, rejections: [...run.rejections], startMs, isResumed: resumed !== undefined };
    } finally {
      bar.end();
    }
  });
  say({ ...done, endMs, labels, settings, isJson: given.output === 'json' });
}

/** The receiver of the service, on a log that nobody else writes to. */
function receiverOn(
  log: Parameters<typeof createReceiver>[0]['log'],
  settings: Settings,
): HistoryTaker {
  const { partitionBy, stripLabels } = settings.ingest;
  const classify = classifier(settings.ingest);
  const { partitions } = log;
  const decoder = new WasmDecoder(loadWasm('decode').module, {
    partitions,
    partitionBy,
    stripLabels,
    classify,
  });
  const logger = createLogger(settings.logging);
  return createReceiver({
    log,
    decoder,
    metrics: createMetrics(version()),
    logger,
    clock: Date.now,
  });
}

/** What does not fit would be refused halfway, or deleted as soon as it is scored. */
function judgeSize({ share, points }: RangeProgress, { log }: Settings): void {
  const expected = Math.round((points / share) * LOGGED_BYTES_PER_SAMPLE);
  if (expected <= sizeBytes(log.retentionSize)) return;
  const text =
    `The whole history takes about ${Math.ceil(expected / 1e6)} MB of log, and log.retentionSize is ` +
    `${log.retentionSize}; raise it, select fewer series, or choose a longer --step or a shorter --lookback`;
  throw new OperatingError('input_invalid', text);
}

/** What Prometheus adds to what it sends and not to what it answers; without them these would be other series. */
async function externalLabels(api: PrometheusApi, own: readonly Label[]): Promise<Label[]> {
  const reply = await api.ask('status/config');
  const yaml =
    reply.kind === 'answer' ? (reply.value as { yaml?: unknown } | null)?.yaml : undefined;
  if (typeof yaml !== 'string') {
    process.stderr.write(
      'treeline: its external_labels cannot be asked for; if it has any, name each with --label\n',
    );
    return [];
  }
  const written = parse(yaml) as { global?: { external_labels?: Record<string, unknown> } } | null;
  const found = Object.entries(written?.global?.external_labels ?? {});
  return found
    .filter(([name]) => own.every((label) => label.name !== name))
    .map(([name, value]) => ({ name, value: String(value) }));
}

function labelOf(text: string, refuse: (message: string) => never): Label {
  const [, name = '', value = ''] = /^([a-zA-Z_][a-zA-Z0-9_]*)=(.+)$/.exec(text) ?? [];
  if (name === '') refuse(`--label is ${text}, expected NAME=VALUE`);
  return { name, value };
}

function tenantOf(
  tenant: string | undefined,
  { tenancy }: Settings,
  refuse: (message: string) => never,
): string {
  if ((tenant === undefined) !== (tenancy === 'off')) {
    refuse('--tenant is given when tenancy is header, and only then');
  }
  const fault = tenant === undefined ? undefined : tenantFault(tenant);
  if (fault !== undefined) refuse(`--tenant: ${fault}`);
  return tenant ?? ONLY_TENANT;
}

function say(done: {
  read: RangeSummary;
  rejections: string[];
  startMs: number;
  endMs: number;
  labels: Label[];
  isResumed: boolean;
  settings: Settings;
  isJson: boolean;
}): void {
  const { read, rejections, startMs, endMs, labels, isResumed, settings, isJson } = done;
  for (const warning of read.warnings)
    process.stderr.write(`treeline: Prometheus warns: ${warning}\n`);
  for (const rejection of rejections) process.stderr.write(`treeline: ${rejection}\n`);
  const [start, end] = [startMs, endMs].map((ms) =>
    new Date(ms).toISOString().replace('.000Z', 'Z'),
  );
  if (isJson) {
    const externalLabelsAdded = Object.fromEntries(labels.map(({ name, value }) => [name, value]));
    const { series, points, requests, retries, histograms } = read;
    const counts = { series, points, requests, retries, histograms, rejections };
    print(
      JSON.stringify({ ...counts, start, end, isResumed, labels: externalLabelsAdded }, null, 2),
    );
    return;
  }
  const seconds = Math.ceil(read.points / SAMPLES_PER_CORE_SECOND);
  const how = isResumed ? ', going on where it was interrupted' : '';
  print(
    `${read.points} samples of ${read.series} series from ${start} to ${end} are in the log of ${settings.dataDir}${how}`,
  );
  if (labels.length > 0) {
    print(`Labels added: ${labels.map(({ name, value }) => `${name}=${value}`).join(', ')}`);
  }
  if (read.histograms > 0) print(`Left out: ${read.histograms} native histograms`);
  print(
    `Now start the program: it scores them first, in about ${seconds} s, then takes live samples`,
  );
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
