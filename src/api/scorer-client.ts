// One question to one scorer over HTTP: read-only, on a connection that is kept, with a deadline and a bound on the answer.
// It never rejects: whatever a scorer does ends in one of a few outcomes, each counted, with a reason for people. An
// answer must say for which tenant it is, so that a scorer set up otherwise than we are shows nobody a stranger's series.

import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import type { Static, TSchema } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import {
  SCORER_ANSWER_BYTES_MAX,
  SCORER_CONNECTIONS_MAX,
  SCORER_READING_BYTES_MAX,
} from '../limits.js';
import { ONLY_TENANT } from '../tenant.js';
import type { ScorerAddress } from './scorer-addresses.js';

/** Who sends it asks a scorer for its own; an api that would have to ask others in turn refuses. */
export const ASKING_HEADER = 'x-treeline-asks';
/** Of an answer: the partitions that the scorer owns and has read to their end. */
export const PARTITIONS_HEADER = 'x-treeline-partitions';
export const TENANT_HEADER = 'x-scope-orgid';

/**
 * answered: also that it knows no such thing; refused: another status, or another tenant's; unreachable: nobody there,
 * or the connection broke; late: past the deadline; oversized; unreadable: not what a scorer says; unresolved: no address.
 */
const OUTCOMES = [
  'answered',
  'refused',
  'unreachable',
  'late',
  'oversized',
  'unreadable',
  'unresolved',
] as const;
export type AskOutcome = (typeof OUTCOMES)[number];

export interface Question<T extends TSchema> {
  /** What is answered to it. */
  schema: T;
  /** Below /anomaly/v1, with its query. */
  path: string;
  tenant: string;
  deadlineMs: number;
}

export interface Answered<T> {
  outcome: 'answered';
  /** Undefined: no such thing is known there. */
  body: T | undefined;
  partitions: readonly number[];
}

export type Answer<T> = Answered<T> | { outcome: Exclude<AskOutcome, 'answered'>; reason: string };

interface Received {
  message: IncomingMessage;
  text: string;
}

class Failed extends Error {
  readonly outcome: Exclude<AskOutcome, 'answered'>;
  /** The scorer may have closed a kept connection just when we took it. */
  readonly isStaleConnection: boolean;

  constructor(outcome: Exclude<AskOutcome, 'answered'>, reason: string, isStale = false) {
    super(reason);
    this.outcome = outcome;
    this.isStaleConnection = isStale;
  }
}

