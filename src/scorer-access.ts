// How an api of its own comes to the scorers: their addresses and our token from the settings, the token read again when
// its file changes, names as this machine resolves them. Without `api.scorers` there is nobody to ask, and then the api
// has no routes about series.

import { lookup } from 'node:dns/promises';
import type { SeriesSource } from './api/rest-series.js';
import type { Settings } from './config.js';
import { OperatingError } from './errors.js';
import type { Logger } from './http-server.js';
import { SECRET_BYTES_MAX } from './limits.js';
import type { Log } from './log/log.js';
import type { Metrics } from './metrics.js';
import { readSecret, watchSecrets } from './secret-file.js';

interface Parts {
  settings: Settings;
  log: Log;
  metrics: Metrics;
  logger: Logger;
  clock: () => number;
  /** What has been opened, for an ordered stop. */
  undo: (() => Promise<void>)[];
}

/** Throws `config_invalid` when the token file cannot be used. */
export async function openPeers(parts: Parts): Promise<SeriesSource | undefined> {
  const { settings, log, metrics, logger, clock, undo } = parts;
  const { scorers: urls, scorersTokenFile } = settings.api;
  if (urls.length === 0) return undefined;
  const { ScorerPeers } = await import('./api/scorer-peers.js');
  let token: string | undefined;
  if (scorersTokenFile !== '') {
    const reread = () => {
      token = tokenIn(scorersTokenFile);
    };
    reread();
    const watch = watchSecrets('api.scorersTokenFile', reread, logger);
    undo.push(async () => watch.stop());
  }
  const resolve = async (name: string) =>
    (await lookup(name, { all: true })).map(({ address }) => address);
  const { partitions } = log;
  const peers = new ScorerPeers({
    ...{ urls, resolve, partitions, metrics, logger, clock },
    token: () => token,
  });
  undo.push(async () => peers.close());
  return peers;
}

/** Of characters that a header may hold (RFC 6750, section 2.1, allows fewer still). */
function tokenIn(path: string): string {
  const token = readSecret(path, SECRET_BYTES_MAX);
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  const message = `${path} holds no token: it must be one line without spaces, in ASCII`;
  throw new OperatingError('config_invalid', message);
}
