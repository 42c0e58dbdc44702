// What Prometheus reads: our own metrics, and the anomaly gauges of the series scored here, which are streamed.

import { Readable } from 'node:stream';
import { type HttpReply, type HttpServer, PLAIN } from './http-server.js';
import { anyOf, BadMatcher } from './matchers.js';
import type { Metrics } from './metrics.js';
import type { Label } from './series.js';

export interface GaugeSource {
  lines(scrape: {
    isUtf8: boolean;
    matches: (labels: readonly Label[]) => boolean;
  }): Iterable<string>;
}

type Query = Record<string, string | string[] | undefined>;

/** `gauges` is absent in a process that scores nothing; then the route is, too. */
export function scrapeRoutes(server: HttpServer, metrics: Metrics, gauges?: GaugeSource): void {
  server.get<{ Querystring: Query }>('/metrics', async (request, reply) => {
    const own = await metrics.text();
    if (request.query['all'] !== '1' || gauges === undefined) {
      return reply.type(metrics.contentType).send(own);
    }
    return stream(reply, {
      accept: request.headers.accept,
      query: request.query,
      gauges,
      first: own,
    });
  });
  if (gauges === undefined) return;
  server.get<{ Querystring: Query }>('/metrics/anomalies', (request, reply) =>
    stream(reply, { accept: request.headers.accept, query: request.query, gauges, first: '' }),
  );
}

function stream(
  reply: HttpReply,
  scrape: { accept: string | undefined; query: Query; gauges: GaugeSource; first: string },
): HttpReply {
  const isUtf8 = /escaping=allow-utf-8/.test(scrape.accept ?? '');
  let matches: (labels: readonly Label[]) => boolean;
  try {
    matches = anyOf(listOf(scrape.query['match[]']));
  } catch (error) {
    if (!(error instanceof BadMatcher)) throw error;
    return reply.code(400).type(PLAIN).send(`${error.message}\n`);
  }
  const version = isUtf8 ? '1.0.0; escaping=allow-utf-8' : '0.0.4';
  return reply
    .type(`text/plain; version=${version}; charset=utf-8`)
    .send(Readable.from(slices(scrape.first, scrape.gauges.lines({ isUtf8, matches }))));
}

/** Hands out a slice at a time and lets other requests in between. */
async function* slices(first: string, lines: Iterable<string>): AsyncGenerator<string> {
  if (first !== '') yield first;
  for (const slice of lines) {
    yield slice;
    await new Promise((turn) => setImmediate(turn));
  }
}

export function listOf(value: string | string[] | undefined): string[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}
