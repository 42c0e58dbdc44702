// `treeline run`: reads the settings, starts the chosen roles, prints what to put into prometheus.yml, and stops in
// order when asked to.

import { readFileSync } from 'node:fs';
import closeWithGrace from 'close-with-grace';
import { startTreeline, type Treeline, version } from '../compose.js';
import { loadSettings, SETTINGS, type Settings } from '../config.js';
import { OperatingError } from '../errors.js';
import type { Logger } from '../http-server.js';
import { createLogger } from '../logger.js';

const STOP_MS_MAX = 30_000;

export async function run(options: Record<string, string | boolean>): Promise<void> {
  const settings = settingsOf(options);
  const { level, format } = settings.logging;
  const logger = createLogger({ level, format });
  warnOfUnknownVariables(logger);
  if (options['verifyReplay'] === true) {
    const { verifyReplay } = await import('./verify-replay.js');
    await verifyReplay(settings, logger);
    return;
  }
  const treeline = await startTreeline(settings, { logger });
  endWith(treeline, logger);
  process.stdout.write(welcome(treeline.url, settings));
}

/** Stops in order on SIGTERM, SIGINT, or when a stage cannot go on. */
export function endWith(treeline: Treeline, logger: Logger): void {
  const closing = closeWithGrace({ delay: STOP_MS_MAX, logger: false }, async ({ err, signal }) => {
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

export function welcome(url: string, settings: Settings): string {
  const host = url.replace(/^https?:\/\//, '');
  return `Treeline ${version()} listens on ${url}, data in ${settings.dataDir}

Add to prometheus.yml:

remote_write:
  - url: ${url}/api/v1/write
scrape_configs:
  - job_name: treeline
    honor_labels: true
    metrics_path: /metrics/anomalies
    static_configs: [{ targets: ["${host}"] }]

Then ask Prometheus: anomaly_flag == 1
`;
}

function settingsOf(options: Record<string, string | boolean>): Settings {
  const flags: Record<string, string> = {};
  for (const { flag } of SETTINGS) {
    const value = options[flag.replace(/-(.)/g, (_all, letter: string) => letter.toUpperCase())];
    if (typeof value === 'string') flags[flag] = value;
  }
  const { config } = options;
  return loadSettings({
    flags,
    environment: process.env,
    ...(typeof config === 'string' && { file: { name: config, text: readConfig(config) } }),
  });
}

function readConfig(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new OperatingError(
      'config_invalid',
      `Cannot read the settings in ${path}: ${code}`,
      error,
    );
  }
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