export class ScorerClient {
  readonly counts = Object.fromEntries(OUTCOMES.map((outcome) => [outcome, 0])) as Record<
    AskOutcome,
    number
  >;
  readonly #token: () => string | undefined;
  readonly #agents = {
    http: new HttpAgent({ keepAlive: true, maxSockets: SCORER_CONNECTIONS_MAX }),
    https: new HttpsAgent({ keepAlive: true, maxSockets: SCORER_CONNECTIONS_MAX }),
  };
  /** Bytes of answers that are not complete yet. */
  #reading = 0;
  #isClosed = false;

  /** `token`: asked for each question, because its file may change. */
  constructor(token: () => string | undefined) {
    this.#token = token;
  }

  async ask<T extends TSchema>(
    scorer: ScorerAddress,
    question: Question<T>,
  ): Promise<Answer<Static<T>>> {
    const answer = await this.#answerOf(scorer, question);
    this.counts[answer.outcome]++;
    return answer;
  }

  /** Questions under way end as unreachable. */
  close(): void {
    this.#isClosed = true;
    this.#agents.http.destroy();
    this.#agents.https.destroy();
  }

  async #answerOf<T extends TSchema>(
    scorer: ScorerAddress,
    question: Question<T>,
  ): Promise<Answer<Static<T>>> {
    const until = performance.now() + question.deadlineMs;
    try {
      const first = this.#exchange(scorer, question, until);
      const received = await first.catch((error: unknown) => {
        if (!(error instanceof Failed && error.isStaleConnection) || this.#isClosed) throw error;
        return this.#exchange(scorer, question, until);
      });
      return readAnswer(received, question);
    } catch (error) {
      if (error instanceof Failed) return { outcome: error.outcome, reason: error.message };
      throw error;
    }
  }

  /** Rejects with Failed and nothing else. */
  #exchange(scorer: ScorerAddress, question: Question<TSchema>, until: number): Promise<Received> {
    return new Promise((resolve, reject) => {
      const { base, address } = scorer;
      const isTls = base.protocol === 'https:';
      const name = base.hostname.replace(/^\[|\]$/g, '');
      const options = {
        host: address,
        port: base.port === '' ? (isTls ? 443 : 80) : Number(base.port),
        path: `${base.pathname.replace(/\/+$/, '')}/anomaly/v1${question.path}`,
        headers: this.#headers(base, question.tenant),
        // The certificate is of the name, not of the address that we took from it.
        ...(isTls && isIP(name) === 0 && { servername: name }),
      };
      const request = isTls
        ? httpsRequest({ ...options, agent: this.#agents.https })
        : httpRequest({ ...options, agent: this.#agents.http });
      let held = 0;
      const settle = (result: Failed | Received) => {
        clearTimeout(timer);
        this.#reading -= held;
        held = 0;
        if (!(result instanceof Failed)) return resolve(result);
        reject(result);
        request.destroy();
      };
      const late = () => settle(new Failed('late', `no answer within ${question.deadlineMs} ms`));
      const timer = setTimeout(late, Math.max(0, until - performance.now()));
      const broken = (error: Error) => settle(brokenBy(error, request.reusedSocket));
      request.on('error', broken);
      request.on('response', (message) => {
        const chunks: Buffer[] = [];
        message.on('error', broken);
        message.on('data', (chunk: Buffer) => {
          if (request.destroyed) return;
          held += chunk.length;
          this.#reading += chunk.length;
          const isTooLong = held > SCORER_ANSWER_BYTES_MAX;
          if (isTooLong || this.#reading > SCORER_READING_BYTES_MAX) {
            return settle(new Failed('oversized', tooMuch(isTooLong)));
          }
          chunks.push(chunk);
        });
        message.on('end', () => {
          if (!message.complete) return;
          settle({ message, text: Buffer.concat(chunks).toString() });
        });
      });
      request.end();
    });
  }

  #headers(base: URL, tenant: string): Record<string, string> {
    const token = this.#token();
    return {
      Host: base.host,
      Accept: 'application/json',
      [ASKING_HEADER]: 'scorer',
      ...(tenant !== ONLY_TENANT && { [TENANT_HEADER]: tenant }),
      ...(token !== undefined && { Authorization: `Bearer ${token}` }),
    };
  }
}

/** Throws Failed. */
function readAnswer<T extends TSchema>(
  { message, text }: Received,
  { tenant, schema }: Question<T>,
): Answered<Static<T>> {
  const { statusCode = 0, headers } = message;
  const owned = headers[PARTITIONS_HEADER];
  const isMissing = statusCode === 404 && owned !== undefined;
  if (statusCode !== 200 && !isMissing) {
    const hint = statusCode === 401 || statusCode === 403 ? '; look at api.scorersTokenFile' : '';
    throw new Failed('refused', `it answers ${statusCode}${hint}`);
  }
  if ((headers[TENANT_HEADER] ?? ONLY_TENANT) !== tenant) {
    throw new Failed('refused', 'it answers for another tenant; tenancy must be set as here');
  }
  if (typeof owned !== 'string' || !/^(\d{1,3}(,\d{1,3})*)?$/.test(owned)) {
    throw new Failed('unreadable', 'what answers is no scorer of this version');
  }
  const partitions = owned === '' ? [] : owned.split(',').map(Number);
  if (isMissing) return { outcome: 'answered', body: undefined, partitions };
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    // SyntaxError: something between us answered
    throw new Failed('unreadable', 'its answer is not JSON');
  }
  if (!Value.Check(schema, body))
    throw new Failed('unreadable', 'its answer is of another version');
  return { outcome: 'answered', body, partitions };
}

function brokenBy(error: Error, isReused: boolean): Failed {
  const code = (error as NodeJS.ErrnoException).code ?? error.message;
  const isStale = isReused && (code === 'ECONNRESET' || code === 'EPIPE');
  return new Failed('unreachable', String(code), isStale);
}

function tooMuch(isTooLong: boolean): string {
  return isTooLong
    ? `its answer has more than ${SCORER_ANSWER_BYTES_MAX} bytes; ask for fewer with limit`
    : 'too many answers are being read at this time; try again';
}
