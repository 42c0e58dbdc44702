// POST /api/v1/write: bound, decode in one WASM call, append, answer. The status is the delivery guarantee: 204 and 400
// are sent only after every sample that they do not name is durable, and whatever a retry may mend is 503. (Prometheus
// retries 5xx for ever and by default drops on 429.)

import type { IncomingMessage, ServerResponse } from 'node:http';
import { OperatingError } from '../errors.js';
import type { HttpReply, HttpRequest, HttpServer, Logger } from '../http-server.js';
import { APPEND_BYTES_MAX, BODY_BYTES_MAX } from '../limits.js';
import type { Log } from '../log/log.js';
import type { Metrics } from '../metrics.js';
import { ONLY_TENANT } from '../tenant.js';
import { type Answer, NOTHING_WRITTEN, rejection, sayWritten, send } from './answer.js';
import { Appender, overloaded } from './appender.js';
import { BadRequest, type Version } from './bad-request.js';
import { BodyBudget, BodyRefused } from './body.js';
import { negotiate } from './negotiation.js';
import type { Replicas } from './replicas.js';
import type { Decoded, WasmDecoder, Written } from './wasm-decoder.js';

export interface ReceiverParts {
  log: Log;
  decoder: WasmDecoder;
  metrics: Metrics;
  logger: Logger;
  clock: () => number;
  /** Told of a request (remote-write 1.0, compressed) whose metadata said something new. */
  onFamilyNews?: (body: Uint8Array, tenant: string) => void;
  /** Whom the decoder asks about replicas; here only for what is counted. */
  replicas?: Replicas;
}

interface Origin {
  tenant: string;
  version: Version;
}

export interface Receiver {
  routes(server: HttpServer): void;
  /** A snappy block that comes from within the process, by the same rules and with the same promise. */
  take(body: Uint8Array, origin: Origin): Promise<Answer>;
  /** Bytes decoded and not yet durable. */
  waitingBytes(): number;
  /** Learns types and units from the metadata of a request that another receiver got; its samples are not taken. */
  learnFamilies(body: Uint8Array, tenant: string): void;
  /** From the next request on. */
  useDecoder(next: WasmDecoder): void;
}

const PATHS = ['/api/v1/write', '/api/v1/push'];
const LOG_EVERY_MS = 10_000;
const LEFT_OUT = 'Left out: another replica of this cluster is the elected one';

export function createReceiver(parts: ReceiverParts): Receiver {
  const { log, metrics, clock } = parts;
  let { decoder } = parts;
  const budget = new BodyBudget();
  // A request decoded before a failed append may count on announcements that were lost with it: it is answered 503
  // even when its own samples are durable, and everything decoded from now on announces its series again.
  let epoch = 0;
  const appender = new Appender(log, () => {
    epoch++;
    decoder.forgetAnnouncements();
  });
  const unavailable = complainer(parts);
  const count = countersOf(metrics, parts.replicas);
  // Senders that wait for a word before they send the body: they get it when the headers are found good.
  const waiting = new WeakMap<IncomingMessage, ServerResponse>();

  async function write(request: HttpRequest, reply: HttpReply): Promise<Answer> {
    const { version, refusal } = negotiate(request.raw.headers);
    // Said now, so that whatever comes up, a 2.0 sender is told that nothing was written.
    if (version === 2) sayWritten(reply, NOTHING_WRITTEN);
    if (version === undefined || refusal !== undefined) return { ...refusal!, close: true };
    if (appender.bytes > APPEND_BYTES_MAX / 2) {
      return { status: 503, message: overloaded().message, close: true };
    }
    const { tenant = ONLY_TENANT, spend } = request.admission;
    try {
      waiting.get(request.raw)?.writeContinue();
      const body = await budget.read(request.raw);
      const region = decoder.input(body.bytes);
      let at = 0;
      for (const chunk of body.chunks) {
        region.set(chunk, at);
        at += chunk.length;
      }
      const decoded = decoder.decode(body.bytes, { tenant, nowMs: clock(), version });
      spend(decoded.received);
      if (decoded.hasFamilyNews) parts.onFamilyNews?.(Buffer.concat(body.chunks), tenant);
      return await append(decoded, { tenant, version });
    } catch (error) {
      if (error instanceof BodyRefused) return { ...refused(error), close: true };
      if (error instanceof BadRequest) return refused(error);
      if (!isGone(request)) throw error;
      // Nobody reads this answer; the count is what remains of the request.
      metrics.requests.inc({ route: request.routeOptions.url ?? 'none', code: '499' });
      return { status: 400, message: 'The sender went away', close: true };
    }
  }

  async function take(body: Uint8Array, origin: Origin): Promise<Answer> {
    if (appender.bytes > APPEND_BYTES_MAX / 2)
      return { status: 503, message: overloaded().message };
    if (body.length > BODY_BYTES_MAX) return { status: 413, message: 'The body is too large' };
    try {
      decoder.input(body.length).set(body);
      return await append(decoder.decode(body.length, { ...origin, nowMs: clock() }), origin);
    } catch (error) {
      if (error instanceof BadRequest) return refused(error);
      throw error;
    }
  }

  /** Everything read from `decoded` is read before the first await: the next request overwrites it. */
  async function append(decoded: Decoded, { tenant, version }: Origin): Promise<Answer> {
    const begunIn = epoch;
    const { received } = decoded;
    const written = version === 2 ? decoded.written : undefined;
    const answer = answerTo(decoded, written);
    count(decoded);
    metrics.exemplars.inc(decoded.exemplars);
    metrics.cacheClears.set(decoder.cacheClears);
    const reasons = Object.entries({ ...decoded.rejected, ...decoded.leftOut });
    const appends = decoded.blocks.map(({ partition, ...block }) =>
      appender.add(partition, { tenant, ...block }).then(
        () => undefined,
        (error: unknown) => ({ samples: block.samples, error }),
      ),
    );
    const failures = (await Promise.all(appends)).filter((failure) => failure !== undefined);
    metrics.received.inc(received);
    for (const [reason, samples] of reasons) {
      if (samples > 0 && reason !== 'keep') metrics.rejected.inc({ reason }, samples);
    }
    for (const failure of failures)
      metrics.rejected.inc({ reason: 'unavailable' }, failure.samples);
    if (failures[0] !== undefined) return unavailable(failures[0].error);
    if (begunIn !== epoch) {
      return { status: 503, message: 'An append before this one failed; send these samples again' };
    }
    return answer;
  }

  return {
    take,
    waitingBytes: () => appender.bytes,
    learnFamilies(body, tenant) {
      decoder.input(body.length).set(body);
      decoder.decode(body.length, { tenant, nowMs: clock(), version: 1 });
    },
    useDecoder(next) {
      decoder = next;
      // It may have been in use before, and what it announced then may have been lost since.
      decoder.forgetAnnouncements();
    },
    routes: (server) => addRoutes(server, { write, waiting }),
  };
}

