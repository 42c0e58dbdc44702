// What a query string may say, beyond what its schema checks: times, selectors, cursors. A cursor is opaque to its reader:
// it holds the place after which the next page begins, not what stood there, so it stays good while things come and go.

import type { FastifyError } from 'fastify';
import { OperatingError } from '../errors.js';
import type { HttpReply, Logger } from '../http-server.js';
import { COMPLAINT_MS } from '../limits-outputs.js';
import { BadMatcher } from '../matchers.js';

/** Says what is wrong with a request; answered 400. */
export class BadRequest extends Error {}
/** Says what is not there; answered 404. */
export class NotFound extends Error {}
/** Says why not now; answered 409. */
export class Conflict extends Error {}

/** RFC 3339 or seconds since the epoch, as Prometheus takes them. */
export function timeOf(name: string, text: string): number {
  const ms = /^-?\d{1,14}(\.\d{1,9})?$/.test(text) ? Number(text) * 1000 : Date.parse(text);
  if (!Number.isFinite(ms)) {
    throw new BadRequest(
      `${name} is ${JSON.stringify(text.slice(0, 100))}, expected RFC 3339 or seconds since 1970`,
    );
  }
  return ms;
}

export interface Cursor {
  /** What the list is ordered by. */
  value: number;
  id: string;
}

export function encodeCursor({ value, id }: Cursor): string {
  return Buffer.from(JSON.stringify([value, id])).toString('base64url');
}

export function decodeCursor(text: string): Cursor {
  try {
    const parts: unknown = JSON.parse(Buffer.from(text, 'base64url').toString());
    if (Array.isArray(parts) && typeof parts[0] === 'number' && typeof parts[1] === 'string') {
      return { value: parts[0], id: parts[1] };
    }
  } catch {
    // SyntaxError: not one that we wrote
  }
  throw new BadRequest('cursor is not ours; begin again without it');
}

/** Of the routes under /anomaly/v1: every error is a sentence in JSON. */
export function answerError(
  error: FastifyError,
  { route, reply, logger }: { route: string | undefined; reply: HttpReply; logger: Logger },
): void {
  const [status, sentence] = meaningOf(error);
  if (status === 503) complaintsTo(logger).tell(route, error);
  else if (status >= 500) logger.error({ route, err: error }, 'Request failed');
  if (status === 503) reply.header('Retry-After', '1');
  void reply.code(status).send({ error: sentence });
}

/** Who asks is told to ask again, and does: what is away is logged once a minute, with how often it was left out. */
class Complaints {
  readonly #logger: Logger;
  #toldMs = Number.NEGATIVE_INFINITY;
  #leftOut = 0;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  tell(route: string | undefined, error: Error): void {
    const now = performance.now();
    if (now - this.#toldMs < COMPLAINT_MS) {
      this.#leftOut++;
      return;
    }
    const fields = { route, reason: error.message, leftOut: this.#leftOut };
    this.#toldMs = now;
    this.#leftOut = 0;
    this.#logger.warn(fields, 'Requests cannot be answered now (503)');
  }
}

const complaints = new WeakMap<Logger, Complaints>();

function complaintsTo(logger: Logger): Complaints {
  const known = complaints.get(logger) ?? new Complaints(logger);
  complaints.set(logger, known);
  return known;
}

function meaningOf(error: FastifyError): [status: number, sentence: string] {
  if (error instanceof BadMatcher || error instanceof BadRequest) return [400, error.message];
  if (error instanceof NotFound) return [404, error.message];
  if (error instanceof Conflict) return [409, error.message];
  if (error.validation !== undefined) return [400, validationSentence(error)];
  if (error instanceof OperatingError) return [error.status, error.message];
  const status = error.statusCode ?? 500;
  if (status < 500) return [status, error.message];
  return [status, 'Internal error; the log of this process names it'];
}

function validationSentence({ validation, validationContext }: FastifyError): string {
  const [first] = validation ?? [];
  const at = (first?.instancePath ?? '').replace(/^\//, '').replaceAll('/', '.');
  const allowed = (first?.params as { allowedValues?: unknown[] } | undefined)?.allowedValues;
  const expected = allowed === undefined ? '' : `: ${allowed.join(', ')}`;
  return `${at === '' ? (validationContext ?? 'request') : at} ${first?.message}${expected}`;
}
