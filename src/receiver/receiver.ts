// POST /api/v1/write: bound, decode in one WASM call, append, answer. The status is the delivery guarantee: 204 and 400
// are sent only after every sample that they do not name is durable, and whatever a retry may mend is 503. (Prometheus
// retries 5xx for ever and by default drops on 429.)

import { OperatingError } from '../errors.js';
import type { Logger } from '../http-server.js';
import { type HttpReply, type HttpRequest, type HttpServer, PLAIN } from '../http-server.js';
import { APPEND_BYTES_MAX } from '../limits.js';
import type { Log } from '../log/log.js';
import type { Metrics } from '../metrics.js';
import { Appender, overloaded } from './appender.js';
import { BodyBudget, BodyRefused } from './body.js';
import { negotiate } from './negotiation.js';
import { BadRequest, type Decoded, type WasmDecoder } from './wasm-decoder.js';

export interface ReceiverParts {
  log: Log;
  decoder: WasmDecoder;
  metrics: Metrics;
  logger: Logger;
  clock: () => number;
}

export interface Receiver {
  routes(server: HttpServer): void;
  /** Bytes decoded and not yet durable. */
  waitingBytes(): number;
}

interface Answer {
  status: number;
  message?: string;
  close?: boolean;
}

const ANSWER_BYTES_MAX = 1024;
const LOG_EVERY_MS = 10_000;

export function createReceiver(parts: ReceiverParts): Receiver {
  const { log, decoder, metrics, logger, clock } = parts;
  const budget = new BodyBudget();
  // A request decoded before a failed append may count on announcements that were lost with it: it is answered 503
  // even when its own samples are durable, and everything decoded from now on announces its series again.
  let epoch = 0;
  const appender = new Appender(log, () => {
    epoch++;
    decoder.forgetAnnouncements();
  });
  let complainedAt = 0;

  async function write(request: HttpRequest): Promise<Answer> {
    const refusal = negotiate(request.raw.headers);
    if (refusal !== undefined) return { ...refusal, close: true };
    if (appender.bytes > APPEND_BYTES_MAX / 2) {
      return { status: 503, message: overloaded().message, close: true };
    }
    try {
      const body = await budget.read(request.raw);
      const region = decoder.input(body.bytes);
      let at = 0;
      for (const chunk of body.chunks) {
        region.set(chunk, at);
        at += chunk.length;
      }
      return await append(decoder.decode(body.bytes, { tenant: '', nowMs: clock() }));
    } catch (error) {
      if (error instanceof BodyRefused) return { ...refused(error), close: true };
      if (error instanceof BadRequest) return refused(error);
      if (!isGone(request)) throw error;
      // Nobody reads this answer; the count is what remains of the request.
      metrics.requests.inc({ route: request.routeOptions.url ?? 'none', code: '499' });
      return { status: 400, message: 'The sender went away', close: true };
    }
  }

  /** Everything read from `decoded` is read before the first await: the next request overwrites it. */
  async function append(decoded: Decoded): Promise<Answer> {
    const begunIn = epoch;
    const { received } = decoded;
    const answer: Answer =
      decoded.rejectedCount === 0 ? { status: 204 } : { status: 400, message: rejection(decoded) };
    metrics.exemplars.inc(decoded.exemplars);
    metrics.cacheClears.set(decoder.cacheClears);
    const reasons = Object.entries({ ...decoded.rejected, ...decoded.leftOut });
    const appends = decoded.blocks.map(({ partition, bytes, samples }) =>
      appender.add(partition, { tenant: '', bytes, samples }).then(
        () => undefined,
        (error: unknown) => ({ samples, error }),
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

  function unavailable(error: unknown): Answer {
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
  }

  return {
    waitingBytes: () => appender.bytes,
    routes(server) {
      // A scope of its own: here bodies are streams that nobody parses, elsewhere they are JSON.
      void server.register(async (scope) => {
        scope.removeAllContentTypeParsers();
        scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
        for (const path of ['/api/v1/write', '/api/v1/push']) {
          scope.post(path, async (request, reply) => send(reply, await write(request)));
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
    },
  };
}

/** The connection ended before the body did. */
function isGone({ raw }: HttpRequest): boolean {
  return raw.destroyed && !raw.complete;
}

function refused(error: BadRequest | BodyRefused): Answer {
  return { status: error.status, message: error.message };
}

function send(reply: HttpReply, answer: Answer): HttpReply {
  void reply.code(answer.status);
  if (answer.close === true) void reply.header('Connection', 'close');
  if (answer.status === 503) void reply.header('Retry-After', '1');
  if (answer.message === undefined) return reply.send();
  const text = Buffer.from(`${answer.message}\n`).subarray(0, ANSWER_BYTES_MAX).toString();
  // A character cut in two by the limit would otherwise become a replacement character.
  return reply.type(PLAIN).send(text.replace(/\ufffd+$/, ''));
}

/** `3 of 2000 samples rejected: 2 no metric name, 1 duplicate label; first: {...}` */
function rejection(decoded: Decoded): string {
  const counts = Object.entries(decoded.rejected)
    .filter(([, count]) => count > 0)
    .map(([reason, count]) => `${count} ${words(reason)}`);
  const bare = decoded.rejectedCount - sum(decoded.rejected);
  if (bare > 0) counts.push(`${bare} series without samples`);
  const first = decoded.firstRejects.map(({ reason, series }) => `${words(reason)}: ${series}`);
  const total = sum(decoded.rejected);
  return `${total} of ${decoded.received} samples rejected: ${counts.join(', ')}; first: ${first.join('; ')}`;
}

function words(reason: string): string {
  return reason.replaceAll('_', ' ');
}

function sum(counts: Record<string, number>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}
