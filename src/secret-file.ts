// Files that hold what must not be seen: tokens, passwords, keys. They are read at start and looked at again every two
// seconds, by content: editors write in place, Kubernetes swaps a link, and both must be noticed. When a file cannot be
// read any more, what it held last stays in force and the log says so; nobody is locked out by half a write.

import { readFileSync } from 'node:fs';
import { OperatingError } from './errors.js';
import type { Logger } from './http-server.js';
import { SECRET_CHECK_MS } from './limits.js';

/** The file's content without the line break at its end. Throws `config_invalid` naming the file, never what it holds. */
export function readSecret(path: string, bytesMax: number): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const message = `Cannot read ${path}: ${code}; it must be a file that this user may read`;
    throw new OperatingError('config_invalid', message, error);
  }
  const secret = text.replace(/\r?\n$/, '');
  if (secret === '') throw new OperatingError('config_invalid', `${path} is empty`);
  if (Buffer.byteLength(secret) > bytesMax) {
    throw new OperatingError('config_invalid', `${path} has more than ${bytesMax} bytes`);
  }
  return secret;
}

export interface Watch {
  /** Looks now. Rejects nothing: a failure is logged, once until it is mended. */
  check(): void;
  stop(): void;
}

/** Calls `reread` every two seconds; it throws an OperatingError when what it finds cannot be used. */
export function watchSecrets(what: string, reread: () => void, logger: Logger): Watch {
  let complained = '';
  const check = () => {
    try {
      reread();
      complained = '';
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      if (error.message !== complained) {
        logger.error(
          { what, reason: error.message },
          'Kept in force as it was: a file is unusable',
        );
      }
      complained = error.message;
    }
  };
  const timer = setInterval(check, SECRET_CHECK_MS);
  timer.unref();
  return { check, stop: () => clearInterval(timer) };
}

/** Hides user and password of every address in it. */
export function withoutSecrets(value: unknown): unknown {
  if (typeof value === 'string') return value.replace(/(:\/\/)[^/@\s]+@/g, '$1<hidden>@');
  if (Array.isArray(value)) return value.map(withoutSecrets);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, withoutSecrets(inner)]),
  );
}
