// Liveness and readiness. Alive means that the event loop turns; ready means that every check says so, and the answer
// lists each check with what it still waits for.

import { type HttpServer, PLAIN } from './http-server.js';

export interface Check {
  name: string;
  /** Undefined when ready, else the reason and the progress. */
  missing: () => string | undefined;
  /** What a person should know although it is ready, and what sending elsewhere would not mend. */
  note?: () => string | undefined;
}

export function healthRoutes(server: HttpServer, checks: readonly Check[]): void {
  for (const path of ['/-/healthy', '/health']) {
    server.get(path, (_request, reply) => reply.type(PLAIN).send('Healthy\n'));
  }
  for (const path of ['/-/ready', '/ready', '/readyz']) {
    server.get(path, (_request, reply) => {
      const results = checks.map(({ name, missing, note }) => ({
        name,
        reason: missing(),
        said: note?.(),
      }));
      const isReady = results.every(({ reason }) => reason === undefined);
      const lines = results.map(({ name, reason, said }) => {
        return `${name}: ${reason ?? 'ready'}${said === undefined ? '' : `; ${said}`}\n`;
      });
      return reply
        .code(isReady ? 200 : 503)
        .type(PLAIN)
        .send(`${isReady ? 'Ready' : 'Not ready'}\n${lines.join('')}`);
    });
  }
}
