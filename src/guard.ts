// What stands between the listener and the routes, kept current: who may in, and the certificate. Both come from files
// that are looked at again while the process runs, and from settings that a reload may change. A change takes force as a
// whole or not at all, and no open connection is cut.

import { createSecureContext } from 'node:tls';
import { Access } from './auth.js';
import { type Settings, sizeBytes } from './config.js';
import { OperatingError } from './errors.js';
import { type HttpServer, type Logger, setTls, type TlsFiles } from './http-server.js';
import { PEM_BYTES_MAX } from './limits.js';
import { readSecret, watchSecrets } from './secret-file.js';

export class Guard {
  readonly #logger: Logger;
  readonly #clock: () => number;
  #settings: Settings;
  #access: Access;
  #tls: TlsFiles | undefined;
  #servers: readonly HttpServer[] = [];
  readonly #stops: (() => void)[] = [];

  /** Throws an OperatingError when a file that the settings name cannot be used. */
  constructor(settings: Settings, parts: { logger: Logger; clock: () => number }) {
    this.#logger = parts.logger;
    this.#clock = parts.clock;
    this.#settings = settings;
    this.#access = this.#accessOf(settings);
    this.#tls = tlsOf(settings);
  }

  get tls(): TlsFiles | undefined {
    return this.#tls;
  }

  readonly judge: Access['judge'] = (knock) => this.#access.judge(knock);

  /** From now on the files are watched. */
  start(servers: readonly HttpServer[]): void {
    this.#servers = servers;
    const watches = [
      watchSecrets('auth.credentials', () => this.#rereadAccess(), this.#logger),
      watchSecrets('tls', () => this.#rereadTls(), this.#logger),
    ];
    for (const { stop } of watches) this.#stops.push(stop);
  }

  /** Puts auth and tls of these settings into force. Throws before anything has changed; returns the way back. */
  apply(settings: Settings): () => void {
    const before = { settings: this.#settings, access: this.#access, tls: this.#tls };
    const access = this.#accessOf(settings, before.access);
    const tls = tlsOf(settings);
    this.#settings = settings;
    this.#access = access;
    this.#useTls(tls);
    return () => {
      this.#settings = before.settings;
      this.#access = before.access;
      this.#useTls(before.tls);
    };
  }

  stop(): void {
    for (const stop of this.#stops) stop();
  }

  #accessOf({ auth, tenancy }: Settings, before?: Access): Access {
    const { credentials, open } = auth;
    return new Access({ credentials, open, tenancy, sizeBytes }, this.#clock, before);
  }

  #rereadAccess(): void {
    if (this.#access.reread()) this.#logger.info({}, 'Tokens and passwords read again');
  }

  #rereadTls(): void {
    const tls = tlsOf(this.#settings);
    if (tls === undefined || (tls.cert === this.#tls?.cert && tls.key === this.#tls.key)) return;
    this.#useTls(tls);
    this.#logger.info({}, 'Certificate read again; new connections are made with it');
  }

  #useTls(tls: TlsFiles | undefined): void {
    this.#tls = tls;
    if (tls === undefined) return;
    for (const server of this.#servers) setTls(server, tls);
  }
}

/** A certificate and a key that fit each other: a pair caught in the middle of a renewal does not, and waits. */
function tlsOf({ tls }: Settings): TlsFiles | undefined {
  if (tls.certFile === '') return undefined;
  const files = {
    cert: readSecret(tls.certFile, PEM_BYTES_MAX),
    key: readSecret(tls.keyFile, PEM_BYTES_MAX),
  };
  try {
    createSecureContext(files);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const message = `Cannot use ${tls.certFile} with ${tls.keyFile}: ${code ?? 'not a PEM pair'}`;
    throw new OperatingError('config_invalid', message, error);
  }
  return files;
}
