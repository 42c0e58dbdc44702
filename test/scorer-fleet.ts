// Scorers as far as an api sees them: the real routes on real sockets of the loopback network, with series that a test
// names. Each may be given an address of 127/8 of its own, so that several stand behind one port as they do behind a name.

import type { AddressInfo } from 'node:net';
import {
  isEntryCursor,
  type SeriesSource,
  seriesRoutes,
  statusRoute,
} from '../src/api/rest-series.js';
import { Access } from '../src/auth.js';
import { sizeBytes } from '../src/config.js';
import { createHttpServer, type HttpServer, type TlsFiles } from '../src/http-server.js';
import { createMetrics } from '../src/metrics.js';
import { ONLY_TENANT } from '../src/tenant.js';
import { quiet } from './api-site.js';

export interface KnownSeries {
  fingerprint: string;
  tenant?: string;
  name?: string;
}

export interface FleetScorer {
  url: string;
  port: number;
  server: HttpServer;
  /** What is there may be changed. */
  known: KnownSeries[];
  owned: number[];
  /** Requests for series and status, as they came. */
  asked: { url: string; tenant: string | undefined; authorization: string | undefined }[];
  stop(): Promise<void>;
}

export interface FleetOptions {
  owned: readonly number[];
  known?: readonly KnownSeries[];
  host?: string;
  port?: number;
  tenancy?: 'off' | 'header';
  tokenFile?: string;
  tls?: TlsFiles;
}

export async function startFleetScorer(options: FleetOptions): Promise<FleetScorer> {
  const { host = '127.0.0.1', port = 0, tenancy = 'off', tokenFile, tls } = options;
  const credentials =
    tokenFile === undefined ? [] : [{ name: 'api', tokenFile, allow: ['read' as const] }];
  const access = new Access({ credentials, open: [], tenancy, sizeBytes }, Date.now);
  const server = createHttpServer({
    metrics: createMetrics('0'),
    logger: quiet,
    judge: (knock) => access.judge(knock),
    ...(tls !== undefined && { tls }),
  });
  const known = [...(options.known ?? [])];
  const owned = [...options.owned];
  const asked: FleetScorer['asked'] = [];
  server.addHook('onRequest', async ({ url, headers }) => {
    const tenant = headers['x-scope-orgid'] as string | undefined;
    asked.push({ url, tenant, authorization: headers.authorization });
  });
  const series = sourceOf(known, owned);
  void server.register(
    async (scope) => {
      seriesRoutes(scope, series);
      const status = async (tenant: string | undefined, withHash: boolean) =>
        tenant === undefined || tenant === ONLY_TENANT
          ? series.status(withHash)
          : { tenant, ...(await series.count(tenant)) };
      statusRoute(scope, status, series);
      scope.setErrorHandler((error: Error, _request, reply) => {
        void reply
          .code(error.constructor.name === 'NotFound' ? 404 : 400)
          .send({ error: error.message });
      });
    },
    { prefix: '/anomaly/v1' },
  );
  await server.listen({ host, port });
  const taken = (server.server.address() as AddressInfo).port;
  return {
    ...{ server, known, owned, asked },
    url: `http${tls === undefined ? '' : 's'}://${host}:${taken}`,
    port: taken,
    stop: () => {
      server.server.closeAllConnections();
      return server.close();
    },
  };
}

/** Pages as a scorer makes them: the cursor is the place of the next entry. */
function sourceOf(known: readonly KnownSeries[], owned: readonly number[]): SeriesSource {
  const ofTenant = (wanted: string) =>
    known.filter(({ tenant = ONLY_TENANT }) => tenant === wanted);
  return {
    partitions: () => [...owned],
    isCursor: isEntryCursor,
    async page({ tenant, matches, limit, cursor = '0.0' }) {
      const all = ofTenant(tenant).filter(({ name = 'x' }) =>
        matches([{ name: '__name__', value: name }]),
      );
      const from = Number(cursor.split('.')[1]);
      const rows = all.slice(from, from + limit);
      return { rows, ...(from + limit < all.length && { next: `0.${from + limit}` }) };
    },
    find: ({ fingerprint, tenant }) =>
      ofTenant(tenant).find((series) => series.fingerprint === fingerprint),
    async count(tenant) {
      const { length } = ofTenant(tenant);
      return { series: length, scored: length };
    },
    status: async (withHash) => ({
      partitions: owned.map((partition) => ({ partition, stateHash: withHash ? 'h' : null })),
    }),
  };
}
