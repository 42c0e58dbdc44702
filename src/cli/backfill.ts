// `treeline backfill`: history from a Prometheus into the log of a new installation, before its first live sample, so that
// its first start scores weeks in seconds and is useful at once. The same filler as in a receiver that has
// `backfill.prometheus`, by hand: no scorer may run meanwhile, and what goes wrong ends the call. Interrupted, the same
// call goes on where it was.

import { Filler } from '../backfill/filler.js';
import { fillerParts } from '../compose-backfill.js';
import { durationMs, readSettings, type Settings } from '../config.js';
import { OperatingError } from '../errors.js';
import { type HistoryRange, shareOf } from '../history-mark.js';
import { SAMPLES_PER_CORE_SECOND } from '../limits.js';
import type { Log } from '../log/log.js';
import { createLogger } from '../logger.js';
import { createMetrics } from '../metrics.js';
import { REAL_PACE } from '../pace.js';
import { openPrometheusApi } from '../prometheus-api.js';
import { authorizationOf } from '../prometheus-credential.js';
import { classifier } from '../receiver/rules.js';
import { WasmDecoder } from '../receiver/wasm-decoder.js';
import { isOfNothing, listCheckpoints, readManifest } from '../scorer/checkpoint.js';
import type { Label } from '../series.js';
import type { StateStore } from '../state/state-store.js';
import { ONLY_TENANT, tenantFault } from '../tenant.js';
import { version } from '../version.js';
import { loadWasm } from '../wasm-files.js';
import { type Options, sourcesOf } from './config.js';
import { DURATION, progressLine } from './history-arguments.js';
import { withStorage } from './state-storage.js';

export interface BackfillArguments extends Record<string, unknown> {
  prometheus?: string;
  query?: string;
  lookback?: string;
  step?: string;
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
  const { step = settings.backfill.step, lookback = settings.backfill.lookback } = given;
  const stepMs = DURATION.test(step) ? durationMs(step) : 0;
  if (stepMs < 1) refuse(`--step is ${step}, expected a duration such as 1m`);
  const lookbackMs = DURATION.test(lookback) ? durationMs(lookback) : 0;
  if (lookbackMs < stepMs) refuse(`--lookback is ${lookback}, expected such as 2w`);
  const labels = given.label.map((text) => labelOf(text, refuse));
  const tenant = tenantOf(given.tenant, settings, refuse);
  const address = given.prometheus ?? settings.backfill.prometheus;
  if (address === '') refuse('--prometheus is missing, and so is backfill.prometheus');
  const api = openPrometheusApi(address, authorizationOf(given));
  const site = { settings, metrics: createMetrics(version()), clock: Date.now };
  const done = await withStorage(
    settings,
    async ({ log, store }) => {
      await judge(log, store, settings);
      const bar = progressLine();
      const parts = await fillerParts({ ...site, decoder: () => decoderOf(log, settings) });
      const filler = new Filler({
        ...parts,
        ...{ log, api, stepMs, lookbackMs, labels, tenant, clock: Date.now, pace: REAL_PACE },
        wanted: { ...parts.wanted, query: given.query ?? settings.backfill.query },
        hasExternalLabels: given.externalLabels,
        waitMs: 0,
        isByHand: true,
        logger: createLogger({ ...settings.logging, level: 'error' }),
        onWord: (word) => process.stderr.write(`treeline: ${word} with --label\n`),
        onProgress: (range) => bar.draw(shareOf(range)),
      });
      try {
        await filler.begin();
        const startMs = filler.range === undefined ? 0 : filler.range.doneMs + stepMs;
        const outcome = await filler.run();
        if (outcome !== 'complete') throw present('The log has a history already');
        return { filler, startMs };
      } finally {
        bar.end();
      }
    },
    { alone: true },
  );
  say({ ...done, settings, isJson: given.output === 'json' });
}

/** History behind anything else would be late, every sample of it. */
async function judge(log: Log, store: StateStore, { log: { kind } }: Settings): Promise<void> {
  for (let partition = 0; partition < log.partitions; partition++) {
    for (const offset of await listCheckpoints(store, partition)) {
      const manifest = await readManifest(store, partition, offset);
      if (manifest === undefined || isOfNothing(manifest)) continue;
      throw present('The service has run on this data directory already');
    }
    // What scorers elsewhere have learnt of it is not to be seen from here.
    const { high } = await log.bounds('samples', partition);
    if (kind === 'kafka' && high > 0) throw present(`The log has taken ${high} records already`);
  }
}

function present(what: string): OperatingError {
  const text = `${what}; history comes before all other samples, or it would be late: use a new data directory, or another log.prefix`;
  return new OperatingError('state_present', text);
}

function decoderOf(log: Log, { ingest }: Settings): WasmDecoder {
  const { partitionBy, stripLabels } = ingest;
  const { partitions } = log;
  const classify = classifier(ingest);
  return new WasmDecoder(loadWasm('decode').module, {
    partitions,
    partitionBy,
    stripLabels,
    classify,
  });
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

function say(done: { filler: Filler; startMs: number; settings: Settings; isJson: boolean }): void {
  const { filler, startMs, settings, isJson } = done;
  const { isResumed, filling } = filler;
  if (filling === undefined) return;
  const { warnings, rejections, labels, series, points, requests, retries, histograms } = filling;
  for (const warning of warnings) process.stderr.write(`treeline: Prometheus warns: ${warning}\n`);
  for (const rejection of rejections) process.stderr.write(`treeline: ${rejection}\n`);
  const { endMs } = filler.range as HistoryRange;
  const [start, end] = [startMs, endMs].map((ms) =>
    new Date(ms).toISOString().replace('.000Z', 'Z'),
  );
  if (isJson) {
    const added = Object.fromEntries(labels.map(({ name, value }) => [name, value]));
    const counts = { series, points, requests, retries, histograms, rejections: [...rejections] };
    print(JSON.stringify({ ...counts, start, end, isResumed, labels: added }, null, 2));
    return;
  }
  const seconds = Math.ceil(points / SAMPLES_PER_CORE_SECOND);
  const how = isResumed ? ', going on where it was interrupted' : '';
  const { log, dataDir } = settings;
  const where = log.kind === 'kafka' ? `log ${log.prefix}` : `log of ${dataDir}`;
  print(`${points} samples of ${series} series from ${start} to ${end} are in the ${where}${how}`);
  if (labels.length > 0) {
    print(`Labels added: ${labels.map(({ name, value }) => `${name}=${value}`).join(', ')}`);
  }
  if (histograms > 0) print(`Left out: ${histograms} native histograms`);
  print(
    `Now start the program: it scores them first, in about ${seconds} s, then takes live samples`,
  );
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
