// The api role alone, over HTTP without a socket: a log and a store in memory, which the next site may take over, as a
// process does that starts again.

import { toBinary } from '@bufbuild/protobuf';
import { expect } from 'vitest';
import { Api, type ApiParts } from '../src/api/api.js';
import { isEntryCursor } from '../src/api/rest-series.js';
import { type Candidate, CandidateSchema } from '../src/gen/candidate_pb.js';
import { healthRoutes } from '../src/health.js';
import {
  createHttpServer,
  type HttpServer,
  type HttpServerParts,
  type Logger,
} from '../src/http-server.js';
import { createMetrics } from '../src/metrics.js';
import { openApi } from '../src/openapi.js';
import { MemoryLog } from './memory-log.js';
import { MemoryStore, type Versioned } from './memory-store.js';
import { parseMetrics, readingOf } from './treeline-process.js';

export const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };

export interface ApiSite {
  server: HttpServer;
  log: MemoryLog;
  store: MemoryStore;
  entries: Map<string, Versioned>;
  api: Api;
  append(partition: number, candidates: readonly Candidate[]): Promise<void>;
  /** Resolves once it is ready. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Below /anomaly/v1. */
  get(path: string, headers?: Record<string, string>): Promise<JsonAnswer>;
  send(method: 'POST' | 'DELETE', path: string, body?: object): Promise<JsonAnswer>;
  metric(name: string, labels?: Record<string, string>): Promise<number>;
  until<T>(read: () => Promise<T>, isDone: (value: T) => boolean): Promise<T>;
}

export interface JsonAnswer {
  statusCode: number;
  // biome-ignore lint/suspicious/noExplicitAny: what an answer holds is what the test is about
  body: any;
}

export async function openApiSite(options: {
  partitions?: number;
  after?: ApiSite;
  settings?: Partial<ApiParts['settings']>;
  clock?: () => number;
  judge?: HttpServerParts['judge'];
  /** A log and a store that other sites have, too; the log is closed by whoever made it. */
  log?: MemoryLog;
  shared?: NonNullable<ApiParts['shared']>;
  hasTopic?: boolean;
  /** Instead of ours. */
  series?: NonNullable<ApiParts['series']>;
}): Promise<ApiSite> {
  const { partitions = 1, after, settings, clock = () => 0, judge, shared, hasTopic } = options;
  const metrics = createMetrics('0');
  const log = options.log ?? new MemoryLog(partitions, after?.log.remains);
  const entries = after?.entries ?? new Map<string, Versioned>();
  const store = new MemoryStore(entries);
  const server = createHttpServer({ metrics, logger: quiet, ...(judge && { judge }) });
  await openApi(server, '0');
  const api = new Api({
    ...{ log, store: shared?.store ?? store, metrics, clock, logger: quiet },
    ...(shared !== undefined && { shared }),
    ...(hasTopic !== undefined && { hasTopic }),
    settings: {
      retentionMs: 90 * 864e5,
      partitionBy: [['namespace', 'pod'], ['instance']],
      alerts: { mode: 'auto', budget: 5 },
      alertmanagers: [],
      ...settings,
    },
    describe: () => ({ version: '0' }),
    series: options.series ?? {
      page: async ({ limit }) => ({ rows: [{ limit }], next: '0.7' }),
      find: ({ fingerprint }) => (fingerprint === '00000000000000aa' ? { fingerprint } : undefined),
      count: async (tenant) => ({ tenant }),
      status: async (withHash) => ({ partitions: [{ withHash }] }),
      isCursor: isEntryCursor,
    },
  });
  api.routes(server);
  healthRoutes(server, [{ name: 'api', missing: () => api.unready() }]);
  const answer = (statusCode: number, body: string) => ({
    statusCode,
    body: body === '' ? undefined : JSON.parse(body),
  });
  const site: ApiSite = {
    ...{ server, log, store, entries, api },
    async append(partition, candidates) {
      for (const one of candidates) {
        await log.append('candidates', partition, toBinary(CandidateSchema, one), 0);
      }
    },
    async start() {
      await api.start();
      await site.until(
        async () => api.unready(),
        (missing) => missing === undefined,
      );
    },
    async stop() {
      await server.close();
      await api.stop();
      if (options.log === undefined) await log.close();
    },
    async get(path, headers = {}) {
      const { statusCode, body } = await server.inject({ url: `/anomaly/v1${path}`, headers });
      return answer(statusCode, body);
    },
    async send(method, path, body) {
      const { statusCode, body: text } = await server.inject({
        method,
        url: `/anomaly/v1${path}`,
        ...(body !== undefined && { payload: body }),
      });
      return answer(statusCode, text);
    },
    metric: async (name, labels) =>
      readingOf(parseMetrics(await metrics.text()), name, labels) ?? 0,
    async until(read, isDone) {
      for (let tries = 0; tries < 1000; tries++) {
        const value = await read();
        if (isDone(value)) return value;
        await new Promise((turn) => setTimeout(turn, 5));
      }
      return expect.fail('it did not come true within 5 s');
    },
  };
  return site;
}
