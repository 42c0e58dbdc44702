// The one place that knows ioredis: standalone or by Sentinels, TLS, passwords, time-outs. A command is tried once and
// says within a bounded time what became of it: when to try again is the caller's business, so nothing queues up in here
// while Redis is away. Scripts are sent by their digest. Foreign errors end here as OperatingErrors.

import { createHash } from 'node:crypto';
import type { ConnectionOptions } from 'node:tls';
import { Redis, type RedisOptions } from 'ioredis';
import { OperatingError } from '../errors.js';
import type { Logger } from '../http-server.js';
import {
  REDIS_COMMAND_MS_MAX,
  REDIS_CONNECT_MS_MAX,
  REDIS_RETRY_MS_MAX,
} from '../limits-outputs.js';

export interface RedisConnection {
  /** Where it is, or who knows where it is. */
  place:
    | { host: string; port: number }
    | { sentinels: readonly { host: string; port: number }[]; master: string };
  username?: string;
  /** Read at each connection: it may have been changed meanwhile. */
  password?: () => string;
  sentinelPassword?: string;
  tls?: ConnectionOptions;
}

export interface Script {
  text: string;
  sha: string;
}

/** What goes into a script and a command. */
export type Argument = string | number | Uint8Array;

export interface RedisClient {
  /** Texts come back as bytes, in memory of their own. */
  command(name: string, ...args: Argument[]): Promise<unknown>;
  run(script: Script, keys: readonly string[], args: readonly Argument[]): Promise<unknown>;
  /** Why it does not answer just now; undefined while it does. */
  problem(): string | undefined;
  /** Commands that failed. */
  readonly failures: number;
  close(): Promise<void>;
}

export function scriptOf(text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex') };
}

/** Returns at once and connects by itself, again and again: a Redis that is away is waited for. */
export function openRedis(connection: RedisConnection, logger: Logger): RedisClient {
  const redis = new Redis(optionsOf(connection));
  let failures = 0;
  let problem: string | undefined = 'Redis has not answered yet';
  const blame = (error: unknown) => {
    problem = `Redis does not answer: ${reasonOf(error)}`;
  };
  redis.on('error', (error: Error) => {
    // Told once, not at each of its tries to connect.
    const isNews = problem === undefined || problem === 'Redis has not answered yet';
    blame(error);
    if (isNews) logger.warn({ reason: reasonOf(error) }, 'Redis is away; trying again');
  });
  redis.on('ready', () => {
    if (problem !== undefined) logger.info({}, 'Redis answers');
    problem = undefined;
  });
  redis.on('reconnecting', () => {
    try {
      if (connection.password !== undefined) redis.options.password = connection.password();
    } catch (error) {
      // The file is being replaced: what it held last may still be right.
      if (!(error instanceof OperatingError)) throw error;
    }
  });
  redis.on('close', () => {
    problem ??= 'Redis does not answer: the connection was closed';
  });
  const command = async (name: string, args: readonly Argument[]): Promise<unknown> => {
    try {
      return await redis.callBuffer(name, ...args.map(argumentOf));
    } catch (error) {
      if (isMissingScript(error)) throw error;
      failures++;
      throw redisError(error, problem);
    }
  };
  return {
    command: (name, ...args) => command(name, args),
    async run({ sha, text }, keys, args) {
      const rest = [keys.length, ...keys, ...args];
      try {
        return await command('EVALSHA', [sha, ...rest]);
      } catch (error) {
        if (!isMissingScript(error)) throw error;
        return command('EVAL', [text, ...rest]);
      }
    },
    problem: () => problem,
    get failures() {
      return failures;
    },
    async close() {
      // What was sent is answered first; a Redis that is away has nothing to answer.
      if (redis.status === 'ready') await redis.quit().catch(() => {});
      redis.disconnect();
    },
  };
}

function optionsOf(connection: RedisConnection): RedisOptions {
  const { place, username, password, sentinelPassword, tls } = connection;
  const retryStrategy = (times: number) => Math.min(100 * 2 ** times, REDIS_RETRY_MS_MAX);
  const options: RedisOptions = {
    ...(username !== undefined && { username }),
    connectTimeout: REDIS_CONNECT_MS_MAX,
    commandTimeout: REDIS_COMMAND_MS_MAX,
    keepAlive: 10_000,
    // What cannot be sent now fails now, and so does what was sent over a connection that broke.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy,
    // A master that became a replica says so; the Sentinels know the new one.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
    ...(tls !== undefined && { tls }),
  };
  if (password !== undefined) options.password = password();
  if ('host' in place) return Object.assign(options, place);
  return Object.assign(options, {
    sentinels: place.sentinels.map((one) => ({ ...one })),
    name: place.master,
    sentinelRetryStrategy: retryStrategy,
    failoverDetector: true,
    ...(sentinelPassword !== undefined && { sentinelPassword }),
    ...(tls !== undefined && { sentinelTLS: tls, enableTLSForSentinelMode: true }),
  });
}

function argumentOf(argument: Argument): string | number | Buffer {
  return argument instanceof Uint8Array
    ? Buffer.from(argument.buffer, argument.byteOffset, argument.byteLength)
    : argument;
}

function isMissingScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT');
}

/** Credentials and permissions do not mend themselves; all else is a Redis that is away, full, or changing its master. */
function redisError(error: unknown, problem: string | undefined): OperatingError {
  // While there is no connection the client only says that it cannot send; what it was refused for says more.
  const text = problem ?? `Redis does not answer: ${reasonOf(error)}`;
  if (/: (WRONGPASS|NOAUTH|NOPERM|ERR AUTH)/.test(text)) {
    const cure = 'check redis.username and redis.passwordFile';
    return new OperatingError('store_denied', `${text}; ${cure}`, error);
  }
  return new OperatingError('store_unavailable', text, error);
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return message === '' || message === undefined ? (code ?? String(error)) : message;
}
