// What Prometheus reads: our own metrics, and the anomaly gauges of the series scored here, which are streamed. The
// gauges are those of the tenant that the request speaks for; our own metrics are of all tenants together, so where
// tenants are told apart they are for the operator alone.

import { Readable } from 'node:stream';
import { type HttpReply, type HttpServer, PLAIN, tenantOf } from './http-server.js';
import { anyOf, BadMatcher } from './matchers.js';
import type { Metrics } from './metrics.js';
import type { Label } from './series.js';
import { ONLY_TENANT } from './tenant.js';

export interface GaugeSource {
  lines(scrape: {
    isUtf8: boolean;
    matches: (labels: readonly Label[]) => boolean;
    tenant: string;
  }): Iterable<string | Uint8Array>;
}

/** Gauges that stand on /metrics itself, by the names of another program. */
export type ProfileLines = (tenant: string) => Promise<Iterable<string>>;

type Query = Record<string, string | string[] | undefined>;

/** `gauges` is absent in a process that scores nothing; then the route is, too. */
export function scrapeRoutes(
  server: HttpServer,
  metrics: Metrics,
  gauges?: GaugeSource,
  profile?: ProfileLines,
): void {
  server.get<{ Querystring: Query }>('/metrics', async (request, reply) => {
    const { tenant } = request.admission;
    if (tenant !== undefined && tenant !== ONLY_TENANT) {
      return reply
        .code(403)
        .type(PLAIN)
        .send('These metrics are of all tenants together; a tenant reads /metrics/anomalies\n');
    }
    const own = await metrics.text();
    if (profile !== undefined) {
      // In place of those that ?all=1 adds: the names are the same, and what is worse is not.
      const lines = tenant === undefined ? [] : await profile(tenant);
      return reply.type(metrics.contentType).send(Readable.from(slices(own, lines)));
    }
    if (request.query['all'] !== '1' || gauges === undefined) {
      return reply.type(metrics.contentType).send(own);
    }
    if (tenant === undefined) {
      return reply
        .code(400)
        .type(PLAIN)
        .send('Tenants are told apart here: scrape /metrics/anomalies for each of them\n');
    }
    return stream(reply, {
      accept: request.headers.accept,
      query: request.query,
      gauges,
      first: own,
      tenant,
    });
  });
  if (gauges === undefined) return;
  server.get<{ Querystring: Query }>('/metrics/anomalies', (request, reply) => {
    const { query, headers } = request;
    const tenant = tenantOf(request);
    return stream(reply, { accept: headers.accept, query, gauges, first: '', tenant });
  });
}

function stream(
  reply: HttpReply,
  scrape: {
    accept: string | undefined;
    query: Query;
    gauges: GaugeSource;
    first: string;
    tenant: string;
  },
): HttpReply {
  const isUtf8 = /escaping=allow-utf-8/.test(scrape.accept ?? '');
  let matches: (labels: readonly Label[]) => boolean;
  try {
    matches = anyOf(listOf(scrape.query['match[]']));
  } catch (error) {
    if (!(error instanceof BadMatcher)) throw error;
    return reply.code(400).type(PLAIN).send(`${error.message}\n`);
  }
  const { first, gauges, tenant } = scrape;
  const version = isUtf8 ? '1.0.0; escaping=allow-utf-8' : '0.0.4';
  return reply
    .type(`text/plain; version=${version}; charset=utf-8`)
    .send(Readable.from(slices(first, gauges.lines({ isUtf8, matches, tenant }))));
}

/** Hands out a slice at a time and lets other requests in between. */
async function* slices(
  first: string,
  lines: Iterable<string | Uint8Array>,
): AsyncGenerator<string | Uint8Array> {
  if (first !== '') yield first;
  for (const slice of lines) {
    if (slice.length > 0) yield slice;
    await new Promise((turn) => setImmediate(turn));
  }
}

export function listOf(value: string | string[] | undefined): string[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}
