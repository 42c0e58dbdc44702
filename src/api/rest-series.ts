// The routes about series and the process, answered by those who own them: the scorer for its series, the api for itself.
// An answer says for which tenant it is and, where series are owned, of which partitions: an api that asks relies on it.

import { Type } from '@sinclair/typebox';
import { type HttpReply, type HttpRequest, type HttpServer, tenantOf } from '../http-server.js';
import { anyOf } from '../matchers.js';
import type { Label } from '../series.js';
import { ONLY_TENANT } from '../tenant.js';
import { BadRequest, NotFound } from './query.js';
import {
  Anything,
  FAILURES,
  NOT_FOUND,
  OWNER_UNREACHABLE,
  SeriesPage,
  SeriesQuery,
} from './rest-schemas.js';
import type { Unreachable } from './scorer-addresses.js';
import { ASKING_HEADER, PARTITIONS_HEADER, TENANT_HEADER } from './scorer-client.js';

export interface SeriesQuestion {
  tenant: string;
  /** Selectors, any of them; all series when there are none. */
  match: readonly string[];
  /** The same, parsed. */
  matches: (labels: readonly Label[]) => boolean;
  limit: number;
  cursor?: string;
}

export interface SeriesSource {
  /** Others are asked for the series; who asks for what we own ourselves is refused. */
  isElsewhere?: boolean;
  /** Those that we own and have read to their end; absent when they are elsewhere. */
  partitions?(): number[];
  isCursor(text: string): boolean;
  page(
    query: SeriesQuestion,
  ): Promise<{ rows: object[]; next?: string; unreachable?: readonly Unreachable[] }>;
  find(wanted: {
    fingerprint: string;
    tenant: string;
  }): object | undefined | Promise<object | undefined>;
  count(tenant: string): Promise<object>;
  status(withHash: boolean): Promise<{ partitions: object[] }>;
}

/** Of a page of series that are here. */
export function isEntryCursor(text: string): boolean {
  return /^\d{1,3}\.\d{1,9}$/.test(text);
}

const Fingerprint = Type.Object({ fingerprint: Type.String({ minLength: 1, maxLength: 100 }) });

export function seriesRoutes(server: HttpServer, series: SeriesSource): void {
  const tags = ['series'];
  if (series.isElsewhere === true) server.addHook('onRequest', refuseAskers);
  server.get<{ Querystring: SeriesQuery }>(
    '/series',
    {
      schema: {
        tags,
        summary: 'Series known here, with what is known of each',
        querystring: SeriesQuery,
        response: { 200: SeriesPage, ...FAILURES },
      },
    },
    async (request, reply) => {
      const { cursor, limit, 'match[]': match = [] } = request.query;
      if (cursor !== undefined && !series.isCursor(cursor)) {
        throw new BadRequest('cursor is not ours; begin again without it');
      }
      const tenant = tenantOf(request);
      signAnswer(reply, tenant, series);
      const page = await series.page({
        ...{ tenant, match, matches: anyOf(match) },
        limit,
        ...(cursor !== undefined && { cursor }),
      });
      const { rows, next, unreachable = [] } = page;
      return {
        series: rows,
        ...(next !== undefined && { cursor: next }),
        ...(unreachable.length > 0 && { unreachable }),
      };
    },
  );
  server.get<{ Params: { fingerprint: string } }>(
    '/series/:fingerprint',
    {
      schema: {
        tags,
        summary: 'One series',
        params: Fingerprint,
        response: { 200: Anything, ...FAILURES, ...NOT_FOUND, ...OWNER_UNREACHABLE },
      },
    },
    async (request, reply) => {
      const { fingerprint } = request.params;
      const tenant = tenantOf(request);
      signAnswer(reply, tenant, series);
      const row = /^[0-9a-f]{16}$/.test(fingerprint)
        ? await series.find({ fingerprint, tenant })
        : undefined;
      if (row === undefined) throw new NotFound('No such series is known here');
      return row;
    },
  );
}

/** `status`: of the whole process for its operator (undefined), of what is its own for a tenant. */
export function statusRoute(
  server: HttpServer,
  status: (tenant: string | undefined, withHash: boolean) => Promise<object>,
  series?: SeriesSource,
): void {
  server.get<{ Querystring: { stateHash?: string } }>(
    '/status',
    {
      schema: {
        tags: ['status'],
        summary: 'Roles, partitions, offsets, lag, memory, budget',
        querystring: Type.Object({
          stateHash: Type.Optional(
            Type.String({
              description: 'now: also the hash of the learnt state, which takes a copy of it',
            }),
          ),
        }),
        response: { 200: Anything, ...FAILURES },
      },
    },
    async (request, reply) => {
      const { tenant } = request.admission;
      signAnswer(reply, tenant ?? ONLY_TENANT, series);
      return status(tenant, request.query.stateHash === 'now');
    },
  );
}

function signAnswer(reply: HttpReply, tenant: string, series: SeriesSource | undefined): void {
  if (tenant !== ONLY_TENANT) reply.header(TENANT_HEADER, tenant);
  const partitions = series?.partitions?.();
  if (partitions !== undefined) reply.header(PARTITIONS_HEADER, partitions.join(','));
}

/** An api among the scorers of another, or of itself: they would ask each other in circles. */
async function refuseAskers(request: HttpRequest): Promise<void> {
  if (request.headers[ASKING_HEADER] === undefined) return;
  throw new BadRequest('This process scores nothing; api.scorers must list scorers only');
}
