// The REST routes under /anomaly/v1, in JSON. They read two things: the view of anomalies, which this role folds from
// the candidates log, and the state of series, which their owning scorer answers for.

import { fromBinary } from '@bufbuild/protobuf';
import { CandidateSchema } from '../gen/candidate_pb.js';
import { type HttpReply, type HttpServer, type Logger, PLAIN, tenantOf } from '../http-server.js';
import { PAGE_ROWS_MAX } from '../limits.js';
import type { Log } from '../log/log.js';
import { anyOf, BadMatcher } from '../matchers.js';
import type { Metrics } from '../metrics.js';
import { listOf } from '../scrape.js';
import type { Label } from '../series.js';
import { type Running, runStage } from '../stage.js';
import { ONLY_TENANT } from '../tenant.js';
import { Anomalies, type Anomaly, explain, time } from './anomalies.js';

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

export interface ApiParts {
  log: Log;
  metrics: Metrics;
  logger: Logger;
  /** Absent in a process that scores nothing. */
  series?: SeriesSource;
  /** What a status answer says of the process. */
  describe: () => object;
}

type Query = Record<string, string | string[] | undefined>;

/** Says what is wrong with a query; answered 400. */
class BadQuery extends Error {}

export class Api {
  readonly #parts: ApiParts;
  readonly #anomalies = new Anomalies();
  #running: Running | undefined;

  constructor(parts: ApiParts) {
    this.#parts = parts;
  }

  async start(): Promise<void> {
    const { log, metrics, logger } = this.#parts;
    this.#running = await runStage(
      log,
      {
        topic: 'candidates',
        restore: async (partition) => (await log.bounds('candidates', partition)).low,
        apply: (_partition, record) => this.#anomalies.apply(fromBinary(CandidateSchema, record)),
        onGap: (partition, records) => {
          metrics.gapRecords.inc({ topic: 'candidates', partition: String(partition) }, records);
        },
        settle: async () => {},
      },
      logger,
    );
  }

  get failed(): Promise<void> {
    return this.#running?.failed ?? Promise.resolve();
  }

  async stop(): Promise<void> {
    await this.#running?.stop();
  }

  unready(): string | undefined {
    const { log } = this.#parts;
    const running = this.#running;
    if (running === undefined) return 'not started';
    for (let partition = 0; partition < log.partitions; partition++) {
      if (!running.hasCaughtUp(partition)) return 'reading candidates';
    }
    return undefined;
  }

  routes(server: HttpServer): void {
    const root = '/anomaly/v1';
    server.get<{ Querystring: Query }>(`${root}/anomalies`, (request, reply) =>
      answer(reply, () => this.#list(request.query, tenantOf(request))),
    );
    server.get<{ Params: { id: string } }>(`${root}/anomalies/:id`, (request, reply) => {
      const anomaly = this.#anomalies.get(request.params.id, tenantOf(request));
      return anomaly === undefined ? missing(reply, 'anomaly') : reply.send(rowOf(anomaly));
    });
    server.get<{ Querystring: { stateHash?: string } }>(`${root}/status`, (request) =>
      this.#status(request.admission.tenant, request.query.stateHash === 'now'),
    );
    const { series } = this.#parts;
    if (series === undefined) return;
    server.get<{ Querystring: Query }>(`${root}/series`, (request, reply) =>
      answer(reply, async () => {
        const { query } = request;
        const cursor = single(query, 'cursor');
        if (cursor !== undefined && !/^\d+\.\d+$/.test(cursor))
          throw new BadQuery('cursor is not ours');
        const page = await series.page({
          tenant: tenantOf(request),
          matches: anyOf(listOf(query['match[]'])),
          limit: limitOf(query),
          ...(cursor === undefined ? {} : { cursor }),
        });
        return { series: page.rows, ...(page.next === undefined ? {} : { cursor: page.next }) };
      }),
    );
    server.get<{ Params: { fingerprint: string } }>(
      `${root}/series/:fingerprint`,
      (request, reply) => {
        const { fingerprint } = request.params;
        const row = /^[0-9a-f]{16}$/.test(fingerprint)
          ? series.find({ fingerprint, tenant: tenantOf(request) })
          : undefined;
        return row === undefined ? missing(reply, 'series') : reply.send(row);
      },
    );
  }

  /** Of the whole process for its operator, of what is its own for a tenant. */
  async #status(tenant: string | undefined, withHash: boolean): Promise<object> {
    const { describe, log, series } = this.#parts;
    if (tenant !== undefined && tenant !== ONLY_TENANT) {
      const anomalies = this.#anomalies.list(tenant).length;
      return { tenant, anomalies, ...(await series?.count(tenant)) };
    }
    return {
      ...describe(),
      logId: log.id,
      anomalies: this.#anomalies.count,
      partitions: await series?.status(withHash),
    };
  }

  #list(query: Query, tenant: string): object {
    const matches = anyOf(listOf(query['match[]']));
    const state = single(query, 'state');
    if (state !== undefined && state !== 'open' && state !== 'closed') {
      throw new BadQuery(`state is ${JSON.stringify(state)}, expected open or closed`);
    }
    const start = timeOf(query, 'start') ?? Number.NEGATIVE_INFINITY;
    const end = timeOf(query, 'end') ?? Number.POSITIVE_INFINITY;
    const limit = limitOf(query);
    const cursor = single(query, 'cursor');
    const all = this.#anomalies
      .list(tenant)
      .filter(
        (anomaly) =>
          (state === undefined || anomaly.state === state) &&
          anomaly.onsetMs <= end &&
          (anomaly.endMs ?? Number.POSITIVE_INFINITY) >= start &&
          matches(anomaly.labels),
      );
    const from = cursor === undefined ? 0 : all.findIndex(({ id }) => id === cursor);
    if (from < 0)
      throw new BadQuery('cursor names an anomaly that is no longer listed; begin again');
    const next = all[from + limit];
    return {
      anomalies: all.slice(from, from + limit).map(rowOf),
      ...(next === undefined ? {} : { cursor: next.id }),
    };
  }
}

