// `treeline run`: reads the settings, starts the chosen roles, prints what to put into prometheus.yml, and stops in
// order when asked to. SIGHUP reads the settings again.

import closeWithGrace from 'close-with-grace';
import { startTreeline, type Treeline } from '../compose.js';
import { loadSettings, SETTINGS, type Settings } from '../config.js';
import { OperatingError } from '../errors.js';
import type { Logger } from '../http-server.js';
import { createLogger } from '../logger.js';
import { podEnvironment } from '../pod-service.js';
import { version } from '../version.js';
import { prometheusBlocks } from './blocks.js';
import { type Options, sourcesOf } from './config.js';

const STOP_MS_MAX = 30_000;
const STOP_SIGNALS = ['SIGTERM', 'SIGINT'] as const;

export async function run(options: Options): Promise<void> {
  const read = () => loadSettings(sourcesOf(options));
  const settings = read();
  const { level, format } = settings.logging;
  const logger = createLogger({ level, format });
  warnOfUnknownVariables(logger);
  for (const note of podEnvironment(process.env).notes) logger.warn({}, note);
  if (options['verifyReplay'] === true) {
    const { verifyReplay } = await import('./verify-replay.js');
    await verifyReplay(settings, logger);
    return;
  }
  // Told to stop before it has started: nothing has been done that would have to be put in order.
  const leave = () => process.exit(0);
  for (const signal of STOP_SIGNALS) process.once(signal, leave);
  const treeline = await startTreeline(settings, { logger, read });
  for (const signal of STOP_SIGNALS) process.off(signal, leave);
  endWith(treeline, logger);
  process.on('SIGHUP', () => reload(treeline));
  process.stdout.write(welcome(treeline.url, settings, treeline.metricsUrl));
}

function reload(treeline: Treeline): void {
  try {
    treeline.reload();
  } catch (error) {
    // config_invalid: the log has its reason, and the old settings stay in force.
    if (!(error instanceof OperatingError)) throw error;
  }
}

/** Stops in order on SIGTERM, SIGINT, or when a stage cannot go on. */
export function endWith(treeline: Treeline, logger: Logger): void {
  const options = { delay: STOP_MS_MAX, logger: false as const, skip: ['SIGHUP' as const] };
  const closing = closeWithGrace(options, async ({ err, signal }) => {
    if (err !== undefined) {
      logger.error({ err }, 'Stopping after a failure; the state is restored at the next start');
      process.exitCode = 1;
    } else logger.info({ signal }, 'Stopping');
    await treeline.stop();
  });
  treeline.failed.catch((error: unknown) => {
    logger.error({ err: error as Error }, 'A stage cannot go on');
    process.exitCode = 1;
    closing.close();
  });
}

export function welcome(url: string, settings: Settings, metricsUrl = url): string {
  const page = settings.roles.includes('api') ? `open ${url} in a browser, or ` : '';
  return `Treeline ${version()} listens on ${url}, data in ${settings.dataDir}

Add to prometheus.yml:

${prometheusBlocks(url, settings, { metricsUrl })}
Then ${page}ask Prometheus: anomaly_flag == 1
`;
}

/** Not an error: Kubernetes sets TREELINE_PORT and others for a service of this name. */
function warnOfUnknownVariables(logger: Logger): void {
  const known = new Set(SETTINGS.map(({ variable }) => variable));
  for (const name of Object.keys(process.env)) {
    const isService = /^TREELINE(_.*)?_(PORT|SERVICE)(_.*)?$|^TREELINE_(PORT|SERVICE)/.test(name);
    if (name.startsWith('TREELINE_') && !known.has(name) && !isService) {
      logger.warn({ variable: name }, 'This environment variable sets nothing');
    }
  }
}
