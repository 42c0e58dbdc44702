// Reads a request body within three bounds: bytes of this body, bytes of all bodies being read, and time. The chunks
// stay apart: the decoder's memory is the one place where they meet.

import type { IncomingMessage } from 'node:http';
import { BODY_BYTES_MAX, BODY_READ_MS_MAX, READING_BYTES_MAX } from '../limits.js';

export class BodyRefused extends Error {
  readonly status: 408 | 413 | 503;

  constructor(status: 408 | 413 | 503, message: string) {
    super(message);
    this.name = 'BodyRefused';
    this.status = status;
  }
}

export interface Body {
  chunks: Uint8Array[];
  bytes: number;
}

/** Counts what all requests of a process hold, so that many bodies at once are refused before they are read. */
export class BodyBudget {
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** Rejects with BodyRefused, after which the request can still be answered, or when the sender goes away. */
  async read(request: IncomingMessage): Promise<Body> {
    const declared = Number(request.headers['content-length'] ?? 0);
    if (this.#bytes + declared > READING_BYTES_MAX) throw tooBusy();
    let held = declared;
    this.#bytes += held;
    const body: Body = { chunks: [], bytes: 0 };
    const judge = (chunk: Buffer): BodyRefused | undefined => {
      body.bytes += chunk.length;
      body.chunks.push(chunk);
      if (body.bytes > held) {
        this.#bytes += body.bytes - held;
        held = body.bytes;
      }
      if (body.bytes > BODY_BYTES_MAX) return tooLarge();
      return this.#bytes > READING_BYTES_MAX ? tooBusy() : undefined;
    };
    try {
      await readWhole(request, judge);
      return body;
    } finally {
      this.#bytes -= held;
    }
  }
}

/** Not by `for await`, which could not be left while it waits for a chunk. */
function readWhole(
  request: IncomingMessage,
  judge: (chunk: Buffer) => BodyRefused | undefined,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => settle(tooSlow()), BODY_READ_MS_MAX);
    const take = (chunk: Buffer) => {
      const refusal = judge(chunk);
      if (refusal !== undefined) settle(refusal);
    };
    const end = () => settle();
    const close = () => settle(new Error('The connection closed before the body was whole'));
    const settle = (error?: Error) => {
      clearTimeout(timer);
      request.off('data', take).off('end', end).off('close', close);
      if (error === undefined) {
        resolve();
        return;
      }
      // What still comes is not wanted: it waits in the socket until the answer closes it.
      request.pause();
      reject(error);
    };
    // An aborted request emits an error beside its close; unheard it would end the process.
    request.on('error', close).on('data', take).on('end', end).on('close', close);
  });
}

function tooSlow(): BodyRefused {
  return new BodyRefused(408, `The body did not arrive within ${BODY_READ_MS_MAX} ms`);
}

function tooLarge(): BodyRefused {
  return new BodyRefused(
    413,
    `The body has more than ${BODY_BYTES_MAX} bytes; send smaller batches`,
  );
}

function tooBusy(): BodyRefused {
  return new BodyRefused(503, 'Too many bytes are being received already; try again later');
}
