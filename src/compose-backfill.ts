// The part of the composition root that knows `backfill`: a filler in every receiver that is told of a Prometheus, and what
// scorers wait for. Of several receivers one fills; which one, the log decides.

import { Filler, type FillerParts } from './backfill/filler.js';
import { durationMs, type Settings, sizeBytes } from './config.js';
import { OperatingError } from './errors.js';
import { HISTORY_SILENCE_MS } from './limits-history.js';
import type { Metrics } from './metrics.js';
import { REAL_PACE } from './pace.js';
import { openPrometheusApi } from './prometheus-api.js';
import { authorizationOf } from './prometheus-credential.js';
import type { WasmDecoder } from './receiver/wasm-decoder.js';
import type { HistorySettings } from './scorer/history.js';
import type { Site } from './site.js';
import { ONLY_TENANT } from './tenant.js';

/** What asks for everything; names that are left out on arrival are then not asked for. */
const EVERYTHING = '{__name__!=""}';

/** How long a scorer waits for history that nobody writes. */
export function historySettings({ backfill, log }: Settings): HistorySettings {
  const isExpected = backfill.prometheus !== '';
  // What an embedded log holds of a history that nobody here continues is all that there will be.
  const isAbandoned = log.kind === 'embedded' && !isExpected;
  const silenceMs = isAbandoned ? 0 : durationMs(backfill.wait) + HISTORY_SILENCE_MS;
  return { isExpected, silenceMs };
}

/** Before the listener: whether history comes too late depends on whether samples have come. */
export async function addBackfill(site: Site, decoder: () => WasmDecoder): Promise<void> {
  const { settings, log, metrics, logger, clock, checks, failures, undo } = site;
  const { backfill } = settings;
  if (backfill.prometheus === '') return;
  if (durationMs(backfill.lookback) < durationMs(backfill.step)) {
    const text = `backfill.lookback: ${backfill.lookback} is less than one step of ${backfill.step}`;
    throw new OperatingError('config_invalid', text);
  }
  const filler = new Filler({
    ...(await fillerParts({ settings, metrics, clock, decoder })),
    ...{ log, logger, clock, pace: REAL_PACE },
    api: openPrometheusApi(backfill.prometheus, authorizationOf(credentialOf(backfill))),
    lookbackMs: durationMs(backfill.lookback),
    stepMs: durationMs(backfill.step),
    waitMs: durationMs(backfill.wait),
    tenant: backfill.tenant === '' ? ONLY_TENANT : backfill.tenant,
    labels: [],
    hasExternalLabels: true,
    onWord: (word) =>
      logger.warn({ prometheus: backfill.prometheus }, `Of this Prometheus ${word}`),
  });
  observeFiller(metrics, filler);
  const said = () => wordsOf(filler);
  // A receiver alone takes samples as well as ever; a process that scores does not do so yet, and says why.
  const isScoring = settings.roles.includes('scorer');
  checks.push({
    name: 'history',
    missing: () => (isScoring ? said() : undefined),
    note: () => (isScoring ? undefined : said()),
  });
  await filler.begin();
  undo.push(() => filler.stop());
  const running = filler.run();
  // It resolves when the history is over, and the process goes on then.
  failures.push(running.then(() => new Promise<void>(() => {})));
}

/** What does not depend on where the history is and who asks for it. */
export async function fillerParts(site: {
  settings: Settings;
  metrics: Metrics;
  clock: () => number;
  decoder: () => WasmDecoder;
}): Promise<Pick<FillerParts, 'wanted' | 'logBytesMax' | 'logRetention' | 'intakeOn' | 'isAlone'>> {
  const { settings, metrics, clock, decoder } = site;
  const { HistoryIntake } = await import('./receiver/history-intake.js');
  const { classify } = await import('./receiver/rules.js');
  const { keep } = settings.ingest;
  return {
    wanted: {
      query: settings.backfill.query,
      selectors: keep.length > 0 ? keep : [EVERYTHING],
      isKept: (name) => classify([{ name: '__name__', value: name }]) === 'keep',
    },
    logBytesMax: sizeBytes(settings.log.retentionSize),
    logRetention: settings.log.retentionSize,
    // One process can open an embedded log: whoever began on it is gone.
    isAlone: settings.log.kind === 'embedded',
    intakeOn: (append) => new HistoryIntake({ decoder: decoder(), metrics, clock, append }),
  };
}

function credentialOf({ tokenFile, username, passwordFile }: Settings['backfill']) {
  return {
    tokenFile: tokenFile || undefined,
    username: username || undefined,
    passwordFile: passwordFile || undefined,
  };
}

/** Undefined once the history is over. */
function wordsOf({ outcome, share, range, trouble, filling }: Filler): string | undefined {
  if (outcome !== undefined) return undefined;
  const span =
    range === undefined
      ? ''
      : `, ${day(range.doneMs)} of ${day(range.startMs)} to ${day(range.endMs)}`;
  const by = filling === undefined ? ', by another receiver' : '';
  const why = trouble === undefined ? '' : `; ${trouble}; trying again`;
  return `${Math.floor(100 * share)} %${span}${by}${why}`;
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 16);
}

function observeFiller(metrics: Metrics, filler: Filler): void {
  const kinds = [
    [
      'gauge',
      'treeline_history_progress_ratio',
      'How much of the history is in the log; 1 when it is over',
      () => filler.share,
    ],
    [
      'counter',
      'treeline_history_retries_total',
      'What could not be read or logged of the history and was tried again',
      () => filler.retries + (filler.filling?.retries ?? 0),
    ],
  ] as const;
  for (const [kind, name, help, read] of kinds) {
    metrics.observe(kind, { name, help }, () => [{ labels: {}, value: read() }]);
  }
}
