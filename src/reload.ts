// Takes changed settings into a running process. The sources are read again; when they are invalid, or a step cannot be
// taken, everything stays as it was and the answer says why. Settings that only a restart can change are named, never
// silently ignored.

import { RELOADABLE, SETTINGS, type Settings, settingAt } from './config.js';
import { OperatingError } from './errors.js';
import type { HttpServer, Logger } from './http-server.js';
import { PLAIN } from './http-server.js';
import type { Metrics } from './metrics.js';

export interface Step {
  /** Keys that it puts into force; it is taken when one of them has changed, or always. */
  keys: readonly string[];
  isAlways?: boolean;
  /** Throws when it cannot; then nothing has changed. Returns the way back. */
  apply: (settings: Settings) => () => void;
}

export interface Reloaded {
  /** In force now. */
  changed: string[];
  /** Changed in the sources, and waiting for a restart. */
  needRestart: string[];
}

export interface Reloader {
  /** Throws `config_invalid`; then the old settings stay in force. */
  reload(): Reloaded;
  routes(server: HttpServer): void;
}

export interface ReloaderParts {
  /** As they are in force. */
  settings: Settings;
  read: () => Settings;
  steps: readonly Step[];
  metrics: Metrics;
  logger: Logger;
}

export function createReloader(parts: ReloaderParts): Reloader {
  const { read, steps, metrics, logger } = parts;
  let inForce = parts.settings;
  let isGood = true;
  metrics.observe(
    'gauge',
    {
      name: 'treeline_config_last_reload_successful',
      help: '1 when the settings in force are those that were read last',
    },
    () => [{ labels: {}, value: isGood ? 1 : 0 }],
  );

  function reload(): Reloaded {
    try {
      const wanted = read();
      const different = SETTINGS.map(({ key }) => key).filter(
        (key) => JSON.stringify(settingAt(inForce, key)) !== JSON.stringify(settingAt(wanted, key)),
      );
      const switched = tlsSwitch(inForce, wanted);
      const changed = different.filter((key) => RELOADABLE.has(key) && !switched.has(key));
      const needRestart = different.filter((key) => !changed.includes(key));
      const next = structuredClone(inForce);
      for (const key of changed) put(next, key, settingAt(wanted, key));
      take(steps, next, changed);
      inForce = next;
      isGood = true;
      logger.info({ changed, needRestart }, 'Settings read again');
      return { changed, needRestart };
    } catch (error) {
      isGood = false;
      if (error instanceof OperatingError) {
        logger.error({ reason: error.message }, 'Settings not changed: what was read is invalid');
      }
      throw error;
    }
  }

  return {
    reload,
    routes(server) {
      server.post('/-/reload', (_request, reply) => {
        try {
          return reply.send(reload());
        } catch (error) {
          if (!(error instanceof OperatingError)) throw error;
          const text = `The old settings stay in force:\n${error.message}\n`;
          return reply.code(400).type(PLAIN).send(text);
        }
      });
    },
  };
}

/** All steps or none. */
function take(steps: readonly Step[], settings: Settings, changed: readonly string[]): void {
  const back: (() => void)[] = [];
  try {
    for (const { keys, isAlways, apply } of steps) {
      if (isAlways === true || keys.some((key) => changed.includes(key)))
        back.push(apply(settings));
    }
  } catch (error) {
    for (const undo of back.reverse()) undo();
    throw error;
  }
}

/** A listener speaks HTTP or HTTPS from its first connection on; only the files behind HTTPS may change. */
function tlsSwitch(from: Settings, to: Settings): ReadonlySet<string> {
  const isSame = (from.tls.certFile === '') === (to.tls.certFile === '');
  return new Set(isSame ? [] : ['tls.certFile', 'tls.keyFile']);
}

function put(settings: Settings, key: string, value: unknown): void {
  const path = key.split('.');
  let into = settings as unknown as Record<string, unknown>;
  for (const part of path.slice(0, -1)) into = into[part] as Record<string, unknown>;
  into[path.at(-1) as string] = value;
}