function rowOf(anomaly: Anomaly): object {
  const { id, fingerprint, series, state, score, value, expected, lower, upper, cause } = anomaly;
  return {
    id,
    series,
    labels: Object.fromEntries(anomaly.labels.map((label) => [label.name, label.value])),
    fingerprint,
    state,
    onset: time(anomaly.onsetMs),
    peak: time(anomaly.peakMs),
    end: anomaly.endMs === undefined ? null : time(anomaly.endMs),
    score,
    value,
    expected,
    lower,
    upper,
    cause,
    verdict: 'unchecked',
    explanation: explain(anomaly),
  };
}

async function answer(reply: HttpReply, work: () => object | Promise<object>): Promise<HttpReply> {
  try {
    return reply.send(await work());
  } catch (error) {
    if (!(error instanceof BadMatcher || error instanceof BadQuery)) throw error;
    return reply.code(400).type(PLAIN).send(`${error.message}\n`);
  }
}

function missing(reply: HttpReply, what: string): HttpReply {
  return reply.code(404).type(PLAIN).send(`No such ${what} is known here\n`);
}

function single(query: Query, name: string): string | undefined {
  const values = listOf(query[name]);
  if (values.length > 1) throw new BadQuery(`${name} is given ${values.length} times`);
  return values[0];
}

function limitOf(query: Query): number {
  const text = single(query, 'limit') ?? '100';
  const limit = Number(text);
  if (!Number.isInteger(limit) || limit < 1 || limit > PAGE_ROWS_MAX) {
    throw new BadQuery(`limit is ${JSON.stringify(text)}, expected 1 to ${PAGE_ROWS_MAX}`);
  }
  return limit;
}

/** RFC 3339 or seconds since the epoch, as Prometheus takes them. */
function timeOf(query: Query, name: string): number | undefined {
  const text = single(query, name);
  if (text === undefined) return undefined;
  const ms = /^-?[0-9.]+$/.test(text) ? Number(text) * 1000 : Date.parse(text);
  if (Number.isNaN(ms)) {
    throw new BadQuery(
      `${name} is ${JSON.stringify(text)}, expected RFC 3339 or seconds since 1970`,
    );
  }
  return ms;
}
