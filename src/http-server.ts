// Builds the HTTP listener that the roles register their routes on, and gives every answer the same manners: who may
// in is judged by the headers before a body is read, errors are plain text with a reason, unknown routes are 404, every
// request is counted by route and code.

import { strict as assert } from 'node:assert';
import type { Server as TlsServer } from 'node:https';
import type { Socket } from 'node:net';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Admission, Knock, Refusal } from './auth.js';
import { OperatingError } from './errors.js';
import { CLOSE_LOOK_MS, CLOSE_MS_MAX } from './limits-outputs.js';
import type { Metrics } from './metrics.js';
import { placeOf } from './path-groups.js';
import { ONLY_TENANT } from './tenant.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** Set before any route is called. */
    admission: Admission;
  }
}

export type HttpServer = FastifyInstance;
export type HttpRequest = FastifyRequest;
export type HttpReply = FastifyReply;

/** What of pino the program uses. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  /** Least severe lines that are written; may be set. */
  level?: string;
}

/** Connections that wait to be accepted; the kernel's own limit (somaxconn) bounds it. */
const BACKLOG = 4096;

export const PLAIN = 'text/plain; charset=utf-8';

export interface TlsFiles {
  cert: string;
  key: string;
}

export interface HttpServerParts {
  metrics: Metrics;
  logger: Logger;
  /** Judges each request by its headers; without it everybody may everything. */
  judge?: (knock: Knock) => Admission | Refusal;
  /** With it only HTTPS is spoken. */
  tls?: TlsFiles;
}

const EVERYBODY: Admission = { tenant: ONLY_TENANT, spend() {} };
export function createHttpServer(parts: HttpServerParts): HttpServer {
  const { metrics, logger, judge, tls } = parts;
  const options = {
    // Idle connections of senders live longer than a scrape interval; a slow body has a limit of its own.
    keepAliveTimeout: 75_000,
    forceCloseConnections: 'idle' as const,
    return503OnClosing: true,
    exposeHeadRoutes: false,
  };
  // An HTTPS server has all that the roles use of an HTTP one; the types know them as two.
  const server =
    tls === undefined
      ? fastify(options)
      : (fastify({
          ...options,
          https: { ...tls, minVersion: 'TLSv1.2' },
        }) as unknown as HttpServer);
  server.decorateRequest('admission', null as unknown as Admission);
  server.addHook('onRequest', async (request, reply) => {
    const knock = knockOf(request);
    if (judge === undefined || knock === undefined) {
      request.admission = EVERYBODY;
      return;
    }
    const verdict = judge(knock);
    if (!('status' in verdict)) {
      request.admission = verdict;
      return;
    }
    // A refused body is not read: the connection ends with the answer.
    if (knock.group === 'write') reply.header('Connection', 'close');
    return reply
      .code(verdict.status)
      .headers(verdict.headers)
      .type(PLAIN)
      .send(`${verdict.message}\n`);
  });
  server.addHook('onSend', async (_request, reply) => {
    reply.header('X-Content-Type-Options', 'nosniff');
  });
  server.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'none';
    metrics.requests.inc({ route, code: String(reply.statusCode) });
    metrics.requestSeconds.observe({ route }, reply.elapsedTime / 1000);
  });
  endIdleConnections(server, tls !== undefined);
  server.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0] ?? '';
    void reply
      .code(404)
      .type(PLAIN)
      .send(`No route ${request.method} ${path.slice(0, 200)}\n`);
  });
  server.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
    const status = error instanceof OperatingError ? error.status : (error.statusCode ?? 500);
    if (status >= 500) {
      logger.error({ route: request.routeOptions.url, err: error }, 'Request failed');
    }
    if (status === 503) reply.header('Retry-After', '1');
    const known = error instanceof OperatingError || status < 500;
    const message = known ? error.message : 'Internal error; the log of this process names it';
    void reply.code(status).type(PLAIN).send(`${message}\n`);
  });
  return server;
}

/**
 * While the listener closes, a connection ends as soon as nothing is under way on it: also one that becomes idle later, and
 * one on which nobody ever asked anything. What is still under way after `CLOSE_MS_MAX` is broken off.
 */
function endIdleConnections(server: HttpServer, isTls: boolean): void {
  const { server: listener } = server;
  /** Requests under way. */
  const busy = new Map<Socket, number>();
  listener.on(isTls ? 'secureConnection' : 'connection', (socket: Socket) => {
    busy.set(socket, 0);
    socket.once('close', () => busy.delete(socket));
  });
  const count = (socket: Socket, step: number) => {
    const requests = busy.get(socket);
    if (requests !== undefined) busy.set(socket, requests + step);
  };
  listener.on('request', ({ socket }, answer) => {
    count(socket, 1);
    answer.once('close', () => count(socket, -1));
  });
  server.addHook('preClose', async () => {
    const until = performance.now() + CLOSE_MS_MAX;
    const look = setInterval(() => {
      for (const [socket, requests] of busy) {
        if (requests === 0) socket.destroySoon();
        else if (performance.now() > until) socket.destroy();
      }
    }, CLOSE_LOOK_MS);
    listener.once('close', () => clearInterval(look));
    look.unref();
  });
}

/** Undefined for the routes that are open to everybody. */
function knockOf(request: FastifyRequest): Knock | undefined {
  const { method, headers } = request.raw;
  const place = placeOf(method ?? 'GET', request.routeOptions.url);
  return place === undefined ? undefined : { ...place, headers };
}

/** The tenant that a route of one tenant is called for; never undefined there. */
export function tenantOf(request: FastifyRequest): string {
  const { tenant } = request.admission;
  assert(tenant !== undefined, 'a route that belongs to a tenant was reached without one');
  return tenant;
}

/** New connections are made with these; those that are open stay as they are. Throws when they cannot be used. */
export function setTls(server: HttpServer, files: TlsFiles): void {
  (server.server as unknown as TlsServer).setSecureContext({ ...files, minVersion: 'TLSv1.2' });
}

/** Resolves with the address that is listened on. Rejects with `address_in_use`, naming the setting `key`. */
export async function listen(
  server: HttpServer,
  address: { host: string; port: number },
  key = 'listen',
): Promise<string> {
  try {
    // Thousands of senders that come back at once would overflow the usual queue of 511.
    return await server.listen({ ...address, backlog: BACKLOG });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const where = `${address.host}:${address.port}`;
    const reasons: Record<string, string> = {
      EADDRINUSE: `Cannot listen on ${where}: another program has this port; stop it or set ${key}`,
      EADDRNOTAVAIL: `Cannot listen on ${where}: this machine has no such address; set ${key}`,
      EACCES: `Cannot listen on ${where}: not permitted; ports below 1024 need privileges; set ${key}`,
      ENOTFOUND: `Cannot listen on ${where}: no such host; set ${key}`,
    };
    throw new OperatingError(
      'address_in_use',
      reasons[code ?? ''] ?? `Cannot listen on ${where}`,
      error,
    );
  }
}
