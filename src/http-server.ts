// Builds the HTTP listener that the roles register their routes on, and gives every answer the same manners: errors
// are plain text with a reason, unknown routes are 404, every request is counted by route and code.

import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { OperatingError } from './errors.js';
import type { Metrics } from './metrics.js';

export type HttpServer = FastifyInstance;
export type HttpRequest = FastifyRequest;
export type HttpReply = FastifyReply;

/** What of pino the program uses. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export const PLAIN = 'text/plain; charset=utf-8';

export function createHttpServer(options: { metrics: Metrics; logger: Logger }): HttpServer {
  const { metrics, logger } = options;
  const server = fastify({
    // Idle connections of senders live longer than a scrape interval; a slow body has a limit of its own.
    keepAliveTimeout: 75_000,
    forceCloseConnections: 'idle',
    return503OnClosing: true,
    exposeHeadRoutes: false,
  });
  server.addHook('onSend', async (_request, reply) => {
    reply.header('X-Content-Type-Options', 'nosniff');
  });
  server.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'none';
    metrics.requests.inc({ route, code: String(reply.statusCode) });
    metrics.requestSeconds.observe({ route }, reply.elapsedTime / 1000);
  });
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

/** Resolves with the address that is listened on. Rejects with `address_in_use` when somebody else has it. */
export async function listen(
  server: HttpServer,
  address: { host: string; port: number },
): Promise<string> {
  try {
    return await server.listen(address);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const where = `${address.host}:${address.port}`;
    const reasons: Record<string, string> = {
      EADDRINUSE: `Cannot listen on ${where}: another program has this port; stop it or set listen`,
      EADDRNOTAVAIL: `Cannot listen on ${where}: this machine has no such address; set listen`,
      EACCES: `Cannot listen on ${where}: not permitted; ports below 1024 need privileges; set listen`,
      ENOTFOUND: `Cannot listen on ${where}: no such host; set listen`,
    };
    throw new OperatingError(
      'address_in_use',
      reasons[code ?? ''] ?? `Cannot listen on ${where}`,
      error,
    );
  }
}
