// The demo's own routes: which faults there are and since when, and putting one in or taking it away. No other command
// has them, and no document lists them.

import type { HttpServer } from '../http-server.js';
import { FAULTS, type Faults, isFaultName } from './demo-faults.js';

const BODY_BYTES_MAX = 1_024;

export interface DemoControl {
  faults: Faults;
  clock: () => number;
  /** Sends what the shop says now, rather than at the next step. */
  onChange: () => void;
}

export function demoRoutes(server: HttpServer, { faults, clock, onChange }: DemoControl): void {
  const rows = () =>
    FAULTS.map(({ name, key, title, look }) => {
      const since = faults.since(name, clock());
      return { name, key, title, look, since: since === undefined ? null : iso(since) };
    });
  server.get('/demo/faults', async () => ({ faults: rows() }));
  server.post<{ Body: unknown }>(
    '/demo/faults',
    { bodyLimit: BODY_BYTES_MAX },
    async (request, reply) => {
      const { fault, on = true } = (request.body ?? {}) as { fault?: unknown; on?: unknown };
      if (typeof fault !== 'string' || !isFaultName(fault) || typeof on !== 'boolean') {
        const names = FAULTS.map(({ name }) => name).join(', ');
        const error = `Send {"fault": NAME, "on": true or false}; faults are ${names}`;
        return reply.code(400).send({ error });
      }
      faults.set(fault, on, clock());
      onChange();
      return { faults: rows() };
    },
  );
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
