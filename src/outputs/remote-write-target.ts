// One database that requests are sent to, by the rules of remote-write 1.0
// (https://prometheus.io/docs/specs/prw/remote_write_spec/): one request at a time and in order, so that the samples of
// a series arrive in order; 5xx, 429 and no answer are tried again, later and later, as Retry-After asks; every other
// 4xx is dropped, for it would be refused again. What waits is bounded by bytes; beyond that the oldest is dropped. It
// stands for itself: nothing that its database does delays another one, or the scoring.

import { setTimeout as sleep } from 'node:timers/promises';
import { OperatingError } from '../errors.js';
import type { Logger } from '../http-server.js';
import {
  COMPLAINT_MS,
  OUTPUT_ANSWER_MS_MAX,
  OUTPUT_QUEUE_BYTES_MAX,
  OUTPUT_REASON_CHARACTERS_MAX,
  OUTPUT_RETRY_AFTER_MS_MAX,
  OUTPUT_RETRY_MS_MAX,
  OUTPUT_RETRY_MS_MIN,
} from '../limits-outputs.js';

export interface Request {
  bytes: Uint8Array<ArrayBuffer>;
  samples: number;
}

export type TargetOutcome = 'accepted' | 'refused' | 'dropped';

export interface TargetParts {
  /** In log lines and metrics: the address without a query. */
  name: string;
  url: string;
  /** Made anew for each request. */
  headers: () => Readonly<Record<string, string>>;
  logger: Logger;
  queueBytesMax?: number;
}

export class RemoteWriteTarget {
  readonly name: string;
  /** Samples, by what became of them. */
  readonly counts: Record<TargetOutcome, number> = { accepted: 0, refused: 0, dropped: 0 };
  retries = 0;
  /** Why it does not take anything just now. */
  problem: string | undefined;
  readonly #parts: TargetParts;
  readonly #bytesMax: number;
  #queue: Request[] = [];
  #bytes = 0;
  #sending: Promise<void> | undefined;
  readonly #stopping = new AbortController();
  #complaint = { atMs: Number.NEGATIVE_INFINITY, leftOut: 0 };

  constructor(parts: TargetParts) {
    this.#parts = parts;
    this.#bytesMax = parts.queueBytesMax ?? OUTPUT_QUEUE_BYTES_MAX;
    this.name = parts.name;
  }

  get waitingSamples(): number {
    return this.#queue.reduce((sum, { samples }) => sum + samples, 0);
  }

  add(request: Request): void {
    if (this.#stopping.signal.aborted) {
      this.counts.dropped += request.samples;
      return;
    }
    this.#queue.push(request);
    this.#bytes += request.bytes.length;
    // The first one may be under way: it stays, or its answer would be counted for another.
    while (this.#bytes > this.#bytesMax && this.#queue.length > 1) {
      const [oldest] = this.#queue.splice(this.#sending === undefined ? 0 : 1, 1);
      this.#leave(oldest as Request, 'dropped');
    }
    this.#begin();
  }

  #begin(): void {
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = undefined;
      // Added after the last one was taken, and before we were told that it was.
      if (this.#queue.length > 0 && !this.#stopping.signal.aborted) this.#begin();
    });
  }

  /** What waits is sent within this time; what then still waits is dropped and counted. */
  async stop(graceMs: number): Promise<void> {
    const late = new AbortController();
    await Promise.race([this.#sending, sleep(graceMs, undefined, { signal: late.signal })]);
    late.abort();
    this.#stopping.abort();
    await this.#sending;
    for (const request of this.#queue.splice(0)) this.counts.dropped += request.samples;
    this.#bytes = 0;
  }

  /** Never rejects. */
  async #sendAll(): Promise<void> {
    let pause = OUTPUT_RETRY_MS_MIN;
    for (;;) {
      const [request] = this.#queue;
      if (request === undefined || this.#stopping.signal.aborted) return;
      const outcome = await this.#post(request);
      if (typeof outcome === 'string') {
        this.#queue.shift();
        this.#leave(request, outcome);
        pause = OUTPUT_RETRY_MS_MIN;
        continue;
      }
      if (this.#stopping.signal.aborted) return;
      this.retries++;
      const wanted = Math.min(outcome.retryAfterMs ?? 0, OUTPUT_RETRY_AFTER_MS_MAX);
      // Aborted when we stop.
      const signal = this.#stopping.signal;
      await sleep(Math.max(pause, wanted), undefined, { signal }).catch(() => {});
      pause = Math.min(2 * pause, OUTPUT_RETRY_MS_MAX);
    }
  }

  #leave(request: Request, outcome: TargetOutcome): void {
    this.#bytes -= request.bytes.length;
    this.counts[outcome] += request.samples;
  }

  /** What became of it, or when to try again. */
  async #post(request: Request): Promise<'accepted' | 'refused' | { retryAfterMs?: number }> {
    const { url, headers, name, logger } = this.#parts;
    try {
      const answer = await fetch(url, {
        method: 'POST',
        headers: {
          'Content-Type': 'application/x-protobuf',
          'Content-Encoding': 'snappy',
          'User-Agent': 'treeline',
          'X-Prometheus-Remote-Write-Version': '0.1.0',
          ...headers(),
        },
        body: request.bytes,
        redirect: 'error',
        signal: AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(OUTPUT_ANSWER_MS_MAX)]),
      });
      if (answer.ok) {
        await answer.body?.cancel();
        if (this.problem !== undefined)
          logger.info({ target: name }, 'Remote-write target is back');
        this.problem = undefined;
        return 'accepted';
      }
      const reason = `answers ${answer.status}: ${await firstOf(answer)}`;
      if (answer.status >= 500 || answer.status === 429) {
        this.#complain(reason);
        const retryAfterMs = retryAfterOf(answer.headers.get('Retry-After'));
        return retryAfterMs === undefined ? {} : { retryAfterMs };
      }
      this.#complain(`${reason}; such requests are dropped`);
      return 'refused';
    } catch (error) {
      // TypeError: nobody there, or the connection broke; TimeoutError; AbortError when we stop; a secret's file is gone.
      const isKnown = error instanceof TypeError || error instanceof OperatingError;
      if (!isKnown && !/^(Timeout|Abort)Error$/.test((error as Error).name)) throw error;
      if (!this.#stopping.signal.aborted) this.#complain(String((error as Error).cause ?? error));
      return {};
    }
  }

  #complain(reason: string): void {
    this.problem = reason;
    const now = performance.now();
    if (now - this.#complaint.atMs < COMPLAINT_MS) {
      this.#complaint.leftOut++;
      return;
    }
    const { leftOut } = this.#complaint;
    this.#complaint = { atMs: now, leftOut: 0 };
    const fields = { target: this.name, reason, ...(leftOut > 0 && { leftOut }) };
    this.#parts.logger.warn(fields, 'A remote-write target does not take the gauges');
  }
}

/** The beginning of what it says. */
async function firstOf(answer: Response): Promise<string> {
  const reader = answer.body?.getReader();
  const first = await reader?.read();
  await reader?.cancel();
  const text = Buffer.from(first?.value ?? new Uint8Array()).toString();
  return text.slice(0, OUTPUT_REASON_CHARACTERS_MAX).trim();
}

/** Seconds, or a date. */
function retryAfterOf(header: string | null): number | undefined {
  if (header === null) return undefined;
  const ms = /^\d{1,9}$/.test(header) ? 1000 * Number(header) : Date.parse(header) - Date.now();
  return Number.isFinite(ms) && ms > 0 ? ms : undefined;
}
