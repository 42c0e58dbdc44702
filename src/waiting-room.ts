// What is answered while the log is away: liveness and readiness with the reason, and 503 with Retry-After to everybody
// else, so that senders keep what they have and a supervisor sees a process that lives and waits.

import { healthRoutes } from './health.js';
import { createHttpServer, type HttpServerParts, listen, PLAIN } from './http-server.js';

export interface WaitingRoom {
  /** What is waited for. */
  say(reason: string): void;
  close(): Promise<void>;
}

/** Rejects with `address_in_use`. */
export async function openWaitingRoom(
  parts: HttpServerParts,
  address: { host: string; port: number },
): Promise<WaitingRoom> {
  let reason = 'connecting';
  const server = createHttpServer(parts);
  // Bodies are not read: nothing can be done with them yet.
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('*', (_request, _payload, done) => done(null));
  healthRoutes(server, [{ name: 'log', missing: () => reason }]);
  server.all('/*', (_request, reply) =>
    reply
      .code(503)
      .headers({ 'Retry-After': '5', Connection: 'close' })
      .type(PLAIN)
      .send(`Starting: ${reason}\n`),
  );
  await listen(server, address);
  return {
    say(next) {
      reason = next;
    },
    close: () => server.close(),
  };
}
