// Who we say we are when we ask a Prometheus: a bearer token or a password, each in a file of its own that is read again
// for every request, so that a rotated secret needs no reload. Nothing of it is ever shown.

import { OperatingError } from './errors.js';
import { SENT_SECRET_BYTES_MAX } from './limits.js';
import { basicAuthorization } from './prometheus-api.js';
import { readSecret } from './secret-file.js';

export interface PrometheusCredential {
  tokenFile?: string | undefined;
  username?: string | undefined;
  passwordFile?: string | undefined;
}

/** What is wrong with it as a whole; undefined when nothing is. */
export function credentialFault(credential: PrometheusCredential): string | undefined {
  const { tokenFile, username, passwordFile } = credential;
  if ((username === undefined) !== (passwordFile === undefined)) {
    return 'user name and password file are given together or not at all';
  }
  if (tokenFile !== undefined && username !== undefined) {
    return 'a token file and a user name exclude each other';
  }
  return undefined;
}

/**
 * The value of the Authorization header, made anew on each call; undefined when there is nothing to say. The files are
 * read once here already: throws `config_invalid` when one cannot be used, and so may each call.
 */
export function authorizationOf(credential: PrometheusCredential): (() => string) | undefined {
  const fault = credentialFault(credential);
  if (fault !== undefined) throw new OperatingError('config_invalid', fault);
  const { tokenFile, username, passwordFile } = credential;
  const header = (): string => {
    if (tokenFile !== undefined) return `Bearer ${readSecret(tokenFile, SENT_SECRET_BYTES_MAX)}`;
    const password = readSecret(passwordFile as string, SENT_SECRET_BYTES_MAX);
    return basicAuthorization(`${username}:${password}`);
  };
  if (tokenFile === undefined && passwordFile === undefined) return undefined;
  header();
  return header;
}
