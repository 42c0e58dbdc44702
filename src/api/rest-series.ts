// The routes about series and the process, answered by those who own them: the scorer for its series, the api for itself.

import { Type } from '@sinclair/typebox';
import { type HttpServer, tenantOf } from '../http-server.js';
import { anyOf } from '../matchers.js';
import type { Label } from '../series.js';
import { BadRequest, NotFound } from './query.js';
import { Anything, FAILURES, NOT_FOUND, SeriesPage, SeriesQuery } from './rest-schemas.js';

export interface SeriesSource {
  page(query: {
    tenant: string;
    matches: (labels: readonly Label[]) => boolean;
    limit: number;
    cursor?: string;
  }): Promise<{ rows: object[]; next?: string }>;
  find(wanted: { fingerprint: string; tenant: string }): object | undefined;
  count(tenant: string): Promise<object>;
  status(withHash: boolean): Promise<object[]>;
}

const Fingerprint = Type.Object({ fingerprint: Type.String({ minLength: 1, maxLength: 100 }) });

export function seriesRoutes(server: HttpServer, series: SeriesSource): void {
  const tags = ['series'];
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
    async (request) => {
      const { cursor, limit, 'match[]': match = [] } = request.query;
      if (cursor !== undefined && !/^\d{1,3}\.\d{1,9}$/.test(cursor)) {
        throw new BadRequest('cursor is not ours; begin again without it');
      }
      const page = await series.page({
        tenant: tenantOf(request),
        matches: anyOf(match),
        limit,
        ...(cursor !== undefined && { cursor }),
      });
      return { series: page.rows, ...(page.next !== undefined && { cursor: page.next }) };
    },
  );
  server.get<{ Params: { fingerprint: string } }>(
    '/series/:fingerprint',
    {
      schema: {
        tags,
        summary: 'One series',
        params: Fingerprint,
        response: { 200: Anything, ...FAILURES, ...NOT_FOUND },
      },
    },
    async (request) => {
      const { fingerprint } = request.params;
      const row = /^[0-9a-f]{16}$/.test(fingerprint)
        ? series.find({ fingerprint, tenant: tenantOf(request) })
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
    (request) => status(request.admission.tenant, request.query.stateHash === 'now'),
  );
}