/** What a failed append is answered; the log hears of it now and then. Throws what is no operating error. */
function complainer({ logger, clock }: ReceiverParts): (error: unknown) => Answer {
  let complainedAt = 0;
  return (error) => {
    if (!(error instanceof OperatingError)) throw error;
    const now = clock();
    if (now - complainedAt > LOG_EVERY_MS) {
      complainedAt = now;
      logger.error(
        { code: error.code, err: error },
        'Samples could not be logged; senders are told to retry',
      );
    }
    return { status: 503, message: error.message };
  };
}

function addRoutes(
  server: HttpServer,
  {
    write,
    waiting,
  }: {
    write: (request: HttpRequest, reply: HttpReply) => Promise<Answer>;
    waiting: WeakMap<IncomingMessage, ServerResponse>;
  },
): void {
  server.server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    if (PATHS.some((path) => request.url?.startsWith(path))) waiting.set(request, response);
    else response.writeContinue();
    server.server.emit('request', request, response);
  });
  // A scope of its own: here bodies are streams that nobody parses, elsewhere they are JSON.
  void server.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
    for (const path of PATHS) {
      scope.post(path, async (request, reply) => send(reply, await write(request, reply)));
      scope.route({
        method: ['GET', 'HEAD', 'PUT', 'DELETE', 'PATCH'],
        url: path,
        handler: (_request, reply) =>
          send(reply.header('Allow', 'POST'), {
            status: 405,
            message: 'Only POST is allowed here',
          }),
      });
    }
  });
}

function answerTo(decoded: Decoded, written: Written | undefined): Answer {
  // As Grafana Mimir answers it: taken note of, and nothing that the sender should mend.
  if (decoded.isLeftOut) return { status: 202, written, message: LEFT_OUT };
  if (decoded.rejectedCount === 0) return { status: 204, written };
  return { status: 400, written, message: rejection(decoded) };
}

/** The connection ended before the body did. */
function isGone({ raw }: HttpRequest): boolean {
  return raw.destroyed && !raw.complete;
}

function refused(error: BadRequest | BodyRefused): Answer {
  return { status: error.status, message: error.message };
}

/** Rare things that are no samples, and so no part of received = logged + rejected. */
function countersOf(metrics: Metrics, replicas?: Replicas): (decoded: Decoded) => void {
  const parts = new Map<string, number>();
  let oddTables = 0;
  let unkept = 0;
  let unclaimed = 0;
  metrics.observe(
    'counter',
    {
      name: 'treeline_parts_rejected_total',
      help: 'Rejected parts of requests that are no samples: series without any, exemplars, metadata',
      labels: ['reason'],
    },
    () => [...parts].map(([reason, value]) => ({ labels: { reason }, value })),
  );
  metrics.observe(
    'counter',
    {
      name: 'treeline_odd_symbol_tables_total',
      help: 'Remote-write 2.0 requests whose first symbol is not the empty string',
    },
    () => [{ labels: {}, value: oddTables }],
  );
  metrics.observe(
    'counter',
    {
      name: 'treeline_metadata_unkept_total',
      help: 'Types and units for which there was no room; their series are scored by their names',
    },
    () => [{ labels: {}, value: unkept }],
  );
  if (replicas !== undefined) observeReplicas(metrics, replicas, () => unclaimed);
  return (decoded) => {
    for (const [reason, value] of Object.entries(decoded.rejectedOther)) {
      if (value > 0) parts.set(reason, (parts.get(reason) ?? 0) + value);
    }
    if (decoded.hasOddFirstSymbol) oddTables++;
    if (decoded.unclaimed > 0) unclaimed++;
    unkept += decoded.familiesLeftOut + decoded.unitsLeftOut;
  };
}

function observeReplicas(metrics: Metrics, replicas: Replicas, unclaimed: () => number): void {
  const kinds = [
    [
      'gauge',
      'treeline_replica_clusters',
      'Clusters of which one replica is elected',
      () => replicas.clusters,
    ],
    [
      'counter',
      'treeline_replica_takeovers_total',
      'Elections of another replica after a lead of 30 s',
      () => replicas.takeovers,
    ],
    [
      'counter',
      'treeline_replica_unelected_total',
      'Requests whose replicas were all let in because there are too many to tell apart',
      () => replicas.unelected + unclaimed(),
    ],
  ] as const;
  for (const [kind, name, help, read] of kinds) {
    metrics.observe(kind, { name, help }, () => [{ labels: {}, value: read() }]);
  }
}
